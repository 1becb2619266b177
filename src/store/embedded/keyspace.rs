//! The store's state (keys, leases and the revision) and all code that changes it, by etcd's rules. Pure: no I/O, no clock.
//! Each change is recorded in [`Steps`]. The log's records, the watch's events and the undoing are made from the steps.

use std::collections::VecDeque;
use std::num::NonZeroI64;
use std::ops::Bound;
use std::sync::Arc;

use imbl::OrdSet;

use super::super::port::{
    Compare, Entry, Key, LeaseId, Op, Reason, Revision, StoreError, Txn, TxnOutcome, TxnResult,
};
use super::item::{ByText, Item, ItemValue};
use super::key::{Folders, KeyText};
use super::lease::{Held, LeaseChange, LeaseTime, Leases, LoadingLeases};

/// All keys, ordered. A clone costs nothing and does not change afterwards.
///
/// Inner nodes of the tree may keep a replaced or deleted item in memory until they are rebuilt: one item for each leaf of 5 to
/// 16 keys. See [`Keyspace::rebuild`].
pub(super) type Items = OrdSet<Arc<Item>>;

/// A value of at least this length is large: one dead large value for each leaf would take more memory than the living data.
const LARGE: usize = 16 << 10;

#[derive(Debug)]
pub(super) struct Keyspace {
    pub items: Items,
    pub leases: Leases,
    pub folders: Folders,
    pub revision: Revision,
    /// Whether large values were replaced or deleted since the last [`Keyspace::rebuild`].
    dropped_large: bool,
}

/// A change that is not yet on disk.
#[derive(Debug)]
pub(super) enum KeyspaceStep {
    /// A key changed at a revision. At least one of the items is set.
    Key { revision: Revision, before: Option<Arc<Item>>, after: Option<Arc<Item>> },
    /// A lease ended. The next steps delete its keys.
    LeaseEnded(Box<EndedLease>),
}

#[derive(Debug)]
pub(super) struct EndedLease {
    id: LeaseId,
    held: Held,
}

/// The changes since the last write to disk, in order.
pub(super) type Steps = Vec<KeyspaceStep>;

/// A group of the log as it is read back.
#[derive(Debug)]
pub(super) struct ReadGroup {
    pub revision_before: Revision,
    pub steps: Vec<ReadStep>,
    pub revision: Revision,
}

#[derive(Debug)]
pub(super) enum ReadStep {
    /// `item`: as if it were the first put of its key. The TTL is that of its lease.
    Put {
        item: Arc<Item>,
        ttl_seconds: i64,
    },
    Delete(KeyText),
}

/// A block of a snapshot as it is read back.
#[derive(Debug)]
pub(super) enum ReadBlock {
    Leases(Vec<(LeaseId, i64)>),
    Items(Vec<Arc<Item>>),
    /// The last one. `items`: the number of all items.
    End {
        revision: Revision,
        items: u64,
    },
}

impl Keyspace {
    /// Empty, at revision 1 like a new etcd.
    pub(super) fn new() -> Self {
        let (items, leases, folders) = Default::default();
        Self { items, leases, folders, revision: 1, dropped_large: false }
    }

    pub(super) fn find(&self, key: &str) -> Option<&Arc<Item>> {
        self.items.get(&ByText(key))
    }

