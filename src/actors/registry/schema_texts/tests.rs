//! Which texts stay and which are deleted, under faults and concurrent writes.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeSet;
use std::rc::Rc;
use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::future::join_all;

use super::*;
use crate::actors::registry::messages::{
    Author, Committed, DeleteSchema, PutSchema, ReadSchemas, RegisterService, ReplaceSchemas,
    SchemaSelection, TextSpace, UnregisterService,
};
use crate::actors::registry::schema_text_table::{MAX_LEFT, SchemaTextTable};
use crate::actors::registry::{schemas, services};
use crate::actors::tests::{Stage, eventually, store, tenant};
use crate::domain::schema::{Schema, content_hash};
use crate::domain::validate::flag::Force;
use crate::domain::{Service, ServiceId};
use crate::error::Code;
use crate::store::faulty::{Fault, FaultyStore, StoreCall};
use crate::store::{Reason, Store};

/// Room for any text.
#[derive(Debug)]
struct AnySpace;

impl TextSpace for AnySpace {
    fn grow_to(&mut self, _: usize) -> Result<(), Error> {
        Ok(())
    }
}

fn schema(id: &str, text: &str) -> Schema {
    Schema { schema_id: id.to_owned(), schema: text.to_owned(), ..Schema::default() }
}

async fn service(core: &Rc<RegistryCore>, name: &str) -> ServiceId {
    let service = Service { service_name: name.to_owned(), version: "1".to_owned(), ..Service::default() };
    let message = RegisterService { tenant: tenant(), service, author: Author::Client };
    services::register(Rc::clone(core), message).await.unwrap().value
}

async fn put(core: &Rc<RegistryCore>, service: &ServiceId, schema: Schema) -> Result<Committed<()>, Error> {
    let message = PutSchema { tenant: tenant(), service: service.clone(), schema };
    schemas::put_one(Rc::clone(core), message).await
}

async fn replace(
    core: &Rc<RegistryCore>,
    service: &ServiceId,
    schemas: Vec<Schema>,
) -> Result<Committed<()>, Error> {
    let message = ReplaceSchemas { tenant: tenant(), service: service.clone(), schemas };
    schemas::replace_all(Rc::clone(core), message).await
}

async fn delete(core: &Rc<RegistryCore>, service: &ServiceId, id: &str) -> Result<Committed<()>, Error> {
    let message = DeleteSchema { tenant: tenant(), service: service.clone(), schema: id.into() };
    schemas::delete(Rc::clone(core), message).await
}

async fn unregister(core: &Rc<RegistryCore>, service: &ServiceId) -> Result<Committed<()>, Error> {
    let message = UnregisterService { tenant: tenant(), service: service.clone(), force: Force::Yes };
    services::unregister(Rc::clone(core), message).await
}

/// Keys and values below a prefix.
async fn below(stage: &Stage, prefix: &str) -> Vec<(String, String)> {
    let pages: Vec<_> = stage.store.list(&[prefix]).collect().await;
    let entries = pages.into_iter().flat_map(|page| page.unwrap().entries);
    entries.map(|entry| (entry.key.to_string(), String::from_utf8_lossy(&entry.value).into_owned())).collect()
}

/// The stored texts, sorted.
async fn texts(stage: &Stage) -> Vec<String> {
    let mut texts: Vec<String> =
        below(stage, keys::SCHEMA_CONTENTS).await.into_iter().map(|(_, text)| text).collect();
    texts.sort();
    texts
}

/// Hashes that references name, and hashes of stored texts.
async fn hashes_on_both_sides(stage: &Stage) -> (BTreeSet<String>, BTreeSet<String>) {
    let named = below(stage, &keys::schema_refs_of(&tenant())).await.into_iter().map(|(_, hash)| hash);
    let stored = below(stage, keys::SCHEMA_CONTENTS).await;
    let stored = stored.into_iter().map(|(key, _)| key.rsplit('/').next().unwrap().to_owned());
    (named.collect(), stored.collect())
}

