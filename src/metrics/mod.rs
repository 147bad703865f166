//! Every series, declared once, as a handle.
//!
//! Labels come from the configuration and from closed enums only, so the number of series is known from
//! the configuration. Never a phone number, an id, a path or the text of an error. Reading a scrape takes
//! no lock that a call takes.

mod callbacks;
mod limits;
pub mod recent;
pub mod sums;

use std::fmt;

use prometheus::{
    Encoder, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
    TextEncoder,
};

pub use callbacks::Callbacks;
pub use limits::{BreakerSeries, LimitSeries, LimitedBy, Limits};
use recent::Recent;

/// Seconds, from what the gateway itself takes to the longest answer it waits for (150 s).
const SECONDS: &[f64] = &[
    0.000_005, 0.000_025, 0.000_1, 0.000_25, 0.001, 0.002_5, 0.01, 0.025, 0.1, 0.25, 1.0, 2.5, 10.0, 30.0, 60.0, 150.0,
];

/// All series of one gateway. Cheap to share behind an `Arc`; every method is lock free or nearly so.
pub struct Metrics {
    registry: Registry,
    /// Calls that ended, by who is to blame: `none`, `program`, `gateway`, `platform`.
    pub calls: IntCounterVec,
    /// Answers that the gateway wrote itself, by stable word.
    pub refusals: IntCounterVec,
    /// Answers of the platform by status class.
    pub answers: IntCounterVec,
    /// Answers of the platform by the code in their body.
    pub body_codes: IntCounterVec,
    /// From the first byte of a call to the last byte of its answer.
    pub call_seconds: Histogram,
    /// Parts of a call.
    pub phase_seconds: HistogramVec,
    /// Calls between the first byte and the last.
    pub calls_in_flight: IntGauge,
    /// Calls sent once more with a fresh token.
    pub replays: IntCounterVec,
    /// Logins that ended, by outcome.
    pub token_refreshes: IntCounterVec,
    /// When the held token ends; 0 when none is held.
    pub token_expiry: IntGaugeVec,
    /// Answers that could not be opened, by reason.
    pub crypto_failures: IntCounterVec,
    /// Connections to the platform, by how they came about.
    pub upstream_connections: IntCounterVec,
    /// Bytes of the memory budget in use.
    pub memory_in_use: IntGauge,
    /// Size of the memory budget.
    pub memory_budget: IntGauge,
    /// Log lines that were dropped because the output was stuck.
    pub log_dropped: IntCounter,
    /// What limits calls.
    pub limits: Limits,
    /// Callbacks, the inbox and deliveries.
    pub callbacks: Callbacks,
    /// The last failures, which are no series.
    pub recent: Recent,
}

impl Metrics {
    /// Declares every series.
    ///
    /// # Errors
    /// Only when two declarations below clash, which a test would show.
    pub fn try_new() -> prometheus::Result<Self> {
        let registry = Registry::new();
        let declare = Declare(&registry);
        let metrics = Self {
            calls: declare.counters(
                "calls_total",
                "Calls that ended, by whose fault it was when they failed.",
                &["program", "account", "operation", "fault"],
            )?,
            refusals: declare.counters(
                "refusals_total",
                "Answers the gateway wrote itself, by stable word.",
                &["outcome"],
            )?,
            answers: declare.counters(
                "answers_total",
                "Answers of the platform by status class.",
                &["account", "code"],
            )?,
            body_codes: declare.counters(
                "body_codes_total",
                "Answers of the platform by the code in their body: ok, failing, or none readable.",
                &["account", "outcome"],
            )?,
            call_seconds: declare
                .histogram("call_seconds", "From the first byte of a call to the last of its answer.")?,
            phase_seconds: declare.histograms("phase_seconds", "Time a call spent in one phase.", &["phase"])?,
            calls_in_flight: declare.gauge("calls_in_flight", "Calls between their first byte and their last.")?,
            replays: declare.counters("replays_total", "Calls sent once more with a fresh token.", &["account"])?,
            token_refreshes: declare.counters(
                "token_refreshes_total",
                "Logins that ended, by outcome: ok or the reason.",
                &["account", "family", "outcome"],
            )?,
            token_expiry: declare.gauges(
                "token_expiry_timestamp_seconds",
                "When the held token ends, in seconds since 1970; 0 when none is held.",
                &["account", "family"],
            )?,
            crypto_failures: declare.counters(
                "crypto_failures_total",
                "Answers of the platform that could not be opened.",
                &["account", "reason"],
            )?,
            upstream_connections: declare.counters(
                "upstream_connections_total",
                "Connections to the platform: new, reused, replaced (found closed), or failed.",
                &["account", "outcome"],
            )?,
            memory_in_use: declare
                .gauge("memory_in_use_bytes", "Bytes of held bodies and answers that are reserved.")?,
            memory_budget: declare.gauge("memory_budget_bytes", "Most bytes that may be reserved.")?,
            log_dropped: declare
                .counter("log_lines_dropped_total", "Log lines dropped because the output was stuck.")?,
            limits: Limits::try_new(&declare)?,
            callbacks: Callbacks::try_new(&declare)?,
            recent: Recent::default(),
            registry: registry.clone(),
        };
        let build = declare.gauges("build_info", "Always 1; the version is the label.", &["version"])?;
        build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        registry.register(Box::new(prometheus::process_collector::ProcessCollector::for_self()))?;
        Ok(metrics)
    }