    fn below<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = &'a Arc<Item>> {
        below(&self.items, Bound::Included(prefix), prefix)
    }

    /// Does a transaction. An error changes nothing.
    pub(super) fn apply(&mut self, txn: &Txn, steps: &mut Steps) -> TxnResult {
        let succeeded = txn.compares.iter().all(|compare| self.holds(compare));
        let branch = if succeeded { &txn.then } else { &txn.otherwise };
        for op in branch {
            if let Op::Put { lease: Some(lease), .. } = op
                && self.leases.ttl_seconds(*lease).is_none()
            {
                return Err(StoreError::Aborted {
                    reason: Reason::LeaseNotFound,
                    message: format!("requested lease not found: {lease}"),
                });
            }
        }
        let revision = self.revision + 1;
        let done_before = steps.len();
        let mut reads = Vec::new();
        for op in branch {
            match op {
                Op::Put { key, value, lease } => {
                    let key = self.folders.key(key);
                    let value = ItemValue::new(value, &key);
                    let lease = lease.and_then(|lease| NonZeroI64::new(lease.0));
                    let item = Item::new(key, value, lease, (revision, revision, 1));
                    let (before, after) = self.put(Arc::new(item));
                    steps.push(KeyspaceStep::Key { revision, before, after: Some(after) });
                }
                Op::Delete(key) => {
                    if let Some(item) = self.items.remove(&ByText(key)) {
                        self.note_deletion(item, revision, steps);
                    }
                }
                Op::DeletePrefix(prefix) => {
                    let doomed: Vec<Arc<Item>> = self.below(prefix).cloned().collect();
                    for item in doomed {
                        self.items.remove(&item);
                        self.note_deletion(item, revision, steps);
                    }
                }
                Op::Get(key) => {
                    reads.push(
                        self.find(key).map(|item| item.to_entry_named(key.clone())).into_iter().collect(),
                    );
                }
                Op::GetPrefix(prefix) => reads.push(self.below(prefix).map(|item| item.to_entry()).collect()),
            }
        }
        let changed = steps.len() > done_before;
        if changed {
            self.revision = revision;
        }
        Ok(TxnOutcome { succeeded, revision: self.revision, changed, reads })
    }

    fn holds(&self, compare: &Compare) -> bool {
        match compare {
            Compare::Absent(key) => self.find(key).is_none(),
            Compare::Present(key) => self.find(key).is_some(),
            Compare::NoneBelow(prefix) => self.below(prefix).next().is_none(),
            Compare::NoneBelowIs { prefix, value } => {
                let mut below = self.below(prefix).peekable();
                below.peek().is_some() && below.all(|item| item.value.bytes() != value)
            }
            Compare::Unchanged { key, mod_revision } => {
                self.find(key).is_some_and(|item| item.mod_revision() == *mod_revision)
            }
            Compare::ValueIs { key, value } => self.find(key).is_some_and(|item| item.value.bytes() == value),
        }
    }

    /// Puts an item that was made as if it were the first put of its key. Returns the former item and the new one. Most puts are the
    /// first ones of their keys, so this looks for the place only once.
    fn put(&mut self, item: Arc<Item>) -> (Option<Arc<Item>>, Arc<Item>) {
        let before = self.items.insert(Arc::clone(&item));
        let after = match &before {
            None => item,
            Some(before) => {
                let puts = (before.create_revision(), item.mod_revision(), before.version() + 1);
                let after = Arc::new(Item::new(item.key.clone(), item.value.clone(), item.lease(), puts));
                self.items.insert(Arc::clone(&after));
                self.detach(before);
                after
            }
        };
        self.leases.attach(&after);
        (before, after)
    }

    /// Drops what no key needs. Builds the tree again if its inner nodes may keep dead large values in memory. This costs about 0.5 us for each key, as
    /// much as a snapshot, so it is done with each snapshot. The dead values are then at most as large as the log has grown.
    pub(super) fn rebuild(&mut self) {
        self.folders.forget_empty();
        if std::mem::take(&mut self.dropped_large) {
            self.items = self.items.iter().cloned().collect();
        }
    }

    fn note_deletion(&mut self, item: Arc<Item>, revision: Revision, steps: &mut Steps) {
        self.detach(&item);
        steps.push(KeyspaceStep::Key { revision, before: Some(item), after: None });
    }

    /// Notes that an item is no longer current.
    fn detach(&mut self, item: &Arc<Item>) {
        self.dropped_large |= item.value.length() >= LARGE;
        self.leases.detach(item);
    }

    /// Ends a lease and deletes its keys at one revision, in key order. `false`: the lease does not exist.
    pub(super) fn end_lease(&mut self, id: LeaseId, steps: &mut Steps) -> bool {
        let Some(held) = self.leases.remove(id) else { return false };
        let items = held.items.clone();
        steps.push(KeyspaceStep::LeaseEnded(Box::new(EndedLease { id, held })));
        if !items.is_empty() {
            self.revision += 1;
        }
        for item in items {
            self.items.remove(&item);
            steps.push(KeyspaceStep::Key { revision: self.revision, before: Some(item), after: None });
        }
        true
    }

    fn change(&mut self, before: Option<&Arc<Item>>, after: Option<&Arc<Item>>) {
        if let Some(before) = before {
            self.detach(before);
            if after.is_none() {
                self.items.remove(before);
            }
        }
        if let Some(after) = after {
            self.items.insert(after.clone());
            self.leases.attach(after);
        }
    }

    /// Undoes steps that could not be written, starting with the last one.
    pub(super) fn undo(&mut self, steps: &mut Steps, revision_before: Revision, now: LeaseTime) {
        while let Some(step) = steps.pop() {
            match step {
                KeyspaceStep::Key { before, after, .. } => self.change(after.as_ref(), before.as_ref()),
                KeyspaceStep::LeaseEnded(ended) => {
                    self.leases.put_back(ended.id, ended.held);
                    // The lease may have lost its place in the schedule.
                    self.leases.look_again(ended.id, now);
                }
            }
        }
        self.revision = revision_before;
        // Puts leave their folders, and a full disk gets no snapshot, with which they are forgotten.
        self.folders.forget_empty_if_doubled();
    }

    /// Does a group of the log again. Its own leases are empty then, and what concerns them goes to `leases`. The error says what was
    /// expected.
    pub(super) fn replay(
        &mut self,
        group: ReadGroup,
        leases: &mut LoadingLeases,
    ) -> Result<(), &'static str> {
        if group.revision_before != self.revision {
            return Err("the revision that follows the group before it");
        }
        for step in group.steps {
            match step {
                ReadStep::Put { item, ttl_seconds } => {
                    let (before, after) = self.put(item);
                    if let Some(before) = before {
                        leases.push(LeaseChange::Detached(before));
                    }
                    if let Some(lease) = after.lease_id() {
                        leases.push(LeaseChange::Named(lease, ttl_seconds));
                        leases.push(LeaseChange::Attached(after));
                    }
                }
                ReadStep::Delete(key) => {
                    let item = self.items.remove(&key).ok_or("a deletion of a key that is there")?;
                    self.detach(&item);
                    leases.push(LeaseChange::Detached(item));
                }
            }
        }
        self.revision = group.revision;
        Ok(())
    }

    /// Adds a block of a snapshot, as [`Self::replay`] does a group.
    pub(super) fn restore(
        &mut self,
        block: ReadBlock,
        leases: &mut LoadingLeases,
    ) -> Result<(), &'static str> {
        match block {
            ReadBlock::Leases(named) => {
                named.into_iter().for_each(|(lease, ttl)| leases.push(LeaseChange::Named(lease, ttl)));
            }
            ReadBlock::Items(items) => {
                for item in items {
                    self.items.insert(Arc::clone(&item));
                    leases.push(LeaseChange::Attached(item));
                }
            }
            ReadBlock::End { revision, items } => {
                if items != self.items.len() as u64 {
                    return Err("the number of keys the snapshot holds");
                }
                self.revision = revision;
            }
        }
        Ok(())
    }
}

