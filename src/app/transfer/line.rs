//! The lines of an export: JSON objects, written and read one at a time, within a limit.

use std::io::{self, BufRead, Read, Write};

use crate::domain::json;
use crate::json_object;

/// Form of the file; another one is refused.
pub const FORMAT: i32 = 1;
/// The longest line. A value has 1.5 MiB at most, and JSON writes a byte in six characters at most (`\u0001`).
const MAX_BYTES: u64 = 10 << 20;

json_object! {
    /// A line: the header has `format`, the closing line `entries`, all between `key`.
    pub struct Line {
        /// Form of the file.
        "format" => format: i32,
        /// Number of entries.
        "entries" => entries: Option<i32>,
        /// The key.
        "key" => key: String,
        /// The value, if it is text.
        "value" => value: String,
        /// The value in hex, if it is none.
        "hex" => hex: String,
        /// Number of the lease it hangs on, as text.
        "lease" => lease: String,
        /// TTL of that lease, seconds, as text.
        "ttl" => ttl: String,
    }
}

/// Writes a line.
pub fn write(out: &mut impl Write, line: &Line) -> io::Result<()> {
    out.write_all(&json::encode(line))?;
    out.write_all(b"\n")
}

/// What stands in the next line of a file.
#[derive(Debug)]
pub enum Next {
    /// A line.
    Line(Line),
    /// No line of an export, and why.
    Bad(String),
    /// A line that is too long: what follows it is not looked for.
    TooLong(String),
    /// Nothing: the file is over.
    End,
}

/// Reads the next line.
pub fn read(file: &mut impl BufRead) -> io::Result<Next> {
    let mut bytes = Vec::new();
    file.take(MAX_BYTES + 1).read_until(b'\n', &mut bytes)?;
    if bytes.is_empty() {
        return Ok(Next::End);
    }
    if bytes.len() as u64 > MAX_BYTES {
        return Ok(Next::TooLong(format!("the line is longer than {MAX_BYTES} bytes, which no entry needs")));
    }
    if std::str::from_utf8(&bytes).is_err() {
        return Ok(Next::Bad("the line is not UTF-8".to_owned()));
    }
    Ok(json::decode(&bytes).map_or_else(|error| Next::Bad(error.to_string()), Next::Line))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn check(text: &[u8], expected: fn(&Next) -> bool) {
        let next = read(&mut io::BufReader::new(text)).unwrap();
        assert!(expected(&next), "{next:?}");
    }

    #[test]
    fn lines() {
        check(b"", |next| matches!(next, Next::End));
        check(b"{\"key\":\"k\"}", |next| matches!(next, Next::Line(line) if line.key == "k"));
        check(b"{\"key\":1}\n", |next| matches!(next, Next::Bad(why) if why.contains("'key'")));
        check(b"\n", |next| matches!(next, Next::Bad(_)));
        check(b"{\"key\":\"\xff\"}\n", |next| matches!(next, Next::Bad(why) if why.contains("UTF-8")));
        let long = vec![b' '; MAX_BYTES as usize + 5];
        check(&long, |next| matches!(next, Next::TooLong(_)));
        check(&long[..MAX_BYTES as usize], |next| matches!(next, Next::Bad(_)));
    }
}
