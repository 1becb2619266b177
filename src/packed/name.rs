//! Short texts: the ids of instances, and the last parts of the keys of the embedded store. A text of 32 hexadecimal digits is packed: a
//! generated id has this form.

use std::cmp::Ordering;
use std::fmt;

use super::hex;

/// A short text, ordered as such.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Name {
    Hex(HexName),
    Text(Box<str>),
}

/// 32 lower-case hexadecimal digits, such as a generated id. The packed bytes have the order of the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct HexName([u8; 16]);

impl HexName {
    /// `None`: the text has another form.
    pub fn new(text: &str) -> Option<Self> {
        let digits: &[u8; 32] = text.as_bytes().try_into().ok()?;
        let (mut packed, mut all) = ([0; 16], 0);
        for (byte, digits) in packed.iter_mut().zip(digits.chunks_exact(2)) {
            for digit in digits {
                let value = hex::value(*digit);
                *byte = *byte << 4 | value;
                all |= value;
            }
        }
        (all < 16).then_some(Self(packed))
    }

    /// The text. `space` holds it.
    pub fn bytes<'a>(&self, space: &'a mut [u8; 32]) -> &'a [u8] {
        for (digits, byte) in space.chunks_exact_mut(2).zip(&self.0) {
            digits.copy_from_slice(&hex::digits(*byte));
        }
        space
    }
}

impl Name {
    pub fn new(text: &str) -> Self {
        HexName::new(text).map_or_else(|| Self::Text(text.into()), Self::Hex)
    }

    /// The text. `space` holds it if the name is packed.
    pub fn bytes<'a>(&'a self, space: &'a mut [u8; 32]) -> &'a [u8] {
        match self {
            Self::Text(text) => text.as_bytes(),
            Self::Hex(name) => name.bytes(space),
        }
    }

    /// Compares with a text.
    pub fn order(&self, sought: &Sought<'_>) -> Ordering {
        match (self, &sought.packed) {
            (Self::Hex(name), Some(sought)) => name.cmp(sought),
            _ => self.bytes(&mut [0; 32]).cmp(sought.text.as_bytes()),
        }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Both forms are text.
        f.write_str(std::str::from_utf8(self.bytes(&mut [0; 32])).unwrap_or_default())
    }
}

impl PartialOrd for Name {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Name {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Hex(left), Self::Hex(right)) => left.cmp(right),
            _ => self.bytes(&mut [0; 32]).cmp(other.bytes(&mut [0; 32])),
        }
    }
}

/// A text that names are compared with.
#[derive(Clone, Copy, Debug)]
pub struct Sought<'a> {
    text: &'a str,
    packed: Option<HexName>,
}

impl<'a> Sought<'a> {
    pub fn new(text: &'a str) -> Self {
        Self { text, packed: HexName::new(text) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_ordered_as_texts() {
        let hex = "0123456789abcdef0123456789abcdef";
        let (upper, longer) = (hex.to_uppercase(), format!("{hex}0"));
        let texts = ["", "0", "ü", "ffffffffffffffffffffffffffffffff", hex, &hex[1..], &upper, &longer];
        for one in texts {
            let name = Name::new(one);
            assert_eq!(name.to_string(), one);
            for other in texts {
                assert_eq!(name.cmp(&Name::new(other)), one.cmp(other), "{one} {other}");
                assert_eq!(name.order(&Sought::new(other)), one.cmp(other), "{one} {other}");
            }
        }
    }
}
