//! The cluster guide, followed to the letter. Each machine has a folder whose `conf/app.conf` holds only the machine's `httpaddr` and the
//! common `manager_cluster`. In a test each machine is a loopback address with the default port 30100. etcd is real.

use std::net::{IpAddr, SocketAddr};

use serde_json::{Value, json};

use crate::support::daemon::{Daemon, Settings};
use crate::support::etcd::{self, Etcd};
use crate::support::eventually::{GENEROUS, eventually};
use crate::support::http::{Client, HttpError};
use crate::support::net::loopback;
use crate::support::registry::{CallError, Freshness, Instance, Registry};
use crate::support::store::on_etcd;
use crate::support::ws::{Frame, WebSocket};

const HEALTH: &str = "/v4/default/registry/health";
/// The prefix in etcd of the instances of the project `default`.
const INSTANCES: &str = "/cse-sr/inst/files/default/default/";
const LEASES: &str = "/cse-sr/inst/leases/default/default/";
/// A lease short enough to wait for. A node sends a heartbeat every 10 s, and the machine may stall for some seconds more.
const SHORT_TTL: (&str, &str) = ("INSTANCE_TTL", "20");

/// The settings of the guide for a node on this machine.
fn guide(host: IpAddr, etcd: &[SocketAddr]) -> Settings {
    on_etcd(Settings::default().on_default_port_of(host), etcd)
}

fn node(etcd: &Etcd) -> Settings {
    guide(loopback(), &[etcd.address()])
}

/// Starts two nodes, and waits until they list each other.
fn pair(etcd: &Etcd, adjust: impl Fn(Settings) -> Settings) -> (Daemon, Daemon) {
    let start = || Daemon::start(adjust(node(etcd))).unwrap();
    let (one, other) = (start(), start());
    for node in [&one, &other] {
        lists(node, &[one.address(), other.address()]);
    }
    (one, other)
}

/// The nodes that `/health` lists.
fn members(client: &Client) -> Result<Vec<Value>, String> {
    let response = client.get(HEALTH).map_err(|error| error.to_string())?;
    if response.status != 200 {
        return Err(format!("{}: {}", response.status, response.text()));
    }
    Ok(response.json()["instances"].as_array().cloned().unwrap_or_default())
}

fn endpoint(node: SocketAddr) -> String {
    format!("rest://{node}")
}

/// The only entry of `node` in the list of `asked`.
fn member(asked: &Daemon, node: SocketAddr) -> Value {
    let mut found = members(&asked.client()).unwrap();
    found.retain(|member| member["endpoints"] == json!([endpoint(node)]));
    assert_eq!(found.len(), 1, "{node}: {found:?}");
    found.remove(0)
}

/// Waits until `asked` lists exactly these nodes, each once.
#[track_caller]
fn lists(asked: &Daemon, nodes: &[SocketAddr]) {
    let mut wanted: Vec<Value> = nodes.iter().map(|node| json!([endpoint(*node)])).collect();
    wanted.sort_by_key(Value::to_string);
    eventually(GENEROUS, || {
        let mut found: Vec<Value> =
            members(&asked.client())?.iter().map(|member| member["endpoints"].clone()).collect();
        found.sort_by_key(Value::to_string);
        if found == wanted { Ok(()) } else { Err(format!("listed: {found:?}, want {wanted:?}")) }
    });
}

