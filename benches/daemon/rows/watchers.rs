//! Watchers over websocket: the memory of a watcher that only listens, and the time until all watchers learn that an instance has ended.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::client::{BASE, Connection, block_on, once, request};
use crate::fill::{LONG, Service, instance_id};
use crate::latency::Latencies;
use crate::node::{Backing, Kind, raise_open_files};
use crate::options::Options;
use crate::paced::{RaisedAtEnd, joined};
use crate::support::eventually::try_eventually;
use crate::table::{Line, Table};

/// The rows measured here.
pub const ROWS: [&str; 2] = ["watch-1000", "watch-10000"];

/// Threads that hold the watchers.
const THREADS: usize = 2;
/// Watchers of one thread that connect at the same time.
const CONNECTING: usize = 32;
/// An event that takes longer counts as lost.
const EVENT_LIMIT: Duration = Duration::from_secs(10);
/// The limit for all watchers to connect.
const CONNECT_LIMIT: Duration = Duration::from_secs(60);
/// The pause before a refused watcher tries again.
const AGAIN: Duration = Duration::from_millis(50);
/// The pause between the last connection and the measurement of memory.
const SETTLE: Duration = Duration::from_secs(2);
/// The target: bytes of memory for one watcher.
const MOST_MEMORY: f64 = 8192.0;
/// Open files of this program and the daemon, without those of the watchers.
const OTHER_FILES: u64 = 500;

/// Measures them, each number of watchers on a daemon of its own.
pub fn measure(options: &Options, store: Kind, table: &mut Table) -> Result<(), String> {
    for (row, watchers, events, most) in [("watch-1000", 1_000, 20, 50), ("watch-10000", 10_000, 10, 200)] {
        if options.wants(row) {
            let (watchers, events) = (options.scale(watchers, watchers / 100), options.scale(events, 2));
            pushes(
                store,
                table,
                watchers,
                events,
                Duration::from_millis(most),
                options.scale(SETTLE, Duration::ZERO),
            )?;
        }
    }
    Ok(())
}

fn pushes(
    store: Kind,
    table: &mut Table,
    watchers: usize,
    events: usize,
    most: Duration,
    settle: Duration,
) -> Result<(), String> {
    let files = raise_open_files();
    if files < watchers as u64 + OTHER_FILES {
        return Err(format!("{watchers} watchers: only {files} open files are allowed here (ulimit -n)"));
    }
    let backing = Backing::start(store);
    let mut node = backing.node()?;
    let address = node.address();
    let consumer = Service::create(address, "consumer")?;
    let provider = Service::create(address, "provider")?;
    once(address, &provider.find_request(Some(&consumer.id)))?;
    // A dependency is recorded after the find is answered.
    try_eventually(EVENT_LIMIT, || {
        let providers =
            once(address, &request("GET", &format!("{BASE}/microservices/{}/providers", consumer.id), None))?;
        match contains(&providers.body, provider.id.as_bytes()) {
            true => Ok(()),
            false => Err("the dependency is not recorded".to_owned()),
        }
    })?;
    let crowd = Arc::new(Crowd { watchers, ..Crowd::default() });
    let before = node.resident()?;
    std::thread::scope(|scope| {
        let end = RaisedAtEnd(&crowd.end);
        let threads: Vec<_> = (0..THREADS)
            .map(|thread| {
                let share = watchers * (thread + 1) / THREADS - watchers * thread / THREADS;
                let (crowd, consumer) = (&crowd, consumer.id.as_str());
                scope.spawn(move || block_on(watch(crowd, address, consumer, share)))
            })
            .collect();
        let begin = Instant::now();
        crowd.wait("watchers are connected", CONNECT_LIMIT, || crowd.connected.load(Ordering::SeqCst))?;
        let connecting = begin.elapsed();
        std::thread::sleep(settle);
        let each = node.resident()?.saturating_sub(before) as f64 / watchers as f64;

        // Each instance is registered first, and all watchers see it. Only its end is measured.
        for number in 0..events {
            crowd.created.store(0, Ordering::SeqCst);
            once(address, &provider.register_request(&instance_id(number), number, LONG))?;
            crowd.wait("watchers saw an instance come", EVENT_LIMIT, || {
                crowd.created.load(Ordering::SeqCst)
            })?;
        }
        let mut took = Vec::new();
        for number in 0..events {
            crowd.lock().clear();
            let begin = Instant::now();
            once(address, &request("DELETE", &provider.instance_path(&instance_id(number)), None))?;
            crowd.wait("watchers saw an instance go", EVENT_LIMIT, || crowd.lock().len())?;
            took.extend(crowd.lock().iter().map(|at| at.saturating_duration_since(begin)));
        }
        drop(end);
        for thread in threads {
            joined(thread)?;
        }
        let took = Latencies::new(took)?;
        let row = format!("unregister → pushed to {watchers} watchers");
        let refused = crowd.refused.load(Ordering::SeqCst);
        let figure = format!(
            "{}; {:.1} kB a watcher; connected in {:.1} s, {refused} handshakes answered 503",
            took.text(),
            each / 1024.0,
            connecting.as_secs_f64()
        );
        let target = format!("p99 ≤ {} ms, ≤ 8 kB, no 503", most.as_millis());
        let met = took.percentile(99) <= most && each <= MOST_MEMORY && refused == 0;
        table.push(Line::figure(&row, store, figure).target(&target, met));
        Ok(())
    })
}

