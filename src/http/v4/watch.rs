//! Websockets: the watch of a consumer, the heartbeat of an instance.

use std::borrow::Cow;
use std::sync::Arc;

use crate::actors::hub::HubActor;
use crate::actors::hub::messages::{Subscribe, SubscriptionId, Unsubscribe};
use crate::actors::hub::outbox::{End, MOST_PENDING, outbox};
use crate::actors::mailbox::{Mailbox, tell};
use crate::domain::validate::{self, instance::InstanceRequest, service::ServiceRequest};
use crate::domain::{ServiceId, Tenant};
use crate::error::{Code, Error};
use crate::http::api::{Api, refused};
use crate::http::call::Call;
use crate::http::dto::joined;
use crate::http::spec::{Operation, Success};
use crate::http::v4::heartbeats::{NODES_BEAT, take_exactly};
use crate::http::ws::{INSTANCE_NOT_EXISTS, Session, Start};

pub const HEARTBEAT: Operation = Operation::new(
    "instances",
    "beatByWebsocket",
    "A websocket on which each pong is a heartbeat. Closed with 4001 when the instance is gone.",
)
.answers(Success::Pongs);

pub const WATCH: Operation = Operation::new(
    "discovery",
    "watch",
    "A websocket: changes of the instances of all services this consumer depends on.",
)
.answers(Success::Events(joined::EVENT));

/// Clients look for this text: they register anew.
const NO_SERVICE: &str = "service does not exist";
const NO_INSTANCE: &str = "heartbeat reporting failed because the instance does not exist";

/// `GET …/watcher`: events of the providers a consumer depends on.
///
/// The subscription is in the hub's mailbox before the handshake is answered: whatever changes from there on is pushed.
pub fn watch(api: &Arc<Api>, call: Call) -> Start {
    let (tenant, id) = (call.tenant().clone(), call.param("serviceId"));
    if let Err(refused) = validate::service::id(ServiceRequest::Watch, id) {
        return Start::Refuse(refused.into());
    }
    let (outbox, reader) = outbox(MOST_PENDING);
    let consumer = ServiceId::from(id);
    let subscription = SubscriptionId::next();
    let message = Subscribe {
        id: subscription,
        tenant: tenant.clone(),
        consumer: consumer.clone(),
        outbox: outbox.clone(),
    };
    if let Err(why) = tell(&api.hub, message) {
        return Start::Refuse(refused(why).into());
    }
    let guard = Guard { hub: api.hub.clone(), tenant: tenant.clone(), consumer, subscription };
    if api.reader.load().service(&tenant, id).is_none() {
        // Registered on another node a moment ago?
        let (api, id) = (Arc::clone(api), id.to_owned());
        actix::spawn(async move {
            api.freshness.catch_up().await;
            if api.reader.load().service(&tenant, &id).is_none() {
                outbox.finish(End::Say(Cow::Borrowed(NO_SERVICE)));
            }
        });
    }
    Session::watch(reader, guard).into()
}

/// Ends the subscription with the session.
struct Guard {
    hub: Mailbox<HubActor>,
    tenant: Tenant,
    consumer: ServiceId,
    subscription: SubscriptionId,
}

impl Drop for Guard {
    fn drop(&mut self) {
        let (tenant, consumer) = (self.tenant.clone(), self.consumer.clone());
        // A hub too busy to take this finds the session's outbox closed when it sweeps.
        let _ = tell(&self.hub, Unsubscribe { tenant, consumer, subscription: self.subscription });
    }
}

/// `GET …/heartbeat` as a websocket: every pong is a heartbeat.
pub fn heartbeat(api: &Arc<Api>, call: Call) -> Start {
    let tenant = call.tenant().clone();
    let (service, instance) = (call.param("serviceId").to_owned(), call.param("instanceId").to_owned());
    if let Err(refused) = validate::instance::ids(InstanceRequest::Heartbeat, &service, &instance) {
        return Start::Refuse(refused.into());
    }
    if api.reader.load().is_registry(&tenant, &service) {
        return Start::Refuse(Error::new(Code::Forbidden, NODES_BEAT).into());
    }
    let (outbox, reader) = outbox(1);
    if api.reader.load().instance(&tenant, &service, &instance).is_none() {
        // Registered on another node a moment ago?
        let (api, tenant, service, instance) =
            (Arc::clone(api), tenant.clone(), service.clone(), instance.clone());
        actix::spawn(async move {
            let is_current = api.freshness.try_catch_up().await.is_ok();
            if is_current && api.reader.load().instance(&tenant, &service, &instance).is_none() {
                outbox.finish(gone());
            }
        });
    }
    let ping_every = api.rules.heartbeat_ping;
    let api = Arc::clone(api);
    let on_pong = move || {
        let api = Arc::clone(&api);
        let (tenant, service, instance) = (tenant.clone(), service.clone(), instance.clone());
        Box::pin(async move {
            let taken = take_exactly(&api, &tenant, &service, &instance).await;
            // Without the store nobody knows whether it is gone: the next pong asks again.
            taken.err().filter(|error| error.code == Code::InstanceNotExists).map(|_| gone())
        }) as _
    };
    Session::heartbeat(ping_every, Box::new(on_pong)).until(reader).into()
}

fn gone() -> End {
    End::Close { code: INSTANCE_NOT_EXISTS, reason: Cow::Borrowed(NO_INSTANCE) }
}
