//! The query of a request. It is split once, and a value is decoded when a handler asks for it. The rules are those of Go's
//! `url.ParseQuery`: a pair with `;` or an invalid escape is ignored, and the first of several pairs with the same name counts.

use std::borrow::Cow;
use std::ops::Range;

use smallvec::SmallVec;

use super::escape::{Undecodable, decode_query};

/// The positions of the pairs in a query.
#[derive(Debug, Default)]
pub struct Query {
    /// Up to 8 pairs need no allocation.
    pairs: SmallVec<[QueryPair; 8]>,
}

#[derive(Debug)]
struct QueryPair {
    name: Range<u32>,
    value: Range<u32>,
    /// The name has no escapes.
    is_plain: bool,
}

impl Query {
    /// Splits a raw query, the part of the URI after `?`. Nothing is decoded.
    pub fn split(raw: &str) -> Self {
        let bytes = raw.as_bytes();
        // Most finds come here. Few queries have a `;`, so the pairs are searched for it only if there is one.
        let has_semicolon = memchr::memchr(b';', bytes).is_some();
        let mut pairs = SmallVec::new();
        let mut start = 0;
        for end in memchr::memchr_iter(b'&', bytes).chain(std::iter::once(bytes.len())) {
            let pair = &bytes[start..end];
            let is_ignored = pair.is_empty() || (has_semicolon && pair.contains(&b';'));
            if !is_ignored {
                let name = pair.iter().position(|byte| *byte == b'=').unwrap_or(pair.len());
                let value = (name + 1).min(pair.len());
                let is_plain = !pair[..name].iter().any(|byte| matches!(byte, b'%' | b'+'));
                pairs.push(QueryPair {
                    name: position(start)..position(start + name),
                    value: position(start + value)..position(end),
                    is_plain,
                });
            }
            start = end + 1;
        }
        Self { pairs }
    }

    /// The first value of `name`, decoded. `raw` is the query that was split.
    pub fn find<'q>(&self, raw: &'q str, name: &str) -> Option<Cow<'q, str>> {
        self.pairs.iter().find_map(|pair| {
            if pair.is_plain && pair.name.len() != name.len() {
                return None;
            }
            let key = raw.as_bytes().get(within(&pair.name))?;
            let is_named = if pair.is_plain {
                key == name.as_bytes()
            } else {
                decode_query(raw.get(within(&pair.name))?) == Ok(name.into())
            };
            if is_named { decode_query(raw.get(within(&pair.value))?).ok() } else { None }
        })
    }

    /// All pairs in their order, decoded. `raw` is the query that was split.
    pub fn pairs<'q>(&self, raw: &'q str) -> impl Iterator<Item = (Cow<'q, str>, Cow<'q, str>)> {
        self.pairs.iter().filter_map(move |QueryPair { name, value, .. }| {
            Some((decode_query(raw.get(within(name))?).ok()?, decode_query(raw.get(within(value))?).ok()?))
        })
    }
}

/// Queries are shorter than 4 GiB, because heads of requests are.
fn position(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}

fn within(range: &Range<u32>) -> Range<usize> {
    range.start as usize..range.end as usize
}

/// The name, not decoded, of the first pair of a raw query that is not valid UTF-8. The server rejects a request with such a
/// pair. If the pair were ignored, like a pair with an invalid escape, a condition of the client would be lost silently.
pub fn pair_with_invalid_utf8(raw: &str) -> Option<&str> {
    // Escapes below %80 are always valid UTF-8.
    let bytes = raw.as_bytes();
    let is_above = |escape: usize| bytes.get(escape + 1).is_some_and(|digit| !matches!(digit, b'0'..=b'7'));
    if !memchr::memchr_iter(b'%', bytes).any(is_above) {
        return None;
    }
    raw.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, ""))).find_map(|(name, value)| {
        let is_invalid = |part| decode_query(part) == Err(Undecodable::Text);
        (is_invalid(name) || is_invalid(value)).then_some(name)
    })
}

/// Whether the value of a flag is `1` or `true`, in upper or lower case. Blanks around it are ignored.
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
        check("a=1&b", "b", Some(""));
        check("a=%zz&%61=2&a=3", "a", Some("2"));
        check("a=1;&a=2;3&a=4", "a", Some("4"));
        check("a+b=1", "a b", Some("1"));
        check("ab=1", "a", None);
    }

    #[test]
    fn pairs_with_invalid_utf8() {
        for (raw, expected) in [
            ("", None),
            ("a=%41&b=%C3%A4", None),
            ("a=%zz", None),
            ("a=1&b=%ff&c=%fe", Some("b")),
            ("%ff", Some("%ff")),
            ("b=x%c3", Some("b")),
        ] {
            assert_eq!(pair_with_invalid_utf8(raw), expected, "{raw}");
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
