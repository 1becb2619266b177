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
            if *claims.account == *ROOT && claims.id.is_none() {
                // Whoever has the private key can open the API of a registry that has no account yet. A token with an id belongs to
                // an account that is gone.
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
        Holder { claims: self.claims.clone(), verb, resource, labels: Some(labels) }
    }

    /// As [`Self::hold`], for a stream of what a list shows.
    pub fn hold_list(&self, verb: Verb, resource: Resource) -> Holder {
        Holder { claims: self.claims.clone(), verb, resource, labels: None }
    }
}

/// The error for a login or a request of an account that is switched off.
pub fn inactive(name: &str) -> Error {
    Error::new(Code::AccountBlocked, format!("the account '{name}' is inactive"))
}

/// The account that has opened a websocket or a stream, and the right that it needs to keep it. A token that expires meanwhile does
/// not end it.
#[derive(Clone, Debug)]
pub struct Holder {
    claims: Claims,
    verb: Verb,
    resource: Resource,
    /// `None` for what a list shows.
    labels: Option<[Box<str>; 3]>,
}

impl Holder {
    /// Why the account may no longer keep the websocket; `None` if it may.
    pub fn refusal(&self, view: &AccessView) -> Option<Error> {
        self.grant(view).err()
    }

    /// What the account may see now.
    pub fn grant(&self, view: &AccessView) -> Result<Grant, Error> {
        let labels = self
            .labels
            .as_ref()
            .map(|[environment, app_id, service_name]| [Labels { environment, app_id, service_name }]);
        let targets = labels.as_ref().map_or(&[][..], |labels| labels);
        SignedIn::of(&self.claims, view)?.decide(self.verb, self.resource, targets)
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::cache::SnapshotBuilder;
    use crate::domain::account::{Account, Role};
    use crate::domain::event::RegistryEvent;
    use crate::domain::json;

    const READS: &str = r#"[{"resources":[{"type":"service"}],"verbs":["get"]}]"#;
    const READS_OWN: &str =
        r#"[{"resources":[{"type":"service","labels":{"serviceName":"own"}}],"verbs":["get"]}]"#;

    fn claims(account: &str, id: Option<&str>, roles: &[&str]) -> Claims {
        Claims {
            account: account.into(),
            id: id.map(Arc::from),
            roles: roles.iter().map(|role| Arc::from(*role)).collect(),
            expires_at: 0,
        }
    }

    #[derive(Default)]
    struct World(SnapshotBuilder);

    impl World {
        fn account(&mut self, name: &str, id: &str, roles: &[&str], status: &str) {
            let roles = roles.iter().map(|role| (*role).to_owned()).collect();
            let (name, status) = (name.to_owned(), status.to_owned());
            let account = Account { id: id.to_owned(), name, roles, status, ..Account::default() };
            self.0.apply(RegistryEvent::AccountPut(account.name.as_str().into(), Arc::new(account), 1));
        }

        fn role(&mut self, name: &str, permissions: &str) {
            let role: Role =
                json::decode(format!(r#"{{"name":"{name}","perms":{permissions}}}"#).as_bytes()).unwrap();
            self.0.apply(RegistryEvent::RolePut(name.into(), Arc::new(role), 1));
        }

        fn of(&self, claims: &Claims) -> Result<SignedIn, Code> {
            SignedIn::of(claims, &self.0.current().access).map_err(|error| error.code)
        }

        /// The code of the refusal of a read of the service `own`.
        fn read(&self, claims: &Claims) -> Option<Code> {
            let labels = [Labels { service_name: "own", ..Labels::default() }];
            self.of(claims).map_or_else(Some, |caller| {
                caller.decide(Verb::Get, Resource::Service, &labels).err().map(|error| error.code)
            })
        }
    }

    #[test]
    fn a_token_belongs_to_the_account_with_its_id() {
        let mut world = World::default();
        let (old, nameless) = (claims("a", Some("1"), &["r"]), claims("a", None, &["r"]));
        assert_eq!(world.read(&old), Some(Code::TokenOwnerDeleted));
        world.role("r", READS);
        world.account("a", "1", &["r"], "active");
        assert_eq!((world.read(&old), world.read(&nameless)), (None, None));
        world.0.apply(RegistryEvent::AccountDeleted("a".into()));
        assert_eq!(world.read(&old), Some(Code::TokenOwnerDeleted));
        world.account("a", "2", &["r"], "active");
        assert_eq!((world.read(&old), world.read(&nameless)), (Some(Code::TokenOwnerDeleted), None));
        assert_eq!(world.read(&claims("a", Some(""), &["r"])), Some(Code::TokenOwnerDeleted));
        world.account("a", "2", &["r"], "inactive");
        assert_eq!(world.read(&nameless), Some(Code::AccountBlocked));
    }

    #[test]
    fn the_roles_are_those_of_the_account_and_not_of_the_token() {
        let mut world = World::default();
        world.role("r", READS);
        world.role("own", READS_OWN);
        let token = claims("a", Some("1"), &["admin", "r"]);
        world.account("a", "1", &["missing"], "active");
        assert_eq!(world.read(&token), Some(Code::NoPermission));
        world.account("a", "1", &["missing", "own"], "active");
        assert_eq!(world.read(&token), None);
        assert!(!world.of(&token).unwrap().is_admin);
        world.account("a", "1", &["admin"], "active");
        assert!(world.of(&token).unwrap().is_admin, "the role counts by its name");
        world.account("a", "1", &["own"], "active");
        world.role("own", "[]");
        assert_eq!(world.read(&token), Some(Code::NoPermission));
    }

    /// Whoever has the private key opens a registry without an account `root`. A token of a former `root` does not.
    #[test]
    fn root_may_be_missing() {
        let mut world = World::default();
        world.role("r", READS);
        assert!(world.of(&claims("root", None, &["admin"])).unwrap().is_admin);
        assert_eq!(world.read(&claims("root", None, &["r"])), None);
        assert_eq!(world.read(&claims("root", Some("1"), &["admin"])), Some(Code::TokenOwnerDeleted));
        world.account("root", "2", &["admin"], "inactive");
        assert_eq!(world.read(&claims("root", None, &["admin"])), Some(Code::AccountBlocked));
    }

    #[test]
    fn a_websocket_is_held_as_long_as_the_right_to_it() {
        let mut world = World::default();
        world.role("r", READS_OWN);
        world.account("a", "1", &["r"], "active");
        let own = Labels { service_name: "own", ..Labels::default() };
        let holder = world.of(&claims("a", Some("1"), &[])).unwrap().hold(Verb::Get, Resource::Service, own);
        let refusal = |world: &World| holder.refusal(&world.0.current().access).map(|error| error.code);
        assert_eq!(refusal(&world), None, "a token that has expired meanwhile does not end it");
        world.role("r", READS);
        assert_eq!(refusal(&world), None);
        world.role("r", &READS_OWN.replace("own", "foreign"));
        assert_eq!(refusal(&world), Some(Code::NoPermission));
        world.role("r", READS);
        world.account("a", "1", &["r"], "inactive");
        assert_eq!(refusal(&world), Some(Code::AccountBlocked));
        world.account("a", "2", &["r"], "active");
        assert_eq!(refusal(&world), Some(Code::TokenOwnerDeleted));
    }
}
