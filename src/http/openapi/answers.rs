//! The answers of an operation: each status with its content types, headers and error codes.
//!
//! Most errors follow from the columns of the route table. `Operation::errors` has the others.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::schema::Schemas;
use super::{ApiTerms, CONNECTION, ERROR};
use crate::error::Code;
use crate::http::reply::Reply;
use crate::http::route::{Handler, Route};
use crate::http::spec::{Load, Permission, Rate, Success};

/// The answers of a route by status. `shared` takes the answers that many routes have, by name.
pub(super) fn answers<S>(
    route: &Route<S>,
    terms: &ApiTerms,
    schemas: &mut Schemas,
    shared: &mut BTreeMap<String, Value>,
) -> Map<String, Value> {
    let mut all = success(route.operation.success, schemas);
    let mut by_status: BTreeMap<u16, Vec<Code>> = BTreeMap::new();
    for code in codes(route, terms) {
        by_status.entry(code.status()).or_default().push(code);
    }
    for (status, codes) in by_status {
        let name = codes.iter().map(|code| code.number().to_string()).collect::<Vec<_>>().join("-");
        let name = match route.handler {
            Handler::Websocket(_) if status == 400 => format!("{name}-handshake"),
            _ => name,
        };
        let is_handshake = matches!(route.handler, Handler::Websocket(_));
        all.insert(status.to_string(), reference(&name));
        shared.entry(name).or_insert_with(|| error(status, &codes, is_handshake, schemas));
    }
    let mut text = |status: u16, name: &str, about: &str| {
        all.insert(status.to_string(), reference(name));
        shared
            .entry(name.to_owned())
            .or_insert_with(|| json!({ "description": about, "content": plain_text() }));
    };
    text(408, "RequestTimeout", "The head of the request came too slowly. The connection ends.");
    text(431, "HeadTooLarge", "The head of the request is too large. The connection ends.");
    if route.path.contains('{') || route.operation.closable {
        text(
            404,
            "NotFound",
            "No such path, for example because a parameter contains `/`; or the configuration closes it. (What does not exist in \
             the registry is answered with 400.)",
        );
    }
    all
}

fn reference(name: &str) -> Value {
    json!({ "$ref": format!("#/components/responses/{name}") })
}

/// The codes of the errors that a route can answer.
fn codes<S>(route: &Route<S>, terms: &ApiTerms) -> BTreeSet<Code> {
    let operation = route.operation;
    // Any connection can be one too many.
    let mut codes = BTreeSet::from([Code::InvalidParameters, Code::Internal, Code::Overloaded]);
    codes.extend(operation.errors);
    match route.load {
        Load::Always | Load::Memory | Load::View => {}
        Load::Find => codes.extend([Code::TooManyRequests]),
        Load::Store => codes.extend([Code::Unavailable]),
    }
    if operation.rate == Rate::Counted {
        codes.insert(Code::TooManyRequests);
    }
    let is_websocket = matches!(route.handler, Handler::Websocket(_));
    if route.changes() || (is_websocket && terms.access.is_some()) {
        // Pages of other origins.
        codes.insert(Code::Forbidden);
    }
    if terms.access.is_some() && route.permission != Permission::Open {
        codes.extend([
            Code::Unauthorized,
            Code::NoAuthHeader,
            Code::TokenExpired,
            Code::TokenOwnerDeleted,
            Code::AccountBlocked,
        ]);
        if route.permission != Permission::Account {
            codes.insert(Code::NoPermission);
        }
    }
    codes
}

fn error(status: u16, codes: &[Code], is_handshake: bool, schemas: &mut Schemas) -> Value {
    let listed: Vec<String> = codes
        .iter()
        .map(|code| format!("`{}` {}", code.number(), code.message()).trim_end().to_owned())
        .collect();
    let numbers: Vec<String> = codes.iter().map(|code| code.number().to_string()).collect();
    let schema = json!({ "allOf": [
        schemas.add(ERROR),
        { "type": "object", "properties": { "errorCode": { "enum": numbers } } },
    ] });
    let mut content = Map::from_iter([("application/json".to_owned(), json!({ "schema": schema }))]);
    let mut described = json!({ "description": listed.join("; ") });
    let mut headers = common_headers();
    if status == 400 {
        // The URI, or a handshake.
        content.extend(plain_text());
        described["description"] = json!(format!("{}. A text if the URI is invalid.", listed.join("; ")));
        if is_handshake {
            described["description"] =
                json!(format!("{}. A text if the URI or the handshake is invalid.", listed.join("; ")));
            let about = "The version that the server supports. Only with a text.";
            headers
                .insert("Sec-WebSocket-Version".to_owned(), header(about, json!({ "const": "13" }), false));
        }
    }
    if codes.iter().all(|code| Reply::says_when_to_retry(*code)) {
        let about = "After how many seconds the client may try again.";
        let seconds = json!({ "type": "integer", "minimum": 1 });
        headers.insert("Retry-After".to_owned(), header(about, seconds, true));
    }
    described["headers"] = Value::Object(headers);
    described["content"] = Value::Object(content);
    described
}

