//! The messages of the WatchActor.

use actix::Message;

use crate::domain::event::InstanceRef;

/// Lists the expired instances that are still shown.
#[derive(Debug, Message)]
#[rtype(result = "Vec<HeldInstance>")]
pub struct ListHeld;

/// An expired instance that is still shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldInstance {
    pub at: InstanceRef,
    /// The rule that holds it: `window`, `preservation` or `share`.
    pub rule: &'static str,
    pub held_seconds: u64,
    /// Seconds from now until it is removed at the latest.
    pub released_in_seconds: u64,
}
