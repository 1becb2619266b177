//! The holes in the texts of a scenario: `${name}` stands for a bound value, `${name:kind}` binds a value, `${:kind}` matches without binding,
//! and `${x*160}` is the character x 160 times. The rest of a text is literal.

use std::collections::BTreeMap;

use super::matching::Mismatch;

/// The values bound so far.
pub type Bindings = BTreeMap<String, String>;

/// A piece of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Piece {
    /// Literal text.
    Literal(String),
    /// `${name}`, or `${}` with an empty name.
    Bound(String),
    /// `${name:kind}`; an empty name does not bind.
    Binds(String, String),
}

/// The pieces of a text, with repeated characters written out.
pub(super) fn pieces(text: &str) -> Vec<Piece> {
    let text = write_out_repeats(text);
    let mut pieces = Vec::new();
    let mut literal = String::new();
    let mut rest = text.as_str();
    while let Some(start) = rest.find("${") {
        literal.push_str(&rest[..start]);
        let inside = &rest[start + 2..];
        if let Some((hole, after)) = hole(inside) {
            if !literal.is_empty() {
                pieces.push(Piece::Literal(std::mem::take(&mut literal)));
            }
            pieces.push(hole);
            rest = after;
        } else {
            literal.push_str("${");
            rest = inside;
        }
    }
    literal.push_str(rest);
    if !literal.is_empty() {
        pieces.push(Piece::Literal(literal));
    }
    pieces
}

/// Fills every hole that has a bound value. Other holes stay as they are.
pub fn fill(text: &str, bindings: &Bindings) -> String {
    let filled = pieces(text).into_iter().map(|piece| match piece {
        Piece::Literal(literal) => literal,
        Piece::Bound(name) => bindings.get(&name).cloned().unwrap_or_else(|| format!("${{{name}}}")),
        Piece::Binds(name, kind) => format!("${{{name}:{kind}}}"),
    });
    filled.collect()
}

/// Matches the whole of `got` with `text`, and binds its holes.
pub(super) fn match_text(text: &str, got: &str, bindings: &mut Bindings, at: &str) -> Result<(), Mismatch> {
    let mut parts = Vec::new();
    for piece in pieces(text) {
        parts.push(match piece {
            Piece::Literal(literal) => Part::Literal(literal),
            Piece::Bound(name) => match bindings.get(&name) {
                Some(value) => Part::Literal(value.clone()),
                None => return Err(Mismatch(format!("{at}: ${{{name}}} is not bound"))),
            },
            Piece::Binds(name, kind) => match HoleKind::named(&kind) {
                Some(kind) => Part::Hole(name, kind),
                None => return Err(Mismatch(format!("{at}: `{kind}` is no kind of text"))),
            },
        });
    }
    let mut captured = Vec::new();
    if !match_parts(&parts, got, &mut captured) {
        return Err(Mismatch(format!("{at}: want {}, got {}", shown(&fill(text, bindings)), shown(got))));
    }
    for (name, value) in captured {
        if !name.is_empty() {
            bindings.insert(name.to_owned(), value.to_owned());
        }
    }
    Ok(())
}

/// A text for a message: quoted, and cut if it is long.
pub(super) fn shown(text: &str) -> String {
    const SHOWN_CHARS: usize = 600;
    match text.char_indices().nth(SHOWN_CHARS) {
        Some((end, _)) => format!("{:?}… ({} bytes)", &text[..end], text.len()),
        None => format!("{text:?}"),
    }
}

enum Part {
    Literal(String),
    Hole(String, HoleKind),
}

/// The characters that a hole within a text matches.
#[derive(Clone, Copy)]
struct HoleKind {
    takes: fn(char) -> bool,
    least: usize,
    most: usize,
}

impl HoleKind {
    fn named(name: &str) -> Option<Self> {
        let lower_hex: fn(char) -> bool = |c| matches!(c, '0'..='9' | 'a'..='f');
        let (takes, least, most): (fn(char) -> bool, usize, usize) = match name {
            "str" => (|_| true, 0, usize::MAX),
            "rev" => (|_| true, 1, usize::MAX),
            "hex32" => (lower_hex, 32, 32),
            "hex40" => (lower_hex, 40, 40),
            "id" => (|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-'), 1, usize::MAX),
            "time" => (|c| c.is_ascii_digit(), 9, 11),
            _ => return None,
        };
        Some(Self { takes, least, most })
    }
}

/// Whether the parts match the whole of `got`; each hole takes as much as it can.
fn match_parts<'a>(parts: &'a [Part], got: &'a str, captured: &mut Vec<(&'a str, &'a str)>) -> bool {
    match parts {
        [] => got.is_empty(),
        [Part::Literal(literal), rest @ ..] => {
            got.strip_prefix(literal.as_str()).is_some_and(|after| match_parts(rest, after, captured))
        }
        [Part::Hole(name, kind), rest @ ..] => {
            let ends: Vec<usize> = std::iter::once(0)
                .chain(
                    got.char_indices().take_while(|&(_, c)| (kind.takes)(c)).map(|(at, c)| at + c.len_utf8()),
                )
                .take(kind.most.saturating_add(1))
                .collect();
            for &end in ends.iter().skip(kind.least).rev() {
                captured.push((name, &got[..end]));
                if match_parts(rest, &got[end..], captured) {
                    return true;
                }
                captured.pop();
            }
            false
        }
    }
}

