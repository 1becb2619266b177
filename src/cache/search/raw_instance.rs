//! Reads members of the stored JSON of an instance without decoding it. Decoding takes ten times as long, and a search looks at each
//! instance.
//!
//! The JSON of a snapshot is always as [`domain::json`](crate::domain::json) writes an [`Instance`](crate::domain::Instance): without
//! blanks, with the members in the order of their declaration, and without empty ones. `store::codec` writes other JSON anew.

use std::borrow::Cow;

use memchr::memchr2;

/// Some members of the JSON of an instance. What is missing is empty.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RawInstance<'a> {
    pub id: RawText<'a>,
    pub host: RawText<'a>,
    pub status: RawText<'a>,
    /// The elements with quotes and commas.
    endpoints: &'a [u8],
    /// The pairs with quotes, colons and commas, and whatever follows them.
    properties: &'a [u8],
}

/// A text in JSON, without its quotes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct RawText<'a>(&'a [u8]);

impl<'a> RawText<'a> {
    /// With escapes, if it has any.
    pub fn raw(self) -> &'a [u8] {
        self.0
    }

    /// Without escapes.
    pub fn plain(self) -> Cow<'a, [u8]> {
        if memchr::memchr(b'\\', self.0).is_none() {
            return Cow::Borrowed(self.0);
        }
        let mut quoted = Vec::with_capacity(self.0.len() + 2);
        quoted.push(b'"');
        quoted.extend_from_slice(self.0);
        quoted.push(b'"');
        Cow::Owned(serde_json::from_slice::<String>(&quoted).unwrap_or_default().into_bytes())
    }
}

impl<'a> RawInstance<'a> {
    pub fn read(json: &'a [u8]) -> Self {
        let mut rest = Rest(json);
        let mut read = Self::default();
        rest.skip(b"{");
        if rest.skip(b"\"instanceId\":\"") {
            read.id = rest.text();
            rest.skip(b",");
        }
        if rest.skip(b"\"serviceId\":\"") {
            rest.text();
            rest.skip(b",");
        }
        if rest.skip(b"\"endpoints\":[") {
            read.endpoints = rest.list();
            rest.skip(b"],");
        }
        if rest.skip(b"\"hostName\":\"") {
            read.host = rest.text();
            rest.skip(b",");
        }
        if rest.skip(b"\"status\":\"") {
            read.status = rest.text();
            rest.skip(b",");
        }
        if rest.skip(b"\"properties\":{") {
            read.properties = rest.0;
        }
        read
    }

    pub fn endpoints(&self) -> impl Iterator<Item = RawText<'a>> + use<'a> {
        let mut rest = Rest(self.endpoints);
        std::iter::from_fn(move || rest.element())
    }

    /// Names and values.
    pub fn properties(&self) -> impl Iterator<Item = [RawText<'a>; 2]> + use<'a> {
        let mut rest = Rest(self.properties);
        std::iter::from_fn(move || {
            if !rest.skip(b"\"") {
                return None;
            }
            let name = rest.text();
            rest.skip(b":\"");
            let value = rest.text();
            rest.skip(b",");
            Some([name, value])
        })
    }
}

/// What is not read yet.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn skip(&mut self, text: &[u8]) -> bool {
        match self.0.strip_prefix(text) {
            Some(rest) => {
                self.0 = rest;
                true
            }
            None => false,
        }
    }

    /// The text that ends with the next quote. Skips the quote.
    fn text(&mut self) -> RawText<'a> {
        let mut end = 0;
        while let Some(at) = memchr2(b'"', b'\\', self.0.get(end..).unwrap_or_default()) {
            end += at;
            if self.0.get(end) == Some(&b'"') {
                let (text, rest) = self.0.split_at(end);
                self.0 = rest.get(1..).unwrap_or_default();
                return RawText(text);
            }
            // The character after a backslash is part of the text.
            end += 2;
        }
        RawText(std::mem::take(&mut self.0))
    }

    /// The next element of a list of texts.
    fn element(&mut self) -> Option<RawText<'a>> {
        if !self.skip(b"\"") {
            return None;
        }
        let element = self.text();
        self.skip(b",");
        Some(element)
    }

    /// All elements of a list of texts.
    fn list(&mut self) -> &'a [u8] {
        let all = self.0;
        while self.element().is_some() {}
        all.get(..all.len() - self.0.len()).unwrap_or_default()
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use rand::rngs::StdRng;
    use rand::seq::IndexedRandom as _;
    use rand::{Rng as _, SeedableRng as _};

    use super::*;
    use crate::domain::Instance;
    use crate::domain::instance::{DataCenter, HealthCheck};
    use crate::domain::json;

    fn text(text: RawText<'_>) -> String {
        String::from_utf8(text.plain().into_owned()).unwrap()
    }

    #[track_caller]
    fn check(instance: &Instance) {
        let json = json::encode(instance);
        let read = RawInstance::read(&json);
        let shown = String::from_utf8_lossy(&json);
        assert_eq!(text(read.id), instance.instance_id, "{shown}");
        assert_eq!(read.endpoints().map(text).collect::<Vec<_>>(), instance.endpoints, "{shown}");
        assert_eq!(text(read.host), instance.host_name, "{shown}");
        assert_eq!(text(read.status), instance.status, "{shown}");
        let properties: Vec<(String, String)> =
            read.properties().map(|[name, value]| (text(name), text(value))).collect();
        assert_eq!(properties, instance.properties.clone().into_iter().collect::<Vec<_>>(), "{shown}");
    }

    /// Texts that look like parts of JSON, with all that is escaped.
    fn any_text(random: &mut StdRng) -> String {
        const PARTS: [&str; 16] = [
            "\"",
            "\\",
            "\\\\",
            "a",
            "]",
            "}",
            ",",
            ":",
            "<",
            "\n",
            "\u{2028}",
            "é",
            "\"status\":\"",
            "\"]",
            "{",
            "😀",
        ];
        (0..random.random_range(0..5)).filter_map(|_| PARTS.choose(random).copied()).collect()
    }

    #[test]
    fn members_are_read_as_a_decoder_reads_them() {
        check(&Instance::default());
        let mut random = StdRng::seed_from_u64(1);
        for _ in 0..5_000 {
            let random = &mut random;
            check(&Instance {
                instance_id: any_text(random),
                service_id: any_text(random),
                endpoints: (0..random.random_range(0..3)).map(|_| any_text(random)).collect(),
                host_name: any_text(random),
                status: any_text(random),
                properties: (0..random.random_range(0..3))
                    .map(|_| (any_text(random), any_text(random)))
                    .collect(),
                health_check: random.random::<bool>().then(HealthCheck::by_heartbeat),
                timestamp: any_text(random),
                data_center: random.random::<bool>().then(DataCenter::default),
                mod_timestamp: any_text(random),
                version: any_text(random),
            });
        }
    }

    #[test]
    fn broken_text_is_read_without_a_panic() {
        let whole = br#"{"instanceId":"a\"b","serviceId":"s","endpoints":["x","y"],"hostName":"h","status":"UP","properties":{"k":"v"}}"#;
        for end in 0..=whole.len() {
            let read = RawInstance::read(&whole[..end]);
            assert!(read.endpoints().count() <= 2 && read.properties().count() <= 1);
        }
    }
}
