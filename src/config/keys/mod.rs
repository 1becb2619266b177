//! The table of keys. The reader, `check-config`, `conf/app.conf` and `docs/configuration.md` all use it.
//!
//! [`table`] holds the keys that this server reads. [`foreign`] holds keys that only the reference reads: they are not reported as
//! unknown, and a warning or a mistake names them only if it would matter that they are ignored.

pub(crate) mod foreign;
pub(crate) mod table;

use std::borrow::Cow;
use std::time::Duration;

use super::cron::Cron;
use super::value::{parse_duration, parse_integer, parse_list, parse_ratio, parse_switch};

/// A key: its names, its type and its effect.
#[derive(Debug)]
pub(crate) struct ConfigKey {
    /// The dotted name: `server.host`.
    pub name: &'static str,
    /// The name in `app.conf`, if it is not the dotted name in lower snake case.
    pub old: Option<&'static str>,
    /// The variable of the environment, if it is not the dotted name in SCREAMING_SNAKE.
    pub env: Option<&'static str>,
    pub kind: ValueKind,
    /// Used if no source sets the key. Empty if there is none, or if it is derived (then [`ConfigKey::derived`] says from what).
    pub default: &'static str,
    /// What takes the place of an empty default.
    pub derived: Option<&'static str>,
    /// The values in the `app.yaml` that the reference ships, several if its releases differ. Empty if the key is not there.
    pub shipped: &'static [&'static str],
    pub standing: KeyStanding,
    /// Whether the default replaces a value outside the range, with a warning. The reference does so silently.
    pub lenient: bool,
    /// What the key does, and the reason for the default.
    pub effect: &'static str,
}

/// The types of values.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum ValueKind {
    /// Any text, trimmed.
    Text,
    /// A text that no output shows.
    Secret,
    /// One of these words, in any case.
    Choice(&'static [&'static str]),
    Switch,
    /// A whole number in a range.
    Integer(u64, u64),
    /// A duration in a range of milliseconds.
    Duration(u64, u64),
    /// A number above 0 and at most 1.
    Ratio,
    /// Texts between commas.
    List,
    /// A five-field cron expression.
    Cron,
    /// One level of pairs below the key.
    Map,
}

/// Whether this server reads a key, and what happens to a value of a key that it does not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KeyStanding {
    /// Read, as in the reference.
    Read,
    /// Read. The reference has no such key.
    Ours,
    /// Not read. No message, because nothing depends on it.
    Silent,
    /// Not read. A warning if the value is neither the default nor the shipped value.
    Without(&'static str),
    /// Not read, and dangerous to ignore. A mistake if the value is neither the default nor the shipped value.
    Refused(&'static str),
}

/// Shown in place of a secret.
const MASK: &str = "******";

/// A URL, or a list of URLs, without `user:password@`. Messages show values, and a password must not get into a log, even if
/// somebody wrote it in the wrong place.
fn without_login(value: &str) -> Cow<'_, str> {
    let Some((before, host)) = value.rsplit_once('@') else { return Cow::Borrowed(value) };
    let (scheme, login) = match before.find("://") {
        Some(at) => before.split_at(at + "://".len()),
        None => ("", before),
    };
    if login.contains(':') { Cow::Owned(format!("{scheme}{MASK}@{host}")) } else { Cow::Borrowed(value) }
}

impl ConfigKey {
    pub const fn new(
        name: &'static str,
        kind: ValueKind,
        default: &'static str,
        effect: &'static str,
    ) -> Self {
        Self {
            name,
            old: None,
            env: None,
            kind,
            default,
            derived: None,
            shipped: &[],
            standing: KeyStanding::Read,
            lenient: false,
            effect,
        }
    }

    pub const fn old(mut self, name: &'static str) -> Self {
        self.old = Some(name);
        self
    }

    pub const fn env(mut self, name: &'static str) -> Self {
        self.env = Some(name);
        self
    }

