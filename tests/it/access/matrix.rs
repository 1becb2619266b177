//! All routes, with every kind of caller and of service, against the model. The routes come from the route table, so a new route is
//! covered at once.

use std::collections::BTreeMap;

use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, SeedableRng as _};
use serde_json::{Value, json};
use service_center::http::routes::{Accounts, table};
use service_center::http::spec::{Method, V3};

use super::model::{About, Labels, Need, labels, need, refusal};
use super::{Caller, FAR, PASSWORD, done, permission, signed, start, token_of, with_accounts};
use crate::support::daemon::Daemon;
use crate::support::eventually::{GENEROUS, eventually};
use crate::support::http::{Request, Response};
use crate::support::registry::code;
use crate::support::seed;

/// Codes with which access control refuses.
const REFUSALS: [&str; 7] = ["401201", "401203", "401204", "401205", "401206", "403201", "403205"];

/// The services of the tests by id: environment, application, name, and alias. The second has the empty environment.
const SERVICES: [(&str, &str, &str, &str, &str); 3] = [
    ("own", "production", "shop", "own", ""),
    ("foreign", "", "shop", "foreign", "nick"),
    ("bank", "production", "bank", "own", ""),
];
const UNKNOWN: &str = "unknown";
/// No id, but an alias.
const ALIAS: &str = "nick";

fn labels_of(id: &str) -> Option<Labels> {
    let service = SERVICES.iter().find(|service| service.0 == id);
    service.map(|(_, environment, app, name, _)| labels(environment, app, name))
}

fn create_services(root: &Caller) {
    for (id, environment, app, name, alias) in SERVICES {
        root.create_service_with(&json!({
            "serviceId": id, "environment": environment, "appId": app, "serviceName": name, "alias": alias,
        }));
    }
}

/// A spelling of a route: method and path with parameters.
type Spelling = (&'static str, String);

fn method(method: Method) -> &'static str {
    match method {
        Method::Get => "GET",
        Method::Post => "POST",
        Method::Put => "PUT",
        Method::Delete => "DELETE",
    }
}

/// All routes of a server with accounts, in both spellings.
fn spellings() -> Vec<Spelling> {
    let mut spellings = Vec::new();
    for route in table(Accounts::On) {
        let method = method(route.method);
        let rest = || route.path.strip_prefix("/v4/{project}/registry").unwrap();
        spellings.push((method, route.path.to_owned()));
        match route.v3 {
            V3::None => {}
            V3::Prefixed => spellings.push((method, format!("/registry/v3{}", rest()))),
            V3::Bare => spellings.push((method, rest().to_owned())),
        }
    }
    spellings
}

/// The key by which a service is found. One of them is an alias.
fn key(id: &str) -> Labels {
    labels_of(id).unwrap_or_else(|| labels("", "shop", id))
}

/// What a find with a key is about: the services that have the name, else those that have the alias, else the key itself. A consumer
/// adds its environment.
fn found(key: &Labels, consumer: Option<&str>) -> Vec<Option<Labels>> {
    let mut environments = vec![key[0].clone()];
    if let Some(consumer) = consumer {
        let Some(consumer) = labels_of(consumer) else { return vec![None] };
        environments.retain(|named| !named.is_empty());
        environments.push(consumer[0].clone());
    }
    let mut about = Vec::new();
    for environment in environments {
        let key = [environment, key[1].clone(), key[2].clone()];
        let is_named = SERVICES.iter().any(|service| labels_of(service.0).as_ref() == Some(&key));
        let has_alias = |service: &&(&str, &str, &str, &str, &str)| {
            !is_named && service.1 == key[0] && service.2 == key[1] && service.4 == key[2]
        };
        let by_alias: Vec<_> =
            SERVICES.iter().filter(has_alias).map(|service| labels_of(service.0)).collect();
        about.extend(if by_alias.is_empty() { vec![Some(key)] } else { by_alias });
    }
    about
}

fn query(target: &str, key: &Labels) -> String {
    let [environment, app, name] = key;
    format!("{target}?type=microservice&env={environment}&appId={app}&serviceName={name}&version=0.0.1")
}

fn key_json([environment, app, name]: &Labels) -> Value {
    json!({"environment": environment, "appId": app, "serviceName": name})
}

