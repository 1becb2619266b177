//! One lane: its streams, the renewals sent on them, and the callers that wait.
//!
//! etcd answers the renewals of a stream in order. It answers the renewal of a lease that has expired but is not yet revoked
//! only after the revocation, seconds later. After a network cut thousands of leases may wait like that. So if a stream has not
//! answered for half a second, the lane sets the lease at its head aside and judges it alone (see `judge`). It sends the leases
//! behind it again on new streams, four times as many as before, so that it finds many such leases in few rounds.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::judge::judge;
use super::news::{Cause, News, Verdict};
use super::{RenewalAnswer, stream_of};
use crate::store::etcd::failure::{Failure, of_status, words};
use crate::store::etcd::login::Authorized;
use crate::store::etcd::nodes::{Node, Nodes, describe};
use crate::store::etcd::wire::{self, LeaseKeepAliveRequest, LeaseKeepAliveResponse};
use crate::store::port::{KeepAlive, LeaseId};

/// A stream without an answer for this long is blocked by the lease at its head.
const WATCHDOG: Duration = Duration::from_millis(500);
/// How often the lane checks for blocked streams, and for an etcd that is away.
const TICK: Duration = Duration::from_millis(50);
/// The most renewals on one stream that are sent and not answered.
const WINDOW: usize = 512;
const MAX_STREAMS: usize = 64;
/// If no stream is blocked for this long, the lane goes back to one stream.
const CALM: Duration = Duration::from_secs(5);
/// The most leases that wait in a lane.
const MAX_PENDING: usize = 200_000;
/// The most leases of a lane that are set aside.
const MAX_ASIDE: usize = 256;
/// The delays before a lane opens streams again after streams broke. The last delay is repeated.
const RETRY: [Duration; 4] =
    [Duration::ZERO, Duration::from_millis(100), Duration::from_millis(200), Duration::from_millis(400)];

/// Leases to renew, with their index in the call.
pub(super) struct Renewals {
    pub leases: Vec<(usize, LeaseId)>,
    /// Has room for all answers of the call.
    pub reply: mpsc::Sender<RenewalAnswer>,
}

struct Waiter {
    index: usize,
    reply: mpsc::Sender<RenewalAnswer>,
}

struct Stream {
    id: u64,
    requests: mpsc::Sender<LeaseKeepAliveRequest>,
    /// In the order sent.
    sent: VecDeque<LeaseId>,
    queue: VecDeque<LeaseId>,
    /// Since when the first lease in `sent` is first.
    head_since: Instant,
    task: AbortHandle,
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[derive(Default)]
struct Aside {
    /// The callers before the first verdict.
    waiters: Vec<Waiter>,
    /// The first verdict was that the lease has expired. Later callers get that answer at once.
    expired: bool,
}

pub(super) struct Lane {
    nodes: Nodes,
    pending: HashMap<LeaseId, Vec<Waiter>>,
    aside: HashMap<LeaseId, Aside>,
    streams: Vec<Stream>,
    /// Leases without a stream.
    homeless: Vec<LeaseId>,
    width: usize,
    held_up_at: Instant,
    progress_at: Instant,
    failures: usize,
    open_after: Instant,
    /// The connection all streams share, with its node.
    channel: Option<(Arc<Node>, Authorized)>,
    next_stream: u64,
    news: mpsc::Sender<News>,
    inbox: Option<mpsc::Receiver<News>>,
}

impl Lane {
    pub fn new(nodes: Nodes) -> Self {
        let (news, inbox) = mpsc::channel(4_096);
        let now = Instant::now();
        Self {
            nodes,
            pending: HashMap::new(),
            aside: HashMap::new(),
            streams: Vec::new(),
            homeless: Vec::new(),
            width: 1,
            held_up_at: now,
            progress_at: now,
            failures: 0,
            open_after: now,
            channel: None,
            next_stream: 0,
            news,
            inbox: Some(inbox),
        }
    }

    /// Runs until all senders of calls are dropped.
    pub async fn run(mut self, mut calls: mpsc::Receiver<Renewals>) {
        let Some(mut inbox) = self.inbox.take() else { return };
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        let mut batch = Vec::new();
        loop {
            tokio::select! {
                biased;
                count = inbox.recv_many(&mut batch, 512) => {
                    if count == 0 {
                        return;
                    }
                    for news in batch.drain(..) {
                        self.hear(news);
                    }
                }
                _ = tick.tick(), if !self.pending.is_empty() => self.look_around(),
                call = calls.recv() => {
                    let Some(call) = call else { return };
                    self.take(call);
                }
            }
            self.pump();
        }
    }

    fn take(&mut self, call: Renewals) {
        if let Some(why) = self.nodes.away() {
            for (index, _) in call.leases {
                answer(&Waiter { index, reply: call.reply.clone() }, KeepAlive::Unanswered(why.clone()));
            }
            return;
        }
        for (index, lease) in call.leases {
            self.enqueue(lease, Waiter { index, reply: call.reply.clone() });
        }
    }