async fn eventually_texts(stage: &Stage, expected: &[&str]) {
    let end = tokio::time::Instant::now() + crate::actors::tests::PATIENCE;
    while texts(stage).await != expected {
        assert!(tokio::time::Instant::now() < end, "{:?}, not {expected:?}", texts(stage).await);
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
}

#[actix::test]
async fn a_text_ends_with_its_last_reference() {
    let stage = Stage::set().await;
    let (core, one) = (&stage.core, &stage.service);
    for text in ["first", "second", "third", "third"] {
        put(core, one, schema("s", text)).await.unwrap();
        assert_eq!(texts(&stage).await, [text]);
    }
    // Another service refers to it.
    let two = service(core, "two").await;
    put(core, &two, schema("s", "third")).await.unwrap();
    put(core, one, schema("s", "fourth")).await.unwrap();
    assert_eq!(texts(&stage).await, ["fourth", "third"]);
    put(core, &two, schema("s", "fourth")).await.unwrap();
    assert_eq!(texts(&stage).await, ["fourth"]);
    // Equal texts of two ids are two.
    replace(core, one, vec![schema("s", "fifth"), schema("t", "fifth")]).await.unwrap();
    assert_eq!(texts(&stage).await, ["fifth", "fifth", "fourth"]);
    replace(core, one, vec![schema("t", "fifth")]).await.unwrap();
    assert_eq!(texts(&stage).await, ["fifth", "fourth"]);
    delete(core, one, "t").await.unwrap();
    assert_eq!(texts(&stage).await, ["fourth"]);
    put(core, one, schema("s", "fourth")).await.unwrap();
    unregister(core, &two).await.unwrap();
    assert_eq!(texts(&stage).await, ["fourth"]);
    // The last reference of the tenant.
    unregister(core, one).await.unwrap();
    assert_eq!(texts(&stage).await, [""; 0]);
}

/// More texts than a transaction has operations, and texts that do not fit one together.
#[actix::test]
async fn a_replacement_in_parts_leaves_no_text() {
    let stage = Stage::set().await;
    let all = |count: usize, text: &str| -> Vec<Schema> {
        (0..count).map(|at| schema(&format!("s{at}"), &format!("{text} {at}"))).collect()
    };
    replace(&stage.core, &stage.service, all(150, "small")).await.unwrap();
    assert_eq!(texts(&stage).await.len(), 150);
    let large = "x".repeat(700_000);
    replace(&stage.core, &stage.service, all(3, &large)).await.unwrap();
    assert_eq!(texts(&stage).await.len(), 3);
    replace(&stage.core, &stage.service, all(150, "other")).await.unwrap();
    assert_eq!(texts(&stage).await.len(), 150);
    unregister(&stage.core, &stage.service).await.unwrap();
    assert_eq!(texts(&stage).await, [""; 0]);
}

/// The former text is deleted if it was replaced, and stays otherwise, whatever the answer to the client was.
#[actix::test]
async fn an_unknown_outcome_leaves_no_text() {
    for (fault, expected) in [(Fault::UnknownDone, "new"), (Fault::UnknownNotDone, "old")] {
        let stage = Stage::set().await;
        let (core, id) = (&stage.core, &stage.service);
        put(core, id, schema("s", "old")).await.unwrap();
        stage.store.script(StoreCall::Batch, [fault]);
        assert_eq!(put(core, id, schema("s", "new")).await.unwrap_err().code, Code::Unavailable);
        eventually_texts(&stage, &[expected]).await;

        stage.store.script(StoreCall::Batch, [fault]);
        assert_eq!(delete(core, id, "s").await.unwrap_err().code, Code::Unavailable);
        let left: &[&str] = if fault == Fault::UnknownDone { &[] } else { &["old"] };
        eventually_texts(&stage, left).await;
        let (named, stored) = hashes_on_both_sides(&stage).await;
        assert_eq!(named, stored);
    }
}

/// The second transaction of a replacement fails. Then the texts that the first one has put are deleted.
#[actix::test]
async fn a_replacement_that_ends_half_way_leaves_no_text() {
    let stage = Stage::set().await;
    let (core, id) = (&stage.core, &stage.service);
    put(core, id, schema("s", "old")).await.unwrap();
    let large = vec![schema("s", &"x".repeat(700_000)), schema("t", &"y".repeat(700_000))];
    stage.store.script(StoreCall::Batch, [Fault::None, Fault::Refused(Reason::Unavailable)]);
    assert_eq!(replace(core, id, large).await.unwrap_err().code, Code::Unavailable);
    eventually_texts(&stage, &["old"]).await;
}

#[actix::test]
async fn a_deletion_that_fails_is_tried_again() {
    let stage = Stage::set().await;
    let (core, id) = (&stage.core, &stage.service);
    put(core, id, schema("s", "old")).await.unwrap();
    stage
        .store
        .script(StoreCall::Batch, [Fault::None, Fault::Refused(Reason::Unavailable), Fault::UnknownNotDone]);
    put(core, id, schema("s", "new")).await.unwrap();
    assert_eq!(texts(&stage).await, ["new", "old"]);
    eventually_texts(&stage, &["new"]).await;
    eventually("the end of the list", || core.texts.left.borrow().is_empty()).await;
}

#[test]
fn what_waits_is_bounded() {
    let texts = SchemaTextTable::default();
    texts.leave(&tenant(), (0..MAX_LEFT - 1).map(|at| Arc::from(at.to_string())));
    assert_eq!(texts.check_room(), Ok(()));
    texts.leave(&tenant(), ["a".into(), "b".into()]);
    assert_eq!(texts.check_room().unwrap_err().code, Code::Unavailable);
    assert_eq!(texts.left.borrow().len(), MAX_LEFT);
}

/// A schema is replaced during a read: after the read of its reference, before the read of its text.
#[actix::test]
async fn a_reader_finds_the_text_of_a_schema_that_is_replaced_meanwhile() {
    for selection in [SchemaSelection::One("s".into()), SchemaSelection::All] {
        let inner = store();
        let stage = Stage::set_on(FaultyStore::new(Arc::new(inner.clone()))).await;
        let (core, id) = (&stage.core, &stage.service);
        put(core, id, schema("s", "old")).await.unwrap();
        stage.store.shut(StoreCall::Batch);
        let begun = stage.store.begun(StoreCall::Batch);
        let (service, space) = (id.clone(), Box::new(AnySpace));
        let message = ReadSchemas { tenant: tenant(), service, selection, space };
        let reading = schemas::read(Rc::clone(core), message);
        let replacing = async {
            stage.store.let_through(StoreCall::Batch, 1);
            eventually("the look at the text", || stage.store.begun(StoreCall::Batch) == begun + 2).await;
            // As another node does it.
            let (old, new) = (content_hash("s", "old"), content_hash("s", "new"));
            let write = |key: Key, value: &str| Op::Put {
                key,
                value: Bytes::copy_from_slice(value.as_bytes()),
                lease: None,
            };
            let then = vec![
                write(keys::schema_ref(&tenant(), id.as_str(), "s"), &new),
                write(keys::schema_content(&tenant(), &new), "new"),
                Op::Delete(keys::schema_content(&tenant(), &old)),
            ];
            inner.batch(vec![Txn { then, ..Txn::default() }]).await.pop().unwrap().unwrap();
            stage.store.open(StoreCall::Batch);
        };
        let (read, ()) = futures_util::future::join(reading, replacing).await;
        assert_eq!(read.unwrap().schemas, [schema("s", "new")]);
    }
}

/// Two nodes on one store write, share, replace and delete the same texts at once. No reference ever names a missing text, and
/// in the end every text has a reference.
#[actix::test]
async fn two_nodes_lose_no_text_and_leave_none() {
    let stage = Stage::set().await;
    let other = RegistryCore::new(
        Arc::new(stage.store.clone()),
        stage.reader.clone(),
        stage.freshness.clone(),
        crate::clock::Clock::system(),
        crate::recorder::Recorder::default(),
        stage.core.rules.clone(),
    );
    let nodes = [Rc::clone(&stage.core), other];
    let mut ids = Vec::new();
    for at in 0..3 {
        ids.push(service(&stage.core, &format!("s{at}")).await);
    }
    let mut random = 1_u32;
    let mut draw = |below: u32| {
        random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (random >> 16) % below
    };
    let mut done = 0;
    for _ in 0..60 {
        let mut steps = Vec::new();
        for _ in 0..8 {
            let (node, id) = (&nodes[draw(2) as usize], &ids[draw(3) as usize]);
            let text = schema("s", &format!("text {}", draw(2)));
            let kind = draw(4);
            steps.push(async move {
                match kind {
                    0 => delete(node, id, "s").await,
                    1 => replace(node, id, vec![text, schema("t", "t")]).await,
                    _ => put(node, id, text).await,
                }
            });
        }
        done += join_all(steps).await.iter().filter(|outcome| outcome.is_ok()).count();
        let (named, stored) = hashes_on_both_sides(&stage).await;
        assert!(named.is_subset(&stored), "{named:?} of {stored:?}");
    }
    assert!(done > 100, "{done}");
    for node in &nodes {
        sweep(node);
        eventually("the end of the list", || node.texts.left.borrow().is_empty()).await;
    }
    let (named, stored) = hashes_on_both_sides(&stage).await;
    assert_eq!(named, stored);
    let mut expected: Vec<String> = Vec::new();
    for (schema, text) in [("s", "text 0"), ("s", "text 1"), ("t", "t")] {
        expected.push(content_hash(schema, text));
    }
    assert!(stored.iter().all(|hash| expected.contains(hash)), "{stored:?}");
}
