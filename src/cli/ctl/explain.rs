//! `explain`.

use clap::Args;
use serde_json::Value;

use super::failure::{Failure, NO};
use super::names;
use super::output::{Column, Listing, Style, column, items, shown, text};
use super::session::{Session, queried};
use crate::config::logging::printable;

/// Tell why a consumer finds a provider, or which rule stops it. Exit code 1: it finds no instance
#[derive(Args)]
pub struct Explain {
    #[arg(value_name = "CONSUMER", help = format!("The service that looks. {}", names::SERVICE_HELP))]
    consumer: String,
    /// The service that is looked for: [[ENVIRONMENT/]APPLICATION/]NAME[@VERSION]. It need not exist
    #[arg(value_name = "PROVIDER")]
    provider: String,
    /// Versions that the consumer accepts, such as 1.0.0+, 1.0-2.0 or latest
    #[arg(long, value_name = "RULE")]
    version: Option<String>,
}

impl Explain {
    pub async fn run(self, session: &mut Session<'_, '_>) -> Result<(), Failure> {
        let consumer = match names::find_service(session, &self.consumer).await {
            Ok(consumer) => consumer,
            // The node tells what an unknown consumer means.
            Err(failure) if failure.code == NO => Value::Null,
            Err(failure) => return Err(failure),
        };
        let id = Some(shown(&consumer, "/serviceId")).filter(|id| !id.is_empty());
        let wanted = names::ServiceArgument::parse(&self.provider);
        let or_own = |given: Option<&str>, pointer: &str| {
            given.map_or_else(|| shown(&consumer, pointer), str::to_owned)
        };
        let query = [
            ("consumerId", id.unwrap_or_else(|| self.consumer.clone())),
            (
                "appId",
                Some(or_own(wanted.application, "/appId"))
                    .filter(|it| !it.is_empty())
                    .unwrap_or_else(|| "default".to_owned()),
            ),
            ("env", wanted.environment.unwrap_or_default().to_owned()),
            ("serviceName", wanted.name.to_owned()),
            ("version", self.version.clone().or(wanted.version.map(str::to_owned)).unwrap_or_default()),
        ];
        let answer = session.get(&format!("govern/explain{}", queried(&query))).await?;
        // `noneUp` has instances, but none that clients use.
        let is_found = text(&answer, "/verdict") == "found";
        let output = session.output;
        if output.is_text() {
            let summary = printable(text(&answer, "/summary"));
            let style = if is_found { Style::Good } else { Style::Bad };
            session.terminal.say(&output.styled(&summary, style));
            session.terminal.say("");
            let columns = vec![
                column("RULE", "/rule"),
                Column("PASSED", Box::new(passed)),
                column("SAW", "/saw"),
                column("EXPLANATION", "/explanation"),
                column("CHANGE", "/change"),
            ];
            let steps = items(&answer, "/steps").to_vec();
            let name = |step: &Value| shown(step, "/rule");
            output.list(session.terminal, &Listing { columns, items: steps, name })?;
            for suggestion in items(&answer, "/suggestions") {
                let instances = shown(suggestion, "/instances");
                let instances = if instances.is_empty() { "no instances" } else { &instances };
                let line = format!("did you mean {}? ({instances})", names::service_name(suggestion));
                session.terminal.say(&printable(&line));
            }
        } else {
            output.value(session.terminal, &answer)?;
        }
        if is_found { Ok(()) } else { Err(Failure::silent(NO)) }
    }
}

fn passed(step: &Value) -> String {
    match step.get("passed").and_then(Value::as_bool) {
        Some(true) => "yes",
        Some(false) => "NO",
        None => "-",
    }
    .to_owned()
}