fn is_hex(value: &Value, length: usize) -> bool {
    value
        .as_str()
        .is_some_and(|text| text.len() == length && text.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

fn is_seconds_as_text(value: &Value) -> bool {
    value.as_str().and_then(|text| text.parse::<u64>().ok()).is_some_and(|seconds| seconds > 1_600_000_000)
}

/// Asserts that the entry has exactly the members of the guide.
fn check_members_entry(mut entry: Value, node: SocketAddr) {
    let document = entry.as_object_mut().unwrap();
    for (member, is_good) in [
        ("instanceId", (|value| is_hex(value, 32)) as fn(&Value) -> bool),
        ("serviceId", |value| is_hex(value, 32) || is_hex(value, 40)),
        ("timestamp", is_seconds_as_text),
        ("modTimestamp", is_seconds_as_text),
    ] {
        let value = document.remove(member).unwrap_or_default();
        assert!(is_good(&value), "{member} of {node} is {value}");
    }
    let expected = json!({
        "endpoints": [endpoint(node)],
        "hostName": format!("service_center_{}", node.ip().to_string().replace('.', "_")),
        "status": "UP",
        "healthCheck": {"mode": "push", "interval": 30, "times": 3},
        "version": "2.2.0",
    });
    assert_eq!(entry, expected);
}

/// Asserts that both nodes list both, as the guide shows it, and that an instance written on one is found on the other.
fn check_cluster(one: &Daemon, other: &Daemon) {
    assert_eq!((one.address().port(), other.address().port()), (30100, 30100));
    for asked in [one, other] {
        lists(asked, &[one.address(), other.address()]);
        let response = asked.client().get(HEALTH).unwrap();
        assert_eq!(response.header("Content-Type"), Some("application/json; charset=UTF-8"));
        for node in [one, other] {
            check_members_entry(member(asked, node.address()), node.address());
        }
    }
    let services = |asked| member(asked, one.address())["serviceId"].clone();
    assert_eq!(services(one), member(one, other.address())["serviceId"], "both are instances of one service");

    for (number, (writer, reader)) in [(one, other), (other, one)].into_iter().enumerate() {
        let (writer, reader) =
            (Registry::new(writer.client(), "default"), Registry::new(reader.client(), "default"));
        let name = format!("orders{number}");
        let service = writer.create_service(&name, "1.0.0").unwrap();
        let instances = [writer.register(&service, &Instance::named(&format!("i{number}"))).unwrap()];
        // A read with `noCache` shows it at once, and any other read soon.
        assert_eq!(reader.list(&service, Freshness::Fresh).unwrap(), instances);
        eventually(GENEROUS, || {
            let found = reader.find(Some(&service), &name, Freshness::Cached)?;
            if found == instances { Ok(()) } else { Err(CallError::Unexpected(format!("{found:?}"))) }
        });
    }
}

#[test]
fn two_nodes_of_the_guide_list_each_other_and_share_what_is_written() {
    let etcd = Etcd::start();
    let (one, other) = pair(&etcd, |settings| settings);
    let conf = std::fs::read_to_string(one.folder().join("conf/app.conf")).unwrap();
    let guide = format!("httpaddr = {}\nmanager_cluster = \"{}\"\n", one.address().ip(), etcd.address());
    assert_eq!(conf, guide, "nothing but the guide's keys");
    check_cluster(&one, &other);
}

#[test]
fn the_guides_list_of_two_etcd_servers_is_one_cluster() {
    let servers = etcd::cluster(2);
    let endpoints: Vec<SocketAddr> = servers.iter().map(Etcd::address).collect();
    let start = || Daemon::start(guide(loopback(), &endpoints)).unwrap();
    let (one, other) = (start(), start());
    check_cluster(&one, &other);
}

/// Injected: `kill -9` of one node. Its entry stays until its lease ends. Then the other node lists only itself.
#[test]
fn a_killed_node_is_gone_when_its_lease_ends() {
    let etcd = Etcd::start();
    let (one, mut other) = pair(&etcd, |settings| settings.environment(SHORT_TTL.0, SHORT_TTL.1));
    let entry = member(&one, other.address());
    let key = format!(
        "{INSTANCES}{}/{}",
        entry["serviceId"].as_str().unwrap(),
        entry["instanceId"].as_str().unwrap()
    );
    other.kill9();
    assert!(etcd.ctl(&["get", "--keys-only", &key]).contains(&key), "nobody but its lease removes it");
    lists(&one, &[one.address()]);
    assert_eq!(etcd.ctl(&["get", "--keys-only", &key]).trim(), "");
}

/// Injected: `kill -9` of one node, and a restart before its lease ends. The node is listed once, under its former id and on a new lease.
/// It is still listed after the old lease has ended.
#[test]
fn a_node_started_again_takes_its_former_entry_over() {
    let etcd = Etcd::start();
    let (one, mut other) = pair(&etcd, |settings| settings.environment(SHORT_TTL.0, SHORT_TTL.1));
    let former = member(&one, other.address());
    let (service, id) = (former["serviceId"].as_str().unwrap(), former["instanceId"].as_str().unwrap());
    for _ in 0..2 {
        let former_lease = lease_of(&etcd, service, id);
        other.kill9();
        other.restart().unwrap();
        assert_ne!(
            lease_of(&etcd, service, id),
            former_lease,
            "the new process stands on a lease of its own"
        );
        for asked in [&one, &other] {
            lists(asked, &[one.address(), other.address()]);
            let entry = member(asked, other.address());
            assert_eq!(entry["instanceId"], former["instanceId"]);
            check_members_entry(entry, other.address());
        }
    }
    // The node renews its new lease.
    let lease = lease_of(&etcd, service, id);
    let low = eventually(GENEROUS, || seconds_left(&etcd, lease).filter(|left| *left <= 17));
    eventually(GENEROUS, || seconds_left(&etcd, lease).is_some_and(|left| left > low));
    lists(&one, &[one.address(), other.address()]);
    assert_eq!(member(&one, other.address())["instanceId"], former["instanceId"]);
}

/// The lease of an instance of the project `default`.
fn lease_of(etcd: &Etcd, service: &str, instance: &str) -> i64 {
    let value = etcd.ctl(&["get", "--print-value-only", &format!("{LEASES}{service}/{instance}")]);
    value.trim().parse().unwrap_or_else(|error| panic!("{value:?}: {error}"))
}

/// The seconds until a lease ends; `None` when it has ended.
fn seconds_left(etcd: &Etcd, lease: i64) -> Option<i64> {
    let text = etcd.ctl(&["lease", "timetolive", &format!("{lease:x}")]);
    let rest = text.split_once("remaining(")?.1;
    rest.split_once("s)")?.0.parse().ok().filter(|left| *left >= 0)
}

/// Injected: SIGTERM to one node that has received half a request and has an idle watch. The other node stops listing it while it still
/// runs. The request is answered and its write stays. The watch is closed with 1001, and the exit code is 0.
#[test]
fn a_terminated_node_says_goodbye_and_finishes_what_it_began() {
    let etcd = Etcd::start();
    let (one, mut other) = pair(&etcd, |settings| settings);
    let registry = Registry::new(other.client(), "default");
    let consumer = registry.create_service("consumer", "1.0.0").unwrap();
    let mut watch = WebSocket::open(other.address(), &registry.watch_target(&consumer), &[]).unwrap();
    let body = json!({"service": {"serviceName": "unhurried", "version": "1.0.0"}}).to_string();
    let (begun, rest) = body.split_at(body.len() / 2);
    let mut connection = other.client().connect().unwrap();
    connection.send_bytes(b"GET /v4/default/registry/version HTTP/1.1\r\nHost: node\r\n\r\n").unwrap();
    assert_eq!(connection.read_response("GET").unwrap().status, 200);
    let head = format!(
        "POST /v4/default/registry/microservices HTTP/1.1\r\nHost: node\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    connection.send_bytes(format!("{head}{begun}").as_bytes()).unwrap();

    other.process().signal(rustix::process::Signal::TERM);
    lists(&one, &[one.address()]);
    assert_eq!(other.process().exit_status(), None, "the node is not listed any more although it still runs");
    assert_eq!(
        watch.next_data(GENEROUS).unwrap(),
        Frame::Close(Some((1001, "the registry node stops".to_owned())))
    );
    connection.send_bytes(rest.as_bytes()).unwrap();
    let answer = connection.read_response("POST").unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(other.process().wait(GENEROUS).unwrap().code(), Some(0));

    let written = answer.json()["serviceId"].as_str().unwrap().to_owned();
    let left = Registry::new(one.client(), "default").services(Freshness::Fresh).unwrap();
    assert!(left.contains(&written), "{left:?}");
    lists(&one, &[one.address()]);
}

/// Injected: no etcd when the node starts. The node keeps its port closed and logs that it waits, once and not for each attempt, until
/// etcd comes.
#[test]
fn a_node_waits_for_etcd_and_says_so() {
    let mut etcd = Etcd::start();
    etcd.kill();
    let asks_for_members = node(&etcd).environment("REGISTRY_ETCD_AUTO_SYNC_INTERVAL", "30s");
    let mut node = Daemon::spawn(asks_for_members).unwrap();
    let waiting = format!("waiting for etcd at http://{}", etcd.address());
    eventually(GENEROUS, || {
        let answer = node.client().get(HEALTH);
        assert!(matches!(answer, Err(HttpError::Connect(_))), "the port is closed: {answer:?}");
        assert_eq!(node.process().exit_status(), None, "it goes on waiting");
        node.process().log().contains(&waiting)
    });
    etcd.restart();
    node.wait_ready().unwrap();
    let log = node.process().log();
    // While etcd starts the reason may change, and each reason is logged.
    let said = log.matches(&waiting).count();
    assert!(said <= 4, "{log}");
    assert!(!log.contains("does not name its members"), "each attempt asked for the members: {log}");
    lists(&node, &[node.address()]);
}

/// The log names the version of etcd once, also if etcd was away meanwhile, and warns of a version that no longer gets corrections.
#[test]
fn a_node_logs_the_version_of_etcd() {
    let mut etcd = Etcd::start();
    let mut node = Daemon::start(node(&etcd)).unwrap();
    let status: Value = serde_json::from_str(&etcd.ctl(&["endpoint", "status", "--write-out=json"])).unwrap();
    let version = status[0]["Status"]["version"].as_str().unwrap();
    let line = format!("etcd {} has version {version}", etcd.endpoint());
    eventually(GENEROUS, || node.process().log().contains(&line));
    etcd.kill();
    eventually(GENEROUS, || node.process().log().contains("does not answer"));
    etcd.restart();
    eventually(GENEROUS, || node.process().log().contains("answers again"));
    let log = node.process().log();
    assert_eq!(log.matches(&line).count(), 1, "{log}");
    assert_eq!(log.contains("no longer gets corrections"), version.starts_with("3.4."), "{log}");
}

/// The entries in etcd of a node of the original: the service of its version, and an instance on a lease of two minutes.
struct GoNode {
    service: String,
    instance: String,
    lease: i64,
}

impl GoNode {
    /// Writes the entries of the `number`th node of this version.
    fn put(etcd: &Etcd, version: &str, number: u8, at: SocketAddr) -> Self {
        let granted = etcd.ctl(&["lease", "grant", "120"]);
        let hex = granted.split_whitespace().nth(1).unwrap();
        let lease = i64::from_str_radix(hex, 16).unwrap();
        let digits = version.replace('.', "");
        let service = format!("7062417bf9ebd4c646bb23059003cea421808{digits}");
        let instance = format!("bbf727d331594fc1b5c78747d9bb{digits}{number}");
        let put = |key: String, value: &str| {
            etcd.ctl(&["put", &key, value]);
        };
        put(
            format!("/cse-sr/ms/files/default/default/{service}"),
            &format!(
                r#"{{"serviceId":"{service}","appId":"default","serviceName":"SERVICECENTER","version":"{version}","level":"BACK","status":"UP","properties":{{"allowCrossApp":"true"}},"timestamp":"1795401441","alias":"SERVICECENTER","modTimestamp":"1795401441","environment":"development"}}"#
            ),
        );
        for kind in ["indexes", "alias"] {
            put(
                format!("/cse-sr/ms/{kind}/default/default/development/default/SERVICECENTER/{version}"),
                &service,
            );
        }
        let leased = |key: String, value: &str| {
            etcd.ctl(&["put", &format!("--lease={hex}"), &key, value]);
        };
        leased(
            format!("{INSTANCES}{service}/{instance}"),
            &format!(
                r#"{{"instanceId":"{instance}","serviceId":"{service}","endpoints":["rest://{at}/"],"hostName":"vm","status":"UP","healthCheck":{{"mode":"push","interval":30,"times":3}},"timestamp":"1795404007","modTimestamp":"1795404007","version":"{version}"}}"#
            ),
        );
        leased(format!("{LEASES}{service}/{instance}"), &lease.to_string());
        Self { service, instance, lease }
    }
}

/// The keys below a prefix.
fn keys(etcd: &Etcd, prefix: &str) -> Vec<String> {
    let output = etcd.ctl(&["get", "--prefix", "--keys-only", prefix]);
    output.split_whitespace().map(str::to_owned).collect()
}

/// etcd holds the entry of a node of the original on the same address, which was killed. The node that starts there takes the entry over,
/// with its id.
#[test]
fn the_entry_of_a_go_node_on_the_same_address_is_taken_over() {
    let etcd = Etcd::start();
    let host = loopback();
    let former = GoNode::put(&etcd, "2.2.0", 1, (host, 30100).into());
    let node = Daemon::start(guide(host, &[etcd.address()])).unwrap();
    lists(&node, &[node.address()]);
    let entry = member(&node, node.address());
    assert_eq!(entry["instanceId"], json!(former.instance));
    assert_eq!(entry["serviceId"], json!(former.service), "the service of that version was there");
    check_members_entry(entry, node.address());
    assert_eq!(keys(&etcd, INSTANCES), [format!("{INSTANCES}{}/{}", former.service, former.instance)]);
    let lease = lease_of(&etcd, &former.service, &former.instance);
    assert!(seconds_left(&etcd, lease).is_some(), "it stands on a lease that lives");
    assert!(lease != former.lease || seconds_left(&etcd, lease) > Some(100), "{lease}");
}

/// etcd holds the entries of two nodes of another version. The node that starts on the address of one of them takes its entry over, with
/// its id. The other entry stays in the list.
#[test]
fn nodes_of_another_version_are_listed_and_one_is_upgraded_in_place() {
    let etcd = Etcd::start();
    let (host, elsewhere) = (loopback(), SocketAddr::from((loopback(), 30100)));
    let other = GoNode::put(&etcd, "2.1.0", 1, elsewhere);
    let former = GoNode::put(&etcd, "2.1.0", 2, (host, 30100).into());
    assert_eq!(former.service, other.service, "two nodes of one version");
    let moved = format!("{INSTANCES}{}/{}", former.service, former.instance);
    assert!(keys(&etcd, INSTANCES).contains(&moved));
    let node = Daemon::start(guide(host, &[etcd.address()])).unwrap();
    eventually(GENEROUS, || members(&node.client()).is_ok_and(|listed| listed.len() == 2));
    let entry = member(&node, node.address());
    check_members_entry(entry.clone(), node.address());
    assert_eq!(entry["instanceId"], json!(former.instance), "upgraded in place");
    assert_ne!(entry["serviceId"], json!(former.service));
    assert!(!keys(&etcd, INSTANCES).contains(&moved), "and not listed twice");
    let mut listed = members(&node.client()).unwrap();
    listed.retain(|member| member["endpoints"] == json!([format!("rest://{elsewhere}/")]));
    assert_eq!(listed.len(), 1);
    assert_eq!(
        (&listed[0]["instanceId"], &listed[0]["hostName"], &listed[0]["version"]),
        (&json!(other.instance), &json!("vm"), &json!("2.1.0"))
    );
}
