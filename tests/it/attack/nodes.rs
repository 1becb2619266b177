//! Requests of clients that pretend to be a node of the registry.

use std::fs;

use serde_json::{Value, json};
use service_center::domain::service::derived_id;

use crate::support::daemon::{Daemon, Settings};
use crate::support::eventually::{GENEROUS, eventually};
use crate::support::http::{Client, Request, Response};
use crate::support::registry::patiently;
use crate::support::store::{Backing, Embedded, OwnEtcd};
use crate::support::ws::{WebSocket, WsError};

const REGISTRY: &str = "/v4/default/registry";

/// A daemon, and the ids of its own entry in `/health`.
struct ListedNode {
    daemon: Daemon,
    client: Client,
    service: String,
    instance: String,
}

impl ListedNode {
    fn start(store: &dyn Backing) -> Self {
        let settings = Settings::default().yaml("registry.instance.properties.zone", json!("z"));
        let daemon = Daemon::start(store.chosen_in(settings)).unwrap();
        let client = daemon.client();
        let mut node = Self { daemon, client, service: String::new(), instance: String::new() };
        let [entry] = &node.listed()[..] else { panic!("{:?}", node.listed()) };
        let text = |member: &str| entry[member].as_str().unwrap().to_owned();
        (node.service, node.instance) = (text("serviceId"), text("instanceId"));
        node
    }

    /// The nodes that `/health` lists, read from the store.
    fn listed(&self) -> Vec<Value> {
        let answer = self.client.get(&format!("{REGISTRY}/health?noCache=1")).unwrap();
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()["instances"].as_array().cloned().unwrap_or_default()
    }

    /// The registry's own services.
    fn own_services(&self) -> Vec<Value> {
        let answer = self.client.get(&format!("{REGISTRY}/microservices?withShared=true&noCache=1")).unwrap();
        let mut services = answer.json()["services"].as_array().cloned().unwrap_or_default();
        services.retain(|service| service["serviceName"] == "SERVICECENTER");
        services
    }

    fn send(&self, method: &str, path: &str, body: Option<&Value>) -> Response {
        let request = Request::new(method, &format!("{REGISTRY}{path}"));
        let request = body.map_or(request.clone(), |body| request.json(body));
        patiently(|| self.client.send(&request)).unwrap()
    }

    fn service(&self, service: Value) -> String {
        let answer = self.send("POST", "/microservices", Some(&json!({ "service": service })));
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()["serviceId"].as_str().unwrap().to_owned()
    }

    fn instance(&self, service: &str, instance: Value) -> String {
        let path = format!("/microservices/{service}/instances");
        let answer = self.send("POST", &path, Some(&json!({ "instance": instance })));
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()["instanceId"].as_str().unwrap().to_owned()
    }
}

/// The status and the error code of an answer.
fn refusal(answer: &Response) -> (u16, String) {
    let body = serde_json::from_slice::<Value>(&answer.body).unwrap_or_default();
    (answer.status, body["errorCode"].as_str().unwrap_or_default().to_owned())
}

fn forbidden() -> (u16, String) {
    (403, "403001".to_owned())
}

/// A body that this route accepts for a service of a client.
fn body_for(path: &str) -> Option<Value> {
    Some(match path.rsplit('/').next()? {
        "properties" => json!({"properties": {"allowCrossApp": "false"}}),
        "tags" => json!({"tags": {"k": "v"}}),
        "schemas" => json!({"schemas": [{"schemaId": "s", "schema": "x", "summary": "y"}]}),
        "{schemaId}" => json!({"schema": "x", "summary": "y"}),
        "instances" => json!({"instance": {"hostName": "h", "endpoints": ["rest://attacker.example:1"]}}),
        _ => return None,
    })
}

/// Sends a request to each route of the API description that writes to a service, with this service and instance; the answers.
fn write_everywhere(node: &ListedNode, service: &str, instance: &str) -> Vec<(String, Response)> {
    let description = node.client.get("/openapi.json").unwrap().json();
    let mut answers = Vec::new();
    for (path, operations) in description["paths"].as_object().unwrap() {
        for method in ["POST", "PUT", "DELETE"] {
            if !path.contains("{serviceId}") || operations.get(method.to_lowercase()).is_none() {
                continue;
            }
            let filled = [
                ("{project}", "default"),
                ("{serviceId}", service),
                ("{instanceId}", instance),
                ("{schemaId}", "s"),
                ("{key}", "k"),
            ];
            let target = filled.iter().fold(path.clone(), |path, (name, value)| path.replace(name, value));
            let request = Request::new(method, &format!("{target}?value=DOWN&force=true"));
            let body = body_for(path).filter(|_| method != "DELETE");
            let request = body.iter().fold(request, |request, body| request.json(body));
            answers.push((format!("{method} {path}"), node.client.send(&request).unwrap()));
        }
    }
    answers
}

