//! `get service`.

use std::collections::BTreeMap;

use clap::Args;
use serde_json::{Value, json};

use super::super::failure::Failure;
use super::super::names;
use super::super::output::{Column, Format, Listing, column, counts, items, plain, shown, text};
use super::super::session::Session;
use super::super::times::ago;
use super::super::watching::Watch;
use super::dump;

/// List services, all versions of a service in one line
#[derive(Args)]
pub struct GetService {
    /// Only services with this text in their name, alias, application or an id
    #[arg(long, value_name = "TEXT")]
    search: Option<String>,
    /// Only services of this application
    #[arg(long, value_name = "APPLICATION")]
    app: Option<String>,
    /// Only services of this environment
    #[arg(long, value_name = "ENVIRONMENT")]
    env: Option<String>,
    /// Only services whose instances are in this state
    #[arg(long, value_parser = ["noneUp", "someDown", "allUp", "empty"])]
    status: Option<String>,
    /// Order of the lines
    #[arg(long, value_parser = ["name", "instances", "changed"], default_value = "name")]
    sort: String,
    /// At most so many services
    #[arg(long, value_name = "NUMBER")]
    limit: Option<usize>,
    /// Services of all domains and projects, out of the dump of the node
    #[arg(long, conflicts_with_all = ["search", "app", "env", "status", "limit", "watch"])]
    all_domains: bool,
    /// After the list, print a line for each change of a service
    #[arg(short, long)]
    watch: bool,
}

impl GetService {
    pub async fn run(self, session: &mut Session<'_, '_>) -> Result<(), Failure> {
        // Before the list, so that no change is missed between the two.
        let watch = match self.watch {
            true => Some(Watch::open(session, vec![("kind", "service".to_owned())], String::new()).await?),
            false => None,
        };
        let items =
            if self.all_domains { all_domains(session).await? } else { self.of_tenant(session).await? };
        let clock = session.clock.clone();
        let mut columns = vec![
            column("NAME", "/serviceName"),
            column("APPID", "/appId"),
            Column("VERSIONS", Box::new(versions)),
            column("ENV", "/environment"),
            column("FRAMEWORK", "/frameworks"),
        ];
        if session.output.is_wide() || self.all_domains {
            columns.insert(0, column("DOMAIN", "/domain"));
        }
        if session.output.is_wide() {
            columns.push(Column("ENDPOINTS", Box::new(endpoints)));
        }
        columns.push(Column("AGE", Box::new(move |service| ago(&clock, service, "/created"))));
        if !session.is_scctl {
            columns.push(Column("INSTANCES", Box::new(|service| counts(service, "/instances"))));
        }
        // Other commands take the id of one version.
        let items = match session.output.format {
            Format::Name => items.iter().flat_map(items_of).cloned().collect(),
            _ => items,
        };
        let name = |version: &Value| shown(version, "/serviceId");
        let output = session.output;
        output.list(session.terminal, &Listing { columns, items, name })?;
        match watch {
            Some(watch) => watch.follow(session, &[]).await,
            None => Ok(()),
        }
    }

    async fn of_tenant(&self, session: &mut Session<'_, '_>) -> Result<Vec<Value>, Failure> {
        let given = |option: &Option<String>| option.clone().unwrap_or_default();
        let query = [
            ("search", given(&self.search)),
            ("appId", given(&self.app)),
            ("env", given(&self.env)),
            ("status", given(&self.status)),
            ("sort", self.sort.clone()),
            ("withShared", "true".to_owned()),
        ];
        let mut rows = session.pages("govern/services", &query, self.limit).await?;
        let documents = names::services(session).await?;
        let documents = by_id(&documents);
        let mut endpoints: BTreeMap<String, Vec<Value>> = BTreeMap::new();
        if session.output.is_wide() {
            for instance in
                session.pages("govern/instances", &[("withShared", "true".to_owned())], None).await?
            {
                let of_service = endpoints.entry(shown(&instance, "/serviceId")).or_default();
                of_service.extend_from_slice(items(&instance, "/endpoints"));
            }
        }
        let domain = session.client.target().domain.clone();
        for row in &mut rows {
            let ids: Vec<String> = items_of(row).iter().map(|version| shown(version, "/serviceId")).collect();
            let found: Vec<&Value> =
                ids.iter().filter_map(|id| documents.get(id.as_str()).copied()).collect();
            row["domain"] = json!(domain);
            row["frameworks"] = frameworks(&found);
            row["created"] = created(&found);
            if session.output.is_wide() {
                let of_all = ids.iter().filter_map(|id| endpoints.get(id)).flatten();
                row["endpoints"] = of_all.cloned().collect();
            }
        }
        Ok(rows)
    }
}

