//! Access control: who sends a request, and whether they may. It is checked in one place, before the handler runs.
//!
//! A check has two steps. [`Access::enter`] needs only the head: it takes the token to an account, so a request without a valid
//! token is rejected before its body is read. [`Access::admit`] also looks at the path, the query and the body: they say which
//! services the request is about.
//!
//! Everything is decided from the snapshot. If the snapshot may lack an account or a service that another node has just
//! written, the dispatcher tries once more with a current snapshot.

mod targets;
mod tokens;

use std::cell::RefCell;
use std::sync::Arc;

use actix_http::RequestHead;
use actix_http::header::{AUTHORIZATION, HeaderValue};

use self::tokens::KnownTokens;
use super::call::Call;
use super::rate_limit::ConfiguredRate;
use super::reply::Reply;
use super::spec::{Permission, Rate, Surface};
use crate::actors::freshness::Freshness;
use crate::cache::SnapshotReader;
use crate::clock::Clock;
use crate::config::RbacScope;
use crate::domain::account::ADMIN;
use crate::error::{Code, Error};
use crate::rbac::signed_in::SignedIn;
use crate::rbac::{Grant, Verifier, bearer};

/// What all workers share.
#[derive(Clone)]
pub struct AccessParts {
    pub reader: SnapshotReader,
    pub freshness: Freshness,
    pub verifier: Verifier,
    /// Which resource types need a token.
    pub scope: RbacScope,
    pub clock: Clock,
    /// The limit of requests per account, if any.
    pub rate: Option<Arc<ConfiguredRate>>,
}

/// Access control of one worker.
pub struct Access {
    parts: AccessParts,
    known: RefCell<KnownTokens>,
}

/// What the head of a request says about its sender.
#[derive(Clone, Debug)]
pub enum RequestSender {
    /// The route needs no account.
    Open,
    SignedIn(Arc<SignedIn>),
    /// The snapshot must first catch up with the store.
    Unknown(Error),
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
    pub fn new(parts: AccessParts) -> Self {
        Self { parts, known: RefCell::default() }
    }

    /// Returns when the snapshot holds all that was written before the call, after 1 s at most.
    pub async fn catch_up(&self) {
        self.parts.freshness.catch_up().await;
    }

    /// Finds the account that sends a request. Where the scope leaves a route open, a request without a token passes, and a token
    /// that is sent is checked all the same.
    pub fn enter(&self, permission: Permission, head: &RequestHead) -> Result<RequestSender, Error> {
        if permission == Permission::Open {
            return Ok(RequestSender::Open);
        }
        let header = authorization(head)?;
        let is_protected = self.is_protected(permission);
        if header.is_none() && !is_protected {
            return Ok(RequestSender::Open);
        }
        let token = bearer(header.map(ascii))?;
        let snapshot = self.parts.reader.load();
        let now = self.parts.clock.unix_time();
        let caller = self.known.borrow_mut().caller(token, now, &snapshot.access, &self.parts.verifier);
        match caller {
            Ok(_) if !is_protected => Ok(RequestSender::Open),
            Ok(caller) => Ok(RequestSender::SignedIn(caller)),
            Err(denied) if denied.may_be_stale => Ok(RequestSender::Unknown(denied.error)),
            Err(denied) => Err(denied.error),
        }
    }

    /// Admits a request, or says why not. The call then knows its caller, and what the answer may show of a list.
    pub fn admit(&self, permission: Permission, entry: RequestSender, call: &mut Call) -> Result<(), Denied> {
        let caller = match entry {
            RequestSender::Open => return Ok(()),
            RequestSender::SignedIn(caller) => caller,
            RequestSender::Unknown(error) => return Err(Denied::stale(error)),
        };
        let grant = match permission {
            _ if caller.is_admin => Grant::All,
            Permission::Open | Permission::Account => Grant::All,
            Permission::Admin => {
                let detail = format!("only accounts with the role '{ADMIN}' may do this");
                return Err(Error::new(Code::NoPermission, detail).into());
            }
            Permission::Needs(verb, resource, target) => {
                let snapshot = self.parts.reader.load();
                targets::decide(&snapshot, call, target, |labels| caller.decide(verb, resource, labels))?
            }
        };
        call.admit(Some(caller), grant);
        Ok(())
    }

