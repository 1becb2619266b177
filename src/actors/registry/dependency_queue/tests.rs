//! What happens to queued requests when the lock becomes free.

#![allow(clippy::unwrap_used, reason = "tests")]

use super::*;
use crate::actors::registry::rules::DependencyMode;
use crate::actors::tests::{Stage, eventually, store, tenant};
use crate::clock::Clock;
use crate::domain::ServiceKey;
use crate::domain::dependency::{ALL_VERSIONS, Partners};
use crate::domain::event::ServiceName;
use crate::store::Store;
use crate::store::faulty::StoreCall;

fn key(name: &str, version: &str) -> ServiceKey {
    let (service_name, version) = (name.to_owned(), version.to_owned());
    ServiceKey {
        tenant: "default/default".into(),
        app_id: "default".into(),
        service_name,
        version,
        ..ServiceKey::default()
    }
}

fn name(name: &str) -> ServiceName {
    ServiceName::new(tenant(), "", "default", name)
}

async fn write(stage: &Stage, ops: Vec<Op>) {
    for chunk in ops.chunks(100) {
        let txn = Txn { then: chunk.to_vec(), ..Txn::default() };
        stage.store.batch(vec![txn]).await.remove(0).unwrap();
    }
}

fn put(key: Key, value: impl Into<Bytes>) -> Op {
    Op::Put { key, value: value.into(), lease: None }
}

fn queued(consumer: &str, id: &str, provider: &str, replace: bool) -> Op {
    let providers = vec![key(provider, ALL_VERSIONS)];
    let request = Dependency { consumer: Some(key(consumer, "1")), providers, replace };
    put(keys::dependency_request(&tenant(), consumer, id), json::encode(&request))
}

async fn partners(stage: &Stage, key: &Key) -> Vec<String> {
    let read = Txn { then: vec![Op::Get(Key::clone(key))], ..Txn::default() };
    let found = stage.store.batch(vec![read]).await.remove(0).unwrap().reads.remove(0).pop();
    let rule: Partners = found.map(|entry| json::decode(&entry.value).unwrap()).unwrap_or_default();
    rule.keys.into_iter().map(|key| key.service_name).collect()
}

async fn until_it_is_empty(stage: &Stage) {
    eventually("the end of the queue", || stage.reader.load().dependency_queue.is_empty()).await;
}

/// A queue that fills while another node holds the lock.
async fn filled(ops: Vec<Op>) -> Stage {
    let stage = Stage::set_up(store(), DependencyMode::Queued).await;
    let count = ops.len();
    write(&stage, vec![put(keys::DEPENDENCY_LOCK.into(), "another")]).await;
    write(&stage, ops).await;
    eventually("the requests", || stage.reader.load().dependency_queue.len() == count).await;
    stage
}

/// Rules as other servers may have left them: a consumer in the rules of two versions of a provider that is gone.
#[actix::test]
async fn a_consumer_named_twice_is_cleaned_up_like_any_other() {
    let stage = Stage::set_up(store(), DependencyMode::Direct).await;
    let rule = |keys: Vec<ServiceKey>| json::encode(&Partners { keys });
    let consumer = keys::consumer_rule(&name("c"), "1");
    let versions = [ALL_VERSIONS, "1.0.0+"];
    let mut ops: Vec<Op> = versions
        .map(|version| put(keys::provider_rule(&name("p"), version), rule(vec![key("c", "1")])))
        .into();
    ops.push(put(Key::clone(&consumer), rule(vec![key("p", ALL_VERSIONS)])));
    write(&stage, ops).await;
    clean_up(&stage.core, &tenant(), &[], None).await.unwrap();
    assert_eq!(partners(&stage, &consumer).await, [""; 0]);
    assert_eq!(partners(&stage, &keys::provider_rule(&name("p"), ALL_VERSIONS)).await, [""; 0]);
}

#[actix::test]
async fn a_storm_is_applied_in_few_rounds() {
    let consumer = |number: usize| format!("c{number}");
    let storm = (0..500).map(|number| queued(&consumer(number), "default_p", "p", false)).collect();
    let stage = filled(storm).await;
    let begun = stage.store.begun(StoreCall::Batch);
    write(&stage, vec![Op::Delete(keys::DEPENDENCY_LOCK.into())]).await;
    until_it_is_empty(&stage).await;
    let rounds = stage.store.begun(StoreCall::Batch) - begun;
    assert!(rounds < 100, "{rounds} rounds for 500 requests");
    let consumers = partners(&stage, &keys::provider_rule(&name("p"), ALL_VERSIONS)).await;
    // Requests of one transaction are in the order of their keys.
    assert_eq!(consumers.len(), 500);
    for number in [0, 250, 499] {
        assert!(consumers.contains(&consumer(number)));
        assert_eq!(partners(&stage, &keys::consumer_rule(&name(&consumer(number)), "1")).await, ["p"]);
    }
    let lock =
        stage.store.batch(vec![Txn { then: vec![Op::Get(keys::DEPENDENCY_LOCK.into())], ..Txn::default() }]);
    assert!(lock.await.remove(0).unwrap().reads.concat().is_empty(), "the lock is given back");
}

