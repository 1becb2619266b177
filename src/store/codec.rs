//! Turns the store's events into the registry's events: parses keys and values, for both stores.
//!
//! A value that cannot be read must not stop the watch: another program may have written it to a shared etcd. The read model
//! treats its key as absent, even if the key had a good value before, so that events and listings give the same result. The
//! caller counts and logs such values.

use std::sync::Arc;

use bytes::Bytes;

use super::keys::{self, Subject};
use super::port::{Entry, Event};
use crate::domain::dependency::Partners;
use crate::domain::event::{InstanceRecord, InstanceRef, PutKind, RegistryEvent, ServiceRecord};
use crate::domain::json::{self, TextMap};
use crate::domain::{Instance, Service, ServiceId};

/// What a change of the store means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decoded {
    Event(RegistryEvent),
    /// The key is not part of the read model.
    Unread,
    /// The key or its value has no form of the registry, and the read model loses nothing: what is wrong.
    Foreign(String),
    /// The value of a key of the registry has another form: what is wrong, and the deletion that the read model applies.
    Unreadable(String, RegistryEvent),
}

pub fn decode(event: &Event) -> Decoded {
    match event {
        Event::Put(entry) => decode_put(entry),
        Event::Delete { key, .. } => decode_deletion(key),
    }
}

/// Decodes an entry of a listing or a put.
pub fn decode_put(entry: &Entry) -> Decoded {
    let event = match keys::parse(&entry.key) {
        Subject::Unread => return Decoded::Unread,
        Subject::Malformed => return Decoded::Foreign(malformed(&entry.key)),
        Subject::Service(tenant, id) => {
            service_record(entry).map(|record| RegistryEvent::ServicePut(tenant, id, Arc::new(record)))
        }
        Subject::Index(name, version) => text(entry)
            .map(|id| RegistryEvent::IndexPut(name, version, ServiceId::from(id), entry.mod_revision)),
        Subject::Alias(name, version) => text(entry)
            .map(|id| RegistryEvent::AliasPut(name, version, ServiceId::from(id), entry.mod_revision)),
        Subject::Tags(tenant, id) => value::<TextMap>(entry)
            .map(|tags| RegistryEvent::TagsPut(tenant, id, Arc::new(tags), entry.mod_revision)),
        Subject::SchemaRef(tenant, id, schema) => text(entry)
            .map(|hash| RegistryEvent::SchemaRefPut(tenant, id, schema, hash.into(), entry.mod_revision)),
        Subject::SchemaSummary(tenant, id, schema) => text(entry).map(|summary| {
            RegistryEvent::SchemaSummaryPut(tenant, id, schema, summary.into(), entry.mod_revision)
        }),
        Subject::ConsumerRule(name, version) => value::<Partners>(entry)
            .map(|rule| RegistryEvent::ConsumerRulePut(name, version, Arc::new(rule), entry.mod_revision)),
        Subject::ProviderRule(name, version) => value::<Partners>(entry)
            .map(|rule| RegistryEvent::ProviderRulePut(name, version, Arc::new(rule), entry.mod_revision)),
        Subject::DependencyRequest => {
            let ended = keys::parse_dependency_ending(&entry.key);
            Ok(RegistryEvent::DependencyQueued(Arc::clone(&entry.key), ended))
        }
        Subject::Instance(at) => instance_put(entry, at),
        Subject::Lease(at) => text(entry).and_then(|id| {
            let id = id.parse::<i64>().map_err(|error| format!("lease '{id}': {error}"))?;
            Ok(RegistryEvent::LeasePut(at, id))
        }),
        Subject::LateGoodbye(at, lease) => Ok(RegistryEvent::LateGoodbye(at, lease)),
        Subject::Release(tenant, service) => Ok(RegistryEvent::ExpiriesReleased(tenant, service)),
        Subject::Override(at) => Ok(RegistryEvent::OverridePut(at)),
        Subject::Domain(domain) => Ok(RegistryEvent::DomainPut(domain)),
        Subject::Account(name) => {
            value(entry).map(|account| RegistryEvent::AccountPut(name, Arc::new(account), entry.mod_revision))
        }
        Subject::Role(name) => {
            value(entry).map(|role| RegistryEvent::RolePut(name, Arc::new(role), entry.mod_revision))
        }
        Subject::AccountLock(key) => {
            value(entry).map(|lock| RegistryEvent::AccountLockPut(key, Arc::new(lock)))
        }
        Subject::Project(tenant) => Ok(RegistryEvent::ProjectPut(tenant)),
    };
    event.map_or_else(
        |why| {
            let why = format!("{}: {why}", entry.key);
            match decode_deletion(&entry.key) {
                Decoded::Event(event) => Decoded::Unreadable(why, event),
                _ => Decoded::Foreign(why),
            }
        },
        Decoded::Event,
    )
}

fn malformed(key: &str) -> String {
    format!("{key}: the key does not have the form of its tree")
}

