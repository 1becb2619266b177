//! A blocking websocket client that shows every frame, also control frames. Every wait has a limit.

use std::fmt;
use std::io::{self, ErrorKind};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;
use tungstenite::handshake::HandshakeError;
use tungstenite::http::{HeaderName, HeaderValue, Request};
use tungstenite::protocol::frame::CloseFrame;
use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::{ClientRequestBuilder, Message, client::IntoClientRequest as _};

use super::eventually::Deadline;

/// The limit for the connection and the handshake.
const OPEN_LIMIT: Duration = Duration::from_secs(60);

/// A received frame. The client answers pings and close frames itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// A text message.
    Text(String),
    /// A binary message.
    Binary(Vec<u8>),
    /// A ping and its payload.
    Ping(Vec<u8>),
    /// A pong and its payload.
    Pong(Vec<u8>),
    /// A close frame with its code and reason, if it has them.
    Close(Option<(u16, String)>),
}

/// Why there is no websocket, or no frame.
#[derive(Debug)]
pub enum WsError {
    /// The server answered the handshake with this status instead of 101.
    Refused {
        /// The status.
        status: u16,
        /// The body, as far as it came with the head.
        body: String,
    },
    /// Nothing came in time.
    TimedOut,
    /// The connection ended without a close frame, or broke.
    Dropped(String),
}

impl fmt::Display for WsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused { status, body } => write!(f, "handshake refused with status {status}: {body:?}"),
            Self::TimedOut => write!(f, "no frame in time"),
            Self::Dropped(why) => write!(f, "the connection was dropped: {why}"),
        }
    }
}

impl From<tungstenite::Error> for WsError {
    fn from(error: tungstenite::Error) -> Self {
        match error {
            tungstenite::Error::Http(response) => Self::Refused {
                status: response.status().as_u16(),
                body: String::from_utf8_lossy(response.body().as_deref().unwrap_or_default()).into_owned(),
            },
            tungstenite::Error::Io(error) if is_timeout(&error) => Self::TimedOut,
            other => Self::Dropped(other.to_string()),
        }
    }
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

/// An open websocket. Dropping it ends the connection without a close frame.
#[derive(Debug)]
pub struct WebSocket {
    inner: tungstenite::WebSocket<TcpStream>,
}

impl WebSocket {
    /// Connects and asks for the upgrade of `target` (path and query).
    pub fn open(address: SocketAddr, target: &str, headers: &[(String, String)]) -> Result<Self, WsError> {
        let dropped = |error: io::Error| WsError::Dropped(error.to_string());
        let stream = TcpStream::connect_timeout(&address, OPEN_LIMIT).map_err(dropped)?;
        stream.set_nodelay(true).map_err(dropped)?;
        stream.set_read_timeout(Some(OPEN_LIMIT)).map_err(dropped)?;
        stream.set_write_timeout(Some(OPEN_LIMIT)).map_err(dropped)?;
        match tungstenite::client(upgrade_request(address, target, headers)?, stream) {
            Ok((inner, _)) => Ok(Self { inner }),
            Err(HandshakeError::Failure(error)) => Err(error.into()),
            Err(HandshakeError::Interrupted(_)) => Err(WsError::TimedOut),
        }
    }

    /// The next frame, whatever it is.
    pub fn next_frame(&mut self, limit: Duration) -> Result<Frame, WsError> {
        self.frame_before(Deadline::after(limit))
    }

    /// The next text message. Pings and pongs before it are skipped. Any other frame is an error.
    pub fn expect_text(&mut self, limit: Duration) -> Result<String, WsError> {
        match self.next_data(limit)? {
            Frame::Text(text) => Ok(text),
            other => Err(WsError::Dropped(format!("want a text message, got {other:?}"))),
        }
    }

    /// The next text message as a document.
    pub fn expect_json(&mut self, limit: Duration) -> Result<Value, WsError> {
        let text = self.expect_text(limit)?;
        serde_json::from_str(&text).map_err(|error| WsError::Dropped(format!("no JSON ({error}): {text:?}")))
    }

