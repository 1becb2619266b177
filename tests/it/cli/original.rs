//! What scripts for the original's `scctl` rely on: names of commands, headings, exit codes, variables.

use serde_json::json;

use super::run::{User, answering};
use crate::support::daemon::{Daemon, Settings};
use crate::support::etcd::Etcd;
use crate::support::net::free_address;
use crate::support::registry::Registry;
use crate::support::store::on_etcd;

/// `contract/operations.md` section 4.4, and the documents of the original: the headings of each list.
#[test]
fn the_headings_are_those_of_the_original() {
    let daemon = Daemon::start(Settings::default()).unwrap();
    let user = User::new();
    for (arguments, headings) in [
        (&["get", "svc"][..], "NAME APPID VERSIONS ENV FRAMEWORK AGE"),
        (&["get", "service", "-d", "default"], "NAME APPID VERSIONS ENV FRAMEWORK AGE"),
        (&["get", "svc", "--all-domains"], "DOMAIN NAME APPID VERSIONS ENV FRAMEWORK AGE"),
        (&["get", "svc", "-owide"], "DOMAIN NAME APPID VERSIONS ENV FRAMEWORK ENDPOINTS AGE"),
        (&["get", "inst"], "HOST ENDPOINTS VERSION SERVICE APPID LEASE AGE"),
        (&["get", "instance", "--all-domains"], "DOMAIN HOST ENDPOINTS VERSION SERVICE APPID LEASE AGE"),
        (&["get", "inst", "-owide"], "DOMAIN HOST ENDPOINTS VERSION SERVICE APPID ENV FRAMEWORK LEASE AGE"),
        (&["get", "cluster"], "CLUSTER ENDPOINTS"),
    ] {
        let ran = user.at(&daemon, arguments);
        assert_eq!(ran.code, 0, "{ran:?}");
        assert_eq!(ran.cells()[0].join(" "), headings, "{ran:?}");
    }
    // The registry's own service, as the documents of the original show it.
    let own = user.at(&daemon, &["get", "svc"]);
    assert!(own.cells().iter().any(|cells| cells[..2] == ["SERVICECENTER", "default"]), "{own:?}");
    let rule = own.out.lines().nth(1).unwrap();
    assert!(rule.starts_with("+--") && rule.ends_with("--+"), "{own:?}");
}

/// 0 healthy; 2 nobody answers, or the code 500003; 3 any other code.
#[test]
fn health_has_the_exit_codes_of_the_original() {
    let daemon = Daemon::start(Settings::default()).unwrap();
    let user = User::new();
    let healthy = user.at(&daemon, &["health"]);
    assert!(healthy.ok().is_empty() && healthy.err.is_empty(), "{healthy:?}");
    let nobody = free_address().unwrap().to_string();
    user.run(&["--addr", &nobody, "health"]).fails(2, "cannot be reached");
    for (status, code, exit) in [(500, "500003", 2), (400, "400002", 3), (503, "503001", 3)] {
        let node = answering(status, code);
        user.run(&["--addr", &node, "health"]).fails(exit, code);
    }
}

/// A command that is rejected, by what the node answers.
#[test]
fn refusals_have_their_exit_codes() {
    let user = User::new();
    for (status, code, exit) in [
        (429, "429001", 75),
        (503, "503001", 75),
        (401, "401201", 77),
        (403, "403205", 77),
        (400, "400001", 64),
        (400, "400012", 1),
        (500, "500011", 69),
    ] {
        let node = answering(status, code);
        let ran = user.run(&["--addr", &node, "get", "cluster"]);
        ran.fails(exit, code);
        assert!(!ran.err.contains('\u{1b}'), "{ran:?}");
    }
    let node = answering(404, "");
    user.run(&["--addr", &node, "get", "node"]).fails(69, "older version");
}

