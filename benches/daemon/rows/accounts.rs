//! Requests with a token: what access control costs beside a daemon without accounts, and the first verification of a token.

use std::fs;
use std::time::Duration;

use serde_json::json;
use service_center::clock::Clock;
use service_center::domain::account::Account;
use service_center::rbac::key_pair::{GENERATED_BITS, generate};
use service_center::rbac::{KeyPair, Signer};
use tempfile::TempDir;

use super::load::{CONNECTIONS, FEW, OTHERS, OTHERS_EACH, answer};
use crate::client::{Api, member, once, post, request, send_all, with_token};
use crate::compare::{Comparison, Drive, Server, in_turn};
use crate::fill::{LONG, Service, fill, instance_id};
use crate::floor::{Floor, Reads};
use crate::node::{Accounts, Backing, Kind, Node};
use crate::options::Options;
use crate::table::{Line, Table};
use crate::wrk::Load;

/// The rows measured here.
pub const ROWS: [&str; 5] =
    ["find-1-token", "find-1-labels", "heartbeat-token", "heartbeat-labels", "verify"];

const PASSWORD: &str = "Bench#Pwd1";
/// How much CPU time a known token may add to a request.
const MOST_MORE: f64 = 2.0;
/// Tokens that are each used once, in a round.
const TOKENS: usize = 2_000;

/// Measures them on two daemons with the same content, of which one has accounts. What access control does is the same on both
/// stores.
pub fn measure(options: &Options, store: Kind, table: &mut Table) -> Result<(), String> {
    if store == Kind::Etcd {
        return Ok(());
    }
    let backing = Backing::start(store);
    let keys = Keys::make(options.scale(GENERATED_BITS, 2048))?;
    let guarded = backing.node_with(&keys.accounts())?;
    let address = guarded.address();
    let admin = login(address.into(), "root")?;
    let admin = Api { address, token: Some(&admin) };
    let role = r#"{"name":"labeled","perms":[{"resources":[{"type":"service","labels":{"appId":"default"}}],"verbs":["*"]}]}"#;
    once(admin, &post("/v4/roles", role))?;
    let mut tokens = Vec::new();
    for role in ["developer", "labeled"] {
        let account = json!({"name": format!("bench-{role}"), "password": PASSWORD, "roles": [role]});
        once(admin, &post("/v4/accounts", &account.to_string()))?;
        tokens.push(login(address.into(), &format!("bench-{role}"))?);
    }
    let [developer, labeled] = tokens.as_slice() else { return Err("two accounts".to_owned()) };
    let mut guarded = Filled::new(options, guarded, Some(developer))?;
    let mut open = Filled::new(options, backing.node()?, None)?;

    for (row, what, is_find, token) in [
        ("find-1-token", "find 1 instance, with a token", true, developer),
        ("find-1-labels", "find 1 instance, with a token, role with labels", true, labeled),
        ("heartbeat-token", "heartbeat, with a token", false, developer),
        ("heartbeat-labels", "heartbeat, with a token, role with labels", false, labeled),
    ] {
        if options.wants(row) {
            table.push(line(options, &mut guarded, &mut open, what, is_find, token)?);
        }
    }
    if options.wants("verify") {
        table.push(verifications(options, &mut guarded, &keys, developer)?);
    }
    Ok(())
}

/// Floor, daemon without accounts, daemon with accounts, in turn.
fn line(
    options: &Options,
    guarded: &mut Filled,
    open: &mut Filled,
    what: &str,
    is_find: bool,
    token: &str,
) -> Result<Line, String> {
    let requests = |filled: &Filled| if is_find { filled.find() } else { filled.beats() };
    let load = |filled: &Filled, token| {
        let requests = requests(filled);
        let requests: Vec<(&str, String, Option<&str>)> = requests
            .iter()
            .map(|(method, path)| (*method, path.clone(), Some(filled.consumer.id.as_str())))
            .collect();
        Load::replay(CONNECTIONS, &requests, token)
    };
    let (with, without) = (load(guarded, Some(token))?, load(open, None)?);
    let requests = requests(open);
    let (method, path) = requests.first().ok_or("no request")?;
    let floor =
        Floor::start(&answer(&open.node, &request(method, path, Some(&open.consumer.id)))?, Reads::Head)?;
    let servers: [(&mut dyn Server, &dyn Drive); 3] =
        [(&mut &floor, &without), (&mut open.node, &without), (&mut guarded.node, &with)];
    let [floor, open, ours] = in_turn(options, servers)?;
    let more = ours.cpu - open.cpu;
    let line = Line::load(what, Kind::Embedded, &Comparison { ours, floor });
    let note = format!("without accounts {:.1} µs, so {more:+.1} µs", open.cpu);
    Ok(line.note(note).target(&format!("≤ {MOST_MORE} µs more than without accounts"), more <= MOST_MORE))
}

