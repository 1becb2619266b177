//! Events of the record, and instances as the record keeps them.

use crate::domain::event::Revision;
use crate::domain::time::rfc3339;
use crate::json_object;
use crate::recorder::{Cause, Event, InstanceFacts, ServiceFacts, Shown};

json_object! {
    /// Something that happened, as one node saw it. Members that are empty or 0 are left out.
    pub struct RecordedEvent {
        /// The number of the event in the record of the node. It grows by one with each event.
        "seq" => seq: i64,
        /// The id of the event, for `Last-Event-ID`.
        "id" => id: String,
        /// When the node saw it.
        "time" => time: String,
        /// The revision of the store at which it happened. Left out if it is not about the store.
        "revision" => revision: i64,
        /// What happened.
        "kind" => kind: String,
        /// The domain of the service.
        "domain" => domain: String,
        /// The project of the service.
        "project" => project: String,
        /// The service that the event is about, or the service of the instance.
        "service" => service: Option<EventService>,
        /// The instance after the event. If it is gone: as it was shown last.
        "instance" => instance: Option<EventInstance>,
        /// What the instance showed before. Only if the event changed it.
        "before" => before: Option<EventInstance>,
        /// The id of a schema, why the store is lost, or why there is a gap.
        "detail" => detail: String,
        /// Why it happened, as far as the node knows.
        "cause" => cause: Option<EventCause>,
        /// What became of the event on its way to the watches of the node. Left out if nobody watches.
        "told" => told: Option<EventTold>,
    }
}

json_object! {
    /// The service of an event.
    pub struct EventService {
        /// The id of the service.
        "serviceId" => service_id: String,
        /// The environment of the service.
        "environment" => environment: String,
        /// The application of the service.
        "appId" => app_id: String,
        /// The name of the service.
        "serviceName" => service_name: String,
        /// The version of the service.
        "version" => version: String,
    }
}

json_object! {
    /// An instance as the record keeps it.
    pub struct EventInstance {
        /// The id of the instance.
        "instanceId" => instance_id: String,
        /// The name of the host.
        "hostName" => host_name: String,
        /// The addresses of the instance.
        "endpoints" => endpoints: Vec<String>,
        /// The status of the instance.
        "status" => status: String,
    }
}

json_object! {
    /// Why an event happened.
    pub struct EventCause {
        /// `request`: a request that the node answered. `lease`: the lease ended. `otherNode`: a write of another node. `node`: the
        /// node itself, for its own entry or by a job. `rule`: a rule holds the expiry.
        /// `unknown`: only a listing of the store showed it.
        "type" => kind: String,
        /// `request`: the account that sent it, if accounts are on.
        "account" => account: String,
        /// `request`: the address of the client.
        "client" => client: String,
        /// `request`: its id, `X-Request-Id`.
        "requestId" => request_id: String,
        /// `lease`: the id of the lease in the store, hexadecimal.
        "lease" => lease: String,
        /// `lease`: when the node took the last heartbeat. Left out if it took none.
        "lastHeartbeat" => last_heartbeat: String,
        /// `lease`: how long that was before the event, in seconds.
        "heartbeatAgeSeconds" => heartbeat_age: i64,
        /// `rule`: the rule, as `admin/expiries` names it.
        "rule" => rule: String,
        /// `rule`: until when it holds the expiry at most.
        "until" => until: String,
    }
}

json_object! {
    /// What became of an event on its way to the watches of a node. A consumer with several processes has several watches.
    pub struct EventTold {
        /// The watches that the event was for.
        "consumers" => consumers: i64,
        /// The watches that were sent the event.
        "sent" => sent: i64,
        /// The watches that wait for it.
        "waiting" => waiting: i64,
        /// The watches that were sent a later event of the instance instead, or need not know of it.
        "replaced" => replaced: i64,
        /// The watches that ended before.
        "lost" => lost: i64,
        /// When the first watch was sent the event.
        "firstSent" => first_sent: String,
        /// When the last watch was sent the event.
        "lastSent" => last_sent: String,
    }
}

