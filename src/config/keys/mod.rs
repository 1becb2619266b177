//! The one table of keys. The reader, `check-config`, `conf/app.conf` and `docs/configuration.md` are all made from it.
//!
//! [`table`] holds what this server reads, [`foreign`] what the reference knows and this server does not read: those get no
//! "unknown key" warning, and say something only where ignoring them would matter.

pub(crate) mod foreign;
pub(crate) mod table;

use std::borrow::Cow;
use std::time::Duration;

use super::cron::Cron;
use super::value::{parse_duration, parse_integer, parse_list, parse_ratio, parse_switch};

/// A key: its names, its type and what it does.
#[derive(Debug)]
pub(crate) struct Key {
    /// The dotted name: `server.host`.
    pub name: &'static str,
    /// The name in `app.conf`, where it is not the dotted one in lower snake case.
    pub old: Option<&'static str>,
    /// The environment's name, where it is not the dotted one in SCREAMING_SNAKE.
    pub env: Option<&'static str>,
    /// What a value looks like.
    pub kind: Kind,
    /// Used when nothing sets the key. Empty: none, or derived (then [`Key::derived`] says from what).
    pub default: &'static str,
    /// What an empty default comes to.
    pub derived: Option<&'static str>,
    /// What the reference's shipped `app.yaml` files say (of several releases, where they differ). Empty: it is not there.
    pub shipped: &'static [&'static str],
    /// What is done with a value.
    pub standing: Standing,
    /// Whether a value outside the range is replaced by the default, with a warning, as the reference does silently.
    pub lenient: bool,
    /// One line: what it does, and why the default is what it is.
    pub effect: &'static str,
}

/// The types of values.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Kind {
    /// Any text, trimmed.
    Text,
    /// A text that is never shown.
    Secret,
    /// One of these words, in any case.
    Choice(&'static [&'static str]),
    /// true or false.
    Switch,
    /// A whole number in a range.
    Integer(u64, u64),
    /// A duration in a range of milliseconds.
    Duration(u64, u64),
    /// A number above 0, at most 1.
    Ratio,
    /// Texts between commas.
    List,
    /// A five-field cron expression.
    Cron,
    /// One level of pairs below the key.
    Map,
}

/// What is done with a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Read, as in the reference.
    Read,
    /// Read; the reference does not know it.
    Ours,
    /// Known and not needed; nothing is said.
    Silent,
    /// Known and without effect: a warning if it is set to something else than the default or the shipped value.
    Without(&'static str),
    /// Known, and too dangerous to ignore: a mistake if it is set to something else than the default or the shipped value.
    Refused(&'static str),
}

/// Stands for what is never shown.
const MASK: &str = "******";

/// A URL, or a list of them, without `user:password@`: nobody should write one there, and whoever did should not find it
/// in a log.
fn without_login(value: &str) -> Cow<'_, str> {
    let Some((before, host)) = value.rsplit_once('@') else { return Cow::Borrowed(value) };
    let (scheme, login) = match before.find("://") {
        Some(at) => before.split_at(at + "://".len()),
        None => ("", before),
    };
    if login.contains(':') { Cow::Owned(format!("{scheme}{MASK}@{host}")) } else { Cow::Borrowed(value) }
}

