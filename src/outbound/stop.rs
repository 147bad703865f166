//! How a call ends before its program has the whole answer: with one of ours, because nobody is left, or in the middle.
//!
//! It decides nothing; each step says why it stops.

use std::pin::Pin;

use crate::http::session::Session;
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

/// Does something that the program waits for, as long as it is there. The work comes first: it is given up only while
/// it has to wait itself.
pub(super) async fn unless_gone<T>(session: &mut Session, work: Pin<&mut impl Future<Output = T>>) -> Result<T, Stop> {
    tokio::select! {
        biased;
        done = work => Ok(done),
        () = session.gone() => Err(Stop::ClientGone),
    }
}
