//! The one client: a request leaves in one write over a pooled, verified connection; its answer is read
//! as it arrives.
//!
//! It says exactly how far a request came, because that decides whether it may be sent again. It never
//! sends anything twice itself, follows no redirect, and knows nothing of tokens or sealing.

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use pingora::connectors::{ConnectorOptions, TransportConnector};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::protocols::Stream;
use pingora::protocols::http::v1::client::HttpSession;
use pingora::upstreams::peer::{HttpPeer, Peer};

use super::wire::Wire;
use crate::config::{Timeouts, Upstream};

/// Idle connections kept for one upstream. More are closed when they become idle.
const POOL_SIZE: usize = 1024;

/// How long an answer may take to arrive after the platform stopped taking the request.
const EARLY_ANSWER: Duration = Duration::from_secs(2);

/// A client of one upstream. Make one for each account: the trusted authorities are part of it.
pub(crate) struct Client {
    connector: TransportConnector,
    upstream: Upstream,
    timeouts: Timeouts,
    /// One for each address the name resolved to; replaced as a whole.
    peers: RwLock<Arc<[HttpPeer]>>,
    next: AtomicUsize,
}

/// Why there is no connection. Nothing was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ConnectError {
    /// The name has not resolved to an address yet.
    Unresolved,
    /// Refused, unreachable, or not in time.
    Unreachable,
    /// TLS failed: an unknown authority, another name, no common version.
    Untrusted,
}

/// How a request failed after a connection was there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SendError {
    /// Whether a byte of the request was handed to the connection. False proves it never left.
    pub(crate) left: bool,
    /// What happened.
    pub(crate) cause: SendCause,
}

/// What happened to a request that got no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SendCause {
    /// The platform closed the connection.
    Closed,
    /// Silence for longer than the read timeout, or a write that did not finish.
    Timeout,
    /// What came back is not HTTP/1.x.
    Malformed,
}

impl Client {
    /// A client that trusts the system's authorities, or only those in the file `ca`.
    pub(crate) fn new(upstream: Upstream, ca: Option<&Path>, timeouts: Timeouts) -> Self {
        let mut options = ConnectorOptions::new(POOL_SIZE);
        options.ca_file = ca.map(|file| file.to_string_lossy().into_owned());
        Self {
            connector: TransportConnector::new(Some(options)),
            upstream,
            timeouts,
            peers: RwLock::new(Arc::new([])),
            next: AtomicUsize::new(0),
        }
    }

    /// Value of the `Host` header.
    pub(crate) fn authority(&self) -> &str {
        &self.upstream.authority
    }

    /// Looks the upstream's name up and uses the addresses from now on. On an error the former ones stay.
    pub(crate) async fn resolve(&self) -> io::Result<()> {
        let found = tokio::net::lookup_host((self.upstream.host.as_str(), self.upstream.port)).await?;
        let mut peers = Vec::new();
        for address in found {
            let mut peer = HttpPeer::new(address, self.upstream.tls, self.upstream.host.clone());
            peer.options.total_connection_timeout = Some(self.timeouts.connect);
            peers.push(peer);
        }
        if peers.is_empty() {
            return Err(io::ErrorKind::NotFound.into());
        }
        *self.peers.write().unwrap_or_else(PoisonError::into_inner) = peers.into();
        Ok(())
    }

    fn peers(&self) -> Arc<[HttpPeer]> {
        self.peers.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A connection from the pool, or a new one. A failed connect goes on to the next address.
    ///
    /// # Errors
    /// Nothing was sent; the last address's failure.
    pub(crate) async fn connect(&self, fresh: bool) -> Result<Connection, ConnectError> {
        let peers = self.peers();
        let first = self.next.load(Ordering::Relaxed);
        let mut failure = ConnectError::Unresolved;
        for turn in 0..peers.len() {
            let peer = &peers[(first + turn) % peers.len()];
            if !fresh && let Some(stream) = self.connector.reused_stream(peer).await {
                return Ok(Connection { stream, reused: true, key: peer.reuse_hash() });
            }
            match self.connector.new_stream(peer).await {
                Ok(stream) => return Ok(Connection { stream, reused: false, key: peer.reuse_hash() }),
                Err(error) => {
                    failure = ConnectError::from_error(&error);
                    // The next call starts at the address that may work.
                    self.next.store(first + turn + 1, Ordering::Relaxed);
                }
            }
        }
        Err(failure)
    }

    /// Sends a whole request and waits for the head of its final answer.
    ///
    /// An answer that comes before the body was taken whole is returned like any other.
    ///
    /// # Errors
    /// How far the request came, and why there is no answer.
    pub(crate) async fn send(
        &self,
        connection: Connection,
        head: Box<RequestHeader>,
        body: &[u8],
    ) -> Result<Answer, SendError> {
        let mut sending = self.begin(connection, head, !body.is_empty()).await?;
        if !body.is_empty() {
            sending.write(body).await?;
        }
        sending.finish().await
    }

    /// Starts a request whose body follows in pieces; [`Client::send`] is this for a body in hand.
    ///
    /// # Errors
    /// As [`Client::send`].
    pub(crate) async fn begin(
        &self,
        connection: Connection,
        head: Box<RequestHeader>,
        body_follows: bool,
    ) -> Result<Sending, SendError> {
        let mut session = HttpSession::new(Box::new(Wire::upstream(connection.stream, body_follows)));
        session.read_timeout = Some(self.timeouts.read);
        session.write_timeout = Some(self.timeouts.write);
        let mut sending = Sending { session, key: connection.key, idle: self.timeouts.idle, refused_more: false };
        let written = sending.session.write_request_header(head).await.map(|_| ());
        sending.judge_write(written)?;
        Ok(sending)
    }

    /// Gives a connection back once its answer was read whole; one that cannot be used again is closed.
    pub(crate) async fn release(&self, answer: Answer) {
        let Answer { mut session, key, idle, spent } = answer;
        if spent || !session.is_body_done() {
            session.shutdown().await;
            return;
        }
        session.respect_keepalive();
        let Some(stream) = session.reuse().await else { return };
        if let Ok(wire) = stream.into_any().downcast::<Wire>()
            && !wire.answered_early()
        {
            self.connector.release_stream(wire.into_inner(), key, Some(idle));
        }
    }
}

/// A connection that nothing was sent on yet.
pub(crate) struct Connection {
    stream: Stream,
    reused: bool,
    key: u64,
}

impl Connection {
    /// Whether it came from the pool, so that the platform may have closed it in the meantime.
    pub(crate) fn reused(&self) -> bool {
        self.reused
    }
}

/// A request whose head was written.
pub(crate) struct Sending {
    session: HttpSession,
    key: u64,
    idle: Duration,
    /// The platform takes no more of the body; it may have answered.
    refused_more: bool,
}

impl Sending {
    /// Writes a piece of the body. After the platform stopped taking it, further pieces are dropped and
    /// [`Sending::finish`] looks for the answer it gave instead.
    pub(crate) async fn write(&mut self, piece: &[u8]) -> Result<(), SendError> {
        // Written as a chunk, an empty piece would end the body, and what follows would be another request.
        if self.refused_more || piece.is_empty() {
            return Ok(());
        }
        let written = self.session.write_body(piece).await.map(|_| ());
        self.judge_write(written)
    }

