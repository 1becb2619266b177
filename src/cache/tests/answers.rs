//! Ready answers: a change drops the answers that it makes wrong, and keeps the others.

use std::sync::Arc;

use super::*;

fn find(snapshot: &Snapshot, tags: &[&str]) -> Arc<FindAnswer> {
    let tenant = tenant();
    let query = FindQuery {
        tenant: &tenant,
        target: &tenant,
        environment: "",
        app_id: "app",
        name: "svc",
        tags,
        consumer: "",
    };
    snapshot.find(&query, &shared()).unwrap().answer.into_owned()
}

fn list(snapshot: &Snapshot, service: &str) -> Arc<FindAnswer> {
    let tenant = tenant();
    snapshot
        .list_instances(&ListQuery { tenant: &tenant, provider: service, tags: &[], consumer: "" })
        .unwrap()
}

fn world() -> SnapshotWorld {
    let svc = name("", "app", "svc");
    let mut world = SnapshotWorld::default();
    for (id, version) in [("s1", "1"), ("s2", "2")] {
        world.put_service(id, &svc, version);
        world.put_instance(id, "i");
    }
    world.put_tags("s2", &["a"]);
    world.put_service("other", &name("", "app", "other"), "1");
    world
}

/// Whether a reader still holds the former snapshot. If none does, the builder changes its working copy in place.
#[derive(Clone, Copy, Debug)]
enum FormerSnapshot {
    Held,
    Dropped,
}

/// Makes all answers, changes something, and makes them again.
#[track_caller]
fn check(change: impl Fn(&mut SnapshotWorld), all: &[&str], tagged: &[&str]) {
    for held in [FormerSnapshot::Held, FormerSnapshot::Dropped] {
        let mut world = world();
        let former = world.snapshot();
        find(&former, &[]);
        find(&former, &["a"]);
        list(&former, "s1");
        list(&former, "s2");
        let former = Some(former).filter(|_| matches!(held, FormerSnapshot::Held));
        change(&mut world);
        let snapshot = world.snapshot();
        assert_eq!(told(&find(&snapshot, &[])), joined(&snapshot, all), "{held:?}");
        assert_eq!(told(&find(&snapshot, &["a"])), joined(&snapshot, tagged), "{held:?}");
        for id in ["s1", "s2"] {
            if snapshot.service(&tenant(), id).is_some() {
                assert_eq!(told(&list(&snapshot, id)), joined(&snapshot, &[id]), "{held:?}");
            }
        }
        drop(former);
    }
}

#[test]
fn instances_change_them() {
    check(|world| world.put_instance("s1", "j"), &["s1", "s2"], &["s2"]);
    check(|world| world.put_instance("s2", "i"), &["s1", "s2"], &["s2"]);
    check(|world| world.delete_instance("s2", "i"), &["s1", "s2"], &["s2"]);
}

#[test]
fn versions_change_them() {
    let svc = || name("", "app", "svc");
    check(
        |world| {
            world.put_service("s0", &svc(), "0");
            world.put_instance("s0", "k");
        },
        &["s0", "s1", "s2"],
        &["s2"],
    );
    check(
        |world| {
            // The answer with only the one version must not be returned for the other.
            world.apply(RegistryEvent::IndexDeleted(svc(), "1".into()));
        },
        &["s2"],
        &["s2"],
    );
    check(
        |world| {
            world.apply(RegistryEvent::IndexPut(svc(), "1".into(), "other".into(), 1));
            world.put_instance("other", "o");
        },
        &["other", "s2"],
        &["s2"],
    );
}

#[test]
fn documents_and_tags_change_who_is_seen() {
    check(|world| world.apply(RegistryEvent::ServiceDeleted(tenant(), "s1".into())), &["s2"], &["s2"]);
    check(|world| world.put_tags("s1", &["a", "b"]), &["s1", "s2"], &["s1", "s2"]);
    check(
        |world| {
            world.put_tags("s1", &["a"]);
            world.apply(RegistryEvent::TagsDeleted(tenant(), "s2".into()));
        },
        &["s1", "s2"],
        &["s1"],
    );
}

