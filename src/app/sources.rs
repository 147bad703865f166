//! Makes the sources of callbacks of a configuration: whether each stores or relays, and to whom.
//!
//! What its receivers are is decided here and nothing else; it opens no connection and no file.

use std::sync::Arc;

use super::StartError;
use crate::config::{self, Config};
use crate::envelope::Cipher;
use crate::inbound::Inbound;
use crate::inbound::condition::Condition;
use crate::inbound::relay::Relay;
use crate::inbound::source::{Mode, Source, Sources};
use crate::inbox::Inbox;

/// The sources of a configuration. What the `former` ones refused is not forgotten, and ways that are the same stay.
pub(super) fn sources(
    config: &Config,
    ciphers: &[Option<Cipher>],
    inbox: Option<&Inbox>,
    former: Option<&Inbound>,
) -> Result<Sources, StartError> {
    let mut sources = Sources::default();
    for source in &config.sources {
        let former = former.and_then(|former| former.sources.named(&source.name));
        let receivers = source.receivers.iter().map(|&index| &config.receivers[index]);
        let mode = match (source.mode, inbox) {
            (config::Mode::Store, Some(inbox)) => {
                let takers = receivers
                    .map(|receiver| (receiver.name.as_str().into(), receiver.when.as_ref().map(Condition::new)))
                    .collect();
                Mode::Store(inbox.clone(), takers)
            }
            (config::Mode::Relay { timeout }, _) => {
                let receiver = receivers.into_iter().next();
                let receiver = receiver.ok_or_else(|| {
                    StartError(format!("source {:?} relays and has no receiver; name one", source.name))
                })?;
                let kept = former.and_then(Source::relay).filter(|relay| relay.is_to(receiver, timeout));
                Mode::Relay(kept.cloned().unwrap_or_else(|| Arc::new(Relay::new(receiver, timeout))))
            }
            (config::Mode::Store, None) => {
                return Err(StartError(format!("source {:?} stores and there is no [inbox]; add one", source.name)));
            }
        };
        let quarantine = inbox.filter(|_| source.quarantine > 0).map(|inbox| (inbox.clone(), source.quarantine));
        let cipher = ciphers.get(source.account).cloned().flatten();
        sources.insert(source.path.clone(), Source::new(source, cipher, mode, quarantine, former));
    }
    Ok(sources)
}
