//! One key, one call: what an `Idempotency-Key` adds to a POST.
//!
//! The first call with a key claims it on disk before a byte may leave; the others wait for it, and get its answer. Who may
//! leave and who must not is decided here and in the inbox's rows; nothing here talks to the platform. A call without a key
//! passes by.

mod kept;

use std::borrow::Cow;
use std::pin::pin;
use std::time::Duration;

use http::{Method, StatusCode};
use pingora_timeout::timeout;

use super::Outbound;
use super::account::Account;
use super::answer::Judged;
use super::body::{self, Collected};
use super::key::{self, BadKey};
use super::receive::Received;
use super::record::{Phase, Record};
use super::stop::{Stop, at_once, unless_gone};
use crate::clock;
use crate::envelope::Signed;
use crate::http::response::ResponseHead;
use crate::http::session::Session;
use crate::inbox::{End, Flight, Inbox, KeptAnswer, Key, KeyId, KeyState, Known, Scope, Unavailable};
use crate::limit::Admitted;
use crate::metrics::KeyOutcome;
use crate::reply::{Refusal, Reply, Sent};

/// What a call without a deadline of its own is told to wait, and how soon a store may be back.
const SOON: Duration = Duration::from_secs(1);

/// How soon an operator may have added a store.
const LATER: Duration = Duration::from_secs(60);

/// Says whose turn it is when nobody knows how a call ended.
const SETTLE: &str = "this key sends nothing again until the gateway's operator has looked at the platform and settled \
                      it (airudder-gateway keys settle)";

/// Says what is missing.
const NO_STORE: &str = "the gateway has no [inbox], where keys are kept";

/// What became of a key at the entrance.
pub(super) enum Entered<'a> {
    /// It is free, and nobody else is under way with it.
    First(First<'a>),
    /// It was used.
    Known(Repeat<'a>),
}

/// A call that may be the one to leave under its key. Dropped before its claim, it has changed nothing.
pub(super) struct First<'a> {
    inbox: &'a Inbox,
    key: Key,
    flight: Option<Flight>,
    claimed: Option<KeyId>,
    /// Whether the platform may have carried it out.
    left: bool,
}

/// A call whose key was used before.
pub(super) struct Repeat<'a> {
    inbox: &'a Inbox,
    known: Known,
    waited: bool,
}

/// The key of a call, if it has one that counts: only a POST needs it.
pub(super) fn key<'r>(received: &Received<'r>) -> Result<Option<Cow<'r, [u8]>>, Refusal> {
    if *received.method != Method::POST {
        return Ok(None);
    }
    let value = received.request.only("idempotency-key").map_err(|_| Refusal::BadIdempotencyKey)?;
    match value {
        Some(value) => key::parse(value).map(Some).map_err(|BadKey| Refusal::BadIdempotencyKey),
        None if received.operation.needs_key => Err(Refusal::IdempotencyKeyMissing),
        None => Ok(None),
    }
}

