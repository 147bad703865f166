//! One try at the platform: a connection, the request, the head of the answer.
//!
//! Here is decided whether a request may leave again. A pooled connection found closed before a byte was
//! written is replaced; a GET or HEAD may go once more; a call that may have had an effect and got no
//! answer never goes again. It knows nothing of what an answer says.

use std::pin::pin;

use tokio::time::sleep;
use zeroize::Zeroizing;

use super::body::{Outgoing, next_piece};
use super::receive::Received;
use super::record::{Phase, Record};
use super::route::Auth;
use super::stop::{Stop, refused, unless_gone};
use crate::clock;
use crate::http::answer::{Answer, SendCause};
use crate::http::client::{ConnectError, Connection, SendError};
use crate::http::head::Length;
use crate::http::retry::retry_after;
use crate::http::session::Session;
use crate::limit::Turn;
use crate::metrics::ConnectionOutcome;
use crate::reply::{Refusal, Sent};
use crate::token::Token;

/// Sends a held request and waits for the head of its answer.
pub(super) async fn once(
    received: &Received<'_>,
    outgoing: &Outgoing,
    token: Option<&Token>,
    turn: &mut Turn<'_>,
    record: &mut Record<'_>,
) -> Result<Answer, Stop> {
    let credentials = Credentials::new(received, token);
    // What is known of the try before this one.
    let before = record.sent;
    let mut fresh = false;
    loop {
        let connection = depart(received, fresh, turn, record).await?;
        record.sent = Sent::Unknown;
        let sent = received.account.client.send(connection, &outgoing.head, credentials.parts(), &outgoing.body).await;
        record.lap(Phase::Platform);
        match sent {
            Ok(answer) => {
                judge(turn, &answer, record);
                return Ok(answer);
            }
            // A closed connection, found before a byte left or on a call that does no harm: once more.
            Err(error) if !fresh && error.cause == SendCause::Closed && (!error.left || received.is_safe()) => {
                fresh = true;
                if !error.left {
                    record.sent = before;
                }
                received.account.series.connected(ConnectionOutcome::Replaced);
            }
            Err(error) => return Err(unanswered(received, before, error, turn, record)),
        }
    }
}

/// Sends a request whose body is still arriving. It goes out once, over a connection of its own.
pub(super) async fn stream(
    session: &mut Session,
    received: &Received<'_>,
    outgoing: &Outgoing,
    token: Option<&Token>,
    turn: &mut Turn<'_>,
    record: &mut Record<'_>,
) -> Result<Answer, Stop> {
    let connection = unless_gone(session, pin!(depart(received, true, turn, record))).await??;
    let before = record.sent;
    record.sent = Sent::Unknown;
    let credentials = Credentials::new(received, token);
    let chunked = received.length == Length::Unknown;
    let begun = received.account.client.begin(connection, &outgoing.head, credentials.parts(), chunked).await;
    let mut sending = begun.map_err(|error| unanswered(received, before, error, turn, record))?;
    if !outgoing.body.is_empty() {
        sending.write(&outgoing.body).await.map_err(|error| unanswered(received, before, error, turn, record))?;
    }
    while !sending.is_refused_more() {
        let piece = tokio::select! {
            biased;
            () = sending.early() => break,
            piece = next_piece(session) => piece?,
        };
        let Some(piece) = piece else { break };
        record.bytes_in += piece.len() as u64;
        sending.write(piece).await.map_err(|error| unanswered(received, before, error, turn, record))?;
    }
    let finished = unless_gone(session, pin!(sending.finish())).await?;
    record.lap(Phase::Platform);
    let answer = finished.map_err(|error| unanswered(received, before, error, turn, record))?;
    judge(turn, &answer, record);
    Ok(answer)
}

/// A connection over which the request may leave now: the breaker lets it, the account's rate is charged, once, and the call
/// is in time.
async fn depart(
    received: &Received<'_>,
    fresh: bool,
    turn: &mut Turn<'_>,
    record: &mut Record<'_>,
) -> Result<Connection, Stop> {
    turn.begin().map_err(refused)?;
    let mut connection = connect(received, fresh, turn, record).await?;
    let may_leave = check_in_time(received).and_then(|()| turn.leave().map_err(|why| refused(why).into()));
    let wait = match may_leave {
        Ok(wait) if wait.is_zero() => return Ok(connection),
        Ok(wait) => wait,
        Err(stop) => {
            received.account.client.give_back(connection, record.looked());
            return Err(stop);
        }
    };
    sleep(wait).await;
    record.lap(Phase::LimitWait);
    if !connection.is_silent() {
        // The platform has ended it meanwhile. What is written to it now would look as if it had left.
        received.account.series.connected(ConnectionOutcome::Replaced);
        connection = connect(received, true, turn, record).await?;
    }
    check_in_time(received)?;
    Ok(connection)
}

