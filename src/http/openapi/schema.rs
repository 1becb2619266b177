//! JSON schemas (2020-12, which OpenAPI 3.1 uses) of bodies and parameters.
//!
//! Answers are described by their shapes alone: what the registry holds may come from other nodes, which have their own rules. An
//! answer has hardly ever a `null`, and leaves out what is empty. The body of a request is described by its shape and by the demands of
//! its validator: a member may be `null` or missing if the validator takes the default in its place.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::ApiTerms;
use crate::domain::shape::{ObjectShape, Shape};
use crate::domain::validate::demand::{Demand, Demanded};
use crate::domain::validate::pattern::Stated;
use crate::domain::validate::rule::MemberRule;
use crate::http::paging;
use crate::http::spec::ParameterValue;

/// The members that each answer with this object has, even if other empty members are left out.
const ALWAYS: &[(&str, &[&str])] = &[
    ("ErrorBody", &["errorCode", "errorMessage"]),
    ("ServiceRegistered", &["serviceId"]),
    ("Existence", &["serviceId"]),
    ("OneService", &["service"]),
    ("OneInstance", &["instance"]),
    ("InstanceRegistered", &["instanceId"]),
    ("LoginAnswer", &["token"]),
    ("Event", &["action", "key", "instance"]),
    ("BatchFindFailed", &["indexes", "error"]),
    ("BatchFindUpdated", &["index", "rev"]),
    ("AccountLocks", &["total", "data"]),
    ("VersionInfo", &["version", "apiVersion"]),
    ("ReleasedExpiries", &["released"]),
];

/// The members of answers that are `null` instead of an empty list, as on the original server.
const NULL_IF_EMPTY: &[(&str, &[&str])] = &[("Relations", &["nodes", "lines", "circles"])];

/// The schemas of the objects in answers, by name.
#[derive(Default)]
pub(super) struct Schemas(pub(super) BTreeMap<&'static str, Value>);

impl Schemas {
    /// The schema of a shape in an answer. For an object, it is a reference, and the schema of the object is added.
    pub(super) fn add(&mut self, shape: Shape) -> Value {
        match shape {
            Shape::Text => json!({ "type": "string" }),
            Shape::Integer => json!({ "type": "integer", "format": "int32" }),
            Shape::Long => json!({ "type": "integer", "format": "int64" }),
            Shape::Number => json!({ "type": "number" }),
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
            let of_object = NULL_IF_EMPTY.iter().filter(|(name, _)| *name == object.name);
            if of_object.flat_map(|(_, members)| *members).any(|name| *name == member.name) {
                allow_null(&mut schema);
            }
            schema["description"] = json!(plain(member.about));
            (member.name.to_owned(), schema)
        });
        let members: Map<String, Value> = members.collect();
        let mut schema =
            json!({ "type": "object", "description": plain(object.about), "properties": members });
        let always = ALWAYS.iter().find(|(name, _)| *name == object.name).map(|(_, always)| *always);
        if let Some(always) = always.or_else(|| paging::always(object)) {
            schema["required"] = json!(always);
        }
        if object.name == "ErrorBody" {
            schema["properties"]["errorCode"]["pattern"] = json!("^[0-9]{6}$");
        }
        schema
    }
}

/// The schema of a request's body.
pub(super) fn body(shape: Shape, demands: &[Demand], terms: &ApiTerms) -> Value {
    let mut places = Places::default();
    places.collect("", demands);
    BodySchema { places, terms }.schema(shape, "").0
}

/// The demands by their whole places.
#[derive(Default)]
struct Places(BTreeMap<String, Vec<Demanded>>);

impl Places {
    fn collect(&mut self, within: &str, demands: &[Demand]) {
        for Demand { place, what } in demands {
            let place = join(within, place);
            match what {
                Demanded::Part(part) => self.collect(&place, part),
                other => self.0.entry(place).or_default().push(*other),
            }
        }
    }
}

fn join(within: &str, place: &str) -> String {
    match (within, place) {
        ("", place) => place.to_owned(),
        (within, "") => within.to_owned(),
        (within, place) if place.starts_with(['[', '{']) => format!("{within}{place}"),
        (within, place) => format!("{within}.{place}"),
    }
}

