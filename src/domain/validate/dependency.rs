//! Validates dependency requests: their fields, and which tenants they may name. The registry fills in missing tenants,
//! applications and versions later, and then checks that the consumer exists.

use std::fmt;

use super::demand::{Demand, Demanded};
use super::rule::{self, MemberRule, ShownCount};
use super::{member, pattern};
use crate::domain::dependency::{CrossDomain, Dependency, same_partner};
use crate::domain::{ServiceKey, Tenant};
use crate::error::Error;

/// What a dependency request does with the consumer's present providers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DependencyWrite {
    /// `POST` adds providers.
    Add,
    /// `PUT` replaces all providers.
    Replace,
}

impl fmt::Display for DependencyWrite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Add => "AddDependenciesRequest.Dependencies",
            Self::Replace => "CreateDependenciesRequest.Dependencies",
        })
    }
}

/// Who sends a dependency request, and which tenants it may name.
#[derive(Clone, Copy, Debug)]
pub struct Asker<'a> {
    /// The caller's tenant.
    pub tenant: &'a Tenant,
    /// Whether the caller may name other domains than its own.
    pub cross_domain: CrossDomain,
}

const DEPENDENCIES: MemberRule = MemberRule::between(1, 100);
const PROVIDER_VERSION: MemberRule = MemberRule::at_most(128).and_like(pattern::VERSION_RANGE);

/// What both requests demand.
const ENTRIES: &[Demand] = &[
    Demand::rule("dependencies", DEPENDENCIES),
    Demand::rule("dependencies[]", rule::REQUIRED),
    Demand::rule("dependencies[].consumer", rule::REQUIRED),
    Demand::rule("dependencies[].consumer.tenant", member::TENANT),
    Demand::rule("dependencies[].consumer.environment", member::ENVIRONMENT),
    Demand::rule("dependencies[].consumer.appId", member::APP_ID),
    Demand::rule("dependencies[].consumer.serviceName", member::SERVICE_NAME),
    Demand::rule("dependencies[].consumer.alias", member::ALIAS),
    Demand::rule("dependencies[].consumer.version", member::VERSION),
    Demand::rule("dependencies[].providers[]", rule::REQUIRED),
    Demand::rule("dependencies[].providers[].tenant", member::TENANT),
    Demand::rule("dependencies[].providers[].environment", member::ENVIRONMENT),
    Demand::rule("dependencies[].providers[].appId", member::OPTIONAL_APP_ID),
    Demand::rule("dependencies[].providers[].serviceName", member::SERVICE_NAME),
    Demand::rule("dependencies[].providers[].alias", member::ALIAS),
    Demand::rule("dependencies[].providers[].version", PROVIDER_VERSION),
];

/// The body of a request that adds providers.
pub const ADDITION: &[Demand] =
    &[Demand::new("", Demanded::Part(ENTRIES)), Demand::rule("dependencies[].providers", rule::REQUIRED)];

/// The body of a request that replaces providers.
pub const REPLACEMENT: &[Demand] =
    &[Demand::new("", Demanded::Part(ENTRIES)), Demand::new("dependencies", Demanded::Unique)];

/// Validates a dependency request of 1 to 100 entries.
///
/// To add, each entry needs a provider. To replace, an entry may have none, and then removes all providers of its consumer; but
/// each consumer may come only once, because two entries of one consumer contradict each other.
pub fn request(asker: Asker<'_>, write: DependencyWrite, dependencies: &[Dependency]) -> Result<(), Error> {
    let count = dependencies.len();
    DEPENDENCIES.check_count(write, count, ShownCount(count))?;
    for (index, dependency) in dependencies.iter().enumerate() {
        entry(asker, write, &format_args!("{write}[{index}]"), dependency)?;
        if write == DependencyWrite::Replace {
            let earlier = dependencies.iter().take(index);
            if let Some(first) = earlier.enumerate().find(|(_, other)| same_consumer(other, dependency)) {
                return Err(Error::invalid(format!(
                    "field '{write}[{index}].Consumer' names the same consumer as '{write}[{}].Consumer'",
                    first.0
                )));
            }
        }
    }
    Ok(())
}

fn same_consumer(a: &Dependency, b: &Dependency) -> bool {
    matches!((&a.consumer, &b.consumer), (Some(a), Some(b)) if same_partner(a, b))
}

