//! What the record of events learns from the watch. Collected while events are applied, and told before the snapshot is published.

use std::sync::Arc;

use super::guard::HoldRule;
use crate::cache::{Action, InstanceChange, Snapshot};
use crate::clock::{Clock, Monotonic};
use crate::domain::event::{InstanceRef, Revision, ServiceRecord};
use crate::domain::{ServiceId, Tenant};
use crate::recorder::{Change, EventKind, InstanceTurn, SeenInstance, SeenService};
use crate::store::{Key, keys};

/// What is told with the next step, in order.
#[derive(Debug, Default)]
pub struct Tellings {
    list: Vec<Telling>,
    /// Where the tellings of the current revision begin.
    begin: usize,
    /// How many of them are about services.
    of_services: usize,
}

#[derive(Debug)]
enum Telling {
    /// The change with this index among the changes for watchers.
    Instance {
        change: usize,
        turn: InstanceTurn,
        key: Option<Key>,
    },
    /// A change of an instance that watchers are not told of. If a rule begins to hold it, until when.
    Unpushed {
        seen: Box<SeenInstance>,
        until: Option<Monotonic>,
    },
    Service(Box<SeenService>),
    Listed {
        former: Revision,
    },
}

impl Tellings {
    pub(super) fn instance(&mut self, change: usize, turn: InstanceTurn, key: Option<Key>) {
        self.list.push(Telling::Instance { change, turn, key });
    }

    /// A rule begins to hold an expiry.
    pub(super) fn held(
        &mut self,
        snapshot: &Snapshot,
        at: &InstanceRef,
        revision: Revision,
        rule: HoldRule,
        until: Monotonic,
    ) {
        let turn = InstanceTurn::Held { rule: rule.name().into(), until: 0 };
        self.unpushed(snapshot, at, revision, turn, None, Some(until));
    }

    /// A rule does not hold an expiry any more. The put of this key brought the instance back, or released the expiry.
    pub(super) fn released(&mut self, snapshot: &Snapshot, at: &InstanceRef, revision: Revision, key: Key) {
        self.unpushed(snapshot, at, revision, InstanceTurn::Released, Some(key), None);
    }

    fn unpushed(
        &mut self,
        snapshot: &Snapshot,
        at: &InstanceRef,
        revision: Revision,
        turn: InstanceTurn,
        key: Option<Key>,
        until: Option<Monotonic>,
    ) {
        let Some(entry) = snapshot.instance(&at.tenant, at.service.as_str(), at.instance.as_str()) else {
            return;
        };
        let (json, before) = (entry.json(), None);
        let service = document(snapshot, &at.tenant, &at.service);
        let seen = Box::new(SeenInstance { at: at.clone(), revision, turn, key, json, before, service });
        self.list.push(Telling::Unpushed { seen, until });
    }

    /// A key of a service has changed. `schema`: the id, if it is one of a schema.
    pub(super) fn service(
        &mut self,
        (tenant, service): (&Tenant, &ServiceId),
        revision: Revision,
        kind: EventKind,
        key: Key,
        record: Option<Arc<ServiceRecord>>,
        schema: Option<Arc<str>>,
    ) {
        self.of_services += 1;
        let (tenant, service, key) = (tenant.clone(), service.clone(), Some(key));
        let seen = SeenService { tenant, service, revision, kind, key, record, schema };
        self.list.push(Telling::Service(Box::new(seen)));
    }

    pub(super) fn listed(&mut self, former: Revision) {
        self.list.push(Telling::Listed { former });
    }

    /// All events of a revision are applied. What belongs to one write of a service becomes one telling: a new service with its tags, a
    /// deleted one with its schemas. The instances go with their service.
    pub(super) fn end_revision(&mut self, changes: &[InstanceChange]) {
        if self.of_services > 0 {
            let of_revision = self.list.split_off(self.begin);
            self.list.extend(merged(of_revision, changes));
        }
        (self.begin, self.of_services) = (self.list.len(), 0);
    }

