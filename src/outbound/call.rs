//! One call, from the program's bytes to the program's bytes. Read it from top to bottom.
//!
//! It decides the order of the steps and nothing else: each step is a room of its own, and takes what
//! only the step before can make. It never touches a socket below the two sessions.

use std::pin::{Pin, pin};

use super::Outbound;
use super::account::Account;
use super::answer::{self, Judged};
use super::body::{self, Collected};
use super::exchange;
use super::limits;
use super::login;
use super::named;
use super::once::{self, Entered, First, Signature};
use super::receive::{Received, operation, receive};
use super::record::{Phase, REQUEST_ID, Record};
use super::route::Auth;
use super::stop::{Stop, at_once, refused, unless_gone};
use crate::clock;
use crate::http::answer::Answer;
use crate::http::head::Request;
use crate::http::session::Session;
use crate::limit::Turn;
use crate::reply::{Refusal, Reply, Sent};
use crate::token::{Absent, LoginError, Unavailable};

/// Why a body that streamed went out once: not "a fresh token too".
const NOT_HELD: &str = "the body was over outbound.max_body, so it was not held and could not go out again with a fresh \
                        token; send it again";

/// Carries one call. On success the program has its whole answer.
pub(super) async fn carry<'a>(
    outbound: &'a Outbound,
    request: &'a Request,
    session: &mut Session,
    record: &mut Record<'a>,
) -> Result<(), Stop> {
    // 1. Receive: the header decides who calls whom.
    let operation = operation(outbound, request, record)?;
    if let Auth::Login(family) = operation.auth {
        return login::answer(outbound, request, session, record, family).await;
    }
    let received = receive(outbound, request, operation, record)?;
    // With a key: a call that was made is not made again, whatever the limits and the platform say now.
    let first = match once::key(&received)? {
        None => None,
        // In a box, so that the others carry no room for it.
        Some(key) => match Box::pin(once::enter(outbound, session, &received, &key, record)).await? {
            Entered::First(first) => Some(first),
            Entered::Known(repeat) => {
                let judged = Box::pin(repeat.answer(outbound, session, &received, record)).await?;
                return reply(outbound, session, &received, judged, record).await;
            }
        },
    };

    // 2. Admit: its turn, then memory, then the body.
    let (turn, waited) = {
        let Received { account, program, operation, .. } = &received;
        let (program, now) = (&outbound.limits[program.index], record.looked());
        let patience = received.patience();
        let mut turn = pin!(account.limits.admit(program, &operation.name, patience, now, &mut record.met));
        match at_once(turn.as_mut()).await {
            Some(turn) => (turn, false),
            None => tokio::select! {
                biased;
                turn = turn => (turn, true),
                () = session.left() => return Err(Stop::ClientGone),
            },
        }
    };
    if waited {
        record.lap(Phase::LimitWait);
    }
    let mut turn = turn.map_err(refused)?;
    let (admitted, waited) = {
        let mut admission = pin!(outbound.budget.admit(&turn, body::room(&received, &outbound.rules)));
        match at_once(admission.as_mut()).await {
            Some(admitted) => (admitted, false),
            None => (admission.await, true),
        }
    };
    if waited {
        record.lap(Phase::LimitWait);
    }
    let admitted =
        admitted.map_err(|_| Reply { retry_after: Some(outbound.rules.memory_wait), ..Refusal::Busy.into() })?;

    // 3. Collect and seal, as it arrives.
    let mut collected = body::collect(outbound, session, &received, admitted, record).await?;
    collected.admitted.shrink(collected.outgoing.held());

    // 4. Authorise, 5. exchange, 6. open and judge.
    let judged = match first {
        None => ask(outbound, session, &received, &collected, &mut turn, None, record).await?,
        Some(mut first) => {
            let key = Some((&mut first, Signature::of(&collected)?));
            let asked = ask(outbound, session, &received, &collected, &mut turn, key, record).await;
            Box::pin(first.end(asked, outbound, received.account, &collected.admitted, record)).await?
        }
    };
    drop(collected);

    // 7. Reply.
    reply(outbound, session, &received, judged, record).await
}

