//! What each route takes and answers, for the description of the API: one entry a row of the route table, in words for those
//! who call it. Bodies and answers are the shapes of the types that read and write them; a test compares the entries with the
//! table, another the shapes with live answers.

use super::super::dto::dependency::Dependencies;
use super::super::dto::error::ErrorBody;
use super::super::dto::find::BatchFind;
use super::super::dto::instance::{
    BulkStatus, Heartbeats, HeartbeatsResult, InstanceRegistered, RegisterInstance,
};
use super::super::dto::node::VersionInfo;
use super::super::dto::schema::{PutSchema, PutSchemas, SchemaList, SchemaText};
use super::super::dto::service::{
    CreateService, DeleteServices, DeleteServicesResult, Existence, Properties,
};
use super::super::dto::tag::Tags;
use super::super::routes::Method;
use super::super::v4::admin::Expiries;
use crate::domain::shape::{MemberShape, ObjectShape, Shape, Shaped};
use crate::domain::{Instance, Service, ServiceKey};

/// A row of the route table, described.
#[derive(Clone, Copy)]
pub struct Operation {
    /// Method.
    pub method: Method,
    /// Path, as in the table.
    pub path: &'static str,
    /// Its name for generated clients.
    pub id: &'static str,
    /// What it does.
    pub summary: &'static str,
    /// Query and headers, beside those of every request.
    pub parameters: &'static [Parameter],
    /// What it takes.
    pub body: Option<Shape>,
    /// What it answers when all is well.
    pub answer: Answer,
}

/// A successful answer.
#[derive(Clone, Copy)]
pub enum Answer {
    /// 200 without a body.
    Empty,
    /// 200 with a document.
    Json(Shape),
    /// 200 with a document and `X-Resource-Revision`, or 304.
    Found(Shape),
    /// 200 with a document and `X-Schema-Summary`.
    Summarized(Shape),
    /// 200 with a document that has a standard of its own.
    Free {
        /// Its content type.
        content_type: &'static str,
        /// What it is.
        about: &'static str,
    },
    /// 101. Each text frame is such a document.
    Events(Shape),
    /// 101. Pongs count.
    Pongs,
}

/// A parameter of query or header.
#[derive(Clone, Copy)]
pub struct Parameter {
    /// `query` or `header`.
    pub place: &'static str,
    /// Its name.
    pub name: &'static str,
    /// What it says.
    pub about: &'static str,
    /// Whether it has to be there.
    pub need: Need,
}

/// Whether a parameter has to be there.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// It has to.
    Must,
    /// It may be left out.
    May,
}

/// Names in paths.
pub const PATH_PARAMETERS: &[(&str, &str)] = &[
    ("project", "The tenant's project. `default` unless told otherwise."),
    ("serviceId", "A service version's id, as its registration answered it."),
    ("instanceId", "An instance's id."),
    ("schemaId", "A schema's id within its service."),
    ("key", "A tag's name; to delete, several between commas."),
    ("consumerId", "The id of a service as a consumer."),
    ("providerId", "The id of a service as a provider."),
];

/// Of every request with a project.
pub const DOMAIN: Parameter = header("X-Domain-Name", "The tenant's domain. `default` if absent.");

/// The body of every refusal.
pub const ERROR: Shape = ErrorBody::SHAPE;

const fn parameter(place: &'static str, name: &'static str, about: &'static str, need: Need) -> Parameter {
    Parameter { place, name, about, need }
}

const fn query(name: &'static str, about: &'static str) -> Parameter {
    parameter("query", name, about, Need::May)
}

const fn must(name: &'static str, about: &'static str) -> Parameter {
    parameter("query", name, about, Need::Must)
}

const fn header(name: &'static str, about: &'static str) -> Parameter {
    parameter("header", name, about, Need::May)
}

