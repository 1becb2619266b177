//! Texts that resemble each other, kept as their difference from one of them. The documents of a service's instances differ in ids,
//! addresses and times, so a document of 300 bytes takes about 50.
//!
//! A difference is the length of the text, then steps. The text of the model has no steps. A step copies bytes of the model, then has bytes of its own, then passes over bytes of
//! the model:
//! ```text
//! difference  length step*
//! length      number, doubled; odd if the text is the model
//! step        copied own passed
//! own         number, doubled; odd if they are hexadecimal digits, two a byte
//! passed      number, doubled; odd if it goes back
//! ```

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use memchr::{memchr2, memmem};

use super::{Fields, hex, put_number};

/// The text that others are compared with.
#[derive(Debug, PartialEq, Eq)]
pub struct Model(Box<[u8]>);

/// A text that takes little memory. A clone shares it.
#[derive(Clone)]
pub struct Compact {
    /// `None`: the text is kept as it is.
    model: Option<Arc<Model>>,
    bytes: Arc<[u8]>,
}

/// Shorter and longer texts are kept as they are.
const COMPARED: std::ops::RangeInclusive<usize> = 64..=4096;

/// How often one comparison looks for the place in the model where the text goes on.
const SEARCHES: usize = 32;

/// So many equal bytes are a place where the text goes on.
const FOUND: usize = 8;

impl Compact {
    /// Compares a text with the model, if there is one. If it differs in more than a half, it becomes the model of the next ones.
    pub fn new(model: &mut Option<Arc<Model>>, text: &[u8]) -> Self {
        if !COMPARED.contains(&text.len()) {
            return Self { model: None, bytes: text.into() };
        }
        if let Some(model) = model {
            let difference = difference(&model.0, text);
            if difference.len() <= text.len() / 2 {
                return Self { model: Some(Arc::clone(model)), bytes: difference.into() };
            }
        }
        let own = Arc::new(Model(text.into()));
        let mut bytes = Vec::new();
        put_number(&mut bytes, (text.len() as u64) << 1 | 1);
        let bytes = bytes.into();
        *model = Some(Arc::clone(&own));
        Self { model: Some(own), bytes }
    }

    /// Bytes of the text.
    pub fn length(&self) -> usize {
        match self.model {
            Some(_) => Fields(&self.bytes).size().unwrap_or(0) >> 1,
            None => self.bytes.len(),
        }
    }

    /// Whether the text is kept as its difference from a model.
    pub fn has_model(&self) -> bool {
        self.model.is_some()
    }

    /// Bytes that it takes, without the counters of its allocation. The model counts for the text that it was made of.
    pub fn own_bytes(&self) -> usize {
        let model = self.model.as_ref().filter(|_| self.bytes.first().is_some_and(|first| first & 1 == 1));
        self.bytes.len() + model.map_or(0, |model| model.0.len())
    }

    /// Appends the text.
    pub fn append_to(&self, out: &mut Vec<u8>) {
        match &self.model {
            // `None` never comes: the steps are those that `difference` has written.
            Some(model) => {
                let _ = self.steps(&model.0, out);
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

    fn steps(&self, model: &[u8], out: &mut Vec<u8>) -> Option<()> {
        let mut fields = Fields(&self.bytes);
        if fields.size()? & 1 == 1 {
            out.extend_from_slice(model);
        }
        let mut rest = model;
        while !fields.0.is_empty() {
            let (copied, after) = rest.split_at_checked(fields.size()?)?;
            out.extend_from_slice(copied);
            let own = fields.size()?;
            let length = own >> 1;
            if own & 1 == 0 {
                out.extend_from_slice(fields.take(length)?);
            } else {
                let end = out.len() + length;
                let digits = fields.take(length.div_ceil(2))?.iter();
                out.extend(digits.flat_map(|byte| hex::digits(*byte)));
                out.truncate(end);
            }
            let passed = fields.size()?;
            rest = if passed & 1 == 0 {
                after.get(passed >> 1..)?
            } else {
                model.get((model.len() - after.len()).checked_sub(passed >> 1)?..)?
            };
        }
        Some(())
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

/// What has to be done to the model in order to get the text.
fn difference(model: &[u8], text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(128);
    put_number(&mut out, (text.len() as u64) << 1);
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
        put_own(&mut out, upto(left, own));
        let passed = if next < at { (at - next) << 1 | 1 } else { (next - at) << 1 };
        put_number(&mut out, passed as u64);
        at = next;
        left = from(left, own);
    }
    out
}

/// Whether the text goes on at a place of the model.
fn goes_on(model: &[u8], at: usize, left: &[u8]) -> bool {
    equal_front(from(model, at), left) >= left.len().min(FOUND)
}

fn put_own(out: &mut Vec<u8>, own: &[u8]) {
    let is_hex = own.len() >= 4 && own.iter().all(|byte| hex::value(*byte) != hex::NO_DIGIT);
    put_number(out, (own.len() as u64) << 1 | u64::from(is_hex));
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

    /// The bytes of the difference.
    fn check(model: &mut Option<Arc<Model>>, text: &[u8]) -> usize {
        let compact = Compact::new(model, text);
        assert_eq!((compact.to_vec(), compact.length()), (text.to_vec(), text.len()));
        compact.own_bytes()
    }

    #[test]
    fn documents_of_one_service_take_few_bytes() {
        let mut model = None;
        for number in 0..5_000_u32 {
            let id = format!(
                "{:016x}{:016x}",
                u64::from(number).wrapping_mul(0x9e37_79b9_7f4a_7c15),
                u64::from(!number) << 17
            );
            let text = document(number, &id, "");
            let bytes = check(&mut model, text.as_bytes());
            assert!(bytes <= 60 || number == 0, "{bytes} of {}: {text}", text.len());
        }
    }

    #[test]
    fn a_text_may_have_more_or_less_than_its_model() {
        let more = r#""properties":{"region":"north","zone":"north-1","cell":"7"},"#;
        for (model, text) in [("", more), (more, "")] {
            let mut model = Some(Arc::new(Model(document(1, "a", model).into_bytes().into())));
            let kept = Arc::clone(model.as_ref().unwrap());
            let text = document(2, "b", text);
            assert!(check(&mut model, text.as_bytes()) <= 110);
            assert!(Arc::ptr_eq(&kept, model.as_ref().unwrap()));
        }
    }

    #[test]
    fn a_text_without_likeness_becomes_the_model() {
        let mut model = None;
        check(&mut model, document(1, "a", "").as_bytes());
        let other = "[".repeat(300);
        check(&mut model, other.as_bytes());
        assert_eq!(model.as_ref().unwrap().0.len(), 300);
        let long = vec![b'"'; COMPARED.end() + 1];
        assert_eq!(check(&mut model, &long), long.len());
        assert_eq!(model.as_ref().unwrap().0.len(), 300, "kept as it is");
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
        let mut model = None;
        let first = Compact::new(&mut model, one.as_bytes());
        let second = Compact::new(&mut model, other.as_bytes());
        assert_eq!(second, Compact::new(&mut None, other.as_bytes()));
        assert_ne!(first, second);
    }
}
