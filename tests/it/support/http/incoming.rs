//! The bytes that a server has sent, and the responses in them. Both kinds of connection use it, and it does no I/O.

use super::{HttpError, Response};

/// The longest line of an answer, in bytes.
const MAX_LINE_BYTES: usize = 1024 * 1024;
/// The longest body of an answer, in bytes. It protects the memory of the test.
const MAX_BODY_BYTES: usize = 256 * 1024 * 1024;

/// Received bytes that are not used yet.
#[derive(Debug, Default)]
pub struct Incoming {
    bytes: Vec<u8>,
}

impl Incoming {
    /// The buffer to which the next bytes are appended.
    pub fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// Takes all bytes.
    pub fn take_all(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.bytes)
    }

    /// Takes the first `length` bytes, or `None` if fewer have come.
    pub fn take(&mut self, length: usize) -> Option<Vec<u8>> {
        (self.bytes.len() >= length).then(|| self.bytes.drain(..length).collect())
    }

    /// Takes the bytes up to and including `end`, or `None` if it has not come.
    pub fn take_through(&mut self, end: &[u8]) -> Option<Vec<u8>> {
        let at = self.bytes.windows(end.len()).position(|window| window == end)?;
        self.take(at + end.len())
    }

    /// Takes the answer to a request with this method, or `None` if it is not complete. `has_ended` means that the server sends no more.
    pub fn take_response(&mut self, method: &str, has_ended: bool) -> Result<Option<Response>, HttpError> {
        let mut reader = Reader { bytes: &self.bytes, at: 0, has_ended };
        let response = reader.response(method)?;
        if response.is_none() && has_ended {
            return Err(HttpError::Closed(self.bytes.len()));
        }
        if response.is_some() {
            let length = reader.at;
            self.bytes.drain(..length);
        }
        Ok(response)
    }
}

/// A part of an answer, or `None` if it is not complete.
type Part<T> = Result<Option<T>, HttpError>;

/// Returns `None` from the function if a part is not complete.
macro_rules! whole {
    ($part:expr) => {
        match $part? {
            Some(part) => part,
            None => return Ok(None),
        }
    };
}

/// Reads an answer from its beginning.
struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    has_ended: bool,
}

impl<'a> Reader<'a> {
    fn response(&mut self, method: &str) -> Part<Response> {
        loop {
            let mut response = whole!(self.head());
            match response.status {
                // 100 Continue and similar answers come before the answer itself.
                100 | 102..200 => continue,
                101 | 204 | 304 => {}
                _ if method == "HEAD" => {}
                _ => response.body = whole!(self.body(&response)),
            }
            return Ok(Some(response));
        }
    }

    fn head(&mut self) -> Part<Response> {
        let status_line = whole!(self.line());
        let status = status_line
            .strip_prefix("HTTP/1.1 ")
            .or_else(|| status_line.strip_prefix("HTTP/1.0 "))
            .and_then(|rest| rest.get(..3))
            .and_then(|code| code.parse().ok())
            .ok_or_else(|| malformed("status line", &status_line))?;
        let mut headers = Vec::new();
        loop {
            let line = whole!(self.line());
            if line.is_empty() {
                return Ok(Some(Response { status, headers, body: Vec::new() }));
            }
            let (name, value) = line.split_once(':').ok_or_else(|| malformed("header line", &line))?;
            headers.push((name.to_owned(), value.trim().to_owned()));
        }
    }

    fn body(&mut self, head: &Response) -> Part<Vec<u8>> {
        if head.header("Transfer-Encoding").is_some_and(|value| value.eq_ignore_ascii_case("chunked")) {
            self.chunks()
        } else if let Some(length) = head.header("Content-Length") {
            let length = length.parse().map_err(|_| malformed("Content-Length", length))?;
            Ok(self.take(length)?.map(<[u8]>::to_vec))
        } else {
            // The body ends with the connection.
            let rest = self.take(self.bytes.len() - self.at)?;
            Ok(rest.filter(|_| self.has_ended).map(<[u8]>::to_vec))
        }
    }

