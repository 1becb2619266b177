//! Logs and counts the instances that are gone or taken out: each for itself, or one line a second if there are many.

use std::fmt;
use std::time::Duration;

use crate::clock::Monotonic;
use crate::metrics::{self, Counter};
use crate::recorder::{Cause, Event, EventKind};

/// How many lines of single instances are logged in [`WINDOW`].
const MAX_LINES: usize = 10;
const WINDOW: Duration = Duration::from_secs(1);

/// How an instance goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Departure {
    Expired,
    Unregistered,
    WithService,
    TakenOut,
    /// Missing in a listing, or without a document that can be read.
    Unknown,
}

const ALL: [(Departure, &str, &Counter); 5] = [
    (Departure::Expired, "expired", &metrics::GONE_EXPIRED),
    (Departure::Unregistered, "unregistered", &metrics::GONE_UNREGISTERED),
    (Departure::WithService, "deleted with their services", &metrics::GONE_WITH_SERVICE),
    (Departure::TakenOut, "taken out of service", &metrics::GONE_TAKEN_OUT),
    (Departure::Unknown, "missing in the store", &metrics::GONE_UNKNOWN),
];

#[derive(Debug, Default)]
pub(super) struct Departures {
    /// The end of the current window.
    until: Monotonic,
    /// How many lines were logged in it.
    lines: usize,
    /// How many were not logged, in the order of [`ALL`].
    untold: [usize; ALL.len()],
}

impl Departures {
    /// Counts and logs an event, if an instance goes.
    pub(super) fn see(&mut self, event: &Event, now: Monotonic) {
        let Some(departure) = departure(event) else { return };
        let Some(place) = ALL.iter().position(|(known, ..)| *known == departure) else { return };
        if let Some((.., counter)) = ALL.get(place) {
            counter.add(1);
        }
        self.tell(now);
        if self.lines < MAX_LINES {
            self.lines += 1;
            log::info!("{}", Line(event, departure));
        } else if let Some(untold) = self.untold.get_mut(place) {
            *untold += 1;
        }
    }

    /// Logs a summary at the end of a window.
    pub(super) fn tell(&mut self, now: Monotonic) {
        if now < self.until {
            return;
        }
        if let Some(line) = self.summary() {
            log::info!("{line}");
        }
        *self = Self { until: now + WINDOW, ..Self::default() };
    }

    /// Whether a summary is due at the end of the window.
    pub(super) fn is_untold(&self) -> bool {
        self.untold.iter().any(|untold| *untold > 0)
    }

    fn summary(&self) -> Option<String> {
        let counts = self.untold.iter().zip(ALL).filter(|(untold, _)| **untold > 0);
        let parts: Vec<String> = counts.map(|(untold, (_, text, _))| format!("{untold} {text}")).collect();
        let all: usize = self.untold.iter().sum();
        (all > 0).then(|| format!("{all} more instances within a second: {}", parts.join(", ")))
    }
}

fn departure(event: &Event) -> Option<Departure> {
    match event.kind {
        EventKind::InstanceExpired => Some(Departure::Expired),
        EventKind::InstanceUnregistered if event.cause == Cause::Unknown => Some(Departure::Unknown),
        EventKind::InstanceUnregistered => Some(Departure::Unregistered),
        EventKind::InstanceDeletedWithService => Some(Departure::WithService),
        EventKind::InstanceChanged => {
            let (before, after) = (event.before.as_ref()?.status(), event.instance.as_ref()?.shown.status());
            (before != after && matches!(after, "DOWN" | "OUTOFSERVICE")).then_some(Departure::TakenOut)
        }
        _ => None,
    }
}