    fn enqueue(&mut self, lease: LeaseId, waiter: Waiter) {
        if let Some(aside) = self.aside.get_mut(&lease) {
            if aside.expired {
                answer(&waiter, expired());
            } else {
                aside.waiters.push(waiter);
            }
            return;
        }
        if let Some(waiters) = self.pending.get_mut(&lease) {
            waiters.push(waiter);
            return;
        }
        if self.pending.len() >= MAX_PENDING {
            answer(&waiter, KeepAlive::Unanswered("too many renewals wait".to_owned()));
            return;
        }
        if self.pending.is_empty() {
            self.progress_at = Instant::now();
        }
        self.pending.insert(lease, vec![waiter]);
        self.place(lease);
    }

    /// Puts a lease into a stream's queue.
    fn place(&mut self, lease: LeaseId) {
        let now = Instant::now();
        if self.streams.len() < self.width && now >= self.open_after {
            self.open();
        }
        let position = stream_of(lease, self.streams.len());
        match self.streams.get_mut(position) {
            Some(stream) => stream.queue.push_back(lease),
            None => self.homeless.push(lease),
        }
    }

    /// Opens streams up to the width.
    fn open(&mut self) {
        if self.channel.is_none() {
            let node = self.nodes.for_streams();
            self.channel = node.channel().ok().map(|channel| (node, channel));
        }
        let Some((node, channel)) = &self.channel else { return };
        while self.streams.len() < self.width {
            self.next_stream += 1;
            let id = self.next_stream;
            let (requests, queue) = mpsc::channel(WINDOW);
            let (node, channel) = (Arc::clone(node), channel.clone());
            let reader = read(self.nodes.clone(), node, channel, id, queue, self.news.clone());
            let task = tokio::spawn(reader).abort_handle();
            let (sent, queue) = (VecDeque::new(), VecDeque::new());
            self.streams.push(Stream { id, requests, sent, queue, head_since: Instant::now(), task });
        }
    }

    /// Sends what the windows allow.
    fn pump(&mut self) {
        if !self.homeless.is_empty() && Instant::now() >= self.open_after {
            for lease in std::mem::take(&mut self.homeless) {
                self.place(lease);
            }
        }
        for stream in &mut self.streams {
            while stream.sent.len() < WINDOW {
                let Some(lease) = stream.queue.pop_front() else { break };
                // An earlier stream has answered it.
                if !self.pending.contains_key(&lease) {
                    continue;
                }
                if stream.requests.try_send(LeaseKeepAliveRequest { id: lease.0 }).is_err() {
                    stream.queue.push_front(lease);
                    break;
                }
                if stream.sent.is_empty() {
                    stream.head_since = Instant::now();
                }
                stream.sent.push_back(lease);
            }
        }
    }

    fn hear(&mut self, news: News) {
        let now = Instant::now();
        match news {
            News::Answered { stream, answer: LeaseKeepAliveResponse { id, ttl } } => {
                let lease = LeaseId(id);
                self.progress_at = now;
                self.failures = 0;
                if let Some(stream) = self.streams.iter_mut().find(|known| known.id == stream) {
                    stream.head_since = now;
                    if let Some(position) = stream.sent.iter().position(|sent| *sent == lease) {
                        stream.sent.remove(position);
                    }
                }
                self.settle(lease, if ttl > 0 { KeepAlive::Renewed(ttl) } else { KeepAlive::NotFound });
            }
            News::Broken { stream, why, cause } => self.broken(stream, &why, cause),
            News::Judged { lease, verdict } => self.judged(lease, verdict),
        }
    }

    fn settle(&mut self, lease: LeaseId, verdict: KeepAlive) {
        for waiter in self.pending.remove(&lease).unwrap_or_default() {
            answer(&waiter, verdict.clone());
        }
    }

    fn broken(&mut self, id: u64, why: &str, cause: Cause) {
        let Some(position) = self.streams.iter().position(|stream| stream.id == id) else { return };
        let mut stream = self.streams.swap_remove(position);
        self.homeless.extend(stream.sent.drain(..));
        self.homeless.extend(stream.queue.drain(..));
        if let Some((node, _)) = &self.channel
            && cause == Cause::Node
        {
            self.nodes.suspect(node, why);
        }
        if self.streams.is_empty() {
            self.channel = None;
        }
        let wait = RETRY.get(self.failures).or(RETRY.last()).copied().unwrap_or_default();
        self.failures += 1;
        self.open_after = Instant::now() + wait;
    }