/// Asks the platform: again, once, when it refuses the token. With a key, it is claimed before anything leaves, and from then
/// on the call goes to its end, so that a repeat finds the answer.
async fn ask(
    outbound: &Outbound,
    session: &mut Session,
    received: &Received<'_>,
    collected: &Collected,
    turn: &mut Turn<'_>,
    mut key: Option<(&mut First<'_>, Signature)>,
    record: &mut Record<'_>,
) -> Result<Judged, Stop> {
    let Collected { outgoing, admitted, rest, .. } = collected;
    let mut replayed = false;
    loop {
        // 4. Authorise.
        let token = match &received.operation.auth {
            Auth::Token(family) => {
                let tokens = received.account.tokens(*family);
                let mut current = pin!(tokens.current(record.looked()));
                let token = match at_once(current.as_mut()).await {
                    Some(token) => token,
                    None => {
                        let token = while_wanted(session, key.as_ref(), current).await?;
                        record.lap(Phase::Token);
                        token
                    }
                };
                Some(token.map_err(|unavailable| tokenless(unavailable, tokens.held().err(), record))?)
            }
            _ => None,
        };

        // 5. Exchange.
        let answer = match &mut key {
            Some((first, body)) => {
                Box::pin(first.claim(body, record)).await?;
                record.lap_key();
                let before = std::mem::replace(&mut record.sent, Sent::No);
                let answer = exchange::once(received, outgoing, token.as_ref(), turn, record).await;
                first.may_be_carried_out(record.sent != Sent::No);
                if record.sent == Sent::No {
                    record.sent = before;
                }
                answer?
            }
            None if rest.is_some() => {
                exchange::stream(session, received, outgoing, token.as_ref(), turn, record).await?
            }
            None => {
                let exchange = pin!(exchange::once(received, outgoing, token.as_ref(), turn, record));
                unless_gone(session, exchange).await??
            }
        };
        record.sent = Sent::Yes;

        // 6. Open and judge.
        let judged = {
            let judge = pin!(answer::judge(outbound, received, answer, admitted, record));
            while_wanted(session, key.as_ref(), judge).await??
        };
        match (&received.operation.auth, token) {
            (Auth::Token(family), Some(token)) if judged.refuses_token(*family) => {
                judged.discard(received.account);
                if let Some((first, _)) = &mut key {
                    first.may_be_carried_out(false);
                }
                received.account.tokens(*family).refused(token.generation()).await;
                if rest.is_some() {
                    return Err(Reply { detail: Some(NOT_HELD), ..Refusal::TokenRefused.into() }.into());
                }
                if replayed {
                    return Err(Refusal::TokenRefused.into());
                }
                replayed = true;
                record.replayed = true;
                outbound.series.metrics.replays.with_label_values(&[&received.account.name]).inc();
            }
            _ => return Ok(judged),
        }
    }
}

/// Waits as long as the program is there; to the end, once a key was claimed for the call.
async fn while_wanted<T>(
    session: &mut Session,
    key: Option<&(&mut First<'_>, Signature)>,
    work: Pin<&mut impl Future<Output = T>>,
) -> Result<T, Stop> {
    match key.is_some_and(|(first, _)| first.is_claimed()) {
        true => Ok(work.await),
        false => unless_gone(session, work).await,
    }
}

async fn reply(
    outbound: &Outbound,
    session: &mut Session,
    received: &Received<'_>,
    judged: Judged,
    record: &mut Record<'_>,
) -> Result<(), Stop> {
    if outbound.drain.is_draining() {
        session.close_after();
    }
    deliver(session, received.account, judged, record).await
}

/// The answer's head and what is held of its body; then, if the answer streams, the rest as it comes.
async fn deliver(
    session: &mut Session,
    account: &Account,
    judged: Judged,
    record: &mut Record<'_>,
) -> Result<(), Stop> {
    let Judged { mut head, length, held, rest, _reserved, .. } = judged;
    head.header(REQUEST_ID, record.request_id.as_bytes());
    limits(&mut head, record);
    record.status = head.status().as_u16();
    record.bytes_out += held.len() as u64;
    session.begin(head, length);
    let taken = hand_on(session, account, &held, rest, record).await;
    // Whether the program was still there or not: the call was made.
    record.name(|| named::find(&held));
    taken?;
    record.lap(Phase::Deliver);
    Ok(())
}

/// The body of an answer whose head was begun.
async fn hand_on(
    session: &mut Session,
    account: &Account,
    held: &[u8],
    rest: Option<Answer>,
    record: &mut Record<'_>,
) -> Result<(), Stop> {
    session.write(held).await.map_err(|_| Stop::ClientGone)?;
    if let Some(mut answer) = rest {
        while let Some(piece) = unless_gone(session, pin!(answer.piece())).await?.map_err(|_| Stop::CutOff)? {
            record.bytes_out += piece.len() as u64;
            session.write(piece).await.map_err(|_| Stop::ClientGone)?;
        }
        account.client.release(answer, clock::now());
    }
    session.finish().await.map_err(|_| Stop::ClientGone)
}

/// What a call without a token is told. A login that met an untrusted platform would meet it again: waiting is no
/// remedy, and the operator has to know what is wrong.
fn tokenless(unavailable: Unavailable, absent: Option<Absent>, record: &mut Record<'_>) -> Reply {
    match absent {
        Some(Absent::Failing(LoginError::Untrusted)) if record.sent == Sent::No => {
            record.reason = "tls";
            Refusal::UpstreamUntrusted.into()
        }
        _ => Reply { retry_after: Some(unavailable.retry_after), ..Refusal::TokenUnavailable.into() },
    }
}
