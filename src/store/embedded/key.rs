//! How the store holds a key: keys next to each other share their folder, and a name of 32 hexadecimal digits is packed. With
//! 100,000 instances of two keys each this saves a quarter of the store's memory.

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

use super::super::port::Key;

/// A key's text up to and including its last slash.
#[derive(Debug, PartialEq, Eq)]
struct KeyFolder(Box<str>);

/// A key in two parts. Its order is the order of the whole text. A text has only one split, so equal keys have equal parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct KeyText {
    folder: Arc<KeyFolder>,
    name: KeyName,
}

/// The part of a key after the folder.
#[derive(Clone, Debug, PartialEq, Eq)]
enum KeyName {
    /// 32 lower-case hexadecimal digits, such as a generated id. The packed bytes have the order of the text.
    Hex([u8; 16]),
    Text(Box<str>),
}

const HEX_DIGITS: &[u8; 16] = b"0123456789abcdef";

/// The value of each lower-case hexadecimal digit. 0xFF for all other bytes.
static HEX_VALUES: [u8; 256] = {
    let mut values = [0xFF; 256];
    let mut value = 0;
    while value < 16 {
        values[HEX_DIGITS[value] as usize] = value as u8;
        value += 1;
    }
    values
};

impl KeyName {
    fn new(text: &str) -> Self {
        match packed(text.as_bytes()) {
            Some(packed) => Self::Hex(packed),
            None => Self::Text(text.into()),
        }
    }

    /// The text. `space` holds it if the name is packed.
    fn bytes<'a>(&'a self, space: &'a mut [u8; 32]) -> &'a [u8] {
        match self {
            Self::Text(text) => text.as_bytes(),
            Self::Hex(packed) => {
                for (digits, byte) in space.chunks_exact_mut(2).zip(packed) {
                    if let [high, low] = digits {
                        *high = HEX_DIGITS[usize::from(byte >> 4)];
                        *low = HEX_DIGITS[usize::from(byte & 15)];
                    }
                }
                space
            }
        }
    }

    fn order(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Hex(left), Self::Hex(right)) => left.cmp(right),
            _ => self.bytes(&mut [0; 32]).cmp(other.bytes(&mut [0; 32])),
        }
    }
}

/// The bytes that 32 lower-case hexadecimal digits stand for.
fn packed(text: &[u8]) -> Option<[u8; 16]> {
    let digits: &[u8; 32] = text.try_into().ok()?;
    let (mut packed, mut all) = ([0; 16], 0);
    for (byte, digits) in packed.iter_mut().zip(digits.chunks_exact(2)) {
        for digit in digits {
            let value = HEX_VALUES[usize::from(*digit)];
            *byte = *byte << 4 | value;
            all |= value;
        }
    }
    (all < 16).then_some(packed)
}

impl KeyText {
    /// Splits a key. Shares the folder of a neighbor that has the same one.
    pub(super) fn new<'a>(text: &str, neighbors: impl IntoIterator<Item = &'a Self>) -> Self {
        let (folder, name) = text.rfind('/').map_or(("", text), |slash| text.split_at(slash + 1));
        let shared = neighbors.into_iter().find(|neighbor| *neighbor.folder.0 == *folder);
        let folder = match shared {
            Some(neighbor) => neighbor.folder.clone(),
            None => Arc::new(KeyFolder(folder.into())),
        };
        Self { folder, name: KeyName::new(name) }
    }

    /// Appends the whole text.
    pub(super) fn append_to(&self, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(self.folder.0.as_bytes());
        bytes.extend_from_slice(self.name.bytes(&mut [0; 32]));
    }

    /// The whole text.
    pub(super) fn to_key(&self) -> Key {
        let mut text = String::with_capacity(self.len());
        text.push_str(&self.folder.0);
        // Both forms of a name are text.
        text.push_str(std::str::from_utf8(self.name.bytes(&mut [0; 32])).unwrap_or_default());
        Key::from(text)
    }

    /// Bytes of the whole text.
    pub(super) fn len(&self) -> usize {
        let name = match &self.name {
            KeyName::Text(text) => text.len(),
            KeyName::Hex(packed) => packed.len() * 2,
        };
        self.folder.0.len() + name
    }

    pub(super) fn starts_with(&self, prefix: &str) -> bool {
        let (prefix, folder) = (prefix.as_bytes(), self.folder.0.as_bytes());
        match prefix.strip_prefix(folder) {
            Some(rest) => self.name.bytes(&mut [0; 32]).starts_with(rest),
            None => folder.starts_with(prefix),
        }
    }

    /// Compares with a whole text.
    pub(super) fn order_text(&self, text: &str) -> Ordering {
        order_joined(self.folder.0.as_bytes(), &self.name, text.as_bytes())
    }
}

