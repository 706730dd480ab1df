//! Traces on their way to a collector: OTLP over HTTP, protobuf.
//!
//! Invariants:
//! - a request never waits: spans go into a queue of a fixed size, and what does not fit is dropped and counted;
//! - a collector that is away is told of once, until it answers again;
//! - whether a trace is kept whole is decided as it begins, for all its processes. Of the others those spans are kept that
//!   failed or were slow, each by itself: what its neighbours were is not known any more.

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use host::{Context, StartError};
use opentelemetry::trace::{Link, SpanContext, SpanKind, Status, TraceContextExt, TraceFlags, TraceId};
use opentelemetry::{KeyValue, global};
use opentelemetry_http::{HttpClient, HttpError};
use opentelemetry_otlp::{WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{
    BatchConfigBuilder, BatchSpanProcessor, SamplingDecision, SamplingResult, SdkTracerProvider,
    ShouldSample, Span, SpanData, SpanExporter, SpanProcessor,
};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use rtc_metrics::TRACE_SPANS;
use tokio::runtime::Handle;

/// Spans that wait for the collector; more are dropped.
const QUEUE_MAX: usize = 16_384;
const BATCH_MAX: usize = 512;
const EVERY: Duration = Duration::from_secs(1);
const TIMEOUT: Duration = Duration::from_secs(5);
/// What is left of the queue has so long at the end.
const LEAVE_WITHIN: Duration = Duration::from_secs(2);

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ResultLabel {
    result: &'static str,
}

/// Traces that are on; the queue is emptied when it is [closed](Traces::close).
pub struct Traces(Option<SdkTracerProvider>);

/// Begins to make spans, where the configuration names a collector. Once in a process.
pub fn begin(context: &Context, services: &str) -> Result<Traces, StartError> {
    let settings = &context.config.telemetry;
    if settings.otlp_endpoint.is_empty() {
        return Ok(Traces(None));
    }
    let spans: Family<ResultLabel, Counter> = Family::default();
    context.with_metrics(|registry| registry.register(TRACE_SPANS.family(), TRACE_SPANS.help, spans.clone()));
    let failed =
        |error: &dyn std::fmt::Display| StartError::Config(format!("telemetry.otlp_endpoint: {error}"));
    let client = reqwest::Client::builder().timeout(TIMEOUT).build().map_err(|error| failed(&error))?;
    let exporter = opentelemetry_otlp::SpanExporter::builder()
        .with_http()
        .with_http_client(Client { runtime: Handle::current(), client })
        .with_endpoint(format!("{}/v1/traces", settings.otlp_endpoint.trim_end_matches('/')))
        .with_timeout(TIMEOUT)
        .build()
        .map_err(|error| failed(&error))?;
    let waiting: Arc<AtomicUsize> = Arc::default();
    let exporter = Counting {
        inner: exporter,
        spans: spans.clone(),
        waiting: waiting.clone(),
        is_away: AtomicBool::new(false),
    };
    let config = BatchConfigBuilder::default()
        .with_max_queue_size(QUEUE_MAX)
        .with_max_export_batch_size(BATCH_MAX)
        .with_scheduled_delay(EVERY)
        .build();
    let batches = BatchSpanProcessor::builder(exporter).with_batch_config(config).build();
    let provider = SdkTracerProvider::builder()
        .with_sampler(Chosen)
        .with_span_processor(Keeping {
            inner: batches,
            slow: Duration::from_millis(settings.slow_ms),
            spans,
            waiting,
        })
        .with_resource(
            Resource::builder()
                .with_service_name(format!("rtcd.{services}"))
                .with_attributes([
                    KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
                    KeyValue::new("service.instance.id", context.instance.to_string()),
                ])
                .build(),
        )
        .build();
    global::set_tracer_provider(provider.clone());
    trace::switch_on(settings.sampling_ratio);
    let endpoint = host::masked_text(&settings.otlp_endpoint);
    tracing::info!(endpoint, ratio = settings.sampling_ratio, "traces are made");
    Ok(Traces(Some(provider)))
}

impl Traces {
    /// Gives the collector what waits, within a bounded time.
    pub async fn close(self) {
        if let Some(provider) = self.0 {
            let closing = tokio::task::spawn_blocking(move || provider.shutdown_with_timeout(LEAVE_WITHIN));
            if !matches!(closing.await, Ok(Ok(()))) {
                tracing::warn!("some spans did not reach the collector");
            }
        }
    }
}

/// The share of traces that is kept whole; the others are recorded, so that what failed of them can be kept.
#[derive(Debug, Clone)]
struct Chosen;

impl ShouldSample for Chosen {
    fn should_sample(
        &self,
        parent: Option<&opentelemetry::Context>,
        id: TraceId,
        _: &str,
        _: &SpanKind,
        _: &[KeyValue],
        _: &[Link],
    ) -> SamplingResult {
        let parent = parent.map(|parent| parent.span().span_context().clone());
        let (is_chosen, trace_state) = match parent {
            Some(parent) if parent.is_valid() => (parent.is_sampled(), parent.trace_state().clone()),
            _ => (trace::is_chosen(id), Default::default()),
        };
        let decision =
            if is_chosen { SamplingDecision::RecordAndSample } else { SamplingDecision::RecordOnly };
        SamplingResult { decision, attributes: Vec::new(), trace_state }
    }
}

/// Passes on what is sampled, and what failed or was slow.
#[derive(Debug)]
struct Keeping {
    inner: BatchSpanProcessor,
    slow: Duration,
    spans: Family<ResultLabel, Counter>,
    /// Spans that were handed on and have not been taken from the queue. The queue itself tells nobody what it drops: no
    /// more are handed on than it has room for.
    waiting: Arc<AtomicUsize>,
}

impl SpanProcessor for Keeping {
    fn on_start(&self, span: &mut Span, context: &opentelemetry::Context) {
        self.inner.on_start(span, context);
    }

    fn on_end(&self, mut span: SpanData) {
        if !span.span_context.is_sampled() {
            let has_failed = matches!(span.status, Status::Error { .. });
            let took = span.end_time.duration_since(span.start_time).unwrap_or_default();
            if !has_failed && took < self.slow {
                return;
            }
            let kept = if has_failed { "error" } else { "slow" };
            span.attributes.push(KeyValue::new("rtc.kept", kept));
            let context = &span.span_context;
            span.span_context = SpanContext::new(
                context.trace_id(),
                context.span_id(),
                TraceFlags::SAMPLED,
                context.is_remote(),
                context.trace_state().clone(),
            );
        }
        if self.waiting.fetch_add(1, Ordering::Relaxed) >= QUEUE_MAX {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
            self.spans.get_or_create(&ResultLabel { result: "dropped" }).inc();
            return;
        }
        self.inner.on_end(span);
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.inner.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}

/// Counts what the collector took and what it did not.
#[derive(Debug)]
struct Counting<E> {
    inner: E,
    spans: Family<ResultLabel, Counter>,
    waiting: Arc<AtomicUsize>,
    is_away: AtomicBool,
}

impl<E: SpanExporter> SpanExporter for Counting<E> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        self.waiting.fetch_sub(batch.len(), Ordering::Relaxed);
        let count = batch.len() as u64;
        let outcome = self.inner.export(batch).await;
        let result = if outcome.is_ok() { "exported" } else { "failed" };
        self.spans.get_or_create(&ResultLabel { result }).inc_by(count);
        let was_away = self.is_away.swap(outcome.is_err(), Ordering::Relaxed);
        match &outcome {
            Err(error) if !was_away => {
                tracing::warn!(%error, "the collector of traces does not take them; spans are dropped until it does");
            }
            Ok(()) if was_away => tracing::info!("the collector of traces takes them again"),
            _ => {}
        }
        outcome
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}

/// Sends batches on the runtime of the process: whoever exports them has a thread without one.
#[derive(Debug)]
struct Client {
    runtime: Handle,
    client: reqwest::Client,
}

#[async_trait]
impl HttpClient for Client {
    async fn send_bytes(&self, request: http::Request<Bytes>) -> Result<http::Response<Bytes>, HttpError> {
        let client = self.client.clone();
        let sent = self.runtime.spawn(async move {
            let (parts, body) = request.into_parts();
            let sending =
                client.request(parts.method, parts.uri.to_string()).headers(parts.headers).body(body).send();
            let answer = sending.await?;
            let status = answer.status();
            Ok::<_, reqwest::Error>((status, answer.bytes().await?))
        });
        let (status, body) = sent.await??;
        let mut response = http::Response::new(body);
        *response.status_mut() = status;
        Ok(response)
    }
}
