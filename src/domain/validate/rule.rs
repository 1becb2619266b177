//! Checks a member against its rule, and makes the text of the error. Knows no document.
//!
//! The text is `field 'MicroService.ServiceName' invalid value '<&>' does not match rule: {Min: 1, Max: 128, Regexp: ^…$}`. It
//! names document and member as the original server does, because operators know these names. The value is the one that the
//! client sent, cut. The rule shows only its parts that are set. An element of a list has its whole path as its name:
//! `MicroService.Schemas[3]`.

use std::fmt::{self, Display, Write};

use super::pattern::Pattern;
use crate::error::Error;

/// Most characters of a client's text that an error repeats.
pub const SHOWN_CHARACTERS: usize = 200;

/// Bounds and pattern of a text, or bounds of a list or a number.
#[derive(Clone, Copy, Debug)]
pub struct MemberRule {
    min: usize,
    max: Option<usize>,
    pattern: Option<Pattern>,
}

/// For members that must not be empty.
pub const REQUIRED: MemberRule = MemberRule::at_least(1);

impl MemberRule {
    /// The minimum counts bytes of a text or elements of a list, or is the lowest number.
    pub const fn at_least(min: usize) -> Self {
        Self { min, max: None, pattern: None }
    }

    /// The maximum counts characters of a text or elements of a list, or is the highest number.
    pub const fn at_most(max: usize) -> Self {
        Self::between(0, max)
    }

    pub const fn between(min: usize, max: usize) -> Self {
        Self { min, max: Some(max), pattern: None }
    }

    pub const fn like(pattern: Pattern) -> Self {
        Self::at_least(0).and_like(pattern)
    }

    pub const fn and_like(self, pattern: Pattern) -> Self {
        Self { pattern: Some(pattern), ..self }
    }

    /// The minimum and the maximum.
    pub fn bounds(&self) -> (usize, Option<usize>) {
        (self.min, self.max)
    }

    pub fn pattern(&self) -> Option<Pattern> {
        self.pattern
    }

    /// 400001 unless the text is within the bounds and matches the pattern.
    pub fn check(&self, field: impl Display, text: &str) -> Result<(), Error> {
        // A text has at most as many characters as bytes, so a text with few bytes needs no count of its characters.
        let too_long = self.max.is_some_and(|max| text.len() > max && text.chars().nth(max).is_some());
        let fits = text.len() >= self.min && !too_long;
        if fits && self.pattern.is_none_or(|pattern| pattern.matches(text)) {
            return Ok(());
        }
        Err(refusal(field, text, self))
    }

    /// 400001 unless a list with this many elements is within the bounds. The error shows `shown` as the value.
    pub fn check_count(&self, field: impl Display, count: usize, shown: impl Display) -> Result<(), Error> {
        if count >= self.min && self.max.is_none_or(|max| count <= max) {
            return Ok(());
        }
        Err(refusal(field, shown, self))
    }

    /// 400001 unless the number is within the bounds.
    pub fn check_number(&self, field: impl Display, number: i32) -> Result<(), Error> {
        let inside =
            usize::try_from(number).is_ok_and(|n| n >= self.min && self.max.is_none_or(|max| n <= max));
        if inside {
            return Ok(());
        }
        Err(refusal(field, number, self))
    }
}

/// The parts that are set: `{Min: 1, Max: 128}`.
impl Display for MemberRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut before = "";
        f.write_str("{")?;
        if self.min > 0 {
            write!(f, "{before}Min: {}", self.min)?;
            before = ", ";
        }
        if let Some(max) = self.max {
            write!(f, "{before}Max: {max}")?;
            before = ", ";
        }
        if let Some(pattern) = &self.pattern {
            write!(f, "{before}Regexp: {pattern}")?;
        }
        f.write_str("}")
    }
}

/// The value, or 400001 for a member that is missing or `null`.
pub fn required<T>(field: impl Display, value: Option<T>) -> Result<T, Error> {
    value.ok_or_else(|| refusal(field, "<nil>", &REQUIRED))
}

/// The elements, or 400001 if one of them is `null`.
pub fn all_present<T>(field: impl Display, elements: Vec<Option<T>>) -> Result<Vec<T>, Error> {
    let numbered = elements.into_iter().enumerate();
    numbered.map(|(index, element)| required(format_args!("{field}[{index}]"), element)).collect()
}

/// 400001 with the text that the module's documentation describes.
pub fn refusal(field: impl Display, value: impl Display, rule: &MemberRule) -> Error {
    Error::invalid(format!(
        "field '{}' invalid value '{}' does not match rule: {rule}",
        Shown::new(field),
        Shown::new(value)
    ))
}

/// A client's text as an error shows it. It is cut and its control characters are escaped, so it is one line of limited length
/// in every log.
#[derive(Debug)]
pub struct Shown<T> {
    value: T,
    limit: usize,
}

