//! A test suite: what every [`Store`] must do. The caller makes a store for each case.
//!
//! A case panics with a message at the first failure. All keys of a case are below a random area of `/cse-sr/`, or below
//! `/elsewhere-…` if the case needs a foreign writer, so cases may share one etcd. Only [`StoreUnderTest::forget`] affects other
//! cases: cases that watch the past must not share an etcd with a running `watches::from_a_compacted_revision`.
//!
//! ```text
//! async fn make() -> service_center::store::conformance::StoreUnderTest { … }
//! service_center::store_conformance!(make);
//! ```

#![allow(
    clippy::panic,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test suite: panicking is how it reports"
)]

pub mod ends;
pub mod leases;
pub mod lists;
pub mod transactions;
pub mod watches;

use std::any::Any;
use std::collections::BTreeSet;
use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;

use super::port::{
    Entry, Event, Key, LeaseId, Op, Reason, Revision, Store, StoreError, Txn, TxnOutcome, TxnResult,
    WatchBatch, WatchError,
};

/// Makes the store forget the events up to and including a revision. etcd: compacts. Embedded: writes until the bounded history
/// has dropped them.
pub type Forget = Box<dyn Fn(Revision) -> BoxFuture<'static, ()> + Send + Sync>;

pub struct StoreUnderTest {
    pub store: Arc<dyn Store>,
    pub forget: Forget,
    /// A temporary directory or a server that lives until the case ends.
    pub keep: Box<dyn Any + Send + Sync>,
}

impl fmt::Debug for StoreUnderTest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StoreUnderTest")
    }
}

/// Declares one `#[tokio::test]` for each case. Takes the path of an `async fn() -> StoreUnderTest`, called for each case.
#[macro_export]
macro_rules! store_conformance {
    ($make:path) => {
        $crate::store_conformance! { @tests $make;
            lists::an_empty_area_is_one_empty_page,
            lists::many_keys_come_in_pages_of_one_revision,
            lists::writes_during_a_listing_do_not_show,
            lists::a_prefix_is_text_not_a_folder,
            lists::several_prefixes_are_of_one_revision,
            lists::entries_carry_revisions_version_and_lease,
            transactions::compares_of_every_kind,
            transactions::all_compares_must_hold,
            transactions::the_branch_not_taken_does_nothing,
            transactions::changed_says_whether_something_was_written,
            transactions::operations_of_every_kind,
            transactions::reads_come_in_the_order_asked,
            transactions::a_transaction_sees_its_own_writes,
            transactions::a_batch_of_120_fails_one_by_one,
            transactions::an_empty_batch_and_an_empty_transaction,
            transactions::a_dead_lease_fails_only_its_own_transaction,
            transactions::errors_of_one_leave_the_others_of_a_batch,
            transactions::a_request_too_large_is_refused,
            transactions::too_many_operations_are_refused,
            transactions::a_key_written_twice_is_refused,
            transactions::versions_and_revisions_count,
            transactions::values_are_bytes,
            transactions::one_of_many_creators_wins,
            transactions::counters_under_compare_lose_nothing,
            leases::a_ttl_is_kept_within_bounds,
            leases::ids_are_positive_and_differ,
            leases::leases_granted_together_are_as_others,
            leases::expiry_deletes_the_keys_in_order_at_one_revision,
            leases::keep_alive_extends,
            leases::revoke_deletes_the_keys_in_order_at_one_revision,
            leases::revoke_of_an_empty_and_of_an_unknown_lease,
            leases::keep_alive_of_a_dead_lease_is_not_found,
            leases::a_dead_lease_does_not_delay_others,
            leases::a_put_without_lease_detaches,
            leases::a_put_with_another_lease_moves,
            leases::a_put_with_the_same_lease_stays,
            leases::a_lease_outlives_its_keys,
            watches::from_the_past,
            watches::from_the_future,
            watches::from_a_compacted_revision,
            watches::a_compaction_keeps_what_is_current,
            watches::only_the_prefix,
            watches::whole_revisions_are_never_split,
            watches::deletions_come_in_the_order_given,
            watches::a_prefix_deletion_comes_in_key_order,
            watches::everything_exactly_once_beside_eight_writers,
            watches::after_a_listing_nothing_is_missed,
            ends::the_revision_is_at_least_that_of_a_finished_write,
            ends::the_watch_reaches_a_bookmark,
            ends::a_closed_store_answers_unavailable,
            ends::closing_twice_and_with_an_open_watch,
        }
    };
    (@tests $make:path; $($group:ident :: $case:ident),+ $(,)?) => {
        $(
            #[tokio::test]
            async fn $case() {
                $crate::store::conformance::$group::$case($make().await).await;
            }
        )+
    };
}

