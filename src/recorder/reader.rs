//! The readers' handle of the record.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::event::{Event, EventKind, InstanceFacts};
use super::id_hash::hash_of;
use super::query::{CompleteSince, InstancesAt, KnownSince, Order, Page, Query};
use super::queue::Recorder;
use super::ring::{RingView, SharedRing, Slot};
use crate::domain::event::Revision;
use crate::domain::{InstanceId, ServiceId, Tenant};

/// How long [`RecordReader::caught_up`] waits.
const CATCH_UP_LIMIT: Duration = Duration::from_secs(2);

/// Asks the record. Clones read the same record. A question works on a copy of the ring that is made in constant time; it looks at all
/// events that are kept, which takes a millisecond or two for 100,000.
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

    /// The events that match and that the caller may see.
    pub fn page(&self, query: &Query, may_see: impl Fn(&Event) -> bool) -> Page {
        let view = self.ring.load();
        let sought = Sought::new(query);
        let (mut events, mut total, mut next) = (Vec::new(), 0, None);
        let mut look = |slot: &Slot| {
            if !sought.matches(slot) || !may_see(&slot.event) {
                return;
            }
            total += 1;
            let seq = slot.event.seq;
            let is_behind = query.after.is_none_or(|after| match query.order {
                Order::OldestFirst => seq > after,
                Order::NewestFirst => seq < after,
            });
            if !is_behind {
                return;
            }
            if events.len() < query.limit {
                events.push(Arc::clone(&slot.event));
            } else if next.is_none() {
                next = events.last().map(|event: &Arc<Event>| event.seq);
            }
        };
        match query.order {
            Order::OldestFirst => view.slots.iter().for_each(&mut look),
            Order::NewestFirst => view.slots.iter().rev().for_each(&mut look),
        }
        Page { events, total, next, complete_since: view.complete_since(), last_seq: view.last_seq }
    }

    /// The next events after one, for followers: at most `limit` that match, and the number of the last event that was looked at.
    pub fn after(&self, seq: u64, query: &Query, may_see: impl Fn(&Event) -> bool) -> (Vec<Arc<Event>>, u64) {
        let view = self.ring.load();
        let sought = Sought::new(query);
        let (mut events, mut looked) = (Vec::new(), seq);
        // The iterator of a vector would walk over all that it skips.
        for slot in view.slots.focus().narrow(view.index_after(seq)..) {
            if events.len() >= query.limit {
                break;
            }
            looked = slot.event.seq;
            if sought.matches(slot) && may_see(&slot.event) {
                events.push(Arc::clone(&slot.event));
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

    /// Whether the event with this number is kept, or is one that the record will give next.
    pub fn knows(&self, seq: u64) -> bool {
        let view = self.ring.load();
        let oldest = view.slots.front().map_or(view.last_seq + 1, |slot| slot.event.seq);
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
        view.slots.iter().filter(|slot| slot.time > time && slot.service == hash && slot.instance != 0)
    {
        let event = &*slot.event;
        let is_of_service =
            event.service.as_ref().is_some_and(|of| of.id == *service && of.tenant == *tenant);
        let Some(instance) = event.instance.as_ref().filter(|_| is_of_service) else { continue };
        let before = match event.kind {
            EventKind::InstanceRegistered | EventKind::InstanceRestored => event.before.clone(),
            EventKind::InstanceChanged => {
                Some(event.before.clone().unwrap_or_else(|| instance.shown.clone()))
            }
            kind if kind.ends_instance() => Some(instance.shown.clone()),
            // It was shown before and after.
            EventKind::InstanceReregistered | EventKind::InstanceHeld | EventKind::InstanceReleased => {
                Some(instance.shown.clone())
            }
            _ => continue,
        };
        let before = before.map(|shown| InstanceFacts { id: instance.id.clone(), shown });
        then.entry(instance.id.clone()).or_insert(before);
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

    fn matches(&self, slot: &Slot) -> bool {
        let Query { tenant, since, before, kinds, service, instance, host, order: _, after: _, limit: _ } =
            self.query;
        // What the slot says comes first: most events are passed over by it.
        if !kinds.contains(slot.kind)
            || since.is_some_and(|since| slot.time < since)
            || before.is_some_and(|before| slot.time >= before)
            || self.service.is_some_and(|hash| slot.service != hash)
            || self.instance.is_some_and(|hash| slot.instance != hash)
        {
            return false;
        }
        let event = &*slot.event;
        let of = event.service.as_ref();
        let facts = event.instance.as_ref();
        let has_host = |host: &str| {
            facts.is_some_and(|facts| facts.shown.host() == host)
                || event.before.as_ref().is_some_and(|before| before.host() == host)
        };
        tenant.as_ref().is_none_or(|tenant| of.is_none_or(|of| of.tenant == *tenant))
            && service.as_ref().is_none_or(|id| of.is_some_and(|of| of.id == *id))
            && instance.as_ref().is_none_or(|id| facts.is_some_and(|facts| facts.id == *id))
            && host.as_ref().is_none_or(|host| has_host(host))
    }
}