/// What it means that a key is absent.
fn decode_deletion(key: &Arc<str>) -> Decoded {
    Decoded::Event(match keys::parse(key) {
        Subject::Unread | Subject::LateGoodbye(..) | Subject::Release(..) => return Decoded::Unread,
        Subject::Domain(domain) => RegistryEvent::DomainDeleted(domain),
        Subject::Project(tenant) => RegistryEvent::ProjectDeleted(tenant),
        Subject::Account(name) => RegistryEvent::AccountDeleted(name),
        Subject::Role(name) => RegistryEvent::RoleDeleted(name),
        Subject::AccountLock(key) => RegistryEvent::AccountLockDeleted(key),
        Subject::Malformed => return Decoded::Foreign(malformed(key)),
        Subject::Service(tenant, id) => RegistryEvent::ServiceDeleted(tenant, id),
        Subject::Index(name, version) => RegistryEvent::IndexDeleted(name, version),
        Subject::Alias(name, version) => RegistryEvent::AliasDeleted(name, version),
        Subject::Tags(tenant, id) => RegistryEvent::TagsDeleted(tenant, id),
        Subject::SchemaRef(tenant, id, schema) => RegistryEvent::SchemaRefDeleted(tenant, id, schema),
        Subject::SchemaSummary(tenant, id, schema) => RegistryEvent::SchemaSummaryDeleted(tenant, id, schema),
        Subject::ConsumerRule(name, version) => RegistryEvent::ConsumerRuleDeleted(name, version),
        Subject::ProviderRule(name, version) => RegistryEvent::ProviderRuleDeleted(name, version),
        Subject::DependencyRequest => {
            RegistryEvent::DependencyTaken(Arc::clone(key), keys::parse_dependency_ending(key))
        }
        Subject::Instance(at) => RegistryEvent::InstanceDeleted(at),
        Subject::Lease(at) => RegistryEvent::LeaseDeleted(at),
        Subject::Override(at) => RegistryEvent::OverrideDeleted(at),
    })
}

fn text(entry: &Entry) -> Result<&str, String> {
    std::str::from_utf8(&entry.value).map_err(|error| error.to_string())
}

fn value<T: json::DecodeJson>(entry: &Entry) -> Result<T, String> {
    json::decode::<T>(&entry.value).map_err(|error| error.to_string())
}

fn service_record(entry: &Entry) -> Result<ServiceRecord, String> {
    let document = value::<Service>(entry)?;
    let json = canonical(&entry.value, json::encode(&document));
    Ok(ServiceRecord { document, json, mod_revision: entry.mod_revision })
}

fn instance_put(entry: &Entry, at: InstanceRef) -> Result<RegistryEvent, String> {
    let (json, compact) = if json::is_canonical::<Instance>(&entry.value) {
        (entry.value.clone(), entry.compact.clone())
    } else {
        (canonical(&entry.value, json::encode(&value::<Instance>(entry)?)), None)
    };
    let record = InstanceRecord { json, compact, mod_revision: entry.mod_revision };
    let kind = if entry.version == 1 { PutKind::Created } else { PutKind::Updated };
    Ok(RegistryEvent::InstancePut(at, kind, record))
}

/// The stored bytes if they have the API's form, so that the store and the read model share them; else the encoded bytes.
fn canonical(stored: &Bytes, encoded: Vec<u8>) -> Bytes {
    if *stored == encoded { stored.clone() } else { Bytes::from(encoded) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(key: &str, value: &'static str) -> Decoded {
        decode(&Event::Put(Entry {
            key: key.into(),
            value: Bytes::from_static(value.as_bytes()),
            compact: None,
            create_revision: 7,
            mod_revision: 7,
            version: 1,
            lease: None,
        }))
    }

    #[test]
    fn foreign_values_are_named_and_skipped() {
        for (key, value) in [
            ("/cse-sr/inst/files/d/p/s/i", "no json"),
            ("/cse-sr/inst/files/d/p/s/i", "[]"),
            ("/cse-sr/inst/files/d/p/s/i", ""),
            ("/cse-sr/inst/leases/d/p/s/i", "12x"),
            ("/cse-sr/ms/files/d/p/s", "{\"version\":1}"),
            ("/cse-sr/ms/files/d/p", "{}"),
        ] {
            match put(key, value) {
                Decoded::Foreign(why) | Decoded::Unreadable(why, _) => assert!(why.contains(key), "{why}"),
                other => panic!("{key} {value}: {other:?}"),
            }
        }
    }

    #[test]
    fn unknown_members_are_dropped_from_what_is_answered() {
        let Decoded::Event(RegistryEvent::InstancePut(_, kind, record)) =
            put("/cse-sr/inst/files/d/p/s/i", "{\"instanceId\":\"i\", \"x\":1}")
        else {
            panic!("an instance")
        };
        assert_eq!((kind, &record.json[..]), (PutKind::Created, &b"{\"instanceId\":\"i\"}"[..]));
    }

    #[test]
    fn null_tags_are_none() {
        match put("/cse-sr/ms/tags/d/p/s", "null") {
            Decoded::Event(RegistryEvent::TagsPut(_, _, tags, 7)) => assert!(tags.is_empty()),
            other => panic!("{other:?}"),
        }
    }
}
