//! Brings the snapshot up to what the store holds now: for reads that must not be stale, and before a refusal.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::cache::SnapshotReader;
use crate::store::Store;

/// How long a caller waits in all. Late is no error: the snapshot is answered as it is.
const LIMIT: Duration = Duration::from_secs(1);
/// How long the watch may take to bring the store's revision before a bookmark is written: it may be one of another
/// prefix, which never comes.
const USUAL_DELAY: Duration = Duration::from_millis(30);

/// Learns the store's revision and waits for the snapshot to hold it. Clones share one look-up: whoever comes while one
/// is on its way waits for the next, which then serves all of them.
#[derive(Clone)]
pub struct Freshness(Arc<Inner>);

struct Inner {
    store: Arc<dyn Store>,
    reader: SnapshotReader,
    /// Look-ups begun.
    begun: AtomicU64,
    turn: tokio::sync::Mutex<LastLookUp>,
}

/// The snapshot may miss what was committed before the question: the store is away, or the watch is late.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("what the store holds now is not known")]
pub struct Behind;

#[derive(Default)]
struct LastLookUp {
    number: u64,
    revision: Option<i64>,
}

impl Freshness {
    /// For a store and the snapshot its watch feeds.
    pub fn new(store: Arc<dyn Store>, reader: SnapshotReader) -> Self {
        Self(Arc::new(Inner { store, reader, begun: AtomicU64::new(0), turn: tokio::sync::Mutex::default() }))
    }

    /// Returns when the snapshot holds everything that was committed before the call, or when the limit is over: for
    /// reads, to which the snapshot is then the best there is.
    pub async fn catch_up(&self) {
        let _ = self.try_catch_up().await;
    }

    /// As [`Self::catch_up`], for whoever must not act on an old snapshot.
    pub async fn try_catch_up(&self) -> Result<(), Behind> {
        tokio::time::timeout(LIMIT, self.reach()).await.unwrap_or(Err(Behind))
    }

    async fn reach(&self) -> Result<(), Behind> {
        let revision = self.look_up().await.ok_or(Behind)?;
        let waited = tokio::time::timeout(USUAL_DELAY, self.0.reader.wait_for(revision)).await;
        if waited.is_err() {
            let bookmark = self.0.store.bookmark().await.map_err(|_| Behind)?;
            self.0.reader.wait_for(bookmark).await;
        }
        Ok(())
    }

    /// A revision read after the call began.
    async fn look_up(&self) -> Option<i64> {
        let seen = self.0.begun.load(Ordering::SeqCst);
        let mut last = self.0.turn.lock().await;
        if last.number > seen {
            return last.revision;
        }
        last.number = self.0.begun.fetch_add(1, Ordering::SeqCst) + 1;
        // Nobody may take the former one for this look-up's, should it be given up half way.
        last.revision = None;
        last.revision = self.0.store.revision().await.ok();
        last.revision
    }
}
