//! A TCP proxy between two processes of a test. It cuts, stalls, delays, slows down and garbles connections.
//!
//! A cut ends all connections, and each new one at once. A stall keeps connections open and carries nothing, like a network that loses every
//! packet. Both last until [`Proxy::heal`]. The proxy uses threads, which end when it is dropped.

use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::net::sockopt::{set_socket_recv_buffer_size, set_socket_send_buffer_size};

use super::net::free_address;

/// Limit for a connection to the target, which is on this machine.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);
/// Bytes read at a time.
const CHUNK: usize = 4 * 1024;
/// Chunks that the proxy holds in one direction. With more the sender has to wait.
const CHUNKS_ON_THE_WAY: usize = 64;
/// Size of the kernel's buffers on each side of a narrow proxy, in bytes.
const NARROW: usize = 16 * 1024;

/// A proxy in front of one address.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<ProxyShared>,
    acceptor: Option<JoinHandle<()>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Gate {
    Open,
    Stalled,
    Cut,
}

#[derive(Debug)]
struct ProxyShared {
    target: SocketAddr,
    is_narrow: bool,
    state: Mutex<ProxyState>,
    changed: Condvar,
}

#[derive(Debug)]
struct ProxyState {
    gate: Gate,
    delay: Duration,
    bytes_per_second: Option<u32>,
    /// Texts, each with what takes its place, which has the same length.
    garbled: Vec<(Vec<u8>, Vec<u8>)>,
    connections: Vec<[TcpStream; 2]>,
    is_stopped: bool,
}

/// Bytes, and the moment from which they may arrive.
type Parcel = (Instant, Vec<u8>);

impl Proxy {
    /// Starts a proxy that carries everything at once.
    pub fn start(target: SocketAddr) -> io::Result<Self> {
        Self::launch(target, false)
    }

    /// Starts a proxy whose kernel buffers hold only some kilobytes, so that a receiver that does not read soon stops the sender.
    pub fn start_narrow(target: SocketAddr) -> io::Result<Self> {
        Self::launch(target, true)
    }

    fn launch(target: SocketAddr, is_narrow: bool) -> io::Result<Self> {
        let listener = TcpListener::bind(free_address()?)?;
        if is_narrow {
            // Accepted connections inherit the sizes.
            set_socket_recv_buffer_size(&listener, NARROW)?;
            set_socket_send_buffer_size(&listener, NARROW)?;
        }
        let state = ProxyState {
            gate: Gate::Open,
            delay: Duration::ZERO,
            bytes_per_second: None,
            garbled: Vec::new(),
            connections: Vec::new(),
            is_stopped: false,
        };
        let shared =
            Arc::new(ProxyShared { target, is_narrow, state: Mutex::new(state), changed: Condvar::new() });
        let address = listener.local_addr()?;
        let accepting = Arc::clone(&shared);
        let acceptor =
            thread::Builder::new().name("proxy".into()).spawn(move || accepting.accept(&listener))?;
        Ok(Self { address, shared, acceptor: Some(acceptor) })
    }

    /// The address for its clients.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Ends all connections, and each new one at once.
    pub fn cut(&self) {
        self.shared.set(|state| {
            state.gate = Gate::Cut;
            state.end_connections();
        });
    }

    /// Carries nothing. Connections stay open, and new ones are accepted.
    pub fn stall(&self) {
        self.shared.set(|state| state.gate = Gate::Stalled);
    }

    /// Carries everything again. Bytes that a stall has held back arrive.
    pub fn heal(&self) {
        self.shared.set(|state| state.gate = Gate::Open);
    }

    /// Delays each round trip by this time, half of it in each direction.
    pub fn delay(&self, round_trip: Duration) {
        self.shared.set(|state| state.delay = round_trip / 2);
    }

    /// Limits each connection in each direction. `None` removes the limit.
    pub fn limit(&self, bytes_per_second: Option<u32>) {
        self.shared.set(|state| state.bytes_per_second = bytes_per_second);
    }

    /// Replaces texts in everything that comes from now on, by others of the same length. A text that comes in two pieces gets through.
    pub fn garble(&self, texts: &[(String, String)]) {
        let texts = texts.iter().map(|(text, by)| {
            assert_eq!(text.len(), by.len(), "lengths of messages stay as they are");
            (text.clone().into_bytes(), by.clone().into_bytes())
        });
        self.shared.set(|state| state.garbled = texts.collect());
    }

