//! Turns alone, and with many writers of one key at one node.

#![allow(clippy::unwrap_used, reason = "tests")]

use futures_util::future::join_all;

use super::*;
use crate::actors::mailbox::ask;
use crate::actors::registry::messages::{
    ChangeInstance, ChangeTags, Committed, InstanceEdit, PutSchema, ReplaceServiceProperties, TagChange,
};
use crate::actors::tests::{PATIENCE, Stage, tenant};
use crate::domain::schema::Schema;

/// More writers of one key than there are tries.
const WRITERS: usize = 40;

fn key(name: &str) -> Key {
    name.into()
}

#[tokio::test]
async fn turns_come_in_order_and_other_keys_do_not_wait() {
    let turns = WriteTurns::default();
    let first = turns.take(&key("a")).await.unwrap();
    let order = Rc::new(RefCell::new(Vec::new()));
    let waiting = (0..5).map(|number| {
        let (turns, order) = (turns.clone(), Rc::clone(&order));
        async move {
            let _turn = turns.take(&key("a")).await.unwrap();
            order.borrow_mut().push(number);
            tokio::task::yield_now().await;
            assert_eq!(order.borrow().last(), Some(&number), "nobody else had a turn meanwhile");
        }
    });
    let others = async {
        drop(turns.take(&key("b")).await.unwrap());
        assert!(order.borrow().is_empty());
        drop(first);
    };
    tokio::join!(join_all(waiting), others);
    assert_eq!(*order.borrow(), [0, 1, 2, 3, 4]);
    assert!(turns.0.borrow().is_empty(), "a queue goes with its last member");
}

#[tokio::test]
async fn waiting_is_bounded_in_time_and_number() {
    let turns = WriteTurns::default();
    let held = key("a");
    let stuck = turns.take(&held).await.unwrap();
    let codes = join_all((0..MAX_WAITING).map(|_| turns.take(&held))).await;
    assert!(codes.into_iter().all(|taken| taken.is_err_and(|error| error.code == Code::Unavailable)));
    assert_eq!(turns.0.borrow().get("a").map(|queue| queue.members), Some(1), "who gave up is gone");
    drop(stuck);
    assert!(turns.take(&held).await.is_ok());
}

/// Runs all of these at once. Each must succeed.
async fn all_done<F: Future<Output = Result<Committed<()>, Error>>>(
    stage: &Stage,
    write: impl Fn(usize) -> F,
) {
    for done in join_all((0..WRITERS).map(write)).await {
        stage.seen(done.unwrap()).await;
    }
}

#[actix::test]
async fn many_schemas_of_one_service_are_all_written() {
    let stage = Stage::set().await;
    all_done(&stage, |number| {
        let schema = Schema { schema_id: format!("s{number}"), schema: "text".into(), ..Schema::default() };
        let message = PutSchema { tenant: tenant(), service: stage.service.clone(), schema };
        async { ask(&stage.registry, message, PATIENCE).await.unwrap() }
    })
    .await;
    let snapshot = stage.reader.load();
    let view = snapshot.service(&tenant(), stage.service.as_str()).unwrap();
    assert_eq!(view.record.document.schemas.len(), WRITERS);
}

#[actix::test]
async fn many_changes_of_one_services_tags_are_all_written() {
    let stage = Stage::set().await;
    let change = |change: TagChange| {
        let message = ChangeTags { tenant: tenant(), service: stage.service.clone(), change };
        async { ask(&stage.registry, message, PATIENCE).await.unwrap() }
    };
    let all = (0..WRITERS).map(|number| (format!("t{number}"), "old".to_owned())).collect();
    stage.seen(change(TagChange::Replace(all)).await.unwrap()).await;
    all_done(&stage, |number| {
        let key = format!("t{number}");
        change(match number % 2 {
            0 => TagChange::Set { key, value: "new".into() },
            _ => TagChange::Remove(vec![key]),
        })
    })
    .await;
    let snapshot = stage.reader.load();
    let node = snapshot.tenant(&tenant()).unwrap().node(stage.service.as_str()).unwrap();
    let (tags, _) = node.tags.clone().unwrap();
    assert!(tags.len() == WRITERS / 2 && tags.values().all(|value| value == "new"), "{tags:?}");
}

#[actix::test]
async fn many_writers_of_one_service_or_one_instance_all_write() {
    let stage = Stage::set().await;
    stage.registered("i").await;
    all_done(&stage, |number| {
        let properties = [("writer".to_owned(), number.to_string())].into();
        let (tenant, service) = (tenant(), stage.service.clone());
        let message = ReplaceServiceProperties { tenant, service, properties };
        async { ask(&stage.registry, message, PATIENCE).await.unwrap() }
    })
    .await;
    all_done(&stage, |number| {
        let change = InstanceEdit::Status(["UP", "DOWN"][number % 2].to_owned());
        let (tenant, service) = (tenant(), stage.service.clone());
        let message = ChangeInstance { tenant, service, instance: "i".into(), change };
        async { ask(&stage.registry, message, PATIENCE).await.unwrap() }
    })
    .await;
    // Each one writes another document under the same id.
    let registered = (0..WRITERS).map(|number| {
        let (stage, host) = (&stage, format!("host{number}"));
        async move { stage.register_on("i", &host).await }
    });
    for done in join_all(registered).await {
        stage.seen(done.unwrap()).await;
    }
    assert_eq!(stage.count().await, 1);
}
