//! When a watch of the store that has failed counts as working again.

use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
use tokio::time::timeout;

use crate::store::{WatchBatch, WatchError};
use crate::trouble::Trouble;

/// A watch that has not ended after this time works, even if it brought nothing. etcd must begin a watch within 5 s, and may then be
/// silent for 5 s.
const WORKS_AFTER: Duration = Duration::from_secs(11);

/// The next item of a watch. Ends the trouble, and calls `tell` if there was any, when the watch brings something or does not end for
/// [`WORKS_AFTER`]. A listing that succeeds does not show that: an etcd that has just restarted may answer it and leave the watch
/// silent.
pub(super) async fn next_of_watch(
    batches: &mut BoxStream<'static, Result<WatchBatch, WatchError>>,
    trouble: &Trouble,
    tell: impl FnOnce(),
) -> Option<Result<WatchBatch, WatchError>> {
    if !trouble.goes_on() {
        return batches.next().await;
    }
    let next = timeout(WORKS_AFTER, batches.next()).await;
    let has_ended = matches!(next, Ok(None | Some(Err(_))));
    if !has_ended && trouble.is_over() {
        tell();
    }
    match next {
        Ok(next) => next,
        Err(_) => batches.next().await,
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;
    use futures_util::stream::{self, Stream};

    use super::*;

    fn lost() -> Result<WatchBatch, WatchError> {
        Err(WatchError::Lost("silent".to_owned()))
    }

    /// Whether trouble goes on after the next item of a watch, and whether its end was told.
    async fn after(
        batches: impl Stream<Item = Result<WatchBatch, WatchError>> + Send + 'static,
    ) -> (bool, bool) {
        let (trouble, mut is_told) = (Trouble::default(), false);
        trouble.fails("cut");
        let mut batches = batches.boxed();
        let next = next_of_watch(&mut batches, &trouble, || is_told = true);
        // A watch that brings nothing is never done.
        let _ = timeout(WORKS_AFTER * 2, next).await;
        (trouble.goes_on(), is_told)
    }

    #[tokio::test(start_paused = true)]
    async fn a_watch_works_when_it_brings_something_or_stands() {
        let batch = || Ok(WatchBatch { revision: 1, events: Vec::new() });
        assert_eq!(after(stream::iter([batch()])).await, (false, true));
        assert_eq!(after(stream::pending()).await, (false, true));
        let silent = tokio::time::sleep(Duration::from_secs(10)).map(|()| lost());
        assert_eq!(after(stream::once(silent)).await, (true, false));
        assert_eq!(after(stream::empty()).await, (true, false));
    }
}
