//! How each file is written: it begins by saying what it owns, no test is switched off, and no lint is off for a whole
//! file.

use super::source::{SourceFile, files_under};
use super::{Violation, assert_none, made_up};

/// Files that may switch a lint off for all they hold, each with the reason beside it. None so far.
const MAY_ALLOW: &[&str] = &[];

fn all_files() -> Vec<SourceFile> {
    ["src", "tests", "benches"].into_iter().flat_map(files_under).collect()
}

fn begins_otherwise(file: &SourceFile) -> Vec<Violation> {
    let begins = file.text.starts_with("//! ");
    if begins { Vec::new() } else { vec![format!("{}: does not begin with `//! `", file.path)] }
}

fn attributes_off(file: &SourceFile) -> Vec<Violation> {
    let dense: Vec<(usize, char)> = file.code.char_indices().filter(|(_, c)| !c.is_whitespace()).collect();
    let text: String = dense.iter().map(|(_, c)| c).collect();
    let mut violations = Vec::new();
    for (attribute, what) in [
        ("#[ignore", "a test is switched off"),
        ("#![allow(", "a lint is off for the whole file"),
        ("#![expect(", "a lint is off for the whole file"),
    ] {
        let listed = attribute.starts_with("#!") && MAY_ALLOW.contains(&file.path.as_str());
        for (found, _) in text.match_indices(attribute).filter(|_| !listed) {
            let characters = text[..found].chars().count();
            violations.push(format!("{}: {what}", file.place(dense[characters].0)));
        }
    }
    violations
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

#[test]
fn what_is_switched_off_is_found() {
    let check = |text: &str| made_up("src/a.rs", text, attributes_off);
    assert_eq!(check("#[test]\n# [ignore = \"slow\"]\nfn a() {}"), ["src/a.rs:2: a test is switched off"]);
    assert_eq!(check("#[ignore]\n#![allow(dead_code)]").len(), 2);
    assert_eq!(check("// #[ignore]\nlet a = \"#![allow(x)]\"; #[allow(dead_code)]").len(), 0);
    assert_eq!(made_up("src/a.rs", "use x;", begins_otherwise).len(), 1);
    assert_eq!(made_up("src/a.rs", "//! What.\nuse x;", begins_otherwise).len(), 0);
}
