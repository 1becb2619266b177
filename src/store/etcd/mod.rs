//! The store on etcd.
//!
//! All I/O runs on one thread of its own with a single-threaded tokio runtime, so that busy workers of the server do not delay
//! renewals. A call's future may be awaited on any runtime. If it is dropped, the submitted work still runs to its end. Unary
//! requests go through `etcd_client`. Grants, renewals and watches go through tonic with the messages in `wire`, because `etcd_client`
//! does not support them as needed.
//!
//! The store holds no state of the registry. It knows the keys of bookmarks, and the keys that its user must be allowed.

mod batch;
mod bookmark;
mod certificates;
mod connector;
mod entries;
mod failure;
mod keep_alive;
mod list;
mod login;
mod nodes;
mod options;
mod rights;
mod space;
mod txn;
mod watch;
mod wire;

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use futures_util::stream::{self, BoxStream, FuturesUnordered, StreamExt};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch as state};
use tokio::task::AbortHandle;
use tokio::time::{Instant, timeout, timeout_at};
use tonic::Status;

pub use options::{
    ClientIdentity, Credentials, EtcdOptions, LONGEST_CALL, OptionsError, TlsOptions, Verification,
};

use self::bookmark::Bookmarks;
use self::entries::Skipped;
use self::failure::{closed, unavailable};
use self::keep_alive::Lanes;
use self::list::ListingStep;
use self::login::Authorized;
use self::nodes::{Effect, Nodes};
use self::wire::{LeaseGrantRequest, LeaseGrantResponse};
use super::port::{
    GrantCost, KeepAlive, Lease, LeaseId, Page, Reason, Revision, Store, StoreError, Txn, TxnResult,
    WatchBatch, WatchError, first_error_if_none,
};
use crate::tls::files::Reload;

