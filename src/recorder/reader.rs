//! The readers' handle of the record.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::block::Slot;
use super::codec::Packed;
use super::event::{Event, EventKind, InstanceFacts, ServiceFacts};
use super::id_hash::hash_of;
use super::query::{CompleteSince, InstancesAt, KnownSince, Order, Page, Query};
use super::queue::Recorder;
use super::ring::{RingView, SharedRing};
use super::shown::Shown;
use crate::domain::event::Revision;
use crate::domain::{InstanceId, ServiceId, Tenant};

/// How long [`RecordReader::caught_up`] waits.
const CATCH_UP_LIMIT: Duration = Duration::from_secs(2);

/// How many events a follower looks at before its worker serves others.
pub const MOST_LOOKED_AT: usize = 1_000;

/// Asks the record. Clones read the same record. A question works on a copy of the ring that is made in constant time; it looks at all
/// events that are kept, which takes less than a millisecond for 100,000, and ten if only their bytes can tell, as for a host.
#[derive(Clone, Debug)]
pub struct RecordReader {
    ring: SharedRing,
    recorder: Recorder,
    last_seq: watch::Receiver<u64>,
    done: watch::Receiver<u64>,
}

/// Tells readers how far the record is.
#[derive(Debug, Default)]
pub(super) struct ProgressSender {
    /// The number of the last event.
    pub(super) last_seq: watch::Sender<u64>,
    /// How many notes are in the record.
    pub(super) done: watch::Sender<u64>,
}

impl RecordReader {
    pub(super) fn new(ring: SharedRing, recorder: Recorder, progress: &ProgressSender) -> Self {
        let (last_seq, done) = (progress.last_seq.subscribe(), progress.done.subscribe());
        Self { ring, recorder, last_seq, done }
    }

    /// The events that match and that the caller may see, by the service that they are about.
    pub fn page(&self, query: &Query, may_see: impl Fn(Option<&ServiceFacts>) -> bool) -> Page {
        let view = self.ring.load();
        let sought = Sought::new(query);
        let (mut events, mut total, mut next) = (Vec::new(), 0, None);
        let mut look = |slot: Slot<'_>| {
            if !sought.matches(&slot) || !may_see(slot.service.map(Arc::as_ref)) {
                return;
            }
            total += 1;
            let seq = slot.seq;
            let is_behind = query.after.is_none_or(|after| match query.order {
                Order::OldestFirst => seq > after,
                Order::NewestFirst => seq < after,
            });
            if !is_behind {
                return;
            }
            if events.len() < query.limit {
                events.extend(slot.event().map(Arc::new));
            } else if next.is_none() {
                next = events.last().map(|event: &Arc<Event>| event.seq);
            }
        };
        match query.order {
            Order::OldestFirst => view.slots().for_each(&mut look),
            Order::NewestFirst => view.slots().rev().for_each(&mut look),
        }
        Page { events, total, next, complete_since: view.complete_since(), last_seq: view.last_seq }
    }

    /// When this node saw what happened at these revisions: Unix time, milliseconds. Those that are not kept are missing.
    pub fn times_of(&self, revisions: &BTreeSet<Revision>) -> BTreeMap<Revision, i64> {
        let view = self.ring.load();
        // A listing and a repair tell changes out of order, and a store that was set back uses revisions again: the newest event counts.
        let Some(&first) = revisions.first() else { return BTreeMap::new() };
        let times = view.slots().map(|slot| (slot.revision(), slot.time));
        times.filter(|(revision, _)| *revision >= first && revisions.contains(revision)).collect()
    }

    /// The next events after one, for followers: at most `limit` that match, and the number of the last event that was looked at. It looks
    /// at [`MOST_LOOKED_AT`] events at most, which takes a tenth of a millisecond. A follower asks again after the last of them.
    pub fn after(
        &self,
        seq: u64,
        query: &Query,
        may_see: impl Fn(Option<&ServiceFacts>) -> bool,
    ) -> (Vec<Arc<Event>>, u64) {
        let view = self.ring.load();
        let sought = Sought::new(query);
        let (mut events, mut looked) = (Vec::new(), seq);
        for slot in view.slots_after(seq).take(MOST_LOOKED_AT) {
            if events.len() >= query.limit {
                break;
            }
            looked = slot.seq;
            if sought.matches(&slot) && may_see(slot.service.map(Arc::as_ref)) {
                events.extend(slot.event().map(Arc::new));
            }
        }
        (events, looked)
    }

    /// The number of the last event, for followers: it changes with each event.
    pub fn follow(&self) -> watch::Receiver<u64> {
        self.last_seq.clone()
    }

    pub fn last_seq(&self) -> u64 {
        *self.last_seq.borrow()
    }

    /// Whether the event with this number is kept.
    pub fn knows(&self, seq: u64) -> bool {
        let view = self.ring.load();
        let oldest = view.slots().next().map_or(view.last_seq + 1, |slot| slot.seq);
        (oldest..=view.last_seq).contains(&seq)
    }

    pub fn complete_since(&self) -> CompleteSince {
        self.ring.load().complete_since()
    }

    /// The revision of the store up to which the record has all changes.
    pub fn revision(&self) -> Revision {
        self.ring.load().revision
    }

    /// Waits until all that was told before the call is in the record. `false`: that took too long.
    pub async fn caught_up(&self) -> bool {
        let target = self.recorder.told();
        let mut done = self.done.clone();
        let waited = tokio::time::timeout(CATCH_UP_LIMIT, done.wait_for(|done| *done >= target)).await;
        waited.is_ok_and(|reached| reached.is_ok())
    }

    /// The instances of a service at an earlier time (Unix time, milliseconds), in order of their ids.
    ///
    /// `current` are the instances of the service in a snapshot that was loaded before, after which [`Self::caught_up`] has returned.
    /// So the first event after the time says what an instance was like then, and one without a later event was like it is now.
    pub fn at(
        &self,
        time: i64,
        tenant: &Tenant,
        service: &ServiceId,
        current: Vec<InstanceFacts>,
    ) -> InstancesAt {
        let view = self.ring.load();
        if view.revision == 0 || time < view.known_since {
            return Err(KnownSince(view.known_since));
        }
        let current = current.into_iter().map(|facts| (facts.id.clone(), Some(facts)));
        let mut then: BTreeMap<InstanceId, Option<InstanceFacts>> = current.collect();
        for (id, facts) in changed_since(&view, time, tenant, service) {
            then.insert(id, facts);
        }
        Ok(then.into_values().flatten().collect())
    }
}

