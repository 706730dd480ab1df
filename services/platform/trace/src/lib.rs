//! Traces by OpenTelemetry: spans of requests, calls and messages, and the context that joins them across processes.
//!
//! Invariants:
//! - until somebody has [switched it on](switch_on) nothing is made and nothing costs more than reading a flag;
//! - a span never changes what it is of: everything here works as well without a collector, and without spans;
//! - nobody outside decides what is kept: neither by a flag nor by the id that he chose;
//! - one order is one trace: its context goes with the request, into the row of every message that comes of it, and from
//!   the message into its handler.

#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::future::Future;
use std::hash::{BuildHasher, RandomState};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use opentelemetry::context::FutureExt;
use opentelemetry::trace::{
    SpanBuilder, SpanContext, SpanId, SpanKind, Status, TraceContextExt, TraceFlags, TraceId, TraceState,
    Tracer,
};
use opentelemetry::{Context, ContextGuard, KeyValue, global};

/// The header in which W3C's trace context travels.
pub const HEADER: &str = "traceparent";

static IS_ON: AtomicBool = AtomicBool::new(false);
/// Which share of traces is kept whole, as the bits of a number from 0 to 1.
static RATIO: AtomicU64 = AtomicU64::new(0);

/// From now on spans are made. The provider of tracers has been installed before; of the traces that begin here, the share
/// `ratio` is sampled.
pub fn switch_on(ratio: f64) {
    RATIO.store(ratio.to_bits(), Ordering::Relaxed);
    IS_ON.store(true, Ordering::Release);
}

pub fn is_on() -> bool {
    IS_ON.load(Ordering::Acquire)
}

/// Whether a trace that begins with this id, which was made here, is sampled: the same answer in every process.
pub fn is_chosen(id: TraceId) -> bool {
    let mut low = [0; 8];
    low.copy_from_slice(&id.to_bytes()[8..]);
    is_within_share(u64::from_be_bytes(low))
}

/// As OpenTelemetry's TraceIdRatioBased: the lower 63 bits against the share of them.
fn is_within_share(bits: u64) -> bool {
    let ratio = f64::from_bits(RATIO.load(Ordering::Relaxed));
    ((bits >> 1) as f64) < ratio * (1_u64 << 63) as f64
}

/// A draw that nobody outside can foresee: a keyed hash of a number that never comes again.
fn is_drawn() -> bool {
    static KEY: OnceLock<RandomState> = OnceLock::new();
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    is_within_share(KEY.get_or_init(RandomState::new).hash_one(number))
}

/// Whom a caller's trace context comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Caller {
    /// A process of ours: it has decided whether the trace is sampled.
    House,
    /// Anybody: the trace goes on, but whether it is sampled is drawn here.
    Outside,
}

/// A place in a trace, or none.
#[derive(Clone, Default)]
pub struct Spot(Option<Context>);

/// `00-<trace id>-<span id>-<flags>` (W3C Trace Context, version 00).
fn read(traceparent: &str, caller: Caller) -> Option<Context> {
    let mut parts = traceparent.trim().split('-');
    let (version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let is_hex = |text: &str, length: usize| {
        text.len() == length && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    };
    let is_known = version == "00" && parts.next().is_none();
    let may_be_newer = is_hex(version, 2) && version != "00" && version != "ff";
    if !(is_known || may_be_newer) || !is_hex(trace, 32) || !is_hex(span, 16) || !is_hex(flags, 2) {
        return None;
    }
    let trace_id = TraceId::from_hex(trace).ok()?;
    let is_sampled = match caller {
        Caller::House => u8::from_str_radix(flags, 16).ok()? & 1 == 1,
        Caller::Outside => is_drawn(),
    };
    let flags = if is_sampled { TraceFlags::SAMPLED } else { TraceFlags::default() };
    let context =
        SpanContext::new(trace_id, SpanId::from_hex(span).ok()?, flags, true, TraceState::default());
    context.is_valid().then(|| Context::new().with_remote_span_context(context))
}

/// An outsider's context for a process of ours, where this one makes no spans: the trace goes on, and nobody is told to
/// keep it.
pub fn pass_on(traceparent: &str) -> Option<String> {
    let context = read(traceparent, Caller::House)?.span().span_context().clone();
    Some(format!("00-{}-{}-00", context.trace_id(), context.span_id()))
}

fn begin(
    name: impl Into<Cow<'static, str>>,
    kind: SpanKind,
    parent: &Context,
    attributes: Vec<KeyValue>,
) -> Context {
    let builder = SpanBuilder::from_name(name).with_kind(kind).with_attributes(attributes);
    let span = global::tracer("rtc").build_with_context(builder, parent);
    parent.with_span(span)
}

/// A request that came in.
pub struct Request<'a> {
    pub service: &'static str,
    pub method: &'static str,
    /// Its template.
    pub route: &'static str,
    pub traceparent: Option<&'a str>,
    pub caller: Caller,
}

