//! The state that all operations of the RegistryActor share: the store, the batcher, the leases, the snapshot, the rules.

use std::cell::RefCell;
use std::collections::HashSet;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;

use super::batcher::Batcher;
use super::dependency_waiting::WaitingDependencies;
use super::lease_pool::LeasePool;
use super::messages::Author;
use super::rules::RegistryRules;
use super::schema_text_table::SchemaTextTable;
use crate::actors::deadline::Deadline;
use crate::actors::freshness::Freshness;
pub(super) use crate::actors::outcome::{committed, store_error, unchanged};
use crate::actors::single::commit_alone;
use crate::actors::turns::{WriteTurn, WriteTurns};
use crate::cache::snapshot::QuotaUsage;
use crate::cache::{InstanceEntry, ServiceView, SnapshotReader};
use crate::clock::Clock;
use crate::domain::event::Revision;
use crate::domain::quota;
use crate::domain::{ServiceId, Tenant};
use crate::error::{Code, Error};
use crate::recorder::{Purpose, Recorder};
use crate::store::{Entry, Key, Op, Reason, Store, StoreError, Txn, TxnOutcome};

/// How long a read waits for its turn. A request waits 5 s for its answer, so a read that begins later would be in vain.
const MAX_READ_WAIT: Duration = Duration::from_secs(3);
/// How long an operation waits for the snapshot to show a write of another node or request.
pub(super) const MAX_SNAPSHOT_WAIT: Duration = Duration::from_millis(500);

/// How many turns there are for reads of the store. A read takes one turn, and a read of texts one for each text, because a
/// text may have 1.5 MiB and its memory is counted only after it was read.
const MAX_READS: usize = 16;

/// Shared by all operations. Lives on the actor's thread.
pub struct RegistryCore {
    pub(super) store: Arc<dyn Store>,
    pub(super) batcher: Batcher,
    pub(super) leases: LeasePool,
    pub(super) reader: SnapshotReader,
    pub(super) freshness: Freshness,
    pub(super) clock: Clock,
    pub(super) recorder: Recorder,
    pub(super) rules: RegistryRules,
    /// Lets one operation at a time write a key.
    turns: WriteTurns,
    /// Dependency requests that wait.
    pub(super) dependencies: WaitingDependencies,
    pub(super) texts: SchemaTextTable,
    /// The keys that are being written without anyone waiting for it, see [`Self::claim`].
    unasked: RefCell<HashSet<Key>>,
    /// The turns of reads.
    reads: Semaphore,
    /// The id of this node's own service, once it is registered.
    pub(super) own_service: RefCell<Option<ServiceId>>,
}

impl RegistryCore {
    pub fn new(
        store: Arc<dyn Store>,
        reader: SnapshotReader,
        freshness: Freshness,
        clock: Clock,
        recorder: Recorder,
        rules: RegistryRules,
    ) -> Rc<Self> {
        Rc::new(Self {
            batcher: Batcher::new(Arc::clone(&store), clock.clone(), recorder.clone()),
            leases: LeasePool::new(Arc::clone(&store), clock.clone()),
            store,
            reader,
            freshness,
            clock,
            recorder,
            rules,
            turns: WriteTurns::default(),
            dependencies: WaitingDependencies::default(),
            texts: SchemaTextTable::default(),
            unasked: RefCell::default(),
            reads: Semaphore::new(MAX_READS),
            own_service: RefCell::default(),
        })
    }

    /// Commits a transaction. A failure becomes the error for the client.
    pub(super) async fn commit(&self, txn: Txn) -> Result<TxnOutcome, Error> {
        self.batcher.submit(txn).await.map_err(|error| store_error(&error))
    }

    /// As [`Self::commit`]. The record of events shows the purpose.
    pub(super) async fn commit_for(&self, txn: Txn, purpose: Purpose) -> Result<TxnOutcome, Error> {
        self.batcher.submit_for(txn, purpose).await.map_err(|error| store_error(&error))
    }

    /// Reads from the store. The read is not part of a batch of writes: the store answers a batch as a whole, and many texts
    /// could make that answer too large. Then the outcome of every write in the batch would be unknown.
    pub(super) async fn read(&self, ops: Vec<Op>) -> Result<Vec<Vec<Entry>>, Error> {
        self.try_read(ops).await.map_err(|error| store_error(&error))
    }

    /// Like [`Self::read`], but returns the error of the store.
    pub(super) async fn try_read(&self, ops: Vec<Op>) -> Result<Vec<Vec<Entry>>, StoreError> {
        self.read_in_turns(ops, 1).await
    }

    /// Like [`Self::read`], for entries that may be large.
    pub(super) async fn read_texts(&self, ops: Vec<Op>) -> Result<Vec<Vec<Entry>>, Error> {
        let turns = u32::try_from(ops.len().min(MAX_READS)).unwrap_or(1);
        self.read_in_turns(ops, turns).await.map_err(|error| store_error(&error))
    }

