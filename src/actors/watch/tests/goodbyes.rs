//! Goodbyes are distinguished from expiries, and expiries are held.

use super::*;

/// A world in which `i` is registered on lease 7, and this lease may be over.
fn registered() -> WatchWorld {
    let mut world = WatchWorld::new();
    world.register("i", 7);
    assert_eq!(world.told(), (vec![(Action::Create, "i".to_owned())], vec![("i".to_owned(), Fate::Back)]));
    world.pass(seconds(121));
    world
}

fn deleted() -> Vec<(Action, String)> {
    vec![(Action::Delete, "i".to_owned())]
}

fn gone() -> Vec<(String, Fate)> {
    vec![("i".to_owned(), Fate::Gone)]
}

#[test]
fn lease_then_document_is_a_goodbye() {
    let mut world = registered();
    world.say_goodbye("i");
    assert_eq!(world.told(), (deleted(), gone()));
    assert_eq!(world.state.guard().next_due(), None);
}

#[test]
fn document_then_lease_is_an_expiry_and_waits() {
    let mut world = registered();
    world.expire("i");
    assert_eq!(world.told(), (vec![], vec![]));
    assert_eq!(world.lease("i"), Some(7), "a beat finds out that the lease is gone");
    world.pass(Duration::from_millis(1999));
    assert!(world.has("i"));
    world.pass(Duration::from_millis(1));
    assert_eq!(world.told(), (deleted(), vec![]), "an expiry is no goodbye");
    assert!(world.step().snapshot.tenant(&tenant()).is_none());
}

#[test]
fn lease_and_document_in_two_revisions_are_no_goodbye() {
    let mut world = registered();
    world.next(|world| vec![world.delete(lease_key("i"))]);
    world.next(|world| vec![world.delete(document("i"))]);
    assert_eq!(world.told(), (vec![], vec![]));
    world.pass(seconds(2));
    assert_eq!(world.told(), (deleted(), vec![]));
}

#[test]
fn the_same_in_one_batch_is_none_either() {
    let mut world = registered();
    world.revision += 2;
    let lease = Event::Delete { key: lease_key("i").into(), revision: world.revision - 1 };
    let events = vec![lease, world.delete(document("i"))];
    world.state.apply(WatchBatch { revision: world.revision, events }, world.now);
    assert_eq!(world.told(), (vec![], vec![]));
    assert_eq!(world.lease("i"), None);
}

#[test]
fn several_say_goodbye_in_one_revision_whatever_else_is_in_it() {
    let mut world = registered();
    world.register("j", 8);
    world.register("k", 9);
    world.pass(seconds(121));
    world.told();
    // A service is deleted, the leases first. In the same batch an instance expires, in a revision of its own.
    world.next(|world| {
        vec![
            world.delete(lease_key("i")),
            world.delete(lease_key("j")),
            world.delete(document("k")),
            world.delete(lease_key("k")),
            world.delete(document("i")),
            world.delete(document("j")),
        ]
    });
    let (changes, fates) = world.told();
    assert_eq!(changes, [(Action::Delete, "i".to_owned()), (Action::Delete, "j".to_owned())]);
    assert_eq!(fates, [("i".to_owned(), Fate::Gone), ("j".to_owned(), Fate::Gone)]);
    assert!(world.has("k"));
}

#[test]
fn who_had_time_left_said_goodbye_through_another_kind_of_node() {
    let mut world = WatchWorld::new();
    world.register("i", 7);
    world.told();
    world.pass(seconds(100));
    world.expire("i");
    assert_eq!(world.told(), (deleted(), gone()));
    assert!(world.step().snapshot.tenant(&tenant()).is_none());
}

#[test]
fn time_left_is_counted_from_a_grant_ahead_and_a_late_watch() {
    let mut world = WatchWorld::new();
    world.register("i", 7);
    world.told();
    // The lease may be over already, because it came from a pool and its put was seen late.
    world.pass(seconds(105));
    world.expire("i");
    assert_eq!(world.told(), (vec![], vec![]));
}

#[test]
fn a_renewal_gives_time() {
    let mut world = registered();
    let entry = world.step().snapshot.instance(&tenant(), "s", "i").cloned().unwrap();
    entry.lease.as_ref().unwrap().renewed(world.now, 120);
    world.pass(seconds(119));
    world.expire("i");
    assert_eq!(world.told(), (deleted(), gone()));
    let mut world = registered();
    let entry = world.step().snapshot.instance(&tenant(), "s", "i").cloned().unwrap();
    entry.lease.as_ref().unwrap().renewed(world.now, 120);
    world.pass(seconds(120));
    world.expire("i");
    assert_eq!(world.told(), (vec![], vec![]));
}

