//! Who may do what, written once more and as plainly as possible. It knows nothing of the daemon's code.

use serde_json::Value;

/// Environment, application and name of a service.
pub type Labels = [String; 3];

pub fn labels(environment: &str, app: &str, name: &str) -> Labels {
    [environment, app, name].map(str::to_owned)
}

/// What a request is about.
#[derive(Clone, Debug)]
pub enum About {
    /// A list, or something without labels.
    List,
    /// All services, whatever their labels.
    Everything,
    /// These services. `None` is one that does not exist.
    Services(Vec<Option<Labels>>),
}

/// What a request needs.
#[derive(Clone, Debug)]
pub enum Need {
    Nothing,
    /// An account with any role.
    Account,
    /// The role `admin`.
    Admin,
    /// The verb on the type of resource.
    Right {
        verb: &'static str,
        kind: &'static str,
    },
}

/// What a route needs, by its method and path.
///
/// # Panics
/// For a route that is not known here. Whoever adds one decides here, too.
pub fn need(method: &str, path: &str) -> Need {
    let verb = match method {
        _ if path.ends_with("/instances/action") => "get",
        // A heartbeat changes the lease, also by POST and by websocket.
        _ if path.ends_with("/heartbeats") || path.ends_with("/heartbeat") => "update",
        // A drain changes the status.
        _ if path.ends_with("/drain") => "update",
        "GET" => "get",
        "POST" => "create",
        "PUT" => "update",
        "DELETE" => "delete",
        _ => panic!("no verb for {method} {path}"),
    };
    let right = |kind| Need::Right { verb, kind };
    const OPEN: [&str; 11] = [
        "/v4/token",
        "/v4/{project}/registry/version",
        "/version",
        "/v4/{project}/registry/health",
        "/health",
        "/metrics",
        "/openapi.json",
        "/console",
        "/console/",
        "/console/assets/{hash}/{*path}",
        "/v1/syncer/health",
    ];
    const OF_SERVICES: [&str; 12] = [
        "/existence",
        "/heartbeats",
        "/microservices",
        "/microservices/{serviceId}",
        "/microservices/{serviceId}/properties",
        "/microservices/{providerId}/consumers",
        "/microservices/{consumerId}/providers",
        "/microservices/{serviceId}/watcher",
        "/microservices/{serviceId}/tags",
        "/microservices/{serviceId}/tags/{key}",
        "/microservices/{serviceId}/rules",
        "/microservices/{serviceId}/rules/{ruleId}",
    ];
    if OPEN.contains(&path) || path == "/v4/{project}/registry/health/readiness" {
        return Need::Nothing;
    }
    if path == "/v4/self-perms" || path == "/v4/accounts/{name}/password" {
        return Need::Account;
    }
    if path.starts_with("/v4/accounts") || path == "/v4/account-locks" {
        return right("account");
    }
    if path.starts_with("/v4/roles") {
        return right("role");
    }
    if path.starts_with("/v1/{project}/gov/") {
        return right("governance");
    }
    if path.starts_with("/v4/{project}/admin/") {
        return right("ops");
    }
    if path == "/v4/{project}/prometheus/targets" {
        return right("service");
    }
    if path.starts_with("/v4/{project}/govern/") || path.contains("instances") {
        return right("service");
    }
    if path.starts_with("/registry/v3/") || path == "/v4/{project}/registry/dependencies" {
        return Need::Admin;
    }
    if path.starts_with("/v4/{project}/registry/microservices/{serviceId}/schemas") {
        return right("service/schema");
    }
    match path.strip_prefix("/v4/{project}/registry") {
        Some(path) if OF_SERVICES.contains(&path) => right("service"),
        _ => panic!("say here what {method} {path} needs"),
    }
}

/// The code of the refusal, or nothing, for an account with these permissions.
pub fn refusal(permissions: &Value, is_admin: bool, need: &Need, about: &About) -> Option<&'static str> {
    let (verb, kind) = match need {
        Need::Nothing | Need::Account => return None,
        _ if is_admin => return None,
        Need::Admin => return Some("403205"),
        Need::Right { verb, kind } => (*verb, *kind),
    };
    if let About::Services(services) = about
        && services.iter().any(Option::is_none)
    {
        return Some("401201");
    }
    let mut rules = Vec::new();
    for permission in permissions.as_array().unwrap() {
        let verbs = permission["verbs"].as_array().unwrap();
        if verbs.iter().any(|has| has == "*" || has == verb) {
            for resource in permission["resources"].as_array().unwrap() {
                if resource["type"] == kind {
                    rules.push(resource["labels"].as_object().cloned().unwrap_or_default());
                }
            }
        }
    }
    let has_all = rules.iter().any(serde_json::Map::is_empty);
    let permits = |service: &Labels| {
        let value = |name: &str| match name {
            "environment" => service[0].as_str(),
            "appId" => service[1].as_str(),
            "serviceName" => service[2].as_str(),
            _ => "",
        };
        rules.iter().any(|rule| rule.iter().all(|(name, wanted)| wanted == value(name)))
    };
    let is_permitted = has_all
        || match about {
            About::List => !rules.is_empty(),
            About::Everything => false,
            About::Services(services) => !rules.is_empty() && services.iter().flatten().all(permits),
        };
    (!is_permitted).then_some("403205")
}
