//! How each file is written. It begins with a description, no test is switched off, no lint is off for a whole file of the daemon, and code that
//! only tests use is not built into the daemon.

use super::source::{SourceFile, files_under};
use super::{Violation, assert_none, made_up};

/// The files of `src` that may switch a lint off for the whole file.
const MAY_SWITCH_OFF: [&str; 1] = [
    "src/store/conformance.rs", // a suite of tests that each store's tests run: it fails by panicking
];

fn all_files() -> Vec<SourceFile> {
    ["src", "tests", "benches"].into_iter().flat_map(files_under).collect()
}

fn begins_otherwise(file: &SourceFile) -> Vec<Violation> {
    let begins = file.text.starts_with("//! ");
    if begins { Vec::new() } else { vec![format!("{}: does not begin with `//! `", file.path)] }
}

fn attributes_off(file: &SourceFile) -> Vec<Violation> {
    let mut violations = places_of(file, &file.code, "#[ignore", "a test is switched off");
    if !MAY_SWITCH_OFF.contains(&file.path.as_str()) {
        for attribute in ["#![allow(", "#![expect("] {
            // Only shipped code counts. A test program or a test module may switch a lint off for itself.
            violations.extend(places_of(
                file,
                &file.shipped_code,
                attribute,
                "a lint is off for the whole file",
            ));
        }
    }
    violations
}

/// The places of this attribute, with any white space.
fn places_of(file: &SourceFile, code: &str, attribute: &str, what: &str) -> Vec<Violation> {
    let (offsets, dense): (Vec<usize>, String) =
        code.char_indices().filter(|(_, c)| !c.is_whitespace()).unzip();
    let found = dense.match_indices(attribute).map(|(at, _)| offsets[dense[..at].chars().count()]);
    found.map(|offset| format!("{}: {what}", file.place(offset))).collect()
}

#[test]
fn files_begin_with_what_they_own() {
    let violations: Vec<Violation> = all_files().iter().flat_map(begins_otherwise).collect();
    assert_none("a file begins with `//!` and what it owns", &violations);
}

#[test]
fn nothing_is_switched_off() {
    let violations: Vec<Violation> = all_files().iter().flat_map(attributes_off).collect();
    assert_none("no ignored tests, no lints off for a file", &violations);
}

/// The beginning of a file of `src` that only tests use.
const OF_TESTS: [&str; 2] = ["//! A test double:", "//! A test suite:"];
/// The feature that enables such files.
const FEATURE: &str = "#[cfg(feature = \"test-doubles\")]";

/// Files that only tests use but that are built into the daemon.
fn shipped_doubles(files: &[SourceFile]) -> Vec<Violation> {
    let doubles = files.iter().filter(|file| OF_TESTS.iter().any(|begins| file.text.starts_with(begins)));
    let is_shipped = |file: &&SourceFile| {
        let module = file.module();
        let Some((name, parent)) = module.split_last() else { return true };
        let parent = files.iter().find(|other| other.module() == parent);
        !parent.is_some_and(|parent| parent.text.contains(&format!("{FEATURE}\npub mod {name};")))
    };
    doubles.filter(is_shipped).map(|file| format!("{}: is built into the daemon", file.path)).collect()
}

#[test]
fn what_only_tests_use_is_not_shipped() {
    let files = files_under("src");
    let doubles = files.iter().filter(|file| OF_TESTS.iter().any(|begins| file.text.starts_with(begins)));
    assert!(doubles.count() >= 3, "the doubles were not found");
    assert_none("what only tests use is behind the feature of tests", &shipped_doubles(&files));
    let manifest = std::fs::read_to_string(super::source::root().join("Cargo.toml")).unwrap();
    let features = manifest.split("[features]").nth(1).and_then(|rest| rest.split("\n[").next()).unwrap();
    assert!(!features.contains("default ="), "a default feature is shipped: {features}");
}

#[test]
fn a_shipped_double_is_found() {
    let check = |parent: &str| {
        let double = SourceFile::new("src/store/faulty.rs", "//! A test double: it fails.");
        shipped_doubles(&[SourceFile::new("src/store/mod.rs", parent), double]).len()
    };
    assert_eq!(check(&format!("{FEATURE}\npub mod faulty;")), 0);
    assert_eq!(check("pub mod faulty;"), 1);
    assert_eq!(check(&format!("{FEATURE}\npub mod other;\npub mod faulty;")), 1);
}

#[test]
fn what_is_switched_off_is_found() {
    let check = |text: &str| made_up("src/a.rs", text, attributes_off);
    assert_eq!(check("#[test]\n# [ignore = \"slow\"]\nfn a() {}"), ["src/a.rs:2: a test is switched off"]);
    assert_eq!(check("#[ignore]\n#![allow(dead_code)]").len(), 2);
    assert_eq!(check("// #[ignore]\nlet a = \"#![allow(x)]\"; #[allow(dead_code)]").len(), 0);
    assert_eq!(check("#[cfg(test)]\nmod tests {\n    #![allow(dead_code)]\n}").len(), 0);
    let root = |path: &str| made_up(path, "#![allow(dead_code)]\n#[ignore]", attributes_off).len();
    assert_eq!([root("src/main.rs"), root("tests/it/main.rs"), root("src/store/conformance.rs")], [2, 1, 1]);
    assert_eq!(made_up("src/a.rs", "use x;", begins_otherwise).len(), 1);
    assert_eq!(made_up("src/a.rs", "//! What.\nuse x;", begins_otherwise).len(), 0);
}
