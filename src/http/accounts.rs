//! What the handlers of logins, accounts and roles need. It is there only while accounts are on.

use std::sync::Arc;

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
    pub signer: Signer,
    /// Most accounts of the registry.
    pub most_accounts: usize,
    /// Where the address of a client is found: failed logins count by it.
    pub lookups: Arc<[AddressLookup]>,
    /// Whether `rbac.scope` leaves out services: then most of the API is open, and a failed login says so.
    pub is_half_open: bool,
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
