//! The memory of answers: how large one answer may be, and how much memory all answers may hold until clients have read them.
//!
//! If the size of an answer depends on the registry or on the request, the size is computed before the answer is built, and the
//! memory is reserved then. Answers that share a body, such as the kept body of a find, count it once, except small ones while much of
//! the memory is free. Each answer also counts the piece that the connection copies at a time. Pieces are large while most of the memory
//! is free. The memory is released when the last byte has been written to the socket, or when the connection ends.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use parking_lot::{Mutex, MutexGuard};
use serde::Serialize;

use super::server::refusal;
use super::spec::Load;
use crate::actors::registry::messages::TextSpace;
use crate::domain::json;
use crate::error::Error;

/// Smaller answers are not counted: the buffers of a connection are as large.
pub const UNCOUNTED: usize = 8 * 1024;

/// How many bytes of an answer the connection gets at a time, if little memory is free. The HTTP library copies them.
const PIECE: usize = 32 * 1024;

/// As [`PIECE`], while most of the memory is free.
const USUAL_PIECE: usize = 64 * 1024;

/// As [`USUAL_PIECE`], for a large answer. A find of 1,000 instances then takes one write instead of ten, and a third less CPU time.
const LARGE_PIECE: usize = 512 * 1024;

/// Only more bytes than this are sent in large pieces. The HTTP library keeps a buffer of up to this size with an idle connection,
/// and frees a larger one.
const LARGE_ANSWER: usize = 128 * 1024;

/// Pieces are usual or large if answers then hold at most one part in 4 of the memory. So clients that read nothing need three quarters of
/// the connections that they would need if every piece were small, and not a sixteenth, to use up the memory.
const USUAL_PART: usize = 4;

/// While answers hold at most one part in 8 of the memory, an answer that is sent in one usual piece counts its own body. To look whether
/// other answers send the same body takes a lock that workers wait for.
const UNSHARED_PART: usize = 8;

/// One part in 8 of the memory, on top of the limit, is reserved for requests that are never rejected: health and metrics.
const RESERVED_PART: usize = 8;

/// Large views leave one part in 4 of the memory to other answers.
const KEPT_FROM_VIEWS: usize = 4;

/// The table of shared bodies has this many parts, so that workers seldom wait for each other.
const SHARDS: usize = 16;

/// The size of the next piece of an answer. `left` bytes of it are left, and its largest piece has `most`.
pub(super) fn next_piece(left: usize, most: usize) -> usize {
    left.min(most).min(usual_piece(left))
}

fn usual_piece(size: usize) -> usize {
    if size > LARGE_ANSWER { LARGE_PIECE } else { USUAL_PIECE }
}

/// The memory of all answers of a process.
#[derive(Debug)]
pub struct AnswerMemory {
    largest: usize,
    most: usize,
    held: AtomicUsize,
    /// By the address of the body.
    shared: [Mutex<HashMap<usize, SharedBody>>; SHARDS],
}

/// A body that one or more answers send.
#[derive(Debug)]
struct SharedBody {
    bytes: usize,
    /// How many answers send it.
    answers: usize,
}

impl AnswerMemory {
    /// `largest`: the limit for the body of one answer, before compression, in bytes. `most`: the limit for all answers together.
    pub fn new(largest: usize, most: usize) -> Arc<Self> {
        Arc::new(Self { largest, most, held: AtomicUsize::new(0), shared: Default::default() })
    }

