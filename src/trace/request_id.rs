//! Ids of requests, which the header `X-Request-Id` carries. A client may give one; otherwise the server makes one.

use std::cell::Cell;
use std::fmt;
use std::sync::Arc;

/// Characters of an id that a client gives. A longer one is not taken.
pub const MAX_GIVEN: usize = 128;
/// Digits of an id that a worker draws once: no two workers, nodes or starts use the same ones.
const DRAWN: usize = 16;
/// Digits that a worker counts up. At 100,000 requests a second they last for 127 days, and then start again.
const COUNTED: usize = 10;

/// The id of one request: visible ASCII without quotes. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestId(IdText);

#[derive(Clone, Debug, PartialEq, Eq)]
enum IdText {
    Made([u8; DRAWN + COUNTED]),
    Given(Arc<str>),
}

impl RequestId {
    /// The id that a client gives. `None` if it is empty or too long, or if it has a character other than letters and digits of ASCII and
    /// `-_.:/+=@#~`: ids are shown in logs and headers.
    pub fn given(value: &[u8]) -> Option<Self> {
        let is_allowed = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.:/+=@#~".contains(byte);
        if value.is_empty() || value.len() > MAX_GIVEN || !value.iter().all(is_allowed) {
            return None;
        }
        std::str::from_utf8(value).ok().map(|text| Self(IdText::Given(text.into())))
    }

    /// The bytes that the id takes outside of itself.
    pub fn heap_bytes(&self) -> usize {
        match &self.0 {
            IdText::Made(_) => 0,
            IdText::Given(text) => (text.len() + 16).next_multiple_of(16),
        }
    }

    pub fn as_bytes(&self) -> &[u8] {
        match &self.0 {
            IdText::Made(digits) => digits,
            IdText::Given(text) => text.as_bytes(),
        }
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(std::str::from_utf8(self.as_bytes()).unwrap_or_default())
    }
}

/// Makes ids: 16 hexadecimal digits that are the same for each worker, and 10 that count. Lives on one thread.
#[derive(Debug)]
pub struct RequestIds(Cell<[u8; DRAWN + COUNTED]>);

impl RequestIds {
    /// `drawn` is a random number.
    pub fn new(drawn: u64) -> Self {
        let mut digits = [b'0'; DRAWN + COUNTED];
        for (digit, byte) in digits.iter_mut().zip(format!("{drawn:016x}").bytes()) {
            *digit = byte;
        }
        Self(Cell::new(digits))
    }

    pub fn next(&self) -> RequestId {
        let mut digits = self.0.get();
        for digit in digits.iter_mut().rev().take(COUNTED) {
            *digit = match *digit {
                b'9' => b'a',
                b'f' => b'0',
                before => before + 1,
            };
            if *digit != b'0' {
                break;
            }
        }
        self.0.set(digits);
        RequestId(IdText::Made(digits))
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn made_ids_count_in_hexadecimal() {
        let ids = RequestIds::new(0x1234_0000_0000_00ff);
        let all: Vec<String> = (0..300).map(|_| ids.next().to_string()).collect();
        assert_eq!(all[0], "12340000000000ff0000000001");
        assert_eq!(
            (all[9].as_str(), all[15].as_str()),
            ("12340000000000ff000000000a", "12340000000000ff0000000010")
        );
        assert_eq!(all[254], "12340000000000ff00000000ff");
        assert_eq!(all[299], format!("12340000000000ff{:010x}", 300));
        assert!(all.iter().all(|id| RequestId::given(id.as_bytes()).unwrap().to_string() == *id));
    }

    #[test]
    fn the_last_id_is_followed_by_the_first() {
        let ids = RequestIds::new(1);
        ids.0.set(*b"0000000000000001ffffffffff");
        assert_eq!(ids.next().to_string(), "00000000000000010000000000");
    }

    #[test]
    fn ids_of_clients() {
        let longest = "x".repeat(MAX_GIVEN);
        for id in [
            "a",
            "7e3c5c5e-3f0c-4b8e-9f4e-0d2f8f1f2a3b",
            "Root=1-67891233-abcdef01",
            "a_b.c:d/e+f=@#~",
            &longest,
        ] {
            assert_eq!(RequestId::given(id.as_bytes()).map(|id| id.to_string()).as_deref(), Some(id));
        }
        let too_long = "x".repeat(MAX_GIVEN + 1);
        for id in [
            "",
            " a",
            "a b",
            "a\nb",
            "a\"b",
            "a'b",
            "a\\b",
            "<a>",
            "a]",
            "\u{1b}[2J",
            "größer",
            "a\u{7f}",
            "a;b",
            "a,b",
            &too_long,
        ] {
            assert_eq!(RequestId::given(id.as_bytes()), None, "{id:?}");
        }
        assert_eq!(RequestId::given(&[0xff, 0xfe]), None);
    }
}
