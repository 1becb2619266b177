//! A known instance registers again with other values.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::time::Duration;

use futures_util::StreamExt;

use super::*;
use crate::actors::mailbox::ask;
use crate::actors::registry::rules::DependencyMode;
use crate::actors::tests::{PATIENCE, Stage, eventually, lease_of, tenant};
use crate::clock::Clock;
use crate::domain::instance::HealthCheck;
use crate::store::faulty::{Fault, StoreCall};
use crate::store::{Store, WatchError};

const BEGIN: u64 = 1_790_000_000;

/// Registers `i` with a heartbeat interval.
async fn register_every(stage: &Stage, interval: i32) -> Result<(), Code> {
    let check = HealthCheck { mode: "push".into(), interval, times: 3, ..HealthCheck::default() };
    let instance = Instance {
        instance_id: "i".into(),
        host_name: "host".into(),
        health_check: Some(check),
        ..Instance::default()
    };
    register_as(stage, instance).await
}

fn registration(stage: &Stage, instance: Instance) -> RegisterInstance {
    RegisterInstance {
        tenant: tenant(),
        service: stage.service.clone(),
        instance: instance.into(),
        former_lease: FormerLease::Renewed,
        author: Author::Client,
        answer_by: None,
    }
}

async fn register_as(stage: &Stage, instance: Instance) -> Result<(), Code> {
    let message = registration(stage, instance);
    let committed = ask(&stage.registry, message, PATIENCE).await.unwrap().map_err(|error| error.code)?;
    stage.seen(committed).await;
    Ok(())
}

#[actix::test]
async fn another_ttl_moves_to_another_lease() {
    for fault in [Fault::None, Fault::UnknownDone, Fault::UnknownNotDone] {
        let stage = Stage::set().await;
        let former = lease_of(&*stage.registered("i").await);
        stage.store.script(StoreCall::Batch, [fault]);
        register_every(&stage, 60).await.unwrap();
        let entry = stage.entry("i").unwrap();
        assert_eq!(entry.pace().interval_seconds(), 60, "{fault:?}");
        assert_ne!(lease_of(&entry), former, "{fault:?}");
        eventually("the end of the former lease", || stage.store.begun(StoreCall::Revoke) == 1).await;
        let alive = stage.store.keep_alive(vec![lease_of(&entry), former]).await;
        assert!(matches!(alive[..], [KeepAlive::Renewed(_), KeepAlive::NotFound]), "{fault:?}: {alive:?}");
        assert_eq!(stage.count().await, 1);
    }
}

#[actix::test]
async fn what_is_written_after_the_answer_is_taken_back_unless_its_owner_knows_the_id() {
    let stage = Stage::set().await;
    for (id, expected, count) in [("", Err(Code::Unavailable), 0), ("i", Ok(()), 1)] {
        let instance = Instance { instance_id: id.into(), host_name: "host".into(), ..Instance::default() };
        let past = Some(crate::clock::Monotonic::ZERO);
        let message = RegisterInstance { answer_by: past, ..registration(&stage, instance) };
        let registered = ask(&stage.registry, message, PATIENCE).await.unwrap();
        assert_eq!(registered.map(drop).map_err(|error| error.code), expected, "id '{id}'");
        assert_eq!(stage.count().await, count, "id '{id}'");
    }
}

#[actix::test]
async fn a_change_of_ttl_of_unknown_outcome_does_not_end_the_instance() {
    for second in [Fault::UnknownDone, Fault::UnknownNotDone, Fault::Refused(Reason::Unavailable)] {
        let stage = Stage::set().await;
        stage.registered("i").await;
        stage.store.script(StoreCall::Batch, [Fault::UnknownDone, second]);
        assert_eq!(register_every(&stage, 60).await, Err(Code::Unavailable), "{second:?}");
        assert_eq!(stage.count().await, 1, "{second:?}");
        let entry = stage.entry("i").unwrap();
        assert_eq!(entry.pace().interval_seconds(), 60, "{second:?}");
        let alive = stage.store.keep_alive(vec![lease_of(&entry)]).await;
        assert!(matches!(alive[..], [KeepAlive::Renewed(_)]), "{second:?}: {alive:?}");
        assert_eq!(stage.store.begun(StoreCall::Revoke), 0, "{second:?}");
    }
}

#[actix::test]
async fn one_without_a_lease_gets_one() {
    let stage = Stage::set().await;
    stage.registered("i").await;
    let at = InstanceKeys::new(&tenant(), &stage.service, "i");
    let value = Bytes::from_static(b"{\"instanceId\":\"i\",\"hostName\":\"host\"}");
    let immortal = vec![Op::Put { key: at.document, value, lease: None }, Op::Delete(at.lease)];
    stage.store.batch(vec![Txn { then: immortal, ..Txn::default() }]).await.remove(0).unwrap();
    assert_eq!(stage.count().await, 1);
    assert!(stage.entry("i").unwrap().lease.is_none());
    register_every(&stage, 30).await.unwrap();
    assert!(stage.entry("i").unwrap().lease.is_some());
}

