//! Shapes of the answers that are joined from ready pieces, so that no type writes them.

use super::error::ErrorBody;
use crate::domain::shape::{MemberShape, ObjectShape, Shape, Shaped as _};
use crate::domain::{Instance, Service, ServiceKey};

const fn object(name: &'static str, about: &'static str, members: &'static [MemberShape]) -> Shape {
    Shape::Object(ObjectShape { name, about, members })
}

const fn member(name: &'static str, about: &'static str, shape: Shape) -> MemberShape {
    MemberShape { name, about, shape }
}

const SERVICE_LIST: Shape = Shape::List(&Service::SHAPE);
const INSTANCE_LIST: Shape = Shape::List(&Instance::SHAPE);

pub const SERVICE_ID: Shape =
    object("ServiceRegistered", "A registered service.", &[member("serviceId", "Its id.", Shape::Text)]);
pub const SERVICE: Shape = object("OneService", "A service.", &[member("service", "It.", Service::SHAPE)]);
pub const SERVICES: Shape =
    object("Services", "Services.", &[member("services", "Absent if none.", SERVICE_LIST)]);
pub const PROVIDERS: Shape =
    object("Providers", "Providers.", &[member("providers", "Absent if none.", SERVICE_LIST)]);
pub const CONSUMERS: Shape =
    object("Consumers", "Consumers.", &[member("consumers", "Absent if none.", SERVICE_LIST)]);
pub const INSTANCE: Shape =
    object("OneInstance", "An instance.", &[member("instance", "It.", Instance::SHAPE)]);
pub const INSTANCES: Shape =
    object("Instances", "Instances.", &[member("instances", "Absent if none.", INSTANCE_LIST)]);
pub const EVENT: Shape = object(
    "Event",
    "A change of an instance.",
    &[
        member("action", "`CREATE`, `UPDATE` or `DELETE`.", Shape::Text),
        member("key", "The instance's service.", ServiceKey::SHAPE),
        member("instance", "As it is now, or was at last.", Instance::SHAPE),
    ],
);

pub const BATCH_ANSWER: Shape = object(
    "BatchFindAnswer",
    "The outcomes of a batch find; each part only if it was asked for.",
    &[member("services", "Of the finds.", BATCH_RESULT), member("instances", "Of the gets.", BATCH_RESULT)],
);
const BATCH_RESULT: Shape = object(
    "BatchFindResult",
    "Outcomes by the place of their element in the request.",
    &[
        member("failed", "Refused, by error code.", Shape::List(&FAILED)),
        member("notModified", "Places whose revision was the client's.", Shape::List(&Shape::Integer)),
        member("updated", "New or changed.", Shape::List(&UPDATED)),
    ],
);
const FAILED: Shape = object(
    "BatchFindFailed",
    "Elements refused with one code.",
    &[
        member("indexes", "Their places.", Shape::List(&Shape::Integer)),
        member("error", "Why, of the first of them.", ErrorBody::SHAPE),
    ],
);
const UPDATED: Shape = object(
    "BatchFindUpdated",
    "An element with a new answer.",
    &[
        member("index", "Its place.", Shape::Integer),
        member("rev", "Its revision.", Shape::Text),
        member("instances", "Absent if none.", INSTANCE_LIST),
    ],
);
