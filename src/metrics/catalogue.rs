//! The one table of every series: its name, what kind it is, its labels with the values they can have, its meaning.
//!
//! It is data and does nothing. `docs/metrics.md` is compared with it row by row, what a running gateway shows is compared
//! with it in every test that reads metrics, and how many series there can be is computed from it.

use Kind::{Counter, Gauge, Histogram};

/// In front of every name below; the series of the process (`process_*`) have the names that all exporters give them.
pub const PREFIX: &str = "airudder_gateway_";

/// One family of series.
#[derive(Debug)]
pub struct Series {
    /// Without [`PREFIX`]. It ends with the unit, which is a base unit, and with `_total` when it only grows.
    pub name: &'static str,
    /// What its samples are.
    pub kind: Kind,
    /// In the order in which whoever counts gives their values.
    pub labels: &'static [Label],
    /// What it says, a sentence.
    pub help: &'static str,
}

/// What the samples of a family are.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    /// A number that only grows until the next start.
    Counter,
    /// A number that goes up and down.
    Gauge,
    /// Observations, counted below each of these bounds, which are in the unit of the name.
    Histogram(&'static [f64]),
}

/// One label and what may stand in it.
#[derive(Debug, Clone, Copy)]
pub struct Label {
    /// Its name.
    pub name: &'static str,
    /// Its values.
    pub values: Values,
}

/// Where the values of a label come from. Never from a caller.
#[derive(Debug, Clone, Copy)]
pub enum Values {
    /// From the configuration: the names of these.
    Configured(Configured),
    /// These and no others.
    Closed(&'static [&'static str]),
}

/// What the configuration gives names to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Configured {
    /// `[[program]]`, and `-` while nobody is known.
    Programs,
    /// `[[account]]`, and `-` where none is known yet.
    Accounts,
    /// `[[operation]]` and those that are built in, `other`, and `-`.
    Operations,
    /// `[[source]]`, and `-` for what no source was known for.
    Sources,
    /// `[[receiver]]`, and those of earlier configurations for whom something waits.
    Receivers,
    /// One value: the version.
    Version,
}

/// Seconds, from what the gateway itself takes to the longest answer it waits for (150 s).
const SECONDS: &[f64] = &[
    0.000_005, 0.000_025, 0.000_1, 0.000_25, 0.001, 0.002_5, 0.01, 0.025, 0.1, 0.25, 1.0, 2.5, 10.0, 30.0, 60.0, 150.0,
];

/// Seconds from acceptance to delivery: from a healthy receiver to one that was down for the whole retention.
const LONG: &[f64] =
    &[0.005, 0.025, 0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 1800.0, 7200.0, 21_600.0, 86_400.0, 604_800.0, 1_209_600.0];

const fn configured(name: &'static str, of: Configured) -> Label {
    Label { name, values: Values::Configured(of) }
}

