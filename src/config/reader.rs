//! Parses the values of keys. Collects all mistakes, so that the first does not hide the others.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use super::cron::Cron;
use super::keys::{self, ConfigKey, KeyStanding, ValueKind};
use super::origin::{Mistake, ValueOrigin, Warning, shown};
use super::precedence::choose;
use super::sources::{Sources, Variables};
use super::value::{parse_duration, parse_integer, parse_list, parse_ratio, parse_switch};

/// The value of the source that won.
#[derive(Clone, Debug)]
struct ChosenValue {
    text: Option<String>,
    origin: ValueOrigin,
}

/// The values that won, and the mistakes found in them so far.
pub(super) struct ConfigReader {
    values: HashMap<&'static str, ChosenValue>,
    maps: HashMap<&'static str, BTreeMap<String, ChosenValue>>,
    pub variables: Variables,
    pub cores: usize,
    mistakes: Vec<Mistake>,
    warnings: Vec<Warning>,
    /// What the sections used in place of empty values.
    settled: HashMap<&'static str, String>,
    /// The keys that were asked for. A test checks that the sections ask for every key.
    asked: RefCell<BTreeSet<&'static str>>,
}

/// A key's value as `check-config` shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Effective {
    /// The dotted key, with the name of the entry for a map.
    pub key: String,
    /// Masked if it is secret.
    pub value: String,
    /// What the value was derived from, if no source gives one.
    pub derived: Option<&'static str>,
    pub origin: ValueOrigin,
}

impl ConfigReader {
    /// Decides for every key which source wins.
    pub fn new(sources: Sources) -> Self {
        let Sources { found, variables, cores, mistakes, mut warnings } = sources;
        let (mut values, mut maps) = (HashMap::new(), HashMap::<_, BTreeMap<_, _>>::new());
        for key in keys::all() {
            for (entry, found) in found.get(key.name).into_iter().flatten() {
                let (text, origin) = choose(key, found, &mut warnings);
                let value = ChosenValue { text, origin };
                if key.kind == ValueKind::Map {
                    maps.entry(key.name).or_default().insert(entry.clone(), value);
                } else {
                    values.insert(key.name, value);
                }
            }
        }
        let asked = RefCell::default();
        let settled = HashMap::new();
        let mut reader = Self { values, maps, variables, cores, mistakes, warnings, settled, asked };
        reader.check_foreign_keys();
        reader
    }

    /// Warns about keys of the reference that are not read, or rejects them.
    fn check_foreign_keys(&mut self) {
        for key in keys::foreign::KEYS {
            let value = self.text(key);
            if value.is_empty() || key.is_untouched(&value) {
                continue;
            }
            match key.standing {
                KeyStanding::Refused(why) => self.refuse(key, why),
                KeyStanding::Without(why) => {
                    let text = format!("{} = {:?} has no effect: {why}", key.name, key.masked(&value));
                    self.warn(key, text);
                }
                KeyStanding::Read | KeyStanding::Ours | KeyStanding::Silent => {}
            }
        }
    }

    /// Notes the value that is used in place of an empty one, for [`ConfigReader::effective`].
    pub fn settle(&mut self, key: &'static ConfigKey, value: impl ToString) {
        self.settled.insert(key.name, value.to_string());
    }

    /// Whether a source gives the key a value that is not empty.
    pub fn is_given(&self, key: &'static ConfigKey) -> bool {
        self.values.get(key.name).and_then(|value| value.text.as_ref()).is_some_and(|text| !text.is_empty())
    }

    pub fn origin(&self, key: &ConfigKey) -> ValueOrigin {
        self.values.get(key.name).map_or(ValueOrigin::Default, |value| value.origin.clone())
    }

    /// Adds a mistake: the value of this key is wrong. `expected` says what is allowed.
    pub fn refuse(&mut self, key: &'static ConfigKey, expected: impl Into<String>) {
        let value = key.masked(&self.text(key));
        let mistake =
            Mistake { origin: self.origin(key), key: key.name.to_owned(), value, expected: expected.into() };
        self.mistakes.push(mistake);
    }

    pub fn warn(&mut self, key: &ConfigKey, text: impl Into<String>) {
        self.warnings.push(Warning { origin: self.origin(key), text: text.into() });
    }

    /// The value, trimmed. The default if no source gives one.
    pub fn text(&self, key: &'static ConfigKey) -> String {
        self.asked.borrow_mut().insert(key.name);
        let given = self.values.get(key.name).and_then(|value| value.text.as_deref());
        given.unwrap_or(key.default).trim().to_owned()
    }

    /// Like [`ConfigReader::text`], but `None` if it is empty.
    pub fn text_if_any(&self, key: &'static ConfigKey) -> Option<String> {
        Some(self.text(key)).filter(|text| !text.is_empty())
    }

