//! Alarms and clusters, and the shape of the dump.

use std::collections::BTreeMap;

use super::joined::{member, object};
use crate::alarm::Alarm;
use crate::domain::json::TextMap;
use crate::domain::shape::{MemberShape, Shape, Shaped as _};
use crate::domain::{Instance, Service, dependency::Partners};
use crate::json_object;

json_object! {
    /// The alarms of a node.
    pub struct AlarmList {
        /// One entry for each kind of alarm. Left out if there are none.
        "alarms" => alarms: Vec<AlarmEntry>,
    }
}

json_object! {
    /// An alarm.
    pub struct AlarmEntry {
        /// `ACTIVATED`, or `CLEARED` if it is over.
        "status" => status: String,
        /// `BackendConnectionRefuse`: the store does not answer. `InternalError`: a request was answered with 500 or more.
        /// `DigestDiffers`: nodes show different data at the same revision, or a node does not show what the store holds.
        "id" => id: String,
        /// `detail` says what happened last.
        "fields" => fields: TextMap,
    }
}

impl From<Alarm> for AlarmEntry {
    fn from(alarm: Alarm) -> Self {
        let Alarm { kind, is_active, detail } = alarm;
        Self {
            status: if is_active { "ACTIVATED" } else { "CLEARED" }.to_owned(),
            id: kind.id().to_owned(),
            fields: TextMap::from([("detail".to_owned(), detail)]),
        }
    }
}

json_object! {
    /// The stores that this node knows.
    pub struct ClusterList {
        /// The addresses of each store, by the name of its cluster. `embedded` is a store without an address.
        "clusters" => clusters: BTreeMap<String, Vec<String>>,
    }
}

const fn entries(entry: &'static Shape) -> Shape {
    Shape::List(entry)
}

const KEY: MemberShape = member("key", "The key in the store.", Shape::Text);
const REV: MemberShape = member("rev", "The revision of the last write of the key.", Shape::Long);
const CLUSTER: MemberShape = member("cluster", "The name of the cluster.", Shape::Text);

const SERVICE_ENTRY: Shape = object(
    "DumpedService",
    "What the node holds of a key with a service.",
    &[KEY, REV, CLUSTER, member("value", "The service.", Service::SHAPE)],
);
const TEXT_ENTRY: Shape = object(
    "DumpedText",
    "What the node holds of a key with a text.",
    &[KEY, REV, CLUSTER, member("value", "The text. Left out if it is empty.", Shape::Text)],
);
const TAGS_ENTRY: Shape = object(
    "DumpedTags",
    "What the node holds of a key with tags.",
    &[KEY, REV, CLUSTER, member("value", "The tags. Left out if there are none.", TextMap::SHAPE)],
);
const RULE_ENTRY: Shape = object(
    "DumpedRule",
    "What the node holds of a key with a dependency rule.",
    &[KEY, REV, CLUSTER, member("value", "The rule.", Partners::SHAPE)],
);
const INSTANCE_ENTRY: Shape = object(
    "DumpedInstance",
    "What the node holds of a key with an instance.",
    &[KEY, REV, CLUSTER, member("value", "The instance.", Instance::SHAPE)],
);

const CACHE: Shape = object(
    "DumpedCache",
    "What the node holds of the store. A list without elements is left out.",
    &[
        member("services", "The services.", entries(&SERVICE_ENTRY)),
        member("serviceIndexes", "The id of the service that has a version of a name.", entries(&TEXT_ENTRY)),
        member(
            "serviceAliases",
            "The id of the service that has a version of an alias.",
            entries(&TEXT_ENTRY),
        ),
        member("serviceTags", "The tags of services.", entries(&TAGS_ENTRY)),
        member("dependencyRules", "The rules of consumers and of providers.", entries(&RULE_ENTRY)),
        member("summaries", "The summaries of schemas.", entries(&TEXT_ENTRY)),
        member("instances", "The instances.", entries(&INSTANCE_ENTRY)),
    ],
);

pub const DUMP: Shape = object(
    "Dump",
    "What `options` asks for.",
    &[
        member("info", "The version of the node.", super::node::BuildInfo::SHAPE),
        member("cache", "What the node holds of the store.", CACHE),
    ],
);
