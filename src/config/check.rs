//! From the file as written to the checked value: defaults, bounds, names that must agree, warnings.
//!
//! Every refusal here says what to do. Accounts, programs, operations and what is about callbacks have their own files.

use std::net::SocketAddr;
use std::time::Duration;

use super::account::account;
use super::bounds::{count, each, listen, positive, size, threads, unique};
use super::callbacks::{Callbacks, callbacks};
use super::error::Fault;
use super::file::{self, File};
use super::network::{collide, is_loopback};
use super::operation::{distinct_routes, keys_are_kept, operation};
use super::program::{distinct_credentials, program, signed, token_rules};
use super::reference::Surroundings;
use super::table::Given;
use super::units::written_size;
use super::{Admin, Config, Log, LogFormat, Outbound, Upstream};

/// Decides over the whole file. Warnings stay with `around`; the caller puts them into the result.
pub(super) fn check(file: &File, around: &mut Surroundings<'_>) -> Result<Config, Fault> {
    let Some(given) = &file.outbound else {
        return Err(Fault::of_text("there is no [outbound]; add one with listen = \"127.0.0.1:8080\""));
    };
    let outbound = outbound(&given.value, around)?;
    let log = log(file, around)?;
    if file.accounts.is_empty() {
        return Err(Fault::of_text("there is no [[account]]; add one with name, app_key and app_secret"));
    }
    let accounts = each(&file.accounts, |given| account(given, around))?;
    unique("accounts are named", &file.accounts, &accounts, |account| account.name.as_str())?;
    let programs = each(&file.programs, |given| program(given, &accounts, around))?;
    unique("programs are named", &file.programs, &programs, |program| program.name.as_str())?;
    distinct_credentials(&file.programs, &programs)?;
    signed(&file.programs, &programs, &outbound.tokens)?;
    let operations = each(&file.operations, |given| operation(given, &accounts, around))?;
    unique("operations are named", &file.operations, &operations, |operation| operation.name.as_str())?;
    distinct_routes(&file.operations, &operations)?;
    let Callbacks { inbound, sources, receivers, inbox } = callbacks(file, &accounts, around)?;
    keys_are_kept(&file.operations, &operations, inbox.is_some())?;
    let admin = admin(file.admin.as_ref().map(|admin| &admin.value), inbox.is_some(), around)?;
    let listeners = [
        ("outbound", Some(outbound.listen)),
        ("inbound", inbound.as_ref().map(|inbound| inbound.listen)),
        ("admin", Some(admin.listen)),
    ];
    distinct_listeners(file, &listeners)?;
    if let Some(listen) = given.value.listen.as_ref().filter(|_| programs.is_empty() && !is_loopback(outbound.listen)) {
        around.warnings.push(listen.fault(format!(
            "{} lets whoever reaches it make calls, because there is no [[program]]; add one or listen on 127.0.0.1",
            outbound.listen
        )));
    }
    Ok(Config {
        outbound,
        admin,
        log,
        accounts,
        programs,
        operations,
        inbound,
        sources,
        receivers,
        inbox,
        warnings: Vec::new(),
    })
}

fn outbound(written: &file::Outbound, around: &mut Surroundings<'_>) -> Result<Outbound, Fault> {
    const KIB: usize = 1 << 10;
    const MIB: usize = 1 << 20;
    let seconds = Duration::from_secs;
    let memory = size(written.memory.as_ref(), MIB..=usize::MAX, 512 * MIB)?;
    // Bodies and answers share the memory by halves, and a sealed body is a third longer than a plain one.
    let within_memory =
        |key: &str, given: Option<&Given<usize>>, bytes: usize, share: usize| match given.or(written.memory.as_ref()) {
            Some(given) if bytes.saturating_mul(share) > memory => Err(Fault::at(
                given.at,
                format!(
                    "memory ({}) has to be at least {share} times {key} ({}); lower the one or raise the other",
                    written_size(memory),
                    written_size(bytes)
                ),
            )),
            _ => Ok(bytes),
        };
    let max_body = size(written.max_body.as_ref(), 1..=usize::MAX, 16 * MIB)?;
    let max_answer = size(written.max_answer.as_ref(), 1..=usize::MAX, 32 * MIB)?;
    Ok(Outbound {
        listen: listen(written.listen.as_ref(), SocketAddr::from(([127, 0, 0, 1], 8080)))?,
        threads: threads(written.threads.as_ref())?,
        header_timeout: positive(written.header_timeout.as_ref(), seconds(10))?,
        body_timeout: positive(written.body_timeout.as_ref(), seconds(30))?,
        keepalive_timeout: positive(written.keepalive_timeout.as_ref(), seconds(60))?,
        // The HTTP library reads a header of at most 1 MiB.
        max_header: size(written.max_header.as_ref(), KIB..=MIB, 32 * KIB)?,
        max_body: within_memory("max_body", written.max_body.as_ref(), max_body, 3)?,
        max_answer: within_memory("max_answer", written.max_answer.as_ref(), max_answer, 2)?,
        memory,
        memory_wait: written.memory_wait.as_ref().map_or(seconds(5), |given| given.value),
        max_connections: count(written.max_connections.as_ref(), 1..=1_000_000, 10_000)?,
        repair_plus: written.repair_plus.as_ref().is_none_or(|given| given.value),
        tokens: token_rules(written, around)?,
        grace: written.grace.as_ref().map_or(seconds(30), |given| given.value),
    })
}

