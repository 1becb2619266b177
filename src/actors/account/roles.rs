//! Writes of roles.

use std::rc::Rc;

use uuid::Uuid;

use super::core::{AccountCore, put, unchanged_since};
use super::messages::{CreateRole, DeleteRole, MigrateRoles, UpdateRole};
use crate::actors::outcome::{committed, store_error, unchanged};
use crate::actors::registry::messages::{Committed, WriteReply};
use crate::domain::account::{ADMIN, DEVELOPER, Role, RolePermission, RoleResource};
use crate::domain::{json, quota};
use crate::error::{Code, Error};
use crate::store::{Compare, Entry, Key, Op, Txn, keys};

/// Creates a role.
pub(super) async fn create(core: Rc<AccountCore>, message: CreateRole) -> WriteReply<()> {
    let CreateRole { mut role } = message;
    let _turn = core.turn(&keys::ROLES.into()).await?;
    if !is_built_in(&role.name) {
        let limit = core.rules.quotas.roles;
        core.check_quota(|access| quota::check_roles(limit, access.roles().len())).await?;
    }
    role.id = Uuid::new_v4().simple().to_string();
    role.create_time = core.now();
    role.update_time.clone_from(&role.create_time);
    let key = keys::role(&role.name);
    let value = json::encode(&role);
    let mut tries = core.tries();
    loop {
        tries.check()?;
        let compares = vec![Compare::Absent(Key::clone(&key))];
        let then = vec![put(&key, value.clone())];
        let otherwise = vec![Op::Get(Key::clone(&key))];
        let outcome = core.commit(Txn { compares, then, otherwise }).await;
        let Some(outcome) = tries.judge(outcome)? else { continue };
        if outcome.succeeded {
            core.catch_up(outcome.revision).await;
            return Ok(committed((), &outcome));
        }
        let existing = outcome.reads.iter().flatten().next();
        if let Some(own) = existing.filter(|found| tries.is_unsure && found.value == value.as_slice()) {
            return Ok(Committed { value: (), revision: Some(own.mod_revision) });
        }
        return Err(Error::new(Code::RoleExists, format!("role \"{}\" exists already", role.name)));
    }
}

/// Replaces the permissions of a role.
pub(super) async fn update(core: Rc<AccountCore>, message: UpdateRole) -> WriteReply<()> {
    let UpdateRole { name, permissions } = message;
    check_target(&name)?;
    let key = keys::role(&name);
    let _turn = core.turn(&key).await?;
    let mut tries = core.tries();
    loop {
        tries.check()?;
        let entry = core.get(&key).await?.ok_or_else(not_exists)?;
        let former: Role = json::decode(&entry.value).map_err(|error| unreadable(&name, &error))?;
        let role = Role { permissions: permissions.clone(), update_time: core.now(), ..former };
        let compares = vec![unchanged_since(&entry)];
        let then = vec![put(&key, json::encode(&role))];
        let outcome = core.commit(Txn { compares, then, otherwise: Vec::new() }).await;
        if let Some(outcome) = tries.judge(outcome)?.filter(|outcome| outcome.succeeded) {
            return Ok(committed((), &outcome));
        }
    }
}

/// Deletes a role that no account has. The transaction compares that no account has a key below the role.
pub(super) async fn delete(core: Rc<AccountCore>, message: DeleteRole) -> WriteReply<()> {
    let DeleteRole { name } = message;
    check_target(&name)?;
    let key = keys::role(&name);
    let _turn = core.turn(&key).await?;
    check_old_accounts(&core, &name).await?;
    let mut tries = core.tries();
    loop {
        tries.check()?;
        let entry = match core.get(&key).await? {
            Some(entry) => entry,
            None if tries.is_unsure => {
                core.be_current().await?;
                return Ok(unchanged(()));
            }
            None => return Err(not_exists()),
        };
        let compares = vec![unchanged_since(&entry), Compare::NoneBelow(keys::account_by_role(&name, ""))];
        let then = vec![Op::Delete(Key::clone(&key))];
        let otherwise = vec![Op::Get(Key::clone(&key))];
        let outcome = core.commit(Txn { compares, then, otherwise }).await;
        let Some(outcome) = tries.judge(outcome)? else { continue };
        if outcome.succeeded {
            return Ok(committed((), &outcome));
        }
        let mut found = outcome.reads.iter().flatten();
        if found.next().is_some_and(|found| found.mod_revision == entry.mod_revision) {
            return Err(in_use());
        }
    }
}

