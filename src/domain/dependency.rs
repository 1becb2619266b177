//! Dependency rules: which consumer uses which provider.

use std::collections::HashSet;

use super::id::Tenant;
use super::quota;
use super::service::ServiceKey;
use crate::error::Error;
use crate::json_object;

/// The version of every provider in a rule: a consumer depends on all versions of a provider.
pub const ALL_VERSIONS: &str = "0.0.0+";

/// Longest text, in bytes, that becomes part of a key in the store. No valid request has one as long.
const MAX_KEY_PART: usize = 512;

json_object! {
    /// The value of a rule in the store.
    pub struct Partners {
        /// A consumer's providers, or a provider's consumers.
        "Dependency" => keys: Vec<ServiceKey>,
    }
}

json_object! {
    /// A dependency request, as clients send it and as it waits in the store's queue.
    pub struct Dependency {
        /// The consumer.
        "consumer" => consumer: Option<ServiceKey>,
        /// Its providers.
        "providers" => providers: Vec<ServiceKey>,
        /// `true` replaces the consumer's providers, `false` adds to them.
        "override" => replace: bool,
    }
}

/// Whether services of different domains may depend on each other. Projects of one domain always may.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CrossDomain {
    /// A service may depend on services of its own domain only.
    #[default]
    Forbidden,
    /// A service may depend on services of any tenant. Set by `registry.dependency.crossDomain`.
    Allowed,
}

impl CrossDomain {
    /// Whether a rule may connect services of these two tenants (`domain/project`).
    pub fn connects(self, one: &str, other: &str) -> bool {
        let domain = |tenant: &str| tenant.split_once('/').map_or(tenant.len(), |(domain, _)| domain.len());
        self == Self::Allowed || one.get(..domain(one)) == other.get(..domain(other))
    }
}

impl Dependency {
    /// Removes the consumer and the providers that `tenant`, who sent the request, may not name, and those whose texts would
    /// break keys of the store. Returns how many it removed. Another node may have queued the request without these checks.
    pub fn confine(&mut self, tenant: &Tenant, cross_domain: CrossDomain) -> usize {
        let is_allowed = |key: &ServiceKey| {
            // The sender's own tenant needs no check, because it was read from the queue's key.
            let is_tenant = key.tenant == tenant.as_str() || Tenant::parse(&key.tenant).is_some();
            is_tenant && cross_domain.connects(tenant.as_str(), &key.tenant) && fits_into_keys(key)
        };
        let before = self.providers.len() + usize::from(self.consumer.is_some());
        self.consumer = self.consumer.take().filter(is_allowed);
        self.providers.retain(is_allowed);
        before - self.providers.len() - usize::from(self.consumer.is_some())
    }
}

fn fits_into_keys(key: &ServiceKey) -> bool {
    let parts = [&key.environment, &key.app_id, &key.service_name, &key.version];
    parts
        .into_iter()
        .all(|part| part.len() <= MAX_KEY_PART && !part.contains(|c: char| c == '/' || c.is_control()))
}

/// The parts of a rule's key that identify a service, whatever its version. The alias is not one of them.
pub fn name(key: &ServiceKey) -> [&str; 4] {
    [&key.tenant, &key.environment, &key.app_id, &key.service_name]
}

/// Whether two keys of rules name the same version of the same service.
pub fn same_partner(a: &ServiceKey, b: &ServiceKey) -> bool {
    name(a) == name(b) && a.version == b.version
}

/// A consumer's providers after a request, each once.
///
/// With `replace` they are the given ones. Otherwise the given ones that are new come first. The current ones follow, without
/// those that a new one names with another version. The time is linear in the number of providers.
pub fn merged_providers(current: &[ServiceKey], given: &[ServiceKey], replace: bool) -> Vec<ServiceKey> {
    let partner = |key| (name(key), key.version.as_str());
    let mut known: HashSet<_> = if replace { HashSet::new() } else { current.iter().map(partner).collect() };
    let mut merged: Vec<&ServiceKey> = given.iter().filter(|key| known.insert(partner(key))).collect();
    if !replace {
        let fresh: HashSet<_> = merged.iter().map(|key| name(key)).collect();
        merged.extend(current.iter().filter(|old| !fresh.contains(&name(old))));
    }
    merged.into_iter().cloned().collect()
}

