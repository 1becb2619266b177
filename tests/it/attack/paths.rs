//! Paths that a proxy and the daemon may understand differently.

use serde_json::json;

use crate::support::daemon::{Daemon, Settings};
use crate::support::etcd::Etcd;
use crate::support::http::Request;
use crate::support::registry::{Freshness, Registry};
use crate::support::store::on_etcd;

/// Paths that a proxy may pass because they begin with `/metrics/`, before or after it has decoded or cleaned them.
const BEHIND_METRICS: [&str; 16] = [
    "/metrics/..%2fv4/default/registry/microservices",
    "/metrics/..%2Fv4%2Fdefault%2Fregistry%2Fmicroservices",
    "/metrics/%2e%2e/v4/default/registry/microservices",
    "/metrics/%2E%2E/v4/default/registry/microservices",
    "/metrics/.%2e/v4/default/registry/microservices",
    "/metrics/%2e%2e%2fv4/default/registry/microservices",
    "/metrics/%252e%252e/v4/default/registry/microservices",
    "/metrics/..%252fv4/default/registry/microservices",
    "/metrics/..;/v4/default/registry/microservices",
    "/metrics/..;x=y/v4/default/registry/microservices",
    "/metrics/..%5cv4/default/registry/microservices",
    "/metrics/..\\v4/default/registry/microservices",
    "/metrics//../v4/default/registry/microservices",
    "/metrics/x//../../v4/default/registry/microservices",
    "/metrics/..%c0%afv4/default/registry/microservices",
    "/metrics%2f../v4/default/registry/microservices",
];

/// Paths with invalid ids. The last three end in `/metrics` for a proxy that reads `%2e%2e` as a step back, and in an id for one that
/// does not.
const BEFORE_METRICS: [&str; 5] = [
    "/v4/default/registry/microservices/a%2fb",
    "/v4/default/registry/microservices/%2e%2e/instances",
    "/v4/default/registry/microservices/%2e%2e/../%2e%2e/../metrics",
    "/v4/default/registry/microservices/%2e%2e/%2e%2e/%2e%2e/%2e%2e/metrics",
    "/v4/default/registry/microservices/..%2f..%2f..%2f..%2fmetrics",
];

/// No spelling of a path reaches a route that its beginning does not name, whatever the method and the form of the target.
#[test]
fn a_path_reaches_only_what_its_beginning_names() {
    spelled_paths(Settings::default());
}

#[test]
fn a_path_reaches_only_what_its_beginning_names_on_etcd() {
    let etcd = Etcd::start();
    spelled_paths(on_etcd(Settings::default(), &[etcd.address()]));
}

fn spelled_paths(settings: Settings) {
    let daemon = Daemon::start(settings).unwrap();
    let registry = Registry::new(daemon.client(), "default");
    let before = registry.services(Freshness::Fresh).unwrap();
    let client = daemon.client();
    let body = json!({"service": {"serviceName": "smuggled"}});
    let absolute = format!("http://{}", daemon.address());
    for path in BEHIND_METRICS.into_iter().chain(BEFORE_METRICS) {
        for target in [path.to_owned(), format!("{absolute}{path}"), format!("{path}?noCache=1")] {
            for method in ["GET", "POST", "DELETE"] {
                let response = client.send(&Request::new(method, &target).json(&body)).unwrap();
                assert!(matches!(response.status, 400 | 404), "{method} {target}: {}", response.status);
                assert!(!response.text().contains("\"services\""), "{method} {target}: {}", response.text());
            }
        }
    }
    assert_eq!(registry.services(Freshness::Fresh).unwrap(), before);
}