    /// Ends [`Proxy::garble`].
    pub fn garble_nothing(&self) {
        self.shared.set(|state| state.garbled.clear());
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.set(|state| {
            state.is_stopped = true;
            state.end_connections();
        });
        // Wakes the acceptor.
        TcpStream::connect(self.address).ok();
        if let Some(acceptor) = self.acceptor.take() {
            acceptor.join().ok();
        }
    }
}

impl ProxyState {
    fn end_connections(&mut self) {
        for stream in self.connections.drain(..).flatten() {
            stream.shutdown(Shutdown::Both).ok();
        }
    }
}

impl ProxyShared {
    fn lock(&self) -> MutexGuard<'_, ProxyState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, change: impl FnOnce(&mut ProxyState)) {
        change(&mut self.lock());
        self.changed.notify_all();
    }

    fn accept(self: &Arc<Self>, listener: &TcpListener) {
        while let Ok((client, _)) = listener.accept() {
            let gate = {
                let state = self.lock();
                if state.is_stopped {
                    return;
                }
                state.gate
            };
            if gate != Gate::Cut {
                let shared = Arc::clone(self);
                // The target may be slow or gone. The next client must not wait for it.
                thread::spawn(move || shared.connect(client));
            }
        }
    }

    fn connect(self: &Arc<Self>, client: TcpStream) {
        let Ok(server) = TcpStream::connect_timeout(&self.target, CONNECT_LIMIT) else { return };
        if self.is_narrow {
            set_socket_recv_buffer_size(&server, NARROW).ok();
        }
        client.set_nodelay(true).ok();
        server.set_nodelay(true).ok();
        let clones = (client.try_clone(), server.try_clone(), client.try_clone(), server.try_clone());
        let (Ok(kept_client), Ok(kept_server), Ok(from_client), Ok(from_server)) = clones else { return };
        {
            let mut state = self.lock();
            if state.is_stopped || state.gate == Gate::Cut {
                return;
            }
            state.connections.push([kept_client, kept_server]);
        }
        self.carry(from_client, server);
        self.carry(from_server, client);
    }

    fn carry(self: &Arc<Self>, from: TcpStream, to: TcpStream) {
        let (sender, parcels) = sync_channel(if self.is_narrow { 1 } else { CHUNKS_ON_THE_WAY });
        let (reading, writing) = (Arc::clone(self), Arc::clone(self));
        thread::spawn(move || reading.read(from, &sender));
        thread::spawn(move || writing.write(to, &parcels));
    }

    fn read(&self, mut from: TcpStream, sender: &SyncSender<Parcel>) {
        let mut buffer = [0; CHUNK];
        while let Ok(count @ 1..) = from.read(&mut buffer) {
            let mut bytes = buffer[..count].to_vec();
            let due = {
                let state = self.lock();
                state.garbled.iter().for_each(|(text, by)| replace(&mut bytes, text, by));
                Instant::now() + state.delay
            };
            if sender.send((due, bytes)).is_err() {
                return;
            }
        }
    }

    fn write(&self, mut to: TcpStream, parcels: &Receiver<Parcel>) {
        while let Ok((due, bytes)) = parcels.recv() {
            thread::sleep(due.saturating_duration_since(Instant::now()));
            if !self.wait_until_open() || to.write_all(&bytes).is_err() {
                break;
            }
            let rate = self.lock().bytes_per_second;
            if let Some(rate) = rate {
                let bytes = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
                self.pause(Duration::from_secs(1) * bytes / rate.max(1));
            }
        }
        to.shutdown(Shutdown::Write).ok();
    }

    /// Waits until the gate is open; false if the connections have ended.
    fn wait_until_open(&self) -> bool {
        let stalled = |state: &mut ProxyState| state.gate == Gate::Stalled && !state.is_stopped;
        let state = self.changed.wait_while(self.lock(), stalled).unwrap_or_else(PoisonError::into_inner);
        state.gate == Gate::Open && !state.is_stopped
    }

    /// Pauses until the time is over or the limit is removed.
    fn pause(&self, time: Duration) {
        let limited = |state: &mut ProxyState| state.bytes_per_second.is_some() && !state.is_stopped;
        drop(self.changed.wait_timeout_while(self.lock(), time, limited));
    }
}

