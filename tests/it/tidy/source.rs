//! The source files, and their code: the text with comments, literals and test modules blanked, line by line as it was.

use std::fs;
use std::path::{Path, PathBuf};

/// A source file.
#[derive(Debug)]
pub struct SourceFile {
    /// Its path from the project's root, with `/`.
    pub path: String,
    /// Its text.
    pub text: String,
    /// Its text, with comments and literals blanked.
    pub code: String,
    /// `code` without its `#[cfg(test)]` modules. It is empty if the file is such a module.
    pub shipped_code: String,
}

impl SourceFile {
    /// A file with this path and text.
    pub fn new(path: &str, text: &str) -> Self {
        let code = blank_comments_and_literals(text);
        let is_tests = path.ends_with("/tests.rs")
            || path.contains("/tests/")
            || path.starts_with("tests/")
            || path.starts_with("benches/");
        let shipped_code = if is_tests { String::new() } else { blank_test_modules(&code) };
        Self { path: path.to_owned(), text: text.to_owned(), code, shipped_code }
    }

    /// The module path the file holds: `src/a/b.rs` and `src/a/b/mod.rs` are `["a", "b"]`, `src/lib.rs` is empty.
    pub fn module(&self) -> Vec<&str> {
        let path = self.path.strip_prefix("src/").unwrap_or(&self.path);
        let path = path.strip_suffix(".rs").unwrap_or(path);
        let mut parts: Vec<&str> = path.split('/').collect();
        if matches!(parts.as_slice(), ["lib"] | [.., "mod"]) {
            parts.pop();
        }
        parts
    }

    /// `path:line` of a place in the text, or in one of the blanked ones.
    pub fn place(&self, offset: usize) -> String {
        let line = 1 + self.code.bytes().take(offset).filter(|&byte| byte == b'\n').count();
        format!("{}:{line}", self.path)
    }
}

/// The project's root.
pub fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// All Rust files under a folder of the project, sorted; none if there is no such folder.
pub fn files_under(folder: &str) -> Vec<SourceFile> {
    let mut files = Vec::new();
    collect(&root(), &root().join(folder), &mut files);
    files.sort_by(|a, b| a.path.cmp(&b.path));
    files
}

fn collect(root: &Path, folder: &Path, files: &mut Vec<SourceFile>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(root, &path, files);
        } else if path.extension().is_some_and(|end| end == "rs") {
            let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
            files.push(SourceFile::new(&name, &fs::read_to_string(&path).unwrap()));
        }
    }
}