    fn chunks(&mut self) -> Part<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let line = whole!(self.line());
            let digits = line.split(';').next().unwrap_or_default().trim();
            let length = usize::from_str_radix(digits, 16).map_err(|_| malformed("chunk size", &line))?;
            if length == 0 {
                while !whole!(self.line()).is_empty() {} // trailers
                return Ok(Some(body));
            }
            body.extend_from_slice(whole!(self.take(length)));
            if body.len() > MAX_BODY_BYTES {
                return Err(malformed("body", "it is too long"));
            }
            if !whole!(self.line()).is_empty() {
                return Err(malformed("chunk", "no line end after it"));
            }
        }
    }

    /// The bytes up to the next line end as text. Each byte is a character, as in HTTP/1.1.
    fn line(&mut self) -> Part<String> {
        let rest = &self.bytes[self.at..];
        let Some(end) = rest.windows(2).position(|pair| pair == b"\r\n") else {
            let is_too_long = rest.len() > MAX_LINE_BYTES;
            return if is_too_long { Err(malformed("line", "it does not end")) } else { Ok(None) };
        };
        self.at += end + 2;
        Ok(Some(rest[..end].iter().map(|&byte| char::from(byte)).collect()))
    }

    fn take(&mut self, length: usize) -> Part<&'a [u8]> {
        if length > MAX_BODY_BYTES {
            return Err(malformed("body", "it is too long"));
        }
        let taken = self.bytes[self.at..].get(..length);
        self.at += taken.map_or(0, <[u8]>::len);
        Ok(taken)
    }
}

fn malformed(what: &str, seen: &str) -> HttpError {
    HttpError::Malformed(format!("{what}: {seen:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads answers to requests with these methods, from bytes that come one by one, and then end; `status body` of each.
    fn read(bytes: &[u8], methods: &[&str]) -> Result<Vec<String>, HttpError> {
        let mut incoming = Incoming::default();
        let mut bytes = bytes.iter();
        let mut responses = Vec::new();
        for method in methods {
            let mut has_ended = false;
            let response = loop {
                if let Some(response) = incoming.take_response(method, has_ended)? {
                    break response;
                }
                match bytes.next() {
                    Some(byte) => incoming.buffer().push(*byte),
                    None => has_ended = true,
                }
            };
            responses.push(format!("{} {}", response.status, response.text()));
        }
        Ok(responses)
    }

    #[test]
    fn each_framing_is_read() {
        let lengths =
            b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabcHTTP/1.1 404 No\r\ncontent-length: 0\r\n\r\n";
        assert_eq!(read(lengths, &["GET", "GET"]).unwrap(), ["200 abc", "404 "]);
        let chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n10;x=y\r\n0123456789abcdef\r\n0\r\na: b\r\n\r\n";
        assert_eq!(read(chunked, &["GET"]).unwrap(), ["200 abc0123456789abcdef"]);
        assert_eq!(read(b"HTTP/1.0 200 OK\r\n\r\nto the end", &["GET"]).unwrap(), ["200 to the end"]);
    }

    #[test]
    fn some_answers_have_no_body() {
        let head = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 19\r\n\r\n";
        assert_eq!(read(head, &["HEAD"]).unwrap(), ["200 "]);
        let statuses = b"HTTP/1.1 304 Not Modified\r\n\r\nHTTP/1.1 101 Switching Protocols\r\n\r\nframes";
        assert_eq!(read(statuses, &["GET", "GET"]).unwrap(), ["304 ", "101 "]);
    }

    #[test]
    fn an_answer_that_is_not_whole_or_not_http_is_an_error() {
        let short = read(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc", &["GET"]);
        assert!(matches!(short, Err(HttpError::Closed(41))), "{short:?}");
        for bytes in [
            "SSH-2.0\r\n",
            "HTTP/1.1 200 OK\r\nno colon\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 999999999999\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab\r\n",
        ] {
            let malformed = read(bytes.as_bytes(), &["GET"]);
            assert!(matches!(malformed, Err(HttpError::Malformed(_))), "{bytes:?}: {malformed:?}");
        }
    }

    #[test]
    fn bytes_can_be_taken_as_they_are() {
        let mut incoming = Incoming::default();
        incoming.buffer().extend_from_slice(b"head\r\n\r\nbody and more");
        assert_eq!(incoming.take_through(b"\r\n\r\n").unwrap(), b"head\r\n\r\n");
        assert_eq!(incoming.take_through(b"\r\n\r\n"), None);
        assert_eq!((incoming.take(4).unwrap(), incoming.take(100)), (b"body".to_vec(), None));
        assert_eq!(incoming.take_all(), b" and more");
    }
}
