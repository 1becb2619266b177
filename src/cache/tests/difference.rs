//! The changes that watchers are told when events were missed.

use super::super::builder::difference;
use super::*;

fn told(old: &Snapshot, new: &Snapshot) -> Vec<(String, String, bool)> {
    let changes = difference(old, new);
    let mut told: Vec<(String, String, bool)> = changes
        .iter()
        .map(|change| (format!("{:?}", change.action), in_short(&change.at), change.service.is_some()))
        .collect();
    told.sort();
    told
}

fn row(action: Action, at: &str, is_of_service: bool) -> (String, String, bool) {
    (format!("{action:?}"), at.to_owned(), is_of_service)
}

#[test]
fn new_changed_and_gone() {
    let mut world = SnapshotWorld::default();
    let empty = world.snapshot();
    world.put_service("s", &name("", "app", "svc"), "1");
    world.put_instance("s", "same");
    world.put_instance("s", "changed");
    world.put_instance("s", "gone");
    world.put_instance("unknown", "gone");
    let old = world.snapshot();
    assert_eq!(told(&empty, &old).len(), 4);
    assert_eq!(told(&old, &old), []);
    world.put_instance("s", "changed");
    world.put_instance("s", "new");
    world.delete_instance("s", "gone");
    world.delete_instance("unknown", "gone");
    let new = world.snapshot();
    let expected = [
        row(Action::Create, "s/new", true),
        row(Action::Delete, "s/gone", true),
        row(Action::Delete, "unknown/gone", false),
        row(Action::Update, "s/changed", true),
    ];
    assert_eq!(told(&old, &new), expected);
    assert!(told(&new, &empty).iter().all(|(action, ..)| action == "Delete"));
    let json =
        difference(&old, &new).into_iter().find(|change| change.action == Action::Delete).unwrap().json;
    assert!(json.starts_with(b"{\"instanceId\":\"gone\""));
}

#[test]
fn one_that_went_and_came_back_has_changed() {
    let mut world = SnapshotWorld::default();
    world.put_service("s", &name("", "app", "svc"), "1");
    world.put_instance("s", "i");
    let old = world.snapshot();
    world.delete_instance("s", "i");
    world.put_instance("s", "i");
    assert_eq!(told(&old, &world.snapshot()), [row(Action::Update, "s/i", true)]);
}

#[test]
fn the_same_id_of_another_service_is_another_instance() {
    let mut world = SnapshotWorld::default();
    world.put_instance("a", "i");
    let old = world.snapshot();
    world.delete_instance("a", "i");
    world.put_instance("b", "i");
    let expected = [row(Action::Create, "b/i", false), row(Action::Delete, "a/i", false)];
    assert_eq!(told(&old, &world.snapshot()), expected);
}
