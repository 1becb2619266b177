//! Each event, in every order in which a store may send them.

use std::sync::Arc;

use super::super::ServiceView;
use super::super::snapshot::NamedVersion;
use super::*;
use crate::domain::dependency::CrossDomain;

fn one_service() -> SnapshotWorld {
    let mut world = SnapshotWorld::default();
    world.put_service("s", &name("", "app", "svc"), "1.0.0");
    world
}

fn lease_of(world: &SnapshotWorld, service: &str, instance: &str) -> Option<i64> {
    let entry = world.builder.current().instance(&tenant(), service, instance).cloned();
    entry.and_then(|entry| entry.lease.as_ref().map(|mark| mark.lease()))
}

fn is_empty(world: &mut SnapshotWorld) -> bool {
    let snapshot = world.snapshot();
    snapshot.tenants().next().is_none() && snapshot.instance_count == 0
}

fn put_lease(world: &mut SnapshotWorld, service: &str, instance: &str, lease: i64) {
    world.apply(RegistryEvent::LeasePut(at(service, instance), lease));
}

fn delete_lease(world: &mut SnapshotWorld, service: &str, instance: &str) {
    world.apply(RegistryEvent::LeaseDeleted(at(service, instance)));
}

#[test]
fn a_service_comes_and_goes_in_any_order_of_its_parts() {
    let svc = name("", "app", "svc");
    let mut world = SnapshotWorld::default();
    // The name comes first: the service is not found before its document is there.
    world.apply(RegistryEvent::IndexPut(svc.clone(), "1".into(), "s".into(), 1));
    assert_eq!(world.snapshot().tenant(&tenant()).unwrap().service_count, 0);
    world.put_document(document("s", &svc, "1"));
    world.put_document(document("s", &svc, "1"));
    let snapshot = world.snapshot();
    let view = snapshot.tenant(&tenant()).unwrap();
    assert_eq!((view.service_count, view.service("s").unwrap().versioned_path.as_ref()), (1, "/app/svc/1"));
    world.apply(RegistryEvent::ServiceDeleted(tenant(), "s".into()));
    assert_eq!(world.snapshot().tenant(&tenant()).unwrap().service_count, 0);
    assert!(!is_empty(&mut world));
    world.apply(RegistryEvent::IndexDeleted(svc, "1".into()));
    assert!(is_empty(&mut world));
}

#[test]
fn a_lease_may_come_before_its_instance_and_both_before_the_service() {
    let mut world = SnapshotWorld::default();
    put_lease(&mut world, "s", "i", 7);
    assert_eq!(world.snapshot().instance_count, 0);
    world.put_instance("s", "i");
    assert_eq!(lease_of(&world, "s", "i"), Some(7));
    assert_eq!(world.changes(), [(Action::Create, "s/i".to_owned(), false)]);
    world.put_service("s", &name("", "app", "svc"), "1");
    world.put_instance("s", "i");
    assert_eq!(lease_of(&world, "s", "i"), Some(7), "a change of the document leaves the lease");
    assert_eq!(world.changes(), [(Action::Update, "s/i".to_owned(), true)]);
    assert_eq!(world.snapshot().instance_count, 1);
}

#[test]
fn another_lease_has_another_mark_and_the_same_keeps_it() {
    let mut world = one_service();
    world.put_instance("s", "i");
    put_lease(&mut world, "s", "i", 7);
    let mark = |world: &SnapshotWorld| {
        world.builder.current().instance(&tenant(), "s", "i").unwrap().lease.clone().unwrap()
    };
    let first = mark(&world);
    put_lease(&mut world, "s", "i", 7);
    assert!(Arc::ptr_eq(&first, &mark(&world)));
    put_lease(&mut world, "s", "i", 8);
    assert_eq!((first.lease(), mark(&world).lease()), (7, 8));
    delete_lease(&mut world, "s", "i");
    assert_eq!(lease_of(&world, "s", "i"), None);
    let changes = world.changes();
    assert_eq!(changes.len(), 1, "leases are no change for watchers: {changes:?}");
}

