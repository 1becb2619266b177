//! `get alarm`.

use clap::Args;

use super::super::failure::Failure;
use super::super::output::{Listing, column, items, shown};
use super::super::session::Session;

/// List the alarms of the node
#[derive(Args)]
pub struct GetAlarm {}

impl GetAlarm {
    pub async fn run(self, session: &mut Session<'_, '_>) -> Result<(), Failure> {
        let answer = session.get("admin/alarms").await?;
        let columns =
            vec![column("ALARM", "/id"), column("STATUS", "/status"), column("DETAIL", "/fields/detail")];
        let items = items(&answer, "/alarms").to_vec();
        let output = session.output;
        output.list(session.terminal, &Listing { columns, items, name: |alarm| shown(alarm, "/id") })
    }
}
