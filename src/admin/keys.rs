//! The pages of idempotency keys: which were used and where they stand, one with its answer, and settling one whose call's end
//! nobody knows.
//!
//! Each request is one bounded step. A key is never shown: whoever has it can ask for it.

use bytes::{BufMut, Bytes, BytesMut};
use http::{Method, StatusCode};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::page::{Longest, Page, Request, time};
use super::question;
use crate::clock;
use crate::http::response::ResponseHead;
use crate::inbox::{Inbox, KeptAnswer, KeyFilter, KeyId, KeyState, ListedKey, Verdict};

/// Most keys of one list, and how many there are without a limit.
const MOST: usize = 1000;
const USUAL: usize = 100;

/// What somebody is told who asks for a key that is not there.
const NONE: &str = "There is no such key; it may be free again, or its time may be over.";

/// How a key is settled.
const FORM: &str =
    "Send {\"id\": \"key_…\", \"as\": \"sent\" or \"not_sent\"}; with sent, if it is known, the answer as \"answer\".";

/// Where a key is settled.
pub(super) const SETTLE: &str = "/keys/settle";

/// What somebody is told who gives more than is remembered.
const TOO_LONG: &str =
    "The answer is over 256 KiB, and so much is not remembered of any; settle the key as sent without an answer.";

/// How long a settlement may be: the longest answer that is remembered, and the words around it.
pub(super) const SETTLEMENT: Longest = Longest { bytes: KeptAnswer::room(0) + 4096, sentence: TOO_LONG };

/// Answers a path below `/keys`; `None` when there is no such page.
pub(super) async fn page(inbox: &Inbox, request: &Request) -> Option<Page> {
    let reads = matches!(request.method, Method::GET | Method::HEAD);
    let answer = match request.path.strip_prefix("/keys")? {
        "" if reads => list(inbox, request).await,
        "/settle" if request.method == Method::POST => settle(inbox, request).await,
        "/settle" => Err(Page::only("POST")),
        "" => Err(Page::only("GET, HEAD")),
        rest => {
            let id = rest.strip_prefix('/')?;
            if reads { show(inbox, id).await } else { Err(Page::only("GET, HEAD")) }
        }
    };
    Some(answer.unwrap_or_else(|refused| refused))
}

/// A question, understood.
#[derive(Default)]
struct Question {
    filter: KeyFilter,
    after: Option<KeyId>,
    most: Option<usize>,
}

impl Question {
    fn of(words: Vec<(String, String)>, now_ms: u64) -> Result<Self, String> {
        let (mut question, mut seen) = (Self::default(), Vec::new());
        for (name, value) in words {
            if seen.contains(&name) {
                return Err("A word is written twice; write it once.".to_owned());
            }
            if value.is_empty() {
                return Err("A word has no value; write one, or leave it out.".to_owned());
            }
            question.add(&name, value, now_ms)?;
            seen.push(name);
        }
        Ok(question)
    }

    fn add(&mut self, name: &str, value: String, now_ms: u64) -> Result<(), String> {
        let filter = &mut self.filter;
        match name {
            "program" => filter.program = Some(value),
            "account" => filter.account = Some(value),
            "operation" => filter.operation = Some(value),
            "key" => filter.key = Some(value),
            "state" => {
                let known = KeyState::ALL.map(KeyState::as_str).join(", ");
                filter.state = Some(KeyState::find(&value).ok_or(format!("state is one of {known}."))?);
            }
            "since" => filter.since_ms = Some(question::time(name, &value, now_ms)?),
            "until" => filter.until_ms = Some(question::time(name, &value, now_ms)?),
            "after" => self.after = Some(value.parse().map_err(|error| format!("after is {error}."))?),
            "limit" => self.most = Some(question::number(name, &value, MOST)?),
            _ => {
                return Err(
                    "There is an unknown word in this question; known are state, program, account, operation, \
                            key, since, until, after, limit."
                        .to_owned(),
                );
            }
        }
        Ok(())
    }
}

async fn list(inbox: &Inbox, request: &Request) -> Result<Page, Page> {
    let words = question::words(request)?;
    let question = Question::of(words, clock::wall_millis()).map_err(|why| Page::message(400, &why))?;
    let most = question.most.unwrap_or(USUAL);
    let found = inbox.keys(question.filter, question.after, most).await?;
    let next = found.last().filter(|_| found.len() == most).map(|last| last.id.to_string());
    let keys: Vec<_> = found.iter().map(shown).collect();
    Ok(Page::json(200, &json!({"keys": keys, "next": next})))
}

