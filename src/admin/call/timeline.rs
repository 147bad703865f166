//! Everything that is known of an id as one row of events, in the order of their time.
//!
//! Pure: from what was found to sentences. It shows no id but those that a redrive needs.

use std::time::Duration;

use serde_json::{Value, json};

use super::said;
use crate::admin::page::time;
use crate::inbox::ledger::{Found, PHASES, Trace};
use crate::inbox::{KeyState, Listed, ListedDelivery, ListedKey, State};

/// One event.
struct Event {
    at_ms: u64,
    /// What a page draws it as: `request`, `answer`, `callback`, `delivered`, `dead`, `waiting`.
    kind: &'static str,
    sentence: String,
    /// The callback and the receiver, where it can be sent again.
    redrive: Option<(String, String)>,
}

/// The events as JSON, oldest first.
pub(super) fn of(trace: &Trace, id: &str) -> Vec<Value> {
    let mut events = Vec::new();
    trace.calls.iter().for_each(|call| add_call(call, &mut events));
    trace.keys.iter().for_each(|key| events.push(key_event(key)));
    for callback in &trace.callbacks {
        let said = callback.body.as_deref().map(|body| said::of(body, id)).unwrap_or_default();
        add_callback(&callback.listed, &said, &mut events);
    }
    events.sort_by_key(|event| event.at_ms);
    events
        .into_iter()
        .map(|Event { at_ms, kind, sentence, redrive }| {
            let redrive = redrive.map(|(id, receiver)| json!({"id": id, "receiver": receiver, "state": "dead"}));
            json!({"at": time(at_ms), "kind": kind, "sentence": sentence, "redrive": redrive})
        })
        .collect()
}

fn add_call(call: &Found, events: &mut Vec<Event>) {
    let Found {
        request, at_ms, program, account, operation, keyed, sent, status, outcome, code, replayed, micros, ..
    } = call;
    let by = named(program);
    let with = if *keyed { ", with an idempotency key" } else { "" };
    let sentence = format!("{by} asked for {operation} of account {account}{with} (request {request}).");
    events.push(Event { at_ms: *at_ms, kind: "request", sentence, redrive: None });
    let took = call.took_micros;
    let code = code.map(|code| format!(", code {code}")).unwrap_or_default();
    let ended = match (outcome.as_str(), status) {
        ("answered", status) if call.is_from_memory() => {
            format!(
                "It was answered from memory, as the first call with its key was; nothing was sent: status {status}{code}."
            )
        }
        ("client_gone", status) if call.is_from_memory() => {
            format!("The program had gone before its answer from memory, status {status}{code}; nothing was sent.")
        }
        ("answered", status) => format!("The platform's answer was handed on: status {status}{code}."),
        ("client_gone", 0) => "The program had gone before its answer.".to_owned(),
        ("client_gone", status) => {
            format!("The platform answered with status {status}{code}; the program had gone before it had all of that.")
        }
        ("cut_off", _) => "The platform's answer ended in the middle.".to_owned(),
        (outcome, status) => format!("The gateway answered {outcome} with status {status}."),
    };
    let reached = match sent.as_str() {
        "no" => " Nothing had left: no phone rings.",
        "unknown" => " It had left and no answer came: a phone may ring.",
        _ => "",
    };
    let again = if *replayed { " It was sent again with a fresh token." } else { "" };
    let phases = PHASES.iter().copied().zip(micros.iter().copied());
    let parts: Vec<_> =
        [("key", call.key_micros)].into_iter().chain(phases).filter(|(_, micros)| *micros > 0).map(part).collect();
    let parts = if parts.is_empty() { String::new() } else { format!(" Of {}: {}.", span(took), parts.join(", ")) };
    let at_ms = at_ms + u64::from(took) / 1000;
    events.push(Event { at_ms, kind: "answer", sentence: format!("{ended}{reached}{again}{parts}"), redrive: None });
}

