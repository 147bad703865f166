//! What answers requests at present. It can be replaced while connections stay: a request ends with what it began with.
//!
//! A request costs two counts of a shared number for it. It never waits for the former one to be done.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::watch;

/// Deadlines and bounds of one listener.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rules {
    /// From a request's first byte to its header's end; of the first one from the connection on, with TLS and silence.
    pub(crate) header_timeout: Duration,
    /// How long a connection may be idle between requests.
    pub(crate) keepalive_timeout: Duration,
    /// Connections at the same time, fixed with the listener.
    pub(crate) max_connections: usize,
    /// Largest head of a request, in bytes.
    pub(crate) max_header: usize,
    /// Longest time one write to a program may take.
    pub(crate) write_timeout: Duration,
}

/// The present one, as everybody who needs it holds it.
pub(crate) struct Present<A> {
    app: ArcSwap<A>,
    rules: ArcSwap<Rules>,
    changed: watch::Sender<()>,
}

impl<A> Present<A> {
    /// The first one, with the deadlines of its listener.
    pub(crate) fn new(app: Arc<A>, rules: Rules) -> Self {
        Self { app: ArcSwap::new(app), rules: ArcSwap::from_pointee(rules), changed: watch::Sender::new(()) }
    }

    /// Takes the place of the former one: requests from now on are its. Of the rules, the deadlines and the bound of a
    /// header hold for connections from now on.
    pub(crate) fn replace(&self, app: Arc<A>, rules: Rules) {
        self.rules.store(Arc::new(rules));
        self.app.store(app);
        self.changed.send_replace(());
    }

    /// The present one.
    pub(crate) fn load(&self) -> Arc<A> {
        self.app.load_full()
    }

    /// Tells each time that there is another one.
    pub(crate) fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    pub(super) fn rules(&self) -> Rules {
        **self.rules.load()
    }
}
