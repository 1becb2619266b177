//! What the watch has learned: applies the store's events in order, tells goodbyes from expiries. Pure: time is an
//! argument, effects are returned.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use super::guard::{Expiry, ExpiryGuard};
use crate::cache::snapshot::Snapshot;
use crate::cache::{InstanceChange, InstanceEntry, SnapshotBuilder};
use crate::clock::Monotonic;
use crate::domain::event::{InstanceRef, RegistryEvent, Revision};
use crate::metrics;
use crate::store::codec::{self, Decoded};
use crate::store::{Entry, Event, WatchBatch};

/// A lease may have been granted this long before its put was seen: it was taken from a pool, and the watch has a delay.
const GRANTED_BEFORE: Duration = Duration::from_secs(4);

/// The state.
#[derive(Debug)]
pub struct WatchState {
    builder: SnapshotBuilder,
    guard: ExpiryGuard,
    /// TTL of every lease, if configured; else that of the document counts.
    fixed_ttl_seconds: i64,
    revision: Revision,
    fates: Vec<(InstanceRef, Fate)>,
}

/// What became of an instance, for whoever might write it again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It said goodbye.
    Gone,
    /// It is there.
    Back,
}

/// What is to be done after events were applied.
#[derive(Debug)]
pub struct Step {
    /// Publish this.
    pub snapshot: Arc<Snapshot>,
    /// Tell watchers.
    pub changes: Vec<InstanceChange>,
    /// Who said goodbye and who is back, in order.
    pub fates: Vec<(InstanceRef, Fate)>,
}

impl WatchState {
    /// Nothing learned yet.
    pub fn new(guard: ExpiryGuard, fixed_ttl_seconds: i64) -> Self {
        let builder = SnapshotBuilder::default();
        Self { builder, guard, fixed_ttl_seconds, revision: 0, fates: Vec::new() }
    }

    /// The last revision applied; a watch goes on behind it.
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// The guard.
    pub fn guard(&self) -> &ExpiryGuard {
        &self.guard
    }

    /// Takes a complete listing in place of what was known. What is not in it is gone: nobody can say why.
    pub fn replace(&mut self, mut listed: SnapshotBuilder, revision: Revision, share: f64) -> Step {
        let (snapshot, _) = listed.publish(revision);
        let changes = crate::cache::builder::difference(self.builder.current(), &snapshot);
        self.builder = listed;
        self.guard = ExpiryGuard::new(share);
        self.revision = revision;
        Step { snapshot, changes, fates: Vec::new() }
    }

    /// Applies what a watch brought.
    pub fn apply(&mut self, batch: WatchBatch, now: Monotonic) {
        let mut revision = 0;
        let mut said_goodbye: HashSet<InstanceRef> = HashSet::new();
        for event in batch.events {
            let of = match &event {
                Event::Put(entry) => entry.mod_revision,
                Event::Delete { revision, .. } => *revision,
            };
            if of != revision {
                revision = of;
                self.drop_leases(&mut said_goodbye);
            }
            match decode(&event) {
                // An expired one that is held keeps its lease in the snapshot: a beat for it finds out.
                Some(RegistryEvent::LeaseDeleted(at)) if self.guard.holds(&at) => {}
                Some(RegistryEvent::LeaseDeleted(at)) => drop(said_goodbye.insert(at)),
                Some(RegistryEvent::InstanceDeleted(at)) => {
                    let said_goodbye = said_goodbye.remove(&at);
                    self.end(at, said_goodbye, now);
                }
                Some(RegistryEvent::InstancePut(at, kind, record)) => {
                    self.guard.forget(&at);
                    self.fates.push((at.clone(), Fate::Back));
                    self.builder.apply(RegistryEvent::InstancePut(at, kind, record));
                }
                Some(RegistryEvent::LeasePut(at, lease)) => {
                    self.builder.apply(RegistryEvent::LeasePut(at.clone(), lease));
                    if let Some(mark) = self.entry(&at).and_then(|entry| entry.lease.as_ref()) {
                        mark.renewed(now.saturating_sub(GRANTED_BEFORE));
                    }
                }
                Some(event) => self.builder.apply(event),
                None => {}
            }
        }
        self.drop_leases(&mut said_goodbye);
        self.revision = self.revision.max(batch.revision);
    }

    /// Lease keys that went without their document.
    fn drop_leases(&mut self, deleted: &mut HashSet<InstanceRef>) {
        for at in deleted.drain() {
            self.builder.apply(RegistryEvent::LeaseDeleted(at));
        }
    }

    fn entry(&self, at: &InstanceRef) -> Option<&Arc<InstanceEntry>> {
        self.builder.current().instance(&at.tenant, at.service.as_str(), at.instance.as_str())
    }

    fn end(&mut self, at: InstanceRef, said_goodbye: bool, now: Monotonic) {
        let Some(entry) = self.entry(&at) else { return };
        let ttl_seconds =
            if self.fixed_ttl_seconds > 0 { self.fixed_ttl_seconds } else { entry.record.ttl_seconds };
        // A goodbye through a Go node looks like an expiry. It surely is none while its lease had time left.
        let full = entry.lease.as_ref().map(|mark| mark.last_renewed()).unwrap_or_default();
        let ttl = Duration::from_secs(u64::try_from(ttl_seconds).unwrap_or(0));
        let had_time_left = !full.is_zero() && now < full + ttl;
        if said_goodbye || had_time_left {
            self.guard.forget(&at);
            self.fates.push((at.clone(), Fate::Gone));
            self.builder.apply(RegistryEvent::InstanceDeleted(at));
            return;
        }
        let expiry = Expiry {
            ttl_seconds,
            interval_seconds: entry.record.interval_seconds,
            held_before: self.builder.current().instance_count,
        };
        self.guard.expire(at, expiry, now);
    }

    /// Lets go the expiries that are due.
    pub fn judge(&mut self, now: Monotonic) {
        if self.guard.next_due().is_none_or(|due| due > now) {
            return;
        }
        let total = self.builder.current().instance_count;
        let verdict = self.guard.judge(now, total);
        if verdict.preserved > 0 {
            metrics::HELD_BY_PRESERVATION.add(verdict.preserved);
            log::warn!(
                "{} expired instances are held: 80 % and more of {total} expired at once",
                verdict.preserved
            );
        }
        if verdict.shared > 0 {
            metrics::HELD_BY_SHARE.add(verdict.shared);
            log::warn!(
                "{} expired instances are held: too many of {total} expired within an interval",
                verdict.shared
            );
        }
        for at in verdict.pass {
            self.builder.apply(RegistryEvent::InstanceDeleted(at));
        }
    }

    /// The snapshot with all applied so far.
    pub fn step(&mut self) -> Step {
        let (snapshot, changes) = self.builder.publish(self.revision);
        Step { snapshot, changes, fates: std::mem::take(&mut self.fates) }
    }
}

fn decode(event: &Event) -> Option<RegistryEvent> {
    known(codec::decode(event))
}

/// Adds an entry of a listing.
pub fn list(builder: &mut SnapshotBuilder, entry: &Entry) {
    if let Some(event) = known(codec::decode_put(entry)) {
        builder.apply(event);
    }
}

fn known(decoded: Decoded) -> Option<RegistryEvent> {
    match decoded {
        Decoded::Event(event) => Some(event),
        Decoded::Unread => None,
        Decoded::Foreign(why) => {
            metrics::FOREIGN_VALUES.add(1);
            log::warn!("skipped: {why}");
            None
        }
    }
}
