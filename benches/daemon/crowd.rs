//! Many watchers over websocket, in processes of their own, because a process may open few files. Each process holds watchers of one node, and
//! tells this one over a connection when an event has reached all of them.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream as Control};
use std::ops::Range;
use std::process::{Command, ExitCode};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::client::{BASE, Connection, block_on};
use crate::node::raise_open_files;
use crate::support::process::Process;

/// Watchers of one process that connect at the same time.
const CONNECTING: usize = 32;
/// The limit for all watchers to connect.
const CONNECT_LIMIT: Duration = Duration::from_secs(180);
/// The limit for a process to call.
const CALL_LIMIT: Duration = Duration::from_secs(20);
/// An event that takes longer to reach all counts as lost.
const EVENT_LIMIT: Duration = Duration::from_secs(20);
/// The pause before a refused watcher tries again.
const AGAIN: Duration = Duration::from_millis(50);
/// Processes that hold the watchers of a single node.
const OF_ONE_NODE: usize = 2;

/// A moment that all processes of this machine name alike.
pub fn now() -> Duration {
    let now = clock_gettime(ClockId::Monotonic);
    Duration::new(now.tv_sec.unsigned_abs(), u32::try_from(now.tv_nsec).unwrap_or(0))
}

/// How many watchers of one node the limit on open files allows, both for the daemon and for a process of watchers. The daemon keeps one
/// file of 17 and 128 for other uses.
pub fn most_of_a_node() -> usize {
    usize::try_from(raise_open_files() / 16 * 15).unwrap_or(usize::MAX).saturating_sub(500)
}

/// What a process says.
#[derive(Debug, Serialize, Deserialize)]
enum Report {
    /// All its watchers are connected. So many handshakes were answered 503.
    Connected {
        refused: usize,
    },
    /// The next event has reached all its watchers, at these moments in nanoseconds.
    Told(Vec<u64>),
    Failed(String),
}

/// All watchers.
pub struct Crowd {
    parts: Vec<Part>,
    /// How long connecting took.
    pub connecting: Duration,
    /// Handshakes that were answered 503.
    pub refused: usize,
}

/// A process with watchers.
struct Part {
    process: Process,
    reports: BufReader<Control>,
    _folder: TempDir,
}

impl Crowd {
    /// Connects so many watchers of this consumer to each of the nodes.
    pub fn connect(nodes: &[SocketAddr], consumer: &str, watchers: usize) -> Result<Self, String> {
        let begin = Instant::now();
        let parts = if nodes.len() == 1 { OF_ONE_NODE } else { 1 };
        let shares = (0..parts).map(|part| watchers * (part + 1) / parts - watchers * part / parts);
        let mut crowd = Self { parts: Vec::new(), connecting: Duration::ZERO, refused: 0 };
        for node in nodes {
            for share in shares.clone() {
                crowd.parts.push(Part::start(*node, consumer, share)?);
            }
        }
        for part in &mut crowd.parts {
            match part.report(CONNECT_LIMIT)? {
                Report::Connected { refused } => crowd.refused += refused,
                other => return Err(format!("watchers say {other:?}")),
            }
        }
        crowd.connecting = begin.elapsed();
        Ok(crowd)
    }

    /// Waits until the next event has reached all; the time for each from `begin`, a moment of [`now`].
    pub fn told(&mut self, begin: Duration) -> Result<Vec<Duration>, String> {
        let mut took = Vec::new();
        for part in &mut self.parts {
            match part.report(EVENT_LIMIT)? {
                Report::Told(moments) => {
                    took.extend(moments.into_iter().map(|at| Duration::from_nanos(at).saturating_sub(begin)));
                }
                other => return Err(format!("watchers say {other:?}")),
            }
        }
        Ok(took)
    }
}

