//! The access log: one line for each request that was answered, in a file that rotates.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::io;
use std::net::IpAddr;

use super::super::sections::LogFormat;
use super::queue::{LogOutput, LogQueue};
use crate::metrics;

/// Bytes of a URI that a line shows. The server rejects longer ones.
const MAX_URI: usize = 2048;
/// Bytes of a method that a line shows.
const MAX_METHOD: usize = 32;

/// The sending end of the access log. Cheap to clone.
#[derive(Clone, Debug)]
pub struct AccessLog {
    queue: LogQueue,
    format: LogFormat,
}

/// One answered request.
#[derive(Debug)]
pub struct AccessLine<'r> {
    pub remote: IpAddr,
    /// When the head of the request was complete, in milliseconds since 1970.
    pub begin_millis: u64,
    pub method: &'r str,
    /// As the client sent it, not decoded.
    pub uri: &'r str,
    /// `HTTP/1.1`
    pub protocol: &'r str,
    pub status: u16,
    /// The length of the request's body, as its head says. `None` if the head does not say it.
    pub length: Option<u64>,
    /// From the head of the request to its answer.
    pub millis: u128,
    pub request_id: &'r str,
}

impl AccessLog {
    /// Starts the thread that writes lines to `output`.
    pub fn start(output: impl LogOutput, format: LogFormat) -> io::Result<Self> {
        let report = |dropped| {
            log::error!("lines of the access log dropped because the output did not take them: {dropped}");
        };
        let lost = &metrics::ACCESS_LOG_LINES_DROPPED;
        Ok(Self { queue: LogQueue::start("access log", output, lost, report)?, format })
    }

    /// Puts a line into the queue, and does not wait. If the queue is full, the line is dropped and counted.
    pub fn put(&self, line: &AccessLine<'_>) {
        self.queue.put(line.formatted(self.format).as_bytes());
    }

    pub(super) fn flush(&self) {
        self.queue.flush();
    }

    pub(super) fn reopen(&self) {
        self.queue.reopen();
    }
}

impl AccessLine<'_> {
    /// The line, with its end. No text of the client can end it or add a field to it.
    fn formatted(&self, format: LogFormat) -> String {
        let Self { remote, begin_millis, protocol, status, millis, .. } = self;
        let begin = time(*begin_millis);
        let (method, uri) = (plain(self.method, MAX_METHOD), plain(self.uri, MAX_URI));
        match format {
            LogFormat::Text => {
                let mut line = String::with_capacity(120 + uri.len());
                let length = self.length.map_or(-1, |length| i64::try_from(length).unwrap_or(i64::MAX));
                // Writing to a text cannot fail.
                let _ = writeln!(
                    line,
                    "{remote} {begin} \"{method} {uri} {protocol}\" {status} {length} {millis}"
                );
                line
            }
            LogFormat::Json => {
                let mut line = serde_json::json!({
                    "remoteIP": remote,
                    "time": begin,
                    "method": method,
                    "uri": uri,
                    "protocol": protocol,
                    "status": status,
                    "length": self.length,
                    "milliseconds": u64::try_from(*millis).unwrap_or(u64::MAX),
                    "requestId": self.request_id,
                })
                .to_string();
                line.push('\n');
                line
            }
        }
    }
}

/// `2026-01-02T03:04:05.678Z`
fn time(unix_millis: u64) -> String {
    let time =
        i64::try_from(unix_millis).ok().and_then(|millis| jiff::Timestamp::from_millisecond(millis).ok());
    format!("{:.3}", time.unwrap_or_default())
}

/// A text without blanks, quotes, backslashes and characters outside ASCII: each such byte as `%xx`, as in a URI. A text that is longer
/// than `most` bytes is cut, and ends with `...`.
fn plain(text: &str, most: usize) -> Cow<'_, str> {
    let is_plain = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\');
    if text.len() <= most && text.bytes().all(is_plain) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(most + 16);
    for byte in text.bytes().take(most) {
        if is_plain(byte) {
            out.push(char::from(byte));
        } else {
            // Writing to a text cannot fail.
            let _ = write!(out, "%{byte:02X}");
        }
    }
    if text.len() > most {
        out.push_str("...");
    }
    Cow::Owned(out)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn line<'r>(method: &'r str, uri: &'r str, length: Option<u64>) -> AccessLine<'r> {
        AccessLine {
            remote: "10.1.2.3".parse().unwrap(),
            begin_millis: 1_767_323_045_678,
            method,
            uri,
            protocol: "HTTP/1.1",
            status: 200,
            length,
            millis: 7,
            request_id: "abc-1",
        }
    }

    fn check(method: &str, uri: &str, length: Option<u64>, expected: &str) {
        let text = line(method, uri, length).formatted(LogFormat::Text);
        assert_eq!(text, format!("10.1.2.3 2026-01-02T03:04:05.678Z {expected}\n"));
    }

    #[test]
    fn text() {
        check(
            "GET",
            "/v4/default/registry/version",
            Some(0),
            "\"GET /v4/default/registry/version HTTP/1.1\" 200 0 7",
        );
        check("POST", "/a?b=c%20d", None, "\"POST /a?b=c%20d HTTP/1.1\" 200 -1 7");
        check("POST", "/a", Some(321), "\"POST /a HTTP/1.1\" 200 321 7");
    }

    #[test]
    fn no_client_breaks_a_line() {
        check(
            "GET",
            "/a\"b\\c d\r\n\u{1b}[2Jä",
            Some(0),
            "\"GET /a%22b%5Cc%20d%0D%0A%1B[2J%C3%A4 HTTP/1.1\" 200 0 7",
        );
        let long = line("X", &"/".repeat(9000), None).formatted(LogFormat::Text);
        assert!(long.len() < MAX_URI + 100 && long.contains("/... HTTP/1.1\""), "{long}");
        let method = "M".repeat(9000);
        assert!(line(&method, "/", None).formatted(LogFormat::Json).len() < 400);
        let ipv6 = AccessLine { remote: "2001:db8::7".parse().unwrap(), ..line("GET", "/", Some(0)) };
        assert!(ipv6.formatted(LogFormat::Text).starts_with("2001:db8::7 2026-"));
    }

    #[test]
    fn json() {
        let text = line("GET", "/a\"b", None).formatted(LogFormat::Json);
        assert!(text.ends_with("}\n"));
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        let expected = serde_json::json!({
            "remoteIP": "10.1.2.3", "time": "2026-01-02T03:04:05.678Z", "method": "GET", "uri": "/a%22b",
            "protocol": "HTTP/1.1", "status": 200, "length": null, "milliseconds": 7, "requestId": "abc-1",
        });
        assert_eq!(value, expected);
    }
}
