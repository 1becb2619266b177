//! Applies the events of the store in order, and distinguishes goodbyes from expiries. Reads no clock and does no I/O: time is
//! an argument, and effects are returned.

use std::collections::{BinaryHeap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use super::guard::{ExpiryFacts, ExpiryGuard, HoldRule};
use super::messages::{HeldInstance, HeldInstances, ListHeld};
use super::telling::{Tellings, document, listed_turn};
use super::trail::DigestTrail;
use super::trees::Tally;
use crate::cache::builder::{LostProvider, difference, lost_providers};
use crate::cache::snapshot::{InstancePart, Snapshot};
use crate::cache::{Action, InstanceChange, InstanceEntry, ServiceView, SnapshotBuilder};
use crate::clock::Monotonic;
use crate::domain::event::{InstanceRef, PutKind, RegistryEvent, Revision};
use crate::domain::instance::PropertiesFrom;
use crate::domain::{ServiceId, Tenant};
use crate::metrics;
use crate::rbac::Grant;
use crate::recorder::{EventKind, InstanceTurn};
use crate::store::codec::{self, Decoded};
use crate::store::{Entry, Event, Key, WatchBatch, keys};

/// A lease may have been granted this long before its put was seen: up to 2 s in a pool, 4 s until the batcher sends the put, 4 s until
/// etcd answers, and 5 s of silence before the watch counts as lost.
const GRANTED_BEFORE: Duration = Duration::from_secs(15);
/// For this time after a watch began, its events may be old, because it first brings what was missed.
const CATCHING_UP: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub struct WatchState {
    builder: SnapshotBuilder,
    guard: ExpiryGuard,
    /// The TTL of every lease in seconds, if positive. Otherwise the TTL of each document applies.
    fixed_ttl_seconds: i64,
    revision: Revision,
    /// A put that is seen before this time may be old.
    caught_up: Monotonic,
    /// Instances whose expiry waits or is held, and whose lease key is gone as well.
    ended_leases: HashSet<InstanceRef>,
    /// The same for their override key.
    ended_overrides: HashSet<InstanceRef>,
    fates: Vec<(InstanceRef, Fate)>,
    /// The events since the last step.
    tally: Tally,
    /// What the record of events learns with the next step.
    tellings: Tellings,
    /// The digests of the last revisions.
    trail: DigestTrail,
    /// The keys that are being repaired, each with whether an event about it came since.
    repairing: HashMap<Key, bool>,
}

/// What the store holds under a key that is to be repaired.
#[derive(Clone, Debug)]
pub struct RepairRead {
    pub key: Key,
    /// `None`: the key does not exist.
    pub entry: Option<Entry>,
}

/// What became of an instance. The LeaseActor must not write an instance again that is [`Fate::Gone`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It said goodbye.
    Gone,
    /// It is there.
    Back,
}

/// What to do after events were applied.
#[derive(Debug)]
pub struct WatchStep {
    /// To publish.
    pub snapshot: Arc<Snapshot>,
    /// Whether it replaces everything.
    pub is_listing: bool,
    /// To push to watchers.
    pub changes: Vec<InstanceChange>,
    /// The providers that are gone although consumers depend on them.
    pub lost: Vec<LostProvider>,
    /// The instances that said goodbye or came back, in order.
    pub fates: Vec<(InstanceRef, Fate)>,
    /// The events that were applied, for metrics.
    pub tally: Tally,
}

impl WatchState {
    /// The builder must be empty.
    pub fn new(builder: SnapshotBuilder, guard: ExpiryGuard, fixed_ttl_seconds: i64) -> Self {
        Self {
            builder,
            guard,
            fixed_ttl_seconds,
            revision: 0,
            caught_up: Monotonic::ZERO,
            ended_leases: HashSet::new(),
            ended_overrides: HashSet::new(),
            fates: Vec::new(),
            tally: Tally::default(),
            tellings: Tellings::default(),
            trail: DigestTrail::default(),
            repairing: HashMap::new(),
        }
    }

    /// What the record of events learns of the last step.
    pub(super) fn tellings(&mut self) -> &mut Tellings {
        &mut self.tellings
    }

    /// The digest at a revision. `None` if the revision is still to come, or lies too far back.
    pub fn digest_at(&self, revision: Revision) -> Option<u64> {
        self.trail.at(revision).filter(|_| revision <= self.revision)
    }

