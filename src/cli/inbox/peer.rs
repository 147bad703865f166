//! The admin listener of a running gateway, as commands see it: pages, and sentences where there is none.
//!
//! Owns what each status means for whoever typed the command, and the exit status of it.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde::Deserialize;
use serde_json::Value;

use super::text::printable;
use crate::cli::ask::ask;
use crate::config;
use crate::secret::Secret;

/// There is no such callback.
const NOT_FOUND: u8 = 1;
/// `EX_USAGE` of sysexits.h: the configuration or the question is wrong.
pub(in crate::cli) const EX_USAGE: u8 = 64;
/// `EX_UNAVAILABLE`: the gateway does not run, or its inbox cannot serve now.
const EX_UNAVAILABLE: u8 = 69;
/// `EX_NOPERM`: the token is not the gateway's.
const EX_NOPERM: u8 = 77;
/// `EX_IOERR`: our own output cannot be written.
const EX_IOERR: u8 = 74;

/// Where a gateway is asked to read its configuration again.
const RELOAD: &str = "/reload";

/// Why a command ends early.
pub(in crate::cli) struct Failure {
    /// Exit status.
    pub(in crate::cli) status: u8,
    /// Empty when there is nothing to say.
    pub(in crate::cli) sentence: String,
}

/// The exit status of a command, which has said what there is to say.
pub(in crate::cli) fn ended(result: Result<(), Failure>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure { status, sentence }) => {
            if !sentence.is_empty() {
                eprintln!("{sentence}");
            }
            ExitCode::from(status)
        }
    }
}

impl From<io::Error> for Failure {
    /// Our output cannot be written; whoever read it may have seen enough.
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self { status: 0, sentence: String::new() },
            kind => {
                Self { status: EX_IOERR, sentence: format!("the output cannot be written ({kind}); free its disk") }
            }
        }
    }
}

/// Where a gateway is, and what opens its pages.
#[derive(clap::Args)]
pub(in crate::cli) struct Reach {
    /// The configuration file of the gateway, of which only the section admin is used; gateway.toml, unless --admin is given.
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where its admin listener is; then no configuration is needed.
    #[arg(long, global = true, value_name = "http://HOST:PORT", value_parser = address)]
    admin: Option<SocketAddr>,
    /// A file with the token of the section admin. Without one AIRUDDER_ADMIN_TOKEN of the environment is used, then the configuration.
    #[arg(long, global = true, value_name = "FILE")]
    token_file: Option<PathBuf>,
}

/// `http://127.0.0.1:9464`, or without its scheme.
fn address(written: &str) -> Result<SocketAddr, String> {
    let rest = written.strip_prefix("http://").unwrap_or(written);
    if rest.contains("://") {
        return Err("the admin listener speaks plain HTTP: write http://HOST:PORT".to_owned());
    }
    let found = rest.strip_suffix('/').unwrap_or(rest).to_socket_addrs();
    let found = found.map_err(|_| "no such address: write http://HOST:PORT, such as http://127.0.0.1:9464")?;
    found.into_iter().next().ok_or_else(|| "this name has no address: write http://HOST:PORT".to_owned())
}

/// The admin listener of a gateway.
pub(in crate::cli) struct Peer {
    address: SocketAddr,
    token: Option<Secret>,
    /// Where the token comes from, or could.
    origin: String,
}

impl Peer {
    /// The gateway that is meant.
    pub(in crate::cli) fn try_new(reach: &Reach) -> Result<Self, Failure> {
        Self::find(reach, config::Admin::load)
    }

    /// The same where a part of the configuration is no TOML, as far as the rest of it tells.
    pub(in crate::cli) fn of_broken(reach: &Reach) -> Result<Self, Failure> {
        Self::find(reach, config::Admin::load_broken)
    }

    fn find(reach: &Reach, load: fn(&Path) -> Result<config::Admin, config::ConfigError>) -> Result<Self, Failure> {
        let Reach { config: file, admin: there, token_file } = reach;
        let wrong = |error: config::ConfigError| Failure { status: EX_USAGE, sentence: error.to_string() };
        let beside = config::Admin::token_beside(token_file.as_deref()).map_err(wrong)?;
        let beside_origin =
            token_file.as_ref().map_or("AIRUDDER_ADMIN_TOKEN".to_owned(), |file| file.display().to_string());
        // With an address and no file that was asked for, no configuration is read.
        let file = file.as_deref().or(there.is_none().then_some(Path::new("gateway.toml")));
        let admin = file.map(load).transpose().map_err(wrong)?;
        let listen = admin.as_ref().map(|admin| reachable(admin.listen));
        let Some(address) = there.or(listen) else { return Err(unnamed()) };
        let name = file.map_or_else(|| format!("http://{address}"), |file| file.display().to_string());
        let (token, origin) = match (beside, admin) {
            (None, Some(admin)) => (admin.token, format!("[admin] in {name}")),
            (beside, _) => (beside, beside_origin),
        };
        if address.port() == 0 {
            return Err(unnamed());
        }
        Ok(Self { address, token, origin })
    }

