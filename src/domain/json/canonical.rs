//! Recognizes texts that [`encode`](super::encode) has written, without decoding them. Decoding a document and encoding it again
//! takes ten times as long.

use crate::domain::shape::{MemberShape, Shape, Shaped};

/// In a longer text, elements may take more memory than [`decode`](super::decode) allows.
const LONGEST: usize = super::ROOM / (2 * size_of::<(String, String)>());

/// Whether [`decode`](super::decode) accepts the text, and [`encode`](super::encode) writes the same text again.
///
/// The answer may also be `false` for a text with escapes, `null`, fractions or U+2000 to U+2FFF, or for one longer than [`LONGEST`].
pub fn is_canonical<T: Shaped>(text: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(text) else { return false };
    let mut rest = Rest { text, at: 0 };
    let is_whole = match T::SHAPE {
        Shape::Object(object) => rest.object(object.members),
        _ => None,
    };
    text.len() <= LONGEST && is_whole.is_some() && rest.at == text.len()
}

/// The bytes that stand for themselves in a text, whoever writes it. Not so: quotes, backslashes, control characters, and those that Go
/// escapes. U+2028 and U+2029 begin with 0xE2.
pub(super) static PLAIN: [bool; 256] = {
    let mut plain = [true; 256];
    let mut byte = 0;
    while byte < 256 {
        plain[byte] = !matches!(byte as u8, 0..0x20 | b'"' | b'\\' | b'<' | b'>' | b'&' | 0xE2);
        byte += 1;
    }
    plain
};

/// What is not read yet, from `at` on. The methods read one thing, and return `None` if it is not there in its canonical form.
struct Rest<'t> {
    text: &'t str,
    at: usize,
}

impl<'t> Rest<'t> {
    fn next(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn skip(&mut self, byte: u8) -> Option<()> {
        (self.next()? == byte).then(|| self.at += 1)
    }

    /// Whether another element follows: skips the comma, or the end.
    fn goes_on(&mut self, end: u8) -> Option<bool> {
        let next = self.next()?;
        self.at += 1;
        (next == b',' || next == end).then_some(next == b',')
    }

    fn text(&mut self) -> Option<&'t str> {
        self.skip(b'"')?;
        let begin = self.at;
        let bytes = self.text.as_bytes().get(begin..)?;
        self.at += bytes.iter().position(|byte| !PLAIN[usize::from(*byte)])?;
        let text = self.text.get(begin..self.at)?;
        self.skip(b'"').map(|()| text)
    }

    fn number(&mut self) -> Option<i64> {
        let digits = self.text.as_bytes().get(self.at..)?;
        let length = digits.iter().position(|byte| !matches!(byte, b'-' | b'0'..=b'9'))?;
        let digits = self.text.get(self.at..self.at + length)?;
        self.at += length;
        let is_shortest = digits == "0" || !digits.trim_start_matches('-').starts_with('0');
        digits.parse().ok().filter(|_| is_shortest)
    }

    /// Members in the order of their declaration. Empty ones are left out.
    fn object(&mut self, members: &'static [MemberShape]) -> Option<()> {
        self.skip(b'{')?;
        if self.skip(b'}').is_some() {
            return Some(());
        }
        let mut members = members.iter();
        loop {
            let name = self.text()?;
            let member = members.find(|member| member.name == name)?;
            self.skip(b':')?;
            if !self.value(member.shape)? {
                return None;
            }
            if !self.goes_on(b'}')? {
                return Some(());
            }
        }
    }

    /// Whether a member with this value is not left out.
    fn value(&mut self, shape: Shape) -> Option<bool> {
        Some(match shape {
            Shape::Text => !self.text()?.is_empty(),
            Shape::Integer => i32::try_from(self.number()?).ok()? != 0,
            Shape::Long => self.number()? != 0,
            Shape::Number => return None,
            Shape::Flag => return self.flag(),
            Shape::List(of) => self.list(*of)?,
            Shape::Map(of) => self.map(*of)?,
            // Only an object that is absent is left out.
            Shape::Object(object) => self.object(object.members).map(|()| true)?,
        })
    }

    fn flag(&mut self) -> Option<bool> {
        let rest = self.text.get(self.at..)?;
        let is_set = rest.starts_with("true");
        let text = if is_set { "true" } else { "false" };
        rest.starts_with(text).then(|| self.at += text.len())?;
        Some(is_set)
    }

    fn list(&mut self, of: Shape) -> Option<bool> {
        self.skip(b'[')?;
        if self.skip(b']').is_some() {
            return Some(false);
        }
        loop {
            self.value(of)?;
            if !self.goes_on(b']')? {
                return Some(true);
            }
        }
    }

