//! A node, and what it writes for others.

#![allow(clippy::unwrap_used, reason = "tests")]

use super::*;
use crate::actors::hub::messages::{CountWatchers, Subscribe, SubscriptionId};
use crate::actors::hub::outbox::outbox;
use crate::actors::interests::InterestLimits;
use crate::actors::mailbox::{ask, tell};
use crate::actors::pollers::ProcessKey;
use crate::actors::tests::{PATIENCE, Stage, eventually, tenant};
use crate::store::faulty::StoreCall;

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

/// Nothing is to be written, which must not count as a success.
#[actix::test]
async fn others_are_told_again_only_when_the_store_takes_a_write() {
    let stage = Stage::set().await;
    let core = core(&stage, "n");
    core.living_lease().await.unwrap();
    stage.store.go_away();
    core.fails(&core.put_node().await.unwrap_err());
    write_news(&core).await;
    assert!(core.writing.goes_on());
    stage.store.come_back();
    write_news(&core).await;
    assert!(!core.writing.goes_on());
}

/// The listing succeeds, and the watch is silent.
#[actix::test]
async fn others_are_seen_again_only_when_the_watch_brings_something() {
    let stage = Stage::set().await;
    let [core, other] = ["n", "o"].map(|name| core(&stage, name));
    core.watching.fails("cut");
    let begun = stage.store.begun(StoreCall::Watch);
    stage.store.shut(StoreCall::Watch);
    actix::spawn(learn(Rc::clone(&core)));
    eventually("the watch begins", || stage.store.begun(StoreCall::Watch) > begun).await;
    assert!(core.watching.goes_on());
    stage.store.open(StoreCall::Watch);
    other.living_lease().await.unwrap();
    eventually("the other node is seen", || !core.nodes.borrow().is_empty()).await;
    assert!(!core.watching.goes_on());
}

#[actix::test]
async fn nothing_of_a_drain_stays_that_ends_while_nodes_write() {
    let stage = Stage::set().await;
    let [owner, other] = ["a", "b"].map(|name| core(&stage, name));
    let owns = || Owner::Own {
        receipt: watch::channel(DrainReceipt::default()).0,
        others: BTreeMap::new(),
        told: None,
    };
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

#[actix::test]
async fn a_provider_that_was_there_before_the_interest_is_told() {
    let stage = Stage::set().await;
    stage.registered("i").await;
    let core = core(&stage, "n");
    let subscribe = |consumer: ServiceId| {
        let (outbox, reader) = outbox(10);
        let watch = outbox.clone();
        let (id, tenant, holder, client) = (SubscriptionId::next(), tenant(), None, None);
        tell(&stage.hub, Subscribe { id, tenant, consumer, outbox, holder, client }).unwrap();
        (watch, reader)
    };
    // The service looks for itself, and a consumer that does not exist looks for it too.
    let (shown, stranger) = (subscribe(stage.service.clone()), subscribe("none".into()));
    let path = stage.reader.load().service(&tenant(), stage.service.as_str()).unwrap().path.clone();
    let wanted = [stage.service.clone(), "none".into()].map(|consumer| {
        WantedRecord::from(&Wanted { consumer: (tenant(), consumer), tenant: tenant(), path: path.clone() })
    });
    let entry = Entry {
        key: interests_key("other", 0),
        value: Bytes::from(json::encode(&InterestsRecord { wanted: wanted.into() })),
        compact: None,
        create_revision: 1,
        mod_revision: 1,
        version: 1,
        lease: None,
    };
    for _ in 0..2 {
        take_in(&core, &entry);
        ask(&stage.hub, CountWatchers, PATIENCE).await.unwrap();
        assert_eq!((shown.0.pending(), stranger.0.pending()), (1, 0));
    }
}

#[actix::test]
async fn nodes_of_one_name_count_separately() {
    let stage = Stage::set().await;
    let core = core(&stage, "n");
    let told = |key| NodeReceipt { revision: 9, told: vec![ProcessKey(key)], ..NodeReceipt::default() };
    let others = BTreeMap::from([("p".to_owned(), told(2)), ("q".to_owned(), told(3))]);
    for process in others.keys() {
        let record = NodeRecord { node: "n".to_owned(), ..NodeRecord::default() };
        core.nodes.borrow_mut().insert(process.clone(), record);
    }
    let receipt = joined(&core, 9, &told(1), &others);
    assert_eq!((receipt.seen, receipt.of, receipt.is_complete()), (3, 3, true));
}

#[actix::test]
async fn a_drain_ends_whose_request_never_learned_of_it() {
    let stage = Stage::set().await;
    let core = core(&stage, "n");
    for _ in 0..2 {
        drop(core.start(stage.at("i")).await.unwrap());
    }
    assert_eq!(core.own_drains(), 2);
    actix::spawn(count_drains(Rc::clone(&core)));
    eventually("the places are free", || core.own_drains() == 0).await;
}