    async fn read_in_turns(&self, ops: Vec<Op>, turns: u32) -> Result<Vec<Vec<Entry>>, StoreError> {
        let Ok(_turns) = tokio::time::timeout(MAX_READ_WAIT, self.reads.acquire_many(turns)).await else {
            let message = "too many reads of the store wait already, try again".to_owned();
            return Err(StoreError::Aborted { reason: Reason::Busy, message });
        };
        let count = ops.len();
        let reads = commit_alone(&self.store, Txn { then: ops, ..Txn::default() }).await?.reads;
        if reads.len() != count {
            let message = format!("the store answered {} of {count} reads", reads.len());
            return Err(StoreError::Unknown { message });
        }
        Ok(reads)
    }

    /// The right to write a key for which no client waits. `None` while another operation has it. Reads and heartbeats cause
    /// such writes at their own rate. If all of them waited while the store is slow, they would crowd out the writes of
    /// clients.
    pub(super) fn claim(self: &Rc<Self>, key: Key) -> Option<Claim> {
        let is_first = self.unasked.borrow_mut().insert(Key::clone(&key));
        is_first.then(|| Claim { core: Rc::clone(self), key })
    }

    /// Waits for the turn to write a key. An operation that compares the former value takes the turn before it looks at the
    /// value, and keeps it until it has written.
    pub(super) async fn turn(&self, key: &Key) -> Result<WriteTurn, Error> {
        self.turns.take(key).await
    }

    /// Waits until the snapshot holds a revision, up to [`MAX_SNAPSHOT_WAIT`].
    pub(super) async fn catch_up(&self, revision: Revision) {
        // A timeout is no error, because the next try compares again.
        let _ = tokio::time::timeout(MAX_SNAPSHOT_WAIT, self.reader.wait_for(revision)).await;
    }

    /// Like [`Self::catch_up`], or with what the store holds now if the revision is not known. The revision of a transaction
    /// that wrote nothing would not do, because it may be that of a key outside the watched prefix.
    pub(super) async fn catch_up_with(&self, revision: Option<Revision>) {
        match revision {
            Some(revision) => self.catch_up(revision).await,
            None => self.freshness.catch_up().await,
        }
    }

    /// Brings the snapshot up to date before a request is rejected for what the snapshot says. 500011 if that fails.
    pub(super) async fn be_current(&self) -> Result<(), Error> {
        Ok(self.freshness.try_catch_up().await?)
    }

    /// 400100 if the quota is used up. The snapshot is brought up to date before a request is rejected.
    pub(super) async fn check_quota(
        &self,
        what: &str,
        limit: usize,
        tenant: &Tenant,
        counted: impl Fn(QuotaUsage) -> usize,
    ) -> Result<(), Error> {
        // The shared services are subtracted only where that matters.
        if counted(self.reader.load().counts(tenant)) < limit {
            return Ok(());
        }
        let current = || counted(self.reader.load().usage(tenant, &self.rules.shared));
        if current() < limit {
            return Ok(());
        }
        self.be_current().await?;
        quota::check(what, limit, current())
    }

    /// A service that clients may write to. If the snapshot lacks it, the snapshot is brought up to date first. 403001 for the
    /// registry's own service.
    pub(super) async fn service(
        &self,
        tenant: &Tenant,
        id: &str,
        detail: &'static str,
    ) -> Result<Arc<ServiceView>, Error> {
        let service = self.any_service(tenant, id, detail).await?;
        if service.is_registry { Err(registry_is_closed()) } else { Ok(service) }
    }

    /// Like [`Self::service`], but also finds the registry's own service. For writes that no client asked for.
    pub(super) async fn any_service(
        &self,
        tenant: &Tenant,
        id: &str,
        detail: &'static str,
    ) -> Result<Arc<ServiceView>, Error> {
        if let Some(service) = self.reader.load().service(tenant, id) {
            return Ok(Arc::clone(service));
        }
        self.be_current().await?;
        let snapshot = self.reader.load();
        snapshot.service(tenant, id).cloned().ok_or_else(|| Error::new(Code::ServiceNotExists, detail))
    }

    /// An instance. If the snapshot lacks it, the snapshot is brought up to date first. 403001 if a client asks for an instance
    /// of the registry's own service.
    pub(super) async fn instance(
        &self,
        author: Author,
        (tenant, service, instance): (&Tenant, &str, &str),
        detail: &'static str,
    ) -> Result<Arc<InstanceEntry>, Error> {
        let look = || {
            let snapshot = self.reader.load();
            if author == Author::Client && snapshot.is_registry(tenant, service) {
                return Err(registry_is_closed());
            }
            Ok(snapshot.instance(tenant, service, instance).cloned())
        };
        if let Some(entry) = look()? {
            return Ok(entry);
        }
        self.be_current().await?;
        look()?.ok_or_else(|| Error::new(Code::InstanceNotExists, detail))
    }

    pub(super) fn now(&self) -> u64 {
        self.clock.unix_seconds()
    }

    pub(super) fn deadline(&self) -> Deadline {
        Deadline::new(self.clock.clone())
    }
}

/// See [`RegistryCore::claim`]. Dropping it gives the right back.
pub(super) struct Claim {
    core: Rc<RegistryCore>,
    key: Key,
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.core.unasked.borrow_mut().remove(&self.key);
    }
}

/// The error for a client that wants to write to the registry's own service. A client that could add or change an instance of
/// it could send other clients to other nodes.
pub(super) fn registry_is_closed() -> Error {
    Error::new(
        Code::Forbidden,
        "only a node of the registry writes the registry's own service and its instances",
    )
}
