//! One of two nodes loses its connection to etcd, while etcd and the other node go on. etcd ends the leases of instances whose
//! heartbeats go to the lost node, and some instances are unregistered through the other node.
//!
//! The lost node answers finds and heartbeats, and refuses writes with a clear error. Afterwards it renews the leases, and writes again
//! the instances whose leases have ended.

use std::time::{Duration, Instant};

use serde_json::json;

use super::agreement::{Instances, agree_on, in_etcd, on_node};
use super::owners::{HeartbeatAnswers, Owners, beats_away};
use crate::support::daemon::{Daemon, Settings};
use crate::support::etcd::Etcd;
use crate::support::eventually::{GENEROUS, eventually};
use crate::support::http::{Client, Response};
use crate::support::proxy::Proxy;
use crate::support::registry::{CallError, Freshness, Instance, Registry, next_event};
use crate::support::scale::Scale;
use crate::support::store::on_etcd;
use crate::support::ws::WebSocket;

/// Settings that allow leases of 2 s.
pub fn short_leases() -> Settings {
    Settings::default()
        .yaml("registry.instance.minInterval", json!("1s"))
        .yaml("registry.instance.minTimes", json!(1))
}

/// `prefix0`, `prefix1` and so on.
pub fn names(prefix: &str, count: usize) -> Vec<String> {
    (0..count).map(|number| format!("{prefix}{number}")).collect()
}

