//! The last hour in memory: a look every few seconds for the plots, one a minute for the counts by name.
//!
//! Of a fixed size. It is written away from the calls, and lost with the process.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use pingora::server::ShutdownWatch;
use pingora::services::background::BackgroundService;
use serde_json::{Value, json};
use tokio::time::{MissedTickBehavior, interval};

use super::reading::{Counts, Group, Reading, quantile, since};
use crate::clock::{self, Instant};
use crate::metrics::Metrics;

/// How often it looks.
const EVERY: Duration = Duration::from_secs(5);

/// Looks that are kept: an hour of them, and the one before the first.
const LOOKS: usize = 721;

/// Looks that make one point of a plot: 30 seconds, so that an hour has as many points as a small screen shows.
const A_POINT: usize = 6;

/// Looks between two counts by name: a minute.
const A_MINUTE: usize = 12;

/// Counts by name that are kept: an hour of them, and the one before the first.
const MINUTES: usize = 61;

/// What the plots are drawn from.
struct Look {
    at: Instant,
    /// Calls that went well, failed calls, callbacks taken, deliveries made.
    counts: [u64; 4],
    call_seconds: Vec<(f64, u64)>,
    /// Deliveries that wait, dead letters.
    standing: [u64; 2],
}

impl Look {
    fn of(reading: &Reading, at: Instant) -> Self {
        let [well, failed @ ..] = reading.all(Group::Program);
        let ([taken, ..], [delivered, ..]) = (reading.all(Group::Source), reading.all(Group::Receiver));
        Self {
            at,
            counts: [well, failed.iter().sum(), taken, delivered],
            call_seconds: reading.call_seconds.clone(),
            standing: [reading.waiting, reading.dead],
        }
    }
}

#[derive(Default)]
struct Kept {
    looks: VecDeque<Look>,
    minutes: VecDeque<(Instant, Counts)>,
    /// Looks since the last count by name.
    since_minute: usize,
}

/// The last hour, as a handle.
#[derive(Clone)]
pub(crate) struct History {
    kept: Arc<Mutex<Kept>>,
    started: Instant,
}

impl History {
    /// Empty; the gateway starts now.
    pub(crate) fn new() -> Self {
        Self { kept: Arc::default(), started: clock::now() }
    }

    /// Since the start of the gateway.
    pub(super) fn uptime(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.started)
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps a look.
    fn keep(&self, reading: Reading, at: Instant) {
        let mut kept = self.lock();
        if kept.looks.len() == LOOKS {
            kept.looks.pop_front();
        }
        kept.looks.push_back(Look::of(&reading, at));
        kept.since_minute = (kept.since_minute + 1) % A_MINUTE;
        if kept.minutes.is_empty() || kept.since_minute == 0 {
            if kept.minutes.len() == MINUTES {
                kept.minutes.pop_front();
            }
            kept.minutes.push_back((at, reading.names));
        }
    }

    /// The plots as JSON, oldest point first; `null` where there was no gateway, or no call to measure.
    pub(super) fn plots(&self) -> Value {
        let kept = self.lock();
        let newest = kept.looks.len().saturating_sub(1);
        let points = (LOOKS - 1) / A_POINT;
        let ends: Vec<_> = (0..points).rev().map(|back| newest.checked_sub(back * A_POINT)).collect();
        // The look at the end of a point and the one at its beginning.
        let pairs: Vec<_> = ends
            .into_iter()
            .map(|end| {
                let end = end?;
                Some((kept.looks.get(end.checked_sub(A_POINT)?)?, kept.looks.get(end)?))
            })
            .collect();
        let plot = |value: &dyn Fn(&Look, &Look) -> Option<f64>| {
            pairs.iter().map(|pair| pair.and_then(|(from, to)| value(from, to)).map(rounded)).collect::<Vec<_>>()
        };
        let per_second = |at: usize| {
            plot(&|from: &Look, to: &Look| {
                let seconds = (to.at - from.at).as_secs_f64();
                (seconds > 0.0).then(|| to.counts[at].saturating_sub(from.counts[at]) as f64 / seconds)
            })
        };
        json!({
            "step_seconds": EVERY.as_secs() * A_POINT as u64,
            "calls_per_second": per_second(0),
            "failed_per_second": per_second(1),
            "callbacks_per_second": per_second(2),
            "deliveries_per_second": per_second(3),
            "p50_seconds": plot(&|from, to| quantile(0.5, &from.call_seconds, &to.call_seconds)),
            "p99_seconds": plot(&|from, to| quantile(0.99, &from.call_seconds, &to.call_seconds)),
            "waiting": plot(&|_, to| Some(to.standing[0] as f64)),
            "dead": plot(&|_, to| Some(to.standing[1] as f64)),
        })
    }

