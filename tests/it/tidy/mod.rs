//! Rules about the source itself, kept by reading it: who may import whom, how files begin, which lints stay on, that
//! `actors.md` says what the actors are, and that documents in two languages say the same.
//!
//! The rules read text, not the compiler's view: comments, strings and test modules are blanked first ([`source`]), paths
//! are followed as they are written ([`paths`]).

mod actors_doc;
mod cases;
mod cycles;
mod dependencies;
mod docs;
mod files;
mod homes;
mod languages;
mod layers;
mod links;
mod paths;
mod sections;
mod source;
mod waits;

use source::SourceFile;

/// What breaks a rule, and where: `src/a.rs:12: …`.
type Violation = String;

#[track_caller]
fn assert_none(rule: &str, violations: &[Violation]) {
    assert!(violations.is_empty(), "{rule}:\n  {}", violations.join("\n  "));
}

/// Applies `rule` to a file made up for a test: its path and its text.
fn made_up(path: &str, text: &str, rule: impl Fn(&SourceFile) -> Vec<Violation>) -> Vec<Violation> {
    rule(&SourceFile::new(path, text))
}
