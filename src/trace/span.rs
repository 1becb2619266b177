//! Spans of OpenTelemetry: the one of a request, and those of its steps. Only sampled requests have spans, so an unsampled request costs a
//! look at its headers and a random number.

use std::borrow::Cow;
use std::sync::Arc;

use opentelemetry::trace::{Span as _, SpanContext, SpanKind, Status, TraceContextExt as _, Tracer as _};
use opentelemetry::{Array, Context, KeyValue, Value};
use opentelemetry_sdk::trace::{SdkTracer, Span};

use super::RequestContext;
use super::parent::{Decision, TraceParent};
use super::request_id::RequestId;

pub use opentelemetry::trace::{SpanId, TraceId};

/// Bytes of one text in a span. Clients choose paths and names.
const MAX_TEXT: usize = 1024;

/// Whether the decision of the client counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParentRule {
    Honored,
    /// Each request is decided here, whatever its headers say.
    Ignored,
}

/// Begins the spans of requests.
#[derive(Debug)]
pub struct Tracer {
    /// Records each span that it begins.
    sdk: SdkTracer,
    rule: ParentRule,
    /// Traces with a number below this one are sampled. Numbers have 63 bits.
    bound: u64,
}

impl Tracer {
    /// `rate` is the share of requests, from 0 to 1, that is traced if the client has not decided.
    pub fn new(sdk: SdkTracer, rule: ParentRule, rate: f64) -> Self {
        const ALL: f64 = 9_223_372_036_854_775_808.0;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of 2^63")]
        let bound = (rate.clamp(0.0, 1.0) * ALL) as u64;
        Self { sdk, rule, bound }
    }

    /// Begins the span of a request. `None` if the request is not traced.
    pub fn begin(&self, parent: TraceParent) -> Option<ServerSpan> {
        let TraceParent { span: parent, decision } = parent;
        let is_sampled = match (self.rule, decision) {
            (ParentRule::Honored, Decision::Sample) => true,
            (ParentRule::Honored, Decision::Drop) => false,
            _ => self.samples(parent.as_ref()),
        };
        if !is_sampled {
            return None;
        }
        let parent =
            parent.map_or_else(Context::new, |parent| Context::new().with_remote_span_context(parent));
        let builder = self.sdk.span_builder("HTTP").with_kind(SpanKind::Server);
        Some(ServerSpan { span: self.sdk.build_with_context(builder, &parent), tracer: self.sdk.clone() })
    }

    /// By the id of the trace, so that all servers of a trace decide alike.
    fn samples(&self, parent: Option<&SpanContext>) -> bool {
        let number = match parent {
            Some(parent) => {
                let [.., a, b, c, d, e, f, g, h] = parent.trace_id().to_bytes();
                u64::from_be_bytes([a, b, c, d, e, f, g, h])
            }
            None => rand::random(),
        };
        number >> 1 < self.bound
    }
}

/// The ids by which a trace and a span are found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceIds {
    pub trace: TraceId,
    pub span: SpanId,
}

/// The span under which further spans belong.
#[derive(Debug)]
pub(super) struct SpanPlace {
    tracer: SdkTracer,
    span: SpanContext,
}

impl SpanPlace {
    pub(super) fn ids(&self) -> TraceIds {
        TraceIds { trace: self.span.trace_id(), span: self.span.span_id() }
    }
}

/// The span of a request, from its head to its answer. It ends when this is dropped.
#[derive(Debug)]
pub struct ServerSpan {
    span: Span,
    tracer: SdkTracer,
}

impl ServerSpan {
    /// The context of the request whose span this is.
    pub fn context(&mut self, id: RequestId) -> RequestContext {
        let ids = Value::Array(Array::String(vec![id.to_string().into()]));
        self.span.set_attribute(KeyValue::new("http.response.header.x-request-id", ids));
        let place = SpanPlace { tracer: self.tracer.clone(), span: self.span.span_context().clone() };
        RequestContext { id, span: Some(Arc::new(place)), sender: None }
    }

    pub fn name(&mut self, name: impl Into<Cow<'static, str>>) {
        self.span.update_name(name);
    }

    /// Notes a fact. A long text is cut.
    pub fn note(&mut self, key: &'static str, value: impl Into<Value>) {
        self.span.set_attribute(KeyValue::new(key, cut(value.into())));
    }

    /// The server could not do what it was asked for.
    pub fn fail(&mut self) {
        self.span.set_status(Status::error(""));
    }
}

