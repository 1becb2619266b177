//! A rolling restart: three nodes on one etcd are stopped and started again, one after the other, while instances send heartbeats, consumers
//! find and watchers listen. Clients do what SDKs do: they take the next node when theirs refuses or ends.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use memchr::memmem;
use tokio::time::{sleep, timeout};

use super::watchers::dependent;
use crate::client::{Connection, block_on, request};
use crate::crowd::{Watcher, handshake};
use crate::fill::{LONG, Service, instance_id};
use crate::fleet::{BEATER_THREADS, Fleet};
use crate::latency::Latencies;
use crate::node::{Backing, Kind, Node};
use crate::options::Options;
use crate::paced::{RaisedAtEnd, joined};
use crate::roaming::Roaming;
use crate::steady::EndedAtDrop;
use crate::table::{Line, Table, milliseconds};

/// The rows measured here.
pub const ROWS: [&str; 1] = ["rolling"];

const NODES: usize = 3;
const SERVICES: usize = 1_000;
const EACH: usize = 100;
const WATCHERS: usize = 3_000;
/// Finds a second.
const FINDS: u32 = 200;
/// Between two heartbeats of an instance.
const BEAT_EVERY: Duration = Duration::from_secs(30);
/// Between two changes that watchers are told.
const CHANGE_EVERY: Duration = Duration::from_millis(500);
/// How many changes an instance stays before it is unregistered.
const STAYS: usize = 20;
/// Between the restarts of two nodes.
const PAUSE: Duration = Duration::from_secs(15);
/// From the first restart to the end. A lease without a heartbeat in it would have ended by then.
const LENGTH: Duration = Duration::from_secs(130);
/// The pause of a watcher that no node takes.
const AGAIN: Duration = Duration::from_millis(100);
/// The longest wait of a watcher before it looks whether the end has come.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// The limit for the last change to reach all watchers.
const LAST_LIMIT: Duration = Duration::from_secs(20);
/// The limit for a change to be written.
const WRITE_LIMIT: Duration = Duration::from_secs(30);

/// Measures it. The embedded store has one node only.
pub fn measure(options: &Options, store: Kind, table: &mut Table) -> Result<(), String> {
    if store == Kind::Embedded {
        return Ok(());
    }
    let backing = Backing::start(store);
    let mut nodes = backing.nodes(NODES)?;
    let addresses: Vec<SocketAddr> = nodes.iter().map(Node::address).collect();
    let services = Service::create_many(addresses[0], "service", options.scale(SERVICES, 10))?;
    let fleet = Fleet::new(&addresses, &services, options.scale(EACH, 10));
    let (consumer, provider) = dependent(addresses[0])?;
    let watch = Watch {
        nodes: &addresses,
        consumer: &consumer,
        provider: &provider,
        change_every: options.scale(CHANGE_EVERY, CHANGE_EVERY / 5),
        known: (0..options.scale(WATCHERS, 30)).map(|_| AtomicUsize::new(0)).collect(),
        end_changes: AtomicBool::new(false),
        end: AtomicBool::new(false),
        gaps: Mutex::default(),
        missed: AtomicUsize::new(0),
        repeated: AtomicUsize::new(0),
    };
    let (beats, finds) = (fleet.beats(), fleet.finds(options.scale(FINDS, 50)));
    std::thread::scope(|scope| {
        let end = (
            [EndedAtDrop(&beats.state), EndedAtDrop(&finds.state)],
            [RaisedAtEnd(&watch.end_changes), RaisedAtEnd(&watch.end)],
        );
        let steady = [scope.spawn(|| beats.run(BEATER_THREADS)), scope.spawn(|| finds.run(1))];
        let watchers = scope.spawn(|| block_on(watch.all()));
        let changes = scope.spawn(|| block_on(watch.change()));
        fleet.register()?;
        fleet.beat_every(options.scale(BEAT_EVERY, BEAT_EVERY / 60), 1);
        match watch.behind(1) {
            0 => {}
            behind => return Err(format!("{behind} watchers are not connected after {LAST_LIMIT:?}")),
        }
        std::thread::sleep(options.scale(PAUSE, Duration::ZERO));
        beats.state.next_phase();
        finds.state.next_phase();
        watch.gaps().clear();

        let begin = Instant::now();
        let (mut stopping, mut starting) = (Vec::new(), Vec::new());
        for node in &mut nodes {
            stopping.push(milliseconds(node.stop()?));
            let begin = Instant::now();
            node.respawn()?;
            node.wait_ready()?;
            starting.push(milliseconds(begin.elapsed()));
            std::thread::sleep(options.scale(PAUSE, Duration::from_millis(300)));
        }
        std::thread::sleep(options.scale(LENGTH, Duration::ZERO).saturating_sub(begin.elapsed()));
        let (beaten, found) = (beats.state.next_phase(), finds.state.next_phase());
        watch.end_changes.store(true, Ordering::Relaxed);
        let changes = joined(changes)?;
        let behind = watch.behind(changes);
        drop(end);
        steady.into_iter().try_for_each(joined)?;
        let seen = joined(watchers)?;
        let missing = addresses.iter().map(|node| fleet.missing(*node)).collect::<Result<Vec<_>, _>>()?;

        let gaps = watch.gaps().clone();
        let gap = Latencies::new(gaps).map_or_else(|_| "none".to_owned(), |gaps| gaps.text());
        let missed = watch.missed.load(Ordering::SeqCst);
        let figure = format!(
            "stopped in {}, ready after {}; lost {missing:?} by node; finds {}, {} refused, {} wrong{}, {} at another node; \
             beats {}, {} unanswered, {} wrong, {} late{}, {} at another node; {changes} changes, {} sent again, seen {seen}, missed {missed}, \
             {behind} watchers behind at the end; without a connection {gap}",
            stopping.join(", "),
            starting.join(", "),
            found.latencies()?.text(),
            found.refused,
            found.wrong,
            found.reasons(),
            found.moves,
            beaten.latencies()?.text(),
            beaten.refused,
            beaten.wrong,
            beaten.late,
            beaten.reasons(),
            beaten.moves,
            watch.repeated.load(Ordering::Relaxed),
        );
        let met = [missed, behind, found.refused, found.wrong, beaten.wrong, beaten.refused] == [0; 6]
            && missing.iter().all(|missing| *missing == 0);
        let row = format!(
            "rolling restart of {NODES} nodes, {} beat, {} clients watch",
            fleet.count(),
            watch.known.len()
        );
        let target = "no instance lost, no find refused, no change missed";
        table.push(Line::figure(&row, store, figure).target(target, met));
        Ok(())
    })
}

