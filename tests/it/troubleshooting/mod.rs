//! `scripts/troubles.py` stages faults on a cluster. The commands of `docs/troubleshooting.md` are asked of it, and the answers must name
//! the instance, the time, the cause, and who did it.

mod page;

use std::fs;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};

use self::page::Answer;
use crate::access;
use crate::cli::run::{Ran, User};
use crate::support::daemon::Daemon;
use crate::support::eventually::{GENEROUS, eventually};
use crate::support::http::Request;
use crate::support::script::{ClusterScript, RunningScript};

/// Two providers that die have to expire.
const STAGED: Duration = GENEROUS.saturating_mul(3);

/// Runs the command of a section, and checks the answer.
type Check = fn(&Stage, &Answer);

/// The headings of the sections with a command, in the order in which they are asked: the expiries are held for some seconds, and a drain
/// changes the cluster.
const QUESTIONS: [(&str, Check); 11] = [
    ("Held expiries", held),
    ("What vanished", vanished),
    ("The life of an instance", life),
    ("Who was told", told),
    ("Who is still waiting", waiting),
    ("Whether all nodes show the same", nodes_agree),
    ("Whether a node shows what the store holds", nodes_show_the_store),
    ("Why a consumer does not find a provider", explained),
    ("What a node showed", past),
    ("Who still uses an instance", drained),
    ("Nodes and the store", store),
];

/// The running cluster.
struct Stage {
    script: RunningScript,
    cluster: ClusterScript,
    user: User,
}

/// The rows of a table, as cells by their headings.
struct Table(Vec<Value>);

impl Stage {
    fn start() -> Self {
        let cluster = ClusterScript::new(3);
        let script = cluster.run("troubles.py");
        let user = User::new().with("HOSTING_SERVER_IP", &cluster.address(1, 0).ip().to_string());
        let mut stage = Self { script, cluster, user };
        stage.wait_for("`kill -USR1");
        stage
    }

    /// Waits until the script has printed something.
    fn wait_for(&mut self, words: &str) {
        let process = &mut self.script.0;
        eventually(STAGED, || {
            assert_eq!(process.exit_status(), None, "{}", process.log());
            if process.log().contains(words) { Ok(()) } else { Err(process.log()) }
        });
    }

    /// What the script has noted of a fault.
    fn fault(&self, name: &str) -> Value {
        let text = fs::read_to_string(self.cluster.folder().join("troubles.json")).unwrap();
        let facts: Value = serde_json::from_str(&text).unwrap();
        facts["faults"].get(name).unwrap_or_else(|| panic!("{name:?} is not in {facts}")).clone()
    }

    fn values(&self) -> Value {
        let text = fs::read_to_string(self.cluster.folder().join("troubles.json")).unwrap();
        serde_json::from_str::<Value>(&text).unwrap()["values"].clone()
    }

    /// The address of a node, as tables show it.
    fn node(&self, number: u8) -> String {
        format!("http://{}", self.cluster.address(number, 30100))
    }

    /// Runs the command of a section, with these values instead of those of the script.
    fn ask(&self, answer: &Answer, values: &[(&str, &str)]) -> Ran {
        let mut all = self.values();
        for (word, value) in values {
            all[*word] = json!(value);
        }
        let arguments = page::arguments(&answer.command, &all);
        self.user.run(&arguments.iter().map(String::as_str).collect::<Vec<_>>())
    }

    /// As [`Self::ask`], for a command that answers a table.
    #[track_caller]
    fn table(&self, answer: &Answer, values: &[(&str, &str)]) -> Table {
        let ran = self.ask(answer, values);
        ran.ok();
        Table::of(&ran, answer)
    }
}

impl Table {
    #[track_caller]
    fn of(ran: &Ran, answer: &Answer) -> Self {
        let cells = ran.cells();
        let at = cells.iter().position(|row| row.len() > 1).unwrap_or_else(|| panic!("no table: {ran:?}"));
        let headings = &cells[at];
        if answer.shown.contains('|') {
            let shown: Vec<&str> = answer.shown.split('|').map(str::trim).collect();
            assert_eq!(*headings, shown, "the page shows other headings of '{}'", answer.heading);
        }
        let rows = cells[at + 1..].iter().filter(|row| row.len() == headings.len());
        let row = |row: &Vec<&str>| {
            headings.iter().zip(row).map(|(name, cell)| ((*name).to_owned(), json!(cell))).collect()
        };
        Self(rows.map(row).collect())
    }

