//! One look at the series: what the status page counts, by name and in all.
//!
//! It reads and adds up. It keeps nothing and judges nothing.

use std::collections::BTreeMap;

use crate::metrics::Metrics;
use crate::metrics::sums::{buckets, by};

/// Most names that are counted apart; a configuration has fewer.
const MOST_NAMES: usize = 1024;

/// The source of what no path was known for: strangers, who are no part of the traffic.
const NO_SOURCE: &str = "-";

/// Whose counts they are. What the four numbers of each count stands beside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Group {
    /// Calls that went well, and those that failed by fault of the program, the gateway, the platform.
    Program,
    /// Answers of the platform with 2xx, with 4xx, with 5xx, and calls that were refused because of a limit.
    Account,
    /// Callbacks that were taken, were refused, could not be opened, are lost.
    Source,
    /// Attempts that were taken, attempts that failed, dead letters; nothing.
    Receiver,
}

/// Counts since the start, by whose they are.
pub(super) type Counts = BTreeMap<(Group, String), [u64; 4]>;

/// What was read at one moment. Everything but the gauges counts from the start.
#[derive(Debug, Clone, Default)]
pub(super) struct Reading {
    pub(super) names: Counts,
    /// How long calls took: seconds, and how many took at most that.
    pub(super) call_seconds: Vec<(f64, u64)>,
    /// Deliveries that wait, and dead letters.
    pub(super) waiting: u64,
    pub(super) dead: u64,
}

impl Reading {
    /// Looks at the series.
    pub(super) fn of(metrics: &Metrics) -> Self {
        let mut reading = Self { call_seconds: buckets(&metrics.call_seconds), ..Self::default() };
        let callbacks = &metrics.callbacks;
        for (program, counts) in metrics.calls.by_program() {
            reading.add_all(Group::Program, program, counts);
        }
        for ([account, class], count) in by(&metrics.answers, ["account", "code"]) {
            let at = ["2xx", "4xx", "5xx"].iter().position(|known| *known == class);
            reading.add(Group::Account, account, at, count);
        }
        for ([account], count) in by(&metrics.limits.limited, ["account"]) {
            reading.add(Group::Account, account, Some(3), count);
        }
        for ([source, outcome], count) in by(&callbacks.received, ["source", "outcome"]) {
            let at = match outcome.as_str() {
                "stored" | "untaken" | "duplicate" | "relayed" => 0,
                "unopened" => 2,
                _ => 1,
            };
            if source != NO_SOURCE {
                reading.add(Group::Source, source, Some(at), count);
            }
        }
        for ([source], count) in by(&callbacks.lost, ["source"]) {
            reading.add(Group::Source, source, Some(3), count);
        }
        for ([receiver, outcome], count) in by(&callbacks.attempts, ["receiver", "outcome"]) {
            reading.add(Group::Receiver, receiver, Some(usize::from(outcome != "delivered")), count);
        }
        for ([receiver], count) in by(&callbacks.dead, ["receiver"]) {
            reading.add(Group::Receiver, receiver, Some(2), count);
        }
        for ([state], count) in by(&callbacks.entries, ["state"]) {
            match state.as_str() {
                "waiting" => reading.waiting = count as u64,
                "dead" => reading.dead = count as u64,
                _ => {}
            }
        }
        reading
    }

    fn add(&mut self, group: Group, name: String, at: Option<usize>, count: f64) {
        let mut counts = [0; 4];
        if let Some(at) = at {
            counts[at] = count as u64;
        }
        self.add_all(group, name, counts);
    }

    fn add_all(&mut self, group: Group, name: String, more: [u64; 4]) {
        let full = self.names.len() >= MOST_NAMES;
        let key = (group, name);
        if full && !self.names.contains_key(&key) {
            return;
        }
        let counts = self.names.entry(key).or_default();
        counts.iter_mut().zip(more).for_each(|(count, more)| *count += more);
    }

    /// The counts of all names of a group, added up.
    pub(super) fn all(&self, group: Group) -> [u64; 4] {
        let of_group = self.names.iter().filter(|((of, _), _)| *of == group);
        of_group.fold([0; 4], |sum, (_, counts)| std::array::from_fn(|at| sum[at] + counts[at]))
    }
}

