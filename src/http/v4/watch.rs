//! The websockets: the watch of a consumer, and the heartbeats of an instance.

use std::borrow::Cow;
use std::sync::Arc;

use crate::actors::hub::messages::{Subscribe, SubscriptionId, Unsubscribe};
use crate::actors::hub::outbox::{End, MOST_PENDING, outbox};
use crate::actors::hub::{HubActor, not_permitted};
use crate::actors::mailbox::{Mailbox, tell};
use crate::domain::validate::{self, instance::InstanceRequest, service::ServiceRequest};
use crate::domain::{ServiceId, Tenant};
use crate::error::{Code, Error};
use crate::http::api::{Api, refused};
use crate::http::call::Call;
use crate::http::dto::joined;
use crate::http::parameters;
use crate::http::spec::{Operation, Success};
use crate::http::v4::heartbeats::{NODES_BEAT, take_exactly};
use crate::http::ws::{INSTANCE_NOT_EXISTS, Session, SessionStart};
use crate::rbac::signed_in::Holder;
use crate::rbac::{Labels, Resource, Verb};

pub const HEARTBEAT: Operation = Operation::new(
    "instances",
    "beatByWebsocket",
    "Opens a websocket on which each pong is a heartbeat. The server closes it with 4001 when the instance no longer exists.",
)
.with(parameters::HANDSHAKE)
.answers(Success::Pongs)
.fails_with(&[Code::Forbidden])
.uncounted();

pub const WATCH: Operation = Operation::new(
    "discovery",
    "watch",
    "Opens a websocket that gets the changes of instances of all services that the consumer depends on.",
)
.with(parameters::HANDSHAKE)
.answers(Success::Events(joined::EVENT))
.fails_with(&[Code::Unavailable]);

/// Clients compare this text, and register again.
const NO_SERVICE: &str = "service does not exist";
const NO_INSTANCE: &str = "heartbeat reporting failed because the instance does not exist";

/// `GET …/watcher`: pushes the changes of the providers that a consumer depends on.
///
/// The subscription is in the mailbox of the HubActor before the handshake is answered, so the client misses no change after the
/// handshake.
pub fn watch(api: &Arc<Api>, call: Call) -> SessionStart {
    let (tenant, id) = (call.tenant().clone(), call.param("serviceId"));
    if let Err(refused) = validate::service::id(ServiceRequest::Watch, id) {
        return SessionStart::Refuse(refused.into());
    }
    let (outbox, reader) = outbox(MOST_PENDING);
    let consumer = ServiceId::from(id);
    let subscription = SubscriptionId::next();
    let message = Subscribe {
        id: subscription,
        tenant: tenant.clone(),
        consumer: consumer.clone(),
        outbox: outbox.clone(),
        holder: holder(api, &call, Verb::Get),
        client: call.head().peer_addr,
    };
    if let Err(why) = tell(&api.hub, message) {
        return SessionStart::Refuse(refused(why).into());
    }
    let guard = SubscriptionGuard { hub: api.hub.clone(), tenant: tenant.clone(), consumer, subscription };
    if api.reader.load().service(&tenant, id).is_none() {
        // Another node may just have registered it.
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

/// Ends the subscription when the session ends.
struct SubscriptionGuard {
    hub: Mailbox<HubActor>,
    tenant: Tenant,
    consumer: ServiceId,
    subscription: SubscriptionId,
}

impl Drop for SubscriptionGuard {
    fn drop(&mut self) {
        let (tenant, consumer) = (self.tenant.clone(), self.consumer.clone());
        // If the mailbox of the HubActor is full, its next sweep finds the closed outbox of the session.
        let _ = tell(&self.hub, Unsubscribe { tenant, consumer, subscription: self.subscription });
    }
}

/// `GET …/heartbeat`, a websocket: each pong of the client is a heartbeat.
pub fn heartbeat(api: &Arc<Api>, call: Call) -> SessionStart {
    let tenant = call.tenant().clone();
    let (service, instance) = (call.param("serviceId").to_owned(), call.param("instanceId").to_owned());
    if let Err(refused) = validate::instance::ids(InstanceRequest::Heartbeat, &service, &instance) {
        return SessionStart::Refuse(refused.into());
    }
    if api.reader.load().is_registry(&tenant, &service) {
        return SessionStart::Refuse(Error::new(Code::Forbidden, NODES_BEAT).into());
    }
    let (outbox, reader) = outbox(1);
    if api.reader.load().instance(&tenant, &service, &instance).is_none() {
        // Another node may just have registered it.
        let (api, tenant, service, instance) =
            (Arc::clone(api), tenant.clone(), service.clone(), instance.clone());
        actix::spawn(async move {
            let is_current = api.freshness.try_catch_up().await.is_ok();
            if is_current && api.reader.load().instance(&tenant, &service, &instance).is_none() {
                outbox.finish(gone());
            }
        });
    }
    let holder = holder(api, &call, Verb::Update);
    let ping_every = api.rules.heartbeat_ping;
    let api = Arc::clone(api);
    let on_pong = move || {
        let api = Arc::clone(&api);
        let (tenant, service, instance) = (tenant.clone(), service.clone(), instance.clone());
        let refusal = holder.as_ref().and_then(|holder| holder.refusal(&api.reader.load().access));
        Box::pin(async move {
            if let Some(refusal) = refusal {
                return Some(not_permitted(&refusal));
            }
            let taken = take_exactly(&api, &tenant, &service, &instance).await;
            // If the store does not answer, the instance may still exist. The next pong tries again.
            taken.err().filter(|error| error.code == Code::InstanceNotExists).map(|_| gone())
        }) as _
    };
    Session::heartbeat(ping_every, Box::new(on_pong)).until(reader).into()
}

/// What the session needs to go on: that the caller may still do this with the service in the path. `None` while accounts are off.
fn holder(api: &Api, call: &Call, verb: Verb) -> Option<Holder> {
    let caller = call.caller()?;
    let snapshot = api.reader.load();
    let service = snapshot.service(call.tenant(), call.param("serviceId"));
    // Only an admin is admitted to a service that is unknown here.
    let labels = service.map_or_else(Labels::default, |service| Labels::of(&service.record.document));
    Some(caller.hold(verb, Resource::Service, labels))
}

fn gone() -> End {
    End::Close { code: INSTANCE_NOT_EXISTS, reason: Cow::Borrowed(NO_INSTANCE) }
}
