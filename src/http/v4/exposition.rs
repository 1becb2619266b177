//! `GET /metrics`: the metrics of the process in the text format of Prometheus. `GET /openapi.json`.

use std::fmt::{Display, Write};
use std::sync::Arc;
use std::time::Duration;

use actix_http::StatusCode;
use actix_http::header::HeaderValue;

use crate::actors::hub::messages::CountWatchers;
use crate::actors::mailbox::ask;
use crate::error::Error;
use crate::http::api::{Api, MetricsEndpoint};
use crate::http::call::{Answer, Call};
use crate::http::reply::Reply;
use crate::http::spec::{Operation, Success};
use crate::metrics;
use crate::tls::expiry::Expiry;

pub const METRICS: Operation = Operation::new("node", "readMetrics", "Returns the metrics of the node.")
    .answers(Success::Free { content_type: "text/plain", about: "The text format of Prometheus." })
    .uncounted();

pub const OPENAPI: Operation = Operation::new("node", "readOpenApi", "Returns this document.")
    .answers(Success::Free { content_type: "application/json", about: "OpenAPI 3.0." });

const FORMAT: HeaderValue = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
/// How long a request waits for an actor. Without its reply, the metric is left out.
const LIMIT: Duration = Duration::from_secs(1);
const SECONDS_A_DAY: f64 = 86_400.0;

/// `GET /metrics`.
pub async fn metrics(api: Arc<Api>, _: Call) -> Result<Reply, Error> {
    if api.rules.metrics == MetricsEndpoint::Closed {
        return Ok(Reply::library_text(StatusCode::NOT_FOUND, "404 page not found\n"));
    }
    let mut text = String::with_capacity(4096);
    for counter in metrics::ALL {
        family(&mut text, counter.name, "counter", counter.help, counter.value());
    }
    let snapshot = api.reader.load_full();
    let count = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
    let revision = u64::try_from(snapshot.revision).unwrap_or(0);
    family(
        &mut text,
        "snapshot_revision",
        "gauge",
        "Revision of the store that the snapshot of this node has.",
        revision,
    );
    let services = snapshot.tenants().map(|(_, view)| view.service_count).sum();
    family(&mut text, "services", "gauge", "Service versions of all tenants.", count(services));
    family(&mut text, "instances", "gauge", "Instances of all tenants.", count(snapshot.instance_count));
    family(
        &mut text,
        "beats_waiting",
        "gauge",
        "Heartbeats whose lease renewal is not sent to the store yet.",
        count(api.beats.len()),
    );
    family(
        &mut text,
        "answers_held_bytes",
        "gauge",
        "Memory of answers that clients have not read yet.",
        count(api.answers.held()),
    );
    for (class, requests) in ["1xx", "2xx", "3xx", "4xx", "5xx"].into_iter().zip(metrics::requests()) {
        labelled(
            &mut text,
            "http_requests_total",
            "counter",
            "Requests answered.",
            ("status", class),
            requests,
        );
    }
    for (name, depth) in metrics::mailboxes() {
        let help = "Messages that an actor has not finished.";
        labelled(&mut text, "mailbox_messages", "gauge", help, ("actor", name), depth);
    }
    for files in api.file_sets.states() {
        for Expiry { certificate, unix_seconds } in files.expiries {
            let help =
                "Days until the first certificate of a file in use expires. Negative after it has expired.";
            let days = (unix_seconds as f64 - api.clock.unix_seconds() as f64) / SECONDS_A_DAY;
            let label = ("certificate", certificate);
            labelled(&mut text, "certificate_expiry_days", "gauge", help, label, format_args!("{days:.3}"));
        }
    }
    for files in api.file_sets.states() {
        let help = "1 if the files of certificates and keys could be used when they were last read. 0 if not, and older ones are in use.";
        let value = u8::from(files.is_usable);
        let label = ("files", files.label);
        labelled(&mut text, "certificates_last_reload_successful", "gauge", help, label, value);
    }
    if let Ok(watchers) = ask(&api.hub, CountWatchers, LIMIT).await {
        family(&mut text, "watchers", "gauge", "Websocket sessions that watch.", count(watchers));
    }
    Ok(Reply::bytes(StatusCode::OK, FORMAT, text))
}

const PREFIX: &str = "service_center_";

fn family(text: &mut String, name: &str, kind: &str, help: &str, value: u64) {
    // Writing to a String cannot fail.
    let _ =
        write!(text, "# HELP {PREFIX}{name} {help}\n# TYPE {PREFIX}{name} {kind}\n{PREFIX}{name} {value}\n");
}

fn labelled(
    text: &mut String,
    name: &str,
    kind: &str,
    help: &str,
    (label, label_value): (&str, &str),
    value: impl Display,
) {
    if !text.contains(&format!("# TYPE {PREFIX}{name} ")) {
        let _ = write!(text, "# HELP {PREFIX}{name} {help}\n# TYPE {PREFIX}{name} {kind}\n");
    }
    let _ = writeln!(text, "{PREFIX}{name}{{{label}=\"{label_value}\"}} {value}");
}

/// `GET /openapi.json`.
pub fn openapi(api: &Arc<Api>, _: Call) -> Answer {
    Reply::json(api.openapi.clone()).into()
}
