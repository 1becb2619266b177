//! A store that answers after more than a read waits is slow. It is not taken for silent.

use super::*;
use crate::actors::tests::store;
use crate::cache::{SnapshotBuilder, cell};
use crate::store::faulty::{FaultyStore, StoreCall};

/// Longer than [`LIMIT`], shorter than [`SURE_LIMIT`].
const SLOW: Duration = Duration::from_millis(1_200);

/// A store that does not answer until it is told to, and time that passes when all tasks wait.
fn unanswering() -> (FaultyStore, Freshness) {
    tokio::time::pause();
    let store = store();
    let (publisher, reader) = cell::cell();
    publisher.publish(SnapshotBuilder::default().publish(1_000).0);
    store.shut(StoreCall::Revision);
    let freshness = Freshness::new(Arc::new(store.clone()), reader);
    (store, freshness)
}

/// The store answers what it was asked, after a while.
async fn answer(store: &FaultyStore, count: usize) {
    tokio::time::sleep(SLOW).await;
    store.let_through(StoreCall::Revision, count);
    tokio::time::sleep(Duration::from_millis(1)).await;
}

fn sure(freshness: &Freshness) -> tokio::task::JoinHandle<Result<(), Behind>> {
    let freshness = freshness.clone();
    actix::spawn(async move { freshness.try_catch_up().await })
}

#[actix::test]
async fn the_probe_waits_for_its_answer() {
    let (store, freshness) = unanswering();
    freshness.catch_up().await;
    answer(&store, 1).await;
    assert_eq!(store.begun(StoreCall::Revision), 2, "the read and one probe");
    store.open(StoreCall::Revision);
    freshness.catch_up().await;
    assert_eq!(store.begun(StoreCall::Revision), 3, "reads ask the store again");
}

#[actix::test]
async fn a_read_that_gave_up_does_not_refuse_writes() {
    let (store, freshness) = unanswering();
    freshness.catch_up().await;
    let sure = sure(&freshness);
    answer(&store, 2).await;
    assert_eq!(sure.await.ok(), Some(Ok(())));
}

#[actix::test]
async fn waiting_behind_another_look_up_does_not_make_the_store_silent() {
    let (store, freshness) = unanswering();
    let (first, second) = (sure(&freshness), sure(&freshness));
    answer(&store, 1).await;
    assert_eq!(first.await.ok(), Some(Ok(())));
    assert_eq!(second.await.ok(), Some(Err(Behind)), "its own look-up came too late");
    store.open(StoreCall::Revision);
    assert_eq!(freshness.try_catch_up().await, Ok(()));
}
