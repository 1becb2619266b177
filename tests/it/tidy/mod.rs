//! Rules about the source itself. Tests read the source and check which modules import which, how files begin, which lints stay on, that
//! `actors.md` describes the actors, that documents in two languages agree, and that files for containers name what is there.
//!
//! The rules read the text of the files. Comments, strings and test modules are blanked first ([`source`]), and paths are followed as they are
//! written ([`paths`]).

mod actors_doc;
mod cases;
mod cycles;
mod dependencies;
mod deploy;
mod docs;
mod files;
mod homes;
mod languages;
mod layers;
mod links;
mod log_lines;
mod paths;
mod sections;
mod source;
mod waits;

use source::SourceFile;

/// The place and the kind of a violation, such as `src/a.rs:12: …`.
type Violation = String;

#[track_caller]
fn assert_none(rule: &str, violations: &[Violation]) {
    assert!(violations.is_empty(), "{rule}:\n  {}", violations.join("\n  "));
}

/// Applies `rule` to a file with this path and text, which exists only in a test.
fn made_up(path: &str, text: &str, rule: impl Fn(&SourceFile) -> Vec<Violation>) -> Vec<Violation> {
    rule(&SourceFile::new(path, text))
}
