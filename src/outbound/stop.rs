//! How a call ends before its program has the whole answer: with one of ours, because nobody is left, or in the middle.
//!
//! It decides nothing; each step says why it stops.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;

use crate::http::session::Session;
use crate::limit::Refused;
use crate::metrics::LimitedBy;
use crate::reply::{Refusal, Reply};

/// How a call stopped before the program had its whole answer.
pub(super) enum Stop {
    /// Answer with this instead.
    Refuse(Reply),
    /// Nobody is left to answer.
    ClientGone,
    /// The answer had begun to stream and cannot be finished.
    CutOff,
}

impl From<Reply> for Stop {
    fn from(reply: Reply) -> Self {
        Self::Refuse(reply)
    }
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Self {
        Self::Refuse(refusal.into())
    }
}

/// What a step brings that need not wait; `None`, and then it goes on where it was left, when it has to.
pub(super) async fn at_once<T>(mut work: Pin<&mut impl Future<Output = T>>) -> Option<T> {
    poll_fn(|cx| match work.as_mut().poll(cx) {
        Poll::Ready(done) => Poll::Ready(Some(done)),
        Poll::Pending => Poll::Ready(None),
    })
    .await
}

/// Does something that the program waits for, as long as it is there. The work comes first: it is given up only while
/// it has to wait itself.
pub(super) async fn unless_gone<T>(session: &mut Session, work: Pin<&mut impl Future<Output = T>>) -> Result<T, Stop> {
    tokio::select! {
        biased;
        done = work => Ok(done),
        () = session.gone() => Err(Stop::ClientGone),
    }
}

/// What a call is told that has to wait longer than it can.
pub(super) fn refused(refused: Refused) -> Reply {
    match refused {
        Refused::Limited(by, wait) => {
            let detail = match by {
                LimitedBy::Program => "the program's own rate (limit of its [[program]]) is used up",
                LimitedBy::Operation => "the operation's rate (limit of its [[operation]]) is used up",
                LimitedBy::Account => {
                    "the account's rate (limit of its [[account]]), shared by all programs, is used up"
                }
                LimitedBy::Pause => "the platform asked for a pause",
                LimitedBy::Concurrency => "as many calls are in flight as concurrency of a limit allows",
                LimitedBy::Queue => "as many calls of this program wait as may",
                LimitedBy::Deadline => "the time in its X-Gateway-Deadline was over before it could leave",
            };
            Reply { retry_after: Some(wait), detail: Some(detail), ..Refusal::Limited.into() }
        }
        Refused::Open(wait) => Reply { retry_after: Some(wait), ..Refusal::BreakerOpen.into() },
    }
}
