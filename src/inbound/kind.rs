//! What a callback is, by its fields: its kind, and the ids by which it is kept apart, ordered and found.
//!
//! It reads borrowed and keeps a bounded number of ids, however large the body is. A shape that it does not know is
//! [`Kind::Other`], never an error: what the platform sends is stored whether we understand it or not.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::inbox::Ids;
use crate::inbox::Kind;

/// Most call ids, and most task ids, that are kept of one callback. What is beyond is stored and delivered like the
/// rest, and not found by its id.
const MOST_IDS: usize = 64;

/// Longest id in bytes that counts as one; those in the documentation have 32 characters.
const LONGEST_ID: usize = 128;

/// What an opened callback is; `None` when the text is not JSON.
pub(super) fn read(text: &str) -> Option<(Kind, Ids)> {
    match serde_json::from_str::<Shape<'_>>(text) {
        Ok(shape) => Some(shape.known()),
        // JSON all the same, perhaps: a list, or an object that says a field twice.
        Err(_) => serde_json::from_str::<IgnoredAny>(text).is_ok().then(|| (Kind::Other, Ids::default())),
    }
}

/// The fields that say what a callback is. Each is read on its own, so that an odd one spoils no other.
#[derive(Deserialize)]
struct Shape<'a> {
    /// Of the second family, whose events say everything in `body`.
    #[serde(borrow, rename = "type")]
    event: Option<&'a RawValue>,
    #[serde(borrow)]
    body: Option<&'a RawValue>,
    #[serde(borrow)]
    details: Option<&'a RawValue>,
    #[serde(borrow)]
    call_id: Option<&'a RawValue>,
    #[serde(borrow)]
    msg_id: Option<&'a RawValue>,
    #[serde(borrow)]
    task_id: Option<&'a RawValue>,
    #[serde(borrow)]
    workflow_id: Option<&'a RawValue>,
    #[serde(borrow)]
    nodetask_id: Option<&'a RawValue>,
    #[serde(borrow)]
    waba_task_id: Option<&'a RawValue>,
}

/// What is looked at in `body`.
#[derive(Deserialize)]
struct Event<'a> {
    #[serde(borrow)]
    callid: Option<&'a RawValue>,
}

/// What is looked at in one of `details`.
#[derive(Deserialize)]
struct Detail<'a> {
    #[serde(borrow)]
    call_id: Option<&'a RawValue>,
    #[serde(borrow)]
    result: Option<&'a RawValue>,
}

/// The calls of `details`, as far as they are kept.
#[derive(Default)]
struct Details {
    seen: usize,
    /// How many of them nobody answered.
    unanswered: usize,
    /// Each once.
    calls: Vec<String>,
}

impl Shape<'_> {
    fn known(&self) -> (Kind, Ids) {
        let (call, message) = (id(self.call_id), id(self.msg_id));
        let tasks = [self.task_id, self.workflow_id, self.nodetask_id, self.waba_task_id];
        let tasks: Vec<_> = tasks.into_iter().filter_map(id).collect();
        if let Some(kind) = self.event() {
            let call = self.body.and_then(|body| id(serde_json::from_str::<Event<'_>>(body.get()).ok()?.callid));
            // An agent that is ready, talking and ready again says the same thing twice, and means it.
            return (kind, Ids { natural: false, order: call.clone(), calls: call.into_iter().collect(), tasks });
        }
        let mut details: Details =
            self.details.and_then(|details| serde_json::from_str(details.get()).ok()).unwrap_or_default();
        let kind = if message.is_some() || self.waba_task_id.is_some() {
            Kind::Waba
        } else if details.seen > 0 && details.unanswered == details.seen {
            Kind::CallsUnanswered
        } else if call.is_some() || !details.calls.is_empty() {
            Kind::Call
        } else {
            Kind::Other
        };
        if let Some(call) = call {
            details.keep(call);
        }
        let calls = details.calls;
        let natural = message.is_some() || !calls.is_empty();
        let only_call = if let [only] = calls.as_slice() { Some(only.clone()) } else { None };
        (kind, Ids { natural, order: message.or(only_call), calls, tasks })
    }

    fn event(&self) -> Option<Kind> {
        self.body?;
        match text(self.event)?.as_ref() {
            "TaskStatus" => Some(Kind::PredictTask),
            "ContactStatus" => Some(Kind::PredictContact),
            "AgentStatus" => Some(Kind::PredictAgent),
            _ => None,
        }
    }
}

impl Details {
    fn keep(&mut self, call: String) {
        if self.calls.len() < MOST_IDS && !self.calls.contains(&call) {
            self.calls.push(call);
        }
    }
}

impl<'de> Deserialize<'de> for Details {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OneByOne;
        impl<'de> Visitor<'de> for OneByOne {
            type Value = Details;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Details, A::Error> {
                let mut details = Details::default();
                while let Some(raw) = list.next_element::<&'de RawValue>()? {
                    details.seen += 1;
                    let Ok(detail) = serde_json::from_str::<Detail<'_>>(raw.get()) else { continue };
                    details.unanswered += usize::from(text(detail.result).as_deref() == Some("unanswered"));
                    if let Some(call) = id(detail.call_id) {
                        details.keep(call);
                    }
                }
                Ok(details)
            }
        }
        deserializer.deserialize_seq(OneByOne)
    }
}

/// A field that is text.
fn text<'a>(raw: Option<&'a RawValue>) -> Option<Cow<'a, str>> {
    let raw = raw?.get();
    match raw.strip_prefix('"')?.strip_suffix('"') {
        Some(plain) if !plain.contains('\\') => Some(Cow::Borrowed(plain)),
        _ => serde_json::from_str::<String>(raw).ok().map(Cow::Owned),
    }
}

