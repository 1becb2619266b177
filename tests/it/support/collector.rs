//! A collector of OpenTelemetry traces that keeps what it gets.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::trace::v1::Span;
use tokio::sync::oneshot;
use tonic::transport::Server;
use tonic::{Request, Response, Status};

/// Spans that a collector keeps. It drops further ones, because a benchmark makes millions.
const MOST: usize = 100_000;

/// A collector on its own thread. Dropping it ends it.
#[derive(Debug)]
pub struct Collector {
    address: SocketAddr,
    taken: Taken,
    end: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Clone, Debug, Default)]
struct Taken(Arc<Mutex<Vec<CollectedSpan>>>);

/// A span, and the name of the service that sent it.
#[derive(Clone, Debug)]
pub struct CollectedSpan {
    pub service: String,
    pub span: Span,
}

impl Collector {
    /// Starts a collector on this address. Port 0 stands for any free port.
    pub fn start(address: SocketAddr) -> Self {
        let taken = Taken::default();
        let (end, ended) = oneshot::channel();
        let listener = std::net::TcpListener::bind(address).unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let service = TraceServiceServer::new(taken.clone());
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                let incoming = futures_util::stream::unfold(listener, |listener| async {
                    let accepted = listener.accept().await.map(|(stream, _)| stream);
                    Some((accepted, listener))
                });
                let serving = Server::builder().add_service(service).serve_with_incoming(incoming);
                tokio::select! {
                    served = serving => served.unwrap(),
                    _ = ended => {}
                }
            });
        });
        Self { address, taken, end: Some(end), thread: Some(thread) }
    }

    /// Starts a collector on a free port.
    pub fn anywhere() -> Self {
        Self::start("127.0.0.1:0".parse().unwrap())
    }

    /// The value of `tracing.otlp.endpoint`.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The spans so far.
    pub fn spans(&self) -> Vec<CollectedSpan> {
        self.taken.0.lock().unwrap().clone()
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        drop(self.end.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

#[tonic::async_trait]
impl TraceService for Taken {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let mut taken = self.0.lock().unwrap();
        for resource in request.into_inner().resource_spans {
            let attributes = resource.resource.map(|resource| resource.attributes).unwrap_or_default();
            let service = attribute(&attributes, "service.name").unwrap_or_default();
            let spans = resource.scope_spans.into_iter().flat_map(|scope| scope.spans);
            let room = MOST.saturating_sub(taken.len());
            taken.extend(spans.take(room).map(|span| CollectedSpan { service: service.clone(), span }));
        }
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

impl CollectedSpan {
    /// The value of an attribute, as text.
    pub fn attribute(&self, key: &str) -> Option<String> {
        attribute(&self.span.attributes, key)
    }

    /// The id of the trace, as hexadecimal digits.
    pub fn trace(&self) -> String {
        hex::encode(&self.span.trace_id)
    }

    /// The id of the parent, as hexadecimal digits; empty if there is none.
    pub fn parent(&self) -> String {
        hex::encode(&self.span.parent_span_id)
    }
}

fn attribute(attributes: &[KeyValue], key: &str) -> Option<String> {
    attributes.iter().find(|attribute| attribute.key == key).and_then(|found| shown(found.value.as_ref()))
}

fn shown(value: Option<&AnyValue>) -> Option<String> {
    match value?.value.as_ref()? {
        Value::StringValue(text) => Some(text.clone()),
        Value::IntValue(number) => Some(number.to_string()),
        Value::ArrayValue(array) => array.values.first().and_then(|first| shown(Some(first))),
        _ => None,
    }
}