    /// The last revision applied. A watch continues after it.
    pub fn revision(&self) -> Revision {
        self.revision
    }

    pub fn guard(&self) -> &ExpiryGuard {
        &self.guard
    }

    pub fn current(&self) -> &Snapshot {
        self.builder.current()
    }

    /// The expired instances that are still shown.
    pub fn held(&self, asked: &ListHeld, now: Monotonic) -> HeldInstances {
        let ListHeld { service, grant, after, limit } = asked;
        let is_asked_for = |at: &InstanceRef| {
            let of = |(tenant, service): &(Tenant, ServiceId)| at.tenant == *tenant && at.service == *service;
            service.as_ref().is_none_or(of)
                && (*grant == Grant::All || self.service_of(at).is_some_and(|service| shows(grant, service)))
        };
        let mut total = 0;
        let mut first: BinaryHeap<(&InstanceRef, HoldRule, Monotonic, Monotonic)> = BinaryHeap::new();
        for held in self.guard.held().filter(|(at, ..)| is_asked_for(at)) {
            total += 1;
            if after.as_ref().is_none_or(|after| held.0 > after) {
                first.push(held);
                if first.len() > *limit {
                    first.pop();
                }
            }
        }
        let instances = first.into_sorted_vec().into_iter().map(|(at, rule, since, due)| HeldInstance {
            at: at.clone(),
            service: self.service_of(at).cloned(),
            rule,
            held_for: now.saturating_sub(since),
            released_in: due.saturating_sub(now),
        });
        HeldInstances { revision: self.revision, total, instances: instances.collect() }
    }

    fn service_of(&self, at: &InstanceRef) -> Option<&Arc<ServiceView>> {
        self.builder.current().service(&at.tenant, at.service.as_str())
    }

    /// Replaces everything by a complete listing, of which all is shown. An instance that the listing lacks is gone, unless its expiry
    /// waits or is held. Nobody knows why it is gone, so it is not written again either
    /// ([`LeaseMark::surely_expired`](crate::cache::LeaseMark::surely_expired)). `goodbyes` are the late goodbyes and the releases that
    /// were listed.
    pub fn replace(
        &mut self,
        mut listed: SnapshotBuilder,
        goodbyes: &[RegistryEvent],
        revision: Revision,
        now: Monotonic,
    ) -> WatchStep {
        let no_longer_held = self.keep_held(&mut listed, goodbyes);
        let (snapshot, _) = listed.publish(revision);
        // Nothing was shown before the first listing.
        let is_first = self.revision == 0;
        let former = (!is_first).then(|| self.builder.current());
        let changes = former.map(|former| difference(former, &snapshot)).unwrap_or_default();
        let lost = former.map(|former| lost_providers(former, &snapshot)).unwrap_or_default();
        self.tellings = Tellings::default();
        self.tellings.listed(self.revision);
        for (index, change) in changes.iter().enumerate() {
            let has_expired = change.action == Action::Delete && no_longer_held.contains(&change.at);
            let turn = if has_expired { self.expired(&change.at, now) } else { listed_turn(change.action) };
            self.tellings.instance(index, turn, None);
        }
        self.builder = listed;
        self.builder.reach(revision);
        self.revision = revision;
        self.trail.begin(revision, self.builder.current().digest());
        self.repairing.clear();
        let mut fates = std::mem::take(&mut self.fates);
        let written = changes.iter().filter(|change| change.action != Action::Delete);
        fates.extend(written.map(|change| (change.at.clone(), Fate::Back)));
        WatchStep { snapshot, is_listing: true, changes, lost, fates, tally: Tally::default() }
    }

    /// Adds to a listing what it lacks because its expiry waits or is held. Returns what is no longer held: it is listed again, its
    /// service was written meanwhile and may be another one, or somebody has ended the hold.
    fn keep_held(
        &mut self,
        listed: &mut SnapshotBuilder,
        goodbyes: &[RegistryEvent],
    ) -> HashSet<InstanceRef> {
        self.ended_leases.clear();
        self.ended_overrides.clear();
        let mut no_longer_held = HashSet::new();
        let held: Vec<InstanceRef> = self.guard.held().map(|(at, ..)| at.clone()).collect();
        for at in held {
            match self
                .entry(&at)
                .cloned()
                .filter(|entry| self.stays_held(listed.current(), goodbyes, &at, entry))
            {
                Some(entry) => self.hold_in(listed, &at, &entry),
                None => {
                    self.guard.forget(&at);
                    no_longer_held.insert(at);
                }
            }
        }
        no_longer_held
    }

