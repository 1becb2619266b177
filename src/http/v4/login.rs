//! Logins, and what an account may ask about itself.

use std::sync::Arc;

use super::accounts::find;
use crate::actors::account::messages::{ChangePassword, LoginFailed, PasswordChange, RemoveEndedLock};
use crate::actors::mailbox::tell;
use crate::domain::account::{Account, AccountLock};
use crate::domain::event::Revision;
use crate::domain::shape::Shaped as _;
use crate::domain::validate::account as valid;
use crate::error::{Code, Error};
use crate::http::accounts::AccountApi;
use crate::http::api::Api;
use crate::http::call::Call;
use crate::http::dto;
use crate::http::dto::account::{LoginAnswer, LoginBody, OwnPermissions};
use crate::http::dto::object_body;
use crate::http::reply::Reply;
use crate::http::spec::{Operation, Success};
use crate::rbac::signed_in::inactive;
use crate::rbac::token;

/// How often a password is changed again because the account was written meanwhile.
const MOST_TRIES: usize = 3;

pub const LOG_IN: Operation =
    Operation::new("accounts", "logIn", "Checks name and password of an account, and makes a token.")
        .takes(dto::account::LoginBody::SHAPE)
        .demanding(valid::LOGIN)
        .answers(Success::Json(dto::account::LoginAnswer::SHAPE))
        .fails_with(&[Code::WrongUserOrPassword, Code::WrongUserOrPasswordHalfOpen, Code::AccountBlocked])
        .for_own_pages();

pub const SELF_PERMISSIONS: Operation =
    Operation::new("accounts", "listOwnPermissions", "Lists the permissions of the caller's roles.")
        .answers(Success::Json(dto::account::OwnPermissions::SHAPE));

pub const CHANGE_PASSWORD: Operation = Operation::new(
    "accounts",
    "changePassword",
    "Changes the password of the caller. An admin may change that of any account.",
)
.takes(crate::domain::account::Account::SHAPE)
.demanding(valid::PASSWORD_CHANGE)
.fails_with(&[
    Code::AccountNotExists,
    Code::NewPasswordBad,
    Code::WrongPassword,
    Code::AccountBlocked,
    Code::Forbidden,
]);

/// `POST /v4/token`.
pub async fn log_in(api: Arc<Api>, call: Call) -> Result<Reply, Error> {
    let accounts = api.accounts()?;
    let body: LoginBody = object_body(call.body())?;
    let lifetime = token::lifetime(&body.lifetime)?;
    let address = accounts.client(&call);
    let wrong = accounts.wrong_login();
    let (account, _) = checked(&api, accounts, &body.name, body.password, &address, wrong).await?;
    let (signer, now) = (accounts.signer.clone(), api.clock.unix_time());
    // A signature takes milliseconds of CPU, like a hash.
    let sign = move || signer.sign(&account, account.role_names(), lifetime, now);
    let token = accounts.hasher.run(sign).await??;
    Ok(Reply::encoded(&LoginAnswer { token }))
}

/// The account with the revision of its last write, if the password is its own. A failure is counted for the name and the address; after a few of them the pair is
/// locked for a while, also with the right password.
async fn checked(
    api: &Api,
    accounts: &AccountApi,
    name: &str,
    password: String,
    address: &str,
    wrong: Error,
) -> Result<(Arc<Account>, Revision), Error> {
    // A name that no account can have has no lock, and may be as long as a body. It is not copied for each login that waits.
    let lockable = if valid::is_name(name) { name } else { "" };
    let key = AccountLock::key_of(lockable, address);
    let _turn = accounts.logins.take(&key).await;
    // Another node may just have written the account or the lock. Not only for an unknown account: the time would tell that it is unknown.
    api.freshness.catch_up().await;
    let (account, lock) = {
        let snapshot = api.reader.load();
        (snapshot.access.account(name).cloned(), snapshot.access.lock(&key).cloned())
    };
    if let Some(lock) = lock {
        let now = api.clock.unix_time();
        if lock.rejects(now) {
            return Err(Error::new(Code::AccountBlocked, ""));
        }
        if lock.release_at <= now {
            // If the mailbox is full, the job that runs each minute deletes it.
            let _ = tell(&accounts.actor, RemoveEndedLock { key });
        }
    }
    let stored = account.as_ref().map(|(account, _)| Arc::clone(account));
    let matches = accounts.hasher.verify(stored, password).await?;
    let Some(found) = account.filter(|_| matches) else {
        let failed = LoginFailed { account: name.to_owned(), address: address.to_owned() };
        api.write_access(failed).await?;
        return Err(wrong);
    };
    if !found.0.is_active() {
        return Err(inactive(name));
    }
    Ok(found)
}

/// `GET /v4/self-perms`.
pub async fn own_permissions(api: Arc<Api>, call: Call) -> Result<Reply, Error> {
    let caller = call.signed_in()?;
    let snapshot = api.reader.load_full();
    let Some((account, _)) = snapshot.access.account(&caller.name) else {
        return Err(Error::new(Code::Internal, format!("the account '{}' does not exist", caller.name)));
    };
    let roles = account.role_names().filter_map(|role| snapshot.access.role(role));
    let permissions = roles.flat_map(|(role, _)| role.permissions.iter().cloned()).collect();
    Ok(Reply::encoded(&OwnPermissions { permissions }))
}

/// `POST /v4/accounts/{name}/password`.
pub async fn change_password(api: Arc<Api>, call: Call) -> Result<Reply, Error> {
    let (accounts, caller) = (api.accounts()?, call.signed_in()?);
    let name = call.param("name");
    let is_own = *caller.name == *name;
    if !is_own && !caller.is_admin {
        let detail = format!("only an admin can change the password of the account '{name}'");
        return Err(Error::new(Code::Forbidden, detail));
    }
    let body: Account = object_body(call.body())?;
    if is_own {
        valid::own_password_change(&body)?;
        if body.current_password == body.password {
            return Err(Error::new(Code::NewPasswordBad, "the new password equals the current one"));
        }
    } else {
        valid::password(&body.password)?;
    }
    let hash = accounts.hasher.hash(body.password).await?;
    let address = accounts.client(&call);
    for _ in 0..MOST_TRIES {
        let seen = if is_own {
            let (current, wrong) = (body.current_password.clone(), Error::new(Code::WrongPassword, ""));
            checked(&api, accounts, name, current, &address, wrong).await?.1
        } else {
            find(&api, name).await?.1
        };
        let change = ChangePassword { name: name.to_owned(), hash: hash.clone(), seen };
        if api.write_access(change).await? == PasswordChange::Done {
            return Ok(Reply::empty());
        }
    }
    Err(Error::new(Code::Unavailable, format!("the account '{name}' is being changed, try again")))
}
