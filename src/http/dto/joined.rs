//! The shapes, for OpenAPI, of answers that no type encodes: they are joined from JSON that exists already.

use super::error::ErrorBody;
use crate::domain::shape::{MemberShape, ObjectShape, Shape, Shaped as _};
use crate::domain::{Instance, Service, ServiceKey};

pub(in crate::http) const fn object(
    name: &'static str,
    about: &'static str,
    members: &'static [MemberShape],
) -> Shape {
    Shape::Object(ObjectShape { name, about, members })
}

pub(in crate::http) const fn member(name: &'static str, about: &'static str, shape: Shape) -> MemberShape {
    MemberShape { name, about, shape }
}

pub(super) const SERVICE_LIST: Shape = Shape::List(&Service::SHAPE);
pub(super) const INSTANCE_LIST: Shape = Shape::List(&Instance::SHAPE);

pub const SERVICE_ID: Shape = object(
    "ServiceRegistered",
    "The answer to the registration of a service.",
    &[member("serviceId", "The id of the service.", Shape::Text)],
);
pub const SERVICE: Shape =
    object("OneService", "One service.", &[member("service", "The service.", Service::SHAPE)]);
pub const SERVICES: Shape =
    object("Services", "Services.", &[member("services", "Left out if there are none.", SERVICE_LIST)]);
pub const PROVIDERS: Shape = object(
    "Providers",
    "The providers of a service.",
    &[member("providers", "Left out if there are none.", SERVICE_LIST)],
);
pub const CONSUMERS: Shape = object(
    "Consumers",
    "The consumers of a service.",
    &[member("consumers", "Left out if there are none.", SERVICE_LIST)],
);
pub const INSTANCE: Shape =
    object("OneInstance", "One instance.", &[member("instance", "The instance.", Instance::SHAPE)]);
pub const INSTANCES: Shape =
    object("Instances", "Instances.", &[member("instances", "Left out if there are none.", INSTANCE_LIST)]);
pub const EVENT: Shape = object(
    "Event",
    "A change of an instance.",
    &[
        member("action", "`CREATE`, `UPDATE` or `DELETE`.", Shape::Text),
        member("key", "The key of the service.", ServiceKey::SHAPE),
        member("instance", "The instance after the change; for `DELETE`, before it.", Instance::SHAPE),
    ],
);

pub const BATCH_ANSWER: Shape = object(
    "BatchFindAnswer",
    "The results of a batch find. A part is left out if the request did not ask for it.",
    &[
        member("services", "The results for the services.", BATCH_RESULT),
        member("instances", "The results for the instances.", BATCH_RESULT),
    ],
);
const BATCH_RESULT: Shape = object(
    "BatchFindResult",
    "The results for one list of the request. They name an element by its index in the list.",
    &[
        member("failed", "Elements with an error, grouped by error code.", Shape::List(&FAILED)),
        member(
            "notModified",
            "Indexes of the elements whose `rev` is still the current revision.",
            Shape::List(&Shape::Integer),
        ),
        member("updated", "Elements with a new revision.", Shape::List(&UPDATED)),
    ],
);
const FAILED: Shape = object(
    "BatchFindFailed",
    "Elements with the same error code.",
    &[
        member("indexes", "The indexes of the elements.", Shape::List(&Shape::Integer)),
        member("error", "The error of the first element.", ErrorBody::SHAPE),
    ],
);
const UPDATED: Shape = object(
    "BatchFindUpdated",
    "An element with a new revision.",
    &[
        member("index", "The index of the element.", Shape::Integer),
        member("rev", "The new revision.", Shape::Text),
        member("instances", "Left out if there are none.", INSTANCE_LIST),
    ],
);
