//! What the actor does with leases that get heartbeats.

#![allow(clippy::unwrap_used, reason = "tests")]

use super::*;
use crate::actors::registry::messages::InstanceEdit;
use crate::actors::tests::{Stage, eventually, lease_of};
use crate::cache::InstanceEntry;
use crate::domain::json;
use crate::store::faulty::{Fault, StoreCall};
use crate::store::{Compare, Key, Op, Reason, Txn, WatchError, keys};
use crate::trouble::Trouble;

/// Ends a lease as if it had expired.
async fn expire(stage: &Stage, lease: LeaseId) {
    assert_eq!(stage.store.revoke(lease).await, Ok(true));
}

/// How many instance documents were put after the first `skip` batches.
fn puts_since(stage: &Stage, skip: usize) -> usize {
    let prefix = keys::instance(&crate::actors::tests::tenant(), stage.service.as_str(), "");
    let batches = stage.store.batches();
    let ops = batches.iter().skip(skip).flatten().flat_map(|txn| &txn.then);
    ops.filter(|op| matches!(op, Op::Put { key, .. } if key.starts_with(&*prefix))).count()
}

/// Renews the lease as the actor does, and waits until that is done.
async fn renew_now(stage: &Stage, id: &str, entry: &Arc<InstanceEntry>) {
    let beats = Beats::default();
    beats.take(|| stage.at(id), entry);
    let core = LeaseCore {
        store: Arc::new(stage.store.clone()),
        beats: beats.clone(),
        reader: stage.reader.clone(),
        freshness: stage.freshness.clone(),
        goodbyes: stage.goodbyes.clone(),
        registry: stage.registry.clone(),
        clock: Clock::system(),
        trouble: Trouble::default(),
    };
    renew(&Rc::new(core), beats.drain()).await;
}

#[actix::test]
async fn a_beat_renews_and_is_remembered() {
    let stage = Stage::set().await;
    let entry = stage.registered("i").await;
    let before = entry.lease.as_ref().unwrap().lives_until(0);
    stage.beat("i", &entry);
    stage.beat("i", &entry);
    let mark = entry.lease.clone().unwrap();
    eventually("a renewal", || mark.lives_until(0) > before).await;
    assert_eq!(stage.store.begun(StoreCall::KeepAlive), 1);
}

#[actix::test]
async fn an_unanswered_renewal_is_tried_again_until_it_is_answered() {
    let stage = Stage::set().await;
    let entry = stage.registered("i").await;
    stage.store.go_away();
    stage.beat("i", &entry);
    eventually("tries", || stage.store.begun(StoreCall::KeepAlive) >= 2).await;
    stage.store.come_back();
    let mark = entry.lease.clone().unwrap();
    let before = mark.lives_until(0);
    eventually("a renewal", || mark.lives_until(0) > before).await;
}

#[actix::test]
async fn one_that_beats_though_its_lease_is_gone_is_written_again_once() {
    let stage = Stage::set().await;
    let entry = stage.registered("i").await;
    let batches = stage.store.batches().len();
    expire(&stage, lease_of(&entry)).await;
    stage.beat("i", &entry);
    eventually("a new lease", || stage.entry("i").is_some_and(|now| lease_of(&now) != lease_of(&entry)))
        .await;
    // A heartbeat that still knows the former lease changes nothing.
    renew_now(&stage, "i", &entry).await;
    let now = stage.entry("i").unwrap();
    assert_eq!((now.json(), stage.count().await), (entry.json(), 1));
    assert_eq!(puts_since(&stage, batches), 1);
    assert!(matches!(stage.store.keep_alive(vec![lease_of(&now)]).await[..], [KeepAlive::Renewed(_)]));
}