#[actix::test]
async fn replacing_and_adding_keep_their_order_and_what_no_longer_exists_is_cleaned_up_in_the_end() {
    let stage = filled(vec![]).await;
    // `p1` and `p2` exist, `nowhere` does not.
    let existing = ["p1", "p2"].map(|provider| put(keys::index(&name(provider), "1"), provider.to_owned()));
    write(&stage, existing.to_vec()).await;
    for op in [
        queued("c", "a", "p2", false),
        queued("d", "a", "nowhere", false),
        queued("c", "0", "p1", true),
        queued("c", "b", "p2", false),
        queued("e", "a", "nowhere", false),
    ] {
        write(&stage, vec![op]).await;
    }
    write(&stage, vec![put("/cse-sr/ms/dep-queue/default/default/c/broken".into(), "no json")]).await;
    eventually("the requests", || stage.reader.load().dependency_queue.len() == 6).await;
    write(&stage, vec![Op::Delete(keys::DEPENDENCY_LOCK.into())]).await;
    until_it_is_empty(&stage).await;
    assert_eq!(partners(&stage, &keys::consumer_rule(&name("c"), "1")).await, ["p2", "p1"]);
    for (provider, consumers) in [("p1", vec!["c"]), ("p2", vec!["c"]), ("nowhere", vec![])] {
        let rule = keys::provider_rule(&name(provider), ALL_VERSIONS);
        assert_eq!(partners(&stage, &rule).await, consumers, "{provider}");
    }
    for consumer in ["d", "e"] {
        assert_eq!(partners(&stage, &keys::consumer_rule(&name(consumer), "1")).await, [""; 0], "{consumer}");
    }
}

#[actix::test]
async fn a_clock_that_is_set_while_requests_come_holds_none_of_them() {
    let clock = Clock::manual(1_790_000_000);
    let stage = Stage::set_by(clock.clone(), DependencyMode::Queued).await;
    // The value of the lock is the time when it was taken. In the last two rounds it is the same.
    for (round, to) in [1_790_040_000, 1_789_900_000, 0, 1_790_000_000, 1_790_000_000].into_iter().enumerate()
    {
        clock.jump(to);
        let provider = format!("p{round}");
        write(&stage, vec![queued("c", &format!("default_{provider}"), &provider, false)]).await;
        let rule = keys::provider_rule(&name(&provider), ALL_VERSIONS);
        // The snapshot shows the request, or that it is applied.
        stage.count().await;
        until_it_is_empty(&stage).await;
        assert_eq!(partners(&stage, &rule).await, ["c"], "{round}");
    }
}

/// Queues a request as a node of the original server does: whatever a client sent.
#[actix::test]
async fn what_a_tenant_may_not_ask_for_is_left_out() {
    let stage = filled(vec![]).await;
    let of =
        |tenant: &str, name: &str, version: &str| ServiceKey { tenant: tenant.into(), ..key(name, version) };
    let providers = vec![
        of("far/p", "p", ALL_VERSIONS),
        of("default/other", "p", ALL_VERSIONS),
        of("a/b/c/d/e", "p", ALL_VERSIONS),
        of("..", "p", ALL_VERSIONS),
        of("default/\u{7}", "p", ALL_VERSIONS),
        of(&"x".repeat(100_000), "p", ALL_VERSIONS),
        key("p/../q", ALL_VERSIONS),
        key("near", ALL_VERSIONS),
    ];
    let foreign = of("far/p", "c", "1");
    let requests = [("c", key("c", "1"), providers), ("d", foreign, vec![key("near", ALL_VERSIONS)])];
    for (id, consumer, providers) in requests {
        let request = Dependency { consumer: Some(consumer), providers, replace: false };
        let op = put(keys::dependency_request(&tenant(), id, "a"), json::encode(&request));
        write(&stage, vec![op]).await;
    }
    eventually("the requests", || stage.reader.load().dependency_queue.len() == 2).await;
    write(&stage, vec![Op::Delete(keys::DEPENDENCY_LOCK.into())]).await;
    until_it_is_empty(&stage).await;
    let mut pages = stage.store.list(&["/cse-sr/ms/dep-rules/"]);
    let mut rules = Vec::new();
    while let Some(page) = pages.next().await {
        rules.extend(page.unwrap().entries.into_iter().map(|entry| entry.key.to_string()));
    }
    let expected = [
        "/cse-sr/ms/dep-rules/default/default/c//default/c/1",
        "/cse-sr/ms/dep-rules/default/default/p//default/near/0.0.0+",
        "/cse-sr/ms/dep-rules/default/other/p//default/p/0.0.0+",
    ];
    assert_eq!(rules, expected);
}