/// Watchers, and the changes that they are told: instances that come one after the other, by their numbers.
struct Watch<'a> {
    nodes: &'a [SocketAddr],
    consumer: &'a Service,
    provider: &'a Service,
    change_every: Duration,
    /// The last change that each watcher knows.
    known: Vec<AtomicUsize>,
    end_changes: AtomicBool,
    end: AtomicBool,
    /// The times from the end of a connection until the watcher knew the state again.
    gaps: Mutex<Vec<Duration>>,
    /// Changes of which a connected watcher was not told.
    missed: AtomicUsize,
    /// Writes that were sent again because they failed.
    repeated: AtomicUsize,
}

impl Watch<'_> {
    fn gaps(&self) -> MutexGuard<'_, Vec<Duration>> {
        self.gaps.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until all watchers know this change; how many do not.
    fn behind(&self, change: usize) -> usize {
        let begin = Instant::now();
        loop {
            let behind = self.known.iter().filter(|known| known.load(Ordering::SeqCst) < change).count();
            if behind == 0 || begin.elapsed() > LAST_LIMIT {
                return behind;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Makes changes until they are to end; the number of the last one. A write that fails is sent again, which changes nothing more.
    async fn change(&self) -> Result<usize, String> {
        let mut client = Roaming::new(self.nodes, 0);
        let mut number = 0;
        while !self.end_changes.load(Ordering::Relaxed) {
            number += 1;
            let register = self.provider.register_request(&instance_id(number), number, LONG);
            let begin = Instant::now();
            loop {
                let why = match client.call(&register).await {
                    Ok((200, _)) => break,
                    Ok((status, body)) => format!("{status} {}", String::from_utf8_lossy(body)),
                    Err(why) => why,
                };
                if begin.elapsed() > WRITE_LIMIT {
                    return Err(format!("a change is not written within {WRITE_LIMIT:?}: {why}"));
                }
                self.repeated.fetch_add(1, Ordering::Relaxed);
                sleep(AGAIN).await;
            }
            if let Some(old) = number.checked_sub(STAYS) {
                let unregister = request("DELETE", &self.provider.instance_path(&instance_id(old)), None);
                client.call(&unregister).await.ok();
            }
            sleep(self.change_every).await;
        }
        Ok(number)
    }

    /// All watchers until the end; how many events they got.
    async fn all(&self) -> Result<usize, String> {
        Ok(join_all((0..self.known.len()).map(|number| self.watcher(number))).await.into_iter().sum())
    }

    async fn watcher(&self, number: usize) -> usize {
        let (mut seen, mut lost) = (0, None);
        for node in self.nodes.iter().cycle().skip(number % self.nodes.len()) {
            if let Ok(mut watcher) = self.attach(*node, number).await {
                if let Some(lost) = lost.take() {
                    self.gaps().push(Instant::elapsed(&lost));
                }
                loop {
                    match timeout(LOOK_EVERY, watcher.event()).await {
                        Ok(Ok(event)) => {
                            seen += 1;
                            self.take(number, event);
                        }
                        Ok(Err(_)) => break,
                        Err(_) if self.end.load(Ordering::Relaxed) => return seen,
                        Err(_) => {}
                    }
                }
                lost = Some(Instant::now());
            } else {
                lost.get_or_insert_with(Instant::now);
                sleep(AGAIN).await;
            }
            if self.end.load(Ordering::Relaxed) {
                break;
            }
        }
        seen
    }

    /// Connects a watcher, and has it find what is there now.
    async fn attach(&self, node: SocketAddr, number: usize) -> Result<Watcher, String> {
        let watcher = handshake(node, &self.consumer.id).await?.ok_or("busy")?;
        let mut connection = Connection::open(node).await?;
        let found = connection.succeed(&self.provider.find_request(Some(&self.consumer.id))).await?;
        self.known[number].fetch_max(last_change(&found.body), Ordering::SeqCst);
        Ok(watcher)
    }

    fn take(&self, watcher: usize, event: &[u8]) {
        if memmem::find(event, b"\"action\":\"CREATE\"").is_none() {
            return;
        }
        let change = last_change(event);
        let known = self.known[watcher].fetch_max(change, Ordering::SeqCst);
        self.missed.fetch_add(change.saturating_sub(known + 1), Ordering::SeqCst);
    }
}

/// The largest number of an instance in this text.
fn last_change(text: &[u8]) -> usize {
    const MARK: &[u8] = b"\"instanceId\":\"";
    let number = |at: usize| {
        let digits = text.get(at + MARK.len()..at + MARK.len() + 32)?;
        usize::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
    };
    memmem::find_iter(text, MARK).filter_map(number).max().unwrap_or(0)
}
