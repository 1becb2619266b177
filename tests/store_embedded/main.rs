//! The embedded store: the suite that every store must pass, restarts, damaged files, failing disks, and leases under a clock of the test.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

#[allow(dead_code, clippy::disallowed_methods, reason = "shared with another binary, which uses the rest")]
#[path = "../it/support"]
mod support {
    pub mod scale;
}

mod conformance;
mod damage;
mod faults;
mod leases;
mod property;
mod restart;

use std::future::Future;
use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use service_center::clock::Clock;
use service_center::store::embedded::faulty_disk::FaultyDisk;
use service_center::store::embedded::{EmbeddedStore, OpenError, Options};
use service_center::store::{Entry, Key, LeaseId, Op, Revision, Store, StoreError, Txn, TxnOutcome};

/// The limit of each wait. A correct store never comes near it.
const PATIENCE: Duration = Duration::from_secs(60);

/// Prints a text, also where the output of tests is captured.
fn say(text: &str) {
    std::io::stderr().write_all(format!("{text}\n").as_bytes()).ok();
}

async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future)
        .await
        .unwrap_or_else(|_| panic!("{what}: nothing came within {PATIENCE:?}"))
}

async fn eventually(what: &str, mut probe: impl FnMut() -> bool) {
    within(what, async {
        while !probe() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

/// Fails the test if the store says that it must end the process.
fn options() -> Options {
    Options { on_fatal: Arc::new(|message| panic!("fatal: {message}")), ..Options::default() }
}

fn try_open(disk: &FaultyDisk) -> Result<EmbeddedStore, OpenError> {
    EmbeddedStore::open_on(Arc::new(disk.clone()), options(), Clock::system())
}

fn open(disk: &FaultyDisk) -> EmbeddedStore {
    try_open(disk).unwrap_or_else(|error| panic!("the store should open: {error}"))
}

fn refusal(disk: &FaultyDisk) -> OpenError {
    match try_open(disk) {
        Ok(_) => panic!("the store should not open"),
        Err(error) => error,
    }
}

fn put(key: &str, value: impl AsRef<[u8]>) -> Op {
    Op::Put { key: Key::from(key), value: value.as_ref().to_vec().into(), lease: None }
}

fn put_leased(key: &str, value: impl AsRef<[u8]>, lease: LeaseId) -> Op {
    Op::Put { key: Key::from(key), value: value.as_ref().to_vec().into(), lease: Some(lease) }
}

async fn attempt(store: &impl Store, then: Vec<Op>) -> Result<TxnOutcome, StoreError> {
    within("a write", store.batch(vec![Txn { then, ..Txn::default() }])).await.remove(0)
}

async fn write(store: &impl Store, then: Vec<Op>) -> TxnOutcome {
    attempt(store, then).await.expect("a write")
}

async fn list(store: &impl Store) -> (Vec<Entry>, Revision) {
    let mut pages = store.list(&[""]);
    let (mut entries, mut revision) = (Vec::new(), 0);
    while let Some(page) = within("a page", pages.next()).await {
        let page = page.expect("a page");
        entries.extend(page.entries);
        revision = page.revision;
    }
    (entries, revision)
}

async fn grant(store: &impl Store, ttl_seconds: i64) -> LeaseId {
    within("a grant", store.grant(ttl_seconds)).await.expect("a lease").id
}
