//! Sends each request on a new connection, which is enough for most tests.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use serde_json::Value;

use super::{Connection, HttpError, Request, Response};

/// The limit of an exchange unless another is asked for.
const EXCHANGE_LIMIT: Duration = Duration::from_secs(60);

/// Sends each request on a connection of its own.
#[derive(Clone, Debug)]
pub struct Client {
    address: SocketAddr,
    limit: Duration,
    tls: Option<Arc<ClientConfig>>,
    observer: Option<Observer>,
}

#[derive(Clone)]
struct Observer(Arc<Observe>);

type Observe = dyn Fn(&Request, &Response) + Send + Sync;

impl fmt::Debug for Observer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Observer")
    }
}

impl Client {
    /// A client of the server at `address`. The limit of an exchange is one minute.
    pub fn new(address: SocketAddr) -> Self {
        Self { address, limit: EXCHANGE_LIMIT, tls: None, observer: None }
    }

    /// Uses TLS, if there is a configuration.
    pub fn over_tls(mut self, tls: Option<Arc<ClientConfig>>) -> Self {
        self.tls = tls;
        self
    }

    /// Calls a function with each request and its answer.
    #[allow(dead_code, reason = "only some of the programs that use this file observe")]
    pub fn observed(mut self, observe: impl Fn(&Request, &Response) + Send + Sync + 'static) -> Self {
        self.observer = Some(Observer(Arc::new(observe)));
        self
    }

    /// Sets another limit for an exchange.
    pub fn limited(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// The address of the server.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The scheme of its URLs.
    pub fn scheme(&self) -> &'static str {
        if self.tls.is_some() { "https" } else { "http" }
    }

    /// A connection to be used for several exchanges.
    pub fn connect(&self) -> Result<Connection, HttpError> {
        match &self.tls {
            Some(tls) => Connection::open_tls(self.address, self.limit, Arc::clone(tls)),
            None => Connection::open(self.address, self.limit),
        }
    }

    /// Sends a request as it is.
    pub fn send(&self, request: &Request) -> Result<Response, HttpError> {
        let response = self.connect()?.exchange(request)?;
        if let Some(Observer(observe)) = &self.observer {
            observe(request, &response);
        }
        Ok(response)
    }

    pub fn get(&self, target: &str) -> Result<Response, HttpError> {
        self.send(&Request::new("GET", target))
    }

    /// All items of a list that is answered in pages. The target has no parameters.
    pub fn all_items(&self, target: &str) -> Result<Vec<Value>, HttpError> {
        let (mut items, mut after) = (Vec::new(), String::new());
        loop {
            let page = self.get(&format!("{target}?limit=200{after}"))?.json();
            items.extend(
                page["items"].as_array().unwrap_or_else(|| panic!("no page: {page}")).iter().cloned(),
            );
            match page["next"].as_str() {
                Some(next) => after = format!("&after={next}"),
                None => return Ok(items),
            }
        }
    }

    pub fn delete(&self, target: &str) -> Result<Response, HttpError> {
        self.send(&Request::new("DELETE", target))
    }

    /// PUT with a document.
    pub fn put(&self, target: &str, body: &Value) -> Result<Response, HttpError> {
        self.send(&Request::new("PUT", target).json(body))
    }

