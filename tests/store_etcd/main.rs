//! The etcd store on real etcd processes: the suite that every store passes, and tests with an etcd that is slow, away, full, restarted,
//! compacted, or protected by users and certificates. A stand-in (`fake`) shows behavior that a real etcd shows only by chance.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::disallowed_methods,
    reason = "tests fail by panicking, and look at the real clock"
)]

#[allow(dead_code, reason = "shared with another binary, which uses the rest")]
#[path = "../it/support"]
mod support {
    pub mod etcd;
    pub mod eventually;
    pub mod net;
    pub mod process;
}

mod conformance;

mod auth;
mod batches;
mod fake;
mod members;
mod outages;
mod renewals;
mod streams;
mod tls;

use std::cell::RefCell;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use service_center::config::EtcdEndpoint;
use service_center::store::etcd::{EtcdOptions, EtcdStore};
use service_center::store::{
    Compare, Entry, Event, Key, LeaseId, Op, Reason, Revision, Store, StoreError, Txn, TxnOutcome,
    WatchBatch, WatchError,
};

use support::etcd::Etcd;

/// The limit of each wait. A correct store never comes near it.
const PATIENCE: Duration = Duration::from_secs(60);

async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("{what}: nothing came"))
}

async fn eventually<F: Future<Output = bool>>(what: &str, mut probe: impl FnMut() -> F) {
    within(what, async {
        while !probe().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
}

/// The first answer that is no error. A cluster fails calls while it elects a leader, and it elects one whenever the machine stands still
/// for a second.
async fn eventually_ok<T, E, F>(what: &str, mut attempt: impl FnMut() -> F) -> T
where
    F: Future<Output = Result<T, E>>,
{
    let answer = RefCell::new(None);
    eventually(what, || {
        let (asked, answer) = (attempt(), &answer);
        async move {
            *answer.borrow_mut() = asked.await.ok();
            answer.borrow().is_some()
        }
    })
    .await;
    answer.into_inner().unwrap()
}

/// Options with these addresses and no others, and with the limits of the daemon.
fn at<T: AsRef<str>>(endpoints: impl IntoIterator<Item = T>) -> EtcdOptions {
    EtcdOptions::plain(endpoints.into_iter().map(|text| EtcdEndpoint::parse(text.as_ref()).unwrap()))
}

/// As [`at`], for an etcd that answers all the time. It may stand still for seconds, together with the machine.
fn patient(etcd: &Etcd) -> EtcdOptions {
    EtcdOptions { longest_call: PATIENCE / 3, ..at([etcd.endpoint()]) }
}

async fn connect(etcd: &Etcd) -> Arc<EtcdStore> {
    Arc::new(EtcdStore::connect(patient(etcd)).await.unwrap())
}

fn key(name: impl std::fmt::Display) -> Key {
    format!("/cse-sr/{name}").into()
}

fn put(name: impl std::fmt::Display, value: impl Into<Bytes>) -> Op {
    Op::Put { key: key(name), value: value.into(), lease: None }
}

fn put_leased(name: impl std::fmt::Display, lease: LeaseId) -> Op {
    Op::Put { key: key(name), value: Bytes::from("x"), lease: Some(lease) }
}

fn txn(then: Vec<Op>) -> Txn {
    Txn { then, ..Txn::default() }
}

async fn submit(store: &EtcdStore, txns: Vec<Txn>) -> Vec<Result<TxnOutcome, StoreError>> {
    let count = txns.len();
    let outcomes = within("a batch", store.batch(txns)).await;
    assert_eq!(outcomes.len(), count);
    outcomes
}

/// Submits in parts of this size, and returns the last revision. All at once would take a busy etcd longer than a call may last.
async fn fill(store: &EtcdStore, size: usize, txns: impl IntoIterator<Item = Txn>) -> Revision {
    let (mut txns, mut last) = (txns.into_iter(), 0);
    loop {
        let part: Vec<Txn> = txns.by_ref().take(size).collect();
        if part.is_empty() {
            return last;
        }
        for outcome in submit(store, part).await {
            last = last.max(outcome.unwrap().revision);
        }
    }
}

async fn attempt(store: &EtcdStore, then: Vec<Op>) -> Result<TxnOutcome, StoreError> {
    submit(store, vec![txn(then)]).await.remove(0)
}

async fn write(store: &EtcdStore, then: Vec<Op>) -> Revision {
    attempt(store, then).await.unwrap().revision
}

async fn list(store: &EtcdStore, prefix: &str) -> Result<(Vec<Entry>, Revision), StoreError> {
    let mut pages = store.list(&[prefix]);
    let (mut entries, mut revision) = (Vec::new(), 0);
    while let Some(page) = within("a page", pages.next()).await {
        let page = page?;
        assert!(page.entries.len() <= 2_000);
        assert!(revision == 0 || revision == page.revision, "all pages are of one revision");
        revision = page.revision;
        entries.extend(page.entries);
    }
    Ok((entries, revision))
}

fn reason<T: std::fmt::Debug>(outcome: &Result<T, StoreError>) -> Option<Reason> {
    match outcome {
        Err(StoreError::Aborted { reason, .. }) => Some(*reason),
        _ => None,
    }
}

fn event_key(event: &Event) -> &Key {
    match event {
        Event::Put(entry) => &entry.key,
        Event::Delete { key, .. } => key,
    }
}

fn event_revision(event: &Event) -> Revision {
    match event {
        Event::Put(entry) => entry.mod_revision,
        Event::Delete { revision, .. } => *revision,
    }
}

/// A watch that asserts that revisions only grow and are never split.
struct Watching {
    stream: futures_util::stream::BoxStream<'static, Result<WatchBatch, WatchError>>,
    reached: Revision,
}

impl Watching {
    fn start(store: &EtcdStore, prefix: &str, from: Revision) -> Self {
        Self { stream: store.watch(prefix, from), reached: from - 1 }
    }

    async fn next(&mut self) -> Result<Vec<Event>, WatchError> {
        let batch =
            within("a watch batch", self.stream.next()).await.expect("an error comes before the end")?;
        let first = batch.events.first().map(event_revision).expect("a batch is never empty");
        assert!(first > self.reached, "revision {first} comes after {}", self.reached);
        assert!(batch.events.is_sorted_by_key(event_revision), "revisions rise");
        self.reached = batch.revision;
        Ok(batch.events)
    }

    async fn until(&mut self, revision: Revision) -> Vec<Event> {
        let mut events = Vec::new();
        while self.reached < revision {
            events.extend(self.next().await.unwrap());
        }
        events
    }
}

fn absent(name: impl std::fmt::Display) -> Compare {
    Compare::Absent(key(name))
}
