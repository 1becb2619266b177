//! `.env`: variables as a shell would set them, parsed by dotenvy. Other programs may read the same file, so a line that is not a
//! setting is skipped.

/// A line that is not a setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SkippedLine {
    /// Counted from 1.
    pub number: Option<usize>,
    /// The text in the place of a name.
    pub name: String,
}

/// How many quotes without an end are skipped. dotenvy takes all text behind such a quote for one line, so each costs another
/// parse.
const MAX_OPEN_QUOTES: usize = 20;

/// The settings in their order, and the lines that are not settings.
pub fn parse(text: &str) -> (Vec<(String, String)>, Vec<SkippedLine>) {
    // Without the line end, dotenvy takes a space at the end of the last line for an open quote.
    let mut text = format!("{}\n", text.trim_start_matches('\u{feff}'));
    let whole = text.clone();
    let mut open = Vec::new();
    for _ in 0..MAX_OPEN_QUOTES {
        let (settings, bad, rest) = attempt(&text);
        let Some(rest) = rest else {
            let skipped = open.iter().chain(&bad).map(|line: &String| skipped(&whole, line)).collect();
            return (settings, skipped);
        };
        // Remove the line with the open quote, and parse the rest again.
        let start = text.len() - rest;
        let end =
            text.get(start..).and_then(|rest| rest.find('\n')).map_or(text.len(), |length| start + length);
        open.push(text.get(start..end).unwrap_or_default().to_owned());
        text.replace_range(start..end, "");
    }
    let (settings, bad, _) = attempt(&text);
    let skipped = open.iter().chain(&bad).map(|line| skipped(&whole, line)).collect();
    (settings, skipped)
}

/// Runs dotenvy once. Returns the settings, the lines that are not settings, and the number of bytes from an open quote's line to
/// the end.
fn attempt(text: &str) -> (Vec<(String, String)>, Vec<String>, Option<usize>) {
    let (mut settings, mut bad) = (Vec::new(), Vec::new());
    for item in dotenvy::from_read_iter(text.as_bytes()) {
        match item {
            Ok(setting) => settings.push(setting),
            Err(dotenvy::Error::LineParse(line, at)) if at == line.len() && line.ends_with('\n') => {
                return (settings, bad, Some(line.len()));
            }
            Err(dotenvy::Error::LineParse(line, _)) => bad.push(line),
            Err(_) => {}
        }
    }
    (settings, bad, None)
}

/// `bad` is a line, or the part of a line behind its equals sign.
fn skipped(text: &str, bad: &str) -> SkippedLine {
    let bad = bad.lines().next().unwrap_or_default().trim_end();
    let found = text.lines().enumerate().find(|(_, line)| line.trim_end().ends_with(bad));
    let (number, line) = (found.map(|(at, _)| at + 1), found.map_or(bad, |(_, line)| line).trim_start());
    let name = line.strip_prefix("export ").unwrap_or(line).trim_start();
    let name = name.split(|c: char| c == '=' || c == ':' || c.is_whitespace()).next().unwrap_or_default();
    SkippedLine { number, name: name.to_owned() }
}

/// The number of the line that sets a variable, counted from 1.
pub fn line_of(text: &str, name: &str) -> Option<usize> {
    let sets = |line: &str| {
        let line = line.trim_start_matches('\u{feff}').trim_start();
        let rest = line.strip_prefix("export ").unwrap_or(line).trim_start().strip_prefix(name);
        rest.is_some_and(|rest| rest.trim_start().starts_with('='))
    };
    text.lines().position(sets).map(|at| at + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &[(&str, &str)], skipped: &[(usize, &str)]) {
        let (settings, lines) = parse(text);
        let settings: Vec<_> = settings.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let lines: Vec<_> = lines.iter().map(|line| (line.number.unwrap_or(0), line.name.as_str())).collect();
        assert_eq!((settings.as_slice(), lines.as_slice()), (expected, skipped), "{text:?}");
    }

    #[test]
    fn settings() {
        check("", &[], &[]);
        check(
            "\u{feff}# c\nexport A=1\nB='x y' # c\nC=\"${A}\"\n",
            &[("A", "1"), ("B", "x y"), ("C", "1")],
            &[],
        );
        check("A=1 ", &[("A", "1")], &[]);
        check("A=\"two\nlines\"\nB=1", &[("A", "two\nlines"), ("B", "1")], &[]);
    }

    #[test]
    fn lines_that_are_not_settings() {
        check("A=1\nPASSWORD=two words\nB=2", &[("A", "1"), ("B", "2")], &[(2, "PASSWORD")]);
        check("if [ -f x ]; then\nA=1\nfi\n", &[("A", "1")], &[(1, "if"), (3, "fi")]);
        check("SERVER_PORT: 1\n1A=2\n", &[], &[(1, "SERVER_PORT"), (2, "1A")]);
    }

    /// The lines behind a quote that is not closed are read.
    #[test]
    fn open_quotes() {
        check("A=1\nB=\"open\nC=3\n", &[("A", "1"), ("C", "3")], &[(2, "B")]);
        check("B='open", &[], &[(1, "B")]);
        let many: String = (0..99).map(|at| format!("A{at}=\"\n")).collect();
        assert!(parse(&many).1.len() <= MAX_OPEN_QUOTES + 1);
    }

    #[test]
    fn lines_of_names() {
        let text = "A=1\n export B = 2\nBB=3\n";
        assert_eq!([line_of(text, "A"), line_of(text, "B"), line_of(text, "C")], [Some(1), Some(2), None]);
    }
}
