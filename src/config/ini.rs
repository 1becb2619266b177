//! `conf/app.conf`: the INI dialect of beego, in which the reference's cluster guide is written.
//!
//! A line is `key = value`, `[section]`, or a comment that begins with `#` or `;`. A comment cannot follow a value. Names have
//! any case. A value that begins with `"` loses the quotes at both ends. If a name occurs twice, the last value counts. The
//! lines before the first section and in `[default]` are the global part. The section of the run mode overrides it.
//!
//! No library, because messages name the line of a value, and one bad line must not hide the others.

/// A `key = value`. Variables in the value are not replaced yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IniLine {
    /// Counted from 1.
    pub number: usize,
    /// In lower case; `default` for the global part.
    pub section: String,
    pub key: String,
    /// Without its quotes.
    pub value: String,
}

/// A line that is not a setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadLine {
    /// Counted from 1.
    pub number: usize,
    pub text: String,
    pub expected: &'static str,
}

/// The name of the section for lines before any section.
pub const GLOBAL: &str = "default";

/// Parses the file. Continues after a bad line, so that all bad lines are found.
pub fn parse(text: &str) -> (Vec<IniLine>, Vec<BadLine>) {
    let (mut lines, mut bad) = (Vec::new(), Vec::new());
    let mut section = GLOBAL.to_owned();
    for (at, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
        let (number, line) = (at + 1, line.trim());
        if line.is_empty() || line.starts_with(['#', ';']) {
            continue;
        }
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            section = name.trim().to_lowercase();
            continue;
        }
        match line.split_once('=') {
            Some((key, value)) if !key.trim().is_empty() => lines.push(IniLine {
                number,
                section: section.clone(),
                key: key.trim().to_owned(),
                value: unquoted(value.trim()).to_owned(),
            }),
            _ => bad.push(BadLine { number, text: line.to_owned(), expected: advice(line) }),
        }
    }
    (lines, bad)
}

fn advice(line: &str) -> &'static str {
    match line.split_whitespace().next() {
        Some(word) if word.eq_ignore_ascii_case("include") => {
            "include is not supported: write the lines of that file into this one"
        }
        _ => "write key = value, [section], or begin the line with #",
    }
}

fn unquoted(value: &str) -> &str {
    if value.starts_with('"') { value.trim_matches('"') } else { value }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &[(usize, &str, &str, &str)]) {
        let (lines, bad) = parse(text);
        let got: Vec<_> =
            lines.iter().map(|l| (l.number, l.section.as_str(), l.key.as_str(), l.value.as_str())).collect();
        assert_eq!((got.as_slice(), bad.as_slice()), (expected, [].as_slice()), "{text:?}");
    }

    #[test]
    fn reads_lines() {
        check("httpaddr = 10.12.0.1\n", &[(1, "default", "httpaddr", "10.12.0.1")]);
        check("\u{feff}a=1\r\n\r\n  b =2 ", &[(1, "default", "a", "1"), (3, "default", "b", "2")]);
        check("# c\n; d\n   # e = f\n#[dev]\n", &[]);
        check("a = b = c", &[(1, "default", "a", "b = c")]);
        check("a = b # c", &[(1, "default", "a", "b # c")]);
        check("a =", &[(1, "default", "a", "")]);
        check("A.B = x", &[(1, "default", "A.B", "x")]);
    }

    #[test]
    fn drops_quotes() {
        check(
            "manager_cluster = \"10.12.0.4:2379,10.12.0.5:2379\"",
            &[(1, "default", "manager_cluster", "10.12.0.4:2379,10.12.0.5:2379")],
        );
        check("a = \" x \"", &[(1, "default", "a", " x ")]);
        check("a = \"", &[(1, "default", "a", "")]);
        check("a = x\"y\"", &[(1, "default", "a", "x\"y\"")]);
    }

    #[test]
    fn knows_sections() {
        check(
            "a = 1\n[Prod]\na = 2\n[default]\nb = 3",
            &[(1, "default", "a", "1"), (3, "prod", "a", "2"), (5, "default", "b", "3")],
        );
    }

    #[test]
    fn names_each_bad_line() {
        let (lines, bad) = parse("a = 1\nnonsense\n= 5\ninclude \"x.conf\"\nb = 2");
        assert_eq!(lines.len(), 2);
        assert_eq!(bad.iter().map(|b| b.number).collect::<Vec<_>>(), [2, 3, 4]);
        assert!(bad.last().is_some_and(|b| b.expected.starts_with("include is not supported")));
    }
}