/// The changes of an operator are written again too, and they stay when the owner registers again.
#[actix::test]
async fn it_is_written_again_as_it_was() {
    let stage = Stage::set().await;
    stage.registered("i").await;
    let weight = json::TextMap::from([("weight".to_owned(), "0".to_owned())]);
    stage.change("i", InstanceEdit::Status("OUTOFSERVICE".into())).await;
    stage.change("i", InstanceEdit::Properties(weight.clone())).await;
    for round in 0..2 {
        let entry = stage.entry("i").unwrap();
        expire(&stage, lease_of(&entry)).await;
        renew_now(&stage, "i", &entry).await;
        let now = stage.entry("i").unwrap();
        assert_ne!(lease_of(&now), lease_of(&entry), "{round}: written again");
    }
    stage.registered("i").await;
    let document = stage.document("i");
    assert_eq!((document.status.as_str(), &document.properties), ("OUTOFSERVICE", &weight));
}

#[actix::test]
async fn who_said_goodbye_stays_away() {
    let stage = Stage::set().await;
    let entry = stage.registered("i").await;
    let batches = stage.store.batches().len();
    stage.unregister("i").await.unwrap();
    assert!(stage.goodbyes.contains(&stage.at("i")));
    renew_now(&stage, "i", &entry).await;
    assert_eq!((stage.count().await, puts_since(&stage, batches)), (0, 0));
    // After it has registered again, it is written again when its lease is lost.
    let entry = stage.registered("i").await;
    assert!(!stage.goodbyes.contains(&stage.at("i")));
    expire(&stage, lease_of(&entry)).await;
    stage.beat("i", &entry);
    eventually("a new lease", || stage.entry("i").is_some_and(|now| lease_of(&now) != lease_of(&entry)))
        .await;
}

#[actix::test]
async fn while_it_may_have_been_a_goodbye_nothing_is_written() {
    let stage = Stage::set().await;
    let entry = stage.registered("i").await;
    let batches = stage.store.batches().len();
    // The node cannot learn the revision of the store, so it does not know whether this was a goodbye.
    stage.store.script(StoreCall::Revision, [Fault::Refused(Reason::Unavailable)]);
    expire(&stage, lease_of(&entry)).await;
    renew_now(&stage, "i", &entry).await;
    assert_eq!(puts_since(&stage, batches), 0);
    stage.beat("i", &entry);
    eventually("a new lease", || stage.entry("i").is_some_and(|now| lease_of(&now) != lease_of(&entry)))
        .await;
}

#[actix::test]
async fn who_registered_anew_is_left_alone() {
    let stage = Stage::set().await;
    let entry = stage.registered("i").await;
    expire(&stage, lease_of(&entry)).await;
    let again = stage.registered("i").await;
    assert_ne!(lease_of(&again), lease_of(&entry));
    let batches = stage.store.batches().len();
    renew_now(&stage, "i", &entry).await;
    assert_eq!((stage.count().await, puts_since(&stage, batches)), (1, 0));
    assert_eq!(lease_of(&stage.entry("i").unwrap()), lease_of(&again));
}

#[actix::test]
async fn what_cannot_be_written_now_is_written_when_the_store_is_back() {
    let stage = Stage::set().await;
    let entry = stage.registered("i").await;
    expire(&stage, lease_of(&entry)).await;
    let begun = stage.store.begun(StoreCall::Batch);
    stage.store.script(StoreCall::Batch, [Fault::Refused(Reason::Unavailable); 2]);
    stage.beat("i", &entry);
    eventually("a new lease", || stage.entry("i").is_some_and(|now| lease_of(&now) != lease_of(&entry)))
        .await;
    assert_eq!(stage.store.begun(StoreCall::Batch), begun + 3);
    assert_eq!(stage.count().await, 1);
}