    /// How many bytes all answers hold now.
    pub fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }

    /// The limit for all answers together, in bytes.
    pub fn most(&self) -> usize {
        self.most
    }

    /// 400001 for an answer over the limit for one answer.
    pub fn check(&self, size: usize) -> Result<(), Error> {
        if size <= self.largest {
            return Ok(());
        }
        Err(Error::invalid(format!(
            "the answer would have {size} bytes, at most {} are allowed (server.response.maxBytes); ask for less at once",
            self.largest
        )))
    }

    /// Reserves memory for an answer of `size` bytes, before it is built. `None` if the answer is too small to be counted. 400001
    /// if it is over the limit for one answer; 429 or 503 if other answers hold too much memory.
    pub fn space(self: &Arc<Self>, load: Load, size: usize) -> Result<Option<AnswerSpace>, Error> {
        self.check(size)?;
        if size <= UNCOUNTED {
            return Ok(None);
        }
        let mut space = self.empty(load);
        space.grow_to(size)?;
        Ok(Some(space))
    }

    /// A reservation of 0 bytes, to be grown with [`AnswerSpace::grow_to`].
    pub fn empty(self: &Arc<Self>, load: Load) -> AnswerSpace {
        AnswerSpace { memory: Arc::clone(self), load, held: 0, piece: 0, body: None }
    }

    /// Reserves memory for an answer whose body exists already. While much of the memory is free ([`UNSHARED_PART`]), an answer of one
    /// piece counts the body and the copy of it. Otherwise the body is counted once, however many answers send it, and each answer
    /// counts the piece that the connection copies.
    pub(super) fn share(self: &Arc<Self>, load: Load, body: &Bytes) -> Result<AnswerSpace, Error> {
        // The body, and the piece that the connection copies.
        let unshared = 2 * body.len();
        if body.len() <= USUAL_PIECE && self.held() + unshared <= self.most / UNSHARED_PART {
            let mut space = self.empty(load);
            space.add(unshared)?;
            space.piece = body.len();
            return Ok(space);
        }
        let address = body.as_ptr().addr();
        let mut shared = self.shard(address);
        let answers = shared.get(&address).map_or(0, |shared| shared.answers);
        let body_bytes = if answers == 0 { body.len() } else { 0 };
        let piece = self.piece(body.len(), body_bytes);
        if !self.take(load, body_bytes + piece) {
            return Err(refusal(load));
        }
        shared.entry(address).or_insert(SharedBody { bytes: body.len(), answers: 0 }).answers += 1;
        drop(shared);
        Ok(AnswerSpace { memory: Arc::clone(self), load, held: piece, piece, body: Some(address) })
    }

    /// Encodes a value as JSON, after memory is reserved for it.
    pub fn encode(
        self: &Arc<Self>,
        load: Load,
        value: &impl Serialize,
    ) -> Result<(Vec<u8>, Option<AnswerSpace>), Error> {
        let size = json::encoded_size(value);
        let space = self.space(load, size)?;
        Ok((json::encode_sized(value, size), space))
    }

    /// The size of the largest piece of an answer of `size` bytes, of which `uncounted` bytes are not counted yet.
    fn piece(&self, size: usize, uncounted: usize) -> usize {
        let usual = size.min(usual_piece(size));
        let fits = self.held().saturating_add(uncounted + usual) <= self.most / USUAL_PART;
        if fits { usual } else { size.min(PIECE) }
    }

    fn take(&self, load: Load, bytes: usize) -> bool {
        let most = match load {
            Load::Always => self.most.saturating_add(self.most / RESERVED_PART),
            Load::Find | Load::Memory | Load::Store => self.most,
            Load::View => self.most - self.most / KEPT_FROM_VIEWS,
        };
        let before = self.held.fetch_add(bytes, Ordering::Relaxed);
        let fits = before.saturating_add(bytes) <= most;
        if !fits {
            self.give_back(bytes);
        }
        fits
    }

    fn give_back(&self, bytes: usize) {
        self.held.fetch_sub(bytes, Ordering::Relaxed);
    }

    fn unshare(&self, address: usize) {
        let mut shared = self.shard(address);
        let Some(body) = shared.get_mut(&address) else { return };
        body.answers -= 1;
        if body.answers == 0 {
            let bytes = body.bytes;
            shared.remove(&address);
            drop(shared);
            self.give_back(bytes);
        }
    }

    fn shard(&self, address: usize) -> MutexGuard<'_, HashMap<usize, SharedBody>> {
        // Allocations are aligned, so the lowest bits of addresses are often equal.
        self.shared[(address >> 6) % SHARDS].lock()
    }
}

