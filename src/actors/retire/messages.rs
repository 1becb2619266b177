//! The messages of the RetireActor.

use std::sync::Arc;

use actix::Message;

use crate::cache::ServiceView;
use crate::domain::Tenant;
use crate::error::Error;

/// A job of the RetireActor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetireJob {
    /// Deletes old service versions without instances.
    Services,
    /// Marks empty services, and deletes those that have been empty for long enough.
    EmptyServices,
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

/// Looks now whether services that are marked as empty are used, whatever the schedule says. Removes the marks of those. Does
/// nothing if empty services are not retired.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "Result<(), Error>")]
pub struct LookForUse;

/// Lists the services that the next runs delete, if nothing happens to them. Deletes nothing.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "Result<PlannedRetirements, Error>")]
pub struct ListRetirements;

/// What the next runs delete.
#[derive(Clone, Debug)]
pub struct PlannedRetirements {
    /// When the job runs next, in seconds since 1970. `None` if it is off.
    pub next_run: Option<i64>,
    pub retirements: Vec<PlannedRetirement>,
}

/// A service that a run deletes.
#[derive(Clone, Debug)]
pub struct PlannedRetirement {
    pub tenant: Tenant,
    pub service: Arc<ServiceView>,
    pub reason: RetirementReason,
    /// The first run after this time deletes the service, in seconds since 1970.
    pub due: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetirementReason {
    /// It is not among the newest versions of its name, and has no instances.
    OldVersion,
    /// It is empty. `since` is the time from which this counts, in seconds since 1970; `None` until a run marks the service.
    Empty { since: Option<i64> },
}