/// The TTLs that etcd accepts. etcd moves shorter ones up to its election time.
const TTL_SECONDS: std::ops::RangeInclusive<i64> = 2..=9_000_000_000;
/// How etcd refuses a compaction that is done already.
const ALREADY_COMPACTED: &str = "required revision has been compacted";
/// How long the rest of a burst of grants may take after the first of them is granted.
const REST_OF_BURST: Duration = Duration::from_millis(500);
/// A close waits for running calls for the limit of a call and this long.
const CLOSE_GRACE: Duration = Duration::from_secs(1);

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConnectError {
    /// An option is wrong. Another try fails too.
    #[error(transparent)]
    Options(#[from] OptionsError),
    /// etcd refused the user, the password or the rights.
    #[error("refused: {0}")]
    Denied(String),
    /// No node answered within the limit. Try again later.
    #[error("{0}")]
    Unreachable(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Life {
    Open,
    /// Takes no new calls and finishes the running ones.
    Closing,
    Closed,
}

/// A connection to an etcd cluster. After [`EtcdStore::connect`] it reconnects by itself, and calls return errors while etcd is
/// away.
pub struct EtcdStore {
    io: Handle,
    nodes: Nodes,
    skipped: Arc<Skipped>,
    batches: batch::BatchContext,
    lanes: Lanes,
    bookmarks: Bookmarks,
    page_limit: Duration,
    life: Arc<state::Sender<Life>>,
    /// Each running call holds a receiver.
    under_way: Arc<state::Sender<()>>,
}

impl fmt::Debug for EtcdStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EtcdStore").finish_non_exhaustive()
    }
}

impl Drop for EtcdStore {
    fn drop(&mut self) {
        self.life.send_replace(Life::Closed);
    }
}

impl EtcdStore {
    /// Tries once to reach etcd, for at most the connect timeout, and checks whether the user has the rights the registry
    /// needs. To wait for etcd, call it again.
    pub async fn connect(options: EtcdOptions) -> Result<Self, ConnectError> {
        let nodes = Nodes::new(&options)?;
        let (life, mut lives) = state::channel(Life::Open);
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| {
                ConnectError::Unreachable(format!("cannot start a runtime for etcd: {error}"))
            })?;
        let io = runtime.handle().clone();
        let life = Arc::new(life);
        std::thread::Builder::new()
            .name("etcd-io".to_owned())
            .spawn(move || {
                // An error means that the store was dropped. The thread ends then too.
                drop(runtime.block_on(lives.wait_for(|life| *life == Life::Closed)));
                // Does not wait for a lookup of a name.
                runtime.shutdown_background();
            })
            .map_err(|error| ConnectError::Unreachable(format!("cannot start a thread for etcd: {error}")))?;
        let skipped = Arc::new(Skipped::default());
        let batches =
            batch::BatchContext { nodes: nodes.clone(), skipped: skipped.clone(), space: Arc::default() };
        let (lanes, bookmarks) = {
            let _entered = io.enter();
            tokio::spawn(nodes.clone().patrol());
            (Lanes::start(&nodes), Bookmarks::start(batches.clone()))
        };
        let store = Self {
            io,
            nodes: nodes.clone(),
            skipped,
            batches,
            lanes,
            bookmarks,
            page_limit: options.page_limit(),
            life,
            under_way: Arc::new(state::channel(()).0),
        };
        let limit = options.connect_timeout;
        let user = options.credentials.map(|credentials| credentials.user);
        let asked = store.io.spawn(async move { rights::check(&nodes, user.as_deref(), limit).await });
        match timeout(limit + CLOSE_GRACE, asked).await {
            Ok(Ok(Ok(()))) => {
                store.io.spawn(store.nodes.clone().log_version_in_use());
                // Only now: the next try to reach etcd would log again that etcd does not name its members.
                if let Some(every) = options.sync_interval {
                    store.io.spawn(store.nodes.clone().learn(every));
                }
                Ok(store)
            }
            Ok(Ok(Err(StoreError::Aborted { reason: Reason::Denied, message }))) => {
                Err(ConnectError::Denied(message))
            }
            Ok(Ok(Err(error))) => Err(ConnectError::Unreachable(error.to_string())),
            Ok(Err(_)) | Err(_) => Err(ConnectError::Unreachable("etcd did not answer".to_owned())),
        }
    }

    /// The certificates of encrypted connections. Their files are read again before each connection, and by [`Reload`].
    pub fn certificates(&self) -> Option<Arc<dyn Reload>> {
        self.nodes.certificates().map(|certificates| certificates as Arc<dyn Reload>)
    }

    /// Addresses of etcd's members that are not in the options and lead to the same cluster.
    #[cfg(feature = "test-doubles")]
    pub fn learned(&self) -> Vec<crate::config::EtcdEndpoint> {
        self.nodes.learned()
    }

    /// Why no node answers; `None` if a node answers.
    #[cfg(feature = "test-doubles")]
    pub fn away(&self) -> Option<String> {
        self.nodes.away()
    }

    fn is_open(&self) -> bool {
        *self.life.borrow() == Life::Open
    }

    /// Runs work on the store's own thread, to its end even if the future is dropped.
    fn run<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> impl Future<Output = Option<T>> + Send + 'static {
        let mark = self.under_way.subscribe();
        let task = self.io.spawn(async move {
            let done = work.await;
            drop(mark);
            done
        });
        async move { task.await.ok() }
    }

    fn ask<T: Send + 'static>(
        &self,
        effect: Effect,
        work: impl Future<Output = Result<T, StoreError>> + Send + 'static,
    ) -> BoxFuture<'static, Result<T, StoreError>> {
        if !self.is_open() {
            return std::future::ready(Err(closed())).boxed();
        }
        let done = self.run(work);
        async move {
            match done.await {
                Some(answer) => answer,
                None => Err(cut_off(effect)),
            }
        }
        .boxed()
    }
}

