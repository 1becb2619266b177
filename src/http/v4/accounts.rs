//! Accounts: create, list, read, change and delete them; the locks of accounts.

use std::sync::Arc;

use crate::actors::account::messages::{CreateAccount, DeleteAccount, UpdateAccount};
use crate::domain::account::{ACTIVE, Account};
use crate::domain::event::Revision;
use crate::domain::quota;
use crate::domain::shape::{MemberShape, ObjectShape, Shape, Shaped as _};
use crate::domain::validate::account as valid;
use crate::domain::validate::rule::Shown;
use crate::error::{Code, Error};
use crate::http::accounts::AccountApi;
use crate::http::api::Api;
use crate::http::call::Call;
use crate::http::dto;
use crate::http::dto::account::{AccountList, AccountLocks, CreateAccounts, CreatedAccount, CreatedAccounts};
use crate::http::dto::object_body;
use crate::http::reply::Reply;
use crate::http::spec::{Load, Operation, Success};
use crate::rbac::password;

pub const CREATE: Operation = Operation::new("accounts", "createAccount", "Creates an account.")
    .takes(crate::domain::account::Account::SHAPE)
    .demanding(valid::CREATION)
    .makes(&[("name", "$request.body#/name")], &[])
    .fails_with(&[Code::AccountExists, Code::AccountQuota, Code::AccountHasInvalidRole]);

pub const CREATE_MANY: Operation = Operation::new(
    "accounts",
    "createAccounts",
    "Creates up to 20 accounts. The answer has a result for each.",
)
.takes(dto::account::CreateAccounts::SHAPE)
.demanding(valid::CREATIONS)
.answers(Success::Json(dto::account::CreatedAccounts::SHAPE));

pub const LIST: Operation = Operation::new("accounts", "listAccounts", "Lists all accounts.")
    .answers(Success::Json(dto::account::AccountList::SHAPE));

pub const GET: Operation = Operation::new("accounts", "readAccount", "Returns an account.")
    .answers(Success::Json(crate::domain::account::Account::SHAPE))
    .fails_with(&[Code::AccountNotExists]);

pub const PUT: Operation =
    Operation::new("accounts", "changeAccount", "Changes the roles or the status of an account.")
        .takes(crate::domain::account::Account::SHAPE)
        .demanding(valid::UPDATE)
        .fails_with(&[
            Code::AccountNotExists,
            Code::AccountHasInvalidRole,
            Code::BuiltInAccount,
            Code::OwnAccount,
        ]);

pub const DELETE: Operation =
    Operation::new("accounts", "deleteAccount", "Deletes an account. Its tokens are no longer valid.")
        .fails_with(&[Code::AccountNotExists, Code::BuiltInAccount, Code::OwnAccount]);

pub const LOCKS: Operation = Operation::new(
    "accounts",
    "listAccountLocks",
    "Lists failed logins by account and client address, and which of them are locked.",
)
.answers(Success::Json(LOCK_LIST));

const LOCK_LIST: Shape = Shape::Object(ObjectShape {
    name: "AccountLocks",
    about: "All locks of accounts.",
    members: &[
        MemberShape { name: "total", about: "How many there are.", shape: Shape::Integer },
        MemberShape {
            name: "data",
            about: "Sorted by key.",
            shape: Shape::List(&crate::domain::account::AccountLock::SHAPE),
        },
    ],
});

/// `POST /v4/accounts`.
pub async fn create(api: Arc<Api>, call: Call) -> Result<Reply, Error> {
    create_one(&api, api.accounts()?, object_body(call.body())?).await?;
    Ok(Reply::empty())
}

/// Creates an account whose password is still a text. The quota comes first, as on the original server.
async fn create_one(api: &Api, accounts: &AccountApi, account: Account) -> Result<(), Error> {
    quota::check_accounts(accounts.most_accounts, api.reader.load().access.accounts().len())?;
    valid::creation(&account)?;
    let status = if account.status.is_empty() { ACTIVE.to_owned() } else { account.status };
    let account = Account { password: accounts.hasher.hash(account.password).await?, status, ..account };
    api.write_access(CreateAccount { account }).await
}