/// Passes the entrance of a key, after whoever is under way with it.
pub(super) async fn enter<'a>(
    outbound: &'a Outbound,
    session: &mut Session,
    received: &Received<'a>,
    key: &[u8],
    record: &mut Record<'_>,
) -> Result<Entered<'a>, Stop> {
    // What cannot be held whole cannot be compared.
    if received.length_over(outbound.rules.max_body) {
        return Err(Refusal::BodyTooLarge.into());
    }
    record.key = Some(KeyOutcome::Unavailable);
    let Some(inbox) = &outbound.inbox else {
        return Err(
            Reply { retry_after: Some(LATER), detail: Some(NO_STORE), ..Refusal::KeysUnavailable.into() }.into()
        );
    };
    let scope = Scope {
        program: &received.program.name,
        account: &received.account.name,
        operation: &received.operation.name,
        method: received.method.as_str(),
        path: received.path,
        query: received.query,
        key,
    };
    // Just after a take-over the process before this one still ends its calls with keys.
    let end = clock::now() + received.patience().unwrap_or(outbound.rules.body_timeout);
    let left = || end.saturating_duration_since(clock::now());
    tokio::select! {
        biased;
        () = inbox.tried_within(left()) => {}
        () = session.left() => return Err(Stop::ClientGone),
    }
    let key = inbox.key(&scope).map_err(unavailable)?;
    let (flight, waited) = {
        let mut entering = pin!(inbox.entrance(&key).enter());
        match at_once(entering.as_mut()).await {
            Some(flight) => (flight, false),
            None => {
                let entered = tokio::select! {
                    biased;
                    entered = timeout(left(), entering) => entered,
                    () = session.left() => return Err(Stop::ClientGone),
                };
                record.key = Some(KeyOutcome::InUse);
                let late = |_| Reply { retry_after: Some(SOON), ..Refusal::IdempotencyKeyInUse.into() };
                (entered.map_err(late)?, true)
            }
        }
    };
    record.key = Some(KeyOutcome::Unavailable);
    let found = inbox.find_key(&key).await.map_err(unavailable)?;
    record.lap_key();
    let Some(mut known) = found else {
        record.key = Some(KeyOutcome::Freed);
        return Ok(Entered::First(First { inbox, key, flight: Some(flight), claimed: None, left: false }));
    };
    if known.state == KeyState::Sending {
        // Whoever sent it is not under way any more, and could not keep how it ended. Operators see it from now on; if that
        // cannot be kept either, the next repeat tries again.
        let _ = inbox.end(known.id, &End::Unknown).await;
        known.state = KeyState::Unknown;
    }
    // It can only be read now, by any number at a time.
    drop(flight);
    Ok(Entered::Known(Repeat { inbox, known, waited }))
}

impl<'a> First<'a> {
    /// Before a byte may leave, and again before each further try: the key is on disk as sending.
    pub(super) async fn claim(&mut self, body: &Signature, record: &mut Record<'_>) -> Result<(), Stop> {
        self.left = false;
        if self.claimed.is_none() {
            let claimed = self.inbox.claim(&self.key, body.as_bytes()).await;
            self.claimed = Some(claimed.map_err(|why| {
                record.key = Some(KeyOutcome::Unavailable);
                unavailable(why)
            })?);
        }
        Ok(())
    }

    /// Whether the call is carried to its end although its program may have gone.
    pub(super) fn is_claimed(&self) -> bool {
        self.claimed.is_some()
    }

    /// What is known of the platform after a try, or after its answer: whether it may have carried the call out.
    pub(super) fn may_be_carried_out(&mut self, left: bool) {
        self.left = left;
    }

    /// Keeps how the call ended, before its program is told.
    pub(super) async fn end(
        mut self,
        ended: Result<Judged, Stop>,
        outbound: &Outbound,
        account: &Account,
        admitted: &Admitted,
        record: &mut Record<'_>,
    ) -> Result<Judged, Stop> {
        if self.claimed.is_none() {
            return ended;
        }
        let (end, ended) = match ended {
            Err(stop) if self.left => (End::Unknown, Err(explained(stop))),
            Err(stop) => (End::Free, Err(stop)),
            // It says that it did nothing, and asks for the call to come again.
            Ok(judged) if judged.head.status() == StatusCode::TOO_MANY_REQUESTS => (End::Free, Ok(judged)),
            Ok(mut judged) => match kept::keep(&mut judged, account, &outbound.budget, admitted).await {
                Ok(end) => (end, Ok(judged)),
                Err(kept::Cut) => (End::Unknown, Err(Refusal::AnswerCut.into())),
            },
        };
        record.key = Some(match end {
            End::Free => KeyOutcome::Freed,
            End::Unknown => KeyOutcome::Unknown,
            End::NotKept { .. } => KeyOutcome::NotKept,
            End::Answered(_) => KeyOutcome::First,
        });
        // What was read of the answer meanwhile is the answer's.
        record.lap(Phase::Open);
        self.keep(end).await;
        record.lap_key();
        ended
    }

    async fn keep(&mut self, end: End) {
        let (Some(id), Some(flight)) = (self.claimed, self.flight.take()) else { return };
        if let Err(why) = self.inbox.end(id, &end).await {
            tracing::error!(reason = why.word(), "how a call with a key ended could not be kept; it is tried again");
            self.inbox.end_later(Some(flight), id, end);
        }
    }
}

