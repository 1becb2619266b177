//! Brings the snapshot up to what the store holds now: for reads that must not be stale, and before a refusal.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use futures_util::future::BoxFuture;

use crate::cache::SnapshotReader;
use crate::store::{Revision, Store, StoreError};

/// How long a reader waits in all. Late is no error: the snapshot is answered as it is.
const LIMIT: Duration = Duration::from_secs(1);
/// How long who must be sure waits in all: a store whose every answer takes 300 ms is slow, not away.
const SURE_LIMIT: Duration = Duration::from_secs(2);
/// How long the watch may take to bring the store's revision before a bookmark is written: it may be one of another
/// prefix, which never comes.
const USUAL_DELAY: Duration = Duration::from_millis(30);
/// Between two probes of a store that does not answer.
const PROBE_PAUSE: Duration = Duration::from_millis(100);

/// Learns the store's revision and waits for the snapshot to hold it. Clones share one look-up: whoever comes while one
/// is on its way waits for the next, which then serves all of them.
///
/// A store that let the limit pass is silent: until it has answered a probe, nobody is kept waiting for it.
#[derive(Clone)]
pub struct Freshness(Arc<Inner>);

struct Inner {
    store: Arc<dyn Store>,
    reader: SnapshotReader,
    revisions: LookUps,
    bookmarks: LookUps,
    is_silent: AtomicBool,
}

/// The snapshot may miss what was committed before the question: the store is away, or the watch is late.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("what the store holds now is not known")]
pub struct Behind;

impl Freshness {
    /// For a store and the snapshot its watch feeds.
    pub fn new(store: Arc<dyn Store>, reader: SnapshotReader) -> Self {
        let (revisions, bookmarks) = (LookUps::default(), LookUps::default());
        let is_silent = AtomicBool::new(false);
        Self(Arc::new(Inner { store, reader, revisions, bookmarks, is_silent }))
    }

    /// Returns when the snapshot holds everything that was committed before the call, or when the limit is over, or at once
    /// while the store is silent: for reads, to which the snapshot is then the best there is.
    pub async fn catch_up(&self) {
        // As it is then.
        let _ = self.within(LIMIT).await;
    }

    /// As [`Self::catch_up`], for whoever must not act on an old snapshot, or refuse a write or a beat because of one: the
    /// client would take the refusal for the truth.
    pub async fn try_catch_up(&self) -> Result<(), Behind> {
        self.within(SURE_LIMIT).await
    }

    async fn within(&self, limit: Duration) -> Result<(), Behind> {
        if self.0.is_silent.load(Ordering::Relaxed) {
            return Err(Behind);
        }
        let has_answered = AtomicBool::new(false);
        let reached = tokio::time::timeout(limit, self.reach(&has_answered)).await;
        if reached.is_err() && !has_answered.into_inner() && !self.0.is_silent.swap(true, Ordering::Relaxed) {
            actix::spawn(Probe(Arc::downgrade(&self.0)).run());
        }
        reached.unwrap_or(Err(Behind))
    }

    async fn reach(&self, has_answered: &AtomicBool) -> Result<(), Behind> {
        let Inner { store, reader, revisions, bookmarks, .. } = &*self.0;
        let revision = revisions.after_now(|| store.revision()).await;
        has_answered.store(true, Ordering::Relaxed);
        let revision = revision.ok_or(Behind)?;
        if tokio::time::timeout(USUAL_DELAY, reader.wait_for(revision)).await.is_err() {
            let bookmark = bookmarks.after_now(|| store.bookmark()).await.ok_or(Behind)?;
            reader.wait_for(bookmark).await;
        }
        Ok(())
    }
}

/// Asks a silent store until it answers. There is one at a time; when it ends, however it does, the store is not silent any
/// more.
struct Probe(Weak<Inner>);

impl Probe {
    async fn run(self) {
        while let Some(inner) = self.0.upgrade() {
            let asked = inner.store.revision();
            // Whoever stops the registry need not wait for this.
            drop(inner);
            if matches!(tokio::time::timeout(LIMIT, asked).await, Ok(Ok(_))) {
                return;
            }
            tokio::time::sleep(PROBE_PAUSE).await;
        }
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        if let Some(inner) = self.0.upgrade() {
            inner.is_silent.store(false, Ordering::Relaxed);
        }
    }
}

/// Look-ups of one kind, one at a time.
#[derive(Default)]
struct LookUps {
    /// How many were begun.
    begun: AtomicU64,
    last: tokio::sync::Mutex<LookUp>,
}

/// A look-up that came to its end.
#[derive(Clone, Copy, Default)]
struct LookUp {
    number: u64,
    revision: Option<Revision>,
}

impl LookUps {
    /// A revision read after the call began; `None` if the store did not say.
    async fn after_now(
        &self,
        look: impl FnOnce() -> BoxFuture<'static, Result<Revision, StoreError>>,
    ) -> Option<Revision> {
        let seen = self.begun.load(Ordering::SeqCst);
        let mut last = self.last.lock().await;
        if last.number <= seen {
            let number = self.begun.fetch_add(1, Ordering::SeqCst) + 1;
            // Noted when it has ended: of one that is given up half way the others must not take an answer.
            *last = LookUp { number, revision: look().await.ok() };
        }
        last.revision
    }
}

#[cfg(test)]
mod tests;
