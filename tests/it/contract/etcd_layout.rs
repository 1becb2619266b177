//! The keys and values that the daemon writes to etcd, request by request. They are those of the original, so that both can share one etcd
//! (cases 301 and 304). `tests/golden/etcd-layout.json` holds the requests and the keys.

use std::collections::BTreeMap;

use rustix::process::Signal;
use serde::Deserialize;
use serde_json::{Value, json};
use sha1::{Digest, Sha1};

use crate::support::daemon::{Daemon, Settings};
use crate::support::etcd::Etcd;
use crate::support::etcd_keys::{EtcdKeys, StoredValue};
use crate::support::eventually::{GENEROUS, eventually};
use crate::support::golden::holes::{Bindings, fill};
use crate::support::golden::matching::{Order, match_value};
use crate::support::golden::pattern::Pattern;
use crate::support::http::{Request, Response};

const ROOT: &str = "/cse-sr/";
/// Keys that the original neither writes nor reads. Each records that a request has replaced the properties of an instance.
const OVERRIDES: &str = "/cse-sr/inst/overrides/";
const CONTENTS: &str = "/cse-sr/ms/schema-content/";
const QUEUE_LOCK: &str = "/lock//dep-queue";

/// Expected keys and values with holes, in the order in which the holes are bound.
#[derive(Clone, Debug, Default)]
struct ExpectedKeys(Vec<(String, Pattern)>);

impl<'de> Deserialize<'de> for ExpectedKeys {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Pattern::deserialize(deserializer)? {
            Pattern::Object(members) => Ok(Self(members)),
            _ => Err(serde::de::Error::custom("an object of keys and values")),
        }
    }
}

impl ExpectedKeys {
    fn put(&mut self, (key, value): (String, Pattern)) {
        match self.0.iter_mut().find(|(known, _)| *known == key) {
            Some((_, known)) => *known = value,
            None => self.0.push((key, value)),
        }
    }

    fn delete(&mut self, key: &str) {
        let before = self.0.len();
        self.0.retain(|(known, _)| known != key);
        assert_eq!(self.0.len() + 1, before, "{key} was expected before");
    }

    /// Whether etcd holds exactly these keys with these values. Binds the holes.
    fn check(&self, held: &BTreeMap<String, StoredValue>, bindings: &mut Bindings) -> Result<(), String> {
        let mut left: Vec<&String> = held.keys().collect();
        let mut trial = bindings.clone();
        for (key, value) in &self.0 {
            let found = left.iter().position(|candidate| {
                let mut bound = trial.clone();
                let matched = match_text(key, candidate, &mut bound).is_ok();
                if matched {
                    trial = bound;
                }
                matched
            });
            let Some(found) = found else { return Err(format!("{} is missing", fill(key, &trial))) };
            let key = left.remove(found);
            check_value(value, &held[key].text(), &mut trial).map_err(|why| format!("{key}: {why}"))?;
        }
        if !left.is_empty() {
            return Err(format!("too many keys: {left:?}"));
        }
        *bindings = trial;
        Ok(())
    }
}

fn match_text(pattern: &str, got: &str, bindings: &mut Bindings) -> Result<(), String> {
    let (pattern, got) = (Pattern::Text(pattern.to_owned()), Value::String(got.to_owned()));
    match_value(&pattern, &got, bindings, "", Order::Kept).map_err(|mismatch| mismatch.to_string())
}

