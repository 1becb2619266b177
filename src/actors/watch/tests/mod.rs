//! Tests of the WatchActor: a state that gets events by hand or from a random history.

#![allow(clippy::unwrap_used, reason = "tests")]

mod deleted_service;
mod digest;
mod goodbyes;
mod guard;
mod history;
mod readers;
mod relist;
mod service_share;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::guard::{ExpiryGuard, GuardRules, Preservation};
use super::state::{Fate, WatchState, WatchStep};
use crate::cache::{Action, SnapshotBuilder};
use crate::domain::event::InstanceRef;
use crate::domain::{InstanceId, Tenant};
use crate::store::{Entry, Event, Revision, WatchBatch, keys};

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn tenant() -> Tenant {
    Tenant::default_tenant()
}

/// Rules (a) and (b) apply, rule (b) with this share.
fn rules(share: f64) -> GuardRules {
    GuardRules { preservation: Preservation::On, share, service_share: 1.0 }
}

fn at(instance: &str) -> InstanceRef {
    InstanceRef { tenant: tenant(), service: "s".into(), instance: InstanceId::from(instance) }
}

/// The changes for watchers, and the fates.
type WatchTold = (Vec<(Action, String)>, Vec<(String, Fate)>);

/// A state with a clock and the revision of the store.
struct WatchWorld {
    state: WatchState,
    revision: Revision,
    now: Duration,
}

impl WatchWorld {
    /// Starts at second 1,000, with no instances. No share is too large.
    fn new() -> Self {
        Self::with(rules(1.0))
    }

    fn with(rules: GuardRules) -> Self {
        Self {
            state: WatchState::new(SnapshotBuilder::default(), ExpiryGuard::new(rules), 0),
            revision: 0,
            now: seconds(1000),
        }
    }

    fn put(&self, key: impl AsRef<str>, value: &str, version: i64) -> Event {
        Event::Put(Entry {
            key: key.as_ref().into(),
            value: Bytes::from(value.to_owned()),
            compact: None,
            create_revision: self.revision,
            mod_revision: self.revision,
            version,
            lease: None,
        })
    }

    fn delete(&self, key: impl AsRef<str>) -> Event {
        Event::Delete { key: key.as_ref().into(), revision: self.revision }
    }

    /// Applies the events of the next revision.
    fn next(&mut self, events: impl FnOnce(&Self) -> Vec<Event>) {
        self.revision += 1;
        let events = events(self);
        self.state.apply(WatchBatch { revision: self.revision, events }, self.now);
    }

    /// Registers instances with a lease of 120 s.
    fn register(&mut self, instance: &str, lease: i64) {
        self.next(|world| {
            vec![
                world.put(document(instance), &json(instance), 1),
                world.put(lease_key(instance), &lease.to_string(), 1),
            ]
        });
    }

    /// Deletes the keys as the store does when a lease expires or is revoked.
    fn expire(&mut self, instance: &str) {
        self.next(|world| vec![world.delete(document(instance)), world.delete(lease_key(instance))]);
    }

    /// Deletes the keys as a node of this server does.
    fn say_goodbye(&mut self, instance: &str) {
        self.next(|world| vec![world.delete(lease_key(instance)), world.delete(document(instance))]);
    }

    fn pass(&mut self, by: Duration) {
        self.now += by;
        self.state.judge(self.now);
    }

    fn step(&mut self) -> WatchStep {
        self.state.step()
    }

    /// The changes for watchers and the fates since the last step.
    fn told(&mut self) -> WatchTold {
        let step = self.step();
        let changes = step.changes.iter().map(|change| (change.action, change.at.instance.to_string()));
        let fates = step.fates.iter().map(|(at, fate)| (at.instance.to_string(), *fate));
        (changes.collect(), fates.collect())
    }

    fn has(&mut self, instance: &str) -> bool {
        self.step().snapshot.instance(&tenant(), "s", instance).is_some()
    }

    fn lease(&mut self, instance: &str) -> Option<i64> {
        let snapshot = self.step().snapshot;
        snapshot.instance(&tenant(), "s", instance)?.lease.as_ref().map(|mark| mark.lease())
    }
}

fn document(instance: &str) -> String {
    keys::instance(&tenant(), "s", instance).to_string()
}

fn lease_key(instance: &str) -> String {
    keys::lease(&tenant(), "s", instance).to_string()
}

fn json(instance: &str) -> String {
    format!(
        "{{\"instanceId\":\"{instance}\",\"healthCheck\":{{\"mode\":\"push\",\"interval\":30,\"times\":3}}}}"
    )
}