    /// Checks for blocked streams, and whether etcd is away.
    fn look_around(&mut self) {
        let now = Instant::now();
        let (away, longest) = (self.nodes.away(), self.nodes.longest_call());
        if away.is_some() || now.duration_since(self.progress_at) >= longest {
            self.give_up(&away.unwrap_or_else(|| format!("no renewal was answered for {longest:?}")));
            return;
        }
        let held_up =
            |stream: &Stream| !stream.sent.is_empty() && now.duration_since(stream.head_since) >= WATCHDOG;
        let (stuck, fine): (Vec<Stream>, Vec<Stream>) =
            std::mem::take(&mut self.streams).into_iter().partition(held_up);
        self.streams = fine;
        if stuck.is_empty() {
            let idle = self.streams.iter().all(|stream| stream.sent.is_empty() && stream.queue.is_empty());
            if self.width > 1 && idle && now.duration_since(self.held_up_at) >= CALM {
                self.width = 1;
                self.streams.truncate(1);
            }
            return;
        }
        self.width = (self.width * 4).min(MAX_STREAMS);
        self.held_up_at = now;
        for mut stream in stuck {
            if let Some(head) = stream.sent.pop_front() {
                self.set_aside(head);
            }
            self.homeless.extend(stream.sent.drain(..));
            self.homeless.extend(stream.queue.drain(..));
        }
    }

    fn set_aside(&mut self, lease: LeaseId) {
        let Some(waiters) = self.pending.remove(&lease) else { return };
        let channel = self.channel.as_ref().map(|(_, channel)| channel.clone());
        match channel {
            Some(channel) if self.aside.len() < MAX_ASIDE => {
                log::debug!("the renewal of lease {lease} blocks its stream and is set aside");
                self.aside.insert(lease, Aside { waiters, expired: false });
                tokio::spawn(judge(self.nodes.clone(), channel, lease, self.news.clone()));
            }
            _ => {
                for waiter in waiters {
                    answer(
                        &waiter,
                        KeepAlive::Unanswered("too many renewals block their streams".to_owned()),
                    );
                }
            }
        }
    }

    fn judged(&mut self, lease: LeaseId, verdict: Verdict) {
        let Some(mut aside) = self.aside.remove(&lease) else { return };
        let is_expired = verdict == Verdict::Expired;
        let said = match verdict {
            Verdict::Alive => {
                for waiter in aside.waiters {
                    self.enqueue(lease, waiter);
                }
                return;
            }
            Verdict::Renewed(ttl) => KeepAlive::Renewed(ttl),
            Verdict::Gone => KeepAlive::NotFound,
            Verdict::Expired => expired(),
            Verdict::NoAnswer(why) => KeepAlive::Unanswered(why),
        };
        self.progress_at = Instant::now();
        for waiter in aside.waiters.drain(..) {
            answer(&waiter, said.clone());
        }
        if is_expired {
            aside.expired = true;
            self.aside.insert(lease, aside);
        }
    }

    fn give_up(&mut self, why: &str) {
        if let Some((node, _)) = self.channel.take() {
            self.nodes.suspect(&node, why);
        }
        self.streams.clear();
        self.homeless.clear();
        self.width = 1;
        for (_, waiters) in self.pending.drain() {
            for waiter in waiters {
                answer(&waiter, KeepAlive::Unanswered(why.to_owned()));
            }
        }
    }
}

fn expired() -> KeepAlive {
    KeepAlive::Unanswered("the lease has expired and is about to be revoked".to_owned())
}

fn answer(waiter: &Waiter, answer: KeepAlive) {
    // There is room for the answer. An error means that the caller has gone.
    drop(waiter.reply.try_send((waiter.index, answer)));
}

/// Opens a stream and sends its answers and its end to the lane.
async fn read(
    nodes: Nodes,
    node: Arc<Node>,
    channel: Authorized,
    id: u64,
    requests: mpsc::Receiver<LeaseKeepAliveRequest>,
    news: mpsc::Sender<News>,
) {
    let (why, cause) = match nodes.logged_in(&node).await {
        Err(failure) => (describe(&failure), Cause::Node),
        Ok(token) => {
            let status = match wire::open(channel, wire::KEEP_ALIVE, requests).await {
                Err(status) => Some(status),
                Ok(mut answers) => loop {
                    match answers.message().await {
                        Ok(Some(answer)) => {
                            if news.send(News::Answered { stream: id, answer }).await.is_err() {
                                return;
                            }
                        }
                        Ok(None) => break None,
                        Err(status) => break Some(status),
                    }
                },
            };
            match status {
                None => ("etcd ended the stream of renewals".to_owned(), Cause::Node),
                Some(status) => match of_status(&status) {
                    Failure::StaleToken(why) if nodes.renew(&node, &token).await.is_ok() => {
                        (why, Cause::StaleToken)
                    }
                    _ => (words(&status), Cause::Node),
                },
            }
        }
    };
    drop(news.send(News::Broken { stream: id, why, cause }).await);
}
