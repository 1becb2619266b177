//! The names in the documents exist: files, functions, `make` targets, and the layers in the table of `src/lib.rs`.

use std::collections::BTreeSet;
use std::fs;

use super::layers::{FORBIDDEN, LAYERS};
use super::source::root;
use super::{Violation, assert_none};

/// Documents for people, and the map.
pub(super) const DOCUMENTS: [&str; 29] = [
    ".github/ISSUE_TEMPLATE/bug_report.md",
    ".github/ISSUE_TEMPLATE/feature_request.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "README.md",
    "README.zh-CN.md",
    "actors.md",
    "benches/README.md",
    "docs/cli.md",
    "docs/cluster.md",
    "docs/configuration.md",
    "docs/console.md",
    "docs/containers.md",
    "docs/dependencies.md",
    "docs/differences.md",
    "docs/glossary.md",
    "docs/install.md",
    "docs/logs-and-traces.md",
    "docs/metrics.md",
    "docs/monitoring.md",
    "docs/operations.md",
    "docs/reliability.md",
    "docs/scale.md",
    "docs/secured-cluster.md",
    "docs/security.md",
    "docs/upstream.md",
    "docs/zh-CN/cluster.md",
    "docs/zh-CN/secured-cluster.md",
    "src/lib.rs",
];
/// The first parts of paths that begin at the project's root.
const FOLDERS: [&str; 9] =
    ["src/", "tests/", "docs/", "conf/", "console/", "scripts/", "benches/", "deploy/", ".ci/"];

pub(super) fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The text of the map, without `//!`.
fn map() -> String {
    let lib = read("src/lib.rs");
    let lines = lib.lines().filter_map(|line| line.strip_prefix("//!"));
    lines.map(|line| line.strip_prefix(' ').unwrap_or(line)).collect::<Vec<_>>().join("\n")
}

/// The lines of a document outside blocks of code.
pub(super) fn prose(text: &str) -> String {
    let mut in_block = false;
    let prose = text.lines().filter(|line| {
        let fence = line.trim_start().starts_with("```");
        in_block ^= fence;
        !in_block && !fence
    });
    prose.collect::<Vec<_>>().join("\n")
}

