//! What every call counts when it has ended, found before the first one comes.
//!
//! A call looks its counters up in tables of its own, so that neither a scrape nor a new series ever keeps it waiting.
//! Program and operation are counted apart: their product would be thousands of series, and the log has it.

use std::collections::HashMap;

use prometheus::{IntCounter, IntCounterVec};

use super::Metrics;

/// The faults, in the order of the counters below.
const FAULTS: [&str; 4] = ["none", "program", "gateway", "platform"];

type Faults = [IntCounter; FAULTS.len()];

/// The counters of ended calls. What was not foreseen is counted as well, through the families.
pub struct CallCounts {
    by_program: HashMap<String, HashMap<String, Faults>>,
    by_operation: HashMap<String, Faults>,
    unknown: HashMap<String, IntCounter>,
    families: (IntCounterVec, IntCounterVec, IntCounterVec),
}

impl Metrics {
    /// The counters of these callers, each a program with one of the accounts it may use, and of these operations.
    pub fn call_counts<'a>(
        &self,
        callers: impl Iterator<Item = (&'a str, &'a str)>,
        operations: impl Iterator<Item = &'a str>,
    ) -> CallCounts {
        let mut counts = CallCounts {
            by_program: HashMap::new(),
            by_operation: HashMap::new(),
            unknown: HashMap::new(),
            families: (self.calls.clone(), self.operation_calls.clone(), self.unknown_outcomes.clone()),
        };
        for (program, account) in callers {
            let faults = FAULTS.map(|fault| self.calls.with_label_values(&[program, account, fault]));
            counts.by_program.entry(program.to_owned()).or_default().insert(account.to_owned(), faults);
            if account != "-" {
                counts.unknown.insert(account.to_owned(), self.unknown_outcomes.with_label_values(&[account]));
            }
        }
        for operation in operations {
            let faults = FAULTS.map(|fault| self.operation_calls.with_label_values(&[operation, fault]));
            counts.by_operation.insert(operation.to_owned(), faults);
        }
        counts
    }
}

impl CallCounts {
    /// One call ended. `fault` is one of the label's values.
    pub fn ended(&self, program: &str, account: &str, operation: &str, fault: &'static str) {
        let of = |faults: &Faults| FAULTS.iter().position(|of| *of == fault).map(|at| faults[at].clone());
        match self.by_program.get(program).and_then(|accounts| accounts.get(account)).and_then(of) {
            Some(counter) => counter.inc(),
            None => self.families.0.with_label_values(&[program, account, fault]).inc(),
        }
        match self.by_operation.get(operation).and_then(of) {
            Some(counter) => counter.inc(),
            None => self.families.1.with_label_values(&[operation, fault]).inc(),
        }
    }

    /// A call of this account left, and no answer came.
    pub fn unknown(&self, account: &str) {
        match self.unknown.get(account) {
            Some(counter) => counter.inc(),
            None => self.families.2.with_label_values(&[account]).inc(),
        }
    }
}
