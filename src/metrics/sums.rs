//! Reads the series for the status page: sums by some of their labels.
//!
//! It takes the lock that a scrape takes and no other, and changes nothing.

use std::collections::BTreeMap;

use prometheus::core::Collector;
use prometheus::proto::{Metric, MetricType};

/// Of a counter or a gauge with labels: the sums by the values of these, whatever the other labels say.
pub fn by<const N: usize>(series: &impl Collector, labels: [&str; N]) -> BTreeMap<[String; N], f64> {
    let mut sums = BTreeMap::new();
    for family in series.collect() {
        let is_counter = family.get_field_type() == MetricType::COUNTER;
        for metric in family.get_metric() {
            let value = if is_counter { metric.get_counter().get_value() } else { metric.get_gauge().get_value() };
            *sums.entry(labels.map(|label| label_of(metric, label).to_owned())).or_insert(0.0) += value;
        }
    }
    sums
}

fn label_of<'a>(metric: &'a Metric, name: &str) -> &'a str {
    metric.get_label().iter().find(|label| label.name() == name).map_or("", |label| label.value())
}

/// The buckets of a histogram without labels: upper bounds in its unit, and how many were at most that. The last one has
/// no bound.
pub fn buckets(series: &impl Collector) -> Vec<(f64, u64)> {
    let families = series.collect();
    let Some(metric) = families.iter().flat_map(|family| family.get_metric()).next() else { return Vec::new() };
    let histogram = metric.get_histogram();
    let bounded = histogram.get_bucket().iter().map(|bucket| (bucket.upper_bound(), bucket.cumulative_count()));
    bounded.chain([(f64::INFINITY, histogram.get_sample_count())]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Metrics;

    #[test]
    fn a_sum_takes_all_that_the_other_labels_say() {
        let metrics = Metrics::try_new().expect("no two declarations clash");
        for (program, account, fault, count) in
            [("books", "main", "none", 3), ("books", "other", "none", 4), ("books", "main", "program", 1)]
        {
            metrics.calls.row(program, account).add(fault, count);
        }
        let sums = by(&metrics.calls, ["program", "fault"]);
        let key = |program: &str, fault: &str| [program.to_owned(), fault.to_owned()];
        let rest = ["gateway", "platform"].map(|fault| (key("books", fault), 0.0));
        assert_eq!(
            sums,
            [(key("books", "none"), 7.0), (key("books", "program"), 1.0)].into_iter().chain(rest).collect()
        );
        metrics.limits.rate.with_label_values(&["main"]).set(2.5);
        assert_eq!(by(&metrics.limits.rate, ["account"]), [(["main".to_owned()], 2.5)].into());
    }

    #[test]
    fn buckets_are_cumulative() {
        let metrics = Metrics::try_new().expect("no two declarations clash");
        metrics.call_seconds.observe(0.002);
        metrics.call_seconds.observe(200.0);
        let buckets = buckets(&metrics.call_seconds);
        assert_eq!(buckets.iter().find(|(bound, _)| *bound == 0.001).map(|found| found.1), Some(0));
        assert_eq!(buckets.last(), Some(&(f64::INFINITY, 2)));
        assert_eq!(buckets[buckets.len() - 2].1, 1, "what is over the last bound");
    }
}