#[actix::test]
async fn who_is_held_may_say_goodbye_and_stays_away() {
    let stage = Stage::set_by(Clock::manual(BEGIN), DependencyMode::Direct).await;
    let entry = stage.registered("i").await;
    stage.registered("j").await;
    // Its lease ends. The snapshot shows it for two more seconds.
    assert_eq!(stage.store.revoke(lease_of(&entry)).await, Ok(true));
    stage.freshness.catch_up().await;
    assert!(stage.entry("i").is_some(), "it waits");
    stage.unregister("i").await.unwrap();
    assert!(stage.entry("i").is_none(), "it is gone when that is answered");
    assert_eq!(stage.unregister("i").await.unwrap_err().code, Code::InstanceNotExists);
    // No node writes it again for that lease, even a node that has not seen the goodbye.
    let json = entry.json().clone();
    let former_lease = lease_of(&entry).0;
    let restore = |former_lease| RestoreInstance {
        tenant: tenant(),
        service: stage.service.clone(),
        instance: "i".into(),
        json: json.clone(),
        properties: PropertiesFrom::Registration,
        former_lease,
    };
    let reply = ask(&stage.registry, restore(former_lease), PATIENCE).await.unwrap().unwrap();
    assert_eq!((reply.revision, stage.count().await), (None, 1));
    // Its owner may register again. Then it is written again when its lease is lost.
    let again = stage.registered("i").await;
    assert_eq!(stage.store.revoke(lease_of(&again)).await, Ok(true));
    let reply = ask(&stage.registry, restore(lease_of(&again).0), PATIENCE).await.unwrap().unwrap();
    assert!(reply.revision.is_some());
    stage.seen(reply).await;
    stage.unregister("i").await.unwrap();
    assert_eq!(stage.count().await, 1);
}

/// The store does not answer the renewal, because the time of the lease is over and the store has not ended it yet.
#[actix::test]
async fn on_a_lease_that_is_about_to_end_it_moves_to_a_new_one() {
    for host in ["host", "another"] {
        let stage = Stage::set().await;
        let former = stage.registered("i").await;
        stage.store.script(StoreCall::KeepAlive, [Fault::Refused(Reason::Unavailable)]);
        let committed = stage.register_on("i", host).await.unwrap();
        stage.seen(committed).await;
        let entry = stage.entry("i").unwrap();
        assert_ne!(lease_of(&entry), lease_of(&former), "{host}");
        assert_eq!(entry.json() == former.json(), host == "host", "{host}");
        eventually("the end of the former lease", || stage.store.begun(StoreCall::Revoke) == 1).await;
        let alive = stage.store.keep_alive(vec![lease_of(&entry), lease_of(&former)]).await;
        assert!(matches!(alive[..], [KeepAlive::Renewed(_), KeepAlive::NotFound]), "{host}: {alive:?}");
        assert_eq!(stage.count().await, 1, "{host}");
    }
}

