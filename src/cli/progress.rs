//! A line on standard error that counts what a long operation has done. Only a terminal shows it.

use std::io::IsTerminal as _;

use super::terminal::Terminal;

/// After so many more steps the line is written again.
const EVERY: usize = 50;

/// Counts what an operation has done.
#[derive(Debug)]
pub struct Progress {
    /// A plural.
    what: &'static str,
    /// The number on the terminal.
    shown: Option<usize>,
    is_terminal: bool,
}

impl Progress {
    pub fn new(what: &'static str) -> Self {
        Self { what, shown: None, is_terminal: std::io::stderr().is_terminal() }
    }

    /// `all` is `None` if nobody knows how many there are.
    pub fn show(&mut self, terminal: &mut Terminal<'_>, done: usize, all: Option<usize>) {
        let is_due = self.shown.is_none_or(|shown| done >= shown + EVERY) || all == Some(done);
        if self.is_terminal && is_due {
            self.shown = Some(done);
            let of = all.map(|all| format!(" of {all}")).unwrap_or_default();
            terminal.overwrite(&format!("{done}{of} {}", self.what));
        }
    }

    /// Ends the line, if there is one.
    pub fn finish(self, terminal: &mut Terminal<'_>) {
        if self.shown.is_some() {
            terminal.note("");
        }
    }
}
