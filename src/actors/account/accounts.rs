//! Writes of accounts. An account is written together with its keys below its roles. So a role that has such a key is in use, on
//! every node, whatever a snapshot shows.

use std::rc::Rc;

use uuid::Uuid;

use super::core::{AccountCore, put, unchanged_since};
use super::messages::{ChangePassword, CreateAccount, DeleteAccount, PasswordChange, UpdateAccount};
use crate::actors::outcome::committed;
use crate::actors::registry::messages::{Committed, WriteReply};
use crate::domain::account::{Account, ROOT};
use crate::domain::validate::account::without_repetition;
use crate::domain::{json, quota};
use crate::error::{Code, Error};
use crate::store::{Compare, Entry, Key, Op, Txn, TxnOutcome, keys};

/// Creates an account.
pub(super) async fn create(core: Rc<AccountCore>, message: CreateAccount) -> WriteReply<()> {
    let CreateAccount { mut account } = message;
    let _turn = core.turn(&keys::ACCOUNTS.into()).await?;
    // Without root nobody could delete an account to make room.
    if account.name != ROOT {
        let limit = core.rules.quotas.accounts;
        core.check_quota(|access| quota::check_accounts(limit, access.accounts().len())).await?;
    }
    if account.id.is_empty() {
        account.id = Uuid::new_v4().simple().to_string();
    }
    account.role.clear();
    account.current_password.clear();
    account.roles = without_repetition(std::mem::take(&mut account.roles));
    check_role_names(&account.roles)?;
    account.create_time = core.now();
    account.update_time.clone_from(&account.create_time);
    let key = keys::account(&account.name);
    let value = json::encode(&account);
    let mut tries = core.tries();
    loop {
        tries.check()?;
        let mut compares = vec![Compare::Absent(Key::clone(&key))];
        compares.extend(roles_exist(&account.roles));
        let mut then = vec![put(&key, value.clone())];
        then.extend(account.roles.iter().map(|role| put(&keys::account_by_role(role, &account.name), "")));
        let mut otherwise = vec![Op::Get(Key::clone(&key))];
        otherwise.extend(read_roles(&account.roles));
        let outcome = core.commit(Txn { compares, then, otherwise }).await;
        let Some(outcome) = tries.judge(outcome)? else { continue };
        if outcome.succeeded {
            core.catch_up(outcome.revision).await;
            return Ok(committed((), &outcome));
        }
        let existing = outcome.reads.first().and_then(|found| found.first());
        if let Some(own) = existing.filter(|found| tries.is_unsure && found.value == value.as_slice()) {
            return Ok(Committed { value: (), revision: Some(own.mod_revision) });
        }
        check_roles(&account.roles, &outcome, 1)?;
        if existing.is_some() {
            let detail = format!("account \"{}\" exists already", account.name);
            return Err(Error::new(Code::AccountExists, detail));
        }
    }
}

/// Changes roles and status.
pub(super) async fn update(core: Rc<AccountCore>, message: UpdateAccount) -> WriteReply<()> {
    let UpdateAccount { name, roles, status, by } = message;
    check_target(&name, &by)?;
    let status = status.filter(|status| !status.is_empty());
    let roles = roles.map(without_repetition);
    if roles.is_none() && status.is_none() {
        return Err(Error::invalid("'roles' and 'status' are both missing; send at least one of them"));
    }
    let key = keys::account(&name);
    let _turn = core.turn(&key).await?;
    let mut tries = core.tries();
    loop {
        tries.check()?;
        let (entry, former) = read(&core, &key, &name).await?;
        let demanded = roles.as_deref().unwrap_or_default();
        check_role_names(demanded)?;
        let former_roles = former.roles.clone();
        let account = Account {
            roles: roles.clone().unwrap_or_else(|| former_roles.clone()),
            status: status.clone().unwrap_or_else(|| former.status.clone()),
            update_time: core.now(),
            ..former
        };
        let mut compares = vec![unchanged_since(&entry)];
        compares.extend(roles_exist(demanded));
        let mut then = vec![put(&key, json::encode(&account))];
        let dropped = former_roles.into_iter().filter(|role| !account.roles.contains(role));
        then.extend(dropped.map(|role| Op::Delete(keys::account_by_role(&role, &name))));
        // Also those of the roles that stay: an account of an old release has no such keys.
        then.extend(account.roles.iter().map(|role| put(&keys::account_by_role(role, &name), "")));
        let otherwise = read_roles(demanded).collect();
        let outcome = core.commit(Txn { compares, then, otherwise }).await;
        let Some(outcome) = tries.judge(outcome)? else { continue };
        if outcome.succeeded {
            return Ok(committed((), &outcome));
        }
        check_roles(demanded, &outcome, 0)?;
    }
}

