//! The tasks that programs created, as far as the simulated platform remembers them.
//!
//! Bounded; it dials nobody.

use std::collections::VecDeque;
use std::sync::Mutex;

use serde_json::{Value, json};

use super::lock::lock;

/// Tasks that are remembered for detail and list.
const MAX_TASKS: usize = 1000;

/// The tasks that programs created, newest last.
#[derive(Default)]
pub(super) struct Tasks(Mutex<VecDeque<Task>>);

/// What is remembered of a task.
pub(super) struct Task {
    pub(super) id: String,
    pub(super) name: Value,
    /// How many of its details were taken.
    pub(super) details: usize,
}

impl Tasks {
    /// Forgets the oldest when there are too many.
    pub(super) fn remember(&self, task: Task) {
        let mut tasks = lock(&self.0);
        if tasks.len() == MAX_TASKS {
            tasks.pop_front();
        }
        tasks.push_back(task);
    }

    /// All of them, as a list shows them.
    pub(super) fn summaries(&self) -> Vec<Value> {
        lock(&self.0).iter().map(Task::summary).collect()
    }

    /// The one of this id, as a list shows it.
    pub(super) fn find(&self, id: &str) -> Option<Value> {
        lock(&self.0).iter().find(|task| task.id == id).map(Task::summary)
    }
}

impl Task {
    fn summary(&self) -> Value {
        json!({ "TaskID": self.id, "TaskName": self.name, "Total": self.details, "Status": "Running" })
    }
}
