//! The pages of the inbox: what is in it, one callback whole, and sending again or removing many.
//!
//! Each request is one bounded step; whoever wants more goes on after its `next`. A body is shown to who asks for its id,
//! and written nowhere else.

use bytes::{BufMut, BytesMut};
use http::Method;
use serde::de::IgnoredAny;
use serde_json::{Value, json};

use super::page::{Page, Request, time};
use super::question::Question;
use crate::inbox::{Batch, EntryId, Inbox, Listed, ListedDelivery, Unavailable};

/// Answers a path below `/inbox`; `None` when there is no such page.
pub(super) async fn page(inbox: &Inbox, request: &Request) -> Option<Page> {
    let reads = matches!(request.method, Method::GET | Method::HEAD);
    let posts = request.method == Method::POST;
    let answer = match request.path.strip_prefix("/inbox")? {
        "" if reads => list(inbox, request).await,
        "/redrive" if posts => redrive(inbox, request).await,
        "/purge" if posts => purge(inbox, request).await,
        "/redrive" | "/purge" => Err(Page::only("POST")),
        "" => Err(Page::only("GET, HEAD")),
        rest => {
            let id = rest.strip_prefix('/')?;
            if reads { show(inbox, id).await } else { Err(Page::only("GET, HEAD")) }
        }
    };
    Some(answer.unwrap_or_else(|refused| refused))
}

async fn list(inbox: &Inbox, request: &Request) -> Result<Page, Page> {
    let Question { filter, after, most, .. } = Question::read(request)?;
    let found = inbox.list(filter, after, most).await?;
    let next = found.last().filter(|_| found.len() == most).map(|last| last.id.to_string());
    let entries: Vec<_> = found.iter().map(shown).collect();
    Ok(Page::json(200, &json!({"entries": entries, "next": next})))
}

/// The callback stands under `callback` as it was received; when it is no JSON, as text under `body`.
async fn show(inbox: &Inbox, id: &str) -> Result<Page, Page> {
    let id: EntryId = id.parse().map_err(|error| Page::message(404, &format!("This is {error}.")))?;
    let found = inbox.show(id).await?;
    let found = found.ok_or_else(|| Page::message(404, "There is no such callback; it may have been purged."))?;
    let mut entry = shown(&found.listed);
    let body = found.body.unwrap_or_default();
    if serde_json::from_slice::<IgnoredAny>(&body).is_err() {
        let text = (!body.is_empty()).then(|| String::from_utf8_lossy(&body));
        entry["callback"] = Value::Null;
        entry["body"] = text.map_or(Value::Null, Value::from);
        return Ok(Page::json(200, &entry));
    }
    let head = entry.to_string();
    let mut text = BytesMut::with_capacity(head.len() + body.len() + 16);
    text.put_slice(head.strip_suffix('}').unwrap_or(&head).as_bytes());
    text.put_slice(b",\"callback\":");
    text.put_slice(&body);
    text.put_u8(b'}');
    Ok(Page::json_text(text.freeze()))
}

async fn redrive(inbox: &Inbox, request: &Request) -> Result<Page, Page> {
    let Question { filter, filters, after, most, pace, dry_run, .. } = meant(request)?;
    let batch = inbox.redrive(filter, after, most, pace, dry_run).await?;
    let filters = named(&filters);
    tracing::info!(matched = batch.matched, dry_run, filters, "redriven by an operator");
    Ok(counted(batch, dry_run))
}

async fn purge(inbox: &Inbox, request: &Request) -> Result<Page, Page> {
    let Question { filter, filters, after, most, dry_run, .. } = meant(request)?;
    let batch = inbox.purge(filter, after, most, dry_run).await?;
    let filters = named(&filters);
    tracing::info!(matched = batch.matched, dry_run, filters, "purged by an operator");
    Ok(counted(batch, dry_run))
}

/// The question of a change: it names something, or says that everything is meant.
fn meant(request: &Request) -> Result<Question, Page> {
    let question = Question::read(request)?;
    if !question.filters.is_empty() || question.all {
        return Ok(question);
    }
    Err(Page::message(400, "This names nothing, so it would mean everything; add a filter, or all=true."))
}

/// For the log: which filters narrowed a change. What they held may be the id of a call.
fn named(filters: &[&'static str]) -> String {
    if filters.is_empty() { "all".to_owned() } else { filters.join(",") }
}

fn counted(batch: Batch, dry_run: bool) -> Page {
    let next = batch.next.map(|next| next.to_string());
    Page::json(200, &json!({"matched": batch.matched, "dry_run": dry_run, "next": next}))
}

/// An entry without its body.
pub(super) fn shown(listed: &Listed) -> Value {
    let Listed { id, source, kind, received_ms, bytes, repeat, state, reason, deliveries } = listed;
    json!({
        "id": id.to_string(),
        "source": source,
        "kind": kind.as_str(),
        "received": time(*received_ms),
        "bytes": bytes,
        "repeat": repeat,
        "state": state.as_str(),
        "reason": reason,
        "deliveries": deliveries.iter().map(delivery).collect::<Vec<_>>(),
    })
}

fn delivery(delivery: &ListedDelivery) -> Value {
    let ListedDelivery { receiver, state, attempts, due_ms, last, settled_ms } = delivery;
    json!({
        "receiver": receiver,
        "state": state.as_str(),
        "attempts": attempts,
        "due": due_ms.map(time),
        "last": last,
        "settled": settled_ms.map(time),
    })
}

impl From<Unavailable> for Page {
    fn from(why: Unavailable) -> Self {
        Self::json(503, &json!({"message": format!("{why}."), "reason": why.word()}))
    }
}
