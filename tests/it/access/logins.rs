//! Logins: guesses, storms, and what an answer tells about the accounts that exist.

use std::fs;
use std::time::Duration;

use serde_json::json;

use super::{Caller, PASSWORD, REGISTRY, ROOT_PASSWORD, done, log_in, start, token, with_accounts};
use crate::support::daemon::Daemon;
use crate::support::etcd::Etcd;
use crate::support::eventually::{GENEROUS, eventually};
use crate::support::http::{Connection, Request, Response};
use crate::support::registry::code;
use crate::support::store::on_etcd;

const WRONG: &str = "Wrong#Pwd1";

/// Settings in which a header says where a login comes from, so that a test has many addresses.
fn behind_a_proxy() -> crate::support::daemon::Settings {
    with_accounts().yaml("server.limit.ipLookups", json!("X-Forwarded-For"))
}

fn login(name: &str, password: &str) -> Request {
    Request::new("POST", "/v4/token").json(&json!({"name": name, "password": password}))
}

fn log_in_from(caller: &Caller, address: u8, name: &str, password: &str) -> Response {
    caller.send(login(name, password).header("X-Forwarded-For", &format!("10.9.8.{address}")))
}

/// The third failure locks a pair of account and address, whichever nodes are asked, and also after a restart. A name without an
/// account is locked alike.
#[test]
fn three_failures_lock_on_all_nodes_and_across_restarts() {
    let etcd = Etcd::start();
    let mut nodes = [(); 2].map(|()| start(on_etcd(with_accounts(), &[etcd.address()])));
    let root = Caller::root(&nodes[0]);
    for name in ["spread", "restarted", "fine"] {
        root.create_account(name, &["developer"]);
    }
    let [near, far] = nodes.each_ref().map(Daemon::client);
    for name in ["spread", "made-up"] {
        for client in [&near, &far, &near] {
            assert_eq!(code(&log_in(client, name, WRONG)), "401202", "{name}");
        }
        for client in [&near, &far] {
            assert_eq!(code(&log_in(client, name, PASSWORD)), "403201", "{name}");
        }
    }
    // Headers do not make another client of it.
    for header in
        ["X-Forwarded-For", "X-Real-IP", "Forwarded", "X-Client-IP", "X-Originating-IP", "True-Client-IP"]
    {
        let request = login("spread", PASSWORD).header(header, "8.8.8.8");
        assert_eq!(code(&near.send(&request).unwrap()), "403201", "{header}");
    }
    for _ in 0..2 {
        assert_eq!(code(&log_in(&near, "restarted", WRONG)), "401202");
    }
    // Killed, so nothing can be written at the end.
    nodes[0].restart().unwrap();
    assert_eq!(code(&log_in(&near, "spread", PASSWORD)), "403201");
    assert_eq!(code(&log_in(&near, "restarted", WRONG)), "401202");
    assert_eq!(code(&log_in(&far, "restarted", PASSWORD)), "403201");
    token(&far, "fine", PASSWORD);
    let locks = Caller::root(&nodes[1]).get("/v4/account-locks").json();
    let banned: Vec<_> =
        locks["data"].as_array().unwrap().iter().map(|lock| (&lock["key"], &lock["status"])).collect();
    for name in ["spread", "made-up", "restarted"] {
        assert!(banned.contains(&(&json!(format!("{name}::127.0.0.1")), &json!("banned"))), "{locks}");
    }
}

/// Opens a connection and sends a request on it. The answer is read later.
fn begin(daemon: &Daemon, request: &Request) -> Connection {
    let mut connection = daemon.client().connect().unwrap();
    let body = String::from_utf8(request.body.clone().unwrap()).unwrap();
    let head = format!(
        "{} {} HTTP/1.1\r\nHost: h\r\nContent-Length: {}\r\n\r\n",
        request.method,
        request.target,
        body.len()
    );
    connection.send_bytes(format!("{head}{body}").as_bytes()).unwrap();
    connection
}

fn end(connection: &mut Connection) -> String {
    code(&connection.read_response("POST").unwrap())
}

/// Many guesses at once are not more guesses: the right password among them is refused once three others have failed.
#[test]
fn guesses_at_once_are_no_way_around_the_lock() {
    const GUESSES: usize = 60;
    let daemon = start(with_accounts());
    Caller::root(&daemon).create_account("tester", &["developer"]);
    let mut guesses: Vec<_> =
        (0..GUESSES).map(|number| begin(&daemon, &login("tester", &format!("Wrong#Pwd{number}")))).collect();
    let mut right = begin(&daemon, &login("tester", PASSWORD));
    let codes: Vec<String> = guesses.iter_mut().map(end).collect();
    assert!(codes.iter().all(|code| code == "401202" || code == "403201"), "{codes:?}");
    assert_eq!(end(&mut right), "403201");
    assert_eq!(code(&log_in(&daemon.client(), "tester", PASSWORD)), "403201");
}