/// The error of a call that was still running when the store was closed.
fn cut_off(effect: Effect) -> StoreError {
    match effect {
        Effect::Reads => closed(),
        Effect::Writes => {
            StoreError::Unknown { message: "the store was closed before etcd answered".to_owned() }
        }
    }
}

impl Store for EtcdStore {
    fn list(&self, prefixes: &[&str]) -> BoxStream<'static, Result<Page, StoreError>> {
        if !self.is_open() {
            return stream::iter([Err(closed())]).boxed();
        }
        let (to, steps) = mpsc::channel(list::PAGES_AHEAD);
        let prefixes = prefixes.iter().map(|prefix| (*prefix).to_owned()).collect();
        let work = list::list(self.nodes.clone(), self.skipped.clone(), prefixes, self.page_limit, to);
        self.io.spawn(work);
        stream::unfold(Some(steps), |steps| async move {
            let mut steps = steps?;
            match steps.recv().await {
                Some(ListingStep::Page(page)) => Some((Ok(page), Some(steps))),
                Some(ListingStep::Failed(error)) => Some((Err(error), None)),
                Some(ListingStep::Done) => None,
                None => Some((Err(closed()), None)),
            }
        })
        .boxed()
    }

    fn batch(&self, txns: Vec<Txn>) -> BoxFuture<'static, Vec<TxnResult>> {
        let count = txns.len();
        if !self.is_open() {
            return std::future::ready(vec![Err(closed()); count]).boxed();
        }
        let done = self.run(batch::submit(self.batches.clone(), txns));
        async move { done.await.unwrap_or_else(|| vec![Err(cut_off(Effect::Writes)); count]) }.boxed()
    }

    fn grant(&self, ttl_seconds: i64) -> BoxFuture<'static, Result<Lease, StoreError>> {
        let granted = self.grants(ttl_seconds, 1);
        async move { granted.await?.pop().ok_or_else(|| unavailable("etcd granted no lease")) }.boxed()
    }

    fn grants(&self, ttl_seconds: i64, count: usize) -> BoxFuture<'static, Result<Vec<Lease>, StoreError>> {
        let ttl = ttl_seconds.clamp(*TTL_SECONDS.start(), *TTL_SECONDS.end());
        let nodes = self.nodes.clone();
        self.ask(Effect::Writes, async move {
            let almost_late = Instant::now() + nodes.call_limit() * 9 / 10;
            nodes
                .call(Effect::Writes, nodes.call_limit(), |clients| async move {
                    // All at once, so that they leave in few packets and share the syncs of etcd's log. If a connection breaks before
                    // any of them is answered, the next node may be asked again although some were sent: a lease that nobody
                    // knows ends with its TTL.
                    let mut grants: FuturesUnordered<_> =
                        (0..count).map(|_| grant(clients.channel.clone(), ttl)).collect();
                    // At least one, so that the limit of the call ends a call without an answer.
                    let mut answers: Vec<_> = grants.next().await.into_iter().collect();
                    // One that etcd has lost must not hold up the others: the age of their leases counts already.
                    let end = almost_late.min(Instant::now() + REST_OF_BURST);
                    while let Ok(Some(answer)) = timeout_at(end, grants.next()).await {
                        answers.push(answer);
                    }
                    Ok(first_error_if_none(answers)?)
                })
                .await
        })
    }

    fn name(&self) -> &'static str {
        "etcd"
    }

    fn grant_cost(&self) -> GrantCost {
        GrantCost::RoundTrip
    }

    fn keep_alive(&self, leases: Vec<LeaseId>) -> BoxFuture<'static, Vec<KeepAlive>> {
        let count = leases.len();
        let unanswered = move || vec![KeepAlive::Unanswered("the store is closed".to_owned()); count];
        if !self.is_open() {
            return std::future::ready(unanswered()).boxed();
        }
        let done = self.run(self.lanes.clone().renew(leases));
        async move { done.await.unwrap_or_else(unanswered) }.boxed()
    }

    fn revoke(&self, lease: LeaseId) -> BoxFuture<'static, Result<bool, StoreError>> {
        let nodes = self.nodes.clone();
        self.ask(Effect::Writes, async move {
            let revoked = nodes
                .call(Effect::Writes, nodes.call_limit(), |clients| async move {
                    clients.lease.clone().revoke(lease.0).await
                })
                .await;
            match revoked {
                Ok(_) => Ok(true),
                Err(StoreError::Aborted { reason: Reason::LeaseNotFound, .. }) => Ok(false),
                Err(error) => Err(error),
            }
        })
    }

    fn watch(&self, prefix: &str, from: Revision) -> BoxStream<'static, Result<WatchBatch, WatchError>> {
        let buffer = Arc::new(watch::Buffer::default());
        let writer = watch::Writer(buffer.clone());
        if !self.is_open() {
            buffer.end(WatchError::Closed);
        }
        let reader = watch::read(self.nodes.clone(), self.skipped.clone(), prefix.to_owned(), from, writer);
        let reader = self.io.spawn(reader).abort_handle();
        let consumer = Consumer { buffer, reader };
        stream::unfold(Some(consumer), |consumer| async move {
            let consumer = consumer?;
            match consumer.buffer.next().await {
                Ok(batch) => Some((Ok(batch), Some(consumer))),
                Err(end) => Some((Err(end), None)),
            }
        })
        .boxed()
    }

    fn revision(&self) -> BoxFuture<'static, Result<Revision, StoreError>> {
        let nodes = self.nodes.clone();
        self.ask(Effect::Reads, async move { nodes.revision(nodes.call_limit()).await })
    }

    fn bookmark(&self) -> BoxFuture<'static, Result<Revision, StoreError>> {
        let bookmarks = self.bookmarks.clone();
        let limit = self.nodes.call_limit() * 2;
        self.ask(Effect::Reads, async move {
            // The current round may take as long as a call before the next one begins.
            match timeout(limit, bookmarks.next()).await {
                Ok(answer) => answer,
                Err(_) => Err(unavailable("etcd wrote no bookmark within the limit")),
            }
        })
    }

    fn compact(&self, revision: Revision) -> BoxFuture<'static, Result<bool, StoreError>> {
        let nodes = self.nodes.clone();
        self.ask(Effect::Writes, async move {
            let compacted = nodes
                .call(Effect::Writes, nodes.call_limit(), |clients| async move {
                    clients.kv.clone().compact(revision, None).await
                })
                .await;
            match compacted {
                Ok(_) => Ok(true),
                Err(StoreError::Aborted { message, .. }) if message.contains(ALREADY_COMPACTED) => Ok(false),
                Err(error) => Err(error),
            }
        })
    }

    fn close(&self) -> BoxFuture<'static, ()> {
        let (life, under_way) = (self.life.clone(), self.under_way.clone());
        let limit = self.nodes.call_limit() + CLOSE_GRACE;
        async move {
            let first = life.send_if_modified(|life| {
                let first = *life == Life::Open;
                if first {
                    *life = Life::Closing;
                }
                first
            });
            if first {
                drop(timeout(limit, under_way.closed()).await);
                life.send_replace(Life::Closed);
            } else {
                drop(timeout(limit, life.subscribe().wait_for(|life| *life == Life::Closed)).await);
            }
        }
        .boxed()
    }
}

async fn grant(channel: Authorized, ttl: i64) -> Result<Lease, Status> {
    let answer: LeaseGrantResponse = wire::unary(channel, wire::GRANT, LeaseGrantRequest { ttl }).await?;
    Ok(Lease { id: LeaseId(answer.id), ttl_seconds: answer.ttl })
}

/// The consumer's end of a watch. Ends the reader when it is dropped.
struct Consumer {
    buffer: Arc<watch::Buffer>,
    reader: AbortHandle,
}

impl Drop for Consumer {
    fn drop(&mut self) {
        self.reader.abort();
        self.buffer.abandon();
    }
}