    /// The next frame that is neither ping nor pong.
    pub fn next_data(&mut self, limit: Duration) -> Result<Frame, WsError> {
        let deadline = Deadline::after(limit);
        loop {
            match self.frame_before(deadline)? {
                Frame::Ping(_) | Frame::Pong(_) => {}
                frame => return Ok(frame),
            }
        }
    }

    /// Sends a text message.
    pub fn send_text(&mut self, text: &str) -> Result<(), WsError> {
        self.send(Message::text(text))
    }

    /// Sends a ping.
    pub fn ping(&mut self, payload: &[u8]) -> Result<(), WsError> {
        self.send(Message::Ping(payload.to_vec().into()))
    }

    /// Sends a pong without a ping.
    pub fn pong(&mut self, payload: &[u8]) -> Result<(), WsError> {
        self.send(Message::Pong(payload.to_vec().into()))
    }

    /// Sends a close frame. The answer is the next [`Frame::Close`].
    pub fn close(&mut self, code: u16, reason: &str) -> Result<(), WsError> {
        self.send(Message::Close(Some(CloseFrame { code: CloseCode::from(code), reason: reason.into() })))
    }

    /// Ends the connection without a close frame.
    pub fn cut(self) {
        self.inner.get_ref().shutdown(Shutdown::Both).ok();
    }

    fn send(&mut self, message: Message) -> Result<(), WsError> {
        Ok(self.inner.send(message)?)
    }

