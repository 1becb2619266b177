//! An event of the record in the words of a line.

use serde_json::Value;

use super::each_node::{self, Answers, Extent};
use super::failure::Failure;
use super::names::service_name;
use super::output::{Column, Listing, Style, age, column, shown, text};
use super::session::Session;
use crate::config::logging::printable;

/// The longest name of a kind has so many characters.
const KIND_WIDTH: usize = 26;

/// Prints the events that nodes have answered, the oldest first; with `last`, only so many, the latest.
pub fn list(
    session: &mut Session<'_, '_>,
    extent: Extent,
    answers: &Answers,
    last: Option<usize>,
) -> Result<(), Failure> {
    let output = session.output;
    let mut columns = columns();
    let mut items: Vec<Value> = match extent {
        Extent::OneNode => answers.of_nodes.iter().flat_map(|(_, events)| events.clone()).collect(),
        Extent::EachNode => {
            columns.insert(0, column("NODE", "/node"));
            let mut items = answers.items();
            each_node::sort_events(&mut items);
            items
        }
    };
    items.drain(..items.len().saturating_sub(last.unwrap_or(usize::MAX)));
    if output.is_wide() {
        columns.extend([column("FIRST-SENT", "/told/firstSent"), column("LAST-SENT", "/told/lastSent")]);
    }
    output.list(session.terminal, &Listing { columns, items, name: |event| shown(event, "/seq") })
}

fn columns() -> Vec<Column<'static>> {
    vec![
        column("TIME", "/time"),
        column("EVENT", "/kind"),
        Column("SERVICE", Box::new(service)),
        Column("INSTANCE", Box::new(instance)),
        Column("CAUSE", Box::new(cause)),
        Column("TOLD", Box::new(told)),
    ]
}

/// Prints an event as one line.
pub fn print(session: &mut Session<'_, '_>, event: &Value) {
    let output = session.output;
    if !output.is_text() {
        output.line(session.terminal, event);
        return;
    }
    let kind = text(event, "/kind");
    let style = match kind {
        "instance.expired" | "store.lost" | "record.gap" | "instance.deletedWithService" => Style::Bad,
        "instance.registered" | "instance.restored" | "store.back" => Style::Good,
        _ => Style::Plain,
    };
    let kind = output.styled(&printable(&format!("{kind:KIND_WIDTH$}")), style);
    let rest = [service(event), instance(event), cause(event), told(event)];
    let rest: Vec<&str> = rest.iter().map(String::as_str).filter(|part| !part.is_empty()).collect();
    let line = format!("{:24}  {kind}  {}", printable(text(event, "/time")), printable(&rest.join("  ")));
    session.terminal.say(line.trim_end());
}

fn service(event: &Value) -> String {
    event.get("service").filter(|service| service.is_object()).map(service_name).unwrap_or_default()
}

/// The instance, and what has changed: `i-1 orders-0 rest://10.0.0.1:80 UP -> DOWN`.
fn instance(event: &Value) -> String {
    let Some(instance) = event.get("instance").filter(|instance| instance.is_object()) else {
        return String::new();
    };
    let change = |pointer: &str| {
        let (now, before) = (shown(instance, pointer), event.get("before").map(|old| shown(old, pointer)));
        match before {
            Some(before) if before != now => format!("{before} -> {now}"),
            _ => now,
        }
    };
    let parts =
        [shown(instance, "/instanceId"), change("/hostName"), change("/endpoints"), change("/status")];
    parts.iter().filter(|part| !part.is_empty()).map(String::as_str).collect::<Vec<_>>().join(" ")
}

/// Why it happened, and what else the record says of it.
fn cause(event: &Value) -> String {
    let (cause, detail) = (cause_alone(event), shown(event, "/detail"));
    let colon = if cause.is_empty() || detail.is_empty() { "" } else { ": " };
    format!("{cause}{colon}{detail}")
}

fn cause_alone(event: &Value) -> String {
    let Some(cause) = event.get("cause") else { return String::new() };
    let part = |name: &str, pointer: &str| {
        let value = shown(cause, pointer);
        if value.is_empty() { value } else { format!(" {name} {value}") }
    };
    match text(cause, "/type") {
        "request" => format!(
            "request{}{}{}",
            part("by", "/account"),
            part("from", "/client"),
            part("id", "/requestId")
        ),
        "lease" => {
            let silent = cause.get("heartbeatAgeSeconds").and_then(Value::as_f64);
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the cast saturates")]
            let silent = silent.map(|seconds| age(seconds.max(0.0).round() as u64));
            match silent {
                Some(silent) => format!("no heartbeat for {silent}"),
                None => "the lease has ended".to_owned(),
            }
        }
        "otherNode" => "another node".to_owned(),
        "node" => "this node".to_owned(),
        "rule" => format!("rule {}{}", text(cause, "/rule"), part("until", "/until")),
        "unknown" => String::new(),
        other => other.to_owned(),
    }
}

fn told(event: &Value) -> String {
    let number = |pointer: &str| event.pointer(pointer).and_then(Value::as_u64).unwrap_or_default();
    let all = number("/told/consumers");
    if all == 0 {
        return String::new();
    }
    let rest =
        [("/told/waiting", "waiting"), ("/told/replaced", "told of a later change"), ("/told/lost", "gone")];
    let rest = rest.map(|(pointer, words)| (number(pointer), words));
    let rest = rest.iter().filter(|(count, _)| *count > 0);
    rest.fold(format!("told {} of {all}", number("/told/sent")), |line, (count, words)| {
        format!("{line}, {count} {words}")
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn events_are_told_in_words() {
        let event = json!({
            "kind": "instance.changed", "time": "2026-11-29T00:12:13.123Z",
            "service": {"appId": "shop", "serviceName": "orders", "version": "1.0.0"},
            "instance": {"instanceId": "i", "hostName": "h", "endpoints": ["rest://10.0.0.1:80"], "status": "DOWN"},
            "before": {"hostName": "h", "endpoints": ["rest://10.0.0.1:80"], "status": "UP"},
            "cause": {"type": "request", "account": "root", "client": "10.0.0.9", "requestId": "r"},
            "told": {"consumers": 3, "sent": 2, "waiting": 1},
        });
        assert_eq!(service(&event), "shop/orders@1.0.0");
        assert_eq!(instance(&event), "i h rest://10.0.0.1:80 UP -> DOWN");
        assert_eq!(cause(&event), "request by root from 10.0.0.9 id r");
        assert_eq!(told(&event), "told 2 of 3, 1 waiting");
        let lease = json!({"cause": {"type": "lease", "heartbeatAgeSeconds": 95.2}});
        assert_eq!(cause(&lease), "no heartbeat for 2m");
        assert_eq!(
            cause(&json!({"cause": {"type": "rule", "rule": "service", "until": "t"}})),
            "rule service until t"
        );
        assert_eq!([service(&lease), instance(&lease), told(&lease)], ["", "", ""]);
    }
}