#[test]
fn a_lease_key_that_outlives_its_document_is_known_when_the_document_comes_back() {
    let mut world = one_service();
    world.put_instance("s", "i");
    put_lease(&mut world, "s", "i", 7);
    world.delete_instance("s", "i");
    world.put_instance("s", "i");
    assert_eq!(lease_of(&world, "s", "i"), Some(7));
    world.delete_instance("s", "i");
    delete_lease(&mut world, "s", "i");
    world.put_instance("s", "i");
    assert_eq!(lease_of(&world, "s", "i"), None);
}

#[test]
fn a_deleted_instance_is_told_with_its_last_document() {
    let mut world = one_service();
    world.put_instance("s", "i");
    let json = world.builder.current().instance(&tenant(), "s", "i").unwrap().json().clone();
    world.publish();
    world.delete_instance("s", "i");
    world.delete_instance("s", "i");
    let (snapshot, changes) = world.publish();
    assert_eq!(changes.len(), 1, "the second deletion finds nothing");
    assert_eq!((changes[0].action, &changes[0].json), (Action::Delete, &json));
    assert_eq!(changes[0].service.as_ref().unwrap().id.as_str(), "s");
    assert_eq!((snapshot.instance_count, snapshot.tenant(&tenant()).unwrap().instance_count), (0, 0));
}

#[test]
fn an_instance_stays_when_its_service_goes() {
    let mut world = one_service();
    world.put_instance("s", "i");
    world.apply(RegistryEvent::ServiceDeleted(tenant(), "s".into()));
    world.apply(RegistryEvent::IndexDeleted(name("", "app", "svc"), "1.0.0".into()));
    assert_eq!(world.snapshot().instance_count, 1);
    world.delete_instance("s", "i");
    assert!(is_empty(&mut world));
}

#[test]
fn a_version_that_changes_owner_leads_to_the_new_one_only() {
    let svc = name("", "app", "svc");
    let mut world = SnapshotWorld::default();
    world.put_service("a", &svc, "1");
    world.put_service("b", &svc, "1");
    let snapshot = world.snapshot();
    let view = snapshot.tenant(&tenant()).unwrap();
    let versions = view.name("/app/svc").unwrap().versions();
    assert_eq!(versions, [NamedVersion { version: "1".into(), service: "b".into(), mod_revision: 4 }]);
    // The former owner is removed completely, and the name stays.
    world.apply(RegistryEvent::ServiceDeleted(tenant(), "a".into()));
    let snapshot = world.snapshot();
    let view = snapshot.tenant(&tenant()).unwrap();
    assert_eq!(view.nodes().map(|(id, _)| id.as_str()).collect::<Vec<_>>(), ["b"]);
    world.apply(RegistryEvent::ServiceDeleted(tenant(), "b".into()));
    world.apply(RegistryEvent::IndexDeleted(svc, "1".into()));
    assert!(is_empty(&mut world));
}

#[test]
fn a_name_written_twice_goes_with_one_deletion() {
    let svc = name("", "app", "svc");
    let mut world = SnapshotWorld::default();
    for _ in 0..2 {
        world.apply(RegistryEvent::IndexPut(svc.clone(), "1".into(), "s".into(), 1));
        world.apply(RegistryEvent::AliasPut(svc.clone(), "1".into(), "s".into(), 1));
    }
    world.apply(RegistryEvent::IndexDeleted(svc.clone(), "1".into()));
    assert!(!is_empty(&mut world));
    world.apply(RegistryEvent::AliasDeleted(svc, "1".into()));
    assert!(is_empty(&mut world));
}

#[test]
fn two_versions_of_a_name_may_lead_to_one_service() {
    let svc = name("", "app", "svc");
    let mut world = one_service();
    world.apply(RegistryEvent::IndexPut(svc.clone(), "2".into(), "s".into(), 1));
    world.apply(RegistryEvent::IndexDeleted(svc.clone(), "1.0.0".into()));
    world.put_instance("s", "i");
    let query = FindQuery {
        tenant: &tenant(),
        target: &tenant(),
        environment: "",
        app_id: "app",
        name: "svc",
        tags: &[],
        consumer: "",
    };
    assert_eq!(ids(&world.snapshot().find(&query, &shared()).unwrap().answer), ["i"]);
    world.put_instance("s", "j");
    assert_eq!(ids(&world.snapshot().find(&query, &shared()).unwrap().answer), ["i", "j"]);
}

