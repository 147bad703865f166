//! The admin listener of a running gateway, as commands see it: pages, and sentences where there is none.
//!
//! Owns what each status means for whoever typed the command, and the exit status of it.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};

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

/// The admin listener of a gateway.
pub(in crate::cli) struct Peer {
    address: SocketAddr,
    token: Option<Secret>,
    config: PathBuf,
}

impl Peer {
    /// The gateway of a configuration, or the one whose admin listener is there.
    pub(in crate::cli) fn try_new(file: &Path, there: Option<SocketAddr>) -> Result<Self, Failure> {
        let admin =
            config::Admin::load(file).map_err(|error| Failure { status: EX_USAGE, sentence: error.to_string() })?;
        let address = there.unwrap_or_else(|| reachable(admin.listen));
        if address.port() == 0 {
            return Err(Failure {
                status: EX_USAGE,
                sentence: "[admin] listens on a port that only its log knows (port 0); name it with --admin".to_owned(),
            });
        }
        Ok(Self { address, token: admin.token, config: file.to_owned() })
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
        let config = self.config.display();
        let (status, sentence) = match status {
            200 => return Ok(page),
            401 | 415 if target == RELOAD => (
                EX_NOPERM,
                format!(
                    "the gateway on {address} refuses the token of [admin] in {config}; if it is a new one, send the gateway \
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
                format!("the gateway on {address} refuses the token of [admin] in {config}; give the one it runs with"),
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
    fn a_wildcard_is_reached_on_this_machine() {
        for (listen, expected) in
            [("0.0.0.0:9464", "127.0.0.1:9464"), ("[::]:9464", "[::1]:9464"), ("10.0.0.1:9464", "10.0.0.1:9464")]
        {
            assert_eq!(reachable(listen.parse().expect("an address")).to_string(), expected);
        }
    }
}