fn success(success: Success, schemas: &mut Schemas) -> Map<String, Value> {
    let revision = || {
        let about = "The revision of the answer. Send it as `rev` in the next request.";
        header(about, json!({ "type": "string", "minLength": 1 }), true)
    };
    let empty = |headers: Map<String, Value>| {
        json!({
            "description": "Success, without a body.",
            "headers": headers,
            "content": { "text/plain": { "schema": { "type": "string", "maxLength": 0 } } },
        })
    };
    let with = |name: &str, described: Value| {
        let mut headers = common_headers();
        headers.insert(name.to_owned(), described);
        headers
    };
    let mut json_document = |shape, headers: Map<String, Value>| json!({ "description": "Success.", "headers": headers, "content": content("application/json", schemas.add(shape)) });
    let of_200 = |answer: Value| Map::from_iter([("200".to_owned(), answer)]);
    match success {
        Success::Empty => of_200(empty(common_headers())),
        Success::Never => Map::new(),
        Success::Deprecated => {
            let about = "The API from which on the operation is deprecated.";
            of_200(empty(with("Deprecation", header(about, json!({ "type": "string" }), true))))
        }
        Success::Json(shape) => of_200(json_document(shape, common_headers())),
        Success::EmptyOr(shape) => {
            let mut answer = json_document(shape, common_headers());
            answer["description"] = "Success. There is a body only if the request asks for it.".into();
            answer["content"]["text/plain"] = empty(Map::new())["content"]["text/plain"].clone();
            of_200(answer)
        }
        Success::JsonOrEvents { page, about } => {
            let mut answer = json_document(page, common_headers());
            answer["content"]["text/event-stream"] =
                json!({ "schema": { "type": "string", "description": about } });
            of_200(answer)
        }
        Success::Found(shape) => {
            let mut all = of_200(json_document(shape, with("X-Resource-Revision", revision())));
            let unchanged = json!({
                "description": "Nothing has changed since `rev`.",
                "headers": with("X-Resource-Revision", revision()),
            });
            all.insert("304".to_owned(), unchanged);
            all
        }
        Success::Summarized(shape) => {
            let about = "The summary of the schema.";
            let summary = header(about, json!({ "type": "string" }), false);
            of_200(json_document(shape, with("X-Schema-Summary", summary)))
        }
        Success::Elsewhere => {
            let about = "Where the answer is, relative to the path of the request.";
            let location = header(about, json!({ "type": "string" }), true);
            let answer =
                json!({ "description": "The answer is elsewhere.", "headers": with("Location", location) });
            Map::from_iter([("307".to_owned(), answer)])
        }
        Success::Free { content_type, about } => of_200(json!({
            "description": about,
            "headers": common_headers(),
            "content": content(content_type, json!({})),
        })),
        Success::Events(shape) => upgraded(json!({
            "description": "A websocket. Each text frame is a JSON document.",
            "content": content("application/json", schemas.add(shape)),
        })),
        Success::Pongs => {
            upgraded(json!({ "description": "A websocket. Each pong of the client is a heartbeat." }))
        }
    }
}

fn upgraded(mut answer: Value) -> Map<String, Value> {
    let text = || json!({ "type": "string" });
    answer["headers"] = json!({
        "Upgrade": header("`websocket`.", text(), true),
        "Connection": header("`Upgrade`.", text(), true),
        "Sec-WebSocket-Accept": header("The answer to the key, as RFC 6455 defines.", text(), true),
    });
    Map::from_iter([("101".to_owned(), answer)])
}

/// The headers that nearly every answer has. A server that has no room for a connection leaves them out.
fn common_headers() -> Map<String, Value> {
    CONNECTION
        .iter()
        .map(|(name, ..)| ((*name).to_owned(), json!({ "$ref": format!("#/components/headers/{name}") })))
        .collect()
}

pub(super) fn header(about: &str, schema: Value, required: bool) -> Value {
    json!({ "description": about, "required": required, "schema": schema })
}

fn content(content_type: &str, schema: Value) -> Value {
    json!({ content_type: { "schema": schema } })
}

fn plain_text() -> Map<String, Value> {
    Map::from_iter([("text/plain".to_owned(), json!({ "schema": { "type": "string" } }))])
}
