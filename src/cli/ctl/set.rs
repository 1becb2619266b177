//! `set`.

use std::time::Duration;

use clap::{Args, Subcommand};
use hyper::Method;
use serde_json::Value;

use super::client::{Call, encode};
use super::failure::Failure;
use super::names;
use super::output::{shown, text};
use super::session::Session;

/// Change an instance
#[derive(Args)]
pub struct Set {
    #[command(subcommand)]
    what: SetKind,
}

#[derive(Subcommand)]
enum SetKind {
    /// Change the status of an instance
    Status {
        #[arg(value_name = "INSTANCE", help = names::INSTANCE_HELP)]
        instance: String,
        /// The new status
        #[arg(value_name = "STATUS", ignore_case = true, value_parser = ["UP", "DOWN", "STARTING", "OUTOFSERVICE", "TESTING"])]
        status: String,
        /// Change without a question. In a protected context the question is asked all the same
        #[arg(short, long)]
        yes: bool,
    },
}

impl Set {
    pub async fn run(self, session: &mut Session<'_, '_>) -> Result<(), Failure> {
        let SetKind::Status { instance, status, yes } = self.what;
        let status = status.to_ascii_uppercase();
        let instance = names::find_instance(session, &instance).await?;
        let old = text(&instance, "/status");
        if old == status {
            session.note(&format!("the status is {status} already; nothing is changed"));
            return Ok(());
        }
        let mut facts = described(session, &instance).await?;
        facts.push(("status", format!("{old} -> {status}")));
        session.confirm(yes, &facts)?;
        let path = format!("{}/status?value={}", instance_path(&instance), encode(&status));
        let call = Call::new(Method::PUT, session.path(&path));
        session.change(call, Duration::ZERO).await?;
        session.note("changed");
        Ok(())
    }
}

/// The path of an instance below the project.
pub fn instance_path(instance: &Value) -> String {
    let part = |pointer: &str| encode(text(instance, pointer));
    format!("registry/microservices/{}/instances/{}", part("/serviceId"), part("/instanceId"))
}

/// What a question says of an instance.
pub async fn described(
    session: &mut Session<'_, '_>,
    instance: &Value,
) -> Result<Vec<(&'static str, String)>, Failure> {
    let path = format!("registry/microservices/{}", encode(text(instance, "/serviceId")));
    let service = session.find(&path, &[names::NO_SERVICE]).await?.unwrap_or_default();
    Ok(vec![
        ("service", names::service_name(&service["service"])),
        ("instance", names::instance_name(instance)),
        ("host", shown(instance, "/hostName")),
        ("endpoints", shown(instance, "/endpoints")),
    ])
}
