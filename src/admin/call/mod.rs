//! What happened to a phone call: the request, its answer, the callbacks and their deliveries, by any id of theirs.
//!
//! It shows times, names, stable words, and of what a callback says a few plain words with the number's last two digits. Never
//! a body, a number or a name of somebody.

mod said;
mod timeline;

use serde_json::{Value, json};

use super::inbox::shown;
use super::page::{Page, Request, time};
use crate::inbox::ledger::{Found, PHASES, Trace};
use crate::inbox::{Inbox, KeyState};

/// Longest id that is looked for, in bytes: an idempotency key has at most so many.
const LONGEST: usize = 255;

/// Answers `/call.json?id=…`.
pub(super) async fn page(inbox: &Inbox, request: &Request) -> Page {
    let id = match asked(request) {
        Ok(id) => id,
        Err(refused) => return refused,
    };
    match inbox.trace(&id).await {
        Ok(trace) => Page::json(200, &told(&id, &trace, inbox.keeps_ledger())),
        Err(why) => why.into(),
    }
}

/// The id of the query. A refusal does not show it.
fn asked(request: &Request) -> Result<String, Page> {
    let mut words = form_urlencoded::parse(request.query.as_bytes());
    match (words.next(), words.next()) {
        (Some((name, id)), None) if name == "id" && (1..=LONGEST).contains(&id.trim().len()) => {
            Ok(id.trim().to_owned())
        }
        _ => Err(Page::message(
            400,
            "Ask with one word, id: the id of a task, a call, a request or a callback, or an idempotency key.",
        )),
    }
}

fn told(id: &str, trace: &Trace, has_ledger: bool) -> Value {
    let callbacks: Vec<_> = trace
        .callbacks
        .iter()
        .map(|callback| {
            let mut told = shown(&callback.listed);
            let said = callback.body.as_deref().map(|body| said::of(body, id)).unwrap_or_default();
            told["said"] = said.into();
            told
        })
        .collect();
    json!({
        "sentence": sentence(trace, has_ledger),
        "events": timeline::of(trace, id),
        "requests": trace.calls.iter().map(request).collect::<Vec<_>>(),
        "callbacks": callbacks,
        "more": trace.more,
    })
}

/// What is known, in one sentence.
fn sentence(trace: &Trace, has_ledger: bool) -> String {
    let counted = |count: usize, one: &str| format!("{count} {one}{}", if count == 1 { "" } else { "s" });
    match (trace.calls.len(), trace.callbacks.len()) {
        (0, 0) if trace.keys.iter().any(|key| key.state == KeyState::Sending) => {
            "A call with this idempotency key is under way.".to_owned()
        }
        (0, 0) if !trace.keys.is_empty() => {
            let count = counted(trace.keys.len(), "idempotency key");
            format!("{count} of this text: the request is not noted yet, or not any more.")
        }
        (0, 0) if has_ledger => {
            "Nothing is known of this id: it is none of ours, of a request without a key that has not ended yet, or older than \
             inbox.ledger and inbox.retain keep."
                .to_owned()
        }
        (0, 0) => "No callback names this id; requests are not noted here (inbox.ledger).".to_owned(),
        (calls, callbacks) => {
            format!("{} and {} belong to this id.", counted(calls, "request"), counted(callbacks, "callback"))
        }
    }
}

fn request(call: &Found) -> Value {
    let mut phases: serde_json::Map<_, _> =
        PHASES.iter().zip(&call.micros).map(|(phase, micros)| (format!("{phase}_us"), (*micros).into())).collect();
    phases.insert("key_us".to_owned(), call.key_micros.into());
    json!({
        "request_id": call.request,
        "at": time(call.at_ms),
        "program": call.program,
        "account": call.account,
        "operation": call.operation,
        "idempotency_key": call.keyed,
        "ids_named": call.named,
        "sent": call.sent,
        "status": call.status,
        "outcome": call.outcome,
        "platform_code": call.code,
        "replayed": call.replayed,
        "phases": phases,
        "from_memory": call.is_from_memory(),
        "took_us": call.took_micros,
    })
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::{HeaderMap, Method};

    use super::*;

    #[test]
    fn one_id_is_asked_for_and_a_refusal_does_not_show_it() {
        let ask = |query: &str| {
            let (path, headers, body) = ("/call.json".into(), HeaderMap::new(), Bytes::new());
            asked(&Request { method: Method::GET, path, query: query.into(), headers, body })
        };
        for (query, id) in [("id=69f5", "69f5"), ("id=+a%20b+", "a b"), ("id=%2B62", "+62")] {
            assert_eq!(ask(query).ok().as_deref(), Some(id));
        }
        for query in ["", "id=", "id=+", "task=1", "id=1&id=2", "id=1&x=2", &format!("id={}", "x".repeat(256))] {
            assert_eq!(ask(query).err().map(|page| page.status()), Some(400), "{query}");
        }
    }
}
