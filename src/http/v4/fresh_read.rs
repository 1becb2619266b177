//! Reads of a snapshot that is fresh enough for the request. A handler reads all that it needs from one snapshot, so that an answer
//! never mixes two revisions.

use std::borrow::Cow;
use std::sync::Arc;

use crate::cache::{ServiceView, Snapshot};
use crate::domain::Tenant;
use crate::error::{Code, Error};
use crate::http::api::Api;
use crate::http::call::{Call, is_set};

/// How fresh the snapshot for an answer must be.
pub enum WantedFreshness<'a> {
    /// Any snapshot will do.
    Any,
    /// The snapshot must hold all writes that were committed before the request.
    Current,
    /// The client has this revision. The snapshot must not be older.
    SinceRevision(Cow<'a, str>),
}

impl<'a> WantedFreshness<'a> {
    /// From the query parameters `noCache`, `cacheOnly` and `rev`.
    pub fn of(call: &'a Call) -> Self {
        Self::from_values(call.queries(["noCache", "cacheOnly", "rev"]))
    }

    /// From the values of `noCache`, `cacheOnly` and `rev`.
    pub fn from_values([no_cache, cache_only, revision]: [Option<Cow<'a, str>>; 3]) -> Self {
        if is_set(no_cache.as_deref()) {
            Self::Current
        } else if is_set(cache_only.as_deref()) {
            Self::Any
        } else {
            Self::unless_known(revision.unwrap_or_default())
        }
    }

    /// From the query parameter `noCache`, on routes without `rev`.
    pub fn by_flags(call: &Call) -> Self {
        if call.wants_current() { Self::Current } else { Self::Any }
    }

    /// From the revision that the client has. It is empty if the client has none.
    pub fn unless_known(known: Cow<'a, str>) -> Self {
        if known.is_empty() { Self::Any } else { Self::SinceRevision(known) }
    }

    /// Whether `revision` is the one that the client has.
    pub fn is_known(&self, revision: &str) -> bool {
        matches!(self, Self::SinceRevision(known) if known == revision)
    }
}

/// Reads from the current snapshot. If it may be too old, this node first catches up with the store, and reads from the snapshot
/// that holds the store's current revision. The snapshot may be too old if the client has a revision that this node does not
/// know, and if something is missing: another node may be ahead. `covers` tells whether the result has the client's revision or a
/// later one.
pub async fn read<T>(
    api: &Api,
    wanted: &WantedFreshness<'_>,
    find: impl Fn(&Snapshot) -> Result<T, Error>,
    covers: impl Fn(&T, &str) -> bool,
) -> Result<T, Error> {
    if !matches!(wanted, WantedFreshness::Current) {
        let found = find(&api.reader.load());
        if is_current(wanted, &found, covers) {
            return found;
        }
    }
    api.freshness.catch_up().await;
    find(&api.reader.load())
}

/// Whether a fresher snapshot cannot give a better result. (A client with a known revision, or none, does not need one.)
pub fn is_current<T>(
    wanted: &WantedFreshness<'_>,
    found: &Result<T, Error>,
    covers: impl Fn(&T, &str) -> bool,
) -> bool {
    match (found, wanted) {
        (Ok(found), WantedFreshness::SinceRevision(known)) => covers(found, known),
        (Ok(_), _) => true,
        (Err(error), _) => !is_missing(error),
    }
}

/// Whether another node may have what is missing in this snapshot.
fn is_missing(error: &Error) -> bool {
    matches!(error.code, Code::ServiceNotExists | Code::ServiceVersionNotExists | Code::InstanceNotExists)
}

/// [`read`], on routes without `rev`.
pub async fn read_by_flags<T>(
    api: &Api,
    call: &Call,
    find: impl Fn(&Snapshot) -> Result<T, Error>,
) -> Result<T, Error> {
    read(api, &WantedFreshness::by_flags(call), find, |_, _| true).await
}

/// The service, or 400012 with the detail `missing`.
pub fn require_service<'s>(
    snapshot: &'s Snapshot,
    tenant: &Tenant,
    id: &str,
    missing: &'static str,
) -> Result<&'s Arc<ServiceView>, Error> {
    snapshot.service(tenant, id).ok_or_else(|| Error::new(Code::ServiceNotExists, missing))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(values: [Option<&str>; 3], expected: &str) {
        let wanted = match WantedFreshness::from_values(values.map(|value| value.map(Cow::Borrowed))) {
            WantedFreshness::Any => "any".to_owned(),
            WantedFreshness::Current => "current".to_owned(),
            WantedFreshness::SinceRevision(known) => format!("since {known}"),
        };
        assert_eq!(wanted, expected, "{values:?}");
    }

    #[test]
    fn flags_make_a_known_revision_void() {
        check([None, None, None], "any");
        check([None, None, Some("")], "any");
        check([None, None, Some("r1")], "since r1");
        check([Some("TRUE"), None, Some("r1")], "current");
        check([Some("0"), Some("1"), Some("r1")], "any");
        check([Some("1"), Some("1"), None], "current");
    }
}