#[test]
fn what_hangs_on_a_service_goes_piece_by_piece() {
    let mut world = SnapshotWorld::default();
    world.put_tags("s", &["a"]);
    world.apply(RegistryEvent::SchemaRefPut(tenant(), "s".into(), "x".into(), "hash".into(), 9));
    world.apply(RegistryEvent::SchemaSummaryPut(tenant(), "s".into(), "x".into(), "sum".into(), 1));
    let snapshot = world.snapshot();
    let node = snapshot.tenant(&tenant()).unwrap().node("s").unwrap();
    assert_eq!(node.tags.as_ref().unwrap().1, 1);
    assert_eq!(node.schema_refs.get("x").unwrap().as_ref(), "hash");
    assert_eq!(&*node.schema_summaries.get("x").unwrap().text, "sum");
    assert_eq!(node.active_at, 9);
    world.apply(RegistryEvent::TagsDeleted(tenant(), "s".into()));
    world.apply(RegistryEvent::SchemaRefDeleted(tenant(), "s".into(), "x".into()));
    assert!(!is_empty(&mut world));
    world.apply(RegistryEvent::SchemaSummaryDeleted(tenant(), "s".into(), "x".into()));
    assert!(is_empty(&mut world));
}

fn partners_of(snapshot: &Snapshot, tenant: &Tenant, id: &str) -> (Vec<String>, Vec<String>) {
    let ids = |found: Vec<Arc<ServiceView>>| -> Vec<String> {
        found.iter().map(|service| service.id.to_string()).collect()
    };
    let (service, all) = (snapshot.service(tenant, id).unwrap(), PartnerFilter::default());
    (ids(snapshot.providers(tenant, service, all)), ids(snapshot.consumers(tenant, service, all)))
}

/// Other nodes may have written such rules.
#[test]
fn rules_across_domains_count_only_where_that_is_allowed() {
    let (near, far) = (Tenant::from("default/other"), Tenant::from("far/p"));
    let check = |cross_domain: CrossDomain, expected: (&[&str], &[&str])| {
        let mut world = SnapshotWorld { builder: SnapshotBuilder::new(cross_domain), revision: 0 };
        let (shop, bank) = (name("", "app", "shop"), name("", "app", "bank"));
        world.put_service("s", &shop, "1");
        for (tenant, id) in [(&near, "near"), (&far, "far")] {
            let bank = ServiceName { tenant: tenant.clone(), ..bank.clone() };
            let document = document(id, &bank, "1");
            let json = json::encode(&document).into();
            let record = Arc::new(ServiceRecord { document, json, mod_revision: 1 });
            world.apply(RegistryEvent::ServicePut(tenant.clone(), id.into(), record));
            world.apply(RegistryEvent::IndexPut(bank, "1".into(), id.into(), 1));
        }
        let banks = [partner(&far, &bank, "0.0.0+"), partner(&near, &bank, "0.0.0+")];
        world.put_consumer_rule(&shop, "1", &banks);
        world.put_provider_rule(&shop, &[partner(&near, &bank, "1"), partner(&far, &bank, "1")]);
        let (providers, consumers) = partners_of(&world.snapshot(), &tenant(), "s");
        assert_eq!(providers, expected.0);
        assert_eq!(consumers, expected.1);
        // A listing follows the same rule.
        let mut listed = SnapshotBuilder::listing_after(world.builder.current(), 1);
        listed.apply(RegistryEvent::ConsumerRulePut(
            shop.clone(),
            "1".into(),
            Arc::new(Partners { keys: banks.to_vec() }),
            1,
        ));
        let view = listed.current().tenant(&tenant()).unwrap();
        let rule = view.consumer_rule("/app/shop/1").unwrap();
        assert_eq!(rule.partners.keys.len(), expected.0.len());
    };
    check(CrossDomain::Forbidden, (&["near"], &["near"]));
    check(CrossDomain::Allowed, (&["far", "near"], &["near", "far"]));
}

