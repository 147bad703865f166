//! `airudder-gateway inbox list | show | redrive | purge`: the inbox of a running gateway, through its admin listener.
//!
//! It writes down what was asked and prints what was answered; what a question means is the gateway's to say. It never opens
//! the database, which belongs to one process.

mod change;
pub(super) mod listing;
pub(super) mod peer;
mod print;
pub(super) mod text;

use std::io;
use std::process::ExitCode;

use change::Step;
use peer::{Failure, Peer, Reach, ended};

/// Most entries of one answer of the gateway.
const STEP: usize = 1000;

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
    /// One line for each callback, oldest first.
    List {
        #[command(flatten)]
        filter: Filter,
        /// At most so many.
        #[arg(long, value_name = "COUNT", default_value_t = 100)]
        limit: usize,
        /// Those after this one.
        #[arg(long, value_name = "ID")]
        after: Option<String>,
    },
    /// One callback with its body.
    Show {
        /// As listed, and as receivers know it: their webhook-id.
        id: String,
    },
    /// Send again: the dead ones, unless --state says otherwise.
    Redrive {
        #[command(flatten)]
        change: Change,
        /// Deliveries of one receiver a second, such as 10/s; at most 1000/s.
        #[arg(long, value_name = "COUNT/s", value_parser = rate)]
        rate: Option<u32>,
    },
    /// Remove for good; with --receiver only what is for that one. What waits stays, unless --state waiting says otherwise.
    Purge {
        #[command(flatten)]
        change: Change,
    },
}

#[derive(clap::Args)]
struct Change {
    #[command(flatten)]
    filter: Filter,
    /// Everything, where no filter narrows it.
    #[arg(long)]
    all: bool,
    /// Only count.
    #[arg(long)]
    dry_run: bool,
    /// Go on after this one.
    #[arg(long, value_name = "ID")]
    after: Option<String>,
}

/// All that is given has to fit.
#[derive(clap::Args)]
struct Filter {
    /// Name of a source.
    #[arg(long, value_name = "NAME")]
    source: Option<String>,
    /// Name of a receiver; with --state, the delivery to it stands there.
    #[arg(long, value_name = "NAME")]
    receiver: Option<String>,
    /// call, calls_unanswered, waba, predict.task, predict.contact, predict.agent or other.
    #[arg(long)]
    kind: Option<String>,
    /// waiting, delivered, dead, quarantined or corrupt.
    #[arg(long)]
    state: Option<String>,
    /// Names this call (call_id).
    #[arg(long, value_name = "ID")]
    call: Option<String>,
    /// Names this task or workflow (task_id, workflow_id, …).
    #[arg(long, value_name = "ID")]
    task: Option<String>,
    /// This callback.
    #[arg(long)]
    id: Option<String>,
    /// Received at this time or later: 2026-06-10, 2026-06-10T02:06:20Z, or how long ago: 2h, 3d.
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Received before this time.
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
}

impl Filter {
    fn words(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let Self { source, receiver, kind, state, call, task, id, since, until } = self;
        [
            ("source", source),
            ("receiver", receiver),
            ("kind", kind),
            ("state", state),
            ("call", call),
            ("task", task),
            ("id", id),
            ("since", since),
            ("until", until),
        ]
        .into_iter()
        .filter_map(|(name, value)| Some((name, value.as_deref()?)))
    }
}

/// Runs one of them. Exit status 0, 1 where there is no such callback, 64 for a wrong question, 69 when no gateway or no
/// inbox answers, 77 for a token that is refused.
pub(super) fn inbox(args: &Args) -> ExitCode {
    ended(run(args))
}

fn run(args: &Args) -> Result<(), Failure> {
    let gateway = Peer::try_new(&args.reach)?;
    let out = &mut io::stdout().lock();
    match &args.what {
        What::List { filter, limit, after } => print::list(&gateway, filter, *limit, after.as_deref(), args.json, out),
        What::Show { id } => print::show(&gateway, id, args.json, out),
        What::Redrive { change, rate } => Step::redrive(*rate).repeat(&gateway, change, args.json, out),
        What::Purge { change } => {
            Step::purge(change.filter.receiver.is_some()).repeat(&gateway, change, args.json, out)
        }
    }
}

/// `10/s`.
fn rate(written: &str) -> Result<u32, &'static str> {
    let number = written.strip_suffix("/s").and_then(|number| number.parse().ok());
    number.filter(|number| (1..=1000).contains(number)).ok_or("write a number from 1 to 1000 and /s, such as 10/s")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_has_a_unit_and_a_bound() {
        assert_eq!(rate("10/s"), Ok(10));
        assert_eq!(rate("1000/s"), Ok(1000));
        for wrong in ["", "10", "/s", "0/s", "1001/s", "-1/s", "1.5/s", "10/m", "10 /s"] {
            assert!(rate(wrong).is_err(), "{wrong}");
        }
    }
}
