//! One look into the snapshot, which is fresh enough for the request. A handler that reads takes all it needs in one look, so that
//! an answer never mixes two revisions.

use std::borrow::Cow;
use std::sync::Arc;

use crate::cache::{ServiceView, Snapshot};
use crate::domain::Tenant;
use crate::error::{Code, Error};
use crate::http::api::Api;
use crate::http::call::Call;

/// How fresh an answer must be, and what the client knows already.
pub enum Wanted<'a> {
    /// As it is; the client knows nothing.
    AsItIs,
    /// At least what the store holds now; the client's revision does not count.
    Fresh,
    /// The client knows this revision.
    Newer(Cow<'a, str>),
}

impl<'a> Wanted<'a> {
    /// What flags and `rev` of a request ask for.
    pub fn of(call: &'a Call) -> Self {
        if call.wants_current() { Self::Fresh } else { Self::newer(call.rev()) }
    }

    /// What the flags alone ask for, on routes without `rev`.
    pub fn by_flags(call: &Call) -> Self {
        if call.wants_current() { Self::Fresh } else { Self::AsItIs }
    }

    /// Newer than a revision; an empty one is none.
    pub fn newer(known: Cow<'a, str>) -> Self {
        if known.is_empty() { Self::AsItIs } else { Self::Newer(known) }
    }

    /// Whether the client has this revision.
    pub fn is_known(&self, revision: &str) -> bool {
        matches!(self, Self::Newer(known) if known == revision)
    }
}

/// Answers a request from one snapshot: the current one, or a later one where the current one may be too old. Another node may
/// be ahead: it may have given the client a revision that this node does not know, or hold what is missing here. Then this node
/// catches up with the store and looks again. `covers`: whether what was found has the client's revision, or surely a later one.
pub async fn look<T>(
    api: &Api,
    wanted: &Wanted<'_>,
    find: impl Fn(&Snapshot) -> Result<T, Error>,
    covers: impl Fn(&T, &str) -> bool,
) -> Result<T, Error> {
    if !matches!(wanted, Wanted::Fresh) {
        let found = find(&api.reader.load());
        if is_good(wanted, &found, covers) {
            return found;
        }
    }
    api.freshness.catch_up().await;
    find(&api.reader.load())
}

/// Whether no other node can know better than what was found.
pub fn is_good<T>(wanted: &Wanted<'_>, found: &Result<T, Error>, covers: impl Fn(&T, &str) -> bool) -> bool {
    match (found, wanted) {
        (Ok(found), Wanted::Newer(known)) => covers(found, known),
        (Ok(_), _) => true,
        (Err(error), _) => !is_missing(error),
    }
}

/// Whether another node may know what is missing here.
fn is_missing(error: &Error) -> bool {
    matches!(error.code, Code::ServiceNotExists | Code::ServiceVersionNotExists | Code::InstanceNotExists)
}

/// As [`look`], on routes without `rev`.
pub async fn look_by_flags<T>(
    api: &Api,
    call: &Call,
    find: impl Fn(&Snapshot) -> Result<T, Error>,
) -> Result<T, Error> {
    look(api, &Wanted::by_flags(call), find, |_, _| true).await
}

/// A service that must exist; `missing` is the detail of the refusal.
pub fn existing<'s>(
    snapshot: &'s Snapshot,
    tenant: &Tenant,
    id: &str,
    missing: &'static str,
) -> Result<&'s Arc<ServiceView>, Error> {
    snapshot.service(tenant, id).ok_or_else(|| Error::new(Code::ServiceNotExists, missing))
}
