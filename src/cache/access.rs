//! Accounts, roles and locks in the snapshot. They belong to no tenant.

use std::sync::Arc;

use imbl::OrdMap;

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

    pub(super) fn apply(&mut self, event: RegistryEvent) {
        match event {
            RegistryEvent::AccountPut(name, account, revision) => {
                self.accounts.insert(name, (account, revision));
            }
            RegistryEvent::AccountDeleted(name) => drop(self.accounts.remove(&name)),
            RegistryEvent::RolePut(name, role, revision) => drop(self.roles.insert(name, (role, revision))),
            RegistryEvent::RoleDeleted(name) => drop(self.roles.remove(&name)),
            RegistryEvent::AccountLockPut(key, lock) => {
                self.locks.insert(key, lock);
                return;
            }
            RegistryEvent::AccountLockDeleted(key) => {
                self.locks.remove(&key);
                return;
            }
            _ => return,
        }
        self.changes += 1;
    }
}