/// The items whose key starts with `prefix`, in key order. `from` is the prefix itself, or the last key seen.
pub(super) fn below<'a>(
    items: &'a Items,
    from: Bound<&'a str>,
    prefix: &'a str,
) -> impl Iterator<Item = &'a Arc<Item>> {
    let range: (Bound<ByText<'a>>, Bound<ByText<'a>>) = (from.map(ByText), Bound::Unbounded);
    items.range(range).take_while(move |item| item.key.starts_with(prefix))
}

/// Up to `limit` entries below a prefix: the first ones, or those after a key.
pub(super) fn page(items: &Items, prefix: &str, after: Option<&str>, limit: usize) -> Vec<Entry> {
    let from = after.map_or(Bound::Included(prefix), Bound::Excluded);
    below(items, from, prefix).take(limit).map(|item| item.to_entry()).collect()
}

/// A listing of the keys as they were when it began.
pub(super) struct KeyspaceListing {
    items: Items,
    /// The prefixes left. The first one is being listed.
    prefixes: VecDeque<String>,
    /// The last key returned below the first prefix.
    last: Option<Key>,
}

impl KeyspaceListing {
    pub(super) fn new(items: Items, prefixes: VecDeque<String>) -> Self {
        Self { items, prefixes, last: None }
    }

