//! Events in common blocks. Of an event, a block keeps what nearly all questions ask for, and its bytes (`codec.rs`): as their difference from
//! those of an earlier event of the block, if they resemble each other. So most events need no allocation of their own.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use super::codec::{Packed, pack};
use super::delivery::Telling;
use super::event::{Event, EventKind, ServiceFacts};
use super::id_hash::hash_of;
use crate::domain::event::{InstanceRef, Revision};
use crate::packed::compact::{COMPARED, append_changed, difference_from};
use crate::packed::{Fields, put_number};

/// A block takes no more events when it has so many events, or so many bytes of them.
const FULL: usize = 128;
const FULL_BYTES: usize = 16 << 10;

/// An event is compared with so many models at most.
const TRIED: usize = 2;

/// Events whose numbers follow each other. A clone is made if an event comes while a reader has the last block.
#[derive(Clone, Debug)]
pub(super) struct Block {
    /// The number of the first event.
    pub(super) first_seq: u64,
    /// The time of the first event.
    time: i64,
    heads: Vec<Head>,
    /// Of each event its revision, and what [`pack`] has written or the difference from that of its model.
    bytes: Vec<u8>,
    /// The events that later ones are compared with: their bytes are no difference.
    models: Vec<u8>,
    /// `None` of an event: nobody watches, or the hub has not said yet.
    told: BTreeMap<u8, Arc<Telling>>,
}

/// What nearly all questions ask for.
#[derive(Clone, Debug)]
struct Head {
    service: Option<Arc<ServiceFacts>>,
    /// Milliseconds since the time of the block.
    time: i32,
    /// Hash of the id of the instance. 0 without one.
    instance_hash: u32,
    /// Where the bytes of the event end.
    end: u32,
    kind: EventKind,
    /// The event from which the bytes differ, or the event itself.
    model: u8,
}

/// An event of a block. Most events are passed over without a look at their bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slot<'b> {
    block: &'b Block,
    index: u8,
    pub(super) seq: u64,
    pub(super) time: i64,
    pub(super) kind: EventKind,
    pub(super) service: Option<&'b Arc<ServiceFacts>>,
    /// Hash of the id of the instance. 0 without one.
    pub(super) instance_hash: u32,
}

impl Block {
    /// An empty block for this event and the next ones.
    pub(super) fn begin(event: &Event) -> Self {
        Self {
            first_seq: event.seq,
            time: event.time,
            heads: Vec::new(),
            bytes: Vec::new(),
            models: Vec::new(),
            told: BTreeMap::new(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.heads.len()
    }

    /// Whether the event is the next one of this block.
    pub(super) fn takes(&self, event: &Event) -> bool {
        !self.is_full()
            && event.seq == self.first_seq + self.len() as u64
            && self.time_in_block(event).is_some()
    }

    fn time_in_block(&self, event: &Event) -> Option<i32> {
        event.time.checked_sub(self.time)?.try_into().ok()
    }

    fn is_full(&self) -> bool {
        self.len() >= FULL || self.bytes.len() >= FULL_BYTES
    }

    /// Adds an event that the block [takes](Self::takes). `text` is room for its bytes.
    pub(super) fn push(&mut self, event: &Event, text: &mut Vec<u8>) {
        text.clear();
        pack(text, event);
        put_number(&mut self.bytes, event.revision.cast_unsigned());
        let index = self.heads.len() as u8;
        let is_compared = COMPARED.contains(&text.len());
        let difference = if is_compared { self.difference(event.kind, text) } else { None };
        let model = match difference {
            Some((model, difference)) => {
                self.bytes.extend_from_slice(&difference);
                model
            }
            None => {
                self.bytes.extend_from_slice(text);
                if is_compared {
                    self.models.push(index);
                }
                index
            }
        };
        self.heads.push(Head {
            service: event.service.clone(),
            time: self.time_in_block(event).unwrap_or_default(),
            instance_hash: event.instance.as_ref().map_or(0, |instance| hash_of(instance.id.as_str())),
            end: self.bytes.len() as u32,
            kind: event.kind,
            model,
        });
        if self.is_full() {
            self.heads.shrink_to_fit();
            self.bytes.shrink_to_fit();
        }
    }

    /// A model that the text is like, and its difference from it.
    fn difference(&self, kind: EventKind, text: &[u8]) -> Option<(u8, Vec<u8>)> {
        let is_like = |model: &&u8| self.head(**model).is_some_and(|head| head.kind == kind);
        let mut models = self.models.iter().rev().filter(is_like).take(TRIED);
        models.find_map(|model| Some((*model, difference_from(self.stored(*model)?.1, text)?)))
    }

    /// Says who was told of the event with this number.
    pub(super) fn tell(&mut self, seq: u64, telling: Arc<Telling>) -> Option<()> {
        let index = u8::try_from(seq.checked_sub(self.first_seq)?).ok()?;
        self.head(index)?;
        self.told.insert(index, telling);
        Some(())
    }

    /// The times of some events.
    pub(super) fn times(&self, events: Range<usize>) -> impl Iterator<Item = i64> {
        let heads = self.heads.get(events).unwrap_or_default();
        heads.iter().map(|head| self.time + i64::from(head.time))
    }

    pub(super) fn slots(&self) -> impl DoubleEndedIterator<Item = Slot<'_>> {
        self.heads.iter().enumerate().map(|(index, head)| Slot {
            block: self,
            index: index as u8,
            seq: self.first_seq + index as u64,
            time: self.time + i64::from(head.time),
            kind: head.kind,
            service: head.service.as_ref(),
            instance_hash: head.instance_hash,
        })
    }

    fn head(&self, index: u8) -> Option<&Head> {
        self.heads.get(usize::from(index))
    }

    /// The revision of an event, and the rest of its bytes.
    fn stored(&self, index: u8) -> Option<(Revision, &[u8])> {
        let begin = index.checked_sub(1).map_or(Some(0), |former| Some(self.head(former)?.end))?;
        let mut fields = Fields(self.bytes.get(begin as usize..self.head(index)?.end as usize)?);
        Some((fields.number()?.cast_signed(), fields.0))
    }

    /// The bytes that the block takes, with what its events will keep of who was told.
    pub(super) fn size(&self) -> usize {
        let telling = shared(size_of::<Telling>()) + 2 * size_of::<(u8, Arc<Telling>)>();
        let own = shared(size_of::<Self>()) + self.bytes.len() + self.models.len();
        own + self.len() * (size_of::<Head>() + telling)
    }
}

impl Slot<'_> {
    /// 0 if the event is not about the store.
    pub(super) fn revision(&self) -> Revision {
        self.block.stored(self.index).map_or(0, |(revision, _)| revision)
    }