    fn stays_held(
        &self,
        listed: &Snapshot,
        goodbyes: &[RegistryEvent],
        at: &InstanceRef,
        entry: &InstanceEntry,
    ) -> bool {
        let service = listed.service(&at.tenant, at.service.as_str());
        let is_ended = |event: &RegistryEvent| match event {
            RegistryEvent::LateGoodbye(of, lease) => {
                of == at && entry.lease.as_ref().is_some_and(|mark| mark.lease() == *lease)
            }
            RegistryEvent::ExpiriesReleased(tenant, service) => {
                *tenant == at.tenant && *service == at.service
            }
            _ => false,
        };
        service.is_some_and(|service| service.record.mod_revision <= self.revision)
            && listed.instance(&at.tenant, at.service.as_str(), at.instance.as_str()).is_none()
            && !goodbyes.iter().any(is_ended)
    }

    /// Adds an instance to a listing that lacks it.
    fn hold_in(&mut self, listed: &mut SnapshotBuilder, at: &InstanceRef, entry: &InstanceEntry) {
        let node = listed.current().tenant(&at.tenant).and_then(|view| view.node(at.service.as_str()));
        let has_lease = node.is_some_and(|node| node.lease_of(&at.instance).is_some());
        let has_override = listed.current().properties_from(at) == PropertiesFrom::Request;
        listed.apply(RegistryEvent::InstancePut(at.clone(), PutKind::Updated, entry.record()));
        listed.hold(at, InstancePart::Document);
        if let Some(mark) = entry.lease.as_ref().filter(|_| !has_lease) {
            listed.apply(RegistryEvent::LeasePut(at.clone(), mark.lease()));
            listed.hold(at, InstancePart::Lease);
            self.ended_leases.insert(at.clone());
        }
        if !has_override && self.builder.current().properties_from(at) == PropertiesFrom::Request {
            listed.apply(RegistryEvent::OverridePut(at.clone()));
            listed.hold(at, InstancePart::Override);
            self.ended_overrides.insert(at.clone());
        }
    }

    /// Notes that a watch begins. Its first events were written while there was no watch.
    pub fn resume(&mut self, now: Monotonic) {
        self.caught_up = now + CATCHING_UP;
    }

