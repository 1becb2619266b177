//! Finds the service or the instance that an argument names.

use serde_json::Value;

use super::client::encode;
use super::failure::Failure;
use super::output::{items, shown, text};
use super::session::Session;

/// How a service is named, for help texts.
pub const SERVICE_HELP: &str =
    "Service: its id, or [[ENVIRONMENT/]APPLICATION/]NAME[@VERSION], such as shop/orders@1.0.0";
/// How an instance is named, for help texts.
pub const INSTANCE_HELP: &str = "Instance: SERVICE_ID/INSTANCE_ID as `get instance -o name` prints it, or its id, host name or \
                                 endpoint if only one instance has it";

/// 400012: the service does not exist.
pub const NO_SERVICE: u32 = 400_012;
/// 400017: the instance does not exist.
pub const NO_INSTANCE: u32 = 400_017;

/// A service as a person reads it: `environment/application/name@version`.
pub fn service_name(service: &Value) -> String {
    let part = |pointer: &str| shown(service, pointer);
    let environment = part("/environment");
    let slash = if environment.is_empty() { "" } else { "/" };
    let version = part("/version");
    let at = if version.is_empty() { "" } else { "@" };
    format!("{environment}{slash}{}/{}{at}{version}", part("/appId"), part("/serviceName"))
}

/// What an argument says of a service.
#[derive(Debug, PartialEq, Eq)]
pub struct ServiceArgument<'a> {
    pub environment: Option<&'a str>,
    pub application: Option<&'a str>,
    pub name: &'a str,
    pub version: Option<&'a str>,
}

impl<'a> ServiceArgument<'a> {
    pub fn parse(argument: &'a str) -> Self {
        let (path, version) = match argument.rsplit_once('@') {
            Some((path, version)) if !path.is_empty() && !version.is_empty() => (path, Some(version)),
            _ => (argument, None),
        };
        let mut parts = path.rsplitn(3, '/');
        let name = parts.next().unwrap_or_default();
        let (application, environment) = (parts.next(), parts.next());
        Self { environment, application, name, version }
    }

    fn fits(&self, service: &Value) -> bool {
        let is = |wanted: Option<&str>, pointer: &str| {
            wanted.is_none_or(|wanted| wanted == text(service, pointer))
        };
        is(self.environment, "/environment")
            && is(self.application, "/appId")
            && is(Some(self.name), "/serviceName")
            && is(self.version, "/version")
    }
}

/// All services of the tenant.
pub async fn services(session: &mut Session<'_, '_>) -> Result<Vec<Value>, Failure> {
    let answer = session.get("registry/microservices").await?;
    Ok(items(&answer, "/services").to_vec())
}

/// The services that an argument names: several if it names no version. At least one.
pub async fn find_services(session: &mut Session<'_, '_>, argument: &str) -> Result<Vec<Value>, Failure> {
    let all = services(session).await?;
    if let Some(service) = all.iter().find(|service| text(service, "/serviceId") == argument) {
        return Ok(vec![service.clone()]);
    }
    let wanted = ServiceArgument::parse(argument);
    let found: Vec<Value> = all.into_iter().filter(|service| wanted.fits(service)).collect();
    if found.is_empty() {
        return Err(Failure::no(format!(
            "there is no service '{argument}' in this tenant; `get service` lists the services"
        )));
    }
    Ok(found)
}

/// The service that an argument names.
pub async fn find_service(session: &mut Session<'_, '_>, argument: &str) -> Result<Value, Failure> {
    let mut found = find_services(session, argument).await?;
    match (found.pop(), found.is_empty()) {
        (Some(service), true) => Ok(service),
        (last, _) => {
            found.extend(last);
            let named =
                |service: &Value| format!("{} ({})", service_name(service), text(service, "/serviceId"));
            let all: Vec<String> = found.iter().map(named).collect();
            Err(Failure::usage(format!("'{argument}' names several services: {}; name one", all.join(", "))))
        }
    }
}

/// The instance that an argument names, as the registry shows it.
pub async fn find_instance(session: &mut Session<'_, '_>, argument: &str) -> Result<Value, Failure> {
    let (service, instance) = match argument.split_once('/').filter(|_| !argument.contains("://")) {
        Some((service, instance)) => (service.to_owned(), instance.to_owned()),
        None => search_instance(session, argument).await?,
    };
    let path = format!("registry/microservices/{}/instances/{}", encode(&service), encode(&instance));
    let found = session.find(&path, &[NO_SERVICE, NO_INSTANCE]).await?;
    let found = found.and_then(|answer| answer.get("instance").cloned());
    found.ok_or_else(|| {
        Failure::no(format!("there is no instance '{service}/{instance}'; `history` tells what became of it"))
    })
}

async fn search_instance(session: &mut Session<'_, '_>, argument: &str) -> Result<(String, String), Failure> {
    let query = [("search", argument.to_owned()), ("withShared", "true".to_owned())];
    let all = session.pages("govern/instances", &query, None).await?;
    let fits = |instance: &&Value| {
        let endpoint = |endpoint: &Value| {
            let endpoint = endpoint.as_str().unwrap_or_default();
            let address = endpoint.split_once("://").map_or(endpoint, |(_, rest)| rest);
            let address = address.split(['/', '?']).next().unwrap_or_default();
            endpoint == argument || address == argument
        };
        text(instance, "/instanceId") == argument
            || text(instance, "/hostName") == argument
            || items(instance, "/endpoints").iter().any(endpoint)
    };
    let found: Vec<&Value> = all.iter().filter(fits).collect();
    match found.as_slice() {
        [instance] => Ok((shown(instance, "/serviceId"), shown(instance, "/instanceId"))),
        [] => Err(Failure::no(format!("no instance has the id, host name or endpoint '{argument}'"))),
        several => {
            let all: Vec<String> = several.iter().map(|instance| instance_name(instance)).collect();
            Err(Failure::usage(format!("several instances have '{argument}': {}; name one", all.join(", "))))
        }
    }
}

/// An instance as other commands take it.
pub fn instance_name(instance: &Value) -> String {
    format!("{}/{}", text(instance, "/serviceId"), text(instance, "/instanceId"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn services_are_named() {
        let service =
            json!({"environment": "prod", "appId": "shop", "serviceName": "orders", "version": "1.0.0"});
        for argument in
            ["orders", "shop/orders", "prod/shop/orders", "orders@1.0.0", "prod/shop/orders@1.0.0"]
        {
            assert!(ServiceArgument::parse(argument).fits(&service), "{argument}");
        }
        for argument in ["order", "x/orders", "/shop/orders", "orders@1.0.1", "orders@", "@1.0.0", ""] {
            assert!(!ServiceArgument::parse(argument).fits(&service), "{argument}");
        }
        assert_eq!(service_name(&service), "prod/shop/orders@1.0.0");
        assert_eq!(service_name(&json!({"appId": "a", "serviceName": "n"})), "a/n");
    }
}
