//! The digest of what a snapshot shows: one number, which all nodes that show the same have. So nodes compare a number instead of a
//! registry.
//!
//! # Definition
//!
//! An entry is what a snapshot shows of one key of the store. The digest is the sum of the hashes of all entries, modulo 2^64. So the
//! order in which entries come and go does not matter, and a change costs the hashes of what it replaces and of what it adds.
//!
//! The hash of an entry is XXH3 with 64 bits, as its authors have fixed it. Each part of the entry is hashed with the hash of the parts
//! before it as the seed, and the first part with the number of the kind. A number counts as 8 bytes, the lowest first. Each node, of
//! whatever version, computes it like this:
//!
//! | kind | parts |
//! | --- | --- |
//! | 1 service | tenant, service, revision, document |
//! | 2 instance | tenant, service, instance, revision, document |
//! | 3 lease | tenant, service, instance, lease |
//! | 4 override | tenant, service, instance |
//! | 5 tags | tenant, service, revision, then the name and the value of each tag, in order of the names |
//! | 6 schema | tenant, service, schema, hash of the content |
//! | 7 summary | tenant, service, schema, revision, text |
//! | 8 name | tenant, path, version, revision, service |
//! | 9 alias | tenant, path, version, revision, service |
//! | 10 consumer's rule | tenant, path with the version, revision, then of each partner: tenant, environment, application, name, alias, version |
//! | 11 provider's rule | tenant, path, version, revision, then each partner as above |
//! | 12 domain | domain |
//! | 13 project | tenant |
//! | 14 account | name, revision, document |
//! | 15 role | name, revision, document |
//! | 16 lock of an account | key, document |
//!
//! A document is its JSON in the API's form, a revision is that of the last write of the key. Rules count with all stored partners, also
//! those that `registry.dependency.crossDomain` hides. Dependency requests that wait in the store do not count, because no reader sees
//! them.
//!
//! # Expiries that are held back
//!
//! A node may go on showing an expired instance (`actors/watch/guard.rs`). Two nodes may rightly differ in that, for example because
//! one of them was restarted. So the keys of such an instance that the store has deleted do not count: the digest is that of what the
//! store holds, as far as this node knows. The sum of the hashes of what is shown all the same is kept beside it
//! ([`Digests::held`](super::snapshot::Digests)). Nodes whose digests and whose held sums are equal show the same.

use twox_hash::XxHash3_64;

use crate::domain::account::{Account, AccountLock, Role};
use crate::domain::dependency::Partners;
use crate::domain::event::{InstanceRef, RegistryEvent, Revision, ServiceName, ServiceRecord};
use crate::domain::json::{self, TextMap};
use crate::domain::{ServiceId, ServiceKey, Tenant};

/// What has a sum of its own, so that a difference need not be searched for in the whole registry.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Unit {
    /// The document of a service, its tags, schemas and instances.
    Service(Tenant, ServiceId),
    /// The names and aliases of all services.
    Names,
    /// The dependency rules of all services.
    Rules,
    /// Domains and projects.
    Tenants,
    /// Accounts, roles, and the locks of accounts.
    Access,
}

/// Hashes the parts of an entry.
#[derive(Clone, Copy)]
struct EntryHash(u64);

impl EntryHash {
    fn of_kind(kind: u64) -> Self {
        Self(kind)
    }

    fn bytes(self, part: &[u8]) -> Self {
        Self(XxHash3_64::oneshot_with_seed(self.0, part))
    }

    fn text(self, part: &str) -> Self {
        self.bytes(part.as_bytes())
    }

    fn number(self, part: i64) -> Self {
        self.bytes(&part.to_le_bytes())
    }

    fn instance(kind: u64, at: &InstanceRef) -> Self {
        Self::service(kind, &at.tenant, &at.service).text(at.instance.as_str())
    }

    fn service(kind: u64, tenant: &Tenant, id: &ServiceId) -> Self {
        Self::of_kind(kind).text(tenant.as_str()).text(id.as_str())
    }

    fn partners(self, partners: &Partners) -> Self {
        partners.keys.iter().fold(self, |hash, key| {
            let ServiceKey { tenant, environment, app_id, service_name, alias, version } = key;
            [tenant, environment, app_id, service_name, alias, version]
                .iter()
                .fold(hash, |hash, part| hash.text(part))
        })
    }
}

pub fn service(tenant: &Tenant, id: &ServiceId, record: &ServiceRecord) -> u64 {
    EntryHash::service(1, tenant, id).number(record.mod_revision).bytes(&record.json).0
}

pub fn instance(at: &InstanceRef, mod_revision: Revision, json: &[u8]) -> u64 {
    EntryHash::instance(2, at).number(mod_revision).bytes(json).0
}

pub fn lease(at: &InstanceRef, lease: i64) -> u64 {
    EntryHash::instance(3, at).number(lease).0
}

pub fn properties_override(at: &InstanceRef) -> u64 {
    EntryHash::instance(4, at).0
}

pub fn tags(tenant: &Tenant, id: &ServiceId, tags: &TextMap, revision: Revision) -> u64 {
    let head = EntryHash::service(5, tenant, id).number(revision);
    tags.iter().fold(head, |hash, (name, value)| hash.text(name).text(value)).0
}

pub fn schema(tenant: &Tenant, id: &ServiceId, schema: &str, content: &str) -> u64 {
    EntryHash::service(6, tenant, id).text(schema).text(content).0
}

pub fn summary(tenant: &Tenant, id: &ServiceId, schema: &str, text: &str, revision: Revision) -> u64 {
    EntryHash::service(7, tenant, id).text(schema).number(revision).text(text).0
}

