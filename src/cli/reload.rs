//! `airudder-gateway reload --config F`: a running gateway reads its configuration again, through its admin listener.
//!
//! It asks and prints what was answered. Which file is read is the gateway's own to know: the one it was started with.

use std::io::{self, Write};
use std::process::ExitCode;

use serde::Deserialize;

use super::inbox::peer::{EX_USAGE, Failure, Peer, Reach, ended};
use super::inbox::text::printable;

#[derive(clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    reach: Reach,
}

#[derive(Deserialize)]
struct Done {
    /// The file that the gateway read.
    path: String,
    warnings: Vec<String>,
}

/// Exit status 0 when the new configuration serves; 64 with one sentence when it is refused, and the former one serves on;
/// 69 when no gateway answers, 77 for a token that is refused.
pub(super) fn reload(args: &Args) -> ExitCode {
    let asked = ask(&args.reach).and_then(|done| {
        let out = &mut io::stdout();
        writeln!(out, "{}: reloaded", printable(&done.path))?;
        for warning in done.warnings {
            writeln!(out, "warning: {warning}")?;
        }
        Ok(())
    });
    ended(asked)
}

/// Asks the gateway. What is wrong with the file it counts and logs itself, so it is asked also where a part of the file is
/// no TOML and only what is left of it says where the gateway is.
fn ask(reach: &Reach) -> Result<Done, Failure> {
    let ask = |gateway: Peer| gateway.json("POST", "/reload", "");
    let wrong = match Peer::try_new(reach) {
        Ok(gateway) => return ask(gateway),
        Err(wrong) => wrong,
    };
    let Ok(gateway) = Peer::of_broken(reach) else { return Err(wrong) };
    match ask(gateway) {
        // It may be elsewhere, or ask for a token that could not be read.
        Err(Failure { status, .. }) if status != EX_USAGE => Err(wrong),
        asked => asked,
    }
}
