//! A request's query, split once and decoded value by value, with the rules of Go's `url.ParseQuery`: pairs with a `;` or a
//! broken escape are dropped, of equal names the first counts.

use std::borrow::Cow;
use std::ops::Range;

use super::escape::{Undecodable, decode_query};

/// Where the pairs of a query are.
#[derive(Debug, Default)]
pub struct Query {
    pairs: Vec<(Range<usize>, Range<usize>)>,
}

impl Query {
    /// Splits a raw query (what follows `?`). Decodes nothing.
    pub fn split(raw: &str) -> Self {
        let mut pairs = Vec::new();
        let mut start = 0;
        for pair in raw.split('&') {
            let end = start + pair.len();
            if !pair.is_empty() && !pair.contains(';') {
                if pairs.is_empty() {
                    pairs.reserve(8);
                }
                let equals = pair.find('=');
                let name_end = equals.map_or(end, |at| start + at);
                let value_start = equals.map_or(end, |at| start + at + 1);
                pairs.push((start..name_end, value_start..end));
            }
            start = end + 1;
        }
        Self { pairs }
    }

    /// The first value of `name` in the query this was split from.
    pub fn find<'q>(&self, raw: &'q str, name: &str) -> Option<Cow<'q, str>> {
        self.pairs(raw).find(|(key, _)| key == name).map(|(_, value)| value)
    }

    /// All pairs of the query this was split from, decoded, in order.
    pub fn pairs<'q>(&self, raw: &'q str) -> impl Iterator<Item = (Cow<'q, str>, Cow<'q, str>)> {
        self.pairs.iter().filter_map(move |(name, value)| {
            Some((decode_query(raw.get(name.clone())?).ok()?, decode_query(raw.get(value.clone())?).ok()?))
        })
    }
}

/// The first pair of a raw query that is no UTF-8, by its name as it came. Such a query is refused before its pairs are looked
/// at: left out like pairs with a broken escape, a part of a condition would be missing without a word.
pub fn pair_that_is_no_text(raw: &str) -> Option<&str> {
    if !raw.contains('%') {
        return None;
    }
    raw.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, ""))).find_map(|(name, value)| {
        let is_no_text = |part| decode_query(part) == Err(Undecodable::Text);
        (is_no_text(name) || is_no_text(value)).then_some(name)
    })
}

/// Whether a flag's value switches it on: `1` or `true` in any case, blanks around it ignored.
pub fn is_true(value: &str) -> bool {
    let value = value.trim();
    value == "1" || value.eq_ignore_ascii_case("true")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(raw: &str, name: &str, expected: Option<&str>) {
        assert_eq!(Query::split(raw).find(raw, name).as_deref(), expected, "{raw} {name}");
    }

    #[test]
    fn the_first_whole_pair_counts() {
        check("", "a", None);
        check("a=1&a=2", "a", Some("1"));
        check("a", "a", Some(""));
        check("a=&b=2", "a", Some(""));
        check("&&b=2&", "b", Some("2"));
        check("a=x=y", "a", Some("x=y"));
        check("a=%zz&a=2", "a", Some("2"));
        check("a;b=1&b=2", "b", Some("2"));
        check("%61=1+2", "a", Some("1 2"));
        check("=1", "", Some("1"));
    }

    #[test]
    fn pairs_that_are_no_text() {
        for (raw, expected) in [
            ("", None),
            ("a=%41&b=%C3%A4", None),
            ("a=%zz", None),
            ("a=1&b=%ff&c=%fe", Some("b")),
            ("%ff", Some("%ff")),
            ("b=x%c3", Some("b")),
        ] {
            assert_eq!(pair_that_is_no_text(raw), expected, "{raw}");
        }
    }

    #[test]
    fn flags() {
        for on in ["1", "true", "TRUE", " True "] {
            assert!(is_true(on), "{on}");
        }
        for off in ["", "0", "2", "yes", "truee"] {
            assert!(!is_true(off), "{off}");
        }
    }
}
