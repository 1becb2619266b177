//! The actor on a store in memory, which does not compact but is asked to.

#![allow(clippy::unwrap_used, reason = "tests")]

use super::*;
use crate::actors::lifeline::Lifelines;
use crate::actors::mailbox::{Mailbox, ask};
use crate::actors::tests::{PATIENCE, Stage};
use crate::store::LeaseId;
use crate::store::faulty::{Fault, StoreCall};

const HOUR: Duration = Duration::from_secs(3600);

struct Cluster {
    stage: Stage,
    clock: Clock,
}

impl Cluster {
    async fn set() -> Self {
        Self { stage: Stage::set().await, clock: Clock::manual(1_700_000_000) }
    }

    fn start(&self, node: &str, retention: Option<Duration>) -> Mailbox<CompactionActor> {
        self.start_with(node, retention, self.stage.reader.clone())
    }

    fn start_with(
        &self,
        node: &str,
        retention: Option<Duration>,
        reader: SnapshotReader,
    ) -> Mailbox<CompactionActor> {
        let lifelines = Lifelines::default();
        lifelines.release();
        let store: Arc<dyn Store> = Arc::new(self.stage.store.clone());
        let freshness = self.stage.freshness.clone();
        let (clock, rules, node) = (self.clock.clone(), CompactionRules { retention }, node.to_owned());
        Mailbox::start_here(&lifelines, || CompactionActor::new(store, reader, freshness, clock, rules, node))
    }

    /// A node that compacts after an hour, when it has published its first mark.
    async fn node(&self, name: &str) -> Mailbox<CompactionActor> {
        let node = self.start(name, Some(HOUR));
        compact(&node).await.unwrap();
        node
    }

    /// The revisions that the store was asked to compact, without repetitions.
    fn asked(&self) -> Vec<Revision> {
        let mut asked = self.stage.store.compactions();
        asked.dedup();
        asked
    }

    async fn revision(&self) -> Revision {
        self.stage.store.revision().await.unwrap()
    }

    async fn below(&self, prefix: &str) -> Vec<Entry> {
        let then = vec![Op::GetPrefix(prefix.into())];
        let read = commit_alone(&self.stage.store.inner(), Txn { then, ..Txn::default() }).await.unwrap();
        read.reads.into_iter().flatten().collect()
    }

    /// The revision that the mark of a node says.
    async fn mark(&self, node: &str) -> Option<Revision> {
        let marks = self.below(keys::WATCH_MARKS).await;
        let marks = marks.iter().filter_map(|entry| decoded::<WatchMark>(&entry.value));
        marks.filter(|mark| mark.node == node).map(|mark| mark.revision).next()
    }

    async fn put(&self, key: &str, value: &impl serde::Serialize, lease: Option<LeaseId>) {
        let put = Op::Put { key: key.into(), value: Bytes::from(json::encode(value)), lease };
        commit_alone(&self.stage.store.inner(), Txn { then: vec![put], ..Txn::default() }).await.unwrap();
    }
}

async fn compact(node: &Mailbox<CompactionActor>) -> Result<Option<Revision>, Error> {
    ask(node, CompactNow, PATIENCE).await.unwrap()
}

#[actix::test]
async fn what_is_older_than_the_retention_goes() {
    let cluster = Cluster::set().await;
    let node = cluster.node("a").await;
    let first = cluster.revision().await;
    assert!(cluster.mark("a").await.is_some_and(|mark| mark <= first));
    for id in ["a", "b", "c"] {
        cluster.stage.registered(id).await;
    }
    cluster.clock.advance(HOUR - Duration::from_secs(1));
    compact(&node).await.unwrap();
    assert_eq!(cluster.asked(), [0; 0]);
    cluster.clock.advance(HOUR / 10);
    compact(&node).await.unwrap();
    let asked = cluster.asked();
    assert!(asked.len() == 1 && asked[0] <= first, "{asked:?}, {first}");
    // Nobody writes a key that the watch brings, and the mark goes on all the same.
    for _ in 0..12 {
        cluster.clock.advance(HOUR / 10);
        compact(&node).await.unwrap();
    }
    let last = cluster.asked();
    assert!(last.is_sorted() && *last.last().unwrap() > first + 6, "{last:?}");
}

#[actix::test]
async fn one_node_compacts_for_all() {
    let cluster = Cluster::set().await;
    let nodes = [cluster.node("a").await, cluster.node("b").await];
    let off = cluster.start("off", None);
    for round in 0..5 {
        cluster.clock.advance(HOUR);
        assert_eq!(compact(&off).await, Ok(None));
        for node in &nodes {
            compact(node).await.unwrap();
        }
        assert_eq!(cluster.stage.store.compactions().len(), round + 1, "one compaction each hour");
    }
    for name in ["a", "b", "off"] {
        assert!(cluster.mark(name).await.is_some(), "{name} says how far its watch is");
    }
}