/// 400205 if an account has the role, by the snapshot. Accounts of old releases have no keys below their role, and these releases do
/// not run beside this one.
async fn check_old_accounts(core: &AccountCore, role: &str) -> Result<(), Error> {
    let has_role = || {
        let snapshot = core.reader.load();
        snapshot.access.accounts().any(|account| account.role_names().any(|name| name == role))
    };
    if has_role() {
        core.be_current().await?;
        if has_role() {
            return Err(in_use());
        }
    }
    Ok(())
}

/// Gives each role the permission for `config`, unless that was done before. The last transaction notes that it is done. A role that
/// already has this permission is left as it is, so the work can be taken up after a crash.
pub(super) async fn migrate(core: Rc<AccountCore>, _: MigrateRoles) -> WriteReply<()> {
    let note: Key = keys::ROLES_MIGRATED.into();
    let first = Compare::Absent(Key::clone(&note));
    let _turn = core.turn(&note).await?;
    let mut tries = core.tries();
    'tries: loop {
        tries.check()?;
        if core.get(&note).await?.is_some() {
            return Ok(unchanged(()));
        }
        for (entry, role) in list(&core).await? {
            let Some(role) = with_config(role, core.now()) else { continue };
            let compares = vec![first.clone(), unchanged_since(&entry)];
            let then = vec![put(&entry.key, json::encode(&role))];
            let outcome = core.commit(Txn { compares, then, otherwise: Vec::new() }).await;
            if !tries.judge(outcome)?.is_some_and(|outcome| outcome.succeeded) {
                continue 'tries;
            }
        }
        let (compares, then) = (vec![first.clone()], vec![put(&note, &b"true"[..])]);
        let outcome = core.commit(Txn { compares, then, otherwise: Vec::new() }).await;
        // If the compare failed, another node has done it.
        if let Some(outcome) = tries.judge(outcome)? {
            return Ok(committed((), &outcome));
        }
    }
}

/// The readable roles in the store.
async fn list(core: &AccountCore) -> Result<Vec<(Entry, Role)>, Error> {
    use futures_util::TryStreamExt as _;

    let pages = core.store.list(&[keys::ROLES]).try_collect::<Vec<_>>().await;
    let entries = pages.map_err(|error| store_error(&error))?.into_iter().flat_map(|page| page.entries);
    Ok(entries.filter_map(|entry| json::decode(&entry.value).ok().map(|role| (entry, role))).collect())
}

/// The role with the permission for `config`. `None` if it has this permission.
fn with_config(mut role: Role, now: String) -> Option<Role> {
    let resources = vec![Some(RoleResource { kind: "config".to_owned(), ..RoleResource::default() })];
    let permission = Some(RolePermission { resources, verbs: vec!["*".to_owned()] });
    let has_it = role.permissions.contains(&permission);
    (!has_it).then(|| {
        role.permissions.push(permission);
        role.update_time = now;
        role
    })
}

fn is_built_in(name: &str) -> bool {
    matches!(name, ADMIN | DEVELOPER)
}

/// 403203 for a role that exists from the start.
fn check_target(name: &str) -> Result<(), Error> {
    if is_built_in(name) {
        let detail = format!("role \"{name}\" is built in and can be neither changed nor deleted");
        return Err(Error::new(Code::BuiltInRole, detail));
    }
    Ok(())
}

// As with the original, these two have no detail.
fn not_exists() -> Error {
    Error::new(Code::RoleNotExists, "")
}

fn in_use() -> Error {
    Error::new(Code::RoleInUse, "")
}

fn unreadable(name: &str, error: &impl std::fmt::Display) -> Error {
    let detail = format!("the stored role \"{name}\" cannot be read: {error}; delete it and create it again");
    Error::new(Code::Internal, detail)
}