/// How many came since an earlier look. Series of a name that went away and came back count from nothing.
pub(super) fn since(now: [u64; 4], earlier: Option<&[u64; 4]>) -> [u64; 4] {
    let earlier = earlier.copied().unwrap_or_default();
    std::array::from_fn(|at| now[at].checked_sub(earlier[at]).unwrap_or(now[at]))
}

/// The time within which this part of the calls between two looks ended, in seconds: between the bounds of its bucket as
/// if they were spread evenly. `None` without calls.
pub(super) fn quantile(part: f64, earlier: &[(f64, u64)], now: &[(f64, u64)]) -> Option<f64> {
    let before = |at: usize| earlier.get(at).map_or(0, |bucket: &(f64, u64)| bucket.1);
    let counts: Vec<_> = now.iter().enumerate().map(|(at, (_, count))| count.saturating_sub(before(at))).collect();
    let all = *counts.last().filter(|all| **all > 0)?;
    let rank = part * all as f64;
    let at = counts.iter().position(|count| *count as f64 >= rank)?;
    let (floor, below) = if at == 0 { (0.0, 0) } else { (now[at - 1].0, counts[at - 1]) };
    let (ceiling, inside) = (now[at].0, counts[at] - below);
    if ceiling.is_infinite() || inside == 0 {
        return Some(floor);
    }
    Some(floor + (ceiling - floor) * (rank - below as f64) / inside as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_count_stands_with_its_name() {
        let metrics = Metrics::try_new().expect("no two declarations clash");
        for (fault, count) in [("none", 5), ("program", 1), ("gateway", 2), ("platform", 3)] {
            metrics.calls.row("books", "main").add(fault, count);
        }
        metrics.answers.with_label_values(&["main", "2xx"]).inc_by(5);
        metrics.answers.with_label_values(&["main", "5xx"]).inc_by(4);
        metrics.limits.limited.with_label_values(&["main", "queue"]).inc_by(6);
        let callbacks = &metrics.callbacks;
        for (source, outcome) in
            [("calls", "stored"), ("calls", "unavailable"), ("calls", "unopened"), ("-", "refused")]
        {
            callbacks.received.with_label_values(&[source, outcome]).inc();
        }
        callbacks.attempts.with_label_values(&["books", "delivered"]).inc_by(2);
        callbacks.attempts.with_label_values(&["books", "gone"]).inc();
        callbacks.dead.with_label_values(&["books", "gone"]).inc();
        callbacks.entries.with_label_values(&["books", "waiting"]).set(7);
        callbacks.entries.with_label_values(&["audit", "waiting"]).set(1);
        callbacks.entries.with_label_values(&["books", "dead"]).set(3);
        let reading = Reading::of(&metrics);
        let names = |group, name: &str| reading.names[&(group, name.to_owned())];
        assert_eq!(names(Group::Program, "books"), [5, 1, 2, 3]);
        assert_eq!(names(Group::Account, "main"), [5, 0, 4, 6]);
        assert_eq!(names(Group::Source, "calls"), [1, 1, 1, 0]);
        assert_eq!(names(Group::Receiver, "books"), [2, 1, 1, 0]);
        assert_eq!((reading.waiting, reading.dead, reading.all(Group::Source)), (8, 3, [1, 1, 1, 0]));
    }

    #[test]
    fn what_began_anew_counts_from_nothing() {
        assert_eq!(since([5, 0, 7, 1], Some(&[3, 0, 9, 1])), [2, 0, 7, 0]);
        assert_eq!(since([5, 0, 0, 0], None), [5, 0, 0, 0]);
    }

    #[test]
    fn a_quantile_lies_in_its_bucket() {
        let start = [(0.1, 0), (1.0, 0), (f64::INFINITY, 0)];
        let now = [(0.1, 50), (1.0, 100), (f64::INFINITY, 100)];
        assert_eq!(quantile(0.5, &start, &now), Some(0.1));
        assert_eq!(quantile(0.75, &start, &now), Some(0.55));
        assert_eq!(quantile(0.99, &now, &now), None);
        assert_eq!(quantile(0.99, &start, &[(0.1, 0), (1.0, 0), (f64::INFINITY, 3)]), Some(1.0));
    }
}