/// A request of a route about services, and what it is about. It changes no account, role or label.
fn request(spelling: &Spelling, services: &[&str], consumer: Option<&str>) -> (Request, About) {
    let (method, path) = spelling;
    let first = services[0];
    let mut target = path.replace("{project}", "default");
    for parameter in ["{serviceId}", "{consumerId}", "{providerId}"] {
        target = target.replace(parameter, first);
    }
    let of_path =
        ["microservices", "services"].iter().any(|list| target.contains(&format!("/{list}/{first}")));
    for (parameter, value) in [
        ("{instanceId}", "none"),
        ("{schemaId}", "none"),
        ("{key}", "none"),
        ("{name}", "nobody"),
        ("{roleName}", "nothing-like-it"),
        ("{kind}", "nokind"),
        ("{id}", "none"),
        ("{hash}", "none"),
        ("{*path}", "none"),
    ] {
        target = target.replace(parameter, value);
    }
    assert!(!target.contains('{'), "say here what {target} stands for");
    let ids = || services.iter().map(|id| labels_of(id)).collect();
    let each =
        |of: &dyn Fn(&Labels) -> Vec<Option<Labels>>| services.iter().flat_map(|id| of(&key(id))).collect();
    let rest = path.trim_start_matches("/registry/v3").trim_start_matches("/v4/{project}/registry");
    let (mut body, mut about) = (json!({}), About::List);
    if of_path {
        about = About::Services(vec![labels_of(first)]);
    }
    match (*method, rest) {
        ("GET", "/instances") => {
            target = query(&target, &key(first));
            about = About::Services(found(&key(first), consumer));
        }
        ("GET", "/existence") => {
            target = query(&target, &key(first));
            about = About::Services(found(&key(first), None));
        }
        ("POST", "/instances/action") => {
            target.push_str("?type=query");
            let finds: Vec<Value> =
                services.iter().map(|id| json!({"service": key_json(&key(id))})).collect();
            body = json!({"services": finds});
            about = About::Services(each(&|key| found(key, consumer)));
        }
        ("POST", "/microservices") => {
            let mut service = key_json(&key(first));
            // So the service is not created, if it may be.
            service["version"] = json!("no version");
            body = json!({"service": service});
            about = About::Services(vec![Some(key(first))]);
        }
        ("DELETE", "/microservices") => {
            body = json!({"serviceIds": services});
            about = About::Services(ids());
        }
        ("PUT", "/heartbeats") => {
            let beats: Vec<Value> =
                services.iter().map(|id| json!({"serviceId": id, "instanceId": "none"})).collect();
            body = json!({"Instances": beats});
            about = About::Services(ids());
        }
        ("PUT", "/instances/status") => about = About::Everything,
        ("DELETE", "/v4/{project}/admin/expiries") => {
            target = format!("{target}?serviceId={first}");
            about = About::Services(vec![labels_of(first)]);
        }
        _ => {}
    }
    let mut request = Request::new(method, &target);
    if let Some(consumer) = consumer {
        request = request.header("X-ConsumerId", consumer);
    }
    let request = if *method == "GET" { request } else { request.json(&body) };
    (request, about)
}

/// A batch find of instances, which are named by the ids of their services.
fn instances_request(services: &[&str]) -> (Request, About) {
    let finds: Vec<Value> =
        services.iter().map(|id| json!({"instance": {"serviceId": id, "instanceId": "none"}})).collect();
    let target = "/v4/default/registry/instances/action?type=query";
    let request = Request::new("POST", target).json(&json!({"instances": finds}));
    (request, About::Services(services.iter().map(|id| labels_of(id)).collect()))
}

#[track_caller]
fn check(caller: &Caller, who: &str, request: Request, expected: Option<&str>) -> Response {
    let shown = format!("{who}: {request:?}");
    let response = caller.send(request);
    let code = code(&response);
    let refused = Some(code.as_str()).filter(|code| REFUSALS.contains(code));
    assert_eq!(refused, expected, "{shown}: {}", response.text());
    response
}

