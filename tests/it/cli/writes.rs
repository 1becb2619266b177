//! Changes: what they show, what they ask, and what happens then.

use serde_json::Value;

use super::run::User;
use crate::support::daemon::{Daemon, Settings};
use crate::support::registry::{Instance, Registry};

struct Filled {
    daemon: Daemon,
    service: String,
    place: String,
}

fn filled() -> Filled {
    let daemon = Daemon::start(Settings::default()).unwrap();
    let registry = Registry::new(daemon.client(), "default");
    let service = registry.create_service("orders", "1.0.0").unwrap();
    registry.register(&service, &Instance::named("one")).unwrap();
    let place = format!("{service}/one");
    Filled { daemon, service, place }
}

fn status(user: &User, daemon: &Daemon, place: &str) -> Value {
    user.at(daemon, &["describe", "instance", place, "-o", "json"]).json()["status"].clone()
}

#[test]
fn a_status_is_changed_after_a_question() {
    let Filled { daemon, place, .. } = filled();
    let user = User::new();
    let change = ["set", "status", &place, "DOWN"];
    for (answer, words) in [("", "--yes"), ("n\n", "nothing is changed"), ("\n", "nothing is changed")] {
        user.type_at(&daemon, answer, &change).fails(1, words);
        assert_eq!(status(&user, &daemon, &place), "UP");
    }
    let changed = user.type_at(&daemon, "y\n", &change);
    assert!(changed.ok().is_empty(), "{changed:?}");
    for words in
        [&format!("http://{}", daemon.address()), "UP -> DOWN", "default/orders@1.0.0", &place, "go on?"]
    {
        assert!(changed.err.contains(words), "{words}: {changed:?}");
    }
    assert_eq!(status(&user, &daemon, &place), "DOWN");
    let again = user.at(&daemon, &["set", "status", "one", "down"]);
    assert!(again.ok().is_empty() && again.err.contains("DOWN already"), "{again:?}");
    user.at(&daemon, &["set", "status", &place, "UP", "-y"]).ok();
    assert_eq!(status(&user, &daemon, &place), "UP");
    user.at(&daemon, &["set", "status", "nobody", "UP", "-y"]).fails(1, "no instance has");
}

#[test]
fn instances_and_services_are_deleted() {
    let Filled { daemon, service, place } = filled();
    let user = User::new();
    user.at(&daemon, &["delete", "service", "orders", "--yes"]).fails(1, "400013");
    user.at(&daemon, &["delete", "instance", &place]).fails(1, "nothing is changed");
    user.at(&daemon, &["delete", "instance", &place, "--yes"]).ok();
    user.at(&daemon, &["delete", "instance", &place, "--yes"]).fails(1, "there is no instance");
    let deleted = user.at(&daemon, &["delete", "service", &service, "--yes"]);
    assert!(deleted.err.contains("default/orders@1.0.0") && deleted.code == 0, "{deleted:?}");
    user.at(&daemon, &["describe", "service", "orders"]).fails(1, "there is no service");
}

#[test]
fn a_service_of_two_versions_is_not_deleted_by_its_name() {
    let Filled { daemon, .. } = filled();
    Registry::new(daemon.client(), "default").create_service("orders", "2.0.0").unwrap();
    let user = User::new();
    user.at(&daemon, &["delete", "service", "orders", "--yes"]).fails(64, "names several services");
    user.at(&daemon, &["delete", "service", "orders@2.0.0", "--yes"]).ok();
    user.at(&daemon, &["delete", "service", "orders", "--force", "--yes"]).ok();
}
