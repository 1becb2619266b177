//! The account that a valid token belongs to, and what keeps a websocket of it open.

use std::sync::Arc;

use super::permissions::{Grant, Labels, Permissions};
use super::resource::{Resource, Verb};
use super::token::Claims;
use crate::cache::access::AccessView;
use crate::domain::account::{ADMIN, ROOT};
use crate::error::{Code, Error};

/// An account that sends a request, as of the last change of accounts and roles.
#[derive(Debug)]
pub struct SignedIn {
    pub name: Arc<str>,
    pub is_admin: bool,
    permissions: Permissions,
    claims: Claims,
}

impl SignedIn {
    /// The account that a valid token belongs to. 401206 if it does not exist or was created anew after the token was made, 403201 if
    /// it is inactive. Its roles are those of now, not those of the token.
    pub fn of(claims: &Claims, view: &AccessView) -> Result<Self, Error> {
        let Some((account, _)) = view.account(&claims.account) else {
            if *claims.account == *ROOT {
                // Whoever has the private key can open the API of a registry that has no account yet.
                return Ok(Self::with_roles(claims, claims.roles.iter().map(|role| &**role), view));
            }
            let detail = format!("the account '{}' does not exist", claims.account);
            return Err(Error::new(Code::TokenOwnerDeleted, detail));
        };
        if claims.id.as_ref().is_some_and(|id| **id != *account.id) {
            let detail = format!("the account '{}' was created anew after the token was made", account.name);
            return Err(Error::new(Code::TokenOwnerDeleted, detail));
        }
        if !account.is_active() {
            return Err(inactive(&account.name));
        }
        Ok(Self::with_roles(claims, account.role_names(), view))
    }

    fn with_roles<'r>(
        claims: &Claims,
        roles: impl Iterator<Item = &'r str> + Clone,
        view: &AccessView,
    ) -> Self {
        let is_admin = roles.clone().any(|role| role == ADMIN);
        let known = roles.filter_map(|role| view.role(role)).map(|(role, _)| &**role);
        let permissions = Permissions::of(known, is_admin);
        Self { name: Arc::clone(&claims.account), is_admin, permissions, claims: claims.clone() }
    }

    /// Whether the roles allow the verb on resources with these labels; with none, on a list. 403205 if not.
    pub fn decide(&self, verb: Verb, resource: Resource, labels: &[Labels<'_>]) -> Result<Grant, Error> {
        self.permissions.decide(verb, resource, labels)
    }

    /// What keeps a websocket open that was opened by this right.
    pub fn hold(&self, verb: Verb, resource: Resource, labels: Labels<'_>) -> Holder {
        let labels = [labels.environment, labels.app_id, labels.service_name].map(Box::from);
        Holder { claims: self.claims.clone(), verb, resource, labels }
    }
}

/// The error for a login or a request of an account that is switched off.
pub fn inactive(name: &str) -> Error {
    Error::new(Code::AccountBlocked, format!("the account '{name}' is inactive"))
}

/// The account that has opened a websocket, and the right that it needs to keep it. A token that expires meanwhile does not end it.
#[derive(Clone, Debug)]
pub struct Holder {
    claims: Claims,
    verb: Verb,
    resource: Resource,
    labels: [Box<str>; 3],
}

impl Holder {
    /// Why the account may no longer keep the websocket; `None` if it may.
    pub fn refusal(&self, view: &AccessView) -> Option<Error> {
        let [environment, app_id, service_name] = &self.labels;
        let labels = [Labels { environment, app_id, service_name }];
        let caller = SignedIn::of(&self.claims, view);
        caller.and_then(|caller| caller.decide(self.verb, self.resource, &labels)).err()
    }
}