impl<T> Shown<T> {
    /// Cut at [`SHOWN_CHARACTERS`].
    pub fn new(value: T) -> Self {
        Self::up_to(SHOWN_CHARACTERS, value)
    }

    /// Cut at `limit` characters.
    pub fn up_to(limit: usize, value: T) -> Self {
        Self { value, limit }
    }
}

impl<T: Display> Display for Shown<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut cut = Cut { out: f, left: self.limit };
        match write!(cut, "{}", self.value) {
            Err(fmt::Error) if cut.left == 0 => f.write_str("…"),
            written => written,
        }
    }
}

struct Cut<'a, 'b> {
    out: &'a mut fmt::Formatter<'b>,
    left: usize,
}

impl Write for Cut<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for character in text.chars() {
            // The error stops the formatting. Megabytes may be left to format.
            self.left = self.left.checked_sub(1).ok_or(fmt::Error)?;
            match character.is_control() {
                true => write!(self.out, "{}", character.escape_default())?,
                false => self.out.write_char(character)?,
            }
        }
        Ok(())
    }
}

/// How an error shows a list of texts: in brackets, with blanks between them.
#[derive(Debug)]
pub struct ShownTexts<'a, T>(pub &'a [T]);

impl<T: AsRef<str>> Display for ShownTexts<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, text) in self.0.iter().enumerate() {
            write!(f, "{}{}", if index == 0 { "[" } else { " " }, text.as_ref())?;
        }
        f.write_str(if self.0.is_empty() { "[]" } else { "]" })
    }
}

/// How an error shows a list with this many elements that are not texts.
#[derive(Debug)]
pub struct ShownCount(pub usize);

impl Display for ShownCount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 => f.write_str("[]"),
            count => write!(f, "[{count} elements]"),
        }
    }
}

/// The member that an error names.
#[cfg(test)]
pub fn refused_field(result: Result<(), Error>) -> Option<String> {
    result.err().map(|error| {
        assert_eq!(error.code, crate::error::Code::InvalidParameters);
        error.detail.split('\'').nth(1).unwrap_or_default().to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::super::pattern;
    use super::*;

    fn check(result: Result<(), Error>, expected: &str) {
        let text = result.err().map(|error| error.detail.into_owned()).unwrap_or_default();
        assert_eq!(text, expected);
    }

    #[test]
    fn minimum_counts_bytes_and_maximum_counts_characters() {
        let rule = MemberRule::between(2, 3);
        check(rule.check("A.B", "ä"), "");
        check(rule.check("A.B", "äöü"), "");
        check(rule.check("A.B", "a"), "field 'A.B' invalid value 'a' does not match rule: {Min: 2, Max: 3}");
        check(
            rule.check("A.B", "äöüß"),
            "field 'A.B' invalid value 'äöüß' does not match rule: {Min: 2, Max: 3}",
        );
    }

    #[test]
    fn only_parts_that_bind_are_shown() {
        let rule = MemberRule::like(pattern::LEVEL);
        check(
            rule.check("A.B", "x"),
            "field 'A.B' invalid value 'x' does not match rule: {Regexp: ^(FRONT|MIDDLE|BACK)$}",
        );
        check(
            MemberRule::at_most(1).check("A.B", "xy"),
            "field 'A.B' invalid value 'xy' does not match rule: {Max: 1}",
        );
        check(required("A.B", None::<()>), "field 'A.B' invalid value '<nil>' does not match rule: {Min: 1}");
    }

    #[test]
    fn lists_and_numbers() {
        let rule = MemberRule::between(1, 2);
        let count = |texts: &[&str]| rule.check_count("A.B", texts.len(), ShownTexts(texts));
        check(count(&["a", "b"]), "");
        check(count(&[]), "field 'A.B' invalid value '[]' does not match rule: {Min: 1, Max: 2}");
        check(
            count(&["a", "b", "c"]),
            "field 'A.B' invalid value '[a b c]' does not match rule: {Min: 1, Max: 2}",
        );
        check(rule.check_number("A.B", 2), "");
        check(
            rule.check_number("A.B", -1),
            "field 'A.B' invalid value '-1' does not match rule: {Min: 1, Max: 2}",
        );
        check(
            all_present("A.B", vec![Some(1), None]).map(drop),
            "field 'A.B[1]' invalid value '<nil>' does not match rule: {Min: 1}",
        );
    }

    #[test]
    fn what_is_shown_is_cut_and_stays_on_one_line() {
        assert_eq!(Shown::new("a\n\u{1b}ä").to_string(), "a\\n\\u{1b}ä");
        assert_eq!(Shown::new("x".repeat(SHOWN_CHARACTERS)).to_string(), "x".repeat(SHOWN_CHARACTERS));
        let cut = Shown::new("ä".repeat(SHOWN_CHARACTERS + 1)).to_string();
        assert_eq!(cut, format!("{}…", "ä".repeat(SHOWN_CHARACTERS)));
    }
}
