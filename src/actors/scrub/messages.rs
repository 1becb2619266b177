//! The messages of the ScrubActor.

use actix::Message;

use crate::domain::event::Revision;
use crate::error::Error;
use crate::store::Key;

/// Compares the snapshot with the store now and as fast as possible, because another node shows something else.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub struct CompareNow;

/// Compares the snapshot with the store, and answers a part of the differences. What differs is repaired.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "Result<ComparedPage, Error>")]
pub struct Compare {
    /// Where the part begins. `None`, or a place in another comparison than the last one: at the beginning of a new comparison.
    pub after: Option<PlaceInReport>,
    /// Most differences of the answer.
    pub limit: usize,
}

/// A place among the differences that a comparison has found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlaceInReport {
    /// The number of the comparison.
    pub comparison: u64,
    /// How many differences come before.
    pub index: usize,
}

/// Some of the differences that a comparison has found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ComparedPage {
    /// The revision at which the snapshot was compared.
    pub revision: Revision,
    /// How many entries of the store were compared.
    pub compared: usize,
    /// How many differences there are in all. [`MOST_REPORTED`](super::MOST_REPORTED) of them are kept.
    pub total: usize,
    /// How many of them were repaired at once.
    pub repaired: usize,
    /// In the order of their keys.
    pub differences: Vec<Difference>,
    /// Where the next part begins.
    pub next: Option<PlaceInReport>,
}

/// A key of the store whose entry the snapshot does not show as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    pub key: Key,
    pub kind: DifferenceKind,
    /// The revision of the last write that the snapshot shows. `None` if it shows no entry, or none with a revision.
    pub here: Option<Revision>,
    /// The revision of the last write in the store. `None` if the store has no entry.
    pub there: Option<Revision>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DifferenceKind {
    /// The snapshot shows an entry that the store does not have.
    OnlyHere,
    Different,
    /// The store has an entry that the snapshot does not show.
    OnlyThere,
}
