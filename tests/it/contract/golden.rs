//! The recorded exchanges of `tests/golden/discovery` and `tests/golden/operations`, replayed on each store with each profile's settings.

use std::path::PathBuf;

use crate::support::golden::not_yet::NotYet;
use crate::support::golden::profile;
use crate::support::golden::run;
use crate::support::golden::scenario::{Scenario, load_set};
use crate::support::store::{Backing, Embedded, OwnEtcd};

fn golden() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

/// The recorded scenarios. A scenario in `ours` replaces the recorded one of the same name, and its `about` says why.
fn scenarios() -> Vec<Scenario> {
    let ours = golden().join("ours");
    let mut scenarios = load_set(&ours).unwrap();
    for recorded in ["discovery", "operations"].iter().flat_map(|set| load_set(&golden().join(set)).unwrap())
    {
        if scenarios.iter().all(|scenario| scenario.name != recorded.name) {
            scenarios.push(recorded);
        }
    }
    scenarios
}

fn not_yet() -> NotYet {
    NotYet::parse(&std::fs::read_to_string(golden().join("not_yet.txt")).unwrap()).unwrap()
}

#[track_caller]
pub fn check(profile: &str, store: &dyn Backing) {
    let scenarios = scenarios();
    let of_profile: Vec<&Scenario> =
        scenarios.iter().filter(|scenario| scenario.profile == profile).collect();
    assert!(!of_profile.is_empty(), "no scenario has the profile {profile}");
    let settings = profile::settings(profile).expect("a known profile");
    let verdict = run::run(profile, &of_profile, settings, store, &not_yet());
    verdict.announce();
    assert!(verdict.is_good(), "{verdict}");
}

/// One test for each profile and store. Each has its own daemon, and its own etcd.
macro_rules! replay {
    ($($profile:literal: $on_embedded:ident, $on_etcd:ident;)*) => {
        $(
            #[test]
            fn $on_embedded() {
                check($profile, &Embedded);
            }

            #[test]
            fn $on_etcd() {
                check($profile, &OwnEtcd::start());
            }
        )*

        const REPLAYED: &[&str] = &[$($profile),*];
    };
}

replay! {
    "plain": plain_on_embedded, plain_on_etcd;
    "quota": quota_on_embedded, quota_on_etcd;
    "quota-tight": quota_tight_on_embedded, quota_tight_on_etcd;
    "limit": limit_on_embedded, limit_on_etcd;
    "schema-disabled": schema_disabled_on_embedded, schema_disabled_on_etcd;
    "shared": shared_on_embedded, shared_on_etcd;
    "settings": settings_on_embedded, settings_on_etcd;
    "tls": tls_on_embedded, tls_on_etcd;
    "tls-client": tls_client_on_embedded, tls_client_on_etcd;
    "rbac": rbac_on_embedded, rbac_on_etcd;
    "rbac-lock": rbac_lock_on_embedded, rbac_lock_on_etcd;
    "rbac-no-root": rbac_no_root_on_embedded, rbac_no_root_on_etcd;
    "rbac-quota": rbac_quota_on_embedded, rbac_quota_on_etcd;
    "rbac-scope": rbac_scope_on_embedded, rbac_scope_on_etcd;
}

/// The profile whose scenarios wait for the next run of a job each minute. `a_minute` replays it.
pub const RETIRE: &str = "retire";

/// Otherwise the scenarios of a profile without a test would be skipped unnoticed.
#[test]
fn every_scenario_is_replayed() {
    let scenarios = scenarios();
    for scenario in &scenarios {
        assert!(
            scenario.profile == RETIRE || REPLAYED.contains(&scenario.profile.as_str()),
            "{}: profile {}",
            scenario.name,
            scenario.profile
        );
    }
    let not_yet = not_yet();
    let unknown = not_yet.unknown(|name| scenarios.iter().any(|scenario| scenario.name == name));
    assert!(unknown.is_empty(), "tests/golden/not_yet.txt lists what is not there: {unknown:?}");
}
