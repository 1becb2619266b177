//! The watch: a bounded history of the published changes, which every watcher reads at its own pace. A watcher has no queue.
//! If it falls behind the history it has to list again, so nobody ever waits for a watcher.

use std::collections::VecDeque;
use std::sync::Arc;

use futures_util::stream::{self, BoxStream, StreamExt};
use parking_lot::Mutex;
use tokio::sync::watch;

use super::super::port::{Event, Revision, WatchBatch, WatchError};
use super::item::Item;
use super::key::KeyText;
use super::keyspace::{KeyspaceStep, Steps};

/// The revisions that readers may see: they are on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Published {
    pub revision: Revision,
    /// The last revision that touched a key below [`REGISTRY`].
    pub registry_revision: Revision,
}

/// The prefix that the registry watches.
pub(super) const REGISTRY: &str = "/cse-sr/";

#[derive(Debug)]
enum Change {
    Put(Arc<Item>),
    Delete(Box<(KeyText, Revision)>),
}

impl Change {
    fn revision(&self) -> Revision {
        match self {
            Self::Put(item) => item.mod_revision(),
            Self::Delete(deleted) => deleted.1,
        }
    }

    fn key(&self) -> &KeyText {
        match self {
            Self::Put(item) => &item.key,
            Self::Delete(deleted) => &deleted.0,
        }
    }

    fn weight(&self) -> usize {
        match self {
            Self::Put(item) => item.weight(),
            Self::Delete(_) => 80,
        }
    }

    fn to_event(&self) -> Event {
        match self {
            Self::Put(item) => Event::Put(item.to_entry()),
            Self::Delete(deleted) => Event::Delete { key: deleted.0.to_key(), revision: deleted.1 },
        }
    }
}

/// The changes of one committed group, in order: whole revisions.
#[derive(Debug)]
struct HistoryGroup {
    changes: Vec<Change>,
    last: Revision,
    weight: usize,
}

/// The limits of the history.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    pub events: usize,
    /// An estimate that counts values in full, although the history shares them with the keyspace.
    pub bytes: usize,
}

#[derive(Debug)]
struct KeptHistory {
    groups: VecDeque<Arc<HistoryGroup>>,
    events: usize,
    bytes: usize,
    /// Some events up to this revision are dropped.
    dropped: Revision,
}

#[derive(Debug)]
pub(super) struct History {
    kept: Mutex<KeptHistory>,
    bounds: Bounds,
}

impl History {
    /// A history without the events up to and including `dropped`.
    pub(super) fn new(bounds: Bounds, dropped: Revision) -> Self {
        let kept = KeptHistory { groups: VecDeque::new(), events: 0, bytes: 0, dropped };
        Self { kept: Mutex::new(kept), bounds }
    }

    /// Adds the steps of a group. Returns the last revision that changed a key of the registry.
    pub(super) fn push(&self, steps: &mut Steps) -> Option<Revision> {
        let mut changes = Vec::with_capacity(steps.len());
        let mut weight = 0;
        for step in steps.drain(..) {
            let change = match step {
                KeyspaceStep::Key { after: Some(item), .. } => Change::Put(item),
                KeyspaceStep::Key { before: Some(item), revision, .. } => {
                    Change::Delete(Box::new((item.key.clone(), revision)))
                }
                KeyspaceStep::Key { .. } | KeyspaceStep::LeaseEnded(_) => continue,
            };
            weight += change.weight();
            changes.push(change);
        }
        let last = changes.last()?.revision();
        let registry = changes.iter().rev().find(|change: &&Change| change.key().starts_with(REGISTRY));
        let registry = registry.map(Change::revision);
        let mut kept = self.kept.lock();
        kept.events += changes.len();
        kept.bytes += weight;
        kept.groups.push_back(Arc::new(HistoryGroup { changes, last, weight }));
        let mut gone = Vec::new();
        while kept.events > self.bounds.events || kept.bytes > self.bounds.bytes {
            let Some(group) = kept.groups.pop_front() else { break };
            kept.events -= group.changes.len();
            kept.bytes -= group.weight;
            kept.dropped = group.last;
            gone.push(group);
        }
        // Frees the groups after the lock is released.
        drop(kept);
        drop(gone);
        registry
    }

    /// Up to `limit` groups that hold events from a revision on.
    fn since(&self, from: Revision, limit: usize) -> Result<Vec<Arc<HistoryGroup>>, WatchError> {
        let kept = self.kept.lock();
        if from <= kept.dropped {
            return Err(WatchError::Compacted);
        }
        let start = kept.groups.partition_point(|group| group.last < from);
        Ok(kept.groups.iter().skip(start).take(limit).cloned().collect())
    }