const NO_CACHE: Parameter = query(
    "noCache",
    "`1`: as fresh as the store is now, whatever other nodes wrote; `rev` does not count then.",
);
const CACHE_ONLY: Parameter = query("cacheOnly", "`1`: as this node knows it; `rev` does not count then.");
const REV: Parameter = query("rev", "The revision of the last answer: 304 if this one has the same.");
const TAGS: Parameter = query("tags", "Only services that have all these tags; names between commas.");
const CONSUMER: Parameter = header(
    "X-ConsumerId",
    "The service on whose behalf is asked: it decides what is visible, and must exist.",
);
const SAME_DOMAIN: Parameter = query("sameDomain", "`1`: only services of the same tenant.");
const NO_SELF: Parameter = query("noSelf", "`1`: without the service itself.");

const FRESH: &[Parameter] = &[NO_CACHE];
const PARTNERS: &[Parameter] = &[SAME_DOMAIN, NO_SELF, NO_CACHE];
const OF_A_SERVICE: &[Parameter] = &[TAGS, REV, CONSUMER, NO_CACHE, CACHE_ONLY];

impl Operation {
    const fn new(method: Method, path: &'static str, id: &'static str, summary: &'static str) -> Self {
        Self { method, path, id, summary, parameters: &[], body: None, answer: Answer::Empty }
    }

    const fn with(mut self, parameters: &'static [Parameter]) -> Self {
        self.parameters = parameters;
        self
    }

    const fn takes(mut self, body: Shape) -> Self {
        self.body = Some(body);
        self
    }

    const fn answers(mut self, shape: Shape) -> Self {
        self.answer = Answer::Json(shape);
        self
    }

    const fn gives(mut self, answer: Answer) -> Self {
        self.answer = answer;
        self
    }
}

const fn get(path: &'static str, id: &'static str, summary: &'static str) -> Operation {
    Operation::new(Method::Get, path, id, summary)
}

const fn post(path: &'static str, id: &'static str, summary: &'static str) -> Operation {
    Operation::new(Method::Post, path, id, summary)
}

const fn put(path: &'static str, id: &'static str, summary: &'static str) -> Operation {
    Operation::new(Method::Put, path, id, summary)
}

const fn delete(path: &'static str, id: &'static str, summary: &'static str) -> Operation {
    Operation::new(Method::Delete, path, id, summary)
}

