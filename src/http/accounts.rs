//! What the handlers of logins, accounts and roles need. It is there only while accounts are on.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

use super::call::Call;
use super::client_address::client_address;
use crate::actors::account::AccountActor;
use crate::actors::mailbox::Mailbox;
use crate::config::AddressLookup;
use crate::error::{Code, Error};
use crate::rbac::{Hasher, Signer};

#[derive(Clone)]
pub struct AccountApi {
    pub actor: Mailbox<AccountActor>,
    pub hasher: Hasher,
    pub logins: LoginTurns,
    pub signer: Signer,
    /// Most accounts of the registry.
    pub most_accounts: usize,
    /// Where the address of a client is found: failed logins count by it.
    pub lookups: Arc<[AddressLookup]>,
    /// Whether `rbac.scope` leaves out services: then most of the API is open, and a failed login says so.
    pub is_half_open: bool,
}

/// The turns of logins: for one name and address, one password is checked at a time. Otherwise a client could have many passwords
/// checked before the first failure counts.
#[derive(Clone, Default)]
pub struct LoginTurns(Arc<Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>>);

/// The turn of one login. The next one comes when it is dropped.
pub struct LoginTurn {
    turns: LoginTurns,
    key: String,
    _held: tokio::sync::OwnedMutexGuard<()>,
}

impl LoginTurns {
    /// Waits for the turn. As many wait as the server admits requests.
    pub async fn take(&self, key: &str) -> LoginTurn {
        let turn = Arc::clone(self.0.lock().entry(key.to_owned()).or_default());
        LoginTurn { turns: self.clone(), key: key.to_owned(), _held: turn.lock_owned().await }
    }
}

impl Drop for LoginTurn {
    fn drop(&mut self) {
        let mut turns = self.turns.0.lock();
        // One reference is the map's, and one that of the turn.
        if turns.get(&self.key).is_some_and(|turn| Arc::strong_count(turn) <= 2) {
            turns.remove(&self.key);
        }
    }
}

impl AccountApi {
    /// The address that failed logins of a client count for.
    pub fn client(&self, call: &Call) -> String {
        client_address(call.head(), &self.lookups).to_canonical().to_string()
    }

    /// The error for a login whose name or password is wrong.
    pub fn wrong_login(&self) -> Error {
        if self.is_half_open {
            let detail =
                "user name or password is wrong; rbac.scope leaves services open, which need no token";
            return Error::new(Code::WrongUserOrPasswordHalfOpen, detail);
        }
        Error::new(Code::WrongUserOrPassword, "")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt as _;

    #[actix::test]
    async fn one_login_of_a_name_and_address_has_its_turn() {
        let turns = LoginTurns::default();
        let first = turns.take("root::10.0.0.1").await;
        let mut second = Box::pin(turns.take("root::10.0.0.1"));
        assert!(second.as_mut().now_or_never().is_none());
        drop(turns.take("root::10.0.0.2").await);
        drop(first);
        drop(second.await);
        assert!(turns.0.lock().is_empty(), "turns that nobody has or wants are forgotten");
    }

    #[actix::test]
    async fn a_login_that_gave_up_leaves_nothing_behind() {
        let turns = LoginTurns::default();
        let first = turns.take("root::10.0.0.1").await;
        assert!(turns.take("root::10.0.0.1").now_or_never().is_none());
        drop(first);
        assert!(turns.0.lock().is_empty());
    }
}
