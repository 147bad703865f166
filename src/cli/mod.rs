//! The command line: one file for each subcommand.
//! It reads the arguments; what a subcommand does and how it exits is that file's.

mod ask;
mod call;
mod check;
mod demo;
mod inbox;
mod keys;
mod reload;
mod run;
mod simulate;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// A gateway between a company's programs and the AI Rudder calling platform.
#[derive(Parser)]
#[command(name = "airudder-gateway", version, about, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the gateway until SIGTERM or SIGINT.
    Run {
        /// The configuration file.
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
        /// Let SIGUSR2 upgrade: whoever started the gateway goes on without this process when another one has taken over.
        /// Not needed under systemd with Type=notify, which is told.
        #[arg(long)]
        upgradable: bool,
        /// Take over from the gateway that has started this one.
        #[arg(long, hide = true)]
        take_over: bool,
    },
    /// Check a configuration: exit 0, or 64 with one sentence that says what to do.
    Check {
        /// The configuration file.
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
    },
    /// What happened to a phone call: requests, answers, callbacks and deliveries, by any id of theirs.
    Call(call::Args),
    /// Have a running gateway read its configuration again: exit 0, or 64 with one sentence when it is refused.
    Reload(reload::Args),
    /// Look into the inbox of a running gateway, send again, remove.
    Inbox(Box<inbox::Args>),
    /// Look at the idempotency keys that a running gateway keeps, and settle those whose call has no known end.
    Keys(Box<keys::Args>),
    /// Stand in for the platform: tokens, sealed calls, operations, and faults on demand (POST /_sim/fault).
    Simulate(Box<simulate::Args>),
    /// Show four calls against a simulated platform and the callback that follows, with what went over the wire.
    Demo {
        /// Go on listening on the ports of conf/demo.toml afterwards, until Ctrl-C.
        #[arg(long)]
        stay: bool,
    },
}

/// Reads the arguments and runs the subcommand.
pub fn main() -> ExitCode {
    match Arguments::parse().command {
        Command::Run { config, upgradable, take_over } => run::run(&config, upgradable, take_over),
        Command::Check { config } => check::check(&config),
        Command::Call(args) => call::call(&args),
        Command::Reload(args) => reload::reload(&args),
        Command::Inbox(args) => inbox::inbox(&args),
        Command::Keys(args) => keys::keys(&args),
        Command::Simulate(args) => simulate::simulate(&args),
        Command::Demo { stay } => demo::demo(stay),
    }
}
