//! Cases about revisions, bookmarks and the end.

use futures_util::StreamExt;

use super::{
    StoreUnderTest, Watching, area, assert_aborted, attempt, grant, key, put, put_leased, unconditional,
    within, write,
};
use crate::store::port::{KeepAlive, Reason, Revision, StoreError, WatchError};

pub async fn the_revision_is_at_least_that_of_a_finished_write(subject: StoreUnderTest) {
    let (store, area) = (&subject.store, area());
    let tasks = (0..8).map(|writer| {
        let (store, name) = (store.clone(), key(&area, writer));
        tokio::spawn(async move {
            for round in 0..20 {
                let written = write(&store, vec![put(&name, round.to_string())]).await.revision;
                let revision = within("a revision", store.revision()).await.expect("a revision");
                assert!(revision >= written, "revision {revision} after a write at {written}");
                let bookmark = within("a bookmark", store.bookmark()).await.expect("a bookmark");
                assert!(bookmark >= revision, "bookmark {bookmark} after revision {revision}");
            }
        })
    });
    for task in futures_util::future::join_all(tasks).await {
        task.expect("a writer");
    }
}

/// Also if the last write was outside the registry's prefix.
pub async fn the_watch_reaches_a_bookmark(subject: StoreUnderTest) {
    let (store, area) = (&subject.store, area());
    let start = write(store, vec![put(&key(&area, "a"), "x")]).await.revision;
    let mut watching = Watching::start(store, "/cse-sr/", start);
    let bookmark = |what: &'static str, at_least: Revision| async move {
        let bookmark = within(what, store.bookmark()).await.expect("a bookmark");
        assert!(bookmark >= at_least, "{what}: bookmark {bookmark} is older than {at_least}");
        bookmark
    };
    let inside = bookmark("after a write inside", start).await;
    watching.batches_until(inside).await;
    let foreign = format!("/elsewhere-{:016x}/", rand::random::<u64>());
    let outside = write(store, vec![put(&key(&foreign, "a"), "x")]).await.revision;
    let reached = bookmark("after a write outside", outside).await;
    watching.batches_until(reached).await;
    let again = bookmark("after nothing", reached).await;
    watching.batches_until(again).await;
}

/// Calls every method after the store is closed.
pub async fn a_closed_store_answers_unavailable(subject: StoreUnderTest) {
    let (store, area) = (&subject.store, area());
    let name = key(&area, "a");
    let lease = grant(store, 600).await;
    write(store, vec![put_leased(&name, "x", lease)]).await;
    within("closing", store.close()).await;
    let unavailable = |what: &str, error: Option<StoreError>| match error {
        Some(StoreError::Aborted { reason: Reason::Unavailable, .. }) => {}
        other => panic!("{what} of a closed store: expected Unavailable, got {other:?}"),
    };
    assert_aborted(
        &attempt(store, unconditional(vec![put(&name, "y")])).await,
        Reason::Unavailable,
        "a write",
    );
    unavailable("a grant", within("a grant", store.grant(60)).await.err());
    unavailable("grants", within("grants", store.grants(60, 2)).await.err());
    unavailable("a revocation", within("a revocation", store.revoke(lease)).await.err());
    unavailable("the revision", within("the revision", store.revision()).await.err());
    unavailable("a bookmark", within("a bookmark", store.bookmark()).await.err());
    unavailable("a compaction", within("a compaction", store.compact(1)).await.err());
    let page = within("a page", store.list(&[&area]).next()).await.expect("an error comes");
    unavailable("a listing", page.err());
    let answers = within("a renewal", store.keep_alive(vec![lease])).await;
    assert!(
        matches!(answers.as_slice(), [KeepAlive::Unanswered(_)]),
        "a renewal of a closed store: {answers:?}"
    );
    let batch = within("a watch", store.watch(&area, 1).next()).await;
    assert_eq!(batch, Some(Err(WatchError::Closed)), "a watch of a closed store");
}

/// No call hangs.
pub async fn closing_twice_and_with_an_open_watch(subject: StoreUnderTest) {
    let (store, area) = (&subject.store, area());
    let start = write(store, vec![put(&key(&area, "a"), "x")]).await.revision;
    let mut stream = store.watch(&area, start);
    let first = within("the first batch", stream.next()).await;
    assert!(matches!(first, Some(Ok(_))), "{first:?}");
    futures_util::future::join(within("closing", store.close()), within("closing", store.close())).await;
    within("closing again", store.close()).await;
    let end = within("the end of the watch", stream.next()).await;
    assert_eq!(end, Some(Err(WatchError::Closed)), "nothing comes from a closed store");
    let after = within("the end of the watch", stream.next()).await;
    assert!(after.is_none(), "a watch ends after its error: {after:?}");
}