/// The longest single wait of a case.
const PATIENCE: Duration = Duration::from_secs(30);

/// A fresh area of keys: `/cse-sr/conformance-<random>/`.
fn area() -> String {
    format!("/cse-sr/conformance-{:016x}/", rand::random::<u64>())
}

fn key(area: &str, name: impl fmt::Display) -> Key {
    Key::from(format!("{area}{name}"))
}

fn put(key: &Key, value: impl AsRef<[u8]>) -> Op {
    Op::Put { key: key.clone(), value: Bytes::copy_from_slice(value.as_ref()), lease: None }
}

fn put_leased(key: &Key, value: impl AsRef<[u8]>, lease: LeaseId) -> Op {
    Op::Put { key: key.clone(), value: Bytes::copy_from_slice(value.as_ref()), lease: Some(lease) }
}

fn unconditional(then: Vec<Op>) -> Txn {
    Txn { compares: Vec::new(), then, otherwise: Vec::new() }
}

async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future)
        .await
        .unwrap_or_else(|_| panic!("{what}: nothing came within {PATIENCE:?}"))
}

async fn submit(store: &Arc<dyn Store>, txns: Vec<Txn>) -> Vec<TxnResult> {
    let asked = txns.len();
    let outcomes = within("a batch", store.batch(txns)).await;
    assert_eq!(outcomes.len(), asked, "one outcome for each transaction of a batch");
    outcomes
}

async fn attempt(store: &Arc<dyn Store>, txn: Txn) -> TxnResult {
    submit(store, vec![txn]).await.remove(0)
}

async fn commit(store: &Arc<dyn Store>, txn: Txn) -> TxnOutcome {
    match attempt(store, txn).await {
        Ok(outcome) => outcome,
        Err(error) => panic!("the transaction should have been accepted, but: {error:?}"),
    }
}

async fn write(store: &Arc<dyn Store>, ops: Vec<Op>) -> TxnOutcome {
    commit(store, unconditional(ops)).await
}

fn assert_aborted(outcome: &TxnResult, expected: Reason, what: &str) {
    match outcome {
        Err(StoreError::Aborted { reason, .. }) if *reason == expected => {}
        other => panic!("{what}: expected to be aborted with {expected:?}, got {other:?}"),
    }
}

async fn find(store: &Arc<dyn Store>, key: &Key) -> Option<Entry> {
    let mut outcome = write(store, vec![Op::Get(key.clone())]).await;
    assert_eq!(outcome.reads.len(), 1, "one list for one Get");
    let mut entries = outcome.reads.remove(0);
    assert!(entries.len() <= 1, "a Get answers at most one entry, got {entries:?}");
    entries.pop()
}

async fn present(store: &Arc<dyn Store>, key: &Key) -> Entry {
    find(store, key).await.unwrap_or_else(|| panic!("{key} should be there"))
}

