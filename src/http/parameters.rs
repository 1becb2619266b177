//! Parameters that several routes take, described once for OpenAPI.

use super::spec::Parameter;

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
pub const DOMAIN: Parameter = Parameter::header("X-Domain-Name", "The tenant's domain. `default` if absent.");

pub const NO_CACHE: Parameter = Parameter::query(
    "noCache",
    "`1`: as fresh as the store is now, whatever other nodes wrote; `rev` does not count then.",
);
pub const CACHE_ONLY: Parameter =
    Parameter::query("cacheOnly", "`1`: as this node knows it; `rev` does not count then.");
pub const REV: Parameter =
    Parameter::query("rev", "The revision of the last answer: 304 if this one has the same.");
pub const TAGS: Parameter =
    Parameter::query("tags", "Only services that have all these tags; names between commas.");
pub const CONSUMER: Parameter = Parameter::header(
    "X-ConsumerId",
    "The service on whose behalf is asked: it decides what is visible, and must exist.",
);
pub const SAME_DOMAIN: Parameter = Parameter::query("sameDomain", "`1`: only services of the same tenant.");
pub const NO_SELF: Parameter = Parameter::query("noSelf", "`1`: without the service itself.");

pub const FRESH: &[Parameter] = &[NO_CACHE];
pub const PARTNERS: &[Parameter] = &[SAME_DOMAIN, NO_SELF, NO_CACHE];
pub const OF_A_SERVICE: &[Parameter] = &[TAGS, REV, CONSUMER, NO_CACHE, CACHE_ONLY];