    /// Keys in ascending order.
    fn map(&mut self, of: Shape) -> Option<bool> {
        self.skip(b'{')?;
        if self.skip(b'}').is_some() {
            return Some(false);
        }
        let mut last: Option<&str> = None;
        loop {
            let key = self.text()?;
            if last.is_some_and(|last| last >= key) {
                return None;
            }
            last = Some(key);
            self.skip(b':')?;
            self.value(of)?;
            if !self.goes_on(b'}')? {
                return Some(true);
            }
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::super::{TextMap, decode, encode};
    use super::*;
    use crate::json_object;

    json_object! {
        /// Inner.
        pub struct CanonicalInner {
            /// A number.
            "port" => port: i32,
        }
    }

    json_object! {
        /// An object with members of all types.
        pub struct CanonicalSample {
            /// Text.
            "name" => name: String,
            /// List.
            "list" => list: Vec<String>,
            /// Objects.
            "objects" => objects: Vec<Option<CanonicalInner>>,
            /// Numbers.
            "numbers" => numbers: Vec<i64>,
            /// Map.
            "pairs" => pairs: TextMap,
            /// Object.
            "inner" => inner: Option<CanonicalInner>,
            /// Flag.
            "flag" => flag: bool,
        }
    }

    fn is_written_again<T: super::super::DecodeJson + serde::Serialize>(text: &str) -> bool {
        decode::<T>(text.as_bytes()).is_ok_and(|value| encode(&value) == text.as_bytes())
    }

    fn check(text: &str, expected: bool) {
        assert_eq!(is_canonical::<CanonicalSample>(text.as_bytes()), expected, "{text}");
        assert_eq!(is_written_again::<CanonicalSample>(text), expected, "{text}");
    }

    const WHOLE: &str = r#"{"name":"a'/ä中","list":["x",""],"objects":[{"port":-7},{}],"numbers":[0,-1,9223372036854775807],"pairs":{"":"","a":"1","b":""},"inner":{"port":2147483647},"flag":true}"#;

    #[test]
    fn what_encode_writes_is_recognized() {
        for text in [WHOLE, "{}", r#"{"inner":{}}"#, r#"{"name":"a","flag":true}"#] {
            check(text, true);
        }
        for other in [
            "",
            " {}",
            "{} ",
            "{}{}",
            "null",
            "[]",
            "{",
            r#"{"name":"a""#,
            r#"{"name":"a",}"#,
            r#"{"Name":"a"}"#,
            r#"{"x":1}"#,
            r#"{"name":""}"#,
            r#"{"name":null}"#,
            r#"{"name":"<"}"#,
            r#"{"name":"\/"}"#,
            r#"{"name":"a","name":"b"}"#,
            r#"{"flag":true,"name":"a"}"#,
            r#"{"flag":false}"#,
            r#"{"flag":tru}"#,
            r#"{"list":[]}"#,
            r#"{"list":["a",]}"#,
            r#"{"list":[ "a"]}"#,
            r#"{"list":[1]}"#,
            r#"{"pairs":{}}"#,
            r#"{"pairs":{"b":"","a":""}}"#,
            r#"{"pairs":{"a":"","a":""}}"#,
            r#"{"inner":{"port":0}}"#,
            r#"{"inner":{"port":01}}"#,
            r#"{"inner":{"port":-0}}"#,
            r#"{"inner":{"port":--1}}"#,
            r#"{"inner":{"port":1-1}}"#,
            r#"{"inner":{"port":1.0}}"#,
            r#"{"inner":{"port":2147483648}}"#,
            r#"{"numbers":[9223372036854775808]}"#,
            r#"{"numbers":[]}"#,
            r#"{"inner":{"port":}}"#,
            "{\"name\":\"a\u{2028}\"}",
            "{\"name\":\"\n\"}",
        ] {
            check(other, false);
        }
        let not_known = r#"{"name":"\"\u003c"}"#;
        assert!(is_written_again::<CanonicalSample>(not_known));
        assert!(!is_canonical::<CanonicalSample>(not_known.as_bytes()));
        assert!(!is_canonical::<CanonicalSample>(b"{\"name\":\"\xff\"}"));
    }

    /// Whatever byte is changed or left out: a text that is recognized is written again.
    #[test]
    fn nothing_else_is_recognized() {
        let mut recognized = 0;
        for at in 0..WHOLE.len() {
            for new in b"\"\\{}[],:-019aet <\xe2".iter().map(|byte| Some(*byte)).chain([None]) {
                let mut changed = WHOLE.as_bytes().to_vec();
                drop(changed.splice(at..=at, new));
                if is_canonical::<CanonicalSample>(&changed) {
                    recognized += 1;
                    let text = std::str::from_utf8(&changed).unwrap();
                    assert!(is_written_again::<CanonicalSample>(text), "{text}");
                }
            }
        }
        assert!(recognized > 100, "else this tests nothing");
    }

    /// The elements of the longest text take less memory than is allowed.
    #[test]
    fn long_texts_are_not_recognized() {
        let list = |count: usize| format!(r#"{{"list":["{}"]}}"#, vec![""; count].join("\",\""));
        let (short, long) = (list(LONGEST / 4), list(LONGEST));
        assert!(is_canonical::<CanonicalSample>(short.as_bytes()));
        assert!(!is_canonical::<CanonicalSample>(long.as_bytes()));
        assert!(decode::<CanonicalSample>(short.as_bytes()).is_ok());
    }
}
