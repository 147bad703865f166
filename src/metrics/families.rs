//! Series that go when the names in their labels go: those of programs, accounts and others that a new configuration
//! does not have.
//!
//! Who holds a handle to one of them counts on, and nobody sees it. It adds nothing.

use prometheus::Result;
use prometheus::core::{Collector, MetricVec, MetricVecBuilder};

use super::Metrics;
use super::callers::Callers;
use super::catalogue::{Configured, Series, Values};

/// What the inbox may still hold for names that are gone; it takes that back by itself.
const OF_THE_INBOX: [&str; 3] = ["inbox_entries", "inbox_oldest_age_seconds", "inbox_quarantined"];

/// Removes the series with these values of its labels.
type Remove = Box<dyn Fn(&[&str]) -> Result<()> + Send + Sync>;

/// One family with labels.
pub(super) struct Family {
    series: &'static Series,
    collector: Box<dyn Collector>,
    remove: Remove,
}

impl Family {
    pub(super) fn new<B: MetricVecBuilder + 'static>(series: &'static Series, vector: &MetricVec<B>) -> Self
    where
        MetricVec<B>: Collector,
    {
        let (collector, removing) = (Box::new(vector.clone()), vector.clone());
        Self { series, collector, remove: Box::new(move |values| removing.remove_label_values(values)) }
    }

    /// That of callers, whose first two labels name a row.
    pub(super) fn of_callers(series: &'static Series, callers: &Callers) -> Self {
        let (collector, removing) = (Box::new(callers.clone()), callers.clone());
        let remove = move |values: &[&str]| {
            if let [program, account, ..] = values {
                removing.remove(program, account);
            }
            Ok(())
        };
        Self { series, collector, remove: Box::new(remove) }
    }

    fn retain(&self, has: &impl Fn(Configured, &str) -> bool) {
        for family in self.collector.collect() {
            for metric in family.get_metric() {
                let value = |name: &str| {
                    metric.get_label().iter().find(|label| label.name() == name).map(|label| label.value())
                };
                let values: Vec<_> =
                    self.series.labels.iter().map(|label| value(label.name).unwrap_or_default()).collect();
                let is_known = self.series.labels.iter().zip(&values).all(|(label, value)| match label.values {
                    // Nobody is known by that.
                    Values::Configured(of) => *value == "-" || has(of, value),
                    Values::Closed(_) => true,
                });
                let is_held = OF_THE_INBOX.contains(&self.series.name) && metric.get_gauge().get_value() != 0.0;
                if !is_known && !is_held {
                    // Gone already is as good.
                    let _ = (self.remove)(&values);
                }
            }
        }
    }
}

impl Metrics {
    /// Keeps the series whose names `has` knows, each as a name of what its label means; the others go.
    pub fn retain(&self, has: impl Fn(Configured, &str) -> bool) {
        self.families.iter().for_each(|family| family.retain(&has));
    }
}
