//! The answers of the searches for services and instances.

use std::collections::BTreeMap;

use serde::Serialize;

use super::joined::{member, object};
use crate::domain::shape::{Shape, Shaped as _};
use crate::http::paging;
use crate::json_object;

/// Numbers by status.
pub type Counts = BTreeMap<String, i64>;

json_object! {
    /// A service: all versions of a name.
    pub struct ServiceSummary {
        /// The environment. Absent for the empty one.
        "environment" => environment: String,
        /// The application.
        "appId" => app_id: String,
        /// The name.
        "serviceName" => service_name: String,
        /// The versions, the lowest first.
        "versions" => versions: Vec<VersionSummary>,
        /// `empty`: no version has an instance. `noneUp`: no instance is `UP`. `someDown`: some instances are `UP`, others are not.
        /// `allUp`: all instances are `UP`.
        "state" => state: String,
        /// The number of instances of all versions by status. Absent if there are none. `OTHER` stands for what another program wrote.
        "instances" => instances: Counts,
        /// The revision at which a version, its tags, a schema or an instance was last written. A deletion does not count.
        "lastChangeRevision" => last_change_revision: i64,
        /// When that was, by the clock of the node that wrote it. Absent if neither a document nor the record of this node's events tells.
        "lastChange" => last_change: String,
    }
}

json_object! {
    /// A version of a service.
    pub struct VersionSummary {
        /// The id of the version.
        "serviceId" => service_id: String,
        /// The version.
        "version" => version: String,
        /// The number of its instances by status. Absent if it has none.
        "instances" => instances: Counts,
        /// When the version was registered. Absent if the document does not tell.
        "registered" => registered: String,
    }
}

json_object! {
    /// An instance and its service.
    pub struct InstanceSummary {
        /// The id of the service.
        "serviceId" => service_id: String,
        /// The name of the service.
        "serviceName" => service_name: String,
        /// The application of the service.
        "appId" => app_id: String,
        /// The environment of the service. Absent for the empty one.
        "environment" => environment: String,
        /// The version of the service.
        "version" => version: String,
        /// The id of the instance.
        "instanceId" => instance_id: String,
        /// The host name.
        "hostName" => host_name: String,
        /// The addresses.
        "endpoints" => endpoints: Vec<String>,
        /// `UP`, `DOWN`, `STARTING`, `TESTING` or `OUTOFSERVICE`.
        "status" => status: String,
        /// How long the instance lives without a heartbeat, in seconds.
        "ttlSeconds" => ttl_seconds: i64,
        /// How long ago this node sent the last heartbeat to the store, which it does within a quarter of a second, in seconds. Absent if
        /// this node has had none: then another node gets them.
        "lastHeartbeatAgeSeconds" => last_heartbeat_age: Option<i64>,
        /// When the instance was registered. Absent if the document does not tell.
        "registered" => registered: String,
        /// The revision of the last write of the instance.
        "lastChangeRevision" => last_change_revision: i64,
        /// When the status or the properties of the instance were last written, or when it was last registered. It has had its status since
        /// then at least. Absent if the document does not tell.
        "lastChange" => last_change: String,
    }
}

json_object! {
    /// A version of a service, and how many instances it has.
    pub struct ServiceFacts {
        /// The tenant, as `domain/project`, if it is not that of the request.
        "tenant" => tenant: String,
        /// The id.
        "serviceId" => service_id: String,
        /// The environment. Absent for the empty one.
        "environment" => environment: String,
        /// The application.
        "appId" => app_id: String,
        /// The name.
        "serviceName" => service_name: String,
        /// The version.
        "version" => version: String,
        /// The number of its instances by status. Absent if it has none.
        "instances" => instances: Counts,
    }
}

json_object! {
    /// A watch, and what it was sent.
    pub struct WatcherSummary {
        /// The consumer that watches.
        "consumer" => consumer: Option<ServiceFacts>,
        /// The address of the client, or of the proxy before it.
        "client" => client: String,
        /// Since when it watches.
        "connectedSince" => connected_since: String,
        /// How many events it was sent.
        "sent" => sent: Option<i64>,
        /// How many instances have an event that waits to be sent.
        "pending" => pending: Option<i64>,
        /// When it was last sent an event. Absent if it was sent none.
        "lastSent" => last_sent: String,
    }
}

/// What a page of services has besides the members of every page.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ServiceCounts {
    pub counts: Counts,
    #[serde(rename = "instanceCounts")]
    pub instance_counts: Counts,
}

/// What a page of instances has besides the members of every page.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct InstanceCounts {
    pub counts: Counts,
}

const COUNTS: Shape = Shape::Map(&Shape::Long);

pub const SERVICES: Shape = object(
    "ServicePage",
    "A page of services.",
    &[
        paging::REVISION,
        paging::TOTAL,
        paging::items("The services.", Shape::List(&ServiceSummary::SHAPE)),
        member(
            "counts",
            "The number of services by state, of all that fulfil the conditions other than `status`.",
            COUNTS,
        ),
        member("instanceCounts", "The number of instances of these services by status.", COUNTS),
        paging::NEXT,
    ],
);

pub const INSTANCES: Shape = object(
    "InstancePage",
    "A page of instances.",
    &[
        paging::REVISION,
        paging::TOTAL,
        paging::items("The instances.", Shape::List(&InstanceSummary::SHAPE)),
        member(
            "counts",
            "The number of instances by status, of all that fulfil the conditions other than `status`.",
            COUNTS,
        ),
        paging::NEXT,
    ],
);

pub const WATCHERS: Shape = object(
    "WatcherPage",
    "A page of watches.",
    &[
        paging::REVISION,
        paging::TOTAL,
        paging::items("The watches.", Shape::List(&WatcherSummary::SHAPE)),
        member("node", "The address of this node. Other nodes have other watches.", Shape::Text),
        paging::NEXT,
    ],
);
