//! Percent-decoding with Go's rules, which clients of the original server were written against.
//!
//! A path keeps `+`; in a query `+` is a blank. A `%` that two hex digits do not follow makes the whole text invalid.

use std::borrow::Cow;

/// The decoded path, or `None` where an escape is broken.
pub fn decode_path(raw: &str) -> Option<Cow<'_, str>> {
    if raw.contains('%') { decode(raw, Plus::Kept) } else { Some(Cow::Borrowed(raw)) }
}

/// The decoded key or value of a query, or `None` where an escape is broken.
pub fn decode_query(raw: &str) -> Option<Cow<'_, str>> {
    if raw.bytes().any(|byte| byte == b'%' || byte == b'+') {
        decode(raw, Plus::Blank)
    } else {
        Some(Cow::Borrowed(raw))
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Plus {
    Kept,
    Blank,
}

fn decode(raw: &str, plus: Plus) -> Option<Cow<'_, str>> {
    let mut out = Vec::with_capacity(raw.len());
    let mut bytes = raw.bytes();
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'%' => hex(bytes.next()?)? << 4 | hex(bytes.next()?)?,
            b'+' if plus == Plus::Blank => b' ',
            other => other,
        });
    }
    // Go keeps any bytes. Ours are text: what is no UTF-8 becomes U+FFFD and then matches nothing that is stored.
    Some(Cow::Owned(
        String::from_utf8(out).unwrap_or_else(|bad| String::from_utf8_lossy(bad.as_bytes()).into()),
    ))
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

/// The path without empty, `.` and `..` segments, or `None` where it is clean already. A final `/` stays.
pub fn clean_path(path: &str) -> Option<String> {
    if !path.contains("//") && !path.contains("/.") {
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
        assert_eq!(decode_path("/a+b").as_deref(), Some("/a+b"));
        assert_eq!(decode_path("/a%20b%2Fc%25").as_deref(), Some("/a b/c%"));
        assert_eq!(decode_path("/%C3%A4").as_deref(), Some("/ä"));
        assert_eq!(decode_path("/%ff").as_deref(), Some("/\u{fffd}"));
        for broken in ["/%", "/%2", "/%zz", "/%+1"] {
            assert_eq!(decode_path(broken), None, "{broken}");
        }
    }

    #[test]
    fn queries_read_plus_as_blank() {
        assert_eq!(decode_query("a+b%2B").as_deref(), Some("a b+"));
        assert_eq!(decode_query("%g1"), None);
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
