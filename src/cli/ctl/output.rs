//! Tables, JSON, YAML and names on standard output.
//!
//! Names and texts come from whoever registers, so a table, and whatever goes to a terminal, shows control characters and formatting
//! characters of bidirectional text escaped.

use std::collections::BTreeMap;
use std::io::IsTerminal as _;

use clap::ValueEnum;
use comfy_table::{Cell, CellAlignment, ContentArrangement, ContentLineStyle, LineStyle, Table, TableStyle};
use serde_json::Value;

use super::super::terminal::Terminal;
use super::failure::Failure;
use crate::config::logging::printable;

/// The look of the original's tables.
const STYLE: TableStyle = TableStyle::new()
    .header_lines(ContentLineStyle::new(' ', '|', ' '))
    .header_separator(LineStyle::new('+', '-', '+', '+'))
    .content_lines(ContentLineStyle::new(' ', '|', ' '));

/// On a terminal a cell is cut here, unless the table is wide.
const CUT: usize = 35;
/// A cell that is so little longer is not cut: the dots would be as long.
const DOTS: &str = "...";

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    Table,
    Wide,
    Json,
    Yaml,
    Name,
}

/// How to print.
#[derive(Clone, Copy, Debug)]
pub struct Output {
    pub format: Format,
    has_headers: bool,
    is_terminal: bool,
    has_color: bool,
}

/// A column of a table: its heading, and what an item has in it.
pub struct Column<'a>(pub &'static str, pub Box<dyn Fn(&Value) -> String + 'a>);

/// A column with a member of each item, by its JSON pointer.
pub fn column(heading: &'static str, pointer: &'static str) -> Column<'static> {
    Column(heading, Box::new(move |item| shown(item, pointer)))
}

/// Items to print.
pub struct Listing<'a> {
    pub columns: Vec<Column<'a>>,
    pub items: Vec<Value>,
    /// What `-o name` prints of an item; other commands take it as an argument.
    pub name: fn(&Value) -> String,
}

impl Output {
    pub fn new(format: Format, no_headers: bool, environment: &BTreeMap<String, String>) -> Self {
        Self::on(std::io::stdout().is_terminal(), format, no_headers, environment)
    }

    fn on(
        is_terminal: bool,
        format: Format,
        no_headers: bool,
        environment: &BTreeMap<String, String>,
    ) -> Self {
        let is_set = |name: &str| environment.get(name).is_some_and(|value| !value.is_empty());
        let is_dumb = environment.get("TERM").is_some_and(|term| term == "dumb");
        let has_color = is_terminal && !is_set("NO_COLOR") && !is_dumb;
        Self { format, has_headers: !no_headers, is_terminal, has_color }
    }

    pub fn in_format(self, format: Format) -> Self {
        Self { format, ..self }
    }

    pub fn is_wide(&self) -> bool {
        self.format == Format::Wide
    }

    pub fn is_text(&self) -> bool {
        matches!(self.format, Format::Table | Format::Wide)
    }

    /// Prints items in the chosen form. JSON and YAML have all members of the items, whatever the columns.
    pub fn list(&self, terminal: &mut Terminal<'_>, listing: &Listing<'_>) -> Result<(), Failure> {
        match self.format {
            Format::Table | Format::Wide => self.table(terminal, listing),
            Format::Name => listing.items.iter().for_each(|item| {
                terminal.say(&printable(&(listing.name)(item)));
            }),
            Format::Json | Format::Yaml => {
                return self.value(terminal, &Value::Array(listing.items.clone()));
            }
        }
        Ok(())
    }

    fn table(&self, terminal: &mut Terminal<'_>, listing: &Listing<'_>) {
        let mut table = Table::new();
        table.load_style(STYLE).set_content_arrangement(ContentArrangement::Disabled);
        if self.has_headers {
            let headings = listing.columns.iter().map(|column| column.0);
            table.set_header(headings.map(|text| Cell::new(text).set_alignment(CellAlignment::Center)));
        }
        for item in &listing.items {
            table.add_row(listing.columns.iter().map(|Column(_, cell)| self.cell(&cell(item))));
        }
        if !self.has_headers && listing.items.is_empty() {
            return;
        }
        let text = table.trim_fmt();
        for (number, line) in text.lines().enumerate() {
            let is_heading = number == 0 && self.has_headers;
            terminal.say(&self.styled(line, if is_heading { Style::Bold } else { Style::Plain }));
        }
    }

