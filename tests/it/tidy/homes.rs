//! Third-party crates and the environment have one home each: whoever wants to know how they are used looks there.

use super::paths::words;
use super::source::{SourceFile, files_under};
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
    ("strsim", &["src/config"]),
    ("jiff", &["src/actors/retire"]),
];

/// The functions of `std::env` that read variables.
const READS_ENVIRONMENT: [&str; 4] = ["var", "vars", "var_os", "vars_os"];
/// Where the environment is read.
const ENVIRONMENT_HOME: &str = "src/config";

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
    }
    violations
}

#[test]
fn crates_are_used_at_home() {
    let violations: Vec<Violation> = files_under("src").iter().flat_map(strangers).collect();
    assert_none("third-party crates have one home each", &violations);
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
    assert_eq!(check("src/cache/mod.rs", "let tonic = 1; // tonic::Status\nself.prost"), 0);
}
