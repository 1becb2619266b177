//! Accounts, roles and the locks of accounts: the documents as the store holds them and as clients send them.

use crate::domain::json::TextMap;
use crate::json_object;

/// The account that exists from the start. It can be neither changed nor deleted, except that its password can be changed.
pub const ROOT: &str = "root";
/// The role that may do everything, whatever its stored permissions say.
pub const ADMIN: &str = "admin";
/// The role that may do everything except administer accounts and roles.
pub const DEVELOPER: &str = "developer";

/// `status` of an account that may log in.
pub const ACTIVE: &str = "active";
/// `status` of an account whose logins and requests are rejected.
pub const INACTIVE: &str = "inactive";

json_object! {
    /// An account.
    pub struct Account {
        /// Id. A token belongs to the account with this id, and not to a later account of the same name.
        "id" => id: String,
        /// 1 to 64 letters, digits, and inside `_`, `-`, `.`.
        "name" => name: String,
        /// In the store its hash; never in an answer, except a generated one.
        "password" => password: String; secret,
        /// The only role, in documents of old releases that have no `roles`.
        "role" => role: String,
        /// Names of 1 to 5 roles.
        "roles" => roles: Vec<String>,
        /// Stored and shown, without effect.
        "tokenExpirationTime" => token_expiration_time: String,
        /// In a request to change the password: the current one.
        "currentPassword" => current_password: String; secret,
        /// `active` or `inactive`. An inactive account can neither log in nor send requests.
        "status" => status: String,
        /// When the account was created, Unix seconds.
        "createTime" => create_time: String,
        /// When the account was last changed, Unix seconds.
        "updateTime" => update_time: String,
    }
}

json_object! {
    /// A role: a name for permissions.
    pub struct Role {
        /// Id. The registry gives it.
        "id" => id: String,
        /// As an account's name.
        "name" => name: String,
        /// What accounts with this role may do.
        "perms" => permissions: Vec<Option<RolePermission>>,
        /// When the role was created, Unix seconds.
        "createTime" => create_time: String,
        /// When the role was last changed, Unix seconds.
        "updateTime" => update_time: String,
    }
}

json_object! {
    /// A permission of a role: its verbs on its resources.
    pub struct RolePermission {
        /// The resources. A resource without labels is all of its type.
        "resources" => resources: Vec<Option<RoleResource>>,
        /// `get`, `create`, `update`, `delete` or `*`.
        "verbs" => verbs: Vec<String>,
    }
}

json_object! {
    /// Resources of a type.
    pub struct RoleResource {
        /// `account`, `role`, `service`, `service/schema`, `governance`, `ops` or `config`.
        "type" => kind: String,
        /// `environment`, `appId` and `serviceName`: a resource must have all of these values.
        "labels" => labels: TextMap,
    }
}

json_object! {
    /// The record of failed logins with an account's name from one address.
    pub struct AccountLock {
        /// `<account>::<address>`.
        "key" => key: String,
        /// `attempted`, or `banned`: then logins are rejected.
        "status" => status: String,
        /// When the record ends, Unix seconds.
        "releaseAt" => release_at: i64,
    }
}

/// `status` of a lock that counts failed logins.
pub const ATTEMPTED: &str = "attempted";
/// `status` of a lock that rejects logins.
pub const BANNED: &str = "banned";

impl Account {
    /// The names of the account's roles. Documents of old releases have one in `role`.
    pub fn role_names(&self) -> impl Iterator<Item = &str> + Clone {
        let old = Some(&self.role).filter(|role| self.roles.is_empty() && !role.is_empty());
        self.roles.iter().chain(old).map(String::as_str)
    }

    /// The account with its roles in `roles` only, as this server writes it.
    pub fn in_current_form(self) -> Self {
        let roles = self.role_names().map(str::to_owned).collect();
        Self { role: String::new(), roles, ..self }
    }

    pub fn is_active(&self) -> bool {
        self.status != INACTIVE
    }
}

impl AccountLock {
    /// The key of the lock of an account's name for one client address.
    pub fn key_of(account: &str, address: &str) -> String {
        format!("{account}::{address}")
    }

    /// Whether the lock rejects logins at this time, Unix seconds.
    pub fn rejects(&self, now: i64) -> bool {
        self.status == BANNED && self.release_at > now
    }
}
