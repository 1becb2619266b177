//! Ready answers of finds: the body joined from ready pieces and kept until something in it changes.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use bytes::Bytes;

use super::instances::Instances;
use crate::domain::revision::find_revision;

/// How many sets of visible versions of one provider keep an answer; a further one replaces the oldest.
const KEPT_SUBSETS: usize = 8;
/// Bodies from this size on are kept only once they are asked for a second time: most of what keeping saves is had by then,
/// and what is read once between two changes would cost the registry's size once more.
const KEPT_WHEN_ASKED_AGAIN: usize = 16 * 1024;
/// How many revisions of former answers of one provider are remembered.
const KEPT_REVISIONS: usize = 32;

const HEAD: &[u8] = b"{\"instances\":[";
const TAIL: &[u8] = b"]}";
const NOTHING: &[u8] = b"{}";

/// What a find answers.
#[derive(Debug)]
pub struct FindAnswer {
    /// `X-Resource-Revision`.
    pub revision: Box<str>,
    /// Instances in it.
    pub count: usize,
    /// What the body is joined from: shared with the snapshot.
    parts: Box<[Instances]>,
    /// Bytes of the body.
    size: usize,
    body: OnceLock<Bytes>,
    was_asked: AtomicBool,
    /// Revisions this provider was answered with before.
    former: Revisions,
    gzip: OnceLock<Bytes>,
    first_served: OnceLock<Duration>,
}

/// Revisions of answers, newest first; cheap to clone.
type Revisions = Option<Arc<[Box<str>]>>;

impl FindAnswer {
    /// The answer with the instances of services.
    pub fn join<'a>(parts: impl Iterator<Item = &'a Instances>) -> Self {
        let parts: Box<[Instances]> = parts.cloned().collect();
        let (mut count, mut highest, mut size) = (0, 0, 0);
        for entry in parts.iter().flat_map(Instances::iter) {
            count += 1;
            highest = highest.max(entry.record.mod_revision);
            size += entry.record.json.len() + 1;
        }
        Self {
            revision: find_revision(highest, count).into_boxed_str(),
            count,
            parts,
            // Each comma is counted, though the last instance has none behind it.
            size: if count == 0 { NOTHING.len() } else { HEAD.len() + size - 1 + TAIL.len() },
            body: OnceLock::new(),
            was_asked: AtomicBool::new(false),
            former: None,
            gzip: OnceLock::new(),
            first_served: OnceLock::new(),
        }
    }

    /// `{"instances":[…]}`, or `{}` where there are none.
    pub fn body(&self) -> Bytes {
        if let Some(body) = self.body.get() {
            return body.clone();
        }
        let body = self.joined();
        if body.len() < KEPT_WHEN_ASKED_AGAIN || self.was_asked.swap(true, Ordering::Relaxed) {
            // One joined at the same time is the same.
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
            return Bytes::from_static(NOTHING);
        }
        let mut body = Vec::with_capacity(self.size);
        body.extend_from_slice(HEAD);
        self.join_into(&mut body);
        body.extend_from_slice(TAIL);
        Bytes::from(body)
    }

    fn join_into(&self, out: &mut Vec<u8>) {
        for (index, entry) in self.parts.iter().flat_map(Instances::iter).enumerate() {
            if index > 0 {
                out.push(b',');
            }
            out.extend_from_slice(&entry.record.json);
        }
    }

    /// Whether this is the answer of a revision, or came after it here: then no other node need be ahead.
    pub fn covers(&self, revision: &str) -> bool {
        *self.revision == *revision || self.former.iter().flat_map(|all| all.iter()).any(|r| **r == *revision)
    }

    /// Whether the body is kept: then asking for it takes no memory.
    pub fn is_kept(&self) -> bool {
        self.body.get().is_some()
    }

    /// Bytes of the instances as they stand in the body, with commas between; 0 if there are none.
    pub fn instances_size(&self) -> usize {
        if self.count == 0 { 0 } else { self.size - HEAD.len() - TAIL.len() }
    }

    /// Writes the instances as they stand in the body, [`Self::instances_size`] bytes. The body is not made for it.
    pub fn write_instances(&self, out: &mut Vec<u8>) {
        let inside = HEAD.len()..self.size.saturating_sub(TAIL.len());
        match self.body.get().and_then(|body| body.get(inside)) {
            Some(instances) if self.count > 0 => out.extend_from_slice(instances),
            _ => self.join_into(out),
        }
    }

    /// The compressed body, if it was made.
    pub fn gzip(&self) -> Option<Bytes> {
        self.gzip.get().cloned()
    }

    /// Keeps a compressed body.
    pub fn keep_gzip(&self, gzip: Bytes) {
        // A second one compressed at the same time is the same.
        let _ = self.gzip.set(gzip);
    }

    /// Whether the answer has stood for a while: it pays to compress it, and the next reader has use of it.
    pub fn has_settled(&self, now: Duration) -> bool {
        now.saturating_sub(*self.first_served.get_or_init(|| now)) >= Duration::from_secs(1)
    }
}

/// Which versions of a provider are visible: their positions, ascending.
pub type Visible = Box<[u32]>;

/// Keeps the answers of one provider. A clone starts without any, and remembers their revisions: it is made only to be
/// changed.
#[derive(Debug, Default)]
pub struct AnswerCell {
    all: OnceLock<Arc<FindAnswer>>,
    subsets: Mutex<Vec<(Visible, Arc<FindAnswer>)>>,
    former: Revisions,
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

    /// The answer with some versions.
    pub fn subset(&self, visible: &[u32], make: impl FnOnce() -> FindAnswer) -> Arc<FindAnswer> {
        let mut kept = self.subsets.lock().unwrap_or_else(PoisonError::into_inner);
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

    /// What the answers were made of has changed.
    pub fn outdate(&mut self) {
        *self = self.clone();
    }

    fn keep(&self, answer: FindAnswer) -> Arc<FindAnswer> {
        Arc::new(FindAnswer { former: self.former.clone(), ..answer })
    }

    /// Of the answers made here and before.
    fn revisions(&self) -> Revisions {
        let subsets = self.subsets.lock().unwrap_or_else(PoisonError::into_inner);
        let made = self.all.get().into_iter().chain(subsets.iter().map(|(_, answer)| answer));
        let mut revisions: Vec<Box<str>> = made.map(|answer| answer.revision.clone()).collect();
        if revisions.is_empty() {
            // Changed again before anyone asked.
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