/// The span of a request that came in.
pub fn serve(request: &Request<'_>) -> Spot {
    if !is_on() {
        return Spot(None);
    }
    let parent = request.traceparent.and_then(|text| read(text, request.caller)).unwrap_or_default();
    let Request { service, method, route, .. } = *request;
    let attributes = vec![
        KeyValue::new("http.request.method", method),
        KeyValue::new("http.route", route),
        KeyValue::new("url.scheme", "http"),
        KeyValue::new("rtc.service", service),
    ];
    Spot(Some(begin(format!("{method} {route}"), SpanKind::Server, &parent, attributes)))
}

/// The span of a call to a service in another process.
pub fn call(service: &'static str, method: &'static str, route: &'static str) -> Spot {
    if !is_on() {
        return Spot(None);
    }
    let attributes = vec![
        KeyValue::new("http.request.method", method),
        KeyValue::new("url.template", route),
        KeyValue::new("rtc.service", service),
    ];
    Spot(Some(begin(format!("{method} {route}"), SpanKind::Client, &Context::current(), attributes)))
}

/// What is known of a message.
pub struct Message<'a> {
    pub topic: &'a str,
    pub event_type: &'a str,
    pub id: &'a str,
    /// The context that it carries, or that led to it.
    pub traceparent: Option<&'a str>,
}

impl Message<'_> {
    fn attributes(&self, operation: &'static str) -> Vec<KeyValue> {
        vec![
            KeyValue::new("messaging.system", "rtc"),
            KeyValue::new("messaging.operation.type", operation),
            KeyValue::new("messaging.destination.name", self.topic.to_owned()),
            KeyValue::new("messaging.message.id", self.id.to_owned()),
            KeyValue::new("rtc.event_type", self.event_type.to_owned()),
        ]
    }
}

/// The context that a message is to carry: of a producer's span, which is over at once, in the trace of what is being
/// done, or in that of its cause where nothing is.
pub fn send(message: &Message<'_>) -> Option<String> {
    if !is_on() {
        return message.traceparent.map(str::to_owned);
    }
    let current = Context::current();
    let parent = match message.traceparent {
        Some(cause) if !current.span().span_context().is_valid() => {
            read(cause, Caller::House).unwrap_or(current)
        }
        _ => current,
    };
    let name = format!("send {}", message.topic);
    let spot = Spot(Some(begin(name, SpanKind::Producer, &parent, message.attributes("send"))));
    let traceparent = spot.traceparent();
    spot.end();
    traceparent
}

/// The span of a message that is handled by a consumer group: a child of the producer's, so that all of it is one trace.
pub fn process(group: &str, message: &Message<'_>) -> Spot {
    if !is_on() {
        return Spot(None);
    }
    let parent = message.traceparent.and_then(|text| read(text, Caller::House)).unwrap_or_default();
    let mut attributes = message.attributes("process");
    attributes.push(KeyValue::new("messaging.consumer.group.name", group.to_owned()));
    Spot(Some(begin(format!("process {}", message.topic), SpanKind::Consumer, &parent, attributes)))
}

/// Goes on where a row says that work was begun.
pub fn resume(traceparent: Option<&str>) -> Spot {
    if !is_on() {
        return Spot(None);
    }
    Spot(traceparent.and_then(|text| read(text, Caller::House)))
}

impl Spot {
    /// Where this thread is.
    pub fn current() -> Self {
        Spot(is_on().then(Context::current))
    }

    /// Until the guard is dropped this thread is there.
    pub fn enter(&self) -> Option<ContextGuard> {
        self.0.clone().map(Context::attach)
    }

    /// Whoever drives `work` is there while he does.
    pub async fn within<F: Future>(&self, work: F) -> F::Output {
        match &self.0 {
            Some(context) => work.with_context(context.clone()).await,
            None => work.await,
        }
    }

    fn context(&self) -> Option<SpanContext> {
        let context = self.0.as_ref()?.span().span_context().clone();
        context.is_valid().then_some(context)
    }

    /// What goes along with a request or a message.
    pub fn traceparent(&self) -> Option<String> {
        let context = self.context()?;
        let flags = context.trace_flags().to_u8();
        Some(format!("00-{}-{}-{flags:02x}", context.trace_id(), context.span_id()))
    }

    /// The trace's id, where the trace is sampled and can therefore be looked at.
    pub fn trace_id(&self) -> Option<String> {
        let context = self.context()?;
        context.is_sampled().then(|| context.trace_id().to_string())
    }

    /// How a request ended: 5xx is an error of whoever answered.
    pub fn answered(&self, status: u16) {
        let Some(context) = &self.0 else { return };
        let span = context.span();
        span.set_attribute(KeyValue::new("http.response.status_code", i64::from(status)));
        if status >= 500 {
            span.set_attribute(KeyValue::new("error.type", status.to_string()));
            span.set_status(Status::error(""));
        }
    }

    /// It did not do what it was to do.
    pub fn failed(&self, code: &str) {
        let Some(context) = &self.0 else { return };
        let span = context.span();
        span.set_attribute(KeyValue::new("error.type", code.to_owned()));
        span.set_status(Status::error(code.to_owned()));
    }

    pub fn end(&self) {
        if let Some(context) = &self.0 {
            context.span().end();
        }
    }
}
