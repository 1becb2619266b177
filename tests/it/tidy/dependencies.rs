//! `docs/dependencies.md` has a line for each direct dependency, and each dependency is named by code.

use std::fs;

use super::paths::words;
use super::source::{files_under, root};
use super::{Violation, assert_none};

/// A section of `Cargo.toml`, the section of the page, and the folders whose code may name its crates.
const SECTIONS: [(&str, &str, &[&str]); 2] = [
    ("[dependencies]", "## Of the daemon", &["src"]),
    ("[dev-dependencies]", "## Of tests and benches", &["src", "tests", "benches"]),
];
/// Packages whose library has another name than the package.
const LIBRARIES: [(&str, &str); 1] = [("md-5", "md5")];

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap()
}

/// The lines of a text after a heading, up to the next heading of the same kind.
fn section<'a>(text: &'a str, heading: &str) -> Vec<&'a str> {
    let begins = heading.split_at(heading.find(|c: char| c.is_alphabetic()).unwrap_or(1)).0;
    let lines = text.lines().skip_while(|line| *line != heading).skip(1);
    lines.take_while(|line| !line.starts_with(begins)).collect()
}

fn declared(manifest: &str, heading: &str) -> Vec<String> {
    let lines = section(manifest, heading).into_iter().filter(|line| !line.starts_with('#'));
    lines.filter_map(|line| line.split_once('=')).map(|(name, _)| name.trim().to_owned()).collect()
}

fn described(page: &str, heading: &str) -> Vec<String> {
    let rows = section(page, heading).into_iter().filter_map(|line| line.strip_prefix("| `"));
    rows.filter_map(|row| row.split_once("` | ")).map(|(name, _)| name.to_owned()).collect()
}

fn library(package: &str) -> String {
    let other = LIBRARIES.iter().find(|(name, _)| *name == package);
    other.map_or_else(|| package.replace('-', "_"), |(_, library)| (*library).to_owned())
}

#[test]
fn each_dependency_has_its_reason() {
    let (manifest, page) = (read("Cargo.toml"), read("docs/dependencies.md"));
    let mut violations: Vec<Violation> = Vec::new();
    for (table, heading, _) in SECTIONS {
        let (declared, described) = (declared(&manifest, table), described(&page, heading));
        assert!(declared.len() > 3, "{table} was not read");
        let missing = declared.iter().filter(|name| !described.contains(name));
        violations.extend(missing.map(|name| format!("docs/dependencies.md: no line for `{name}`")));
        let gone = described.iter().filter(|name| !declared.contains(name));
        violations.extend(gone.map(|name| format!("docs/dependencies.md: `{name}` is not in Cargo.toml")));
        assert!(described.is_sorted(), "the lines of {heading} are in the order of the names");
    }
    assert_none("docs/dependencies.md says why each dependency is there", &violations);
}

#[test]
fn each_dependency_is_named_by_code() {
    let manifest = read("Cargo.toml");
    let files: Vec<_> = ["src", "tests", "benches"].into_iter().flat_map(files_under).collect();
    let mut violations: Vec<Violation> = Vec::new();
    for (table, _, folders) in SECTIONS {
        let is_named = |library: &str| {
            // Most files do not contain the text at all, which is fast to find out.
            let mut files = files.iter().filter(|file| file.code.contains(library));
            files.any(|file| {
                folders.iter().any(|folder| file.path.starts_with(folder))
                    && words(&file.code).any(|(_, word)| word == library)
            })
        };
        let unused = declared(&manifest, table);
        let unused = unused.iter().filter(|name| !is_named(&library(name)));
        violations.extend(unused.map(|name| format!("Cargo.toml: nothing names `{name}`")));
    }
    assert_none("each dependency is used", &violations);
}

#[test]
fn sections_are_read() {
    let manifest = "[package]\nname = \"x\"\n\n[dependencies]\n# why\na = \"1\"\nb-c = { x = 1 }\n\n[lints.rust]\nd = 1\n";
    assert_eq!(declared(manifest, "[dependencies]"), ["a", "b-c"]);
    let page = "## A\n\n| crate | why |\n| --- | --- |\n| `a` | `b` | c |\n\n## B\n\n| `d` | e |\n";
    assert_eq!(
        (described(page, "## A"), described(page, "## B")),
        (vec!["a".to_owned()], vec!["d".to_owned()])
    );
    assert_eq!([library("md-5"), library("tokio-rustls")], ["md5", "tokio_rustls"]);
}