/// A field that is an id: a text of a sensible length, or a whole number.
fn id(raw: Option<&RawValue>) -> Option<String> {
    let written = raw?.get();
    if written.len() > LONGEST_ID + 2 {
        return None;
    }
    let id = match text(raw) {
        Some(text) => text.into_owned(),
        None => serde_json::from_str::<u64>(written).ok()?.to_string(),
    };
    (!id.is_empty()).then_some(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLES: [(&str, Kind, bool, usize, usize); 4] = [
        (include_str!("../../tests/data/callbacks/call-finished.json"), Kind::Call, true, 1, 1),
        (include_str!("../../tests/data/callbacks/calls-unanswered.json"), Kind::CallsUnanswered, true, 3, 1),
        (include_str!("../../tests/data/callbacks/workflow-waba-status.json"), Kind::Waba, true, 0, 3),
        (include_str!("../../tests/data/callbacks/predict-agent-status.json"), Kind::PredictAgent, false, 1, 0),
    ];

    #[test]
    fn the_documented_callbacks_are_known() {
        for (sample, kind, natural, calls, tasks) in SAMPLES {
            let (found, ids) = read(sample).expect("JSON");
            assert_eq!(
                (found, ids.natural, ids.calls.len(), ids.tasks.len()),
                (kind, natural, calls, tasks),
                "{sample}"
            );
            // One call or one message has an order; several calls belong to none.
            assert_eq!(ids.order.is_some(), kind != Kind::CallsUnanswered, "{sample}");
        }
        let (_, ids) = read(SAMPLES[0].0).expect("JSON");
        assert_eq!(ids.calls, ["c0ffee5b9e7d4a1fa2b3c4d5e6f70812"]);
        assert_eq!(ids.order.as_deref(), Some("c0ffee5b9e7d4a1fa2b3c4d5e6f70812"));
        assert_eq!(ids.tasks, ["7c1e5b0f4d9a4b6f8e2a9d3c5f6071ab"]);
    }

    #[test]
    fn a_shape_that_nobody_knows_is_other_and_what_is_no_json_is_nothing() {
        let check = |text: &str, expected: Option<(Kind, &[&str], bool)>| {
            let found = read(text);
            let seen = found.as_ref().map(|(kind, ids)| (*kind, ids.calls.clone(), ids.natural));
            let expected = expected
                .map(|(kind, calls, natural)| (kind, calls.iter().map(|&call| call.to_owned()).collect(), natural));
            assert_eq!(seen, expected, "{text}");
        };
        let other: Option<(Kind, &[&str], bool)> = Some((Kind::Other, &[], false));
        for text in ["{}", "[]", "1", "null", r#""text""#, r#"{"details":{}}"#, r#"{"details":[]}"#, "1e999", " {} "] {
            check(text, other);
        }
        for text in [r#"{"details":[1,"a",null,{"call_id":{}},{"call_id":""}]}"#, r#"{"call_id":"a","call_id":"b"}"#] {
            check(text, other);
        }
        for text in ["", " ", "{", "{}x", "{}{}", "{'a':1}", "\u{feff}{}", "nul", r#"{"a":}"#, r#""\x""#] {
            check(text, None);
        }
        check(r#"{"call_id":"a"}"#, Some((Kind::Call, &["a"], true)));
        check(r#"{"call\u005fid":"\u0061"}"#, Some((Kind::Call, &["a"], true)));
        check(r#"{"call_id":17}"#, Some((Kind::Call, &["17"], true)));
        check(r#"{"call_id":-1.5,"details":[{"call_id":"b"}]}"#, Some((Kind::Call, &["b"], true)));
        check(r#"{"details":[{"call_id":"a","result":"unanswered"}]}"#, Some((Kind::CallsUnanswered, &["a"], true)));
        check(
            r#"{"details":[{"call_id":"a","result":"unanswered"},{"call_id":"b"},{"call_id":"a"}]}"#,
            Some((Kind::Call, &["a", "b"], true)),
        );
        check(r#"{"type":"TaskStatus","body":{"taskName":"t"}}"#, Some((Kind::PredictTask, &[], false)));
        check(r#"{"type":"ContactStatus","body":{"callid":"c"}}"#, Some((Kind::PredictContact, &["c"], false)));
        check(r#"{"type":"Else","body":{"callid":"c"}}"#, other);
        check(r#"{"type":"AgentStatus"}"#, other);
    }

    #[test]
    fn depth_and_number_are_no_burden() {
        let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        assert_eq!(read(&deep).map(|(kind, _)| kind), Some(Kind::Other));
        let details: Vec<_> = (0..1000).map(|n| format!(r#"{{"call_id":"{n}","x":{deep}}}"#)).take(3).collect();
        let (kind, ids) = read(&format!(r#"{{"details":[{}]}}"#, details.join(","))).expect("JSON");
        assert_eq!((kind, ids.calls.len()), (Kind::Call, 3));
        let many: Vec<_> = (0..1000).map(|n| format!(r#"{{"call_id":"{n}"}}"#)).collect();
        let (_, ids) = read(&format!(r#"{{"details":[{}]}}"#, many.join(","))).expect("JSON");
        assert_eq!((ids.calls.len(), ids.order), (MOST_IDS, None));
        let long = "x".repeat(LONGEST_ID + 1);
        assert_eq!(read(&format!(r#"{{"call_id":"{long}"}}"#)).map(|(_, ids)| ids.calls), Some(vec![]));
    }
}
