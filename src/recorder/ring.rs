//! The events that are kept in memory: the newest ones, bounded by number and by bytes. Each is kept as its bytes (`codec.rs`), made compact by
//! their likeness to those of others.

use std::sync::Arc;

use imbl::Vector;
use parking_lot::Mutex;

use super::codec::{Packed, pack};
use super::delivery::{Delivery, Telling};
use super::event::{Event, EventKind, ServiceFacts};
use super::id_hash::hash_of;
use super::query::CompleteSince;
use crate::domain::event::{InstanceRef, Revision};
use crate::packed::compact::{Compact, Models};

/// How many events are looked at for one delivery: so many after the last event that was told, and so many of the newest. The hub comes
/// soon after the event.
const SEARCHED: usize = 4096;

/// How much is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RingLimits {
    /// 0: nothing is kept.
    pub events: usize,
    pub bytes: usize,
}

/// An event: its bytes, with what nearly all questions ask for beside them. Most events are passed over without a look at their bytes.
#[derive(Clone, Debug)]
pub(super) struct Slot {
    packed: Compact,
    pub(super) service: Option<Arc<ServiceFacts>>,
    /// `None`: nobody watches, or the hub has not said yet.
    told: Option<Arc<Telling>>,
    pub(super) seq: u64,
    pub(super) time: i64,
    /// 0 if the event is not about the store.
    pub(super) revision: Revision,
    /// Hash of the id of the service. 0 without one.
    pub(super) service_hash: u32,
    /// Hash of the id of the instance. 0 without one.
    pub(super) instance_hash: u32,
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
    /// By kind: what the bytes of the next events are compared with.
    models: KindModels,
    bytes: usize,
    limits: RingLimits,
}

type KindModels = [Models; EventKind::ALL.len()];

/// The ring, shared by its one writer and its readers.
#[derive(Clone, Debug)]
pub(super) struct SharedRing(Arc<Mutex<Ring>>);

impl SharedRing {
    pub(super) fn new(limits: RingLimits) -> Self {
        Self(Arc::new(Mutex::new(Ring {
            view: RingView::default(),
            models: KindModels::default(),
            bytes: 0,
            limits,
        })))
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
    pub(super) fn append(&self, events: &[Event], shared_bytes: usize, revision: Revision) {
        let (mut packed, mut models) = (Vec::new(), self.0.lock().models.clone());
        let slots: Vec<Slot> = events.iter().map(|event| Slot::of(event, &mut packed, &mut models)).collect();
        let mut ring = self.0.lock();
        ring.models = models;
        slots.into_iter().for_each(|slot| ring.push(slot));
        let room = ring.limits.bytes.saturating_sub(shared_bytes);
        while ring.view.slots.len() > ring.limits.events || ring.bytes > room {
            let Some(oldest) = ring.view.slots.pop_front() else { break };
            ring.bytes -= oldest.bytes();
            ring.view.known_since = ring.view.known_since.max(oldest.time);
        }
        ring.view.revision = revision;
    }

    /// Hands a delivery to its event, which is the first one of the change after the event with the number `after`. If nobody watched many
    /// events since, it is one of the newest. Returns the number of the event.
    pub(super) fn pushed(&self, after: u64, delivery: &Arc<Delivery>) -> Option<(u64, Arc<Telling>)> {
        let mut ring = self.0.lock();
        let index = ring.view.find_pushed(after, delivery)?;
        ring.tell(index, Telling::of(Arc::clone(delivery)))
    }

    /// Says of the event with this number who was told, if it is kept.
    pub(super) fn was_told(&self, seq: u64, telling: Telling) {
        let mut ring = self.0.lock();
        if let Ok(index) = ring.view.slots.binary_search_by(|slot| slot.seq.cmp(&seq)) {
            ring.tell(index, telling);
        }
    }
}

impl Ring {
    fn push(&mut self, slot: Slot) {
        let Slot { time, kind, seq, .. } = slot;
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
        self.bytes += slot.bytes();
        self.view.slots.push_back(slot);
    }

