//! The read model: one immutable snapshot of the registry, replaced as a whole for each publish.
//!
//! Invariant: only [`builder::SnapshotBuilder`] makes snapshots and only from events of the store, so two nodes that saw
//! the same revision hold the same. Readers load the current one and never wait for a writer. Pure memory: knows
//! `domain` and nothing of stores, actors or HTTP.

pub mod answer;
pub mod builder;
pub mod cell;
pub mod dependency;
pub mod find;
mod instances;
pub mod lease_mark;
pub mod snapshot;
#[cfg(test)]
pub(crate) mod tests;

pub use answer::FindAnswer;
pub use builder::{Action, InstanceChange, SnapshotBuilder};
pub use cell::{SnapshotPublisher, SnapshotReader};
pub use instances::InstanceEntry;
pub use lease_mark::LeaseMark;
pub use snapshot::{ServiceView, Snapshot};