/// The rules of a consumer with these providers, each with this alias.
async fn file(stage: &Stage, consumer: &str, providers: &[String], alias: &str) {
    let providers: Vec<ServiceKey> = providers
        .iter()
        .map(|provider| ServiceKey { alias: alias.to_owned(), ..key(provider, ALL_VERSIONS) })
        .collect();
    let request = Dependency { consumer: Some(key(consumer, "1")), providers, replace: false };
    let request = DependencyRequest { dependency: request, entry: None };
    assert!(RuleWriter::new(&stage.core, None).apply(&[request], &[], None).await[0].is_ok());
}

/// The rule of a consumer is written once for many providers that are gone.
#[actix::test]
async fn many_that_are_gone_are_cleaned_up_together() {
    let stage = Stage::set_up(store(), DependencyMode::Direct).await;
    let gone: Vec<String> = (0..400).map(|number| format!("p{number:03}")).collect();
    file(&stage, "c", &gone, "").await;
    file(&stage, "d", &gone[..1], "").await;
    let from = stage.store.batches().len();
    clean_up(&stage.core, &tenant(), &[], None).await.unwrap();
    assert!(stage.store.list(&["/cse-sr/ms/dep-rules/"]).next().await.unwrap().unwrap().entries.is_empty());
    let rule = keys::consumer_rule(&name("c"), "1");
    let batches = stage.store.batches();
    let ops = batches.iter().skip(from).flatten().flat_map(|txn| &txn.then);
    let written =
        ops.filter(|op| matches!(op, Op::Put { key, .. } | Op::Delete(key) if *key == rule)).count();
    assert!(written <= 10, "the consumer's rule was written {written} times for 400 providers");
    for txn in batches.iter().skip(from).flatten() {
        assert!(txn.then.len() <= 128 && txn.compares.len() <= 128);
    }
}

#[actix::test]
async fn a_rule_whose_alias_leads_to_a_service_is_kept_and_so_is_a_name_that_comes_back() {
    let stage = Stage::set_up(store(), DependencyMode::Direct).await;
    write(
        &stage,
        vec![put(keys::alias(&name("al"), "1"), "somebody"), put(keys::index(&name("p"), "1"), "p")],
    )
    .await;
    file(&stage, "c", &["nobody".to_owned()], "al").await;
    file(&stage, "d", &["nobody".to_owned()], "other").await;
    file(&stage, "e", &["p".to_owned()], "").await;
    clean_up(&stage.core, &tenant(), &[], None).await.unwrap();
    let check =
        async |key: Key, expected: &[&str]| assert_eq!(partners(&stage, &key).await, expected, "{key}");
    check(keys::provider_rule(&name("nobody"), ALL_VERSIONS), &["c"]).await;
    check(keys::consumer_rule(&name("c"), "1"), &["nobody"]).await;
    check(keys::consumer_rule(&name("d"), "1"), &[]).await;
    check(keys::consumer_rule(&name("e"), "1"), &["p"]).await;
    write(&stage, vec![Op::Delete(keys::alias(&name("al"), "1")), Op::Delete(keys::index(&name("p"), "1"))])
        .await;
    clean_up(&stage.core, &tenant(), &[], None).await.unwrap();
    assert!(stage.store.list(&["/cse-sr/ms/dep-rules/"]).next().await.unwrap().unwrap().entries.is_empty());
}

/// One hold of the lock reads a limited number of bytes, but all requests of a consumer, because their order matters.
#[actix::test]
async fn a_queue_of_large_requests_is_read_part_by_part() {
    let stage = filled(vec![]).await;
    let large = ServiceKey { alias: "x".repeat(1_000_000), ..key("p", ALL_VERSIONS) };
    for number in 0..50 {
        let consumer = format!("c{}", number % 5);
        let request = Dependency {
            consumer: Some(key(&consumer, "1")),
            providers: vec![large.clone()],
            replace: false,
        };
        let queue_key = keys::dependency_request(&tenant(), &consumer, &format!("{number:02}"));
        write(&stage, vec![put(queue_key, json::encode(&request))]).await;
    }
    let waiting = || stage.reader.load().dependency_queue.iter().cloned().collect::<Vec<_>>();
    eventually("the requests", || waiting().len() == 50).await;
    let entries = read(&stage.core, &waiting()).await.unwrap();
    assert_eq!(entries.len(), 40, "four of five consumers, each with all of its requests");
    assert!(entries.is_sorted_by_key(|entry| entry.mod_revision));
}
