//! Answers in a form that can be compared: what the model speaks of, lists as sets.

use serde_json::{Map, Value, json};

use super::model::{Code, Found, Identity};
use crate::support::http::Response;

/// What a request should be answered, or was.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    pub status: u16,
    /// The member `errorCode`.
    pub code: String,
    pub body: Value,
}

/// What is expected, and of what revisions are.
#[derive(Clone, Debug)]
pub struct Expected {
    pub answer: Answer,
    /// Of each find in it: the query, and its identity.
    pub identities: Vec<(String, Identity)>,
}

impl Answer {
    pub fn ok(body: Value) -> Self {
        Self { status: 200, code: String::new(), body }
    }

    pub fn refused(code: Code) -> Self {
        Self { status: 400, code: code.to_owned(), body: Value::Null }
    }

    /// Of what was answered.
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
        let answer = result.map_or_else(Answer::refused, |value| Answer::ok(body(value)));
        Self { answer, identities: Vec::new() }
    }

    /// Of a find; with the identity the client has seen it may be not modified.
    pub fn find(query: String, found: Result<Found, Code>, member: &str, seen: Option<Identity>) -> Self {
        let Ok(found) = found else { return Self::of(found, |_| Value::Null) };
        let answer = if seen == Some(found.identity) {
            Answer { status: 304, code: String::new(), body: Value::Null }
        } else if member == "instance" {
            Answer::ok(json!({ member: found.instances.first() }))
        } else {
            Answer::ok(list(member, found.instances))
        };
        Self { answer, identities: vec![(query, found.identity)] }
    }
}

/// A list as a set; an empty one is left out.
pub fn list(member: &str, mut values: Vec<Value>) -> Value {
    values.sort_by_key(Value::to_string);
    if values.is_empty() { json!({}) } else { json!({ member: values }) }
}

/// Sorts lists, and of services and instances keeps what the model knows of.
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
