//! Prepares access control before a port is bound: the keys of tokens, the built-in roles, and the account `root`.
//!
//! Several nodes may start at once. Whoever writes a role or the account first wins, and the others find it.

use std::sync::Arc;
use std::time::Duration;

use super::actors::{Actors, SharedHandles};
use super::error::AppError;
use super::rules::AccountSetup;
use crate::actors::account::AccountActor;
use crate::actors::account::messages::{CreateAccount, CreateRole, MigrateRoles};
use crate::actors::mailbox::{Mailbox, Work, ask};
use crate::actors::registry::messages::WriteReply;
use crate::config::Secret;
use crate::domain::account::{ACTIVE, ADMIN, Account, DEVELOPER, ROOT, Role, RolePermission, RoleResource};
use crate::domain::validate;
use crate::error::{Code, Error};
use crate::http::access::AccessParts;
use crate::http::accounts::{AccountApi, LoginTurns};
use crate::http::rate_limit::ConfiguredRate;
use crate::rbac::{Hasher, KeyPair, Resource, password};
use crate::trouble::Trouble;

/// How long the AccountActor may take for one message.
const LIMIT: Duration = Duration::from_secs(10);
/// The wait before a write that the store did not take is tried again.
const RETRY: Duration = Duration::from_millis(500);

/// The resources of the built-in roles, in the order in which the original writes them.
const BUILT_IN: [(&str, &[&str]); 2] = [
    (ADMIN, &["account", "config", "role", "service", "governance", "ops", "service/schema"]),
    (DEVELOPER, &["config", "service", "governance", "ops", "service/schema"]),
];

/// Reads the keys and checks that they belong together.
pub fn load_keys(setup: &AccountSetup) -> Result<KeyPair, AppError> {
    Ok(KeyPair::load(&setup.private_key_file, &setup.public_key_file)?)
}

/// Writes what is missing in the store. Waits while the store takes no writes. The snapshot must be complete.
pub async fn prepare(setup: &AccountSetup, actors: &Actors, shared: &SharedHandles) -> Result<(), AppError> {
    let snapshot = shared.reader.load();
    let writer = Writer { actor: &actors.account, trouble: Trouble::default() };
    writer.write(|| MigrateRoles, None).await?;
    for (name, resources) in BUILT_IN {
        if snapshot.access.role(name).is_none() {
            let create = || CreateRole { role: built_in(name, resources) };
            writer.write(create, Some(Code::RoleExists)).await?;
        }
    }
    if snapshot.access.account(ROOT).is_some() {
        return Ok(());
    }
    let Some(password) = &setup.root_password else {
        log::warn!(
            "there is no account \"root\"; to create it, set the variable SC_INIT_ROOT_PASSWORD to its password and start again"
        );
        return Ok(());
    };
    let account = root(password)?;
    if writer.write(|| CreateAccount { account: account.clone() }, Some(Code::AccountExists)).await? {
        log::info!("account \"root\" was created with the password of SC_INIT_ROOT_PASSWORD");
    }
    Ok(())
}

/// What the handlers of accounts need, and what the server needs to check requests.
pub fn serve(
    setup: AccountSetup,
    keys: &KeyPair,
    actors: &Actors,
    shared: &SharedHandles,
) -> Result<(AccountApi, AccessParts), AppError> {
    let AccountSetup { scope, lookups, rate, most_accounts, cores, .. } = setup;
    let accounts = AccountApi {
        actor: actors.account.clone(),
        logins: LoginTurns::default(),
        hasher: Hasher::start(cores).map_err(AppError::Hasher)?,
        signer: keys.signer(),
        most_accounts,
        lookups: lookups.into(),
        is_half_open: !scope.covers(Resource::Service.name()),
    };
    let access = AccessParts {
        reader: shared.reader.clone(),
        freshness: shared.freshness.clone(),
        verifier: keys.verifier(),
        scope,
        clock: shared.clock.clone(),
        rate: rate.map(|rate| Arc::new(ConfiguredRate::new(rate, "server.limit.accountConnections"))),
    };
    Ok((accounts, access))
}

fn built_in(name: &str, resources: &[&str]) -> Role {
    let resource = |kind: &&str| Some(RoleResource { kind: (*kind).to_owned(), ..RoleResource::default() });
    let resources = resources.iter().map(resource).collect();
    let permissions = vec![Some(RolePermission { resources, verbs: vec!["*".to_owned()] })];
    Role { name: name.to_owned(), permissions, ..Role::default() }
}

/// The account `root`, with the hash of its password.
fn root(password: &Secret) -> Result<Account, AppError> {
    let account = Account {
        name: ROOT.to_owned(),
        password: password.reveal().to_owned(),
        roles: vec![ADMIN.to_owned()],
        status: ACTIVE.to_owned(),
        ..Account::default()
    };
    validate::account::creation(&account).map_err(|error| AppError::RootPassword(error.detail))?;
    let hash = password::hash(&account.password);
    let password = hash.map_err(|error| AppError::RootPassword(error.to_string().into()))?;
    Ok(Account { password, ..account })
}

/// Sends writes to the AccountActor.
struct Writer<'a> {
    actor: &'a Mailbox<AccountActor>,
    trouble: Trouble,
}

impl Writer<'_> {
    /// Sends a message until the store answers. `false` if somebody else has written it, which `exists` says.
    async fn write<M>(&self, message: impl Fn() -> M, exists: Option<Code>) -> Result<bool, AppError>
    where
        AccountActor: actix::Handler<Work<M>>,
        M: actix::Message<Result = WriteReply<()>> + Send + 'static,
    {
        loop {
            let why = match ask(self.actor, message(), LIMIT).await {
                Ok(Ok(_)) => return Ok(true),
                Ok(Err(error)) if Some(error.code) == exists => return Ok(false),
                Ok(Err(error)) if can_pass(&error) => error.to_string(),
                Ok(Err(error)) => return Err(AppError::Accounts(error)),
                Err(refused) => refused.to_string(),
            };
            if self.trouble.fails(&why) {
                log::warn!("the built-in roles and the account \"root\" are not written yet: {why}");
            }
            tokio::time::sleep(RETRY).await;
        }
    }
}

/// Whether the write may succeed later.
fn can_pass(error: &Error) -> bool {
    matches!(error.code, Code::Unavailable | Code::Overloaded)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::json;

    #[test]
    fn built_in_roles_are_those_of_the_original() {
        let written = |(name, resources): (&str, &[&str])| {
            String::from_utf8(json::encode(&built_in(name, resources))).unwrap_or_default()
        };
        let [admin, developer] = BUILT_IN.map(written);
        assert_eq!(
            admin,
            r#"{"name":"admin","perms":[{"resources":[{"type":"account"},{"type":"config"},{"type":"role"},{"type":"service"},{"type":"governance"},{"type":"ops"},{"type":"service/schema"}],"verbs":["*"]}]}"#
        );
        assert_eq!(
            developer,
            r#"{"name":"developer","perms":[{"resources":[{"type":"config"},{"type":"service"},{"type":"governance"},{"type":"ops"},{"type":"service/schema"}],"verbs":["*"]}]}"#
        );
    }
}