    /// The only row whose cells contain these words.
    #[track_caller]
    fn row(&self, words: &[(&str, &str)]) -> &Value {
        let rows = self.rows(words);
        assert_eq!(rows.len(), 1, "{words:?} in {:?}", self.0);
        rows[0]
    }

    fn rows(&self, words: &[(&str, &str)]) -> Vec<&Value> {
        let fits = |row: &&Value| words.iter().all(|(name, word)| text(row, name).contains(word));
        self.0.iter().filter(fits).collect()
    }
}

#[track_caller]
fn text<'a>(row: &'a Value, name: &str) -> &'a str {
    row[name].as_str().unwrap_or_else(|| panic!("no {name} in {row}"))
}

/// The cell must contain these words.
#[track_caller]
fn has(row: &Value, name: &str, words: &str) {
    assert!(text(row, name).contains(words), "{words:?} is not the {name} in {row}");
}

/// The event must have happened while the fault was staged.
#[track_caller]
fn within(row: &Value, fault: &Value) {
    let time = text(row, "TIME");
    assert!(text(fault, "began") <= time && time <= text(fault, "ended"), "{row} is not of {fault}");
}

/// Two nodes and etcd. Staged: a restarted node, a provider that is killed, providers of a service that die together, an instance that
/// somebody unregisters, one that is taken out of service, a service that is deleted, a watcher that reads nothing, a consumer in another
/// environment, and a node that is cut off from etcd.
#[test]
fn each_question_has_a_command_that_answers_it() {
    let mut stage = Stage::start();
    let answers = page::answers();
    let mut headings: Vec<&str> = answers.iter().map(|answer| answer.heading.as_str()).collect();
    let mut asked: Vec<&str> = QUESTIONS.iter().map(|(heading, _)| *heading).collect();
    headings.sort_unstable();
    asked.sort_unstable();
    assert_eq!(headings, asked, "each section of the page is checked");
    for (heading, check) in QUESTIONS {
        if heading == "Nodes and the store" {
            stage.script.0.signal(Signal::USR1);
            stage.wait_for("A node is cut off from etcd.");
        }
        check(&stage, answers.iter().find(|answer| answer.heading == heading).unwrap());
    }
    stage.script.0.signal(Signal::USR1);
    stage.wait_for("A node reaches etcd again.");
    let answer = answers.iter().find(|answer| answer.heading == "Nodes and the store").unwrap();
    let back = stage.table(answer, &[]);
    let fault = stage.fault("a node reaches etcd again");
    within(back.row(&[("NODE", &stage.node(2)), ("EVENT", "store.back")]), &fault);
}

fn held(stage: &Stage, answer: &Answer) {
    let table = stage.table(answer, &[]);
    let fault = stage.fault("expiries are held back");
    let instances = fault["instances"].as_array().unwrap();
    assert_eq!(instances.len(), 2, "half of four may pass: {fault}");
    for instance in instances {
        let row = table.row(&[("INSTANCE", instance.as_str().unwrap())]);
        has(row, "RULE", "service");
        has(row, "SERVICE", "shop/stock");
    }
}

fn vanished(stage: &Stage, answer: &Answer) {
    let table = stage.table(answer, &[]);
    let (first, second) = (stage.node(1), stage.node(2));
    let gone = |node: &str, kind: &str, instance: &str| {
        table.row(&[("NODE", node), ("EVENT", kind), ("INSTANCE", &format!("{instance} "))]).clone()
    };
    let killed = gone(&first, "instance.expired", "orders-2");
    within(&killed, &stage.fault("a provider was killed"));
    has(&killed, "CAUSE", "no heartbeat for");
    let fault = stage.fault("an instance was unregistered");
    let removed = gone(&first, "instance.unregistered", "orders-3");
    within(&removed, &fault);
    has(
        &removed,
        "CAUSE",
        &format!("request from {} id {}", text(&fault, "client"), text(&fault, "request")),
    );
    has(&gone(&second, "instance.unregistered", "orders-3"), "CAUSE", "another node");
    let fault = stage.fault("a service was deleted");
    let deleted = gone(&first, "instance.deletedWithService", "legacy-1");
    within(&deleted, &fault);
    has(
        &deleted,
        "CAUSE",
        &format!("request from {} id {}", text(&fault, "client"), text(&fault, "request")),
    );
    for instance in stage.fault("expiries are held back")["instances"].as_array().unwrap() {
        let instance = instance.as_str().unwrap();
        let held = table.rows(&[
            ("NODE", &first),
            ("EVENT", "instance.held"),
            ("INSTANCE", &format!("{instance} ")),
        ]);
        assert!(held.iter().any(|row| text(row, "CAUSE").starts_with("rule service until ")), "{held:?}");
    }
}