/// Accounts and their permissions. The role of an account has its name.
fn accounts() -> BTreeMap<&'static str, Value> {
    let both = |labels: Value| {
        let mut permissions = permission(&["*"], "service", &labels);
        permissions[0]["resources"]
            .as_array_mut()
            .unwrap()
            .push(json!({"type": "service/schema", "labels": labels}));
        permissions
    };
    let joined = |mut one: Value, other: Value| {
        one.as_array_mut().unwrap().extend(other.as_array().unwrap().iter().cloned());
        one
    };
    let nothing = Value::Null;
    BTreeMap::from([
        ("nothing", json!([])),
        ("reader", permission(&["get"], "service", &nothing)),
        (
            "writer",
            joined(permission(&["*"], "service", &nothing), permission(&["*"], "service/schema", &nothing)),
        ),
        ("beats", permission(&["update"], "service", &nothing)),
        ("own", both(json!({"serviceName": "own", "appId": "shop"}))),
        ("own-reader", permission(&["get"], "service", &json!({"serviceName": "own"}))),
        ("empty-environment", both(json!({"environment": ""}))),
        ("production", both(json!({"environment": "production"}))),
        ("shop-production", both(json!({"environment": "production", "appId": "shop"}))),
        (
            "two-rules",
            joined(
                permission(&["get", "create"], "service", &json!({"appId": "bank"})),
                permission(&["*"], "service", &json!({"appId": "shop", "environment": "production"})),
            ),
        ),
        ("star", both(json!({"serviceName": "*"}))),
        ("odd-label", both(json!({"color": "red", "appId": "shop"}))),
        ("schemas", permission(&["*"], "service/schema", &nothing)),
        ("operator", permission(&["get"], "ops", &nothing)),
        ("keeper", joined(permission(&["*"], "account", &nothing), permission(&["*"], "role", &nothing))),
        ("account-reader", permission(&["get"], "account", &nothing)),
    ])
}

fn create_accounts(root: &Caller) {
    let mut batch = Vec::new();
    for (name, permissions) in accounts() {
        root.create_role(name, &permissions);
        batch.push(json!({"name": name, "password": PASSWORD, "roles": [name]}));
    }
    for (name, role) in [("inactive", "admin"), ("deleted", "admin")] {
        batch.push(json!({"name": name, "password": PASSWORD, "roles": [role]}));
    }
    done(&root.post("/v4/accounts/batch-create", &json!({"accounts": batch})));
    root.change_account("inactive", &json!({"status": "inactive"}));
    root.delete_account("deleted");
}

/// A daemon with the services and the accounts.
fn prepared() -> (Daemon, Caller) {
    let daemon = start(with_accounts());
    let root = Caller::root(&daemon);
    create_services(&root);
    create_accounts(&root);
    (daemon, root)
}

/// Every route × every kind of service × every caller.
#[test]
fn every_route_decides_as_the_model_says() {
    let (daemon, root) = prepared();
    let spellings = spellings();
    assert!(spellings.len() > 80, "only {} spellings", spellings.len());
    let mut requests = Vec::new();
    let all = ["own", "foreign", "bank", UNKNOWN, ALIAS];
    for spelling in &spellings {
        let need = need(spelling.0, &spelling.1);
        for service in all {
            requests.push((need.clone(), request(spelling, &[service], None)));
        }
        let (_, about) = request(spelling, &["own", "foreign"], None);
        if matches!(about, About::Services(services) if services.len() > 1) {
            for several in [["own", "foreign"], ["foreign", "own"], ["own", "own"], ["own", UNKNOWN]] {
                requests.push((need.clone(), request(spelling, &several, None)));
            }
        }
        let (with, about) = request(spelling, &["own"], None);
        if matches!(about, About::List) {
            // One request about nothing in particular is enough.
            requests.retain(|(_, (other, about))| {
                !matches!(about, About::List) || other.target != with.target || other.method != with.method
            });
            requests.push((need.clone(), (with, about)));
        }
    }
    let find = need("POST", "/v4/{project}/registry/instances/action");
    for several in [&["own"][..], &["foreign"], &["own", "foreign"], &["own", "own"], &[UNKNOWN]] {
        requests.push((find.clone(), instances_request(several)));
    }

    for (name, permissions) in accounts() {
        let caller = Caller::of(&daemon, name);
        for (need, (request, about)) in &requests {
            check(&caller, name, request.clone(), refusal(&permissions, false, need, about));
        }
    }
    for (need, (request, about)) in &requests {
        check(&root, "root", request.clone(), refusal(&json!([]), true, need, about));
    }
    let claims =
        |account: &str, until: i64| signed(&json!({"account": account, "roles": ["admin"], "exp": until}));
    let callers = [
        ("nobody", None, "401204"),
        ("expired", Some(claims("root", 1_600_000_000)), "401205"),
        ("inactive", Some(claims("inactive", FAR)), "403201"),
        ("deleted", Some(claims("deleted", FAR)), "401206"),
        ("never there", Some(claims("never", FAR)), "401206"),
        ("no token", Some("token".to_owned()), "401201"),
    ];
    for (who, token, code) in callers {
        let caller = Caller::new(daemon.client(), token.as_deref());
        for (need, (request, _)) in &requests {
            let expected = if matches!(need, Need::Nothing) { None } else { Some(code) };
            check(&caller, who, request.clone(), expected);
        }
    }
    // What was permitted and refused above has left the services and accounts as they were.
    for (id, ..) in SERVICES {
        assert_eq!(
            root.get(&format!("/v4/default/registry/microservices/{id}/instances/i")).status,
            200,
            "{id}"
        );
    }
    for name in accounts().keys() {
        assert_eq!(root.get(&format!("/v4/accounts/{name}")).status, 200, "{name}");
    }
}

