//! Requests that are applied together have the same result as requests that are applied one by one.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeMap;

use bytes::Bytes;
use futures_util::StreamExt;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

use super::*;
use crate::actors::tests::Stage;
use crate::domain::dependency::{ALL_VERSIONS, Partners};
use crate::domain::json;
use crate::store::faulty::{Fault, StoreCall};
use crate::store::{Store, Txn};

fn service(name: &str, version: &str) -> ServiceKey {
    let (name, version) = (name.to_owned(), version.to_owned());
    ServiceKey { tenant: "default/default".into(), service_name: name, version, ..ServiceKey::default() }
}

fn request(consumer: &str, providers: &[&str], replace: bool) -> DependencyRequest {
    let providers = providers.iter().map(|name| service(name, ALL_VERSIONS)).collect();
    let dependency = Dependency { consumer: Some(service(consumer, "1")), providers, replace };
    DependencyRequest { dependency, entry: None }
}

/// A simple model: the partners of each rule, with one request applied after the other.
#[derive(Debug, Default, PartialEq)]
struct Model(BTreeMap<String, Vec<ServiceKey>>);

impl Model {
    fn apply(&mut self, request: &Dependency) {
        let consumer = request.consumer.as_ref().unwrap();
        let own = self.0.entry(consumer_key(consumer).to_string()).or_default();
        let before = std::mem::take(own);
        let after = merged_providers(&before, &request.providers, request.replace);
        own.clone_from(&after);
        for gone in before
            .iter()
            .filter(|old| !after.iter().any(|key| dependency::name(key) == dependency::name(old)))
        {
            self.0.entry(provider_key(gone).to_string()).or_default().retain(|known| known != consumer);
        }
        for provider in &after {
            let consumers = self.0.entry(provider_key(provider).to_string()).or_default();
            if !consumers.contains(consumer) {
                consumers.push(consumer.clone());
            }
        }
        self.0.retain(|_, partners| !partners.is_empty());
    }
}

async fn stored(stage: &Stage) -> Model {
    let mut pages = stage.store.list(&["/cse-sr/ms/dep-rules/"]);
    let mut rules = BTreeMap::new();
    while let Some(page) = pages.next().await {
        for entry in page.unwrap().entries {
            let partners: Partners = json::decode(&entry.value).unwrap();
            rules.insert(entry.key.to_string(), partners.keys);
        }
    }
    Model(rules)
}

fn random_request(random: &mut StdRng) -> DependencyRequest {
    const PROVIDERS: [&str; 6] = ["p1", "p2", "p3", "p4", "p5", "p6"];
    let consumer = *["c1", "c2", "c3"].choose(random).unwrap();
    let count = random.random_range(0..4);
    let providers: Vec<&str> = PROVIDERS.choose_multiple(random, count).copied().collect();
    request(consumer, &providers, random.random_range(0..3) == 0)
}

#[actix::test]
async fn together_they_lead_to_what_they_lead_to_one_by_one() {
    for seed in 0..15 {
        let mut random = StdRng::seed_from_u64(seed);
        let stage = Stage::set().await;
        let mut rules = RuleWriter::new(&stage.core, Some(Compare::Absent("/lock/nobody".into())));
        let mut model = Model::default();
        for _ in 0..12 {
            let requests: Vec<DependencyRequest> =
                (0..random.random_range(1..30)).map(|_| random_request(&mut random)).collect();
            if random.random_range(0..3) == 0 {
                // Another node writes the same rules meanwhile, so the remembered rules are old.
                let other = random_request(&mut random);
                model.apply(&other.dependency);
                let outcomes = RuleWriter::new(&stage.core, None).apply(&[other], &[], None).await;
                assert!(outcomes.iter().all(Result::is_ok));
            }
            requests.iter().for_each(|request| model.apply(&request.dependency));
            let outcomes = rules.apply(&requests, &[], None).await;
            assert_eq!(outcomes.len(), requests.len());
            assert!(outcomes.iter().all(Result::is_ok), "seed {seed}: {outcomes:?}");
            assert_eq!(stored(&stage).await, model, "seed {seed}");
        }
    }
}