/// Nothing leaves after the time that its program wrote.
fn check_in_time(received: &Received<'_>) -> Result<(), Stop> {
    if received.is_late() { Err(refused(received.account.limits.refuse_late()).into()) } else { Ok(()) }
}

/// The limits learn what the platform's answer says of them.
fn judge(turn: &mut Turn<'_>, answer: &Answer, record: &Record<'_>) {
    let head = answer.head();
    let wait = || head.find("retry-after").and_then(|value| retry_after(value, clock::wall_millis()));
    turn.answered(head.status().as_u16(), record.looked(), wait);
}

async fn connect(
    received: &Received<'_>,
    fresh: bool,
    turn: &mut Turn<'_>,
    record: &mut Record<'_>,
) -> Result<Connection, Stop> {
    let connected = received.account.client.connect(fresh, record.looked()).await;
    // One from the pool is there without waiting.
    if !connected.as_ref().is_ok_and(Connection::reused) {
        record.lap(Phase::Connect);
    }
    match connected {
        Ok(connection) => {
            let outcome = if connection.reused() { ConnectionOutcome::Reused } else { ConnectionOutcome::New };
            received.account.series.connected(outcome);
            Ok(connection)
        }
        Err(error) => {
            received.account.series.connected(ConnectionOutcome::Failed);
            // Waiting is no remedy for a platform that is not trusted, and the operator has to read what is wrong.
            if !matches!(error, ConnectError::Untrusted) {
                turn.failed(record.looked());
            }
            let (refusal, reason) = match error {
                ConnectError::Untrusted => (Refusal::UpstreamUntrusted, "tls"),
                ConnectError::Unreachable => (Refusal::UpstreamUnreachable, "connect"),
                ConnectError::Unresolved => (Refusal::UpstreamUnreachable, "resolve"),
            };
            record.reason = reason;
            Err(refusal.into())
        }
    }
}

/// The lines that prove whose call it is. They come last and from here only, so that nothing a program
/// sends can remove or replace them.
struct Credentials<'a> {
    token: Option<&'a Token>,
    /// The configured headers, joined.
    lines: Zeroizing<Vec<u8>>,
}

impl<'a> Credentials<'a> {
    fn new(received: &Received<'_>, token: Option<&'a Token>) -> Self {
        let mut lines = Zeroizing::new(Vec::new());
        if let Auth::Headers(headers) = &received.operation.auth {
            for (name, value) in headers {
                for part in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
                    lines.extend_from_slice(part);
                }
            }
        }
        Self { token, lines }
    }

    /// What goes between the head and the empty line.
    fn parts(&self) -> [&[u8]; 3] {
        match self.token {
            Some(token) => [b"Authorization: ", token.header_value().as_bytes(), b"\r\n"],
            None => [&self.lines, b"", b""],
        }
    }
}

fn unanswered(
    received: &Received<'_>,
    before: Sent,
    error: SendError,
    turn: &mut Turn<'_>,
    record: &mut Record<'_>,
) -> Stop {
    if error.cause == SendCause::Timeout {
        turn.failed(clock::now());
    }
    record.sent = match error {
        SendError { left: false, .. } => before,
        SendError { cause: SendCause::Malformed, .. } => Sent::Yes,
        SendError { .. } => Sent::Unknown,
    };
    record.reason = match error.cause {
        SendCause::Closed => "closed",
        SendCause::Timeout => "timeout",
        SendCause::Malformed => "malformed",
    };
    match error {
        SendError { left: false, .. } => Refusal::UpstreamUnreachable.into(),
        SendError { cause: SendCause::Malformed, .. } => Refusal::AnswerUnreadable.into(),
        SendError { cause: SendCause::Timeout, .. } if received.is_safe() => Refusal::UpstreamTimeout.into(),
        _ if received.is_safe() => Refusal::UpstreamFailed.into(),
        _ => Refusal::OutcomeUnknown.into(),
    }
}