    /// A text as a cell shows it: in one line, and on a terminal not longer than the original shows it.
    fn cell(&self, text: &str) -> String {
        let text = printable(text);
        let is_cut = self.is_terminal && !self.is_wide() && text.chars().count() > CUT + DOTS.len();
        if is_cut { text.chars().take(CUT).chain(DOTS.chars()).collect() } else { text.into_owned() }
    }

    /// Prints a value as JSON or YAML.
    pub fn value(&self, terminal: &mut Terminal<'_>, value: &Value) -> Result<(), Failure> {
        let failed = |why: String| Failure::unreachable(format!("the answer cannot be shown: {why}"));
        let text = if self.format == Format::Yaml {
            let shown = if self.is_terminal { escaped(value) } else { value.clone() };
            serde_yaml_ng::to_string(&shown).map_err(|error| failed(error.to_string()))?
        } else {
            ascii(&serde_json::to_string_pretty(value).map_err(|error| failed(error.to_string()))?)
        };
        terminal.say(text.trim_end());
        Ok(())
    }

    /// Prints a value as one line of JSON, for streams.
    pub fn line(&self, terminal: &mut Terminal<'_>, value: &Value) {
        terminal.say(&ascii(&value.to_string()));
    }

    /// Prints a text of the registry, such as a schema. A terminal gets each line escaped, a pipe gets the text itself.
    pub fn text(&self, terminal: &mut Terminal<'_>, text: &str) {
        if self.is_terminal {
            for line in text.lines() {
                terminal.say(&printable(line));
            }
        } else {
            terminal.write(text);
        }
    }

    /// Prints `name: value` lines, aligned. A value without text is left out.
    pub fn facts(&self, terminal: &mut Terminal<'_>, facts: &[(&str, String)]) {
        let width = facts.iter().map(|(name, _)| name.len()).max().unwrap_or_default();
        for (name, value) in facts.iter().filter(|(_, value)| !value.is_empty()) {
            terminal.say(&format!("{name:width$}  {}", printable(value)));
        }
    }

    /// A text in a style, if the output is a terminal that shows styles.
    pub fn styled(&self, text: &str, style: Style) -> String {
        let code = match style {
            Style::Plain => return text.to_owned(),
            Style::Bold => 1,
            Style::Good => 32,
            Style::Bad => 31,
        };
        if self.has_color { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    Plain,
    Bold,
    Good,
    Bad,
}

/// JSON whose strings have escapes for all characters that a terminal might obey.
fn ascii(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    let mut units = [0; 2];
    for c in json.chars() {
        // Only strings can contain such characters: a line break of the layout is kept.
        if c == '\n'
            || c.is_ascii_graphic()
            || c == ' '
            || printable(c.encode_utf8(&mut [0; 4])).chars().eq([c])
        {
            out.push(c);
        } else {
            out.extend(c.encode_utf16(&mut units).iter().map(|unit| format!("\\u{unit:04x}")));
        }
    }
    out
}

/// A value whose texts are escaped.
fn escaped(value: &Value) -> Value {
    match value {
        Value::String(text) => Value::String(printable(text).into_owned()),
        Value::Array(items) => items.iter().map(escaped).collect(),
        Value::Object(members) => {
            members.iter().map(|(name, value)| (printable(name).into_owned(), escaped(value))).collect()
        }
        other => other.clone(),
    }
}

/// A member as a text, by its JSON pointer. A list is joined by commas; a member that is absent is empty.
pub fn shown(value: &Value, pointer: &str) -> String {
    value.pointer(pointer).map(plain).unwrap_or_default()
}

/// A value as a text.
pub fn plain(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(plain).collect::<Vec<_>>().join(","),
        Value::Object(members) => members
            .iter()
            .map(|(name, value)| format!("{name}={}", plain(value)))
            .collect::<Vec<_>>()
            .join(","),
        other => other.to_string(),
    }
}

/// A member with numbers by name: `1 DOWN, 3 UP`.
pub fn counts(value: &Value, pointer: &str) -> String {
    let counts = value.pointer(pointer).and_then(Value::as_object);
    let counts = counts.into_iter().flatten().map(|(name, count)| format!("{count} {name}"));
    counts.collect::<Vec<_>>().join(", ")
}

/// A text member, by its JSON pointer; empty if it is absent.
pub fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// A list member; empty if it is absent.
pub fn items<'a>(value: &'a Value, pointer: &str) -> &'a [Value] {
    value.pointer(pointer).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

