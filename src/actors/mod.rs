//! The actors: each owns one kind of state, takes messages, and sends them on in one direction.
//!
//! Invariant: the send graph has no cycle (`Lease → Registry`, `Peer → Registry`, `Retire → Registry`, `Watch → Hub`); one actor
//! imports another's `messages` and nothing else; what they share without a hop are the handles beside them (`beats`,
//! `freshness`, `goodbyes`); `do_send` is banned in favour of [`mailbox::ask`] and
//! [`mailbox::tell`]. `actors.md` says of each what it owns, accepts and sends, and what happens when something fails.

pub mod beats;
pub mod contact;
pub mod freshness;
pub mod goodbyes;
pub mod hub;
pub mod lease;
pub mod lifeline;
pub mod mailbox;
pub mod peer;
pub mod registry;
pub mod retire;
#[cfg(test)]
mod tests;
pub mod watch;