    /// The next entries, at most `limit`; `None` at the end.
    pub(super) fn next(&mut self, limit: usize) -> Option<Vec<Entry>> {
        while let Some(prefix) = self.prefixes.front() {
            let entries = page(&self.items, prefix, self.last.as_deref(), limit);
            self.last = entries.last().filter(|_| entries.len() == limit).map(|entry| entry.key.clone());
            if self.last.is_none() {
                self.prefixes.pop_front();
            }
            if !entries.is_empty() {
                return Some(entries);
            }
        }
        None
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn put(key: &str, lease: Option<LeaseId>) -> Op {
        Op::Put { key: Key::from(key), value: bytes::Bytes::from_static(b"x"), lease }
    }

    fn fingerprint(keyspace: &Keyspace) -> String {
        let mut leases = keyspace.leases.contents();
        leases.sort();
        format!("{:?} {} {leases:?}", page(&keyspace.items, "", None, usize::MAX), keyspace.revision)
    }

    #[test]
    fn a_lease_whose_end_is_undone_ends_later_all_the_same() {
        let mut keyspace = Keyspace::new();
        let mut steps = Steps::new();
        let lease = LeaseId(1);
        keyspace.leases.grant(lease, 5, 0);
        assert!(keyspace.end_lease(lease, &mut steps));
        // Its slot in the schedule becomes due while the lease is removed.
        assert!(keyspace.leases.due(5_000, 100).is_empty());
        keyspace.undo(&mut steps, 1, 5_000);
        assert_eq!(keyspace.leases.due(6_000, 100), [lease]);
    }

    #[test]
    fn undone_puts_leave_few_folders() {
        let mut keyspace = Keyspace::new();
        let mut steps = Steps::new();
        for number in 0..10_000 {
            let then = vec![put(&format!("{number}/x"), None)];
            keyspace.apply(&Txn { then, ..Txn::default() }, &mut steps).unwrap();
            keyspace.undo(&mut steps, 1, 0);
        }
        let folders = keyspace.folders.len();
        assert!(folders < 3_000, "{folders} folders");
    }

    #[test]
    fn undoing_restores_keys_leases_and_revision() {
        let mut keyspace = Keyspace::new();
        let mut steps = Steps::new();
        let (first, second) = (LeaseId(1), LeaseId(2));
        [first, second].into_iter().for_each(|lease| keyspace.leases.grant(lease, 10, 0));
        let ops =
            vec![put("a/1", Some(first)), put("a/2", Some(first)), put("b/1", Some(second)), put("c", None)];
        keyspace.apply(&Txn { then: ops, ..Txn::default() }, &mut steps).unwrap();
        steps.clear();
        let before = fingerprint(&keyspace);
        let revision = keyspace.revision;
        let groups = [
            vec![put("a/1", None), put("d", Some(second))],
            vec![put("a/2", Some(second)), Op::Delete("b/1".into())],
            vec![Op::DeletePrefix("a/".into())],
            vec![put("a/1", Some(first)), put("a/3", Some(first))],
        ];
        for ops in groups {
            keyspace.apply(&Txn { then: ops, ..Txn::default() }, &mut steps).unwrap();
        }
        assert!(keyspace.end_lease(first, &mut steps));
        assert!(keyspace.end_lease(second, &mut steps));
        assert_ne!(fingerprint(&keyspace), before);
        keyspace.undo(&mut steps, revision, 0);
        assert_eq!(fingerprint(&keyspace), before);
    }

    #[test]
    fn a_rebuilt_tree_keeps_no_large_value_that_is_gone() {
        let mut keyspace = Keyspace::new();
        let mut dead = Vec::new();
        for n in 0..500 {
            let key = format!("k/{n:03}");
            let value = bytes::Bytes::from(vec![b'x'; LARGE]);
            let put = Op::Put { key: key.as_str().into(), value, lease: None };
            keyspace.apply(&Txn { then: vec![put], ..Txn::default() }, &mut Steps::new()).unwrap();
            // Few enough for the leaves to stay, and at different places in them.
            if n % 9 == 0 {
                dead.push((Arc::downgrade(keyspace.find(&key).unwrap()), key));
            }
        }
        for (_, key) in &dead {
            let deletion = Txn { then: vec![Op::Delete(key.as_str().into())], ..Txn::default() };
            keyspace.apply(&deletion, &mut Steps::new()).unwrap();
        }
        let listed = page(&keyspace.items, "", None, usize::MAX);
        let alive = || dead.iter().filter(|(item, _)| item.strong_count() > 0).count();
        assert!(alive() > 0, "else there is nothing to be done");
        keyspace.rebuild();
        assert_eq!((alive(), page(&keyspace.items, "", None, usize::MAX)), (0, listed));
    }

    #[test]
    fn a_clone_of_the_items_stays_as_it_is() {
        let mut keyspace = Keyspace::new();
        let mut steps = Steps::new();
        for n in 0..1_000 {
            let txn = Txn { then: vec![put(&format!("k/{n:04}"), None)], ..Txn::default() };
            keyspace.apply(&txn, &mut steps).unwrap();
        }
        let clone = keyspace.items.clone();
        let listed = page(&clone, "k/", None, usize::MAX);
        keyspace
            .apply(&Txn { then: vec![Op::DeletePrefix("k/".into())], ..Txn::default() }, &mut steps)
            .unwrap();
        assert!(keyspace.items.is_empty());
        assert_eq!(page(&clone, "k/", None, usize::MAX), listed);
        assert_eq!(page(&clone, "k/", Some("k/0997"), 10).len(), 2);
        assert_eq!(page(&clone, "k/", Some("k/0997x"), 10).len(), 2);
    }
}
