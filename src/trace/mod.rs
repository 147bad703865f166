//! Traces: which one a call belongs to (`parent`), and, in a gateway built with the feature `otlp`, its span on the way to a
//! collector (`otlp`).
//!
//! A span has names, a status and times, as the log line of the call has. It has no field for a body, a query, a token or a
//! phone number, and a call never waits for a collector.

#[cfg(feature = "otlp")]
mod otlp;
mod parent;

use std::time::Duration;

pub(crate) use parent::{TRACEPARENT, TraceParent};

/// One call as a span of its program's trace.
#[derive(Debug)]
#[cfg_attr(not(feature = "otlp"), expect(dead_code, reason = "nobody is told"))]
pub(crate) struct CallSpan<'a> {
    pub(crate) request_id: &'a str,
    pub(crate) program: &'a str,
    pub(crate) account: &'a str,
    pub(crate) operation: &'a str,
    pub(crate) status: u16,
    pub(crate) outcome: &'static str,
    /// Whose fault it was; `none` when it went well.
    pub(crate) fault: &'static str,
    /// Until now.
    pub(crate) took: Duration,
    /// The parts of a call, those that took time.
    pub(crate) phases: Vec<(&'static str, Duration)>,
}

/// Where spans go: a handle that sends what is left when it is dropped.
#[must_use = "dropping it ends the export"]
#[derive(Debug)]
pub struct Export {
    #[cfg(feature = "otlp")]
    _export: otlp::Export,
}

/// Starts the export for the whole process: OTLP over HTTP in protobuf, to this URL. `None`: this gateway was built without it.
///
/// # Errors
/// A sentence: it cannot be started.
#[cfg(feature = "otlp")]
pub fn start(url: &str) -> Result<Option<Export>, String> {
    otlp::start(url).map(|export| Some(Export { _export: export }))
}

/// As above, in a gateway that was built without.
///
/// # Errors
/// Never.
#[cfg(not(feature = "otlp"))]
pub fn start(_: &str) -> Result<Option<Export>, String> {
    Ok(None)
}

/// Tells of a call that ended now, if its program records the trace. It costs nothing where nothing is exported.
#[cfg_attr(not(feature = "otlp"), expect(unused_variables, reason = "there is nobody to tell"))]
pub(crate) fn call<'a>(parent: &TraceParent, span: impl FnOnce() -> CallSpan<'a>) {
    #[cfg(feature = "otlp")]
    otlp::call(parent, span);
}
