//! One attempt: one POST to a receiver, and what its answer means.
//!
//! A function with an outcome. It never waits for another try, touches no inbox and looks into no answer beyond its
//! status and `Retry-After`; a redirect is not followed, because a callback goes to configured addresses only.

use std::time::Duration;

use http::{HeaderName, Method, StatusCode};
use pingora_timeout::timeout;
use zeroize::Zeroizing;

use super::sign::{ID, SIGNATURE, Signer, TIMESTAMP};
use crate::clock;
use crate::config;
use crate::http::answer::{Answer, Head, SendCause};
use crate::http::client::{Client, ConnectError, SendError};
use crate::http::request::{BadTarget, RequestHead, RequestHeadWriter};
use crate::http::retry::retry_after;
use crate::inbox::Leased;
use crate::secret::Secret;
use crate::trace::TRACEPARENT;

/// What we call ourselves.
const USER_AGENT: &str = concat!("airudder-gateway/", env!("CARGO_PKG_VERSION"));

/// The longest time a connect may take: a receiver is inside, and one that does not take a connection by then is down.
const CONNECT: Duration = Duration::from_secs(5);

/// How long an unused connection is kept.
const IDLE: Duration = Duration::from_secs(30);

/// Most bytes of an answer that are read to keep its connection, and how long they may take. Its status was read already.
const MOST_READ: usize = 64 * 1024;
const REST: Duration = Duration::from_secs(1);

/// A receiver as the other side of attempts.
pub(super) struct Target {
    /// Its connections; nobody else uses them.
    pub(super) client: Client,
    /// Path and query.
    target: String,
    /// The configured header lines, each ended by CR LF.
    lines: Zeroizing<Vec<u8>>,
    signer: Signer,
    timeout: Duration,
    bury: Vec<u16>,
}

/// How an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// A status of 2xx.
    Delivered,
    /// Another status.
    Refused,
    /// 3xx: its address changed, and somebody has to say so here.
    Redirected,
    /// No connection: refused, not in time, or no address.
    Unreachable,
    /// TLS failed.
    Untrusted,
    /// The time of the attempt was over before its answer.
    TimedOut,
    /// The connection ended before an answer, or what came is none.
    Cut,
    /// 429 or 503 with the time of the next try, if it is one that can be read.
    Throttled(Duration),
    /// 410: it never wants this one.
    Gone,
    /// A configured status: it never wants this one.
    Buried,
}

/// An attempt that ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ended {
    pub(super) outcome: Outcome,
    /// Of the answer, where there was one.
    pub(super) status: Option<u16>,
}

impl Target {
    /// For a receiver of the configuration.
    pub(super) fn new(receiver: &config::Receiver) -> Self {
        let timeouts = config::Timeouts {
            connect: receiver.timeout.min(CONNECT),
            read: receiver.timeout,
            write: receiver.timeout,
            idle: IDLE,
        };
        Self {
            client: Client::presenting(
                receiver.upstream.clone(),
                receiver.ca.as_ref().map(config::Authorities::path),
                receiver.identity.as_ref(),
                timeouts,
            ),
            target: receiver.target.clone(),
            lines: lines(&receiver.headers),
            signer: Signer::new(&receiver.secrets),
            timeout: receiver.timeout,
            bury: receiver.bury.clone(),
        }
    }

