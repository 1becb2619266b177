//! Dependency rules that name another tenant, and consumers with too many rules.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::daemon::{Daemon, Settings};
use crate::support::etcd::Etcd;
use crate::support::etcd_keys::EtcdKeys;
use crate::support::eventually::{GENEROUS, eventually};
use crate::support::http::{Request, Response};
use crate::support::registry::patiently;
use crate::support::store::{Backing as _, Embedded, on_etcd};
use crate::support::ws::{Frame, WebSocket};

/// Runs a check with a daemon on each store, with these settings, and with the etcd if there is one.
fn on_each_store(settings: &Settings, check: impl Fn(&mut Daemon, Option<&Etcd>)) {
    check(&mut Daemon::start(Embedded.chosen_in(settings.clone())).unwrap(), None);
    let etcd = Etcd::start();
    check(&mut Daemon::start(on_etcd(settings.clone(), &[etcd.address()])).unwrap(), Some(&etcd));
}

/// Sends a request as a caller of this domain and project.
fn send(daemon: &Daemon, tenant: (&str, &str), method: &str, path: &str, body: Option<&Value>) -> Response {
    let (domain, project) = tenant;
    let mut request = Request::new(method, &format!("/v4/{project}/registry{path}"));
    request = request.header("X-Domain-Name", domain);
    if let Some(body) = body {
        request = request.json(body);
    }
    patiently(|| daemon.client().send(&request)).unwrap()
}

#[track_caller]
fn ok(response: &Response) {
    assert_eq!(response.status, 200, "{}", response.text());
}

/// The error code of a refusal.
#[track_caller]
fn refusal(response: &Response) -> String {
    assert_eq!(response.status, 400, "{}", response.text());
    response.json()["errorCode"].as_str().unwrap().to_owned()
}

#[track_caller]
fn service(daemon: &Daemon, tenant: (&str, &str), name: &str) -> String {
    let body = json!({"service": {"serviceName": name, "version": "1.0.0"}});
    let response = send(daemon, tenant, "POST", "/microservices", Some(&body));
    ok(&response);
    response.json()["serviceId"].as_str().unwrap().to_owned()
}

#[track_caller]
fn instance(daemon: &Daemon, tenant: (&str, &str), service: &str) -> Response {
    let body = json!({"instance": {"hostName": "h", "endpoints": ["rest://127.0.0.1:1"]}});
    send(daemon, tenant, "POST", &format!("/microservices/{service}/instances"), Some(&body))
}

fn key(name: &str) -> Value {
    json!({"appId": "default", "serviceName": name, "version": "1.0.0"})
}

fn of(tenant: &str, name: &str) -> Value {
    json!({"tenant": tenant, "appId": "default", "serviceName": name, "version": "1.0.0"})
}

fn rule(consumer: Value, providers: Vec<Value>) -> Value {
    json!({"dependencies": [{"consumer": consumer, "providers": providers}]})
}

/// The ids of a service's consumers or providers, sorted.
#[track_caller]
fn partners(daemon: &Daemon, tenant: (&str, &str), service: &str, side: &str) -> Vec<String> {
    let response = send(daemon, tenant, "GET", &format!("/microservices/{service}/{side}"), None);
    ok(&response);
    let found = response.json()[side].as_array().cloned().unwrap_or_default();
    let mut ids: Vec<String> =
        found.iter().map(|service| service["serviceId"].as_str().unwrap().to_owned()).collect();
    ids.sort();
    ids
}

#[track_caller]
fn settles(daemon: &Daemon, tenant: (&str, &str), service: &str, side: &str, expected: &[&str]) {
    let mut expected = expected.to_vec();
    expected.sort_unstable();
    eventually(GENEROUS, || {
        let found = partners(daemon, tenant, service, side);
        if found == expected { Ok(()) } else { Err(format!("{side}: {found:?}, not {expected:?}")) }
    });
}

/// Opens a watch, and waits for the answer to a ping: then the session is subscribed.
#[track_caller]
fn watcher(daemon: &Daemon, (domain, project): (&str, &str), consumer: &str) -> WebSocket {
    let target = format!("/v4/{project}/registry/microservices/{consumer}/watcher");
    let headers = [("X-Domain-Name".to_owned(), domain.to_owned())];
    let mut watcher = WebSocket::open(daemon.address(), &target, &headers).unwrap();
    watcher.ping(b"x").unwrap();
    assert!(matches!(watcher.next_frame(GENEROUS).unwrap(), Frame::Pong(_)));
    watcher
}