    /// POST with a document.
    pub fn post(&self, target: &str, body: &Value) -> Result<Response, HttpError> {
        self.send(&Request::new("POST", target).json(body))
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::TcpListener;
    use std::thread::{self, JoinHandle};

    use super::*;
    use crate::support::eventually::GENEROUS;
    use crate::support::net::free_address;

    /// A server for one connection. In each round it reads until `until` and writes an answer. It returns all that it has read.
    fn serve(rounds: Vec<(&'static str, &'static [u8])>) -> (Client, JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            stream.set_read_timeout(Some(GENEROUS)).unwrap();
            let mut read = String::new();
            for (until, answer) in rounds {
                let mut buffer = [0; 4096];
                while !read.ends_with(until) {
                    let count = stream.read(&mut buffer).unwrap();
                    assert!(count > 0, "closed after {read:?}");
                    read.push_str(std::str::from_utf8(&buffer[..count]).unwrap());
                }
                for part in answer.chunks(7) {
                    stream.write_all(part).unwrap();
                }
            }
            read
        });
        (Client::new(address), server)
    }

    #[test]
    fn a_post_has_the_needed_headers_only() {
        let (client, server) = serve(vec![("{\"a\":1}", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")]);
        let response = client.post("/x?y=1", &serde_json::json!({"a": 1})).unwrap();
        assert_eq!((response.status, response.json()), (200, serde_json::json!({})));
        let host = client.address();
        assert_eq!(
            server.join().unwrap(),
            format!(
                "POST /x?y=1 HTTP/1.1\r\nHost: {host}\r\nAccept-Encoding: identity\r\nContent-Length: 7\r\n\
                 Content-Type: application/json\r\n\r\n{{\"a\":1}}"
            )
        );
    }

    #[test]
    fn header_names_keep_their_case_and_doubles() {
        let answer = b"HTTP/1.1 400 Bad Request\r\nX-a: 1\r\nx-A:2\r\nX-a:  3 \r\ncontent-length: 0\r\n\r\n";
        let (client, server) = serve(vec![("\r\n\r\n", answer)]);
        let response = client.get("/").unwrap();
        server.join().unwrap();
        assert_eq!(response.joined_header("X-a").as_deref(), Some("1, 3"));
        assert_eq!(response.joined_header("x-A").as_deref(), Some("2"));
        assert_eq!(response.joined_header("x-a"), None);
        assert_eq!(response.header("x-a"), Some("1"));
    }

    #[test]
    fn chunks_are_joined_and_the_connection_is_used_again() {
        let chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n10;x=y\r\n0123456789abcdef\r\n0\r\n\r\n";
        let last = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nto the end";
        let (client, server) = serve(vec![("\r\n\r\n", chunked), ("/2 HTTP/1.1\r\nHost: h\r\n\r\n", last)]);
        let mut connection = client.connect().unwrap();
        assert_eq!(connection.exchange(&Request::new("GET", "/1")).unwrap().text(), "abc0123456789abcdef");
        assert!(connection.is_reusable());
        connection.send_bytes(b"GET /2 HTTP/1.1\r\nHost: h\r\n\r\n").unwrap();
        assert_eq!(connection.read_response("GET").unwrap().text(), "to the end");
        assert!(!connection.is_reusable());
        assert!(connection.closes_within(GENEROUS));
        server.join().unwrap();
    }

    #[test]
    fn gzip_is_unpacked() {
        let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packer.write_all(b"[1]").unwrap();
        let headers = vec![("Content-Encoding".to_owned(), "gzip".to_owned())];
        let response = Response { status: 200, headers, body: packer.finish().unwrap() };
        assert_eq!(response.json(), serde_json::json!([1]));
    }

    #[test]
    fn what_is_not_whole_is_an_error() {
        let (client, server) = serve(vec![("\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc")]);
        assert!(matches!(client.get("/"), Err(HttpError::Closed(41))));
        server.join().unwrap();
        let (client, server) = serve(vec![("\r\n\r\n", b"SSH-2.0\r\n")]);
        assert!(matches!(client.get("/"), Err(HttpError::Malformed(_))));
        server.join().unwrap();
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = Client::new(silent.local_addr().unwrap()).limited(Duration::from_millis(50));
        assert!(matches!(client.delete("/"), Err(HttpError::TimedOut)));
        let refused = Client::new(free_address().unwrap()).put("/", &serde_json::json!(null));
        assert!(matches!(refused, Err(HttpError::Connect(_))), "{refused:?}");
    }

    #[test]
    fn a_connection_can_be_cut() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let connection = Client::new(listener.local_addr().unwrap()).connect().unwrap();
        let (mut stream, _) = listener.accept().unwrap();
        connection.cut();
        assert_eq!(stream.read(&mut [0; 1]).unwrap_or(0), 0);
    }

    #[test]
    fn an_early_answer_to_a_long_body_counts() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = Client::new(listener.local_addr().unwrap());
        let server = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            stream
                .write_all(b"HTTP/1.1 413 Too Large\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
                .unwrap();
            let mut rest = Vec::new();
            stream.read_to_end(&mut rest).unwrap();
        });
        let request = Request::new("POST", "/").bytes(vec![b'x'; 4_000_000]);
        assert_eq!(client.send(&request).unwrap().status, 413);
        server.join().unwrap();
    }
}
