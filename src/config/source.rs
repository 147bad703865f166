//! `[inbound]` and `[[source]]`: the public listener, and what arrives on it.
//!
//! A source's path is a secret, so no sentence shows one. It never opens a socket.

use std::net::SocketAddr;
use std::time::Duration;

use super::bounds::{count, listen, name, named, path, positive, repeated, size, threads};
use super::error::{Fault, quote};
use super::identity::identity;
use super::inbound::{Inbound, Mode, Receiver, Source, SourceEncryption};
use super::network::{is_inside, networks};
use super::reference::Surroundings;
use super::table::Given;
use super::units::written_size;
use super::{Account, file};

/// Checks the listener; what is unwise goes to the warnings.
pub(super) fn inbound(given: &Given<file::Inbound>, around: &mut Surroundings<'_>) -> Result<Inbound, Fault> {
    const KIB: usize = 1 << 10;
    const MIB: usize = 1 << 20;
    /// What arrives and what it is opened into are held at the same time.
    const HELD: usize = 2;
    let written = &given.value;
    let seconds = Duration::from_secs;
    let listen = listen(written.listen.as_ref(), SocketAddr::from(([127, 0, 0, 1], 8081)))?;
    let tls = written
        .tls
        .as_ref()
        .map(|tls| identity(tls.at, "tls", tls.value.cert.as_ref(), tls.value.key.as_ref(), around));
    let trusted_proxies = networks(written.trusted_proxies.as_ref())?;
    if let Some(given) =
        written.trusted_proxies.as_ref().filter(|_| trusted_proxies.iter().any(|net| net.prefix_len() == 0))
    {
        around.warnings.push(
            given.fault("believes the X-Forwarded-For of everybody, so anybody passes allow; name your proxies only"),
        );
    }
    if let Some(given) = written.listen.as_ref().filter(|_| tls.is_none() && !is_inside(listen)) {
        around.warnings.push(given.fault(format!(
            "{listen} takes callbacks in plain HTTP, readable on the way; add tls, or listen inside your network \
             behind something that ends TLS"
        )));
    }
    let memory = size(written.memory.as_ref(), MIB..=usize::MAX, 128 * MIB)?;
    let max_body = size(written.max_body.as_ref(), 1..=usize::MAX, 8 * MIB)?;
    if let Some(given) = written.max_body.as_ref().or(written.memory.as_ref())
        && max_body.saturating_mul(HELD) > memory
    {
        return Err(Fault::at(
            given.at,
            format!(
                "memory ({}) has to be at least {HELD} times max_body ({}); lower the one or raise the other",
                written_size(memory),
                written_size(max_body)
            ),
        ));
    }
    let max_connections = count(written.max_connections.as_ref(), 1..=1_000_000, 4096)?;
    let per_address = written.max_connections_per_address.as_ref();
    Ok(Inbound {
        listen,
        threads: threads(written.threads.as_ref())?,
        tls: tls.transpose()?,
        header_timeout: positive(written.header_timeout.as_ref(), seconds(10))?,
        body_timeout: positive(written.body_timeout.as_ref(), seconds(30))?,
        keepalive_timeout: positive(written.keepalive_timeout.as_ref(), seconds(60))?,
        max_header: size(written.max_header.as_ref(), KIB..=MIB, 32 * KIB)?,
        max_body,
        memory,
        max_connections,
        max_connections_per_address: count(per_address, 1..=max_connections, max_connections.min(256))?,
        trusted_proxies,
    })
}

/// Checks one source; what is unwise goes to the warnings.
pub(super) fn source(
    given: &Given<file::Source>,
    accounts: &[Account],
    receivers: &[Receiver],
    around: &mut Surroundings<'_>,
) -> Result<Source, Fault> {
    let written = &given.value;
    let name = name(given, written.name.as_ref())?;
    let Some(path_written) = &written.path else {
        let example = "add path = \"/callbacks/…\" with 16 random characters or more";
        return Err(Fault::at(given.at, format!("source \"{name}\" has no path; {example}")));
    };
    let path = path(path_written).map_err(|rest| path_written.fault(rest))?;
    if !looks_random(&path) {
        around.warnings.push(path_written.fault(
            "may be guessed, and whoever knows it can pose as the platform; let a part of it be 16 random letters and \
             digits or more, such as those of openssl rand -hex 16",
        ));
    }
    let account = match &written.account {
        None => 0,
        Some(account) => {
            let names = accounts.iter().map(|account| account.name.as_str());
            named(account, &format!("source \"{name}\""), names)?
        }
    };
    let encryption = encryption(written, &accounts[account])?;
    let own = receivers_of(written, &name, receivers)?;
    let mode = mode(given, &name, &own, receivers, around)?;
    let quarantine = match (&written.quarantine, mode) {
        (Some(given), Mode::Relay { .. }) if given.value > 0 => {
            return Err(given.fault("keeps bodies in the inbox, which a relaying source does not use; remove it"));
        }
        (_, Mode::Relay { .. }) => 0,
        (given, Mode::Store) => count(given.as_ref(), 0..=100_000, 100)?,
    };
    let allow = networks(written.allow.as_ref())?;
    if let Some(given) = written.allow.as_ref().filter(|given| given.value.is_empty()) {
        return Err(given.fault("is empty; name the networks that may call, or remove it to let all"));
    }
    Ok(Source { name, path, account, encryption, mode, allow, receivers: own, quarantine })
}