fn entry(
    asker: Asker<'_>,
    write: DependencyWrite,
    place: &dyn fmt::Display,
    entry: &Dependency,
) -> Result<(), Error> {
    let consumer_place = format_args!("{place}.Consumer");
    consumer(asker, &consumer_place, rule::required(consumer_place, entry.consumer.as_ref())?)?;
    if write == DependencyWrite::Add {
        rule::REQUIRED.check_count(
            format_args!("{place}.Providers"),
            entry.providers.len(),
            ShownCount(0),
        )?;
    }
    for (index, key) in entry.providers.iter().enumerate() {
        provider(asker, &format_args!("{place}.Providers[{index}]"), key)?;
    }
    Ok(())
}

fn consumer(asker: Asker<'_>, place: &dyn fmt::Display, key: &ServiceKey) -> Result<(), Error> {
    tenant(asker, place, &key.tenant)?;
    member::ENVIRONMENT.check(format_args!("{place}.Environment"), &key.environment)?;
    member::APP_ID.check(format_args!("{place}.AppId"), &key.app_id)?;
    member::SERVICE_NAME.check(format_args!("{place}.ServiceName"), &key.service_name)?;
    member::ALIAS.check(format_args!("{place}.Alias"), &key.alias)?;
    member::VERSION.check(format_args!("{place}.Version"), &key.version)
}

fn provider(asker: Asker<'_>, place: &dyn fmt::Display, key: &ServiceKey) -> Result<(), Error> {
    tenant(asker, place, &key.tenant)?;
    member::ENVIRONMENT.check(format_args!("{place}.Environment"), &key.environment)?;
    member::OPTIONAL_APP_ID.check(format_args!("{place}.AppId"), &key.app_id)?;
    member::SERVICE_NAME.check(format_args!("{place}.ServiceName"), &key.service_name)?;
    member::ALIAS.check(format_args!("{place}.Alias"), &key.alias)?;
    PROVIDER_VERSION.check(format_args!("{place}.Version"), &key.version)
}

