//! The messages of the CompactionActor.

use actix::Message;

use crate::error::Error;
use crate::store::Revision;

/// Publishes how far the watch of this node is, and compacts the store if that is due. The actor does the same by itself at its
/// pace. The answer is the revision up to which the store was compacted; `None` if nothing was due.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "Result<Option<Revision>, Error>")]
pub struct CompactNow;
