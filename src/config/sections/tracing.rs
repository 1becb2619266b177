//! Keys of traces.

use super::super::keys::table;
use super::super::reader::ConfigReader;

/// Which requests are traced.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TraceSampling {
    /// Whether a client that has begun a trace decides about its requests.
    pub parent_based: bool,
    /// The share of the other requests, from 0 to 1.
    pub rate: f64,
}

/// Where traces go. Requests are traced if there is an endpoint.
#[derive(Clone, Debug, PartialEq)]
pub struct TracingConfig {
    /// `http://host:port`
    pub endpoint: Option<String>,
    pub service_name: String,
    pub sampling: TraceSampling,
}

impl TracingConfig {
    pub(in super::super) fn read(reader: &mut ConfigReader) -> Self {
        let endpoint = reader.text_if_any(&table::TRACING_ENDPOINT);
        if endpoint.as_deref().is_some_and(|endpoint| !is_endpoint(endpoint)) {
            let expected = "write http://, the host and the port of a collector: http://127.0.0.1:4317";
            reader.refuse(&table::TRACING_ENDPOINT, expected);
        }
        let protocol = reader.variables.find("OTEL_EXPORTER_OTLP_PROTOCOL");
        if let Some(protocol) = protocol.filter(|protocol| endpoint.is_some() && protocol != "grpc") {
            let text = format!(
                "OTEL_EXPORTER_OTLP_PROTOCOL = {protocol:?} has no effect: traces are sent by gRPC, so tracing.otlp.endpoint must name \
                 the port for gRPC (usually 4317)"
            );
            reader.warn(&table::TRACING_ENDPOINT, text);
        }
        let rate = reader.ratio(&table::TRACING_RATE);
        let sampler = reader.choice(&table::TRACING_SAMPLER);
        let rate = match sampler.trim_start_matches("parentbased_") {
            "always_on" => 1.0,
            "always_off" => 0.0,
            _ => rate,
        };
        let sampling = TraceSampling { parent_based: sampler.starts_with("parentbased_"), rate };
        Self { endpoint, service_name: reader.text(&table::TRACING_SERVICE), sampling }
    }
}

/// Whether this is `http://`, an authority with a host, and nothing else except a `/`.
fn is_endpoint(text: &str) -> bool {
    let Some(rest) = text.strip_prefix("http://") else { return false };
    let authority = rest.strip_suffix('/').unwrap_or(rest);
    authority
        .parse::<http::uri::Authority>()
        .is_ok_and(|authority| !authority.host().is_empty() && !authority.as_str().contains('@'))
}