/// Validates a tenant. It becomes part of keys in the store, and decides whose events the consumer gets.
fn tenant(asker: Asker<'_>, place: &dyn fmt::Display, tenant: &str) -> Result<(), Error> {
    member::TENANT.check(format_args!("{place}.Tenant"), tenant)?;
    let own = asker.tenant;
    if tenant.is_empty() || asker.cross_domain.connects(own.as_str(), tenant) {
        return Ok(());
    }
    Err(Error::invalid(format!(
        "field '{place}.Tenant' invalid value '{tenant}' is in another domain than the caller's '{}': name a project of that \
         domain, or set registry.dependency.crossDomain",
        own.domain()
    )))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::sync::LazyLock;

    use super::super::rule::refused_field;
    use super::*;
    use crate::domain::json;

    const CONSUMER: &str = r#"{"appId":"default","serviceName":"c","version":"0.0.1"}"#;
    const PROVIDER: &str = r#"{"appId":"default","serviceName":"p","version":"1.0.0"}"#;
    const BOTH: [DependencyWrite; 2] = [DependencyWrite::Add, DependencyWrite::Replace];

    fn asker(cross_domain: CrossDomain) -> Asker<'static> {
        static TENANT: LazyLock<Tenant> = LazyLock::new(|| Tenant::new("d", "p"));
        Asker { tenant: &TENANT, cross_domain }
    }

    /// Validates entries given as JSON. `field` is the member that the error must name, without the request's name.
    fn check(writes: &[DependencyWrite], entries: &[String], field: Option<&str>) {
        let entries: Vec<Dependency> =
            entries.iter().map(|entry| json::decode(entry.as_bytes()).unwrap()).collect();
        for write in writes {
            let refused = refused_field(request(asker(CrossDomain::Forbidden), *write, &entries));
            let refused = refused.as_deref().map(|name| name.strip_prefix(&write.to_string()).unwrap());
            assert_eq!(refused, field, "{write} {entries:?}");
        }
    }

    fn entry(consumer: &str, providers: &str) -> String {
        format!(r#"{{"consumer":{consumer},"providers":[{providers}]}}"#)
    }

    fn key(member: &str, value: &str) -> String {
        let mut key: serde_json::Value = json_value(CONSUMER);
        key.as_object_mut().unwrap().insert(member.to_owned(), value.into());
        key.to_string()
    }

    fn json_value(text: &str) -> serde_json::Value {
        serde_json::from_str(text).unwrap()
    }

    fn x(count: usize) -> String {
        "x".repeat(count)
    }

    #[test]
    fn how_many() {
        check(&BOTH, &[], Some(""));
        check(&BOTH, &["{}".to_owned()], Some("[0].Consumer"));
        check(&BOTH, &[entry("null", PROVIDER)], Some("[0].Consumer"));
        let consumers = |count| -> Vec<String> {
            (0..count).map(|at| entry(&key("serviceName", &format!("c{at}")), PROVIDER)).collect()
        };
        check(&BOTH, &consumers(100), None);
        check(&BOTH, &consumers(101), Some(""));
        check(&[DependencyWrite::Replace], &[entry(CONSUMER, "")], None);
        check(&[DependencyWrite::Add], &[entry(CONSUMER, "")], Some("[0].Providers"));
    }

    #[test]
    fn consumers() {
        let bad = |member: &str, value: &str| {
            let field = format!("[1].Consumer.{}{}", member_start(member), member.get(1..).unwrap());
            check(&BOTH, &[entry(CONSUMER, PROVIDER), entry(&key(member, value), PROVIDER)], Some(&field));
        };
        for version in ["1.0.0+", "1.0.0-1.0.1", "latest", "", "1.0.32768"] {
            bad("version", version);
        }
        for name in ["*", "", &x(129)] {
            bad("serviceName", name);
        }
        for app in ["", "*", &x(161)] {
            bad("appId", app);
        }
        bad("environment", "no");
        for alias in ["a/b", &x(129)] {
            bad("alias", alias);
        }
        for tenant in BAD_TENANTS {
            bad("tenant", tenant);
        }
    }

    const BAD_TENANTS: [&str; 9] = ["d", "/", "d/", "..", "../p", "d/..", "d/p/q", "d/p\u{7}", "other/p"];

    #[test]
    fn tenants() {
        let both = |tenant: &str| {
            let (consumer, provider) = (key("tenant", tenant), key("tenant", tenant));
            let entries = [entry(&consumer, PROVIDER), entry(&key("version", "2"), &provider)];
            entries.map(|entry| json::decode::<Dependency>(entry.as_bytes()).unwrap())
        };
        let check = |cross_domain, tenant: &str, expected: Option<&str>| {
            let refused = request(asker(cross_domain), DependencyWrite::Add, &both(tenant)).err();
            match (refused, expected) {
                (None, None) => {}
                (Some(error), Some(part)) => assert!(error.detail.contains(part), "{error}"),
                (refused, _) => panic!("{tenant}: {refused:?}"),
            }
        };
        for own in ["", "d/p", "d/q"] {
            check(CrossDomain::Forbidden, own, None);
        }
        check(CrossDomain::Allowed, "other/p", None);
        check(
            CrossDomain::Forbidden,
            "other/p",
            Some("'other/p' is in another domain than the caller's 'd'"),
        );
        check(CrossDomain::Allowed, &"d/".repeat(50_000), Some("does not match rule"));
    }

    fn member_start(member: &str) -> String {
        member.get(..1).unwrap().to_uppercase()
    }

    #[test]
    fn providers() {
        let good = |key: &str| check(&BOTH, &[entry(CONSUMER, key)], None);
        let bad = |member: &str, value: &str| {
            let field = format!("[0].Providers[1].{}{}", member_start(member), member.get(1..).unwrap());
            check(&BOTH, &[entry(CONSUMER, &format!("{PROVIDER},{}", key(member, value)))], Some(&field));
        };
        good(r#"{"serviceName":"p"}"#);
        for version in ["", "latest", "1", "1.0.0+", "1.0-2.0"] {
            good(&key("version", version));
        }
        good(&key("environment", "testing"));
        for version in ["32768", "1.0-", "1.0.0.0.0", "1.0.0.0+"] {
            bad("version", version);
        }
        for name in ["", "-", &x(129)] {
            bad("serviceName", name);
        }
        bad("appId", "*");
        bad("environment", "no");
        for alias in ["a/b", &x(129)] {
            bad("alias", alias);
        }
        for tenant in BAD_TENANTS {
            bad("tenant", tenant);
        }
        good(&key("tenant", "d/q"));
        good(&key("alias", "a:b"));
    }

    /// To add twice is clear. To replace twice is not, because it is not clear which entry counts.
    #[test]
    fn one_consumer_twice() {
        let twice = [entry(CONSUMER, PROVIDER), entry(CONSUMER, PROVIDER)];
        check(&[DependencyWrite::Add], &twice, None);
        check(&[DependencyWrite::Replace], &twice, Some("[1].Consumer"));
        let versions = [entry(CONSUMER, PROVIDER), entry(&key("version", "0.0.2"), PROVIDER)];
        check(&BOTH, &versions, None);
    }
}