/// The memory that is reserved for one answer. Dropping it releases the memory.
#[derive(Debug)]
pub struct AnswerSpace {
    memory: Arc<AnswerMemory>,
    load: Load,
    held: usize,
    piece: usize,
    /// The address of a body that other answers may share.
    body: Option<usize>,
}

impl AnswerSpace {
    /// Grows the reservation to `bytes`; never shrinks it. The errors are those of [`AnswerMemory::space`].
    pub fn grow_to(&mut self, bytes: usize) -> Result<(), Error> {
        self.memory.check(bytes)?;
        self.add(bytes.saturating_sub(self.held))
    }

    /// Reserves memory for the piece of the answer that the connection copies. `size` is the size of the whole answer.
    pub(super) fn add_piece(&mut self, size: usize) -> Result<(), Error> {
        let piece = self.memory.piece(size, 0);
        self.add(piece)?;
        self.piece = piece;
        Ok(())
    }

    /// The size of the largest piece of the answer.
    pub(super) fn piece(&self) -> usize {
        self.piece
    }

    fn add(&mut self, bytes: usize) -> Result<(), Error> {
        if bytes > 0 && !self.memory.take(self.load, bytes) {
            return Err(refusal(self.load));
        }
        self.held += bytes;
        Ok(())
    }
}

impl TextSpace for AnswerSpace {
    fn grow_to(&mut self, bytes: usize) -> Result<(), Error> {
        Self::grow_to(self, bytes)
    }
}