/// `POST /v4/accounts/batch-create`. The accounts are created one after the other, because each counts for the quota of the next.
pub async fn create_many(api: Arc<Api>, call: Call) -> Result<Reply, Error> {
    let accounts = api.accounts()?;
    let body: CreateAccounts = object_body(call.body())?;
    let mut results = Vec::new();
    valid::batch(&body.accounts)?;
    for mut account in body.accounts.into_iter().flatten() {
        let name = account.name.clone();
        let made = account.password.is_empty().then(password::generate);
        if let Some(made) = &made {
            account.password.clone_from(made);
        }
        results.push(match create_one(&api, accounts, account).await {
            Ok(()) => {
                CreatedAccount { name, password: made.unwrap_or_default(), ..CreatedAccount::default() }
            }
            Err(error) => CreatedAccount {
                name,
                code: error.code.number().to_string(),
                message: error.code.message().to_owned(),
                detail: error.detail.into_owned(),
                ..CreatedAccount::default()
            },
        });
    }
    Ok(Reply::encoded(&CreatedAccounts { results }))
}

/// `GET /v4/accounts`.
pub async fn list(api: Arc<Api>, _: Call) -> Result<Reply, Error> {
    let snapshot = api.reader.load_full();
    let accounts: Vec<Account> = snapshot.access.accounts().map(|account| shown(account)).collect();
    let total = i32::try_from(accounts.len()).unwrap_or(i32::MAX);
    api.encoded(Load::Memory, &AccountList { total, accounts })
}

/// `GET /v4/accounts/{name}`.
pub async fn get(api: Arc<Api>, call: Call) -> Result<Reply, Error> {
    let (account, _) = find(&api, call.param("name")).await?;
    Ok(Reply::encoded(&shown(&account)))
}

/// `PUT /v4/accounts/{name}`.
pub async fn put(api: Arc<Api>, call: Call) -> Result<Reply, Error> {
    let change: Account = object_body(call.body())?;
    valid::update(&change)?;
    let (roles, status) = (Some(change.roles).filter(|roles| !roles.is_empty()), Some(change.status));
    let (name, by) = (call.param("name").to_owned(), caller_name(&call));
    api.write_access(UpdateAccount { name, roles, status, by }).await?;
    Ok(Reply::empty())
}

/// `DELETE /v4/accounts/{name}`.
pub async fn delete(api: Arc<Api>, call: Call) -> Result<Reply, Error> {
    let (name, by) = (call.param("name").to_owned(), caller_name(&call));
    api.write_access(DeleteAccount { name, by }).await?;
    Ok(Reply::empty())
}

/// `GET /v4/account-locks`.
pub async fn locks(api: Arc<Api>, _: Call) -> Result<Reply, Error> {
    let now = api.clock.unix_time();
    let snapshot = api.reader.load_full();
    let locks = snapshot.access.locks().filter(|lock| lock.release_at > now);
    let data: Vec<_> = locks.map(|lock| lock.as_ref().clone()).collect();
    api.encoded(Load::Memory, &AccountLocks { total: data.len(), data })
}

/// An account, with the revision of its last write. If it is missing, this node first catches up with the store.
pub(super) async fn find(api: &Api, name: &str) -> Result<(Arc<Account>, Revision), Error> {
    let look = || api.reader.load().access.account(name).cloned();
    if let Some(found) = look() {
        return Ok(found);
    }
    api.freshness.catch_up().await;
    look().ok_or_else(|| {
        Error::new(Code::AccountNotExists, format!("the account '{}' does not exist", Shown::new(name)))
    })
}

/// The name of the account that sends the request.
fn caller_name(call: &Call) -> Arc<str> {
    call.caller().map_or_else(|| "".into(), |caller| Arc::clone(&caller.name))
}

/// The account as answers show it: without its password.
fn shown(account: &Account) -> Account {
    Account {
        password: String::new(),
        roles: account.role_names().map(str::to_owned).collect(),
        role: String::new(),
        ..account.clone()
    }
}
