//! `GET /openapi.json`: the description of the API in OpenAPI 3.1. It is made from a route table, from the shapes of the types that
//! decode and encode the bodies, and from the rules that validate requests, so that it cannot contradict them.

mod answers;
mod schema;

use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};

use self::answers::{answers, header};
use self::schema::Schemas;
use super::dto::error::ErrorBody;
use super::parameters::{DOMAIN, PATH_PARAMETERS, PATH_RULES};
use super::route::Route;
use super::spec::{Body, Method, Need, Operation, Parameter, ParameterPlace, ParameterValue, Permission, V3};
use crate::config::RbacScope;
use crate::domain::quota::Quotas;
use crate::domain::shape::{Shape, Shaped as _};
use crate::domain::validate::demand::ConfiguredLimit;
use crate::domain::validate::size::{self, SizeLimits};

/// The body of every error.
const ERROR: Shape = ErrorBody::SHAPE;

/// The headers of nearly all answers.
const CONNECTION: &[(&str, &str)] = &[
    ("X-Request-Id", "The id of the request in the logs of the node."),
    ("Server", "`SERVICECENTER/` and the version of the API."),
    ("Vary", "The headers of the request that the answer depends on."),
];

const ABOUT: &str = "A microservice registry with the API of Apache ServiceComb Service-Center.\n\n\
    Answers leave out empty members. In a request, upper and lower case in member names are the same, and \
    unknown members are ignored, except where a schema says that there are none. The header `Content-Type` of a request is not \
    looked at. A body may be packed (`Content-Encoding: gzip`), and an answer is packed for clients that accept it.\n\n\
    A URI has less than 2,048 bytes, does not end in `;`, `&`, `?`, `+` or `@`, and has no `//` in its query; otherwise the \
    answer is 400 with a text. A method that a path does not have is answered with 405 and the header `Allow`. A request with a \
    header `Origin` also gets the headers of CORS, if the configuration lets pages of this origin read. \
    The answer has the `X-Request-Id` of the request, or a new one if the request has none.\n\n\
    `x-older-path` is the path of the same operation in the API v3; its project is always `default`, and \
    the header `X-Tenant-Name` names the domain. `x-permission` is what a caller must be \
    allowed to do when accounts are on.";

/// What the description needs of the configuration.
#[derive(Clone, Debug)]
pub struct ApiTerms {
    pub quotas: Quotas,
    pub sizes: SizeLimits,
    /// Most bytes of a body that has no limit of its own.
    pub max_body: usize,
    /// Most elements of a batch find.
    pub max_batch: usize,
    /// Which resource types need a token. `None` while accounts are off.
    pub access: Option<RbacScope>,
}

impl ApiTerms {
    fn limit(&self, limit: ConfiguredLimit) -> usize {
        match limit {
            ConfiguredLimit::Schemas => self.quotas.schemas,
            ConfiguredLimit::Tags => self.quotas.tags,
            ConfiguredLimit::Batch => self.max_batch,
        }
    }

    /// The size limit of a body in bytes, and its key.
    fn size(&self, body: Body) -> Option<(usize, &'static str)> {
        match body {
            Body::Ignored => None,
            Body::Instance => Some((self.sizes.instance, size::INSTANCE_KEY)),
            Body::Properties => Some((self.sizes.properties, size::PROPERTIES_KEY)),
            Body::Configured => Some((self.max_body, "server.request.maxBodyBytes")),
        }
    }
}

/// The OpenAPI document of a route table.
pub fn describe<S: 'static>(
    routes: impl Iterator<Item = &'static Route<S>> + Clone,
    terms: &ApiTerms,
) -> Value {
    let (mut schemas, mut responses) = (Schemas::default(), BTreeMap::new());
    let mut paths: BTreeMap<String, Map<String, Value>> = BTreeMap::new();
    for route in routes.clone() {
        let mut operation = describe_one(route, terms, &mut schemas, &mut responses);
        let links = links(route, routes.clone());
        if !links.is_empty() {
            operation["responses"]["200"]["links"] = Value::Object(links);
        }
        // OpenAPI has no parameter that may contain `/`. The description of the parameter says that it may.
        let path = paths.entry(route.path.replace("{*", "{")).or_default();
        path.insert(method_name(route.method).to_owned(), operation);
    }
    let tags: BTreeSet<&str> = routes.map(|route| route.operation.tag).collect();
    let headers: Map<String, Value> = CONNECTION
        .iter()
        .map(|(name, about)| ((*name).to_owned(), header(about, json!({ "type": "string" }), false)))
        .collect();
    let mut components = json!({ "schemas": schemas.0, "responses": responses, "headers": headers });
    if terms.access.is_some() {
        components["securitySchemes"] = json!({ "token": {
            "type": "http",
            "scheme": "bearer",
            "bearerFormat": "JWT",
            "description": "The token that `POST /v4/token` answers.",
        } });
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "service-center",
            "version": env!("CARGO_PKG_VERSION"),
            "description": ABOUT,
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
        },
        "tags": tags.into_iter().map(|tag| json!({ "name": tag })).collect::<Vec<_>>(),
        "paths": paths,
        "components": components,
    })
}

