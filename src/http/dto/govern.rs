//! The views for portals: numbers, and the shapes of what is joined from stored documents.

use super::joined::{INSTANCE_LIST, SERVICE_LIST, member, object};
use crate::domain::schema::Schema;
use crate::domain::shape::{Shape, Shaped as _};
use crate::domain::{Service, json::TextMap};
use crate::json_object;

json_object! {
    /// Numbers about the services of a tenant. A number that is 0 is left out.
    pub struct Statistics {
        /// Services, whatever their versions.
        "services" => services: Option<ServiceNumbers>,
        /// Instances.
        "instances" => instances: Option<InstanceNumbers>,
        /// Applications.
        "apps" => apps: Option<AppNumbers>,
    }
}

json_object! {
    /// Numbers of services. The versions of a service count once.
    pub struct ServiceNumbers {
        /// All services.
        "count" => count: i64,
        /// Services with an instance, whatever the status of the instance.
        "onlineCount" => online: i64,
    }
}

json_object! {
    /// Numbers of instances.
    pub struct InstanceNumbers {
        /// All instances.
        "count" => count: i64,
        /// The same number.
        "countByDomain" => count_by_domain: i64,
    }
}

json_object! {
    /// Numbers of applications.
    pub struct AppNumbers {
        /// All applications.
        "count" => count: i64,
    }
}

json_object! {
    /// The answer with the statistics of a tenant.
    pub struct StatisticsAnswer {
        /// The numbers.
        "statistics" => statistics: Option<Statistics>,
    }
}

json_object! {
    /// The applications of an environment.
    pub struct Apps {
        /// Their names. Left out if there are none.
        "appIds" => app_ids: Vec<String>,
    }
}

const DETAIL: Shape = object(
    "ServiceDetail",
    "A service with what belongs to it. Empty members are left out.",
    &[
        member("microService", "The service. In a list it has no `schemas`.", Service::SHAPE),
        member("instances", "The instances. In a list they have only configured properties.", INSTANCE_LIST),
        member("schemaInfos", "The schemas with their texts.", Shape::List(&Schema::SHAPE)),
        member("providers", "The services that it depends on.", SERVICE_LIST),
        member("consumers", "The services that depend on it.", SERVICE_LIST),
        member("tags", "The tags.", TextMap::SHAPE),
        member("microServiceVersions", "All versions of the service.", Shape::List(&Shape::Text)),
        member("statics", "The number of instances, if `countOnly` is 1.", Statistics::SHAPE),
    ],
);

pub const SERVICE_DETAIL: Shape = object(
    "OneServiceDetail",
    "One service with what belongs to it.",
    &[member("service", "The service.", DETAIL)],
);

pub const SERVICE_DETAILS: Shape = object(
    "ServiceDetails",
    "Services with what belongs to them.",
    &[
        member("allServicesDetail", "The services. Left out if there are none.", Shape::List(&DETAIL)),
        member("statistics", "The statistics, if `options` asks for them.", Statistics::SHAPE),
    ],
);

const NODE: Shape = object(
    "RelationNode",
    "A service.",
    &[
        member("id", "The id of the service.", Shape::Text),
        member("name", "The name of the service.", Shape::Text),
        member("appId", "The application. Empty for the end of a line.", Shape::Text),
        member("version", "The version. Empty for the end of a line.", Shape::Text),
        member("type", "Always empty.", Shape::Text),
        member("color", "Always empty.", Shape::Text),
        member("position", "Always empty.", Shape::Text),
    ],
);

const LINE: Shape = object(
    "RelationLine",
    "A dependency.",
    &[
        member("from", "The consumer.", NODE),
        member("to", "The provider.", NODE),
        member("type", "Always empty.", Shape::Text),
        member("color", "Always empty.", Shape::Text),
        member("descriptor", "Always empty.", Shape::Text),
    ],
);

pub const RELATIONS: Shape = object(
    "Relations",
    "Services and their dependencies. A list without elements is `null`.",
    &[
        member("nodes", "The services.", Shape::List(&NODE)),
        member("lines", "The dependencies.", Shape::List(&LINE)),
        member("circles", "Always `null`.", Shape::List(&Shape::Text)),
    ],
);