/// The id of an event: its number, and its time, which tells the records of other nodes and earlier records apart.
pub fn event_id(seq: u64, time: i64) -> String {
    format!("{seq}-{time}")
}

/// Number and time of [`event_id`]. `None` for another text.
pub fn parse_event_id(text: &str) -> Option<(u64, i64)> {
    let (seq, time) = text.split_once('-')?;
    Some((seq.parse().ok()?, time.parse().ok()?))
}

impl From<&Event> for RecordedEvent {
    fn from(event: &Event) -> Self {
        let Event { seq, time, revision, kind, service, instance, before, detail, cause, .. } = event;
        let tenant = service.as_ref().map(|service| &service.tenant);
        Self {
            seq: signed(*seq),
            id: event_id(*seq, *time),
            time: rfc3339(*time),
            revision: Revision::from(*revision),
            kind: kind.name().to_owned(),
            domain: tenant.map(|tenant| tenant.domain().to_owned()).unwrap_or_default(),
            project: tenant.map(|tenant| tenant.project().to_owned()).unwrap_or_default(),
            service: service.as_deref().map(Into::into),
            instance: instance.as_ref().map(Into::into),
            before: before.as_ref().map(|shown| shown_as(String::new(), shown)),
            detail: detail.as_deref().unwrap_or_default().to_owned(),
            cause: Some(cause_of(cause, *time)),
            told: event.told.map(|told| EventTold {
                consumers: told.consumers.into(),
                sent: told.sent.into(),
                waiting: told.waiting.into(),
                replaced: told.replaced.into(),
                lost: told.lost.into(),
                first_sent: told.first_sent.map(rfc3339).unwrap_or_default(),
                last_sent: told.last_sent.map(rfc3339).unwrap_or_default(),
            }),
        }
    }
}

impl From<&ServiceFacts> for EventService {
    fn from(facts: &ServiceFacts) -> Self {
        let ServiceFacts { id, environment, app_id, name, version, .. } = facts;
        Self {
            service_id: id.to_string(),
            environment: environment.to_string(),
            app_id: app_id.to_string(),
            service_name: name.to_string(),
            version: version.to_string(),
        }
    }
}

impl From<&InstanceFacts> for EventInstance {
    fn from(facts: &InstanceFacts) -> Self {
        shown_as(facts.id.to_string(), &facts.shown)
    }
}

fn shown_as(instance_id: String, shown: &Shown) -> EventInstance {
    EventInstance {
        instance_id,
        host_name: shown.host().to_owned(),
        endpoints: shown.endpoints().map(str::to_owned).collect(),
        status: shown.status().to_owned(),
    }
}

fn cause_of(cause: &Cause, time: i64) -> EventCause {
    let of = |kind: &str| EventCause { kind: kind.to_owned(), ..EventCause::default() };
    match cause {
        Cause::Request(by) => EventCause {
            account: by.account.as_deref().unwrap_or_default().to_owned(),
            client: by.client.map(|client| client.to_string()).unwrap_or_default(),
            request_id: by.request_id.to_string(),
            ..of("request")
        },
        Cause::Lease { lease, heartbeat_age } => {
            let age = heartbeat_age.map(signed);
            EventCause {
                lease: if *lease == 0 { String::new() } else { format!("{lease:x}") },
                last_heartbeat: age.map(|age| rfc3339(time.saturating_sub(age))).unwrap_or_default(),
                heartbeat_age: age.unwrap_or_default() / 1000,
                ..of("lease")
            }
        }
        Cause::OtherNode => of("otherNode"),
        Cause::Node => of("node"),
        Cause::Rule { rule, until } => {
            EventCause { rule: rule.to_string(), until: rfc3339(*until), ..of("rule") }
        }
        Cause::Unknown => of("unknown"),
    }
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_read_back() {
        assert_eq!(parse_event_id(&event_id(7, 1_795_911_133_123)), Some((7, 1_795_911_133_123)));
        for wrong in ["", "7", "7-", "-7", "x-1", "7-1-1", "7 -1"] {
            assert_eq!(parse_event_id(wrong), None, "{wrong}");
        }
    }
}
