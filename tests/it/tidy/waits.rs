//! Tests wait for an event, not for a guessed time. They do not judge how long something took.

use super::paths::words;
use super::source::{SourceFile, files_under};
use super::{Violation, assert_none, made_up};

/// The two functions that wait: for an answer, and until a condition holds. Their limit is generous.
const WAITING: [&str; 2] = ["within", "eventually"];
/// Names that wait for a time, or measure one.
const OF_TIME: [&str; 6] = ["sleep", "sleep_until", "timeout", "timeout_at", "elapsed", "Instant"];

fn waits(file: &SourceFile) -> Vec<Violation> {
    let mut violations = Vec::new();
    let mut offset = 0;
    // Each piece but the first begins after a `fn` and ends before the next one.
    for (number, piece) in file.code.split("fn ").enumerate() {
        let name = words(piece).next().map_or("", |(_, word)| word);
        if number == 0 || !WAITING.contains(&name) {
            let found = words(piece).filter(|(_, word)| OF_TIME.contains(word));
            violations.extend(found.map(|(at, word)| format!("{}: `{word}`", file.place(offset + at))));
        }
        offset += piece.len() + "fn ".len();
    }
    violations
}

#[test]
fn tests_of_stores_wait_for_no_time() {
    let folders = ["tests/store_etcd", "tests/store_embedded", "src/store/conformance"];
    let mut files: Vec<SourceFile> = folders.into_iter().flat_map(files_under).collect();
    files.extend(files_under("src/store").into_iter().filter(|file| file.path == "src/store/conformance.rs"));
    assert!(files.len() > 15, "only {} files were found", files.len());
    let violations: Vec<Violation> = files.iter().flat_map(waits).collect();
    assert_none("wait with `within` and `eventually`", &violations);
}

/// Tests that may measure a time: the waiting helpers, and the faults, which print it.
const MAY_MEASURE: [&str; 2] = ["tests/it/support/", "tests/it/fault/"];
/// Tests that may sleep: the waiting helpers, owners between two heartbeats, and faults at a random moment.
const MAY_REST: [&str; 4] =
    ["tests/it/support/", "tests/it/fault/owners.rs", "tests/it/fault/crash.rs", "tests/it/fault/soak.rs"];

/// The rule for `tests/it`, where a generous limit may stand anywhere.
fn rests(file: &SourceFile) -> Vec<Violation> {
    let is_in = |places: &[&str]| places.iter().any(|place| file.path.starts_with(place));
    let is_wrong = |word: &str| match word {
        "sleep" | "sleep_until" => !is_in(&MAY_REST),
        "elapsed" | "Instant" => !is_in(&MAY_MEASURE),
        _ => false,
    };
    let found = words(&file.code).filter(|(_, word)| is_wrong(word));
    found.map(|(at, word)| format!("{}: `{word}`", file.place(at))).collect()
}

#[test]
fn other_tests_rest_for_no_time() {
    let violations: Vec<Violation> = files_under("tests/it").iter().flat_map(rests).collect();
    assert_none("wait with `eventually`, or let the time of the server pass", &violations);
}

#[test]
fn a_guessed_time_is_found() {
    let rests_in = |path: &str| made_up(path, "use std::time::Instant;\nfn a() { sleep(X) }", rests).len();
    let places =
        ["tests/it/server/a.rs", "tests/it/fault/a.rs", "tests/it/fault/soak.rs", "tests/it/support/a.rs"];
    assert_eq!(places.map(rests_in), [2, 1, 0, 0]);
    let check = |code: &str| made_up("tests/store_etcd/a.rs", code, waits);
    assert_eq!(
        check("async fn within() { timeout(PATIENCE, x) }\nasync fn eventually() { sleep(PAUSE) }").len(),
        0
    );
    assert_eq!(
        check("fn a() {}\nfn b() {\n  tokio::time::sleep(X)\n}"),
        ["tests/store_etcd/a.rs:3: `sleep`"]
    );
    assert_eq!(check("use tokio::time::timeout;\nfn a() { begin.elapsed() }").len(), 2);
    assert_eq!(check("// sleep\nfn a() { connect_timeout(\"sleep\") }").len(), 0);
}
