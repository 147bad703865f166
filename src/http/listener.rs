//! The accept loop: connections in, requests handed to an [`App`] one after another.
//!
//! The clock of a header starts at the first byte of a request and runs to the header's end, so a header that trickles
//! ends; of the first one it starts with the connection, so that neither TLS nor silence adds to it. A connection that
//! cannot carry another request closes in a way that lets its last answer arrive. An idle one closes when the gateway
//! drains, or goes to the process that takes over. It never looks into a request.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::BytesMut;
use pingora::server::{ListenFds, ShutdownWatch};
use pingora::services::Service;
use tokio::net::TcpSocket;
use tokio::sync::mpsc;

use super::door::{Caller, Door, Place, Public, Visitor};
use super::drain::{Arrival, Drain, Stage};
pub(crate) use super::head::HeaderFault;
use super::head::Request;
use super::line::Line;
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
    /// Connections from the process before this one. No more than it had.
    arrivals: (mpsc::UnboundedSender<Arrival>, mpsc::UnboundedReceiver<Arrival>),
}

/// A socket to listen on: an address to be bound, or a socket that another process has bound there.
pub(crate) enum Site {
    /// To be bound.
    Address(SocketAddr),
    /// It listens already.
    Bound(TcpListener),
}

impl<A: App> Listener<A> {
    /// Binds at once, so that a port that is taken is known before anything starts.
    ///
    /// # Errors
    /// What the kernel says of the address.
    pub(crate) fn try_new(
        name: &'static str,
        site: Site,
        present: Arc<Present<A>>,
        threads: usize,
        drain: Drain,
    ) -> io::Result<Self> {
        let socket = match site {
            Site::Address(address) => bind(address)?,
            Site::Bound(socket) => socket,
        };
        let arrivals = mpsc::unbounded_channel();
        Ok(Self { name, socket: Some(socket), present, threads, drain, public: None, arrivals })
    }

    /// The same where strangers may connect.
    pub(crate) fn public(self, public: Public) -> Self {
        Self { public: Some(public), ..self }
    }

    /// The address it is bound to, with the port that port 0 became.
    pub(crate) fn address(&self) -> io::Result<SocketAddr> {
        self.socket.as_ref().map_or_else(|| Err(io::ErrorKind::NotConnected.into()), TcpListener::local_addr)
    }

    /// Another handle to its socket, for the process that takes over; the socket listens as long as there is one.
    ///
    /// # Errors
    /// Out of file descriptors.
    pub(crate) fn socket(&self) -> io::Result<TcpListener> {
        self.socket.as_ref().map_or_else(|| Err(io::ErrorKind::NotConnected.into()), TcpListener::try_clone)
    }