/// The texts between backquotes, outside blocks of code.
pub(super) fn quoted(text: &str) -> Vec<String> {
    prose(text).split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// A path from the project's root that a document names. A pattern such as `conf/*` is not a path.
fn named_path(quoted: &str) -> Option<&str> {
    let is_path =
        FOLDERS.iter().any(|folder| quoted.starts_with(folder)) && !quoted.contains([' ', '*', '{', '<']);
    is_path.then(|| quoted.split(':').next().unwrap_or(quoted))
}

/// Files that exist only in a deployment.
const OF_A_DEPLOYMENT: [&str; 2] = ["conf/app.yaml", "conf/syncer.yaml"];

#[test]
fn files_named_in_documents_exist() {
    let mut violations: Vec<Violation> = Vec::new();
    for document in DOCUMENTS {
        for quoted in quoted(&read(document)) {
            if let Some(path) = named_path(&quoted)
                && !OF_A_DEPLOYMENT.contains(&path)
                && !root().join(path).exists()
            {
                violations.push(format!("{document}: `{path}` is not there"));
            }
        }
    }
    assert_none("what a document names exists", &violations);
}

/// The steps and rows of the map, each as one text.
fn items(map: &str) -> Vec<String> {
    let mut items: Vec<String> = Vec::new();
    for line in map.lines() {
        let goes_on =
            line.starts_with("  ") || !line.is_empty() && items.last().is_some_and(|last| !last.is_empty());
        let begins = line.starts_with('|') || line.chars().next().is_some_and(|c| c.is_ascii_digit());
        match items.last_mut() {
            Some(last) if goes_on && !begins => {
                last.push(' ');
                last.push_str(line.trim());
            }
            _ => items.push(line.to_owned()),
        }
    }
    items
}

/// The files that a step names, each with the names that must be in it.
fn names_in_files(item: &str) -> Vec<(String, Option<String>)> {
    let mut found = Vec::new();
    let mut file = None;
    for quoted in item.split('`').skip(1).step_by(2) {
        if quoted.contains('/') && !quoted.contains([' ', '{']) && !quoted.starts_with('/') {
            file = Some(quoted.to_owned());
            found.push((quoted.to_owned(), None));
        } else if let Some(file) = &file
            && quoted.chars().all(|c| c.is_alphanumeric() || c == '_')
        {
            found.push((file.clone(), Some(quoted.to_owned())));
        }
    }
    found
}

/// Each `` `name` `` after a `` `file.rs` `` in a row of a table, with that file.
fn tests_named(line: &str) -> Vec<(&str, &str)> {
    let is_name =
        |quoted: &str| quoted.contains('_') && quoted.chars().all(|c| c.is_alphanumeric() || c == '_');
    let mut found = Vec::new();
    let mut file = None;
    for quoted in line.split('`').skip(1).step_by(2) {
        if quoted.ends_with(".rs") {
            file = Some(quoted);
        } else if let Some(file) = file.filter(|_| is_name(quoted)) {
            found.push((file, quoted));
        }
    }
    found
}

/// Documents with a table of tests, the folders of the tests, and a lower bound on their number.
const TABLES_OF_TESTS: [(&str, &str, usize); 2] =
    [("docs/reliability.md", "tests/it/fault", 25), ("docs/security.md", "tests/it/attack", 5)];

#[test]
fn the_tables_name_tests_that_are_there() {
    let mut violations: Vec<Violation> = Vec::new();
    for (document, folder, least) in TABLES_OF_TESTS {
        let text = read(document);
        let named: Vec<(&str, &str)> =
            text.lines().filter(|line| line.starts_with('|')).flat_map(tests_named).collect();
        assert!(named.len() > least, "only {} tests were found in {document}", named.len());
        let is_there = |(file, name): &(&str, &str)| {
            let places = [root().join(file), root().join(folder).join(file)];
            let found = places.iter().find_map(|place| fs::read_to_string(place).ok());
            found.is_some_and(|text| text.contains(&format!("fn {name}(")))
        };
        let missing = named.iter().filter(|named| !is_there(named));
        violations.extend(missing.map(|(file, name)| format!("{document}: `{file}` has no test `{name}`")));
    }
    assert_none("tables of tests name tests that are there", &violations);
}

fn holds_word(text: &str, word: &str) -> bool {
    text.split(|c: char| !c.is_alphanumeric() && c != '_').any(|found| found == word)
}

#[test]
fn the_map_names_what_is_there() {
    let mut violations: Vec<Violation> = Vec::new();
    let mut checked = 0;
    for (path, name) in items(&map()).iter().flat_map(|item| names_in_files(item)) {
        let places = [root().join("src").join(&path), root().join(&path)];
        let Some(place) = places.iter().find(|place| place.exists()) else {
            violations.push(format!("`{path}` is not there"));
            continue;
        };
        let Some(name) = name else { continue };
        checked += 1;
        let text = fs::read_to_string(place).unwrap_or_default();
        if !holds_word(&text, &name) {
            violations.push(format!("`{path}` has no `{name}`"));
        }
    }
    assert!(checked > 30, "only {checked} names were found in the map");
    assert_none("the map in src/lib.rs names what is there", &violations);
}

#[test]
fn the_map_shows_the_layers() {
    let map = map();
    let rows = map.lines().filter_map(|row| {
        let mut cells = row.split('|').map(str::trim).skip(1);
        let rank = cells.next()?.parse::<usize>().ok()?;
        Some((rank, cells.next()?.trim_matches(['[', ']', '`']).to_owned()))
    });
    let shown: BTreeSet<(usize, String)> = rows.collect();
    let modules = LAYERS.iter().enumerate();
    let modules = modules.flat_map(|(rank, names)| names.iter().map(move |name| (rank, (*name).to_owned())));
    let is_there = |(_, name): &(usize, String)| {
        let src = root().join("src");
        src.join(format!("{name}.rs")).exists() || src.join(name).exists()
    };
    let kept: BTreeSet<(usize, String)> =
        modules.filter(is_there).filter(|(_, name)| name != "main").collect();
    assert_eq!(shown, kept, "the table in src/lib.rs is that of tests/it/tidy/layers.rs");
    for (importer, imported) in FORBIDDEN {
        assert!(
            map.contains(&format!("`{importer}` does not import `{imported}`")),
            "{importer}, {imported}"
        );
    }
}

#[test]
fn make_targets_in_documents_exist() {
    let makefile = read("Makefile");
    let targets: BTreeSet<&str> =
        makefile.lines().filter_map(|line| line.split_once(':')).map(|(name, _)| name).collect();
    let mut violations: Vec<Violation> = Vec::new();
    for document in DOCUMENTS {
        let text = read(document);
        let mut words = text.split(|c: char| c.is_whitespace() || c == '`' || c == ',' || c == '.');
        while let Some(word) = words.next() {
            if word != "make" {
                continue;
            }
            // Prose has the word "make" as well. A command has a target after it.
            let target = words.next().unwrap_or_default();
            let is_command =
                text.contains(&format!("`make {target}`")) || text.contains(&format!("\nmake {target}"));
            if is_command && !target.is_empty() && !targets.contains(target) {
                violations.push(format!("{document}: `make {target}` is no target"));
            }
        }
    }
    assert_none("`make` targets in documents exist", &violations);
}

#[test]
fn wrong_names_are_found() {
    let names = names_in_files("1. `http/a.rs` `go` and `POST /x` then `b/c.rs` says `Gone`");
    let name = |path: &str, name: Option<&str>| (path.to_owned(), name.map(str::to_owned));
    assert_eq!(
        names,
        [
            name("http/a.rs", None),
            name("http/a.rs", Some("go")),
            name("b/c.rs", None),
            name("b/c.rs", Some("Gone")),
        ]
    );
    assert!(holds_word("fn go() {}", "go") && !holds_word("fn gone() {}", "go"));
    assert_eq!(items("1. a\n   b\n2. c\n\nd\ne"), ["1. a b", "2. c", "", "d e"]);
    assert_eq!(quoted("a `b` c\n```\n`d`\n```\n`e`"), ["b", "e"]);
    assert_eq!(named_path("src/a.rs:12"), Some("src/a.rs"));
    assert_eq!(named_path("conf/*"), None);
}
