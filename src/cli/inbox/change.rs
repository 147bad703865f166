//! Changes of many: asked for in steps, each from where the last one ended, so that none takes long.
//!
//! It says how far it came, and how to go on when it could not.

use std::io::{self, IsTerminal, Write};

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::peer::{EX_USAGE, Failure, Peer};
use super::{Change, STEP};

/// A change, one step of which is a request.
pub(super) struct Step {
    path: &'static str,
    /// Deliveries of a receiver a second.
    rate: Option<u32>,
    /// What happened, and what would have.
    happened: [&'static str; 2],
    /// What it happened to, one and many.
    what: [&'static str; 2],
}

#[derive(Deserialize)]
struct Batch {
    matched: u64,
    next: Option<String>,
}

impl Step {
    pub(super) fn redrive(rate: Option<u32>) -> Self {
        let happened = ["redriven", "would be redriven"];
        Self { path: "/inbox/redrive", rate, happened, what: ["delivery", "deliveries"] }
    }

    /// For one receiver its deliveries are counted.
    pub(super) fn purge(for_one: bool) -> Self {
        let happened = ["purged", "would be purged"];
        let what = if for_one { ["delivery", "deliveries"] } else { ["callback", "callbacks"] };
        Self { path: "/inbox/purge", rate: None, happened, what }
    }

    /// Asks until nothing is left.
    pub(super) fn repeat(
        &self,
        gateway: &Peer,
        change: &Change,
        json: bool,
        out: &mut impl Write,
    ) -> Result<(), Failure> {
        let mut question: Map<_, _> =
            change.filter.words().map(|(name, value)| (name.to_owned(), Value::from(value))).collect();
        if question.is_empty() && !change.all {
            return Err(Failure {
                status: EX_USAGE,
                sentence: "this names nothing, so it would mean everything; add a filter, or --all".to_owned(),
            });
        }
        question.insert("all".to_owned(), change.all.into());
        question.insert("dry_run".to_owned(), change.dry_run.into());
        question.insert("limit".to_owned(), STEP.into());
        question.extend(self.rate.map(|rate| ("per_second".to_owned(), rate.into())));
        let happened = self.happened[usize::from(change.dry_run)];
        let counted = |matched: u64| format!("{matched} {} {happened}", self.what[usize::from(matched != 1)]);
        let (mut matched, mut after) = (0, change.after.clone());
        let mut progress = Progress { rewrites: io::stderr().is_terminal(), shown: false };
        loop {
            question.insert("after".to_owned(), after.clone().map_or(Value::Null, Value::from));
            let batch = gateway.json("POST", self.path, &Value::Object(question.clone()).to_string());
            let Batch { matched: more, next } = batch.map_err(|failure| {
                progress.end();
                match &after {
                    Some(after) if matched > 0 => {
                        let sentence =
                            format!("{}\n{}; go on with --after {after}", failure.sentence, counted(matched));
                        Failure { sentence, ..failure }
                    }
                    _ => failure,
                }
            })?;
            matched += more;
            let Some(next) = next else { break };
            progress.show(&format!("{} so far, up to {next}", counted(matched)));
            after = Some(next);
        }
        progress.end();
        if json {
            writeln!(out, "{}", json!({"matched": matched, "dry_run": change.dry_run}))?;
        } else {
            writeln!(out, "{}", counted(matched))?;
        }
        Ok(())
    }
}

/// One line that is written again and again on a terminal; line after line elsewhere.
struct Progress {
    rewrites: bool,
    shown: bool,
}

impl Progress {
    fn show(&mut self, line: &str) {
        if self.rewrites {
            eprint!("\r\x1b[K{line}");
            self.shown = true;
        } else {
            eprintln!("{line}");
        }
    }

    fn end(&mut self) {
        if self.shown {
            eprint!("\r\x1b[K");
            self.shown = false;
        }
    }
}