fn random_permissions(random: &mut StdRng) -> Value {
    let permission = |random: &mut StdRng| {
        let mut labels = serde_json::Map::new();
        for (name, values) in [
            ("environment", ["production", ""]),
            ("appId", ["shop", "bank"]),
            ("serviceName", ["own", "foreign"]),
        ] {
            if random.random_bool(0.35) {
                labels.insert(name.to_owned(), json!(values.choose(random)));
            }
        }
        let kind = ["service", "service", "service", "service/schema", "ops", "role"].choose(random);
        let verbs = ["get", "create", "update", "delete", "*"];
        let count = random.random_range(1..=3);
        let verbs: Vec<_> = verbs.choose_multiple(random, count).collect();
        json!({"resources": [{"type": kind, "labels": labels}], "verbs": verbs})
    };
    let count = random.random_range(0..=3);
    (0..count).map(|_| permission(random)).collect()
}

/// Random roles and random requests, also with a consumer and with an alias. A changed role counts for the next request.
#[test]
fn random_roles_decide_as_the_model_says() {
    const ROLES: usize = 60;
    const REQUESTS: usize = 50;
    let seed = seed::of_this_run();
    println!("{}", seed::shown(seed));
    let mut random = StdRng::seed_from_u64(seed);
    let (daemon, root) = prepared();
    let caller = Caller::of(&daemon, "own");
    let spellings = spellings();
    let of_services: Vec<&Spelling> = spellings
        .iter()
        .filter(|(_, path)| path.contains("instances") || path.contains("existence"))
        .collect();
    for _ in 0..ROLES {
        let permissions = random_permissions(&mut random);
        root.change_role("own", &permissions);
        for _ in 0..REQUESTS {
            let of = |random: &mut StdRng| {
                *["own", "own", "foreign", "bank", UNKNOWN, ALIAS].choose(random).unwrap()
            };
            let spelling: &Spelling = match random.random_bool(0.5) {
                true => of_services.choose(&mut random).copied().unwrap(),
                false => spellings.choose(&mut random).unwrap(),
            };
            let services = [of(&mut random), of(&mut random)];
            let count = random.random_range(1..=2);
            let consumer = random.random_bool(0.4).then(|| of(&mut random));
            let (request, about) = request(spelling, &services[..count], consumer);
            let need = need(spelling.0, &spelling.1);
            let who = format!("{permissions}");
            check(&caller, &who, request, refusal(&permissions, false, &need, &about));
        }
    }
}

