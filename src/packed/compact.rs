//! Texts that resemble each other, kept as their difference from one of them. The documents of a service's instances differ in ids,
//! addresses and times, so a document of 300 bytes takes about 50.
//!
//! A difference is the length of the text, then steps. A step copies bytes of the model, then has bytes of its own, then passes over bytes of
//! the model:
//! ```text
//! difference  length step*
//! length      number
//! step        copied own passed?
//! own         number, times 4; plus 1 if they are hexadecimal digits, two a byte; plus 2 if it passes over as many bytes, and has no `passed`
//! passed      number, doubled; odd if it goes back
//! ```

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use memchr::{memchr2, memmem};

use super::{Fields, hex, put_number};

/// The text that others are compared with. It shares its bytes with the [`Compact`] of this text.
#[derive(Debug, PartialEq, Eq)]
pub struct Model(Arc<[u8]>);

/// The models that the next text is compared with: the two that were used last, the newest use first. A text that is unlike both takes the
/// place of the older one. So texts of two forms in turn stay compact, a single odd text changes nothing for the next ones, and
/// the first text of a new form makes the next ones of this form compact.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Models([Option<Arc<Model>>; 2]);

/// A text that takes little memory. A clone shares it.
#[derive(Clone)]
pub struct Compact {
    /// `None`: the bytes are the text. It may be the model of others. Otherwise they are its difference from the model, and they are at
    /// most half as long as the text.
    model: Option<Arc<Model>>,
    bytes: Arc<[u8]>,
}

/// Shorter and longer texts are kept as they are.
pub const COMPARED: std::ops::RangeInclusive<usize> = 64..=4096;

// What is added to the number of a step's own bytes.
const HEX: usize = 1;
const REPLACES: usize = 2;

/// How often one comparison looks for the place in the model where the text goes on.
const SEARCHES: usize = 32;

/// So many equal bytes are a place where the text goes on.
const FOUND: usize = 8;

impl Compact {
    /// Keeps the text as its difference from a model. If the difference is longer than half of the text, the text is kept as it is, and
    /// becomes a model of the next ones. It takes no more memory than a text that is not compared.
    pub fn new(models: &mut Models, text: &[u8]) -> Self {
        if !COMPARED.contains(&text.len()) {
            return Self { model: None, bytes: text.into() };
        }
        let Models([first, second]) = models;
        if let Some(compact) = Self::like(first.as_ref(), text) {
            return compact;
        }
        // The one that is used comes first.
        std::mem::swap(first, second);
        if let Some(compact) = Self::like(first.as_ref(), text) {
            return compact;
        }
        let bytes: Arc<[u8]> = text.into();
        *first = Some(Arc::new(Model(Arc::clone(&bytes))));
        Self { model: None, bytes }
    }

    fn like(model: Option<&Arc<Model>>, text: &[u8]) -> Option<Self> {
        let model = model?;
        let difference = difference_from(&model.0, text)?;
        Some(Self { model: Some(Arc::clone(model)), bytes: difference.into() })
    }

    /// Bytes of the text.
    pub fn length(&self) -> usize {
        match self.model {
            Some(_) => Fields(&self.bytes).size().unwrap_or(0),
            None => self.bytes.len(),
        }
    }

    /// Appends the text.
    pub fn append_to(&self, out: &mut Vec<u8>) {
        match &self.model {
            // `None` never comes: the steps are those that `difference` has written.
            Some(model) => {
                let _ = append_changed(&model.0, &self.bytes, out);
            }
            None => out.extend_from_slice(&self.bytes),
        }
    }

    pub fn to_vec(&self) -> Vec<u8> {
        let mut text = Vec::with_capacity(self.length());
        self.append_to(&mut text);
        text
    }

    pub fn to_bytes(&self) -> Bytes {
        match self.model {
            Some(_) => Bytes::from(self.to_vec()),
            None => Bytes::from_owner(Arc::clone(&self.bytes)),
        }
    }
}

impl PartialEq for Compact {
    fn eq(&self, other: &Self) -> bool {
        self.length() == other.length() && self.to_vec() == other.to_vec()
    }
}

impl Eq for Compact {}

impl fmt::Debug for Compact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.to_bytes())
    }
}

/// The difference of a text from a model, if it takes at most half of the bytes of the text. Both have [`COMPARED`] bytes.
pub fn difference_from(model: &[u8], text: &[u8]) -> Option<Vec<u8>> {
    let difference = difference(model, text);
    (difference.len() <= text.len() / 2).then_some(difference)
}

