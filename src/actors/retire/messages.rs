//! What the RetireActor takes.

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

/// What a run did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retired {
    /// So many are deleted.
    Deleted(usize),
    /// Nothing: another node, or another run on this one, holds the job's lock.
    HeldElsewhere,
}

/// Runs a job now, whatever its schedule says. What was deleted before a failure stays deleted.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "Result<Retired, Error>")]
pub struct RetireNow {
    /// Which.
    pub job: RetireJob,
}