/// A find by an alias is decided by the service that has the alias, and not by the name that the request says.
#[test]
fn what_a_request_says_about_itself_does_not_count() {
    let (daemon, root) = prepared();
    let caller = Caller::of(&daemon, "own");
    let get = |target: &str, consumer: &str| {
        let request = Request::new("GET", target);
        caller.send(if consumer.is_empty() { request } else { request.header("X-ConsumerId", consumer) })
    };
    let registry = "/v4/default/registry";
    let by_alias = format!("{registry}/instances?appId=shop&serviceName=nick");
    let exists = format!("{registry}/existence?type=microservice&appId=shop&serviceName=nick&version=0.0.1");
    for target in [&by_alias, &exists] {
        assert_eq!(root.get(target).status, 200, "{target}: {}", root.get(target).text());
        root.change_role("own", &permission(&["*"], "service", &json!({"serviceName": "nick"})));
        assert_eq!(code(&get(target, "")), "403205", "{target}");
        root.change_role("own", &permission(&["*"], "service", &json!({"serviceName": "foreign"})));
        assert_eq!(get(target, "").status, 200, "{target}");
    }

    // A consumer replaces the environment of a find, and not that of a check of existence.
    root.change_role("own", &permission(&["*"], "service", &json!({"environment": "production"})));
    let find = format!("{registry}/instances?appId=shop&serviceName=foreign");
    let exists =
        format!("{registry}/existence?type=microservice&appId=shop&serviceName=foreign&version=0.0.1");
    assert_eq!(code(&get(&find, "")), "403205");
    assert_eq!(code(&get(&find, "own")), "400012", "there is none in the environment of the consumer");
    assert_eq!(code(&get(&find, "foreign")), "403205");
    assert_eq!(code(&get(&format!("{find}&env=production"), "foreign")), "403205");
    assert_eq!(code(&get(&find, UNKNOWN)), "401201");
    assert_eq!(code(&get(&exists, "own")), "403205");
    // Nor does a second value of a parameter.
    assert_eq!(code(&get(&format!("{find}&env=&env=production"), "")), "403205");
    assert_eq!(code(&get(&format!("{exists}&serviceId=own"), "")), "403205");

    // The id in the body of a registration is no way to another service.
    root.change_role("own", &permission(&["*"], "service", &json!({"serviceName": "own"})));
    let thief = json!({"service": {"serviceId": "foreign", "environment": "production", "appId": "shop", "serviceName": "own"},
        "tags": {"stolen": "yes"}});
    caller.post(&format!("{registry}/microservices"), &thief);
    assert!(!root.get(&format!("{registry}/microservices/foreign/tags")).text().contains("stolen"));
    let instance = json!({"instance": {"instanceId": "i", "serviceId": "foreign", "hostName": "stolen", "endpoints": ["rest://10.0.0.9:80"]}});
    caller.post(&format!("{registry}/microservices/own/instances"), &instance);
    assert!(!root.get(&format!("{registry}/microservices/foreign/instances")).text().contains("stolen"));
}

/// All items of a batch must be permitted; otherwise none is carried out.
#[test]
fn a_batch_is_carried_out_whole_or_not_at_all() {
    let (daemon, root) = prepared();
    let own = Caller::of(&daemon, "own");
    let registry = "/v4/default/registry";
    for ids in [["own", "foreign"], ["foreign", "own"]] {
        let deletion = Request::new("DELETE", &format!("{registry}/microservices"))
            .json(&json!({"serviceIds": ids, "force": true}));
        check(&own, "own", deletion, Some("403205"));
    }
    for (id, ..) in SERVICES {
        assert_eq!(root.get(&format!("{registry}/microservices/{id}?noCache=1")).status, 200, "{id}");
    }
    // A change of many statuses needs a permission without labels, also where an empty label fits many services.
    let change = Request::new("PUT", &format!("{registry}/instances/status")).json(&json!({
        "matches": {"properties": {"a": "b"}}, "status": "DOWN", "instance": {"status": "DOWN"},
    }));
    for name in ["own", "empty-environment", "production", "star", "odd-label"] {
        check(&Caller::of(&daemon, name), name, change.clone(), Some("403205"));
    }
    check(&Caller::of(&daemon, "writer"), "writer", change, None);
}

fn ids_of(response: &Response, list: &str) -> Vec<String> {
    done(response);
    let json = response.json();
    let services = json[list].as_array().cloned().unwrap_or_default();
    let mut ids: Vec<_> =
        services.iter().map(|service| service["serviceId"].as_str().unwrap().to_owned()).collect();
    ids.sort();
    ids
}

/// The ids of the services whose instances Prometheus gets as targets, without those of the registry itself.
#[track_caller]
fn target_ids(caller: &Caller) -> Vec<String> {
    let response = caller.get("/v4/default/prometheus/targets");
    done(&response);
    let groups = response.json();
    let label = |group: &Value, name: &str| group["labels"][format!("__meta_service_center_{name}")].clone();
    let groups =
        groups.as_array().unwrap().iter().filter(|group| label(group, "service_name") != "SERVICECENTER");
    let mut ids: Vec<String> =
        groups.map(|group| label(group, "service_id").as_str().unwrap().to_owned()).collect();
    ids.sort();
    ids
}