impl Repeat<'_> {
    /// What the first call with the key came to, if this one has the same body.
    pub(super) async fn answer(
        &self,
        outbound: &Outbound,
        session: &mut Session,
        received: &Received<'_>,
        record: &mut Record<'_>,
    ) -> Result<Judged, Stop> {
        let Self { inbox, known, waited } = self;
        record.key = Some(KeyOutcome::Unavailable);
        // It takes nobody's turn: nothing leaves.
        let admitted = outbound.budget.admit_unlimited(body::room(received, &outbound.rules)).await;
        let admitted = admitted.map_err(|_| busy(outbound))?;
        let collected = body::collect(outbound, session, received, admitted, record).await?;
        let body = Signature::of(&collected)?;
        let refused: Option<(_, Reply)> = match known.state {
            _ if !inbox.is_of_body(known, body.as_bytes()) => {
                Some((KeyOutcome::OtherBody, Refusal::IdempotencyKeyReused.into()))
            }
            KeyState::Sending | KeyState::Unknown => {
                let reply = Reply { detail: Some(SETTLE), ..Refusal::OutcomeUnknown.into() };
                Some((KeyOutcome::StillUnknown, reply))
            }
            KeyState::Settled => Some((KeyOutcome::Gone, Refusal::AlreadySent.into())),
            KeyState::NotKept => Some((KeyOutcome::Gone, Refusal::AnswerNotKept.into())),
            KeyState::Answered => None,
        };
        if let Some((outcome, reply)) = refused {
            record.key = Some(outcome);
            return Err(reply.into());
        }
        record.skip();
        let reserved = outbound.budget.reserve_answer(&collected.admitted, known.bytes).await;
        let reserved = reserved.map_err(|_| busy(outbound))?;
        let kept = unless_gone(session, pin!(inbox.remembered(known.id))).await?;
        let Some(KeptAnswer { status, lines, body }) = kept.map_err(unavailable)? else {
            record.key = Some(KeyOutcome::Gone);
            return Err(Refusal::AnswerNotKept.into());
        };
        let mut head = ResponseHead::of_lines(StatusCode::from_u16(status).unwrap_or_default(), &lines);
        head.header(b"Idempotency-Replayed", b"true");
        record.key = Some(if *waited { KeyOutcome::Waited } else { KeyOutcome::Replayed });
        record.sent = Sent::Yes;
        record.lap(Phase::Open);
        Ok(Judged::kept(head, body, reserved))
    }
}

/// What a body is known by: its plain text's digest, whether it was sealed or not.
pub(super) struct Signature(Signed);

impl Signature {
    /// Of a whole body.
    ///
    /// # Errors
    /// It was not held whole.
    pub(super) fn of(collected: &Collected) -> Result<Self, Refusal> {
        match (&collected.rest, collected.signed) {
            (Some(_), _) => Err(Refusal::BodyTooLarge),
            (None, Some(signed)) => Ok(Self(signed)),
            (None, None) => Ok(Self(Signed::of(&collected.outgoing.body))),
        }
    }

    fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

fn busy(outbound: &Outbound) -> Reply {
    Reply { retry_after: Some(outbound.rules.memory_wait), ..Refusal::Busy.into() }
}

fn unavailable(why: Unavailable) -> Reply {
    let detail = match why {
        Unavailable::Elsewhere => return Reply { retry_after: Some(SOON), ..Refusal::Upgrading.into() },
        Unavailable::Full => "the inbox, where keys are kept, is full",
        Unavailable::Busy => "the disk of the inbox, where keys are kept, does not keep up",
        Unavailable::Failed => "the disk or the database of the inbox, where keys are kept, fails",
        Unavailable::Closed => "the inbox, where keys are kept, is closed: the gateway stops",
    };
    Reply { retry_after: Some(SOON), detail: Some(detail), ..Refusal::KeysUnavailable.into() }
}

/// Adds to an unknown outcome what it means for its key.
fn explained(stop: Stop) -> Stop {
    match stop {
        Stop::Refuse(reply) if reply.refusal == Refusal::OutcomeUnknown => {
            Stop::Refuse(Reply { detail: Some(SETTLE), ..reply })
        }
        stop => stop,
    }
}
