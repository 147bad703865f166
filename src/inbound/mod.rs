//! Inbound: the platform calls back here. A callback is opened, stored, and only then acknowledged.
//!
//! This file is the thin edge: it takes a session from the listener, has [`callback::take`] take the callback, and
//! writes the answer. This room never delivers anything; what it stored is the business of `delivery`.

mod answer;
mod callback;
pub(crate) mod condition;
#[cfg(feature = "fuzzing")]
pub(crate) mod fuzzing;
mod kind;
mod loss;
mod moment;
mod open;
mod origin;
mod record;
mod refusals;
pub(crate) mod relay;
mod request;
pub(crate) mod source;
mod upkeep;

use std::future::poll_fn;
use std::net::IpAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;

use answer::{Answer, Fixed};
use callback::Ended;
use record::Record;
pub(crate) use refusals::Refusals;
use request::Request;
use source::Sources;
pub(crate) use upkeep::Upkeep;

use crate::config;
use crate::http::drain::Drain;
use crate::http::head;
use crate::http::listener::{After, App, HeaderFault};
use crate::http::session::Session;
use crate::limit::Budget;
use crate::metrics::Metrics;

/// Takes callbacks.
pub(crate) struct Inbound {
    pub(crate) sources: Sources,
    pub(crate) budget: Budget,
    pub(crate) rules: config::Inbound,
    pub(crate) metrics: Arc<Metrics>,
    /// What strangers were refused and no log line has told yet.
    pub(crate) refusals: Arc<Refusals>,
    /// Once it has begun, an answer says that its connection closes.
    pub(crate) drain: Drain,
}

impl App for Inbound {
    async fn serve(self: &Arc<Self>, head: &head::Request, session: &mut Session, peer: IpAddr) -> After {
        let (mut request, mut record) = (Request::new(head, session), Record::new());
        let taken = contained(pin!(callback::take(self, &mut request, peer, &mut record))).await;
        let Ended { answer, moment } = taken.unwrap_or_else(|| {
            record.reason = "internal";
            Ended { answer: Fixed::Internal.into(), moment: None }
        });
        // Before the moment that is waited for, so that it does not move what comes next on this connection.
        record.finish(answer.status(), &self.metrics, &self.refusals);
        if let Some(moment) = moment {
            moment.come().await;
        }
        // An upgrade may have begun meanwhile, and TLS stays here.
        let closes = request.is_last(&self.drain);
        request.answer(&answer, closes).await
    }

    async fn refuse(self: &Arc<Self>, head: &head::Request, session: &mut Session, fault: HeaderFault) {
        let (fixed, reason) = match fault {
            HeaderFault::TooSlow => (Fixed::TimedOut, "header"),
            HeaderFault::TooLarge => (Fixed::HeaderTooLarge, "header"),
            HeaderFault::Malformed(_) => (Fixed::Unreadable, "malformed"),
        };
        let mut record = Record::new();
        record.reason = reason;
        record.finish(fixed.status(), &self.metrics, &self.refusals);
        Request::new(head, session).answer(&Answer::from(fixed), true).await;
    }
}

/// A callback that panics is answered 500 and takes nothing else down. The panic hook has logged its place.
async fn contained(mut taking: Pin<&mut impl Future<Output = Ended>>) -> Option<Ended> {
    poll_fn(|cx| {
        // Unwind safe: after a panic the session is answered and closed, and the record written, nothing more.
        match catch_unwind(AssertUnwindSafe(|| taking.as_mut().poll(cx))) {
            Ok(Poll::Ready(ended)) => Poll::Ready(Some(ended)),
            Ok(Poll::Pending) => Poll::Pending,
            Err(_) => Poll::Ready(None),
        }
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_callback_that_panics_is_answered() {
        let bug = async { panic!("with a phone number") };
        assert!(contained(pin!(bug)).await.is_none());
    }
}
