//! A service is deleted while expiries of its instances wait.

use super::*;
use crate::store::keys;

fn service_key() -> String {
    keys::service(&tenant(), "s").to_string()
}

#[test]
fn its_waiting_instances_pass_and_its_watchers_are_told() {
    let mut world = WatchWorld::new();
    world.next(|world| vec![world.put(service_key(), "{\"serviceId\":\"s\",\"serviceName\":\"svc\"}", 1)]);
    world.register("i", 7);
    world.register("j", 8);
    world.told();
    world.pass(seconds(121));
    // A Go node first ends the leases, each in a revision of its own.
    world.expire("i");
    assert_eq!(world.told(), (vec![], vec![]), "it waits");
    world.next(|world| vec![world.delete(service_key())]);
    let step = world.step();
    let told: Vec<_> = step.changes.iter().map(|change| (change.action, change.service.is_some())).collect();
    assert_eq!(told, [(Action::Delete, true)], "with the service, or nobody could be told");
    assert_eq!(step.fates, [(at("i"), Fate::Gone)], "nobody writes it again");
    assert_eq!(world.state.guard().next_due(), None);
    assert!(world.has("j"), "what does not wait is for the store to delete");
}
