//! Where a request's head ends, in whatever pieces it comes, and how long the body after it is. Pure.

/// Finds the empty line that ends a head. A line ends with `\n`, with or without `\r`, as for the library's parser.
#[derive(Debug, Default)]
pub(super) struct HeadEnd {
    /// The current line is empty so far, and it is not the first line.
    at_line_start: bool,
}

impl HeadEnd {
    /// The length of `bytes` up to and including the end of the head, if the head ends in them. The bytes after it are another head or
    /// a body; an empty line in a body counts as an end too.
    pub(super) fn find(&mut self, bytes: &[u8]) -> Option<usize> {
        let is_empty = |line: &[u8]| line.iter().all(|byte| *byte == b'\r');
        let mut begin = 0;
        for end in memchr::memchr_iter(b'\n', bytes) {
            if self.at_line_start && is_empty(&bytes[begin..end]) {
                self.at_line_start = false;
                return Some(end + 1);
            }
            self.at_line_start = true;
            begin = end + 1;
        }
        self.at_line_start &= is_empty(&bytes[begin..]);
        None
    }
}

/// The length of the body after a head, or after the last piece of a head. 0 if no line after the first one of `head` says it. Only a hint:
/// the library, which decides where a body ends, reads the header itself and rejects a wrong one.
pub(super) fn announced_body(head: &[u8]) -> usize {
    const NAME: &[u8] = b"content-length:";
    let length = memchr::memchr_iter(b'\n', head).find_map(|end| {
        let (name, value) = head[end + 1..].split_at_checked(NAME.len())?;
        name.eq_ignore_ascii_case(NAME).then_some(value)
    });
    let digits = length.unwrap_or_default().trim_ascii_start().iter();
    digits
        .map_while(|byte| byte.is_ascii_digit().then(|| usize::from(byte - b'0')))
        .fold(0, |length, digit| length.saturating_mul(10).saturating_add(digit))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `bytes`, in pieces of every size, cut at each end that is found.
    fn check(bytes: &str, expected: &[&str]) {
        for piece in 1..=bytes.len() {
            let (mut end, mut parts, mut part) = (HeadEnd::default(), Vec::new(), String::new());
            for mut rest in bytes.as_bytes().chunks(piece) {
                while let Some(length) = end.find(rest) {
                    part.push_str(&String::from_utf8_lossy(&rest[..length]));
                    parts.push(std::mem::take(&mut part));
                    rest = &rest[length..];
                }
                part.push_str(&String::from_utf8_lossy(rest));
            }
            parts.push(part);
            assert_eq!(parts, expected, "in pieces of {piece}");
        }
    }

    #[test]
    fn heads_end_with_an_empty_line() {
        check("GET / HTTP/1.1\r\nHost: h\r\n\r\n", &["GET / HTTP/1.1\r\nHost: h\r\n\r\n", ""]);
        check("a\r\n\r\nb\r\nc\r\n\r\nd", &["a\r\n\r\n", "b\r\nc\r\n\r\n", "d"]);
        check("a\n\nb\n\r\nc\r\n\n", &["a\n\n", "b\n\r\n", "c\r\n\n", ""]);
        check("a\r\nb\r\n c", &["a\r\nb\r\n c"]);
        check("\r\na\r\n\r\n", &["\r\na\r\n\r\n", ""]);
        check("a\r \n\n", &["a\r \n\n", ""]);
    }
    #[test]
    fn heads_announce_bodies() {
        let check = |head: &str, length| assert_eq!(announced_body(head.as_bytes()), length, "{head:?}");
        check("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 12\r\n\r\n", 12);
        check("POST / HTTP/1.1\ncontent-LENGTH:7\n\n", 7);
        check("GET / HTTP/1.1\r\nHost: h\r\n\r\n", 0);
        check("GET / HTTP/1.1\r\nContent-Length: x\r\n\r\n", 0);
        check("GET / HTTP/1.1\r\nContent-Length: 18446744073709551616\r\n\r\n", usize::MAX);
        check("GET / HTTP/1.1\r\nX-Content-Length: 5\r\nX: Content-Length: 5\r\n\r\n", 0);
        // The first line may be the end of a line that began in an earlier piece.
        check("Content-Length: 5\r\n\r\n", 0);
        check("", 0);
    }
}
