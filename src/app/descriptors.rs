//! File descriptors: raised to what the system allows, and divided so that strangers cannot take those that calls need.
//!
//! It decides before anything is bound and counts nothing afterwards; the listeners keep to the bounds it leaves.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::config::{Config, Mode};

/// Descriptors that are open whatever happens: the inbox with its readers, the listeners, the log, the configuration's
/// files while they are read, lookups of names.
const ALWAYS: u64 = 48;

/// Descriptors of a thread with a runtime of its own: its poll, what wakes it, its signals.
const PER_THREAD: u64 = 4;

/// Connections of the admin listener at the same time.
pub(super) const ADMIN_CONNECTIONS: usize = 256;

/// Raises the soft limit of open files to the hard one, as a server may; the soft one is low for the sake of programs that
/// cannot count beyond it. Returns the limit that holds, `None` where the system does not say.
pub(crate) fn raise() -> Option<u64> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).ok()?;
    let raised = soft < hard && setrlimit(Resource::RLIMIT_NOFILE, hard, hard).is_ok();
    Some(if raised { hard } else { soft })
}

/// Lowers the bound of the public listener when all listeners together may need more than `limit` descriptors, and warns.
pub(crate) fn divide(config: &mut Config, limit: u64) {
    let others = needed_inside(config);
    let Some(inbound) = &mut config.inbound else {
        if others > limit {
            config.warnings.push(format!(
                "{limit} files may be open and {others} may be needed by outbound.max_connections = {}, two for each \
                 call; raise the limit (LimitNOFILE, ulimit -n) or lower the bound",
                config.outbound.max_connections
            ));
        }
        return;
    };
    // A relay asks its receiver over a connection of its own.
    let relays = config.sources.iter().any(|source| matches!(source.mode, Mode::Relay { .. }));
    let each = if relays { 2 } else { 1 };
    let asked = inbound.max_connections as u64;
    let needed = others.saturating_add(each * asked);
    if needed <= limit {
        return;
    }
    // What the others leave, or a quarter of all where they would leave less.
    let left = limit.saturating_sub(others).max(limit / 4);
    let share = asked.min(left / each).max(1);
    inbound.max_connections = share as usize;
    inbound.max_connections_per_address = inbound.max_connections_per_address.min(share as usize);
    let lowered = match share < asked {
        true => format!("; inbound takes {share} connections now, so that calls keep their share"),
        false => String::new(),
    };
    config.warnings.push(format!(
        "{limit} files may be open and {needed} may be needed by inbound.max_connections = {asked}, \
         outbound.max_connections = {} (two for each call) and the rest{lowered}; raise the limit (LimitNOFILE, ulimit -n) \
         or lower the bounds",
        config.outbound.max_connections
    ));
}

/// The most descriptors that everything but the public listener may need: each call of a program has one connection here
/// and one to the platform.
fn needed_inside(config: &Config) -> u64 {
    let threads =
        config.outbound.threads.number() + 1 + config.inbound.as_ref().map_or(0, |inbound| inbound.threads.number());
    let deliveries: usize = config.receivers.iter().map(|receiver| receiver.concurrency).sum();
    let connections = 2 * config.outbound.max_connections + ADMIN_CONNECTIONS + deliveries;
    ALWAYS + PER_THREAD * threads as u64 + connections as u64
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn config(more: &str) -> Config {
        let text = format!(
            "[outbound]\nlisten = \"127.0.0.1:0\"\nthreads = 1\nmax_connections = 100\n\
             [[account]]\nname = \"main\"\napp_key = {{ env = \"X\" }}\napp_secret = {{ env = \"X\" }}\nencryption = \"off\"\n{more}"
        );
        Config::parse(&text, Path::new("."), |_| Some("x".into())).expect("a configuration")
    }

    const INBOUND: &str = "[inbound]\nlisten = \"127.0.0.1:0\"\nthreads = 1\nmax_connections = 1000\n[inbox]\n\
                           [[source]]\nname = \"a\"\npath = \"/callbacks/4f0c8b1e9a2d7c3560b1f2a4c8e97d05\"\n";

    /// What inbound has left under a limit, and whether there is a warning.
    fn left(config: &Config, limit: u64) -> (Option<usize>, bool) {
        let mut config = config.clone();
        let warnings = config.warnings.len();
        divide(&mut config, limit);
        (config.inbound.map(|inbound| inbound.max_connections), config.warnings.len() > warnings)
    }

    #[test]
    fn inbound_has_what_the_others_leave_and_a_quarter_at_least() {
        let stores = config(INBOUND);
        let others = needed_inside(&stores);
        for (limit, share) in [(others + 1000, 1000), (others + 999, 999), (others + 500, 500), (others, others / 4)] {
            assert_eq!(left(&stores, limit), (Some(share as usize), share < 1000), "{limit}");
        }
        assert_eq!(left(&stores, 8), (Some(2), true));
        assert_eq!(left(&stores, 0), (Some(1), true));
    }

    #[test]
    fn what_was_not_lowered_is_not_said_to_be() {
        let mut stores = config(INBOUND);
        let said = |config: &mut Config, limit| {
            divide(config, limit);
            config.warnings.pop().expect("a warning")
        };
        // A quarter of the limit is more than what was asked for, and yet not all fits.
        stores.outbound.max_connections = 10_000;
        let warning = said(&mut stores, 20_000);
        assert_eq!(stores.inbound.as_ref().expect("it is there").max_connections, 1000);
        assert!(!warning.contains("inbound takes"), "{warning}");
        let warning = said(&mut stores, 1000);
        assert!(warning.contains("the rest; inbound takes 250 connections now"), "{warning}");
    }

    #[test]
    fn a_gateway_without_callbacks_is_warned_only() {
        let alone = config("");
        let needed = needed_inside(&alone);
        assert_eq!((left(&alone, needed), left(&alone, needed - 1)), ((None, false), (None, true)));
    }
}