/// A key on disk of which the ledger does not tell.
fn key_event(key: &ListedKey) -> Event {
    let ListedKey { id, program, account, operation, state, claimed_ms, status, .. } = key;
    let status = status.map(|status| format!(" with status {status}")).unwrap_or_default();
    let (kind, ended) = match state {
        KeyState::Sending => ("waiting", format!("It is under way since {}.", time(*claimed_ms))),
        KeyState::Unknown => {
            let look = "look at the platform, then airudder-gateway keys settle";
            ("answer", format!("It had left and nobody knows how it ended: a phone may ring; {look} {id}."))
        }
        KeyState::Answered | KeyState::NotKept => ("answer", format!("The platform answered it{status}.")),
        KeyState::Settled => ("answer", "An operator said that it was carried out.".to_owned()),
    };
    let by = named(program);
    let sentence = format!("{by} asked for {operation} of account {account} with this idempotency key. {ended}");
    Event { at_ms: *claimed_ms, kind, sentence, redrive: None }
}

fn named(program: &str) -> String {
    if program == "-" { "A program".to_owned() } else { format!("Program {program}") }
}

fn part((phase, micros): (&str, u32)) -> String {
    let what = match phase {
        "key" => "its key",
        "limit_wait" => "waiting for its turn",
        "token" => "waiting for a token",
        "seal" => "sealing",
        "connect" => "connecting",
        "platform" => "the platform",
        "open" => "opening the answer",
        _ => "handing it on",
    };
    format!("{what} {}", span(micros))
}

/// As people read it.
fn span(micros: u32) -> String {
    let time = Duration::from_micros(micros.into());
    match micros {
        0..1000 => format!("{micros} µs"),
        1000..1_000_000 => format!("{:.1} ms", time.as_secs_f64() * 1e3),
        _ => format!("{:.1} s", time.as_secs_f64()),
    }
}

fn add_callback(listed: &Listed, said: &[String], events: &mut Vec<Event>) {
    let Listed { id, source, kind, received_ms, repeat, state, reason, deliveries, .. } = listed;
    let said = if said.is_empty() { String::new() } else { format!(": {}", said.join("; ")) };
    let again = if *repeat { ", once more," } else { "" };
    let mut sentence = format!("The platform called back{again} on {source} ({}){said}.", kind.as_str());
    match state {
        State::Quarantined => {
            sentence += &format!(" It could not be opened ({}).", reason.as_deref().unwrap_or("unknown"))
        }
        State::Corrupt => sentence += " It cannot be read from the disk any more.",
        _ => {}
    }
    events.push(Event { at_ms: *received_ms, kind: "callback", sentence, redrive: None });
    for delivery in deliveries {
        add_delivery(&id.to_string(), *received_ms, delivery, events);
    }
}

