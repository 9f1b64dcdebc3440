//! W3C trace context in NATS headers.
//!
//! A trace is continued even where this process exports none: what came in goes out.

use std::fmt;
use std::str::FromStr;

use async_nats::HeaderMap;
use countersign_schemas::headers::TRACEPARENT;
use opentelemetry::trace::{SpanContext, SpanId, TraceContextExt, TraceFlags, TraceId, TraceState};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;

/// A `traceparent` of version 00.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceParent {
    trace: TraceId,
    span: SpanId,
    flags: TraceFlags,
}

/// A text is not a `traceparent`. A sender's mistake here costs a trace, never a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a traceparent is written 00-<32 hex>-<16 hex>-<2 hex>, lower case, not all zero")]
pub struct TraceParentError;

impl TraceParent {
    /// The trace context in `headers`, if there is a valid one.
    #[must_use]
    pub fn in_headers(headers: &HeaderMap) -> Option<Self> {
        headers.get(TRACEPARENT)?.as_str().parse().ok()
    }

    /// The trace id, 32 hexadecimal digits.
    #[must_use]
    pub fn trace_id(&self) -> String {
        self.trace.to_string()
    }

    /// The span id, 16 hexadecimal digits.
    #[must_use]
    pub fn span_id(&self) -> String {
        self.span.to_string()
    }
}

impl fmt::Display for TraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let flags = self.flags.to_u8();
        write!(f, "00-{}-{}-{flags:02x}", self.trace, self.span)
    }
}

impl FromStr for TraceParent {
    type Err = TraceParentError;

    fn from_str(text: &str) -> Result<Self, TraceParentError> {
        let mut parts = text.split('-');
        let mut hex = |length: usize| {
            parts
                .next()
                .filter(|part| part.len() == length)
                .filter(|part| part.bytes().all(|b| b"0123456789abcdef".contains(&b)))
                .ok_or(TraceParentError)
        };
        let version = hex(2)?;
        let trace = TraceId::from_hex(hex(32)?).map_err(|_| TraceParentError)?;
        let span = SpanId::from_hex(hex(16)?).map_err(|_| TraceParentError)?;
        let flags = u8::from_str_radix(hex(2)?, 16).map_err(|_| TraceParentError)?;
        let valid = trace != TraceId::INVALID && span != SpanId::INVALID;
        if version != "00" || !valid || parts.next().is_some() {
            return Err(TraceParentError);
        }
        Ok(Self {
            trace,
            span,
            flags: TraceFlags::new(flags),
        })
    }
}

/// Makes `span` a child of `parent` in exported traces.
pub fn continue_trace(span: &Span, parent: Option<TraceParent>) {
    let Some(parent) = parent else { return };
    let remote = SpanContext::new(
        parent.trace,
        parent.span,
        parent.flags,
        true,
        TraceState::default(),
    );
    let context = opentelemetry::Context::new().with_remote_span_context(remote);
    if let Err(error) = span.set_parent(context) {
        tracing::trace!(%error, "traces are not exported");
    }
}

/// What to send on from inside `span`: its own context where traces are exported, else
/// `parent` as it came.
#[must_use]
pub fn outgoing_trace(span: &Span, parent: Option<TraceParent>) -> Option<TraceParent> {
    let context = span.context();
    let own = context.span().span_context().clone();
    if !own.is_valid() {
        return parent;
    }
    Some(TraceParent {
        trace: own.trace_id(),
        span: own.span_id(),
        flags: own.trace_flags(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn reads_and_writes_the_same_text() {
        let parent: TraceParent = GOOD.parse().unwrap();
        assert_eq!(parent.to_string(), GOOD);
        assert_eq!(parent.trace_id(), "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_eq!(parent.span_id(), "00f067aa0ba902b7");
        let mut headers = HeaderMap::new();
        headers.insert(TRACEPARENT, GOOD);
        assert_eq!(TraceParent::in_headers(&headers), Some(parent));
    }

    #[test]
    fn refuses_what_the_standard_calls_invalid() {
        for bad in [
            "",
            "00",
            "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-x",
            "00-4bf92f3577b34da6a3ce929d0e0e473-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e473g-00f067aa0ba902b7-01",
        ] {
            assert_eq!(bad.parse::<TraceParent>(), Err(TraceParentError), "{bad}");
        }
        assert_eq!(TraceParent::in_headers(&HeaderMap::new()), None);
    }

    #[test]
    fn without_an_exporter_what_came_in_goes_out() {
        let parent = GOOD.parse().ok();
        let span = tracing::info_span!("test");
        continue_trace(&span, parent);
        assert_eq!(outgoing_trace(&span, parent), parent);
        assert_eq!(outgoing_trace(&span, None), None);
    }
}
