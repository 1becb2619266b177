//! Nodes, and what they say of themselves: `drain`.

use super::run::{User, url};
use crate::support::daemon::{Daemon, Settings};
use crate::support::registry::{Instance, Registry};
use crate::support::ws::WebSocket;

#[test]
fn a_drain_says_which_consumers_know() {
    let daemon = Daemon::start(Settings::default()).unwrap();
    let registry = Registry::new(daemon.client(), "default");
    let provider = registry.create_service("orders", "1.0.0").unwrap();
    let consumer = registry.create_service("web", "1.0.0").unwrap();
    for id in ["one", "two"] {
        registry.register(&provider, &Instance::named(id)).unwrap();
    }
    registry.depend(&consumer, "orders", &provider);
    let _watch = WebSocket::open(daemon.address(), &registry.watch_target(&consumer), &[]).unwrap();
    let user = User::new();
    let place = format!("{provider}/one");
    user.at(&daemon, &["drain", &place]).fails(1, "nothing is changed");
    let drained = user.at(&daemon, &["drain", &place, "--wait", "20s", "--yes"]);
    assert!(
        drained.ok().contains("consumers know") && drained.err.contains("UP -> OUTOFSERVICE"),
        "{drained:?}"
    );
    let instance = user.at(&daemon, &["describe", "instance", &place, "-o", "json"]).json();
    assert_eq!(instance["status"], "OUTOFSERVICE");
    let gone =
        user.at(&daemon, &["delete", "instance", &format!("{provider}/two"), "--wait", "20s", "--yes"]);
    assert!(gone.ok().contains("consumers know"), "{gone:?}");
    assert!(user.run(&["--addr", &url(&daemon), "get", "inst", "orders", "--no-headers"]).cells().len() == 1);
}