/// Compares a text as text. A document is compared as a document and as text, because the order of its members is that of the original.
fn check_value(want: &Pattern, got: &str, bindings: &mut Bindings) -> Result<(), String> {
    if let Pattern::Text(text) = want {
        return match_text(text, got, bindings);
    }
    let document: Value = serde_json::from_str(got).map_err(|error| format!("{error}: {got}"))?;
    match_value(want, &document, bindings, "", Order::Kept).map_err(|mismatch| mismatch.to_string())?;
    let bound = |text: &str| fill(&text.replace(":time}", "}"), bindings);
    let exact = want.map_texts(&bound).to_string();
    if exact.contains("${") || exact == got {
        return Ok(());
    }
    Err(format!("want the text {exact}, got {got}"))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Story {
    #[serde(rename = "about")]
    _about: String,
    /// Keys that are written before the daemon starts.
    before: BTreeMap<String, String>,
    /// The keys of the node itself.
    own: ExpectedKeys,
    steps: Vec<StoryStep>,
    /// All keys after the step with this name, without schema contents.
    now: ExpectedKeys,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoryStep {
    name: String,
    send: StoryRequest,
    answer: Option<Pattern>,
    #[serde(default)]
    put: ExpectedKeys,
    #[serde(default)]
    delete: Vec<String>,
    queued: Option<ExpectedKeys>,
    #[serde(default)]
    ttl: BTreeMap<String, i64>,
    #[serde(default)]
    now: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoryRequest {
    method: String,
    path: String,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    body: Option<Value>,
}

impl StoryRequest {
    fn request(&self, bindings: &Bindings) -> Request {
        let mut request = Request::new(&self.method, &fill(&self.path, bindings));
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        match &self.body {
            Some(body) => request.json(body),
            None => request,
        }
    }
}

fn story() -> Story {
    serde_json::from_str(include_str!("../../golden/etcd-layout.json")).unwrap()
}

/// Starts a daemon with the version of the recorded node, so that its service has the same id.
fn start(etcd: &Etcd) -> Daemon {
    let settings = Settings::default()
        .conf("manager_cluster", &format!("\"{}\"", etcd.address()))
        .conf("registry.version", "0.0.1");
    Daemon::start(settings).unwrap()
}

/// `{m}.{n},`: the highest revision of the instances' keys and their number.
fn revision_of(held: &BTreeMap<String, StoredValue>, prefix: &str) -> String {
    let revisions: Vec<i64> =
        held.iter().filter(|(key, _)| key.starts_with(prefix)).map(|(_, held)| held.mod_revision).collect();
    revision_text(revisions.iter().copied().max().unwrap_or(0), revisions.len())
}

fn revision_text(highest: i64, count: usize) -> String {
    let digest = Sha1::digest(format!("{highest}.{count},"));
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// All keys that the original knows as well.
fn shared(keys: &EtcdKeys) -> BTreeMap<String, StoredValue> {
    let mut held = keys.below(ROOT);
    held.retain(|key, _| !key.starts_with(OVERRIDES));
    held
}

/// Plays the story, and compares all keys in etcd after each step.
#[test]
fn a_story_leaves_what_the_original_leaves() {
    let story = story();
    let etcd = Etcd::start();
    let keys = EtcdKeys::of(&etcd);
    for (key, value) in &story.before {
        keys.put(key, value, 0);
    }
    let daemon = start(&etcd);
    let client = daemon.client();
    let mut bindings = Bindings::new();
    let mut expected = story.own.clone();
    expected.0.extend(story.before.iter().map(|(key, value)| (key.clone(), Pattern::Text(value.clone()))));
    eventually(GENEROUS, || expected.check(&shared(&keys), &mut bindings));
    for step in &story.steps {
        let before = shared(&keys);
        if step.queued.is_some() {
            // The test takes the lock of the queue, as another node would, and so sees the waiting entries.
            eventually(GENEROUS, || keys.find(QUEUE_LOCK).is_none());
            keys.put(QUEUE_LOCK, "the test", 0);
        }
        let response = client.send(&step.send.request(&bindings)).unwrap();
        assert_eq!(response.status, 200, "{}: {}", step.name, response.text());
        check_answer(step, &response, &mut bindings);
        if let Some(queued) = &step.queued {
            let mut waiting = ExpectedKeys::default();
            queued.0.iter().cloned().for_each(|pair| waiting.put(pair));
            eventually(GENEROUS, || {
                waiting.check(&keys.below("/cse-sr/ms/dep-queue/"), &mut bindings.clone())
            });
            keys.delete(QUEUE_LOCK);
        }
        step.put.0.iter().cloned().for_each(|pair| expected.put(pair));
        step.delete.iter().for_each(|key| expected.delete(key));
        eventually(GENEROUS, || {
            expected.check(&shared(&keys), &mut bindings).map_err(|why| format!("{}: {why}", step.name))
        });
        if step.put.0.is_empty() && step.delete.is_empty() {
            assert_eq!(shared(&keys), before, "{}: nothing is written, no revision moves", step.name);
        }
        check_leases(step, &keys, &bindings);
        if step.now {
            let mut held = shared(&keys);
            held.retain(|key, _| !key.starts_with(CONTENTS));
            assert_eq!(story.now.check(&held, &mut bindings.clone()), Ok(()), "all there is");
        }
    }
    // Case 304: nothing of the story is left, also no schema contents.
    assert_eq!(keys.below(OVERRIDES).len(), 0);
    assert_eq!(keys.below(CONTENTS).len(), 0);
    eventually(GENEROUS, || keys.below("/lock/").is_empty());
}

fn check_answer(step: &StoryStep, response: &Response, bindings: &mut Bindings) {
    let Some(answer) = &step.answer else { return };
    if let Err(mismatch) = match_value(answer, &response.json(), bindings, "", Order::Any) {
        panic!("{}: {mismatch}", step.name);
    }
}

/// Both keys of an instance have the lease whose decimal id is the value of the lease key. No other key has a lease.
fn check_leases(step: &StoryStep, keys: &EtcdKeys, bindings: &Bindings) {
    let held = shared(keys);
    let (instances, rest): (Vec<_>, Vec<_>) =
        held.iter().partition(|(key, _)| key.starts_with("/cse-sr/inst/files/"));
    for (key, instance) in instances {
        let lease_key = key.replace("/inst/files/", "/inst/leases/");
        let lease = &held[&lease_key];
        assert_eq!(lease.text(), lease.lease.to_string(), "{}: {lease_key}", step.name);
        assert_eq!(instance.lease, lease.lease, "{}: {key}", step.name);
        let mut leased = keys.time_to_live(lease.lease).keys;
        leased.retain(|key| !key.starts_with(OVERRIDES));
        assert_eq!(leased, [key.clone(), lease_key], "{}", step.name);
    }
    for (key, other) in rest {
        assert!(
            other.lease == 0 || key.starts_with("/cse-sr/inst/leases/"),
            "{}: {key} {other:?}",
            step.name
        );
    }
    for (lease, ttl) in &step.ttl {
        let lease = fill(lease, bindings).parse().unwrap();
        assert_eq!(keys.time_to_live(lease).granted, *ttl, "{}", step.name);
    }
}

/// Case 301: an empty environment leaves an empty segment.
#[test]
fn an_empty_environment_keeps_its_place() {
    let etcd = Etcd::start();
    let keys = EtcdKeys::of(&etcd);
    let daemon = start(&etcd);
    let service = json!({"service": {"serviceName": "n", "version": "1.0.0", "alias": "a"}});
    let answer = daemon.client().post("/v4/p/registry/microservices", &service).unwrap().json();
    let id = answer["serviceId"].as_str().unwrap();
    let index = "/cse-sr/ms/indexes/default/p//default/n/1.0.0";
    assert_eq!(keys.find(index).unwrap().text(), id);
    assert_eq!(keys.find("/cse-sr/ms/alias/default/p//default/a/1.0.0").unwrap().text(), id);
    assert!(keys.find(&format!("/cse-sr/ms/files/default/p/{id}")).is_some());
    let digest: String = Sha1::digest(index).iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(id, digest, "the id is the hash of the key");
    eventually(GENEROUS, || keys.find("/cse-sr/projects/default/p").is_some());
}

/// Case 189: the revision a client sees is made of etcd's, so that all nodes, of both kinds, answer the same one. The
/// instances are put at the revisions at which the original was recorded, and its answers come out.
#[test]
fn revisions_are_the_originals() {
    const RECORDED: [(i64, usize, &str); 2] = [
        (5997, 1, "b06b0a8cfb60a0bb76f5b68bdcf008129125b11e"),
        (6000, 2, "c962fd02e86b8a853a117b696e4b3f35827617c2"),
    ];
    let etcd = Etcd::start();
    let keys = EtcdKeys::of(&etcd);
    // Most of the way, so that the daemon stands still for a moment only and keeps its leases.
    reach(&etcd, &keys, 5_900);
    let mut daemon = start(&etcd);
    let client = daemon.client();
    let service = json!({"service": {"serviceName": "orders"}});
    let id = client.post("/v4/default/registry/microservices", &service).unwrap().json()["serviceId"].clone();
    let id = id.as_str().unwrap();
    let target = "/v4/default/registry/instances?appId=default&serviceName=orders&version=0.0.0%2B";
    for (revision, count, recorded) in RECORDED {
        assert_eq!(revision_text(revision, count), recorded);
        // The daemon writes now and then, and each write is a revision.
        daemon.process().freeze();
        reach(&etcd, &keys, revision - 1);
        let name = format!("default/default/{id}/i{count}");
        let document = json!({
            "instanceId": format!("i{count}"), "serviceId": id, "hostName": "h", "status": "UP",
            "healthCheck": {"mode": "push", "interval": 30, "times": 3}, "version": "0.0.1",
        });
        let (file, lease) = (format!("/cse-sr/inst/files/{name}"), format!("/cse-sr/inst/leases/{name}"));
        keys.grant(revision, 120);
        let (document, lease_id) = (document.to_string(), revision.to_string());
        let pairs = [(file.as_bytes(), document.as_bytes()), (lease.as_bytes(), lease_id.as_bytes())];
        assert_eq!(keys.put_all(&pairs, revision), revision, "nobody else writes meanwhile");
        daemon.process().signal(Signal::CONT);
        eventually(GENEROUS, || {
            let answer = client.get(target).unwrap();
            let shown = answer.json()["instances"].as_array().map_or(0, Vec::len);
            if shown != count {
                return Err(format!("{shown} instances: {}", answer.text()));
            }
            assert_eq!(answer.header("X-Resource-Revision"), Some(recorded));
            Ok(())
        });
        let held = keys.below(ROOT);
        assert_eq!(revision_of(&held, &format!("/cse-sr/inst/files/default/default/{id}/")), recorded);
    }
}

/// Writes elsewhere until etcd's revision is this one.
fn reach(etcd: &Etcd, keys: &EtcdKeys, revision: i64) {
    let mut connection = crate::support::http::Client::new(etcd.address()).connect().unwrap();
    let put = Request::new("POST", "/v3/kv/put").json(&json!({"key": "L2Vsc2V3aGVyZQ==", "value": ""}));
    loop {
        let missing = revision - keys.revision();
        assert!(missing >= 0, "already past {revision}");
        if missing == 0 {
            return;
        }
        for _ in 0..missing {
            assert_eq!(connection.exchange(&put).unwrap().status, 200);
        }
    }
}
