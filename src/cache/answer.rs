//! Ready answers of finds. The body is joined from the stored instances and kept until one of them changes.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;

use super::instances::InstanceMap;
use crate::domain::revision::find_revision;

/// Most sets of visible versions of one provider that have a kept answer. A further set replaces the oldest.
const KEPT_SUBSETS: usize = 8;
/// A body of this many bytes or more is kept only when it is asked for a second time. Otherwise providers that are read once
/// between two changes would take the memory of the whole registry a second time.
const KEPT_WHEN_ASKED_AGAIN: usize = 16 * 1024;
/// Most revisions of former answers that are remembered of one provider.
const KEPT_REVISIONS: usize = 32;

const HEAD: &[u8] = b"{\"instances\":[";
const TAIL: &[u8] = b"]}";
const NO_INSTANCES: &[u8] = b"{}";

/// The answer of a find.
#[derive(Debug)]
pub struct FindAnswer {
    /// Value of the header `X-Resource-Revision`.
    pub revision: Box<str>,
    /// Number of instances.
    pub count: usize,
    /// The body is joined from these. They share their memory with the snapshot.
    parts: Box<[InstanceMap]>,
    /// Bytes of the body.
    size: usize,
    body: OnceLock<Bytes>,
    was_asked: AtomicBool,
    /// Revisions of earlier answers for this provider.
    former: FormerRevisions,
    gzip: OnceLock<Bytes>,
    first_served: OnceLock<Duration>,
}

/// Revisions of answers, newest first. Cheap to clone.
type FormerRevisions = Option<Arc<[Box<str>]>>;

impl FindAnswer {
    /// The answer with the instances of these services.
    pub fn join<'a>(parts: impl Iterator<Item = &'a InstanceMap>) -> Self {
        let parts: Box<[InstanceMap]> = parts.cloned().collect();
        let (mut count, mut highest, mut size) = (0, 0, 0);
        for entry in parts.iter().flat_map(InstanceMap::iter) {
            count += 1;
            highest = highest.max(entry.mod_revision);
            size += entry.json_length() + 1;
        }
        Self {
            revision: find_revision(highest, count).into_boxed_str(),
            count,
            parts,
            // `size` counts a comma for each instance, but the last instance has none.
            size: if count == 0 { NO_INSTANCES.len() } else { HEAD.len() + size - 1 + TAIL.len() },
            body: OnceLock::new(),
            was_asked: AtomicBool::new(false),
            former: None,
            gzip: OnceLock::new(),
            first_served: OnceLock::new(),
        }
    }

    /// `{"instances":[…]}`, or `{}` without instances.
    pub fn body(&self) -> Bytes {
        if let Some(body) = self.body.get() {
            return body.clone();
        }
        let body = self.joined();
        if body.len() < KEPT_WHEN_ASKED_AGAIN || self.was_asked.swap(true, Ordering::Relaxed) {
            // If another request has set the body in the meantime, it holds the same bytes.
            let _ = self.body.set(body.clone());
        }
        body
    }

    /// Bytes of the body.
    pub fn size(&self) -> usize {
        self.size
    }

    fn joined(&self) -> Bytes {
        if self.count == 0 {
            return Bytes::from_static(NO_INSTANCES);
        }
        let mut body = Vec::with_capacity(self.size);
        body.extend_from_slice(HEAD);
        self.join_into(&mut body);
        body.extend_from_slice(TAIL);
        Bytes::from(body)
    }

    fn join_into(&self, out: &mut Vec<u8>) {
        for (index, entry) in self.parts.iter().flat_map(InstanceMap::iter).enumerate() {
            if index > 0 {
                out.push(b',');
            }
            entry.append_json(out);
        }
    }

    /// Whether a client's revision is the one of this answer or of an earlier answer of this node. If not, the client may have
    /// it from another node that is ahead of this one.
    pub fn covers(&self, revision: &str) -> bool {
        *self.revision == *revision || self.former.iter().flat_map(|all| all.iter()).any(|r| **r == *revision)
    }

    /// Whether the body is kept. If it is, [`Self::body`] takes no further memory.
    pub fn is_kept(&self) -> bool {
        self.body.get().is_some()
    }

    /// Bytes of the instances in the body, with the commas between them.
    pub fn instances_size(&self) -> usize {
        if self.count == 0 { 0 } else { self.size - HEAD.len() - TAIL.len() }
    }

    /// Writes the instances as they are in the body: [`Self::instances_size`] bytes. Copies them from a kept body, but does not
    /// make one.
    pub fn write_instances(&self, out: &mut Vec<u8>) {
        let inside = HEAD.len()..self.size.saturating_sub(TAIL.len());
        match self.body.get().and_then(|body| body.get(inside)) {
            Some(instances) if self.count > 0 => out.extend_from_slice(instances),
            _ => self.join_into(out),
        }
    }

    /// The compressed body, if [`Self::keep_gzip`] was called.
    pub fn gzip(&self) -> Option<Bytes> {
        self.gzip.get().cloned()
    }

    /// Keeps a compressed body.
    pub fn keep_gzip(&self, gzip: Bytes) {
        // If another request has kept one in the meantime, it holds the same bytes.
        let _ = self.gzip.set(gzip);
    }

    /// Whether the answer has not changed for a second since it was first served. Then compressing it pays, because further
    /// requests will use the result.
    pub fn has_settled(&self, now: Duration) -> bool {
        now.saturating_sub(*self.first_served.get_or_init(|| now)) >= Duration::from_secs(1)
    }
}

