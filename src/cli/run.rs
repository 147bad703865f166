//! `run`: the gateway itself, until a signal stops it.
//! What is wrong at the start is one sentence on standard error; after that, everything is a log line.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use crate::app::{Gateway, Hangups, Origin, descriptors};
use crate::config::Config;
use crate::log;
use crate::metrics::Metrics;
use crate::trace;

/// Loads the configuration, starts logging, runs. Exit status 64 for a configuration that cannot be used,
/// 70 for a bug, 0 after a signal.
pub(crate) fn run(path: &Path) -> ExitCode {
    // First, because it would end the process.
    let hangups = match Hangups::catch() {
        Ok(hangups) => hangups,
        Err(error) => {
            eprintln!("the system does not let the gateway receive signals ({error})");
            return ExitCode::from(70);
        }
    };
    let mut config = match Config::load(path) {
        Ok(config) => config,
        Err(error) => return refuse(&error),
    };
    let origin = Origin { path: path.to_owned(), written: config.clone(), hangups };
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
        Err(error) => return refuse(&format_args!("{}: {error}", path.display())),
    };
    let gateway = match Gateway::try_new(&config, metrics, Some(origin)) {
        Ok(gateway) => gateway,
        Err(error) => return refuse(&format_args!("{}: {error}", path.display())),
    };
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    if let Ok((outbound, admin, inbound)) = gateway.addresses() {
        let inbound = inbound.map(tracing::field::display);
        tracing::info!(%outbound, %admin, inbound, version = env!("CARGO_PKG_VERSION"), "listening");
    }
    gateway.run();
    ExitCode::SUCCESS
}

fn refuse(error: &dyn std::fmt::Display) -> ExitCode {
    eprintln!("{error}");
    ExitCode::from(64)
}
