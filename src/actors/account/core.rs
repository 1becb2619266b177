//! The state that all operations of the AccountActor share: the store, the snapshot, the rules.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::actors::deadline::Deadline;
use crate::actors::freshness::Freshness;
use crate::actors::outcome::store_error;
use crate::actors::single::commit_alone;
use crate::actors::turns::{WriteTurn, WriteTurns};
use crate::cache::SnapshotReader;
use crate::cache::access::AccessView;
use crate::clock::Clock;
use crate::domain::event::Revision;
use crate::domain::quota::Quotas;
use crate::error::Error;
use crate::store::{Compare, Entry, Key, Op, Store, StoreError, Txn, TxnOutcome};
use crate::trouble::Trouble;

/// How long the creation of an account or a role waits for the snapshot to show it, before the next one counts.
const MAX_SNAPSHOT_WAIT: Duration = Duration::from_millis(500);

/// The configured rules.
#[derive(Clone, Copy, Debug)]
pub struct AccountRules {
    /// Those of accounts and roles apply.
    pub quotas: Quotas,
    /// How long an account is locked for an address.
    pub release_after: Duration,
    /// How long the lock that records a failed login is kept.
    pub keep_attempts: Duration,
}

/// Shared by all operations. Lives on the actor's thread.
pub struct AccountCore {
    pub(super) store: Arc<dyn Store>,
    pub(super) reader: SnapshotReader,
    freshness: Freshness,
    pub(super) clock: Clock,
    pub(super) rules: AccountRules,
    /// Lets one operation at a time write a key.
    turns: WriteTurns,
    /// There are too many locks to record further failures.
    pub(super) crowd: Trouble,
    /// Ended locks are not deleted.
    pub(super) cleaning: Trouble,
}

impl AccountCore {
    pub fn new(
        store: Arc<dyn Store>,
        reader: SnapshotReader,
        freshness: Freshness,
        clock: Clock,
        rules: AccountRules,
    ) -> Rc<Self> {
        Rc::new(Self {
            store,
            reader,
            freshness,
            clock,
            rules,
            turns: WriteTurns::default(),
            crowd: Trouble::default(),
            cleaning: Trouble::default(),
        })
    }

    pub(super) async fn commit(&self, txn: Txn) -> Result<TxnOutcome, StoreError> {
        commit_alone(&self.store, txn).await
    }

    /// Reads a key from the store.
    pub(super) async fn get(&self, key: &Key) -> Result<Option<Entry>, Error> {
        let read = Txn { then: vec![Op::Get(Key::clone(key))], ..Txn::default() };
        let outcome = self.commit(read).await.map_err(|error| store_error(&error))?;
        Ok(outcome.reads.into_iter().flatten().next())
    }

    /// Waits for the turn to write a key.
    pub(super) async fn turn(&self, key: &Key) -> Result<WriteTurn, Error> {
        self.turns.take(key).await
    }

    /// Fails with 400203 or 400204 if the quota is used up. The snapshot is brought up to date before that. Creations take turns, so
    /// they do not pass the quota together. Creations on several nodes in the same moment may.
    pub(super) async fn check_quota(
        &self,
        check: impl Fn(&AccessView) -> Result<(), Error>,
    ) -> Result<(), Error> {
        if check(&self.reader.load().access).is_ok() {
            return Ok(());
        }
        self.be_current().await?;
        check(&self.reader.load().access)
    }

    /// Brings the snapshot up to date. 500011 if that fails.
    pub(super) async fn be_current(&self) -> Result<(), Error> {
        Ok(self.freshness.try_catch_up().await?)
    }

    /// Waits until the snapshot holds a revision, up to [`MAX_SNAPSHOT_WAIT`].
    pub(super) async fn catch_up(&self, revision: Revision) {
        // A timeout is no error: the next creation counts one too few.
        drop(tokio::time::timeout(MAX_SNAPSHOT_WAIT, self.reader.wait_for(revision)).await);
    }

    /// Now in Unix seconds, as documents have it.
    pub(super) fn now(&self) -> String {
        self.clock.unix_seconds().to_string()
    }

    pub(super) fn tries(&self) -> Tries {
        Tries { deadline: Deadline::new(self.clock.clone()), is_unsure: false }
    }
}

/// The tries of an operation. A try fails if another writer was faster, or if its outcome is unknown.
///
/// Every transaction of this actor compares what it replaces. So a try whose outcome was unknown and that arrives late changes nothing
/// once a later try or another writer has written the key, unless the late try creates the key and it was deleted meanwhile.
pub(super) struct Tries {
    deadline: Deadline,
    /// Whether an earlier try may have been committed.
    pub(super) is_unsure: bool,
}

impl Tries {
    /// Counts a try. 500011 if there are too many, or if the time is over.
    pub(super) fn check(&mut self) -> Result<(), Error> {
        self.deadline.check()
    }

    /// The outcome of a try. `None` if it is unknown and there is time for another try.
    pub(super) fn judge(
        &mut self,
        outcome: Result<TxnOutcome, StoreError>,
    ) -> Result<Option<TxnOutcome>, Error> {
        match outcome {
            Ok(outcome) => Ok(Some(outcome)),
            Err(StoreError::Unknown { .. }) if !self.deadline.is_over() => {
                self.is_unsure = true;
                Ok(None)
            }
            Err(error) => Err(store_error(&error)),
        }
    }
}

/// The key was not written since it was read.
pub(super) fn unchanged_since(entry: &Entry) -> Compare {
    Compare::Unchanged { key: Key::clone(&entry.key), mod_revision: entry.mod_revision }
}

pub(super) fn put(key: &Key, value: impl Into<Bytes>) -> Op {
    Op::Put { key: Key::clone(key), value: value.into(), lease: None }
}