/// All entries of a listing and its revision. Checks the rules of every listing.
async fn list_all(store: &Arc<dyn Store>, prefix: &str) -> (Vec<Entry>, Revision) {
    let mut pages = store.list(&[prefix]);
    let mut revision = None;
    let mut entries: Vec<Entry> = Vec::new();
    while let Some(page) = within("a page", pages.next()).await {
        let page = page.unwrap_or_else(|error| panic!("listing {prefix}: {error:?}"));
        assert!(page.entries.len() <= 2_000, "a page holds at most 2,000, got {}", page.entries.len());
        assert_eq!(*revision.get_or_insert(page.revision), page.revision, "all pages are of one revision");
        entries.extend(page.entries);
    }
    let in_order = entries.is_sorted_by(|left, right| left.key < right.key);
    assert!(in_order, "a listing is in key order, each key once");
    for entry in &entries {
        assert!(entry.key.starts_with(prefix), "{} does not start with {prefix}", entry.key);
    }
    (entries, revision.unwrap_or_else(|| panic!("at least one page must come")))
}

async fn names(store: &Arc<dyn Store>, area: &str) -> BTreeSet<String> {
    let (entries, _) = list_all(store, area).await;
    entries.iter().map(|entry| entry.key[area.len()..].to_owned()).collect()
}

async fn grant(store: &Arc<dyn Store>, ttl_seconds: i64) -> LeaseId {
    match within("a grant", store.grant(ttl_seconds)).await {
        Ok(lease) => lease.id,
        Err(error) => panic!("a grant of {ttl_seconds} s should be accepted, but: {error:?}"),
    }
}

async fn revoke(store: &Arc<dyn Store>, lease: LeaseId) -> bool {
    within("a revocation", store.revoke(lease))
        .await
        .unwrap_or_else(|error| panic!("revoke {lease}: {error:?}"))
}

/// A lease that existed and was revoked.
async fn dead_lease(store: &Arc<dyn Store>) -> LeaseId {
    let lease = grant(store, 600).await;
    assert!(revoke(store, lease).await, "a fresh lease can be revoked");
    lease
}

async fn eventually<F: Future<Output = bool>>(what: &str, mut probe: impl FnMut() -> F) {
    within(what, async {
        while !probe().await {
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
    })
    .await;
}

/// A watch that checks the shape of every batch.
struct Watching {
    stream: BoxStream<'static, Result<WatchBatch, WatchError>>,
    prefix: String,
    reached: Revision,
}

impl Watching {
    fn start(store: &Arc<dyn Store>, prefix: &str, from: Revision) -> Self {
        Self { stream: store.watch(prefix, from), prefix: prefix.to_owned(), reached: from - 1 }
    }

    async fn next(&mut self) -> Result<WatchBatch, WatchError> {
        let batch = within("a watch batch", self.stream.next())
            .await
            .unwrap_or_else(|| panic!("the watch of {} ended without an error", self.prefix))?;
        assert!(!batch.events.is_empty(), "a batch is never empty");
        let mut last = self.reached;
        for event in &batch.events {
            assert!(event_key(event).starts_with(&self.prefix), "{event:?} is not below {}", self.prefix);
            let revision = event_revision(event);
            let new = revision > self.reached;
            assert!(new, "{event:?} is of a revision already handed over ({})", self.reached);
            assert!(revision >= last, "{event:?} comes after revision {last}");
            last = revision;
        }
        assert_eq!(batch.revision, last, "a batch carries the revision of its last event");
        self.reached = last;
        Ok(batch)
    }

    /// The batches up to a revision.
    async fn batches_until(&mut self, revision: Revision) -> Vec<WatchBatch> {
        let mut batches = Vec::new();
        while self.reached < revision {
            match self.next().await {
                Ok(batch) => batches.push(batch),
                Err(error) => panic!("the watch of {} broke at {}: {error}", self.prefix, self.reached),
            }
        }
        batches
    }

    async fn events_until(&mut self, revision: Revision) -> Vec<Event> {
        self.batches_until(revision).await.into_iter().flat_map(|batch| batch.events).collect()
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

/// `+name` for a put, `-name` for a deletion.
fn brief(area: &str, events: &[Event]) -> Vec<String> {
    let brief = |event: &Event| {
        let sign = if matches!(event, Event::Put(_)) { '+' } else { '-' };
        format!("{sign}{}", &event_key(event)[area.len()..])
    };
    events.iter().map(brief).collect()
}
