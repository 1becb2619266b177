//! Percent-decoding with Go's rules, which clients of the original server were written against.
//!
//! A path keeps `+`; in a query `+` is a blank. A `%` that two hex digits do not follow makes the whole text invalid. So do
//! bytes that are no UTF-8, which Go keeps: ids and keys here are text, and a replacement character in the place of any such
//! byte would make two of them one.

use std::borrow::Cow;

/// Why a text was not decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Undecodable {
    /// An escape is broken.
    Escape,
    /// What the escapes stand for is no UTF-8.
    Text,
}

/// The decoded path.
pub fn decode_path(raw: &str) -> Result<Cow<'_, str>, Undecodable> {
    if raw.contains('%') { decode(raw, Plus::Kept) } else { Ok(Cow::Borrowed(raw)) }
}

/// The decoded key or value of a query.
pub fn decode_query(raw: &str) -> Result<Cow<'_, str>, Undecodable> {
    if raw.bytes().any(|byte| byte == b'%' || byte == b'+') {
        decode(raw, Plus::Blank)
    } else {
        Ok(Cow::Borrowed(raw))
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Plus {
    Kept,
    Blank,
}

fn decode(raw: &str, plus: Plus) -> Result<Cow<'_, str>, Undecodable> {
    let mut out = Vec::with_capacity(raw.len());
    let mut bytes = raw.bytes();
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'%' => {
                let mut digit = || bytes.next().and_then(hex).ok_or(Undecodable::Escape);
                digit()? << 4 | digit()?
            }
            b'+' if plus == Plus::Blank => b' ',
            other => other,
        });
    }
    String::from_utf8(out).map(Cow::Owned).map_err(|_| Undecodable::Text)
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

/// The path without empty, `.` and `..` segments, or `None` where it is clean already. A final `/` stays.
pub fn clean_path(path: &str) -> Option<String> {
    // Without an early end, so that many bytes are looked at in one step.
    let is_unclean = |pair: &[u8]| (pair[0] == b'/') & ((pair[1] == b'/') | (pair[1] == b'.'));
    if !path.as_bytes().windows(2).fold(false, |found, pair| found | is_unclean(pair)) {
        return None;
    }
    let mut kept: Vec<&str> = Vec::new();
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => {
                kept.pop();
            }
            name => kept.push(name),
        }
    }
    let mut clean = String::with_capacity(path.len());
    for segment in &kept {
        clean.push('/');
        clean.push_str(segment);
    }
    if kept.is_empty() || path.ends_with('/') {
        clean.push('/');
    }
    Some(clean)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_keep_plus_and_refuse_broken_escapes() {
        assert_eq!(decode_path("/a+b").as_deref(), Ok("/a+b"));
        assert_eq!(decode_path("/a%20b%2Fc%25").as_deref(), Ok("/a b/c%"));
        assert_eq!(decode_path("/%C3%A4").as_deref(), Ok("/ä"));
        for broken in ["/%", "/%2", "/%zz", "/%+1", "/%ff%"] {
            assert_eq!(decode_path(broken), Err(Undecodable::Escape), "{broken}");
        }
    }

    #[test]
    fn what_is_no_utf_8_is_refused() {
        for bytes in ["/%ff", "/%c3", "/%C3x", "/%ed%a0%80"] {
            assert_eq!(decode_path(bytes), Err(Undecodable::Text), "{bytes}");
            assert_eq!(decode_query(bytes), Err(Undecodable::Text), "{bytes}");
        }
    }

    #[test]
    fn queries_read_plus_as_blank() {
        assert_eq!(decode_query("a+b%2B").as_deref(), Ok("a b+"));
        assert_eq!(decode_query("%g1"), Err(Undecodable::Escape));
    }

    #[test]
    fn paths_are_cleaned_as_a_go_server_does() {
        fn check(path: &str, clean: Option<&str>) {
            assert_eq!(clean_path(path).as_deref(), clean, "{path}");
        }
        check("/a/b", None);
        check("/a/b/", None);
        check("/a//b", Some("/a/b"));
        check("//a", Some("/a"));
        check("/a/./b", Some("/a/b"));
        check("/a/x/../b", Some("/a/b"));
        check("/../a", Some("/a"));
        check("/a//", Some("/a/"));
        check("/a/.", Some("/a"));
        check("/a/..", Some("/"));
        check("/..", Some("/"));
        check("/a/.hidden", Some("/a/.hidden"));
        check("/a/b..c", None);
    }
}