/// All watchers, and the events that they have seen.
#[derive(Default)]
struct Crowd {
    watchers: usize,
    connected: AtomicUsize,
    /// Handshakes that were answered 503.
    refused: AtomicUsize,
    /// The watchers that have seen the registration of the latest instance.
    created: AtomicUsize,
    /// The moments at which watchers saw the end of the latest instance.
    deleted: Mutex<Vec<Instant>>,
    failure: Mutex<Option<String>>,
    end: AtomicBool,
}

impl Crowd {
    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Instant>> {
        self.deleted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until all watchers are counted.
    fn wait(&self, what: &str, limit: Duration, count: impl Fn() -> usize) -> Result<(), String> {
        let begin = Instant::now();
        while count() < self.watchers {
            if let Some(why) = self.failure.lock().unwrap_or_else(PoisonError::into_inner).take() {
                return Err(why);
            }
            if begin.elapsed() > limit {
                return Err(format!("{} of {} {what} within {limit:?}", count(), self.watchers));
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }

    /// Records why a watcher failed.
    fn failed(&self, why: &str) {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_with(|| why.to_owned());
    }

    async fn read(&self, (mut stream, mut buffer): (TcpStream, Vec<u8>)) -> Result<(), String> {
        loop {
            while let Some((opcode, payload, end)) = frame(&buffer) {
                match opcode {
                    TEXT if contains(payload, b"\"action\":\"DELETE\"") => self.lock().push(Instant::now()),
                    TEXT if contains(payload, b"\"action\":\"CREATE\"") => {
                        self.created.fetch_add(1, Ordering::SeqCst);
                    }
                    PING => {
                        // A client must mask its frames. A mask of zeros changes nothing.
                        let mut pong =
                            vec![0x80 | PONG, 0x80 | u8::try_from(payload.len()).unwrap_or(0), 0, 0, 0, 0];
                        pong.extend_from_slice(payload);
                        stream.write_all(&pong).await.map_err(|error| error.to_string())?;
                    }
                    _ => return Err(format!("a watcher got: {}", String::from_utf8_lossy(payload))),
                }
                buffer.drain(..end);
            }
            // A second is the longest that the end waits.
            match timeout(Duration::from_secs(1), stream.read_buf(&mut buffer)).await {
                Ok(Ok(0)) => return Err("a watcher's connection was closed".to_owned()),
                Ok(outcome) => drop(outcome.map_err(|error| error.to_string())?),
                Err(_) if self.end.load(Ordering::Relaxed) => return Ok(()),
                Err(_) => {}
            }
        }
    }
}

/// Connects `share` watchers, which read until the end of the measurement.
async fn watch(crowd: &Arc<Crowd>, address: SocketAddr, consumer: &str, share: usize) -> Result<(), String> {
    let places = Arc::new(tokio::sync::Semaphore::new(CONNECTING));
    let mut watchers = JoinSet::new();
    for _ in 0..share {
        let place = Arc::clone(&places).acquire_owned().await.map_err(|error| error.to_string())?;
        let (crowd, consumer) = (Arc::clone(crowd), consumer.to_owned());
        watchers.spawn(async move {
            let watched = async {
                let stream = loop {
                    match handshake(address, &consumer).await? {
                        Some(stream) => break stream,
                        None => _ = crowd.refused.fetch_add(1, Ordering::SeqCst),
                    }
                    tokio::time::sleep(AGAIN).await;
                };
                drop(place);
                crowd.connected.fetch_add(1, Ordering::SeqCst);
                crowd.read(stream).await
            };
            watched.await.inspect_err(|why: &String| crowd.failed(why))
        });
    }
    while let Some(ended) = watchers.join_next().await {
        ended.map_err(|error| error.to_string())??;
    }
    Ok(())
}

const TEXT: u8 = 1;
const PING: u8 = 9;
const PONG: u8 = 10;

fn contains(payload: &[u8], mark: &[u8]) -> bool {
    payload.windows(mark.len()).any(|window| window == mark)
}

/// The first frame in these bytes of the server, if it is complete: its opcode, its payload, and its end.
fn frame(bytes: &[u8]) -> Option<(u8, &[u8], usize)> {
    let (first, second) = (*bytes.first()?, *bytes.get(1)?);
    let (begin, length) = match second {
        126 => (4, usize::from(u16::from_be_bytes([*bytes.get(2)?, *bytes.get(3)?]))),
        length => (2, usize::from(length)),
    };
    Some((first & 0x0f, bytes.get(begin..begin + length)?, begin + length))
}

/// The connection of a watcher, or `None` if the daemon is too busy.
async fn handshake(address: SocketAddr, consumer: &str) -> Result<Option<(TcpStream, Vec<u8>)>, String> {
    let ask = format!(
        "GET {BASE}/microservices/{consumer}/watcher HTTP/1.1\r\nHost: bench\r\nUpgrade: websocket\r\n\
         Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    let mut connection = Connection::open(address).await?;
    match connection.call(ask.as_bytes()).await? {
        answer if answer.status == 101 => Ok(Some(connection.into_parts())),
        answer if answer.status == 503 => Ok(None),
        answer => Err(format!("the handshake is answered {}", answer.status)),
    }
}
