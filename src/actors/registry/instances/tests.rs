//! An id that is known registers again with something else.

#![allow(clippy::unwrap_used, reason = "tests")]

use super::*;
use crate::actors::mailbox::ask;
use crate::actors::tests::{PATIENCE, Stage, eventually, lease_of, tenant};
use crate::domain::instance::HealthCheck;
use crate::store::Store;
use crate::store::faulty::{Call, Fault};

/// Registers `i` with a heartbeat interval.
async fn register_every(stage: &Stage, interval: i32) -> Result<(), Code> {
    let check = HealthCheck { mode: "push".into(), interval, times: 3, ..HealthCheck::default() };
    let instance = Instance {
        instance_id: "i".into(),
        host_name: "host".into(),
        health_check: Some(check),
        ..Instance::default()
    };
    let (service, author) = (stage.service.clone(), Author::Client);
    let message =
        RegisterInstance { tenant: tenant(), service, instance, former_lease: FormerLease::Renewed, author };
    let committed = ask(&stage.registry, message, PATIENCE).await.unwrap().map_err(|error| error.code)?;
    stage.seen(committed).await;
    Ok(())
}

#[actix::test]
async fn another_ttl_moves_to_another_lease() {
    for fault in [Fault::None, Fault::UnknownDone, Fault::UnknownNotDone] {
        let stage = Stage::set().await;
        let former = lease_of(&*stage.registered("i").await);
        stage.store.script(Call::Batch, [fault]);
        register_every(&stage, 60).await.unwrap();
        let entry = stage.entry("i").unwrap();
        assert_eq!(entry.record.interval_seconds, 60, "{fault:?}");
        assert_ne!(lease_of(&entry), former, "{fault:?}");
        eventually("the end of the former lease", || stage.store.begun(Call::Revoke) == 1).await;
        let alive = stage.store.keep_alive(vec![lease_of(&entry), former]).await;
        assert!(matches!(alive[..], [KeepAlive::Renewed(_), KeepAlive::NotFound]), "{fault:?}: {alive:?}");
        assert_eq!(stage.count().await, 1);
    }
}

#[actix::test]
async fn a_change_of_ttl_of_unknown_outcome_does_not_end_the_instance() {
    for second in [Fault::UnknownDone, Fault::UnknownNotDone, Fault::Refused(Reason::Unavailable)] {
        let stage = Stage::set().await;
        stage.registered("i").await;
        stage.store.script(Call::Batch, [Fault::UnknownDone, second]);
        assert_eq!(register_every(&stage, 60).await, Err(Code::Unavailable), "{second:?}");
        assert_eq!(stage.count().await, 1, "{second:?}");
        let entry = stage.entry("i").unwrap();
        assert_eq!(entry.record.interval_seconds, 60, "{second:?}");
        let alive = stage.store.keep_alive(vec![lease_of(&entry)]).await;
        assert!(matches!(alive[..], [KeepAlive::Renewed(_)]), "{second:?}: {alive:?}");
        assert_eq!(stage.store.begun(Call::Revoke), 0, "{second:?}");
    }
}

#[actix::test]
async fn one_without_a_lease_gets_one() {
    let stage = Stage::set().await;
    stage.registered("i").await;
    let at = Keys::new(&tenant(), &stage.service, "i");
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
    let stage = Stage::set().await;
    let entry = stage.registered("i").await;
    stage.registered("j").await;
    // Its lease ends; the snapshot shows it for two seconds more.
    assert_eq!(stage.store.revoke(lease_of(&entry)).await, Ok(true));
    stage.freshness.catch_up().await;
    assert!(stage.entry("i").is_some(), "it waits");
    stage.unregister("i").await.unwrap();
    assert!(stage.entry("i").is_none(), "it is gone when that is answered");
    assert_eq!(stage.unregister("i").await.unwrap_err().code, Code::InstanceNotExists);
    // Nobody writes it again for that lease, also a node that has not heard of it.
    let json = entry.json().clone();
    let former_lease = lease_of(&entry).0;
    let restore = |former_lease| RestoreInstance {
        tenant: tenant(),
        service: stage.service.clone(),
        instance: "i".into(),
        json: json.clone(),
        former_lease,
    };
    let reply = ask(&stage.registry, restore(former_lease), PATIENCE).await.unwrap().unwrap();
    assert_eq!((reply.revision, stage.count().await), (None, 1));
    // Its owner may register anew, and that is made good if need be.
    let again = stage.registered("i").await;
    assert_eq!(stage.store.revoke(lease_of(&again)).await, Ok(true));
    let reply = ask(&stage.registry, restore(lease_of(&again).0), PATIENCE).await.unwrap().unwrap();
    assert!(reply.revision.is_some());
    stage.seen(reply).await;
    stage.unregister("i").await.unwrap();
    assert_eq!(stage.count().await, 1);
}

/// The store says nothing about the lease: its time is over, and it is not ended yet.
#[actix::test]
async fn on_a_lease_that_is_about_to_end_it_moves_to_a_new_one() {
    for host in ["host", "another"] {
        let stage = Stage::set().await;
        let former = stage.registered("i").await;
        stage.store.script(Call::KeepAlive, [Fault::Refused(Reason::Unavailable)]);
        let committed = stage.register_on("i", host).await.unwrap();
        stage.seen(committed).await;
        let entry = stage.entry("i").unwrap();
        assert_ne!(lease_of(&entry), lease_of(&former), "{host}");
        assert_eq!(entry.json() == former.json(), host == "host", "{host}");
        eventually("the end of the former lease", || stage.store.begun(Call::Revoke) == 1).await;
        let alive = stage.store.keep_alive(vec![lease_of(&entry), lease_of(&former)]).await;
        assert!(matches!(alive[..], [KeepAlive::Renewed(_), KeepAlive::NotFound]), "{host}: {alive:?}");
        assert_eq!(stage.count().await, 1, "{host}");
    }
}
