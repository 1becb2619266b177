//! AccountActor: does every write of accounts, roles and locks of accounts.
//!
//! Each operation is an async function over [`core::AccountCore`]. All operations run on the actor's thread. Exact checks are
//! compares inside the store's transaction. Nodes of the original server write the same keys, and read what is written here.

mod accounts;
pub mod core;
mod logins;
pub mod messages;
mod roles;
#[cfg(test)]
mod tests;

use std::rc::Rc;

use actix::prelude::{Actor, Context, Handler, ResponseFuture};

pub use self::core::AccountRules;

use self::core::AccountCore;
use self::messages::{
    ChangePassword, CreateAccount, CreateRole, DeleteAccount, DeleteRole, LoginFailed, MigrateRoles,
    PasswordChange, RemoveEndedLock, UpdateAccount, UpdateRole,
};
use super::mailbox::{Resident, Work, operations, run_until_end};
use super::registry::messages::WriteReply;
use crate::metrics::Depth;

pub const MAILBOX: usize = 512;
static DEPTH: Depth = Depth::new("AccountActor");

pub struct AccountActor {
    core: Rc<AccountCore>,
}

impl AccountActor {
    pub fn new(core: Rc<AccountCore>) -> Self {
        Self { core }
    }
}

impl Resident for AccountActor {
    const MAILBOX: usize = MAILBOX;
    const DEPTH: &'static Depth = &DEPTH;
}

impl Actor for AccountActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        run_until_end(ctx, logins::clean(Rc::clone(&self.core)));
    }
}

operations! { AccountActor:
    CreateAccount => accounts::create => WriteReply<()>,
    UpdateAccount => accounts::update => WriteReply<()>,
    DeleteAccount => accounts::delete => WriteReply<()>,
    ChangePassword => accounts::change_password => WriteReply<PasswordChange>,
    CreateRole => roles::create => WriteReply<()>,
    UpdateRole => roles::update => WriteReply<()>,
    DeleteRole => roles::delete => WriteReply<()>,
    LoginFailed => logins::failed => WriteReply<()>,
    RemoveEndedLock => logins::remove_ended => WriteReply<()>,
    MigrateRoles => roles::migrate => WriteReply<()>,
}