/// A number of seconds as the original prints it: in the largest unit that fits.
pub fn age(seconds: u64) -> String {
    const MINUTE: u64 = 60;
    const HOUR: u64 = 60 * MINUTE;
    const DAY: u64 = 24 * HOUR;
    // The original rounds minutes and hours half to even, and days down.
    let rounded = |unit: u64| {
        let (whole, rest) = (seconds / unit, seconds % unit);
        whole + u64::from(rest * 2 > unit || rest * 2 == unit && whole % 2 == 1)
    };
    match seconds {
        ..MINUTE => format!("{seconds}s"),
        MINUTE..HOUR => format!("{}m", rounded(MINUTE)),
        HOUR..DAY => format!("{}h", rounded(HOUR)),
        _ => format!("{}d", seconds / DAY),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn output(format: Format, is_terminal: bool) -> Output {
        Output { format, has_headers: true, is_terminal, has_color: is_terminal }
    }

    fn printed(output: Output, items: Value) -> String {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let listing = Listing {
            columns: vec![column("NAME", "/name"), column("TAGS", "/tags")],
            items: items.as_array().cloned().unwrap_or_default(),
            name: |item| shown(item, "/name"),
        };
        assert!(output.list(&mut Terminal::new(&mut out, &mut err), &listing).is_ok());
        String::from_utf8_lossy(&out).into_owned()
    }

    #[test]
    fn each_format_is_printed() {
        let items = || json!([{"name": "a", "tags": ["x", "y"]}, {"name": "longer"}]);
        let table = "   NAME  | TAGS\n+--------+------+\n  a      | x,y\n  longer |\n";
        assert_eq!(printed(output(Format::Table, false), items()), table);
        assert_eq!(printed(output(Format::Name, false), items()), "a\nlonger\n");
        assert_eq!(
            printed(output(Format::Yaml, false), items()),
            "- name: a\n  tags:\n  - x\n  - y\n- name: longer\n"
        );
        assert!(printed(output(Format::Json, false), items()).starts_with("[\n  {\n    \"name\": \"a\""));
        let bold = printed(output(Format::Table, true), items());
        assert!(bold.starts_with("\u{1b}[1m   NAME  | TAGS\u{1b}[0m\n"), "{bold:?}");
    }

    #[test]
    fn only_a_terminal_is_colored_and_no_color_is_respected() {
        let has_color = |is_terminal: bool, variables: &[(&str, &str)]| {
            let environment = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
            Output::on(is_terminal, Format::Table, false, &environment.collect()).has_color
        };
        assert!(has_color(true, &[]) && has_color(true, &[("NO_COLOR", ""), ("TERM", "xterm")]));
        assert!(!has_color(false, &[]) && !has_color(true, &[("NO_COLOR", "1")]));
        assert!(!has_color(true, &[("TERM", "dumb")]));
    }

    #[test]
    fn hostile_texts_are_escaped_and_long_ones_cut_on_a_terminal_only() {
        let hostile = "\u{1b}[2Ja\nb\u{202e}";
        let items = || json!([{"name": hostile, "tags": "x".repeat(60)}]);
        for format in [Format::Table, Format::Wide, Format::Name, Format::Json] {
            let text = printed(Output { has_color: false, ..output(format, true) }, items());
            assert!(!text.contains(['\u{1b}', '\u{202e}']), "{text:?}");
        }
        let on_terminal = Output { has_color: false, ..output(Format::Yaml, true) };
        assert!(!printed(on_terminal, items()).contains(['\u{1b}', '\u{202e}']));
        let json: Value =
            serde_json::from_str(&printed(output(Format::Json, true), items())).unwrap_or_default();
        assert_eq!(text(&json, "/0/name"), hostile);
        let is_whole = |output: Output| printed(output, items()).contains(&"x".repeat(60));
        assert!(is_whole(output(Format::Table, false)) && is_whole(output(Format::Wide, true)));
        assert!(printed(output(Format::Table, true), items()).contains(&format!("{}...", "x".repeat(35))));
    }

    #[test]
    fn ages_are_those_of_the_original() {
        for (seconds, expected) in [
            (0, "0s"),
            (59, "59s"),
            (90, "2m"),
            (150, "2m"),
            (660, "11m"),
            (5400, "2h"),
            (86_399, "24h"),
            (9 * 86_400 + 80_000, "9d"),
        ] {
            assert_eq!(age(seconds), expected);
        }
    }
}