/// The service id in the next event.
#[track_caller]
fn told_of(watcher: &mut WebSocket) -> Value {
    watcher.expect_json(GENEROUS).unwrap()["instance"]["serviceId"].clone()
}

/// The keys below a prefix in etcd. On the embedded store there are none to read.
fn keys_below(etcd: Option<&Etcd>, prefix: &str) -> Vec<String> {
    let listed = etcd.map(|etcd| etcd.ctl(&["get", "--prefix", "--keys-only", prefix])).unwrap_or_default();
    listed.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

const OWN: (&str, &str) = ("default", "default");
const NEAR: (&str, &str) = ("default", "other");
const FAR: (&str, &str) = ("d9", "p9");

/// Texts that are no tenant, or one that the caller may not name.
fn bad_tenants() -> Vec<String> {
    let bad =
        ["d9/p9", "a/b/c/d/e", "..", "../..", "default/..", "./default", "default", "/", "//", "default/"];
    let odd = ["default/\u{7}", "default/a b", "\u{0}/default", "default/default/", "default\n/x"];
    let long = ["x".repeat(100_000), format!("default/{}", "x".repeat(100_000)), "d/".repeat(50_000)];
    bad.into_iter().chain(odd).map(str::to_owned).chain(long).collect()
}

/// A tenant becomes part of keys. A request is refused if it names a tenant outside of the caller's domain, and nothing is written.
#[test]
fn a_tenant_is_one_of_the_callers_domain() {
    on_each_store(&Settings::default(), |daemon, etcd| {
        let consumer = service(daemon, OWN, "c");
        service(daemon, OWN, "p");
        service(daemon, FAR, "p");
        for tenant in bad_tenants() {
            for method in ["PUT", "POST"] {
                for (consumer, provider) in [(key("c"), of(&tenant, "p")), (of(&tenant, "c"), key("p"))] {
                    let body = rule(consumer, vec![key("near"), provider]);
                    let response = send(daemon, OWN, method, "/dependencies", Some(&body));
                    let shown: String = tenant.chars().take(40).collect();
                    assert_eq!(refusal(&response), "400001", "{method} {shown}");
                    assert!(response.body.len() < 2_000, "{method} {shown}: {} bytes", response.body.len());
                    let text = response.text();
                    assert!(text.contains(".Tenant'"), "{text}");
                }
            }
        }
        assert_eq!(keys_below(etcd, "/cse-sr/ms/dep-"), [""; 0]);
        assert_eq!(partners(daemon, OWN, &consumer, "providers"), [""; 0]);
        // The rest of these bodies is valid.
        let near = service(daemon, NEAR, "near");
        let good = rule(of("default/default", "c"), vec![of("default/other", "near"), key("p")]);
        ok(&send(daemon, OWN, "POST", "/dependencies", Some(&good)));
        settles(daemon, NEAR, &near, "consumers", &[&consumer]);
        let from_near = rule(of("default/default", "c"), vec![of("default/other", "near")]);
        ok(&send(daemon, NEAR, "PUT", "/dependencies", Some(&from_near)));
        settles(daemon, OWN, &consumer, "providers", &[&near]);
    });
}

/// A consumer in another project of the domain may depend on a provider, and protects it from deletion. A consumer in another domain may
/// not, unless that is configured.
#[test]
fn a_domain_is_told_of_its_own_providers_only() {
    on_each_store(&Settings::default(), |daemon, _| {
        let victim = service(daemon, OWN, "victim");
        let (attacker, own) = (service(daemon, FAR, "attacker"), service(daemon, FAR, "own"));
        let spying = rule(key("attacker"), vec![of("default/default", "victim")]);
        for method in ["PUT", "POST"] {
            let response = send(daemon, FAR, method, "/dependencies", Some(&spying));
            assert_eq!(refusal(&response), "400001");
        }
        ok(&send(daemon, FAR, "POST", "/dependencies", Some(&rule(key("attacker"), vec![key("own")]))));
        settles(daemon, FAR, &attacker, "providers", &[&own]);
        let mut spy = watcher(daemon, FAR, &attacker);
        ok(&instance(daemon, OWN, &victim));
        ok(&instance(daemon, FAR, &own));
        assert_eq!(told_of(&mut spy), json!(own), "the first it hears of");

        let friend = service(daemon, NEAR, "friend");
        let asking = rule(key("friend"), vec![of("default/default", "victim")]);
        ok(&send(daemon, NEAR, "POST", "/dependencies", Some(&asking)));
        settles(daemon, OWN, &victim, "consumers", &[&friend]);
        let mut told = watcher(daemon, NEAR, &friend);
        ok(&instance(daemon, OWN, &victim));
        assert_eq!(told_of(&mut told), json!(victim));
        let delete = || send(daemon, OWN, "DELETE", &format!("/microservices/{victim}"), None);
        assert_eq!(refusal(&delete()), "400023");
        ok(&send(daemon, NEAR, "DELETE", &format!("/microservices/{friend}?force=1"), None));
        settles(daemon, OWN, &victim, "consumers", &[]);
        assert_eq!(refusal(&delete()), "400013", "only its instances protect it");
    });
}

#[test]
fn domains_are_open_to_each_other_if_that_is_configured() {
    let open = Settings::default().yaml("registry.dependency.crossDomain", json!(true));
    on_each_store(&open, |daemon, _| {
        let (provider, consumer) = (service(daemon, OWN, "p"), service(daemon, FAR, "c"));
        let asking = rule(key("c"), vec![of("default/default", "p")]);
        ok(&send(daemon, FAR, "POST", "/dependencies", Some(&asking)));
        settles(daemon, OWN, &provider, "consumers", &[&consumer]);
        let mut told = watcher(daemon, FAR, &consumer);
        ok(&instance(daemon, OWN, &provider));
        assert_eq!(told_of(&mut told), json!(provider));
        let delete = send(daemon, OWN, "DELETE", &format!("/microservices/{provider}"), None);
        assert_eq!(refusal(&delete), "400023");
        for tenant in bad_tenants().iter().filter(|tenant| *tenant != "d9/p9") {
            let body = rule(key("p"), vec![of(tenant, "c")]);
            assert_eq!(refusal(&send(daemon, OWN, "PUT", "/dependencies", Some(&body))), "400001");
        }
    });
}

/// Rules that a node of the original server has written or queued. That server checks no tenant.
#[test]
fn rules_across_domains_that_are_in_etcd_count_for_nothing() {
    let etcd = Etcd::start();
    let start = |settings| Daemon::start(on_etcd(settings, &[etcd.address()])).unwrap();
    let daemon = start(Settings::default());
    let (victim, attacker) = (service(&daemon, OWN, "victim"), service(&daemon, FAR, "attacker"));
    let own = service(&daemon, FAR, "own");
    let keys = EtcdKeys::of(&etcd);
    let full = |tenant: &str, name: &str, version: &str| json!({"tenant": tenant, "appId": "default", "serviceName": name, "version": version});
    let (spy, target) = (full("d9/p9", "attacker", "1.0.0"), full("default/default", "victim", "0.0.0+"));
    let partners_of = |keys: &[&Value]| json!({ "Dependency": keys }).to_string();
    keys.put("/cse-sr/ms/dep-rules/d9/p9/c//default/attacker/1.0.0", partners_of(&[&target]), 0);
    keys.put("/cse-sr/ms/dep-rules/default/default/p//default/victim/0.0.0+", partners_of(&[&spy]), 0);
    let queued = |consumer: &Value, providers: &[Value]| {
        json!({"consumer": consumer, "providers": providers}).to_string()
    };
    let providers = [
        target.clone(),
        full("a/b/c/d/e", "victim", "0.0.0+"),
        full("..", "victim", "0.0.0+"),
        full(&"x".repeat(100_000), "victim", "0.0.0+"),
        full("d9/p9", "own", "0.0.0+"),
    ];
    keys.put(format!("/cse-sr/ms/dep-queue/d9/p9/{attacker}/a"), queued(&spy, &providers), 0);
    // A consumer of another domain.
    let foreign = full("default/default", "victim", "1.0.0");
    keys.put(
        format!("/cse-sr/ms/dep-queue/d9/p9/{attacker}/b"),
        queued(&foreign, &[full("d9/p9", "own", "0.0.0+")]),
        0,
    );

    settles(&daemon, FAR, &attacker, "providers", &[&own]);
    eventually(GENEROUS, || keys_below(Some(&etcd), "/cse-sr/ms/dep-queue/").is_empty());
    assert_eq!(partners(&daemon, OWN, &victim, "consumers"), [""; 0]);
    assert_eq!(partners(&daemon, OWN, &victim, "providers"), [""; 0]);
    let rules = keys_below(Some(&etcd), "/cse-sr/ms/dep-rules/");
    let expected = [
        "/cse-sr/ms/dep-rules/d9/p9/c//default/attacker/1.0.0",
        "/cse-sr/ms/dep-rules/d9/p9/p//default/own/0.0.0+",
    ];
    assert_eq!(rules, expected, "the consumer's change has ended the rule with the victim");

    // The queue is applied again, without a change of the consumer.
    keys.put("/cse-sr/ms/dep-rules/default/default/p//default/victim/0.0.0+", partners_of(&[&spy]), 0);
    keys.put(expected[0], partners_of(&[&target, &providers[4]]), 0);
    let mut spying = watcher(&daemon, FAR, &attacker);
    ok(&instance(&daemon, OWN, &victim));
    ok(&instance(&daemon, FAR, &own));
    assert_eq!(told_of(&mut spying), json!(own), "the first it hears of");
    assert_eq!(partners(&daemon, FAR, &attacker, "providers"), [own.as_str()]);
    let delete = send(&daemon, OWN, "DELETE", &format!("/microservices/{victim}"), None);
    assert_eq!(refusal(&delete), "400013", "only its instances protect it");
    // A second node reads the rules at its start.
    let open = start(Settings::default().yaml("registry.dependency.crossDomain", json!(true)));
    settles(&open, OWN, &victim, "consumers", &[&attacker]);
    let closed = start(Settings::default());
    settles(&closed, OWN, &victim, "consumers", &[]);
}

fn named(prefix: &str, count: usize) -> Vec<Value> {
    (0..count).map(|number| key(&format!("{prefix}{number}"))).collect()
}

/// A consumer has a quota of providers, by whatever route they come. A provider that it has is never refused.
#[test]
fn the_providers_of_a_consumer_have_a_quota() {
    let small = Settings::default().yaml("quota.cap.dependency.limit", json!(3));
    on_each_store(&small, |daemon, _| {
        let consumer = service(daemon, OWN, "c");
        let providers: Vec<String> = (0..4).map(|n| service(daemon, OWN, &format!("p{n}"))).collect();
        let first: Vec<&str> = providers.iter().take(3).map(String::as_str).collect();
        let change = |method: &str, providers: Vec<Value>| {
            send(daemon, OWN, method, "/dependencies", Some(&rule(key("c"), providers)))
        };
        for method in ["POST", "PUT"] {
            let response = change(method, named("p", 4));
            assert_eq!(refusal(&response), "400100");
            let detail = "no quota to create DEPENDENCY, max num is 3, curNum is 0, apply num is 4";
            assert_eq!(response.json()["detail"], json!(detail));
        }
        ok(&change("POST", named("p", 2)));
        settles(daemon, OWN, &consumer, "providers", &first[..2]);
        assert_eq!(refusal(&change("POST", named("q", 2))), "400100");
        ok(&change("POST", named("p", 3)));
        settles(daemon, OWN, &consumer, "providers", &first);
        ok(&change("POST", named("p", 3)));
        ok(&change("PUT", named("p", 3)));
        assert_eq!(refusal(&change("POST", vec![key("p3")])), "400100");
        // A find shows the provider, but records no dependency.
        let find = "/v4/default/registry/instances?appId=default&serviceName=p3";
        for _ in 0..3 {
            ok(&daemon.client().send(&Request::new("GET", find).header("X-ConsumerId", &consumer)).unwrap());
        }
        // The entries of a request are counted one after another.
        let twice = json!({"dependencies": [
            {"consumer": key("c"), "providers": [key("p0")]}, {"consumer": key("c"), "providers": [key("p3")]},
        ]});
        assert_eq!(refusal(&send(daemon, OWN, "POST", "/dependencies", Some(&twice))), "400100");
        ok(&change("PUT", vec![key("p3"), key("p0")]));
        settles(daemon, OWN, &consumer, "providers", &[&providers[3], &providers[0]]);
    });
}

/// The CPU time of some work, until the queue of dependency requests is empty.
fn cpu_of(daemon: &mut Daemon, etcd: Option<&Etcd>, work: impl FnOnce(&Daemon)) -> Duration {
    let before = daemon.process().cpu_time();
    work(daemon);
    eventually(GENEROUS, || keys_below(etcd, "/cse-sr/ms/dep-queue/").is_empty());
    daemon.process().cpu_time() - before
}

/// The cost of adding 100 providers grows with the length of the consumer's list, not with its square. The list is five times as
/// long (900 and 100 providers instead of 100 and 100), so its square is 25 times as large. On a busy machine the same work costs
/// up to three times as much as on a quiet one.
#[test]
fn the_cost_of_an_addition_grows_with_the_list_and_not_with_its_square() {
    const CONSUMERS: usize = 8;
    const MOST: u32 = 15;
    on_each_store(&Settings::default(), |daemon, etcd| {
        let mut spent = [100, 900].map(|held| {
            let prefix = format!("c{held}-");
            for number in 0..CONSUMERS {
                let name = format!("{prefix}{number}");
                service(daemon, OWN, &name);
                let body = rule(key(&name), named(&format!("held{held}-"), held));
                cpu_of(daemon, etcd, |daemon| ok(&send(daemon, OWN, "POST", "/dependencies", Some(&body))));
            }
            cpu_of(daemon, etcd, |daemon| {
                for number in 0..CONSUMERS {
                    let body = rule(key(&format!("{prefix}{number}")), named(&format!("new{held}-"), 100));
                    ok(&send(daemon, OWN, "POST", "/dependencies", Some(&body)));
                }
            })
        });
        // CPU time is counted in ticks of 10 ms. A single tick may be chance.
        spent[0] = spent[0].max(Duration::from_millis(20));
        println!("adding 100 providers to 100 and to 900, {CONSUMERS} times: {spent:?}");
        assert!(spent[1] <= spent[0] * MOST, "{spent:?}");
    });
}

/// Bodies with as many providers as fit into the limit are refused. The refusal costs about as much CPU time as to read them, and the
/// memory of a few bodies.
#[test]
fn bodies_full_of_providers_are_refused_at_the_price_of_reading_them() {
    const BODIES: usize = 2;
    let mut daemon = Daemon::start(Settings::default()).unwrap();
    let body = {
        let body = json!({"service": {"serviceName": "c", "version": "1.0.0", "alias": "al"}});
        ok(&send(&daemon, OWN, "POST", "/microservices", Some(&body)));
        move |dependencies: Vec<Value>| json!({ "dependencies": dependencies })
    };
    let count = 25_000;
    let entry =
        |consumer: Value, providers: Vec<Value>| json!({"consumer": consumer, "providers": providers});
    let mut invalid = named("p", count);
    invalid.push(key("*"));
    // The same consumer by its alias, with a hundred wrong names.
    let by_alias = (0..100).map(|number| {
        let consumer = json!({"appId": "default", "serviceName": format!("n{number}"), "alias": "al", "version": "1.0.0"});
        entry(consumer, named(&format!("q{number}-"), count / 100))
    });
    let bodies = [
        (body(vec![entry(key("c"), invalid)]), "400001"),
        (body(vec![entry(key("c"), named("p", count))]), "400100"),
        (body(by_alias.collect()), "400100"),
        (body(vec![entry(key("c"), vec![key("same"); count])]), "400001"),
    ];
    let limit = 2 << 20;
    let before = daemon.process().resident_memory();
    let mut spent = Vec::new();
    for (body, code) in &bodies {
        assert!(body.to_string().len() < limit);
        for method in ["PUT", "POST"] {
            let cpu = cpu_of(&mut daemon, None, |daemon| {
                for _ in 0..BODIES {
                    let response = send(daemon, OWN, method, "/dependencies", Some(body));
                    assert_eq!(refusal(&response), *code);
                }
            });
            spent.push(cpu.max(Duration::from_millis(20)));
        }
    }
    println!("reading {BODIES} bodies of {count} providers: {spent:?}");
    let reading = spent[0].max(spent[1]);
    // Work that grows with the square of the list would cost thousands of times as much.
    assert!(spent.iter().all(|spent| *spent <= reading * 10), "{spent:?}");
    let grown = daemon.process().peak_memory().saturating_sub(before) * 1024;
    // The six texts of a provider need about ten times the memory of its JSON. One body is handled at a time.
    assert!(grown < 24 * limit, "{grown} bytes for bodies below {limit}");
}