/// The node that another one overtakes does not compact.
#[actix::test]
async fn the_record_decides_who_compacts() {
    let cluster = Cluster::set().await;
    let node = cluster.node("a").await;
    cluster.clock.advance(HOUR);
    let batches = cluster.stage.store.begun(StoreCall::Batch);
    cluster.stage.store.shut(StoreCall::Batch);
    cluster.stage.store.let_through(StoreCall::Batch, 1);
    let compacting = compact(&node);
    let overtaking = async {
        let store = &cluster.stage.store;
        crate::actors::tests::eventually("the record is read", || {
            store.begun(StoreCall::Batch) == batches + 2
        })
        .await;
        cluster.put(keys::COMPACTION, &CompactionRecord::default(), None).await;
        store.open(StoreCall::Batch);
    };
    assert_eq!(futures_util::future::join(compacting, overtaking).await.0, Ok(None));
    assert_eq!(cluster.asked(), [0; 0]);
}

#[actix::test]
async fn a_watch_that_does_not_go_on_is_waited_for() {
    let cluster = Cluster::set().await;
    let node = cluster.node("a").await;
    let lease = cluster.stage.store.grant(3_600).await.unwrap().id;
    let slow = WatchMark { node: "slow".to_owned(), revision: 3 };
    cluster.put(&keys::watch_mark("slow"), &slow, Some(lease)).await;
    for _ in 0..3 {
        cluster.clock.advance(HOUR);
        compact(&node).await.unwrap();
    }
    assert_eq!(cluster.asked(), [3]);
    // It dies.
    cluster.stage.store.revoke(lease).await.unwrap();
    cluster.clock.advance(HOUR);
    compact(&node).await.unwrap();
    assert!(cluster.asked().last().is_some_and(|asked| *asked > 3), "{:?}", cluster.asked());
}

/// A node that ends again and again while it lists leaves a mark each time.
#[actix::test]
async fn a_node_that_lists_holds_back_only_what_it_lists() {
    let cluster = Cluster::set().await;
    let node = cluster.node("a").await;
    let first = cluster.revision().await;
    cluster.clock.advance(HOUR / 2);
    compact(&node).await.unwrap();
    let before = cluster.revision().await;
    let lists = cluster.start_with("lists", None, crate::cache::cell::cell().1);
    compact(&lists).await.unwrap();
    let mark = cluster.mark("lists").await.unwrap();
    assert!(mark >= before, "{mark}, {before}");
    cluster.clock.advance(HOUR / 2);
    compact(&node).await.unwrap();
    assert!(cluster.asked().last().is_some_and(|asked| *asked <= first), "{:?}", cluster.asked());
    compact(&lists).await.unwrap();
    assert_eq!(cluster.mark("lists").await, Some(mark), "the listing goes on");
    for _ in 0..3 {
        cluster.clock.advance(HOUR);
        compact(&node).await.unwrap();
    }
    assert_eq!(cluster.asked().last(), Some(&mark), "it is waited for");
}

#[actix::test]
async fn a_mark_whose_lease_has_ended_comes_back() {
    let cluster = Cluster::set().await;
    let node = cluster.node("a").await;
    let lease = cluster.below(keys::WATCH_MARKS).await[0].lease.unwrap();
    cluster.stage.store.revoke(lease).await.unwrap();
    assert_eq!(cluster.mark("a").await, None);
    compact(&node).await.unwrap();
    assert!(cluster.mark("a").await.is_some());
    assert_ne!(cluster.below(keys::WATCH_MARKS).await[0].lease, Some(lease));
}

/// A refusal is counted, and the next round tries again.
#[actix::test]
async fn a_refusal_ends_nothing() {
    let cluster = Cluster::set().await;
    let node = cluster.node("a").await;
    let failed = metrics::COMPACTIONS_FAILED.value();
    cluster.stage.store.script(StoreCall::Compact, [Fault::Refused(Reason::Denied)]);
    cluster.clock.advance(HOUR);
    assert_eq!(compact(&node).await.unwrap_err().code, Code::Unavailable);
    assert!(metrics::COMPACTIONS_FAILED.value() > failed);
    cluster.clock.advance(HOUR);
    compact(&node).await.unwrap();
    assert_eq!(cluster.stage.store.compactions().len(), 2);
    let denied = StoreError::Aborted { reason: Reason::Denied, message: "permission denied".to_owned() };
    let said = advice(&denied);
    assert!(said.contains("role root") && said.contains("--auto-compaction-retention"), "{said}");
}

/// A record or a mark of another version does not stop the node.
#[actix::test]
async fn what_cannot_be_read_counts_as_absent() {
    let cluster = Cluster::set().await;
    let node = cluster.node("a").await;
    cluster.put(keys::COMPACTION, &"?", None).await;
    cluster.put(&keys::watch_mark("b"), &["?"], None).await;
    compact(&node).await.unwrap();
    cluster.clock.advance(HOUR);
    compact(&node).await.unwrap();
    assert_eq!(cluster.asked().len(), 1);
}
