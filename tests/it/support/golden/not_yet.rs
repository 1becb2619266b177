//! The scenarios that are known to fail, in `tests/golden/not_yet.txt`. Each line is `name  store  reason`, and the store is `embedded`, `etcd`
//! or `both`. Empty lines and lines that begin with `#` are ignored.
//!
//! The list only shrinks: the test fails if a listed scenario passes, and if an unlisted one fails.

use std::collections::BTreeMap;

/// Scenario and store, to the reason.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct NotYet(BTreeMap<(String, String), String>);

impl NotYet {
    /// Reads the list.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut listed = BTreeMap::new();
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let wrong = |what: &str| format!("line {}: {what}: {line:?}", number + 1);
            let mut words = line.split_whitespace();
            let name = words.next().unwrap_or_default().to_owned();
            let stores: &[&str] = match words.next() {
                Some("both") => &["embedded", "etcd"],
                Some("embedded") => &["embedded"],
                Some("etcd") => &["etcd"],
                _ => return Err(wrong("the second word is `embedded`, `etcd` or `both`")),
            };
            let reason = words.collect::<Vec<_>>().join(" ");
            if reason.is_empty() {
                return Err(wrong("the reason is missing"));
            }
            for store in stores {
                if listed.insert((name.clone(), (*store).to_owned()), reason.clone()).is_some() {
                    return Err(wrong("listed twice"));
                }
            }
        }
        Ok(Self(listed))
    }

    /// Why this scenario is known to fail on this store.
    pub fn reason(&self, scenario: &str, store: &str) -> Option<&str> {
        self.0.get(&(scenario.to_owned(), store.to_owned())).map(String::as_str)
    }

    /// The listed names that `known` does not have.
    pub fn unknown(&self, known: impl Fn(&str) -> bool) -> Vec<&str> {
        self.0.keys().map(|(name, _)| name.as_str()).filter(|&name| !known(name)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_names_scenario_store_and_reason() {
        let list = NotYet::parse("# why\n\na both  not built yet\nb etcd slow\n").unwrap();
        assert_eq!(list.reason("a", "embedded"), Some("not built yet"));
        assert_eq!(list.reason("a", "etcd"), Some("not built yet"));
        assert_eq!(list.reason("b", "etcd"), Some("slow"));
        assert_eq!(list.reason("b", "embedded"), None);
        assert_eq!(list.unknown(|name| name == "a"), ["b"]);
    }

    #[test]
    fn a_wrong_line_is_told() {
        for (text, part) in [
            ("a", "second word"),
            ("a maybe why", "second word"),
            ("a etcd", "reason"),
            ("a both x\na etcd y", "line 2: listed twice"),
        ] {
            let why = NotYet::parse(text).unwrap_err();
            assert!(why.contains(part), "{why}");
        }
    }
}