/// Finds, each with a token of its own, and finds with a known token in turn: the difference is the verification.
fn verifications(options: &Options, guarded: &mut Filled, keys: &Keys, known: &str) -> Result<Line, String> {
    let now = Clock::system().unix_time();
    let claims = keys.pair.verifier().verify(known, now).map_err(|error| error.to_string())?;
    let account = Account {
        name: claims.account.to_string(),
        id: claims.id.as_deref().unwrap_or_default().to_owned(),
        ..Account::default()
    };
    let count = options.scale(TOKENS, 20);
    let find = guarded.provider.find_request(Some(&guarded.consumer.id));
    let (mut first, mut again) = (f64::MAX, f64::MAX);
    for round in 0..options.rounds {
        let tokens = sign(&keys.pair.signer(), &account, round * count..(round + 1) * count, now)?;
        let mut spent = |token: &dyn Fn(usize) -> String| {
            let tokens: Vec<String> = (0..count).map(token).collect();
            let before = guarded.node.cpu()?;
            send_all(guarded.node.address(), count, |number| with_token(&find, &tokens[number]), |_, _| {})?;
            Ok::<f64, String>(guarded.node.cpu()?.saturating_sub(before).as_secs_f64() * 1e6 / count as f64)
        };
        first = first.min(spent(&|number| tokens[number].clone())?);
        again = again.min(spent(&|_| known.to_owned())?);
    }
    let figure = format!(
        "{:.0} µs of CPU: find {first:.0} µs, with a known token {again:.0} µs; a key of {} bits",
        first - again,
        keys.bits
    );
    Ok(Line::figure("first verification of a token", Kind::Embedded, figure))
}

/// Tokens of which each ends at another second.
fn sign(
    signer: &Signer,
    account: &Account,
    numbers: std::ops::Range<usize>,
    now: i64,
) -> Result<Vec<String>, String> {
    let one = |number: usize| {
        let lifetime = Duration::from_secs(3_600 + number as u64);
        signer.sign(account, ["developer"], lifetime, now).map_err(|error| error.to_string())
    };
    numbers.map(one).collect()
}

fn login(api: Api<'_>, name: &str) -> Result<String, String> {
    let body = json!({"name": name, "password": PASSWORD}).to_string();
    member(&once(api, &post("/v4/token", &body))?, "token")
}

/// A daemon with a consumer, a provider of one instance, and others.
struct Filled {
    node: Node,
    consumer: Service,
    provider: Service,
    others: Vec<Service>,
}

impl Filled {
    fn new(options: &Options, node: Node, token: Option<&str>) -> Result<Self, String> {
        let api = Api { address: node.address(), token };
        let consumer = Service::create(api, "consumer")?;
        let provider = Service::create(api, "provider")?;
        fill(api, std::slice::from_ref(&provider), 1, LONG)?;
        let others = Service::create_many(api, "other", options.scale(OTHERS, 5))?;
        fill(api, &others, options.scale(OTHERS_EACH, 4), LONG)?;
        // The first find writes a dependency.
        once(api, &provider.find_request(Some(&consumer.id)))?;
        Ok(Self { node, consumer, provider, others })
    }

    fn find(&self) -> Vec<(&'static str, String)> {
        vec![("GET", self.provider.find_path())]
    }

    fn beats(&self) -> Vec<(&'static str, String)> {
        self.others.iter().take(FEW).map(|service| ("PUT", service.heartbeat_path(&instance_id(0)))).collect()
    }
}

/// A pair of keys and its files.
struct Keys {
    pair: KeyPair,
    bits: usize,
    _folder: TempDir,
    paths: [std::path::PathBuf; 2],
}

impl Keys {
    fn make(bits: usize) -> Result<Self, String> {
        let failed = |error: std::io::Error| format!("a file for keys: {error}");
        let folder = tempfile::tempdir().map_err(failed)?;
        let made = generate(bits).map_err(|error| error.to_string())?;
        let paths = ["private.key", "public.key"].map(|name| folder.path().join(name));
        let [private, public] = &paths;
        fs::write(private, &made.private).map_err(failed)?;
        fs::write(public, &made.public).map_err(failed)?;
        let pair = KeyPair::load(private, public).map_err(|error| error.to_string())?;
        Ok(Self { pair, bits, _folder: folder, paths })
    }

    fn accounts(&self) -> Accounts<'_> {
        let [private, public] = &self.paths;
        Accounts { private, public, root_password: PASSWORD }
    }
}
