//! Access control: who sends a request, and whether they may. It is checked in one place, before the handler runs.
//!
//! A check has two steps. [`Access::enter`] needs only the head: it takes the token to an account, so a request without a valid
//! token is rejected before its body is read. [`Access::admit`] also looks at the path, the query and the body: they say which
//! services the request is about.
//!
//! Everything is decided from the snapshot. If the snapshot may lack an account or a service that another node has just
//! written, the denial says so, and the dispatcher tries once more with a current snapshot.

mod targets;
mod tokens;

use std::cell::RefCell;
use std::sync::Arc;

use actix_http::RequestHead;
use actix_http::header::AUTHORIZATION;

use self::tokens::KnownTokens;
use super::call::Call;
use super::spec::{Permission, Surface};
use crate::actors::freshness::Freshness;
use crate::cache::SnapshotReader;
use crate::clock::Clock;
use crate::config::AccessScope;
use crate::domain::account::ADMIN;
use crate::error::{Code, Error};
use crate::rbac::signed_in::SignedIn;
use crate::rbac::{Grant, Verifier, bearer};

/// What all workers share.
pub struct AccessRules {
    pub reader: SnapshotReader,
    pub freshness: Freshness,
    pub verifier: Verifier,
    /// Which resource types are protected.
    pub scope: AccessScope,
    pub clock: Clock,
}

/// Access control of one worker.
pub struct Access {
    rules: Arc<AccessRules>,
    known: RefCell<KnownTokens>,
}

/// What the head of a request says about its sender.
#[derive(Clone, Debug)]
pub enum Entry {
    /// The route needs no account.
    Open,
    SignedIn(Arc<SignedIn>),
}

/// Why a request is rejected.
#[derive(Clone, Debug)]
pub struct Denied {
    pub error: Error,
    /// Whether a fresher snapshot may allow the request.
    pub may_be_stale: bool,
}

impl Denied {
    fn stale(error: Error) -> Self {
        Self { error, may_be_stale: true }
    }
}

impl From<Error> for Denied {
    fn from(error: Error) -> Self {
        Self { error, may_be_stale: false }
    }
}

impl Access {
    pub fn new(rules: Arc<AccessRules>) -> Self {
        Self { rules, known: RefCell::default() }
    }

    /// Returns when the snapshot holds all that was written before the call, after 1 s at most.
    pub async fn catch_up(&self) {
        self.rules.freshness.catch_up().await;
    }

    /// Finds the account that sends a request. Where the scope leaves a route open, a request without a token passes, and a token
    /// that is sent is checked all the same.
    pub fn enter(&self, permission: Permission, head: &RequestHead) -> Result<Entry, Denied> {
        if permission == Permission::Open {
            return Ok(Entry::Open);
        }
        let header = head.headers.get(AUTHORIZATION).map(|value| value.as_bytes()).unwrap_or_default();
        if header.is_empty() {
            return match self.is_protected(permission) {
                true => Err(Error::new(Code::NoAuthHeader, "").into()),
                false => Ok(Entry::Open),
            };
        }
        let token = bearer(header)?;
        let snapshot = self.rules.reader.load();
        let mut known = self.known.borrow_mut();
        let now = self.rules.clock.unix_seconds();
        let caller = known.caller(token, now, &snapshot.access, &self.rules.verifier)?;
        Ok(if self.is_protected(permission) { Entry::SignedIn(caller) } else { Entry::Open })
    }

    /// Whether the caller may send the request, and what of a list the answer may show.
    pub fn admit(&self, permission: Permission, entry: &Entry, call: &Call) -> Result<Grant, Denied> {
        let Entry::SignedIn(caller) = entry else { return Ok(Grant::All) };
        if caller.is_admin {
            return Ok(Grant::All);
        }
        match permission {
            Permission::Open | Permission::Account => Ok(Grant::All),
            Permission::Admin => {
                let detail = format!("the role '{ADMIN}' is needed");
                Err(Error::new(Code::NoPermission, detail).into())
            }
            Permission::Needs(verb, resource, target) => {
                let snapshot = self.rules.reader.load();
                targets::decide(&snapshot, call, target, |labels| {
                    caller.decide(verb, resource, labels)
                })
            }
        }
    }

    fn is_protected(&self, permission: Permission) -> bool {
        match permission {
            Permission::Open => false,
            Permission::Account => true,
            Permission::Admin => self.rules.scope.is_all(),
            Permission::Needs(_, resource, _) => self.rules.scope.contains(resource),
        }
    }
}

/// The permission that a request needs. As on the original server, paths of the older API that are not about instances belong to no
/// resource type, so only the role `admin` may use them.
pub fn permission_of(permission: Permission, surface: Surface, pattern: &str) -> Permission {
    match permission {
        Permission::Needs(..) if surface == Surface::V3 && !pattern.contains("instances") => Permission::Admin,
        permission => permission,
    }
}
