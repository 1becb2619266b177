//! The snapshot as the store's entries: what this node holds of each key, with the revision of its last write. The dump shows
//! it, so that an operator can compare a node with the store.
//!
//! Everything comes from the snapshot. A listing of the store would always agree with the store, and say nothing about the node.

use std::borrow::Cow;
use std::sync::Arc;

use crate::cache::snapshot::{NamePath, NamedVersion, SchemaSummary, ServiceNode, TenantView, path_parts};
use crate::cache::{InstanceEntry, ServiceView, Snapshot};
use crate::domain::dependency::Partners;
use crate::domain::event::Revision;
use crate::domain::json::TextMap;
use crate::domain::{ServiceId, Tenant};
use crate::rbac::Labels;
use crate::store::{Key, keys};

/// A part of the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tree {
    Services,
    /// The service that has a version of a name.
    Indexes,
    /// The service that has a version of an alias.
    Aliases,
    Tags,
    /// First those of consumers, then those of providers.
    DependencyRules,
    /// Summaries of schemas.
    Summaries,
    Instances,
}

/// What a snapshot holds of a key of the store.
#[derive(Clone, Copy, Debug)]
pub struct HeldEntry<'s> {
    tenant: &'s Tenant,
    held: Held<'s>,
    /// The labels of the service that the entry belongs to. `None` if the service has no document.
    pub labels: Option<Labels<'s>>,
    /// Revision of the last write of the key.
    pub mod_revision: Revision,
}

#[derive(Clone, Copy, Debug)]
enum Held<'s> {
    Service(&'s ServiceView),
    Index(&'s NamePath, &'s NamedVersion),
    Alias(&'s NamePath, &'s NamedVersion),
    Tags(&'s ServiceId, &'s TextMap),
    /// The path contains the version.
    ConsumerRule(&'s str, &'s Partners),
    ProviderRule(&'s NamePath, &'s str, &'s Partners),
    Summary(&'s ServiceId, &'s str, &'s SchemaSummary),
    Instance(&'s ServiceId, &'s InstanceEntry),
}

/// The value of an entry.
#[derive(Clone, Debug)]
pub enum HeldValue<'s> {
    /// A document as JSON.
    Json(Cow<'s, [u8]>),
    Text(&'s str),
    Map(&'s TextMap),
    Partners(&'s Partners),
}

impl<'s> HeldEntry<'s> {
    pub fn key(&self) -> Key {
        let Self { tenant, .. } = *self;
        match self.held {
            Held::Service(view) => keys::service(tenant, view.id.as_str()),
            Held::Index(path, named) => keys::index_at(tenant, &format!("{path}/{}", named.version)),
            Held::Alias(path, named) => keys::alias_at(tenant, &format!("{path}/{}", named.version)),
            Held::Tags(service, _) => keys::tags(tenant, service.as_str()),
            Held::ConsumerRule(path, _) => keys::consumer_rule_at(tenant, path),
            Held::ProviderRule(path, version, _) => {
                keys::provider_rule_at(tenant, &format!("{path}/{version}"))
            }
            Held::Summary(service, schema, _) => keys::schema_summary(tenant, service.as_str(), schema),
            Held::Instance(service, entry) => keys::instance(tenant, service.as_str(), entry.id().as_str()),
        }
    }

    pub fn value(&self) -> HeldValue<'s> {
        match self.held {
            Held::Service(view) => HeldValue::Json((&view.record.json[..]).into()),
            Held::Index(_, named) | Held::Alias(_, named) => HeldValue::Text(named.service.as_str()),
            Held::Tags(_, tags) => HeldValue::Map(tags),
            Held::ConsumerRule(_, partners) | Held::ProviderRule(_, _, partners) => {
                HeldValue::Partners(partners)
            }
            Held::Summary(_, _, summary) => HeldValue::Text(&summary.text),
            Held::Instance(_, entry) => HeldValue::Json(Vec::from(entry.json()).into()),
        }
    }
}

impl Tree {
    /// All entries of all tenants, in no certain order.
    pub fn entries(self, snapshot: &Snapshot) -> impl Iterator<Item = HeldEntry<'_>> {
        snapshot.tenants().flat_map(move |(tenant, view)| self.entries_of(tenant, view))
    }

    fn entries_of<'s>(
        self,
        tenant: &'s Tenant,
        view: &'s TenantView,
    ) -> Box<dyn Iterator<Item = HeldEntry<'s>> + 's> {
        let entry = move |held, labels, mod_revision| HeldEntry { tenant, held, labels, mod_revision };
        match self {
            Self::Services => Box::new(view.services().map(move |service| {
                let mod_revision = service.record.mod_revision;
                entry(Held::Service(service), Some(labels_of(service)), mod_revision)
            })),
            Self::Indexes => Box::new(view.names().flat_map(move |(path, node)| {
                let versions = node.versions().iter();
                versions
                    .map(move |named| entry(Held::Index(path, named), labels_in(path), named.mod_revision))
            })),
            Self::Aliases => Box::new(view.aliases().flat_map(move |(path, node)| {
                node.versions().iter().map(move |named| {
                    let labels = view.service(named.service.as_str()).map(labels_of);
                    entry(Held::Alias(path, named), labels, named.mod_revision)
                })
            })),
            Self::Tags => Box::new(view.nodes().filter_map(move |(id, node)| {
                let (tags, mod_revision) = node.tags.as_ref()?;
                Some(entry(Held::Tags(id, tags), labels_of_node(node), *mod_revision))
            })),
            Self::DependencyRules => {
                let consumers = view.all_consumer_rules().map(move |(path, rule)| {
                    let held = Held::ConsumerRule(path, &rule.partners);
                    entry(held, labels_in(path), rule.mod_revision)
                });
                let providers = view.all_provider_rules().map(move |(path, version, rule)| {
                    let held = Held::ProviderRule(path, version, &rule.partners);
                    entry(held, labels_in(path), rule.mod_revision)
                });
                Box::new(consumers.chain(providers))
            }
            Self::Summaries => Box::new(view.nodes().flat_map(move |(id, node)| {
                let labels = labels_of_node(node);
                node.schema_summaries.iter().map(move |(schema, summary)| {
                    entry(Held::Summary(id, schema, summary), labels, summary.mod_revision)
                })
            })),
            Self::Instances => Box::new(view.nodes().flat_map(move |(id, node)| {
                let labels = labels_of_node(node);
                node.instances
                    .iter()
                    .map(move |held| entry(Held::Instance(id, held), labels, held.mod_revision))
            })),
        }
    }
}

fn labels_of_node(node: &Arc<ServiceNode>) -> Option<Labels<'_>> {
    node.view.as_ref().map(labels_of)
}

fn labels_of(service: &Arc<ServiceView>) -> Labels<'_> {
    Labels::of(&service.record.document)
}

