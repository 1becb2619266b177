//! Random damage to requests: paths, queries, headers and bodies. The inputs start from the files in `corpus/`, which clients do send.
//! No input is answered 5xx or ends the daemon, and the daemon serves as before afterwards.

use std::thread;

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

use crate::support::daemon::{Daemon, Settings};
use crate::support::http::{Client, Connection, HttpError, Request};
use crate::support::registry::{Freshness, Instance, Registry};
use crate::support::scale::Scale;
use crate::support::seed;

const TARGETS: &str = include_str!("corpus/targets.txt");
const BODIES: &str = include_str!("corpus/bodies.txt");
/// Threads that send requests.
const SENDERS: u64 = 4;
/// Pieces of text that parsers often get wrong.
const SPLINTERS: [&str; 16] = [
    "%",
    "%00",
    "%2F",
    "%ff",
    "\u{0}",
    "..",
    "//",
    "?",
    "&",
    "=",
    "\"",
    "\\",
    "\u{1F980}",
    "-1",
    "99999999999999999999",
    "{\"a\":",
];
const HEADERS: [&str; 8] = [
    "X-ConsumerId",
    "X-Domain-Name",
    "Accept-Encoding",
    "Content-Type",
    "Origin",
    "If-None-Match",
    "Upgrade",
    "Expect",
];

fn pick<'a>(random: &mut StdRng, from: &[&'a str]) -> &'a str {
    from[random.random_range(0..from.len())]
}

/// The seed of this run, which is printed.
pub fn seed() -> u64 {
    let seed = seed::of_this_run();
    say!("bad input: {}", seed::shown(seed));
    seed
}

/// Damages a text: inserts, removes or repeats a piece, or changes a byte.
pub fn damage(random: &mut StdRng, text: &str) -> Vec<u8> {
    let mut bytes = text.as_bytes().to_vec();
    for _ in 0..random.random_range(0..4) {
        let at = random.random_range(0..=bytes.len());
        let to = random.random_range(at..=bytes.len().min(at + 20));
        match random.random_range(0..4) {
            0 => drop(bytes.splice(at..at, pick(random, &SPLINTERS).bytes())),
            1 => drop(bytes.drain(at..to)),
            2 => {
                let piece = bytes[at..to].repeat(random.random_range(1..50));
                bytes.splice(at..at, piece);
            }
            _ if at < bytes.len() => bytes[at] = random.random(),
            _ => {}
        }
    }
    bytes
}

/// Keeps the printable bytes, so that the request line or header has a valid form and reaches the parser behind.
fn printable(bytes: &[u8]) -> String {
    bytes.iter().filter(|byte| (0x21..0x7f).contains(*byte)).map(|byte| char::from(*byte)).collect()
}

fn request(random: &mut StdRng, targets: &[&str], bodies: &[&str]) -> Request {
    let (method, target) = pick(random, targets).split_once(' ').expect("a method and a target");
    let target = format!("/{}", printable(&damage(random, &target[1..])));
    let mut request = Request::new(method, &target);
    if random.random_ratio(1, 4) {
        let value = printable(&damage(random, "gzip, default;q=0.1"));
        request = request.header(pick(random, &HEADERS[..6]), &value);
    }
    if method != "GET" {
        let body = pick(random, bodies);
        request = request.bytes(damage(random, body));
    }
    request
}

/// Sends a request; the status. If the node has closed the connection after an earlier answer, the request is sent on a new one.
fn exchange(
    connection: &mut Option<Connection>,
    client: &Client,
    request: &Request,
) -> Result<u16, HttpError> {
    let used_before = connection.take().map(|mut open| open.exchange(request).map(|answer| (open, answer)));
    let (open, answer) = match used_before {
        Some(Ok(answered)) => answered,
        Some(Err(_)) | None => {
            let mut open = client.connect()?;
            let answer = open.exchange(request)?;
            (open, answer)
        }
    };
    if open.is_reusable() && answer.status != 101 {
        *connection = Some(open);
    }
    Ok(answer.status)
}

/// Sends so many damaged requests; the number of answers by class of status.
fn send_many(client: &Client, seed: u64, count: usize) -> [usize; 5] {
    let targets: Vec<&str> = TARGETS.lines().collect();
    let bodies: Vec<&str> = BODIES.lines().collect();
    let mut random = StdRng::seed_from_u64(seed);
    let (mut connection, mut answered) = (None, [0; 5]);
    for number in 0..count {
        let request = request(&mut random, &targets, &bodies);
        let status = exchange(&mut connection, client, &request)
            .unwrap_or_else(|error| panic!("{error} after {number} inputs, seed {seed}: {request:?}"));
        assert!(status < 500, "{status} after {number} inputs, seed {seed}: {request:?}");
        answered[usize::from(status / 100) - 1] += 1;
    }
    answered
}

/// Injected: tens of thousands of damaged requests, and hundreds of thousands in a long run.
#[test]
fn damaged_requests_are_refused_and_harm_nobody() {
    let each = Scale::of_this_run().choose(6_000, 75_000);
    let seed = seed();
    let mut node = Daemon::start(Settings::default()).unwrap();
    let registry = Registry::new(node.client(), "bystander");
    let service = registry.create_service("provider", "1.0.0").unwrap();
    registry.register(&service, &Instance::named("here").with_health_check(600, 3)).unwrap();
    let mut answered = [0; 5];
    thread::scope(|scope| {
        let client = node.client();
        let senders: Vec<_> = (0..SENDERS)
            .map(|sender| {
                let client = client.clone();
                scope.spawn(move || send_many(&client, seed.wrapping_add(sender), each))
            })
            .collect();
        for sender in senders {
            for (all, of_one) in answered.iter_mut().zip(sender.join().unwrap()) {
                *all += of_one;
            }
        }
    });
    let [_, good, _, refused, _] = answered;
    say!("figure: bad input: {} inputs, {good} answered 2xx, {refused} 4xx", answered.iter().sum::<usize>());
    assert!(refused > 0 && good > 0, "{answered:?}: some requests are accepted and some are refused");
    assert_eq!(registry.list(&service, Freshness::Fresh).unwrap(), ["here"]);
    assert_eq!(node.process().exit_status(), None);
    let log = node.process().log();
    assert!(!log.contains("panicked"), "{log}");
}
