//! What has to agree between `[inbound]`, `[[source]]`, `[[receiver]]`, `[inbox]` and the accounts.
//!
//! Each of them is checked on its own first, in the file of its name. Nothing here reads a file.

use super::bounds::repeated;
use super::bounds::{each, unique};
use super::error::Fault;
use super::file::File;
use super::inbound::{Inbound, Inbox, Mode, Receiver, Source};
use super::inbox::inbox;
use super::receiver::receiver;
use super::reference::Surroundings;
use super::source::{inbound, source};
use super::table::Given;
use super::{Account, file};

/// The part of a configuration that is about callbacks.
pub(super) struct Callbacks {
    pub(super) inbound: Option<Inbound>,
    pub(super) sources: Vec<Source>,
    pub(super) receivers: Vec<Receiver>,
    pub(super) inbox: Option<Inbox>,
}

/// Checks all of it; what is unwise goes to the warnings.
pub(super) fn callbacks(file: &File, accounts: &[Account], around: &mut Surroundings<'_>) -> Result<Callbacks, Fault> {
    match (&file.inbound, file.sources.first()) {
        (Some(inbound), None) => {
            return Err(Fault::at(inbound.at, "[inbound] has nothing to take; add a [[source]], or remove it"));
        }
        (None, Some(source)) => {
            return Err(Fault::at(
                source.at,
                "a [[source]] needs a listener; add [inbound] with listen = \"127.0.0.1:8081\"",
            ));
        }
        _ => {}
    }
    let inbound = file.inbound.as_ref().map(|given| inbound(given, around)).transpose()?;
    let receivers = each(&file.receivers, |given| receiver(given, around))?;
    unique("receivers are named", &file.receivers, &receivers, |receiver| receiver.name.as_str())?;
    let sources = each(&file.sources, |given| source(given, accounts, &receivers, around))?;
    unique("sources are named", &file.sources, &sources, |source| source.name.as_str())?;
    distinct_paths(&file.sources, &sources)?;
    for (index, receiver) in receivers.iter().enumerate() {
        if !sources.iter().any(|source| source.receivers.contains(&index)) {
            around.warnings.push(Fault::at(
                file.receivers[index].at,
                format!(
                    "receiver \"{}\" is named by no source, so it gets nothing; name it, or remove it",
                    receiver.name
                ),
            ));
        }
    }
    let stores = sources.iter().any(|source| source.mode == Mode::Store);
    let inbox = match &file.inbox {
        None if !stores => None,
        given => Some(inbox(given.as_ref(), around)?),
    };
    Ok(Callbacks { inbound, sources, receivers, inbox })
}

/// Refuses the second source of one path, without showing it.
fn distinct_paths(sections: &[Given<file::Source>], sources: &[Source]) -> Result<(), Fault> {
    let Some(second) = repeated(sources.iter().map(|source| source.path.as_str())) else { return Ok(()) };
    let path = &sources[second].path;
    let first = sources.iter().find(|source| source.path == *path).map_or("", |source| source.name.as_str());
    let at = sections[second].value.path.as_ref().map_or(sections[second].at, |path| path.at);
    Err(Fault::at(
        at,
        format!("sources \"{first}\" and \"{}\" have the same path; give each its own", sources[second].name),
    ))
}