    /// Sends a callback once and says how that ended. Takes no longer than the receiver's timeout, and a moment.
    pub(super) async fn attempt(&self, leased: &Leased) -> Ended {
        let Ok(head) = self.head(leased, clock::wall_millis() / 1000) else {
            return Outcome::Unreachable.without_answer();
        };
        let answer = match timeout(self.timeout, self.exchange(&head, &leased.body)).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(outcome)) => return outcome.without_answer(),
            Err(_) => return Outcome::TimedOut.without_answer(),
        };
        let ended = judge(answer.head(), &self.bury, clock::wall_millis());
        self.keep(answer).await;
        ended
    }

    /// Everything but the configured lines. `timestamp`: seconds since 1970.
    fn head(&self, leased: &Leased, timestamp: u64) -> Result<RequestHead, BadTarget> {
        let (mut seconds, mut attempt) = (itoa::Buffer::new(), itoa::Buffer::new());
        let (id, timestamp) = (leased.id.to_string(), seconds.format(timestamp));
        let mut head = RequestHeadWriter::try_new(&Method::POST, self.target.as_bytes(), None)?;
        head.header(b"Host", self.client.authority().as_bytes())
            .header(b"User-Agent", USER_AGENT.as_bytes())
            .header(b"Content-Type", b"application/json")
            .header(ID.as_bytes(), id.as_bytes())
            .header(TIMESTAMP.as_bytes(), timestamp.as_bytes());
        if let Some(signature) = self.signer.sign(&id, timestamp, &leased.body) {
            head.header(SIGNATURE.as_bytes(), signature.as_bytes());
        }
        head.header(b"X-Gateway-Source", leased.source.as_bytes())
            .header(b"X-Gateway-Kind", leased.kind.as_str().as_bytes())
            .header(b"X-Gateway-Attempt", attempt.format(leased.attempt).as_bytes());
        if leased.redriven {
            head.header(b"X-Gateway-Redrive", b"1");
        }
        if let Some(parent) = &leased.parent {
            head.header(TRACEPARENT.as_bytes(), parent.to_string().as_bytes());
        }
        head.content_length(leased.body.len() as u64);
        Ok(head.finish())
    }

    /// The head of the answer. A kept connection that turns out closed says nothing of the receiver, so the request goes
    /// once more over a new one: a delivery may arrive twice, and its id tells.
    async fn exchange(&self, head: &RequestHead, body: &[u8]) -> Result<Answer, Outcome> {
        let mut fresh = false;
        loop {
            let connection = self.client.connect(fresh, clock::now()).await.map_err(Outcome::unconnected)?;
            let reused = connection.reused();
            match self.client.send(connection, head, [&self.lines, b"", b""], body).await {
                Ok(answer) => return Ok(answer),
                Err(SendError { cause: SendCause::Closed, .. }) if reused => fresh = true,
                Err(error) => return Err(Outcome::unanswered(error.cause)),
            }
        }
    }

    /// Reads the rest of an answer, so that its connection can be used again; a long one costs its connection.
    async fn keep(&self, mut answer: Answer) {
        let rest = async {
            let mut read = 0;
            while let Ok(Some(piece)) = answer.piece().await {
                read += piece.len();
                if read > MOST_READ {
                    break;
                }
            }
        };
        if timeout(REST, rest).await.is_ok() {
            self.client.release(answer, clock::now());
        }
    }
}

/// Header lines as they leave.
fn lines(headers: &[(HeaderName, Secret)]) -> Zeroizing<Vec<u8>> {
    let mut lines = Zeroizing::new(Vec::new());
    for (name, value) in headers {
        for part in [name.as_str().as_bytes(), b": ", value.expose(), b"\r\n"] {
            lines.extend_from_slice(part);
        }
    }
    lines
}

/// What an answer means for the callback. `now_ms` is the wall clock.
fn judge(head: &Head, bury: &[u16], now_ms: u64) -> Ended {
    let status = head.status();
    let wait = || head.find("retry-after").and_then(|value| retry_after(value, now_ms));
    let outcome = match status {
        _ if status.is_success() => Outcome::Delivered,
        StatusCode::GONE => Outcome::Gone,
        _ if bury.contains(&status.as_u16()) => Outcome::Buried,
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
            wait().map_or(Outcome::Refused, Outcome::Throttled)
        }
        _ if status.is_redirection() => Outcome::Redirected,
        _ => Outcome::Refused,
    };
    Ended { outcome, status: Some(status.as_u16()) }
}

impl Outcome {
    /// The words of all outcomes, in the order of [`Outcome::index`].
    pub(super) const WORDS: [&str; 10] = [
        "delivered",
        "refused",
        "redirected",
        "unreachable",
        "untrusted",
        "timed_out",
        "cut",
        "throttled",
        "gone",
        "buried",
    ];

    /// Where its word stands in [`Outcome::WORDS`].
    pub(super) fn index(self) -> usize {
        match self {
            Self::Delivered => 0,
            Self::Refused => 1,
            Self::Redirected => 2,
            Self::Unreachable => 3,
            Self::Untrusted => 4,
            Self::TimedOut => 5,
            Self::Cut => 6,
            Self::Throttled(_) => 7,
            Self::Gone => 8,
            Self::Buried => 9,
        }
    }

    /// The stable word.
    pub(super) fn word(self) -> &'static str {
        Self::WORDS[self.index()]
    }

    /// Whether the receiver said anything at all.
    pub(super) fn is_answer(self) -> bool {
        !matches!(self, Self::Unreachable | Self::Untrusted | Self::TimedOut | Self::Cut)
    }

    fn without_answer(self) -> Ended {
        Ended { outcome: self, status: None }
    }

    fn unconnected(error: ConnectError) -> Self {
        match error {
            ConnectError::Untrusted => Self::Untrusted,
            ConnectError::Unreachable | ConnectError::Unresolved => Self::Unreachable,
        }
    }

    fn unanswered(cause: SendCause) -> Self {
        match cause {
            SendCause::Timeout => Self::TimedOut,
            SendCause::Closed | SendCause::Malformed => Self::Cut,
        }
    }
}