/// Positions of the versions that an answer shows, in ascending order.
type VisibleVersions = Box<[u32]>;

/// Keeps the answers of one provider. A clone has no answers but remembers their revisions, because a provider is cloned only
/// to be changed.
#[derive(Debug, Default)]
pub struct AnswerCell {
    all: OnceLock<Arc<FindAnswer>>,
    /// Answers with some of the versions.
    subsets: Mutex<Vec<(VisibleVersions, Arc<FindAnswer>)>>,
    former: FormerRevisions,
}

impl Clone for AnswerCell {
    fn clone(&self) -> Self {
        Self { former: self.revisions(), ..Self::default() }
    }
}

impl AnswerCell {
    /// The answer with all versions.
    pub fn all(&self, make: impl FnOnce() -> FindAnswer) -> &Arc<FindAnswer> {
        self.all.get_or_init(|| self.keep(make()))
    }

    /// The answer with the versions at these positions, in ascending order.
    pub fn subset(&self, visible: &[u32], make: impl FnOnce() -> FindAnswer) -> Arc<FindAnswer> {
        let mut kept = self.subsets.lock();
        if let Some((_, answer)) = kept.iter().find(|(set, _)| **set == *visible) {
            return Arc::clone(answer);
        }
        let answer = self.keep(make());
        if kept.len() >= KEPT_SUBSETS {
            kept.remove(0);
        }
        kept.push((visible.into(), Arc::clone(&answer)));
        answer
    }

    /// Drops the answers, because the instances in them have changed.
    pub fn outdate(&mut self) {
        *self = self.clone();
    }

    fn keep(&self, answer: FindAnswer) -> Arc<FindAnswer> {
        Arc::new(FindAnswer { former: self.former.clone(), ..answer })
    }

    /// Revisions of the current and the former answers.
    fn revisions(&self) -> FormerRevisions {
        let subsets = self.subsets.lock();
        let made = self.all.get().into_iter().chain(subsets.iter().map(|(_, answer)| answer));
        let mut revisions: Vec<Box<str>> = made.map(|answer| answer.revision.clone()).collect();
        if revisions.is_empty() {
            // Nothing was asked between two changes.
            return self.former.clone();
        }
        revisions.extend(self.former.iter().flat_map(|all| all.iter()).cloned());
        revisions.truncate(KEPT_REVISIONS);
        Some(revisions.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(revision: &str) -> FindAnswer {
        let revision = revision.into();
        FindAnswer { revision, ..FindAnswer::join(std::iter::empty()) }
    }

    #[test]
    fn revisions_answered_before_are_known() {
        let first = AnswerCell::default();
        first.all(|| answer("a"));
        first.subset(&[1], || answer("b"));
        // Changed twice, without anyone asking in between.
        let second = first.clone().clone();
        let found = second.all(|| answer("c"));
        for known in ["a", "b", "c"] {
            assert!(found.covers(known), "{known}");
        }
        assert!(!found.covers("d"));
        assert!(!first.all(|| answer("x")).covers("c"), "what comes later is not known");
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut cell = AnswerCell::default();
        for number in 0..KEPT_REVISIONS * 2 {
            cell.all(|| answer(&number.to_string()));
            cell = cell.clone();
        }
        let found = cell.all(|| answer("last"));
        let newest = KEPT_REVISIONS * 2 - 1;
        assert!(found.covers(&newest.to_string()));
        assert!(!found.covers(&(newest - KEPT_REVISIONS).to_string()));
    }
}