/// The entries by what they are about.
#[rustfmt::skip]
pub static OPERATIONS: &[(&str, &[Operation])] = &[
    ("services", &[
        post("/v4/{project}/registry/microservices", "registerService",
            "Registers a service version, with tags and instances if given. A known one is answered as it is.")
            .takes(CreateService::SHAPE).answers(SERVICE_ID),
        get("/v4/{project}/registry/microservices", "listServices", "All service versions of the tenant.")
            .with(&[query("withShared", "`1`: with shared services, the registry's own among them."), NO_CACHE])
            .answers(SERVICES),
        delete("/v4/{project}/registry/microservices", "unregisterServices", "Deletes many, each on its own.")
            .takes(DeleteServices::SHAPE).answers(DeleteServicesResult::SHAPE),
        get("/v4/{project}/registry/microservices/{serviceId}", "readService", "One service version.")
            .with(FRESH).answers(SERVICE),
        delete("/v4/{project}/registry/microservices/{serviceId}", "unregisterService",
            "Deletes it with its tags, schemas and dependencies.")
            .with(&[query("force", "`1` or `true`: also if it has instances or consumers.")]),
        put("/v4/{project}/registry/microservices/{serviceId}/properties", "replaceServiceProperties",
            "Replaces its properties; other members of the body are ignored.")
            .takes(Properties::SHAPE),
        get("/v4/{project}/registry/existence", "checkExistence",
            "Whether a service (by its key) or a schema (by its ids) exists.")
            .with(&[
                must("type", "`microservice` or `schema`."),
                query("appId", "Of a service."), query("serviceName", "Its name or alias."),
                query("version", "Its exact version."), query("env", "Its environment."),
                query("serviceId", "Of a schema."), query("schemaId", "Its id."), NO_CACHE,
            ])
            .gives(Answer::Summarized(Existence::SHAPE)),
    ]),
    ("instances", &[
        post("/v4/{project}/registry/microservices/{serviceId}/instances", "registerInstance",
            "Registers an instance. A known id registered again: an equal body renews it, another replaces it.")
            .takes(RegisterInstance::SHAPE).answers(InstanceRegistered::SHAPE),
        delete("/v4/{project}/registry/microservices/{serviceId}/instances/{instanceId}", "unregisterInstance",
            "Takes an instance out at once."),
        put("/v4/{project}/registry/microservices/{serviceId}/instances/{instanceId}/heartbeat", "beat",
            "A heartbeat: renews the instance's lease. 400017 means: register again."),
        post("/v4/{project}/registry/microservices/{serviceId}/instances/{instanceId}/heartbeat", "beatByPost",
            "The same."),
        put("/v4/{project}/registry/heartbeats", "beatMany", "Many heartbeats; the answer says of each what failed.")
            .takes(Heartbeats::SHAPE).answers(HeartbeatsResult::SHAPE),
        get("/v4/{project}/registry/microservices/{serviceId}/instances/{instanceId}/heartbeat", "beatByWebsocket",
            "A websocket on which each pong is a heartbeat. Closed with 4001 when the instance is gone.")
            .gives(Answer::Pongs),
        put("/v4/{project}/registry/microservices/{serviceId}/instances/{instanceId}/status", "setInstanceStatus",
            "Sets its status. It is found all the same.")
            .with(&[must("value", "`UP`, `DOWN`, `STARTING`, `TESTING` or `OUTOFSERVICE`.")]),
        put("/v4/{project}/registry/microservices/{serviceId}/instances/{instanceId}/properties",
            "replaceInstanceProperties", "Replaces its properties; other members of the body are ignored.")
            .takes(Properties::SHAPE),
        put("/v4/{project}/registry/instances/status", "setStatusWhere",
            "Sets the status of all instances of the tenant that have these properties.")
            .takes(BulkStatus::SHAPE),
    ]),
    ("discovery", &[
        get("/v4/{project}/registry/instances", "findInstances",
            "Instances of all versions of a service, whatever their status. With a consumer, it depends on the service \
             from then on, and its watches are told of changes.")
            .with(&[
                must("appId", "The provider's application."), must("serviceName", "Its name or alias."),
                query("env", "Its environment; with a consumer, the consumer's counts."),
                query("version", "Taken and ignored: all versions are answered."),
                TAGS, REV, CONSUMER, NO_CACHE, CACHE_ONLY,
            ])
            .gives(Answer::Found(INSTANCES)),
        post("/v4/{project}/registry/instances/action", "findMany",
            "Many finds and gets at once, each with its own revision and its own outcome.")
            .with(&[must("type", "`query`."), CONSUMER, NO_CACHE])
            .takes(BatchFind::SHAPE).answers(BATCH_ANSWER),
        get("/v4/{project}/registry/microservices/{serviceId}/instances", "listInstances",
            "Instances of one service version.")
            .with(OF_A_SERVICE).gives(Answer::Found(INSTANCES)),
        get("/v4/{project}/registry/microservices/{serviceId}/instances/{instanceId}", "readInstance", "One instance.")
            .with(OF_A_SERVICE).gives(Answer::Found(INSTANCE)),
        get("/v4/{project}/registry/microservices/{serviceId}/watcher", "watch",
            "A websocket: changes of the instances of all services this consumer depends on.")
            .gives(Answer::Events(EVENT)),
    ]),
    ("schemas", &[
        get("/v4/{project}/registry/microservices/{serviceId}/schemas", "listSchemas", "All schemas of a service.")
            .with(&[query("withSchema", "`1`: with the texts."), NO_CACHE]).answers(SchemaList::SHAPE),
        post("/v4/{project}/registry/microservices/{serviceId}/schemas", "replaceSchemas", "Exactly these schemas.")
            .takes(PutSchemas::SHAPE),
        get("/v4/{project}/registry/microservices/{serviceId}/schemas/{schemaId}", "readSchema", "One schema's text.")
            .gives(Answer::Summarized(SchemaText::SHAPE)),
        put("/v4/{project}/registry/microservices/{serviceId}/schemas/{schemaId}", "putSchema", "Writes one schema.")
            .takes(PutSchema::SHAPE),
        delete("/v4/{project}/registry/microservices/{serviceId}/schemas/{schemaId}", "deleteSchema",
            "Deletes one schema; its id stays in the service's list."),
    ]),
    ("tags", &[
        get("/v4/{project}/registry/microservices/{serviceId}/tags", "readTags", "All tags of a service.")
            .with(FRESH).answers(Tags::SHAPE),
        post("/v4/{project}/registry/microservices/{serviceId}/tags", "replaceTags", "Exactly these tags.")
            .takes(Tags::SHAPE),
        put("/v4/{project}/registry/microservices/{serviceId}/tags/{key}", "setTag", "Changes a tag that is there.")
            .with(&[must("value", "The new value.")]),
        delete("/v4/{project}/registry/microservices/{serviceId}/tags/{key}", "deleteTags",
            "Deletes tags; none if one of them is not there."),
    ]),
    ("dependencies", &[
        post("/v4/{project}/registry/dependencies", "addDependencies", "Consumers depend on these providers too.")
            .takes(Dependencies::SHAPE),
        put("/v4/{project}/registry/dependencies", "replaceDependencies", "Consumers depend on exactly these providers.")
            .takes(Dependencies::SHAPE),
        get("/v4/{project}/registry/microservices/{consumerId}/providers", "listProviders", "What a service depends on.")
            .with(PARTNERS).answers(PROVIDERS),
        get("/v4/{project}/registry/microservices/{providerId}/consumers", "listConsumers", "Who depends on a service.")
            .with(PARTNERS).answers(CONSUMERS),
    ]),
    ("node", &[
        get("/v4/{project}/registry/health", "readHealth",
            "The nodes of the cluster. 400002 when the store has been away for long.")
            .with(FRESH).answers(INSTANCES),
        get("/v4/{project}/registry/health/readiness", "readReadiness", "200 while this node serves, else 503."),
        get("/v4/{project}/registry/version", "readVersion", "Versions of this node and of the API.")
            .answers(VersionInfo::SHAPE),
        get("/v4/{project}/admin/expiries", "listExpiries", "Instances that have expired and are still shown, and why.")
            .answers(Expiries::SHAPE),
        get("/metrics", "readMetrics", "What this process counts.")
            .gives(Answer::Free { content_type: "text/plain", about: "The text format of Prometheus." }),
        get("/openapi.json", "readOpenApi", "This document.")
            .gives(Answer::Free { content_type: "application/json", about: "OpenAPI 3.0." }),
    ]),
];

