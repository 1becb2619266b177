//! The actors. Each actor owns one kind of state. `actors.md` says what each actor owns, accepts and sends, what happens when
//! something fails, and how to add an actor.
//!
//! - The send graph has no cycle: `Lease → Registry`, `Peer → Registry`, `Retire → Registry`, `Watch → Hub`,
//!   `Consumer → Hub`, `Scrub → Watch`, `Nodes → Watch`, `Nodes → Scrub`, `Nodes → Hub`.
//! - An actor imports from another actor only its `messages` and the type of its address.
//! - Actors share seven handles without sending messages: `beats`, `freshness`, `goodbyes`, `interests`, `pollers`, `contact`,
//!   and the [`Recorder`](crate::recorder::Recorder).
//! - Actors that write share code, and no state: `causes`, `deadline`, `leased_key`, `outcome`, `single`, `store_step`, `turns`.
//!   Actors that watch share `recovery`. `cluster` reads the registered nodes from a snapshot.
//! - `dump` is no actor: it shows a snapshot as entries of the store, for handlers, which do not import `store`.
//! - Messages are sent by [`mailbox::ask`], [`mailbox::ask_if_free`] and [`mailbox::tell`]. `do_send` is banned, because it
//!   ignores that a mailbox is full.

pub mod account;
pub mod beats;
mod causes;
pub mod cluster;
pub mod compaction;
pub mod consumer;
pub mod contact;
mod deadline;
pub mod dump;
pub mod freshness;
pub mod goodbyes;
pub mod hub;
pub mod interests;
pub mod lease;
mod leased_key;
pub mod lifeline;
pub mod mailbox;
pub mod nodes;
mod outcome;
pub mod peer;
pub mod pollers;
pub mod recorder;
mod recovery;
pub mod registry;
pub mod retire;
pub mod scrub;
mod single;
mod store_step;
#[cfg(test)]
mod tests;
mod turns;
pub mod watch;