#[test]
fn it_gives_what_the_store_answers_whatever_the_document_says() {
    // The lease was granted by a node of the original server, whose configuration gives each lease 20 s.
    let short = || {
        let mut world = registered();
        let entry = world.step().snapshot.instance(&tenant(), "s", "i").cloned().unwrap();
        entry.lease.as_ref().unwrap().renewed(world.now, 20);
        world
    };
    let mut world = short();
    world.pass(seconds(20));
    world.expire("i");
    assert_eq!(world.told(), (vec![], vec![]), "its owner has been silent for all its time");
    let mut world = short();
    world.pass(seconds(19));
    world.expire("i");
    assert_eq!(world.told(), (deleted(), gone()));
}

#[test]
fn a_lease_key_written_again_gives_none() {
    let mut world = registered();
    world.next(|world| vec![world.put(lease_key("i"), "7", 2)]);
    world.expire("i");
    assert_eq!(world.told(), (vec![], vec![]));
    // A new lease has time left.
    let mut world = registered();
    world.next(|world| vec![world.put(lease_key("i"), "8", 2)]);
    world.expire("i");
    assert_eq!(world.told(), (deleted(), gone()));
}

#[test]
fn what_was_missed_may_be_of_any_age() {
    let mut world = WatchWorld::new();
    world.state.resume(world.now);
    world.pass(seconds(4));
    world.register("i", 7);
    world.pass(seconds(2));
    world.register("j", 8);
    world.told();
    world.pass(seconds(10));
    world.expire("i");
    world.expire("j");
    let (changes, _) = world.told();
    assert_eq!(changes, [(Action::Delete, "j".to_owned())]);
}

#[test]
fn a_configured_ttl_counts_instead_of_the_documents() {
    let mut world = WatchWorld::new();
    world.state = WatchState::new(SnapshotBuilder::default(), ExpiryGuard::new(rules(1.0)), 20);
    world.register("i", 7);
    world.told();
    world.pass(seconds(13));
    world.expire("i");
    assert_eq!(world.told(), (vec![], vec![]));
    world.pass(seconds(2));
    assert_eq!(world.told(), (deleted(), vec![]));
}

#[test]
fn one_that_registers_again_while_it_is_held_is_created_on_its_new_lease() {
    let mut world = registered();
    world.expire("i");
    world.pass(seconds(1));
    world.register("i", 8);
    assert_eq!(world.told(), (vec![(Action::Create, "i".to_owned())], vec![("i".to_owned(), Fate::Back)]));
    assert_eq!(world.lease("i"), Some(8));
    world.pass(seconds(1000));
    assert_eq!(world.told(), (vec![], vec![]));
    assert!(world.has("i"));
}

#[test]
fn one_that_comes_back_without_a_lease_has_none() {
    let mut world = registered();
    world.expire("i");
    world.next(|world| vec![world.put(document("i"), &json("i"), 1)]);
    assert_eq!(world.lease("i"), None);
    // The lease key may have stayed when the document was deleted.
    let mut world = registered();
    world.next(|world| vec![world.delete(document("i"))]);
    world.pass(seconds(1));
    assert_eq!(world.lease("i"), Some(7));
    world.pass(seconds(10));
    world.next(|world| vec![world.put(document("i"), &json("i"), 1)]);
    assert_eq!(world.lease("i"), Some(7));
}

#[test]
fn a_lease_key_that_goes_alone_leaves_the_instance_without_one() {
    let mut world = registered();
    world.next(|world| vec![world.delete(lease_key("i"))]);
    assert_eq!(world.told(), (vec![], vec![]));
    assert_eq!(world.lease("i"), None);
    assert!(world.has("i"));
}

#[test]
fn fates_come_in_order() {
    let mut world = WatchWorld::new();
    world.register("i", 7);
    world.say_goodbye("i");
    world.register("i", 8);
    world.say_goodbye("i");
    world.register("i", 9);
    let (changes, fates) = world.told();
    let (back, gone) = (("i".to_owned(), Fate::Back), ("i".to_owned(), Fate::Gone));
    assert_eq!(fates, [back.clone(), gone.clone(), back.clone(), gone, back]);
    let actions: Vec<Action> = changes.into_iter().map(|(action, _)| action).collect();
    assert_eq!(actions, [Action::Create, Action::Delete, Action::Create, Action::Delete, Action::Create]);
    assert_eq!(world.told(), (vec![], vec![]), "each is told once");
}

