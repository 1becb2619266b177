//! Contexts: where a command goes without `--addr`, and what a protected one asks.

use super::run::{User, url};
use crate::support::daemon::{Daemon, Settings};
use crate::support::net::free_address;
use crate::support::registry::{Instance, Registry};

#[test]
fn contexts_are_made_listed_and_chosen() {
    let daemon = Daemon::start(Settings::default()).unwrap();
    let nobody = free_address().unwrap().to_string();
    let user = User::new();
    user.run(&["context", "set", "prod"]).fails(64, "needs an address");
    user.run(&["context", "set", "prod", "--addr", &url(&daemon), "--protected"]).ok();
    user.run(&["context", "set", "gone", "--addr", &nobody, "--domain", "moon"]).ok();
    let list = user.run(&["context", "list"]);
    let cells = list.cells();
    assert_eq!(cells[0], ["CURRENT", "NAME", "ADDRESS", "DOMAIN", "PROJECT", "PROTECTED", "ACCOUNT"]);
    assert_eq!(cells[1], ["", "gone", &nobody, "moon", "", "", ""]);
    assert_eq!(cells[2], ["*", "prod", &url(&daemon), "", "", "yes", ""]);
    user.run(&["get", "cluster"]).ok();
    user.run(&["--context", "gone", "get", "cluster"]).fails(69, &nobody);
    user.run(&["context", "use", "gone"]).ok();
    user.run(&["get", "cluster"]).fails(69, &nobody);
    user.run(&["context", "use", "nowhere"]).fails(1, "there is no context");
    // An option names another address than the context in use.
    user.at(&daemon, &["get", "cluster"]).ok();
    assert_eq!(user.run(&["context", "list", "-o", "name"]).ok(), "gone\nprod\n");
    let with_variable = User::new().with("SCCTL_CONTEXT", "nowhere");
    with_variable.run(&["get", "cluster"]).fails(64, "there is no context 'nowhere'");
    std::fs::write(user.folder().join("contexts.yaml"), "contexts: [token-like-secret").unwrap();
    let broken = user.run(&["get", "cluster"]);
    broken.fails(64, "contexts.yaml");
    assert!(!broken.err.contains("token-like-secret"), "{broken:?}");
}

#[test]
fn a_protected_context_asks_for_its_name() {
    let daemon = Daemon::start(Settings::default()).unwrap();
    let registry = Registry::new(daemon.client(), "default");
    let service = registry.create_service("orders", "1.0.0").unwrap();
    registry.register(&service, &Instance::named("one")).unwrap();
    let place = format!("{service}/one");
    let user = User::new();
    user.run(&["context", "set", "prod", "--addr", &url(&daemon), "--protected"]).ok();
    let change = ["set", "status", &place, "DOWN", "--yes"];
    for answer in ["", "y\n", "yes\n", "pro\n"] {
        user.type_in(answer, &change).fails(1, "nothing is changed");
    }
    // The address alone is protected, too.
    user.type_at(&daemon, "y\n", &change).fails(1, "type its name");
    let changed = user.type_in("prod\n", &change);
    assert!(changed.ok().is_empty() && changed.err.contains("UP -> DOWN"), "{changed:?}");
    user.run(&["context", "set", "prod", "--protected", "false"]).ok();
    user.run(&["set", "status", &place, "UP", "--yes"]).ok();
    // The name alone is protected, too.
    let nobody = free_address().unwrap().to_string();
    user.run(&["context", "set", "prod", "--addr", &nobody, "--protected"]).ok();
    let named = ["--context", "prod", "set", "status", &place, "DOWN", "--yes"];
    user.type_at(&daemon, "y\n", &named).fails(1, "type its name");
    user.at(&daemon, &change).ok();
}
