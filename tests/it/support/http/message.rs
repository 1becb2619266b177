//! Requests and responses. No I/O.

use std::io::Read as _;

use serde_json::Value;

/// A request. `Host`, `Accept-Encoding: identity` and `Content-Length` are added unless they are given. Nothing else is added.
#[derive(Clone, Debug)]
pub struct Request {
    /// The method, as sent.
    pub method: String,
    /// Path and query, as sent.
    pub target: String,
    /// Names and values in their order.
    pub headers: Vec<(String, String)>,
    /// The body; `None` sends none.
    pub body: Option<Vec<u8>>,
}

impl Request {
    /// A request without headers and body.
    pub fn new(method: &str, target: &str) -> Self {
        Self { method: method.to_owned(), target: target.to_owned(), headers: Vec::new(), body: None }
    }

    /// With one more header.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// With these bytes as the body.
    pub fn bytes(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = Some(body.into());
        self
    }

    /// With this document as the body, and its content type.
    pub fn json(self, body: &Value) -> Self {
        self.header("Content-Type", "application/json").bytes(body.to_string())
    }

    /// Whether a header of this name, in any case, is given.
    pub fn has_header(&self, name: &str) -> bool {
        self.headers.iter().any(|(given, _)| given.eq_ignore_ascii_case(name))
    }

    /// The request head and body as bytes for the wire.
    pub(super) fn encode(&self, host: &str) -> Vec<u8> {
        let mut head = format!("{} {} HTTP/1.1\r\n", self.method, self.target);
        let mut line = |name: &str, value: &str| {
            head.push_str(name);
            head.push_str(": ");
            head.push_str(value);
            head.push_str("\r\n");
        };
        if !self.has_header("Host") {
            line("Host", host);
        }
        if !self.has_header("Accept-Encoding") {
            line("Accept-Encoding", "identity");
        }
        let writes = matches!(self.method.as_str(), "POST" | "PUT" | "PATCH");
        let framed = self.has_header("Content-Length") || self.has_header("Transfer-Encoding");
        if !framed && (writes || self.body.is_some()) {
            line("Content-Length", &self.body.as_ref().map_or(0, Vec::len).to_string());
        }
        for (name, value) in &self.headers {
            line(name, value);
        }
        head.push_str("\r\n");
        let mut bytes = head.into_bytes();
        bytes.extend_from_slice(self.body.as_deref().unwrap_or_default());
        bytes
    }
}

/// A response as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// Names, in their case, and trimmed values, in their order.
    pub headers: Vec<(String, String)>,
    /// The body, still encoded as `Content-Encoding` says.
    pub body: Vec<u8>,
}

impl Response {
    /// The first value of a header, its name in any case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(given, _)| given.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    /// All values of the header with exactly this name, joined with `, `.
    pub fn joined_header(&self, exact_name: &str) -> Option<String> {
        let values: Vec<&str> = self
            .headers
            .iter()
            .filter(|(name, _)| name == exact_name)
            .map(|(_, value)| value.as_str())
            .collect();
        (!values.is_empty()).then(|| values.join(", "))
    }

    /// The body, decompressed if it is gzip.
    pub fn decoded_body(&self) -> Result<Vec<u8>, String> {
        match self.header("Content-Encoding") {
            Some("gzip") => {
                let mut bytes = Vec::new();
                flate2::read::MultiGzDecoder::new(self.body.as_slice())
                    .read_to_end(&mut bytes)
                    .map_err(|error| format!("body is no gzip: {error}"))?;
                Ok(bytes)
            }
            None => Ok(self.body.clone()),
            Some(other) => Err(format!("body has the encoding {other}")),
        }
    }

    /// The body as text. Invalid UTF-8 is replaced.
    pub fn text(&self) -> String {
        let bytes = self.decoded_body().unwrap_or_else(|_| self.body.clone());
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// The body as a document.
    ///
    /// # Panics
    /// If it is invalid JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        let text = self.text();
        match serde_json::from_str(&text) {
            Ok(value) => value,
            Err(error) => panic!("status {}, body is no JSON ({error}): {text:?}", self.status),
        }
    }
}