    /// What the names counted before, to be subtracted: see [`Before`].
    pub(super) fn before(&self, now: Instant) -> Before {
        let kept = self.lock();
        let counts =
            |at: usize| kept.minutes.get(at).map(|(at, counts)| (now.saturating_duration_since(*at), counts.clone()));
        let minute = kept.minutes.iter().rposition(|(at, _)| now.saturating_duration_since(*at).as_secs() >= 60);
        let names: Vec<_> = kept.minutes.iter().map(|(_, counts)| counts.clone()).collect();
        let (hour, minute) = (counts(0).unwrap_or_default(), counts(minute.unwrap_or(0)).unwrap_or_default());
        Before { hour, minute, names }
    }
}

/// Counts by name at earlier times.
pub(super) struct Before {
    /// An hour ago, or at the start; and how long ago that is.
    pub(super) hour: (Duration, Counts),
    /// A minute ago, at least; or at the start.
    pub(super) minute: (Duration, Counts),
    names: Vec<Counts>,
}

impl Before {
    /// What a name counted in each minute, oldest first.
    pub(super) fn minutes(&self, key: &(Group, String)) -> Vec<[u64; 4]> {
        let nothing = [0; 4];
        let of = |counts: &Counts| counts.get(key).copied().unwrap_or(nothing);
        self.names.windows(2).map(|pair| since(of(&pair[1]), Some(&of(&pair[0])))).collect()
    }
}

/// Three digits are more than a plot shows.
fn rounded(value: f64) -> f64 {
    let scale = 10_f64.powf(2.0 - value.abs().max(1e-9).log10().floor());
    (value * scale).round() / scale
}

/// Looks every few seconds, as a background service of the pingora server.
pub(crate) struct Looks {
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) history: History,
}

#[async_trait]
impl BackgroundService for Looks {
    async fn start(&self, mut shutdown: ShutdownWatch) {
        let mut look = interval(EVERY);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = look.tick() => self.history.keep(Reading::of(&self.metrics), clock::now()),
                _ = shutdown.changed() => return,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(calls: u64) -> Reading {
        let names = [((Group::Program, "books".to_owned()), [calls, 0, 0, 0])].into();
        Reading { names, waiting: calls, ..Reading::default() }
    }

    #[test]
    fn a_point_is_the_pace_between_two_looks() {
        let (history, start) = (History::new(), clock::now());
        for look in 0..=12 {
            history.keep(reading(look * 10), start + EVERY * look as u32);
        }
        let plots = history.plots();
        let calls = plots["calls_per_second"].as_array().expect("points");
        assert_eq!((calls.len(), plots["step_seconds"].as_u64()), (120, Some(30)));
        assert!(calls[..118].iter().all(Value::is_null), "nothing was seen then");
        assert_eq!(calls[118..], [json!(2.0), json!(2.0)]);
        assert_eq!(plots["waiting"][119], json!(120.0));
        assert!(plots["p99_seconds"][119].is_null(), "no call was measured");
    }

    #[test]
    fn an_hour_is_kept_and_no_more() {
        let (history, start) = (History::new(), clock::now());
        for look in 0..2000_u64 {
            history.keep(reading(look), start + EVERY * look as u32);
        }
        let kept = history.lock();
        assert_eq!((kept.looks.len(), kept.minutes.len()), (LOOKS, MINUTES));
        drop(kept);
        let before = history.before(start + EVERY * 1999);
        let key = (Group::Program, "books".to_owned());
        assert_eq!(before.minutes(&key), vec![[12, 0, 0, 0]; 60]);
        assert!((60..120).contains(&before.minute.0.as_secs()) && (3600..3660).contains(&before.hour.0.as_secs()));
    }
}
