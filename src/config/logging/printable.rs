//! Makes text safe for a log or a terminal. Messages of a registry quote what clients send: names, ids, parts of bodies. Such a text
//! must not end a line, move the cursor, ring the bell, or hide or reorder other text.

use std::borrow::Cow;

/// Characters that Rust escapes in a literal, and that stay as they are here.
fn is_quoting(c: char) -> bool {
    matches!(c, '\\' | '"' | '\'')
}

/// Escapes every character that is not printable, in the form of a Rust literal: line breaks and other control characters (`\n`,
/// `\u{1b}`), formatting characters of bidirectional text, and invisible, private and unassigned characters.
pub fn printable(text: &str) -> Cow<'_, str> {
    if text.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for piece in text.split_inclusive(is_quoting) {
        let plain = piece.strip_suffix(is_quoting).unwrap_or(piece);
        out.extend(plain.escape_debug());
        out.extend(piece.chars().next_back().filter(|c| is_quoting(*c)));
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn printable_text_stays() {
        for text in ["", "plain 'a' \"b\" \\d+ {}", "größer, 服务, сервис, e\u{301}", "服\\务\"'"]
        {
            assert_eq!(printable(text), text);
        }
    }

    #[test]
    fn everything_else_is_escaped() {
        for (text, expected) in [
            ("two\r\nlines\t.", "two\\r\\nlines\\t."),
            ("\u{1b}[2J\u{7}\0\u{7f}\u{9b}1m", "\\u{1b}[2J\\u{7}\\0\\u{7f}\\u{9b}1m"),
            ("a\u{85}b\u{2028}c\u{2029}d", "a\\u{85}b\\u{2028}c\\u{2029}d"),
            ("\u{202e}gnp.exe\u{2066}\u{200f}", "\\u{202e}gnp.exe\\u{2066}\\u{200f}"),
            ("\u{feff}ad\u{200b}min\u{ad}", "\\u{feff}ad\\u{200b}min\\u{ad}"),
            ("\u{e000}\u{e0041}", "\\u{e000}\\u{e0041}"),
            ("'\u{1b}\\\u{7}\"", "'\\u{1b}\\\\u{7}\""),
        ] {
            assert_eq!(printable(text), expected);
        }
    }
}