/// No request of a client changes what `/health` lists. No route registers, changes, keeps alive or deletes an instance of the
/// registry's own service, or the service itself.
fn the_list_of_nodes_is_out_of_reach(store: &dyn Backing) {
    let node = ListedNode::start(store);
    let (listed, services) = (node.listed(), node.own_services());

    let answers = write_everywhere(&node, &node.service, &node.instance);
    assert!(answers.len() >= 14, "the description lists the routes: {}", answers.len());
    for (route, answer) in answers {
        assert_eq!(refusal(&answer), forbidden(), "{route}: {}", answer.text());
    }
    // By the paths of the older API, for an unknown instance, and by a caller that names its domain.
    for (method, path) in [
        ("DELETE", format!("/registry/v3/microservices/{}?force=1", node.service)),
        ("PUT", format!("/registry/v3/microservices/{}/instances/{}/heartbeat", node.service, node.instance)),
        ("DELETE", format!("{REGISTRY}/microservices/{}/instances/none", node.service)),
    ] {
        let request = Request::new(method, &path).header("X-Domain-Name", "default");
        assert_eq!(refusal(&node.client.send(&request).unwrap()), forbidden(), "{method} {path}");
    }

    // A new service with the name or the alias of the registry, in other environments and versions, with an instance.
    for service in [
        json!({"serviceName": "SERVICECENTER"}),
        json!({"serviceName": "SERVICECENTER", "appId": "default", "version": "9.9.9", "environment": "testing"}),
        json!({"serviceName": "SERVICECENTER", "version": "2.2.0", "environment": services[0]["environment"]}),
        json!({"serviceName": "innocent", "alias": "SERVICECENTER", "version": "9.9.9"}),
    ] {
        let instances = [json!({"hostName": "h", "endpoints": ["rest://attacker.example:1"]})];
        let body = json!({"service": service, "instances": instances, "tags": {"k": "v"}});
        assert_eq!(refusal(&node.send("POST", "/microservices", Some(&body))), forbidden(), "{service}");
    }

    // In requests for several services. The parts for other services are carried out.
    let own = json!({"serviceId": node.service, "instanceId": node.instance});
    let client_service = node.service(json!({"serviceName": "orders"}));
    let client_instance = node.instance(&client_service, json!({"hostName": "h", "properties": {"a": "b"}}));
    let one = json!({"serviceId": client_service, "instanceId": client_instance});
    let beaten = node.send("PUT", "/heartbeats", Some(&json!({"instances": [own, one]}))).json();
    for element in beaten["instances"].as_array().unwrap() {
        let error = element["errMessage"].as_str().unwrap_or_default();
        let expected = if element["serviceId"] == own["serviceId"] { "Forbidden(" } else { "" };
        assert!(error.starts_with(expected) && error.is_empty() == expected.is_empty(), "{beaten}");
    }
    let matched = json!({"matches": {"properties": {"zone": "z"}}, "status": "DOWN"});
    assert_eq!(node.send("PUT", "/instances/status", Some(&matched)).status, 200);
    let path = format!("/microservices/{client_service}/instances/{client_instance}?noCache=1");
    assert_eq!(node.send("GET", &path, None).json()["instance"]["status"], "DOWN");
    let deletion = json!({"serviceIds": [node.service, client_service], "force": true});
    let deleted = node.send("DELETE", "/microservices", Some(&deletion)).json();
    for element in deleted["services"].as_array().unwrap() {
        let is_own = element["serviceId"] == own["serviceId"];
        assert_eq!(
            element["errMessage"].as_str().is_some_and(|e| e.starts_with("Forbidden(")),
            is_own,
            "{deleted}"
        );
    }

    let socket = format!("{REGISTRY}/microservices/{}/instances/{}/heartbeat", node.service, node.instance);
    match WebSocket::open(node.daemon.address(), &socket, &[]) {
        Err(WsError::Refused { status: 403, .. }) => {}
        other => panic!("{other:?}"),
    }
    assert_eq!((node.listed(), node.own_services()), (listed, services));
}

#[test]
fn the_list_of_nodes_is_out_of_reach_on_embedded() {
    the_list_of_nodes_is_out_of_reach(&Embedded);
}

#[test]
fn the_list_of_nodes_is_out_of_reach_on_etcd() {
    the_list_of_nodes_is_out_of_reach(&OwnEtcd::start());
}