    /// The series of one account that every call touches, found once.
    pub fn account(&self, account: &str) -> AccountSeries {
        AccountSeries {
            answers: ["1xx", "2xx", "3xx", "4xx", "5xx"].map(|code| self.answers.with_label_values(&[account, code])),
            body_codes: ["ok", "failing", "none"].map(|outcome| self.body_codes.with_label_values(&[account, outcome])),
            connections: ["new", "reused", "replaced", "failed"]
                .map(|outcome| self.upstream_connections.with_label_values(&[account, outcome])),
        }
    }

    /// The histograms of the phases, in the order of `names`.
    pub fn phases<const N: usize>(&self, names: [&str; N]) -> [Histogram; N] {
        names.map(|name| self.phase_seconds.with_label_values(&[name]))
    }

    /// The exposition text, version 0.0.4.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(32 * 1024);
        if let Err(error) = TextEncoder::new().encode(&self.registry.gather(), &mut out) {
            tracing::error!(%error, "the metrics could not be written");
        }
        out
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

/// The series of one account that every call touches.
#[derive(Debug)]
pub struct AccountSeries {
    answers: [IntCounter; 5],
    body_codes: [IntCounter; 3],
    connections: [IntCounter; 4],
}

/// How a connection to the platform came about.
#[derive(Debug, Clone, Copy)]
pub enum ConnectionOutcome {
    /// Made for this call.
    New,
    /// Taken from the pool.
    Reused,
    /// Found closed, and another one was used.
    Replaced,
    /// Not made.
    Failed,
}

impl AccountSeries {
    /// An answer of the platform with this HTTP status.
    pub fn answered(&self, status: u16) {
        self.answers[usize::from((status / 100).clamp(1, 5)) - 1].inc();
    }

    /// What the code in an answer's body said; `None` when there was none to read.
    pub fn body_code(&self, code: Option<i64>) {
        let outcome = match code {
            Some(0 | 200) => 0,
            Some(_) => 1,
            None => 2,
        };
        self.body_codes[outcome].inc();
    }

    /// A connection was made, taken, replaced, or not to be had.
    pub fn connected(&self, outcome: ConnectionOutcome) {
        self.connections[outcome as usize].inc();
    }
}

/// Declares and registers under the product's prefix.
struct Declare<'a>(&'a Registry);

impl Declare<'_> {
    fn opts(name: &str, help: &str) -> Opts {
        Opts::new(format!("airudder_gateway_{name}"), help)
    }

    fn counter(&self, name: &str, help: &str) -> prometheus::Result<IntCounter> {
        let metric = IntCounter::with_opts(Self::opts(name, help))?;
        self.0.register(Box::new(metric.clone()))?;
        Ok(metric)
    }

    fn counters(&self, name: &str, help: &str, labels: &[&str]) -> prometheus::Result<IntCounterVec> {
        let metric = IntCounterVec::new(Self::opts(name, help), labels)?;
        self.0.register(Box::new(metric.clone()))?;
        Ok(metric)
    }

    fn gauge(&self, name: &str, help: &str) -> prometheus::Result<IntGauge> {
        let metric = IntGauge::with_opts(Self::opts(name, help))?;
        self.0.register(Box::new(metric.clone()))?;
        Ok(metric)
    }

    fn gauges(&self, name: &str, help: &str, labels: &[&str]) -> prometheus::Result<IntGaugeVec> {
        let metric = IntGaugeVec::new(Self::opts(name, help), labels)?;
        self.0.register(Box::new(metric.clone()))?;
        Ok(metric)
    }

    fn histogram(&self, name: &str, help: &str) -> prometheus::Result<Histogram> {
        let metric = Histogram::with_opts(HistogramOpts::from(Self::opts(name, help)).buckets(SECONDS.to_vec()))?;
        self.0.register(Box::new(metric.clone()))?;
        Ok(metric)
    }

    fn histograms(&self, name: &str, help: &str, labels: &[&str]) -> prometheus::Result<HistogramVec> {
        self.histograms_in(name, help, labels, SECONDS)
    }

    /// With buckets of its own, in the series' unit.
    fn histograms_in(
        &self,
        name: &str,
        help: &str,
        labels: &[&str],
        buckets: &[f64],
    ) -> prometheus::Result<HistogramVec> {
        let opts = HistogramOpts::from(Self::opts(name, help)).buckets(buckets.to_vec());
        let metric = HistogramVec::new(opts, labels)?;
        self.0.register(Box::new(metric.clone()))?;
        Ok(metric)
    }
}