/// Appends the text that differs so from the model.
pub fn append_changed(model: &[u8], difference: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let mut fields = Fields(difference);
    out.reserve(fields.size()?);
    let mut rest = model;
    while !fields.0.is_empty() {
        let (copied, after) = rest.split_at_checked(fields.size()?)?;
        out.extend_from_slice(copied);
        let own = fields.size()?;
        let length = own >> 2;
        if own & HEX == 0 {
            out.extend_from_slice(fields.take(length)?);
        } else {
            let end = out.len() + length;
            let digits = fields.take(length.div_ceil(2))?.iter();
            out.extend(digits.flat_map(|byte| hex::digits(*byte)));
            out.truncate(end);
        }
        let passed = if own & REPLACES == 0 { fields.size()? } else { length << 1 };
        rest = if passed & 1 == 0 {
            after.get(passed >> 1..)?
        } else {
            model.get((model.len() - after.len()).checked_sub(passed >> 1)?..)?
        };
    }
    Some(())
}

/// What has to be done to the model in order to get the text.
fn difference(model: &[u8], text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(128);
    put_number(&mut out, text.len() as u64);
    let (mut at, mut left, mut searches) = (0, text, SEARCHES);
    while !left.is_empty() {
        let copied = equal_front(from(model, at), left);
        at += copied;
        left = from(left, copied);
        // A part ends with a quote in JSON, and with a zero in an event of the record. The ends of two parts may be equal.
        let (mut own, part) = (to_end_of_part(left), to_end_of_part(from(model, at)));
        let equal = equal_back(upto(left, own), upto(from(model, at), part));
        own -= equal;
        let mut next = at + part - equal;
        while !goes_on(model, next, from(left, own)) {
            let wanted = upto(from(left, own), FOUND);
            if searches == 0 {
                own = left.len();
                break;
            }
            searches -= 1;
            if let Some(found) = memmem::find(model, wanted) {
                next = found;
                break;
            }
            own += 1 + to_end_of_part(from(left, own + 1));
            own = own.min(left.len());
        }
        put_number(&mut out, copied as u64);
        let passed = if next < at { (at - next) << 1 | 1 } else { (next - at) << 1 };
        let replaces = passed == own << 1;
        put_own(&mut out, upto(left, own), if replaces { REPLACES } else { 0 });
        if !replaces {
            put_number(&mut out, passed as u64);
        }
        at = next;
        left = from(left, own);
    }
    out
}

/// Whether the text goes on at a place of the model.
fn goes_on(model: &[u8], at: usize, left: &[u8]) -> bool {
    equal_front(from(model, at), left) >= left.len().min(FOUND)
}

fn put_own(out: &mut Vec<u8>, own: &[u8], flag: usize) {
    let is_hex = own.len() >= 4 && own.iter().all(|byte| hex::value(*byte) != hex::NO_DIGIT);
    put_number(out, (own.len() << 2 | flag | if is_hex { HEX } else { 0 }) as u64);
    if !is_hex {
        return out.extend_from_slice(own);
    }
    out.extend(own.chunks(2).map(|digits| {
        let value = |at: usize| digits.get(at).map_or(0, |digit| hex::value(*digit));
        value(0) << 4 | value(1)
    }));
}

fn from(bytes: &[u8], at: usize) -> &[u8] {
    bytes.get(at..).unwrap_or_default()
}

fn upto(bytes: &[u8], end: usize) -> &[u8] {
    bytes.get(..end).unwrap_or(bytes)
}

fn to_end_of_part(bytes: &[u8]) -> usize {
    memchr2(b'"', 0, bytes).unwrap_or(bytes.len())
}

/// How many bytes are equal from the front on.
fn equal_front(one: &[u8], other: &[u8]) -> usize {
    let words = one.as_chunks::<8>().0.iter().zip(other.as_chunks::<8>().0);
    let begin = words.take_while(|(one, other)| one == other).count() * 8;
    let rest = from(one, begin).iter().zip(from(other, begin));
    begin + rest.take_while(|(one, other)| one == other).count()
}

