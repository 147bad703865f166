//! `airudder-gateway reload --config F`: a running gateway reads its configuration again, through its admin listener.
//!
//! It asks and prints what was answered. Which file is read is the gateway's own to know: the one it was started with.

use std::io::{self, Write};
use std::process::ExitCode;

use serde::Deserialize;

use super::inbox::peer::{Failure, Peer, Reach};

#[derive(clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    reach: Reach,
}

#[derive(Deserialize)]
struct Done {
    warnings: Vec<String>,
}

/// Exit status 0 when the new configuration serves; 64 with one sentence when it is refused, and the former one serves on;
/// 69 when no gateway answers, 77 for a token that is refused.
pub(super) fn reload(args: &Args) -> ExitCode {
    let asked = Peer::try_new(&args.reach).and_then(|gateway| {
        let done: Done = gateway.json("POST", "/reload", "")?;
        let out = &mut io::stdout();
        writeln!(out, "{}: reloaded", gateway.name())?;
        for warning in done.warnings {
            writeln!(out, "warning: {warning}")?;
        }
        Ok(())
    });
    match asked {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure { status, sentence }) => {
            if !sentence.is_empty() {
                eprintln!("{sentence}");
            }
            ExitCode::from(status)
        }
    }
}
