//! What nodes write for each other about consumers, and under which keys.

use crate::actors::pollers::ProcessKey;
use crate::cache::find::Wanted;
use crate::domain::{ServiceId, Tenant};
use crate::json_object;
use crate::store::{Key, keys};

/// A key below [`keys::CONSUMERS`].
#[derive(Debug, PartialEq, Eq)]
pub(super) enum ConsumerKey<'k> {
    /// That a node takes part.
    Node { process: &'k str },
    /// What consumers look for in vain, a part of the list of one node.
    Interests { process: &'k str },
    /// An instance drains.
    Drain { drain: &'k str },
    /// What a node says of a drain.
    Receipt { drain: &'k str, process: &'k str },
}

impl<'k> ConsumerKey<'k> {
    pub fn parse(key: &'k str) -> Option<Self> {
        let mut parts = key.strip_prefix(keys::CONSUMERS)?.split('/');
        let parsed = match (parts.next()?, parts.next()?, parts.next()) {
            ("nodes", process, None) => Self::Node { process },
            ("interests", process, Some(_)) => Self::Interests { process },
            ("drains", drain, None) => Self::Drain { drain },
            ("receipts", drain, Some(process)) => Self::Receipt { drain, process },
            _ => return None,
        };
        parts.next().is_none().then_some(parsed)
    }
}

pub(super) fn node_key(process: &str) -> Key {
    format!("{}nodes/{process}", keys::CONSUMERS).into()
}

pub(super) fn interests_key(process: &str, part: usize) -> Key {
    format!("{}interests/{process}/{part}", keys::CONSUMERS).into()
}

pub(super) fn drain_key(drain: &str) -> Key {
    format!("{}drains/{drain}", keys::CONSUMERS).into()
}

/// With an empty process: the prefix of all receipts of the drain.
pub(super) fn receipt_key(drain: &str, process: &str) -> Key {
    format!("{}receipts/{drain}/{process}", keys::CONSUMERS).into()
}

json_object! {
    /// That a node takes part.
    pub struct NodeRecord {
        /// The host and the process.
        "node" => node: String,
        /// The `host:port` under which the node registers itself.
        "endpoint" => endpoint: String,
        /// The node stops: it has sent its clients away.
        "leaving" => is_leaving: bool,
    }
}

json_object! {
    /// What consumers look for in vain.
    pub struct InterestsRecord {
        /// The list.
        "wanted" => wanted: Vec<WantedRecord>,
    }
}

json_object! {
    /// A consumer, and a provider that it looks for.
    pub struct WantedRecord {
        /// The tenant of the consumer.
        "consumerTenant" => consumer_tenant: String,
        /// The id of the consumer.
        "consumer" => consumer: String,
        /// The tenant of the provider.
        "tenant" => tenant: String,
        /// Environment, application and name of the provider.
        "path" => path: String,
    }
}

json_object! {
    /// An instance that drains.
    pub struct DrainRecord {
        /// Its tenant.
        "tenant" => tenant: String,
        /// Its service.
        "service" => service: String,
        /// Its id.
        "instance" => instance: String,
        /// The revision of the change that consumers must learn. 0: it is not written yet.
        "revision" => revision: i64,
    }
}

json_object! {
    /// What a node says of a drain.
    pub struct ReceiptRecord {
        /// The revision of the change, once the node has pushed it.
        "revision" => revision: i64,
        /// The processes whose watch was sent the change: hexadecimal, 16 digits each.
        "told" => told: String,
        /// How many watches were not.
        "owed" => owed: i64,
        /// Some of them.
        "waiting" => waiting: Vec<ProcessRecord>,
        /// The processes that asked in the time before the drain.
        "polled" => polled: Vec<ProcessRecord>,
        /// Further ones: hexadecimal, 16 digits each.
        "polledMore" => polled_more: String,
        /// The processes that have asked since: hexadecimal, 16 digits each.
        "asked" => asked: String,
    }
}

json_object! {
    /// A process of a consumer.
    pub struct ProcessRecord {
        /// Its key, hexadecimal.
        "key" => key: String,
        /// The tenant of the consumer.
        "tenant" => tenant: String,
        /// The id of the consumer.
        "consumer" => consumer: String,
        /// The address of the client.
        "client" => client: String,
        /// When it was last sent something or asked: Unix time, milliseconds. 0: never, as far as the node knows.
        "last" => last: i64,
    }
}

impl From<&Wanted> for WantedRecord {
    fn from(wanted: &Wanted) -> Self {
        Self {
            consumer_tenant: wanted.consumer.0.as_str().to_owned(),
            consumer: wanted.consumer.1.as_str().to_owned(),
            tenant: wanted.tenant.as_str().to_owned(),
            path: wanted.path.as_ref().to_owned(),
        }
    }
}

impl From<WantedRecord> for Wanted {
    fn from(record: WantedRecord) -> Self {
        Self {
            consumer: (Tenant::from(record.consumer_tenant.as_str()), ServiceId::from(record.consumer)),
            tenant: Tenant::from(record.tenant.as_str()),
            path: record.path.into(),
        }
    }
}

/// Writes keys one after another.
pub(super) fn joined(keys: impl IntoIterator<Item = ProcessKey>) -> String {
    keys.into_iter().map(|key| format!("{:016x}", key.0)).collect()
}

/// The keys in such a text. What is no key is left out.
pub(super) fn split(text: &str) -> impl Iterator<Item = ProcessKey> {
    let digits = (0..text.len()).step_by(16).filter_map(|at| text.get(at..at + 16));
    digits.filter_map(|digits| u64::from_str_radix(digits, 16).ok()).map(ProcessKey)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_told_apart() {
        let parsed = |key: &Key| format!("{:?}", ConsumerKey::parse(key));
        assert_eq!(parsed(&node_key("p1")), r#"Some(Node { process: "p1" })"#);
        assert_eq!(parsed(&interests_key("p1", 7)), r#"Some(Interests { process: "p1" })"#);
        assert_eq!(parsed(&drain_key("d1")), r#"Some(Drain { drain: "d1" })"#);
        assert_eq!(parsed(&receipt_key("d1", "p1")), r#"Some(Receipt { drain: "d1", process: "p1" })"#);
        for foreign in
            ["/cse-sr/x", "/service-center/consumers/x/y", "/service-center/consumers/drains/d/x/y"]
        {
            assert_eq!(ConsumerKey::parse(foreign), None, "{foreign}");
        }
    }

    #[test]
    fn process_keys_are_read_as_written() {
        let keys = [ProcessKey(0), ProcessKey(u64::MAX), ProcessKey(42)];
        assert_eq!(split(&joined(keys)).collect::<Vec<_>>(), keys);
        assert_eq!(split("00000000000000zz0000000000000001f").collect::<Vec<_>>(), [ProcessKey(1)]);
        assert_eq!(split("ä".repeat(20).as_str()).count(), 0);
    }
}
