//! The lines of an export: reads and writes one JSON object at a time. The length of a line has a limit.

use std::io::{self, BufRead, Read, Write};

use crate::domain::json;
use crate::json_object;

/// The version of the format. A file with another version is rejected.
pub const FORMAT: i32 = 1;
/// The longest line. A value has up to 1.5 MiB, and JSON needs up to six characters for a byte (`\u0001`).
const MAX_BYTES: u64 = 10 << 20;

json_object! {
    /// The header has `format`, the closing line has `entries`, and all lines between have `key`.
    pub struct ExportLine {
        "format" => format: i32,
        "entries" => entries: Option<i32>,
        "key" => key: String,
        /// The value, if it is valid UTF-8.
        "value" => value: String,
        /// The value in hex, if it is not valid UTF-8.
        "hex" => hex: String,
        /// The number of its lease, as text.
        "lease" => lease: String,
        /// The TTL of the lease in seconds, as text.
        "ttl" => ttl: String,
    }
}

pub fn write(out: &mut impl Write, line: &ExportLine) -> io::Result<()> {
    out.write_all(&json::encode(line))?;
    out.write_all(b"\n")
}

#[derive(Debug)]
pub enum LineRead {
    Line(ExportLine),
    /// The line is not one of an export. The text says why.
    Bad(String),
    /// The line is too long, so the next line cannot be found.
    TooLong(String),
    EndOfFile,
}

/// Reads the next line.
pub fn read(file: &mut impl BufRead) -> io::Result<LineRead> {
    let mut bytes = Vec::new();
    file.take(MAX_BYTES + 1).read_until(b'\n', &mut bytes)?;
    if bytes.is_empty() {
        return Ok(LineRead::EndOfFile);
    }
    if bytes.len() as u64 > MAX_BYTES {
        return Ok(LineRead::TooLong(format!(
            "the line is longer than {MAX_BYTES} bytes, more than any entry needs"
        )));
    }
    if std::str::from_utf8(&bytes).is_err() {
        return Ok(LineRead::Bad("the line is not valid UTF-8".to_owned()));
    }
    Ok(json::decode(&bytes).map_or_else(|error| LineRead::Bad(error.to_string()), LineRead::Line))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn check(text: &[u8], expected: fn(&LineRead) -> bool) {
        let next = read(&mut io::BufReader::new(text)).unwrap();
        assert!(expected(&next), "{next:?}");
    }

    #[test]
    fn lines() {
        check(b"", |next| matches!(next, LineRead::EndOfFile));
        check(b"{\"key\":\"k\"}", |next| matches!(next, LineRead::Line(line) if line.key == "k"));
        check(b"{\"key\":1}\n", |next| matches!(next, LineRead::Bad(why) if why.contains("'key'")));
        check(b"\n", |next| matches!(next, LineRead::Bad(_)));
        check(b"{\"key\":\"\xff\"}\n", |next| matches!(next, LineRead::Bad(why) if why.contains("UTF-8")));
        let long = vec![b' '; MAX_BYTES as usize + 5];
        check(&long, |next| matches!(next, LineRead::TooLong(_)));
        check(&long[..MAX_BYTES as usize], |next| matches!(next, LineRead::Bad(_)));
    }
}
