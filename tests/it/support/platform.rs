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

/// What arrived for exactly this path, in order.
pub(crate) fn arrived_at(platform: &Simulator, path: &str) -> Vec<Received> {
    platform.requests().into_iter().filter(|request| request.path == path).collect()
}

/// Waits until something is so at the platform.
pub(crate) fn wait_until(platform: &Simulator, what: &str, is_so: impl FnMut(&Simulator) -> bool) {
    wait(what, platform.until(is_so));
}

/// Closes every connection without a request under way; they are closed when it returns. How many those were.
pub(crate) fn close_idle(platform: &Simulator) -> usize {
    wait("idle connections close", platform.close_idle())
}

/// Stops listening and cuts what is open. From then on its port refuses connections.
pub(crate) fn stop(platform: &Simulator) {
    wait("the platform stops", platform.clone().stop());
}

fn wait<T>(what: &str, event: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    let waited = runtime.block_on(async { tokio::time::timeout(PATIENCE, event).await });
    waited.unwrap_or_else(|_| panic!("not in time: {what}"))
}
