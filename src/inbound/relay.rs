//! Relaying: a callback whose answer the platform uses is passed to its one receiver while the platform waits.
//!
//! It is never stored and never sent twice once a byte of it has left; when it fails, the platform tries again. What
//! comes back is status, content type and body, and nothing else of the receiver's answer.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::Method;
use pingora_timeout::timeout;
use zeroize::Zeroizing;

use super::answer::Relayed;
use crate::clock;
use crate::config;
use crate::http::answer::{Answer, SendCause};
use crate::http::client::Client;
use crate::http::request::{BadTarget, RequestHead, RequestHeadWriter};
use crate::limit::{NoRoom, Reserved};

/// Largest body of a receiver's answer, in bytes: the platform waits for a decision, not for a file.
const MOST_ANSWER: usize = 1024 * 1024;

/// How often an answer's body is in memory at most: as it came, sealed, and sealed as text.
const COPIES: usize = 3;

/// The way to one receiver.
pub(crate) struct Relay {
    receiver: config::Receiver,
    client: Client,
    target: String,
    /// The configured headers, as lines.
    headers: Zeroizing<Vec<u8>>,
    /// From the first look at the receiver to the end of its answer.
    timeout: Duration,
}

/// Why there is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RelayError {
    /// It did not come in time.
    Late,
    /// The memory for its body stayed used up.
    NoRoom,
    /// The receiver is down, or what it said cannot be handed on: a stable word.
    Failed(&'static str),
}

impl Relay {
    /// To this receiver, which may take so long.
    pub(crate) fn new(receiver: &config::Receiver, allowed: Duration) -> Self {
        let timeouts = config::Timeouts { connect: allowed, read: allowed, write: allowed, idle: Duration::ZERO };
        let mut headers = Zeroizing::new(Vec::new());
        for (name, value) in &receiver.headers {
            for part in [name.as_str().as_bytes(), b": ", value.expose(), b"\r\n"] {
                headers.extend_from_slice(part);
            }
        }
        let ca = receiver.ca.as_ref().map(config::Authorities::path);
        Self {
            receiver: receiver.clone(),
            client: Client::presenting(receiver.upstream.clone(), ca, receiver.identity.as_ref(), timeouts),
            target: receiver.target.clone(),
            headers,
            timeout: allowed,
        }
    }

    /// Whether it is the way to this receiver, as it is configured now.
    pub(crate) fn is_to(&self, receiver: &config::Receiver, allowed: Duration) -> bool {
        self.receiver == *receiver && self.timeout == allowed
    }

    /// Passes an opened body on and waits for the answer, whose body is not sealed yet. `room` reserves so many bytes for
    /// it, once, when the answer's head says how many it needs: a receiver that takes its time holds none.
    pub(super) async fn pass(
        &self,
        source: &str,
        body: &[u8],
        content_type: Option<&[u8]>,
        room: impl AsyncFnOnce(usize) -> Result<Reserved, NoRoom>,
    ) -> Result<(Relayed, Reserved), RelayError> {
        let asked = async {
            let answer = self.ask(source, body, content_type).await?;
            let room = room(COPIES * Self::most(&answer)?).await.map_err(|NoRoom| RelayError::NoRoom)?;
            Ok((Self::read(answer).await?, room))
        };
        timeout(self.timeout, asked).await.unwrap_or(Err(RelayError::Late))
    }

    async fn ask(&self, source: &str, body: &[u8], content_type: Option<&[u8]>) -> Result<Answer, RelayError> {
        let head = self.head(source, body.len(), content_type).map_err(|BadTarget| RelayError::Failed("target"))?;
        // One of its own: a kept one may be closing just now, and what has left on it must not be sent again.
        let connection =
            self.client.connect(true, clock::now()).await.map_err(|_| RelayError::Failed("unreachable"))?;
        let answer = self.client.send(connection, &head, [&self.headers, b"", b""], body).await;
        answer.map_err(|error| RelayError::from(error.cause))
    }

    /// The most bytes that the body of this answer may have.
    fn most(answer: &Answer) -> Result<usize, RelayError> {
        match answer.body_length() {
            Some(length) if length > MOST_ANSWER as u64 => Err(RelayError::Failed("too_large")),
            Some(length) => Ok(length as usize),
            None if answer.is_done() => Ok(0),
            None => Ok(MOST_ANSWER),
        }
    }

    fn head(&self, source: &str, length: usize, content_type: Option<&[u8]>) -> Result<RequestHead, BadTarget> {
        let (path, query) = match self.target.split_once('?') {
            Some((path, query)) => (path, Some(query.as_bytes())),
            None => (self.target.as_str(), None),
        };
        let mut head = RequestHeadWriter::try_new(&Method::POST, path.as_bytes(), query)?;
        head.header(b"Host", self.client.authority().as_bytes())
            .header(b"Content-Type", content_type.unwrap_or(b"application/json"))
            .header(b"User-Agent", concat!("airudder-gateway/", env!("CARGO_PKG_VERSION")).as_bytes())
            .header(b"X-Gateway-Source", source.as_bytes())
            .header(b"Connection", b"close")
            .content_length(length as u64);
        Ok(head.finish())
    }

    async fn read(mut answer: Answer) -> Result<Relayed, RelayError> {
        let head = answer.head();
        // Nobody asked for one, and the platform could not be told of it.
        if head.find("content-encoding").is_some_and(|coding| !coding.eq_ignore_ascii_case(b"identity")) {
            return Err(RelayError::Failed("compressed"));
        }
        let (status, content_type) = (head.status().as_u16(), head.find("content-type").map(<[u8]>::to_vec));
        let mut body = BytesMut::new();
        while let Some(piece) = answer.piece().await? {
            if body.len() + piece.len() > MOST_ANSWER {
                return Err(RelayError::Failed("too_large"));
            }
            body.extend_from_slice(piece);
        }
        Ok(Relayed { status, content_type, signed: None, body: Bytes::from(body) })
    }

    /// Looks the receiver's name up again, and shows a client certificate whose files have changed. To be called now and then.
    pub(super) async fn refresh(&self) {
        // On a failure the known addresses stay, and the next callback shows whether they still serve.
        let _ = self.client.resolve().await;
        let receiver = self.receiver.name.as_str();
        match self.client.reread_identity().await {
            Ok(true) => tracing::info!(receiver, "the client certificate was replaced"),
            Ok(false) => {}
            Err(error) => tracing::warn!(receiver, "identity: {error}; the former certificate is shown on"),
        }
    }
}

impl From<SendCause> for RelayError {
    fn from(cause: SendCause) -> Self {
        match cause {
            SendCause::Timeout => Self::Late,
            SendCause::Closed => Self::Failed("closed"),
            SendCause::Malformed => Self::Failed("malformed"),
        }
    }
}
