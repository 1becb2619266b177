//! Chooses from a snapshot what the jobs ask to delete. The RegistryActor decides on each choice.

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::cache::snapshot::Snapshot;
use crate::domain::{ServiceId, Tenant, version};

/// A version of a name.
#[derive(Clone, Debug)]
struct ServiceVersion {
    number: [u16; 4],
    text: Arc<str>,
    service: ServiceId,
    usage: VersionUsage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum VersionUsage {
    HasInstances,
    Idle,
}

/// The old versions of each (tenant, environment, application, name): all but the newest `reserve` and those with instances. A
/// version that is not a number is neither counted nor chosen.
pub(super) fn old_versions(snapshot: &Snapshot, reserve: usize) -> Vec<(Tenant, ServiceId)> {
    let mut retired = Vec::new();
    for (tenant, view) in snapshot.tenants() {
        let mut names: HashMap<&str, Vec<ServiceVersion>> = HashMap::new();
        for service in view.services() {
            let text = &service.record.document.version;
            let Some(number) = version::parse(text) else { continue };
            let has_instances = view.node(service.id.as_str()).is_some_and(|node| !node.instances.is_empty());
            names.entry(&service.path).or_default().push(ServiceVersion {
                number,
                text: text.as_str().into(),
                service: service.id.clone(),
                usage: if has_instances { VersionUsage::HasInstances } else { VersionUsage::Idle },
            });
        }
        let surplus = names.into_values().flat_map(|versions| surplus(versions, reserve));
        retired.extend(surplus.map(|service| (tenant.clone(), service)));
    }
    retired
}

/// The versions without instances, except the newest `reserve`.
fn surplus(mut versions: Vec<ServiceVersion>, reserve: usize) -> Vec<ServiceId> {
    if versions.len() <= reserve {
        return Vec::new();
    }
    // `1.0` and `1.0.0` are the same number. Then the text decides, so that all nodes choose the same versions.
    versions.sort_by_cached_key(|version| Reverse((version.number, Arc::clone(&version.text))));
    let old = versions.into_iter().skip(reserve);
    old.filter(|version| version.usage == VersionUsage::Idle).map(|version| version.service).collect()
}

/// The hashes that schemas refer to, by tenant.
#[derive(Debug, Default)]
pub(super) struct References(HashMap<Tenant, HashSet<Arc<str>>>);

impl References {
    pub(super) fn of(snapshot: &Snapshot) -> Self {
        let hashes = |view: &crate::cache::snapshot::TenantView| {
            view.nodes().flat_map(|(_, node)| node.schema_refs.values().cloned()).collect()
        };
        Self(snapshot.tenants().map(|(tenant, view)| (tenant.clone(), hashes(view))).collect())
    }

    /// Whether a schema of this tenant refers to a content.
    pub(super) fn contains(&self, tenant: &Tenant, hash: &str) -> bool {
        self.0.get(tenant).is_some_and(|hashes| hashes.contains(hash))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Versions as given, those with instances marked by a `*`; the expected ones as they are retired.
    fn check(versions: &[&str], reserve: usize, expected: &[&str]) {
        let parse = |given: &&str| {
            let text = given.trim_end_matches('*');
            ServiceVersion {
                number: version::parse(text).unwrap_or_default(),
                text: text.into(),
                service: ServiceId::from(text),
                usage: if text == *given { VersionUsage::Idle } else { VersionUsage::HasInstances },
            }
        };
        let retired = surplus(versions.iter().map(parse).collect(), reserve);
        let retired: Vec<&str> = retired.iter().map(ServiceId::as_str).collect();
        assert_eq!(retired, expected, "{versions:?}, reserve {reserve}");
    }

    /// Case 297: five versions, one is reserved; and with three reserved the two lowest go.
    #[test]
    fn the_newest_are_kept() {
        check(&["1.0", "2.0", "3.0", "4.0", "5.0"], 1, &["4.0", "3.0", "2.0", "1.0"]);
        check(&["1.0", "2.0", "3.0", "4.0", "5.0"], 3, &["2.0", "1.0"]);
    }

    #[test]
    fn versions_compare_as_numbers() {
        check(&["9.0.0", "10.0.0", "1.5.0", "2.0.0", "1.0.0"], 3, &["1.5.0", "1.0.0"]);
        check(&["1.2.3.4", "1.2.3.10", "1.2"], 1, &["1.2.3.4", "1.2"]);
        check(&["1", "1.0", "1.0.0"], 1, &["1.0", "1"]);
    }

    /// Case 298: instances protect an old version, and it takes nobody's place among the newest.
    #[test]
    fn instances_protect() {
        check(&["1.0*", "2.0", "3.0", "4.0", "5.0"], 3, &["2.0"]);
        check(&["1.0*", "2.0*", "3.0*"], 1, &[]);
        check(&["1.0", "2.0", "3.0*"], 1, &["2.0", "1.0"]);
    }

    /// Case 299: no more than are reserved.
    #[test]
    fn few_versions_stay() {
        check(&["1.0", "2.0", "3.0"], 3, &[]);
        check(&["1.0"], 3, &[]);
        check(&[], 3, &[]);
    }
}
