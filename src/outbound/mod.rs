//! Outbound: programs inside call the platform through here, in plain HTTP and JSON.
//!
//! This file is the thin edge: it takes a session from the listener, has [`call::carry`] carry the call,
//! and writes our own answer when that stops. It decides nothing about a call.

pub(crate) mod account;
mod answer;
mod body;
mod call;
mod code;
mod exchange;
#[cfg(feature = "fuzzing")]
pub(crate) mod fuzzing;
mod key;
mod login;
mod named;
mod once;
mod query;
mod receive;
pub(crate) mod record;
pub(crate) mod route;
mod stop;
mod unpack;

use std::future::poll_fn;
use std::io;
use std::net::IpAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use http::StatusCode;

use account::Account;
use record::{CallSeries, End, REQUEST_ID, Record};
use route::Routes;
use stop::Stop;

use crate::config;
use crate::http::drain::Drain;
use crate::http::head::Request;
use crate::http::listener::{After, App, HeaderFault};
use crate::http::response::ResponseHead;
use crate::http::session::Session;
use crate::inbox::Inbox;
use crate::limit::{Budget, ProgramLimits};
use crate::program::Programs;
use crate::reply::{Refusal, Reply, Sent};

/// An unread body up to this is read, so that the connection can be kept after a refusal.
const DRAINABLE: u64 = 64 * 1024;

/// How long such a body may take to arrive.
const DRAIN_TIME: Duration = Duration::from_secs(2);

/// The outbound face: everything a call needs, made once in `app`.
pub(crate) struct Outbound {
    /// At least one; the first is the default.
    pub(crate) accounts: Vec<Arc<Account>>,
    pub(crate) programs: Programs,
    /// What limits each program, by its index.
    pub(crate) limits: Vec<ProgramLimits>,
    pub(crate) routes: Routes,
    pub(crate) budget: Budget,
    /// Where keys of calls are kept, if they are.
    pub(crate) inbox: Option<Inbox>,
    pub(crate) rules: config::Outbound,
    pub(crate) series: CallSeries,
    /// Once it has begun, an answer says that its connection closes.
    pub(crate) drain: Drain,
}

impl App for Outbound {
    async fn serve(self: &Arc<Self>, request: &Request, session: &mut Session, _: IpAddr) -> After {
        let mut record = Record::new();
        self.series.metrics.calls_in_flight.inc();
        let stopped = contained(pin!(call::carry(self, request, session, &mut record))).await;
        let (end, after) = match stopped {
            Ok(()) if session.is_body_done() => (End::Answered, After::Keep),
            // The platform did not want all of it.
            Ok(()) => (End::Answered, After::Linger),
            Err(Stop::Refuse(reply)) => self.answer(session, reply, &mut record).await,
            Err(Stop::ClientGone) => (End::ClientGone, After::Cut),
            Err(Stop::CutOff) => (End::CutOff, After::Cut),
        };
        self.series.metrics.calls_in_flight.dec();
        record.finish(end, &self.series);
        after
    }

    async fn refuse(self: &Arc<Self>, request: &Request, session: &mut Session, fault: HeaderFault) {
        let reply = match fault {
            HeaderFault::TooSlow => Refusal::HeaderTimeout.into(),
            HeaderFault::TooLarge => Refusal::HeaderTooLarge.into(),
            HeaderFault::Malformed(malformed) => {
                Reply { detail: Some(malformed.as_str()), ..Refusal::BadRequest.into() }
            }
        };
        let mut record = Record::new();
        record.status = reply.refusal.status();
        record.method = request.known_method().map_or("-", receive::method_name);
        let _ = write(session, &reply, &record).await;
        record.finish(End::Refused(reply.refusal), &self.series);
    }
}

impl Outbound {
    /// Writes our own answer. The connection is kept when nothing of the request is left on it.
    async fn answer(&self, session: &mut Session, reply: Reply, record: &mut Record<'_>) -> (End, After) {
        let refused = End::Refused(reply.refusal);
        record.status = reply.refusal.status();
        if record.sent == Sent::No {
            record.sent = reply.refusal.sent();
        }
        // Where a request ends that is framed in two ways, or not to its end, nobody can say.
        let lost = matches!(
            reply.refusal,
            Refusal::BadRequest | Refusal::BodyIncomplete | Refusal::BodyTimeout | Refusal::Internal
        );
        if session.has_answered() {
            // A second answer would stand inside the first.
            return (refused, After::Cut);
        }
        let drained = !lost && session.discard_body(DRAINABLE, DRAIN_TIME).await;
        if !drained || self.drain.is_draining() {
            session.close_after();
        }
        match write(session, &reply, record).await {
            Ok(()) if drained => (refused, After::Keep),
            Ok(()) => (refused, After::Linger),
            Err(_) => (refused, After::Cut),
        }
    }
}

/// A call that panics ends as `internal` and takes nothing else down. The panic hook has logged its place.
async fn contained(mut call: Pin<&mut impl Future<Output = Result<(), Stop>>>) -> Result<(), Stop> {
    poll_fn(|cx| {
        // Unwind safe: after a panic the session is answered and closed, and the record written, nothing more.
        catch_unwind(AssertUnwindSafe(|| call.as_mut().poll(cx))).unwrap_or(Poll::Ready(Err(Refusal::Internal.into())))
    })
    .await
}

/// What a program reads of the limits that its call met.
fn limits(head: &mut ResponseHead, record: &Record<'_>) {
    if let Some((policies, limits)) = record.met.texts() {
        head.header(b"RateLimit-Policy", policies.as_bytes()).header(b"RateLimit", limits.as_bytes());
    }
}

/// The answer of the table, in the platform's shape.
async fn write(session: &mut Session, reply: &Reply, record: &Record<'_>) -> io::Result<()> {
    let body = reply.body(record.request_id.as_str(), record.sent);
    let status = StatusCode::from_u16(reply.refusal.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut head = ResponseHead::new(status);
    head.header(b"Content-Type", b"application/json")
        .header(b"X-Gateway-Error", reply.refusal.word().as_bytes())
        .header(REQUEST_ID, record.request_id.as_bytes());
    if let Some(seconds) = reply.retry_after_seconds() {
        head.header(b"Retry-After", itoa::Buffer::new().format(seconds).as_bytes());
    }
    limits(&mut head, record);
    if status == StatusCode::UNAUTHORIZED {
        // RFC 9110 section 15.5.2; the word is the platform's.
        head.header(b"WWW-Authenticate", b"Token");
    }
    if reply.refusal == Refusal::MethodRefused {
        head.header(b"Allow", b"GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS");
    }
    session.answer(head, &body).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_call_that_panics_is_answered() {
        let bug = async { panic!("with a phone number") };
        assert!(matches!(contained(pin!(bug)).await, Err(Stop::Refuse(reply)) if reply.refusal == Refusal::Internal));
    }
}