    /// Applies a batch of a watch.
    pub fn apply(&mut self, batch: WatchBatch, now: Monotonic) {
        let mut revision = 0;
        let mut said_goodbye: HashSet<InstanceRef> = HashSet::new();
        for event in batch.events {
            self.tally.count(&event);
            let (key, of) = match &event {
                Event::Put(entry) => (&entry.key, entry.mod_revision),
                Event::Delete { key, revision } => (key, *revision),
            };
            if of != revision {
                self.drop_leases(&mut said_goodbye);
                self.tellings.end_revision(self.builder.changes());
                if revision != 0 {
                    self.trail.note(revision, self.builder.current().digest());
                }
                revision = of;
                self.builder.reach(revision);
            }
            if !self.repairing.is_empty()
                && let Some(is_touched) = self.repairing.get_mut(key)
            {
                *is_touched = true;
            }
            let event = match codec::decode(&event) {
                Decoded::Event(event) => event,
                Decoded::Unread => continue,
                Decoded::Foreign(why) => {
                    skip(&why);
                    continue;
                }
                // An unreadable document replaces a readable one. That is neither a goodbye nor an expiry.
                Decoded::Unreadable(why, RegistryEvent::InstanceDeleted(at)) => {
                    skip(&why);
                    self.drop_document(&at);
                    continue;
                }
                Decoded::Unreadable(why, ended) => {
                    skip(&why);
                    ended
                }
            };
            match event {
                // An instance whose expiry is held keeps its lease in the snapshot, so that a heartbeat renews it and finds it
                // gone.
                RegistryEvent::LeaseDeleted(at) if self.guard.holds(&at) => {
                    self.builder.hold(&at, InstancePart::Lease);
                    self.ended_leases.insert(at);
                }
                RegistryEvent::LeaseDeleted(at) => drop(said_goodbye.insert(at)),
                // It keeps its override too, which is written again with the instance.
                RegistryEvent::OverrideDeleted(at) if self.guard.holds(&at) => {
                    self.builder.hold(&at, InstancePart::Override);
                    self.ended_overrides.insert(at);
                }
                RegistryEvent::OverridePut(at) => {
                    remove(&mut self.ended_overrides, &at);
                    self.builder.apply(RegistryEvent::OverridePut(at));
                }
                RegistryEvent::InstanceDeleted(at) => {
                    let said_goodbye = said_goodbye.remove(&at);
                    self.end(&at, said_goodbye, key, now);
                    if said_goodbye {
                        self.builder.apply(RegistryEvent::LeaseDeleted(at));
                    }
                }
                RegistryEvent::InstancePut(at, kind, record) => {
                    if self.guard.is_held(&at) {
                        let snapshot = self.builder.current();
                        self.tellings.released(snapshot, &at, revision, Arc::clone(key));
                    }
                    self.guard.forget(&at);
                    self.end_lease(&at);
                    self.fates.push((at.clone(), Fate::Back));
                    self.builder.apply(RegistryEvent::InstancePut(at, kind, record));
                    let created =
                        self.builder.changes().last().map(|change| change.action) == Some(Action::Create);
                    let turn = if created { InstanceTurn::Created } else { InstanceTurn::Updated };
                    self.tell(turn, Some(key));
                }
                RegistryEvent::LeasePut(at, lease) => self.put_lease(at, lease, now),
                RegistryEvent::LateGoodbye(at, lease) => self.say_goodbye_late(&at, lease, key),
                RegistryEvent::ExpiriesReleased(tenant, service) => {
                    self.release(&tenant, &service, revision, key, now);
                }
                RegistryEvent::ServiceDeleted(tenant, service) => {
                    self.end_waiting(&tenant, &service, key);
                    let event = RegistryEvent::ServiceDeleted(tenant, service);
                    self.tell_of_service(&event, revision, key);
                    self.builder.apply(event);
                }
                event => {
                    self.tell_of_service(&event, revision, key);
                    self.builder.apply(event);
                }
            }
        }
        self.drop_leases(&mut said_goodbye);
        self.tellings.end_revision(self.builder.changes());
        self.revision = self.revision.max(batch.revision);
        self.builder.reach(self.revision);
        self.trail.note(self.revision, self.builder.current().digest());
    }

    /// Begins the repair of keys, which the caller now reads from the store. An event about one of them that comes before
    /// [`Self::repair`] says more than what is read.
    pub fn begin_repair(&mut self, keys: impl IntoIterator<Item = Key>) {
        self.repairing = keys.into_iter().map(|key| (key, false)).collect();
    }

    /// Shows what the store holds under the keys of [`Self::begin_repair`]. All events up to the revision of the reads must have been
    /// applied. Returns how many keys it took over. The others will be looked at again.
    ///
    /// An instance that the store lacks goes at once, as after a listing: the event that said why was missed.
    pub fn repair(&mut self, mut reads: Vec<RepairRead>, now: Monotonic) -> usize {
        // Watchers learn of an instance only if its service is shown before it.
        reads.sort_by_key(|read| read.entry.is_some() && read.key.starts_with(keys::OF_INSTANCES));
        let repairing = std::mem::take(&mut self.repairing);
        // What was missed may be old, so a put that is taken over says nothing about the age of its lease.
        let caught_up = std::mem::replace(&mut self.caught_up, Monotonic::MAX);
        let mut repaired = 0;
        for RepairRead { key, entry } in reads {
            if repairing.get(&key) != Some(&false) {
                continue;
            }
            match entry {
                Some(entry) => {
                    let batch = WatchBatch { revision: self.revision, events: vec![Event::Put(entry)] };
                    self.apply(batch, now);
                }
                None if self.shows_on_purpose(&key) => continue,
                None => self.show_absent(&key),
            }
            repaired += 1;
        }
        self.caught_up = caught_up;
        self.tellings.end_revision(self.builder.changes());
        self.trail.begin(self.revision, self.builder.current().digest());
        repaired
    }

