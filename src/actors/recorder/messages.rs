//! The messages of the RecorderActor.

use actix::Message;

/// Records what was told until now, and writes it to the disk, before the daemon stops.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct FlushRecord;
