//! A text to look for in many others.

use memchr::memchr2_iter;

/// A text to look for. Upper and lower case ASCII letters are alike.
#[derive(Clone, Debug)]
pub struct Needle {
    /// In lower case.
    text: Box<[u8]>,
    /// The position of the byte that other texts have least often. It is looked for first.
    rare: usize,
}

/// Bytes that names, hosts, addresses and ids have often, the most frequent first. Other bytes are rare.
const FREQUENT: &[u8] = b"0123456789ae.bcdft-sori:/nlpmhuvgwy_kxjqz";

impl Needle {
    /// `None` for an empty text, which every text contains.
    pub fn new(text: &str) -> Option<Self> {
        let text = text.to_ascii_lowercase();
        let text = text.into_bytes().into_boxed_slice();
        let rarity = |byte: &u8| FREQUENT.iter().position(|known| known == byte).unwrap_or(FREQUENT.len());
        let (rare, _) = text.iter().enumerate().max_by_key(|(_, byte)| rarity(byte))?;
        Some(Self { text, rare })
    }

    pub fn is_in(&self, text: &[u8]) -> bool {
        self.find(text).is_some()
    }

    /// Where the needle first begins.
    pub fn find(&self, text: &[u8]) -> Option<usize> {
        let rare = *self.text.get(self.rare)?;
        let starts = (text.len() + 1).saturating_sub(self.text.len());
        let places = text.get(self.rare..self.rare + starts).unwrap_or_default();
        memchr2_iter(rare, rare.to_ascii_uppercase(), places).find(|at| {
            let found = text.get(*at..at + self.text.len());
            found.is_some_and(|found| found.eq_ignore_ascii_case(&self.text))
        })
    }
}

#[cfg(test)]
mod tests {
    use rand::rngs::StdRng;
    use rand::seq::IndexedRandom as _;
    use rand::{Rng as _, SeedableRng as _};

    use super::*;

    #[test]
    fn a_needle_is_found_wherever_it_is() {
        let check = |needle: &str, text: &str| {
            let expected = text.to_ascii_lowercase().contains(&needle.to_ascii_lowercase());
            let found = Needle::new(needle).is_none_or(|needle| needle.is_in(text.as_bytes()));
            assert_eq!(found, expected, "{needle:?} in {text:?}");
        };
        for (needle, text) in [
            ("", ""),
            ("", "a"),
            ("a", ""),
            ("a", "A"),
            ("ab", "a"),
            ("AB", "xab"),
            ("ab", "abx"),
            ("é", "É"),
            ("é", "café"),
            ("10.0.0.1", "rest://10.0.0.12:80"),
        ] {
            check(needle, text);
        }
        let mut random = StdRng::seed_from_u64(1);
        let letters = ['a', 'A', 'b', 'B', '-', '1', 'é'];
        let mut text = |most| -> String {
            let length = random.random_range(0..most);
            (0..length).filter_map(|_| letters.choose(&mut random)).collect()
        };
        for _ in 0..20_000 {
            check(&text(4), &text(9));
        }
    }
}