    pub const fn shipped(mut self, values: &'static [&'static str]) -> Self {
        self.shipped = values;
        self
    }

    pub const fn derived(mut self, from: &'static str) -> Self {
        self.derived = Some(from);
        self
    }

    pub const fn standing(mut self, standing: KeyStanding) -> Self {
        self.standing = standing;
        self
    }

    pub const fn lenient(mut self) -> Self {
        self.lenient = true;
        self
    }

    /// The name in `app.conf`: `httpaddr`, or the dotted name in lower snake case (`metrics_interval`).
    pub fn old_name(&self) -> String {
        self.old.map_or_else(|| snake(self.name), str::to_owned)
    }

    /// The name in the environment: `INSTANCE_TTL`, or the dotted name in SCREAMING_SNAKE (`SERVER_HOST`).
    pub fn env_name(&self) -> String {
        self.env.map_or_else(|| snake(self.name).to_ascii_uppercase(), str::to_owned)
    }

    /// The dotted name with an underscore for each dot. The reference reads it from the environment, too (`gov_kie_endpoint`).
    pub fn dotted_env_name(&self) -> String {
        self.name.replace('.', "_")
    }

    pub fn is_read(&self) -> bool {
        matches!(self.standing, KeyStanding::Read | KeyStanding::Ours)
    }

    /// The value as messages may show it.
    pub fn masked(&self, value: &str) -> String {
        if self.kind == ValueKind::Secret && !value.is_empty() {
            MASK.to_owned()
        } else {
            super::origin::shown(&without_login(value))
        }
    }

    /// Whether two texts mean the same value.
    pub fn same(&self, a: &str, b: &str) -> bool {
        fn equal<T: PartialEq>(a: Result<T, String>, b: Result<T, String>) -> bool {
            matches!((a, b), (Ok(a), Ok(b)) if a == b)
        }
        let (a, b) = (a.trim(), b.trim());
        a == b
            || match self.kind {
                ValueKind::Text | ValueKind::Secret | ValueKind::Map => false,
                ValueKind::Choice(_) => a.eq_ignore_ascii_case(b),
                ValueKind::Switch => equal(parse_switch(a), parse_switch(b)),
                ValueKind::Integer(..) => equal(parse_integer(a, 0, u64::MAX), parse_integer(b, 0, u64::MAX)),
                ValueKind::Duration(..) => equal(parse_duration(a), parse_duration(b)),
                ValueKind::Ratio => equal(parse_ratio(a), parse_ratio(b)),
                ValueKind::List => parse_list(a) == parse_list(b),
                ValueKind::Cron => equal(Cron::parse(a), Cron::parse(b)),
            }
    }

    /// Whether a value is the default or the reference's shipped value.
    pub fn is_untouched(&self, value: &str) -> bool {
        self.same(value, self.default) || self.is_shipped(value)
    }

    /// Whether a value is the reference's shipped value.
    pub fn is_shipped(&self, value: &str) -> bool {
        self.shipped.iter().any(|shipped| self.same(value, shipped))
    }

    /// Parses a duration in the range of the key.
    pub fn parse_duration(&self, text: &str) -> Result<Duration, String> {
        let value = parse_duration(text)?;
        match self.kind {
            ValueKind::Duration(min, max) => {
                let (min, max) = (Duration::from_millis(min), Duration::from_millis(max));
                let inside = (min..=max).contains(&value);
                inside.then_some(value).ok_or_else(|| format!("out of range: write {min:?} to {max:?}"))
            }
            _ => Ok(value),
        }
    }
}

/// `server.request.maxBodyBytes` to `server_request_max_body_bytes`, `listenURL` to `listen_url`.
fn snake(name: &str) -> String {
    let mut out = String::with_capacity(name.len() + 8);
    let mut before = '.';
    for c in name.chars() {
        if c.is_ascii_uppercase() && (before.is_ascii_lowercase() || before.is_ascii_digit()) {
            out.push('_');
        }
        out.push(if c == '.' { '_' } else { c.to_ascii_lowercase() });
        before = c;
    }
    out
}

/// Every key. The keys that are read come first.
pub(crate) fn all() -> impl Iterator<Item = &'static ConfigKey> {
    table::GROUPS.iter().flat_map(|group| group.keys.iter().copied()).chain(foreign::KEYS.iter())
}