    /// Whether a key that the store lacks is shown all the same, because an expiry is held back.
    fn shows_on_purpose(&self, key: &Key) -> bool {
        match deletion(key) {
            Some(RegistryEvent::InstanceDeleted(at)) => self.guard.holds(&at),
            Some(RegistryEvent::LeaseDeleted(at)) => self.ended_leases.contains(&at),
            Some(RegistryEvent::OverrideDeleted(at)) => self.ended_overrides.contains(&at),
            _ => false,
        }
    }

    /// Shows that the store does not have a key.
    fn show_absent(&mut self, key: &Key) {
        let Some(event) = deletion(key) else { return };
        if let RegistryEvent::InstanceDeleted(at) = &event {
            // It may have said goodbye, so no heartbeat may write it again.
            if let Some(mark) = self.entry(at).and_then(|entry| entry.lease.as_ref()) {
                mark.end();
            }
            self.drop_document(at);
            return;
        }
        if let RegistryEvent::ServiceDeleted(tenant, service) = &event {
            self.end_waiting(tenant, service, key);
        }
        self.tell_of_service(&event, self.revision, key);
        self.builder.apply(event);
    }

    /// Applies the deletion of lease keys whose documents stay.
    fn drop_leases(&mut self, deleted: &mut HashSet<InstanceRef>) {
        for at in deleted.drain() {
            self.builder.apply(RegistryEvent::LeaseDeleted(at));
        }
    }

    fn put_lease(&mut self, at: InstanceRef, lease: i64, now: Monotonic) {
        remove(&mut self.ended_leases, &at);
        let mark = |state: &Self| state.entry(&at).and_then(|entry| entry.lease.clone());
        let is_new = mark(self).is_none_or(|mark| mark.lease() != lease);
        self.builder.apply(RegistryEvent::LeasePut(at.clone(), lease));
        // A key that is written again does not renew its lease. A lease whose put was missed may be of any age.
        if let Some(mark) = mark(self).filter(|_| is_new && now >= self.caught_up) {
            mark.was_full(now.saturating_sub(GRANTED_BEFORE));
        }
    }

    /// Drops the lease and the override of an instance that is no longer held, if their keys are gone.
    fn end_lease(&mut self, at: &InstanceRef) {
        if remove(&mut self.ended_leases, at) {
            self.builder.apply(RegistryEvent::LeaseDeleted(at.clone()));
        }
        if remove(&mut self.ended_overrides, at) {
            self.builder.apply(RegistryEvent::OverrideDeleted(at.clone()));
        }
    }

    fn entry(&self, at: &InstanceRef) -> Option<&Arc<InstanceEntry>> {
        self.builder.current().instance(&at.tenant, at.service.as_str(), at.instance.as_str())
    }

    fn end(&mut self, at: &InstanceRef, said_goodbye: bool, key: &Key, now: Monotonic) {
        let Some(entry) = self.entry(at) else { return };
        if said_goodbye {
            return self.say_goodbye(at, InstanceTurn::SaidGoodbye, key);
        }
        let pace = entry.pace();
        let ttl_seconds =
            if self.fixed_ttl_seconds > 0 { self.fixed_ttl_seconds } else { pace.ttl_seconds() };
        // A goodbye through a Go node looks like an expiry. While the lease had time left, it is surely a goodbye.
        if entry.lease.as_ref().is_some_and(|mark| now < mark.lives_until(ttl_seconds)) {
            return self.say_goodbye(at, InstanceTurn::SaidGoodbye, key);
        }
        let current = self.builder.current();
        let node = current.tenant(&at.tenant).and_then(|view| view.node(at.service.as_str()));
        let expiry = ExpiryFacts {
            ttl_seconds,
            interval_seconds: pace.interval_seconds(),
            shown_before: current.instance_count,
            of_service: node.map_or(0, |node| node.instances.len()),
        };
        self.builder.hold(at, InstancePart::Document);
        self.guard.expire(at.clone(), expiry, now);
    }

    /// Removes an instance that said goodbye. It must not be written again.
    fn say_goodbye(&mut self, at: &InstanceRef, turn: InstanceTurn, key: &Key) {
        self.guard.forget(at);
        if let Some(mark) = self.entry(at).and_then(|entry| entry.lease.as_ref()) {
            mark.end();
        }
        self.fates.push((at.clone(), Fate::Gone));
        self.remove(at, turn, Some(key));
        self.end_lease(at);
    }