/// `${c*N}` becomes N times the character c.
fn write_out_repeats(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(start) = rest.find("${") {
        out.push_str(&rest[..start]);
        let inside = &rest[start + 2..];
        if let Some((repeated, after)) = repeat(inside) {
            out.push_str(&repeated);
            rest = after;
        } else {
            out.push_str("${");
            rest = inside;
        }
    }
    out.push_str(rest);
    out
}

/// Reads `c*N}`; the repeated characters, and the rest of the text.
fn repeat(inside: &str) -> Option<(String, &str)> {
    let mut chars = inside.chars();
    let character = chars.next().filter(|&c| c != '\n')?;
    let (count, after) = chars.as_str().strip_prefix('*')?.split_once('}')?;
    let all_digits = !count.is_empty() && count.bytes().all(|byte| byte.is_ascii_digit());
    let count = count.parse().ok().filter(|_| all_digits)?;
    Some((character.to_string().repeat(count), after))
}

/// Reads `name}` or `name:kind}`; the hole, and the rest of the text.
fn hole(inside: &str) -> Option<(Piece, &str)> {
    let (name, after) = word(inside);
    if let Some(after) = after.strip_prefix('}') {
        return Some((Piece::Bound(name.to_owned()), after));
    }
    let (kind, after) = word(after.strip_prefix(':')?);
    let after = after.strip_prefix('}').filter(|_| !kind.is_empty())?;
    Some((Piece::Binds(name.to_owned(), kind.to_owned()), after))
}

fn word(text: &str) -> (&str, &str) {
    let end = text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
    text.split_at(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The bindings after matching `want` with `got`, with `x = 1` bound before.
    fn check(want: &str, got: &str, bound: Option<&[(&str, &str)]>) {
        let mut bindings = Bindings::from([("x".to_owned(), "1".to_owned())]);
        let outcome = match_text(want, got, &mut bindings, "here");
        bindings.remove("x");
        let seen: Vec<(&str, &str)> =
            bindings.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        match bound {
            Some(bound) => assert_eq!((outcome, seen.as_slice()), (Ok(()), bound), "{want:?} ~ {got:?}"),
            None => assert!(outcome.is_err() && seen.is_empty(), "{want:?} ~ {got:?}"),
        }
    }

    #[test]
    fn literals_match_themselves() {
        check("", "", Some(&[]));
        check("a.c", "a.c", Some(&[]));
        check("a.c", "abc", None);
        check("a", "a\n", None);
        check("$ { } ${ ${-} ${a:}", "$ { } ${ ${-} ${a:}", Some(&[]));
    }

    #[test]
    fn bound_values_are_literal() {
        check("<${x}>", "<1>", Some(&[]));
        check("<${x}>", "<2>", None);
        check("${y}", "y", None);
        check("${}", "${}", None);
    }

    #[test]
    fn kinds() {
        let hex = "0123456789abcdef0123456789abcdef";
        check("${h:hex32}", hex, Some(&[("h", hex)]));
        check("${h:hex32}", &hex[1..], None);
        check("${h:hex32}", &hex.to_uppercase(), None);
        check("${:hex40}", &format!("{hex}01234567"), Some(&[]));
        check("${:hex40}", hex, None);
        check("${s:str}", "", Some(&[("s", "")]));
        check("${s:str}", "a\nü", Some(&[("s", "a\nü")]));
        check("${r:rev}", "", None);
        check("${r:rev}", "7.x", Some(&[("r", "7.x")]));
        check("${i:id}", "a-B_0.9", Some(&[("i", "a-B_0.9")]));
        check("${i:id}", "", None);
        check("${i:id}", "a/b", None);
        check("${t:time}", "1700000000", Some(&[("t", "1700000000")]));
        check("${:time}", "12345678", None);
        check("${:time}", "123456789012", None);
        check("${:nonsense}", "x", None);
        check("x${:any}", "xy", None);
    }

    #[test]
    fn holes_take_as_much_as_they_can_and_give_back() {
        check("${a:str}/${b:str}", "1/2/3", Some(&[("a", "1/2"), ("b", "3")]));
        check("a${b:id}c", "abcc", Some(&[("b", "bc")]));
        check("${a:id}${x}", "11", Some(&[("a", "1")]));
        check("${a:id}${b:id}", "ab", Some(&[("a", "a"), ("b", "b")]));
        check("rest://h:1${:str}", "rest://h:1/", Some(&[]));
    }

    #[test]
    fn a_name_may_be_bound_anew() {
        let mut bindings = Bindings::from([("x".to_owned(), "1".to_owned())]);
        match_text("${x:str}", "2", &mut bindings, "").unwrap();
        assert_eq!(bindings["x"], "2");
    }

    #[test]
    fn repeats_are_written_out() {
        check("${a*3}-${ü*2}", "aaa-üü", Some(&[]));
        check("${a*0}", "", Some(&[]));
        check("${**2}", "**", Some(&[]));
        check("${a*}", "${a*}", Some(&[]));
        assert_eq!(
            fill("${ *2}|${x}|${y}|${y:str}|${:any}", &Bindings::from([("x".into(), "1".into())])),
            "  |1|${y}|${y:str}|${:any}"
        );
    }

    #[test]
    fn a_mismatch_says_where_and_what() {
        let Mismatch(why) =
            match_text("a${x}", "b", &mut Bindings::from([("x".into(), "1".into())]), "body/k").unwrap_err();
        assert_eq!(why, r#"body/k: want "a1", got "b""#);
    }
}
