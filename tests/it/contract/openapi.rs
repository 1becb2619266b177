//! The API description that the daemon serves. The test sends the requests of a short tour, and their answers must have the members and
//! types of the description.

use serde_json::{Value, json};

use crate::support::daemon::{Daemon, Settings};
use crate::support::description::Description;
use crate::support::eventually::GENEROUS;
use crate::support::http::{Client, Request};
use crate::support::json_schema::problems;
use crate::support::ws::WebSocket;

const REGISTRY: &str = "/v4/{project}/registry";

/// A daemon and its API description.
struct Tour {
    client: Client,
    description: Description,
}

impl Tour {
    /// Sends a request to a path of the description, with its parameters filled in, and asserts that the answer is as described.
    #[track_caller]
    fn send(
        &self,
        method: &str,
        path: &str,
        names: &[(&str, &str)],
        query: &str,
        body: Option<&Value>,
    ) -> Value {
        let document = &self.description.document;
        let operation = &document["paths"][path][method.to_lowercase()];
        assert!(operation.is_object(), "{method} {path} is not described");
        let mut target = path.replace("{project}", "default");
        for (name, value) in names {
            target = target.replace(&format!("{{{name}}}"), value);
        }
        let mut request = Request::new(method, &format!("{target}{query}"));
        if let Some(body) = body {
            let schema = &operation["requestBody"]["content"]["application/json"]["schema"];
            let wrong = problems(document, schema, body, "body");
            assert!(wrong.is_empty(), "{method} {target}: {wrong:?}");
            request = request.json(body);
        }
        let response = self.client.send(&request).unwrap();
        let wrong = self.description.problems(&request, &response);
        assert!(wrong.is_empty(), "{method} {target}: {wrong:?}");
        if response.body.is_empty() { Value::Null } else { response.json() }
    }
}

