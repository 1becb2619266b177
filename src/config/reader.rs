//! Reads the typed values of keys, and collects all that is wrong on the way: the first mistake does not hide the others.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use super::cron::Cron;
use super::keys::{self, Key, Kind, Standing};
use super::origin::{Mistake, Origin, Warning, shown};
use super::precedence::choose;
use super::sources::{Sources, Variables};
use super::value::{parse_duration, parse_integer, parse_list, parse_ratio, parse_switch};

/// The winning value of a key.
#[derive(Clone, Debug)]
struct Value {
    text: Option<String>,
    origin: Origin,
}

/// The winning values, and what is wrong with them.
pub(super) struct Reader {
    values: HashMap<&'static str, Value>,
    maps: HashMap<&'static str, BTreeMap<String, Value>>,
    pub variables: Variables,
    pub cores: usize,
    mistakes: Vec<Mistake>,
    warnings: Vec<Warning>,
    /// What empty values came to, in the sections' judgement.
    settled: HashMap<&'static str, String>,
    /// The keys asked for, so that a test finds one that nobody reads.
    asked: RefCell<BTreeSet<&'static str>>,
}

/// A key's value as `check-config` shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Effective {
    /// The dotted key, of a map with its entry.
    pub key: String,
    /// The value; masked if it is secret.
    pub value: String,
    /// What the value was derived from, where no source gives one.
    pub derived: Option<&'static str>,
    /// Where it stands.
    pub origin: Origin,
}

impl Reader {
    /// Chooses a winner for every key.
    pub fn new(sources: Sources) -> Self {
        let Sources { found, variables, cores, mistakes, mut warnings } = sources;
        let (mut values, mut maps) = (HashMap::new(), HashMap::<_, BTreeMap<_, _>>::new());
        for key in keys::all() {
            for (entry, found) in found.get(key.name).into_iter().flatten() {
                let (text, origin) = choose(key, found, &mut warnings);
                let value = Value { text, origin };
                if key.kind == Kind::Map {
                    maps.entry(key.name).or_default().insert(entry.clone(), value);
                } else {
                    values.insert(key.name, value);
                }
            }
        }
        let asked = RefCell::default();
        let settled = HashMap::new();
        let mut reader = Self { values, maps, variables, cores, mistakes, warnings, settled, asked };
        reader.judge_foreign();
        reader
    }

    /// The reference's keys that are not read: some deserve a word, some end the start.
    fn judge_foreign(&mut self) {
        for key in keys::foreign::KEYS {
            let value = self.text(key);
            if value.is_empty() || key.is_untouched(&value) {
                continue;
            }
            match key.standing {
                Standing::Refused(why) => self.refuse(key, why),
                Standing::Without(why) => {
                    let text = format!("{} = {:?} has no effect: {why}", key.name, key.masked(&value));
                    self.warn(key, text);
                }
                Standing::Read | Standing::Ours | Standing::Silent => {}
            }
        }
    }

    /// Notes what an empty value of a key comes to, for [`Reader::effective`].
    pub fn settle(&mut self, key: &'static Key, value: impl ToString) {
        self.settled.insert(key.name, value.to_string());
    }

    /// Whether some source gives the key a value that is not empty.
    pub fn is_given(&self, key: &'static Key) -> bool {
        self.values.get(key.name).and_then(|value| value.text.as_ref()).is_some_and(|text| !text.is_empty())
    }

    pub fn origin(&self, key: &Key) -> Origin {
        self.values.get(key.name).map_or(Origin::Default, |value| value.origin.clone())
    }

    /// Says that a key's value is wrong, and what would be right.
    pub fn refuse(&mut self, key: &'static Key, expected: impl Into<String>) {
        let value = key.masked(&self.text(key));
        let mistake =
            Mistake { origin: self.origin(key), key: key.name.to_owned(), value, expected: expected.into() };
        self.mistakes.push(mistake);
    }

    pub fn warn(&mut self, key: &Key, text: impl Into<String>) {
        self.warnings.push(Warning { origin: self.origin(key), text: text.into() });
    }

