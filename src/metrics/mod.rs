//! Every series of the [`catalogue`], as a handle.
//!
//! Labels come from the configuration and from closed lists only, so the number of series is known from
//! the configuration. Never a phone number, an id, a path or the text of an error. A scrape reads numbers: it asks no
//! store, and takes no lock for which a call would wait.

mod callbacks;
mod callers;
mod calls;
pub mod catalogue;
mod declare;
mod families;
mod keyed;
mod limits;
pub mod recent;
pub mod sums;

use std::fmt;

use prometheus::{
    Encoder, Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Registry, TextEncoder,
};

use declare::Declare;
use families::Family;
use recent::Recent;

pub use callbacks::Callbacks;
pub use callers::{Callers, Row};
pub use calls::{CallCounts, Caller};
pub use keyed::{KeyOutcome, Keyed};
pub use limits::{BreakerSeries, LimitSeries, LimitedBy, Limits};

/// All series of one gateway. Cheap to share behind an `Arc`; every method is lock free or nearly so.
pub struct Metrics {
    registry: Registry,
    /// Those with labels.
    families: Vec<Family>,
    /// Calls that ended, by who is to blame: `none`, `program`, `gateway`, `platform`.
    pub calls: Callers,
    /// The same calls by operation.
    pub operation_calls: IntCounterVec,
    /// Calls that left and got no answer.
    pub unknown_outcomes: IntCounterVec,
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
    /// Configurations that were read while the gateway ran, by what became of them.
    pub config_reloads: IntCounterVec,
    /// Whether the last of them serves.
    pub config_successful: IntGauge,
    /// When the one that serves was read, in seconds since 1970.
    pub config_timestamp: IntGauge,
    /// Upgrades, by what became of them.
    pub upgrades: IntCounterVec,
    /// What limits calls.
    pub limits: Limits,
    /// Callbacks, the inbox and deliveries.
    pub callbacks: Callbacks,
    /// Calls with an idempotency key.
    pub keyed: Keyed,
    /// The last failures, which are no series.
    pub recent: Recent,
}

impl Metrics {
    /// Declares every series.
    ///
    /// # Errors
    /// Only when a declaration and the catalogue disagree, which a test would show.
    pub fn try_new() -> prometheus::Result<Self> {
        let registry = Registry::new();
        let declare = Declare::new(&registry);
        let mut metrics = Self {
            families: Vec::new(),
            calls: declare.callers("calls_total")?,
            operation_calls: declare.counters("operation_calls_total")?,
            unknown_outcomes: declare.counters("unknown_outcomes_total")?,
            refusals: declare.counters("refusals_total")?,
            answers: declare.counters("answers_total")?,
            body_codes: declare.counters("body_codes_total")?,
            call_seconds: declare.histogram("call_seconds")?,
            phase_seconds: declare.histograms("phase_seconds")?,
            calls_in_flight: declare.gauge("calls_in_flight")?,
            replays: declare.counters("replays_total")?,
            token_refreshes: declare.counters("token_refreshes_total")?,
            token_expiry: declare.gauges("token_expiry_timestamp_seconds")?,
            crypto_failures: declare.counters("crypto_failures_total")?,
            upstream_connections: declare.counters("upstream_connections_total")?,
            memory_in_use: declare.gauge("memory_in_use_bytes")?,
            memory_budget: declare.gauge("memory_budget_bytes")?,
            log_dropped: declare.counter("log_lines_dropped_total")?,
            config_reloads: declare.counters("config_reload_total")?,
            config_successful: declare.gauge("config_last_reload_successful")?,
            config_timestamp: declare.gauge("config_last_reload_success_timestamp_seconds")?,
            upgrades: declare.counters("upgrades_total")?,
            limits: Limits::try_new(&declare)?,
            callbacks: Callbacks::try_new(&declare)?,
            keyed: Keyed::try_new(&declare)?,
            recent: Recent::default(),
            registry: registry.clone(),
        };
        let build = declare.gauges("build_info")?;
        build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        if let [missing, ..] = *declare.missing() {
            return Err(prometheus::Error::Msg(format!("{missing} stands in the catalogue and nobody declares it")));
        }
        metrics.families = declare.families();
        // Words that are rare are there from the start, or their first time would look like none.
        let rare = [
            ("refusals_total", &metrics.refusals),
            ("config_reload_total", &metrics.config_reloads),
            ("upgrades_total", &metrics.upgrades),
        ];
        for (name, family) in rare {
            for label in catalogue::find(name).map_or(&[][..], |series| series.labels) {
                if let catalogue::Values::Closed(words) = label.values {
                    words.iter().for_each(|word| drop(family.with_label_values(&[word])));
                }
            }
        }
        registry.register(Box::new(prometheus::process_collector::ProcessCollector::for_self()))?;
        Ok(metrics)
    }

