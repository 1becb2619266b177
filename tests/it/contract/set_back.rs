//! An etcd that is restored from a backup: its revision goes back, and the node follows it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use crate::support::daemon::{Daemon, Settings};
use crate::support::etcd::Etcd;
use crate::support::eventually::{GENEROUS, eventually};
use crate::support::registry::{Freshness, Instance, Registry};
use crate::support::stop::StopWhenDropped;
use crate::support::store::on_etcd;

/// Injected: etcd is set back to a state before some instances were registered. The node logs it, shows what etcd holds and at no time
/// less, and goes on.
#[test]
fn the_node_shows_what_the_backup_holds_and_goes_on() {
    let mut etcd = Etcd::start();
    let mut node = Daemon::start(on_etcd(Settings::default(), &[etcd.address()])).unwrap();
    let registry = Registry::new(node.client(), "default");
    let service = registry.create_service("provider", "1.0.0").unwrap();
    let names = |prefix: &str, count: usize| (0..count).map(|number| format!("{prefix}{number}")).collect();
    let (kept, later): (Vec<String>, Vec<String>) = (names("kept", 5), names("later", 20));
    for id in &kept {
        registry.register(&service, &Instance::named(id)).unwrap();
    }
    etcd.back_up();
    eventually(GENEROUS, || registry.create_service("lost", "1.0.0"));
    for id in &later {
        registry.register(&service, &Instance::named(id)).unwrap();
    }
    assert_eq!(registry.list(&service, Freshness::Cached).unwrap().len(), 25);
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let stop = StopWhenDropped(&is_over);
        let looking = scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                let shown = registry.list(&service, Freshness::Cached).unwrap();
                assert!(kept.iter().all(|id| shown.contains(id)), "only a part of the list: {shown:?}");
            }
        });
        etcd.set_back();
        eventually(GENEROUS, || {
            let shown = registry.list(&service, Freshness::Cached).unwrap();
            if shown == kept { Ok(()) } else { Err(format!("{shown:?}")) }
        });
        drop(stop);
        looking.join().unwrap();
    });
    eventually(GENEROUS, || {
        let log = node.process().log();
        if log.contains("the store was set back from revision") { Ok(()) } else { Err(log) }
    });
    eventually(GENEROUS, || registry.register(&service, &Instance::named("next")));
    eventually(GENEROUS, || registry.list(&service, Freshness::Cached).unwrap().contains(&"next".to_owned()));
    assert!(registry.heartbeat(&service, "kept0").is_ok() && registry.heartbeat(&service, "later0").is_err());
}