fn items_of(service: &Value) -> &[Value] {
    items(service, "/versions")
}

fn versions(service: &Value) -> String {
    items_of(service).iter().map(|version| text(version, "/version")).collect::<Vec<_>>().join(",")
}

/// How many endpoints of a service a table shows: each line of it is as long as the longest.
const ENDPOINTS: usize = 3;

fn endpoints(service: &Value) -> String {
    let all = items(service, "/endpoints");
    let mut shown: Vec<String> = all.iter().take(ENDPOINTS).map(plain).collect();
    if all.len() > ENDPOINTS {
        shown.push(format!("+{}", all.len() - ENDPOINTS));
    }
    shown.join(",")
}

fn by_id(documents: &[Value]) -> BTreeMap<&str, &Value> {
    documents.iter().map(|document| (text(document, "/serviceId"), document)).collect()
}

/// A framework as the original's documents show it: name and version.
pub fn framework(service: &Value) -> String {
    let (name, version) = (text(service, "/framework/name"), text(service, "/framework/version"));
    let dash = if name.is_empty() || version.is_empty() { "" } else { "-" };
    format!("{name}{dash}{version}")
}

fn frameworks(services: &[&Value]) -> Value {
    let mut all: Vec<String> = services.iter().map(|service| framework(service)).collect();
    all.retain(|framework| !framework.is_empty());
    all.sort();
    all.dedup();
    json!(all)
}

/// When the oldest version was created, in seconds since 1970.
fn created(services: &[&Value]) -> Value {
    let times = services.iter().filter_map(|service| text(service, "/timestamp").parse::<i64>().ok());
    json!(times.min())
}

async fn all_domains(session: &mut Session<'_, '_>) -> Result<Vec<Value>, Failure> {
    let dump = dump::read(session).await?;
    let mut endpoints: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for instance in &dump.instances {
        let of_service = endpoints.entry(shown(instance, "/serviceId")).or_default();
        of_service.extend_from_slice(items(instance, "/endpoints"));
    }
    let mut groups: BTreeMap<[String; 5], Vec<&Value>> = BTreeMap::new();
    for service in &dump.services {
        let key = ["/domain", "/project", "/environment", "/appId", "/serviceName"];
        groups.entry(key.map(|pointer| shown(service, pointer))).or_default().push(service);
    }
    let row = |(key, services): (&[String; 5], &Vec<&Value>)| {
        let [domain, project, environment, app_id, service_name] = key;
        let version = |service: &&Value| json!({"serviceId": text(service, "/serviceId"), "version": text(service, "/version")});
        let endpoints = services.iter().filter_map(|service| endpoints.get(text(service, "/serviceId")));
        json!({
            "domain": domain, "project": project, "environment": environment, "appId": app_id,
            "serviceName": service_name, "versions": services.iter().map(version).collect::<Vec<_>>(),
            "frameworks": frameworks(services), "created": created(services),
            "endpoints": endpoints.flatten().collect::<Vec<_>>(),
        })
    };
    Ok(groups.iter().map(row).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_shows_the_first_endpoints() {
        let shown = |all: &[&str]| endpoints(&json!({ "endpoints": all }));
        assert_eq!(shown(&[]), "");
        assert_eq!(shown(&["a", "b", "c"]), "a,b,c");
        assert_eq!(shown(&["a", "b", "c", "d", "e"]), "a,b,c,+2");
    }
}