#[test]
fn a_provider_is_meant_by_its_alias_while_no_service_has_its_name() {
    let (shop, bank, nobody) = (name("", "app", "shop"), name("", "app", "bank"), name("", "app", "nobody"));
    let aliased =
        |alias: &str| ServiceKey { alias: alias.to_owned(), ..partner(&tenant(), &nobody, "0.0.0+") };
    let mut world = SnapshotWorld::default();
    world.put_service("c", &shop, "1");
    for (id, version, alias) in [("b1", "1", "money"), ("b2", "2", "money"), ("b3", "3", "")] {
        world.put_document(Service { alias: alias.to_owned(), ..document(id, &bank, version) });
        world.apply(RegistryEvent::IndexPut(bank.clone(), version.into(), id.into(), 1));
        if !alias.is_empty() {
            let alias = name("", "app", alias);
            world.apply(RegistryEvent::AliasPut(alias, version.into(), id.into(), 1));
        }
    }
    let check = |world: &mut SnapshotWorld, expected: [&[&str]; 4]| {
        let snapshot = world.snapshot();
        reads(&snapshot);
        let of = |id: &str| partners_of(&snapshot, &tenant(), id);
        for (found, expected) in [of("c").0, of("b1").1, of("b2").1, of("b3").1].iter().zip(expected) {
            assert_eq!(found, expected);
        }
    };
    check(&mut world, [&[], &[], &[], &[]]);
    world.put_consumer_rule(&shop, "1", &[aliased("money")]);
    world.put_provider_rule(&nobody, &[partner(&tenant(), &shop, "1")]);
    check(&mut world, [&["b1", "b2"], &["c"], &["c"], &[]]);
    // The rule gives another alias now.
    world.put_consumer_rule(&shop, "1", &[aliased("gold")]);
    check(&mut world, [&[], &[], &[], &[]]);
    world.put_consumer_rule(&shop, "1", &[aliased("money")]);
    // A service with the name comes before one with the alias.
    world.put_service("n", &nobody, "1");
    check(&mut world, [&["n"], &[], &[], &[]]);
    world.apply(RegistryEvent::IndexDeleted(nobody.clone(), "1".into()));
    check(&mut world, [&["b1", "b2"], &["c"], &["c"], &[]]);
    // A provider that is named twice is returned once.
    world.put_consumer_rule(&shop, "1", &[aliased("money"), partner(&tenant(), &bank, "0.0.0+")]);
    world.put_provider_rule(&bank, &[partner(&tenant(), &shop, "1")]);
    check(&mut world, [&["b1", "b2", "b3"], &["c"], &["c"], &["c"]]);
    world.apply(RegistryEvent::ConsumerRuleDeleted(shop, "1".into()));
    world.apply(RegistryEvent::ProviderRuleDeleted(bank, "0.0.0+".into()));
    check(&mut world, [&[], &[], &[], &[]]);
    let snapshot = world.snapshot();
    assert!(snapshot.tenant(&tenant()).unwrap().aliased_rules.is_empty());
}