fn equal_back(one: &[u8], other: &[u8]) -> usize {
    one.iter().rev().zip(other.iter().rev()).take_while(|(one, other)| one == other).count()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn document(number: u32, id: &str, more: &str) -> String {
        format!(
            r#"{{"instanceId":"{id}","serviceId":"5e8f1c2d3b4a59687786a5b4c3d2e1f00f1e2d3c","endpoints":["rest://10.0.{}.{}:8080"],"hostName":"host-{number:07}","status":"UP",{more}"healthCheck":{{"mode":"push","interval":30,"times":3}},"timestamp":"176439{number:04}","modTimestamp":"176439{number:04}","version":"1.0.0"}}"#,
            number >> 8,
            number & 255
        )
    }

    /// The bytes that are kept.
    fn check(models: &mut Models, text: &[u8]) -> usize {
        let compact = Compact::new(models, text);
        assert_eq!((compact.to_vec(), compact.length()), (text.to_vec(), text.len()));
        compact.bytes.len()
    }

    fn first(models: &Models) -> &Arc<Model> {
        models.0[0].as_ref().unwrap()
    }

    /// Texts of another form.
    fn other_form(number: u32) -> String {
        let parts = (0..30).map(|part| format!("<p{part}>{}</p{part}>", part * 7)).collect::<String>();
        format!("<other>{number}{parts}</other>")
    }

    #[test]
    fn documents_of_one_service_take_few_bytes() {
        let mut models = Models::default();
        for number in 0..5_000_u32 {
            let id = format!(
                "{:016x}{:016x}",
                u64::from(number).wrapping_mul(0x9e37_79b9_7f4a_7c15),
                u64::from(!number) << 17
            );
            let text = document(number, &id, "");
            let bytes = check(&mut models, text.as_bytes());
            assert!(bytes <= 60 || number == 0, "{bytes} of {}: {text}", text.len());
        }
    }

    #[test]
    fn a_text_may_have_more_or_less_than_its_model() {
        let more = r#""properties":{"region":"north","zone":"north-1","cell":"7"},"#;
        for (model, text) in [("", more), (more, "")] {
            let mut models = Models::default();
            check(&mut models, document(1, "a", model).as_bytes());
            let kept = Arc::clone(first(&models));
            let text = document(2, "b", text);
            assert!(check(&mut models, text.as_bytes()) <= 110);
            assert!(Arc::ptr_eq(&kept, first(&models)));
        }
    }

    #[test]
    fn a_text_without_likeness_becomes_a_model_and_shares_its_bytes() {
        let mut models = Models::default();
        check(&mut models, document(1, "a", "").as_bytes());
        let other = "[".repeat(300);
        let compact = Compact::new(&mut models, other.as_bytes());
        assert_eq!(compact.bytes.len(), 300);
        assert!(Arc::ptr_eq(&compact.bytes, &first(&models).0));
        let long = vec![b'"'; COMPARED.end() + 1];
        assert_eq!(check(&mut models, &long), long.len());
        assert_eq!(first(&models).0.len(), 300, "a text that is not compared is no model");
    }

    #[test]
    fn texts_of_two_forms_in_turn_are_compact() {
        let mut models = Models::default();
        for number in 0..100 {
            for text in [document(number, "a", ""), other_form(number)] {
                let bytes = check(&mut models, text.as_bytes());
                assert!(bytes <= 60 || number == 0, "{bytes} of {}: {text}", text.len());
            }
        }
    }

    #[test]
    fn single_odd_texts_leave_the_used_model() {
        let mut models = Models::default();
        check(&mut models, document(0, "a", "").as_bytes());
        for (number, odd) in (1..).zip(["[", "{", "(", "<"]) {
            assert_eq!(check(&mut models, odd.repeat(300).as_bytes()), 300);
            assert!(check(&mut models, document(number, "a", "").as_bytes()) <= 60);
        }
    }

    #[test]
    fn every_text_comes_back() {
        let mut seed = 1_u64;
        let mut next = |below: usize| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (seed >> 33) as usize % below
        };
        let parts: [&[u8]; 9] = [
            b"\"",
            b"\",\"",
            b"abc",
            b"0123456789abcdef",
            b"",
            b"\xff\0",
            b"host-name",
            b"7",
            b"\"\"\"\"\"\"\"\"\"",
        ];
        for _ in 0..3_000 {
            let mut text =
                |most: usize| (0..next(most)).map(|_| parts[next(parts.len())]).collect::<Vec<_>>().concat();
            let (one, other) = (text(30), text(60));
            let model = Arc::new(Model(one.into()));
            let compact = Compact { bytes: difference(&model.0, &other).into(), model: Some(model) };
            assert_eq!((compact.to_vec(), compact.length()), (other.clone(), other.len()));
        }
    }

    #[test]
    fn equal_texts_are_equal_whatever_their_model() {
        let (one, other) = (document(1, "a", ""), document(2, "b", ""));
        let mut models = Models::default();
        let first = Compact::new(&mut models, one.as_bytes());
        let second = Compact::new(&mut models, other.as_bytes());
        assert_eq!(second, Compact::new(&mut Models::default(), other.as_bytes()));
        assert_ne!(first, second);
    }
}
