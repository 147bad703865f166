//! The ids that an answer of the platform names: of the task or workflow that it created, of calls and messages.
//!
//! For the ledger, which keeps them as tags. It reads an answer that has left already, and keeps nothing else of it.

use serde_json::Value;

use super::code::ENVELOPE;
use crate::inbox::ledger::{MOST_IDS, Named};

/// Longest id in bytes that counts as one, as in callbacks.
const LONGEST_ID: usize = 128;

/// How deep they stand at most: in `data` or `body`, and in the rows of a list there.
const DEEPEST: usize = 4;

/// Names of fields without underlines and in small letters: the families of the platform write them differently.
const OF_TASKS: [&str; 4] = ["taskid", "workflowid", "nodetaskid", "wabataskid"];
const OF_CALLS: [&str; 3] = ["callid", "msgid", "messageid"];

/// What an answer names; nothing when it is none of the platform's envelopes.
pub(super) fn find(body: &[u8]) -> Named {
    let mut named = Named::default();
    if body.len() <= ENVELOPE
        && body.trim_ascii_start().starts_with(b"{")
        && let Ok(answer) = serde_json::from_slice::<Value>(body)
    {
        look(&answer, 0, &mut named);
    }
    named
}

fn look(value: &Value, depth: usize, named: &mut Named) {
    if depth > DEEPEST {
        return;
    }
    match value {
        Value::Array(items) => items.iter().for_each(|item| look(item, depth + 1, named)),
        Value::Object(fields) => {
            for (name, value) in fields {
                let name: String = name.chars().filter(|c| *c != '_').map(|c| c.to_ascii_lowercase()).collect();
                let full = named.calls.len() + named.tasks.len() >= MOST_IDS;
                match id(value) {
                    Some(_) if full => return,
                    Some(id) if OF_TASKS.contains(&name.as_str()) => add(&mut named.tasks, id),
                    Some(id) if OF_CALLS.contains(&name.as_str()) => add(&mut named.calls, id),
                    _ => look(value, depth + 1, named),
                }
            }
        }
        _ => {}
    }
}

fn add(ids: &mut Vec<String>, id: String) {
    if !ids.contains(&id) {
        ids.push(id);
    }
}

fn id(value: &Value) -> Option<String> {
    match value {
        Value::String(text) if !text.is_empty() && text.len() <= LONGEST_ID => Some(text.clone()),
        Value::Number(number) => number.as_u64().map(|number| number.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_names_its_tasks_and_calls() {
        for (body, tasks, calls) in [
            (r#"{"code":200,"data":{"TaskID":"69f5","TaskName":"a","detail_error_list":[]}}"#, &["69f5"][..], &[][..]),
            (r#"{"data":{"workflow_id":"w1","workflow_name":"n"},"code":200}"#, &["w1"], &[]),
            (r#"{"code":0,"body":{"taskId":17,"messageId":"m1"}}"#, &["17"], &["m1"]),
            (
                r#"{"data":{"rows":[{"workflow_id":"a","create_time":""},{"workflow_id":"b"},{"workflow_id":"a"}]}}"#,
                &["a", "b"],
                &[],
            ),
            (r#"{"data":{"link":"x","CalleeNumber":"+6281377700042","id":"1"}}"#, &[], &[]),
            (r#"{"a":{"b":{"c":{"d":{"e":{"task_id":"too deep"}}}}}}"#, &[], &[]),
            (r#"{"task_id":""}"#, &[], &[]),
            (r#"{"task_id":-1,"call_id":{}}"#, &[], &[]),
            ("[1]", &[], &[]),
            ("{", &[], &[]),
            ("", &[], &[]),
        ] {
            let found = find(body.as_bytes());
            assert_eq!(
                (found.tasks.as_slice(), found.calls.as_slice()),
                (
                    &tasks.iter().map(|id| (*id).to_owned()).collect::<Vec<_>>()[..],
                    &calls.iter().map(|id| (*id).to_owned()).collect::<Vec<_>>()[..]
                ),
                "{body}"
            );
        }
    }

    #[test]
    fn many_ids_are_named_up_to_a_bound() {
        let rows: Vec<_> =
            (0..100).map(|row| serde_json::json!({"task_id": row, "call_id": format!("c{row}")})).collect();
        let found = find(serde_json::json!({"data": rows}).to_string().as_bytes());
        assert_eq!(found.tasks.len() + found.calls.len(), MOST_IDS);
    }
}
