//! `GET /openapi.json`: the description of the API in OpenAPI 3.0. It is made from a route table and from the shapes of the
//! types that decode and encode the bodies, so that it cannot contradict them.

use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};

use super::dto::error::ErrorBody;
use super::parameters::{DOMAIN, PATH_PARAMETERS};
use super::route::Route;
use super::spec::{Body, Method, Need, Operation, Parameter, ParameterPlace, Permission, Success, V3};
use crate::domain::shape::{ObjectShape, Shape, Shaped as _};
use crate::domain::validate::size::{self, SizeLimits};

/// The body of every error.
const ERROR: Shape = ErrorBody::SHAPE;

const ABOUT: &str = "A microservice registry with the API of Apache ServiceComb Service-Center.\n\n\
    Answers leave out empty members. In a request, a member may be null or missing, upper and lower case in member names are \
    the same, and unknown members are ignored. `x-older-path` is the path of the same operation in the API v3; its project is \
    always `default`. `x-permission` is what a caller must be allowed to do when accounts are on.";

/// The OpenAPI document of a route table.
pub fn describe<S: 'static>(routes: impl Iterator<Item = &'static Route<S>> + Clone) -> Value {
    let mut schemas = Schemas::default();
    let mut paths: BTreeMap<&str, Map<String, Value>> = BTreeMap::new();
    for route in routes.clone() {
        let path = paths.entry(route.path).or_default();
        path.insert(method_name(route.method).to_owned(), describe_one(route, &mut schemas));
    }
    schemas.add(ERROR);
    let tags: BTreeSet<&str> = routes.map(|route| route.operation.tag).collect();
    json!({
        "openapi": "3.0.3",
        "info": {
            "title": "service-center",
            "version": env!("CARGO_PKG_VERSION"),
            "description": ABOUT,
            "license": { "name": "Apache-2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0" },
        },
        "tags": tags.into_iter().map(|tag| json!({ "name": tag })).collect::<Vec<_>>(),
        "paths": paths,
        "components": { "schemas": schemas.0 },
    })
}

fn describe_one<S>(route: &Route<S>, schemas: &mut Schemas) -> Value {
    let operation = route.operation;
    let mut out = json!({
        "tags": [operation.tag],
        "operationId": operation.id,
        "summary": operation.summary,
        "parameters": parameters(route.path, operation),
        "responses": responses(operation, schemas),
    });
    if let Some(older) = older_path(route) {
        out["x-older-path"] = json!(older);
    }
    if let Some(permission) = permission(route.permission) {
        out["x-permission"] = permission;
    }
    if let Some(body) = operation.body {
        let mut described =
            json!({ "required": true, "content": content("application/json", schemas.add(body)) });
        if let Some((most, key)) = size(route.body) {
            described["description"] =
                json!(format!("At most {most} bytes. The configuration key `{key}` changes the limit."));
        }
        out["requestBody"] = described;
    }
    out
}

/// The default size limit of a body in bytes, and its key, if the limit is smaller than that of other bodies.
fn size(body: Body) -> Option<(usize, &'static str)> {
    let SizeLimits { instance, properties } = SizeLimits::default();
    match body {
        Body::Instance => Some((instance, size::INSTANCE_KEY)),
        Body::Properties => Some((properties, size::PROPERTIES_KEY)),
        Body::Ignored | Body::Configured => None,
    }
}

fn parameters(path: &'static str, operation: &Operation) -> Vec<Value> {
    let mut all: Vec<Value> = path_parameters(path)
        .map(|(name, about)| {
            json!({ "in": "path", "name": name, "required": true, "description": about, "schema": { "type": "string" } })
        })
        .collect();
    if path.contains("{project}") {
        all.push(parameter(&DOMAIN));
    }
    all.extend(operation.parameters.iter().map(parameter));
    all
}

/// The parameters in a path, each with its description. The description is empty if [`PATH_PARAMETERS`] has none.
fn path_parameters(path: &'static str) -> impl Iterator<Item = (&'static str, &'static str)> {
    let names = path.split('/').filter_map(|segment| segment.strip_prefix('{')?.strip_suffix('}'));
    names.map(|name| {
        let known = PATH_PARAMETERS.iter().find(|(known, _)| *known == name);
        (name, known.map_or("", |(_, about)| about))
    })
}