/// A service of another tenant or application may have the registry's name. Nobody looks for nodes there.
#[test]
fn the_name_is_free_elsewhere() {
    let node = ListedNode::start(&Embedded);
    let other = ListedNode { client: node.client.clone(), ..ListedNode::start(&Embedded) };
    let service = json!({"service": {"serviceName": "SERVICECENTER", "appId": "shop"}});
    assert_eq!(other.send("POST", "/microservices", Some(&service)).status, 200);
    let service = json!({"service": {"serviceName": "SERVICECENTER"}});
    let answer = node.client.post("/v4/p/registry/microservices", &service).unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
    let id = answer.json()["serviceId"].as_str().unwrap().to_owned();
    let instance = json!({"instance": {"hostName": "h"}});
    let target = format!("/v4/p/registry/microservices/{id}/instances");
    assert_eq!(node.client.post(&target, &instance).unwrap().status, 200);
    assert_eq!(node.listed().len(), 1);
}

/// The registry's own service never becomes a consumer, neither by a dependency request nor by a find in its name. Another service
/// may depend on it, which does not change it.
fn nobody_speaks_in_its_name(store: &dyn Backing) {
    let node = ListedNode::start(store);
    let provider = node.service(json!({"serviceName": "orders"}));
    let consumer = node.service(json!({"serviceName": "shop"}));
    let registry = node.own_services().remove(0);
    let key = |service: &Value| {
        json!({
            "appId": "default", "serviceName": service["serviceName"], "version": service["version"],
            "environment": service["environment"],
        })
    };
    let orders = json!({"appId": "default", "serviceName": "orders"});
    for method in ["POST", "PUT"] {
        let dependency = json!({"dependencies": [{"consumer": key(&registry), "providers": [orders]}]});
        assert_eq!(refusal(&node.send(method, "/dependencies", Some(&dependency))), forbidden(), "{method}");
    }
    let find = |consumer: &str| {
        let path = format!("{REGISTRY}/instances?appId=default&serviceName=orders");
        let request = Request::new("GET", &path).header("X-ConsumerId", consumer);
        node.client.send(&request).unwrap()
    };
    assert_eq!(find(&node.service).status, 400, "it looks in an environment of its own");
    let there = node.service(json!({"serviceName": "orders", "environment": registry["environment"]}));
    assert_eq!(find(&node.service).status, 200);
    assert_eq!(find(&consumer).status, 200);
    let partners = |id: &str, side: &str| {
        let answer = node.send("GET", &format!("/microservices/{id}/{side}?noCache=1"), None);
        answer.json()[side].as_array().map_or(0, Vec::len)
    };
    // The client's find came last. When its dependency is recorded, an earlier one would be recorded as well.
    eventually(GENEROUS, || partners(&consumer, "providers") == 1);
    assert_eq!(partners(&node.service, "providers"), 0);
    assert_eq!((partners(&provider, "consumers"), partners(&there, "consumers")), (1, 0));

    let depends = json!({"dependencies": [{
        "consumer": {"appId": "default", "serviceName": "shop", "version": "0.0.1"},
        "providers": [{"appId": "default", "serviceName": "SERVICECENTER", "environment": registry["environment"]}],
    }]});
    assert_eq!(node.send("POST", "/dependencies", Some(&depends)).status, 200);
    eventually(GENEROUS, || partners(&node.service, "consumers") == 1);
    assert_eq!(node.own_services(), [registry]);
}

#[test]
fn nobody_speaks_in_its_name_on_embedded() {
    nobody_speaks_in_its_name(&Embedded);
}

#[test]
fn nobody_speaks_in_its_name_on_etcd() {
    nobody_speaks_in_its_name(&OwnEtcd::start());
}

/// A client can compute the id of the service that nodes of the next version register. If it takes the id first, it keeps it, and the
/// nodes are listed under another id.
#[test]
fn a_taken_id_keeps_no_node_out() {
    let mut node = ListedNode::start(&Embedded);
    let environment = node.own_services()[0]["environment"].as_str().unwrap().to_owned();
    let index = format!("/cse-sr/ms/indexes/default/default/{environment}/default/SERVICECENTER/2.9.9");
    let squatter = node.service(json!({"serviceName": "squatter", "serviceId": derived_id(&index)}));
    fs::write(node.daemon.folder().join("conf/app.yaml"), "registry:\n  version: 2.9.9\n").unwrap();
    node.daemon.restart().unwrap();
    let listed = node.listed();
    assert_eq!(listed.len(), 1, "{listed:?}");
    assert_eq!(listed[0]["version"], "2.9.9");
    assert_ne!(listed[0]["serviceId"], json!(squatter));
    let own = listed[0]["serviceId"].as_str().unwrap();
    let answers = write_everywhere(&node, own, listed[0]["instanceId"].as_str().unwrap());
    assert!(answers.iter().all(|(_, answer)| refusal(answer) == forbidden()), "{answers:?}");
    assert_eq!(node.listed(), listed);
}