fn add_delivery(id: &str, received_ms: u64, delivery: &ListedDelivery, events: &mut Vec<Event>) {
    let ListedDelivery { receiver, state, attempts, due_ms, last, settled_ms } = delivery;
    let attempts = format!("{attempts} {}", if *attempts == 1 { "attempt" } else { "attempts" });
    let last = last.as_deref().map(|last| format!(", the last one: {last}")).unwrap_or_default();
    let settled = settled_ms.unwrap_or(received_ms);
    let (at_ms, kind, sentence) = match state {
        State::Delivered => (settled, "delivered", format!("{receiver} took it after {attempts}.")),
        State::Dead => (settled, "dead", format!("A dead letter for {receiver} after {attempts}{last}.")),
        State::Waiting => match due_ms {
            Some(due) => (*due, "waiting", format!("Waits for {receiver}: due then, after {attempts}{last}.")),
            None => (received_ms, "waiting", format!("Waits for {receiver}, behind an earlier one of the same call.")),
        },
        State::Corrupt | State::Quarantined => {
            (settled, "dead", format!("Cannot be delivered to {receiver}: unreadable."))
        }
    };
    let redrive = (*state == State::Dead).then(|| (id.to_owned(), receiver.clone()));
    events.push(Event { at_ms, kind, sentence, redrive });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inbox::{Kind, Shown};

    fn delivery(receiver: &str, state: State, attempts: u32, at_ms: u64) -> ListedDelivery {
        let (due_ms, settled_ms) = if state == State::Waiting { (Some(at_ms), None) } else { (None, Some(at_ms)) };
        ListedDelivery { receiver: receiver.into(), state, attempts, due_ms, last: Some("gone".into()), settled_ms }
    }

    #[test]
    fn events_stand_in_the_order_of_their_time() {
        let call = Found {
            request: "ab".repeat(16),
            at_ms: 1000,
            program: "books".into(),
            account: "main".into(),
            operation: "task.create".into(),
            keyed: true,
            named: 1,
            sent: "yes".into(),
            status: 200,
            outcome: "answered".into(),
            code: Some(200),
            replayed: false,
            micros: vec![0, 0, 80, 0, 1_500_000, 0, 0],
            key_micros: 1_900,
            took_micros: 1_502_000,
        };
        let listed = Listed {
            id: "cb_0000010000000000".parse().expect("an id"),
            source: "calls".into(),
            kind: Kind::Call,
            received_ms: 5000,
            bytes: 10,
            repeat: false,
            state: State::Dead,
            reason: None,
            deliveries: vec![
                delivery("audit", State::Waiting, 1, 9000),
                delivery("books", State::Dead, 2, 7000),
                delivery("crm", State::Delivered, 1, 6000),
            ],
        };
        let body = Some(bytes::Bytes::from_static(b"{\"status\":\"finished\",\"callee\":\"+6281377700042\"}"));
        let trace = Trace { calls: vec![call], keys: Vec::new(), callbacks: vec![Shown { listed, body }], more: false };
        let events = of(&trace, "x");
        let kinds: Vec<_> = events.iter().map(|event| event["kind"].as_str().expect("a kind")).collect();
        assert_eq!(kinds, ["request", "answer", "callback", "delivered", "dead", "waiting"]);
        assert_eq!(events[1]["at"], "1970-01-01T00:00:02.502Z");
        assert_eq!(
            events[1]["sentence"],
            "The platform's answer was handed on: status 200, code 200. Of 1.5 s: its key 1.9 ms, sealing 80 µs, the platform 1.5 s."
        );
        assert_eq!(events[2]["sentence"], "The platform called back on calls (call): finished, number ending in 42.");
        let meant = events[4]["redrive"].to_string();
        assert!(meant.contains("cb_0000010000000000") && meant.contains("books"), "{meant}");
        assert!(events.iter().enumerate().all(|(at, event)| (at == 4) != event["redrive"].is_null()));
    }

    #[test]
    fn what_may_have_reached_the_platform_is_said_in_so_many_words() {
        let call = |outcome: &str, sent: &str| {
            let mut events = Vec::new();
            let (outcome, sent) = (outcome.to_owned(), sent.to_owned());
            let found = Found {
                request: String::new(),
                at_ms: 0,
                program: "-".into(),
                account: "main".into(),
                operation: "other".into(),
                keyed: false,
                named: 0,
                sent,
                status: 502,
                outcome,
                code: None,
                replayed: true,
                micros: vec![0; 7],
                key_micros: 0,
                took_micros: 0,
            };
            add_call(&found, &mut events);
            events.pop().expect("an answer").sentence
        };
        assert!(call("outcome_unknown", "unknown").contains("a phone may ring. It was sent again with a fresh token."));
        assert!(call("limited", "no").contains("The gateway answered limited with status 502. Nothing had left"));
        assert_eq!(
            call("cut_off", "yes"),
            "The platform's answer ended in the middle. It was sent again with a fresh token."
        );
    }
}