fn parameter(parameter: &Parameter) -> Value {
    json!({
        "in": match parameter.place {
            ParameterPlace::Query => "query",
            ParameterPlace::Header => "header",
        },
        "name": parameter.name,
        "required": parameter.need == Need::Required,
        "description": parameter.about,
        "schema": { "type": "string" },
    })
}

fn responses(operation: &Operation, schemas: &mut Schemas) -> Value {
    let text = |about: &str| json!({ "description": about, "schema": { "type": "string" } });
    let revision = || json!({ "X-Resource-Revision": text("The revision of the answer. Send it as `rev` in the next request.") });
    let mut all = match operation.success {
        Success::Empty => json!({ "200": { "description": "Success, without a body." } }),
        Success::Json(shape) => {
            json!({ "200": { "description": "Success.", "content": content("application/json", schemas.add(shape)) } })
        }
        Success::Found(shape) => json!({
            "200": {
                "description": "Success.",
                "headers": revision(),
                "content": content("application/json", schemas.add(shape)),
            },
            "304": { "description": "Nothing has changed since `rev`.", "headers": revision() },
        }),
        Success::Summarized(shape) => json!({ "200": {
            "description": "Success.",
            "headers": { "X-Schema-Summary": text("The summary of the schema.") },
            "content": content("application/json", schemas.add(shape)),
        } }),
        Success::Free { content_type, about } => json!({ "200": {
            "description": about,
            "content": content(content_type, json!({})),
        } }),
        Success::Events(shape) => json!({ "101": {
            "description": "A websocket. Each text frame is a JSON document.",
            "content": content("application/json", schemas.add(shape)),
        } }),
        Success::Pongs => {
            json!({ "101": { "description": "A websocket. Each pong of the client is a heartbeat." } })
        }
    };
    all["default"] = json!({
        "description": "An error. The status is the first three digits of `errorCode`.",
        "content": content("application/json", schemas.add(ERROR)),
    });
    all
}

fn content(content_type: &str, schema: Value) -> Value {
    json!({ content_type: { "schema": schema } })
}

/// The schemas of the objects that the document refers to, by name.
#[derive(Default)]
struct Schemas(BTreeMap<&'static str, Value>);

impl Schemas {
    /// The schema of a shape. For an object, it is a reference, and the schema of the object is added.
    fn add(&mut self, shape: Shape) -> Value {
        match shape {
            Shape::Text => json!({ "type": "string" }),
            Shape::Integer => json!({ "type": "integer", "format": "int32" }),
            Shape::Long => json!({ "type": "integer", "format": "int64" }),
            Shape::Flag => json!({ "type": "boolean" }),
            Shape::List(of) => json!({ "type": "array", "items": self.add(*of) }),
            Shape::Map(of) => json!({ "type": "object", "additionalProperties": self.add(*of) }),
            Shape::Object(object) => {
                if !self.0.contains_key(object.name) {
                    let described = self.describe(&object);
                    self.0.insert(object.name, described);
                }
                json!({ "$ref": format!("#/components/schemas/{}", object.name) })
            }
        }
    }

    fn describe(&mut self, object: &ObjectShape) -> Value {
        let members = object.members.iter().map(|member| {
            let mut schema = self.add(member.shape);
            // OpenAPI ignores members beside `$ref`.
            if schema.get("$ref").is_none() {
                schema["description"] = json!(plain(member.about));
            }
            (member.name.to_owned(), schema)
        });
        let members: Map<String, Value> = members.collect();
        json!({ "type": "object", "description": plain(object.about), "properties": members })
    }
}

/// A doc comment without the brackets of links.
fn plain(text: &str) -> String {
    text.trim().replace("[`", "`").replace("`]", "`")
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

    use super::*;
    use crate::http::routes::{Accounts, table};

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
            Shape::Text | Shape::Integer | Shape::Long | Shape::Flag => {}
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
                | Success::Found(shape)
                | Success::Summarized(shape)
                | Success::Events(shape) => Some(shape),
                Success::Empty | Success::Free { .. } | Success::Pongs => None,
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
        let document = describe(all());
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
}