fn texts(pairs: &[(&str, &str)]) -> TextMap {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

/// The document that the owner of `i` sends each time.
fn owners(properties: &[(&str, &str)], host: &str, interval: i32) -> Instance {
    let check = HealthCheck { mode: "push".into(), interval, times: 3, ..HealthCheck::default() };
    Instance {
        instance_id: "i".into(),
        host_name: host.into(),
        properties: texts(properties),
        health_check: Some(check),
        ..Instance::default()
    }
}

/// Host, status, properties.
fn shown(stage: &Stage) -> (String, String, TextMap) {
    let document = stage.document("i");
    (document.host_name, document.status, document.properties)
}

fn is(host: &str, status: &str, properties: &[(&str, &str)]) -> (String, String, TextMap) {
    (host.to_owned(), status.to_owned(), texts(properties))
}

/// An operator has taken the instance out of service and changed its properties. Its owner registers again: unchanged, with
/// another host, and with another TTL, which moves the instance to another lease.
#[actix::test]
async fn what_a_request_has_changed_stays_when_the_owner_registers_again() {
    let stage = Stage::set().await;
    register_as(&stage, owners(&[("a", "1")], "host", 30)).await.unwrap();
    register_as(&stage, owners(&[("a", "2")], "host", 30)).await.unwrap();
    assert_eq!(shown(&stage), is("host", "UP", &[("a", "2")]), "its own properties it may change");
    stage.change("i", InstanceEdit::Status("OUTOFSERVICE".into())).await;
    register_as(&stage, owners(&[("a", "3")], "host", 30)).await.unwrap();
    assert_eq!(shown(&stage), is("host", "OUTOFSERVICE", &[("a", "3")]));
    stage.change("i", InstanceEdit::Properties(texts(&[("weight", "0")]))).await;
    let lease = lease_of(&stage.entry("i").unwrap());
    register_as(&stage, owners(&[("a", "3")], "host", 30)).await.unwrap();
    assert_eq!(shown(&stage), is("host", "OUTOFSERVICE", &[("weight", "0")]));
    register_as(&stage, owners(&[("a", "4")], "another", 30)).await.unwrap();
    assert_eq!(shown(&stage), is("another", "OUTOFSERVICE", &[("weight", "0")]));
    assert_eq!(lease_of(&stage.entry("i").unwrap()), lease);
    for round in 0..2 {
        register_as(&stage, owners(&[("a", "4")], "another", 60 + round)).await.unwrap();
        assert_eq!(shown(&stage), is("another", "OUTOFSERVICE", &[("weight", "0")]), "{round}");
    }
    assert_ne!(lease_of(&stage.entry("i").unwrap()), lease);
    // A goodbye ends that.
    stage.unregister("i").await.unwrap();
    register_as(&stage, owners(&[("a", "5")], "host", 30)).await.unwrap();
    register_as(&stage, owners(&[("a", "6")], "host", 30)).await.unwrap();
    assert_eq!(shown(&stage), is("host", "UP", &[("a", "6")]));
}

/// The lease has ended, as after a fault of the store, and the instance is still shown.
#[actix::test]
async fn so_it_does_for_one_that_is_held() {
    let clock = Clock::manual(BEGIN);
    let stage = Stage::set_by(clock.clone(), DependencyMode::Direct).await;
    register_as(&stage, owners(&[("a", "1")], "host", 30)).await.unwrap();
    stage.change("i", InstanceEdit::Status("OUTOFSERVICE".into())).await;
    stage.change("i", InstanceEdit::Properties(texts(&[("weight", "0")]))).await;
    for round in 0..2 {
        let former = lease_of(&stage.entry("i").unwrap());
        assert_eq!(stage.store.revoke(former).await, Ok(true));
        stage.freshness.catch_up().await;
        assert!(stage.entry("i").is_some(), "it waits");
        register_as(&stage, owners(&[("a", "1")], "host", 30)).await.unwrap();
        assert_eq!(shown(&stage), is("host", "OUTOFSERVICE", &[("weight", "0")]), "{round}");
        assert_ne!(lease_of(&stage.entry("i").unwrap()), former);
    }
    // After its expiry has passed, a registration makes a new instance.
    assert_eq!(stage.store.revoke(lease_of(&stage.entry("i").unwrap())).await, Ok(true));
    stage.freshness.catch_up().await;
    clock.advance(Duration::from_secs(2));
    eventually("the end of the window", || stage.entry("i").is_none()).await;
    for value in ["2", "3"] {
        register_as(&stage, owners(&[("a", value)], "host", 30)).await.unwrap();
        assert_eq!(shown(&stage), is("host", "UP", &[("a", value)]));
    }
}

/// The deletion of a service deletes all keys of its instances.
#[actix::test]
async fn a_deleted_service_leaves_no_override() {
    let stage = Stage::set().await;
    register_as(&stage, owners(&[], "host", 30)).await.unwrap();
    stage.change("i", InstanceEdit::Properties(texts(&[("weight", "0")]))).await;
    stage.unregister_service().await;
    let left = stage.store.list(&["/cse-sr/inst/"]).next().await.unwrap().unwrap().entries;
    assert_eq!(left, []);
    assert_eq!(stage.reader.load().properties_from(&stage.at("i")), PropertiesFrom::Registration);
}

/// The owner has said goodbye through another node. This node has not seen that, and the lease has not ended yet. A
/// registration must not be answered that the instance is there.
#[actix::test]
async fn who_is_gone_elsewhere_is_registered_again() {
    let stage = Stage::set().await;
    let former = stage.registered("i").await;
    stage.store.shut(StoreCall::List);
    let lists = stage.store.begun(StoreCall::List);
    stage.store.end_watches(WatchError::Compacted);
    // Otherwise the watch could still bring the deletion.
    eventually("the end of the watch", || stage.store.begun(StoreCall::List) > lists).await;
    let at = InstanceKeys::new(&tenant(), &stage.service, "i");
    let gone = Txn { then: vec![Op::Delete(at.lease), Op::Delete(at.document)], ..Txn::default() };
    assert!(stage.store.batch(vec![gone]).await.remove(0).unwrap().succeeded);
    let again = stage.register("i");
    let (committed, ()) = tokio::join!(again, async {
        eventually("the look at the store", || stage.store.begun(StoreCall::KeepAlive) > 0).await;
        stage.store.open(StoreCall::List);
    });
    assert!(committed.unwrap().revision.is_some(), "it was written");
    assert_eq!(stage.count().await, 1);
    assert_ne!(lease_of(&stage.entry("i").unwrap()), lease_of(&former));
}

/// An equal registration is not written, but the store must say that the instance is there.
#[actix::test]
async fn an_equal_registration_without_an_answer_of_the_store_is_an_error() {
    for fault in [Fault::Refused(Reason::Unavailable), Fault::UnknownNotDone] {
        let stage = Stage::set().await;
        stage.registered("i").await;
        stage.store.script(StoreCall::Batch, [fault]);
        let again = stage.register("i").await.map(drop).map_err(|error| error.code);
        assert_eq!(again, Err(Code::Unavailable), "{fault:?}");
        stage.registered("i").await;
    }
}
