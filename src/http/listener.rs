//! The accept loop: connections in, requests handed to an [`App`] one after another.
//!
//! The clock of a header starts at the first byte of a request and runs to the header's end, so a header that trickles
//! ends; of the first one it starts with the connection, so that neither TLS nor silence adds to it. A connection that cannot carry another request closes in a way that lets its last answer arrive. An idle one
//! closes when the gateway drains. It never looks into a request.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use pingora::server::{ListenFds, ShutdownWatch};
use pingora::services::Service;
// Tokio's timers wake their own runtime by a system call each time one is set; these do not.
use pingora_timeout::timeout;
use tokio::net::TcpSocket;
use tokio::sync::{Notify, watch};

use super::door::{Door, Public};
pub(crate) use super::head::HeaderFault;
use super::head::Request;
use super::present::{Present, Rules};
use super::session::{NoRequest, Session};
use crate::clock;

/// Connections that may wait to be accepted; the kernel has its own maximum. Beyond it a program's connect waits a
/// second for its next try, and the usual 128 are soon full when programs start together.
const BACKLOG: u32 = 4096;

/// Something that answers requests.
pub(crate) trait App: Send + Sync + 'static {
    /// Answers one request, whose body is still to be read. `peer` is the other end of the connection.
    fn serve(
        self: &Arc<Self>,
        request: &Request,
        session: &mut Session,
        peer: IpAddr,
    ) -> impl Future<Output = After> + Send;

    /// Answers a request whose header is refused; the connection closes after it. Of `request` there is only what
    /// [`Request::known_method`] says.
    fn refuse(
        self: &Arc<Self>,
        request: &Request,
        session: &mut Session,
        fault: HeaderFault,
    ) -> impl Future<Output = ()> + Send;
}

/// What becomes of a connection after an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum After {
    /// It carries another request, if both sides want that.
    Keep,
    /// More of the request may be on its way, so nothing can be found behind it: it closes once the answer arrived.
    Linger,
    /// Nobody is there, or the answer broke off: it closes at once.
    Cut,
}

/// A bound listener, to be run as a service of the pingora server.
pub(crate) struct Listener<A> {
    name: &'static str,
    socket: Option<TcpListener>,
    present: Arc<Present<A>>,
    threads: usize,
    drain: Drain,
    public: Option<Public>,
}

impl<A: App> Listener<A> {
    /// Binds at once, so that a port that is taken is known before anything starts.
    ///
    /// # Errors
    /// What the kernel says of the address.
    pub(crate) fn try_new(
        name: &'static str,
        address: SocketAddr,
        present: Arc<Present<A>>,
        threads: usize,
        drain: Drain,
    ) -> io::Result<Self> {
        let socket = bind(address)?;
        Ok(Self { name, socket: Some(socket), present, threads, drain, public: None })
    }

    /// The same where strangers may connect.
    pub(crate) fn public(self, public: Public) -> Self {
        Self { public: Some(public), ..self }
    }

    /// The address it is bound to, with the port that port 0 became.
    pub(crate) fn address(&self) -> io::Result<SocketAddr> {
        self.socket.as_ref().map_or_else(|| Err(io::ErrorKind::NotConnected.into()), TcpListener::local_addr)
    }
}