#[actix::test]
async fn without_its_service_nothing_is_written() {
    let stage = Stage::set().await;
    let entry = stage.registered("i").await;
    // Its keys go without a goodbye, as if somebody deleted them by hand.
    expire(&stage, lease_of(&entry)).await;
    let service: Key = keys::service(&crate::actors::tests::tenant(), stage.service.as_str());
    let txn = Txn {
        compares: vec![Compare::Present(Key::clone(&service))],
        then: vec![Op::Delete(service)],
        otherwise: vec![],
    };
    assert!(stage.store.batch(vec![txn]).await[0].as_ref().unwrap().succeeded);
    let begun = stage.store.begun(StoreCall::Batch);
    renew_now(&stage, "i", &entry).await;
    assert_eq!(
        stage.store.begun(StoreCall::Batch),
        begun,
        "the watch said that its service is gone: not even tried"
    );
    let kept = stage.store.list(&["/cse-sr/inst/"]).next().await.unwrap().unwrap().entries;
    assert_eq!(kept, []);
}

#[actix::test]
async fn one_whose_beat_is_not_settled_is_shown_until_it_is() {
    let stage = Stage::set().await;
    let (beaten, silent) = (stage.registered("beaten").await, stage.registered("silent").await);
    let beats = Beats::default();
    beats.take(|| stage.at("beaten"), &beaten);
    expire(&stage, lease_of(&beaten)).await;
    expire(&stage, lease_of(&silent)).await;
    eventually("the end of the window", || stage.entry("silent").is_none()).await;
    assert!(stage.entry("beaten").is_some(), "it may be written again");
    drop(beats.drain());
    eventually("the end of the next", || stage.entry("beaten").is_none()).await;
}

/// Runs a change that the watch of this node does not bring. The node sees its result when it lists the store again.
async fn unseen(stage: &Stage, change: impl AsyncFnOnce(&Stage)) {
    stage.store.shut(StoreCall::List);
    let lists = stage.store.begun(StoreCall::List);
    stage.store.end_watches(WatchError::Compacted);
    eventually("a listing", || stage.store.begun(StoreCall::List) > lists).await;
    change(stage).await;
    let listing = stage.reader.load().listing;
    stage.store.open(StoreCall::List);
    eventually("its end", || stage.reader.load().listing > listing).await;
}

/// The owner unregisters through another node.
async fn say_goodbye_elsewhere(stage: &Stage, id: &str, lease: LeaseId) {
    let (tenant, service) = (crate::actors::tests::tenant(), stage.service.as_str());
    let then =
        vec![Op::Delete(keys::lease(&tenant, service, id)), Op::Delete(keys::instance(&tenant, service, id))];
    assert!(stage.store.batch(vec![Txn { then, ..Txn::default() }]).await[0].is_ok());
    expire(stage, lease).await;
}

#[actix::test]
async fn what_a_listing_misses_is_not_written_again() {
    let stage = Stage::set().await;
    let (left, stays) = (stage.registered("left").await, stage.registered("stays").await);
    unseen(&stage, async |stage: &Stage| {
        // The node still shows the instance, so it takes the heartbeat.
        stage.beat("left", &left);
        say_goodbye_elsewhere(stage, "left", lease_of(&left)).await;
    })
    .await;
    let batches = stage.store.batches().len();
    renew_now(&stage, "left", &left).await;
    assert_eq!((stage.count().await, puts_since(&stage, batches)), (1, 0));
    // An instance that the listing holds is written again for a heartbeat from before the listing.
    expire(&stage, lease_of(&stays)).await;
    renew_now(&stage, "stays", &stays).await;
    assert_eq!((stage.count().await, puts_since(&stage, batches)), (1, 1));
    assert_eq!(stage.entry("left").map(|entry| lease_of(&entry)), None);
}

#[actix::test]
async fn nor_is_one_that_came_and_went_unseen() {
    let stage = Stage::set().await;
    let entry = stage.registered("i").await;
    // The node sees its expiry, which passes. Then its owner registers and unregisters through another node.
    expire(&stage, lease_of(&entry)).await;
    eventually("the end of the window", || stage.entry("i").is_none()).await;
    unseen(&stage, async |_: &Stage| {}).await;
    let batches = stage.store.batches().len();
    renew_now(&stage, "i", &entry).await;
    assert_eq!((stage.count().await, puts_since(&stage, batches)), (0, 0));
}