/// The line of one instance.
struct Line<'e>(&'e Event, Departure);

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(event, departure) = self;
        let (Some(service), Some(instance)) = (&event.service, &event.instance) else { return Ok(()) };
        let name = if service.name.is_empty() { service.id.as_str() } else { &service.name };
        write!(f, "instance \"{}\" of service \"{name}\"", instance.id)?;
        if !service.version.is_empty() {
            write!(f, " {}", service.version)?;
        }
        write!(f, " of {} on host \"{}\" ", service.tenant, instance.shown.host())?;
        match departure {
            Departure::Expired => f.write_str("expired")?,
            Departure::Unregistered => f.write_str("was unregistered")?,
            Departure::WithService => f.write_str("was deleted with its service")?,
            Departure::TakenOut => write!(f, "was set to {}", instance.shown.status())?,
            Departure::Unknown => f.write_str("is missing in the store")?,
        }
        match &event.cause {
            Cause::Request(by) => {
                if let Some(account) = &by.account {
                    write!(f, " by the account \"{account}\"")?;
                }
                if let Some(client) = by.client {
                    write!(f, " from {client}")?;
                }
                write!(f, ", request {}", by.request_id)
            }
            Cause::Lease { heartbeat_age: Some(age), .. } => {
                write!(f, ": its last heartbeat came {} s before", age / 1000)
            }
            Cause::Lease { heartbeat_age: None, .. } => {
                f.write_str(": its lease ended, and this node took no heartbeat of it")
            }
            Cause::OtherNode => f.write_str(" through another node"),
            Cause::Node => f.write_str(" by this node"),
            Cause::Rule { .. } | Cause::Unknown => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::domain::Tenant;
    use crate::recorder::event::EventParts;
    use crate::recorder::{InstanceFacts, Requester, ServiceFacts, Shown};
    use crate::trace::RequestId;

    fn event(kind: EventKind, cause: Cause) -> Event {
        let service = ServiceFacts::of(Tenant::default_tenant(), "s".into(), None);
        let shown = |status| Shown::new(status, "host", ["rest://10.0.0.9:80"].into_iter());
        let instance = Some(InstanceFacts { id: "i".into(), shown: shown("DOWN") });
        let (service, before, detail) = (Some(Arc::new(service)), Some(shown("UP")), None);
        Event::new(1, EventParts { time: 0, revision: 1, kind, service, instance, before, detail, cause })
    }

    #[test]
    fn a_line_says_who_and_why() {
        let check = |kind, cause, expected: Option<&str>| {
            let event = event(kind, cause);
            let line = departure(&event).map(|departure| Line(&event, departure).to_string());
            let expected = expected.map(|end| {
                format!("instance \"i\" of service \"s\" of default/default on host \"host\" {end}")
            });
            assert_eq!(line, expected);
        };
        let request_id = RequestId::given(b"r-1");
        let request = |account: Option<&str>| {
            let account = account.map(Arc::from);
            let client = "10.0.0.7".parse().ok();
            request_id
                .clone()
                .map(|request_id| Requester { account, client, request_id })
                .map_or(Cause::Node, |by| Cause::Request(Arc::new(by)))
        };
        check(
            EventKind::InstanceExpired,
            Cause::Lease { lease: 7, heartbeat_age: Some(95_400) },
            Some("expired: its last heartbeat came 95 s before"),
        );
        check(
            EventKind::InstanceUnregistered,
            request(Some("alice")),
            Some("was unregistered by the account \"alice\" from 10.0.0.7, request r-1"),
        );
        check(EventKind::InstanceChanged, request(None), Some("was set to DOWN from 10.0.0.7, request r-1"));
        check(
            EventKind::InstanceDeletedWithService,
            Cause::OtherNode,
            Some("was deleted with its service through another node"),
        );
        check(EventKind::InstanceUnregistered, Cause::Unknown, Some("is missing in the store"));
        check(EventKind::InstanceRegistered, Cause::Node, None);
    }

    #[test]
    fn many_in_a_second_become_one_line() {
        let mut departures = Departures::default();
        let expired = event(EventKind::InstanceExpired, Cause::Lease { lease: 7, heartbeat_age: None });
        let gone = event(EventKind::InstanceUnregistered, Cause::OtherNode);
        let mut now = WINDOW;
        (0..30).for_each(|_| departures.see(&expired, now));
        departures.see(&gone, now + WINDOW / 2);
        assert_eq!(
            departures.summary().as_deref(),
            Some("21 more instances within a second: 20 expired, 1 unregistered")
        );
        now += WINDOW;
        departures.tell(now);
        assert!(!departures.is_untold() && departures.lines == 0);
        departures.see(&gone, now);
        assert_eq!((departures.lines, departures.summary()), (1, None));
    }
}
