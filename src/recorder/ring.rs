//! The events that are kept in memory: the newest ones, bounded by number and by bytes. They are in blocks (`block.rs`).

use std::sync::Arc;

use imbl::Vector;
use parking_lot::Mutex;

use super::block::{Block, Slot};
use super::delivery::{Delivery, Telling};
use super::event::{Event, EventKind};
use super::id_hash::hash_of;
use super::query::CompleteSince;
use crate::domain::event::Revision;

/// How many events are looked at for one delivery: so many after the last event that was told, and so many of the newest. The hub comes
/// soon after the event.
const SEARCHED: u16 = 4096;

/// How much is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RingLimits {
    /// 0: nothing is kept.
    pub events: usize,
    pub bytes: usize,
}

/// The ring at one moment.
#[derive(Clone, Debug, Default)]
pub(super) struct RingView {
    blocks: Vector<Arc<Block>>,
    /// So many events at the front of the first block are not kept any more.
    gone: usize,
    /// How many events are kept.
    length: usize,
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
    pub(super) fn append(&self, events: &[Event], shared_bytes: usize, revision: Revision) {
        let mut text = Vec::new();
        // Readers wait for one event at most.
        for event in events {
            let mut ring = self.0.lock();
            ring.push(event, &mut text);
            ring.trim(shared_bytes);
        }
        self.0.lock().view.revision = revision;
    }

    /// Hands a delivery to its event, which is the first one of the change after the event with the number `after`. If nobody watched many
    /// events since, it is one of the newest. Returns the number of the event.
    pub(super) fn pushed(&self, after: u64, delivery: &Arc<Delivery>) -> Option<(u64, Arc<Telling>)> {
        let mut ring = self.0.lock();
        let seq = ring.view.find_pushed(after, delivery)?;
        let telling = Arc::new(Telling::of(Arc::clone(delivery)));
        ring.tell(seq, Arc::clone(&telling))?;
        Some((seq, telling))
    }

    /// Says of the event with this number who was told, if it is kept.
    pub(super) fn was_told(&self, seq: u64, telling: Telling) {
        let _ = self.0.lock().tell(seq, Arc::new(telling));
    }
}

impl Ring {
    /// `text` is room for the bytes of the event.
    fn push(&mut self, event: &Event, text: &mut Vec<u8>) {
        let Event { time, kind, seq, .. } = *event;
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
        let blocks = &mut self.view.blocks;
        let mut former_size = blocks.last().map_or(0, |last| last.size());
        if !blocks.last().is_some_and(|last| last.takes(event)) {
            blocks.push_back(Arc::new(Block::begin(event)));
            former_size = 0;
        }
        let Some(last) = blocks.back_mut().map(Arc::make_mut) else { return };
        last.push(event, text);
        self.bytes = self.bytes - former_size + last.size();
        self.view.length += 1;
    }

    /// Drops the oldest events: by number one by one, by bytes in whole blocks.
    fn trim(&mut self, shared_bytes: usize) {
        let room = self.limits.bytes.saturating_sub(shared_bytes);
        while let Some(oldest) = self.view.blocks.front() {
            let kept = oldest.len() - self.view.gone;
            let too_many = self.view.length.saturating_sub(self.limits.events).min(kept);
            let dropped = if self.bytes > room { kept } else { too_many };
            if dropped == 0 {
                break;
            }
            let times = oldest.times(self.view.gone..self.view.gone + dropped);
            self.view.known_since = times.fold(self.view.known_since, i64::max);
            self.view.length -= dropped;
            self.view.gone += dropped;
            if dropped == kept {
                self.bytes -= oldest.size();
                self.view.blocks.pop_front();
                self.view.gone = 0;
            }
        }
    }

    fn tell(&mut self, seq: u64, telling: Arc<Telling>) -> Option<()> {
        let at = self.view.block_at(seq);
        Arc::make_mut(self.view.blocks.get_mut(at)?).tell(seq, telling)
    }
}

impl RingView {
    pub(super) fn complete_since(&self) -> CompleteSince {
        let oldest = self.slots().next();
        let oldest = oldest.map_or(self.last_gap, |slot| CompleteSince { time: slot.time, seq: slot.seq });
        if oldest.seq > self.last_gap.seq { oldest } else { self.last_gap }
    }

    /// All events, oldest first.
    pub(super) fn slots(&self) -> impl DoubleEndedIterator<Item = Slot<'_>> {
        self.slots_after(0)
    }

    /// The events with higher numbers, oldest first.
    pub(super) fn slots_after(&self, seq: u64) -> impl DoubleEndedIterator<Item = Slot<'_>> {
        let oldest = self.blocks.front().map_or(0, |block| block.first_seq + self.gone as u64);
        // The iterator of a vector would walk over all that it skips.
        let blocks = self.blocks.focus().narrow(self.block_at(seq)..).into_iter();
        blocks.flat_map(|block| block.slots()).filter(move |slot| slot.seq > seq && slot.seq >= oldest)
    }

    /// The index of the block with the event with this number, if there is one.
    fn block_at(&self, seq: u64) -> usize {
        let found = self.blocks.binary_search_by(|block| block.first_seq.cmp(&seq));
        found.unwrap_or_else(|next| next.saturating_sub(1))
    }

    /// The number of the event.
    fn find_pushed(&self, after: u64, delivery: &Delivery) -> Option<u64> {
        let (at, revision) = (delivery.at(), delivery.revision());
        let instance = hash_of(at.instance.as_str());
        let is_of = |slot: &Slot<'_>| {
            slot.instance_hash == instance
                && is_pushed(slot.kind)
                && slot.revision() == revision
                && slot.is_of(at)
        };
        let find = |after: u64| self.slots_after(after).take(SEARCHED.into()).find(is_of);
        let newest = self.last_seq.saturating_sub(SEARCHED.into()).max(after + u64::from(SEARCHED));
        find(after).or_else(|| find(newest)).map(|slot| slot.seq)
    }
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