/// Replaces each byte of a comment or of a literal between its quotes by a space. Line ends stay.
fn blank_comments_and_literals(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = bytes.to_vec();
    let mut at = 0;
    while at < bytes.len() {
        let end = match bytes[at] {
            b'/' if bytes[at..].starts_with(b"//") => find(bytes, at, b"\n").unwrap_or(bytes.len()),
            b'/' if bytes[at..].starts_with(b"/*") => block_comment_end(bytes, at),
            b'r' if !is_word(bytes, at) && raw_string_end(bytes, at + 1).is_some() => {
                raw_string_end(bytes, at + 1).unwrap_or(bytes.len())
            }
            b'b' if !is_word(bytes, at) && bytes[at + 1..].starts_with(b"r") => {
                raw_string_end(bytes, at + 2).unwrap_or(at)
            }
            b'"' => string_end(bytes, at),
            b'\'' => char_end(bytes, at).unwrap_or(at),
            _ => at,
        };
        if end == at {
            at += 1;
            continue;
        }
        for byte in &mut out[at..end] {
            if *byte != b'\n' {
                *byte = b' ';
            }
        }
        at = end;
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// Whether the byte at `at` continues a word, as the `r` in `for"` does.
fn is_word(bytes: &[u8], at: usize) -> bool {
    at > 0 && (bytes[at - 1].is_ascii_alphanumeric() || bytes[at - 1] == b'_')
}

fn find(bytes: &[u8], from: usize, what: &[u8]) -> Option<usize> {
    bytes[from..].windows(what.len()).position(|window| window == what).map(|found| from + found)
}

fn block_comment_end(bytes: &[u8], start: usize) -> usize {
    let mut depth = 0;
    let mut at = start;
    while at < bytes.len() {
        if bytes[at..].starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if bytes[at..].starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    bytes.len()
}

/// The end of a raw string whose `#`s or quote begin at `hashes`. `None` if no raw string begins there.
fn raw_string_end(bytes: &[u8], hashes: usize) -> Option<usize> {
    let count = bytes[hashes..].iter().take_while(|&&byte| byte == b'#').count();
    if bytes.get(hashes + count) != Some(&b'"') {
        return None;
    }
    let close = [b"\"".as_slice(), &b"#".repeat(count)].concat();
    Some(find(bytes, hashes + count + 1, &close).map_or(bytes.len(), |found| found + close.len()))
}

fn string_end(bytes: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    bytes.len()
}

/// The end of a character literal. `None` if the quote begins a lifetime.
fn char_end(bytes: &[u8], start: usize) -> Option<usize> {
    if bytes.get(start + 1) == Some(&b'\\') {
        return find(bytes, start + 3, b"'").map(|end| end + 1);
    }
    let text = std::str::from_utf8(&bytes[start + 1..]).ok()?;
    let first = text.chars().next()?;
    text[first.len_utf8()..].starts_with('\'').then(|| start + 1 + first.len_utf8() + 1)
}

/// Blanks each `#[cfg(test)] mod … { … }`.
fn blank_test_modules(code: &str) -> String {
    const MARK: &str = "#[cfg(test)]";
    let mut out = code.to_owned();
    let mut from = 0;
    while let Some(start) = code[from..].find(MARK).map(|found| from + found) {
        from = start + MARK.len();
        let Some(open) = code[from..].find(['{', ';']).map(|found| from + found) else { break };
        let head = &code[from..open];
        let is_module = head.split_whitespace().any(|word| word == "mod");
        if !is_module || code.as_bytes()[open] == b';' {
            continue;
        }
        let end = closing_brace(code, open);
        let blank: String = code[start..end].chars().map(|c| if c == '\n' { '\n' } else { ' ' }).collect();
        // Of one length only where all blanked characters take a byte, which code outside literals nearly always does.
        let blank = format!("{blank}{}", " ".repeat(code[start..end].len() - blank.len()));
        out.replace_range(start..end, &blank);
        from = end;
    }
    out
}

/// Just behind the brace that closes the one at `open`.
fn closing_brace(code: &str, open: usize) -> usize {
    let mut depth = 0;
    for (at, byte) in code.bytes().enumerate().skip(open) {
        match byte {
            b'{' => depth += 1,
            b'}' => depth -= 1,
            _ => continue,
        }
        if depth == 0 {
            return at + 1;
        }
    }
    code.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, code: &str) {
        let got = blank_comments_and_literals(text);
        assert_eq!(got.split_whitespace().collect::<Vec<_>>().join(" "), code, "{text}");
        assert_eq!(got.len(), text.len(), "{text}");
    }

    #[test]
    fn comments_and_literals_are_blanked() {
        check("a // b\nc", "a c");
        check("a /* b /* c */ d */ e", "a e");
        check(r#"a("b \" c", d)"#, "a( , d)");
        check(r##"a(r"b\", r#"c " d"#, br"e")"##, "a( , , )");
        check("for\"x\" in y", "for in y");
        check(r"a('b', '\'', '\u{1}', 'ü')", "a( , , , )");
        check("fn a<'b>(c: &'b str) -> d", "fn a<'b>(c: &'b str) -> d");
        check("\"/*\" a \"*/\"", "a");
        check("rust::r::b(br)", "rust::r::b(br)");
    }

    #[test]
    fn test_modules_are_not_shipped() {
        let file = SourceFile::new(
            "src/a/b.rs",
            "use x;\n#[cfg(test)]\nmod tests {\n  fn f() { y }\n}\nuse z;\n#[cfg(test)]\nuse w;",
        );
        assert_eq!(
            file.shipped_code.split_whitespace().collect::<Vec<_>>().join(" "),
            "use x; use z; #[cfg(test)] use w;"
        );
        assert_eq!(file.place(file.code.find("use z").unwrap()), "src/a/b.rs:6");
        assert_eq!(SourceFile::new("src/a/tests.rs", "use x;").shipped_code, "");
    }

    #[test]
    fn files_are_modules() {
        let module = |path: &str| SourceFile::new(path, "").module().join("::");
        assert_eq!(module("src/lib.rs"), "");
        assert_eq!(module("src/main.rs"), "main");
        assert_eq!(module("src/clock.rs"), "clock");
        assert_eq!(module("src/store/mod.rs"), "store");
        assert_eq!(module("src/store/etcd/lease.rs"), "store::etcd::lease");
    }
}