    /// Removes an instance whose document cannot be read.
    fn drop_document(&mut self, at: &InstanceRef) {
        self.guard.forget(at);
        self.end_lease(at);
        self.remove(at, InstanceTurn::Missing, None);
    }

    /// Removes an instance from the snapshot.
    fn remove(&mut self, at: &InstanceRef, turn: InstanceTurn, key: Option<&Key>) {
        let before = self.builder.changes().len();
        self.builder.apply(RegistryEvent::InstanceDeleted(at.clone()));
        if self.builder.changes().len() > before {
            self.tell(turn, key);
        }
    }

    /// Notes what the last change of an instance is.
    fn tell(&mut self, turn: InstanceTurn, key: Option<&Key>) {
        if let Some(change) = self.builder.changes().len().checked_sub(1) {
            self.tellings.instance(change, turn, key.map(Arc::clone));
        }
    }

    /// Notes a change of a service or a schema that is about to be applied.
    fn tell_of_service(&mut self, event: &RegistryEvent, revision: Revision, key: &Key) {
        let snapshot = self.builder.current();
        let known = |tenant, service| document(snapshot, tenant, service);
        let (tenant, service, kind, record, schema) = match event {
            RegistryEvent::ServicePut(tenant, service, record) => {
                let is_new = known(tenant, service).is_none();
                let kind = if is_new { EventKind::ServiceRegistered } else { EventKind::ServiceChanged };
                (tenant, service, kind, Some(Arc::clone(record)), None)
            }
            RegistryEvent::ServiceDeleted(tenant, service) => {
                let Some(record) = known(tenant, service) else { return };
                (tenant, service, EventKind::ServiceDeleted, Some(record), None)
            }
            RegistryEvent::TagsPut(tenant, service, ..) | RegistryEvent::TagsDeleted(tenant, service) => {
                (tenant, service, EventKind::ServiceChanged, known(tenant, service), None)
            }
            RegistryEvent::SchemaRefPut(tenant, service, schema, ..) => {
                (tenant, service, EventKind::SchemaChanged, known(tenant, service), Some(schema))
            }
            RegistryEvent::SchemaRefDeleted(tenant, service, schema) => {
                (tenant, service, EventKind::SchemaDeleted, known(tenant, service), Some(schema))
            }
            _ => return,
        };
        self.tellings.service((tenant, service), revision, kind, Arc::clone(key), record, schema.cloned());
    }

    /// How the lease of an instance ended, as far as this node knows.
    fn expired(&self, at: &InstanceRef, now: Monotonic) -> InstanceTurn {
        let mark = self.entry(at).and_then(|entry| entry.lease.as_ref());
        let age = mark.and_then(|mark| mark.last_beat()).map(|last| now.saturating_sub(last).as_millis());
        InstanceTurn::Expired {
            lease: mark.map_or(0, |mark| mark.lease()),
            heartbeat_age: age.and_then(|age| u64::try_from(age).ok()),
        }
    }

    /// Applies a goodbye that an owner said after its lease had ended. If the expiry for that lease still waits or is held, the
    /// instance goes now. If it has passed, the instance is not written again. An instance that has registered again stays.
    fn say_goodbye_late(&mut self, at: &InstanceRef, lease: i64, key: &Key) {
        match self.entry(at).map(|entry| entry.lease.as_ref().map(|mark| mark.lease())) {
            Some(shown) if shown == Some(lease) && self.guard.holds(at) => {
                self.say_goodbye(at, InstanceTurn::SaidGoodbye, key);
            }
            Some(_) => {}
            None => self.fates.push((at.clone(), Fate::Gone)),
        }
    }

    /// Removes the instances of a deleted service whose expiries wait or are held, while its watchers can still be told. A Go
    /// node ends the leases of the instances one by one before it deletes the service.
    fn end_waiting(&mut self, tenant: &Tenant, service: &ServiceId, key: &Key) {
        for at in self.waiting_of(tenant, service) {
            self.say_goodbye(&at, InstanceTurn::DeletedWithService, key);
        }
    }