const fn closed(name: &'static str, values: &'static [&'static str]) -> Label {
    Label { name, values: Values::Closed(values) }
}

const PROGRAM: Label = configured("program", Configured::Programs);
const ACCOUNT: Label = configured("account", Configured::Accounts);
const OPERATION: Label = configured("operation", Configured::Operations);
const SOURCE: Label = configured("source", Configured::Sources);
const RECEIVER: Label = configured("receiver", Configured::Receivers);
const FAULT: Label = closed("fault", &["none", "program", "gateway", "platform"]);
const PHASE: Label = closed("phase", &["limit_wait", "token", "seal", "connect", "platform", "open", "deliver"]);
const CLASS: Label = closed("code", &["1xx", "2xx", "3xx", "4xx", "5xx"]);
const BODY_CODE: Label = closed("outcome", &["ok", "failing", "none"]);
const FAMILY: Label = closed("family", &["cloud", "call_centre"]);
const NOTED: Label = closed("outcome", &["written", "dropped"]);
const LIMIT: Label = closed("limit", &["program", "operation", "account", "pause", "concurrency", "queue", "deadline"]);
const BREAKER: Label = closed("state", &["closed", "open", "probing"]);
const CONNECTION: Label = closed("outcome", &["new", "reused", "replaced", "failed"]);
const LISTENER: Label = closed("listener", &["inbound"]);
const UPGRADE: Label = closed("outcome", &["ok", "refused"]);
const RELOAD: Label = closed("outcome", &["ok", "invalid", "restart", "internal"]);
const DEAD: Label = closed("reason", &["gone", "buried", "expired", "unreadable"]);
const REFUSAL: Label = closed(
    "outcome",
    &[
        "bad_request",
        "already_sealed",
        "body_not_sealable",
        "body_incomplete",
        "bad_deadline",
        "bad_idempotency_key",
        "idempotency_key_missing",
        "unknown_account",
        "unknown_program",
        "token_invalid",
        "token_expired",
        "login_refused",
        "operation_not_allowed",
        "method_refused",
        "header_timeout",
        "body_timeout",
        "body_too_large",
        "header_too_large",
        "idempotency_key_in_use",
        "already_sent",
        "answer_not_kept",
        "idempotency_key_reused",
        "limited",
        "internal",
        "token_unavailable",
        "token_refused",
        "upstream_unreachable",
        "upstream_untrusted",
        "upstream_failed",
        "outcome_unknown",
        "answer_unreadable",
        "answer_too_large",
        "answer_cut",
        "busy",
        "keys_unavailable",
        "upgrading",
        "breaker_open",
        "upstream_timeout",
    ],
);
const LOGIN: Label = closed(
    "outcome",
    &[
        "ok",
        "withheld",
        "unreachable",
        "untrusted",
        "timed_out",
        "cut",
        "throttled",
        "refused",
        "failing",
        "empty",
        "html",
        "not_json",
        "no_token",
        "bad_token",
        "key_not_text",
        "abandoned",
    ],
);
const UNREADABLE: Label =
    closed("reason", &["length", "base64", "padding", "digest", "unsigned", "compression", "no_key"]);
const RECEIVED: Label = closed(
    "outcome",
    &[
        "stored",
        "untaken",
        "duplicate",
        "relayed",
        "unopened",
        "too_large",
        "timed_out",
        "cut",
        "unavailable",
        "relay_failed",
        "refused",
    ],
);
const UNOPENED: Label = closed(
    "reason",
    &[
        "base64",
        "length",
        "padding",
        "digest",
        "unsigned",
        "ambiguous",
        "no_key",
        "plain",
        "not_text",
        "not_json",
        "compressed",
        "internal",
    ],
);
const ENTRY: Label = closed("state", &["waiting", "delivered", "dead", "corrupt"]);
const UNDELIVERED: Label = closed("state", &["waiting", "dead", "corrupt"]);
const ATTEMPT: Label = closed(
    "outcome",
    &[
        "delivered",
        "refused",
        "redirected",
        "unreachable",
        "untrusted",
        "timed_out",
        "cut",
        "throttled",
        "gone",
        "buried",
    ],
);

const KEYED: Label = closed(
    "outcome",
    &[
        "first",
        "not_kept",
        "unknown",
        "freed",
        "replayed",
        "waited",
        "other_body",
        "still_unknown",
        "gone",
        "in_use",
        "unavailable",
    ],
);

const fn series(name: &'static str, kind: Kind, labels: &'static [Label], help: &'static str) -> Series {
    Series { name, kind, labels, help }
}

/// Every series of ours. Those of calls stand first, then tokens and limits, then callbacks, then the gateway itself.
#[rustfmt::skip]
pub const ALL: &[Series] = &[
    series("calls_total", Counter, &[PROGRAM, ACCOUNT, FAULT], "Calls that ended, by whose fault it was when they failed."),
    series("operation_calls_total", Counter, &[OPERATION, FAULT], "The same calls by operation."),
    series("call_seconds", Histogram(SECONDS), &[], "From the first byte of a call to the last byte of its answer."),
    series("phase_seconds", Histogram(SECONDS), &[PHASE], "Time a call spent in one phase. A phase that a call had no part in is not observed."),
    series("calls_in_flight", Gauge, &[], "Calls between their first byte and their last."),
    series("refusals_total", Counter, &[REFUSAL], "Answers that the gateway wrote itself, by their stable word."),
    series("unknown_outcomes_total", Counter, &[ACCOUNT], "Calls that left and got no answer, so that nobody here knows whether they took effect. GET and HEAD have none and do not count."),
    series("keyed_calls_total", Counter, &[KEYED], "Calls with an idempotency key by how they ended."),
    series("keyed_unknown", Gauge, &[], "Idempotency keys whose call may have been carried out, and nobody knows: an operator has to settle each."),
    series("keyed_remembered", Gauge, &[], "Idempotency keys whose call's end is known and remembered."),
    series("answers_total", Counter, &[ACCOUNT, CLASS], "Answers of the platform by status class, those before a replay included."),
    series("body_codes_total", Counter, &[ACCOUNT, BODY_CODE], "The same answers by the code in their body."),
    series("replays_total", Counter, &[ACCOUNT], "Calls sent once more because the platform refused the token."),
    series("crypto_failures_total", Counter, &[ACCOUNT, UNREADABLE], "Sealed answers of the platform that could not be opened."),
    series("upstream_connections_total", Counter, &[ACCOUNT, CONNECTION], "Connections to the platform for calls; a login has one of its own and does not count."),
    series("token_refreshes_total", Counter, &[ACCOUNT, FAMILY, LOGIN], "Logins that ended, and those that were withheld."),
    series("token_expiry_timestamp_seconds", Gauge, &[ACCOUNT, FAMILY], "When the held token ends, in seconds since 1970. 0 or a time in the past: none is held. The family call_centre appears with its first login."),
    series("account_rate", Gauge, &[ACCOUNT], "Calls per second that an account may send now; 0 when it has no rate."),
    series("account_rate_cuts_total", Counter, &[ACCOUNT], "Times that this rate fell because the platform said no."),
    series("waiting_calls", Gauge, &[ACCOUNT], "Calls that wait for their turn. How long they waited is in the phase limit_wait."),
    series("limited_total", Counter, &[ACCOUNT, LIMIT], "Calls refused because of a limit."),
    series("breaker_state", Gauge, &[ACCOUNT, BREAKER], "1 for the state that the breaker is in, 0 for the others."),
    series("callbacks_total", Counter, &[SOURCE, RECEIVED], "Callbacks of the platform by what became of them."),
    series("callbacks_unopened_total", Counter, &[SOURCE, UNOPENED], "Callbacks whose body could not be opened."),
    series("callback_acknowledge_seconds", Histogram(SECONDS), &[], "From the header of a callback to its 200: stored, or stored before."),
    series("callback_bytes_total", Counter, &[SOURCE], "Bytes of callback bodies as they arrived."),
    series("callback_last_accepted_timestamp_seconds", Gauge, &[SOURCE], "When the last callback was answered 200, in seconds since 1970; 0 when none was since the start."),
    series("callback_time_to_loss_seconds", Gauge, &[SOURCE], "Of the callbacks that were refused: seconds until the platform's last try of the most urgent one. 300 when none is at risk."),
    series("callbacks_lost_total", Counter, &[SOURCE], "Callbacks that were refused and did not come again before the platform's last try was over."),
    series("certificate_expiry_timestamp_seconds", Gauge, &[LISTENER], "When the certificate that the listener shows ends, in seconds since 1970; of its chain, the first that ends."),
    series("inbox_up", Gauge, &[], "1 while the inbox takes callbacks, and during an upgrade while the process before this one has it, else 0."),
    series("inbox_sync_seconds", Histogram(SECONDS), &[], "One commit of the inbox, its sync included."),
    series("inbox_entries", Gauge, &[RECEIVER, ENTRY], "Deliveries in the inbox."),
    series("inbox_oldest_age_seconds", Gauge, &[RECEIVER, UNDELIVERED], "Age of the oldest of them; 0 when there is none."),
    series("inbox_bytes", Gauge, &[], "Bytes that the inbox holds."),
    series("inbox_max_bytes", Gauge, &[], "Most bytes that it may hold: inbox.max_bytes."),
    series("inbox_disk_available_bytes", Gauge, &[], "Bytes that the gateway may still write to the file system of the inbox."),
    series("inbox_disk_size_bytes", Gauge, &[], "Size of that file system; 0 while it is not known."),
    series("ledger_calls_total", Counter, &[NOTED], "Calls that were to be noted in the ledger."),
    series("inbox_corrupt_total", Counter, &[], "Rows of the inbox that could not be read and were set aside."),
    series("inbox_purged_total", Counter, &[], "Delivered entries that were purged."),
    series("inbox_quarantined", Gauge, &[SOURCE], "Bodies that could not be opened and are kept."),
    series("delivery_attempts_total", Counter, &[RECEIVER, ATTEMPT], "Attempts to deliver a callback."),
    series("delivery_attempt_seconds", Histogram(SECONDS), &[RECEIVER], "One attempt to deliver a callback."),
    series("delivery_seconds", Histogram(LONG), &[RECEIVER], "From the acceptance of a callback to its delivery."),
    series("dead_letters_total", Counter, &[RECEIVER, DEAD], "Callbacks that became dead letters."),
    series("memory_in_use_bytes", Gauge, &[], "Bytes of held bodies and answers that are reserved, of calls and of callbacks."),
    series("memory_budget_bytes", Gauge, &[], "Most bytes that may be reserved: outbound.memory and inbound.memory."),
    series("log_lines_dropped_total", Counter, &[], "Log lines dropped because standard output was stuck."),
    series("config_reload_total", Counter, &[RELOAD], "Configurations that were read while the gateway ran, by what became of them."),
    series("config_last_reload_successful", Gauge, &[], "1 when the configuration that was read last serves, 0 when it was refused."),
    series(
        "config_last_reload_success_timestamp_seconds",
        Gauge,
        &[],
        "When the configuration that serves was read, in seconds since 1970.",
    ),
    series("upgrades_total", Counter, &[UPGRADE], "Upgrades: ok where this process took over from another one, refused where the next one could not."),
    series("build_info", Gauge, &[configured("version", Configured::Version)], "Always 1; the version is the label."),
];

/// The family of this name, without [`PREFIX`].
pub fn find(name: &str) -> Option<&'static Series> {
    ALL.iter().find(|series| series.name == name)
}

impl Kind {
    /// As the text format writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Counter => "counter",
            Gauge => "gauge",
            Histogram(_) => "histogram",
        }
    }

    /// Samples for each combination of labels: a histogram has one for each bound, one for all, a sum and a count.
    pub fn samples(self) -> usize {
        match self {
            Counter | Gauge => 1,
            Histogram(bounds) => bounds.len() + 3,
        }
    }
}
