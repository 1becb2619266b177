//! Accounts, roles and locks in the snapshot. They belong to no tenant.

use std::sync::Arc;

use imbl::OrdMap;

use super::digest;
use crate::domain::account::{Account, AccountLock, Role};
use crate::domain::event::{RegistryEvent, Revision};

/// The part of a snapshot that says who may do what.
#[derive(Clone, Debug, Default)]
pub struct AccessView {
    /// By name, each with the revision of its last write.
    accounts: OrdMap<Arc<str>, (Arc<Account>, Revision)>,
    roles: OrdMap<Arc<str>, (Arc<Role>, Revision)>,
    locks: OrdMap<Arc<str>, Arc<AccountLock>>,
    /// Grows with each change of an account or a role. Whoever keeps what it has derived from them compares this number.
    changes: u64,
    /// The sum of the hashes of all entries. See [`super::digest`].
    digest: u64,
}

impl AccessView {
    /// An empty view for a listing. It counts on from the former view.
    pub(super) fn listing_after(former: &Self) -> Self {
        Self { changes: former.changes + 1, ..Self::default() }
    }

    pub fn account(&self, name: &str) -> Option<&(Arc<Account>, Revision)> {
        self.accounts.get(name)
    }

    /// All accounts, sorted by name.
    pub fn accounts(&self) -> impl ExactSizeIterator<Item = &Arc<Account>> {
        self.accounts.values().map(|(account, _)| account)
    }

    pub fn role(&self, name: &str) -> Option<&(Arc<Role>, Revision)> {
        self.roles.get(name)
    }

    /// All roles, sorted by name.
    pub fn roles(&self) -> impl ExactSizeIterator<Item = &Arc<Role>> {
        self.roles.values().map(|(role, _)| role)
    }

    /// The lock with the key `<account>::<address>`. It may have ended.
    pub fn lock(&self, key: &str) -> Option<&Arc<AccountLock>> {
        self.locks.get(key)
    }

    /// All locks, sorted by key.
    pub fn locks(&self) -> impl ExactSizeIterator<Item = &Arc<AccountLock>> {
        self.locks.values()
    }

    /// See [`Self::changes`](AccessView#structfield.changes).
    pub fn changes(&self) -> u64 {
        self.changes
    }

    /// See [`super::digest`].
    pub fn digest(&self) -> u64 {
        self.digest
    }

    /// All accounts, roles and locks with the hashes of their entries.
    pub fn hashed(&self) -> impl Iterator<Item = (AccessKey<'_>, Revision, u64)> {
        let accounts = self.accounts.iter().map(|(name, (account, revision))| {
            (AccessKey::Account(name), *revision, digest::account(name, account, *revision))
        });
        let roles = self.roles.iter().map(|(name, (role, revision))| {
            (AccessKey::Role(name), *revision, digest::role(name, role, *revision))
        });
        let locks =
            self.locks.iter().map(|(key, lock)| (AccessKey::Lock(key), 0, digest::account_lock(key, lock)));
        accounts.chain(roles).chain(locks)
    }

    pub(super) fn apply(&mut self, event: RegistryEvent) {
        let added = digest::of_put(&event).map_or(0, |(_, hash)| hash);
        let removed = match event {
            RegistryEvent::AccountPut(name, account, revision) => {
                let former = self.accounts.insert(name.clone(), (account, revision));
                former.map(|(account, revision)| digest::account(&name, &account, revision))
            }
            RegistryEvent::AccountDeleted(name) => {
                let former = self.accounts.remove(&name);
                former.map(|(account, revision)| digest::account(&name, &account, revision))
            }
            RegistryEvent::RolePut(name, role, revision) => {
                let former = self.roles.insert(name.clone(), (role, revision));
                former.map(|(role, revision)| digest::role(&name, &role, revision))
            }
            RegistryEvent::RoleDeleted(name) => {
                let former = self.roles.remove(&name);
                former.map(|(role, revision)| digest::role(&name, &role, revision))
            }
            RegistryEvent::AccountLockPut(key, lock) => {
                let former = self.locks.insert(key.clone(), lock);
                self.recount(former.map(|lock| digest::account_lock(&key, &lock)), added);
                return;
            }
            RegistryEvent::AccountLockDeleted(key) => {
                let former = self.locks.remove(&key);
                self.recount(former.map(|lock| digest::account_lock(&key, &lock)), added);
                return;
            }
            _ => return,
        };
        self.recount(removed, added);
        self.changes += 1;
    }

    fn recount(&mut self, removed: Option<u64>, added: u64) {
        self.digest = self.digest.wrapping_sub(removed.unwrap_or(0)).wrapping_add(added);
    }
}

/// What an entry of an [`AccessView`] is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccessKey<'a> {
    Account(&'a str),
    Role(&'a str),
    /// `<account>::<address>`.
    Lock(&'a str),
}