    /// The published events below a prefix from `from` on: about [`BATCH`] events, whole revisions. Moves `from` past them.
    fn ready(&self, prefix: &str, from: &mut Revision) -> Result<Option<WatchBatch>, WatchError> {
        let mut events = Vec::new();
        let mut revision = 0;
        loop {
            let groups = self.since(*from, GROUPS)?;
            if groups.is_empty() {
                break;
            }
            for group in groups {
                for change in &group.changes {
                    let at = change.revision();
                    if at < *from {
                        continue;
                    }
                    if events.len() >= BATCH && at > revision {
                        *from = at;
                        return Ok(Some(WatchBatch { revision, events }));
                    }
                    if change.key().starts_with(prefix) {
                        revision = at;
                        events.push(change.to_event());
                    }
                }
                *from = group.last + 1;
            }
        }
        Ok((!events.is_empty()).then_some(WatchBatch { revision, events }))
    }
}

/// About the events in one batch.
const BATCH: usize = 1_000;

/// Groups taken from the history at once. The lock is held while so many pointers are cloned.
const GROUPS: usize = 64;

/// A watch. It ends when the sender of `published` is dropped, which means that the store is closed.
pub(super) fn watch(
    history: Arc<History>,
    published: watch::Receiver<Published>,
    prefix: String,
    from: Revision,
) -> BoxStream<'static, Result<WatchBatch, WatchError>> {
    // There are no events before revision 1.
    let state = Some((history, published, prefix, from.max(1)));
    stream::unfold(state, |state| async move {
        let (history, mut published, prefix, mut from) = state?;
        loop {
            // Marks the published revision as seen before it reads the history, so it never misses a wake-up.
            let ready = match published.has_changed() {
                Ok(_) => {
                    published.mark_unchanged();
                    history.ready(&prefix, &mut from)
                }
                Err(_) => Err(WatchError::Closed),
            };
            match ready {
                Ok(Some(batch)) => return Some((Ok(batch), Some((history, published, prefix, from)))),
                Ok(None) => {
                    // An error means that the store is closed. The next round returns that.
                    let _ = published.changed().await;
                }
                Err(error) => return Some((Err(error), None)),
            }
        }
    })
    .boxed()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::store::embedded::item::ItemValue;
    use crate::store::embedded::key::Folders;

    fn put(key: &str, revision: Revision) -> KeyspaceStep {
        let key = Folders::default().key(key);
        let value = ItemValue::new(b"", &key);
        let after = Arc::new(Item::new(key, value, None, (revision, revision, 1)));
        KeyspaceStep::Key { revision, before: None, after: Some(after) }
    }

    fn keys(batch: &WatchBatch) -> Vec<String> {
        let key = |event: &Event| match event {
            Event::Put(entry) => entry.key.to_string(),
            Event::Delete { key, .. } => format!("-{key}"),
        };
        batch.events.iter().map(key).collect()
    }

    #[test]
    fn keeps_no_more_than_its_bounds() {
        let history = History::new(Bounds { events: 10, bytes: usize::MAX }, 0);
        for revision in 1..=100 {
            history.push(&mut vec![put("/a", revision)]);
        }
        assert_eq!(history.since(90, 1_000).unwrap_err(), WatchError::Compacted);
        assert_eq!(history.since(91, 1_000).unwrap().len(), 10);
        let history = History::new(Bounds { events: usize::MAX, bytes: 1_000 }, 0);
        for revision in 1..=100 {
            history.push(&mut vec![put("/a", revision)]);
        }
        assert_eq!(history.since(93, 1_000).unwrap_err(), WatchError::Compacted);
        assert_eq!(history.since(94, 1_000).unwrap().len(), 7);
    }

    #[test]
    fn a_batch_ends_with_a_whole_revision() {
        let history = History::new(Bounds { events: usize::MAX, bytes: usize::MAX }, 0);
        // Groups of three revisions, each of 150 keys.
        for group in 0..20 {
            let mut steps: Vec<KeyspaceStep> =
                (0..450).map(|n| put(&format!("/a/{n}"), group * 3 + n / 150 + 1)).collect();
            history.push(&mut steps);
        }
        let mut from = 1;
        let mut seen = 0;
        while let Some(batch) = history.ready("/a/", &mut from).unwrap() {
            assert_eq!(batch.events.len() % 150, 0);
            assert!(batch.events.len() <= BATCH + 150);
            seen += batch.events.len();
            assert!(from > batch.revision);
        }
        assert_eq!((seen, from), (9_000, 61));
    }

    #[test]
    fn starts_in_the_midst_of_a_group_and_keeps_to_the_prefix() {
        let history = History::new(Bounds { events: 100, bytes: usize::MAX }, 4);
        assert_eq!(history.push(&mut vec![put("/b", 5), put("/cse-sr/a", 6), put("/b", 7)]), Some(6));
        assert_eq!(history.push(&mut vec![put("/b", 8)]), None);
        let mut from = 6;
        let batch = history.ready("/", &mut from).unwrap().unwrap();
        assert_eq!(
            (keys(&batch), batch.revision, from),
            (vec!["/cse-sr/a".into(), "/b".into(), "/b".into()], 8, 9)
        );
        let mut from = 5;
        let batch = history.ready("/cse", &mut from).unwrap().unwrap();
        assert_eq!((keys(&batch), batch.revision, from), (vec!["/cse-sr/a".into()], 6, 9));
        let mut from = 4;
        assert_eq!(history.ready("/", &mut from), Err(WatchError::Compacted));
    }
}