impl Drop for AnswerSpace {
    fn drop(&mut self) {
        if self.held > 0 {
            self.memory.give_back(self.held);
        }
        if let Some(address) = self.body {
            self.memory.unshare(address);
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::error::Code;

    fn check<T: std::fmt::Debug>(result: Result<T, Error>, expected: Code) {
        assert_eq!(result.unwrap_err().code, expected);
    }

    #[test]
    fn an_answer_of_the_limit_passes_and_a_larger_one_is_refused_by_size_and_limit() {
        let memory = AnswerMemory::new(8, 0);
        assert_eq!(memory.encode(Load::Store, &"<").unwrap().0.len(), 8);
        let refused = memory.encode(Load::Store, &"<a").map(drop).unwrap_err();
        let detail = "the answer would have 9 bytes, at most 8 are allowed (server.response.maxBytes); ask for less at once";
        assert_eq!((refused.code, &*refused.detail), (Code::InvalidParameters, detail));
    }

    #[test]
    fn answers_have_their_memory_while_they_last() {
        let memory = AnswerMemory::new(usize::MAX, 100_000);
        assert!(memory.space(Load::Find, UNCOUNTED).unwrap().is_none());
        let one = memory.space(Load::Find, 60_000).unwrap();
        check(memory.space(Load::Find, 40_001), Code::TooManyRequests);
        check(memory.space(Load::Store, 40_001), Code::Overloaded);
        assert_eq!(memory.held(), 60_000, "a rejected answer holds nothing");
        let mut two = memory.space(Load::Memory, 40_000).unwrap().unwrap();
        check(two.add_piece(40_000), Code::Overloaded);
        drop(one);
        two.add_piece(40_000).unwrap();
        assert_eq!(memory.held(), 40_000 + PIECE);
        drop(two);
        assert_eq!(memory.held(), 0);
    }

    #[test]
    fn a_space_grows_to_what_is_asked_and_no_further() {
        let memory = AnswerMemory::new(90_000, 80_000);
        let mut space = memory.empty(Load::Store);
        for (bytes, expected) in [(10_000, 10_000), (70_000, 70_000), (70_000, 70_000), (5, 70_000)] {
            space.grow_to(bytes).unwrap();
            assert_eq!(memory.held(), expected);
        }
        check(space.grow_to(80_001), Code::Overloaded);
        check(space.grow_to(90_001), Code::InvalidParameters);
        assert_eq!(memory.held(), 70_000);
    }

    #[test]
    fn health_and_metrics_are_answered_from_the_last_eighth() {
        let memory = AnswerMemory::new(usize::MAX, 80_000);
        let _others = memory.space(Load::Find, 80_000).unwrap();
        check(memory.space(Load::Memory, 10_000), Code::Overloaded);
        let kept = memory.space(Load::Always, 10_000).unwrap();
        check(memory.space(Load::Always, 10_000), Code::Overloaded);
        drop(kept);
        assert!(memory.space(Load::Always, 10_000).is_ok());
    }

    #[test]
    fn views_leave_a_quarter_to_others() {
        let memory = AnswerMemory::new(usize::MAX, 80_000);
        let view = memory.space(Load::View, 60_000).unwrap();
        check(memory.space(Load::View, 10_000), Code::Overloaded);
        let find = memory.space(Load::Find, 20_000).unwrap();
        drop(view);
        check(memory.space(Load::View, 50_000), Code::Overloaded);
        drop(find);
        assert!(memory.space(Load::View, 50_000).is_ok());
    }

    #[test]
    fn pieces_are_larger_while_most_of_the_memory_is_free() {
        let memory = AnswerMemory::new(usize::MAX, 64 << 20);
        let piece = |bytes: usize| memory.share(Load::Find, &Bytes::from(vec![b'x'; bytes])).unwrap().piece();
        for (bytes, expected) in [
            (10_000, 10_000),
            (LARGE_ANSWER, USUAL_PIECE),
            (LARGE_ANSWER + 1, LARGE_ANSWER + 1),
            (300_000, 300_000),
            (5_000_000, LARGE_PIECE),
        ] {
            assert_eq!(piece(bytes), expected, "{bytes} bytes");
        }
        let body = Bytes::from(vec![b'x'; 5_000_000]);
        let answers: Vec<AnswerSpace> = (0..30).map(|_| memory.share(Load::Find, &body).unwrap()).collect();
        let pieces: Vec<usize> = answers.iter().map(AnswerSpace::piece).collect();
        assert_eq!(pieces, [vec![LARGE_PIECE; 22], vec![PIECE; 8]].concat(), "a quarter is 16 MiB");
        assert_eq!(memory.held(), 5_000_000 + pieces.iter().sum::<usize>());
        assert_eq!((piece(300_000), piece(50_000)), (PIECE, PIECE));
        drop(answers);
        assert_eq!(piece(300_000), 300_000);
    }

    #[test]
    fn what_is_left_of_a_large_answer_goes_in_smaller_pieces() {
        for (left, most, expected) in [
            (0, PIECE, 0),
            (10_000, LARGE_PIECE, 10_000),
            (LARGE_ANSWER, LARGE_PIECE, USUAL_PIECE),
            (LARGE_ANSWER, PIECE, PIECE),
            (LARGE_ANSWER + 1, LARGE_PIECE, LARGE_ANSWER + 1),
            (LARGE_ANSWER + 1, PIECE, PIECE),
            (200_000, LARGE_PIECE, 200_000),
            (5_000_000, LARGE_PIECE, LARGE_PIECE),
        ] {
            assert_eq!(next_piece(left, most), expected, "{left} of {most}");
        }
    }

    #[test]
    fn one_body_of_many_answers_is_held_once() {
        let memory = AnswerMemory::new(usize::MAX, 1_000_000);
        let body = Bytes::from(vec![b'x'; 500_000]);
        let answers: Vec<AnswerSpace> =
            (0..10).map(|_| memory.share(Load::Find, &body.clone()).unwrap()).collect();
        assert_eq!(memory.held(), 500_000 + 10 * PIECE);
        let other = Bytes::from(vec![b'x'; 500_000]);
        check(memory.share(Load::Find, &other), Code::TooManyRequests);
        let mut answers = answers.into_iter();
        answers.by_ref().take(9).for_each(drop);
        assert_eq!(memory.held(), 500_000 + PIECE);
        drop(answers);
        assert_eq!(memory.held(), 0);
        assert!(memory.shared.iter().all(|shard| shard.lock().is_empty()));
    }
}