async fn find(inbox: &Inbox, id: KeyId) -> Result<ListedKey, Page> {
    let filter = KeyFilter { id: Some(id), ..KeyFilter::default() };
    inbox.keys(filter, None, 1).await?.pop().ok_or_else(|| Page::message(404, NONE))
}

/// The answer stands under `answer` as the program reads it; when it is no JSON, as text under `body`.
async fn show(inbox: &Inbox, id: &str) -> Result<Page, Page> {
    let id: KeyId = id.parse().map_err(|error| Page::message(404, &format!("This is {error}.")))?;
    let listed = find(inbox, id).await?;
    let kept = inbox.remembered(id).await?;
    let mut key = shown(&listed);
    let body = kept.map(|kept| kept.body).unwrap_or_default();
    if serde_json::from_slice::<IgnoredAny>(&body).is_err() {
        let text = (!body.is_empty()).then(|| String::from_utf8_lossy(&body));
        key["answer"] = Value::Null;
        key["body"] = text.map_or(Value::Null, Value::from);
        return Ok(Page::json(200, &key));
    }
    let head = key.to_string();
    let mut text = BytesMut::with_capacity(head.len() + body.len() + 16);
    text.put_slice(head.strip_suffix('}').unwrap_or(&head).as_bytes());
    text.put_slice(b",\"answer\":");
    text.put_slice(&body);
    text.put_u8(b'}');
    Ok(Page::json_text(text.freeze()))
}

/// What an operator says of one key.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Settle<'a> {
    id: &'a str,
    #[serde(rename = "as")]
    verdict: &'a str,
    /// As it is written, so that no number loses a digit.
    #[serde(borrow)]
    answer: Option<&'a RawValue>,
}

async fn settle(inbox: &Inbox, request: &Request) -> Result<Page, Page> {
    let refused = || Page::message(400, FORM);
    let Settle { id, verdict, answer } = serde_json::from_slice(&request.body).map_err(|_| refused())?;
    let id: KeyId = id.parse().map_err(|error| Page::message(400, &format!("This is {error}.")))?;
    let answered = answer.is_some();
    let (verdict, word) = match (verdict, answer) {
        ("not_sent", None) => (Verdict::NotSent, "not_sent"),
        ("sent", None) => (Verdict::Sent, "sent"),
        ("sent", Some(answer)) => (Verdict::Answered(given(answer)?), "sent"),
        _ => return Err(refused()),
    };
    if !inbox.settle_key(id, verdict).await? {
        let state = find(inbox, id).await?.state.as_str();
        let message = format!("Only a key whose call has no known end can be settled; this one is {state}.");
        return Err(Page::message(409, &message));
    }
    tracing::info!(key = %id, verdict = word, answered, "key settled by an operator");
    Ok(Page::json(200, &json!({"id": id.to_string(), "as": word, "answered": answered})))
}

/// The answer that an operator gives: JSON with status 200, as the platform would have sent it.
///
/// # Errors
/// It is longer than what is remembered.
fn given(answer: &RawValue) -> Result<KeptAnswer, Page> {
    let mut head = ResponseHead::new(StatusCode::OK);
    head.header(b"Content-Type", b"application/json");
    if answer.get().len() > KeptAnswer::room(head.lines().len()) {
        return Err(Page::message(400, TOO_LONG));
    }
    Ok(KeptAnswer {
        status: StatusCode::OK.as_u16(),
        lines: Bytes::copy_from_slice(head.lines()),
        body: Bytes::copy_from_slice(answer.get().as_bytes()),
    })
}

fn shown(listed: &ListedKey) -> Value {
    let ListedKey { id, program, account, operation, state, claimed_ms, ended_ms, status, bytes, by_operator } = listed;
    json!({
        "id": id.to_string(),
        "program": program,
        "account": account,
        "operation": operation,
        "state": state.as_str(),
        "claimed": time(*claimed_ms),
        "ended": ended_ms.map(time),
        "status": status,
        "bytes": bytes,
        "by_operator": by_operator,
    })
}
