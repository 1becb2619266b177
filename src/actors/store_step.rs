//! The steps of traced requests in the store.

use crate::store::Store;
use crate::trace::{self, RequestContext, Step, StepKind};

/// Begins a step of a request, or none if the request is not traced. `length` is the number of transactions that the store does
/// together. Names and attributes follow the conventions of OpenTelemetry for databases.
pub(super) fn store_step(
    store: &dyn Store,
    request: Option<&RequestContext>,
    name: &'static str,
    length: usize,
) -> Step {
    let mut step = trace::step_of(request, name, StepKind::Client);
    step.note("db.system.name", store.name());
    step.note("db.operation.name", name);
    // The convention leaves this out of a batch of one.
    if length > 1 {
        step.note("db.operation.batch.size", i64::try_from(length).unwrap_or(i64::MAX));
    }
    step
}
