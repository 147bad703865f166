//! `airudder-gateway call ID`: what happened to a phone call, asked of a running gateway through its admin listener.
//!
//! It prints what was answered, an event a line; what belongs together is the gateway's to say.

use std::io::{self, Write};
use std::process::ExitCode;

use form_urlencoded::Serializer;
use serde::Deserialize;
use serde_json::Value;

use super::inbox::peer::{Failure, Peer, Reach, ended};
use super::inbox::text::printable;

/// Nothing is known of the id.
const NOT_FOUND: u8 = 1;

#[derive(clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    reach: Reach,
    /// All that is known, as JSON.
    #[arg(long)]
    json: bool,
    /// Of a task, a call, a request (X-Request-Id) or a callback (webhook-id), or an idempotency key.
    #[arg(allow_hyphen_values = true)]
    id: String,
}

#[derive(Deserialize)]
struct Told {
    sentence: String,
    events: Vec<Event>,
    more: bool,
}

#[derive(Deserialize)]
struct Event {
    at: String,
    kind: String,
    sentence: String,
}

/// Runs it. Exit status 0, 1 where nothing is known of the id, 64 for a wrong question, 69 when no gateway or no inbox
/// answers, 77 for a token that is refused.
pub(super) fn call(args: &Args) -> ExitCode {
    ended(run(args, &mut io::stdout().lock()))
}

fn run(args: &Args, out: &mut impl Write) -> Result<(), Failure> {
    let gateway = Peer::try_new(&args.reach)?;
    let query = Serializer::new(String::new()).append_pair("id", &args.id).finish();
    let page = gateway.page("GET", &format!("/call.json?{query}"), "")?;
    let Told { sentence, events, more } = gateway.read(&page)?;
    if args.json {
        let all: Value = gateway.read(&page)?;
        writeln!(out, "{}", printable(&all.to_string()))?;
    }
    if events.is_empty() {
        return Err(Failure { status: NOT_FOUND, sentence: printable(&sentence) });
    }
    if args.json {
        return Ok(());
    }
    for Event { at, kind, sentence } in &events {
        writeln!(out, "{}", printable(&format!("{at} {kind:<9} {sentence}")))?;
    }
    if more {
        eprintln!("only the first 100 of each are shown");
    }
    Ok(())
}
