//! `drain`.

use std::time::Duration;

use clap::Args;
use hyper::Method;
use serde_json::Value;

use super::client::Call;
use super::failure::{Failure, NO};
use super::names;
use super::output::{items, plain, shown, text};
use super::session::{Session, queried};
use super::set::{described, instance_path};
use crate::config::logging::printable;
use crate::config::parse_duration;

/// Take an instance out of service, and wait until its consumers know. Exit code 1: some do not know yet
#[derive(Args)]
pub struct Drain {
    #[arg(value_name = "INSTANCE", help = names::INSTANCE_HELP)]
    instance: String,
    /// How long to wait for the consumers
    #[arg(short, long, value_name = "TIME", default_value = "30s", value_parser = parse_duration)]
    wait: Duration,
    /// Drain without a question. In a protected context the question is asked all the same
    #[arg(short, long)]
    yes: bool,
}

impl Drain {
    pub async fn run(self, session: &mut Session<'_, '_>) -> Result<(), Failure> {
        let instance = names::find_instance(session, &self.instance).await?;
        let mut facts = described(session, &instance).await?;
        facts.push(("status", format!("{} -> OUTOFSERVICE", text(&instance, "/status"))));
        session.confirm(self.yes, &facts)?;
        let wait = format!("{}ms", self.wait.as_millis());
        let path = format!("{}/drain{}", instance_path(&instance), queried(&[("wait", wait)]));
        let call = Call::new(Method::POST, session.path(&path));
        let answer = session.change(call, self.wait).await?;
        report(session, &answer)
    }
}

/// Prints which consumers know of a change. Fails with the exit code 1 if some do not.
pub fn report(session: &mut Session<'_, '_>, answer: &Value) -> Result<(), Failure> {
    let output = session.output;
    if output.is_text() {
        let (seen, of) = (shown(answer, "/seen"), shown(answer, "/of"));
        session.terminal.say(&format!("{seen} of {of} consumers know"));
        for missing in items(answer, "/missing") {
            let consumer = names::service_name(&missing["consumer"]);
            let part = |name: &str, pointer: &str| {
                let value = shown(missing, pointer);
                if value.is_empty() { value } else { format!("  {name} {value}") }
            };
            let (client, node, last) =
                (part("client", "/client"), part("node", "/node"), part("last", "/last"));
            let line = format!("missing: {consumer}{client}{node}{last}");
            session.terminal.say(&printable(&line));
        }
        for (member, why) in [
            ("/silent", "has not answered in time, so its consumers are not counted"),
            (
                "/uncounted",
                "is dead, cut off from the store, or a node of the original, so its consumers are not counted",
            ),
        ] {
            for node in items(answer, member) {
                session.note(&format!("the node {} {why}", plain(node)));
            }
        }
    } else {
        output.value(session.terminal, answer)?;
    }
    let is_complete = answer.get("complete").and_then(Value::as_bool).unwrap_or_default();
    if is_complete { Ok(()) } else { Err(Failure::silent(NO)) }
}