/// `operates`: there is an inbox to look into and to change.
pub(super) fn admin(
    written: Option<&file::Admin>,
    operates: bool,
    around: &mut Surroundings<'_>,
) -> Result<Admin, Fault> {
    const WISE_TOKEN: usize = 16;
    let given = written.and_then(|admin| admin.listen.as_ref());
    let listen = listen(given, SocketAddr::from(([127, 0, 0, 1], 9464)))?;
    let written = written.and_then(|admin| admin.token.as_ref());
    let token = written.map(|token| around.header_secret(token)).transpose()?;
    if let (Some(given), Some(token)) = (written, &token)
        && token.len() < WISE_TOKEN
    {
        around.warnings.push(given.fault(format!(
            "has {} characters, which may be found out by trying; write {WISE_TOKEN} or more",
            token.len()
        )));
    }
    if let Some(given) = given.filter(|_| !is_loopback(listen)) {
        around.warnings.push(given.fault(format!(
            "{listen} shows metrics to other machines; keep it inside your network or listen on 127.0.0.1"
        )));
        if operates && token.is_none() {
            around.warnings.push(given.fault(format!(
                "{listen} has no pages of the inbox, because others can reach it and there is no token; add \
                 token = {{ env = \"NAME\" }} to [admin]"
            )));
        }
    }
    Ok(Admin { listen, token })
}

fn log(file: &File, around: &mut Surroundings<'_>) -> Result<Log, Fault> {
    let format = match file.log.as_ref().and_then(|log| log.value.format.as_ref()) {
        None => LogFormat::Json,
        Some(given) => match given.value.as_str() {
            "json" => LogFormat::Json,
            "human" => LogFormat::Human,
            _ => return Err(given.fault("must be \"json\" or \"human\"")),
        },
    };
    let traces = file
        .log
        .as_ref()
        .and_then(|log| log.value.traces.as_ref())
        .map(|given| collector(given, around))
        .transpose()?;
    Ok(Log { format, traces })
}

/// Where spans go. They name operations, so a collector beside the gateway takes them and brings them further.
fn collector(given: &Given<String>, around: &mut Surroundings<'_>) -> Result<String, Fault> {
    match Upstream::parse_url(&given.value).map_err(|rest| given.fault(rest))? {
        (Upstream { tls: false, .. }, path) if path.len() > 1 => {}
        _ => {
            let sentence =
                "must be http:// with the path of the collector, such as \"http://127.0.0.1:4318/v1/traces\"";
            return Err(given.fault(sentence));
        }
    }
    if !cfg!(feature = "otlp") {
        let sentence =
            "has no effect, because this gateway was built without --features otlp; build it so, or remove this";
        around.warnings.push(given.fault(sentence));
    }
    Ok(given.value.clone())
}

/// The listeners that are written come last, so that a collision is told where the operator can change it. The defaults
/// do not collide.
fn distinct_listeners(file: &File, listeners: &[(&str, Option<SocketAddr>)]) -> Result<(), Fault> {
    let written = |section: &str| match section {
        "outbound" => file.outbound.as_ref().and_then(|given| given.value.listen.as_ref()),
        "inbound" => file.inbound.as_ref().and_then(|given| given.value.listen.as_ref()),
        _ => file.admin.as_ref().and_then(|given| given.value.listen.as_ref()),
    };
    let bound = || listeners.iter().filter_map(|(section, address)| Some((*section, (*address)?)));
    for (section, own) in bound().filter(|(section, _)| written(section).is_some()) {
        let other = bound().find(|(other, address)| *other != section && collide(own, *address));
        // Of two that are written the later one of the file is told.
        let is_told = |other| match (written(section), written(other)) {
            (Some(given), Some(other)) => given.at > other.at,
            _ => true,
        };
        if let Some((other, address)) = other.filter(|(other, _)| is_told(other))
            && let Some(given) = written(section)
        {
            return Err(
                given.fault(format!("{own} collides with [{other}] on {address}; give one of them another port"))
            );
        }
    }
    Ok(())
}
