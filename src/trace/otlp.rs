//! Spans on their way to a collector: OTLP over HTTP, by the OpenTelemetry SDK.
//!
//! Its thread sends in batches. What it has no room for is dropped, and a collector that is away costs spans and nothing
//! else. Only traces that their program records are told of, so it is the programs that decide how many.

use std::sync::OnceLock;
use std::time::{Duration, SystemTime};

use opentelemetry::trace::{
    Span as _, SpanBuilder, SpanContext, SpanId, SpanKind, Status, TraceContextExt as _, TraceFlags, TraceId,
    TraceState, Tracer as _, TracerProvider as _,
};
use opentelemetry::{Context, KeyValue};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{Sampler, SdkTracer, SdkTracerProvider};

use super::{CallSpan, TraceParent};
use crate::clock;

/// How long the collector may take for a batch.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Where spans are made; empty until [`start`].
static TRACER: OnceLock<SdkTracer> = OnceLock::new();

/// Sends what is left when it is dropped.
#[derive(Debug)]
pub(super) struct Export(SdkTracerProvider);

impl Drop for Export {
    fn drop(&mut self) {
        if let Err(error) = self.0.shutdown_with_timeout(TIMEOUT) {
            tracing::warn!(reason = reason(&error.to_string()), "the last spans did not reach the collector");
        }
    }
}

/// Why, without what the collector said.
fn reason(error: &str) -> &'static str {
    if error.to_ascii_lowercase().contains("time") { "timeout" } else { "failed" }
}

pub(super) fn start(url: &str) -> Result<Export, String> {
    let exporter = SpanExporter::builder()
        .with_http()
        .with_protocol(Protocol::HttpBinary)
        .with_endpoint(url)
        .with_timeout(TIMEOUT);
    let exporter =
        exporter.build().map_err(|error| format!("spans cannot be exported ({error}); correct log.traces"))?;
    let provider = SdkTracerProvider::builder()
        .with_batch_exporter(exporter)
        .with_sampler(Sampler::ParentBased(Box::new(Sampler::AlwaysOff)))
        .with_resource(
            Resource::builder_empty()
                .with_service_name("airudder-gateway")
                .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
                .build(),
        )
        .build();
    let tracer = provider.tracer("airudder-gateway");
    TRACER.set(tracer).map_err(|_| "the export of spans was started twice".to_owned())?;
    Ok(Export(provider))
}

pub(super) fn call<'a>(parent: &TraceParent, span: impl FnOnce() -> CallSpan<'a>) {
    let Some(tracer) = TRACER.get().filter(|_| parent.is_sampled()) else { return };
    let CallSpan { request_id, program, account, operation, status, outcome, fault, took, phases } = span();
    let ended = SystemTime::UNIX_EPOCH + Duration::from_millis(clock::wall_millis());
    let text = |key: &'static str, value: &str| KeyValue::new(key, value.to_owned());
    let mut attributes = vec![
        text("airudder.request_id", request_id),
        text("airudder.program", program),
        text("airudder.account", account),
        text("airudder.operation", operation),
        text("airudder.outcome", outcome),
        text("airudder.fault", fault),
        KeyValue::new("http.response.status_code", i64::from(status)),
    ];
    attributes.extend(phases.into_iter().map(|(name, took)| {
        KeyValue::new(format!("airudder.{name}_us"), i64::try_from(took.as_micros()).unwrap_or(i64::MAX))
    }));
    let status = if fault == "none" { Status::Unset } else { Status::error(outcome) };
    let span = SpanBuilder::from_name(operation.to_owned())
        .with_kind(SpanKind::Server)
        .with_start_time(ended - took)
        .with_attributes(attributes);
    let (trace, parent) = parent.ids();
    let flags = TraceFlags::SAMPLED;
    let parent = SpanContext::new(TraceId::from(trace), SpanId::from(parent), flags, true, TraceState::NONE);
    let mut span = tracer.build_with_context(span, &Context::new().with_remote_span_context(parent));
    span.set_status(status);
    span.end_with_timestamp(ended);
}
