//! How a member is measured against its rule, and the words of a refusal. Knows no document.
//!
//! `field 'MicroService.ServiceName' invalid value '<&>' does not match rule: {Min: 1, Max: 128, Regexp: ^…$}`: the
//! document and its member by the names operators know from the original server, the value as it was sent, cut, and
//! those parts of the rule that bind. A member inside a list is named by its whole path, `MicroService.Schemas[3]`.

use std::fmt::{self, Display, Write};

use super::pattern::Pattern;
use crate::error::Error;

/// Characters of what a client sent that a refusal repeats at most.
pub const SHOWN_CHARACTERS: usize = 200;

/// Bounds and shape of a text, or bounds of a list.
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    min: usize,
    max: Option<usize>,
    pattern: Option<Pattern>,
}

/// What must be there.
pub const REQUIRED: Rule = Rule::at_least(1);

impl Rule {
    /// At least so many: bytes of a text, elements of a list.
    pub const fn at_least(min: usize) -> Self {
        Self { min, max: None, pattern: None }
    }

    /// At most so many: characters of a text, elements of a list.
    pub const fn at_most(max: usize) -> Self {
        Self::between(0, max)
    }

    /// Both bounds.
    pub const fn between(min: usize, max: usize) -> Self {
        Self { min, max: Some(max), pattern: None }
    }

    /// Any length, in a shape.
    pub const fn like(pattern: Pattern) -> Self {
        Self::at_least(0).and_like(pattern)
    }

    /// These bounds, in a shape.
    pub const fn and_like(self, pattern: Pattern) -> Self {
        Self { pattern: Some(pattern), ..self }
    }

    /// 400001 unless the text keeps the bounds and has the shape.
    pub fn check(&self, field: impl Display, text: &str) -> Result<(), Error> {
        // A text has no more characters than bytes, so most need no count.
        let too_long = self.max.is_some_and(|max| text.len() > max && text.chars().nth(max).is_some());
        let fits = text.len() >= self.min && !too_long;
        if fits && self.pattern.is_none_or(|pattern| pattern.matches(text)) {
            return Ok(());
        }
        Err(refusal(field, text, self))
    }

    /// 400001 unless a list of so many elements keeps the bounds; `shown` stands for its value.
    pub fn check_count(&self, field: impl Display, count: usize, shown: impl Display) -> Result<(), Error> {
        if count >= self.min && self.max.is_none_or(|max| count <= max) {
            return Ok(());
        }
        Err(refusal(field, shown, self))
    }

    /// 400001 unless the number keeps the bounds.
    pub fn check_number(&self, field: impl Display, number: i32) -> Result<(), Error> {
        let inside =
            usize::try_from(number).is_ok_and(|n| n >= self.min && self.max.is_none_or(|max| n <= max));
        if inside {
            return Ok(());
        }
        Err(refusal(field, number, self))
    }
}

/// The parts that bind, `{Min: 1, Max: 128}`.
impl Display for Rule {
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

/// 400001 in the words of this module.
pub fn refusal(field: impl Display, value: impl Display, rule: &Rule) -> Error {
    Error::invalid(format!(
        "field '{}' invalid value '{}' does not match rule: {rule}",
        Shown::new(field),
        Shown::new(value)
    ))
}

/// What a client sent, as a refusal shows it: cut, control characters escaped, so that it stays one line of bounded
/// length wherever it is printed.
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

    /// Cut at another number of characters.
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
            // The error stops whoever writes; there may be megabytes to come.
            self.left = self.left.checked_sub(1).ok_or(fmt::Error)?;
            match character.is_control() {
                true => write!(self.out, "{}", character.escape_default())?,
                false => self.out.write_char(character)?,
            }
        }
        Ok(())
    }
}

/// Texts in brackets with blanks between: how a list is shown whole.
#[derive(Debug)]
pub struct Texts<'a, T>(pub &'a [T]);

impl<T: AsRef<str>> Display for Texts<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, text) in self.0.iter().enumerate() {
            write!(f, "{}{}", if index == 0 { "[" } else { " " }, text.as_ref())?;
        }
        f.write_str(if self.0.is_empty() { "[]" } else { "]" })
    }
}

/// A number of elements that are no texts: how their list is shown.
#[derive(Debug)]
pub struct Elements(pub usize);

impl Display for Elements {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 => f.write_str("[]"),
            count => write!(f, "[{count} elements]"),
        }
    }
}

/// The member a result refuses.
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
        let rule = Rule::between(2, 3);
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
        let rule = Rule::like(pattern::LEVEL);
        check(
            rule.check("A.B", "x"),
            "field 'A.B' invalid value 'x' does not match rule: {Regexp: ^(FRONT|MIDDLE|BACK)$}",
        );
        check(
            Rule::at_most(1).check("A.B", "xy"),
            "field 'A.B' invalid value 'xy' does not match rule: {Max: 1}",
        );
        check(required("A.B", None::<()>), "field 'A.B' invalid value '<nil>' does not match rule: {Min: 1}");
    }

    #[test]
    fn lists_and_numbers() {
        let rule = Rule::between(1, 2);
        let count = |texts: &[&str]| rule.check_count("A.B", texts.len(), Texts(texts));
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