    fn frame_before(&mut self, deadline: Deadline) -> Result<Frame, WsError> {
        loop {
            let left = deadline.remaining();
            if left.is_zero() {
                return Err(WsError::TimedOut);
            }
            let limited = self.inner.get_ref().set_read_timeout(Some(left));
            limited.map_err(|error| WsError::Dropped(error.to_string()))?;
            let frame = match self.inner.read() {
                Ok(Message::Text(text)) => Frame::Text(text.to_string()),
                Ok(Message::Binary(bytes)) => Frame::Binary(bytes.to_vec()),
                Ok(Message::Ping(payload)) => Frame::Ping(payload.to_vec()),
                Ok(Message::Pong(payload)) => Frame::Pong(payload.to_vec()),
                Ok(Message::Close(close)) => {
                    Frame::Close(close.map(|close| (u16::from(close.code), close.reason.to_string())))
                }
                Ok(Message::Frame(_)) => continue, // never returned by a read
                Err(tungstenite::Error::Io(error)) if is_timeout(&error) => continue,
                Err(error) => return Err(error.into()),
            };
            if matches!(frame, Frame::Ping(_) | Frame::Close(_)) {
                self.inner.flush().ok(); // the answer to it goes out now; a broken connection shows at the next read
            }
            return Ok(frame);
        }
    }
}

fn upgrade_request(
    address: SocketAddr,
    target: &str,
    headers: &[(String, String)],
) -> Result<Request<()>, WsError> {
    let bad = |what: String| WsError::Dropped(format!("cannot be sent: {what}"));
    let uri =
        format!("ws://{address}{target}").parse().map_err(|error| bad(format!("{target:?}: {error}")))?;
    let mut request = ClientRequestBuilder::new(uri).into_client_request()?;
    for (name, value) in headers {
        let name = HeaderName::try_from(name).map_err(|error| bad(format!("header {name:?}: {error}")))?;
        let value =
            HeaderValue::try_from(value).map_err(|error| bad(format!("header value {value:?}: {error}")))?;
        request.headers_mut().insert(name, value);
    }
    Ok(request)
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::thread::{self, JoinHandle};

    use super::*;
    use crate::support::eventually::GENEROUS;

    type Server = tungstenite::WebSocket<TcpStream>;

    fn serve(script: impl FnOnce(Server) + Send + 'static) -> (SocketAddr, JoinHandle<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = thread::spawn(move || {
            let (stream, _) = listener.accept().unwrap();
            stream.set_read_timeout(Some(GENEROUS)).unwrap();
            script(tungstenite::accept(stream).unwrap());
        });
        (address, server)
    }

    #[test]
    fn every_frame_is_seen_and_pings_are_answered() {
        let (address, server) = serve(|mut socket| {
            socket.send(Message::Ping(b"are you there".to_vec().into())).unwrap();
            assert_eq!(socket.read().unwrap(), Message::Pong(b"are you there".to_vec().into()));
            socket.send(Message::Pong(Vec::new().into())).unwrap();
            socket.send(Message::text("{\"a\":1}")).unwrap();
            assert_eq!(socket.read().unwrap(), Message::text("thanks"));
            assert_eq!(socket.read().unwrap(), Message::Ping(b"p".to_vec().into()));
            socket.flush().unwrap();
        });
        let mut client =
            WebSocket::open(address, "/watch?x=1", &[("X-Domain-Name".into(), "d".into())]).unwrap();
        assert_eq!(client.next_frame(GENEROUS).unwrap(), Frame::Ping(b"are you there".to_vec()));
        assert_eq!(client.expect_json(GENEROUS).unwrap(), serde_json::json!({"a": 1}));
        client.send_text("thanks").unwrap();
        client.ping(b"p").unwrap();
        assert_eq!(client.next_frame(GENEROUS).unwrap(), Frame::Pong(b"p".to_vec()));
        assert!(matches!(client.next_frame(GENEROUS), Err(WsError::Dropped(_))));
        server.join().unwrap();
    }

    #[test]
    fn close_frames_show_code_and_reason() {
        let (address, server) = serve(|mut socket| {
            socket.close(Some(CloseFrame { code: CloseCode::from(4001), reason: "gone".into() })).unwrap();
            assert!(
                matches!(socket.read().unwrap(), Message::Close(_)),
                "the client returns the close frame"
            );
        });
        let mut client = WebSocket::open(address, "/", &[]).unwrap();
        assert_eq!(client.next_frame(GENEROUS).unwrap(), Frame::Close(Some((4001, "gone".into()))));
        server.join().unwrap();

        let (address, server) = serve(|mut socket| {
            assert!(matches!(socket.read().unwrap(), Message::Close(Some(close)) if close.reason == "bye"));
            socket.flush().ok();
        });
        let mut client = WebSocket::open(address, "/", &[]).unwrap();
        client.close(1000, "bye").unwrap();
        assert!(matches!(client.next_frame(GENEROUS).unwrap(), Frame::Close(Some((1000, _)))));
        server.join().unwrap();
    }

    #[test]
    fn silence_times_out_and_the_socket_goes_on() {
        let (address, server) = serve(|mut socket| {
            assert_eq!(socket.read().unwrap(), Message::text("now"));
            socket.send(Message::text("late")).unwrap();
            assert_eq!(socket.read().unwrap(), Message::Pong(Vec::new().into()));
            assert!(socket.read().is_err(), "the client cuts the connection");
        });
        let mut client = WebSocket::open(address, "/", &[]).unwrap();
        assert!(matches!(client.expect_text(Duration::from_millis(50)), Err(WsError::TimedOut)));
        client.send_text("now").unwrap();
        assert_eq!(client.expect_text(GENEROUS).unwrap(), "late");
        client.pong(b"").unwrap();
        client.cut();
        server.join().unwrap();
    }

    #[test]
    fn a_refused_handshake_shows_its_status() {
        use std::io::{Read as _, Write as _};
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut buffer = [0; 4096];
            assert!(stream.read(&mut buffer).unwrap() > 0);
            stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\nnone").unwrap();
        });
        let refused = WebSocket::open(address, "/none", &[]).unwrap_err();
        assert!(matches!(refused, WsError::Refused { status: 404, .. }), "{refused}");
        server.join().unwrap();
    }
}