/// Deletes an account.
pub(super) async fn delete(core: Rc<AccountCore>, message: DeleteAccount) -> WriteReply<()> {
    let DeleteAccount { name, by } = message;
    check_target(&name, &by)?;
    let key = keys::account(&name);
    let _turn = core.turn(&key).await?;
    let mut tries = core.tries();
    loop {
        tries.check()?;
        let entry = match core.get(&key).await? {
            Some(entry) => entry,
            None if tries.is_unsure => {
                core.be_current().await?;
                return Ok(Committed { value: (), revision: None });
            }
            None => return Err(not_exists(&name)),
        };
        // An account that cannot be read can be deleted all the same.
        let account = stored_form(json::decode(&entry.value).unwrap_or_default());
        let mut then = vec![Op::Delete(Key::clone(&key))];
        then.extend(account.roles.iter().map(|role| Op::Delete(keys::account_by_role(role, &name))));
        let compares = vec![unchanged_since(&entry)];
        let outcome = core.commit(Txn { compares, then, otherwise: Vec::new() }).await;
        if let Some(outcome) = tries.judge(outcome)?.filter(|outcome| outcome.succeeded) {
            return Ok(committed((), &outcome));
        }
    }
}

/// Writes the hash of a new password, if the account was not written since the caller saw it.
pub(super) async fn change_password(
    core: Rc<AccountCore>,
    message: ChangePassword,
) -> WriteReply<PasswordChange> {
    let ChangePassword { name, hash, seen } = message;
    let key = keys::account(&name);
    let _turn = core.turn(&key).await?;
    let mut tries = core.tries();
    loop {
        tries.check()?;
        let (entry, mut account) = read(&core, &key, &name).await?;
        if entry.mod_revision != seen {
            // Each hash has a salt of its own, so this one comes from an earlier try.
            let is_done = tries.is_unsure && account.password == hash;
            let value = if is_done { PasswordChange::Done } else { PasswordChange::Outdated };
            return Ok(Committed { value, revision: Some(entry.mod_revision) });
        }
        account.password.clone_from(&hash);
        account.update_time = core.now();
        let compares = vec![unchanged_since(&entry)];
        let mut then = vec![put(&key, json::encode(&account))];
        then.extend(account.roles.iter().map(|role| put(&keys::account_by_role(role, &name), "")));
        let outcome = core.commit(Txn { compares, then, otherwise: Vec::new() }).await;
        if let Some(outcome) = tries.judge(outcome)?.filter(|outcome| outcome.succeeded) {
            return Ok(committed(PasswordChange::Done, &outcome));
        }
    }
}

/// The account as it is written: with `roles`, each of them once, because a transaction may write a key only once.
fn stored_form(account: Account) -> Account {
    let account = account.in_current_form();
    Account { roles: without_repetition(account.roles), ..account }
}

/// 403202 for `root`, 403204 for the caller's own account.
fn check_target(name: &str, by: &str) -> Result<(), Error> {
    if name == ROOT {
        let detail = "account \"root\" can be neither changed nor deleted, only its password can be changed";
        return Err(Error::new(Code::BuiltInAccount, detail));
    }
    if name == by {
        let detail = format!("account \"{name}\" is your own; ask another administrator");
        return Err(Error::new(Code::OwnAccount, detail));
    }
    Ok(())
}

fn not_exists(name: &str) -> Error {
    Error::new(Code::AccountNotExists, format!("account \"{name}\" does not exist"))
}

/// Reads an account from the store. 400200 if it does not exist.
async fn read(core: &AccountCore, key: &Key, name: &str) -> Result<(Entry, Account), Error> {
    let entry = core.get(key).await?.ok_or_else(|| not_exists(name))?;
    let account = json::decode(&entry.value).map(stored_form).map_err(|error| {
        let detail =
            format!("the stored account \"{name}\" cannot be read: {error}; delete it and create it again");
        Error::new(Code::Internal, detail)
    })?;
    Ok((entry, account))
}

/// 400202 for names that are no part of a key, so that no role can have them.
fn check_role_names(roles: &[String]) -> Result<(), Error> {
    roles.iter().find(|role| role.is_empty() || role.contains('/')).map_or(Ok(()), |role| Err(no_role(role)))
}

fn roles_exist(roles: &[String]) -> impl Iterator<Item = Compare> {
    roles.iter().map(|role| Compare::Present(keys::role(role)))
}

fn read_roles(roles: &[String]) -> impl Iterator<Item = Op> {
    roles.iter().map(|role| Op::Get(keys::role(role)))
}

/// 400202 if a read of [`read_roles`] found nothing. The first of these reads is the one with this index.
fn check_roles(roles: &[String], outcome: &TxnOutcome, first: usize) -> Result<(), Error> {
    let mut found = roles.iter().zip(outcome.reads.iter().skip(first));
    found.find(|(_, entries)| entries.is_empty()).map_or(Ok(()), |(role, _)| Err(no_role(role)))
}

fn no_role(role: &str) -> Error {
    Error::new(Code::AccountHasInvalidRole, format!("role \"{role}\" does not exist"))
}
