//! The trace that a client has begun, as its headers tell: W3C (`traceparent`, `tracestate`), or else B3, in one header or in several.

use opentelemetry::Context;
use opentelemetry::propagation::{Extractor, TextMapPropagator as _};
use opentelemetry::trace::{SpanContext, SpanId, TraceContextExt as _, TraceFlags, TraceId, TraceState};
use opentelemetry_sdk::propagation::TraceContextPropagator;

/// Whether the client wants its request to be traced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Decision {
    Sample,
    Drop,
    /// The client leaves it to this server.
    #[default]
    Open,
}

/// What the headers of a request say about its trace.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TraceParent {
    /// The span of the client. `None` if the headers name none.
    pub(super) span: Option<SpanContext>,
    pub(super) decision: Decision,
}

impl TraceParent {
    /// `find` returns the value of one of the headers `traceparent`, `tracestate`, `b3`, `x-b3-traceid`, `x-b3-spanid`, `x-b3-sampled` and
    /// `x-b3-flags`. A header that cannot be read counts as absent.
    pub fn of<'h>(find: impl Fn(&str) -> Option<&'h str>) -> Self {
        w3c(&find).or_else(|| find("b3").and_then(b3_single)).or_else(|| b3_multi(&find)).unwrap_or_default()
    }
}

struct W3cHeaders<'h> {
    parent: &'h str,
    state: Option<&'h str>,
}

impl Extractor for W3cHeaders<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        match key {
            "traceparent" => Some(self.parent),
            "tracestate" => self.state,
            _ => None,
        }
    }

    fn keys(&self) -> Vec<&str> {
        Vec::new()
    }
}

fn w3c<'h>(find: &impl Fn(&str) -> Option<&'h str>) -> Option<TraceParent> {
    let headers = W3cHeaders { parent: find("traceparent")?, state: find("tracestate") };
    let found = TraceContextPropagator::new().extract_with_context(&Context::new(), &headers);
    let span = Some(found.span().span_context().clone()).filter(SpanContext::is_valid)?;
    let decision = if span.is_sampled() { Decision::Sample } else { Decision::Drop };
    Some(TraceParent { span: Some(span), decision })
}

/// `<trace>-<span>`, `<trace>-<span>-<decision>`, `<trace>-<span>-<decision>-<parent>`, or the decision alone.
fn b3_single(value: &str) -> Option<TraceParent> {
    let mut parts = value.trim().split('-');
    let (trace, span, told) = (parts.next()?, parts.next(), parts.next());
    match span {
        None => Some(TraceParent { span: None, decision: decision(trace)? }),
        Some(span) => {
            let decision = told.map_or(Some(Decision::Open), decision)?;
            Some(TraceParent { span: Some(b3_span(trace, span, decision)?), decision })
        }
    }
}

fn b3_multi<'h>(find: &impl Fn(&str) -> Option<&'h str>) -> Option<TraceParent> {
    let decision = if find("x-b3-flags").is_some_and(|flags| flags.trim() == "1") {
        Decision::Sample
    } else {
        find("x-b3-sampled").and_then(|told| decision(told.trim())).unwrap_or_default()
    };
    let span = match (find("x-b3-traceid"), find("x-b3-spanid")) {
        (Some(trace), Some(span)) => b3_span(trace.trim(), span.trim(), decision),
        _ => None,
    };
    (span.is_some() || decision != Decision::Open).then_some(TraceParent { span, decision })
}

/// `d` is debug: sample in any case. Old clients write `true` and `false`.
fn decision(told: &str) -> Option<Decision> {
    match told {
        "1" | "d" | "true" => Some(Decision::Sample),
        "0" | "false" => Some(Decision::Drop),
        _ => None,
    }
}

