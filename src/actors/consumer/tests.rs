//! A node, and what it writes for others.

#![allow(clippy::unwrap_used, reason = "tests")]

use super::*;
use crate::actors::interests::InterestLimits;
use crate::actors::tests::{Stage, tenant};

/// The parts of a node that shares its store.
fn core(stage: &Stage, name: &str) -> Rc<ConsumerCore> {
    let parts = ConsumerParts {
        store: Arc::new(stage.store.clone()),
        reader: stage.reader.clone(),
        interests: Interests::new(InterestLimits::default()),
        pollers: Pollers::default(),
        hub: stage.hub.clone(),
        clock: Clock::system(),
    };
    let rules = ConsumerRules {
        poll_interval: Duration::from_secs(30),
        most_drains: 2,
        nodes: NodeCount::Many,
        endpoint: format!("{name}:30100"),
        shared: SharedServices::new([], "production"),
    };
    ConsumerActor::new(parts, rules, name.to_owned()).core
}

/// The keys in the store that nodes write about consumers, without their common prefix.
async fn written(stage: &Stage) -> Vec<Entry> {
    let mut pages = stage.store.list(&[keys::CONSUMERS]);
    let mut entries = Vec::new();
    while let Some(page) = pages.next().await {
        entries.extend(page.unwrap().entries);
    }
    entries
}

#[actix::test]
async fn interests_are_written_when_the_store_is_back() {
    let stage = Stage::set().await;
    let core = core(&stage, "n");
    core.living_lease().await.unwrap();
    let consumer = (tenant(), ServiceId::from("c"));
    let wanted = Wanted { consumer, tenant: tenant(), path: "p".into() };
    core.parts.interests.note(wanted, NotedBy::ThisNode);
    stage.store.go_away();
    write_interests(&core).await.unwrap_err();
    stage.store.come_back();
    write_interests(&core).await.unwrap();
    let written = written(&stage).await;
    let interests = written.iter().filter(|entry| entry.key.contains("/interests/"));
    let records = interests.map(|entry| decoded::<InterestsRecord>(entry).unwrap().wanted.len());
    assert_eq!(records.collect::<Vec<_>>(), [1]);
}

#[actix::test]
async fn nothing_of_a_drain_stays_that_ends_while_nodes_write() {
    let stage = Stage::set().await;
    let [owner, other] = ["a", "b"].map(|name| core(&stage, name));
    let owns = || Owner::Own { receipt: watch::channel(DrainReceipt::default()).0, others: BTreeMap::new(), told: None };
    let drains = async |part: &str| {
        let written = written(&stage).await;
        written.iter().filter(|entry| entry.key.contains(part)).count()
    };
    let id = owner.add(stage.at("i"), "d".to_owned(), 0, owns());
    owner.tell_others("d", &stage.at("i"), 0).await.unwrap();
    other.put_receipt("d", &NodeReceipt::default()).await.unwrap();
    assert_eq!((drains("/drains/").await, drains("/receipts/").await), (1, 1));
    owner.end(id).await;
    assert_eq!((drains("/drains/").await, drains("/receipts/").await), (0, 0));
    // Both writes come after the end.
    owner.tell_others("d", &stage.at("i"), 9).await.unwrap();
    other.put_receipt("d", &NodeReceipt::default()).await.unwrap();
    assert_eq!((drains("/drains/").await, drains("/receipts/").await), (0, 0));
}
