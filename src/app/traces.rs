//! Sends the spans of traced requests to a collector of OpenTelemetry, by OTLP over gRPC.
//!
//! Spans wait in a bounded queue, and a thread of the library sends them in batches. A full queue drops the newest span, so no request
//! waits for the collector. The library reads its own variables of the environment for the sizes of queue and batch (`OTEL_BSP_*`), for
//! the time limit and headers of a call (`OTEL_EXPORTER_OTLP_*`), and for the attributes of this process (`OTEL_RESOURCE_ATTRIBUTES`).

use std::sync::Arc;
use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::{SpanExporter as OtlpExporter, WithExportConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider, SpanData, SpanExporter};

use super::error::AppError;
use crate::config::{TraceSampling, TracingConfig};
use crate::metrics;
use crate::trace::{ParentRule, Tracer};
use crate::trouble::Trouble;

/// How long a stop waits until the collector has the last spans.
const FLUSH_LIMIT: Duration = Duration::from_secs(2);

/// The way of spans to the collector.
#[derive(Debug)]
pub struct Traces {
    provider: SdkTracerProvider,
    tracer: Arc<Tracer>,
}

impl Traces {
    /// `None` if no endpoint is configured. Call it inside a runtime, whose thread then also serves the connection to the collector.
    pub fn start(config: TracingConfig) -> Result<Option<Self>, AppError> {
        let TracingConfig { endpoint, service_name, sampling } = config;
        let TraceSampling { parent_based, rate } = sampling;
        let Some(endpoint) = endpoint else { return Ok(None) };
        let exporter = OtlpExporter::builder().with_tonic().with_endpoint(&endpoint).build();
        let exporter = exporter.map_err(|error| AppError::Traces(error.to_string()))?;
        log::info!("traces go to {endpoint}");
        let resource = Resource::builder()
            .with_service_name(service_name)
            .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
            .build();
        let provider = SdkTracerProvider::builder()
            .with_resource(resource)
            .with_sampler(Sampler::AlwaysOn)
            .with_batch_exporter(WatchedExporter { exporter, endpoint, trouble: Trouble::default() })
            .build();
        let rule = if parent_based { ParentRule::Honored } else { ParentRule::Ignored };
        let tracer = Arc::new(Tracer::new(provider.tracer("service-center"), rule, rate));
        Ok(Some(Self { provider, tracer }))
    }

    pub fn tracer(&self) -> Arc<Tracer> {
        Arc::clone(&self.tracer)
    }

    /// Sends the last spans, for a limited time.
    pub async fn stop(self) {
        // It blocks, and this thread serves the connection to the collector.
        let flushed = tokio::task::spawn_blocking(move || self.provider.shutdown_with_timeout(FLUSH_LIMIT));
        match tokio::time::timeout(FLUSH_LIMIT * 2, flushed).await {
            Ok(Ok(Ok(()))) => {}
            _ => log::warn!("the collector of traces did not take the last spans in time"),
        }
    }
}

/// Counts the spans that the collector takes, and logs once if it takes none any more.
#[derive(Debug)]
struct WatchedExporter {
    exporter: OtlpExporter,
    endpoint: String,
    trouble: Trouble,
}

impl SpanExporter for WatchedExporter {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let length = batch.len();
        let exported = self.exporter.export(batch).await;
        let endpoint = &self.endpoint;
        match &exported {
            Ok(()) => {
                metrics::SPANS_EXPORTED.add(length);
                if self.trouble.is_over() {
                    log::info!("the collector of traces at {endpoint} takes spans again");
                }
            }
            Err(error) => {
                metrics::SPANS_LOST.add(length);
                if self.trouble.fails(&error.to_string()) {
                    log::warn!(
                        "the collector of traces at {endpoint} takes no spans, so they are lost: {error}"
                    );
                }
            }
        }
        exported
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.exporter.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}
