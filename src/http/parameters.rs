//! The parameters that several routes take, each described once for OpenAPI.

use super::spec::Parameter;
use crate::domain::validate::member;
use crate::domain::validate::rule::MemberRule;

/// The parameters in paths: name and description.
pub const PATH_PARAMETERS: &[(&str, &str)] = &[
    ("project", "The project of the tenant, usually `default`."),
    ("serviceId", "The id of a service version. The answer to its registration contains it."),
    ("instanceId", "The id of an instance."),
    ("schemaId", "The id of a schema, unique in its service."),
    ("key", "The name of a tag. `DELETE` takes several names, separated by commas."),
    ("consumerId", "The id of the service whose providers are listed."),
    ("name", "The name of an account."),
    ("roleName", "The name of a role."),
    ("providerId", "The id of the service whose consumers are listed."),
    ("kind", "The kind of a traffic policy."),
    ("id", "The id of a traffic policy."),
    ("hash", "The hash of all files of the console. The page contains it."),
    ("path", "The path of a file of the console. It may contain `/`."),
];

/// The rules of parameters in paths. A parameter without a rule may be any text, which then names nothing.
pub const PATH_RULES: &[(&str, MemberRule)] = &[
    ("project", member::PROJECT),
    ("serviceId", member::SERVICE_ID),
    ("instanceId", member::INSTANCE_ID),
    ("schemaId", member::SCHEMA_ID),
    ("key", member::TAG),
    ("consumerId", member::SERVICE_ID),
    ("providerId", member::SERVICE_ID),
];

/// A header of all requests whose path has a project.
pub const DOMAIN: Parameter =
    Parameter::header("X-Domain-Name", "The domain of the tenant. Without the header it is `default`.")
        .like(member::DOMAIN);

pub const NO_CACHE: Parameter = Parameter::query(
    "noCache",
    "`1`: the answer includes all writes that any node has committed before the request. `rev` is ignored.",
);
pub const CACHE_ONLY: Parameter =
    Parameter::query("cacheOnly", "`1`: the answer is what this node knows now. `rev` is ignored.");
pub const REV: Parameter = Parameter::query(
    "rev",
    "The revision of the client's last answer. If it is still the same, the answer is 304.",
);
pub const TAGS: Parameter = Parameter::query(
    "tags",
    "Tag names, separated by commas. Only services that have all of them are found.",
)
.like(member::TAGS);
pub const CONSUMER: Parameter = Parameter::header(
    "X-ConsumerId",
    "The id of the consumer, the service that sends the request. It must exist. It decides which providers are visible.",
)
.like(member::CONSUMER_HEADER);
pub const SAME_DOMAIN: Parameter = Parameter::query("sameDomain", "`1`: only services of the same tenant.");
pub const WITH_SHARED: Parameter = Parameter::query(
    "withShared",
    "`1`: the answer also has shared services, among them the registry's own service.",
);
pub const NO_SELF: Parameter = Parameter::query("noSelf", "`1`: the service itself is left out.");

/// The headers of a websocket handshake (RFC 6455). Without them the answer is 400.
pub const HANDSHAKE: &[Parameter] = &[
    Parameter::required_header("Connection", "`Upgrade`.").one_of(&["Upgrade"]),
    Parameter::required_header("Upgrade", "`websocket`.").one_of(&["websocket"]),
    Parameter::required_header("Sec-WebSocket-Version", "`13`. The drafts 7 and 8 are accepted too.")
        .one_of(&["13", "8", "7"]),
    Parameter::required_header("Sec-WebSocket-Key", "16 random bytes in base64, as RFC 6455 defines."),
];

pub const FRESH: &[Parameter] = &[NO_CACHE];
pub const PARTNERS: &[Parameter] = &[SAME_DOMAIN, NO_SELF, NO_CACHE];
pub const OF_A_SERVICE: &[Parameter] = &[TAGS, REV, CONSUMER, NO_CACHE, CACHE_ONLY];