/// 400100 if a request adds providers to a consumer that then has more than `limit`. A consumer that already has more may keep
/// them.
pub fn check_quota(limit: usize, current: &[ServiceKey], wanted: &[ServiceKey]) -> Result<(), Error> {
    if wanted.len() <= limit {
        return Ok(());
    }
    let known: HashSet<_> = current.iter().map(name).collect();
    let fresh = wanted.iter().filter(|key| !known.contains(&name(key))).count();
    quota::check_several("DEPENDENCY", limit, wanted.len() - fresh, fresh)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::error::Code;

    fn key(name: &str, version: &str) -> ServiceKey {
        ServiceKey { service_name: name.to_owned(), version: version.to_owned(), ..ServiceKey::default() }
    }

    fn of(tenant: &str, name: &str) -> ServiceKey {
        ServiceKey { tenant: tenant.to_owned(), ..key(name, "1") }
    }

    #[test]
    fn a_merge_puts_new_providers_first_and_replaces_other_versions() {
        let current = [key("a", "1"), key("b", "0.0.0+")];
        let merged = merged_providers(&current, &[key("c", "0.0.0+"), key("a", "0.0.0+")], false);
        assert_eq!(merged, [key("c", "0.0.0+"), key("a", "0.0.0+"), key("b", "0.0.0+")]);
        assert_eq!(merged_providers(&current, &[key("b", "0.0.0+")], false), current);
        assert_eq!(merged_providers(&current, &[], true), []);
        assert_eq!(merged_providers(&current, &[key("b", "2"), key("b", "2")], true), [key("b", "2")]);
    }

    #[test]
    fn only_what_is_new_counts_against_the_quota() {
        let keys = |names: &[&str]| names.iter().map(|name| key(name, "1")).collect::<Vec<_>>();
        let check = |current: &[&str], wanted: &[&str]| {
            check_quota(2, &keys(current), &keys(wanted)).err().map(|error| (error.code, error.detail))
        };
        assert_eq!(check(&[], &["a", "b"]), None);
        assert_eq!(check(&["a", "b", "c"], &["a", "b", "c"]), None);
        assert_eq!(check(&["a", "b", "c", "d"], &["c", "b", "a"]), None);
        let (code, detail) = check(&["a", "b"], &["c", "a", "b"]).unwrap();
        assert_eq!(code, Code::NotEnoughQuota);
        assert_eq!(detail, "no quota to create DEPENDENCY, max num is 2, curNum is 2, apply num is 1");
        let (_, detail) = check(&["a", "b", "c"], &["a", "x", "y"]).unwrap();
        assert_eq!(detail, "no quota to create DEPENDENCY, max num is 2, curNum is 1, apply num is 2");
    }

    #[test]
    fn a_request_keeps_to_its_domain() {
        let check = |cross_domain, consumer: &str, providers: &[&str], expected: (bool, &[&str])| {
            let mut request = Dependency {
                consumer: Some(of(consumer, "c")),
                providers: providers.iter().map(|tenant| of(tenant, "p")).collect(),
                replace: false,
            };
            let before = 1 + providers.len();
            let gone = request.confine(&"d/p".into(), cross_domain);
            let left: Vec<&str> = request.providers.iter().map(|key| key.tenant.as_str()).collect();
            assert_eq!((request.consumer.is_some(), left.as_slice()), expected);
            assert_eq!(gone, before - left.len() - usize::from(expected.0));
        };
        let providers = ["d/p", "d/q", "e/p", "d", "", "..", "d/p/q", "d/..", "d/\u{1}"];
        check(CrossDomain::Forbidden, "d/p", &providers, (true, &["d/p", "d/q"]));
        check(CrossDomain::Allowed, "d/p", &providers, (true, &["d/p", "d/q", "e/p"]));
        check(CrossDomain::Forbidden, "d/q", &["d/p"], (true, &["d/p"]));
        check(CrossDomain::Forbidden, "e/p", &["d/p"], (false, &["d/p"]));
        check(CrossDomain::Allowed, "e/p", &["d/p"], (true, &["d/p"]));
    }

    #[test]
    fn what_would_break_a_key_is_taken_away() {
        let own = |change: fn(&mut ServiceKey)| {
            let mut key = of("d/p", "p");
            change(&mut key);
            let mut request = Dependency { providers: vec![key], ..Dependency::default() };
            request.confine(&"d/p".into(), CrossDomain::Allowed)
        };
        assert_eq!(own(|_| {}), 0);
        assert_eq!(own(|key| key.environment = "a/b".to_owned()), 1);
        assert_eq!(own(|key| key.app_id = "a\n".to_owned()), 1);
        assert_eq!(own(|key| key.service_name = "x".repeat(100_000)), 1);
        assert_eq!(own(|key| key.version = "1/2".to_owned()), 1);
        // The alias is not part of any key.
        assert_eq!(own(|key| key.alias = "a/b".to_owned()), 0);
    }
}