fn describe_one<S>(
    route: &Route<S>,
    terms: &ApiTerms,
    schemas: &mut Schemas,
    responses: &mut BTreeMap<String, Value>,
) -> Value {
    let operation = route.operation;
    let mut out = json!({
        "tags": [operation.tag],
        "operationId": operation.id,
        "summary": operation.summary,
        "parameters": parameters(route.path, operation),
        "responses": answers(route, terms, schemas, responses),
    });
    if let Some(older) = older_path(route) {
        out["x-older-path"] = json!(older);
    }
    if let Some(permission) = permission(route.permission) {
        out["x-permission"] = permission;
    }
    if let Some(scope) = &terms.access
        && route.permission != Permission::Open
    {
        let needs_token = match route.permission {
            Permission::Needs(_, resource, _) => scope.covers(resource.name()),
            Permission::Admin => *scope == RbacScope::All,
            Permission::Account | Permission::Open => true,
        };
        let token = json!({ "token": [] });
        out["security"] = if needs_token { json!([token]) } else { json!([{}, token]) };
    }
    if let Some(shape) = operation.body {
        let schema = schema::body(shape, operation.demands, terms);
        let mut body = json!({ "required": true, "content": { "application/json": { "schema": schema } } });
        if let Some((most, key)) = terms.size(route.body) {
            body["description"] = json!(format!("At most {most} bytes, also unpacked (`{key}`)."));
        }
        out["requestBody"] = body;
    }
    out
}

/// The links from a success to the operations on what it made.
fn links<S: 'static>(
    route: &Route<S>,
    routes: impl Iterator<Item = &'static Route<S>>,
) -> Map<String, Value> {
    let made = route.operation.made;
    let mut links = Map::new();
    for target in routes {
        let (mut values, mut is_about, mut is_known) = (Map::new(), false, true);
        for (name, _) in path_parameters(target.path) {
            let new = made.parameters.iter().find(|(new, _)| *new == name);
            let from = match new {
                Some((_, from)) => (*from).to_owned(),
                None if name == "project" || made.within.contains(&name) => format!("$request.path.{name}"),
                None => {
                    is_known = false;
                    break;
                }
            };
            is_about |= new.is_some();
            values.insert(name.to_owned(), json!(from));
        }
        if is_known && is_about {
            let id = target.operation.id;
            links.insert(id.to_owned(), json!({ "operationId": id, "parameters": values }));
        }
    }
    links
}

fn parameters(path: &'static str, operation: &Operation) -> Vec<Value> {
    let own = |name: &str| {
        let mut own = operation.parameters.iter().filter(|own| own.place == ParameterPlace::Path);
        own.find(|own| own.name == name).copied()
    };
    let mut all: Vec<Value> = path_parameters(path)
        .map(|(name, about)| {
            let rule = PATH_RULES.iter().find(|(known, _)| *known == name).map(|(_, rule)| *rule);
            let common = Parameter::path(name, about);
            parameter(&own(name).unwrap_or(rule.map_or(common, |rule| common.like(rule))))
        })
        .collect();
    if path.contains("{project}") {
        all.push(parameter(&DOMAIN));
    }
    let others = operation.parameters.iter().filter(|parameter| parameter.place != ParameterPlace::Path);
    all.extend(others.map(parameter));
    all
}

/// The parameters in a path, each with its description. The description is empty if [`PATH_PARAMETERS`] has none.
fn path_parameters(path: &'static str) -> impl Iterator<Item = (&'static str, &'static str)> + Clone {
    let names = path.split('/').filter_map(|segment| segment.strip_prefix('{')?.strip_suffix('}'));
    names.map(|name| name.trim_start_matches('*')).map(|name| {
        let known = PATH_PARAMETERS.iter().find(|(known, _)| *known == name);
        (name, known.map_or("", |(_, about)| about))
    })
}

fn parameter(parameter: &Parameter) -> Value {
    let mut schema = schema::parameter(parameter.value);
    if parameter.place == ParameterPlace::Path && matches!(parameter.value, ParameterValue::Any) {
        schema["minLength"] = json!(1);
    }
    json!({
        "in": match parameter.place {
            ParameterPlace::Query => "query",
            ParameterPlace::Header => "header",
            ParameterPlace::Path => "path",
        },
        "name": parameter.name,
        "required": parameter.need == Need::Required,
        "description": parameter.about,
        "schema": schema,
    })
}

