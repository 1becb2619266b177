//! Questions to the record.

use std::sync::Arc;

use super::event::{Event, EventKind, InstanceFacts};
use crate::domain::{InstanceId, ServiceId, Tenant};

/// Which events to return. All conditions must hold.
#[derive(Clone, Debug)]
pub struct Query {
    /// Events of this tenant, and events that are about no service. `None`: of all tenants.
    pub tenant: Option<Tenant>,
    /// Events at this time or later: Unix time, milliseconds.
    pub since: Option<i64>,
    /// Events before this time.
    pub before: Option<i64>,
    pub kinds: KindSet,
    pub service: Option<ServiceId>,
    pub instance: Option<InstanceId>,
    /// The host name of the instance, before or after the event.
    pub host: Option<Box<str>>,
    pub order: Order,
    /// Continue after the event with this number, in the order asked for.
    pub after: Option<u64>,
    /// At most so many events.
    pub limit: usize,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    #[default]
    OldestFirst,
    NewestFirst,
}

/// A set of kinds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KindSet(u32);

/// The answer to a [`Query`].
#[derive(Clone, Debug)]
pub struct Page {
    pub events: Vec<Arc<Event>>,
    /// How many events of the record match, whatever the limit and `after`.
    pub total: usize,
    /// The value of `after` for the next page. `None`: this is the last page.
    pub next: Option<u64>,
    pub complete_since: CompleteSince,
    /// The number of the last event of the record, matching or not. 0 if there is none. A follower continues after it.
    pub last_seq: u64,
}

/// Since when the record has every event: the time after the last gap, or of the oldest event that is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CompleteSince {
    /// Unix time, milliseconds.
    pub time: i64,
    /// The number of the first event from then on.
    pub seq: u64,
}

/// The instances of a service at an earlier time are not known. They are known since this time: Unix time, milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KnownSince(pub i64);

/// The instances of a service at a time.
pub type InstancesAt = Result<Vec<InstanceFacts>, KnownSince>;

impl Default for Query {
    fn default() -> Self {
        Self {
            tenant: None,
            since: None,
            before: None,
            kinds: KindSet::ALL,
            service: None,
            instance: None,
            host: None,
            order: Order::default(),
            after: None,
            limit: 100,
        }
    }
}

impl Query {
    /// The life of one instance.
    pub fn history(tenant: Tenant, service: ServiceId, instance: InstanceId) -> Self {
        Self { tenant: Some(tenant), service: Some(service), instance: Some(instance), ..Self::default() }
    }
}

impl KindSet {
    pub const ALL: Self = Self(u32::MAX);

    /// Reads names of kinds and of groups (`instance` is all `instance.…`) between commas. An empty text is all kinds. The error is
    /// the name that there is not. Blanks and empty names are none, as OpenAPI states it.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Ok(Self::ALL);
        }
        let mut set = 0;
        for name in text.split(',') {
            let kinds = EventKind::ALL.iter().filter(|kind| kind.name() == name || kind.group() == name);
            let bits = kinds.fold(0, |bits, kind| bits | bit(*kind));
            if bits == 0 {
                return Err(name.to_owned());
            }
            set |= bits;
        }
        Ok(Self(set))
    }

    pub fn contains(self, kind: EventKind) -> bool {
        self.0 & bit(kind) != 0
    }
}

fn bit(kind: EventKind) -> u32 {
    1 << kind as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_named_one_by_one_or_by_group() {
        let check = |text: &str, expected: Result<&[EventKind], &str>| {
            let found = KindSet::parse(text);
            let expected = expected.map_err(str::to_owned);
            let kinds = EventKind::ALL.iter().copied();
            let named = found.map(|set| kinds.filter(|kind| set.contains(*kind)).collect::<Vec<_>>());
            assert_eq!(named, expected.map(<[EventKind]>::to_vec), "{text}");
        };
        check("", Ok(EventKind::ALL));
        check("node", Ok(&[EventKind::NodeJoined, EventKind::NodeLeft]));
        check("record.gap,schema", Ok(&[EventKind::SchemaChanged, EventKind::SchemaDeleted, EventKind::Gap]));
        check("schema,", Err(""));
        check(",", Err(""));
        check("schema, record", Err(" record"));
        check("instance.gone", Err("instance.gone"));
        check("service.deleted,in", Err("in"));
        assert!(EventKind::ALL.len() < 32, "each kind needs a bit");
    }
}