/// Whether a value may be `null`, or missing where it is a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Missing {
    Allowed,
    Rejected,
}

struct BodySchema<'t> {
    places: Places,
    terms: &'t ApiTerms,
}

impl BodySchema<'_> {
    fn demands(&self, place: &str) -> &[Demanded] {
        self.places.0.get(place).map_or(&[], Vec::as_slice)
    }

    fn schema(&self, shape: Shape, place: &str) -> (Value, Missing) {
        let (mut schema, mut missing) = match shape {
            Shape::Text => self.text(place),
            Shape::Integer => self.number(place, i64::from(i32::MIN), i64::from(i32::MAX)),
            Shape::Long => self.number(place, i64::MIN, i64::MAX),
            Shape::Number => (json!({ "type": "number" }), Missing::Allowed),
            Shape::Flag => (json!({ "type": "boolean" }), Missing::Allowed),
            Shape::List(of) => {
                let (elements, _) = self.schema(*of, &join(place, "[]"));
                self.counted(json!({ "type": "array", "items": elements }), place, "minItems", "maxItems")
            }
            Shape::Map(of) => {
                let (values, _) = self.schema(*of, &join(place, "{}"));
                let map = json!({ "type": "object", "additionalProperties": values });
                self.counted(map, place, "minProperties", "maxProperties")
            }
            Shape::Object(object) => self.object(&object, place),
        };
        for demand in self.demands(place) {
            match demand {
                Demanded::Rule(rule) if rule.bounds().0 > 0 && matches!(shape, Shape::Object(_)) => {
                    missing = Missing::Rejected;
                }
                Demanded::Keys(rule) => schema["propertyNames"] = Value::Object(text(rule)),
                Demanded::NoneOf(texts) => schema["not"] = json!({ "enum": texts }),
                Demanded::Closed => schema["additionalProperties"] = json!(false),
                Demanded::Others(others) => {
                    schema["additionalProperties"] = self.schema(*others, &join(place, "{}")).0;
                }
                Demanded::Unique => schema["uniqueItems"] = json!(true),
                Demanded::OneOf(members) => {
                    schema["anyOf"] = members.iter().map(|member| present(&schema, member)).collect();
                    missing = Missing::Rejected;
                }
                Demanded::Password => {
                    schema = password();
                    missing = Missing::Rejected;
                }
                _ => {}
            }
        }
        if missing == Missing::Allowed {
            allow_null(&mut schema);
        }
        (schema, missing)
    }

    fn text(&self, place: &str) -> (Value, Missing) {
        for demand in self.demands(place) {
            match demand {
                Demanded::Rule(rule) => {
                    let missing = if accepts_empty(rule) { Missing::Allowed } else { Missing::Rejected };
                    return (Value::Object(text(rule)), missing);
                }
                Demanded::RuleOrEmpty(rule) => {
                    let mut schema = Value::Object(text(rule));
                    if let Some(texts) = schema["enum"].as_array_mut() {
                        texts.insert(0, json!(""));
                    }
                    return (schema, Missing::Allowed);
                }
                _ => {}
            }
        }
        (json!({ "type": "string" }), Missing::Allowed)
    }

    fn number(&self, place: &str, least: i64, most: i64) -> (Value, Missing) {
        let rule = self.demands(place).iter().find_map(|demand| match demand {
            Demanded::Rule(rule) => Some(rule),
            _ => None,
        });
        let Some(rule) = rule else {
            return (json!({ "type": "integer", "minimum": least, "maximum": most }), Missing::Allowed);
        };
        let (min, max) = rule.bounds();
        let most = max.and_then(|max| i64::try_from(max).ok()).unwrap_or(most);
        let missing = if min == 0 { Missing::Allowed } else { Missing::Rejected };
        (json!({ "type": "integer", "minimum": min, "maximum": most }), missing)
    }

    fn counted(&self, mut schema: Value, place: &str, least: &str, most: &str) -> (Value, Missing) {
        let mut missing = Missing::Allowed;
        for demand in self.demands(place) {
            let (min, max) = match demand {
                Demanded::Rule(rule) => rule.bounds(),
                Demanded::Count(min, limit) => (*min, Some(self.terms.limit(*limit))),
                _ => continue,
            };
            if min > 0 {
                schema[least] = json!(min);
                missing = Missing::Rejected;
            }
            if let Some(max) = max {
                schema[most] = json!(max);
            }
        }
        (schema, missing)
    }

    fn object(&self, object: &ObjectShape, place: &str) -> (Value, Missing) {
        let (mut members, mut required) = (Map::new(), Vec::new());
        for member in object.members {
            let (mut schema, missing) = self.schema(member.shape, &join(place, member.name));
            schema["description"] = json!(plain(member.about));
            members.insert(member.name.to_owned(), schema);
            if missing == Missing::Rejected {
                required.push(member.name);
            }
        }
        let mut schema =
            json!({ "type": "object", "description": plain(object.about), "properties": members });
        // `null` in the place of the whole body is an object without members. In other places it is no object.
        let missing = match place {
            "" if !required.is_empty() => Missing::Rejected,
            _ => Missing::Allowed,
        };
        if !required.is_empty() {
            schema["required"] = json!(required);
        }
        (schema, missing)
    }
}