    /// Whether there is no use in writing more.
    pub(crate) fn is_refused_more(&self) -> bool {
        self.refused_more
    }

    /// Ends the body and waits for the head of the final answer; interim answers are skipped.
    pub(crate) async fn finish(mut self) -> Result<Answer, SendError> {
        if !self.refused_more {
            let finished = self.session.finish_body().await.map(|_| ());
            self.judge_write(finished)?;
        }
        if self.refused_more {
            self.session.read_timeout = Some(EARLY_ANSWER);
        }
        loop {
            match self.session.read_response().await {
                Ok(_) => {}
                Err(error) => return Err(self.failed(SendCause::from_error(&error))),
            }
            match self.session.get_status().map(|status| status.as_u16()) {
                Some(100 | 102..=199) => {}
                // Nobody asked to switch protocols.
                Some(101) | None => return Err(self.failed(SendCause::Malformed)),
                Some(_) => break,
            }
        }
        Ok(Answer { session: self.session, key: self.key, idle: self.idle, spent: self.refused_more })
    }

    /// A write that failed after something left may have been answered already: reading tells.
    fn judge_write(&mut self, written: pingora::Result<()>) -> Result<(), SendError> {
        match written {
            Ok(()) => Ok(()),
            Err(_) if self.left() => {
                self.refused_more = true;
                Ok(())
            }
            Err(error) => Err(SendError { left: false, cause: SendCause::from_error(&error) }),
        }
    }

    fn left(&self) -> bool {
        self.session.stream().as_any().downcast_ref::<Wire>().is_none_or(|wire| wire.written() > 0)
    }

    fn failed(&self, cause: SendCause) -> SendError {
        SendError { left: self.left(), cause }
    }
}

/// An answer whose head was read.
pub(crate) struct Answer {
    session: HttpSession,
    key: u64,
    idle: Duration,
    spent: bool,
}

impl Answer {
    /// Status and headers, as the platform sent them.
    pub(crate) fn head(&self) -> Option<&ResponseHeader> {
        self.session.resp_header()
    }

    /// The next piece of the body, `None` at its end. A piece can be empty: a read ended inside a chunk's size line.
    ///
    /// # Errors
    /// The body ended early, was not framed as HTTP/1.1 says, or did not come in time.
    pub(crate) async fn piece(&mut self) -> Result<Option<&[u8]>, SendCause> {
        self.session.read_body_ref().await.map_err(|error| SendCause::from_error(&error))
    }

    /// Whether the whole body was read.
    pub(crate) fn is_done(&mut self) -> bool {
        self.session.is_body_done()
    }
}

impl ConnectError {
    fn from_error(error: &pingora::Error) -> Self {
        use pingora::ErrorType::{InvalidCert, TLSHandshakeFailure, TLSWantX509Lookup};
        match error.etype() {
            InvalidCert | TLSHandshakeFailure | TLSWantX509Lookup => Self::Untrusted,
            _ => Self::Unreachable,
        }
    }
}

impl SendCause {
    fn from_error(error: &pingora::Error) -> Self {
        use pingora::ErrorType::{InvalidHTTPHeader, ReadTimedout, WriteTimedout};
        match error.etype() {
            ReadTimedout | WriteTimedout => Self::Timeout,
            InvalidHTTPHeader => Self::Malformed,
            _ => Self::Closed,
        }
    }
}
