//! `get instance --at`: what the node showed at an earlier time.

use serde_json::{Value, json};

use super::super::failure::{Failure, NO};
use super::super::names;
use super::super::output::{Listing, column, shown, text};
use super::super::session::{Session, queried};

pub async fn run(session: &mut Session<'_, '_>, service: &str, at: &str) -> Result<(), Failure> {
    let services = match names::find_services(session, service).await {
        Ok(services) => services,
        // A service that is gone has a past, too. Its id finds it.
        Err(failure) if failure.code == NO => vec![json!({"serviceId": service})],
        Err(failure) => return Err(failure),
    };
    let mut items = Vec::new();
    for service in &services {
        items.extend(of_service(session, service, at).await?);
    }
    let columns = vec![
        column("HOST", "/hostName"),
        column("ENDPOINTS", "/endpoints"),
        column("VERSION", "/version"),
        column("SERVICE", "/serviceName"),
        column("APPID", "/appId"),
        column("INSTANCE", "/instanceId"),
        column("STATUS", "/status"),
    ];
    let output = session.output;
    output.list(session.terminal, &Listing { columns, items, name: names::instance_name })
}

async fn of_service(session: &mut Session<'_, '_>, service: &Value, at: &str) -> Result<Vec<Value>, Failure> {
    let query = |at: &str| vec![("serviceId", shown(service, "/serviceId")), ("at", at.to_owned())];
    // All pages are of the time that the first one shows.
    let first = session.get(&format!("admin/snapshot{}", queried(&query(at)))).await?;
    if first.get("known") != Some(&Value::Bool(true)) {
        let since = text(&first, "/knownSince");
        return Err(Failure::no(format!(
            "the node does not know the instances at '{at}', only since {since}"
        )));
    }
    let mut found = session.pages("admin/snapshot", &query(text(&first, "/at")), None).await?;
    for instance in &mut found {
        for member in ["serviceId", "environment", "appId", "serviceName", "version"] {
            instance[member] = service.get(member).cloned().unwrap_or_default();
        }
    }
    Ok(found)
}