impl Part {
    fn start(node: SocketAddr, consumer: &str, watchers: usize) -> Result<Self, String> {
        let failed = |error: std::io::Error| format!("a process of watchers: {error}");
        let folder = tempfile::tempdir().map_err(failed)?;
        let listener = TcpListener::bind("127.0.0.1:0").map_err(failed)?;
        listener.set_nonblocking(true).map_err(failed)?;
        let mut command = Command::new(std::env::current_exe().map_err(failed)?);
        command.arg("crowd").arg(listener.local_addr().map_err(failed)?.to_string());
        command.args([&node.to_string(), consumer, &watchers.to_string()]);
        let log = folder.path().join("output");
        let mut process = Process::spawn("crowd", &mut command, &log).map_err(failed)?;
        let begin = Instant::now();
        let control = loop {
            match listener.accept() {
                Ok((control, _)) => break control,
                Err(error) if error.kind() != std::io::ErrorKind::WouldBlock => return Err(failed(error)),
                Err(_) if begin.elapsed() > CALL_LIMIT || process.exit_status().is_some() => {
                    return Err(format!("a process of watchers does not call: {}", process.log_tail()));
                }
                Err(_) => std::thread::sleep(Duration::from_millis(1)),
            }
        };
        control.set_nonblocking(false).map_err(failed)?;
        Ok(Self { process, reports: BufReader::new(control), _folder: folder })
    }

    fn report(&mut self, limit: Duration) -> Result<Report, String> {
        let failed = |error: &dyn std::fmt::Display, part: &Self| {
            format!("watchers, within {limit:?}: {error}; {}", part.process.log_tail())
        };
        self.reports.get_ref().set_read_timeout(Some(limit)).map_err(|error| failed(&error, self))?;
        let mut line = String::new();
        self.reports.read_line(&mut line).map_err(|error| failed(&error, self))?;
        match serde_json::from_str(&line).map_err(|error| failed(&error, self))? {
            Report::Failed(why) => Err(why),
            report => Ok(report),
        }
    }
}

/// The arguments of a process with watchers.
pub struct Setup {
    /// Where it calls.
    pub control: SocketAddr,
    pub node: SocketAddr,
    pub consumer: String,
    pub watchers: usize,
}

/// Holds watchers until the process that wanted them goes.
pub fn hold(setup: Setup) -> ExitCode {
    raise_open_files();
    let control = match Control::connect(setup.control) {
        Ok(control) => control,
        Err(error) => {
            eprintln!("{}: {error}", setup.control);
            return ExitCode::FAILURE;
        }
    };
    let mut parent = match control.try_clone() {
        Ok(parent) => parent,
        Err(error) => {
            eprintln!("{}: {error}", setup.control);
            return ExitCode::FAILURE;
        }
    };
    let watched = Arc::new(Watched { count: setup.watchers, control, seen: Mutex::default() });
    std::thread::spawn(move || {
        if let Err(why) = block_on(watch_all(&watched, &setup)) {
            watched.report(&Report::Failed(why));
        }
    });
    // Nothing comes, until the end.
    parent.read_exact(&mut [0]).ok();
    ExitCode::SUCCESS
}

/// What the watchers of this process have seen.
struct Watched {
    count: usize,
    control: Control,
    /// For each event, in the order in which the node sends them, the moments at which watchers got it.
    seen: Mutex<Vec<Vec<u64>>>,
}

impl Watched {
    /// If this process can't tell, the other one has ended or ends it.
    fn report(&self, report: &Report) {
        let mut line = serde_json::to_vec(report).unwrap_or_default();
        line.push(b'\n');
        (&self.control).write_all(&line).ok();
    }

    /// A watcher has got its event of this number.
    fn got(&self, number: usize) {
        let at = u64::try_from(now().as_nanos()).unwrap_or(u64::MAX);
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.len() <= number {
            seen.resize_with(number + 1, || Vec::with_capacity(self.count));
        }
        seen[number].push(at);
        if seen[number].len() == self.count {
            let moments = std::mem::take(&mut seen[number]);
            drop(seen);
            self.report(&Report::Told(moments));
        }
    }
}