    /// The answer to a request over the limit of its account.
    pub fn over_rate(&self, entry: &RequestSender, rate: Rate) -> Option<Reply> {
        let (Some(limit), RequestSender::SignedIn(caller), Rate::Counted) = (&self.parts.rate, entry, rate)
        else {
            return None;
        };
        limit.refusal(&caller.name, self.parts.clock.monotonic(), || format!("the account '{}'", caller.name))
    }

    fn is_protected(&self, permission: Permission) -> bool {
        match permission {
            Permission::Open => false,
            Permission::Account => true,
            Permission::Admin => self.parts.scope == RbacScope::All,
            Permission::Needs(_, resource, _) => self.parts.scope.covers(resource.name()),
        }
    }
}

/// The header with the token, if it is there and not empty. Of several ones, a proxy may have checked another one than this server would
/// take.
fn authorization(head: &RequestHead) -> Result<Option<&HeaderValue>, Error> {
    let mut headers = head.headers.get_all(AUTHORIZATION);
    let header = headers.next();
    if headers.next().is_some() {
        return Err(Error::new(Code::Unauthorized, "there are several headers Authorization"));
    }
    Ok(header.filter(|header| !header.is_empty()))
}

/// The text of a header with a token, which has only ASCII characters; a blank, which is no token, if it has others. `to_str` of the header
/// looks at each byte alone, which takes longer than all the rest of a known token.
fn ascii(header: &HeaderValue) -> &str {
    let bytes = header.as_bytes();
    if bytes.is_ascii() { std::str::from_utf8(bytes).unwrap_or(" ") } else { " " }
}

/// The permission that a request needs. As on the original server, paths of the older API that are not about instances belong to no
/// resource type, so only the role `admin` may use them.
pub fn permission_of(permission: Permission, surface: Surface, pattern: &str) -> Permission {
    match permission {
        Permission::Needs(..) if surface == Surface::V3 && !pattern.contains("instances") => {
            Permission::Admin
        }
        permission => permission,
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::http::routes::{Accounts, table};
    use crate::http::spec::{Target, V3};
    use crate::rbac::{Resource, Verb};

    #[test]
    fn of_several_headers_none_counts() {
        let check = |values: &[&str], expected: Result<Option<&str>, Code>| {
            let mut head = RequestHead::default();
            for value in values {
                head.headers.append(AUTHORIZATION, HeaderValue::from_str(value).unwrap());
            }
            let found = authorization(&head).map(|header| header.map(|header| header.to_str().unwrap()));
            assert_eq!(found.map_err(|error| error.code), expected, "{values:?}");
        };
        check(&[], Ok(None));
        check(&[""], Ok(None));
        check(&["Bearer x"], Ok(Some("Bearer x")));
        for values in [["Bearer x", "Bearer x"], ["", "Bearer x"], ["Bearer x", ""], ["", ""]] {
            check(&values, Err(Code::Unauthorized));
        }
    }

    #[test]
    fn the_older_api_is_for_admins_unless_it_is_about_instances() {
        let needs = Permission::Needs(Verb::Get, Resource::Service, Target::Listed);
        for (surface, pattern, expected) in [
            (Surface::V3, "/v4/{project}/registry/microservices", Permission::Admin),
            (Surface::V3, "/v4/{project}/registry/microservices/{serviceId}/instances", needs),
            (Surface::V4, "/v4/{project}/registry/microservices", needs),
            (Surface::Plain, "/v4/accounts", needs),
        ] {
            assert_eq!(permission_of(needs, surface, pattern), expected, "{pattern}");
        }
        for open in [Permission::Open, Permission::Account, Permission::Admin] {
            assert_eq!(permission_of(open, Surface::V3, "/v4/{project}/registry/x"), open);
        }
    }

    /// Whoever adds an open route decides it here.
    #[test]
    fn few_routes_are_open() {
        let open = table(Accounts::On).filter(|route| route.permission == Permission::Open);
        let mut open: Vec<_> = open.map(|route| (route.path, route.v3 == V3::Bare)).collect();
        open.sort_unstable();
        let expected = [
            ("/console", false),
            ("/console/", false),
            ("/console/assets/{hash}/{*path}", false),
            ("/metrics", false),
            ("/openapi.json", false),
            ("/v1/syncer/health", false),
            ("/v4/token", false),
            ("/v4/{project}/registry/health", true),
            ("/v4/{project}/registry/health/readiness", false),
            ("/v4/{project}/registry/version", true),
        ];
        assert_eq!(open, expected);
    }
}
