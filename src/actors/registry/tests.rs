//! Writes with unknown outcomes, and tenants that come and go.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeSet;
use std::rc::Rc;
use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::future::join_all;

use super::core::RegistryCore;
use super::messages::{Author, RegisterService, RetireEmptyService, UnregisterService};
use super::services;
use crate::actors::mailbox::ask;
use crate::actors::tests::{PATIENCE, Stage, eventually, lease_of};
use crate::clock::Clock;
use crate::domain::validate::flag::Force;
use crate::domain::{Service, Tenant};
use crate::error::Code;
use crate::recorder::Recorder;
use crate::store::faulty::{Fault, StoreCall};
use crate::store::{Compare, KeepAlive, Op, Reason, Store, Txn, keys};

async fn keys_of_instances(stage: &Stage) -> usize {
    stage.store.list(&["/cse-sr/inst/"]).next().await.unwrap().unwrap().entries.len()
}

#[actix::test]
async fn a_registration_that_was_done_unknown_is_acknowledged_once() {
    let stage = Stage::set().await;
    stage.store.script(StoreCall::Batch, [Fault::UnknownDone]);
    let entry = stage.registered("i").await;
    assert_eq!(stage.count().await, 1);
    // Its lease is not revoked: the second try recognized the write of the first.
    let answers = stage.store.keep_alive(vec![lease_of(&entry)]).await;
    assert!(matches!(answers[..], [KeepAlive::Renewed(_)]), "{answers:?}");
    assert_eq!(stage.store.begun(StoreCall::Revoke), 0);
}

#[actix::test]
async fn one_that_was_not_done_is_done_by_the_second_try() {
    let stage = Stage::set().await;
    stage.store.script(StoreCall::Batch, [Fault::UnknownNotDone]);
    let id = stage.register("").await.unwrap();
    let id = stage.seen(id).await;
    assert!(stage.entry(id.as_str()).is_some());
    assert_eq!((stage.count().await, stage.store.begun(StoreCall::Revoke)), (1, 0));
}

#[actix::test]
async fn two_tries_and_nothing_done_is_an_error_and_nothing_stands_later() {
    for second in [Fault::UnknownLate, Fault::Refused(Reason::Unavailable), Fault::UnknownDone] {
        let stage = Stage::set().await;
        stage.store.script(StoreCall::Batch, [Fault::UnknownLate, second]);
        let error = stage.register("").await.unwrap_err();
        assert_eq!(error.code, Code::Unavailable);
        eventually("the revocation", || stage.store.begun(StoreCall::Revoke) == 1).await;
        // The write that was on its way arrives.
        for outcome in stage.store.finish_late().await.into_iter().flatten() {
            assert!(outcome.is_err(), "{second:?}: {outcome:?}");
        }
        eventually("the end of its keys", || {
            let snapshot = stage.reader.load();
            snapshot.instance_count == 0
        })
        .await;
        assert_eq!(keys_of_instances(&stage).await, 0, "{second:?}");
        // The client tries again and is served.
        stage.registered("i").await;
        assert_eq!(stage.count().await, 1);
    }
}

#[actix::test]
async fn who_registers_again_with_an_id_of_its_own_keeps_what_was_done_unknown() {
    let away = Fault::Refused(Reason::Unavailable);
    // The first or the second try is committed with an unknown outcome.
    for later in [Fault::UnknownDone, away] {
        let stage = Stage::set().await;
        stage.store.script(StoreCall::Batch, [Fault::UnknownDone, later]);
        assert_eq!(stage.register("i").await.unwrap_err().code, Code::Unavailable);
        let entry = stage.registered("i").await;
        // The sweep, which runs once a second, revokes the lease.
        stage.core.leases.sweep();
        let answers = stage.store.keep_alive(vec![lease_of(&entry)]).await;
        assert!(matches!(answers[..], [KeepAlive::Renewed(_)]), "{answers:?}");
        assert_eq!(stage.store.begun(StoreCall::Revoke), 0, "{later:?}");
        assert_eq!(stage.count().await, 1);
    }
}

#[actix::test]
async fn the_fence_is_set_also_when_the_store_is_away_for_a_while() {
    let stage = Stage::set().await;
    stage.store.script(StoreCall::Batch, [Fault::UnknownLate, Fault::UnknownLate]);
    stage.store.script(StoreCall::Revoke, [Fault::Refused(Reason::Unavailable), Fault::UnknownNotDone]);
    assert!(stage.register("").await.is_err());
    let lease = stage.store.batches().iter().flatten().flat_map(|txn| &txn.then).find_map(|op| match op {
        Op::Put { lease, .. } => *lease,
        _ => None,
    });
    let lease = lease.unwrap();
    eventually("the third try", || stage.store.begun(StoreCall::Revoke) == 3).await;
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while stage.store.keep_alive(vec![lease]).await != [KeepAlive::NotFound] {
        assert!(tokio::time::Instant::now() < deadline, "the lease still lives");
    }
    for outcome in stage.store.finish_late().await.into_iter().flatten() {
        assert!(outcome.is_err(), "{outcome:?}");
    }
    assert_eq!(keys_of_instances(&stage).await, 0);
}

