//! `/openapi.json`: the description of the API (OpenAPI 3.0), made at its first use from the route table, from
//! [`operations`] and from the shapes of the types that read and write the bodies. It holds no fact of its own.

pub mod operations;

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use serde_json::{Map, Value, json};

use self::operations::{
    Answer as Gives, DOMAIN, ERROR, Need, OPERATIONS, Operation, PATH_PARAMETERS, Parameter,
};
use super::api::Api;
use super::call::{Answer, Call};
use super::reply::Reply;
use super::routes::{Body, Method, Permission, ROUTES, Resource, Route, V3, Verb};
use crate::domain::shape::{ObjectShape, Shape};

const ABOUT: &str = "A microservice registry with the API of Apache ServiceComb Service-Center.\n\n\
    Members that are empty are left out of every answer. A request's members may be null or absent, their names are \
    read in any case, and unknown ones are ignored. A path with `x-older-path` is known under that one, too; its \
    project is then `default`. `x-permission` says what a caller must be allowed to do where accounts are checked.";

/// `GET /openapi.json`.
pub fn document(_: &Arc<Api>, _: Call) -> Answer {
    static DOCUMENT: OnceLock<Bytes> = OnceLock::new();
    let document = DOCUMENT.get_or_init(|| Bytes::from(describe(ROUTES).to_string()));
    Reply::json(document.clone()).into()
}

/// The document of a table. A row that nobody has described is left out: a test sees to it that there is none.
fn describe<S>(routes: &[Route<S>]) -> Value {
    let mut schemas = Schemas::default();
    let mut paths: BTreeMap<&str, Map<String, Value>> = BTreeMap::new();
    for route in routes {
        let Some((tag, operation)) = described(route.method, route.path) else { continue };
        let path = paths.entry(route.path).or_default();
        path.insert(method_name(route.method).to_owned(), describe_one(route, tag, operation, &mut schemas));
    }
    schemas.add(ERROR);
    json!({
        "openapi": "3.0.3",
        "info": {
            "title": "service-center",
            "version": env!("CARGO_PKG_VERSION"),
            "description": ABOUT,
            "license": { "name": "Apache-2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0" },
        },
        "tags": OPERATIONS.iter().map(|(tag, _)| json!({ "name": tag })).collect::<Vec<_>>(),
        "paths": paths,
        "components": { "schemas": schemas.0 },
    })
}

fn described(method: Method, path: &str) -> Option<(&'static str, &'static Operation)> {
    OPERATIONS.iter().find_map(|(tag, operations)| {
        let is_it = |operation: &&Operation| operation.method == method && operation.path == path;
        operations.iter().find(is_it).map(|operation| (*tag, operation))
    })
}

