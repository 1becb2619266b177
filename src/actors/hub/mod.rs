//! HubActor: who watches what, and the fan-out of changes to their sessions. A frame is encoded once for all of them.

pub mod messages;
pub mod outbox;

use std::collections::HashMap;
use std::sync::Arc;

use actix::prelude::{Actor, Context, Handler, MessageResult};
use bytes::Bytes;

use self::messages::{CountWatchers, SnapshotPublished, Subscribe, SubscriptionId, Unsubscribe};
use self::outbox::Outbox;
use super::lifeline::Lifeline;
use crate::cache::{Action, InstanceChange, ServiceView, Snapshot};
use crate::domain::json;
use crate::domain::{ServiceId, Tenant};
use crate::metrics;

/// Messages that may wait.
pub const MAILBOX: usize = 1024;

/// Watchers of one consumer.
type Watchers = Vec<(SubscriptionId, Arc<Outbox>)>;

/// The actor.
pub struct HubActor {
    watchers: HashMap<(Tenant, ServiceId), Watchers>,
    count: usize,
    last_id: u64,
    _lifeline: Lifeline,
}

impl HubActor {
    /// A hub nobody watches yet.
    pub fn new(lifeline: Lifeline) -> Self {
        Self { watchers: HashMap::new(), count: 0, last_id: 0, _lifeline: lifeline }
    }

    fn push(&self, snapshot: &Snapshot, change: &InstanceChange) {
        let Some(provider) = &change.service else { return };
        let mut frame = None;
        for watchers in self.receivers(snapshot, &change.at.tenant, provider) {
            let frame = frame.get_or_insert_with(|| encode(change, provider));
            for (_, outbox) in watchers {
                outbox.push(change.at.clone(), change.action, frame.clone());
            }
            metrics::EVENTS_PUSHED.add(watchers.len());
        }
    }

    /// Watchers of every consumer that depends on a provider. A consumer listed twice is told once.
    fn receivers<'a>(
        &'a self,
        snapshot: &Snapshot,
        tenant: &Tenant,
        provider: &ServiceView,
    ) -> Vec<&'a Watchers> {
        if self.watchers.is_empty() {
            return Vec::new();
        }
        let rules = snapshot.tenant(tenant).into_iter().flat_map(|view| view.provider_rules(&provider.path));
        let mut told: Vec<(Tenant, ServiceId)> = Vec::new();
        let mut receivers = Vec::new();
        for consumer in rules.flat_map(|(_, partners)| &partners.keys) {
            for service in snapshot.services_of(consumer) {
                let at = (Tenant::from(consumer.tenant.as_str()), service.id.clone());
                if let Some(watchers) = self.watchers.get(&at)
                    && !told.contains(&at)
                {
                    receivers.push(watchers);
                    told.push(at);
                }
            }
        }
        receivers
    }
}

/// `{"action":…,"key":…,"instance":…}`.
fn encode(change: &InstanceChange, provider: &ServiceView) -> Bytes {
    let action = match change.action {
        Action::Create => "CREATE",
        Action::Update => "UPDATE",
        Action::Delete => "DELETE",
    };
    let mut text = Vec::with_capacity(change.json.len() + 256);
    text.extend_from_slice(b"{\"action\":\"");
    text.extend_from_slice(action.as_bytes());
    text.extend_from_slice(b"\",\"key\":");
    json::encode_into(&provider.record.document.key(&change.at.tenant), &mut text);
    text.extend_from_slice(b",\"instance\":");
    text.extend_from_slice(&change.json);
    text.push(b'}');
    outbox::text_frame(&text)
}

impl Actor for HubActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(MAILBOX);
    }
}

impl Handler<SnapshotPublished> for HubActor {
    type Result = ();

    fn handle(&mut self, message: SnapshotPublished, _: &mut Self::Context) {
        for change in message.changes.iter() {
            self.push(&message.snapshot, change);
        }
    }
}

impl Handler<Subscribe> for HubActor {
    type Result = MessageResult<Subscribe>;

    fn handle(&mut self, message: Subscribe, _: &mut Self::Context) -> Self::Result {
        self.last_id += 1;
        let id = SubscriptionId(self.last_id);
        self.watchers.entry((message.tenant, message.consumer)).or_default().push((id, message.outbox));
        self.count += 1;
        MessageResult(id)
    }
}

impl Handler<Unsubscribe> for HubActor {
    type Result = ();

    fn handle(&mut self, message: Unsubscribe, _: &mut Self::Context) {
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

impl Handler<CountWatchers> for HubActor {
    type Result = usize;

    fn handle(&mut self, _: CountWatchers, _: &mut Self::Context) -> usize {
        self.count
    }
}
