//! The read model: one immutable snapshot of the registry. Each publish replaces the whole snapshot.
//!
//! Invariant: only [`builder::SnapshotBuilder`] makes snapshots, and only from events of the store. So two nodes that saw the
//! same revision hold the same data. Readers load the current snapshot and never wait for a writer. This layer imports
//! `domain` and `error`, and no store, actor or HTTP code.

pub mod access;
pub mod answer;
pub mod builder;
pub mod cell;
pub mod dependency;
pub mod digest;
pub mod explain;
pub mod find;
mod instances;
pub mod lease_mark;
pub mod listing;
pub mod search;
pub mod snapshot;
pub mod statuses;
#[cfg(test)]
pub(crate) mod tests;

pub use answer::FindAnswer;
pub use builder::{Action, InstanceChange, SnapshotBuilder};
pub use cell::{SnapshotPublisher, SnapshotReader};
pub use instances::InstanceEntry;
pub use lease_mark::LeaseMark;
pub use snapshot::{ServiceView, Snapshot};