/// The CPU time of the threads that compute hashes, and their nice values.
fn hashers(daemon: &mut Daemon) -> (Duration, Vec<i64>) {
    let tasks = fs::read_dir(format!("/proc/{}/task", daemon.process().id())).unwrap();
    let (mut used, mut nice) = (0, Vec::new());
    for task in tasks.flatten().map(|task| task.path()) {
        if fs::read_to_string(task.join("comm")).is_ok_and(|name| name.starts_with("hasher")) {
            let schedule = fs::read_to_string(task.join("schedstat")).unwrap();
            used += schedule.split_whitespace().next().unwrap().parse::<u64>().unwrap();
            let stat = fs::read_to_string(task.join("stat")).unwrap();
            nice.push(stat.rsplit_once(") ").unwrap().1.split_whitespace().nth(16).unwrap().parse().unwrap());
        }
    }
    (Duration::from_nanos(used), nice)
}

/// Far more logins than the threads for hashes take: finds are answered meanwhile, the hashes are made on their own threads with a
/// low priority, and what is too much is refused.
#[test]
fn a_storm_of_logins_does_not_delay_finds() {
    const LOGINS: usize = 150;
    let mut daemon = start(with_accounts());
    let root = Caller::root(&daemon);
    root.create_service("s", "", "default", "s");
    let (before, nice) = hashers(&mut daemon);
    let cores = std::thread::available_parallelism().unwrap().get();
    assert!(!nice.is_empty() && nice.len() <= (cores / 2).max(1), "{nice:?}");
    assert!(nice.iter().all(|nice| *nice == 10), "{nice:?}");
    // One address may try many names.
    let name = |number| format!("made-up-{number}");
    let mut storm: Vec<_> = (0..LOGINS).map(|number| begin(&daemon, &login(&name(number), WRONG))).collect();
    for _ in 0..200 {
        done(&root.get(&format!("{REGISTRY}/instances?appId=default&serviceName=s")));
        done(&root.put(&format!("{REGISTRY}/microservices/s/instances/i/heartbeat"), &json!({})));
    }
    let codes: Vec<String> = storm.iter_mut().map(end).collect();
    let count = |wanted: &str| codes.iter().filter(|code| *code == wanted).count();
    let (answered, refused) = (count("401202"), count("503001"));
    assert_eq!(answered + refused, LOGINS, "{codes:?}");
    assert!(answered > 0);
    // All hashes were made there.
    let (after, _) = hashers(&mut daemon);
    let expected = one_hash() * u32::try_from(answered).unwrap() / 20;
    assert!(after - before > expected, "{:?} for {answered} hashes", after - before);
    token(&daemon.client(), "root", ROOT_PASSWORD);
}

/// The CPU time of one hash in this build.
fn one_hash() -> Duration {
    const HASHES: u32 = 10;
    let used = || {
        let schedule = fs::read_to_string("/proc/thread-self/schedstat").unwrap();
        Duration::from_nanos(schedule.split_whitespace().next().unwrap().parse().unwrap())
    };
    let before = used();
    for _ in 0..HASHES {
        assert!(!service_center::rbac::password::verify(None, WRONG));
    }
    (used() - before) / HASHES
}

