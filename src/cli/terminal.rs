//! Standard output and standard error. No other code of the program writes to them directly; other code writes to the log.

use std::io::Write;

use crate::config::logging::printable;

/// Standard output and standard error, or two other writers in a test.
pub struct Terminal<'a> {
    out: &'a mut dyn Write,
    err: &'a mut dyn Write,
}

impl<'a> Terminal<'a> {
    pub fn new(out: &'a mut dyn Write, err: &'a mut dyn Write) -> Self {
        Self { out, err }
    }

    /// Writes a line to standard output. It is no error if nobody reads it any more (`| head`).
    pub fn say(&mut self, line: &str) {
        drop(writeln!(self.out, "{line}"));
    }

    /// Writes a line to standard error. The line may quote a file, so characters that are not printable are escaped.
    pub fn complain(&mut self, line: &str) {
        drop(writeln!(self.err, "service-center: {}", printable(line)));
    }
}
