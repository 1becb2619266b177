//! What the WatchActor takes.

use actix::Message;

use crate::domain::event::InstanceRef;

/// Lists the expired instances that are not let go yet.
#[derive(Debug, Message)]
#[rtype(result = "Vec<HeldInstance>")]
pub struct ListHeld;

/// An expired instance that is still shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldInstance {
    /// Which.
    pub at: InstanceRef,
    /// Why: `window`, `preservation` or `share`.
    pub rule: &'static str,
    /// For how long, seconds.
    pub held_seconds: u64,
    /// When it is let go at the latest, seconds from now.
    pub released_in_seconds: u64,
}