/// The labels in a path that begins with environment, application and name.
fn labels_in(path: &str) -> Option<Labels<'_>> {
    let [environment, app_id, rest] = path_parts(path)?;
    let service_name = rest.split('/').next()?;
    Some(Labels { environment, app_id, service_name })
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::cache::SnapshotBuilder;
    use crate::store::Entry;
    use crate::store::codec::{Decoded, decode_put};

    /// Entries as nodes write them, each at its own revision.
    fn stored() -> Vec<(Tree, &'static str, &'static str)> {
        vec![
            (
                Tree::Services,
                "/cse-sr/ms/files/d/p/s",
                r#"{"serviceId":"s","appId":"a","serviceName":"n","version":"1","level":"BACK","status":"UP"}"#,
            ),
            (Tree::Indexes, "/cse-sr/ms/indexes/d/p//a/n/1", "s"),
            (Tree::Indexes, "/cse-sr/ms/indexes/d/p/production/a/n/1", "t"),
            (Tree::Aliases, "/cse-sr/ms/alias/d/p//a/nick/1", "s"),
            (Tree::Tags, "/cse-sr/ms/tags/d/p/s", r#"{"k":"v"}"#),
            (
                Tree::DependencyRules,
                "/cse-sr/ms/dep-rules/d/p/c//a/n/1",
                r#"{"Dependency":[{"tenant":"d/p","appId":"a","serviceName":"m","version":"0.0.0+"}]}"#,
            ),
            (
                Tree::DependencyRules,
                "/cse-sr/ms/dep-rules/d/p/p//a/m/0.0.0+",
                r#"{"Dependency":[{"tenant":"d/p","appId":"a","serviceName":"n","version":"1"}]}"#,
            ),
            (Tree::Summaries, "/cse-sr/ms/schema-sum/d/p/s/x", "sum"),
            (
                Tree::Instances,
                "/cse-sr/inst/files/d/p/s/i",
                r#"{"instanceId":"i","serviceId":"s","hostName":"h","status":"UP"}"#,
            ),
        ]
    }

    #[test]
    fn each_entry_is_held_with_its_key_its_revision_and_its_value() {
        let mut builder = SnapshotBuilder::default();
        for (mod_revision, (_, key, value)) in (7..).zip(stored()) {
            let value = Bytes::from_static(value.as_bytes());
            let entry = Entry {
                key: key.into(),
                value,
                compact: None,
                create_revision: 1,
                mod_revision,
                version: 1,
                lease: None,
            };
            let Decoded::Event(event) = decode_put(&entry) else { panic!("{key}") };
            builder.apply(event);
        }
        let snapshot = builder.publish(20).0;
        let mut expected = stored();
        let shown = |value: HeldValue<'_>| match value {
            HeldValue::Json(json) => String::from_utf8(json.to_vec()).unwrap(),
            HeldValue::Text(text) => text.to_owned(),
            HeldValue::Map(map) => String::from_utf8(crate::domain::json::encode(map)).unwrap(),
            HeldValue::Partners(partners) => {
                String::from_utf8(crate::domain::json::encode(partners)).unwrap()
            }
        };
        for tree in [
            Tree::Services,
            Tree::Indexes,
            Tree::Aliases,
            Tree::Tags,
            Tree::DependencyRules,
            Tree::Summaries,
            Tree::Instances,
        ] {
            for held in tree.entries(&snapshot) {
                let key = held.key();
                let at = expected.iter().position(|entry| *entry.1 == *key).unwrap();
                let (of, _, value) = expected.remove(at);
                assert_eq!((of, shown(held.value())), (tree, value.to_owned()));
                let position = stored().iter().position(|entry| *entry.1 == *key).unwrap();
                assert_eq!(held.mod_revision, 7 + i64::try_from(position).unwrap(), "{key}");
                assert!(held.labels.is_some(), "{key}");
            }
        }
        assert!(expected.is_empty(), "{expected:?}");
    }
}
