//! Logins, accounts and roles: the bodies of requests and the answers.

use crate::domain::account::{Account, AccountLock, Role, RolePermission};
use crate::json_object;

json_object! {
    /// The body of a login.
    pub struct LoginBody {
        /// The name of the account.
        "name" => name: String,
        /// Its password.
        "password" => password: String; secret,
        /// How long the token is valid, `15m` to `24h`. 12 hours if it is missing.
        "tokenExpirationTime" => lifetime: String,
    }
}

json_object! {
    /// The answer to a login.
    pub struct LoginAnswer {
        /// The token. Requests send it in the header `Authorization: Bearer <token>`.
        "token" => token: String; secret,
    }
}

json_object! {
    /// The permissions of all roles of an account.
    pub struct OwnPermissions {
        /// In the order of the roles.
        "perms" => permissions: Vec<Option<RolePermission>>,
    }
}

json_object! {
    /// All accounts, without passwords.
    pub struct AccountList {
        /// How many there are.
        "total" => total: i32,
        /// Sorted by name.
        "data" => accounts: Vec<Account>,
    }
}

json_object! {
    /// The body that creates many accounts.
    pub struct CreateAccounts {
        /// 1 to 20 accounts. If one has no password, it gets one, which is in the answer and nowhere else.
        "accounts" => accounts: Vec<Option<Account>>,
    }
}

json_object! {
    /// The answer to the creation of many accounts.
    pub struct CreatedAccounts {
        /// One result for each account, in the order of the request.
        "accounts" => results: Vec<CreatedAccount>,
    }
}

json_object! {
    /// The result for one account of many. Without an error code the account was created.
    pub struct CreatedAccount {
        /// The name of the account.
        "name" => name: String,
        /// The password, if the registry has made it. Nobody can read it again.
        "password" => password: String; secret,
        /// The code of the error.
        "errorCode" => code: String,
        /// The text of the code.
        "errorMessage" => message: String,
        /// What is wrong with this account.
        "detail" => detail: String,
    }
}

json_object! {
    /// All roles.
    pub struct Roles {
        /// How many there are.
        "total" => total: i32,
        /// Sorted by name.
        "data" => roles: Vec<Role>,
    }
}

/// All locks of accounts. Unlike other lists it is written even if it is empty.
#[derive(Clone, Debug, Default, serde::Serialize)]
pub struct AccountLocks {
    pub total: usize,
    pub data: Vec<AccountLock>,
}