    fn tell(&mut self, index: usize, telling: Telling) -> Option<(u64, Arc<Telling>)> {
        let slot = self.view.slots.get_mut(index)?;
        let telling = Arc::new(telling);
        slot.told = Some(Arc::clone(&telling));
        Some((slot.seq, telling))
    }
}

impl RingView {
    pub(super) fn complete_since(&self) -> CompleteSince {
        let oldest =
            self.slots.front().map_or(self.last_gap, |slot| CompleteSince { time: slot.time, seq: slot.seq });
        if oldest.seq > self.last_gap.seq { oldest } else { self.last_gap }
    }

    /// The index of the first event with a higher number.
    pub(super) fn index_after(&self, seq: u64) -> usize {
        self.slots.binary_search_by(|slot| slot.seq.cmp(&seq)).map_or_else(|index| index, |index| index + 1)
    }

    fn find_pushed(&self, after: u64, delivery: &Delivery) -> Option<usize> {
        let (at, revision) = (delivery.at(), delivery.revision());
        let instance = hash_of(at.instance.as_str());
        let first = self.index_after(after);
        let next = self.slots.len().min(first + SEARCHED);
        let newest = self.slots.len().saturating_sub(SEARCHED).max(next);
        let is_of = |slot: &Slot| {
            slot.instance_hash == instance
                && slot.revision == revision
                && is_pushed(slot.kind)
                && slot.is_of(at)
        };
        let find = |begin: usize, end: usize| {
            let found = self.slots.focus().narrow(begin..end).into_iter().position(is_of);
            found.map(|index| begin + index)
        };
        find(first, next).or_else(|| find(newest, self.slots.len()))
    }
}

impl Slot {
    /// `packed` is room for the bytes.
    fn of(event: &Event, packed: &mut Vec<u8>, models: &mut KindModels) -> Self {
        packed.clear();
        pack(packed, event);
        let models = models.get_mut(event.kind as usize);
        Self {
            packed: Compact::new(models.unwrap_or(&mut Models::default()), packed),
            service: event.service.clone(),
            told: None,
            seq: event.seq,
            time: event.time,
            revision: event.revision,
            service_hash: event.service.as_ref().map_or(0, |service| service.id_hash),
            instance_hash: event.instance.as_ref().map_or(0, |instance| hash_of(instance.id.as_str())),
            kind: event.kind,
        }
    }

    /// The bytes that [`pack`] has written.
    pub(super) fn packed(&self) -> Vec<u8> {
        self.packed.to_vec()
    }

    /// `None` never comes: the bytes have their form.
    pub(super) fn event(&self) -> Option<Event> {
        let parts =
            Packed::read(&self.packed())?.parts(self.time, self.revision, self.kind, self.service.clone())?;
        Some(Event { told: self.told.as_ref().map(|told| told.told()), ..Event::new(self.seq, parts) })
    }

    fn is_of(&self, at: &InstanceRef) -> bool {
        let is_of_service =
            self.service.as_ref().is_some_and(|of| of.id == at.service && of.tenant == at.tenant);
        is_of_service && self.is_about(at.instance.as_str())
    }

    /// Whether the event is about the instance with this id.
    pub(super) fn is_about(&self, instance: &str) -> bool {
        let packed = self.packed();
        Packed::read(&packed)
            .is_some_and(|packed| packed.texts.instance.is_some_and(|(id, _)| id == instance))
    }

    /// The bytes that an event takes, with its place in the ring and what it will keep of who was told.
    fn bytes(&self) -> usize {
        let told = if self.instance_hash == 0 { 0 } else { shared(size_of::<Telling>()) };
        size_of::<Self>() + shared(self.packed.own_bytes()) + told
    }
}

/// The bytes of an allocation with counters of references. The allocator rounds up to 16.
pub(super) fn shared(bytes: usize) -> usize {
    (bytes + 16).next_multiple_of(16)
}

/// Whether watches are told of events of this kind.
fn is_pushed(kind: EventKind) -> bool {
    kind.ends_instance()
        || matches!(
            kind,
            EventKind::InstanceRegistered
                | EventKind::InstanceReregistered
                | EventKind::InstanceChanged
                | EventKind::InstanceRestored
        )
}
