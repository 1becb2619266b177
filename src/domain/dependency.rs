//! Dependency rules: which consumer uses which provider. A provider's version is always [`ALL_VERSIONS`].

use super::service::ServiceKey;
use crate::json_object;

/// The version of a provider in a rule.
pub const ALL_VERSIONS: &str = "0.0.0+";

json_object! {
    /// One side's partners, as the store holds them.
    pub struct Partners {
        /// A consumer's providers, or a provider's consumers.
        "Dependency" => keys: Vec<ServiceKey>,
    }
}

json_object! {
    /// A dependency request: what clients send and what waits in the store's queue.
    pub struct Dependency {
        /// The consumer.
        "consumer" => consumer: Option<ServiceKey>,
        /// Its providers.
        "providers" => providers: Vec<ServiceKey>,
        /// Exactly these providers, instead of these too.
        "override" => replace: bool,
    }
}

/// Whether two keys of rules name the same service: alias is not compared.
pub fn same_partner(a: &ServiceKey, b: &ServiceKey) -> bool {
    same_name(a, b) && a.version == b.version
}

/// Whether two keys of rules name the same service, in whatever versions.
pub fn same_name(a: &ServiceKey, b: &ServiceKey) -> bool {
    a.tenant == b.tenant
        && a.environment == b.environment
        && a.app_id == b.app_id
        && a.service_name == b.service_name
}

/// A consumer's providers after a request: with `replace` exactly the given ones; else the new ones first, then those
/// kept, one that differs only in version being replaced.
pub fn merged_providers(current: &[ServiceKey], given: &[ServiceKey], replace: bool) -> Vec<ServiceKey> {
    if replace {
        return given.to_vec();
    }
    let fresh = given.iter().filter(|key| !current.iter().any(|old| same_partner(old, key)));
    let mut merged: Vec<ServiceKey> = fresh.cloned().collect();
    let replaced = |old: &ServiceKey| merged.iter().any(|key| same_name(key, old));
    let kept: Vec<ServiceKey> = current.iter().filter(|old| !replaced(old)).cloned().collect();
    merged.extend(kept);
    merged
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str, version: &str) -> ServiceKey {
        ServiceKey { service_name: name.to_owned(), version: version.to_owned(), ..ServiceKey::default() }
    }

    #[test]
    fn a_merge_puts_new_providers_first_and_replaces_other_versions() {
        let current = [key("a", "1"), key("b", "0.0.0+")];
        let merged = merged_providers(&current, &[key("c", "0.0.0+"), key("a", "0.0.0+")], false);
        assert_eq!(merged, [key("c", "0.0.0+"), key("a", "0.0.0+"), key("b", "0.0.0+")]);
        assert_eq!(merged_providers(&current, &[key("b", "0.0.0+")], false), current);
        assert_eq!(merged_providers(&current, &[], true), []);
    }
}