#[actix::test]
async fn a_storm_takes_few_rounds_and_keeps_to_the_limits() {
    let stage = Stage::set().await;
    let requests: Vec<DependencyRequest> =
        (0..600).map(|number| request(&format!("c{number}"), &["p1", "p2"], false)).collect();
    let mut model = Model::default();
    requests.iter().for_each(|request| model.apply(&request.dependency));
    let (rounds, begun) = (stage.store.batches().len(), stage.store.begun(StoreCall::Batch));
    let outcomes = RuleWriter::new(&stage.core, None).apply(&requests, &[], None).await;
    assert!(outcomes.len() == 600 && outcomes.iter().all(Result::is_ok));
    assert!(
        stage.store.begun(StoreCall::Batch) - begun < 40,
        "{}",
        stage.store.begun(StoreCall::Batch) - begun
    );
    for txn in stage.store.batches().iter().skip(rounds).flatten() {
        assert!(txn.then.len() <= 128 && txn.compares.len() <= 128);
    }
    assert_eq!(stored(&stage).await, model);
}

#[actix::test]
async fn one_that_is_too_large_for_a_transaction_takes_several() {
    let stage = Stage::set().await;
    let names: Vec<String> = (0..300).map(|number| format!("p{number}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let requests =
        [request("c0", &["p1"], false), request("c1", &names, false), request("c2", &["p2"], false)];
    let mut model = Model::default();
    requests.iter().for_each(|request| model.apply(&request.dependency));
    // If the writes are interrupted between two transactions, the request is applied again.
    stage.store.script(StoreCall::Batch, (0..8).map(|_| Fault::None).chain([Fault::UnknownDone]));
    let mut done = Vec::new();
    while done.len() < requests.len() {
        let rest = &requests[done.len()..];
        done.extend(
            RuleWriter::new(&stage.core, None).apply(rest, &[], None).await.into_iter().filter(Result::is_ok),
        );
    }
    assert_eq!(stored(&stage).await, model);
}

#[actix::test]
async fn a_rule_beyond_the_stores_limit_fails_alone() {
    let stage = Stage::set().await;
    let endless = "x".repeat(2_000_000);
    let requests =
        [request("c0", &["p1"], false), request("c1", &[&endless], false), request("c2", &["p1"], false)];
    let outcomes = RuleWriter::new(&stage.core, None).apply(&requests, &[], None).await;
    let codes: Vec<_> =
        outcomes.iter().map(|outcome| outcome.as_ref().err().map(DependencyFailure::is_final)).collect();
    assert_eq!(codes, [None, Some(true), None]);
    let mut model = Model::default();
    model.apply(&requests[0].dependency);
    model.apply(&requests[2].dependency);
    assert_eq!(stored(&stage).await, model);
}

fn many(prefix: &str, count: usize) -> Vec<String> {
    (0..count).map(|number| format!("{prefix}{number}")).collect()
}

fn requested(consumer: &str, providers: &[String], replace: bool) -> DependencyRequest {
    let providers: Vec<&str> = providers.iter().map(String::as_str).collect();
    request(consumer, &providers, replace)
}

/// How many reads and writes the store has got since the batch `from`.
fn operations(stage: &Stage, from: usize) -> (usize, usize) {
    let batches = stage.store.batches();
    let ops = batches.iter().skip(from).flatten().flat_map(|txn| &txn.then);
    let (gets, writes): (Vec<&Op>, Vec<&Op>) = ops.partition(|op| matches!(op, Op::Get(_)));
    (gets.len(), writes.len())
}

/// The rules of providers that stay are neither read nor written, however many they are.
#[actix::test]
async fn what_changes_decides_what_is_read_and_written() {
    let stage = Stage::set().await;
    for request in [requested("c", &many("p", 900), false), requested("d", &many("q", 10), false)] {
        assert!(RuleWriter::new(&stage.core, None).apply(&[request], &[], None).await[0].is_ok());
    }
    for (consumer, held) in [("d", 10), ("c", 900)] {
        let kept = many(if consumer == "c" { "p" } else { "q" }, held);
        let from = stage.store.batches().len();
        let adding = requested(consumer, &many("new", 50), false);
        assert!(RuleWriter::new(&stage.core, None).apply(&[adding], &[], None).await[0].is_ok());
        assert_eq!(operations(&stage, from), (51, 51), "{consumer} adds 50 to {held}");
        let from = stage.store.batches().len();
        let again = requested(consumer, &many("new", 50), false);
        assert!(RuleWriter::new(&stage.core, None).apply(&[again], &[], None).await[0].is_ok());
        assert_eq!(operations(&stage, from), (51, 0), "{consumer} has them");
        let from = stage.store.batches().len();
        let replacing = requested(consumer, &kept, true);
        assert!(RuleWriter::new(&stage.core, None).apply(&[replacing], &[], None).await[0].is_ok());
        assert_eq!(operations(&stage, from), (51 + held, 51), "{consumer} gives them back");
    }
}

#[actix::test]
async fn a_request_beyond_the_quota_fails_alone_and_again() {
    let stage = Stage::set().await;
    let requests = [
        requested("c", &many("p", 999), false),
        requested("c", &many("q", 2), false),
        requested("d", &many("p", 1), false),
        requested("c", &many("q", 1), false),
        requested("c", &many("r", 1_001), true),
    ];
    let outcomes = RuleWriter::new(&stage.core, None).apply(&requests, &[], None).await;
    let codes: Vec<_> = outcomes
        .iter()
        .map(|outcome| outcome.as_ref().err().map(|failure| (failure.is_final(), failure.to_string())))
        .collect();
    let refused = |current: usize, more: usize| {
        let detail = format!(
            "no quota to create DEPENDENCY, max num is 1000, curNum is {current}, apply num is {more}"
        );
        Some((true, Error::new(Code::NotEnoughQuota, detail).to_string()))
    };
    assert_eq!(codes, [None, refused(999, 2), None, None, refused(0, 1_001)]);
    let mut model = Model::default();
    [0, 2, 3].into_iter().for_each(|at: usize| model.apply(&requests[at].dependency));
    assert_eq!(stored(&stage).await, model);
}

/// A rule that a node with weaker checks has written.
#[actix::test]
async fn a_provider_of_another_domain_ends_with_the_next_change_of_its_consumer() {
    let stage = Stage::set().await;
    let far = ServiceKey { tenant: "far/p".into(), ..service("p", ALL_VERSIONS) };
    let value = |keys: &[&ServiceKey]| {
        Bytes::from(json::encode(&Partners { keys: keys.iter().map(|key| (*key).clone()).collect() }))
    };
    let (consumer, near) = (service("c", "1"), service("near", ALL_VERSIONS));
    let rules = [
        (consumer_key(&consumer), value(&[&far, &near])),
        (provider_key(&far), value(&[&consumer])),
        (provider_key(&near), value(&[&consumer])),
    ];
    let then = rules.map(|(key, value)| Op::Put { key, value, lease: None }).to_vec();
    stage.store.batch(vec![Txn { then, ..Txn::default() }]).await.remove(0).unwrap();
    let adding = request("c", &["new"], false);
    assert!(RuleWriter::new(&stage.core, None).apply(&[adding], &[], None).await[0].is_ok());
    let mut model = Model::default();
    model.apply(&request("c", &["near"], false).dependency);
    model.apply(&request("c", &["new"], false).dependency);
    assert_eq!(stored(&stage).await, model);
}
