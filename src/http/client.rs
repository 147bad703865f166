//! The one client: a request leaves in one write over a pooled, verified connection; its answer is read
//! as it arrives.
//!
//! It says exactly how far a request came, because that decides whether it may be sent again. It never
//! sends anything twice itself, follows no redirect, and knows nothing of tokens or sealing.

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use pingora::connectors::{ConnectorOptions, TransportConnector};
use pingora::upstreams::peer::{HttpPeer, Peer};
use pingora_timeout::timeout;
use rustls::pki_types::CertificateDer;
use tokio::net::TcpStream;
use zeroize::Zeroize;

use super::answer::{Answer, SendCause};
use super::line::Line;
use super::patience::within;
use super::pool::Pool;
use super::request::RequestHead;
use super::tls;
use super::wire::{JOINED, Wire};
use crate::clock::{self, Instant};
use crate::config::{Identity, IdentityError, Timeouts, Upstream};

/// How long an answer may take to arrive after the platform stopped taking the request.
const EARLY_ANSWER: Duration = Duration::from_secs(2);

/// A client of one upstream. Make one for each account and receiver: whom it trusts and what it shows are part of it.
pub(crate) struct Client {
    /// Replaced as a whole when the files behind it have changed.
    connector: RwLock<Arc<Connector>>,
    /// What was last said to be wrong with those files.
    told: Mutex<Option<IdentityError>>,
    pool: Pool,
    upstream: Upstream,
    timeouts: Timeouts,
    /// One for each address the name resolved to; replaced as a whole.
    peers: RwLock<Arc<[HttpPeer]>>,
    next: AtomicUsize,
}

/// What makes connections, and from which files.
struct Connector {
    transport: TransportConnector,
    ca: Option<PathBuf>,
    identity: Option<Identity>,
    /// The certificates that are shown.
    chain: Vec<CertificateDer<'static>>,
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

impl Client {
    /// A client that trusts the system's authorities, or only those in the file `ca`.
    pub(crate) fn new(upstream: Upstream, ca: Option<&Path>, timeouts: Timeouts) -> Self {
        Self::presenting(upstream, ca, None, timeouts)
    }

