//! What all connections share: options, ciphers, tokens, faults, records. State is a handle; no lock is ever held
//! across an await.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use tokio::sync::watch;

use super::auth::Tokens;
use super::caller::Caller;
use super::faults::Faults;
use super::noise::Noise;
use super::options::Options;
use super::record::Records;
use super::tasks::Tasks;
use super::wire::Lines;
use crate::envelope::Cipher;
use crate::secret::Secret;

/// The state of one simulated platform.
pub(super) struct Platform {
    pub(super) options: Options,
    pub(super) address: SocketAddr,
    pub(super) url: String,
    pub(super) ciphers: Option<Ciphers>,
    pub(super) tokens: Tokens,
    pub(super) tasks: Tasks,
    pub(super) faults: Faults,
    pub(super) records: Records,
    pub(super) lines: Lines,
    pub(super) noise: Noise,
    pub(super) caller: Caller,
    /// Bumped after every request, answer, closed connection and try of a callback, for those who wait.
    pub(super) changes: watch::Sender<u64>,
    /// Bumped when calls that are held may go on.
    pub(super) released: watch::Sender<u64>,
}

/// The right key, and a wrong one of the same size for the fault that seals with it.
pub(super) struct Ciphers {
    pub(super) right: Cipher,
    pub(super) wrong: Cipher,
}

impl Platform {
    pub(super) fn try_new(options: Options, address: SocketAddr, stop: watch::Receiver<bool>) -> io::Result<Self> {
        let ciphers = match &options.cipher {
            None => None,
            Some((scheme, key)) => {
                let other = Secret::new(key.expose().iter().map(|byte| !byte).collect::<Vec<u8>>());
                let made = |key| Cipher::try_new(scheme, key).map_err(io::Error::other);
                Some(Ciphers { right: made(key)?, wrong: made(&other)? })
            }
        };
        let shown = if address.ip().is_unspecified() {
            SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), address.port())
        } else {
            address
        };
        let changes = watch::Sender::new(0);
        let cipher = ciphers.as_ref().map(|ciphers| ciphers.right.clone());
        Ok(Self {
            caller: Caller::try_new(&options, cipher, changes.clone(), stop)?,
            url: format!("{}://{shown}", if options.tls { "https" } else { "http" }),
            address,
            ciphers,
            tokens: Tokens::try_new(options.token_life)?,
            tasks: Tasks::default(),
            faults: Faults::default(),
            records: Records::new(&options),
            lines: Lines::default(),
            noise: Noise::try_new()?,
            changes,
            released: watch::Sender::new(0),
            options,
        })
    }

    pub(super) fn changed(&self) {
        self.changes.send_modify(|changes| *changes = changes.wrapping_add(1));
    }

    pub(super) fn release(&self) {
        self.released.send_modify(|released| *released = released.wrapping_add(1));
    }

    pub(super) fn clear(&self) {
        self.faults.clear();
        self.records.clear();
        self.lines.clear_accepted();
        self.caller.clear();
    }

    /// Closes idle connections and waits until they are gone.
    pub(super) async fn close_idle(&self) -> usize {
        let mut changes = self.changes.subscribe();
        let closing = self.lines.close_idle();
        while closing.iter().any(|line| !line.is_gone()) {
            if changes.changed().await.is_err() {
                break;
            }
        }
        closing.len()
    }
}
