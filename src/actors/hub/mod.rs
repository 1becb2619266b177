//! HubActor: knows which session watches for which consumer, and pushes changes to the sessions. A frame is encoded once for
//! all sessions.

pub mod messages;
pub mod outbox;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use self::messages::{CountWatchers, SnapshotPublished, Subscribe, SubscriptionId, Unsubscribe};
use self::outbox::{EventFrame, Outbox};
use super::mailbox::{Resident, Work};
use crate::cache::{InstanceChange, ServiceView, Snapshot};
use crate::domain::json;
use crate::domain::{ServiceId, Tenant};
use crate::metrics::{self, Depth};
use actix::prelude::{Actor, AsyncContext, Context, Handler};

pub const MAILBOX: usize = 1024;
static DEPTH: Depth = Depth::new("HubActor");
/// How often the hub looks for sessions whose `Unsubscribe` could not be sent.
const SWEEP: Duration = Duration::from_secs(30);

/// The sessions of one consumer.
type Watchers = Vec<(SubscriptionId, Outbox)>;

#[derive(Default)]
pub struct HubActor {
    watchers: HashMap<(Tenant, ServiceId), Watchers>,
    count: usize,
}

impl HubActor {
    /// Pushes changes in order. A publish often holds many changes of one provider, so its receivers are looked up once.
    fn push_all(&self, snapshot: &Snapshot, changes: &[InstanceChange]) {
        if self.watchers.is_empty() {
            return;
        }
        let mut receivers = HashMap::new();
        for change in changes {
            let Some(provider) = &change.service else { continue };
            let receivers = receivers
                .entry((&change.at.tenant, &provider.path))
                .or_insert_with(|| self.receivers(snapshot, &change.at.tenant, provider));
            push(receivers, change, provider);
        }
    }

    /// The sessions of every consumer that depends on a provider. Each consumer counts once, however many rules name it.
    fn receivers(&self, snapshot: &Snapshot, tenant: &Tenant, provider: &ServiceView) -> Vec<&Watchers> {
        let mut told: HashSet<(Tenant, ServiceId)> = HashSet::new();
        let mut receivers = Vec::new();
        for consumer in snapshot.consumer_keys(tenant, provider) {
            for service in snapshot.services_of(consumer) {
                let at = (Tenant::from(consumer.tenant.as_str()), service.id.clone());
                if let Some(watchers) = self.watchers.get(&at)
                    && told.insert(at)
                {
                    receivers.push(watchers);
                }
            }
        }
        receivers
    }

    /// Drops sessions that have ended without an `Unsubscribe`, because the mailbox was full.
    fn sweep(&mut self) {
        self.watchers.retain(|_, watchers| {
            watchers.retain(|(_, outbox)| !outbox.is_closed());
            !watchers.is_empty()
        });
        self.count = self.watchers.values().map(Vec::len).sum();
    }
}

fn push(receivers: &[&Watchers], change: &InstanceChange, provider: &ServiceView) {
    if receivers.is_empty() {
        return;
    }
    let (at, frame) = (Arc::new(change.at.clone()), encode(change, provider));
    for watchers in receivers {
        for (_, outbox) in *watchers {
            outbox.push(&at, &frame);
        }
        metrics::EVENTS_PUSHED.add(watchers.len());
    }
}

fn encode(change: &InstanceChange, provider: &ServiceView) -> EventFrame {
    let key = json::encode(&provider.record.document.key(&change.at.tenant));
    let frame = EventFrame::new(change.action, &key, &change.json);
    if change.was_shown { frame.of_shown() } else { frame }
}

impl Resident for HubActor {
    const MAILBOX: usize = MAILBOX;
    const DEPTH: &'static Depth = &DEPTH;
}

impl Actor for HubActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.run_interval(SWEEP, |actor, _| actor.sweep());
    }
}

impl Handler<Work<SnapshotPublished>> for HubActor {
    type Result = ();

    fn handle(&mut self, Work { message, .. }: Work<SnapshotPublished>, _: &mut Self::Context) {
        self.push_all(&message.snapshot, &message.changes);
    }
}

impl Handler<Work<Subscribe>> for HubActor {
    type Result = ();

    fn handle(&mut self, Work { message, .. }: Work<Subscribe>, _: &mut Self::Context) {
        let watchers = self.watchers.entry((message.tenant, message.consumer)).or_default();
        watchers.push((message.id, message.outbox));
        self.count += 1;
    }
}

impl Handler<Work<Unsubscribe>> for HubActor {
    type Result = ();

    fn handle(&mut self, Work { message, .. }: Work<Unsubscribe>, _: &mut Self::Context) {
        let at = (message.tenant, message.consumer);
        let Some(watchers) = self.watchers.get_mut(&at) else { return };
        let before = watchers.len();
        watchers.retain(|(id, _)| *id != message.subscription);
        self.count -= before - watchers.len();
        if watchers.is_empty() {
            self.watchers.remove(&at);
        }
    }
}

impl Handler<Work<CountWatchers>> for HubActor {
    type Result = usize;

    fn handle(&mut self, _: Work<CountWatchers>, _: &mut Self::Context) -> usize {
        self.count
    }
}