/// Connects the watchers, which then read without end.
async fn watch_all(watched: &Arc<Watched>, setup: &Setup) -> Result<(), String> {
    let places = Arc::new(Semaphore::new(CONNECTING));
    let mut connecting = JoinSet::new();
    let mut watchers = JoinSet::new();
    let mut refused = 0;
    for _ in 0..setup.watchers {
        let place = Arc::clone(&places).acquire_owned().await.map_err(|error| error.to_string())?;
        let (node, consumer) = (setup.node, setup.consumer.clone());
        connecting.spawn(async move {
            let mut refused = 0;
            let stream = loop {
                match handshake(node, &consumer).await? {
                    Some(stream) => break stream,
                    None => refused += 1,
                }
                tokio::time::sleep(AGAIN).await;
            };
            drop(place);
            Ok::<_, String>((stream, refused))
        });
        while let Some(connected) = connecting.try_join_next() {
            let (stream, times) = connected.map_err(|error| error.to_string())??;
            refused += times;
            watchers.spawn(read(Arc::clone(watched), stream));
        }
    }
    while let Some(connected) = connecting.join_next().await {
        let (stream, times) = connected.map_err(|error| error.to_string())??;
        refused += times;
        watchers.spawn(read(Arc::clone(watched), stream));
    }
    watched.report(&Report::Connected { refused });
    while let Some(ended) = watchers.join_next().await {
        ended.map_err(|error| error.to_string())??;
    }
    Ok(())
}

async fn read(watched: Arc<Watched>, mut watcher: Watcher) -> Result<(), String> {
    for number in 0.. {
        watcher.event().await?;
        watched.got(number);
    }
    Ok(())
}

const TEXT: u8 = 1;
const PING: u8 = 9;
const PONG: u8 = 10;

/// One watcher.
pub struct Watcher {
    stream: TcpStream,
    received: Vec<u8>,
    /// The end of the last event in `received`.
    used: usize,
}

impl Watcher {
    /// The next event. The end of the connection is an error.
    pub async fn event(&mut self) -> Result<&[u8], String> {
        let place = self.next_event().await?;
        Ok(&self.received[place])
    }

    async fn next_event(&mut self) -> Result<Range<usize>, String> {
        self.received.drain(..self.used);
        self.used = 0;
        loop {
            while let Some((opcode, payload)) = frame(&self.received[self.used..]) {
                let payload = payload.start + self.used..payload.end + self.used;
                self.used = payload.end;
                match opcode {
                    TEXT => return Ok(payload),
                    PING => {
                        // A client must mask its frames. A mask of zeros changes nothing.
                        let length = u8::try_from(payload.len()).unwrap_or(0);
                        let mut pong = vec![0x80 | PONG, 0x80 | length, 0, 0, 0, 0];
                        pong.extend_from_slice(&self.received[payload]);
                        self.stream.write_all(&pong).await.map_err(|error| error.to_string())?;
                    }
                    _ => {
                        let said = String::from_utf8_lossy(&self.received[payload]).into_owned();
                        return Err(format!("a watcher got a frame of kind {opcode}: {said}"));
                    }
                }
            }
            match self.stream.read_buf(&mut self.received).await {
                Ok(0) => return Err("a watcher's connection was closed".to_owned()),
                outcome => drop(outcome.map_err(|error| error.to_string())?),
            }
        }
    }
}

/// The first frame in these bytes of the server, if it is complete: its opcode, and where its payload is.
fn frame(bytes: &[u8]) -> Option<(u8, Range<usize>)> {
    let (first, second) = (*bytes.first()?, *bytes.get(1)?);
    let (begin, length) = match second {
        126 => (4, usize::from(u16::from_be_bytes([*bytes.get(2)?, *bytes.get(3)?]))),
        length => (2, usize::from(length)),
    };
    bytes.get(begin..begin + length).map(|_| (first & 0x0f, begin..begin + length))
}

/// Connects a watcher. `None`: the node is too busy.
pub async fn handshake(address: SocketAddr, consumer: &str) -> Result<Option<Watcher>, String> {
    let ask = format!(
        "GET {BASE}/microservices/{consumer}/watcher HTTP/1.1\r\nHost: bench\r\nUpgrade: websocket\r\n\
         Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    let mut connection = Connection::open(address).await?;
    match connection.call(ask.as_bytes()).await? {
        answer if answer.status == 101 => {
            let (stream, received) = connection.into_parts();
            // What the handshake has received may be much larger than an event.
            Ok(Some(Watcher { stream, received: received.to_vec(), used: 0 }))
        }
        answer if answer.status == 503 => Ok(None),
        answer => Err(format!("the handshake is answered {}", answer.status)),
    }
}