/// Replaces each occurrence of a text by another one of the same length.
fn replace(bytes: &mut [u8], text: &[u8], by: &[u8]) {
    let mut from = 0;
    while let Some(found) = bytes[from..].windows(text.len()).position(|window| window == text) {
        let at = from + found;
        bytes[at..at + text.len()].copy_from_slice(by);
        from = at + text.len();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::support::eventually::{GENEROUS, eventually};

    /// Starts a server that returns what it gets; its address.
    fn echo_server() -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || {
            while let Ok((mut stream, _)) = listener.accept() {
                thread::spawn(move || {
                    let mut writer = stream.try_clone().unwrap();
                    io::copy(&mut stream, &mut writer).ok();
                    writer.shutdown(Shutdown::Write).ok();
                });
            }
        });
        address
    }

    /// A proxy in front of a server that returns what it gets.
    fn echo() -> Proxy {
        Proxy::start(echo_server()).unwrap()
    }

    fn open(address: SocketAddr) -> TcpStream {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(GENEROUS)).unwrap();
        stream
    }

    fn exchange(stream: &mut TcpStream, text: &[u8]) -> io::Result<Vec<u8>> {
        stream.write_all(text)?;
        let mut back = vec![0; text.len()];
        stream.read_exact(&mut back)?;
        Ok(back)
    }

    /// Sends a text through the proxy. Nothing may come back before an exchange that is begun later, and does not go through the
    /// proxy, is over.
    fn assert_held_back(stream: &mut TcpStream, text: &[u8], server: SocketAddr) {
        stream.write_all(text).unwrap();
        exchange(&mut open(server), b"later").unwrap();
        stream.set_nonblocking(true).unwrap();
        let early = stream.peek(&mut [0]).unwrap_err();
        assert_eq!(early.kind(), io::ErrorKind::WouldBlock);
        stream.set_nonblocking(false).unwrap();
    }

    #[test]
    fn carries_both_ways_and_the_end() {
        let proxy = echo();
        let mut stream = open(proxy.address());
        let long = vec![b'x'; 1_000_000];
        let mut writer = stream.try_clone().unwrap();
        let expected = long.clone();
        let sending = thread::spawn(move || {
            writer.write_all(&long).unwrap();
            writer.shutdown(Shutdown::Write).unwrap();
        });
        let mut back = Vec::new();
        stream.read_to_end(&mut back).unwrap();
        sending.join().unwrap();
        assert!(back == expected);
    }

    #[test]
    fn garbles_some_texts() {
        let proxy = echo();
        let mut stream = open(proxy.address());
        proxy.garble(&[("lost".to_owned(), "l0st".to_owned()), ("a".to_owned(), "b".to_owned())]);
        assert_eq!(exchange(&mut stream, b"a lost lost one").unwrap(), b"b l0st l0st one");
        proxy.garble_nothing();
        assert_eq!(exchange(&mut stream, b"lost").unwrap(), b"lost");
    }

    #[test]
    fn a_cut_ends_what_is_there_and_what_comes_until_it_heals() {
        let proxy = echo();
        let mut stream = open(proxy.address());
        assert_eq!(exchange(&mut stream, b"one").unwrap(), b"one");
        proxy.cut();
        assert!(exchange(&mut stream, b"two").is_err());
        assert!(exchange(&mut open(proxy.address()), b"three").is_err());
        proxy.heal();
        eventually(GENEROUS, || exchange(&mut open(proxy.address()), b"four"));
    }

    #[test]
    fn a_stall_holds_back_and_loses_nothing() {
        let server = echo_server();
        let proxy = Proxy::start(server).unwrap();
        let mut stream = open(proxy.address());
        assert_eq!(exchange(&mut stream, b"one").unwrap(), b"one");
        proxy.stall();
        assert_held_back(&mut stream, b"two", server);
        proxy.heal();
        let mut back = [0; 3];
        stream.read_exact(&mut back).unwrap();
        assert_eq!(&back, b"two");
    }

    #[test]
    fn a_delay_holds_back_and_a_limit_stops_after_the_first_chunk() {
        let server = echo_server();
        let proxy = Proxy::start(server).unwrap();
        proxy.delay(Duration::from_millis(1));
        assert_eq!(exchange(&mut open(proxy.address()), b"late").unwrap(), b"late");
        proxy.delay(GENEROUS * 60);
        assert_held_back(&mut open(proxy.address()), b"too late", server);
        proxy.delay(Duration::ZERO);

        // At a byte a second nothing follows the first chunk until the limit is lifted.
        proxy.limit(Some(1));
        let mut stream = open(proxy.address());
        let first = [b'x'; 600];
        assert_eq!(exchange(&mut stream, &first).unwrap(), first);
        assert_held_back(&mut stream, b"second", server);
        proxy.limit(None);
        let mut back = [0; 6];
        stream.read_exact(&mut back).unwrap();
        assert_eq!(&back, b"second");
    }
}
