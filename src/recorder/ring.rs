//! The events that are kept in memory: the newest ones, bounded by number and by bytes.

use std::sync::Arc;

use imbl::Vector;
use parking_lot::Mutex;

use super::delivery::Told;
use super::event::{Cause, Event, EventKind, Requester};
use super::id_hash::hash_of;
use super::query::CompleteSince;
use crate::domain::event::Revision;

/// How much is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RingLimits {
    /// 0: nothing is kept.
    pub events: usize,
    pub bytes: usize,
}

/// An event, with what nearly all questions ask for beside it: most events are passed over without a look at them.
#[derive(Clone, Debug)]
pub(super) struct Slot {
    pub(super) event: Arc<Event>,
    pub(super) time: i64,
    /// Hash of the id of the service. 0 without one.
    pub(super) service: u32,
    /// Hash of the id of the instance. 0 without one.
    pub(super) instance: u32,
    bytes: u32,
    pub(super) kind: EventKind,
}

/// The ring at one moment.
#[derive(Clone, Debug, Default)]
pub(super) struct RingView {
    pub(super) slots: Vector<Slot>,
    /// The last event after which something is missing, or is not known one by one.
    last_gap: CompleteSince,
    /// Since when the instances of a service can be told: Unix time, milliseconds.
    pub(super) known_since: i64,
    pub(super) last_seq: u64,
    /// The revision up to which all changes are told. 0 before the first listing.
    pub(super) revision: Revision,
}

#[derive(Debug)]
pub(super) struct Ring {
    view: RingView,
    bytes: usize,
    limits: RingLimits,
}

/// The ring, shared by its one writer and its readers.
#[derive(Clone, Debug)]
pub(super) struct SharedRing(Arc<Mutex<Ring>>);

impl SharedRing {
    pub(super) fn new(limits: RingLimits) -> Self {
        Self(Arc::new(Mutex::new(Ring { view: RingView::default(), bytes: 0, limits })))
    }

    /// A copy, in constant time.
    pub(super) fn load(&self) -> RingView {
        self.0.lock().view.clone()
    }

    pub(super) fn limits(&self) -> RingLimits {
        self.0.lock().limits
    }

    /// The bytes that the events take, without the services that they share.
    pub(super) fn bytes(&self) -> usize {
        self.0.lock().bytes
    }

    /// Appends events. `shared_bytes`: what the events' services take. `revision`: all changes up to it are told.
    pub(super) fn append(&self, events: &[Arc<Event>], shared_bytes: usize, revision: Revision) {
        let mut ring = self.0.lock();
        events.iter().for_each(|event| ring.push(Arc::clone(event)));
        let room = ring.limits.bytes.saturating_sub(shared_bytes);
        while ring.view.slots.len() > ring.limits.events || ring.bytes > room {
            let Some(oldest) = ring.view.slots.pop_front() else { break };
            ring.bytes -= oldest.bytes as usize;
            ring.view.known_since = ring.view.known_since.max(oldest.time);
        }
        ring.view.revision = revision;
    }
}

impl Ring {
    fn push(&mut self, event: Arc<Event>) {
        let (time, kind, seq) = (event.time, event.kind, event.seq);
        if matches!(kind, EventKind::Gap | EventKind::StoreRelisted) {
            self.view.last_gap = CompleteSince { time, seq };
        }
        // Events that could not be written to the disk are missing after a restart.
        let is_missing = seq > self.view.last_seq + 1;
        if kind == EventKind::Gap || is_missing {
            self.view.known_since = time;
        }
        if is_missing {
            self.view.last_gap = CompleteSince { time, seq };
        }
        self.view.last_seq = seq;
        let service = event.service.as_ref().map_or(0, |service| service.id_hash);
        let instance = event.instance.as_ref().map_or(0, |instance| hash_of(instance.id.as_str()));
        let bytes = event_bytes(&event);
        self.bytes += bytes;
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        self.view.slots.push_back(Slot { event, time, service, instance, bytes, kind });
    }
}

impl RingView {
    pub(super) fn complete_since(&self) -> CompleteSince {
        let oldest = self
            .slots
            .front()
            .map_or(self.last_gap, |slot| CompleteSince { time: slot.time, seq: slot.event.seq });
        if oldest.seq > self.last_gap.seq { oldest } else { self.last_gap }
    }

    pub(super) fn find(&self, seq: u64) -> Option<&Arc<Event>> {
        let index = self.slots.binary_search_by(|slot| slot.event.seq.cmp(&seq)).ok()?;
        self.slots.get(index).map(|slot| &slot.event)
    }

    /// The index of the first event with a higher number.
    pub(super) fn index_after(&self, seq: u64) -> usize {
        self.slots
            .binary_search_by(|slot| slot.event.seq.cmp(&seq))
            .map_or_else(|index| index, |index| index + 1)
    }
}

/// The bytes of an allocation with counters of references. The allocator rounds up to 16.
pub(super) fn shared(bytes: usize) -> usize {
    (bytes + 16).next_multiple_of(16)
}

/// The bytes that an event takes, with its place in the ring and what it will keep of who was told.
fn event_bytes(event: &Event) -> usize {
    let text = |text: Option<&str>| text.map_or(0, |text| shared(text.len()));
    let instance = event.instance.as_ref();
    let cause = match &event.cause {
        Cause::Request(by) => {
            let Requester { account, client: _, request_id } = &**by;
            shared(size_of::<Requester>()) + text(account.as_deref()) + request_id.heap_bytes()
        }
        Cause::Rule { rule, .. } => shared(rule.len()),
        Cause::Lease { .. } | Cause::OtherNode | Cause::Node | Cause::Unknown => 0,
    };
    size_of::<Slot>()
        + shared(size_of::<Event>())
        + text(instance.map(|instance| instance.id.as_str()))
        + text(instance.map(|instance| instance.shown.packed()))
        + text(event.before.as_ref().map(super::Shown::packed))
        + text(event.detail.as_deref())
        + cause
        + if instance.is_some() { size_of::<Told>() } else { 0 }
}