#[test]
fn rules_come_and_go() {
    let (shop, bank) = (name("", "app", "shop"), name("", "app", "bank"));
    let mut world = SnapshotWorld::default();
    world.put_service("c", &shop, "1");
    world.put_service("p1", &bank, "1");
    world.put_service("p2", &bank, "2");
    world.put_consumer_rule(&shop, "1", &[partner(&tenant(), &bank, "0.0.0+")]);
    world.put_provider_rule(&bank, &[partner(&tenant(), &shop, "1")]);
    let check = |world: &mut SnapshotWorld, expected: (&[&str], &[&str])| {
        let snapshot = world.snapshot();
        let service = |id| snapshot.service(&tenant(), id).unwrap();
        let ids = |found: Vec<Arc<super::super::ServiceView>>| -> Vec<String> {
            found.iter().map(|service| service.id.to_string()).collect()
        };
        let filter = PartnerFilter { same_tenant: true, not_self: true };
        assert_eq!(ids(snapshot.providers(&tenant(), service("c"), filter)), expected.0);
        assert_eq!(ids(snapshot.consumers(&tenant(), service("p2"), filter)), expected.1);
    };
    check(&mut world, (&["p1", "p2"], &["c"]));
    // The older form of a rule's key has another version. Both rules count.
    world.apply(RegistryEvent::ProviderRulePut(
        bank.clone(),
        "1".into(),
        Arc::new(Partners { keys: vec![partner(&tenant(), &bank, "1")] }),
        1,
    ));
    check(&mut world, (&["p1", "p2"], &["c", "p1"]));
    world.apply(RegistryEvent::ProviderRuleDeleted(bank.clone(), "0.0.0+".into()));
    check(&mut world, (&["p1", "p2"], &["p1"]));
    world.apply(RegistryEvent::ProviderRuleDeleted(bank.clone(), "1".into()));
    world.apply(RegistryEvent::ProviderRuleDeleted(bank, "1".into()));
    world.apply(RegistryEvent::ConsumerRuleDeleted(shop, "1".into()));
    check(&mut world, (&[], &[]));
}

#[test]
fn the_queue_domains_and_projects() {
    let mut world = SnapshotWorld::default();
    world.apply(RegistryEvent::DependencyQueued("k1".into(), None));
    world.apply(RegistryEvent::DependencyQueued("k2".into(), None));
    world.apply(RegistryEvent::DependencyTaken("k1".into(), None));
    world.apply(RegistryEvent::DependencyTaken("k9".into(), None));
    world.apply(RegistryEvent::DomainPut("default".into()));
    world.apply(RegistryEvent::ProjectPut(tenant()));
    let snapshot = world.snapshot();
    assert_eq!(snapshot.dependency_queue.iter().map(AsRef::as_ref).collect::<Vec<&str>>(), ["k2"]);
    assert!(snapshot.domains.contains("default") && snapshot.projects.contains("default/default"));
}

#[test]
fn deletions_of_what_was_never_there_do_nothing() {
    let svc = name("", "app", "svc");
    let mut world = SnapshotWorld::default();
    let nothing = |world: &mut SnapshotWorld, service: &str| {
        world.apply(RegistryEvent::ServiceDeleted(tenant(), service.into()));
        world.apply(RegistryEvent::IndexDeleted(svc.clone(), "9".into()));
        world.apply(RegistryEvent::AliasDeleted(svc.clone(), "9".into()));
        world.apply(RegistryEvent::TagsDeleted(tenant(), service.into()));
        world.apply(RegistryEvent::SchemaRefDeleted(tenant(), service.into(), "x".into()));
        world.apply(RegistryEvent::SchemaSummaryDeleted(tenant(), service.into(), "x".into()));
        world.apply(RegistryEvent::ConsumerRuleDeleted(svc.clone(), "9".into()));
        world.apply(RegistryEvent::ProviderRuleDeleted(svc.clone(), "9".into()));
        world.delete_instance(service, "none");
        delete_lease(world, service, "none");
    };
    nothing(&mut world, "s");
    assert!(is_empty(&mut world));
    let mut world = one_service();
    world.put_instance("s", "i");
    let before = reads(&world.snapshot());
    world.publish();
    nothing(&mut world, "t");
    world.delete_instance("s", "none");
    delete_lease(&mut world, "s", "none");
    let (snapshot, changes) = world.publish();
    assert_eq!((reads(&snapshot), changes.len()), (before, 0));
}

#[test]
fn a_published_snapshot_stays_as_it_is() {
    let mut world = one_service();
    world.put_instance("s", "i");
    let first = world.snapshot();
    let before = reads(&first);
    world.put_instance("s", "j");
    world.put_tags("s", &["a"]);
    world.apply(RegistryEvent::ServiceDeleted(tenant(), "s".into()));
    world.delete_instance("s", "i");
    world.publish();
    assert_eq!(reads(&first), before);
}

#[test]
fn a_revision_never_goes_back() {
    let mut world = one_service();
    assert_eq!(world.builder.publish(9).0.revision, 9);
    assert_eq!(world.builder.publish(4).0.revision, 9);
}