#[test]
fn an_instance_seen_by_a_name_and_an_alias_changes_both() {
    let mut world = world();
    world.apply(RegistryEvent::AliasPut(name("", "app", "nick"), "1".into(), "s1".into(), 1));
    let by_alias = |snapshot: &Snapshot| {
        let tenant = tenant();
        let query = FindQuery {
            tenant: &tenant,
            target: &tenant,
            environment: "",
            app_id: "app",
            name: "nick",
            tags: &[],
            consumer: "",
        };
        snapshot.find(&query, &shared()).unwrap().answer.into_owned()
    };
    assert_eq!(ids(&by_alias(&world.snapshot())), ["i"]);
    world.put_instance("s1", "j");
    assert_eq!(ids(&by_alias(&world.snapshot())), ["i", "j"]);
}

#[test]
fn what_does_not_touch_them_leaves_them() {
    let mut world = world();
    let former = world.snapshot();
    let (found, tagged, listed) = (find(&former, &[]), find(&former, &["a"]), list(&former, "s1"));
    world.put_instance("other", "o");
    world.put_service("new", &name("", "app", "new"), "1");
    world.put_instance("s9", "early");
    world.apply(RegistryEvent::DependencyQueued("k".into(), None));
    let snapshot = world.snapshot();
    assert!(Arc::ptr_eq(&found, &find(&snapshot, &[])));
    assert!(Arc::ptr_eq(&tagged, &find(&snapshot, &["a"])));
    assert!(Arc::ptr_eq(&listed, &list(&snapshot, "s1")));
}

#[test]
fn subsets_are_kept_apart_and_bounded() {
    let svc = name("", "app", "svc");
    let mut world = SnapshotWorld::default();
    for number in 0..12 {
        let id = format!("s{number:02}");
        world.put_service(&id, &svc, &format!("1.{number:02}"));
        world.put_instance(&id, &id);
        world.put_tags(&id, &[&id]);
    }
    let snapshot = world.snapshot();
    for _ in 0..2 {
        for number in 0..12 {
            let id = format!("s{number:02}");
            assert_eq!(ids(&find(&snapshot, &[&id])), [id]);
        }
    }
    let (last, first) = (find(&snapshot, &["s11"]), find(&snapshot, &["s00"]));
    assert!(Arc::ptr_eq(&last, &find(&snapshot, &["s11"])), "recent ones are kept");
    assert!(Arc::ptr_eq(&first, &find(&snapshot, &["s00"])));
}

#[test]
fn nothing_found_is_an_empty_object() {
    let mut world = SnapshotWorld::default();
    world.put_service("s", &name("", "app", "svc"), "1");
    let answer = find(&world.snapshot(), &[]);
    assert_eq!((&answer.body()[..], answer.count, answer.instances_size()), (&b"{}"[..], 0, 0));
    assert_eq!(instances(&answer), "");
    world.put_instance("s", "a");
    world.put_instance("s", "b");
    let answer = find(&world.snapshot(), &[]);
    assert!(!answer.is_kept());
    let joined = instances(&answer);
    assert_eq!(format!("{{\"instances\":[{joined}]}}").as_bytes(), &answer.body()[..]);
    assert!(answer.is_kept());
    assert_eq!(instances(&answer), joined);
    assert_eq!(&*answer.revision, crate::domain::revision::find_revision(4, 2));
}

/// The instances of an answer. Asserts that they have the size that the answer gives.
fn instances(answer: &crate::cache::FindAnswer) -> String {
    let mut out = Vec::new();
    answer.write_instances(&mut out);
    assert_eq!(out.len(), answer.instances_size());
    String::from_utf8(out).unwrap()
}

/// Whether two bodies share their memory.
fn is_same(one: &bytes::Bytes, other: &bytes::Bytes) -> bool {
    assert_eq!(one, other);
    one.as_ptr() == other.as_ptr()
}

#[test]
fn a_large_body_is_kept_once_it_is_asked_for_again() {
    let mut world = SnapshotWorld::default();
    world.put_service("s", &name("", "app", "svc"), "1");
    world.put_instance("s", "first");
    let small = find(&world.snapshot(), &[]);
    assert!(is_same(&small.body(), &small.body()), "a small one at once");
    for number in 0..2_000 {
        world.put_instance("s", &format!("i{number}"));
    }
    let large = find(&world.snapshot(), &[]);
    let bodies = [large.body(), large.body(), large.body()];
    assert!(!is_same(&bodies[0], &bodies[1]), "nobody may ask again");
    assert!(is_same(&bodies[1], &bodies[2]));
    for answer in [&small, &large] {
        assert_eq!(answer.size(), answer.body().len());
    }
}