/// Lists of services, providers and consumers show what a role covers. In lists `*` stands for any characters.
#[test]
fn lists_show_only_what_a_role_covers() {
    let (daemon, root) = prepared();
    let caller = Caller::of(&daemon, "reader");
    let registry = "/v4/default/registry";
    // `own` of the shop depends on a secret provider, and a secret consumer depends on it.
    root.create_service("secret", "production", "shop", "secret");
    for (consumer, provider) in [("own", "secret"), ("secret", "own")] {
        let find =
            Request::new("GET", &format!("{registry}/instances?appId=shop&serviceName={provider}&noCache=1"));
        eventually(GENEROUS, || {
            done(&root.send(find.clone().header("X-ConsumerId", consumer)));
            let providers = root.get(&format!("{registry}/microservices/{consumer}/providers?noCache=1"));
            ids_of(&providers, "providers").iter().any(|id| id == provider)
        });
    }
    let lists = [
        (format!("{registry}/microservices"), "services"),
        (format!("{registry}/microservices/own/providers"), "providers"),
        (format!("{registry}/microservices/own/consumers"), "consumers"),
    ];
    let shown = |labels: Value| {
        let mut permissions = permission(&["get"], "service", &labels);
        let own = json!({"serviceName": "own", "appId": "shop"});
        permissions
            .as_array_mut()
            .unwrap()
            .extend(permission(&["get"], "service", &own).as_array().unwrap().clone());
        root.change_role("reader", &permissions);
        lists.each_ref().map(|(target, list)| ids_of(&caller.get(target), list).join(" "))
    };
    assert_eq!(shown(json!({"serviceName": "own", "appId": "shop"})), ["own", "", ""]);
    assert_eq!(shown(json!({"serviceName": "sec*", "appId": "shop"})), ["own secret", "secret", "secret"]);
    assert_eq!(shown(json!({"serviceName": "sec*", "appId": "bank"})), ["own", "", ""]);
    assert_eq!(shown(json!({"environment": ""})), ["foreign own", "", ""]);
    assert_eq!(shown(json!({"color": ""})), ["bank foreign own secret", "secret", "secret"]);
    assert_eq!(shown(Value::Null), ["bank foreign own secret", "secret", "secret"]);
    assert_eq!(target_ids(&caller), ["bank", "foreign", "own", "secret"]);
    root.change_role(
        "reader",
        &permission(&["get"], "service", &json!({"serviceName": "sec*", "appId": "shop"})),
    );
    assert_eq!(target_ids(&caller), ["secret"]);
    root.change_role("reader", &permission(&["get"], "service", &json!({"environment": ""})));
    assert_eq!(target_ids(&caller), ["foreign"]);
    root.change_role("reader", &permission(&["get"], "service", &Value::Null));
    // The older API shows lists to admins only.
    assert_eq!(code(&caller.get("/registry/v3/microservices")), "403205");
    assert_eq!(
        ids_of(
            &Caller::new(daemon.client(), Some(&token_of("root"))).get("/registry/v3/microservices"),
            "services"
        )
        .len(),
        4
    );
}

/// A drain names consumers only to callers who may read them.
#[test]
fn a_receipt_names_only_consumers_that_a_role_covers() {
    let (daemon, root) = prepared();
    let caller = Caller::of(&daemon, "reader");
    let registry = "/v4/default/registry";
    root.create_service("secret", "production", "shop", "secret");
    let find = Request::new("GET", &format!("{registry}/instances?appId=shop&serviceName=own&noCache=1"));
    let instance = format!("{registry}/microservices/own/instances/i");
    let named = |reads: &[Value]| {
        let own = json!({"serviceName": "own", "appId": "shop"});
        let mut permissions = permission(&["update"], "service", &own);
        let reads = reads
            .iter()
            .flat_map(|labels| permission(&["get"], "service", labels).as_array().unwrap().clone());
        permissions.as_array_mut().unwrap().extend(reads);
        root.change_role("reader", &permissions);
        let mut receipt = Value::Null;
        eventually(GENEROUS, || {
            done(&root.put(&format!("{instance}/status?value=UP"), &Value::Null));
            done(&root.send(find.clone().header("X-ConsumerId", "secret")));
            let answer = caller.post(&format!("{instance}/drain?wait=1s"), &Value::Null);
            done(&answer);
            receipt = answer.json();
            (&receipt["seen"], &receipt["of"]) == (&json!(0), &json!(1))
        });
        let missing = receipt["missing"].as_array().unwrap();
        missing.iter().map(|missing| missing["consumer"]["serviceName"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(named(&[]), [] as [Value; 0]);
    assert_eq!(named(&[json!({"serviceName": "own"})]), [] as [Value; 0]);
    assert_eq!(named(&[json!({"serviceName": "sec*"})]), ["secret"]);
    assert_eq!(named(&[Value::Null]), ["secret"]);
}