#[test]
fn the_variables_and_the_options_of_the_original_are_known() {
    let host = std::net::IpAddr::from([127, 91, 0, 17]);
    let daemon = Daemon::start(Settings::default().on_default_port_of(host)).unwrap();
    let user = User::new().with("HOSTING_SERVER_IP", &host.to_string());
    assert!(user.run(&["version"]).ok().contains("service center version: "));
    let all = ["ver", "--peer", "--timeout", "5s", "--token", "none", "--domain", "default", "--verbose"];
    assert!(user.run(&all).ok().contains("api version: "));
    drop(daemon);
    let alone = user.run(&["version"]);
    assert_eq!(alone.ok().trim(), concat!("scctl version: ", env!("CARGO_PKG_VERSION")));
}

#[test]
fn it_is_the_same_program_under_both_names() {
    let daemon = Daemon::start(Settings::default()).unwrap();
    let run = |arguments: &[&str]| {
        let addr = format!("http://{}", daemon.address());
        let mut all = arguments.to_vec();
        all.extend_from_slice(&["--addr", &addr]);
        daemon.installation().run(&all).unwrap()
    };
    let ctl = run(&["ctl", "get", "cluster", "-o", "json"]);
    assert_eq!(ctl.code, Some(0), "{ctl:?}");
    assert_eq!(
        serde_json::from_str::<serde_json::Value>(&ctl.output).unwrap()[0]["endpoints"],
        json!(["embedded"])
    );
    assert_eq!(run(&["scctl", "get", "cluster", "-o", "json"]), ctl);
    let columns = run(&["ctl", "get", "instance"]).output;
    assert!(columns.lines().next().unwrap().ends_with("| AGE | STATUS"), "{columns}");
    let columns = run(&["ctl", "get", "service"]).output;
    assert!(columns.lines().next().unwrap().ends_with("| INSTANCES"), "{columns}");
    let help = daemon.installation().run(&["ctl", "--help"]).unwrap();
    assert!(help.code == Some(0) && help.output.contains("service-center ctl"), "{help:?}");
}

/// Injected: a service and an instance in etcd that the node does not hold the same way. The node itself is right, so a second node's etcd
/// stands for a wrong one.
#[test]
fn diagnose_compares_the_dump_with_etcd() {
    let (etcd, other) = (Etcd::start(), Etcd::start());
    let daemon = Daemon::start(on_etcd(Settings::default(), &[etcd.address()])).unwrap();
    Registry::new(daemon.client(), "default").create_service("orders", "1.0.0").unwrap();
    let user = User::new();
    let equal = user.at(&daemon, &["diagnose", "--etcd-addr", &etcd.endpoint()]);
    assert!(equal.ok().is_empty() && equal.err.is_empty(), "{equal:?}");
    let by_variable = User::new().with("CSE_REGISTRY_ADDRESS", &etcd.endpoint());
    by_variable.at(&daemon, &["diagnose"]).ok();
    other.ctl(&[
        "put",
        "/cse-sr/ms/files/default/default/far",
        "{\"serviceName\":\"far\",\"appId\":\"a\",\"version\":\"1\"}",
    ]);
    let differs = user.at(&daemon, &["diagnose", "--etcd-addr", &other.endpoint()]);
    differs.fails(1, "error: 1. found in cache but not in etcd 2. found in etcd but not in cache");
    assert!(differs.out.starts_with("1. found in cache but not in etcd, details:\n"), "{differs:?}");
    for words in ["default/orders@1.0.0", "a/far@1", "instance: ["] {
        assert!(differs.out.contains(words), "{words}: {differs:?}");
    }
    let nobody = free_address().unwrap().to_string();
    user.at(&daemon, &["-t", "1s", "diagnose", "--etcd-addr", &nobody]).fails(69, "etcd cannot be reached");
    user.at(&daemon, &["diagnose", "--etcd-addr", "x", "--etcd-pass", "p"]).fails(64, "--etcd-pass-file");
}
