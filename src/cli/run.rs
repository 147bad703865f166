//! `run`: the gateway itself, until a signal stops it.
//! What is wrong at the start is one sentence on standard error; after that, everything is a log line.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use crate::app::{Gateway, Hangups, Inheritance, Origin, Upgrades, descriptors};
use crate::config::Config;
use crate::log;
use crate::metrics::Metrics;
use crate::trace;

/// Loads the configuration, starts logging, runs. Exit status 64 for a configuration that cannot be used,
/// 70 for a bug and when the process that took over is lost, 0 after a signal. `upgradable`: whoever started this process goes
/// on without it. `takes_over`: a running gateway has started this one to take its place.
pub(crate) fn run(path: &Path, upgradable: bool, takes_over: bool) -> ExitCode {
    // First, because they would end the process.
    let caught = Hangups::catch().and_then(|hangups| Ok((hangups, Upgrades::catch()?)));
    let (hangups, upgrades) = match caught {
        Ok(caught) => caught,
        Err(error) => {
            eprintln!("the system does not let the gateway receive signals ({error})");
            return ExitCode::from(70);
        }
    };
    let mut config = match Config::load(path) {
        Ok(config) => config,
        Err(error) => return refuse(&error),
    };
    let inheritance = match takes_over.then(Inheritance::receive).transpose() {
        Ok(inheritance) => inheritance,
        Err(error) => return refuse(&error),
    };
    let (path, written, binary) = (path.to_owned(), config.clone(), binary());
    let is_watched = told("NOTIFY_SOCKET").is_some();
    let upgradable = upgradable || is_watched && is_started_by_its_watcher();
    let origin = Origin { path, written, binary, upgradable, is_watched, hangups, upgrades, inheritance };
    if let Some(limit) = descriptors::raise() {
        descriptors::divide(&mut config, limit);
    }
    let metrics = match Metrics::try_new() {
        Ok(metrics) => Arc::new(metrics),
        Err(error) => {
            eprintln!("the metrics are declared wrongly: {error}");
            return ExitCode::from(70);
        }
    };
    // First, so that what is found while the gateway is put together can be told.
    let Ok(_flush) = log::start(config.log.format, metrics.log_dropped.clone()) else {
        eprintln!("logging was started twice");
        return ExitCode::from(70);
    };
    let _export = match config.log.traces.as_deref().map(trace::start).transpose() {
        Ok(export) => export.flatten(),
        Err(error) => return refuse(&format_args!("{}: {error}", origin.path.display())),
    };
    let shown = origin.path.display().to_string();
    let mut gateway = match Gateway::try_new(&config, metrics, Some(origin)) {
        Ok(gateway) => gateway,
        Err(error) => return refuse(&format_args!("{shown}: {error}")),
    };
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    gateway.tell_when_it_listens();
    if gateway.run() { ExitCode::SUCCESS } else { ExitCode::from(70) }
}

fn refuse(error: &dyn std::fmt::Display) -> ExitCode {
    eprintln!("{error}");
    ExitCode::from(64)
}

/// Whether the service manager that wants to be told what the gateway does has started this process itself, and nobody whose
/// child inherits what that one was told: it hears no child. Since version 248, systemd says whom it has started
/// (`SYSTEMD_EXEC_PID`, systemd.exec(5)).
fn is_started_by_its_watcher() -> bool {
    told("SYSTEMD_EXEC_PID").is_none_or(|started| *started == *std::process::id().to_string())
}

/// What a service manager says.
#[expect(clippy::disallowed_methods, reason = "a service manager speaks through it, and no configuration repeats it")]
fn told(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|word| !word.is_empty())
}

/// Where this program lay when it was started: what lies there later is the next version. A link is not followed, because it
/// is what an upgrade may change.
fn binary() -> PathBuf {
    let named = std::env::args_os().next().map(PathBuf::from);
    // A bare name was found on the search path, whose result only the system knows.
    let named = named.filter(|named| named.components().count() > 1);
    let absolute = named.and_then(|named| std::path::absolute(named).ok());
    absolute.or_else(|| std::env::current_exe().ok()).unwrap_or_default()
}
