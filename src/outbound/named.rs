//! The ids that an answer of the platform names: of the task or workflow that it created, of calls and messages.
//!
//! For the ledger, which keeps them as tags. It reads an answer that has left already, and keeps nothing else of it. It looks for
//! the names of fields and does not parse: that would cost as much as all the rest of a small call.

use memchr::memchr_iter;
use serde::Deserialize as _;
use serde_json::value::RawValue;

use super::code::ENVELOPE;
use crate::inbox::ledger::{MOST_IDS, Named};

/// Longest id in bytes that counts as one, as in callbacks.
const LONGEST_ID: usize = 128;

/// Names of fields without underlines and in small letters: the families of the platform write them differently.
const OF_TASKS: [&str; 4] = ["taskid", "workflowid", "nodetaskid", "wabataskid"];
const OF_CALLS: [&str; 3] = ["callid", "msgid", "messageid"];

/// What an answer names; nothing when it is none of the platform's envelopes.
pub(super) fn find(body: &[u8]) -> Named {
    let mut named = Named::default();
    if body.len() > ENVELOPE || !body.trim_ascii_start().starts_with(b"{") {
        return named;
    }
    for colon in memchr_iter(b':', body) {
        let Some(name) = field(&body[..colon]) else { continue };
        let ids = match () {
            () if OF_TASKS.iter().any(|known| is(name, known)) => &mut named.tasks,
            () if OF_CALLS.iter().any(|known| is(name, known)) => &mut named.calls,
            () => continue,
        };
        if let Some(id) = id(&body[colon + 1..]).filter(|id| !ids.contains(id)) {
            ids.push(id);
        }
        if named.calls.len() + named.tasks.len() >= MOST_IDS {
            break;
        }
    }
    named
}

/// The name of a field of letters and underlines that may be one of these, in front of its colon. JSON has no other place where
/// such a word stands between two quotes that are not escaped and in front of a colon.
fn field(before: &[u8]) -> Option<&[u8]> {
    let text = before.trim_ascii_end().strip_suffix(b"\"")?;
    // All of them end alike, and few others do.
    if !matches!(text.last(), Some(b'd' | b'D' | b'_')) {
        return None;
    }
    let start = text.iter().rposition(|byte| !byte.is_ascii_alphabetic() && *byte != b'_')?;
    let is_quoted = text[start] == b'"' && !text[..start].ends_with(b"\\");
    is_quoted.then(|| &text[start + 1..])
}

/// Whether a field's name is this one, however it is spelled.
fn is(name: &[u8], known: &str) -> bool {
    let mut written = name.iter().filter(|byte| **byte != b'_');
    let same = |byte: u8| written.next().is_some_and(|other| other.eq_ignore_ascii_case(&byte));
    known.bytes().all(same) && written.next().is_none()
}

/// The id that stands here: a text, or a number.
fn id(rest: &[u8]) -> Option<String> {
    let value = <&RawValue>::deserialize(&mut serde_json::Deserializer::from_slice(rest)).ok()?.get();
    let id = match value.as_bytes() {
        [b'"', ..] => serde_json::from_str(value).ok(),
        _ => value.parse::<u64>().ok().map(|number| number.to_string()),
    };
    id.filter(|id: &String| (1..=LONGEST_ID).contains(&id.len()))
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
            (r#"{"a":{"b":{"c":{"d":{"e":{"task_id":"deep"}}}}}}"#, &["deep"], &[]),
            (r#"{"T_ask_Id_" : "a\/b" ,"call_id" :7}"#, &["a/b"], &["7"]),
            (r#"{"data":"\"task_id\":\"no\"","x\"task_id":"no","task id":"no","mytask_id":"no"}"#, &[], &[]),
            (r#"{"data":["task_id",":","no"],"d":"task_id:no","task_id ":"no"}"#, &[], &[]),
            (r#"{"task_id":""}"#, &[], &[]),
            (r#"{"task_id":1.5,"call_id":true,"msg_id":null,"taskId":["no"],"callId":"#, &[], &[]),
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
