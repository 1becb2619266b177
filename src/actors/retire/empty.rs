//! Chooses the services that are empty: nobody provides them, nobody consumes them, and nobody changes them. Pure: time is an
//! argument.
//!
//! The store does not say since when a service is empty. So the job marks each empty service, with the time and the revision.
//! Every node removes a mark when it sees that the service was used after that revision. While no node looks, a use may go
//! unseen. So the nodes also record since when one of them looks, and time before that does not count.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use crate::cache::ServiceView;
use crate::cache::dependency::PartnerFilter;
use crate::cache::snapshot::Snapshot;
use crate::domain::{ServiceId, Tenant};
use crate::json_object;
use crate::store::Revision;

/// How long no node may look before the time begins to count anew, in seconds: longer than the restart of a node or an upgrade
/// takes.
const LONGEST_GAP: i64 = 3_600;
/// How often the record of the looking is written, in seconds.
const NOTED_EVERY: i64 = 300;

json_object! {
    /// Since when a service is empty.
    pub struct EmptyMark {
        /// Seconds since 1970.
        "since" => since: i64,
        /// The revision at which the service was seen empty.
        "revision" => revision: i64,
    }
}

json_object! {
    /// Since when and until when a node has looked at the marks, without a long gap.
    pub struct LookRecord {
        /// Seconds since 1970.
        "since" => since: i64,
        /// Seconds since 1970.
        "until" => until: i64,
    }
}

impl LookRecord {
    /// The record when a node looks now. A clock that jumps looks like a gap.
    pub(super) fn looked(self, now: i64) -> Self {
        let gap = now.saturating_sub(self.until);
        match self.since > 0 && (-LONGEST_GAP..=LONGEST_GAP).contains(&gap) {
            true if gap < NOTED_EVERY => self,
            true => Self { until: now, ..self },
            false => Self { since: now, until: now },
        }
    }
}

/// A mark, and the revision at which it was put.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct StoredMark {
    pub mark: EmptyMark,
    pub put_at: Revision,
}

/// The marks of all services, and since when a node looks at them.
#[derive(Clone, Debug, Default)]
pub(super) struct EmptyMarks {
    pub marks: HashMap<(Tenant, ServiceId), StoredMark>,
    pub looked_since: i64,
}

/// A service that is empty.
#[derive(Clone, Debug)]
pub(super) struct EmptyService {
    pub tenant: Tenant,
    pub service: Arc<ServiceView>,
    /// `None`: it is not marked yet, or was used since.
    pub marked: Option<StoredMark>,
    /// Since when it counts as empty, in seconds since 1970: not before a node looked.
    pub since: i64,
    /// When it may be deleted.
    pub due: i64,
    /// The revision at which it was seen empty.
    pub seen_at: Revision,
}

impl EmptyMarks {
    /// The marks of services that are gone or were used since. A mark of a later revision than the snapshot's stays.
    pub(super) fn ended<'m>(
        &'m self,
        snapshot: &'m Snapshot,
    ) -> impl Iterator<Item = (&'m (Tenant, ServiceId), &'m StoredMark)> {
        self.marks.iter().filter(|((tenant, id), stored)| {
            stored.put_at <= snapshot.revision && !still_holds(snapshot, tenant, id, &stored.mark)
        })
    }
}

/// All empty services of a snapshot, in a fixed order.
pub(super) fn empty_services(
    snapshot: &Snapshot,
    marks: &EmptyMarks,
    empty_after: Duration,
    now: i64,
) -> Vec<EmptyService> {
    let mut found = Vec::new();
    for (tenant, view) in snapshot.tenants() {
        for service in view.services().filter(|service| is_empty(snapshot, tenant, service)) {
            let stored = marks.marks.get(&(tenant.clone(), service.id.clone()));
            let marked =
                stored.filter(|stored| still_holds(snapshot, tenant, &service.id, &stored.mark)).cloned();
            let since = marked.as_ref().map_or(now, |stored| stored.mark.since.max(marks.looked_since));
            let due = since.saturating_add(i64::try_from(empty_after.as_secs()).unwrap_or(i64::MAX));
            let (tenant, service, seen_at) = (tenant.clone(), Arc::clone(service), snapshot.revision);
            found.push(EmptyService { tenant, service, marked, since, due, seen_at });
        }
    }
    found.sort_by(|a, b| (&a.tenant, &a.service.versioned_path).cmp(&(&b.tenant, &b.service.versioned_path)));
    found
}

/// Whether the service is as empty as when it was marked, and was not used in between.
fn still_holds(snapshot: &Snapshot, tenant: &Tenant, id: &ServiceId, mark: &EmptyMark) -> bool {
    let node = snapshot.tenant(tenant).and_then(|view| view.node(id.as_str()));
    let Some((node, service)) = node.and_then(|node| Some((node, node.view.as_ref()?))) else { return false };
    node.active_at <= mark.revision && is_empty(snapshot, tenant, service)
}