fn life(stage: &Stage, answer: &Answer) {
    let fault = stage.fault("an instance was taken out of service");
    let away = stage.table(answer, &[("INSTANCE", "orders-4")]);
    let events: Vec<&str> =
        away.rows(&[("NODE", &stage.node(1))]).iter().map(|row| text(row, "EVENT")).collect();
    assert_eq!(events, ["instance.registered", "instance.changed"]);
    let change = away.row(&[("NODE", &stage.node(1)), ("EVENT", "instance.changed")]);
    within(change, &fault);
    has(change, "INSTANCE", "UP -> OUTOFSERVICE");
    has(change, "CAUSE", &format!("request from {} id {}", text(&fault, "client"), text(&fault, "request")));
    let gone = stage.table(answer, &[("INSTANCE", "orders-3")]);
    assert_eq!(gone.rows(&[("EVENT", "instance.unregistered")]).len(), 2, "both nodes know it: {:?}", gone.0);
}

fn told(stage: &Stage, answer: &Answer) {
    let (first, second) = (stage.node(1), stage.node(2));
    // Node 2 notes what it has sent a moment later.
    let is_told = |told: &Table, node: &str, words: &str| {
        let row = told.rows(&[
            ("NODE", node),
            ("EVENT", "instance.unregistered"),
            ("INSTANCE", "orders-3 "),
            ("TOLD", words),
        ]);
        row.len() == 1
            && text(row[0], "FIRST-SENT") >= text(row[0], "TIME")
            && !text(row[0], "LAST-SENT").is_empty()
    };
    eventually(GENEROUS, || {
        let told = stage.table(answer, &[]);
        is_told(&told, &first, "told 2 of 2") && is_told(&told, &second, "told 1 of 1")
    });
    let told = stage.table(answer, &[]);
    let waits = told.rows(&[("NODE", &first), ("INSTANCE", "orders-1 "), ("TOLD", "told 1 of 2, 1 waiting")]);
    assert!(!waits.is_empty(), "{:?}", told.0);
}

fn waiting(stage: &Stage, answer: &Answer) {
    let table = stage.table(answer, &[]);
    let (first, second) = (stage.node(1), stage.node(2));
    let stalled = table.row(&[("NODE", &first), ("CONSUMER", "shop/mobile")]);
    assert_ne!(text(stalled, "PENDING"), "0", "{stalled}");
    has(stalled, "CLIENT", &stage.cluster.address(8, 0).ip().to_string());
    for (node, consumer) in [(&first, "shop/web"), (&second, "shop/kiosk")] {
        assert_eq!(text(table.row(&[("NODE", node), ("CONSUMER", consumer)]), "PENDING"), "0");
    }
}

/// Each node writes what it shows every 10 s, and the other compares then.
fn nodes_agree(stage: &Stage, answer: &Answer) {
    eventually(GENEROUS, || {
        let table = stage.table(answer, &[]);
        let agree = table.rows(&[("AGREES", "true")]).len();
        if (table.0.len(), agree) == (2, 2) { Ok(()) } else { Err(format!("{:?}", table.0)) }
    });
}

fn nodes_show_the_store(stage: &Stage, answer: &Answer) {
    let ran = stage.ask(answer, &[]);
    for number in [1, 2] {
        let line = format!("{}: shows what the store holds", stage.node(number));
        assert!(ran.ok().contains(&line), "{ran:?}");
    }
}

fn explained(stage: &Stage, answer: &Answer) {
    let ran = stage.ask(answer, &[]);
    ran.fails(1, "");
    let first = ran.out.lines().next().unwrap();
    for word in ["does not find 'orders'", "'production'", "'development'"] {
        assert!(first.contains(word), "{word} is not in {first}");
    }
    let table = Table::of(&ran, answer);
    let stops = table.rows(&[("PASSED", "NO")])[0];
    assert_eq!(text(stops, "RULE"), "environment", "the first rule that it does not pass");
    has(stops, "CHANGE", "'development'");
    let found = stage.ask(answer, &[("CONSUMER", "shop/web")]);
    assert!(found.ok().contains("UP"), "{found:?}");
}