    /// Hash of the id of the service. 0 without one.
    pub(super) fn service_hash(&self) -> u32 {
        self.service.map_or(0, |service| service.id_hash)
    }

    /// The bytes that [`pack`] has written.
    pub(super) fn packed(&self) -> Vec<u8> {
        let mut text = Vec::new();
        // `None` never comes: the bytes have their form.
        let _ = self.append_packed(&mut text);
        text
    }

    fn append_packed(&self, text: &mut Vec<u8>) -> Option<()> {
        let (_, stored) = self.block.stored(self.index)?;
        let model = self.block.head(self.index)?.model;
        if model == self.index {
            text.extend_from_slice(stored);
            return Some(());
        }
        append_changed(self.block.stored(model)?.1, stored, text)
    }

    /// `None` never comes: the bytes have their form.
    pub(super) fn event(&self) -> Option<Event> {
        let service = self.service.cloned();
        let parts = Packed::read(&self.packed())?.parts(self.time, self.revision(), self.kind, service)?;
        let told = self.block.told.get(&self.index).map(|telling| telling.told());
        Some(Event { told, ..Event::new(self.seq, parts) })
    }

    pub(super) fn is_of(&self, at: &InstanceRef) -> bool {
        let is_of_service = self.service.is_some_and(|of| of.id == at.service && of.tenant == at.tenant);
        is_of_service && self.is_about(at.instance.as_str())
    }

    /// Whether the event is about the instance with this id.
    pub(super) fn is_about(&self, instance: &str) -> bool {
        let packed = self.packed();
        Packed::read(&packed)
            .is_some_and(|packed| packed.texts.instance.is_some_and(|(id, _)| id == instance))
    }
}

/// The bytes of an allocation with counters of references. The allocator rounds up to 16.
pub(super) fn shared(bytes: usize) -> usize {
    (bytes + 16).next_multiple_of(16)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::super::event::{Cause, EventParts};
    use super::*;

    fn event(seq: u64, time: i64, detail: &str) -> Event {
        let (kind, detail) = (EventKind::StoreLost, Some(detail.into()));
        let (service, instance, before, cause) = (None, None, None, Cause::Node);
        Event::new(seq, EventParts { time, revision: -1, kind, service, instance, before, detail, cause })
    }

    #[test]
    fn the_head_of_an_event_takes_24_bytes() {
        assert_eq!(size_of::<Head>(), 24);
    }

    #[test]
    fn a_block_takes_the_next_number_at_a_near_time() {
        let first = event(7, -5, "");
        let mut block = Block::begin(&first);
        assert!(block.takes(&first));
        block.push(&first, &mut Vec::new());
        let month = i64::from(i32::MAX);
        for (seq, time, is_taken) in [
            (8, -5, true),
            (7, -5, false),
            (9, -5, false),
            (8, month - 5, true),
            (8, month - 4, false),
            (8, i64::MAX, false),
            (8, -5 - month, true),
        ] {
            assert_eq!(block.takes(&event(seq, time, "")), is_taken, "{seq} {time}");
        }
    }

    #[test]
    fn a_block_ends_with_its_events_or_its_bytes() {
        for (length, most) in [(10, FULL), (300, FULL), (5_000, FULL_BYTES / 5_000 + 1), (60_000, 1)] {
            let detail = |seq: u64| format!("{seq:0length$}");
            let mut block = Block::begin(&event(0, 0, ""));
            let mut seq = 0;
            while block.takes(&event(seq, 1, "")) {
                block.push(&event(seq, 1, &detail(seq)), &mut Vec::new());
                seq += 1;
            }
            assert_eq!(block.len(), most, "of {length} bytes");
            for slot in block.slots() {
                let event = slot.event().unwrap();
                assert_eq!((event.seq, event.time, event.revision), (slot.seq, 1, -1));
                assert_eq!(event.detail.as_deref(), Some(&*detail(slot.seq)));
            }
        }
    }
}
