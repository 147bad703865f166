//! The platform of a test: the simulator on a thread of its own, and the questions that stories ask of it.

use airudder_gateway::simulator::{Options, Received, Simulator};

use super::gateway::PATIENCE;

/// A platform that differs from the usual one in this.
pub(crate) fn platform(change: impl FnOnce(&mut Options)) -> Simulator {
    let mut options = Options::default();
    change(&mut options);
    Simulator::start_in_thread(options).expect("a platform")
}

/// What stories ask, from a thread without a runtime.
pub(crate) trait Asked {
    /// What arrived for exactly this path, in order.
    fn arrived_at(&self, path: &str) -> Vec<Received>;
    /// Waits until something is so.
    fn wait_until(&self, is_so: impl FnMut(&Simulator) -> bool);
    /// Closes every connection without a request under way, and returns when they are closed.
    fn close_idle_now(&self) -> usize;
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
}

fn wait<T>(event: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    runtime.block_on(async { tokio::time::timeout(PATIENCE, event).await.expect("it happens in time") })
}