fn describe_one<S>(route: &Route<S>, tag: &str, operation: &Operation, schemas: &mut Schemas) -> Value {
    let mut out = json!({
        "tags": [tag],
        "operationId": operation.id,
        "summary": operation.summary,
        "parameters": parameters(operation),
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
        if let Body::UpTo(most) = route.body {
            described["description"] = json!(format!("At most {most} bytes."));
        }
        out["requestBody"] = described;
    }
    out
}

fn parameters(operation: &Operation) -> Vec<Value> {
    let mut all: Vec<Value> = path_parameters(operation.path)
        .map(|(name, about)| {
            json!({ "in": "path", "name": name, "required": true, "description": about, "schema": { "type": "string" } })
        })
        .collect();
    if operation.path.contains("{project}") {
        all.push(parameter(&DOMAIN));
    }
    all.extend(operation.parameters.iter().map(parameter));
    all
}

/// The names in a path, with what they are; empty for one that nobody has described.
fn path_parameters(path: &'static str) -> impl Iterator<Item = (&'static str, &'static str)> {
    let names = path.split('/').filter_map(|segment| segment.strip_prefix('{')?.strip_suffix('}'));
    names.map(|name| {
        let known = PATH_PARAMETERS.iter().find(|(known, _)| *known == name);
        (name, known.map_or("", |(_, about)| about))
    })
}

fn parameter(parameter: &Parameter) -> Value {
    json!({
        "in": parameter.place,
        "name": parameter.name,
        "required": parameter.need == Need::Must,
        "description": parameter.about,
        "schema": { "type": "string" },
    })
}

fn responses(operation: &Operation, schemas: &mut Schemas) -> Value {
    let text = |about: &str| json!({ "description": about, "schema": { "type": "string" } });
    let revision = || json!({ "X-Resource-Revision": text("Names this answer; send it as `rev`.") });
    let mut all = match operation.answer {
        Gives::Empty => json!({ "200": { "description": "Done." } }),
        Gives::Json(shape) => {
            json!({ "200": { "description": "Done.", "content": content("application/json", schemas.add(shape)) } })
        }
        Gives::Found(shape) => json!({
            "200": {
                "description": "Found.",
                "headers": revision(),
                "content": content("application/json", schemas.add(shape)),
            },
            "304": { "description": "As `rev` says.", "headers": revision() },
        }),
        Gives::Summarized(shape) => json!({ "200": {
            "description": "It exists.",
            "headers": { "X-Schema-Summary": text("A schema's summary.") },
            "content": content("application/json", schemas.add(shape)),
        } }),
        Gives::Free { content_type, about } => json!({ "200": {
            "description": about,
            "content": content(content_type, json!({})),
        } }),
        Gives::Events(shape) => json!({ "101": {
            "description": "A websocket. Each text frame is such a document.",
            "content": content("application/json", schemas.add(shape)),
        } }),
        Gives::Pongs => json!({ "101": { "description": "A websocket." } }),
    };
    all["default"] = json!({
        "description": "Refused: the status is the code's first three digits.",
        "content": content("application/json", schemas.add(ERROR)),
    });
    all
}

fn content(content_type: &str, schema: Value) -> Value {
    json!({ content_type: { "schema": schema } })
}

/// The named schemas that were used, by name.
#[derive(Default)]
struct Schemas(BTreeMap<&'static str, Value>);

impl Schemas {
    /// The schema of a shape; an object's is a reference, and the object is added.
    fn add(&mut self, shape: Shape) -> Value {
        match shape {
            Shape::Text => json!({ "type": "string" }),
            Shape::Integer => json!({ "type": "integer", "format": "int32" }),
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
            // What stands beside a reference is ignored by the standard.
            if schema.get("$ref").is_none() {
                schema["description"] = json!(plain(member.about));
            }
            (member.name.to_owned(), schema)
        });
        let members: Map<String, Value> = members.collect();
        json!({ "type": "object", "description": plain(object.about), "properties": members })
    }
}

/// Documentation without its links.
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
        Permission::Needs(verb, resource) => {
            let verb = match verb {
                Verb::Get => "get",
                Verb::Create => "create",
                Verb::Update => "update",
                Verb::Delete => "delete",
            };
            let resource = match resource {
                Resource::Account => "account",
                Resource::Role => "role",
                Resource::Config => "config",
                Resource::Service => "service",
                Resource::ServiceSchema => "service/schema",
                Resource::Governance => "governance",
                Resource::Ops => "ops",
            };
            Some(json!({ "verb": verb, "resource": resource }))
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::collections::{BTreeSet, HashSet};

    use super::*;

    fn entries() -> impl Iterator<Item = &'static Operation> {
        OPERATIONS.iter().flat_map(|(_, operations)| operations.iter())
    }

    #[test]
    fn every_route_is_described_once() {
        let named = |method: Method, path: &str| format!("{} {path}", method_name(method));
        let mut routes: Vec<String> = ROUTES.iter().map(|route| named(route.method, route.path)).collect();
        let mut described: Vec<String> = entries().map(|entry| named(entry.method, entry.path)).collect();
        routes.sort();
        described.sort();
        assert_eq!(described, routes);
        let ids: HashSet<&str> = entries().map(|entry| entry.id).collect();
        assert_eq!(ids.len(), ROUTES.len(), "names of operations are their own");
    }

    #[test]
    fn every_path_parameter_is_described() {
        let parameters = entries().flat_map(|entry| path_parameters(entry.path));
        let unknown: BTreeSet<&str> =
            parameters.filter(|(_, about)| about.is_empty()).map(|(name, _)| name).collect();
        assert!(unknown.is_empty(), "{unknown:?}");
    }

    #[test]
    fn bodies_are_described_where_they_are_read() {
        for route in ROUTES {
            let (_, entry) = described(route.method, route.path).unwrap();
            assert_eq!(
                entry.body.is_some(),
                route.body != Body::Ignored,
                "{:?} {}",
                route.method,
                route.path
            );
        }
    }

    /// Every object of a shape, itself and below.
    fn objects(shape: Shape, found: &mut Vec<ObjectShape>) {
        match shape {
            Shape::Text | Shape::Integer | Shape::Flag => {}
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
        for entry in entries() {
            let answer = match entry.answer {
                Gives::Json(shape)
                | Gives::Found(shape)
                | Gives::Summarized(shape)
                | Gives::Events(shape) => Some(shape),
                Gives::Empty | Gives::Free { .. } | Gives::Pongs => None,
            };
            entry.body.into_iter().chain(answer).for_each(|shape| objects(shape, &mut found));
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
        let document = describe(ROUTES);
        let mut found = Vec::new();
        references(&document, &mut found);
        assert!(found.len() > ROUTES.len());
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
