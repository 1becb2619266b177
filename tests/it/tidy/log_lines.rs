//! The log lines that `docs/operations.md` explains exist in the program, and it explains each alarm.

use service_center::alarm::AlarmKind;

use super::docs::read;
use super::source::files_under;
use super::{Violation, assert_none};

/// A text as it is when the program runs: without the line breaks of a long string, and with plain quotes.
fn joined(code: &str) -> String {
    let mut text = String::with_capacity(code.len());
    let mut rest = code;
    while let Some((before, after)) = rest.split_once("\\\n") {
        text.push_str(before);
        rest = after.trim_start();
    }
    text.push_str(rest);
    text.replace("\\\"", "\"")
}

/// The first cell of each row of the table of a section, between backquotes.
fn explained<'a>(page: &'a str, heading: &str) -> Vec<&'a str> {
    let section = page.split(&format!("\n## {heading}\n")).nth(1).expect("the section");
    let section = section.split("\n## ").next().unwrap_or(section);
    section.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next()).collect()
}

#[test]
fn the_lines_that_are_explained_exist() {
    let page = read("docs/operations.md");
    let lines = explained(&page, "Log lines");
    assert!(lines.len() >= 15, "only {} lines were found", lines.len());
    let files: Vec<String> = files_under("src").iter().map(|file| joined(&file.text)).collect();
    let is_there = |line: &&str| {
        let parts: Vec<&str> = line.split('…').map(str::trim).filter(|part| !part.is_empty()).collect();
        files.iter().any(|file| parts.iter().all(|part| file.contains(part)))
    };
    let missing: Vec<Violation> =
        lines.iter().filter(|line| !is_there(line)).map(|line| format!("no source has {line:?}")).collect();
    assert_none("docs/operations.md explains lines that exist", &missing);
}

#[test]
fn each_alarm_is_explained() {
    let page = read("docs/operations.md");
    assert_eq!(explained(&page, "Alarms"), AlarmKind::ALL.map(AlarmKind::id));
}

#[test]
fn long_strings_are_joined() {
    assert_eq!(joined("\"one \\\n         two \\\"three\\\"\""), "\"one two \"three\"\"");
    assert_eq!(explained("\n## Log lines\n| line |\n| `a …` | b |\n## Logs\n| `c` |", "Log lines"), ["a …"]);
}