#[test]
fn foreign_keys_are_passed_over_and_foreign_values_are_as_if_nothing_were_there() {
    let mut world = registered();
    world.next(|world| {
        vec![
            world.put(document("broken"), "no json", 1),
            world.put("/cse-sr/inst/files/a", "{}", 1),
            world.put("/cse-sr/accounts/root", "{}", 1),
            world.delete("/cse-sr/inst/leases/x"),
            world.put(document("j"), &json("j"), 1),
        ]
    });
    let step = world.step();
    assert_eq!((step.snapshot.instance_count, step.snapshot.revision), (2, 2));
    assert_eq!(world.lease("i"), Some(7));
    // The same after a listing, which does not show what was there before.
    world.next(|world| vec![world.put(lease_key("i"), "many", 2)]);
    assert_eq!((world.has("i"), world.lease("i")), (true, None));
    world.next(|world| vec![world.put(document("i"), "no json", 2)]);
    assert_eq!(world.told(), (deleted(), vec![]), "at once: it has not expired");
    assert_eq!(world.state.guard().next_due(), None);
    world.next(|world| vec![world.put(document("i"), &json("i"), 3), world.put(lease_key("i"), "9", 3)]);
    assert_eq!(world.told().0, [(Action::Create, "i".to_owned())], "to watchers it is new");
    assert_eq!(world.lease("i"), Some(9));
    // The same for an instance whose expiry is held.
    world.pass(seconds(121));
    world.expire("i");
    world.next(|world| vec![world.put(document("i"), "no json", 1)]);
    assert_eq!(world.told().0, deleted());
    assert_eq!(world.state.guard().next_due(), None);
}

#[test]
fn a_waiting_instance_goes_with_its_service() {
    let mut world = registered();
    world.expire("i");
    let service = keys::service(&tenant(), "s");
    world.next(|world| vec![world.put(&service, "{\"serviceId\":\"s\"}", 1)]);
    world.next(|world| vec![world.delete(&service)]);
    let step = world.step();
    assert!(step.snapshot.tenant(&tenant()).is_none());
}

#[test]
fn most_of_them_at_once_are_held_and_a_goodbye_among_them_is_not() {
    let mut world = WatchWorld::new();
    for number in 0..10 {
        world.register(&format!("i{number}"), number);
    }
    world.pass(seconds(121));
    world.told();
    for number in 0..8 {
        world.expire(&format!("i{number}"));
    }
    world.say_goodbye("i9");
    world.pass(seconds(2));
    assert_eq!(world.told().0, [(Action::Delete, "i9".to_owned())]);
    assert_eq!(world.step().snapshot.instance_count, 9);
    world.pass(seconds(117));
    assert_eq!(world.told().0, []);
    world.pass(seconds(1));
    assert_eq!(world.told().0.len(), 8);
    assert_eq!(world.step().snapshot.instance_count, 1);
}

#[test]
fn a_goodbye_of_one_that_is_held_passes_at_once() {
    let late = |world: &mut WatchWorld, lease: i64| {
        let key = keys::late_goodbye(&tenant(), "s", "i", lease);
        world.next(|world| vec![world.put(&key, "", 1)]);
        // The key ends with its own lease.
        world.next(|world| vec![world.delete(&key)]);
    };
    let mut world = registered();
    world.expire("i");
    late(&mut world, 8);
    assert_eq!(world.told(), (vec![], vec![]), "of another lease");
    late(&mut world, 7);
    assert_eq!(world.told(), (deleted(), gone()));
    assert_eq!(world.state.guard().next_due(), None);
    assert!(world.step().snapshot.tenant(&tenant()).is_none());
    // The goodbye of an instance whose expiry has passed is only remembered. An instance that has registered again stays.
    let mut world = registered();
    world.expire("i");
    world.pass(seconds(2));
    world.told();
    late(&mut world, 7);
    assert_eq!(world.told(), (vec![], gone()));
    let mut world = registered();
    world.expire("i");
    world.register("i", 8);
    world.told();
    late(&mut world, 7);
    assert_eq!(world.told(), (vec![], vec![]));
    assert!(world.has("i"));
}
