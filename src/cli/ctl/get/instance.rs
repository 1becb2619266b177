//! `get instance`.

use std::collections::BTreeMap;

use clap::Args;
use serde_json::{Value, json};

use super::super::failure::Failure;
use super::super::names;
use super::super::output::{Column, Listing, age, column, shown, text};
use super::super::session::Session;
use super::super::times::ago;
use super::super::watching::Watch;
use super::{dump, past, service};

/// List instances
#[derive(Args)]
pub struct GetInstance {
    #[arg(value_name = "SERVICE", help = format!("{}. Without it, the instances of all services", names::SERVICE_HELP))]
    service: Option<String>,
    /// Only instances with this text in their id, host name, endpoints or the name of their service
    #[arg(long, value_name = "TEXT")]
    search: Option<String>,
    /// Only instances with this text in their host name
    #[arg(long, value_name = "NAME")]
    host: Option<String>,
    /// Only instances with this text in an endpoint
    #[arg(long, value_name = "ENDPOINT")]
    endpoint: Option<String>,
    /// Only instances with an endpoint on this port
    #[arg(long, value_name = "NUMBER")]
    port: Option<u16>,
    /// Only instances with this property
    #[arg(long, value_name = "KEY=VALUE")]
    property: Option<String>,
    /// Only instances with this status
    #[arg(long, value_name = "STATUS")]
    status: Option<String>,
    /// At most so many instances
    #[arg(long, value_name = "NUMBER")]
    limit: Option<usize>,
    /// Instances of all domains and projects, out of the dump of the node
    #[arg(long, conflicts_with_all = ["service", "search", "host", "endpoint", "port", "property", "status", "limit", "watch"])]
    all_domains: bool,
    /// The instances of the service as the node showed them at this time: RFC 3339, or so long ago
    #[arg(long, value_name = "TIME", requires = "service", conflicts_with_all = ["search", "host", "endpoint", "port", "property", "status", "limit", "all_domains", "watch"])]
    at: Option<String>,
    /// After the list, print a line for each change of an instance
    #[arg(short, long)]
    watch: bool,
}

impl GetInstance {
    pub async fn run(self, session: &mut Session<'_, '_>) -> Result<(), Failure> {
        if let (Some(at), Some(service)) = (&self.at, &self.service) {
            return past::run(session, service, at).await;
        }
        let services = match &self.service {
            Some(argument) => Some(names::find_services(session, argument).await?),
            None => None,
        };
        // Before the list, so that no change is missed between the two.
        let watch = match self.watch {
            true => Some(Watch::open(session, vec![("kind", "instance".to_owned())], String::new()).await?),
            false => None,
        };
        let items = if self.all_domains {
            all_domains(session).await?
        } else {
            self.of_tenant(session, services.as_deref()).await?
        };
        let clock = session.clock.clone();
        let mut columns = vec![
            column("HOST", "/hostName"),
            column("ENDPOINTS", "/endpoints"),
            column("VERSION", "/version"),
            column("SERVICE", "/serviceName"),
            column("APPID", "/appId"),
        ];
        if session.output.is_wide() || self.all_domains {
            columns.insert(0, column("DOMAIN", "/domain"));
        }
        if session.output.is_wide() {
            columns.extend([column("ENV", "/environment"), column("FRAMEWORK", "/framework")]);
        }
        columns.push(Column("LEASE", Box::new(lease)));
        columns.push(Column("AGE", Box::new(move |instance| ago(&clock, instance, "/registered"))));
        if !session.is_scctl {
            columns.push(column("STATUS", "/status"));
        }
        let output = session.output;
        output.list(session.terminal, &Listing { columns, items, name: names::instance_name })?;
        let ids: Vec<String> =
            services.iter().flatten().map(|service| shown(service, "/serviceId")).collect();
        match watch {
            Some(watch) => watch.follow(session, &ids).await,
            None => Ok(()),
        }
    }

    /// `of` are the services that the user has named.
    async fn of_tenant(
        &self,
        session: &mut Session<'_, '_>,
        of: Option<&[Value]>,
    ) -> Result<Vec<Value>, Failure> {
        let services = match of {
            Some(services) => services.to_vec(),
            None if session.output.is_wide() => names::services(session).await?,
            None => Vec::new(),
        };
        let given = |option: &Option<String>| option.clone().unwrap_or_default();
        let query = vec![
            ("search", given(&self.search)),
            ("host", given(&self.host)),
            ("endpoint", given(&self.endpoint)),
            ("port", self.port.map(|port| port.to_string()).unwrap_or_default()),
            ("property", given(&self.property)),
            ("status", given(&self.status)),
            ("withShared", "true".to_owned()),
        ];
        let mut found = Vec::new();
        if of.is_some() {
            for service in &services {
                let mut query = query.clone();
                query.push(("serviceId", shown(service, "/serviceId")));
                let left = self.limit.map(|limit| limit.saturating_sub(found.len()));
                if left == Some(0) {
                    break;
                }
                found.extend(session.pages("govern/instances", &query, left).await?);
            }
        } else {
            found = session.pages("govern/instances", &query, self.limit).await?;
        }
        let frameworks: BTreeMap<&str, String> =
            services.iter().map(|it| (text(it, "/serviceId"), service::framework(it))).collect();
        let domain = session.client.target().domain.clone();
        for instance in &mut found {
            let framework = frameworks.get(text(instance, "/serviceId")).cloned();
            instance["domain"] = json!(domain);
            instance["framework"] = json!(framework);
        }
        Ok(found)
    }
}

/// The TTL, in the original's words.
fn lease(instance: &Value) -> String {
    match instance.get("ttlSeconds").and_then(Value::as_u64) {
        Some(0) => "Never".to_owned(),
        Some(seconds) => age(seconds),
        None => String::new(),
    }
}

async fn all_domains(session: &mut Session<'_, '_>) -> Result<Vec<Value>, Failure> {
    let dump = dump::read(session).await?;
    let services: BTreeMap<[&str; 3], &Value> =
        dump.services.iter().map(|service| (place(service), service)).collect();
    let row = |instance: &Value| {
        // The original leaves out instances without a service, too.
        let service = services.get(&place(instance))?;
        let check = |member: &str| instance.pointer(member).and_then(Value::as_u64).unwrap_or_default();
        let ttl = match text(instance, "/healthCheck/mode") {
            "" => json!(null),
            "pull" => json!(0),
            _ => json!((check("/healthCheck/times") + 1).saturating_mul(check("/healthCheck/interval"))),
        };
        let mut row = instance.clone();
        for member in ["serviceName", "appId", "environment", "version"] {
            row[member] = service.get(member).cloned().unwrap_or_default();
        }
        row["framework"] = json!(service::framework(service));
        row["ttlSeconds"] = ttl;
        row["registered"] = instance.get("timestamp").cloned().unwrap_or_default();
        Some(row)
    };
    Ok(dump.instances.iter().filter_map(row).collect())
}

fn place(document: &Value) -> [&str; 3] {
    ["/domain", "/project", "/serviceId"].map(|pointer| text(document, pointer))
}