#[test]
fn answers_are_as_the_daemon_describes_them() {
    let daemon = Daemon::start(Settings::default()).unwrap();
    let client = daemon.client();
    let description = Description::of(&client).unwrap();
    assert!(description.document["openapi"].as_str().unwrap().starts_with("3.1."));
    let tour = Tour { client, description };
    let path = |rest: &str| format!("{REGISTRY}{rest}");

    let service = json!({"service": {
        "serviceName": "orders", "version": "1.0.0", "alias": "o:1", "environment": "testing", "schemas": ["a"],
        "paths": [{"path": "/p", "property": {"k": "v"}}], "properties": {"k": "v"}, "registerBy": "SDK",
        "framework": {"name": "f", "version": "1"}, "LBStrategy": {"k": "v"}, "description": "d",
    }, "tags": {"a": "b"}});
    let registered = tour.send("POST", &path("/microservices"), &[], "", Some(&service));
    let id = registered["serviceId"].as_str().unwrap().to_owned();
    let at_service = [("serviceId", id.as_str())];
    let at_instance = [("serviceId", id.as_str()), ("instanceId", "orders-1")];
    let of = |rest: &str| path(&format!("/microservices/{{serviceId}}{rest}"));
    let instance = json!({"instance": {
        "instanceId": "orders-1", "hostName": "host1", "endpoints": ["rest://10.0.0.7:8080"], "properties": {"k": "v"},
        "healthCheck": {"mode": "push", "interval": 30, "times": 3, "port": 1, "url": "/u"},
        "dataCenterInfo": {"name": "n", "region": "r", "availableZone": "z"},
    }});
    tour.send("POST", &of("/instances"), &at_service, "", Some(&instance));
    let heartbeat = of("/instances/{instanceId}/heartbeat");
    tour.send("PUT", &heartbeat, &at_instance, "", None);
    tour.send("POST", &heartbeat, &at_instance, "", None);
    let refused = tour.send("PUT", &heartbeat, &[("serviceId", id.as_str()), ("instanceId", "x")], "", None);
    assert_eq!(refused["errorCode"], "400017");
    let beats = json!({"instances": [{"serviceId": id, "instanceId": "orders-1"}, {"serviceId": id, "instanceId": "x"}]});
    tour.send("PUT", &path("/heartbeats"), &[], "", Some(&beats));

    let find = "?appId=default&serviceName=orders&env=testing";
    let found = tour.send("GET", &path("/instances"), &[], find, None);
    assert_eq!(found["instances"][0]["instanceId"], "orders-1");
    let key = json!({"appId": "default", "serviceName": "orders", "environment": "testing"});
    let unknown = json!({"appId": "default", "serviceName": "unknown"});
    let many = json!({"services": [{"service": key}, {"service": unknown}], "instances": [{"instance": {"serviceId": id, "instanceId": "orders-1"}}]});
    let outcome = tour.send("POST", &path("/instances/action"), &[], "?type=query", Some(&many));
    assert_eq!(outcome["services"]["failed"][0]["error"]["errorCode"], "400012");

    let schema = json!({"schema": "text", "summary": "s"});
    let at_schema = [("serviceId", id.as_str()), ("schemaId", "a")];
    tour.send("PUT", &of("/schemas/{schemaId}"), &at_schema, "", Some(&schema));
    tour.send("GET", &of("/schemas/{schemaId}"), &at_schema, "", None);
    tour.send("GET", &of("/schemas"), &at_service, "?withSchema=1", None);
    tour.send("GET", &of("/tags"), &at_service, "", None);
    tour.send("GET", &of(""), &at_service, "", None);
    tour.send("GET", &path("/microservices"), &[], "", None);
    tour.send("GET", &of("/instances"), &at_service, "", None);
    tour.send("GET", &of("/instances/{instanceId}"), &at_instance, "", None);
    let existence = "?type=microservice&appId=default&serviceName=orders&version=1.0.0&env=testing";
    tour.send("GET", &path("/existence"), &[], existence, None);
    tour.send("GET", &path("/health"), &[], "", None);
    tour.send("GET", &path("/health/readiness"), &[], "", None);
    tour.send("GET", &path("/version"), &[], "", None);
    let events = tour.send("GET", "/v4/{project}/admin/events", &[], "?since=1h&kind=instance", None);
    assert_eq!(events["items"][0]["kind"], "instance.registered", "{events}");
    tour.send(
        "GET",
        "/v4/{project}/admin/instances/{serviceId}/{instanceId}/history",
        &at_instance,
        "",
        None,
    );
    tour.send("GET", "/v4/{project}/admin/snapshot", &[], &format!("?at=0s&serviceId={id}"), None);
    tour.send("GET", "/v4/{project}/admin/expiries", &[], "?limit=1", None);
    tour.send("DELETE", "/v4/{project}/admin/expiries", &[], &format!("?serviceId={id}"), None);
    let targets = tour.send("GET", "/v4/{project}/prometheus/targets", &[], "?serviceName=orders", None);
    assert_eq!(targets[0]["targets"], json!(["10.0.0.7:8080"]));
    tour.send("GET", "/v4/{project}/admin/retirements", &[], "", None);
    let nodes = tour.send("GET", "/v4/{project}/admin/nodes", &[], "?limit=1", None);
    assert_eq!(nodes["items"][0]["self"], true);
    tour.send("GET", "/v4/{project}/admin/diagnose", &[], "", None);
    tour.send("GET", "/openapi.json", &[], "", None).as_object().unwrap();

    let consumer = json!({"service": {"serviceName": "shop", "version": "1.0.0", "environment": "testing"}});
    let consumer = tour.send("POST", &path("/microservices"), &[], "", Some(&consumer));
    let consumer = consumer["serviceId"].as_str().unwrap().to_owned();
    let version = |name: &str| json!({"appId": "default", "serviceName": name, "version": "1.0.0", "environment": "testing"});
    let wanted = json!({"dependencies": [{"consumer": version("shop"), "providers": [version("orders")]}]});
    tour.send("POST", &path("/dependencies"), &[], "", Some(&wanted));
    let partners = [("consumerId", consumer.as_str()), ("providerId", id.as_str())];
    let providers = tour.send("GET", &path("/microservices/{consumerId}/providers"), &partners, "", None);
    assert_eq!(providers["providers"][0]["serviceName"], "orders");
    tour.send("GET", &path("/microservices/{providerId}/consumers"), &partners, "", None);
    let govern = |rest: &str| format!("/v4/{{project}}/govern/{rest}");
    let services = tour.send("GET", &govern("services"), &[], "?limit=1&sort=instances&order=desc", None);
    assert_eq!(
        (&services["items"][0]["serviceName"], services["next"].is_string()),
        (&json!("orders"), true)
    );
    let instances = tour.send("GET", &govern("instances"), &[], "?search=host1&property=k%3Dv", None);
    assert_eq!(instances["items"][0]["instanceId"], "orders-1");
    let explained = format!("?consumerId={consumer}&appId=default&serviceName=orders&version=0%2B");
    assert_eq!(tour.send("GET", &govern("explain"), &[], &explained, None)["verdict"], "found");
    let neighbors = tour.send("GET", &govern("services/{serviceId}/neighbours"), &at_service, "", None);
    assert_eq!(neighbors["consumers"][0]["serviceName"], "shop");

    let target = format!("/v4/default/registry/microservices/{consumer}/watcher");
    let mut watch = WebSocket::open(daemon.address(), &target, &[]).unwrap();
    let watchers = tour.send("GET", &govern("services/{serviceId}/watchers"), &at_service, "", None);
    assert_eq!(watchers["items"][0]["consumer"]["serviceName"], "shop");
    tour.send("PUT", &of("/instances/{instanceId}/status"), &at_instance, "?value=DOWN", None);
    tour.send("DELETE", &of("/instances/{instanceId}"), &at_instance, "", None);
    let event = watch.expect_json(GENEROUS).unwrap();
    let document = &tour.description.document;
    let described = &document["paths"][of("/watcher")]["get"]["responses"]["101"];
    let schema = &described["content"]["application/json"]["schema"];
    let wrong = problems(document, schema, &event, "event");
    assert!(wrong.is_empty() && event["key"]["alias"] == "o:1", "{event}: {wrong:?}");
    let ids = json!({"serviceIds": [id, "unknown"], "force": true});
    tour.send("DELETE", &path("/microservices"), &[], "", Some(&ids));
}
