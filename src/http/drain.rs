//! How far a listener has come: it waits to begin, serves, hands its connections to the process that takes over, or stops.
//!
//! It counts the requests in flight and the connections, so that whoever ends the gateway knows when nothing is left. It
//! touches no connection itself.

use std::net::TcpStream;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::BytesMut;
// Tokio's timers wake their own runtime by a system call each time one is set; these do not.
use pingora_timeout::timeout;
use tokio::sync::{Notify, mpsc, watch};

/// How far a listener has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Stage {
    /// It is bound and accepts nothing yet.
    Waiting,
    /// It accepts.
    Serving,
    /// Another process accepts; a connection goes there as soon as nothing of a request is under way on it.
    Handing,
    /// It accepts nothing more, and each connection closes after its answer.
    Stopping,
}

/// A connection between two requests, on its way to another process.
pub(crate) struct Parcel {
    /// The listener's name.
    pub(crate) listener: &'static str,
    /// The connection.
    pub(crate) stream: TcpStream,
    /// What was read of the next request.
    pub(crate) ahead: BytesMut,
    /// It counts until it has been handed over.
    _counted: Option<Counted>,
}

/// A connection as it arrives from another process.
pub(crate) struct Arrival {
    /// The connection.
    pub(crate) stream: TcpStream,
    /// What was read of the next request.
    pub(crate) ahead: BytesMut,
}

/// A handle; all of a listener's connections have one.
#[derive(Clone)]
pub(crate) struct Drain(Arc<State>);

struct State {
    /// The same as in `stage`, for everybody who only looks.
    now: AtomicU8,
    stage: watch::Sender<Stage>,
    in_flight: AtomicUsize,
    connections: AtomicUsize,
    /// The last request ended, or the last connection.
    left: Notify,
    /// Where connections go while they are handed over.
    away: Mutex<Option<mpsc::UnboundedSender<Parcel>>>,
}

/// A request in flight; dropping it says that it ended.
pub(crate) struct InFlight(Arc<State>);

/// A connection; dropping it says that it is gone.
pub(crate) struct Counted(Arc<State>);

impl Drain {
    /// Nothing in flight, at this stage.
    pub(crate) fn new(stage: Stage) -> Self {
        Self(Arc::new(State {
            now: AtomicU8::new(stage as u8),
            stage: watch::Sender::new(stage),
            in_flight: AtomicUsize::new(0),
            connections: AtomicUsize::new(0),
            left: Notify::new(),
            away: Mutex::new(None),
        }))
    }

    /// How far it has come.
    pub(crate) fn is(&self, stage: Stage) -> bool {
        self.0.now.load(Ordering::SeqCst) == stage as u8
    }

    /// Whether each connection closes after its answer.
    pub(crate) fn is_draining(&self) -> bool {
        self.is(Stage::Stopping)
    }

    /// Ready at another stage than this one.
    pub(super) async fn leaves(&self, stage: Stage) {
        let _ = self.0.stage.subscribe().wait_for(|now| *now != stage).await;
    }

    /// Ready at this stage.
    pub(super) async fn reaches(&self, stage: Stage) {
        let _ = self.0.stage.subscribe().wait_for(|now| *now == stage).await;
    }

    fn turn(&self, stage: Stage) {
        self.0.stage.send_modify(|now| {
            // What has begun to stop never serves again.
            if *now != Stage::Stopping {
                *now = stage;
                self.0.now.store(stage as u8, Ordering::SeqCst);
            }
        });
    }

    /// Begins to accept, or does so again.
    pub(crate) fn serve(&self) {
        self.turn(Stage::Serving);
        self.lock_away().take();
    }

    /// Stops accepting and sends each connection to `away`, as soon as no request is under way on it.
    pub(crate) fn hand_over(&self, away: mpsc::UnboundedSender<Parcel>) {
        *self.lock_away() = Some(away);
        self.turn(Stage::Handing);
    }

    /// Stops accepting, then waits until nothing is in flight or the grace period ends. Returns how many requests were
    /// still in flight.
    pub(crate) async fn drain(&self, grace: Duration) -> usize {
        self.turn(Stage::Stopping);
        self.finished(grace).await
    }

    /// Waits until nothing is in flight or the time is over. Returns how many requests still are.
    pub(crate) async fn finished(&self, longest: Duration) -> usize {
        self.empty(&self.0.in_flight, longest).await
    }

    /// How many requests are in flight.
    pub(crate) fn in_flight(&self) -> usize {
        self.0.in_flight.load(Ordering::Acquire)
    }

    /// Waits until there are no connections or the time is over. Returns how many there still are.
    pub(crate) async fn deserted(&self, longest: Duration) -> usize {
        self.empty(&self.0.connections, longest).await
    }

    async fn empty(&self, number: &AtomicUsize, longest: Duration) -> usize {
        let empty = async {
            loop {
                // Listens before it looks: an end in between is not missed.
                let left = self.0.left.notified();
                if number.load(Ordering::SeqCst) == 0 {
                    return;
                }
                left.await;
            }
        };
        let _ = timeout(longest, empty).await;
        number.load(Ordering::SeqCst)
    }

    /// One more request is in flight. Whoever asks for the stage after this either sees one that was turned before, or is
    /// seen by those who look for requests after they turned it: that takes one order of all four steps (`SeqCst`).
    pub(super) fn enter(&self) -> InFlight {
        self.0.in_flight.fetch_add(1, Ordering::SeqCst);
        InFlight(self.0.clone())
    }

    /// One more connection.
    pub(super) fn connected(&self) -> Counted {
        self.0.connections.fetch_add(1, Ordering::Relaxed);
        Counted(self.0.clone())
    }

    /// Sends a connection away, where that is done now. It is returned where it is to stay after all.
    pub(super) fn send_away(
        &self,
        listener: &'static str,
        stream: TcpStream,
        ahead: BytesMut,
        counted: Option<Counted>,
    ) -> Option<Arrival> {
        let parcel = Parcel { listener, stream, ahead, _counted: counted };
        match &*self.lock_away() {
            // Nobody there: it is closed like everything else then.
            Some(away) => {
                let _ = away.send(parcel);
                None
            }
            None => Some(parcel.unpack()),
        }
    }

    fn lock_away(&self) -> MutexGuard<'_, Option<mpsc::UnboundedSender<Parcel>>> {
        self.0.away.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Parcel {
    /// It stays here after all.
    pub(crate) fn unpack(self) -> Arrival {
        Arrival { stream: self.stream, ahead: self.ahead }
    }
}

impl State {
    fn one_less(&self, number: &AtomicUsize) {
        if number.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.left.notify_waiters();
        }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.one_less(&self.0.in_flight);
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.one_less(&self.0.connections);
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    fn sent(drain: &Drain, ahead: &[u8]) -> Option<Arrival> {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let stream = TcpStream::connect(listener.local_addr().expect("its address")).expect("a connection");
        drain.send_away("outbound", stream, BytesMut::from(ahead), Some(drain.connected()))
    }

    #[test]
    fn a_connection_that_leaves_too_late_stays_with_what_was_read_of_it() {
        let (away, mut parcels) = mpsc::unbounded_channel();
        let drain = Drain::new(Stage::Serving);
        drain.hand_over(away);
        assert!(sent(&drain, b"one").is_none());
        assert_eq!(parcels.try_recv().expect("it is on its way").ahead, "one");
        // The upgrade was refused while the next one was taken apart.
        drain.serve();
        assert_eq!(sent(&drain, b"GET / HT").expect("it stays").ahead, "GET / HT");
    }
}
