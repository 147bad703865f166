//! `airudder-gateway keys list | show | settle`: the idempotency keys of a running gateway, through its admin listener.
//!
//! It writes down what was asked and prints what was answered; what may be settled is the gateway's to say. It never opens
//! the database, which belongs to one process.

use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::ValueEnum;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::inbox::listing::Listing;
use super::inbox::peer::{EX_USAGE, Failure, Peer, Reach, ended};
use super::inbox::text::printable;

#[derive(clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    reach: Reach,
    /// JSON: one object a line.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    what: What,
}

#[derive(clap::Subcommand)]
enum What {
    /// One line for each key that was used, oldest first; all that is given has to fit.
    List {
        /// sending, unknown, answered, not_kept or settled.
        #[arg(long)]
        state: Option<String>,
        /// Name of a program; - where there are none.
        #[arg(long, value_name = "NAME", allow_hyphen_values = true)]
        program: Option<String>,
        /// Name of an account.
        #[arg(long, value_name = "NAME")]
        account: Option<String>,
        /// Name of an operation.
        #[arg(long, value_name = "NAME")]
        operation: Option<String>,
        /// The key itself, as the program sent it, without quotes.
        #[arg(long, allow_hyphen_values = true)]
        key: Option<String>,
        /// Used at this time or later: 2026-06-10, 2026-06-10T02:06:20Z, or how long ago: 2h, 3d.
        #[arg(long, value_name = "TIME")]
        since: Option<String>,
        /// Used before this time.
        #[arg(long, value_name = "TIME")]
        until: Option<String>,
        /// At most so many.
        #[arg(long, value_name = "COUNT", default_value_t = 100)]
        limit: usize,
        /// Those after this one.
        #[arg(long, value_name = "ID")]
        after: Option<String>,
    },
    /// One key with the answer that is remembered for it.
    Show {
        /// As listed.
        id: String,
    },
    /// Say how the call of a key ended that nobody knows of, after a look at the platform.
    Settle {
        /// As listed.
        id: String,
        /// Whether the platform carried it out.
        #[arg(long = "as", value_name = "HOW")]
        verdict: Verdict,
        /// With sent: a file with the platform's answer, JSON; repeats then get it with status 200.
        #[arg(long, value_name = "FILE")]
        answer: Option<PathBuf>,
    },
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Verdict {
    /// It did: the key never sends again.
    Sent,
    /// It did not: the key is free, and its next call is sent.
    NotSent,
}

/// Runs one of them. Exit status 0, 1 where there is no such key, 64 for a wrong question and for a key that cannot be
/// settled, 69 when no gateway or no inbox answers, 77 for a token that is refused.
pub(super) fn keys(args: &Args) -> ExitCode {
    ended(run(args))
}

fn run(args: &Args) -> Result<(), Failure> {
    let gateway = Peer::try_new(&args.reach)?;
    let out = &mut io::stdout().lock();
    match &args.what {
        What::List { state, program, account, operation, key, since, until, limit, after } => {
            let words = [
                ("state", state),
                ("program", program),
                ("account", account),
                ("operation", operation),
                ("key", key),
                ("since", since),
                ("until", until),
            ];
            let words: Vec<_> = words.into_iter().filter_map(|(name, word)| Some((name, word.as_deref()?))).collect();
            let (path, field, after) = ("/keys", "keys", after.clone());
            Listing { path, field, words, limit: *limit, after, json: args.json }.print(&gateway, line, out)
        }
        What::Show { id } => show(&gateway, id, args.json, out),
        What::Settle { id, verdict, answer } => settle(&gateway, id, *verdict, answer.as_ref(), args.json, out),
    }
}

/// `key_… 2026-06-10T02:06:20.123Z collections main task.create answered(200)`.
fn line(key: &Value) -> String {
    let text = |field: &str| key[field].as_str().unwrap_or("-").to_owned();
    let mut line = ["id", "claimed", "program", "account", "operation", "state"].map(text).join(" ");
    if let Some(status) = key["status"].as_u64() {
        line += &format!("({status})");
    }
    if key["by_operator"] == true {
        line += " by an operator";
    }
    line
}

#[derive(Deserialize)]
struct Shown {
    answer: Option<Box<RawValue>>,
    body: Option<Box<RawValue>>,
}

fn show(gateway: &Peer, id: &str, json: bool, out: &mut impl Write) -> Result<(), Failure> {
    let path: String = form_urlencoded::byte_serialize(id.as_bytes()).collect();
    let page = gateway.page("GET", &format!("/keys/{path}"), "")?;
    if json {
        writeln!(out, "{}", printable(&String::from_utf8_lossy(&page)))?;
        return Ok(());
    }
    let key: Value = gateway.read(&page)?;
    // As the program reads it: a value would have lost the order of its fields and the last digits of its numbers.
    let Shown { answer, body } = gateway.read(&page)?;
    writeln!(out, "{}", printable(&line(&key)))?;
    if let Some(text) = answer.or(body) {
        writeln!(out, "{}", printable(text.get()))?;
    }
    Ok(())
}

fn settle(
    gateway: &Peer,
    id: &str,
    verdict: Verdict,
    answer: Option<&PathBuf>,
    json: bool,
    out: &mut impl Write,
) -> Result<(), Failure> {
    let refuse = |sentence: String| Failure { status: EX_USAGE, sentence };
    if answer.is_some() && verdict == Verdict::NotSent {
        return Err(refuse("what was not sent has no answer; leave --answer out, or say --as sent".to_owned()));
    }
    let answer = answer.map(|file| {
        let shown = file.display();
        let text = fs::read_to_string(file).map_err(|error| {
            refuse(format!("{shown} cannot be read ({}); name a file with the platform's answer", error.kind()))
        })?;
        serde_json::from_str::<Box<RawValue>>(&text)
            .map_err(|_| refuse(format!("{shown} is not JSON; write the platform's answer as it is")))
    });
    let answer = answer.transpose()?;
    let word = match verdict {
        Verdict::Sent => "sent",
        Verdict::NotSent => "not_sent",
    };
    // By hand, because the answer goes as it is written.
    let answer = answer.map_or(String::new(), |answer| format!(",\"answer\":{}", answer.get()));
    let body = format!("{{\"id\":{},\"as\":\"{word}\"{answer}}}", Value::from(id));
    let page = gateway.page("POST", "/keys/settle", &body)?;
    if json {
        writeln!(out, "{}", printable(&String::from_utf8_lossy(&page)))?;
    } else {
        writeln!(out, "{} settled as {word}", printable(id))?;
    }
    Ok(())
}
