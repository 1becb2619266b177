//! `conf/app.yaml`: nested keys become dotted names. Each gets the number of its line if that is easy to find.

use std::collections::HashMap;

use serde_yaml_ng::Value;

/// A value of the document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct YamlLeaf {
    /// The names of all levels, joined with dots: `server.host`.
    pub key: String,
    /// `None` if the key has no value.
    pub value: Option<String>,
    /// Counted from 1.
    pub line: Option<usize>,
}

/// A document that is not valid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokenYaml {
    /// Counted from 1.
    pub line: Option<usize>,
    /// The message of the parser.
    pub message: String,
}

/// Flattens a document. A list of plain values becomes one value with commas. The members of a list of maps are named by their
/// index (`gov.plugins.0.name`).
pub fn parse(text: &str) -> Result<Vec<YamlLeaf>, BrokenYaml> {
    let value: Value = serde_yaml_ng::from_str(text).map_err(|error| BrokenYaml {
        line: error.location().map(|location| location.line()),
        message: error.to_string(),
    })?;
    let mut leaves = Vec::new();
    match untagged(&value) {
        Value::Null => {}
        value @ Value::Mapping(_) => flatten(String::new(), value, &mut leaves),
        _ => {
            let message =
                "the document is not a map of keys; write lines such as server: and below it host: 10.12.0.1";
            return Err(BrokenYaml { line: Some(1), message: message.to_owned() });
        }
    }
    let lines = key_lines(text);
    for leaf in &mut leaves {
        leaf.line = lines.get(&leaf.key).copied();
    }
    Ok(leaves)
}

fn flatten(path: String, value: &Value, leaves: &mut Vec<YamlLeaf>) {
    let leaf = |key, value| YamlLeaf { key, value, line: None };
    match untagged(value) {
        Value::Null => leaves.push(leaf(path, None)),
        Value::Mapping(map) if !map.is_empty() => {
            for (name, value) in map {
                flatten(join(&path, &scalar(name).unwrap_or_default()), value, leaves);
            }
        }
        Value::Mapping(_) => leaves.push(leaf(path, None)),
        Value::Sequence(items) => match items.iter().map(scalar).collect::<Option<Vec<_>>>() {
            Some(plain) => leaves.push(leaf(path, Some(plain.join(",")))),
            None => {
                for (at, item) in items.iter().enumerate() {
                    flatten(join(&path, &at.to_string()), item, leaves);
                }
            }
        },
        plain => leaves.push(leaf(path, scalar(plain))),
    }
}

fn scalar(value: &Value) -> Option<String> {
    match untagged(value) {
        Value::Bool(value) => Some(value.to_string()),
        Value::Number(value) => Some(value.to_string()),
        Value::String(value) => Some(value.clone()),
        _ => None,
    }
}

/// The value without its tags (`!env x`), which have no meaning here. The parser limits how deep tags nest.
fn untagged(value: &Value) -> &Value {
    let mut value = value;
    while let Value::Tagged(tagged) = value {
        value = &tagged.value;
    }
    value
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

/// The number of the line of each `name:` in block style, found by its indentation. Only messages use the numbers. A key in flow
/// style, in quotes or in a block of text gets none.
fn key_lines(text: &str) -> HashMap<String, usize> {
    let mut above: Vec<(usize, &str)> = Vec::new();
    let mut found = HashMap::new();
    for (at, line) in text.lines().enumerate() {
        let bare = line.trim_start();
        let indent = line.len() - bare.len();
        let Some((name, after)) = bare.split_once(':') else { continue };
        let plain = |c: char| c.is_alphanumeric() || matches!(c, '.' | '-' | '_');
        if name.is_empty()
            || !name.chars().all(plain)
            || !(after.is_empty() || after.starts_with([' ', '\t']))
        {
            continue;
        }
        above.retain(|(depth, _)| *depth < indent);
        above.push((indent, name));
        let key = above.iter().map(|(_, name)| *name).collect::<Vec<_>>().join(".");
        found.entry(key).or_insert(at + 1);
    }
    found
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn check(text: &str, expected: &[(&str, Option<&str>, Option<usize>)]) {
        let leaves = parse(text).unwrap();
        let got: Vec<_> = leaves.iter().map(|l| (l.key.as_str(), l.value.as_deref(), l.line)).collect();
        assert_eq!(got, expected, "{text:?}");
    }

    #[test]
    fn documents_are_flattened() {
        check(
            "server:\n  host: 10.0.0.1 # why\n  port: 30100\n",
            &[("server.host", Some("10.0.0.1"), Some(2)), ("server.port", Some("30100"), Some(3))],
        );
        check(
            "ssl:\n  dir:\n  enable: false\nlog:\n  level: INFO\n",
            &[
                ("ssl.dir", None, Some(2)),
                ("ssl.enable", Some("false"), Some(3)),
                ("log.level", Some("INFO"), Some(5)),
            ],
        );
        check("server.host: a\n", &[("server.host", Some("a"), Some(1))]);
        check("a: {b: 1.5, c: [x, 2]}\n", &[("a.b", Some("1.5"), None), ("a.c", Some("x,2"), None)]);
        check("a:\n- b: 1\n", &[("a.0.b", Some("1"), None)]);
        check(
            "a: {}\nb: []\nc: ''\n",
            &[("a", None, Some(1)), ("b", Some(""), Some(2)), ("c", Some(""), Some(3))],
        );
        check(
            "a: &x 5\nb: *x\nc: !t 6\n",
            &[("a", Some("5"), Some(1)), ("b", Some("5"), Some(2)), ("c", Some("6"), Some(3))],
        );
        check("", &[]);
        check("# only a comment\n", &[]);
    }

    #[test]
    fn documents_that_are_not_maps_are_rejected() {
        for text in ["just text", "- a\n- b\n", "a: 1\na: 2\n", "a: [", "\ta: 1\n", "a: b: c\n"] {
            assert!(parse(text).is_err(), "{text:?}");
        }
        assert_eq!(parse("a: 1\nb: [1\nc: 2\n").unwrap_err().line.map(|line| line > 1), Some(true));
    }
}
