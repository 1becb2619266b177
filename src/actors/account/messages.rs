//! The messages of the AccountActor: one message for each operation.

use std::fmt;
use std::sync::Arc;

use actix::Message;

use crate::actors::registry::messages::WriteReply;
use crate::domain::account::{Account, Role, RolePermission};
use crate::domain::event::Revision;

/// Creates an account. The actor sets the id if it is empty, and the times.
///
/// Errors: 400203 if the quota is used up, 400202 if a role does not exist, 409200 if the account exists.
#[derive(Debug, Message)]
#[rtype(result = "WriteReply<()>")]
pub struct CreateAccount {
    /// Validated, with its status, and with the hash of the password in `password`.
    pub account: Account,
}

/// Changes the roles or the status of an account.
///
/// Errors: 403202 for `root`, 403204 for the caller's own account, 400200 if the account does not exist, 400202 if a role does not
/// exist, 400001 if there is nothing to change.
#[derive(Debug, Message)]
#[rtype(result = "WriteReply<()>")]
pub struct UpdateAccount {
    pub name: String,
    /// `None`: they stay.
    pub roles: Option<Vec<String>>,
    /// `active` or `inactive`. `None` or empty: it stays.
    pub status: Option<String>,
    /// The name of the caller's account.
    pub by: Arc<str>,
}

/// Deletes an account.
///
/// Errors: 403202 for `root`, 403204 for the caller's own account, 400200 if the account does not exist.
#[derive(Debug, Message)]
#[rtype(result = "WriteReply<()>")]
pub struct DeleteAccount {
    pub name: String,
    /// The name of the caller's account.
    pub by: Arc<str>,
}

/// What became of a change of a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PasswordChange {
    Done,
    /// The account was written since the caller looked at it, and nothing was changed. The reply carries the revision of the newer
    /// document. Once the snapshot holds it, the caller checks the current password again.
    Outdated,
}

/// Changes the password of an account, if the account is as the caller saw it when it checked the current password.
///
/// Errors: 400200 if the account does not exist.
#[derive(Message)]
#[rtype(result = "WriteReply<PasswordChange>")]
pub struct ChangePassword {
    pub name: String,
    /// The hash of the new password.
    pub hash: String,
    /// The revision of the account that the caller saw in the snapshot.
    pub seen: Revision,
}

/// Without the hash.
impl fmt::Debug for ChangePassword {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChangePassword")
            .field("name", &self.name)
            .field("seen", &self.seen)
            .finish_non_exhaustive()
    }
}

/// Creates a role. The actor sets the id and the times.
///
/// Errors: 400204 if the quota is used up, 409201 if the role exists.
#[derive(Debug, Message)]
#[rtype(result = "WriteReply<()>")]
pub struct CreateRole {
    /// Validated.
    pub role: Role,
}

/// Replaces the permissions of a role.
///
/// Errors: 403203 for `admin` and `developer`, 400201 if the role does not exist.
#[derive(Debug, Message)]
#[rtype(result = "WriteReply<()>")]
pub struct UpdateRole {
    pub name: String,
    pub permissions: Vec<Option<RolePermission>>,
}

/// Deletes a role.
///
/// Errors: 403203 for `admin` and `developer`, 400201 if the role does not exist, 400205 if an account has it.
#[derive(Debug, Message)]
#[rtype(result = "WriteReply<()>")]
pub struct DeleteRole {
    pub name: String,
}

/// Counts a failed login, for all nodes together, and locks the account for the address after too many.
#[derive(Debug, Message)]
#[rtype(result = "WriteReply<()>")]
pub struct LoginFailed {
    /// As the client sent it. It need not exist.
    pub account: String,
    /// The address of the client.
    pub address: String,
}

/// Removes the lock of an account for an address, if the lock has ended. For a login that finds such a lock.
#[derive(Debug, Message)]
#[rtype(result = "WriteReply<()>")]
pub struct RemoveEndedLock {
    /// `<account>::<address>`.
    pub key: String,
}

/// Gives every role the permission for resources of the type `config`, once in the life of a store. Releases of the original server
/// before 2.1 did not know this type.
#[derive(Debug, Message)]
#[rtype(result = "WriteReply<()>")]
pub struct MigrateRoles;