/// Whether a service has neither instances nor consumers. The registry's own service is never empty.
fn is_empty(snapshot: &Snapshot, tenant: &Tenant, service: &ServiceView) -> bool {
    const OTHERS: PartnerFilter = PartnerFilter { same_tenant: false, not_self: true };
    let node = snapshot.tenant(tenant).and_then(|view| view.node(service.id.as_str()));
    !service.is_registry
        && node.is_some_and(|node| node.instances.is_empty())
        && snapshot.consumers(tenant, service, OTHERS).is_empty()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::cache::SnapshotBuilder;
    use crate::domain::dependency::{CrossDomain, Partners};
    use crate::domain::event::{
        InstanceRecord, InstanceRef, PutKind, RegistryEvent, ServiceName, ServiceRecord,
    };
    use crate::domain::service::{Service, ServiceKey};

    const DAY: i64 = 86_400;
    /// Any time.
    const START: i64 = 1_700_000_000;

    struct World {
        builder: SnapshotBuilder,
        revision: Revision,
    }

    fn tenant() -> Tenant {
        Tenant::default_tenant()
    }

    impl World {
        fn new(services: &[&str]) -> Self {
            let mut world = Self { builder: SnapshotBuilder::new(CrossDomain::Forbidden), revision: 0 };
            services.iter().for_each(|name| world.put_service(name));
            world
        }

        fn apply(&mut self, event: impl FnOnce(Revision) -> RegistryEvent) {
            self.revision += 1;
            self.builder.apply(event(self.revision));
        }

        fn put_service(&mut self, name: &str) {
            let document = Service {
                service_id: name.to_owned(),
                service_name: name.to_owned(),
                app_id: "default".to_owned(),
                version: "1.0.0".to_owned(),
                ..Service::default()
            };
            self.apply(|mod_revision| {
                let record = ServiceRecord { document, json: Bytes::new(), mod_revision };
                RegistryEvent::ServicePut(tenant(), name.into(), Arc::new(record))
            });
            let named = ServiceName::new(tenant(), "", "default", name);
            self.apply(|revision| RegistryEvent::IndexPut(named, "1.0.0".into(), name.into(), revision));
        }

        fn at(service: &str) -> InstanceRef {
            InstanceRef { tenant: tenant(), service: service.into(), instance: "i".into() }
        }

        fn put_instance(&mut self, service: &str) {
            self.apply(|mod_revision| {
                let record = InstanceRecord { json: Bytes::from_static(b"{}"), mod_revision, compact: None };
                RegistryEvent::InstancePut(Self::at(service), PutKind::Created, record)
            });
        }

        fn delete_instance(&mut self, service: &str) {
            self.apply(|_| RegistryEvent::InstanceDeleted(Self::at(service)));
        }

        /// The consumer depends on the provider.
        fn depend(&mut self, consumer: &str, provider: &str) {
            let key = |name: &str, version: &str| ServiceKey {
                tenant: tenant().to_string(),
                app_id: "default".to_owned(),
                service_name: name.to_owned(),
                version: version.to_owned(),
                ..ServiceKey::default()
            };
            let rule = |keys: Vec<ServiceKey>| Arc::new(Partners { keys });
            let name = |name: &str| ServiceName::new(tenant(), "", "default", name);
            let (consumers, providers) =
                (rule(vec![key(consumer, "1.0.0")]), rule(vec![key(provider, "0.0.0+")]));
            self.apply(|at| RegistryEvent::ProviderRulePut(name(provider), "0.0.0+".into(), consumers, at));
            self.apply(|at| RegistryEvent::ConsumerRulePut(name(consumer), "1.0.0".into(), providers, at));
        }

        fn snapshot(&mut self) -> Arc<Snapshot> {
            self.builder.publish(self.revision).0
        }

        /// Marks all services that are empty now.
        fn marked(&mut self, now: i64) -> EmptyMarks {
            let snapshot = self.snapshot();
            let empty = empty_services(&snapshot, &EmptyMarks::default(), Duration::ZERO, now);
            let mark = EmptyMark { since: now, revision: snapshot.revision };
            // The mark itself is a write that no watch brings.
            let stored = StoredMark { mark, put_at: snapshot.revision };
            let marks =
                empty.into_iter().map(|empty| ((empty.tenant, empty.service.id.clone()), stored.clone()));
            EmptyMarks { marks: marks.collect(), looked_since: 0 }
        }

        /// The services that may be deleted ten days after the start, if they were marked at the start and the limit is nine days.
        #[track_caller]
        fn check(&mut self, marks: &EmptyMarks, expected: &[&str]) {
            let snapshot = self.snapshot();
            let now = START + 10 * DAY;
            let empty = empty_services(&snapshot, marks, Duration::from_secs(9 * 86_400), now);
            let due = empty.iter().filter(|empty| empty.marked.is_some() && empty.due <= now);
            assert_eq!(due.map(|empty| empty.service.id.as_str()).collect::<Vec<_>>(), expected);
        }
    }

    #[test]
    fn empty_for_long_enough() {
        let mut world = World::new(&["a", "b", "used"]);
        world.put_instance("used");
        let marks = world.marked(START);
        world.check(&marks, &["a", "b"]);
        let late = world.marked(START + 2 * DAY);
        world.check(&late, &[]);
        world.check(&EmptyMarks::default(), &[]);
    }

    #[test]
    fn the_time_counts_from_when_a_node_looks() {
        let mut world = World::new(&["a"]);
        let mut marks = world.marked(START);
        marks.looked_since = START + DAY;
        world.check(&marks, &["a"]);
        marks.looked_since = START + DAY + 1;
        world.check(&marks, &[]);
    }

    #[test]
    fn a_use_ends_a_mark() {
        let mut world = World::new(&["instance", "gone again", "document", "tags", "schema", "untouched"]);
        let marks = world.marked(START);
        world.put_instance("instance");
        world.put_instance("gone again");
        world.delete_instance("gone again");
        world.put_service("document");
        world.apply(|revision| RegistryEvent::TagsPut(tenant(), "tags".into(), Arc::default(), revision));
        world.apply(|revision| {
            RegistryEvent::SchemaRefPut(tenant(), "schema".into(), "x".into(), "hash".into(), revision)
        });
        world.check(&marks, &["untouched"]);
        let snapshot = world.snapshot();
        let mut ended: Vec<&str> = marks.ended(&snapshot).map(|((_, id), _)| id.as_str()).collect();
        ended.sort_unstable();
        assert_eq!(ended, ["document", "gone again", "instance", "schema", "tags"]);
        world.apply(|_| RegistryEvent::ServiceDeleted(tenant(), "untouched".into()));
        let snapshot = world.snapshot();
        assert_eq!(marks.ended(&snapshot).count(), 6, "the mark of a service that is gone ends too");
    }

    /// A mark that another node has put just now says nothing to a node that is behind.
    #[test]
    fn a_mark_of_the_future_stays() {
        let mut world = World::new(&["a"]);
        world.put_instance("a");
        let snapshot = world.snapshot();
        let mark = EmptyMark { since: START, revision: snapshot.revision + 1 };
        let stored = StoredMark { mark, put_at: snapshot.revision + 2 };
        let marks = HashMap::from([((tenant(), "a".into()), stored)]);
        assert_eq!(EmptyMarks { marks, looked_since: 0 }.ended(&snapshot).count(), 0);
    }

    #[test]
    fn consumers_protect_their_providers_but_not_themselves() {
        let mut world = World::new(&["consumer", "provider", "itself"]);
        world.depend("consumer", "provider");
        world.depend("itself", "itself");
        let marks = world.marked(START);
        world.check(&marks, &["consumer", "itself"]);
        world.apply(|_| RegistryEvent::ServiceDeleted(tenant(), "consumer".into()));
        let marks = world.marked(START);
        world.check(&marks, &["itself", "provider"]);
    }

    #[test]
    fn the_registry_is_never_empty() {
        let mut world = World::new(&["SERVICECENTER", "a"]);
        let marks = world.marked(START);
        world.check(&marks, &["a"]);
    }

    #[test]
    fn looking_goes_on_over_short_gaps() {
        let at = |since: i64, until: i64| LookRecord { since: START + since, until: START + until };
        let check = |record: LookRecord, now: i64, expected: LookRecord| {
            assert_eq!(record.clone().looked(START + now), expected, "{record:?} at {now}");
        };
        check(LookRecord::default(), 0, at(0, 0));
        check(at(0, 0), 299, at(0, 0));
        check(at(0, 0), 300, at(0, 300));
        check(at(0, 300), 3_900, at(0, 3_900));
        check(at(0, 300), 3_901, at(3_901, 3_901));
        // Clocks of nodes differ a little. A clock that jumps is a gap.
        check(at(0, 300), 200, at(0, 300));
        check(at(0, 9_000), 200, at(200, 200));
    }

    #[test]
    fn the_order_is_fixed() {
        let mut world = World::new(&["c", "a", "b"]);
        let snapshot = world.snapshot();
        let empty = empty_services(&snapshot, &EmptyMarks::default(), Duration::ZERO, START);
        assert_eq!(empty.iter().map(|empty| empty.service.id.as_str()).collect::<Vec<_>>(), ["a", "b", "c"]);
        assert!(empty.iter().all(|empty| empty.marked.is_none() && empty.due == START));
        assert_eq!(snapshot.service(&tenant(), "a").unwrap().id.as_str(), "a");
    }
}
