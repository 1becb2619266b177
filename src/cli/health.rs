//! `check-health`: asks the daemon of this machine whether it serves. Containers use it, because their image has no shell and no
//! curl.
//!
//! It finds the address in the configuration, as the daemon does. With HTTPS it accepts any certificate, as the probes of Kubernetes do.
//! It sends no secret. A container is not ill because its certificate expires tomorrow, or because the files were replaced by broken
//! ones: the daemon goes on with the old ones, and would not start again. Metrics tell both.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;

use rustls::crypto::ring;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection};

use super::terminal::Terminal;
use crate::config::{Config, TlsConfig};
use crate::tls::TlsError;
use crate::tls::any_name::AnyName;

/// The exit code if the daemon does not serve. Docker knows 0 and 1 only.
pub const EXIT_UNHEALTHY: u8 = 1;

const READINESS: &str = "/v4/default/registry/health/readiness";

/// The limit of a connect, a read and a write.
const STEP_LIMIT: Duration = Duration::from_secs(2);

/// The beginning of an answer: `HTTP/1.1 200`.
const STATUS_LENGTH: usize = 12;

/// Prints the verdict and returns the exit code.
pub(super) fn report(config: &Config, terminal: &mut Terminal<'_>) -> u8 {
    let target = Target::of(config);
    match ask(&target, &config.tls) {
        Ok(Answer::Status(200)) => {
            terminal.say(&format!("{target} serves"));
            0
        }
        Ok(Answer::WantsCertificate) => {
            terminal.say(&format!(
                "{target} answers; its readiness is not known, because clients need a certificate"
            ));
            0
        }
        Ok(Answer::Status(status)) => {
            terminal.complain(&format!("{target} does not serve: it answers {status} to GET {READINESS}"));
            EXIT_UNHEALTHY
        }
        Err(error) => {
            terminal.complain(&format!("{target} does not answer: {error}"));
            EXIT_UNHEALTHY
        }
    }
}

/// Where the daemon listens.
struct Target {
    scheme: &'static str,
    host: String,
    port: u16,
}

impl Target {
    fn of(config: &Config) -> Self {
        let host = config.server.host.as_str();
        let unspecified = host.parse::<IpAddr>().ok().filter(IpAddr::is_unspecified);
        let host = match unspecified {
            Some(IpAddr::V6(_)) => Ipv6Addr::LOCALHOST.to_string(),
            Some(IpAddr::V4(_)) => Ipv4Addr::LOCALHOST.to_string(),
            None if host.is_empty() => Ipv4Addr::LOCALHOST.to_string(),
            None => host.to_owned(),
        };
        Self { scheme: if config.tls.enable { "https" } else { "http" }, host, port: config.server.port }
    }

    /// Tries the addresses of the host one after another.
    fn connect(&self) -> io::Result<TcpStream> {
        let mut failure = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
        for address in (self.host.as_str(), self.port).to_socket_addrs()? {
            match TcpStream::connect_timeout(&address, STEP_LIMIT) {
                Ok(stream) => {
                    stream.set_read_timeout(Some(STEP_LIMIT))?;
                    stream.set_write_timeout(Some(STEP_LIMIT))?;
                    return Ok(stream);
                }
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { scheme, host, port } = self;
        if host.contains(':') {
            write!(f, "{scheme}://[{host}]:{port}")
        } else {
            write!(f, "{scheme}://{host}:{port}")
        }
    }
}

enum Answer {
    Status(u16),
    /// The daemon completed its part of the handshake and then rejected a client without a certificate.
    WantsCertificate,
}

#[derive(Debug, thiserror::Error)]
enum HealthError {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("{0}")]
    Tls(#[from] TlsError),
    #[error("its answer is not HTTP")]
    NotHttp,
}

fn ask(target: &Target, tls: &TlsConfig) -> Result<Answer, HealthError> {
    let mut stream = target.connect()?;
    if !tls.enable {
        return status(&mut stream).map(Answer::Status);
    }
    let mut connection = client()?;
    if tls.verify_client {
        return handshake(&mut connection, &mut stream);
    }
    status(&mut rustls::Stream::new(&mut connection, &mut stream)).map(Answer::Status)
}

/// Sends the request and reads the status of the answer.
fn status(stream: &mut (impl Read + Write)) -> Result<u16, HealthError> {
    write!(stream, "GET {READINESS} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    stream.flush()?;
    let mut begin = [0; STATUS_LENGTH];
    stream.read_exact(&mut begin)?;
    let text = std::str::from_utf8(&begin).ok().and_then(|text| text.strip_prefix("HTTP/1.1 "));
    text.and_then(|status| status.parse().ok()).ok_or(HealthError::NotHttp)
}

/// Opens the connection without a certificate of its own, which the daemon then rejects. No request is sent, so that the alert of
/// the daemon is not lost to data that it has not read.
fn handshake(connection: &mut ClientConnection, stream: &mut TcpStream) -> Result<Answer, HealthError> {
    let mut stream = rustls::Stream::new(connection, stream);
    match stream.read(&mut [0]) {
        Ok(_) => Err(HealthError::NotHttp),
        Err(error) if is_alert(&error) => Ok(Answer::WantsCertificate),
        Err(error) => Err(error.into()),
    }
}

/// Whether the other side ended the connection with an alert.
fn is_alert(error: &io::Error) -> bool {
    let error = error.get_ref().and_then(|error| error.downcast_ref::<rustls::Error>());
    matches!(error, Some(rustls::Error::AlertReceived(_)))
}

fn client() -> Result<ClientConnection, TlsError> {
    let provider = Arc::new(ring::default_provider());
    let verifier = AnyName { authority: None, provider: Arc::clone(&provider) };
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(TlsError::Library)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    let name = ServerName::IpAddress(Ipv4Addr::LOCALHOST.into());
    ClientConnection::new(Arc::new(config), name).map_err(TlsError::Library)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::config::{Inputs, Sources};

    #[test]
    fn the_address_is_that_of_the_daemon() {
        for (host, expected) in [
            ("10.12.0.1", "http://10.12.0.1:30100"),
            ("sc.test", "http://sc.test:30100"),
            ("0.0.0.0", "http://127.0.0.1:30100"),
            ("", "http://127.0.0.1:30100"),
            ("::", "http://[::1]:30100"),
        ] {
            let flags = [("server.host", host), ("registry.instance.endpoint", "10.12.0.1")];
            let flags = flags.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
            let inputs =
                Inputs { flags, conf_dir: None, working_dir: "/nowhere".into(), ..Inputs::default() };
            let config = Sources::gather(&inputs).load().config.unwrap();
            assert_eq!(Target::of(&config).to_string(), expected);
        }
    }

    /// Answers that are no answers of the daemon.
    #[test]
    fn what_is_not_http_is_told() {
        struct Fixed(&'static [u8]);
        impl Read for Fixed {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                self.0.read(buffer)
            }
        }
        impl Write for Fixed {
            fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
                Ok(buffer.len())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        assert_eq!(status(&mut Fixed(b"HTTP/1.1 503 Service Unavailable\r\n")).unwrap(), 503);
        assert!(matches!(status(&mut Fixed(b"SSH-2.0-OpenSSH_9\r\n")), Err(HealthError::NotHttp)));
        assert!(matches!(status(&mut Fixed(b"HTTP/1.1")), Err(HealthError::Io(_))));
    }
}
