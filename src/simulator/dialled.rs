//! What the calls of a created task come to: who answers, and the callbacks that say so.
//!
//! Nothing is dialled. A callee whose number ends in 0 never answers, everybody else does; so a program chooses by
//! its numbers what it is told.

use std::time::Duration;

use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::callback::{Callback, Sample};
use super::caller::Caller;
use super::input::Input;
use super::noise::Noise;
use super::options::Options;
use crate::clock;

/// Calls of one task that lead to callbacks; details beyond are accepted and never called.
const MOST_CALLS: usize = 10_000;

/// Most redials and most minutes between them; what a program asks for beyond is cut down.
const MOST_REDIALS: u64 = 10;
const MOST_INTERVAL: u64 = 60;

/// A created task, as far as its callbacks tell of it.
pub(super) struct Dialled {
    id: String,
    name: Value,
    redials: u64,
    interval: u64,
    answered: Vec<Value>,
    unanswered: Vec<Value>,
}

impl Dialled {
    /// Calls everybody in `Details`. The links to recordings point at `platform`.
    pub(super) fn new(id: &str, input: &Input, noise: &Noise, platform: &str) -> Self {
        let number = |name, most: u64| input.value(name).as_u64().unwrap_or(0).min(most);
        let mut task = Self {
            id: id.to_owned(),
            name: input.value("TaskName").clone(),
            redials: number("RepeatNumber", MOST_REDIALS),
            interval: number("RepeatInterval", MOST_INTERVAL),
            answered: Vec::new(),
            unanswered: Vec::new(),
        };
        let details = input.list("Details").iter().filter_map(Value::as_object).take(MOST_CALLS);
        for (index, detail) in details.enumerate() {
            let callee = detail.get("CalleeNumber").or(detail.get("Callee")).and_then(Value::as_str);
            let callee = callee.unwrap_or_default();
            let answers = !callee.ends_with('0');
            let call_id = noise.id();
            let sample = if answers { Sample::CallFinished } else { Sample::CallsUnanswered };
            let mut call = fields(sample).remove("details").map(|mut details| details[0].take()).unwrap_or_default();
            call["id"] = json!(index + 1);
            call["callee"] = json!(callee);
            call["variables"] = detail.iter().filter(|(name, _)| !name.starts_with("Callee")).map(owned).collect();
            call["call_times"] = json!(if answers { 1 } else { task.redials + 1 });
            if answers {
                call["recording_link"] = json!(format!("{platform}/recordings/{call_id}.mp3"));
            }
            call["call_id"] = json!(call_id);
            if answers { &mut task.answered } else { &mut task.unanswered }.push(call);
        }
        task
    }

    /// Each answered call is told at once when it ended, the others together after the last redial.
    pub(super) fn call_back(self, options: &Options, caller: &Caller) {
        let Some(url) = caller.url() else { return };
        let send = |body: Value, after: Duration| {
            let body = Bytes::from(body.to_string());
            let callback = Callback { sealed: options.seal_callbacks, ..Callback::new(url.as_str(), body) };
            // The URL was checked at the start; nobody waits for the outcome, which is on record.
            let _ = caller.send(callback, after);
        };
        for call in &self.answered {
            send(self.told(Sample::CallFinished, vec![call.clone()]), options.call_time);
        }
        if !self.unanswered.is_empty() {
            let minutes = u32::try_from(self.redials * self.interval).unwrap_or(u32::MAX);
            let waited = options.callback_minute.saturating_mul(minutes).saturating_add(options.call_time);
            send(self.told(Sample::CallsUnanswered, self.unanswered.clone()), waited);
        }
    }

    /// The callback that tells of these calls.
    fn told(&self, sample: Sample, calls: Vec<Value>) -> Value {
        let mut told = fields(sample);
        let mut now = String::new();
        // Writing to a string cannot fail.
        let _ = clock::write_rfc3339(clock::wall_millis(), &mut now);
        told.insert("task_id".into(), json!(self.id));
        told.insert("task_name".into(), self.name.clone());
        told.insert("created_at".into(), json!(now.get(..19).unwrap_or_default().replace('T', " ")));
        told.insert("repeat_interval".into(), json!(self.interval));
        told.insert("repeat_number".into(), json!(self.redials));
        told.insert("details".into(), Value::Array(calls));
        Value::Object(told)
    }
}

/// A sample's fields; they are an object, which the tests say.
fn fields(sample: Sample) -> Map<String, Value> {
    serde_json::from_str(sample.text()).unwrap_or_default()
}

fn owned((name, value): (&String, &Value)) -> (String, Value) {
    (name.clone(), value.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_sample_is_an_object() {
        for sample in Sample::ALL {
            assert!(fields(sample).len() > 1, "{sample:?}");
        }
    }

    #[test]
    fn who_answers_is_told_alone_and_the_rest_together() {
        let body = json!({
            "TaskName": "t", "RepeatNumber": 2, "RepeatInterval": 1000,
            "Details": [{ "CalleeNumber": "+6281", "Name": "A" }, { "Callee": "+6280" }, {}, { "Callee": "+620" }, 7],
        });
        let noise = Noise::try_new().expect("a seed");
        let task = Dialled::new("id", &Input::new(None, body.to_string().as_bytes()), &noise, "http://p");
        assert_eq!((task.answered.len(), task.unanswered.len()), (2, 2));
        assert_eq!((task.redials, task.interval), (2, MOST_INTERVAL));
        let told = task.told(Sample::CallFinished, vec![task.answered[0].clone()]);
        assert_eq!(
            (&told["task_id"], &told["task_name"], &told["status"]),
            (&json!("id"), &json!("t"), &json!("finished"))
        );
        let call = &told["details"][0];
        assert_eq!((&call["callee"], &call["variables"]), (&json!("+6281"), &json!({ "Name": "A" })));
        assert_ne!(call["call_id"], task.answered[1]["call_id"], "every call has an id of its own");
        assert_eq!(
            call["recording_link"],
            format!("http://p/recordings/{}.mp3", call["call_id"].as_str().expect("text"))
        );
        assert_eq!((&task.unanswered[0]["result"], &task.unanswered[0]["id"]), (&json!("unanswered"), &json!(2)));
    }
}