    pub fn list(&self, key: &'static ConfigKey) -> Vec<String> {
        parse_list(&self.text(key))
    }

    pub fn switch(&mut self, key: &'static ConfigKey) -> bool {
        self.parse(key, parse_switch).unwrap_or_default()
    }

    pub fn ratio(&mut self, key: &'static ConfigKey) -> f64 {
        self.parse(key, parse_ratio).unwrap_or(1.0)
    }

    pub fn duration(&mut self, key: &'static ConfigKey) -> Duration {
        self.parse(key, |text| key.parse_duration(text)).unwrap_or_default()
    }

    pub fn cron(&mut self, key: &'static ConfigKey) -> Option<Cron> {
        self.parse(key, Cron::parse)
    }

    /// A whole number. The type must hold the range of the key.
    pub fn integer<T: TryFrom<u64> + Default>(&mut self, key: &'static ConfigKey) -> T {
        let (min, max) = match key.kind {
            ValueKind::Integer(min, max) => (min, max),
            _ => (0, u64::MAX),
        };
        let number = self.parse(key, |text| parse_integer(text, min, max)).unwrap_or_default();
        T::try_from(number).unwrap_or_else(|_| {
            self.refuse(key, "the number is too large for this machine; write a smaller one");
            T::default()
        })
    }

    /// One of the words of the key, as the table writes it.
    pub fn choice(&mut self, key: &'static ConfigKey) -> &'static str {
        let words = match key.kind {
            ValueKind::Choice(words) => words,
            _ => &[],
        };
        let find = |text: &str| {
            let found = words.iter().find(|word| word.eq_ignore_ascii_case(text)).copied();
            found.ok_or_else(|| format!("write one of {}", words.join(", ")))
        };
        self.parse(key, find).unwrap_or_default()
    }

    pub fn map(&mut self, key: &'static ConfigKey) -> BTreeMap<String, String> {
        self.asked.borrow_mut().insert(key.name);
        let entries = self.maps.get(key.name).into_iter().flatten();
        entries.map(|(name, value)| (name.clone(), value.text.clone().unwrap_or_default())).collect()
    }

    /// Parses the value. A wrong one is a mistake, and the default takes its place, so that the other keys are read too. `None` only
    /// beside a mistake: a test checks that all defaults can be parsed.
    fn parse<T>(&mut self, key: &'static ConfigKey, parse: impl Fn(&str) -> Result<T, String>) -> Option<T> {
        let text = self.text(key);
        match parse(&text) {
            Ok(value) => Some(value),
            Err(expected) => {
                if key.lenient && is_of_kind(key.kind, &text) {
                    let text =
                        format!("{} = {text:?}: {expected}; the default {} is used", key.name, key.default);
                    self.warn(key, text);
                } else {
                    self.refuse(key, expected);
                }
                parse(key.default).ok()
            }
        }
    }

    /// Every key that is read, with its effective value.
    pub fn effective(&self) -> Vec<Effective> {
        let mut all = Vec::new();
        for key in keys::all().filter(|key| key.is_read()) {
            if key.kind == ValueKind::Map {
                for (name, value) in self.maps.get(key.name).into_iter().flatten() {
                    all.push(Effective {
                        key: format!("{}.{name}", key.name),
                        value: shown(value.text.as_deref().unwrap_or_default()),
                        derived: None,
                        origin: value.origin.clone(),
                    });
                }
                continue;
            }
            let text = self.text(key);
            let (value, derived) = match key.derived {
                Some(derived) if text.is_empty() => {
                    (self.settled.get(key.name).cloned().unwrap_or_default(), Some(derived))
                }
                _ => (key.masked(&text), None),
            };
            all.push(Effective { key: key.name.to_owned(), value, derived, origin: self.origin(key) });
        }
        all
    }

    /// The keys that no section has asked for.
    #[cfg(test)]
    pub fn not_asked(&self) -> Vec<&'static str> {
        let asked = self.asked.borrow();
        keys::all()
            .filter(|key| key.is_read())
            .map(|key| key.name)
            .filter(|name| !asked.contains(name))
            .collect()
    }

    pub fn finish(mut self) -> (Vec<Mistake>, Vec<Warning>) {
        // A key that two sections ask for is parsed twice. Report its mistake once.
        let mut unique: Vec<Mistake> = Vec::new();
        for mistake in self.mistakes.drain(..) {
            if !unique.contains(&mistake) {
                unique.push(mistake);
            }
        }
        (unique, self.warnings)
    }
}

/// Whether a text is a value of this kind, perhaps outside the range.
fn is_of_kind(kind: ValueKind, text: &str) -> bool {
    match kind {
        ValueKind::Integer(..) => text.parse::<i128>().is_ok(),
        ValueKind::Duration(..) => parse_duration(text.trim_start_matches('-')).is_ok(),
        _ => false,
    }
}