    /// A configuration was read while the gateway ran, at `now` in seconds since 1970; `outcome` is one of the label's
    /// values.
    pub fn config_reloaded(&self, outcome: &'static str, now: u64) {
        self.config_reloads.with_label_values(&[outcome]).inc();
        match outcome {
            "ok" => self.config_serves(now),
            _ => self.config_successful.set(0),
        }
    }

    /// A new binary was to take over; `outcome` is one of the label's values.
    pub fn upgraded(&self, outcome: &'static str) {
        self.upgrades.with_label_values(&[outcome]).inc();
    }

    /// A configuration serves since `now`, in seconds since 1970.
    pub fn config_serves(&self, now: u64) {
        self.config_successful.set(1);
        self.config_timestamp.set(now as i64);
    }

    /// The series of one account that every call touches, found once.
    pub fn account(&self, account: &str) -> AccountSeries {
        // Rare, so they are there from the start, or their first time would look like none.
        drop(self.replays.with_label_values(&[account]));
        if let Some([_, reasons]) = catalogue::find("crypto_failures_total").map(|series| series.labels)
            && let catalogue::Values::Closed(reasons) = reasons.values
        {
            reasons.iter().for_each(|reason| drop(self.crypto_failures.with_label_values(&[account, reason])));
        }
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

#[cfg(test)]
mod tests {
    use super::catalogue::{ALL, Configured, Kind, PREFIX, Values};
    use super::*;

    const PAGE: &str = include_str!("../../docs/metrics.md");

    /// What `/metrics` shows from the start as (name, type), without our prefix's series that have no labels yet.
    fn process() -> Vec<(String, String)> {
        let registry = Metrics::try_new().expect("the catalogue is declared").registry;
        let all = registry.gather().into_iter();
        let all = all.map(|family| (family.name().to_owned(), format!("{:?}", family.get_field_type()).to_lowercase()));
        all.filter(|(name, _)| !name.starts_with(PREFIX)).collect()
    }

    #[test]
    fn the_page_is_the_catalogue() {
        let mut listed: Vec<_> = PAGE.lines().filter(|line| line.starts_with("| `")).collect();
        let rows = ALL.iter().map(|series| {
            let labels: Vec<_> = series.labels.iter().map(|label| format!("`{}`", label.name)).collect();
            let row = format!("| `{PREFIX}{}` | {} | {} |", series.name, series.kind.as_str(), labels.join(", "));
            format!("{} {} |", row.replace("|  |", "| |"), series.help)
        });
        for row in rows {
            let at = listed.iter().position(|line| **line == row);
            listed.remove(at.unwrap_or_else(|| panic!("docs/metrics.md lacks this row:\n{row}")));
        }
        for (name, kind) in process() {
            let at = listed.iter().position(|line| line.starts_with(&format!("| `{name}` | {kind} |")));
            listed.remove(at.unwrap_or_else(|| panic!("docs/metrics.md lacks {name}")));
        }
        assert_eq!(listed, [""; 0], "docs/metrics.md lists what nobody shows");
    }

    #[test]
    fn the_page_lists_every_value_of_every_closed_label() {
        let (_, values) = PAGE.split_once("## Values of labels").expect("the section");
        for label in ALL.iter().flat_map(|series| series.labels) {
            assert!(
                values.contains(&format!("`{}`", label.name)),
                "docs/metrics.md does not say what {} is",
                label.name
            );
            if let Values::Closed(words) = label.values {
                let page = if words.contains(&"answer_cut") { include_str!("../../docs/errors.md") } else { values };
                for word in words {
                    assert!(page.contains(&format!("`{word}`")), "no page explains {}={word}", label.name);
                }
            }
        }
    }

    #[test]
    fn names_end_with_a_base_unit_and_only_counters_with_total() {
        for series in ALL {
            let name = series.name.strip_suffix("_total");
            assert_eq!(name.is_some(), matches!(series.kind, Kind::Counter), "{}", series.name);
            let name = name.unwrap_or(series.name);
            let small = ["_ms", "_us", "_millis", "_kib", "_mib", "_percent", "_minutes", "_ratio"];
            assert!(!small.iter().any(|unit| name.ends_with(unit)), "{name}: seconds and bytes only");
            assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{name}");
            assert!(series.help.ends_with('.'), "{name}: its help is a sentence");
            if let Kind::Histogram(bounds) = series.kind {
                assert!(name.ends_with("_seconds") && bounds.is_sorted(), "{name}");
            }
        }
    }

    /// A large installation with every combination of labels that could ever be counted.
    #[test]
    fn a_large_configuration_has_at_most_3000_series() {
        let names = |of: Configured| match of {
            Configured::Programs => 20 + 1,
            Configured::Accounts => 2 + 1,
            Configured::Operations => 30 + 2,
            Configured::Sources => 5 + 1,
            Configured::Receivers => 5,
            Configured::Version => 1,
        };
        let values = |values: Values| match values {
            Values::Configured(of) => names(of),
            Values::Closed(words) => words.len(),
        };
        let of = |series: &catalogue::Series| {
            series.kind.samples() * series.labels.iter().map(|label| values(label.values)).product::<usize>()
        };
        let mut largest: Vec<_> = ALL.iter().map(|series| (of(series), series.name)).collect();
        largest.sort_by(|a, b| b.cmp(a));
        let all = largest.iter().map(|(count, _)| count).sum::<usize>() + process().len();
        assert!(all <= 3000, "{all} series, the largest families are {:?}", &largest[..5]);
    }

    #[test]
    fn series_go_with_the_names_in_their_labels_and_the_rest_stays() {
        let metrics = Metrics::try_new().expect("the catalogue is declared");
        for (program, account) in [("a", "main"), ("b", "main"), ("a", "former"), ("-", "-"), ("-", "former")] {
            metrics.calls.row(program, account).add("none", 1);
        }
        metrics.limits.account("former").limited(LimitedBy::Queue);
        metrics.callbacks.attempt_seconds.with_label_values(&["former"]).observe(1.0);
        metrics.callbacks.entries.with_label_values(&["former", "waiting"]).set(1);
        metrics.callbacks.entries.with_label_values(&["former", "dead"]).set(0);
        metrics.refusals.with_label_values(&["internal"]).inc();
        metrics.retain(|of, name| name == "main" || of == Configured::Programs && name == "a");
        let text = String::from_utf8(metrics.encode()).expect("text");
        let calls: Vec<_> =
            text.lines().filter(|line| line.contains("_calls_total{") && line.contains("program")).collect();
        assert_eq!(calls.len(), 2 * callers::FAULTS.len(), "{calls:?}");
        let gone: Vec<_> = text.lines().filter(|line| line.contains("\"former\"")).collect();
        assert_eq!(gone, ["airudder_gateway_inbox_entries{receiver=\"former\",state=\"waiting\"} 1"]);
        assert!(text.contains("airudder_gateway_refusals_total{outcome=\"internal\"} 1"));
    }

    #[test]
    fn every_series_can_be_written() {
        let metrics = Metrics::try_new().expect("the catalogue is declared");
        metrics.calls.row("-", "main").add("none", 1);
        let text = String::from_utf8(metrics.encode()).expect("text");
        assert!(text.contains(r#"airudder_gateway_calls_total{account="main",fault="none",program="-"} 1"#));
        assert!(text.contains("airudder_gateway_build_info{version="));
        assert!(text.contains("process_cpu_seconds_total"));
    }
}