fn method_name(method: Method) -> &'static str {
    match method {
        Method::Get => "get",
        Method::Post => "post",
        Method::Put => "put",
        Method::Delete => "delete",
    }
}

fn older_path<S>(route: &Route<S>) -> Option<String> {
    let rest = route.path.strip_prefix("/v4/{project}/registry")?;
    match route.v3 {
        V3::None => None,
        V3::Prefixed => Some(format!("/registry/v3{rest}")),
        V3::Bare => Some(rest.to_owned()),
    }
}

fn permission(permission: Permission) -> Option<Value> {
    match permission {
        Permission::Open => None,
        Permission::Account => Some(json!({ "account": "any" })),
        Permission::Admin => Some(json!({ "role": "admin" })),
        Permission::Needs(verb, resource, _) => {
            let (verb, resource) = (verb.name(), resource.name());
            Some(json!({ "verb": verb, "resource": resource }))
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::collections::HashSet;

    use super::schema::plain;
    use super::*;
    use crate::domain::shape::ObjectShape;
    use crate::http::routes::{Accounts, table};
    use crate::http::spec::Success;

    fn terms(access: Option<RbacScope>) -> ApiTerms {
        let (quotas, sizes) = (Quotas::default(), SizeLimits::default());
        ApiTerms { quotas, sizes, max_body: 2_097_152, max_batch: 1_000, access }
    }

    fn all() -> impl Iterator<Item = &'static Route<crate::http::Api>> + Clone {
        table(Accounts::On)
    }

    #[test]
    fn names_of_operations_are_their_own() {
        let ids: HashSet<&str> = all().map(|route| route.operation.id).collect();
        assert_eq!(ids.len(), all().count());
    }

    #[test]
    fn every_path_parameter_is_described() {
        let parameters = all().flat_map(|route| path_parameters(route.path));
        let unknown: BTreeSet<&str> =
            parameters.filter(|(_, about)| about.is_empty()).map(|(name, _)| name).collect();
        assert!(unknown.is_empty(), "{unknown:?}");
    }

    #[test]
    fn bodies_are_described_where_they_are_read() {
        for route in all() {
            let is_read = route.body != Body::Ignored;
            assert_eq!(route.operation.body.is_some(), is_read, "{:?} {}", route.method, route.path);
        }
    }

    /// The objects in a shape, at all depths.
    fn objects(shape: Shape, found: &mut Vec<ObjectShape>) {
        match shape {
            Shape::Text | Shape::Integer | Shape::Long | Shape::Number | Shape::Flag => {}
            Shape::List(of) | Shape::Map(of) => objects(*of, found),
            Shape::Object(object) => {
                found.push(object);
                object.members.iter().for_each(|member| objects(member.shape, found));
            }
        }
    }

    #[test]
    fn a_name_stands_for_one_object() {
        let mut found = Vec::new();
        for route in all() {
            let success = match route.operation.success {
                Success::Json(shape)
                | Success::EmptyOr(shape)
                | Success::JsonOrEvents { page: shape, .. }
                | Success::Found(shape)
                | Success::Summarized(shape)
                | Success::Events(shape) => Some(shape),
                Success::Empty
                | Success::Deprecated
                | Success::Never
                | Success::Elsewhere
                | Success::Free { .. }
                | Success::Pongs => None,
            };
            route.operation.body.into_iter().chain(success).for_each(|shape| objects(shape, &mut found));
        }
        for object in &found {
            let same = found.iter().filter(|other| other.name == object.name);
            assert!(same.clone().all(|other| other == object), "two objects are called {}", object.name);
        }
    }

    fn references(value: &Value, found: &mut Vec<String>) {
        match value {
            Value::Object(members) => {
                for (name, value) in members {
                    match value {
                        Value::String(target) if name == "$ref" => found.push(target.clone()),
                        _ => references(value, found),
                    }
                }
            }
            Value::Array(elements) => elements.iter().for_each(|element| references(element, found)),
            _ => {}
        }
    }

    #[test]
    fn the_document_holds_together() {
        let document = describe(all(), &terms(Some(RbacScope::All)));
        let mut found = Vec::new();
        references(&document, &mut found);
        assert!(found.len() > all().count());
        for target in found {
            assert!(document.pointer(target.trim_start_matches('#')).is_some(), "{target} is not there");
        }
        for (path, methods) in document["paths"].as_object().unwrap() {
            for (method, operation) in methods.as_object().unwrap() {
                let has = |member: &str| !operation[member].is_null();
                assert!(has("operationId") && has("summary") && has("responses"), "{method} {path}");
                let parameters = operation["parameters"].as_array().unwrap();
                let keys: HashSet<String> =
                    parameters.iter().map(|one| format!("{} {}", one["in"], one["name"])).collect();
                assert_eq!(keys.len(), parameters.len(), "{method} {path}: a parameter twice");
            }
        }
    }

    #[test]
    fn a_shape_becomes_a_schema() {
        let mut schemas = Schemas::default();
        assert_eq!(schemas.add(ERROR), json!({ "$ref": "#/components/schemas/ErrorBody" }));
        let error = &schemas.0["ErrorBody"];
        assert_eq!(error["properties"]["errorCode"]["type"], "string");
        assert_eq!(schemas.add(Shape::List(&Shape::Integer))["items"]["format"], "int32");
        assert_eq!(plain(" See [`A`]."), "See `A`.");
    }

    #[test]
    fn errors_follow_from_the_route() {
        let document = describe(all(), &terms(None));
        let statuses = |path: &str, method: &str| {
            let all = document["paths"][path][method]["responses"].as_object().unwrap();
            all.keys().map(String::as_str).collect::<Vec<_>>().join(" ")
        };
        let service = "/v4/{project}/registry/microservices/{serviceId}";
        assert_eq!(statuses(service, "get"), "200 400 404 408 429 431 500 503");
        assert_eq!(statuses(service, "delete"), "200 400 403 404 408 429 431 500 503");
        assert_eq!(
            statuses("/v4/{project}/registry/instances", "get"),
            "200 304 400 404 408 429 431 500 503"
        );
        let deletion = document["paths"][service]["delete"]["responses"]["400"]["$ref"].as_str().unwrap();
        assert_eq!(deletion, "#/components/responses/400001-400012-400013-400023");
        assert!(document["components"]["securitySchemes"].is_null());
    }

    #[test]
    fn tokens_are_demanded_where_the_scope_says_so() {
        let scope = RbacScope::Types(vec!["account", "role"]);
        let document = describe(all(), &terms(Some(scope)));
        let operation = |path: &str| &document["paths"][path]["get"];
        assert_eq!(operation("/v4/accounts")["security"], json!([{ "token": [] }]));
        assert_eq!(
            operation("/v4/{project}/registry/microservices")["security"],
            json!([{}, { "token": [] }])
        );
        assert!(operation("/metrics")["security"].is_null());
        assert!(operation("/v4/accounts")["responses"]["401"].is_object());
        assert!(operation("/metrics")["responses"]["401"].is_null());
    }

    #[test]
    fn what_is_made_is_linked_to_its_operations() {
        let document = describe(all(), &terms(None));
        let links = |path: &str| {
            let links = document["paths"][path]["post"]["responses"]["200"]["links"].as_object().unwrap();
            links.keys().map(String::as_str).collect::<HashSet<_>>()
        };
        let of_service = links("/v4/{project}/registry/microservices");
        assert!(of_service.contains("registerInstance") && of_service.contains("listProviders"));
        assert!(!of_service.contains("beat") && !of_service.contains("listServices"));
        let of_instance = links("/v4/{project}/registry/microservices/{serviceId}/instances");
        assert!(of_instance.contains("beat") && !of_instance.contains("registerInstance"));
    }

    #[test]
    fn a_body_is_described_with_its_demands() {
        let document = describe(all(), &terms(None));
        let body = |path: &str, method: &str| {
            document["paths"][path][method]["requestBody"]["content"]["application/json"]["schema"].clone()
        };
        let registration = body("/v4/{project}/registry/microservices", "post");
        assert_eq!(registration["required"], json!(["service"]));
        let service = &registration["properties"]["service"];
        assert_eq!((&service["type"], &service["required"]), (&json!("object"), &json!(["serviceName"])));
        let member = |name: &str| &service["properties"][name];
        assert_eq!(member("level")["enum"], json!(["", "FRONT", "MIDDLE", "BACK", null]));
        assert_eq!(member("serviceName")["maxLength"], 128);
        assert_eq!(member("schemas")["type"], json!(["array", "null"]));
        assert_eq!(member("schemas")["maxItems"], 100);
        assert_eq!(member("schemas")["items"]["type"], "string");
        assert_eq!(member("properties")["additionalProperties"]["type"], json!(["string", "null"]));
        assert_eq!(member("paths")["items"]["type"], "object");
        assert_eq!(
            registration["properties"]["tags"]["propertyNames"]["pattern"],
            "^[a-zA-Z][a-zA-Z0-9_\\-.]{0,63}$"
        );
        let properties = body("/v4/{project}/registry/microservices/{serviceId}/properties", "put");
        assert_eq!(properties["type"], json!(["object", "null"]));
        let status = body("/v4/{project}/registry/instances/status", "put");
        assert_eq!(status["properties"]["matches"]["additionalProperties"], false);
        let batch = body("/v4/{project}/registry/instances/action", "post");
        assert_eq!(batch["anyOf"][1]["properties"]["instances"], json!({ "type": "array", "minItems": 1 }));
    }
}
