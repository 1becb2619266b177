//! `debug`: what the archive holds and what it leaves out.

use std::collections::BTreeMap;
use std::io::Read as _;

use serde_json::{Value, json};

use super::run::{User, answering};
use crate::access::{start, token_of, with_accounts};
use crate::support::daemon::{Daemon, Settings};
use crate::support::http::Request;
use crate::support::net::free_address;

/// The files of an archive, by their names.
fn files(user: &User, archive: &str) -> BTreeMap<String, String> {
    let file = std::fs::File::open(user.home().join(archive)).unwrap();
    let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(file));
    let mut files = BTreeMap::new();
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        let path = entry.path().unwrap().display().to_string();
        let mut text = String::new();
        entry.read_to_string(&mut text).unwrap();
        files.insert(path.strip_prefix("service-center-debug/").unwrap().to_owned(), text);
    }
    files
}

#[test]
fn an_archive_for_a_bug_report_has_no_secret() {
    let daemon = Daemon::start(Settings::default()).unwrap();
    let user = User::new();
    let token = "very-secret-token";
    let ran = user.at(&daemon, &["--token", token, "debug", "report.tar.gz"]);
    assert_eq!(ran.ok(), "report.tar.gz\n");
    let files = files(&user, "report.tar.gz");
    for (name, text) in &files {
        assert!(!text.is_empty(), "{name}");
        assert!(!text.contains(token), "{name}: {text}");
    }
    for name in ["about.txt", "version.json", "metrics.txt", "services.json"] {
        assert!(files.contains_key(name), "{name}: {files:?}");
    }
    user.at(&daemon, &["debug", "report.tar.gz"]).fails(64, "report.tar.gz");
}

#[test]
fn an_archive_names_no_account() {
    let daemon = start(with_accounts());
    let user = User::new();
    let token = token_of("root");
    let service = json!({"service": {"serviceName": "orders", "appId": "shop", "version": "1.0.0"}});
    let request = Request::new("POST", "/v4/default/registry/microservices").json(&service);
    let response =
        daemon.client().send(&request.header("Authorization", &format!("Bearer {token}"))).unwrap();
    assert_eq!(response.status, 200, "{}", response.text());
    let asked = ["--token", &token, "events", "--kind", "service", "-o", "json"];
    let told = user.at(&daemon, &asked).json();
    assert!(told.as_array().unwrap().iter().any(|event| event["cause"]["account"] == "root"), "{told}");
    user.at(&daemon, &["--token", &token, "debug", "full.tar.gz"]).ok();
    let full = files(&user, "full.tar.gz");
    let events: Value = serde_json::from_str(&full["events.json"]).unwrap();
    let events = events["items"].as_array().unwrap();
    assert!(
        events
            .iter()
            .any(|event| event["kind"] == "service.registered" && event["cause"]["type"] == "request")
    );
    for (name, text) in full.iter().filter(|(name, _)| name.ends_with(".json")) {
        assert!(!text.contains("\"account\""), "{name}: {text}");
    }
    // The token of an account that does not exist is refused with its name.
    let stranger = token_of("mallory");
    user.at(&daemon, &["--token", &stranger, "get", "svc"]).fails(77, "mallory");
    user.at(&daemon, &["--token", &stranger, "debug", "refused.tar.gz"]).ok();
    let refused = files(&user, "refused.tar.gz");
    assert!(refused["events.json"].starts_with("no answer: "), "{refused:?}");
    assert!(refused.values().all(|text| !text.contains("mallory")), "{refused:?}");
}

#[test]
fn an_archive_without_an_answer_is_a_failure() {
    let user = User::new();
    let nobody = free_address().unwrap().to_string();
    let ran = user.run(&["--addr", &nobody, "debug", "gone.tar.gz"]);
    ran.fails(69, "cannot be reached");
    assert_eq!(ran.out, "gone.tar.gz\n");
    let gone = files(&user, "gone.tar.gz");
    // One failed connection is enough.
    assert_eq!(gone.keys().collect::<Vec<_>>(), ["about.txt", "version.json"]);
    assert!(gone["version.json"].contains("cannot be reached"), "{gone:?}");
    let denying = answering(401, "401201");
    user.run(&["--addr", &denying, "debug", "denied.tar.gz"]).fails(77, "401201");
}