#[cfg(test)]
mod tests {
    use prometheus::core::Collector;
    use prometheus::proto::MetricFamily;

    use super::*;

    /// Every family as `name`, type and labels, in the order of names. A field that is missing here does not compile.
    fn declared(metrics: &Metrics) -> Vec<String> {
        let Metrics {
            registry,
            calls,
            refusals,
            answers,
            body_codes,
            call_seconds,
            phase_seconds,
            calls_in_flight,
            replays,
            token_refreshes,
            token_expiry,
            crypto_failures,
            upstream_connections,
            memory_in_use,
            memory_budget,
            log_dropped,
            limits,
            callbacks,
            recent: _,
        } = metrics;
        let Limits { rate, cuts, waiting, limited, breaker } = limits;
        let Callbacks {
            received,
            unopened,
            acknowledge_seconds,
            bytes,
            time_to_loss,
            lost,
            inbox_up,
            sync_seconds,
            entries,
            oldest_seconds,
            inbox_bytes,
            inbox_max_bytes,
            corrupt,
            purged,
            quarantined,
            attempts,
            attempt_seconds,
            delivery_seconds,
            dead,
        } = callbacks;
        let ours: [&dyn Collector; 39] = [
            calls,
            refusals,
            answers,
            body_codes,
            call_seconds,
            phase_seconds,
            calls_in_flight,
            replays,
            token_refreshes,
            token_expiry,
            crypto_failures,
            upstream_connections,
            memory_in_use,
            memory_budget,
            log_dropped,
            rate,
            cuts,
            waiting,
            limited,
            breaker,
            received,
            unopened,
            acknowledge_seconds,
            bytes,
            time_to_loss,
            lost,
            inbox_up,
            sync_seconds,
            entries,
            oldest_seconds,
            inbox_bytes,
            inbox_max_bytes,
            corrupt,
            purged,
            quarantined,
            attempts,
            attempt_seconds,
            delivery_seconds,
            dead,
        ];
        let row = |family: &MetricFamily, labels: Vec<&str>| {
            let labels: Vec<_> = labels.iter().map(|label| format!("`{label}`")).collect();
            let kind = format!("{:?}", family.get_field_type()).to_lowercase();
            format!("| `{}` | {kind} | {}", family.name(), labels.join(", ")).trim_end().to_owned()
        };
        // A vector without a value is not gathered, so its description is asked; the rest has no field.
        let mut rows: Vec<_> = ours
            .iter()
            .flat_map(|collector| collector.collect().into_iter().zip(collector.desc()))
            .map(|(family, desc)| row(&family, desc.variable_labels.iter().map(String::as_str).collect()))
            .collect();
        for family in registry.gather() {
            let labels = family.get_metric().first().map_or(Vec::new(), |metric| {
                metric.get_label().iter().map(prometheus::proto::LabelPair::name).collect()
            });
            rows.push(row(&family, labels));
        }
        rows.sort();
        rows.dedup();
        rows
    }

    #[test]
    fn the_page_lists_every_series_and_no_other() {
        let metrics = Metrics::try_new().expect("no two declarations clash");
        let page = include_str!("../../docs/metrics.md");
        let rows = page.lines().filter(|line| line.starts_with("| `"));
        let columns = |line: &str| line.split(" |").take(3).collect::<Vec<_>>().join(" |");
        let mut listed: Vec<_> = rows.map(columns).collect();
        listed.sort();
        assert_eq!(listed, declared(&metrics));
    }

    #[test]
    fn every_series_can_be_declared_and_written() {
        let metrics = Metrics::try_new().expect("no two declarations clash");
        metrics.calls.with_label_values(&["-", "main", "task.create", "none"]).inc();
        let text = String::from_utf8(metrics.encode()).expect("text");
        assert!(text.contains(
            "airudder_gateway_calls_total{account=\"main\",fault=\"none\",operation=\"task.create\",program=\"-\"} 1"
        ));
        assert!(text.contains("airudder_gateway_build_info{version="));
        assert!(text.contains("process_cpu_seconds_total"));
    }
}
