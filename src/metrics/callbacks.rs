//! The series of callbacks: received, stored, delivered, lost.
//!
//! It only declares; who observes what is written beside each. Never a call id, a path or the text of an error.

use prometheus::{Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec};

use super::catalogue::{self, Values};
use super::declare::Declare;

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
    /// When the last callback was answered 200, in seconds since 1970.
    pub last_accepted: IntGaugeVec,
    /// When the certificate of a listener ends, in seconds since 1970.
    pub certificate_expiry: IntGaugeVec,
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
    /// Bytes that may still be written to its file system.
    pub disk_available: IntGauge,
    /// Size of that file system in bytes; 0 while it is not known.
    pub disk_size: IntGauge,
    /// Calls that were to be noted in the ledger.
    pub ledger: IntCounterVec,
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
            received: declare.counters("callbacks_total")?,
            unopened: declare.counters("callbacks_unopened_total")?,
            acknowledge_seconds: declare.histogram("callback_acknowledge_seconds")?,
            bytes: declare.counters("callback_bytes_total")?,
            time_to_loss: declare.gauges("callback_time_to_loss_seconds")?,
            lost: declare.counters("callbacks_lost_total")?,
            last_accepted: declare.gauges("callback_last_accepted_timestamp_seconds")?,
            certificate_expiry: declare.gauges("certificate_expiry_timestamp_seconds")?,
            inbox_up: declare.gauge("inbox_up")?,
            sync_seconds: declare.histogram("inbox_sync_seconds")?,
            entries: declare.gauges("inbox_entries")?,
            oldest_seconds: declare.gauges("inbox_oldest_age_seconds")?,
            inbox_bytes: declare.gauge("inbox_bytes")?,
            inbox_max_bytes: declare.gauge("inbox_max_bytes")?,
            disk_available: declare.gauge("inbox_disk_available_bytes")?,
            disk_size: declare.gauge("inbox_disk_size_bytes")?,
            ledger: declare.counters("ledger_calls_total")?,
            corrupt: declare.counter("inbox_corrupt_total")?,
            purged: declare.counter("inbox_purged_total")?,
            quarantined: declare.gauges("inbox_quarantined")?,
            attempts: declare.counters("delivery_attempts_total")?,
            attempt_seconds: declare.histograms("delivery_attempt_seconds")?,
            delivery_seconds: declare.histograms("delivery_seconds")?,
            dead: declare.counters("dead_letters_total")?,
        })
    }

    /// So many calls were written into the ledger, or dropped.
    pub fn noted(&self, outcome: &'static str, calls: usize) {
        self.ledger.with_label_values(&[outcome]).inc_by(calls as u64);
    }

    /// The series of a source stand at zero from the start, or the first callback that is lost or cannot be opened would
    /// look like none. What strangers were refused stands beside them.
    pub fn source(&self, source: &str) {
        self.received.with_label_values(&["-", "refused"]);
        self.bytes.with_label_values(&[source]);
        self.lost.with_label_values(&[source]);
        self.time_to_loss.with_label_values(&[source]).set(300);
        self.last_accepted.with_label_values(&[source]).set(0);
        for (family, name) in [(&self.received, "callbacks_total"), (&self.unopened, "callbacks_unopened_total")] {
            if let Some([_, label]) = catalogue::find(name).map(|series| series.labels)
                && let Values::Closed(words) = label.values
            {
                words.iter().for_each(|word| drop(family.with_label_values(&[source, word])));
            }
        }
    }
}
