//! The query of a request. A value is decoded when a handler asks for it. The rules are those of Go's `url.ParseQuery`: a pair with `;`
//! or an invalid escape is ignored, and the first of several pairs with the same name counts.

use std::borrow::Cow;

use super::escape::{Undecodable, decode_query};

/// A pair that is not ignored, not decoded.
struct Pair<'q> {
    name: &'q str,
    value: &'q str,
    /// The pair has no escapes.
    is_plain: bool,
}

/// The pairs of a raw query, the part of the URI after `?`.
fn pairs(raw: &str) -> impl Iterator<Item = Pair<'_>> {
    let mut begin = 0;
    std::iter::from_fn(move || {
        while begin < raw.len() {
            let rest = &raw[begin..];
            let (mut name, mut end, mut is_ignored, mut is_plain) = (None, rest.len(), false, true);
            // Most finds come here. Pairs are short, so one loop over the bytes costs less than a search for each kind of byte.
            // Letters are above all of these bytes.
            for (at, byte) in rest.bytes().enumerate().filter(|(_, byte)| *byte <= b'=') {
                match byte {
                    b'=' if name.is_none() => name = Some(at),
                    b'%' | b'+' => is_plain = false,
                    b';' => is_ignored = true,
                    b'&' => {
                        end = at;
                        break;
                    }
                    _ => {}
                }
            }
            begin += end + 1;
            if end > 0 && !is_ignored {
                let name = name.unwrap_or(end);
                return Some(Pair { name: &rest[..name], value: &rest[end.min(name + 1)..end], is_plain });
            }
        }
        None
    })
}

impl<'q> Pair<'q> {
    fn decoded(&self, part: &'q str) -> Option<Cow<'q, str>> {
        if self.is_plain { Some(Cow::Borrowed(part)) } else { decode_query(part).ok() }
    }
}

/// The first values of parameters, decoded. The query is read once for all names.
pub fn first_values<'q, const N: usize>(raw: &'q str, names: [&str; N]) -> [Option<Cow<'q, str>>; N] {
    let mut values = [const { None }; N];
    for pair in pairs(raw) {
        let Some(name) = pair.decoded(pair.name) else { continue };
        if let Some(at) = names.iter().position(|known| *known == name)
            && values[at].is_none()
        {
            values[at] = pair.decoded(pair.value);
        }
    }
    values
}

/// All values of a parameter in their order, decoded.
pub fn all_values<'q>(raw: &'q str, name: &str) -> impl Iterator<Item = Cow<'q, str>> {
    pairs(raw).filter_map(move |pair| {
        let value = pair.decoded(pair.value)?;
        (pair.decoded(pair.name)? == name).then_some(value)
    })
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
        let [value] = first_values(raw, [name]);
        assert_eq!(value.as_deref(), expected, "{raw} {name}");
        assert_eq!(all_values(raw, name).next().as_deref(), expected, "{raw} {name}");
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
    fn several_values_are_read_at_once() {
        let raw = "a=1&&b=%41+&a=2&c;d=3&c=%zz&c=4&e&%66=5";
        let values = first_values(raw, ["f", "a", "e", "x", "c", "b"]);
        let expected = [Some("5"), Some("1"), Some(""), None, Some("4"), Some("A ")];
        assert_eq!(values.each_ref().map(Option::as_deref), expected);
        assert_eq!(all_values(raw, "a").collect::<Vec<_>>(), ["1", "2"]);
        assert_eq!(all_values(raw, "c").collect::<Vec<_>>(), ["4"]);
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
