//! A request's query, split once and decoded value by value, with the rules of Go's `url.ParseQuery`: pairs with a `;` or a
//! broken escape are dropped, of equal names the first counts.

use std::borrow::Cow;
use std::ops::Range;

use smallvec::SmallVec;

use super::escape::{Undecodable, decode_query};

/// Where the pairs of a query are.
#[derive(Debug, Default)]
pub struct Query {
    /// Most queries have few: they need no allocation.
    pairs: SmallVec<[Pair; 8]>,
}

#[derive(Debug)]
struct Pair {
    name: Range<u32>,
    value: Range<u32>,
    /// Its name is as it stands.
    is_plain: bool,
}

impl Query {
    /// Splits a raw query (what follows `?`). Decodes nothing.
    pub fn split(raw: &str) -> Self {
        let mut pairs = SmallVec::new();
        let (mut start, mut equals, mut is_whole, mut is_plain) = (0, None, true, true);
        // One look at each byte: most requests of consumers come here.
        for (at, byte) in (0_u32..).zip(raw.bytes().chain(std::iter::once(b'&'))) {
            match byte {
                b'&' => {
                    if is_whole && at > start {
                        let (name_end, value_start) = equals.map_or((at, at), |equals| (equals, equals + 1));
                        pairs.push(Pair { name: start..name_end, value: value_start..at, is_plain });
                    }
                    (start, equals, is_whole, is_plain) = (at + 1, None, true, true);
                }
                b'=' if equals.is_none() => equals = Some(at),
                b'%' | b'+' if equals.is_none() => is_plain = false,
                b';' => is_whole = false,
                _ => {}
            }
        }
        Self { pairs }
    }

    /// The first value of `name` in the query this was split from.
    pub fn find<'q>(&self, raw: &'q str, name: &str) -> Option<Cow<'q, str>> {
        self.pairs.iter().find_map(|pair| {
            let key = raw.as_bytes().get(within(&pair.name))?;
            let is_named = if pair.is_plain {
                key == name.as_bytes()
            } else {
                decode_query(raw.get(within(&pair.name))?) == Ok(name.into())
            };
            if is_named { decode_query(raw.get(within(&pair.value))?).ok() } else { None }
        })
    }

    /// All pairs of the query this was split from, decoded, in order.
    pub fn pairs<'q>(&self, raw: &'q str) -> impl Iterator<Item = (Cow<'q, str>, Cow<'q, str>)> {
        self.pairs.iter().filter_map(move |Pair { name, value, .. }| {
            Some((decode_query(raw.get(within(name))?).ok()?, decode_query(raw.get(within(value))?).ok()?))
        })
    }
}

fn within(range: &Range<u32>) -> Range<usize> {
    range.start as usize..range.end as usize
}

/// The first pair of a raw query that is no UTF-8, by its name as it came. Such a query is refused before its pairs are looked
/// at: left out like pairs with a broken escape, a part of a condition would be missing without a word.
pub fn pair_that_is_no_text(raw: &str) -> Option<&str> {
    // Escapes below 0x80 are text whatever is around them.
    let is_above = |behind: &str| behind.bytes().next().is_some_and(|digit| !matches!(digit, b'0'..=b'7'));
    if !raw.split('%').skip(1).any(is_above) {
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
        check("a=1&b", "b", Some(""));
        check("a=%zz&%61=2&a=3", "a", Some("2"));
        check("a=1;&a=2;3&a=4", "a", Some("4"));
        check("a+b=1", "a b", Some("1"));
        check("ab=1", "a", None);
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
