//! `events`, `history`, and lists that go on with `-w`.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::process::Stdio;

use serde_json::json;

use super::run::User;
use crate::support::daemon::{Daemon, Settings};
use crate::support::eventually::{GENEROUS, eventually};
use crate::support::process::Process;
use crate::support::registry::{Instance, Registry};

/// A command that goes on: its standard output in a file, and its standard error in another.
struct Running {
    process: Process,
    out: std::path::PathBuf,
}

impl Running {
    fn start(user: &User, addr: &str, arguments: &[&str]) -> Self {
        let mut all = vec!["--addr", addr];
        all.extend_from_slice(arguments);
        let out = user.home().join("out");
        let file = fs::File::create(&out).unwrap();
        let log = user.home().join("err");
        let process = Process::spawn_onto("scctl", &mut user.command(&all), Stdio::from(file), &log).unwrap();
        Self { process, out }
    }

    fn out(&self) -> String {
        fs::read_to_string(&self.out).unwrap()
    }

    #[track_caller]
    fn prints(&mut self, words: &[&str]) {
        eventually(GENEROUS, || {
            assert_eq!(self.process.exit_status(), None, "{}", self.process.log());
            self.out().lines().any(|line| words.iter().all(|word| line.contains(word)))
        });
    }
}

#[test]
fn the_life_of_an_instance_is_told() {
    let daemon = Daemon::start(Settings::default()).unwrap();
    let registry = Registry::new(daemon.client(), "default");
    let service = registry.create_service("orders", "1.0.0").unwrap();
    registry.register(&service, &Instance::named("one")).unwrap();
    registry.set_status(&service, "one", "DOWN").unwrap();
    registry.unregister(&service, "one").unwrap();
    let user = User::new();
    let kinds = |arguments: &[&str]| {
        let ran = user.at(&daemon, arguments);
        let cells = ran.cells();
        assert_eq!(cells[0], ["TIME", "EVENT", "SERVICE", "INSTANCE", "CAUSE", "TOLD"], "{ran:?}");
        cells[1..].iter().map(|row| row[1].to_owned()).collect::<Vec<_>>()
    };
    let life = ["instance.registered", "instance.changed", "instance.unregistered"];
    assert_eq!(kinds(&["history", &format!("{service}/one")]), life);
    assert_eq!(kinds(&["history", "one"]), life, "also without the service, although it is gone");
    assert_eq!(kinds(&["events", "--kind", "instance", "--service", "orders"]), life);
    assert_eq!(kinds(&["events", "--instance", "one", "--limit", "2"]), life[1..], "the latest");
    assert!(kinds(&["events", "--since", "1h"]).contains(&"service.registered".to_owned()));
    let json = user.at(&daemon, &["history", "one", "-o", "json"]).json();
    assert_eq!(json[1]["before"]["status"], "UP");
    let change = user.at(&daemon, &["history", "one"]);
    assert!(change.out.contains("UP -> DOWN") && change.out.contains("request from 127."), "{change:?}");
    user.at(&daemon, &["history", "two"]).fails(1, "knows no instance 'two'");
    user.at(&daemon, &["history", &format!("{service}/two")]).fails(1, "knows no instance");
    user.at(&daemon, &["events", "--kind", "instance.vanished"]).fails(64, "400001");
}

/// The daemon is killed and started again meanwhile.
#[test]
fn a_watch_goes_on_after_a_lost_connection() {
    let mut daemon = Daemon::start(Settings::default()).unwrap();
    let registry = Registry::new(daemon.client(), "default");
    let service = registry.create_service("orders", "1.0.0").unwrap();
    registry.register(&service, &Instance::named("one")).unwrap();
    let user = User::new();
    let addr = super::run::url(&daemon);
    let mut watch = Running::start(&user, &addr, &["events", "-w", "--since", "1h", "--kind", "instance"]);
    watch.prints(&["instance.registered", "one"]);
    registry.register(&service, &Instance::named("two")).unwrap();
    watch.prints(&["instance.registered", "two"]);
    daemon.restart().unwrap();
    eventually(GENEROUS, || watch.process.log().contains("connected to"));
    registry.register(&service, &Instance::named("three")).unwrap();
    watch.prints(&["instance.registered", "three"]);
    assert!(watch.process.log().contains("is lost"), "{}", watch.process.log());
}

/// The first address takes connections and never says a word of TLS.
#[test]
fn an_address_that_is_silent_is_passed_over() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = format!("https://{}", listener.local_addr().unwrap());
    let daemon = Daemon::start(Settings::default()).unwrap();
    Registry::new(daemon.client(), "default").create_service("orders", "1.0.0").unwrap();
    let both = format!("{silent},{}", super::run::url(&daemon));
    let user = User::new();
    let listed = user.run(&["--addr", &both, "--insecure", "--timeout", "5s", "get", "service"]);
    assert!(listed.ok().contains("orders"), "{listed:?}");
    let watched = ["--insecure", "--timeout", "5s", "events", "-w", "--since", "1h"];
    Running::start(&user, &both, &watched).prints(&["service.registered", "orders"]);
    user.run(&["--addr", &silent, "--insecure", "--timeout", "100ms", "get", "service"])
        .fails(69, "cannot be reached: no connection within");
}

#[test]
fn a_list_goes_on_with_changes() {
    let daemon = Daemon::start(Settings::default()).unwrap();
    let registry = Registry::new(daemon.client(), "default");
    let service = registry.create_service("orders", "1.0.0").unwrap();
    registry.register(&service, &Instance::named("one")).unwrap();
    let user = User::new();
    let mut list = Running::start(&user, &super::run::url(&daemon), &["get", "inst", "orders", "-w"]);
    list.prints(&["test", "rest://127.0.0.1:1", "orders"]);
    registry.set_status(&service, "one", "DOWN").unwrap();
    list.prints(&["instance.changed", "UP -> DOWN"]);
}

/// A node that ends the stream after one event, and does not know that event later.
#[test]
fn a_gap_is_a_line() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = format!("http://{}", listener.local_addr().unwrap());
    let (heads, asked) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for number in 1..=2 {
            let (mut stream, _) = listener.accept().unwrap();
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            let mut head = String::new();
            while !head.ends_with("\r\n\r\n") {
                assert!(reader.read_line(&mut head).unwrap() > 0);
            }
            heads.send(head.to_ascii_lowercase()).unwrap();
            let record = json!({"resumed": false, "completeSince": "t0", "node": "node-1"});
            let event = json!({"seq": number, "time": "2026-01-02T03:04:05.678Z", "kind": "node.joined"});
            let text = format!(
                "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\nid: 0-0\r\nevent: record\r\ndata: {record}\r\n\r\n: ping\n\nid: {number}-7\nevent: node.joined\ndata: {event}\n\n"
            );
            stream.write_all(text.as_bytes()).unwrap();
        }
    });
    let user = User::new();
    let mut watch = Running::start(&user, &addr, &["events", "-w", "-o", "json"]);
    watch.prints(&["node.joined", "\"seq\":1"]);
    watch.prints(&["record.gap", "node-1"]);
    watch.prints(&["node.joined", "\"seq\":2"]);
    let (first, second) = (asked.recv().unwrap(), asked.recv().unwrap());
    assert!(first.contains("accept: text/event-stream") && !first.contains("last-event-id"), "{first}");
    assert!(
        second.contains("last-event-id: 1-7") && second.contains("since=2026-01-02t03%3a04%3a05.678z"),
        "{second}"
    );
}