    /// The value, trimmed; the default if no source gives one.
    pub fn text(&self, key: &'static Key) -> String {
        self.asked.borrow_mut().insert(key.name);
        let given = self.values.get(key.name).and_then(|value| value.text.as_deref());
        given.unwrap_or(key.default).trim().to_owned()
    }

    /// Like [`Reader::text`]; `None` if it is empty.
    pub fn text_if_any(&self, key: &'static Key) -> Option<String> {
        Some(self.text(key)).filter(|text| !text.is_empty())
    }

    pub fn list(&self, key: &'static Key) -> Vec<String> {
        parse_list(&self.text(key))
    }

    pub fn switch(&mut self, key: &'static Key) -> bool {
        self.parse(key, parse_switch).unwrap_or_default()
    }

    pub fn ratio(&mut self, key: &'static Key) -> f64 {
        self.parse(key, parse_ratio).unwrap_or(1.0)
    }

    pub fn duration(&mut self, key: &'static Key) -> Duration {
        self.parse(key, |text| key.parse_duration(text)).unwrap_or_default()
    }

    pub fn cron(&mut self, key: &'static Key) -> Option<Cron> {
        self.parse(key, Cron::parse)
    }

    /// A whole number of whatever type holds the key's range.
    pub fn integer<T: TryFrom<u64> + Default>(&mut self, key: &'static Key) -> T {
        let (min, max) = match key.kind {
            Kind::Integer(min, max) => (min, max),
            _ => (0, u64::MAX),
        };
        let number = self.parse(key, |text| parse_integer(text, min, max)).unwrap_or_default();
        T::try_from(number).unwrap_or_default()
    }

    /// One of the key's words, as the table spells it.
    pub fn choice(&mut self, key: &'static Key) -> &'static str {
        let words = match key.kind {
            Kind::Choice(words) => words,
            _ => &[],
        };
        let find = |text: &str| {
            let found = words.iter().find(|word| word.eq_ignore_ascii_case(text)).copied();
            found.ok_or_else(|| format!("write one of {}", words.join(", ")))
        };
        self.parse(key, find).unwrap_or_default()
    }

    pub fn map(&mut self, key: &'static Key) -> BTreeMap<String, String> {
        self.asked.borrow_mut().insert(key.name);
        let entries = self.maps.get(key.name).into_iter().flatten();
        entries.map(|(name, value)| (name.clone(), value.text.clone().unwrap_or_default())).collect()
    }

    /// Parses the value; a wrong one is a mistake and gives the default, so that reading goes on.
    fn parse<T>(&mut self, key: &'static Key, parse: impl Fn(&str) -> Result<T, String>) -> Option<T> {
        let text = self.text(key);
        match parse(&text) {
            Ok(value) => Some(value),
            Err(expected) => {
                if key.lenient && is_of_kind(key.kind, &text) {
                    let text = format!("{} = {text:?} is {expected}; {} is used", key.name, key.default);
                    self.warn(key, text);
                } else {
                    self.refuse(key, expected);
                }
                parse(key.default).ok()
            }
        }
    }

    /// Every key that is read, with the value that counts.
    pub fn effective(&self) -> Vec<Effective> {
        let mut all = Vec::new();
        for key in keys::all().filter(|key| key.is_read()) {
            if key.kind == Kind::Map {
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

    /// The keys that nothing has asked for.
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
        // Each once: a key that two rules ask for is parsed twice.
        let mut unique: Vec<Mistake> = Vec::new();
        for mistake in self.mistakes.drain(..) {
            if !unique.contains(&mistake) {
                unique.push(mistake);
            }
        }
        (unique, self.warnings)
    }
}

/// Whether a text is a value of that kind at all, though perhaps outside the range.
fn is_of_kind(kind: Kind, text: &str) -> bool {
    match kind {
        Kind::Integer(..) => text.parse::<i128>().is_ok(),
        Kind::Duration(..) => parse_duration(text.trim_start_matches('-')).is_ok(),
        _ => false,
    }
}