const fn object(name: &'static str, about: &'static str, members: &'static [MemberShape]) -> Shape {
    Shape::Object(ObjectShape { name, about, members })
}

const fn member(name: &'static str, about: &'static str, shape: Shape) -> MemberShape {
    MemberShape { name, about, shape }
}

// Answers that are joined from ready pieces, so that no type writes them.

const SERVICE_LIST: Shape = Shape::List(&Service::SHAPE);
const INSTANCE_LIST: Shape = Shape::List(&Instance::SHAPE);

const SERVICE_ID: Shape =
    object("ServiceRegistered", "A registered service.", &[member("serviceId", "Its id.", Shape::Text)]);
const SERVICE: Shape = object("OneService", "A service.", &[member("service", "It.", Service::SHAPE)]);
const SERVICES: Shape =
    object("Services", "Services.", &[member("services", "Absent if none.", SERVICE_LIST)]);
const PROVIDERS: Shape =
    object("Providers", "Providers.", &[member("providers", "Absent if none.", SERVICE_LIST)]);
const CONSUMERS: Shape =
    object("Consumers", "Consumers.", &[member("consumers", "Absent if none.", SERVICE_LIST)]);
const INSTANCE: Shape = object("OneInstance", "An instance.", &[member("instance", "It.", Instance::SHAPE)]);
const INSTANCES: Shape =
    object("Instances", "Instances.", &[member("instances", "Absent if none.", INSTANCE_LIST)]);
const EVENT: Shape = object(
    "Event",
    "A change of an instance.",
    &[
        member("action", "`CREATE`, `UPDATE` or `DELETE`.", Shape::Text),
        member("key", "The instance's service.", ServiceKey::SHAPE),
        member("instance", "As it is now, or was at last.", Instance::SHAPE),
    ],
);

const BATCH_ANSWER: Shape = object(
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
        member("error", "Why, of the first of them.", ERROR),
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