impl PartialOrd for KeyText {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for KeyText {
    fn cmp(&self, other: &Self) -> Ordering {
        if Arc::ptr_eq(&self.folder, &other.folder) {
            return self.name.order(&other.name);
        }
        let (left, right) = (self.folder.0.as_bytes(), other.folder.0.as_bytes());
        let common = left.len().min(right.len());
        let ((left, left_rest), (right, right_rest)) = (left.split_at(common), right.split_at(common));
        // One of the rests is empty.
        left.cmp(right).then_with(|| match right_rest {
            [] => order_joined(left_rest, &self.name, other.name.bytes(&mut [0; 32])),
            _ => order_joined(right_rest, &other.name, self.name.bytes(&mut [0; 32])).reverse(),
        })
    }
}

/// Compares `start` followed by `name` with `whole`.
fn order_joined(start: &[u8], name: &KeyName, whole: &[u8]) -> Ordering {
    match whole.split_at_checked(start.len()) {
        Some((first, rest)) => start.cmp(first).then_with(|| name.bytes(&mut [0; 32]).cmp(rest)),
        // `whole` is shorter. If `start` begins with it, `whole` comes first.
        None => start.cmp(whole),
    }
}

impl fmt::Display for KeyText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_key())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEX: &str = "0123456789abcdef0123456789abcdef";

    fn samples() -> Vec<String> {
        let parts = [
            "", "/", "a", "a/", "a/b", "a/b-c", "a/b/", "a/b/c", "a/b0", "b", "/a", "/a/", "/a//", "ü/ö", "ü",
        ];
        let names = [
            HEX,
            "0123456789abcdef0123456789abcdeF",
            "0123456789abcdef0123456789abcde",
            "ffffffffffffffffffffffffffffffff",
            "0",
        ];
        let joined = parts.iter().flat_map(|part| names.iter().map(move |name| format!("{part}{name}")));
        let below = parts.iter().map(|part| format!("{part}/{HEX}/x"));
        parts.iter().map(|part| (*part).to_owned()).chain(joined).chain(below).collect()
    }

    #[test]
    fn orders_and_compares_as_text() {
        for left in samples() {
            let held = KeyText::new(&left, []);
            assert_eq!(&*held.to_key(), left);
            assert_eq!(held.len(), left.len());
            let mut bytes = Vec::new();
            held.append_to(&mut bytes);
            assert_eq!(bytes, left.as_bytes());
            for right in samples() {
                let other = KeyText::new(&right, [&held]);
                assert_eq!(held.cmp(&other), left.cmp(&right), "{left} and {right}");
                assert_eq!(held == other, left == right, "{left} and {right}");
                assert_eq!(held.order_text(&right), left.cmp(&right), "{left} and the text {right}");
                assert_eq!(held.starts_with(&right), left.starts_with(&right), "{left} starts with {right}");
            }
        }
    }

    #[test]
    fn neighbours_share_the_folder_and_generated_ids_are_packed() {
        let first = KeyText::new(&format!("/cse-sr/inst/files/d/p/s/{HEX}"), []);
        let second = KeyText::new("/cse-sr/inst/files/d/p/s/other", [&first]);
        assert!(Arc::ptr_eq(&first.folder, &second.folder));
        assert!(matches!(first.name, KeyName::Hex(_)) && matches!(second.name, KeyName::Text(_)));
        let elsewhere = KeyText::new("/cse-sr/inst/files/d/p/t/other", [&first]);
        assert!(!Arc::ptr_eq(&first.folder, &elsewhere.folder));
        assert_eq!(size_of::<KeyText>(), 32);
    }
}
