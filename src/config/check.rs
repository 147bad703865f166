//! From the file as written to the checked value: defaults, bounds, names that must agree, warnings.
//!
//! Every refusal here says what to do. Accounts and operations have their own files.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::account::account;
use super::bounds::{count, listen, name, positive, repeated, size};
use super::error::{Fault, either, quote};
use super::file::{self, File};
use super::operation::{distinct_routes, operation};
use super::reference::Surroundings;
use super::table::Given;
use super::units::written_size;
use super::{Account, Admin, Config, Log, LogFormat, Outbound, Program};

/// Decides over the whole file. Warnings stay with `around`; the caller puts them into the result.
pub(super) fn check(file: &File, around: &mut Surroundings<'_>) -> Result<Config, Fault> {
    let Some(given) = &file.outbound else {
        return Err(Fault::of_text("there is no [outbound]; add one with listen = \"127.0.0.1:8080\""));
    };
    let outbound = outbound(&given.value)?;
    let admin = admin(file, around)?;
    distinct_listeners(file, &outbound, &admin)?;
    let log = log(file)?;
    if file.accounts.is_empty() {
        return Err(Fault::of_text("there is no [[account]]; add one with name, app_key and app_secret"));
    }
    let accounts = each(&file.accounts, |given| account(given, around))?;
    unique("accounts are named", &file.accounts, &accounts, |account| account.name.as_str())?;
    let programs = each(&file.programs, |given| program(given, &accounts, around))?;
    unique("programs are named", &file.programs, &programs, |program| program.name.as_str())?;
    distinct_keys(&file.programs, &programs)?;
    let operations = each(&file.operations, |given| operation(given, &accounts, around))?;
    unique("operations are named", &file.operations, &operations, |operation| operation.name.as_str())?;
    distinct_routes(&file.operations, &operations)?;
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
        inbound: None,
        sources: Vec::new(),
        receivers: Vec::new(),
        inbox: None,
        warnings: Vec::new(),
    })
}

fn outbound(written: &file::Outbound) -> Result<Outbound, Fault> {
    const KIB: usize = 1 << 10;
    const MIB: usize = 1 << 20;
    let seconds = Duration::from_secs;
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
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
        threads: count(written.threads.as_ref(), 1..=1024, cores)?,
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
        grace: written.grace.as_ref().map_or(seconds(30), |given| given.value),
    })
}

fn admin(file: &File, around: &mut Surroundings<'_>) -> Result<Admin, Fault> {
    let given = file.admin.as_ref().and_then(|admin| admin.value.listen.as_ref());
    let listen = listen(given, SocketAddr::from(([127, 0, 0, 1], 9464)))?;
    if let Some(given) = given.filter(|_| !is_loopback(listen)) {
        around.warnings.push(given.fault(format!(
            "{listen} shows metrics to other machines; keep it inside your network or listen on 127.0.0.1"
        )));
    }
    Ok(Admin { listen, token: None })
}

fn log(file: &File) -> Result<Log, Fault> {
    let format = match file.log.as_ref().and_then(|log| log.value.format.as_ref()) {
        None => LogFormat::Json,
        Some(given) => match given.value.as_str() {
            "json" => LogFormat::Json,
            "human" => LogFormat::Human,
            _ => return Err(given.fault("must be \"json\" or \"human\"")),
        },
    };
    Ok(Log { format })
}

fn program(
    given: &Given<file::Program>,
    accounts: &[Account],
    around: &mut Surroundings<'_>,
) -> Result<Program, Fault> {
    let written = &given.value;
    let name = name(given, written.name.as_ref())?;
    let Some(api_key) = &written.api_key else {
        return Err(Fault::at(
            given.at,
            format!("program \"{name}\" has no api_key; add api_key = {{ env = \"NAME\" }}"),
        ));
    };
    let api_key = around.header_secret(api_key)?;
    let account = match &written.account {
        None => None,
        Some(wanted) => {
            let index = accounts.iter().position(|account| account.name == wanted.value);
            Some(index.ok_or_else(|| {
                let names: Vec<_> = accounts.iter().map(|account| quote(&account.name)).collect();
                let wanted_name = quote(&wanted.value);
                wanted.fault(format!("{wanted_name} of program \"{name}\" is not configured; write {}", either(&names)))
            })?)
        }
    };
    Ok(Program { name, api_key, account })
}

