//! The calls that ended, by program, account and fault: one family, laid out for a thousand programs that call in turn.
//!
//! The four counters of a program with an account lie side by side. A counter of the library lies apart from the others and
//! holds the names and the help of its family besides; here names stand once, and only a scrape reads them.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use prometheus::Result;
use prometheus::core::{Collector, Desc};
use prometheus::proto::{Counter, LabelPair, Metric, MetricFamily, MetricType};

/// The faults, in the order of the counters of a [`Row`].
pub(super) const FAULTS: [&str; 4] = ["none", "program", "gateway", "platform"];

/// The family, as a handle.
#[derive(Clone)]
pub struct Callers(Arc<Shared>);

struct Shared {
    desc: Desc,
    /// By program, then account. Only a scrape and another configuration take this lock.
    rows: RwLock<BTreeMap<(String, String), Arc<Row>>>,
}

/// What one program calls for one account, by fault.
#[derive(Debug, Default)]
pub struct Row([AtomicU64; FAULTS.len()]);

impl Row {
    /// So many more calls ended. `fault` is one of the label's values.
    pub fn add(&self, fault: &str, calls: u64) {
        if let Some(at) = FAULTS.iter().position(|of| *of == fault) {
            self.0[at].fetch_add(calls, Ordering::Relaxed);
        }
    }
}

impl Callers {
    /// One without rows.
    ///
    /// # Errors
    /// Its name is none that a series can have.
    pub(super) fn try_new(name: String, help: &str, labels: &[&str]) -> Result<Self> {
        let labels = labels.iter().map(|label| (*label).to_owned()).collect();
        let desc = Desc::new(name, help.to_owned(), labels, HashMap::new())?;
        Ok(Self(Arc::new(Shared { desc, rows: RwLock::default() })))
    }

    /// The counters of a program with an account. They are shown from now on.
    pub fn row(&self, program: &str, account: &str) -> Arc<Row> {
        let mut rows = self.0.rows.write().unwrap_or_else(PoisonError::into_inner);
        rows.entry((program.to_owned(), account.to_owned())).or_default().clone()
    }

    /// What each program called, by fault in the order of the label's values. It writes out no series: whoever looks every few
    /// seconds would else do for a thousand programs what a scrape does.
    pub fn by_program(&self) -> Vec<(String, [u64; FAULTS.len()])> {
        let rows = self.0.rows.read().unwrap_or_else(PoisonError::into_inner);
        let mut programs: Vec<(String, [u64; FAULTS.len()])> = Vec::new();
        for ((program, _), row) in rows.iter() {
            let counts: [u64; FAULTS.len()] = std::array::from_fn(|at| row.0[at].load(Ordering::Relaxed));
            match programs.last_mut().filter(|(last, _)| last == program) {
                Some((_, sums)) => sums.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count),
                None => programs.push((program.clone(), counts)),
            }
        }
        programs
    }

    /// Shows them no more. Whoever holds them counts on, and it adds nothing.
    pub(super) fn remove(&self, program: &str, account: &str) {
        let mut rows = self.0.rows.write().unwrap_or_else(PoisonError::into_inner);
        rows.remove(&(program.to_owned(), account.to_owned()));
    }
}

impl Collector for Callers {
    fn desc(&self) -> Vec<&Desc> {
        vec![&self.0.desc]
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let rows = self.0.rows.read().unwrap_or_else(PoisonError::into_inner);
        let metric = |program: &str, account: &str, fault: &str, calls: u64| {
            // In the order of their names, as the library's own are.
            let mut metric = Metric::from_label(
                [("account", account), ("fault", fault), ("program", program)]
                    .map(|(name, value)| label(name, value))
                    .into(),
            );
            let mut counter = Counter::default();
            counter.set_value(calls as f64);
            metric.set_counter(counter);
            metric
        };
        let metrics = rows.iter().flat_map(|((program, account), row)| {
            let counters = FAULTS.into_iter().zip(&row.0);
            counters.map(move |(fault, calls)| metric(program, account, fault, calls.load(Ordering::Relaxed)))
        });
        let mut family = MetricFamily::default();
        family.set_name(self.0.desc.fq_name.clone());
        family.set_help(self.0.desc.help.clone());
        family.set_field_type(MetricType::COUNTER);
        family.set_metric(metrics.collect());
        vec![family]
    }
}

fn label(name: &str, value: &str) -> LabelPair {
    let mut label = LabelPair::default();
    label.set_name(name.to_owned());
    label.set_value(value.to_owned());
    label
}

#[cfg(test)]
mod tests {
    use crate::metrics::Metrics;

    #[test]
    fn a_program_is_the_sum_of_its_accounts() {
        let metrics = Metrics::try_new().expect("the catalogue is declared");
        for (program, account, fault, calls) in [
            ("books", "main", "none", 3),
            ("audit", "main", "platform", 1),
            ("books", "-", "program", 2),
            ("books", "other", "none", 4),
            ("books", "other", "gateway", 5),
        ] {
            metrics.calls.row(program, account).add(fault, calls);
        }
        metrics.calls.row("books", "main").add("none", 1);
        let expected = [("audit".to_owned(), [0, 0, 0, 1]), ("books".to_owned(), [8, 2, 5, 0])];
        assert_eq!(metrics.calls.by_program(), expected);
        metrics.calls.remove("books", "other");
        assert_eq!(metrics.calls.by_program()[1].1, [4, 2, 0, 0]);
    }
}
