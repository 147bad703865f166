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
    assert!(wait_for(platform.until(is_so)).is_some(), "not in time: {what}");
}

/// A platform that differs from the usual one in this.
pub(crate) fn platform_like(change: impl FnOnce(&mut Options)) -> Simulator {
    let mut options = Options::default();
    change(&mut options);
    platform_with(options)
}

/// What stories ask, from a thread without a runtime.
pub(crate) trait Asked {
    /// What arrived for exactly this path, in order.
    fn arrived_at(&self, path: &str) -> Vec<Received>;
    /// Waits until something is so.
    fn wait_until(&self, is_so: impl FnMut(&Simulator) -> bool);
    /// Closes every connection without a request under way, and returns when they are closed.
    fn close_idle_now(&self) -> usize;
    /// Stops listening and cuts what is open. From then on its port refuses connections.
    fn stop_now(&self);
}

impl Asked for Simulator {
    fn arrived_at(&self, path: &str) -> Vec<Received> {
        self.requests().into_iter().filter(|request| request.path == path).collect()
    }

    fn wait_until(&self, is_so: impl FnMut(&Simulator) -> bool) {
        wait(self.until(is_so));
    }

    fn close_idle_now(&self) -> usize {
        wait(self.close_idle())
    }

    fn stop_now(&self) {
        wait(self.clone().stop());
    }
}

fn wait<T>(event: impl Future<Output = T>) -> T {
    wait_for(event).expect("it happens in time")
}

fn wait_for<T>(event: impl Future<Output = T>) -> Option<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    runtime.block_on(async { tokio::time::timeout(PATIENCE, event).await.ok() })
}