    /// Lets all expiries of a service pass that wait or are held, because somebody has said so: `key` was put.
    fn release(
        &mut self,
        tenant: &Tenant,
        service: &ServiceId,
        revision: Revision,
        key: &Key,
        now: Monotonic,
    ) {
        let waiting = self.waiting_of(tenant, service);
        for at in &waiting {
            if self.guard.is_held(at) {
                self.tellings.released(self.builder.current(), at, revision, Arc::clone(key));
            }
            self.guard.forget(at);
            let turn = self.expired(at, now);
            self.remove(at, turn, None);
            self.end_lease(at);
        }
        if !waiting.is_empty() {
            metrics::EXPIRIES_RELEASED.add(waiting.len());
            let count = waiting.len();
            log::info!(
                "{count} expired instances of the service '{service}' of {tenant} are released by request"
            );
        }
    }

    /// The instances of a service whose expiries wait or are held.
    fn waiting_of(&self, tenant: &Tenant, service: &ServiceId) -> Vec<InstanceRef> {
        let node = self.builder.current().tenant(tenant).and_then(|view| view.node(service.as_str()));
        let instances = node.into_iter().flat_map(|node| node.instances.entries()).map(|(instance, _)| {
            let (tenant, service) = (tenant.clone(), service.clone());
            InstanceRef { tenant, service, instance }
        });
        instances.filter(|at| self.guard.holds(at)).collect()
    }

    /// Lets due expiries pass.
    pub fn judge(&mut self, now: Monotonic) {
        if self.guard.next_due().is_none_or(|due| due > now) {
            return;
        }
        let snapshot = self.builder.current();
        let is_awaited = |at: &InstanceRef| {
            let entry = snapshot.instance(&at.tenant, at.service.as_str(), at.instance.as_str());
            entry.and_then(|entry| entry.lease.as_ref()).is_some_and(|mark| mark.is_awaited())
        };
        let verdict = self.guard.judge(now, snapshot.instance_count, is_awaited);
        metrics::HELD_BY_PRESERVATION.add(verdict.newly(HoldRule::Preservation));
        metrics::HELD_BY_SHARE.add(verdict.newly(HoldRule::Share));
        metrics::HELD_BY_SERVICE.add(verdict.newly(HoldRule::Service));
        verdict.lines(now).iter().for_each(|line| log::warn!("{line}"));
        for (at, rule, until) in verdict.held {
            self.tellings.held(self.builder.current(), &at, self.revision, rule, until);
        }
        for at in verdict.pass {
            let turn = self.expired(&at, now);
            self.remove(&at, turn, None);
            self.end_lease(&at);
        }
    }

    /// The snapshot with all events applied so far.
    pub fn step(&mut self) -> WatchStep {
        let (snapshot, changes) = self.builder.publish(self.revision);
        let (fates, tally) = (std::mem::take(&mut self.fates), std::mem::take(&mut self.tally));
        WatchStep { snapshot, is_listing: false, changes, lost: self.builder.take_lost(), fates, tally }
    }
}

/// As [`HashSet::remove`], which hashes a key even if the set is empty, as it nearly always is.
fn remove(set: &mut HashSet<InstanceRef>, at: &InstanceRef) -> bool {
    !set.is_empty() && set.remove(at)
}

/// Whether a role with labels sees a service.
fn shows(grant: &Grant, service: &ServiceView) -> bool {
    let document = &service.record.document;
    grant.shows(&document.environment, &document.app_id, &document.service_name)
}

fn deletion(key: &Key) -> Option<RegistryEvent> {
    match codec::decode(&Event::Delete { key: Key::clone(key), revision: 0 }) {
        Decoded::Event(event) => Some(event),
        _ => None,
    }
}

/// Decodes an entry of a listing after the revision `applied`. `None` also for a release that was applied: it was about the instances that
/// had expired before it, and no others.
pub fn listed_after(applied: Revision, entry: &Entry) -> Option<RegistryEvent> {
    let is_applied = |event: &RegistryEvent| {
        matches!(event, RegistryEvent::ExpiriesReleased(..)) && entry.mod_revision <= applied
    };
    listed(entry).filter(|event| !is_applied(event))
}

/// Decodes an entry of a listing. `None` for an entry that is not read or cannot be read.
pub fn listed(entry: &Entry) -> Option<RegistryEvent> {
    match codec::decode_put(entry) {
        Decoded::Event(event) => Some(event),
        Decoded::Unread => None,
        Decoded::Foreign(why) | Decoded::Unreadable(why, _) => {
            skip(&why);
            None
        }
    }
}

fn skip(why: &str) {
    metrics::FOREIGN_VALUES.add(1);
    log::warn!("a key or value in the store is skipped: {why}");
}
