//! The recorded exchanges of `tests/golden/discovery`, replayed on each store with each profile's settings.

use std::path::PathBuf;

use crate::support::golden::not_yet::NotYet;
use crate::support::golden::profile;
use crate::support::golden::run;
use crate::support::golden::scenario::{Scenario, load_set};
use crate::support::store::{Backing, Embedded};

fn golden() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

/// The recorded scenarios; one in `ours` of the same name takes a recorded one's place, its `about` says why.
fn scenarios() -> Vec<Scenario> {
    let ours = golden().join("ours");
    let mut scenarios = if ours.exists() { load_set(&ours).unwrap() } else { Vec::new() };
    for recorded in load_set(&golden().join("discovery")).unwrap() {
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
fn check(profile: &str, store: &dyn Backing) {
    let scenarios = scenarios();
    let of_profile: Vec<&Scenario> =
        scenarios.iter().filter(|scenario| scenario.profile == profile).collect();
    assert!(!of_profile.is_empty(), "no scenario has the profile {profile}");
    let settings = profile::settings(profile).expect("a known profile");
    let verdict = run::run(profile, &of_profile, settings, store, &not_yet());
    verdict.announce();
    assert!(verdict.is_good(), "{verdict}");
}

#[test]
fn plain_on_embedded() {
    check("plain", &Embedded);
}

#[test]
fn quota_on_embedded() {
    check("quota", &Embedded);
}

#[test]
fn schema_disabled_on_embedded() {
    check("schema-disabled", &Embedded);
}

#[test]
fn shared_on_embedded() {
    check("shared", &Embedded);
}

#[test]
fn retire_on_embedded() {
    check("retire", &Embedded);
}

/// A profile without a test of its own would be passed over in silence.
#[test]
fn every_scenario_is_replayed() {
    const REPLAYED: [&str; 5] = ["plain", "quota", "schema-disabled", "shared", "retire"];
    let scenarios = scenarios();
    for scenario in &scenarios {
        assert!(
            REPLAYED.contains(&scenario.profile.as_str()),
            "{}: profile {}",
            scenario.name,
            scenario.profile
        );
    }
    let not_yet = not_yet();
    let unknown = not_yet.unknown(|name| scenarios.iter().any(|scenario| scenario.name == name));
    assert!(unknown.is_empty(), "tests/golden/not_yet.txt lists what is not there: {unknown:?}");
}
