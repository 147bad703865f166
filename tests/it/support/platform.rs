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

/// Closes every connection as soon as it has no request under way; none is open when it returns. How many those were.
///
/// It asks again and again: a request may still count as under way when its answer is already here, and a login in the
/// background may open another connection.
pub(crate) fn close_all(platform: &Simulator) -> usize {
    wait("every connection closes", async {
        let mut closed = 0;
        while platform.open_connections() > 0 {
            closed += platform.close_idle().await;
            tokio::task::yield_now().await;
        }
        closed
    })
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
