//! Makes the snapshot catch up with the store: for reads that must not be stale, and before a request is refused for what the
//! snapshot says.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use futures_util::future::BoxFuture;

use crate::cache::SnapshotReader;
use crate::error::{Code, Error};
use crate::store::{Revision, Store, StoreError};

/// How long a read waits. After that it is answered from the snapshot as it is.
const LIMIT: Duration = Duration::from_secs(1);
/// How long a caller waits that must not act on an old snapshot. A store that answers within this limit is slow, not silent.
const SURE_LIMIT: Duration = Duration::from_secs(2);
/// How long the watch may take to bring the store's revision. After that a bookmark is written, because the revision may be
/// that of a key outside the watched prefix, which the watch never brings.
const USUAL_DELAY: Duration = Duration::from_millis(30);
/// The pause between two probes of a store that does not answer.
const PROBE_PAUSE: Duration = Duration::from_millis(100);

/// Learns the store's revision and waits until the snapshot holds it.
///
/// Clones share the look-ups. A caller that comes while a look-up runs waits for the next one. That look-up then serves all
/// callers that wait.
///
/// If the store answers no look-up within the limit of a caller, a probe asks it until it answers. Until then reads do not
/// wait. Callers that must be sure are refused at once as soon as [`SURE_LIMIT`] has passed without an answer.
#[derive(Clone)]
pub struct Freshness(Arc<FreshnessState>);

struct FreshnessState {
    store: Arc<dyn Store>,
    reader: SnapshotReader,
    revisions: LookUps,
    bookmarks: LookUps,
    /// How many callers have got an answer of the store.
    answers: AtomicU64,
    /// A caller has waited in vain, and a [`Probe`] runs.
    is_late: AtomicBool,
    /// The store has answered nothing for [`SURE_LIMIT`], and a [`Probe`] runs.
    is_silent: AtomicBool,
}

/// The snapshot may miss writes committed before the call, because the store is away or the watch is late.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("what the store holds now is not known")]
pub struct Behind;

impl From<Behind> for Error {
    fn from(behind: Behind) -> Self {
        Self::new(Code::Unavailable, behind.to_string())
    }
}

impl Freshness {
    /// `reader` reads the snapshot that the watch of `store` feeds.
    pub fn new(store: Arc<dyn Store>, reader: SnapshotReader) -> Self {
        Self(Arc::new(FreshnessState {
            store,
            reader,
            revisions: LookUps::default(),
            bookmarks: LookUps::default(),
            answers: AtomicU64::new(0),
            is_late: AtomicBool::new(false),
            is_silent: AtomicBool::new(false),
        }))
    }

    /// Returns when the snapshot holds everything that was committed before the call, after 1 s at most. Returns at once while
    /// a probe waits for the store. For reads: the snapshot is then the best there is.
    pub async fn catch_up(&self) {
        if !self.0.is_late.load(Ordering::Relaxed) {
            // On failure the caller reads the snapshot as it is.
            let _ = self.within(LIMIT).await;
        }
    }

    /// Like [`Self::catch_up`], but waits up to 2 s and says whether it succeeded. For callers that would refuse a write or a
    /// heartbeat because of an old snapshot: the client would take the refusal for the truth.
    pub async fn try_catch_up(&self) -> Result<(), Behind> {
        if self.0.is_silent.load(Ordering::Relaxed) {
            return Err(Behind);
        }
        self.within(SURE_LIMIT).await
    }

    async fn within(&self, limit: Duration) -> Result<(), Behind> {
        let state = &*self.0;
        let before = state.answers.load(Ordering::Relaxed);
        let reached = tokio::time::timeout(limit, self.reach()).await;
        // Another caller's look-up may have been answered while this call waited for its turn.
        if reached.is_err() && state.answers.load(Ordering::Relaxed) == before {
            if limit >= SURE_LIMIT {
                state.is_silent.store(true, Ordering::Relaxed);
            }
            if !state.is_late.swap(true, Ordering::Relaxed) {
                actix::spawn(Probe(Arc::downgrade(&self.0)).run());
            }
        }
        reached.unwrap_or(Err(Behind))
    }

    async fn reach(&self) -> Result<(), Behind> {
        let FreshnessState { store, reader, revisions, bookmarks, answers, .. } = &*self.0;
        let revision = revisions.after_now(|| store.revision()).await;
        answers.fetch_add(1, Ordering::Relaxed);
        let revision = revision.ok_or(Behind)?;
        if tokio::time::timeout(USUAL_DELAY, reader.wait_for(revision)).await.is_err() {
            let bookmark = bookmarks.after_now(|| store.bookmark()).await.ok_or(Behind)?;
            reader.wait_for(bookmark).await;
        }
        Ok(())
    }
}

/// Asks the store until it answers. One probe runs at a time. When it ends for whatever reason, callers ask the store again.
struct Probe(Weak<FreshnessState>);

impl Probe {
    async fn run(self) {
        while let Some(state) = self.0.upgrade() {
            let asked = state.store.revision();
            // The probe must not keep the store open while it waits.
            drop(state);
            match tokio::time::timeout(SURE_LIMIT, asked).await {
                Ok(Ok(_)) => return,
                Ok(Err(_)) => {}
                Err(_) => self.set_silent(true),
            }
            tokio::time::sleep(PROBE_PAUSE).await;
        }
    }

    fn set_silent(&self, is_silent: bool) {
        if let Some(state) = self.0.upgrade() {
            state.is_silent.store(is_silent, Ordering::Relaxed);
        }
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        self.set_silent(false);
        if let Some(state) = self.0.upgrade() {
            state.is_late.store(false, Ordering::Relaxed);
        }
    }
}

/// Look-ups of one kind. One runs at a time.
#[derive(Default)]
struct LookUps {
    /// How many have begun.
    begun: AtomicU64,
    last: tokio::sync::Mutex<LookUp>,
}

/// A look-up that has ended.
#[derive(Clone, Copy, Default)]
struct LookUp {
    number: u64,
    revision: Option<Revision>,
}

impl LookUps {
    /// A revision read after the call began. `None` if the store did not say.
    async fn after_now(
        &self,
        look: impl FnOnce() -> BoxFuture<'static, Result<Revision, StoreError>>,
    ) -> Option<Revision> {
        let seen = self.begun.load(Ordering::SeqCst);
        let mut last = self.last.lock().await;
        if last.number <= seen {
            let number = self.begun.fetch_add(1, Ordering::SeqCst) + 1;
            // Set only when the look-up has ended: a look-up whose caller gave up serves nobody.
            *last = LookUp { number, revision: look().await.ok() };
        }
        last.revision
    }
}

#[cfg(test)]
mod slow_store;
#[cfg(test)]
mod tests;