/// Where a step is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StepKind {
    /// In this process.
    Internal,
    /// In the store.
    Client,
}

/// A step of a request. Its span ends when this is dropped. It does nothing if the request is not traced.
#[derive(Debug)]
pub struct Step(Option<Box<RunningStep>>);

#[derive(Debug)]
struct RunningStep {
    span: Span,
    context: RequestContext,
}

impl Step {
    pub(super) const NONE: Self = Self(None);

    pub(super) fn of(request: &RequestContext, name: &'static str, kind: StepKind) -> Self {
        Self(request.span.as_ref().map(|place| {
            let kind = match kind {
                StepKind::Internal => SpanKind::Internal,
                StepKind::Client => SpanKind::Client,
            };
            let parent = Context::new().with_remote_span_context(place.span.clone());
            let span =
                place.tracer.build_with_context(place.tracer.span_builder(name).with_kind(kind), &parent);
            let inner = SpanPlace { tracer: place.tracer.clone(), span: span.span_context().clone() };
            let context = RequestContext { span: Some(Arc::new(inner)), ..request.clone() };
            Box::new(RunningStep { span, context })
        }))
    }

    /// The context for the work of this step. `None` if the request is not traced.
    pub fn context(&self) -> Option<RequestContext> {
        self.0.as_ref().map(|step| step.context.clone())
    }

    /// Notes a fact. A long text is cut.
    pub fn note(&mut self, key: &'static str, value: impl Into<Value>) {
        if let Some(step) = &mut self.0 {
            step.span.set_attribute(KeyValue::new(key, cut(value.into())));
        }
    }

    /// The step failed.
    pub fn fail(&mut self, why: &impl std::fmt::Display) {
        if let Some(step) = &mut self.0 {
            step.span.set_status(Status::error(beginning(&why.to_string()).to_owned()));
        }
    }
}

fn cut(value: Value) -> Value {
    match value {
        Value::String(text) if text.as_str().len() > MAX_TEXT => {
            Value::from(beginning(text.as_str()).to_owned())
        }
        value => value,
    }
}

/// At most [`MAX_TEXT`] bytes of a text.
fn beginning(text: &str) -> &str {
    let end = (0..=text.len().min(MAX_TEXT)).rev().find(|end| text.is_char_boundary(*end));
    &text[..end.unwrap_or_default()]
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use opentelemetry::trace::TracerProvider as _;
    use opentelemetry_sdk::trace::SdkTracerProvider;

    use super::*;

    fn tracer(rule: ParentRule, rate: f64) -> Tracer {
        Tracer::new(SdkTracerProvider::builder().build().tracer("test"), rule, rate)
    }

    fn b3(value: &'static str) -> TraceParent {
        TraceParent::of(|name| (name == "b3").then_some(value))
    }

    #[test]
    fn the_client_decides_or_the_rate() {
        let (all, none) = (tracer(ParentRule::Honored, 1.0), tracer(ParentRule::Honored, 0.0));
        assert!(all.begin(TraceParent::default()).is_some() && none.begin(TraceParent::default()).is_none());
        assert!(all.begin(b3("0")).is_none() && none.begin(b3("1")).is_some());
        let (all, none) = (tracer(ParentRule::Ignored, 1.0), tracer(ParentRule::Ignored, 0.0));
        assert!(all.begin(b3("0")).is_some() && none.begin(b3("1")).is_none());
        // The lower half of the trace's id is a quarter of all numbers.
        let open = || b3("00000000000000004000000000000000-b7ad6b7169203331");
        assert!(tracer(ParentRule::Honored, 0.26).begin(open()).is_some());
        assert!(tracer(ParentRule::Honored, 0.25).begin(open()).is_none());
    }

    #[test]
    fn steps_belong_to_the_trace_of_their_request() {
        let tracer = tracer(ParentRule::Honored, 0.0);
        let mut span = tracer.begin(b3("0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-1")).unwrap();
        let context = span.context(RequestId::given(b"a").unwrap());
        let ids = context.trace_ids().unwrap();
        assert_eq!(ids.trace.to_string(), "0af7651916cd43dd8448eb211c80319c");
        let mut step = Step::of(&context, "step", StepKind::Client);
        step.note("text", "ä".repeat(MAX_TEXT));
        step.fail(&"ä".repeat(MAX_TEXT));
        let inner = step.context().unwrap().trace_ids().unwrap();
        assert!(inner.trace == ids.trace && inner.span != ids.span);
    }
}