/// Ids of traces have 16 or 32 digits, ids of spans have 16.
fn b3_span(trace: &str, span: &str, decision: Decision) -> Option<SpanContext> {
    let is_hex = |text: &str| text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if !matches!(trace.len(), 16 | 32) || span.len() != 16 || !is_hex(trace) || !is_hex(span) {
        return None;
    }
    let flags = TraceFlags::default().with_sampled(decision == Decision::Sample);
    let (trace, span) = (TraceId::from_hex(trace).ok()?, SpanId::from_hex(span).ok()?);
    Some(SpanContext::new(trace, span, flags, true, TraceState::default())).filter(SpanContext::is_valid)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
    const SPAN: &str = "b7ad6b7169203331";

    /// The trace and the span as hexadecimal digits, and the decision.
    fn check(headers: &[(&str, &str)], expected: Option<(&str, &str)>, decision: Decision) {
        let found =
            TraceParent::of(|name| headers.iter().find(|(known, _)| *known == name).map(|(_, value)| *value));
        let ids = found.span.as_ref().map(|span| (span.trace_id().to_string(), span.span_id().to_string()));
        let ids = ids.as_ref().map(|(trace, span)| (trace.as_str(), span.as_str()));
        assert_eq!((ids, found.decision), (expected, decision), "{headers:?}");
    }

    #[test]
    fn w3c() {
        let sampled = format!("00-{TRACE}-{SPAN}-01");
        check(&[("traceparent", &sampled)], Some((TRACE, SPAN)), Decision::Sample);
        check(&[("traceparent", &sampled), ("tracestate", "a=1,b=2")], Some((TRACE, SPAN)), Decision::Sample);
        check(&[("traceparent", &format!("00-{TRACE}-{SPAN}-00"))], Some((TRACE, SPAN)), Decision::Drop);
        check(&[("traceparent", &sampled), ("b3", "0")], Some((TRACE, SPAN)), Decision::Sample);
    }

    #[test]
    fn b3() {
        let ids = Some((TRACE, SPAN));
        check(&[("b3", &format!("{TRACE}-{SPAN}-1"))], ids, Decision::Sample);
        check(&[("b3", &format!("{TRACE}-{SPAN}-d-05e3ac9a4f6e3b90"))], ids, Decision::Sample);
        check(&[("b3", &format!("{TRACE}-{SPAN}-0"))], ids, Decision::Drop);
        check(&[("b3", &format!("{TRACE}-{SPAN}"))], ids, Decision::Open);
        check(&[("b3", "0")], None, Decision::Drop);
        check(&[("b3", "d")], None, Decision::Sample);
        let multi = |sampled| [("x-b3-traceid", TRACE), ("x-b3-spanid", SPAN), ("x-b3-sampled", sampled)];
        check(&multi("1"), ids, Decision::Sample);
        check(&multi("false"), ids, Decision::Drop);
        check(&multi("x"), ids, Decision::Open);
        check(&[("x-b3-sampled", "0")], None, Decision::Drop);
        check(&[("x-b3-flags", "1"), ("x-b3-sampled", "0")], None, Decision::Sample);
        let short = "8448eb211c80319c";
        let padded = format!("0000000000000000{short}");
        check(&[("x-b3-traceid", short), ("x-b3-spanid", SPAN)], Some((&padded, SPAN)), Decision::Open);
    }

    #[test]
    fn what_cannot_be_read_is_absent() {
        for value in [
            "",
            "x",
            "00",
            "00-0-0-01",
            "00-zz-zz-01",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            &"9".repeat(9000),
        ] {
            check(&[("traceparent", value)], None, Decision::Open);
        }
        let zeros = "0".repeat(32);
        for value in [
            "",
            "-",
            "2",
            &format!("{TRACE}-{SPAN}-2"),
            &format!("{zeros}-{SPAN}-1"),
            &format!("+{}-{SPAN}", &TRACE[1..]),
        ] {
            check(&[("b3", value)], None, Decision::Open);
        }
        check(&[("x-b3-traceid", TRACE)], None, Decision::Open);
        check(&[], None, Decision::Open);
    }
}