    /// The changes to tell. `changes` are those for watchers since the last call.
    pub(super) fn take(&mut self, changes: &[InstanceChange], clock: &Clock) -> Vec<Change> {
        (self.begin, self.of_services) = (0, 0);
        if self.list.is_empty() {
            return Vec::new();
        }
        let (now, time) = (clock.monotonic(), clock.unix_timestamp());
        let change = |telling: Telling| {
            Some(match telling {
                Telling::Instance { change, turn, key } => {
                    Change::Instance(seen(changes.get(change)?, turn, key))
                }
                Telling::Unpushed { mut seen, until } => {
                    if let (Some(until), InstanceTurn::Held { until: told, .. }) = (until, &mut seen.turn) {
                        let left = i64::try_from(until.saturating_sub(now).as_millis()).unwrap_or(i64::MAX);
                        *told = time.saturating_add(left);
                    }
                    Change::Instance(*seen)
                }
                Telling::Service(seen) => Change::Service(*seen),
                Telling::Listed { former } => Change::Listed { former },
            })
        };
        self.list.drain(..).filter_map(change).collect()
    }
}

fn seen(change: &InstanceChange, turn: InstanceTurn, key: Option<Key>) -> SeenInstance {
    let InstanceChange { at, revision, service, json, before, .. } = change;
    SeenInstance {
        at: at.clone(),
        revision: *revision,
        turn,
        key,
        json: json.clone(),
        before: before.clone(),
        service: service.as_ref().map(|service| Arc::clone(&service.record)),
    }
}

/// The document of a service.
pub(super) fn document(
    snapshot: &Snapshot,
    tenant: &Tenant,
    service: &ServiceId,
) -> Option<Arc<ServiceRecord>> {
    snapshot.service(tenant, service.as_str()).map(|view| Arc::clone(&view.record))
}

/// What a listing shows of an instance that is not as it was before.
pub(super) fn listed_turn(action: Action) -> InstanceTurn {
    match action {
        Action::Create => InstanceTurn::Found,
        Action::Update => InstanceTurn::Differs,
        Action::Delete => InstanceTurn::Missing,
    }
}

fn merged(of_revision: Vec<Telling>, changes: &[InstanceChange]) -> Vec<Telling> {
    let with = |kinds: &[EventKind]| -> Vec<(Tenant, ServiceId)> {
        let services = of_revision.iter().filter_map(|telling| match telling {
            Telling::Service(seen) if kinds.contains(&seen.kind) => {
                Some((seen.tenant.clone(), seen.service.clone()))
            }
            _ => None,
        });
        services.collect()
    };
    let deleted = with(&[EventKind::ServiceDeleted]);
    // A schema is also in the list of its service's document.
    let told_better =
        with(&[EventKind::ServiceRegistered, EventKind::SchemaChanged, EventKind::SchemaDeleted]);
    let mut changed: Vec<(Tenant, ServiceId)> = Vec::new();
    let is_in = |list: &[(Tenant, ServiceId)], tenant: &Tenant, service: &ServiceId| {
        list.iter().any(|(of, id)| of == tenant && id == service)
    };
    let mut kept = Vec::with_capacity(of_revision.len());
    for mut telling in of_revision {
        match &mut telling {
            Telling::Instance { change, turn, key } if *turn == InstanceTurn::SaidGoodbye => {
                let at = changes.get(*change).map(|change| &change.at);
                if let Some(at) = at.filter(|at| is_in(&deleted, &at.tenant, &at.service)) {
                    *turn = InstanceTurn::DeletedWithService;
                    *key = Some(keys::service(&at.tenant, at.service.as_str()));
                }
            }
            Telling::Service(seen) => {
                let SeenService { tenant, service, kind, .. } = &**seen;
                let is_deleted = *kind != EventKind::ServiceDeleted && is_in(&deleted, tenant, service);
                let is_told = *kind == EventKind::ServiceChanged
                    && (is_in(&told_better, tenant, service) || is_in(&changed, tenant, service));
                if is_deleted || is_told {
                    continue;
                }
                if *kind == EventKind::ServiceChanged {
                    changed.push((tenant.clone(), service.clone()));
                }
            }
            Telling::Instance { .. } | Telling::Unpushed { .. } | Telling::Listed { .. } => {}
        }
        kept.push(telling);
    }
    kept
}
