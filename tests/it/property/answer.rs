//! Answers in a form that can be compared. Lists are sets, and members that the model does not know are left out.

use serde_json::{Map, Value, json};

use super::model::{Code, FoundInstances, Identity};
use crate::support::http::Response;

/// An expected or a received answer.
#[derive(Clone, Debug, PartialEq)]
pub struct ComparableAnswer {
    pub status: u16,
    /// The member `errorCode`.
    pub code: String,
    pub body: Value,
}

/// An expected answer, and the identities behind its revisions.
#[derive(Clone, Debug)]
pub struct Expected {
    pub answer: ComparableAnswer,
    /// The query and the identity of each find in it.
    pub identities: Vec<(String, Identity)>,
}

impl ComparableAnswer {
    pub fn ok(body: Value) -> Self {
        Self { status: 200, code: String::new(), body }
    }

    pub fn refused(code: Code) -> Self {
        Self { status: 400, code: code.to_owned(), body: Value::Null }
    }

    /// The form of a received answer.
    pub fn of(response: &Response) -> Self {
        let text = response.text();
        let body: Value = serde_json::from_str(&text).unwrap_or(Value::Null);
        let code = body["errorCode"].as_str().unwrap_or_default().to_owned();
        let body = if code.is_empty() { shown(body) } else { Value::Null };
        Self { status: response.status, code, body }
    }
}

impl Expected {
    pub fn of<T>(result: Result<T, Code>, body: impl FnOnce(T) -> Value) -> Self {
        let answer = result.map_or_else(ComparableAnswer::refused, |value| ComparableAnswer::ok(body(value)));
        Self { answer, identities: Vec::new() }
    }

    /// The answer to a find. It is "not modified" if the client has seen this identity.
    pub fn find(
        query: String,
        found: Result<FoundInstances, Code>,
        member: &str,
        seen: Option<Identity>,
    ) -> Self {
        let Ok(found) = found else { return Self::of(found, |_| Value::Null) };
        let answer = if seen == Some(found.identity) {
            ComparableAnswer { status: 304, code: String::new(), body: Value::Null }
        } else if member == "instance" {
            ComparableAnswer::ok(json!({ member: found.instances.first() }))
        } else {
            ComparableAnswer::ok(list(member, found.instances))
        };
        Self { answer, identities: vec![(query, found.identity)] }
    }
}

/// A list as a set. An empty list is left out.
pub fn list(member: &str, mut values: Vec<Value>) -> Value {
    values.sort_by_key(Value::to_string);
    if values.is_empty() { json!({}) } else { json!({ member: values }) }
}

/// Sorts lists, and keeps only the members of services and instances that the model knows.
fn shown(value: Value) -> Value {
    const KEPT: [&str; 8] =
        ["serviceId", "instanceId", "environment", "appId", "serviceName", "version", "alias", "status"];
    match value {
        Value::Array(values) => {
            let mut values: Vec<Value> = values.into_iter().map(shown).collect();
            values.sort_by_key(Value::to_string);
            Value::Array(values)
        }
        Value::Object(members) if members.contains_key("hostName") || members.contains_key("serviceName") => {
            let is_instance = members.contains_key("hostName");
            let mut kept = Map::new();
            for name in KEPT {
                let belongs = match name {
                    "environment" | "appId" | "serviceName" | "alias" => !is_instance,
                    "instanceId" | "status" => is_instance,
                    _ => true,
                };
                if belongs {
                    kept.insert(name.to_owned(), members.get(name).cloned().unwrap_or_else(|| json!("")));
                }
            }
            let properties = members.get("properties").cloned().unwrap_or_else(|| json!({}));
            kept.insert("properties".to_owned(), properties);
            Value::Object(kept)
        }
        Value::Object(members) => {
            Value::Object(members.into_iter().map(|(name, value)| (name, shown(value))).collect())
        }
        other => other,
    }
}