/// The instances of the service that changed after a time, each as it was at that time. `None`: it was not shown.
fn changed_since(
    view: &RingView,
    time: i64,
    tenant: &Tenant,
    service: &ServiceId,
) -> BTreeMap<InstanceId, Option<InstanceFacts>> {
    let hash = hash_of(service.as_str());
    let mut then = BTreeMap::new();
    for slot in
        view.slots().filter(|slot| slot.time > time && slot.instance_hash != 0 && slot.service_hash() == hash)
    {
        let is_of_service = slot.service.is_some_and(|of| of.id == *service && of.tenant == *tenant);
        if !is_of_service {
            continue;
        }
        let packed = slot.packed();
        let Some(Packed { texts, .. }) = Packed::read(&packed) else { continue };
        let Some((id, shown)) = texts.instance else { continue };
        let before = match slot.kind {
            EventKind::InstanceRegistered | EventKind::InstanceRestored => texts.before,
            EventKind::InstanceChanged => Some(texts.before.unwrap_or(shown)),
            kind if kind.ends_instance() => Some(shown),
            // It was shown before and after.
            EventKind::InstanceReregistered | EventKind::InstanceHeld | EventKind::InstanceReleased => {
                Some(shown)
            }
            _ => continue,
        };
        let id = InstanceId::from(id);
        let before = before.map(|shown| InstanceFacts { id: id.clone(), shown: Shown::of_packed(shown) });
        then.entry(id).or_insert(before);
    }
    then
}

/// A query, with the hashes of its ids.
struct Sought<'q> {
    query: &'q Query,
    service: Option<u32>,
    instance: Option<u32>,
}

impl<'q> Sought<'q> {
    fn new(query: &'q Query) -> Self {
        let service = query.service.as_ref().map(|id| hash_of(id.as_str()));
        let instance = query.instance.as_ref().map(|id| hash_of(id.as_str()));
        Self { query, service, instance }
    }

    fn matches(&self, slot: &Slot<'_>) -> bool {
        let Query { tenant, since, before, kinds, service, instance, host, order: _, after: _, limit: _ } =
            self.query;
        // What the slot says comes first: most events are passed over by it.
        if !kinds.contains(slot.kind)
            || since.is_some_and(|since| slot.time < since)
            || before.is_some_and(|before| slot.time >= before)
            || self.instance.is_some_and(|hash| slot.instance_hash != hash)
            || self.service.is_some_and(|hash| slot.service_hash() != hash)
        {
            return false;
        }
        let of = slot.service;
        let has_host = |host: &str| {
            Packed::read(&slot.packed()).is_some_and(|packed| {
                let shown = packed.texts.instance.map(|(_, shown)| shown);
                shown.into_iter().chain(packed.texts.before).any(|shown| Shown::host_of(shown) == host)
            })
        };
        tenant.as_ref().is_none_or(|tenant| of.is_none_or(|of| of.tenant == *tenant))
            && service.as_ref().is_none_or(|id| of.is_some_and(|of| of.id == *id))
            && instance.as_ref().is_none_or(|id| slot.is_about(id.as_str()))
            && host.as_ref().is_none_or(|host| has_host(host))
    }
}
