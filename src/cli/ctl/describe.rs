//! `describe`.

use std::collections::BTreeMap;

use clap::{Args, Subcommand};
use serde_json::Value;

use super::client::encode;
use super::failure::Failure;
use super::names;
use super::output::{items, plain, shown, text};
use super::session::Session;
use super::times::{ago, lasting};

/// Print one service or one instance with all that belongs to it
#[derive(Args)]
pub struct Describe {
    #[command(subcommand)]
    what: DescribeKind,
}

#[derive(Subcommand)]
enum DescribeKind {
    /// Print a service: its versions, instances, providers, consumers, tags and schemas
    #[command(visible_alias = "svc")]
    Service {
        #[arg(value_name = "SERVICE", help = names::SERVICE_HELP)]
        service: String,
    },
    /// Print an instance: its endpoints, status, lease and properties
    #[command(visible_alias = "inst")]
    Instance {
        #[arg(value_name = "INSTANCE", help = names::INSTANCE_HELP)]
        instance: String,
    },
}

impl Describe {
    pub async fn run(self, session: &mut Session<'_, '_>) -> Result<(), Failure> {
        match self.what {
            DescribeKind::Service { service } => describe_service(session, &service).await,
            DescribeKind::Instance { instance } => describe_instance(session, &instance).await,
        }
    }
}

async fn describe_service(session: &mut Session<'_, '_>, argument: &str) -> Result<(), Failure> {
    let mut all = Vec::new();
    for service in names::find_services(session, argument).await? {
        let path = format!("govern/microservices/{}?options=all", encode(text(&service, "/serviceId")));
        let answer = session.find(&path, &[names::NO_SERVICE]).await?;
        all.extend(answer.and_then(|answer| answer.get("service").cloned()));
    }
    let output = session.output;
    if !output.is_text() {
        return output.value(session.terminal, &Value::Array(all));
    }
    for (number, service) in all.iter().enumerate() {
        if number > 0 {
            session.terminal.say("");
        }
        let document = &service["microService"];
        let list = |pointer: &str| {
            let all: Vec<String> = items(service, pointer).iter().map(names::service_name).collect();
            all.join(", ")
        };
        let schemas: Vec<String> =
            items(service, "/schemaInfos").iter().map(|schema| shown(schema, "/schemaId")).collect();
        let mut facts = vec![
            ("service", names::service_name(document)),
            ("id", shown(document, "/serviceId")),
            ("status", shown(document, "/status")),
            ("alias", shown(document, "/alias")),
            ("description", shown(document, "/description")),
            ("framework", shown(document, "/framework")),
            ("registered by", shown(document, "/registerBy")),
            ("age", ago(&session.clock, document, "/timestamp")),
            ("versions", shown(service, "/microServiceVersions")),
            ("tags", shown(service, "/tags")),
            ("properties", shown(document, "/properties")),
            ("schemas", schemas.join(", ")),
            ("providers", list("/providers")),
            ("consumers", list("/consumers")),
            ("instances", counts(items(service, "/instances"))),
        ];
        let instances = items(service, "/instances").iter();
        facts.extend(instances.map(|instance| ("instance", instance_line(instance))));
        output.facts(session.terminal, &facts);
    }
    Ok(())
}

/// `3 UP, 1 DOWN`; `none`.
fn counts(instances: &[Value]) -> String {
    let mut by_status: BTreeMap<&str, usize> = BTreeMap::new();
    for instance in instances {
        *by_status.entry(text(instance, "/status")).or_default() += 1;
    }
    let counts: Vec<String> = by_status.iter().map(|(status, count)| format!("{count} {status}")).collect();
    if counts.is_empty() { "none".to_owned() } else { counts.join(", ") }
}

fn instance_line(instance: &Value) -> String {
    ["/instanceId", "/status", "/hostName", "/endpoints"].map(|pointer| shown(instance, pointer)).join("  ")
}

async fn describe_instance(session: &mut Session<'_, '_>, argument: &str) -> Result<(), Failure> {
    let instance = names::find_instance(session, argument).await?;
    let output = session.output;
    if !output.is_text() {
        return output.value(session.terminal, &instance);
    }
    let service = encode(text(&instance, "/serviceId"));
    let path = format!("registry/microservices/{service}");
    let service = session.find(&path, &[names::NO_SERVICE]).await?.unwrap_or_default();
    // Only the node that takes the heartbeats knows it.
    let query = [("serviceId", shown(&instance, "/serviceId")), ("search", shown(&instance, "/instanceId"))];
    let found = session.pages("govern/instances", &query, None).await?;
    let seen = found.iter().find(|found| found.get("instanceId") == instance.get("instanceId"));
    let beat = seen.map(|seen| lasting(seen, "/lastHeartbeatAgeSeconds")).unwrap_or_default();
    let clock = &session.clock;
    let mut facts = vec![
        ("instance", names::instance_name(&instance)),
        ("service", names::service_name(&service["service"])),
        ("status", shown(&instance, "/status")),
        ("host", shown(&instance, "/hostName")),
        ("version", shown(&instance, "/version")),
        ("health check", shown(&instance, "/healthCheck")),
        ("last heartbeat", beat),
        ("data center", shown(&instance, "/dataCenterInfo")),
        ("registered", ago(clock, &instance, "/timestamp")),
        ("changed", ago(clock, &instance, "/modTimestamp")),
    ];
    facts.extend(items(&instance, "/endpoints").iter().map(|endpoint| ("endpoint", plain(endpoint))));
    let properties = instance.get("properties").and_then(Value::as_object);
    let properties = properties.into_iter().flatten();
    facts.extend(properties.map(|(name, value)| ("property", format!("{name} = {}", plain(value)))));
    output.facts(session.terminal, &facts);
    Ok(())
}
