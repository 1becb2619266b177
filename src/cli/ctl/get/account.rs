//! `get account`.

use clap::Args;

use super::super::client::Call;
use super::super::failure::Failure;
use super::super::output::{Column, Listing, column, items, shown};
use super::super::session::Session;
use super::super::times::ago;

/// List the accounts
#[derive(Args)]
pub struct GetAccount {}

impl GetAccount {
    pub async fn run(self, session: &mut Session<'_, '_>) -> Result<(), Failure> {
        let answer = session.call(&Call::get("/v4/accounts")).await?;
        let clock = session.clock.clone();
        let columns = vec![
            column("NAME", "/name"),
            column("ROLES", "/roles"),
            column("STATUS", "/status"),
            Column("AGE", Box::new(move |account| ago(&clock, account, "/createTime"))),
        ];
        let items = items(&answer, "/data").to_vec();
        let output = session.output;
        output.list(session.terminal, &Listing { columns, items, name: |account| shown(account, "/name") })
    }
}