/// The meaning of a name in a source.
#[derive(Clone, Debug)]
pub(crate) enum NamedKey {
    Key(&'static ConfigKey),
    /// An entry of a [`ValueKind::Map`] key, with the name of the entry.
    Entry(&'static ConfigKey, String),
    /// A name that the reference reads and that has no meaning here.
    Ignored,
    Unknown,
}

/// Which names of a key a source may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Spelling {
    /// Dotted names, in their exact case (`app.yaml`).
    Dotted,
    /// Dotted names and old names, in any case (`app.conf`, flags).
    Either,
}

pub(crate) fn find(name: &str, spelling: Spelling) -> NamedKey {
    let dotted = |key: &ConfigKey| match spelling {
        Spelling::Dotted => key.name == name,
        Spelling::Either => key.name.eq_ignore_ascii_case(name),
    };
    let old = |key: &ConfigKey| spelling == Spelling::Either && key.old_name().eq_ignore_ascii_case(name);
    if let Some(key) = all().find(|key| dotted(key)).or_else(|| all().find(|key| old(key))) {
        return NamedKey::Key(key);
    }
    let entry = all().filter(|key| key.kind == ValueKind::Map).find_map(|key| {
        let (prefix, rest) = name.split_at_checked(key.name.len())?;
        let entry = rest.strip_prefix('.').filter(|entry| !entry.is_empty() && !entry.contains('.'))?;
        prefix.eq_ignore_ascii_case(key.name).then(|| NamedKey::Entry(key, entry.to_owned()))
    });
    if let Some(entry) = entry {
        return entry;
    }
    let lower = name.to_ascii_lowercase();
    if foreign::PREFIXES.iter().any(|prefix| lower.starts_with(prefix))
        || foreign::OLD_NAMES.contains(&lower.as_str())
    {
        return NamedKey::Ignored;
    }
    NamedKey::Unknown
}

/// The known name that an unknown name was probably meant to be.
pub(crate) fn nearest_key(name: &str, spelling: Spelling) -> Option<&'static str> {
    super::nearest::nearest(name, names(spelling))
}

/// Whether there are keys below this name.
pub(crate) fn is_parent(name: &str) -> bool {
    let below = |other: &str| other.strip_prefix(name).is_some_and(|rest| rest.starts_with('.'));
    all().any(|key| below(key.name)) || foreign::PREFIXES.iter().any(|prefix| below(prefix))
}

/// The names of the keys that are read, as a source may write them.
fn names(spelling: Spelling) -> impl Iterator<Item = &'static str> {
    let old = move |key: &'static ConfigKey| key.old.filter(|_| spelling == Spelling::Either);
    all().filter(|key| key.is_read()).flat_map(move |key| [Some(key.name), old(key)].into_iter().flatten())
}

/// Whether `--name=value` sets something.
pub(crate) fn is_known_flag(name: &str) -> bool {
    !matches!(find(name, Spelling::Either), NamedKey::Unknown)
}

