//! The OpenAPI document of a daemon, and what of its answers is not as the document says.

use std::sync::Mutex;

use serde_json::{Map, Value};

use super::http::{Client, Request, Response};
use super::json_schema;

/// Most differences that are kept.
const MOST_KEPT: usize = 50;

#[derive(Debug)]
pub struct Description {
    pub document: Value,
    differences: Mutex<Vec<String>>,
}

impl Description {
    /// Reads the document of the server.
    pub fn of(client: &Client) -> Result<Self, String> {
        let answer = client.get("/openapi.json").map_err(|error| error.to_string())?;
        Ok(Self { document: answer.json(), differences: Mutex::default() })
    }

    /// Each operation with its method, in upper case, and its path.
    pub fn operations(&self) -> impl Iterator<Item = (String, &str, &Value)> {
        let paths = self.document["paths"].as_object().into_iter().flatten();
        paths.flat_map(|(path, methods)| {
            let methods = methods.as_object().into_iter().flatten();
            methods.map(|(method, operation)| (method.to_uppercase(), path.as_str(), operation))
        })
    }

    /// The operation that a request is for. `None` if there is none, and for a path that is not written plainly.
    fn operation(&self, request: &Request) -> Option<&Value> {
        let path = request.target.split('?').next().unwrap_or_default();
        let is_plain =
            path.starts_with('/') && path.split('/').skip(1).all(|part| !matches!(part, "" | "." | ".."));
        let found = |pattern: &str| is_plain && matches(pattern, path);
        self.operations()
            .filter(|(method, ..)| *method == request.method)
            .filter(|(_, path, operation)| {
                found(path) || operation["x-older-path"].as_str().is_some_and(found)
            })
            // `/accounts/batch-create` before `/accounts/{name}`.
            .min_by_key(|(_, path, _)| path.matches('{').count())
            .map(|(.., operation)| operation)
    }

    /// Notes in what an answer is not as described.
    pub fn note(&self, request: &Request, response: &Response) {
        let mut kept = self.differences.lock().unwrap();
        for problem in self.problems(request, response) {
            let line = format!("not as described: {} {}: {problem}", request.method, request.target);
            if kept.len() < MOST_KEPT && !kept.contains(&line) {
                kept.push(line);
            }
        }
    }

    /// What was noted.
    pub fn differences(&self) -> Vec<String> {
        self.differences.lock().unwrap().clone()
    }

    /// In what an answer is not as described. Nothing if no operation is described for the request.
    pub fn problems(&self, request: &Request, response: &Response) -> Vec<String> {
        let Some(operation) = self.operation(request) else { return Vec::new() };
        let Some(answer) = operation["responses"].get(response.status.to_string()) else {
            return vec![format!("the status {} with {:?}", response.status, response.text())];
        };
        let answer = self.resolved(answer);
        let mut found = Vec::new();
        for (name, header) in answer["headers"].as_object().into_iter().flatten() {
            let header = self.resolved(header);
            match response.header(name) {
                None if header["required"] == true => found.push(format!("the header {name} is missing")),
                None => {}
                Some(text) => {
                    let value = match header["schema"]["type"] == "integer" {
                        true => text.parse::<i64>().map_or_else(|_| text.into(), Value::from),
                        false => text.into(),
                    };
                    let place = format!("header {name}");
                    found.extend(json_schema::problems(&self.document, &header["schema"], &value, &place));
                }
            }
        }
        let none = Map::new();
        let contents = answer["content"].as_object().unwrap_or(&none);
        if response.status == 101 {
            return found;
        }
        let kind =
            response.header("Content-Type").map(|text| text.split(';').next().unwrap_or_default().trim());
        match kind.map(|kind| (kind, contents.get(kind))) {
            None if contents.is_empty() && response.body.is_empty() => {}
            None => found.push(format!("{} bytes without a content type", response.body.len())),
            Some((kind, None)) => found.push(format!("the content type {kind} with {:?}", response.text())),
            Some((kind, Some(content))) => {
                let value = match kind {
                    "application/json" => response.json(),
                    _ => response.text().into(),
                };
                found.extend(json_schema::problems(&self.document, &content["schema"], &value, "answer"));
            }
        }
        found
    }

    fn resolved<'v>(&'v self, value: &'v Value) -> &'v Value {
        match value["$ref"].as_str() {
            Some(target) => self.document.pointer(target.trim_start_matches('#')).unwrap_or(&Value::Null),
            None => value,
        }
    }
}

fn matches(pattern: &str, path: &str) -> bool {
    let (pattern, path): (Vec<&str>, Vec<&str>) = (pattern.split('/').collect(), path.split('/').collect());
    pattern.len() == path.len()
        && pattern.iter().zip(path).all(|(one, other)| *one == other || one.starts_with('{'))
}
