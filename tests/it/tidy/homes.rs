//! Each third-party crate, the environment and the clocks are used in few folders, so that a reader knows where to look.

use super::paths::words;
use super::source::{SourceFile, files_under, root};
use super::{Violation, assert_none, made_up};

/// A crate, and the folders whose files may name it.
const HOMES: &[(&str, &[&str])] = &[
    ("etcd_client", &["src/store/etcd"]),
    ("tonic", &["src/store/etcd"]),
    ("tonic_prost", &["src/store/etcd"]),
    ("prost", &["src/store/etcd"]),
    ("actix_web", &["src/http", "src/app"]),
    ("actix_http", &["src/http", "src/app"]),
    ("dotenvy", &["src/config"]),
    ("env_logger", &["src/config"]),
    ("strsim", &["src/config", "src/cache/search/near"]),
    ("clap", &["src/cli/ctl"]),
    ("clap_complete", &["src/cli/ctl"]),
    ("clap_mangen", &["src/cli/ctl"]),
    ("comfy_table", &["src/cli/ctl"]),
    ("hyper", &["src/cli/ctl"]),
    ("tar", &["src/cli/ctl"]),
    ("http_body_util", &["src/cli/ctl"]),
    ("jiff", &["src/actors/retire", "src/config/logging", "src/domain/time"]),
    ("opentelemetry", &["src/trace", "src/app/traces"]),
    ("opentelemetry_sdk", &["src/trace", "src/app/traces"]),
    ("opentelemetry_otlp", &["src/app/traces"]),
];

/// The functions of `std::env` that read variables.
const READS_ENVIRONMENT: [&str; 4] = ["var", "vars", "var_os", "vars_os"];
/// The folders that may read the environment.
const ENVIRONMENT_HOME: &str = "src/config";

/// The folders that may read a clock other than the registry's `Clock`. `src/clock.rs` says why.
const READS_TIME: [&str; 4] = ["src/clock", "src/http/server", "src/http/ws", "src/store/etcd"];
/// The types of clocks, in the standard library and in tokio.
const CLOCKS: [&str; 2] = ["Instant", "SystemTime"];

fn lies_in(path: &str, folder: &str) -> bool {
    path.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/') || rest == ".rs")
}

fn strangers(file: &SourceFile) -> Vec<Violation> {
    let code = file.shipped_code.as_str();
    let mut violations = Vec::new();
    for (start, word) in words(code) {
        let (before, after) = (&code[..start], &code[start + word.len()..]);
        let homes = HOMES.iter().find(|(name, _)| *name == word).map(|(_, homes)| *homes);
        let names_crate = !before.ends_with("::") && (after.starts_with("::") || before.ends_with("use "));
        if let Some(homes) = homes
            && names_crate
            && !homes.iter().any(|home| lies_in(&file.path, home))
        {
            violations.push(format!("{}: `{word}` belongs in {}", file.place(start), homes.join(" and ")));
        }
        let reads = READS_ENVIRONMENT.contains(&word) && before.ends_with("env::");
        if reads && !lies_in(&file.path, ENVIRONMENT_HOME) {
            violations.push(format!("{}: the environment is read in {ENVIRONMENT_HOME}", file.place(start)));
        }
        if CLOCKS.contains(&word) && !READS_TIME.iter().any(|home| lies_in(&file.path, home)) {
            violations.push(format!("{}: `{word}` is read in {}", file.place(start), READS_TIME.join(", ")));
        }
    }
    violations
}

#[test]
fn crates_are_used_at_home() {
    let violations: Vec<Violation> = files_under("src").iter().flat_map(strangers).collect();
    assert_none("crates, the environment and the clocks are used in few folders each", &violations);
}

#[test]
fn the_clock_names_the_folders_that_read_another_one() {
    let clock = std::fs::read_to_string(root().join("src/clock.rs")).unwrap();
    let rows = clock.lines().filter_map(|line| line.strip_prefix("//! | `src/"));
    let named: Vec<String> =
        rows.filter_map(|row| row.split_once('`')).map(|(folder, _)| format!("src/{folder}")).collect();
    assert_eq!(named, READS_TIME[1..], "the table in src/clock.rs is that of tests/it/tidy/homes.rs");
}

#[test]
fn a_stranger_is_found() {
    let check = |path: &str, code: &str| made_up(path, code, strangers).len();
    assert_eq!(check("src/store/etcd/lease.rs", "use tonic::Status; etcd_client::Client::connect()"), 0);
    assert_eq!(check("src/store/etcd.rs", "use tonic::Status;"), 0);
    assert_eq!(check("src/store/mod.rs", "use tonic::Status; etcd_client::Client::connect()"), 2);
    assert_eq!(check("src/actors/hub/mod.rs", "use actix_web;"), 1);
    assert_eq!(check("src/app/mod.rs", "use actix_web::App; use actix_http::Request;"), 0);
    assert_eq!(check("src/app/mod.rs", "std::env::var(\"X\"); env::vars_os()"), 2);
    assert_eq!(check("src/config/sources.rs", "std::env::var(\"X\"); dotenvy::from_path(p)"), 0);
    assert_eq!(check("src/actors/lease/mod.rs", "use tokio::time::{Instant, sleep}; Instant::now()"), 2);
    assert_eq!(check("src/http/ws/session.rs", "use tokio::time::Instant;"), 0);
    assert_eq!(check("src/http/v4/find.rs", "tokio::time::sleep(A).await; tokio::time::timeout(A, b)"), 0);
    assert_eq!(check("src/cache/mod.rs", "let tonic = 1; // tonic::Status\nself.prost"), 0);
}
