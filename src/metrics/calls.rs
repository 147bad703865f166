//! What every call counts when it has ended, found before the first one comes.
//!
//! A call looks its counters up in tables of its own, so that neither a scrape nor a new series ever keeps it waiting.
//! Program and operation are counted apart: their product would be thousands of series, and the log has it.

use std::sync::Arc;

use foldhash::{HashMap, HashMapExt as _};
use prometheus::{IntCounter, IntCounterVec};

use super::Metrics;
use super::callers::{Callers, FAULTS, Row};

type Faults = [IntCounter; FAULTS.len()];

/// Who called, by the places in the configuration; the default is nobody that is known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Caller {
    /// The program's place.
    pub program: Option<usize>,
    /// The account's place.
    pub account: Option<usize>,
}

/// The counters of ended calls. What was not foreseen is counted as well, through the families.
pub struct CallCounts {
    /// A table of programs and accounts; nobody stands first of either.
    by_caller: Vec<Option<Arc<Row>>>,
    /// How many accounts stand in a line of it.
    accounts: usize,
    by_operation: HashMap<String, Faults>,
    unknown: HashMap<String, IntCounter>,
    families: (Callers, IntCounterVec, IntCounterVec),
}

impl Metrics {
    /// The counters of these callers, each with the names of a program and one of the accounts it may use, of so many
    /// `accounts`, and of these operations.
    pub fn call_counts<'a>(
        &self,
        accounts: usize,
        callers: impl Iterator<Item = (Caller, [&'a str; 2])>,
        operations: impl Iterator<Item = &'a str>,
    ) -> CallCounts {
        let mut counts = CallCounts {
            by_caller: Vec::new(),
            accounts,
            by_operation: HashMap::new(),
            unknown: HashMap::new(),
            families: (self.calls.clone(), self.operation_calls.clone(), self.unknown_outcomes.clone()),
        };
        for (caller, [program, account]) in callers {
            let place = counts.place(caller);
            if counts.by_caller.len() <= place {
                counts.by_caller.resize_with(place + 1, || None);
            }
            counts.by_caller[place] = Some(self.calls.row(program, account));
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
    fn place(&self, caller: Caller) -> usize {
        let [program, account] = [caller.program, caller.account].map(|place| place.map_or(0, |place| place + 1));
        program * (self.accounts + 1) + account
    }

    /// One call ended. `names` are the caller's: program and account. `fault` is one of the label's values.
    pub fn ended(&self, caller: Caller, names: [&str; 2], operation: &str, fault: &'static str) {
        match self.by_caller.get(self.place(caller)).and_then(Option::as_ref) {
            Some(row) => row.add(fault, 1),
            None => self.families.0.row(names[0], names[1]).add(fault, 1),
        }
        let at = FAULTS.iter().position(|of| *of == fault);
        match self.by_operation.get(operation).zip(at) {
            Some((faults, at)) => faults[at].inc(),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_caller_counts_under_its_own_names() {
        let metrics = Metrics::try_new().expect("the catalogue is declared");
        let (programs, accounts) = (["-", "a", "b"], ["-", "main", "other"]);
        let caller = |program: usize, account: usize| Caller {
            program: program.checked_sub(1),
            account: account.checked_sub(1),
        };
        let all = (0..3).flat_map(|program| (0..3).map(move |account| (program, account)));
        // The last one is foreseen by nobody.
        let foreseen = all.clone().take(8);
        let foreseen =
            foreseen.map(|(program, account)| (caller(program, account), [programs[program], accounts[account]]));
        let counts = metrics.call_counts(2, foreseen, ["task.create"].into_iter());
        for (at, (program, account)) in all.clone().enumerate() {
            for _ in 0..=at {
                counts.ended(
                    caller(program, account),
                    [programs[program], accounts[account]],
                    "task.create",
                    "gateway",
                );
            }
        }
        let text = String::from_utf8(metrics.encode()).expect("text");
        for (at, (program, account)) in all.enumerate() {
            let (program, account) = (programs[program], accounts[account]);
            let calls =
                format!("calls_total{{account=\"{account}\",fault=\"gateway\",program=\"{program}\"}} {}\n", at + 1);
            assert!(text.contains(&calls), "{calls}{text}");
            let none = format!("calls_total{{account=\"{account}\",fault=\"none\",program=\"{program}\"}} 0\n");
            assert!(text.contains(&none), "{none}{text}");
        }
        assert!(text.contains("operation_calls_total{fault=\"gateway\",operation=\"task.create\"} 45\n"), "{text}");
    }
}
