//! What the commands print: a line for each callback, or one callback whole.
//!
//! What strangers sent reaches a terminal as text and never as a command to it.

use std::fmt::Write as _;
use std::io::Write;

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::Filter;
use super::listing::Listing;
use super::peer::{Failure, Peer};
use super::text::printable;

/// Prints what fits, page after page.
pub(super) fn list(
    gateway: &Peer,
    filter: &Filter,
    limit: usize,
    after: Option<&str>,
    json: bool,
    out: &mut impl Write,
) -> Result<(), Failure> {
    let (words, after) = (filter.words().collect(), after.map(str::to_owned));
    Listing { path: "/inbox", field: "entries", words, limit, after, json }.print(gateway, line, out)
}

/// `cb_… 2026-06-10T02:06:20.123Z calls call dead books=dead(3, gone)`.
fn line(entry: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    let mut line = ["id", "received", "source", "kind", "state"].map(|field| text(&entry[field])).join(" ");
    if let Some(reason) = entry["reason"].as_str() {
        let _ = write!(line, " ({reason})");
    }
    for delivery in entry["deliveries"].as_array().into_iter().flatten() {
        let (receiver, state) = (text(&delivery["receiver"]), text(&delivery["state"]));
        let _ = write!(line, " {receiver}={state}({}", delivery["attempts"]);
        for word in [&delivery["last"], &delivery["due"]].into_iter().filter_map(Value::as_str) {
            let _ = write!(line, ", {word}");
        }
        line.push(')');
    }
    line
}

#[derive(Deserialize)]
struct Shown {
    callback: Option<Box<RawValue>>,
    body: Option<Box<RawValue>>,
}

/// Prints one with its body.
pub(super) fn show(gateway: &Peer, id: &str, json: bool, out: &mut impl Write) -> Result<(), Failure> {
    let path: String = form_urlencoded::byte_serialize(id.as_bytes()).collect();
    let page = gateway.page("GET", &format!("/inbox/{path}"), "")?;
    if json {
        writeln!(out, "{}", printable(&String::from_utf8_lossy(&page)))?;
        return Ok(());
    }
    let entry: Value = gateway.read(&page)?;
    // As it was received: a value would have lost the order of its fields and the last digits of its numbers.
    let Shown { callback, body } = gateway.read(&page)?;
    writeln!(out, "{}", printable(&line(&entry)))?;
    match callback.or(body) {
        Some(text) => writeln!(out, "{}", printable(text.get()))?,
        None => writeln!(out, "(its body cannot be read any more)")?,
    }
    Ok(())
}