    /// The same; an upstream that asks for a client certificate is shown `identity`. The files were checked with the
    /// configuration.
    pub(crate) fn presenting(
        upstream: Upstream,
        ca: Option<&Path>,
        identity: Option<&Identity>,
        timeouts: Timeouts,
    ) -> Self {
        Self {
            connector: RwLock::new(Arc::new(Connector::new(
                ca.map(Path::to_owned),
                identity.cloned(),
                identity.and_then(|identity| identity.read().ok()).map(|pair| pair.chain).unwrap_or_default(),
            ))),
            told: Mutex::default(),
            pool: Pool::new(timeouts.idle),
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

    /// Reads the certificate's files again and shows what is new from the next connection on. Whether something was.
    ///
    /// # Errors
    /// What is wrong with the files, once for each thing that is; the former certificate is shown on.
    pub(crate) async fn reread_identity(&self) -> Result<bool, IdentityError> {
        let shown = self.connector.read().unwrap_or_else(PoisonError::into_inner).clone();
        let Some(identity) = shown.identity.clone() else { return Ok(false) };
        let read = move || {
            let pair = identity.read()?;
            let changed = pair.chain != shown.chain;
            Ok(changed.then(|| Connector::new(shown.ca.clone(), Some(identity), pair.chain)))
        };
        // Files may change between two looks at them; one that does not fit then is seen at the next look.
        let Ok(read) = tokio::task::spawn_blocking(read).await else { return Ok(false) };
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let read = match read {
            Ok(read) => read,
            Err(error) if told.as_ref() == Some(&error) => return Ok(false),
            Err(error) => return Err(told.insert(error).clone()),
        };
        *told = None;
        let Some(connector) = read else { return Ok(false) };
        *self.connector.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(connector);
        Ok(true)
    }

    /// Closes idle connections that nobody will use. To be called now and then.
    pub(crate) fn sweep(&self) {
        self.pool.sweep(clock::now());
    }

    /// A connection from the pool, or a new one; `fresh` asks for a new one. A failed connect goes on to the
    /// next address.
    ///
    /// # Errors
    /// Nothing was sent; the last address's failure.
    pub(crate) async fn connect(&self, fresh: bool, now: Instant) -> Result<Connection, ConnectError> {
        if !fresh && let Some(wire) = self.pool.take(now) {
            return Ok(Connection { wire, reused: true });
        }
        // Boxed: a handshake's state is large, and calls that find a connection should not carry it about.
        Box::pin(self.connect_anew()).await
    }

    async fn connect_anew(&self) -> Result<Connection, ConnectError> {
        let mut peers = self.peers();
        if peers.is_empty() {
            let _ = timeout(self.timeouts.connect, self.resolve()).await;
            peers = self.peers();
        }
        let connector = self.connector.read().unwrap_or_else(PoisonError::into_inner).clone();
        let first = self.next.load(Ordering::Relaxed);
        let mut failure = ConnectError::Unresolved;
        for turn in 0..peers.len() {
            let peer = &peers[(first + turn) % peers.len()];
            match connector.connect(peer, self.timeouts.connect).await {
                Ok(line) => return Ok(Connection { wire: Box::new(Wire::upstream(line)), reused: false }),
                Err(error) => {
                    failure = error;
                    // The next call starts at the address that may work.
                    self.next.store(first + turn + 1, Ordering::Relaxed);
                }
            }
        }
        Err(failure)
    }

    /// Sends a whole request and waits for the head of its final answer. `credentials`, one after the other,
    /// are the head's last lines, each ended by CR LF.
    ///
    /// An answer that comes before the body was taken whole is returned like any other.
    ///
    /// # Errors
    /// How far the request came, and why there is no answer.
    pub(crate) async fn send(
        &self,
        connection: Connection,
        head: &RequestHead,
        credentials: [&[u8]; 3],
        body: &[u8],
    ) -> Result<Answer, SendError> {
        let mut sending = self.sending(connection, head, false);
        let [a, b, c] = credentials;
        let parts = [head.as_bytes(), a, b, c, b"\r\n", body];
        if parts.iter().map(|part| part.len()).sum::<usize>() <= JOINED {
            let whole = Joined::new(parts);
            sending.write_whole(&mut [IoSlice::new(&whole.bytes)]).await?;
        } else {
            sending.write_whole(&mut parts.map(IoSlice::new)).await?;
        }
        sending.finish().await
    }

    /// Starts a request whose body follows in pieces; `chunked` says that the head declares no length.
    ///
    /// # Errors
    /// As [`Client::send`].
    pub(crate) async fn begin(
        &self,
        connection: Connection,
        head: &RequestHead,
        credentials: [&[u8]; 3],
        chunked: bool,
    ) -> Result<Sending, SendError> {
        let mut sending = self.sending(connection, head, chunked);
        let [a, b, c] = credentials;
        sending.write_whole(&mut [head.as_bytes(), a, b, c, b"\r\n"].map(IoSlice::new)).await?;
        Ok(sending)
    }

    fn sending(&self, connection: Connection, head: &RequestHead, chunked: bool) -> Sending {
        Sending {
            wire: connection.wire,
            timeouts: self.timeouts,
            bodyless: head.is_head(),
            chunked,
            refused_more: false,
        }
    }

    /// Gives a connection back that nothing was sent on.
    pub(crate) fn give_back(&self, connection: Connection, now: Instant) {
        self.pool.put(connection.wire, now);
    }

    /// Gives a connection back once its answer was read whole; one that cannot be used again is closed.
    pub(crate) fn release(&self, answer: Answer, now: Instant) {
        if let Some(mut wire) = answer.into_reusable() {
            wire.restart();
            self.pool.put(wire, now);
        }
    }
}

impl Connector {
    fn new(ca: Option<PathBuf>, identity: Option<Identity>, chain: Vec<CertificateDer<'static>>) -> Self {
        tls::ask_for_short_keys();
        let text = |file: &Path| file.to_string_lossy().into_owned();
        let mut options = ConnectorOptions::new(0);
        options.ca_file = ca.as_deref().map(text);
        options.cert_key_file = identity.as_ref().map(|identity| (text(&identity.cert), text(&identity.key)));
        Self { transport: TransportConnector::new(Some(options)), ca, identity, chain }
    }

    /// A connection within `allowed`. Without TLS it is bare: pingora's stream would look at the clock around each wait.
    async fn connect(&self, peer: &HttpPeer, allowed: Duration) -> Result<Line, ConnectError> {
        let address = peer.address().as_inet().filter(|_| !peer.tls());
        let Some(address) = address else {
            return self
                .transport
                .new_stream(peer)
                .await
                .map(Line::Other)
                .map_err(|error| ConnectError::from_error(&error));
        };
        let connected = timeout(allowed, TcpStream::connect(address)).await;
        let stream = connected.ok().and_then(Result::ok).ok_or(ConnectError::Unreachable)?;
        // Whoever writes hands over whole messages.
        stream.set_nodelay(true).map_err(|_| ConnectError::Unreachable)?;
        Ok(Line::Tcp(stream))
    }
}

/// A short request in one piece. What proves whose it is gets wiped when it is dropped.
struct Joined {
    bytes: Vec<u8>,
    secret: Range<usize>,
}

impl Joined {
    /// Of these parts the three behind the first are the credentials.
    fn new(parts: [&[u8]; 6]) -> Self {
        let [head, a, b, c, ..] = parts;
        let bytes = parts.concat();
        Self { bytes, secret: head.len()..head.len() + a.len() + b.len() + c.len() }
    }
}

impl Drop for Joined {
    fn drop(&mut self) {
        self.bytes[self.secret.clone()].zeroize();
    }
}

/// A connection that nothing was sent on yet.
pub(crate) struct Connection {
    wire: Box<Wire>,
    reused: bool,
}

impl Connection {
    /// Whether it came from the pool, so that the platform may have closed it in the meantime.
    pub(crate) fn reused(&self) -> bool {
        self.reused
    }

    /// Whether the platform has neither ended it nor said anything on it, as far as anybody can know.
    pub(crate) fn is_silent(&mut self) -> bool {
        self.wire.is_silent()
    }
}

/// A request whose head was written.
pub(crate) struct Sending {
    wire: Box<Wire>,
    timeouts: Timeouts,
    bodyless: bool,
    chunked: bool,
    /// The platform takes no more of the body; it may have answered.
    refused_more: bool,
}

impl Sending {
    /// Writes a piece of the body. After the platform stopped taking it, further pieces are dropped and
    /// [`Sending::finish`] looks for the answer it gave instead.
    ///
    /// # Errors
    /// As [`Client::send`].
    pub(crate) async fn write(&mut self, piece: &[u8]) -> Result<(), SendError> {
        // Written as a chunk, an empty piece would end the body, and what follows would be another request.
        if piece.is_empty() {
            return Ok(());
        }
        if !self.chunked {
            return self.write_whole(&mut [IoSlice::new(piece)]).await;
        }
        let size = format!("{:x}\r\n", piece.len());
        self.write_whole(&mut [size.as_bytes(), piece, b"\r\n"].map(IoSlice::new)).await
    }

    /// Ends when the platform answers, or closes, before the body was written: [`Sending::finish`] brings what it
    /// said. Giving up this wait loses nothing.
    pub(crate) async fn early(&mut self) {
        poll_fn(|cx| self.wire.poll_early(cx)).await;
        self.refused_more = true;
    }

    /// Whether there is no use in writing more.
    pub(crate) fn is_refused_more(&self) -> bool {
        self.refused_more
    }

    /// Ends the body and waits for the head of the final answer; interim answers are skipped.
    ///
    /// # Errors
    /// As [`Client::send`].
    pub(crate) async fn finish(mut self) -> Result<Answer, SendError> {
        if self.chunked {
            self.write_whole(&mut [IoSlice::new(b"0\r\n\r\n")]).await?;
        }
        let Self { mut wire, timeouts, bodyless, refused_more, .. } = self;
        let left = wire.written() > 0;
        let gave_up = refused_more && wire.ahead().is_empty();
        let allowed = if gave_up { EARLY_ANSWER } else { timeouts.read };
        Answer::read(wire, allowed, bodyless, refused_more).await.map_err(|cause| SendError { left, cause })
    }

    /// Writes all of it, and at once as far as the connection takes it.
    ///
    /// A write that fails after something left may have been answered already: reading tells.
    async fn write_whole(&mut self, mut slices: &mut [IoSlice<'_>]) -> Result<(), SendError> {
        if self.refused_more {
            return Ok(());
        }
        IoSlice::advance_slices(&mut slices, 0);
        let cause = loop {
            let last = slices.is_empty();
            let step = async { if last { self.wire.flush().await } else { self.wire.write_some(&mut slices).await } };
            // The time is for one write, not for the body: a slow line is no failure, a stuck one is.
            match within(self.timeouts.write, step).await {
                Ok(Ok(())) if last => return Ok(()),
                Ok(Ok(())) => {}
                Ok(Err(_)) => break SendCause::Closed,
                Err(_) => break SendCause::Timeout,
            }
        };
        if self.wire.written() == 0 {
            return Err(SendError { left: false, cause });
        }
        self.refused_more = true;
        Ok(())
    }
}

impl ConnectError {
    fn from_error(error: &pingora::Error) -> Self {
        use pingora::ErrorType::{InvalidCert, TLSHandshakeFailure, TLSWantX509Lookup};
        // pingora keeps the cause of a failed handshake as text. A connection that broke off says nothing of trust.
        let says = |text| error.context.as_ref().is_some_and(|context| context.as_str().contains(text));
        match error.etype() {
            TLSHandshakeFailure if says("(os error ") || says("handshake eof") => Self::Unreachable,
            InvalidCert | TLSHandshakeFailure | TLSWantX509Lookup => Self::Untrusted,
            _ => Self::Unreachable,
        }
    }
}