#[actix::test]
async fn other_writes_with_an_unknown_outcome_are_errors_and_can_be_repeated() {
    let stage = Stage::set().await;
    stage.registered("i").await;
    stage.store.script(StoreCall::Batch, [Fault::UnknownDone]);
    assert_eq!(stage.unregister("i").await.unwrap_err().code, Code::Unavailable);
    eventually("the goodbye", || stage.entry("i").is_none()).await;
    assert_eq!(stage.unregister("i").await.unwrap_err().code, Code::InstanceNotExists);
    stage.registered("j").await;
    stage.unregister_service().await;
    assert_eq!((stage.count().await, keys_of_instances(&stage).await), (0, 0));
}

/// Services of three projects in two domains come and go through two nodes. In the end, a project has its key exactly if it has
/// a service, and a domain has its key exactly if it has a project.
#[actix::test]
async fn the_keys_of_tenants_come_and_go_with_their_services() {
    let stage = Stage::set().await;
    let (store, reader) = (Arc::new(stage.store.clone()), stage.reader.clone());
    let (freshness, rules) = (stage.freshness.clone(), stage.core.rules.clone());
    let other = RegistryCore::new(store, reader, freshness, Clock::system(), Recorder::default(), rules);
    let nodes = [Rc::clone(&stage.core), other];
    let tenants = [Tenant::new("a", "p"), Tenant::new("a", "q"), Tenant::new("b", "p")];
    for round in 0..40 {
        let steps = (0..6_usize).map(|number| {
            let (node, tenant) = (Rc::clone(&nodes[number % 2]), tenants[(number + round) % 3].clone());
            async move {
                let name = format!("s{}", number / 3);
                let service = Service { service_name: name, version: "1".into(), ..Service::default() };
                let (author, force) = (Author::Client, Force::Yes);
                let message = RegisterService { tenant: tenant.clone(), service, author };
                let service = services::register(Rc::clone(&node), message).await.unwrap().value;
                // In the last round the services of one project stay.
                if (number + round) % 4 != 0 && !(round == 39 && tenant.project() == "q") {
                    // Another request may have been faster.
                    let _ = services::unregister(node, UnregisterService { tenant, service, force }).await;
                }
            }
        });
        join_all(steps).await;
    }
    eventually("the keys of exactly the tenants that have services", || {
        let snapshot = stage.reader.load();
        let used = snapshot.tenants().filter(|(_, view)| view.service_count > 0);
        let used: BTreeSet<Tenant> = used.map(|(tenant, _)| tenant.clone()).collect();
        let domains: BTreeSet<&str> = used.iter().map(Tenant::domain).collect();
        used.len() > 1
            && snapshot.projects.iter().eq(&used)
            && snapshot.domains.iter().map(|domain| &**domain).eq(domains)
    })
    .await;
}

/// An instance whose write comes between the look at the snapshot and the transaction.
#[actix::test]
async fn an_instance_of_the_last_moment_protects_an_empty_service() {
    let stage = Stage::set().await;
    let tenant = Tenant::default_tenant();
    let service = stage.service.clone();
    let put = |key| Op::Put { key, value: "{}".into(), lease: None };
    let write = async |op: Op| {
        let outcomes = stage.store.inner().batch(vec![Txn { then: vec![op], ..Txn::default() }]).await;
        outcomes[0].as_ref().unwrap().revision
    };
    let marked_at = write(put(keys::empty_service(&tenant, service.as_str()))).await;
    stage.count().await;
    let begun = stage.store.begun(StoreCall::Batch);
    stage.store.shut(StoreCall::Batch);
    let message = RetireEmptyService {
        tenant: tenant.clone(),
        service: service.clone(),
        empty_at: marked_at,
        marked_at,
    };
    let retiring = ask(&stage.registry, message, PATIENCE);
    let registering = async {
        eventually("the deletion", || stage.store.begun(StoreCall::Batch) > begun).await;
        write(put(keys::instance(&tenant, service.as_str(), "i"))).await;
        stage.store.open(StoreCall::Batch);
    };
    let (retired, ()) = futures_util::future::join(retiring, registering).await;
    assert_eq!(retired.unwrap().map(|_| ()).map_err(|error| error.code), Err(Code::ServiceHasInstances));
    let deletion = stage.store.batches().last().unwrap()[0].clone();
    let instances = keys::instance(&tenant, service.as_str(), "");
    assert!(deletion.compares.contains(&Compare::NoneBelow(instances)), "{deletion:?}");
    assert_eq!(stage.count().await, 1);
    assert!(stage.reader.load().service(&tenant, service.as_str()).is_some());
}
