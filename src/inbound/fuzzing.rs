//! Doors for fuzz targets: callbacks that arrive over a pipe and are taken up to the inbox, which is closed.
//!
//! Compiled with the feature `fuzzing` only. What would be stored is refused by the closed inbox, and so nothing is kept.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use prometheus::IntGauge;

use super::Inbound;
use super::callback::{self, Ended};
use super::condition::Condition;
use super::record::Record;
use super::refusals::Refusals;
use super::request::Request;
use super::source::{Mode, Source, Sources};
use crate::config::{self, Config};
use crate::envelope::Cipher;
use crate::http;
use crate::http::drain::{Drain, Stage};
use crate::http::listener::After;
use crate::inbox::Inbox;
use crate::limit::Budget;
use crate::metrics::Metrics;

/// The public side of a configuration, without its listener.
pub struct Intake(Inbound);

/// What became of one callback.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taken {
    /// The status of its answer.
    pub status: u16,
    /// The log's word for its end.
    pub outcome: &'static str,
    /// The log's word for the reason; `closed` where the inbox would have been asked to keep it.
    pub reason: &'static str,
    /// Name of its source.
    pub source: String,
    /// What it is about, if it was opened.
    pub kind: Option<&'static str>,
}

impl Intake {
    /// Of a configuration whose sources all store. Its inbox is made in the folder that it names, and closed.
    ///
    /// # Errors
    /// A sentence.
    pub fn try_new(config: &Config) -> Result<Self, String> {
        let (Some(rules), Some(inbox)) = (config.inbound.clone(), &config.inbox) else {
            return Err("there are no callbacks in this configuration".to_owned());
        };
        let metrics = Arc::new(Metrics::try_new().map_err(|error| error.to_string())?);
        let inbox = Inbox::open(inbox, &[], metrics.clone()).map_err(|error| error.to_string())?;
        inbox.close();
        let mut sources = Sources::default();
        for source in &config.sources {
            let receivers = source.receivers.iter().map(|&index| &config.receivers[index]);
            let takers = receivers
                .map(|receiver| (receiver.name.as_str().into(), receiver.when.as_ref().map(Condition::new)))
                .collect();
            let sealing = config.accounts[source.account].encryption.as_ref();
            let cipher = sealing.map(|sealing| Cipher::try_new(&sealing.scheme, &sealing.key)).transpose();
            let cipher = cipher.map_err(|error| error.to_string())?;
            let source_at_work = Source::new(source, cipher, Mode::Store(inbox.clone(), takers), None, None);
            sources.insert(source.path.clone(), source_at_work);
        }
        let in_use = IntGauge::new("in_use", "in use").map_err(|error| error.to_string())?;
        let budget = Budget::new(rules.memory, Duration::ZERO, &in_use);
        let (refusals, drain) = (Arc::<Refusals>::default(), Drain::new(Stage::Serving));
        Ok(Self(Inbound { sources, budget, rules, metrics, refusals, drain }))
    }

    /// Takes what was sent, callback after callback; what became of each, and how the connection ended.
    pub async fn take(&self, sent: &[u8], fragment: usize, peer: IpAddr) -> (Vec<Taken>, &'static str) {
        let mut all = Vec::new();
        let end = http::fuzzing::serve(sent, fragment, async |head, session| {
            let (mut request, mut record) = (Request::new(head, session), Record::new());
            let Ended { answer, .. } = callback::take(&self.0, &mut request, peer, &mut record).await;
            all.push(Taken {
                status: answer.status(),
                outcome: record.outcome.as_str(),
                reason: record.reason,
                source: record.source.to_owned(),
                kind: record.kind.map(|kind| kind.as_str()),
            });
            request.answer(&answer, false).await == After::Keep
        });
        let end = end.await;
        (all, end)
    }
}

/// Whether a receiver's `when` takes this text.
pub fn condition_holds(when: &config::When, text: &str) -> bool {
    Condition::new(when).holds(text)
}