fn encryption(written: &file::Source, account: &Account) -> Result<SourceEncryption, Fault> {
    let Some(given) = &written.encryption else { return Ok(SourceEncryption::Auto) };
    match given.value.as_str() {
        "auto" => Ok(SourceEncryption::Auto),
        "off" => Ok(SourceEncryption::Off),
        "required" if account.encryption.is_none() => Err(given.fault(format!(
            "is \"required\", but account \"{}\" has no encryption; give it one, or write \"auto\"",
            account.name
        ))),
        "required" => Ok(SourceEncryption::Required),
        _ => Err(given.fault("must be \"auto\", \"required\" or \"off\"; the key belongs to the account")),
    }
}

/// Indexes of the receivers it names, each once.
fn receivers_of(written: &file::Source, name: &str, receivers: &[Receiver]) -> Result<Vec<usize>, Fault> {
    let Some(given) = &written.receivers else { return Ok(Vec::new()) };
    let names = receivers.iter().map(|receiver| receiver.name.as_str());
    let find = |wanted| named(wanted, &format!("source \"{name}\""), names.clone());
    let own = given.value.iter().map(find).collect::<Result<Vec<_>, _>>()?;
    match repeated(&own) {
        Some(second) => {
            let second = &given.value[second];
            Err(second.fault(format!("holds {} twice; remove one", quote(&second.value))))
        }
        None => Ok(own),
    }
}

fn mode(
    given: &Given<file::Source>,
    name: &str,
    own: &[usize],
    receivers: &[Receiver],
    around: &mut Surroundings<'_>,
) -> Result<Mode, Fault> {
    let written = &given.value;
    let timeout = positive(written.relay_timeout.as_ref(), Duration::from_secs(10))?;
    let relays = match &written.mode {
        None => false,
        Some(mode) => match mode.value.as_str() {
            "store" => false,
            "relay" => true,
            _ => return Err(mode.fault("must be \"store\" or \"relay\"")),
        },
    };
    let at = written.receivers.as_ref().map_or(given.at, |receivers| receivers.at);
    if relays {
        let [only] = own else {
            return Err(Fault::at(
                at,
                format!(
                    "source \"{name}\" relays, and the platform gets one answer, so it needs exactly one receiver, not \
                     {}; write receivers = [\"…\"]",
                    own.len()
                ),
            ));
        };
        if receivers[*only].when.is_some() {
            around.warnings.push(Fault::at(
                at,
                format!(
                    "when of receiver \"{}\" has no effect for source \"{name}\", because a relayed callback has nobody \
                     else to go to; give it a receiver of its own",
                    receivers[*only].name
                ),
            ));
        }
        return Ok(Mode::Relay { timeout });
    }
    if let Some(given) = &written.relay_timeout {
        around.warnings.push(given.fault("has no effect without mode = \"relay\"; remove it"));
    }
    if own.is_empty() {
        around.warnings.push(Fault::at(
            at,
            format!(
                "source \"{name}\" has no receivers, so its callbacks are stored and delivered to nobody; name one"
            ),
        ));
    }
    Ok(Mode::Store)
}

/// Whether a part between two `/` may come from a random generator: 16 letters and digits or more, digits among them,
/// that change often between digits, small and capital letters. A rule of thumb; words and dates do not pass.
fn looks_random(path: &str) -> bool {
    path.split('/').any(|part| {
        let kinds: Vec<u8> = part
            .bytes()
            .filter(u8::is_ascii_alphanumeric)
            .map(|byte| u8::from(byte.is_ascii_lowercase()) | u8::from(byte.is_ascii_uppercase()) << 1)
            .collect();
        let changes = kinds.windows(2).filter(|pair| pair[0] != pair[1]).count();
        kinds.len() >= 16 && kinds.contains(&0) && changes * 4 >= kinds.len()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_random_when_a_generator_may_have_made_a_part_of_it() {
        for path in [
            "/callbacks/4f0c8b1e9a2d7c35",
            "/9f86d081884c7d659a2feaa0c55ad015/calls",
            "/callbacks/123e4567-e89b-12d3-a456-426614174000",
            "/c/Zk3vQ0s8_Hq2JmX7tB1pLw",
        ] {
            assert!(looks_random(path), "{path}");
        }
        for path in [
            "/",
            "/callbacks",
            "/callbacks/calls-of-my-company",
            "/callbacks/airudder-2024-01-01-production",
            "/callbacks/CallbacksOfMyCompany",
            "/4f0c8b1e9a/2d7c35",
            "/callbacks/4f0c8b1e9a2d7c3",
            "/callbacks/1234567890123456",
        ] {
            assert!(!looks_random(path), "{path}");
        }
    }
}