    /// The body of a page; whatever is not one becomes a sentence.
    pub(in crate::cli) fn page(&self, method: &str, target: &str, body: &str) -> Result<Vec<u8>, Failure> {
        let address = self.address;
        let (status, page) = ask(address, method, target, self.token.as_ref(), body).map_err(|error| Failure {
            status: EX_UNAVAILABLE,
            sentence: format!(
                "no gateway answers on {address} ({}); start it, or name its admin listener with --admin",
                error.kind()
            ),
        })?;
        let said = || {
            let page: Option<Value> = serde_json::from_slice(&page).ok();
            page.and_then(|page| Some(printable(page.get("message")?.as_str()?))).unwrap_or_default()
        };
        let origin = &self.origin;
        let (status, sentence) = match status {
            200 => return Ok(page),
            401 | 415 if self.token.is_none() => (
                EX_NOPERM,
                format!(
                    "the gateway on {address} asks for a token, and there is none in {origin}; give it there or in a \
                     --token-file"
                ),
            ),
            401 | 415 if target == RELOAD => (
                EX_NOPERM,
                format!(
                    "the gateway on {address} refuses the token of {origin}; if it is a new one, send the gateway \
                     SIGHUP instead"
                ),
            ),
            404 if target == RELOAD => (
                EX_UNAVAILABLE,
                format!(
                    "the gateway on {address} does not reload by this page, because its admin listener is open to others \
                     and has no token; send it SIGHUP"
                ),
            ),
            422 => (EX_USAGE, said()),
            401 | 415 => (
                EX_NOPERM,
                format!("the gateway on {address} refuses the token of {origin}; give the one it runs with"),
            ),
            404 if said().starts_with("There is no such") => (NOT_FOUND, said()),
            400 | 404 if said().starts_with("This is not the id") => (EX_USAGE, said()),
            404 => (
                EX_UNAVAILABLE,
                format!(
                    "the gateway on {address} shows no inbox: it has none, or its admin listener is open to others and \
                     has no token"
                ),
            ),
            400 | 409 => (EX_USAGE, said()),
            503 => (EX_UNAVAILABLE, said()),
            _ => (EX_UNAVAILABLE, format!("{address} answers {status}; it may be something else than a gateway")),
        };
        Err(Failure { status, sentence })
    }

    pub(in crate::cli) fn json<T: for<'de> Deserialize<'de>>(
        &self,
        method: &str,
        target: &str,
        body: &str,
    ) -> Result<T, Failure> {
        let page = self.page(method, target, body)?;
        self.read(&page)
    }

    /// Takes a page apart.
    pub(in crate::cli) fn read<'a, T: Deserialize<'a>>(&self, page: &'a [u8]) -> Result<T, Failure> {
        serde_json::from_slice(page).map_err(|_| Failure {
            status: EX_UNAVAILABLE,
            sentence: format!("{} answers something else than a gateway; name its admin listener", self.address),
        })
    }
}

/// Nobody knows where the gateway is.
fn unnamed() -> Failure {
    Failure {
        status: EX_USAGE,
        sentence: "[admin] listens on a port that only its log knows (port 0); name it with --admin".to_owned(),
    }
}

/// Where a wildcard can be reached from this machine.
fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_may_have_its_scheme() {
        let expected = "127.0.0.1:9464".parse().expect("an address");
        for written in ["127.0.0.1:9464", "http://127.0.0.1:9464", "http://127.0.0.1:9464/"] {
            assert_eq!(address(written), Ok(expected), "{written}");
        }
        assert!(address("http://localhost:1").is_ok_and(|found| found.ip().is_loopback() && found.port() == 1));
        for wrong in ["https://127.0.0.1:9464", "127.0.0.1", "http://127.0.0.1:9464/inbox", "", "9464"] {
            assert!(address(wrong).is_err_and(|why| why.contains("http://HOST:PORT")), "{wrong}");
        }
    }

    #[test]
    fn a_wildcard_is_reached_on_this_machine() {
        for (listen, expected) in
            [("0.0.0.0:9464", "127.0.0.1:9464"), ("[::]:9464", "[::1]:9464"), ("10.0.0.1:9464", "10.0.0.1:9464")]
        {
            assert_eq!(reachable(listen.parse().expect("an address")).to_string(), expected);
        }
    }
}
