//! The messages of the RetireActor.

use actix::Message;

use crate::error::Error;

/// A job of the RetireActor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetireJob {
    /// Deletes old service versions without instances.
    Services,
    /// Deletes schema contents that no service refers to.
    SchemaContents,
}

/// The result of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retired {
    /// How many items were deleted.
    Deleted(usize),
    /// Nothing was deleted, because another node or another run on this node holds the lock of the job.
    HeldElsewhere,
}

/// Runs a job now, whatever its schedule says. If the run fails, the items deleted before stay deleted.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "Result<Retired, Error>")]
pub struct RetireNow {
    pub job: RetireJob,
}
