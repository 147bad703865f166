//! The series of callbacks: received, stored, delivered, lost.
//!
//! It only declares; who observes what is written beside each. Never a call id, a path or the text of an error.

use prometheus::{Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec};

use super::Declare;

/// Seconds from acceptance to delivery: from a healthy receiver to one that was down for the whole retention.
const LONG: &[f64] =
    &[0.005, 0.025, 0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 1800.0, 7200.0, 21_600.0, 86_400.0, 604_800.0, 1_209_600.0];

/// All series of callbacks.
pub struct Callbacks {
    /// Callbacks by what became of them.
    pub received: IntCounterVec,
    /// Bodies that could not be opened, by reason.
    pub unopened: IntCounterVec,
    /// From the header of a callback to its 200.
    pub acknowledge_seconds: Histogram,
    /// Bytes of callback bodies as they arrived.
    pub bytes: IntCounterVec,
    /// Seconds until the platform's last try of the most urgent callback that was refused; 300 when none is at
    /// risk.
    pub time_to_loss: IntGaugeVec,
    /// Callbacks that were refused and never came again before their last try was over.
    pub lost: IntCounterVec,
    /// Whether the inbox takes callbacks.
    pub inbox_up: IntGauge,
    /// One commit of the inbox, its sync included.
    pub sync_seconds: Histogram,
    /// Entries by receiver and state.
    pub entries: IntGaugeVec,
    /// Age of the oldest entry by receiver and state.
    pub oldest_seconds: IntGaugeVec,
    /// Bytes the inbox holds.
    pub inbox_bytes: IntGauge,
    /// Most bytes it may hold.
    pub inbox_max_bytes: IntGauge,
    /// Rows that could not be read and were set aside.
    pub corrupt: IntCounter,
    /// Delivered entries that were purged.
    pub purged: IntCounter,
    /// Bodies that could not be opened and are kept.
    pub quarantined: IntGaugeVec,
    /// Attempts by outcome.
    pub attempts: IntCounterVec,
    /// One attempt.
    pub attempt_seconds: HistogramVec,
    /// From acceptance to delivery.
    pub delivery_seconds: HistogramVec,
    /// Dead letters by reason.
    pub dead: IntCounterVec,
}

impl Callbacks {
    pub(super) fn try_new(declare: &Declare<'_>) -> prometheus::Result<Self> {
        Ok(Self {
            received: declare.counters(
                "callbacks_total",
                "Callbacks of the platform by what became of them.",
                &["source", "outcome"],
            )?,
            unopened: declare.counters(
                "callbacks_unopened_total",
                "Callbacks whose body could not be opened, by reason.",
                &["source", "reason"],
            )?,
            acknowledge_seconds: declare
                .histogram("callback_acknowledge_seconds", "From the header of a callback to its 200.")?,
            bytes: declare.counters(
                "callback_bytes_total",
                "Bytes of callback bodies as they arrived.",
                &["source"],
            )?,
            time_to_loss: declare.gauges(
                "callback_time_to_loss_seconds",
                "Of the callbacks that were refused: seconds until the platform's last try of the most urgent one.",
                &["source"],
            )?,
            lost: declare.counters(
                "callbacks_lost_total",
                "Callbacks that were refused and did not come again before the platform's last try was over.",
                &["source"],
            )?,
            inbox_up: declare.gauge("inbox_up", "1 while the inbox takes callbacks, else 0.")?,
            sync_seconds: declare.histogram("inbox_sync_seconds", "One commit of the inbox, its sync included.")?,
            entries: declare.gauges(
                "inbox_entries",
                "Deliveries in the inbox by receiver and state.",
                &["receiver", "state"],
            )?,
            oldest_seconds: declare.gauges(
                "inbox_oldest_age_seconds",
                "Age of the oldest delivery by receiver and state; 0 when there is none.",
                &["receiver", "state"],
            )?,
            inbox_bytes: declare.gauge("inbox_bytes", "Bytes that the inbox holds.")?,
            inbox_max_bytes: declare.gauge("inbox_max_bytes", "Most bytes that the inbox may hold.")?,
            corrupt: declare
                .counter("inbox_corrupt_total", "Rows of the inbox that could not be read and were set aside.")?,
            purged: declare.counter("inbox_purged_total", "Delivered entries that were purged.")?,
            quarantined: declare.gauges(
                "inbox_quarantined",
                "Bodies that could not be opened and are kept.",
                &["source"],
            )?,
            attempts: declare.counters(
                "delivery_attempts_total",
                "Attempts to deliver a callback, by outcome.",
                &["receiver", "outcome"],
            )?,
            attempt_seconds: declare.histograms(
                "delivery_attempt_seconds",
                "One attempt to deliver a callback.",
                &["receiver"],
            )?,
            delivery_seconds: declare.histograms_in(
                "delivery_seconds",
                "From the acceptance of a callback to its delivery.",
                &["receiver"],
                LONG,
            )?,
            dead: declare.counters(
                "dead_letters_total",
                "Callbacks that became dead letters, by reason.",
                &["receiver", "reason"],
            )?,
        })
    }
}