/// Sends a write while the store is away, and asserts that it is refused with a clear error; the time until the refusal.
#[track_caller]
pub fn assert_refused_clearly(client: &Client, name: &str) -> Duration {
    let begin = Instant::now();
    let service = json!({"service": {"serviceName": name, "version": "1.0.0"}});
    let response: Response =
        client.post("/v4/default/registry/microservices", &service).expect("an answer, not a hang");
    assert!((500..600).contains(&response.status), "{}: {}", response.status, response.text());
    let body = response.json();
    for member in ["errorCode", "errorMessage", "detail"] {
        assert!(body[member].as_str().is_some_and(|text| !text.is_empty()), "no {member}: {body}");
    }
    begin.elapsed()
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Loss {
    Cut,
    Stalled,
}

/// Whether `/health` is good.
pub fn is_healthy(client: &Client) -> Result<(), String> {
    let response = client.get("/v4/default/registry/health").map_err(|error| error.to_string())?;
    if response.status == 200 { Ok(()) } else { Err(response.text()) }
}

/// The events of a watch before the creation of this instance, as (action, instance id).
fn pushed_before(watch: &mut WebSocket, last: &str) -> Vec<(String, String)> {
    let mut events = Vec::new();
    loop {
        let (action, id) = next_event(watch, GENEROUS).expect("an event");
        if id == last {
            assert_eq!(action, "CREATE");
            return events;
        }
        events.push((action, id));
    }
}

fn check_loss(loss: Loss) {
    let etcd = Etcd::start();
    let proxy = Proxy::start(etcd.address()).unwrap();
    let mut lost = Daemon::start(on_etcd(short_leases(), &[proxy.address()])).unwrap();
    let near = Daemon::start(on_etcd(short_leases(), &[etcd.address()])).unwrap();
    let [at_lost, at_near] = [&lost, &near].map(|node| Registry::new(node.client(), "default").patient());
    let provider = at_lost.create_service("provider", "1.0.0").unwrap();
    let consumer = at_lost.create_service("consumer", "1.0.0").unwrap();
    for registry in [&at_lost, &at_near] {
        registry.depend(&consumer, "provider", &provider);
    }
    let (beating, leaving, long) = (names("beats", 20), names("leaves", 3), names("long", 3));
    for id in &long {
        at_lost.register(&provider, &Instance::named(id)).unwrap();
    }
    let all = [beating.clone(), leaving.clone(), long.clone()].concat();
    let owners = Owners::register(lost.client(), &provider, &beating, (1, 3));
    // On leases that do not end before these instances are unregistered.
    let leavers = Owners::register(lost.client(), &provider, &leaving, (5, 3));
    let before = agree_on(&[&lost, &near], &etcd, &provider, &all);
    let watch_target = at_lost.watch_target(&consumer);
    let mut watches = [&lost, &near].map(|node| WebSocket::open(node.address(), &watch_target, &[]).unwrap());

    match loss {
        Loss::Cut => proxy.cut(),
        Loss::Stalled => proxy.stall(),
    }
    let away = Instant::now();
    // One more heartbeat, which the lost node cannot pass on. Then these instances are unregistered at the other node.
    let rounds = leavers.rounds();
    eventually(GENEROUS, || leavers.rounds() >= rounds + 2);
    leavers.stop().assert_all_taken();
    for id in &leaving {
        at_near.unregister(&provider, id).unwrap();
    }
    assert_eq!(is_healthy(&lost.client()), Ok(()), "a short outage is not reported");
    let longest_write = away_for_a_while(&lost, &etcd, &provider, &before, &long, &owners);
    let complains = Scale::of_this_run() == Scale::Long;
    if complains {
        let complaint = eventually(GENEROUS, || is_healthy(&lost.client()).err());
        assert!(complaint.contains("400002"), "{complaint}");
    }

    proxy.heal();
    let back = Instant::now();
    eventually(GENEROUS, || is_healthy(&lost.client()));
    let complaint =
        if complains { format!("until {:?} after etcd's return", back.elapsed()) } else { "not".to_owned() };
    eventually(GENEROUS, || at_lost.create_service("afterwards", "1.0.0"));
    let stay = [beating.clone(), long].concat();
    let after = agree_on(&[&lost, &near], &etcd, &provider, &stay);
    // The documents have not changed, and heartbeats count again: nothing is gone after another lease time.
    let expected: Instances = before.into_iter().filter(|(id, _)| stay.contains(id)).collect();
    assert_eq!(after, expected);
    let rounds = owners.rounds();
    eventually(GENEROUS, || owners.rounds() >= rounds + 12);
    assert_eq!(agree_on(&[&lost, &near], &etcd, &provider, &stay), expected);
    let answers: HeartbeatAnswers = owners.stop();
    answers.assert_all_taken();
    for id in &leaving {
        let again = format!("instance {provider}/{id} was written again");
        assert!(!lost.process().log().contains(&again), "{again}");
    }
    at_near.register(&provider, &Instance::named("last")).unwrap();
    // Watchers of the lost node get a DELETE of the unregistered instances only. An instance that was written again is a CREATE.
    let mut gone = pushed_before(&mut watches[0], "last");
    gone.retain(|(action, _)| action == "DELETE");
    gone.sort();
    let goodbyes: Vec<(String, String)> =
        leaving.iter().map(|id| ("DELETE".to_owned(), id.clone())).collect();
    assert_eq!(gone, goodbyes);
    // The other node does not know of the heartbeats. But an unregistered instance never comes back.
    let elsewhere = pushed_before(&mut watches[1], "last");
    for id in &leaving {
        let of_it: Vec<&str> =
            elsewhere.iter().filter(|(_, of)| of == id).map(|(action, _)| action.as_str()).collect();
        assert_eq!(of_it, ["DELETE"], "{id}");
    }
    say!(
        "figure: {loss:?}: away for {:?}, {} beats taken (longest answer {:?}), longest refusal of a write {longest_write:?}, \
         /health complained {complaint}",
        back.duration_since(away),
        answers.taken,
        answers.longest,
    );
}

/// Checks the node while it is without etcd, until etcd has ended the leases of all instances with heartbeats there, and for at least
/// [`beats_away`] heartbeats; the longest time until a write was refused.
fn away_for_a_while(
    lost: &Daemon,
    etcd: &Etcd,
    provider: &str,
    before: &Instances,
    long: &[String],
    owners: &Owners,
) -> Duration {
    let client = lost.client();
    let at_lost = Registry::new(lost.client(), "default");
    let rounds = owners.rounds() + beats_away();
    let mut longest = Duration::ZERO;
    eventually(GENEROUS * 3, || {
        assert_eq!(&on_node(&client, provider).unwrap(), before, "from what the node knows");
        let all: Vec<String> = before.keys().cloned().collect();
        assert_eq!(at_lost.find(None, "provider", Freshness::Fresh).unwrap(), all);
        longest = longest.max(assert_refused_clearly(&client, "meanwhile"));
        assert_eq!(client.get("/v4/default/registry/health/readiness").unwrap().status, 200);
        let left: Vec<String> = in_etcd(etcd, provider)?.keys().cloned().collect();
        let is_over = owners.rounds() >= rounds && left == long;
        if is_over { Ok(()) } else { Err(format!("etcd still holds {left:?}")) }
    });
    longest
}

/// Injected: the connections of one node to etcd are cut, and every new one, for some seconds (a minute in a long run).
#[test]
fn a_node_cut_off_from_etcd_answers_and_makes_the_beats_good() {
    check_loss(Loss::Cut);
}

/// Injected: the network between one node and etcd loses every packet. The connections stay.
#[test]
fn a_node_whose_packets_to_etcd_are_lost_answers_and_makes_the_beats_good() {
    check_loss(Loss::Stalled);
}

/// Injected: the network between one of two nodes and etcd loses every packet, and an instance is registered at the other node. The lost
/// node does not know the instance, and answers that the registry is unavailable. If it answered that there is no such instance, an owner
/// would take it for unregistered, or register it again.
#[test]
fn what_a_lost_node_cannot_know_it_does_not_deny() {
    let etcd = Etcd::start();
    let proxy = Proxy::start(etcd.address()).unwrap();
    let lost = Daemon::start(on_etcd(short_leases(), &[proxy.address()])).unwrap();
    let near = Daemon::start(on_etcd(short_leases(), &[etcd.address()])).unwrap();
    let at_lost = Registry::new(lost.client(), "default");
    let at_near = Registry::new(near.client(), "default").patient();
    let provider = at_near.create_service("provider", "1.0.0").unwrap();
    eventually(GENEROUS, || at_lost.find(None, "provider", Freshness::Fresh));
    proxy.stall();
    at_near.register(&provider, &Instance::named("late")).unwrap();
    let later = at_near.create_service("later", "1.0.0").unwrap();
    let answers = [
        at_lost.unregister(&provider, "late"),
        at_lost.heartbeat(&provider, "late"),
        at_lost.register(&later, &Instance::named("other")).map(drop),
    ];
    for answer in answers {
        assert!(
            matches!(&answer, Err(CallError::Refused { status: 500, code, .. }) if code == "500011"),
            "{answer:?}"
        );
    }
    proxy.heal();
    eventually(GENEROUS, || at_lost.heartbeat(&provider, "late"));
    eventually(GENEROUS, || at_lost.unregister(&provider, "late"));
    agree_on(&[&lost, &near], &etcd, &provider, &[]);
}
