//! The record of what happened to instances, services and nodes, why, and who was told.
//!
//! Actors that know something tell it through a [`Recorder`], which never waits. The RecorderActor calls [`Recording::take`] on a thread
//! of its own: it joins what the watch saw with the writes of this node that caused it, and appends events to the ring. Readers use a
//! [`RecordReader`]: it copies the ring in constant time, so that no question delays the next event.
//!
//! Invariant: pure code over domain types. It does no I/O and reads no clock. All that it keeps is bounded.

mod block;
pub mod codec;
pub mod delivery;
pub mod event;
mod id_hash;
mod join;
pub mod note;
pub mod query;
mod queue;
mod reader;
mod recording;
mod ring;
mod services;
mod shown;
#[cfg(test)]
mod tests;

pub use self::event::{Cause, Event, EventKind, InstanceFacts, Requester, ServiceFacts};
pub use self::note::{
    Change, Happening, InstanceTurn, Note, Purpose, SeenInstance, SeenService, Step, Write,
};
pub use self::query::{CompleteSince, InstancesAt, KindSet, KnownSince, Order, Page, Query};
pub use self::queue::Recorder;
pub use self::reader::RecordReader;
pub use self::recording::{Recorded, Recording};
pub use self::ring::RingLimits;
pub use self::shown::Shown;

/// An empty record: the handle of those who tell, the handle of those who ask, and the one that joins both.
pub fn record(limits: RingLimits) -> (Recorder, RecordReader, Recording) {
    let recorder = Recorder::default();
    let (ring, progress) = (ring::SharedRing::new(limits), reader::ProgressSender::default());
    let reader = RecordReader::new(ring.clone(), recorder.clone(), &progress);
    let recording = Recording::new(recorder.clone(), ring, progress);
    (recorder, reader, recording)
}
