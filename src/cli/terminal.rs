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

    /// Writes a text to standard output as it is.
    pub fn write(&mut self, text: &str) {
        drop(self.out.write_all(text.as_bytes()));
        drop(self.out.flush());
    }

    /// Writes a line to standard error. The line may quote a file, so characters that are not printable are escaped.
    pub fn complain(&mut self, line: &str) {
        self.note(&format!("service-center: {line}"));
    }

    /// As [`Self::complain`], without the name of the program.
    pub fn note(&mut self, line: &str) {
        drop(writeln!(self.err, "{}", printable(line)));
    }

    /// Writes a question to standard error, without a line break behind it.
    pub fn prompt(&mut self, question: &str) {
        drop(write!(self.err, "{}", printable(question)));
        drop(self.err.flush());
    }

    /// Writes a line of standard error over the one before it.
    pub fn overwrite(&mut self, line: &str) {
        drop(write!(self.err, "\r{}\u{1b}[K", printable(line)));
        drop(self.err.flush());
    }
}
