//! Which trace the tasks of the last calls belong to, in memory: so that a callback joins the trace of the call that it
//! comes of.
//!
//! Only calls whose program named a trace are here. It is forgotten with the process, and the oldest goes for the newest.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};

use super::vault::Tag;
use crate::trace::TraceParent;

/// Most tasks that are remembered: some ten mebibytes at most.
const MOST: usize = 64 * 1024;

/// By the tag of a task.
#[derive(Default)]
pub(super) struct Parents(Mutex<State>);

#[derive(Default)]
struct State {
    parents: HashMap<Tag, TraceParent>,
    /// In the order of their coming, each once.
    order: VecDeque<Tag>,
}

impl Parents {
    /// A call of this trace made these tasks. What a task was made by stays so.
    pub(super) fn insert(&self, tasks: impl Iterator<Item = Tag>, parent: TraceParent) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for task in tasks {
            if state.parents.contains_key(&task) {
                continue;
            }
            if state.order.len() >= MOST
                && let Some(oldest) = state.order.pop_front()
            {
                state.parents.remove(&oldest);
            }
            state.parents.insert(task, parent);
            state.order.push_back(task);
        }
    }

    /// The trace of the first of these that is known. `tags` are whole tags, one behind the other.
    pub(super) fn find(&self, tags: &[u8]) -> Option<TraceParent> {
        let state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if state.parents.is_empty() {
            return None;
        }
        let (tags, _) = tags.as_chunks();
        tags.iter().find_map(|tag| state.parents.get(tag)).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parent(digit: char) -> TraceParent {
        let trace = digit.to_string().repeat(32);
        TraceParent::parse(format!("00-{trace}-00f067aa0ba902b7-01").as_bytes()).expect("a trace")
    }

    fn tag(number: usize) -> Tag {
        let mut tag = Tag::default();
        tag[..8].copy_from_slice(&number.to_be_bytes());
        tag
    }

    #[test]
    fn a_task_belongs_to_the_trace_of_the_call_that_made_it() {
        let parents = Parents::default();
        assert_eq!(parents.find(&tag(1)), None);
        parents.insert([tag(1), tag(2)].into_iter(), parent('1'));
        parents.insert([tag(2), tag(3)].into_iter(), parent('2'));
        for (tags, found) in [
            (tag(1).to_vec(), Some(parent('1'))),
            (tag(2).to_vec(), Some(parent('1'))),
            ([tag(9), tag(3)].concat(), Some(parent('2'))),
            (tag(9).to_vec(), None),
            (Vec::new(), None),
        ] {
            assert_eq!(parents.find(&tags), found, "{tags:?}");
        }
    }

    #[test]
    fn the_oldest_goes_for_the_newest() {
        let parents = Parents::default();
        parents.insert((0..MOST).map(tag), parent('1'));
        parents.insert([tag(MOST)].into_iter(), parent('2'));
        assert_eq!((parents.find(&tag(0)), parents.find(&tag(1))), (None, Some(parent('1'))));
        assert_eq!(parents.find(&tag(MOST)), Some(parent('2')));
        let state = parents.0.lock().expect("no panic");
        assert_eq!((state.parents.len(), state.order.len()), (MOST, MOST));
    }
}