fn past(stage: &Stage, answer: &Answer) {
    let shown = stage.table(answer, &[]);
    let instances: Vec<&str> = shown.0.iter().map(|row| text(row, "INSTANCE")).collect();
    assert_eq!(instances, ["orders-1", "orders-2", "orders-3", "orders-4"]);
    assert_eq!(shown.rows(&[("STATUS", "UP")]).len(), 4, "{:?}", shown.0);
    let later = text(&stage.fault("expiries are held back"), "ended").to_owned();
    let later = stage.table(answer, &[("TIME", &later)]);
    assert_eq!(later.rows(&[("INSTANCE", "orders-")]).len(), 2, "{:?}", later.0);
    has(later.row(&[("INSTANCE", "orders-4")]), "STATUS", "OUTOFSERVICE");
    stage.ask(answer, &[("TIME", "2026-01-01T00:00:00Z")]).fails(1, "only since");
}

fn drained(stage: &Stage, answer: &Answer) {
    let ran = stage.ask(answer, &[]);
    ran.fails(1, "UP -> OUTOFSERVICE");
    assert!(ran.out.contains("2 of 3 consumers know"), "{ran:?}");
    let missing: Vec<&str> = ran.out.lines().filter(|line| line.starts_with("missing: ")).collect();
    assert!(missing.len() == 1 && missing[0].contains("shop/mobile"), "{ran:?}");
    assert!(missing[0].contains(&stage.cluster.address(8, 0).ip().to_string()), "{ran:?}");
}

fn store(stage: &Stage, answer: &Answer) {
    let table = stage.table(answer, &[]);
    let (first, second) = (stage.node(1), stage.node(2));
    let lost = table.row(&[("NODE", &second), ("EVENT", "store.lost")]);
    within(lost, &stage.fault("a node is cut off from etcd"));
    has(lost, "CAUSE", "etcd");
    assert!(table.rows(&[("NODE", &first), ("EVENT", "store.lost")]).is_empty(), "{:?}", table.0);
    let fault = stage.fault("a node was restarted");
    let node = text(&fault, "node");
    within(table.row(&[("NODE", &first), ("EVENT", "node.left"), ("INSTANCE", node)]), &fault);
    let joined = table.rows(&[("NODE", &first), ("EVENT", "node.joined"), ("INSTANCE", node)]);
    within(joined.last().expect("the node has come again"), &fault);
    within(table.row(&[("NODE", &second), ("EVENT", "record.gap")]), &fault);
}

/// With accounts, the answer names who did it.
#[test]
fn the_account_is_named() {
    let daemon: Daemon = access::start(access::with_accounts());
    let token = access::token_of("root");
    let send = |method: &str, target: &str, body: &Value| {
        let request = Request::new(method, &format!("/v4/default/registry/microservices{target}"))
            .header("Authorization", &format!("Bearer {token}"))
            .header("X-Request-Id", "change-7");
        let request = if body.is_null() { request } else { request.json(body) };
        let response = daemon.client().send(&request).unwrap();
        assert_eq!(response.status, 200, "{}", response.text());
    };
    send(
        "POST",
        "",
        &json!({"service": {"serviceId": "orders", "serviceName": "orders", "version": "1.0.0"}}),
    );
    let instance = json!({"instanceId": "orders-1", "hostName": "h", "endpoints": ["rest://127.0.0.1:1"]});
    send("POST", "/orders/instances", &json!({ "instance": instance }));
    send("DELETE", "/orders/instances/orders-1", &Value::Null);
    let user = User::new().with("SCCTL_TOKEN", &token);
    for heading in ["What vanished", "The life of an instance"] {
        let answer = page::answers().into_iter().find(|answer| answer.heading == heading).unwrap();
        let arguments = page::arguments(&answer.command, &json!({"INSTANCE": "orders-1"}));
        let ran = user.at(&daemon, &arguments.iter().map(String::as_str).collect::<Vec<_>>());
        ran.ok();
        let removed = Table::of(&ran, &answer).row(&[("EVENT", "instance.unregistered")]).clone();
        has(&removed, "CAUSE", "request by root from 127.");
        has(&removed, "CAUSE", " id change-7");
    }
}
