//! The jobs of a daemon that runs them each minute. The harness starts tests in the order of their names, so these start first: they
//! wait for up to two minutes, cost nothing meanwhile, and end before the others do.

use std::thread;

use serde_json::json;

use crate::contract::golden;
use crate::support::daemon::{Daemon, Settings};
use crate::support::eventually::{GENEROUS, eventually};
use crate::support::registry::{Freshness, Instance, Registry};
use crate::support::store::{Backing, Embedded, OwnEtcd};

/// A job that runs each minute marks a service in its first run and deletes it in its second one.
const RUNS: u32 = 3;

/// Both stores wait at the same time.
fn on_both_stores(check: impl Fn(&dyn Backing) + Sync) {
    thread::scope(|scope| {
        scope.spawn(|| check(&Embedded));
        check(&OwnEtcd::start());
    });
}

#[test]
fn the_recorded_retirements_are_replayed() {
    on_both_stores(|backing| golden::check(golden::RETIRE, backing));
}

#[test]
fn an_empty_service_is_deleted() {
    on_both_stores(check_deletion);
}

fn check_deletion(backing: &dyn Backing) {
    let settings = Settings::default()
        .yaml("registry.service.retire.cron", json!("* * * * *"))
        .conf("registry.service.retire.emptyAfter", "1s");
    let mut node = Daemon::start(backing.chosen_in(settings)).unwrap();
    let registry = Registry::new(node.client(), "default").patient();
    let gone = registry.create_service("gone", "1.0.0").unwrap();
    let used = registry.create_service("used", "1.0.0").unwrap();
    registry.register(&used, &Instance::named("i").with_health_check(600, 3)).unwrap();
    let services = || registry.services(Freshness::Fresh).unwrap();
    let before = services();
    // A line reaches the log after the deletion is done. To read the log for so long costs the node nothing.
    let line = format!("service {gone} of default/default");
    eventually(GENEROUS * RUNS, || {
        let log = node.process().log();
        log.contains(&line) && log.contains("empty since")
    });
    let mut expected = before;
    expected.retain(|id| *id != gone);
    assert_eq!(services(), expected, "{}: the registry's own service and the used one stay", backing.name());
    // The job counts after it logs.
    eventually(GENEROUS, || node.metric("service_center_retired_empty_services_total") > 0);
    assert_eq!(node.metric("service_center_retired_empty_services_total"), 1);
}