fn distinct_listeners(file: &File, outbound: &Outbound, admin: &Admin) -> Result<(), Fault> {
    if !collide(outbound.listen, admin.listen) {
        return Ok(());
    }
    let written = |given: Option<&Given<String>>, own: SocketAddr, other: &str, address: SocketAddr| {
        given.map(|listen| {
            listen.fault(format!("{own} collides with {other} on {address}; give one of them another port"))
        })
    };
    let of_admin = file.admin.as_ref().and_then(|admin| admin.value.listen.as_ref());
    let of_outbound = file.outbound.as_ref().and_then(|outbound| outbound.value.listen.as_ref());
    let fault = written(of_admin, admin.listen, "[outbound]", outbound.listen)
        .or_else(|| written(of_outbound, outbound.listen, "[admin]", admin.listen));
    // The defaults do not collide, so one of the two is written.
    fault.map_or(Ok(()), Err)
}

/// Whether the second listener would find the port taken. Port 0 always finds a free one.
fn collide(one: SocketAddr, other: SocketAddr) -> bool {
    // `[::]` takes IPv4 too, `0.0.0.0` all of IPv4.
    let covers = |wide: IpAddr, narrow: IpAddr| match wide {
        IpAddr::V4(wide) => wide.is_unspecified() && narrow.is_ipv4(),
        IpAddr::V6(wide) => wide.is_unspecified(),
    };
    one.port() != 0
        && one.port() == other.port()
        && (one.ip() == other.ip() || covers(one.ip(), other.ip()) || covers(other.ip(), one.ip()))
}

fn is_loopback(address: SocketAddr) -> bool {
    address.ip().to_canonical().is_loopback()
}

fn each<S, T>(sections: &[Given<S>], check: impl FnMut(&Given<S>) -> Result<T, Fault>) -> Result<Vec<T>, Fault> {
    sections.iter().map(check).collect()
}

/// Refuses the second section of one name.
fn unique<S, T>(what: &str, sections: &[Given<S>], checked: &[T], name: impl Fn(&T) -> &str) -> Result<(), Fault> {
    match repeated(checked.iter().map(&name)) {
        Some(second) => Err(Fault::at(
            sections[second].at,
            format!("two {what} \"{}\"; give each its own name", name(&checked[second])),
        )),
        None => Ok(()),
    }
}

/// A key names one program, so it must not name two. They are few; hashing them would leave copies of secrets.
fn distinct_keys(sections: &[Given<file::Program>], programs: &[Program]) -> Result<(), Fault> {
    for (index, program) in programs.iter().enumerate() {
        if let Some(earlier) = programs[..index].iter().find(|earlier| earlier.api_key == program.api_key) {
            let at = sections[index].value.api_key.as_ref().map_or(sections[index].at, |key| key.at);
            return Err(Fault::at(
                at,
                format!(
                    "programs \"{}\" and \"{}\" have the same api_key; give each its own",
                    earlier.name, program.name
                ),
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listeners_collide_where_the_kernel_would_refuse_the_second() {
        for (one, other, expected) in [
            ("127.0.0.1:80", "127.0.0.1:80", true),
            ("127.0.0.1:80", "127.0.0.1:81", false),
            ("127.0.0.1:0", "127.0.0.1:0", false),
            ("0.0.0.0:80", "127.0.0.1:80", true),
            ("127.0.0.1:80", "[::]:80", true),
            ("0.0.0.0:80", "[::]:80", true),
            ("0.0.0.0:80", "[::1]:80", false),
            ("127.0.0.1:80", "127.0.0.2:80", false),
            ("127.0.0.1:80", "[::1]:80", false),
        ] {
            let parse = |written: &str| written.parse().expect("an address");
            assert_eq!(collide(parse(one), parse(other)), expected, "{one} {other}");
            assert_eq!(collide(parse(other), parse(one)), expected, "{other} {one}");
        }
    }
}