impl Key {
    /// A key with the given name, type, default and one-line effect.
    pub const fn new(name: &'static str, kind: Kind, default: &'static str, effect: &'static str) -> Self {
        Self {
            name,
            old: None,
            env: None,
            kind,
            default,
            derived: None,
            shipped: &[],
            standing: Standing::Read,
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

    pub const fn standing(mut self, standing: Standing) -> Self {
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

    /// The name whose underscores stand for dots, as the reference reads it from the environment too (`gov_kie_endpoint`).
    pub fn dotted_env_name(&self) -> String {
        self.name.replace('.', "_")
    }

    /// Whether this server reads it.
    pub fn is_read(&self) -> bool {
        matches!(self.standing, Standing::Read | Standing::Ours)
    }

    /// The value as an operator may see it.
    pub fn masked(&self, value: &str) -> String {
        if self.kind == Kind::Secret && !value.is_empty() {
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
                Kind::Text | Kind::Secret | Kind::Map => false,
                Kind::Choice(_) => a.eq_ignore_ascii_case(b),
                Kind::Switch => equal(parse_switch(a), parse_switch(b)),
                Kind::Integer(..) => equal(parse_integer(a, 0, u64::MAX), parse_integer(b, 0, u64::MAX)),
                Kind::Duration(..) => equal(parse_duration(a), parse_duration(b)),
                Kind::Ratio => equal(parse_ratio(a), parse_ratio(b)),
                Kind::List => parse_list(a) == parse_list(b),
                Kind::Cron => equal(Cron::parse(a), Cron::parse(b)),
            }
    }

    /// Whether a value is what an untouched file or no file says.
    pub fn is_untouched(&self, value: &str) -> bool {
        self.same(value, self.default) || self.is_shipped(value)
    }

    /// Whether a value is the reference's shipped one.
    pub fn is_shipped(&self, value: &str) -> bool {
        self.shipped.iter().any(|shipped| self.same(value, shipped))
    }

    /// A duration in the key's range.
    pub fn parse_duration(&self, text: &str) -> Result<Duration, String> {
        let value = parse_duration(text)?;
        match self.kind {
            Kind::Duration(min, max) => {
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

/// Every key, those read first.
pub(crate) fn all() -> impl Iterator<Item = &'static Key> {
    table::GROUPS.iter().flat_map(|group| group.keys.iter().copied()).chain(foreign::KEYS.iter())
}

/// What a name found in a source means.
#[derive(Clone, Debug)]
pub(crate) enum Named {
    /// A key.
    Key(&'static Key),
    /// An entry of a [`Kind::Map`] key.
    Entry(&'static Key, String),
    /// The reference's, of no interest here.
    Ignored,
    /// Nobody's.
    Unknown,
}

/// Which of the two kinds of names a source uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Spelling {
    /// Dotted names only, in their exact case (`app.yaml`).
    Dotted,
    /// Dotted names and old names, in any case (`app.conf`, flags).
    Either,
}

/// Finds what a name means.
pub(crate) fn find(name: &str, spelling: Spelling) -> Named {
    let dotted = |key: &Key| match spelling {
        Spelling::Dotted => key.name == name,
        Spelling::Either => key.name.eq_ignore_ascii_case(name),
    };
    let old = |key: &Key| spelling == Spelling::Either && key.old_name().eq_ignore_ascii_case(name);
    if let Some(key) = all().find(|key| dotted(key)).or_else(|| all().find(|key| old(key))) {
        return Named::Key(key);
    }
    let entry = all().filter(|key| key.kind == Kind::Map).find_map(|key| {
        let (prefix, rest) = name.split_at_checked(key.name.len())?;
        let entry = rest.strip_prefix('.').filter(|entry| !entry.is_empty() && !entry.contains('.'))?;
        prefix.eq_ignore_ascii_case(key.name).then(|| Named::Entry(key, entry.to_owned()))
    });
    if let Some(entry) = entry {
        return entry;
    }
    let lower = name.to_ascii_lowercase();
    if foreign::PREFIXES.iter().any(|prefix| lower.starts_with(prefix))
        || foreign::OLD_NAMES.contains(&lower.as_str())
    {
        return Named::Ignored;
    }
    Named::Unknown
}

/// The key that was meant by an unknown name.
pub(crate) fn nearest_key(name: &str, spelling: Spelling) -> Option<&'static str> {
    super::nearest::nearest(name, names(spelling))
}

/// Whether keys stand below this one.
pub(crate) fn is_parent(name: &str) -> bool {
    let below = |other: &str| other.strip_prefix(name).is_some_and(|rest| rest.starts_with('.'));
    all().any(|key| below(key.name)) || foreign::PREFIXES.iter().any(|prefix| below(prefix))
}

/// The names of the keys that are read, as a source spells them.
fn names(spelling: Spelling) -> impl Iterator<Item = &'static str> {
    let old = move |key: &'static Key| key.old.filter(|_| spelling == Spelling::Either);
    all().filter(|key| key.is_read()).flat_map(move |key| [Some(key.name), old(key)].into_iter().flatten())
}

/// Whether `--name=value` sets something.
pub(crate) fn is_known_flag(name: &str) -> bool {
    !matches!(find(name, Spelling::Either), Named::Unknown)
}

/// The flag that was meant: a key, or one of these others.
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
                // The reference reads manager_cluster for mongo too, which is not offered here.
                assert_ne!(key.old_name(), other.old_name(), "{} {}", key.name, other.name);
            }
        }
    }

    #[test]
    fn every_default_and_shipped_value_is_valid() {
        for key in all().filter(|key| key.is_read()) {
            for value in key.shipped.iter().chain([&key.default]).filter(|value| !value.is_empty()) {
                let valid = match key.kind {
                    Kind::Text | Kind::Secret | Kind::List | Kind::Map => Ok(()),
                    Kind::Choice(words) => words.contains(value).then_some(()).ok_or_else(String::new),
                    Kind::Switch => parse_switch(value).map(drop),
                    Kind::Integer(min, max) => parse_integer(value, min, max).map(drop),
                    Kind::Duration(..) => key.parse_duration(value).map(drop),
                    Kind::Ratio => parse_ratio(value).map(drop),
                    Kind::Cron => Cron::parse(value).map(drop),
                };
                assert_eq!(valid, Ok(()), "{} = {value}", key.name);
            }
        }
    }

    fn meaning(name: &str, spelling: Spelling) -> String {
        match find(name, spelling) {
            Named::Key(key) => key.name.to_owned(),
            Named::Entry(key, entry) => format!("{} of {}", entry, key.name),
            Named::Ignored => "ignored".to_owned(),
            Named::Unknown => format!("unknown, near {:?}", nearest_key(name, spelling)),
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
