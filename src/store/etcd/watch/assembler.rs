//! Assembles the events of whole revisions from etcd's answers, which may be cut anywhere into fragments. Pure.

use bytes::Bytes;

use crate::store::etcd::entries::{Skipped, lease};
use crate::store::etcd::wire::WatchEvent;
use crate::store::port::{Entry, Event, Revision, WatchError};

/// The most events of one revision. After a larger deletion it is cheaper to list again.
const MAX_PENDING: usize = 500_000;

/// Holds back the events of a revision until it is complete.
pub(super) struct Assembler {
    pending: Vec<Event>,
    pending_revision: Revision,
    /// The last complete revision.
    reached: Revision,
}

impl Assembler {
    pub fn new(from: Revision) -> Self {
        Self { pending: Vec::new(), pending_revision: 0, reached: from.max(1) - 1 }
    }

    /// Takes the events of an answer and returns the events of whole revisions.
    pub fn take(
        &mut self,
        events: Vec<WatchEvent>,
        fragment: bool,
        skipped: &Skipped,
    ) -> Result<Vec<Event>, WatchError> {
        let mut whole = Vec::new();
        for event in events {
            let Some((revision, event)) = self.event(event, skipped) else { continue };
            // Never observed. If etcd repeats or reorders events, only a new listing is safe.
            if revision <= self.reached || revision < self.pending_revision {
                return Err(WatchError::Compacted);
            }
            if revision > self.pending_revision {
                self.complete(&mut whole);
                self.pending_revision = revision;
            }
            self.pending.extend(event);
            if self.pending.len() > MAX_PENDING {
                return Err(WatchError::Compacted);
            }
        }
        if !fragment {
            self.complete(&mut whole);
        }
        Ok(whole)
    }

    fn complete(&mut self, whole: &mut Vec<Event>) {
        if self.pending_revision > self.reached {
            self.reached = self.pending_revision;
        }
        whole.append(&mut self.pending);
    }

    fn event(&self, event: WatchEvent, skipped: &Skipped) -> Option<(Revision, Option<Event>)> {
        let kv = event.kv?;
        let revision = kv.mod_revision;
        let Some(key) = skipped.key(&kv.key) else { return Some((revision, None)) };
        let event = match event.kind {
            0 => Event::Put(Entry {
                key,
                value: Bytes::from(kv.value),
                compact: None,
                create_revision: kv.create_revision,
                mod_revision: revision,
                version: kv.version,
                lease: lease(kv.lease),
            }),
            _ => Event::Delete { key, revision },
        };
        Some((revision, Some(event)))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::metrics::FOREIGN_VALUES;
    use crate::store::etcd::wire;

    fn event(revision: Revision, key: &str) -> WatchEvent {
        let kv = wire::KeyValue { key: key.into(), mod_revision: revision, ..Default::default() };
        WatchEvent { kind: 1, kv: Some(kv) }
    }

    fn brief(events: &[Event]) -> Vec<String> {
        let brief = |event: &Event| match event {
            Event::Put(entry) => format!("+{}", entry.key),
            Event::Delete { key, revision } => format!("{revision}{key}"),
        };
        events.iter().map(brief).collect()
    }

    #[test]
    fn a_revision_cut_by_fragments_is_given_out_whole() {
        let skipped = Skipped::default();
        let mut assembler = Assembler::new(5);
        let first =
            assembler.take(vec![event(5, "a"), event(6, "a"), event(6, "b")], true, &skipped).unwrap();
        assert_eq!(brief(&first), ["5a"], "6 may go on in the next fragment");
        let second = assembler.take(vec![event(6, "c")], true, &skipped).unwrap();
        assert!(second.is_empty());
        let third = assembler.take(vec![event(6, "d"), event(7, "a")], false, &skipped).unwrap();
        assert_eq!(brief(&third), ["6a", "6b", "6c", "6d", "7a"]);
        assert!(assembler.take(Vec::new(), false, &skipped).unwrap().is_empty());
    }

    #[test]
    fn what_was_given_out_does_not_come_again() {
        let skipped = Skipped::default();
        let mut assembler = Assembler::new(5);
        assembler.take(vec![event(5, "a")], false, &skipped).unwrap();
        assert_eq!(assembler.take(vec![event(5, "b")], false, &skipped), Err(WatchError::Compacted));
        let mut assembler = Assembler::new(5);
        assert_eq!(assembler.take(vec![event(4, "b")], false, &skipped), Err(WatchError::Compacted));
    }

    #[test]
    fn keys_that_are_no_text_are_left_out_without_ending_the_watch() {
        let before = FOREIGN_VALUES.value();
        let mut bad = event(5, "");
        bad.kv.as_mut().unwrap().key = vec![b'/', 0xff];
        let events = vec![bad, event(5, "a"), event(6, "b")];
        let whole = Assembler::new(5).take(events, false, &Skipped::default()).unwrap();
        assert_eq!(brief(&whole), ["5a", "6b"]);
        assert!(FOREIGN_VALUES.value() > before);
    }
}