    /// Where connections from another process are put.
    pub(crate) fn arrivals(&self) -> mpsc::UnboundedSender<Arrival> {
        self.arrivals.0.clone()
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
        loop {
            let accepted = tokio::select! {
                accepted = door.accept(&socket), if self.drain.is(Stage::Serving) => accepted.map(|caller| (caller, None)),
                // In this process again, or here for the first time, they count like the others.
                Some(arrival) = self.arrivals.1.recv(), if self.drain.is(Stage::Serving) =>
                    match Caller::arrived(arrival.stream) {
                        Some(caller) => caller.map(|caller| (caller, Some(arrival.ahead))),
                        None => continue,
                    },
                () = self.drain.reaches(Stage::Serving), if !self.drain.is(Stage::Serving) => continue,
                () = self.drain.leaves(Stage::Serving), if self.drain.is(Stage::Serving) => continue,
                () = self.drain.reaches(Stage::Stopping) => return,
                _ = stop.changed() => return,
            };
            // Not in the selection above, which would drop it where something else is ready first: whoever was accepted is
            // answered here or goes to the process that takes over, and counts from now on.
            let seated = match accepted {
                Ok((caller, ahead)) => {
                    let counted = self.drain.connected();
                    door.seat(caller).await.map(|visitor| visitor.map(|visitor| (visitor, ahead, counted)))
                }
                Err(error) => Err(error),
            };
            match seated {
                Ok(Some((visitor, ahead, counted))) => {
                    let (name, present, drain) = (self.name, self.present.clone(), self.drain.clone());
                    let (door, arrivals) = (door.clone(), self.arrivals());
                    // With one runtime a thread, this puts the connection on any of them.
                    pingora_runtime::current_handle().spawn(async move {
                        let (peer, rules) = (visitor.peer, present.rules());
                        let first_by = clock::now() + rules.header_timeout;
                        let Some((line, mut place)) = opened(&door, visitor, ahead.is_some(), rules).await else {
                            return;
                        };
                        drop(door);
                        let newcomer = place.newcomer.take();
                        let (session, silence) = match ahead {
                            Some(ahead) => (
                                Session::resumed(line, ahead, rules.write_timeout).welcome(None, newcomer),
                                rules.keepalive_timeout,
                            ),
                            None => {
                                let session = Session::new(line, rules.write_timeout).welcome(Some(first_by), newcomer);
                                (session, rules.header_timeout)
                            }
                        };
                        let left = converse(&present, session, silence, peer, rules, &drain).await;
                        if let Some((stream, ahead)) = left {
                            // An upgrade that was refused meanwhile needs it here. With the listener it is closed.
                            if let Some(arrival) = drain.send_away(name, stream, ahead, Some(counted)) {
                                let _ = arrivals.send(arrival);
                            }
                        }
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

/// What a visitor speaks over. One that was handed over has shaken hands with nobody: only plain connections are.
async fn opened(door: &Door, visitor: Visitor, is_known: bool, rules: Rules) -> Option<(Line, Place)> {
    if is_known { Some(visitor.plain()) } else { door.open(visitor, rules.header_timeout).await }
}

/// One connection: requests one after another, pipelined ones included, until somebody has enough. What is left of it, where
/// another process is to go on with it.
///
/// Each step that an idle connection does not wait in is in a box: its room is taken while it lasts, and the next call of any
/// connection finds it warm, where ten thousand connections would each hold it for a call that does not come.
async fn converse<A: App>(
    present: &Present<A>,
    mut session: Session,
    mut allowed: Duration,
    peer: IpAddr,
    rules: Rules,
    drain: &Drain,
) -> Option<(TcpStream, BytesMut)> {
    let mut request = Request::new();
    let mut unsettled = pin!(drain.leaves(Stage::Serving));
    loop {
        let begun = tokio::select! {
            biased;
            begun = session.await_request(allowed) => Some(begun),
            () = &mut unsettled => None,
        };
        if drain.is(Stage::Handing) && begun != Some(false) && session.can_be_handed_over() {
            return session.take_apart();
        }
        match begun {
            Some(true) => {}
            // It was to go elsewhere, and is to stay after all.
            None if drain.is(Stage::Serving) => {
                unsettled.set(drain.leaves(Stage::Serving));
                continue;
            }
            _ => {
                // What stays because of its TLS ends in the words of TLS, or nobody could tell the end from a cut (RFC 8446
                // section 6.1).
                if begun.is_none() && !session.can_be_handed_over() {
                    session.linger().await;
                }
                return None;
            }
        }
        let in_flight = drain.enter();
        let movable = session.can_be_handed_over();
        // Asked again now that it counts: whoever hands over may have looked in between and found nobody.
        if movable && drain.is(Stage::Handing) {
            return session.take_apart();
        }
        let read = tokio::select! {
            biased;
            read = session.read_request(&mut request, rules.max_header, rules.header_timeout) => Some(read),
            // Whatever of the head is here goes with the connection.
            () = drain.reaches(Stage::Handing), if movable => None,
        };
        match read {
            None => return session.take_apart(),
            Some(Ok(())) => {}
            Some(Err(NoRequest::Gone)) => return None,
            Some(Err(NoRequest::Fault(fault))) => {
                Box::pin(present.load().refuse(&request, &mut session, fault)).await;
                Box::pin(session.linger()).await;
                return None;
            }
        }
        if session.is_last(drain) {
            session.close_after();
        }
        let after = {
            let app = present.load();
            boxed(|| app.serve(&request, &mut session, peer)).await
        };
        match after {
            After::Keep => {}
            After::Linger => {
                Box::pin(session.linger()).await;
                return None;
            }
            After::Cut => return None,
        }
        drop(in_flight);
        if !session.next() {
            Box::pin(session.linger()).await;
            return None;
        }
        allowed = rules.keepalive_timeout;
    }
}

/// In a box, and made there: [`Box::pin`] makes it on the stack and moves its kilobytes.
fn boxed<F: Future>(step: impl FnOnce() -> F) -> Pin<Box<F>> {
    let room = Box::new_uninit();
    Box::into_pin(Box::write(room, step()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An answer takes this much to write.
    const ROOM: usize = 16 * 1024;

    struct Large;

    impl App for Large {
        async fn serve(self: &Arc<Self>, _: &Request, _: &mut Session, _: IpAddr) -> After {
            let room = [1_u8; ROOM];
            tokio::task::yield_now().await;
            if room.iter().all(|byte| *byte == 1) { After::Cut } else { After::Keep }
        }

        async fn refuse(self: &Arc<Self>, _: &Request, _: &mut Session, _: HeaderFault) {
            let room = [1_u8; ROOM];
            tokio::task::yield_now().await;
            assert!(room.iter().all(|byte| *byte == 1));
        }
    }

    #[tokio::test]
    async fn a_connection_that_waits_holds_no_room_for_a_call() {
        let second = Duration::from_secs(1);
        let rules = Rules {
            header_timeout: second,
            keepalive_timeout: second,
            max_connections: 1,
            max_header: 1024,
            write_timeout: second,
        };
        let (present, drain) = (Present::new(Arc::new(Large), rules), Drain::new(Stage::Serving));
        let session = Session::new(Line::Other(Box::new(tokio::io::duplex(1).0)), second);
        let peer = IpAddr::from([127, 0, 0, 1]);
        let connection = converse(&present, session, second, peer, rules, &drain);
        let size = size_of_val(&connection);
        assert!(size < 4 * 1024, "{size} bytes");
        assert!(connection.await.is_none());
    }
}
