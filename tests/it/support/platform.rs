//! The platform of a test, and waiting for what happens there.

use airudder_gateway::simulator::{Options, Received, Simulator};

use super::gateway::PATIENCE;

/// A platform as published.
pub(crate) fn platform() -> Simulator {
    platform_with(Options::default())
}

/// A platform with its own ways.
pub(crate) fn platform_with(options: Options) -> Simulator {
    Simulator::start_in_thread(options).expect("a platform")
}

/// What arrived at the platform beside logins.
pub(crate) fn calls(platform: &Simulator) -> Vec<Received> {
    platform.requests().into_iter().filter(|request| !request.path.ends_with("/auth")).collect()
}

/// Waits until something is so at the platform.
pub(crate) fn wait_until(platform: &Simulator, what: &str, is_so: impl FnMut(&Simulator) -> bool) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    let waited = runtime.block_on(async { tokio::time::timeout(PATIENCE, platform.until(is_so)).await });
    assert!(waited.is_ok(), "not in time: {what}");
}
