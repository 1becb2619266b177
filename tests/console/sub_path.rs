//! The console behind a proxy that serves the registry below a path of its own.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use serde_json::json;

use crate::console::Console;
use crate::staging::{Caller, Shop};
use crate::support::daemon::{Daemon, Settings};
use crate::support::eventually::GENEROUS;
use crate::support::net::free_address;
pub const PATH: &str = "/some/registry/";

/// A proxy that removes [`PATH`] from each request, and answers 404 to requests without it.
pub struct PathProxy {
    pub address: SocketAddr,
    is_stopped: Arc<AtomicBool>,
}

impl PathProxy {
    /// Starts a proxy that adds these lines to the head of each request. Each ends with a line end.
    pub fn start(target: SocketAddr, added: &'static str) -> Self {
        let listener = TcpListener::bind(free_address().unwrap()).unwrap();
        let address = listener.local_addr().unwrap();
        let is_stopped = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&is_stopped);
        thread::spawn(move || {
            while let Ok((client, _)) = listener.accept() {
                if stopped.load(Ordering::Relaxed) {
                    return;
                }
                thread::spawn(move || forward(&client, target, added).ok());
            }
        });
        Self { address, is_stopped }
    }
}

impl Drop for PathProxy {
    fn drop(&mut self) {
        self.is_stopped.store(true, Ordering::Relaxed);
        TcpStream::connect(self.address).ok();
    }
}

/// Carries one request, and its answer until the connection ends.
fn forward(client: &TcpStream, target: SocketAddr, added: &str) -> io::Result<()> {
    client.set_read_timeout(Some(GENEROUS))?;
    let mut reader = BufReader::new(client);
    let mut head = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(());
        }
        if line == "\r\n" {
            break;
        }
        head.push(line);
    }
    let Some((method, path)) = head[0].split_once(' ') else { return Ok(()) };
    let Some(path) = path.strip_prefix(PATH) else {
        let answer = "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
        return (&*client).write_all(answer.as_bytes());
    };
    let lower = |line: &String| line.to_ascii_lowercase();
    let length =
        head.iter().find_map(|line| lower(line).strip_prefix("content-length:")?.trim().parse().ok());
    let kept = head[1..].iter().filter(|line| !lower(line).starts_with("connection:"));
    let rest: String = kept.map(String::as_str).collect();
    let mut body = vec![0; length.unwrap_or(0)];
    reader.read_exact(&mut body)?;

    let mut server = TcpStream::connect(target)?;
    write!(server, "{method} /{path}{rest}{added}Connection: close\r\n\r\n")?;
    server.write_all(&body)?;
    // The end of the client ends a stream of events.
    let (mut gone, ended) = (client.try_clone()?, server.try_clone()?);
    gone.set_read_timeout(None)?;
    thread::spawn(move || {
        io::copy(&mut gone, &mut io::sink()).ok();
        ended.shutdown(Shutdown::Both).ok();
    });
    io::copy(&mut server, &mut &*client)?;
    client.shutdown(Shutdown::Both)
}

#[test]
fn a_proxy_may_add_a_path() {
    let daemon = Daemon::start(Settings::default()).unwrap();
    let caller = Caller::of(&daemon);
    let _shop = Shop::fill(&caller);
    let proxy = PathProxy::start(daemon.address(), "");
    let console = Console::below(proxy.address, PATH);
    // Without the slash at the end the daemon leads to the page.
    console.open(console.page().trim_end_matches('/'));
    console.wait_for_view("#/");
    assert_eq!(console.run("return location.pathname"), format!("{PATH}console/"));
    console.visit("#/services");
    console.click("a", "payments");
    console.wait_for_view("#/service");
    console.wait_for_text("payments-2");
    console.visit("#/services");
    caller.create(&json!({"serviceName": "new-behind-a-path"}));
    console.wait_for_text("new-behind-a-path");
    console.assert_is_clean("behind a path");
}