/// The condition that a member of this object is there and has elements or characters.
fn present(schema: &Value, member: &str) -> Value {
    let kind = &schema["properties"][member]["type"];
    let filled = match kind == "array" || kind[0] == "array" {
        true => json!({ "type": "array", "minItems": 1 }),
        false => json!({ "type": "string", "minLength": 1 }),
    };
    json!({ "required": [member], "properties": { member: filled } })
}

fn allow_null(schema: &mut Value) {
    if let Some(values) = schema.get_mut("enum").and_then(Value::as_array_mut) {
        values.push(Value::Null);
    }
    if let Some(kind) = schema.get("type").filter(|kind| kind.is_string()).cloned() {
        schema["type"] = json!([kind, "null"]);
    }
}

fn accepts_empty(rule: &MemberRule) -> bool {
    rule.check("", "").is_ok()
}

/// The schema of a text with this rule.
pub(super) fn text(rule: &MemberRule) -> Map<String, Value> {
    let mut schema = Map::from_iter([("type".to_owned(), json!("string"))]);
    let mut set = |name: &str, value: Value| schema.insert(name.to_owned(), value);
    let (min, max) = rule.bounds();
    if let Some(Stated::OneOf(texts)) = rule.pattern().map(|pattern| pattern.stated()) {
        let fitting: Vec<&&str> = texts.iter().filter(|text| rule.check("", text).is_ok()).collect();
        set("enum", json!(fitting));
        return schema;
    }
    if min > 0 {
        set("minLength", json!(min));
    }
    if let Some(max) = max {
        set("maxLength", json!(max));
    }
    match rule.pattern().map(|pattern| pattern.stated()) {
        Some(Stated::Regex(regex)) => {
            set("pattern", json!(regex));
        }
        Some(Stated::RegexBut(regex, but)) => {
            set("pattern", json!(regex));
            set("not", json!({ "type": "string", "pattern": but }));
        }
        Some(Stated::OneOf(_)) | None => {}
    }
    schema
}

/// The schema of a new password. It states the rule for ASCII; letters, numbers and symbols of all scripts count.
fn password() -> Value {
    json!({
        "type": "string",
        "format": "password",
        "minLength": 8,
        "maxLength": 32,
        "pattern": r"^(?=.*[A-Z])(?=.*[a-z])(?=.*[0-9])(?=.*[!-/:-@\[-`{-~])[!-~]*$",
    })
}

/// The schema of a parameter.
pub(super) fn parameter(value: ParameterValue) -> Value {
    match value {
        ParameterValue::Any => json!({ "type": "string" }),
        ParameterValue::Rule(rule) => Value::Object(text(&rule)),
        ParameterValue::OneOf(texts) => json!({ "type": "string", "enum": texts }),
        ParameterValue::Regex(regex) => json!({ "type": "string", "pattern": regex }),
    }
}

/// A doc comment without the brackets of links.
pub(super) fn plain(text: &str) -> String {
    text.trim().replace("[`", "`").replace("`]", "`")
}