/// Which of the two trees of names an entry belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameKind {
    Name,
    Alias,
}

pub fn name(
    kind: NameKind,
    tenant: &Tenant,
    path: &str,
    version: &str,
    service: &ServiceId,
    revision: Revision,
) -> u64 {
    let kind = match kind {
        NameKind::Name => 8,
        NameKind::Alias => 9,
    };
    let head = EntryHash::of_kind(kind).text(tenant.as_str()).text(path).text(version);
    head.number(revision).text(service.as_str()).0
}

pub fn consumer_rule(tenant: &Tenant, versioned_path: &str, partners: &Partners, revision: Revision) -> u64 {
    EntryHash::of_kind(10).text(tenant.as_str()).text(versioned_path).number(revision).partners(partners).0
}

pub fn provider_rule(
    tenant: &Tenant,
    path: &str,
    version: &str,
    partners: &Partners,
    revision: Revision,
) -> u64 {
    EntryHash::of_kind(11)
        .text(tenant.as_str())
        .text(path)
        .text(version)
        .number(revision)
        .partners(partners)
        .0
}

pub fn domain(domain: &str) -> u64 {
    EntryHash::of_kind(12).text(domain).0
}

pub fn project(tenant: &Tenant) -> u64 {
    EntryHash::of_kind(13).text(tenant.as_str()).0
}

pub fn account(name: &str, account: &Account, revision: Revision) -> u64 {
    EntryHash::of_kind(14).text(name).number(revision).bytes(&json::encode(account)).0
}

pub fn role(name: &str, role: &Role, revision: Revision) -> u64 {
    EntryHash::of_kind(15).text(name).number(revision).bytes(&json::encode(role)).0
}

pub fn account_lock(key: &str, lock: &AccountLock) -> u64 {
    EntryHash::of_kind(16).text(key).bytes(&json::encode(lock)).0
}

/// The unit and the hash of the entry that a put makes. `None` for an event that is no put, or of an entry that does not count.
pub fn of_put(event: &RegistryEvent) -> Option<(Unit, u64)> {
    use RegistryEvent as E;
    let of_service = |tenant: &Tenant, id: &ServiceId| Unit::Service(tenant.clone(), id.clone());
    let of_instance = |at: &InstanceRef| of_service(&at.tenant, &at.service);
    Some(match event {
        E::ServicePut(tenant, id, record) => (of_service(tenant, id), service(tenant, id, record)),
        E::IndexPut(of, version, id, revision) => {
            (Unit::Names, name(NameKind::Name, &of.tenant, &path_of(of), version, id, *revision))
        }
        E::AliasPut(of, version, id, revision) => {
            (Unit::Names, name(NameKind::Alias, &of.tenant, &path_of(of), version, id, *revision))
        }
        E::TagsPut(tenant, id, of, revision) => (of_service(tenant, id), tags(tenant, id, of, *revision)),
        E::SchemaRefPut(tenant, id, of, content, _) => {
            (of_service(tenant, id), schema(tenant, id, of, content))
        }
        E::SchemaSummaryPut(tenant, id, of, text, revision) => {
            (of_service(tenant, id), summary(tenant, id, of, text, *revision))
        }
        E::ConsumerRulePut(of, version, partners, revision) => {
            let path = format!("{}/{version}", path_of(of));
            (Unit::Rules, consumer_rule(&of.tenant, &path, partners, *revision))
        }
        E::ProviderRulePut(of, version, partners, revision) => {
            (Unit::Rules, provider_rule(&of.tenant, &path_of(of), version, partners, *revision))
        }
        E::InstancePut(at, _, record) => (of_instance(at), instance(at, record.mod_revision, &record.json)),
        E::LeasePut(at, id) => (of_instance(at), lease(at, *id)),
        E::OverridePut(at) => (of_instance(at), properties_override(at)),
        E::DomainPut(of) => (Unit::Tenants, domain(of)),
        E::ProjectPut(tenant) => (Unit::Tenants, project(tenant)),
        E::AccountPut(of, document, revision) => (Unit::Access, account(of, document, *revision)),
        E::RolePut(of, document, revision) => (Unit::Access, role(of, document, *revision)),
        E::AccountLockPut(key, lock) => (Unit::Access, account_lock(key, lock)),
        _ => return None,
    })
}

fn path_of(name: &ServiceName) -> String {
    let ServiceName { environment, app_id, name, .. } = name;
    format!("{environment}/{app_id}/{name}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at() -> InstanceRef {
        InstanceRef { tenant: Tenant::default_tenant(), service: "s".into(), instance: "i".into() }
    }

    /// The numbers are part of what nodes of different versions agree on. If one changes, a rolling update raises false alarms.
    #[test]
    fn the_hashes_stay_as_they_are() {
        assert_eq!(
            EntryHash::of_kind(0).bytes(b"").0,
            0x2d06_8005_38d3_94c2,
            "XXH3 of nothing, as published"
        );
        assert_eq!(lease(&at(), 7), 7_318_053_694_112_024_203);
        let json = b"{\"instanceId\":\"i\"}";
        assert_eq!(instance(&at(), 9, json), 10_515_338_094_765_837_425);
    }

    #[test]
    fn parts_do_not_run_into_each_other() {
        let hash = |parts: [&str; 2]| EntryHash::of_kind(1).text(parts[0]).text(parts[1]).0;
        let all = [["ab", "c"], ["a", "bc"], ["abc", ""], ["", "abc"], ["c", "ab"]].map(hash);
        let distinct: std::collections::HashSet<u64> = all.into_iter().collect();
        assert_eq!(distinct.len(), all.len());
        assert_ne!(lease(&at(), 7), EntryHash::instance(4, &at()).number(7).0);
    }
}
