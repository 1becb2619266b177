//! The two streams a person looks at. The only place of the program that writes to them directly; all else is logged.

use std::io::Write;

use crate::config::logging::printable;

/// Standard output and standard error, or what stands for them in a test.
pub struct Terminal<'a> {
    out: &'a mut dyn Write,
    err: &'a mut dyn Write,
}

impl<'a> Terminal<'a> {
    /// A terminal that writes to these two.
    pub fn new(out: &'a mut dyn Write, err: &'a mut dyn Write) -> Self {
        Self { out, err }
    }

    /// A line of what was asked for. A reader that has gone (`| head`) is no error.
    pub fn say(&mut self, line: &str) {
        drop(writeln!(self.out, "{line}"));
    }

    /// A line of what is wrong, or besides the matter. It may repeat what stands in a file: what is not printable is escaped.
    pub fn complain(&mut self, line: &str) {
        drop(writeln!(self.err, "service-center: {}", printable(line)));
    }
}