#[async_trait]
impl<A: App> Service for Listener<A> {
    async fn start_service(&mut self, _fds: Option<ListenFds>, mut stop: ShutdownWatch, _listeners_per_fd: usize) {
        let Some(socket) = self.socket.take() else { return };
        let Ok(socket) = tokio::net::TcpListener::from_std(socket) else {
            tracing::error!(listener = self.name, "the listening socket could not join the runtime");
            return;
        };
        let door = Arc::new(Door::new(self.present.rules().max_connections, self.public.take()));
        let drain = self.drain.clone();
        let mut draining = pin!(drain.begun());
        loop {
            let accepted = tokio::select! {
                accepted = door.accept(&socket) => accepted,
                () = &mut draining => return,
                _ = stop.changed() => return,
            };
            match accepted {
                Ok(Some(visitor)) => {
                    let (present, drain, door) = (self.present.clone(), self.drain.clone(), door.clone());
                    // With one runtime a thread, this puts the connection on any of them.
                    pingora_runtime::current_handle().spawn(async move {
                        let (peer, rules) = (visitor.peer, present.rules());
                        let first_by = clock::now() + rules.header_timeout;
                        let Some((line, place)) = door.open(visitor, rules.header_timeout).await else { return };
                        drop(door);
                        let session = Session::new(line, rules.write_timeout).first_by(first_by);
                        converse(&present, session, peer, rules, &drain).await;
                        drop(place);
                    });
                }
                Ok(None) => {}
                Err(error) => {
                    tracing::warn!(listener = self.name, kind = ?error.kind(), "accept failed; trying again");
                    // Out of file descriptors: others have to close before accepting makes sense.
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }

    fn name(&self) -> &str {
        self.name
    }

    fn threads(&self) -> Option<usize> {
        Some(self.threads)
    }
}

/// Binds and listens, ready for a runtime to take over.
fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    // The standard library listens with a backlog that it does not let anybody choose; tokio does, inside a runtime.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let _inside = runtime.enter();
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // A gateway that starts again may take the port over while old connections still linger.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)?.into_std()
}

/// One connection: requests one after another, pipelined ones included, until somebody has enough.
async fn converse<A: App>(present: &Present<A>, mut session: Session, peer: IpAddr, rules: Rules, drain: &Drain) {
    let mut request = Request::new();
    let mut allowed = rules.header_timeout;
    let mut draining = pin!(drain.begun());
    loop {
        let begun = tokio::select! {
            biased;
            begun = session.await_request(allowed) => begun,
            () = &mut draining => false,
        };
        if !begun {
            return;
        }
        let in_flight = drain.enter();
        match session.read_request(&mut request, rules.max_header, rules.header_timeout).await {
            Ok(()) => {}
            Err(NoRequest::Gone) => return,
            Err(NoRequest::Fault(fault)) => {
                present.load().refuse(&request, &mut session, fault).await;
                return session.linger().await;
            }
        }
        if drain.is_draining() {
            session.close_after();
        }
        let after = present.load().serve(&request, &mut session, peer).await;
        match after {
            After::Keep => {}
            After::Linger => return session.linger().await,
            After::Cut => return,
        }
        drop(in_flight);
        if !session.next() {
            return session.linger().await;
        }
        allowed = rules.keepalive_timeout;
    }
}

/// The one way to stop: says that the gateway drains, and knows how many requests are in flight.
#[derive(Clone)]
pub(crate) struct Drain(Arc<DrainState>);

struct DrainState {
    stopping: watch::Sender<bool>,
    in_flight: AtomicUsize,
    left: Notify,
}

/// A request in flight; dropping it says that it ended.
pub(crate) struct InFlight(Arc<DrainState>);

impl Drain {
    /// Nothing in flight, not draining.
    pub(crate) fn new() -> Self {
        Self(Arc::new(DrainState {
            stopping: watch::Sender::new(false),
            in_flight: AtomicUsize::new(0),
            left: Notify::new(),
        }))
    }

    /// Ready once the gateway drains.
    async fn begun(&self) {
        let _ = self.0.stopping.subscribe().wait_for(|&stopping| stopping).await;
    }

    fn enter(&self) -> InFlight {
        self.0.in_flight.fetch_add(1, Ordering::Relaxed);
        InFlight(self.0.clone())
    }

    /// Whether the gateway takes no new connections and closes each after its answer.
    pub(crate) fn is_draining(&self) -> bool {
        *self.0.stopping.borrow()
    }

    /// Stops accepting, then waits until nothing is in flight or the grace period ends.
    /// Returns how many requests were still in flight.
    pub(crate) async fn drain(&self, grace: Duration) -> usize {
        self.0.stopping.send_replace(true);
        let empty = async {
            loop {
                let left = self.0.left.notified();
                if self.0.in_flight.load(Ordering::Acquire) == 0 {
                    return;
                }
                left.await;
            }
        };
        let _ = timeout(grace, empty).await;
        self.0.in_flight.load(Ordering::Acquire)
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        if self.0.in_flight.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.left.notify_one();
        }
    }
}
