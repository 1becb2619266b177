//! The lists of conformance cases have a line for each case, and the test that a line names exists and is run.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::path::Path;

use super::source::{SourceFile, files_under, root};
use super::{Violation, assert_none};
use crate::support::golden::not_yet::NotYet;
use crate::support::golden::scenario::load_set;

/// The numbers of the cases of discovery.
const DISCOVERY: RangeInclusive<usize> = 1..=307;
/// The numbers of the cases of accounts, in another numbering.
const ACCOUNTS: RangeInclusive<usize> = 13..=90;
/// The numbers of the cases of views and of routes for operators, in the numbering of the cases of accounts.
const VIEWS: RangeInclusive<usize> = 113..=128;

/// The test of a case.
#[derive(Debug, PartialEq, Eq)]
enum Source<'a> {
    /// A recorded exchange that is replayed.
    Scenario(&'a str),
    /// A function in a file.
    Test(&'a str, &'a str),
    /// There is no test yet, for this reason.
    Open(&'a str),
}

/// Reads a line. The error says what is wrong.
fn read(line: &str) -> Result<(usize, Vec<Source<'_>>), String> {
    let mut parts = line.split(" | ");
    let (Some(number), Some(title), Some(sources), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err("is not `number | title | sources`".to_owned());
    };
    let number = number.parse().map_err(|_| format!("{number:?} is no number"))?;
    if title.trim().is_empty() {
        return Err("has no title".to_owned());
    }
    let sources = sources.split(", ").map(|source| match source.split_once(' ') {
        Some(("scenario", name)) => Ok(Source::Scenario(name)),
        Some(("test", path)) => {
            let (file, function) =
                path.split_once("::").ok_or_else(|| format!("{path:?} names no function"))?;
            Ok(Source::Test(file, function))
        }
        Some(("open", reason)) => Ok(Source::Open(reason)),
        _ => Err(format!("{source:?} is no source")),
    });
    Ok((number, sources.collect::<Result<_, _>>()?))
}

/// The tests that a line may name.
struct Known {
    scenarios: Vec<String>,
    not_yet: NotYet,
    files: Vec<SourceFile>,
}

impl Known {
    fn of_this_project() -> Self {
        let golden = root().join("tests/golden");
        let load = |folder: &Path| if folder.exists() { load_set(folder).unwrap() } else { Vec::new() };
        let sets = ["discovery", "operations", "ours"].map(|set| load(&golden.join(set)));
        let not_yet = std::fs::read_to_string(golden.join("not_yet.txt")).unwrap();
        Self {
            scenarios: sets.into_iter().flatten().map(|scenario| scenario.name).collect(),
            not_yet: NotYet::parse(&not_yet).unwrap(),
            files: ["src", "tests"].into_iter().flat_map(files_under).collect(),
        }
    }

    fn passes(&self, scenario: &str) -> bool {
        ["embedded", "etcd"].iter().all(|store| self.not_yet.reason(scenario, store).is_none())
    }

    fn complaint(&self, source: &Source<'_>) -> Option<String> {
        let is_known = |name: &str| self.scenarios.iter().any(|known| known == name);
        match *source {
            Source::Scenario(name) if !is_known(name) => Some(format!("there is no scenario {name}")),
            Source::Scenario(name) if !self.passes(name) => Some(format!("{name} does not pass yet")),
            Source::Scenario(_) => None,
            Source::Test(file, function) => {
                let found = self.files.iter().find(|known| known.path == file);
                let is_test = found.is_some_and(|found| has_test(found, function));
                (!is_test).then(|| format!("there is no test {function} in {file}"))
            }
            Source::Open(reason) => {
                let named = reason.split(|c: char| !(c.is_alphanumeric() || c == '_'));
                let mut passing = named.filter(|&word| is_known(word) && self.passes(word));
                passing.next().map(|name| format!("{name} passes by now: name it as the source"))
            }
        }
    }
}

/// Whether the file has a function of this name with a `test` attribute.
fn has_test(file: &SourceFile, function: &str) -> bool {
    let Some(at) = file.code.find(&format!("fn {function}(")) else { return false };
    let before = &file.code[..at];
    let end = before.rfind(['}', ';']).unwrap_or(0); // of what stands before it
    before[end..].contains("test]")
}

fn check(text: &str, cases: RangeInclusive<usize>, known: &Known) -> Vec<Violation> {
    let mut violations = Vec::new();
    let mut lines: BTreeMap<usize, usize> = BTreeMap::new();
    for (at, line) in text.lines().enumerate() {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let mut complain = |what: String| violations.push(format!("line {}: {what}", at + 1));
        match read(line) {
            Ok((number, sources)) => {
                *lines.entry(number).or_default() += 1;
                sources.iter().filter_map(|source| known.complaint(source)).for_each(&mut complain);
            }
            Err(what) => complain(what),
        }
    }
    for number in cases {
        match lines.remove(&number) {
            Some(1) => {}
            Some(count) => violations.push(format!("case {number} has {count} lines")),
            None => violations.push(format!("case {number} has no line")),
        }
    }
    violations.extend(lines.keys().map(|number| format!("there is no case {number}")));
    violations
}

#[test]
fn every_case_is_shown_somewhere() {
    let known = Known::of_this_project();
    for (file, cases) in [
        ("tests/golden/cases.txt", DISCOVERY),
        ("tests/golden/account_cases.txt", ACCOUNTS),
        ("tests/golden/view_cases.txt", VIEWS),
    ] {
        let text = std::fs::read_to_string(root().join(file)).unwrap();
        assert_none(&format!("{file} says where each case is shown"), &check(&text, cases, &known));
    }
}

#[test]
fn what_is_wrong_is_told() {
    let file = "#[test]\nfn shown() {}\n#[actix_web::test]\nasync fn later() {}\nfn helper() {}";
    let known = Known {
        scenarios: ["good", "late"].map(str::to_owned).to_vec(),
        not_yet: NotYet::parse("late etcd why").unwrap(),
        files: vec![SourceFile::new("tests/a.rs", file)],
    };
    let complaints = |sources: &str| {
        let all = DISCOVERY.map(|number| format!("{number} | title | {sources}\n"));
        check(&all.collect::<String>(), DISCOVERY, &known).len()
    };
    for right in [
        "scenario good",
        "test tests/a.rs::shown",
        "test tests/a.rs::later, scenario good",
        "open late is built soon",
    ] {
        assert_eq!(complaints(right), 0, "{right}");
    }
    for wrong in [
        "scenario none",
        "scenario late",
        "test tests/a.rs::none",
        "test tests/a.rs::helper",
        "test tests/b.rs::shown",
        "test shown",
        "shown",
        "open good is built soon",
    ] {
        assert!(complaints(wrong) >= DISCOVERY.count(), "{wrong}");
    }
    let complaints = |text| check(text, DISCOVERY, &known);
    assert_eq!(complaints("").len(), DISCOVERY.count());
    assert!(complaints("308 | title | scenario good").contains(&"there is no case 308".to_owned()));
    assert!(complaints("1 | scenario good")[0].starts_with("line 1: is not"));
    assert!(complaints("1 | a | scenario good\n1 | b | scenario good")[0].contains("has 2 lines"));
}