/// The flag that an unknown flag was probably meant to be: a key, or one of `others`.
pub(crate) fn nearest_flag(name: &str, others: &[&'static str]) -> Option<&'static str> {
    super::nearest::nearest(name, names(Spelling::Either).chain(others.iter().copied()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hides_logins() {
        for (value, shown) in [
            ("http://bob:p@ss@10.0.0.1:2379", "http://******@10.0.0.1:2379"),
            ("bob:pass@10.0.0.1:2379", "******@10.0.0.1:2379"),
            ("a=http://b:p@h1:1,http://b:p@h2:2", "a=http://******@h2:2"),
            ("http://10.0.0.1:2379", "http://10.0.0.1:2379"),
            ("logs/me@host.log", "logs/me@host.log"),
        ] {
            assert_eq!(without_login(value), shown);
        }
    }

    #[test]
    fn spells_names() {
        for (name, old, env) in [
            ("server.host", "httpaddr", "SERVER_HOST"),
            ("server.request.maxBodyBytes", "max_body_bytes", "SERVER_REQUEST_MAX_BODY_BYTES"),
            ("registry.etcd.cluster.endpoints", "manager_cluster", "REGISTRY_ETCD_CLUSTER_ENDPOINTS"),
            (
                "metrics.prometheus.listenURL",
                "metrics_prometheus_listen_url",
                "METRICS_PROMETHEUS_LISTEN_URL",
            ),
            ("registry.instance.ttl", "registry_instance_ttl", "INSTANCE_TTL"),
            ("quota.cap.service.limit", "quota_cap_service_limit", "QUOTA_SERVICE"),
            ("registry.service.globalVisible", "registry_service_global_visible", "CSE_SHARED_SERVICES"),
            ("ssl.dir", "ssl_dir", "SSL_ROOT"),
            ("registry.cache.ttl", "cache_ttl", "CACHE_TTL"),
            ("registry.schema.disable", "registry_schema_disable", "SCHEMA_DISABLE"),
            ("registry.embedded.dir", "registry_embedded_dir", "REGISTRY_EMBEDDED_DIR"),
        ] {
            let key = all().find(|key| key.name == name);
            assert_eq!(
                key.map(|k| (k.old_name(), k.env_name())),
                Some((old.to_owned(), env.to_owned())),
                "{name}"
            );
        }
    }

    #[test]
    fn no_name_means_two_keys() {
        for (at, key) in all().enumerate() {
            for other in all().skip(at + 1) {
                assert_ne!(key.name, other.name);
                assert_ne!(key.env_name(), other.env_name(), "{} {}", key.name, other.name);
                // The reference also uses manager_cluster for MongoDB, which this server does not support.
                assert_ne!(key.old_name(), other.old_name(), "{} {}", key.name, other.name);
            }
        }
    }

    #[test]
    fn every_default_and_shipped_value_is_valid() {
        for key in all().filter(|key| key.is_read()) {
            for value in key.shipped.iter().chain([&key.default]).filter(|value| !value.is_empty()) {
                let valid = match key.kind {
                    ValueKind::Text | ValueKind::Secret | ValueKind::List | ValueKind::Map => Ok(()),
                    ValueKind::Choice(words) => words.contains(value).then_some(()).ok_or_else(String::new),
                    ValueKind::Switch => parse_switch(value).map(drop),
                    ValueKind::Integer(min, max) => parse_integer(value, min, max).map(drop),
                    ValueKind::Duration(..) => key.parse_duration(value).map(drop),
                    ValueKind::Ratio => parse_ratio(value).map(drop),
                    ValueKind::Cron => Cron::parse(value).map(drop),
                };
                assert_eq!(valid, Ok(()), "{} = {value}", key.name);
            }
        }
    }

    fn meaning(name: &str, spelling: Spelling) -> String {
        match find(name, spelling) {
            NamedKey::Key(key) => key.name.to_owned(),
            NamedKey::Entry(key, entry) => format!("{} of {}", entry, key.name),
            NamedKey::Ignored => "ignored".to_owned(),
            NamedKey::Unknown => format!("unknown, near {:?}", nearest_key(name, spelling)),
        }
    }

    #[test]
    fn finds_names() {
        use Spelling::{Dotted, Either};
        for (name, spelling, expected) in [
            ("server.host", Dotted, "server.host"),
            ("httpaddr", Dotted, "unknown, near None"),
            ("httpaddr", Either, "server.host"),
            ("HTTPAddr", Either, "server.host"),
            ("SERVER.HOST", Either, "server.host"),
            ("Server.host", Dotted, "unknown, near Some(\"server.host\")"),
            ("metrics_interval", Either, "metrics.interval"),
            ("registry.instance.properties.engineID", Dotted, "engineID of registry.instance.properties"),
            (
                "registry.instance.properties.a.b",
                Dotted,
                "unknown, near Some(\"registry.instance.properties\")",
            ),
            ("frontend_host_ip", Either, "ignored"),
            ("gov.kie.endpoint", Dotted, "ignored"),
            ("registry.mongo.cluster.uri", Dotted, "ignored"),
            ("rbac.enable", Dotted, "rbac.enable"),
            ("manager_clster", Either, "unknown, near Some(\"manager_cluster\")"),
        ] {
            assert_eq!(meaning(name, spelling), expected, "{name}");
        }
    }
}
