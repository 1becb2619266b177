//! Percent-decoding with Go's rules, which clients of the original server were written against, and the path that is routed.
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
    /// Other programs may find another route in the path.
    Ambiguous,
}

/// The path to be routed: split at `/`, each segment decoded, without empty, `.` and `..` segments. A final `/` stays.
///
/// A proxy may allow paths by their prefix. So a path is an error if a proxy could find another route in it. That is so if an
/// escape stands for `/`; if an encoded segment is `.` or `..`; and if `..` follows `//`: RFC 3986 then removes the empty segment,
/// while Go and nginx remove the segment before it.
pub fn route_path(raw: &str) -> Result<Cow<'_, str>, Undecodable> {
    let is_unclean = |before: u8, byte: u8| (before == b'/') & ((byte == b'/') | (byte == b'.'));
    let pairs = raw.as_bytes().iter().zip(raw.as_bytes().get(1..).unwrap_or_default());
    let is_unclean = pairs.fold(false, |found, (before, byte)| found | is_unclean(*before, *byte));
    if !is_unclean && is_plain(raw, Plus::Kept) {
        return Ok(Cow::Borrowed(raw));
    }
    let mut kept: Vec<Cow<'_, str>> = Vec::new();
    let mut segments = raw.split('/').peekable();
    // Nothing precedes the first `/`.
    segments.next_if_eq(&"");
    for segment in segments {
        match segment {
            "." => {}
            ".." => {
                if kept.pop().is_some_and(|taken_back| taken_back.is_empty()) {
                    return Err(Undecodable::Ambiguous);
                }
            }
            raw => {
                let segment = decode(raw, Plus::Kept)?;
                if segment.contains('/') || matches!(&*segment, "." | "..") {
                    return Err(Undecodable::Ambiguous);
                }
                kept.push(segment);
            }
        }
    }
    let mut path = String::with_capacity(raw.len());
    for segment in kept.iter().filter(|segment| !segment.is_empty()) {
        path.push('/');
        path.push_str(segment);
    }
    if path.is_empty() || raw.ends_with('/') {
        path.push('/');
    }
    Ok(Cow::Owned(path))
}

/// The decoded key or value of a query.
pub fn decode_query(raw: &str) -> Result<Cow<'_, str>, Undecodable> {
    decode(raw, Plus::Blank)
}

#[derive(Clone, Copy, PartialEq)]
enum Plus {
    Kept,
    Blank,
}

/// Whether a text stands for itself. The loop has no early end, so that many bytes are looked at in one step.
fn is_plain(raw: &str, plus: Plus) -> bool {
    let is_escape = |byte: u8| (byte == b'%') | ((byte == b'+') & (plus == Plus::Blank));
    !raw.bytes().fold(false, |found, byte| found | is_escape(byte))
}

fn decode(raw: &str, plus: Plus) -> Result<Cow<'_, str>, Undecodable> {
    if is_plain(raw, plus) {
        return Ok(Cow::Borrowed(raw));
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn check(raw: &str, path: Result<&str, Undecodable>) {
        assert_eq!(route_path(raw).as_deref(), path.as_ref().copied(), "{raw}");
    }

    #[test]
    fn paths_keep_plus_and_refuse_broken_escapes() {
        check("/a+b", Ok("/a+b"));
        check("/a%20b/c%25", Ok("/a b/c%"));
        check("/%C3%A4", Ok("/ä"));
        check("/%252f", Ok("/%2f"));
        for broken in ["/%", "/%2", "/%zz", "/%+1", "/%ff%"] {
            check(broken, Err(Undecodable::Escape));
        }
    }

    #[test]
    fn what_is_no_utf_8_is_refused() {
        for bytes in ["/%ff", "/%c3", "/%C3x", "/%ed%a0%80"] {
            check(bytes, Err(Undecodable::Text));
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
        for clean in ["/a/b", "/a/b/", "/a/.hidden", "/a/b..c", "/", "", "*", "a"] {
            check(clean, Ok(clean));
        }
        check("/a//b", Ok("/a/b"));
        check("//a", Ok("/a"));
        check("/a/./b", Ok("/a/b"));
        check("/a/x/../b", Ok("/a/b"));
        check("/../a", Ok("/a"));
        check("/a//", Ok("/a/"));
        check("/a/.", Ok("/a"));
        check("/a/..", Ok("/"));
        check("/..", Ok("/"));
        check("/a%20/x/../b", Ok("/a /b"));
        check("/a//b/../c", Ok("/a/c"));
    }

    #[test]
    fn what_others_may_read_otherwise_has_no_meaning() {
        for path in [
            "/metrics/..%2fv4",
            "/a%2Fb",
            "/a/%2e%2e/b",
            "/a/%2E",
            "/a/.%2e/b",
            "/a/%2e./b",
            "/a/%2e%2e/../b",
            "/metrics//../v4",
            "/metrics//x/../../v4",
            "//..",
        ] {
            check(path, Err(Undecodable::Ambiguous));
        }
        check("/metrics/..;/v4", Ok("/metrics/..;/v4"));
        check("/metrics/..%5cv4", Ok("/metrics/..\\v4"));
    }
}