/// A login does not tell which accounts exist: neither by its answer, nor by the work for it, nor by its locks.
#[test]
fn a_login_does_not_tell_which_accounts_exist() {
    const LOGINS: u8 = 30;
    let mut daemon = start(behind_a_proxy());
    let root = Caller::root(&daemon);
    let nobody = Caller::nobody(&daemon);
    root.create_account("known", &["developer"]);
    root.create_account("inactive", &["developer"]);
    root.change_account("inactive", &json!({"status": "inactive"}));
    let shape = |response: &Response| {
        let differ = |name: &str| ["date", "x-request-id"].contains(&name.to_ascii_lowercase().as_str());
        let headers = response.headers.iter().filter(|(name, _)| !differ(name));
        (response.status, headers.cloned().collect::<Vec<_>>(), response.text())
    };
    let expected = shape(&log_in_from(&nobody, 1, "known", WRONG));
    for name in ["unknown", "inactive", "root", "", "no name!", "known ", "Known", &"x".repeat(5000)] {
        assert_eq!(shape(&log_in_from(&nobody, 1, name, WRONG)), expected, "{name:?}");
    }
    let mut work = [("known", Duration::ZERO), ("unknown", Duration::ZERO), ("inactive", Duration::ZERO)];
    // In turn, so that other work of the machine slows all alike.
    for address in 100..100 + LOGINS {
        for (name, spent) in &mut work {
            let before = hashers(&mut daemon).0;
            assert_eq!(code(&log_in_from(&nobody, address, name, WRONG)), "401202");
            *spent += hashers(&mut daemon).0 - before;
        }
    }
    let [(_, known), others @ ..] = work;
    for (name, other) in others {
        assert!(
            known < other * 3 && other < known * 3,
            "{known:?} for a known account, {other:?} for {name}"
        );
    }
    // The lock comes with the same failure, and says the same.
    for name in ["known", "unknown", "inactive"] {
        let codes = [(); 5].map(|()| code(&log_in_from(&nobody, 50, name, WRONG)));
        assert_eq!(codes, ["401202", "401202", "401202", "403201", "403201"], "{name}");
    }
    let texts = ["known", "unknown", "inactive"].map(|name| shape(&log_in_from(&nobody, 50, name, WRONG)));
    assert!(texts.iter().all(|text| *text == texts[0]), "{texts:?}");
    // Without the right to accounts, a caller learns nothing about the names of others.
    let tester = Caller::of(&daemon, "known");
    for (one, other) in [("root", "unknown"), ("inactive", "unknown")] {
        let answers = [one, other].map(|name| {
            let read = tester.get(&format!("/v4/accounts/{name}"));
            let change =
                tester.post(&format!("/v4/accounts/{name}/password"), &json!({"password": PASSWORD}));
            (code(&read), code(&change))
        });
        assert_eq!(answers[0], answers[1]);
        assert_eq!(answers[0], ("403205".to_owned(), "403001".to_owned()));
    }
}

/// Names that somebody makes up take no place: those that no account can have are not recorded at all, and a name that could exist
/// is recorded for a while, with a limit.
#[test]
fn made_up_names_are_not_kept() {
    const NAMES: usize = 60;
    const LENGTH: usize = 1_000_000;
    let mut daemon = start(with_accounts());
    let root = Caller::root(&daemon);
    let nobody = Caller::nobody(&daemon);
    assert_eq!(code(&log_in(&daemon.client(), "warm-up", WRONG)), "401202");
    let before = daemon.process().resident_memory();
    for number in 0..NAMES {
        let name = format!("{number}{}", "n".repeat(LENGTH));
        assert_eq!(code(&nobody.send(login(&name, WRONG))), "401202");
    }
    let locks = root.get("/v4/account-locks").json();
    assert_eq!(locks["total"], json!(1), "only the name that could exist: {locks}");
    let grown = daemon.process().resident_memory().saturating_sub(before);
    assert!(grown < NAMES * LENGTH / 2, "{grown} bytes for {NAMES} names");
    assert!(!daemon.process().log().contains("nnnn"));
    assert!(daemon.terminate(GENEROUS).unwrap().success());
}

/// The actor logs the lock for the request that caused it, so the line has the id of that request, in text and in JSON.
#[test]
fn the_line_of_a_lock_has_the_id_of_its_request() {
    for format in ["text", "json"] {
        let mut daemon = start(with_accounts().conf("log_format", format));
        for number in 1..=3 {
            let request = login("guessed", WRONG).header("X-Request-Id", &format!("guess-{number}"));
            let refused = daemon.client().send(&request).unwrap();
            assert_eq!(
                (code(&refused).as_str(), refused.header("X-Request-Id")),
                ("401202", Some(&*format!("guess-{number}")))
            );
        }
        let line = eventually(GENEROUS, || {
            let log = daemon.process().log();
            log.lines().find(|line| line.contains("is locked for the address")).map(str::to_owned)
        });
        match format {
            "json" => {
                let line: serde_json::Value = serde_json::from_str(&line).unwrap();
                assert_eq!(
                    (line["requestId"].as_str(), line["level"].as_str()),
                    (Some("guess-3"), Some("WARN"))
                );
                assert!(
                    line["caller"].as_str().unwrap().starts_with("src/actors/account/logins.rs:"),
                    "{line}"
                );
            }
            _ => assert!(line.ends_with(" [request guess-3]"), "{line}"),
        }
        let log = daemon.process().log();
        assert!(!log.lines().any(|line| line.contains("listening on") && line.contains("request")), "{log}");
    }
}
