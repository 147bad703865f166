//! The new process: what it is given, and how it takes over.
//!
//! Until it is told to serve it accepts nothing, and the old one serves. It opens the inbox when the old one has closed it, or
//! has gone. It refuses nothing of what it is given but what it cannot understand.

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::BytesMut;
use pingora::server::ShutdownWatch;
use pingora::services::background::BackgroundService;
use tokio::sync::{Notify, mpsc, watch};

use super::pair::{Packet, Pair};
use super::{Bound, FORMAT, Message, place_of};
use crate::app::accounts::FAMILIES;
use crate::app::{Addresses, StartError, tell_listening};
use crate::clock;
use crate::config;
use crate::http::drain::{Arrival, Drain};
use crate::http::listener::Site;
use crate::http::present::Present;
use crate::inbox::Inbox;
use crate::limit::ProgramLimits;
use crate::metrics::Metrics;
use crate::outbound::Outbound;
use crate::outbound::account::Account;
use crate::secret::Secret;
use crate::token::{Absent, Family, Handed};

/// How long the old process may take for its first words: it has them ready when it starts this one.
const FIRST_WORDS: Duration = Duration::from_secs(10);

/// How often it is looked whether every account has a token.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// How long after the grace the old process may still have the inbox, before operators are told: it stops deliveries, takes
/// the last callbacks and moves the log into the database.
const OVERDUE: Duration = Duration::from_secs(30);

/// What the old process gives before anything is built.
pub(crate) struct Inheritance {
    end: OwnedFd,
    listeners: Vec<(Bound, TcpListener)>,
    tokens: Vec<Inherited>,
}

/// A token, and whose it is.
struct Inherited {
    account: String,
    family: String,
    upstream: String,
    key: Secret,
    token: Handed,
}

/// What is left of it once the gateway is built.
pub(in crate::app) struct Heir {
    end: OwnedFd,
    /// The accounts for which the old process could make calls, so that this one has to be able to, too.
    served: Vec<String>,
}

impl Inheritance {
    /// Reads it from standard input, which is one end of the pair. Blocking.
    ///
    /// # Errors
    /// One sentence: nobody is there, or one who speaks otherwise.
    pub(crate) fn receive() -> Result<Self, String> {
        let strange = |error: &dyn std::fmt::Display| {
            format!("--take-over is for a running gateway that starts the next one; nothing was handed over ({error})")
        };
        let end = io::stdin().as_fd().try_clone_to_owned().map_err(|error| strange(&error))?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build();
        let runtime = runtime.map_err(|error| strange(&error))?;
        let words = async {
            let pair = Pair::new(end)?;
            let (mut listeners, mut tokens) = (None, Vec::new());
            loop {
                let Some(Packet { message, bytes, descriptors }) = pair.receive().await? else {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                };
                match message {
                    Message::Hello { format, .. } if format != FORMAT => {
                        return Err(io::Error::other(format!("it speaks format {format}, this version {FORMAT}")));
                    }
                    Message::Hello { listeners: bound, .. } => {
                        listeners =
                            Some(bound.into_iter().zip(descriptors.into_iter().map(TcpListener::from)).collect());
                    }
                    Message::Token { account, family, upstream, refresh_ms, ends_ms, key } => {
                        let (key, text) = bytes.split_at_checked(key).ok_or(io::ErrorKind::InvalidData)?;
                        let token = Handed {
                            text: Secret::new(text),
                            refresh_in: Duration::from_millis(refresh_ms),
                            ends_in: Duration::from_millis(ends_ms),
                        };
                        tokens.push(Inherited { account, family, upstream, key: Secret::new(key), token });
                    }
                    Message::Build => {
                        let listeners = listeners.ok_or(io::ErrorKind::InvalidData)?;
                        return Ok(Self { end: pair.into_end()?, listeners, tokens });
                    }
                    _ => return Err(io::ErrorKind::InvalidData.into()),
                }
            }
        };
        let received = runtime.block_on(async { tokio::time::timeout(FIRST_WORDS, words).await });
        received.map_err(|late| strange(&late))?.map_err(|error| strange(&error))
    }

    /// Where a listener listens: on the socket that the old process has for the same address, if it has one.
    pub(in crate::app) fn site(&mut self, name: &str, address: SocketAddr) -> Site {
        let found = self.listeners.iter().position(|(bound, _)| bound.name == name && bound.address == address);
        found.map_or(Site::Address(address), |found| Site::Bound(self.listeners.swap_remove(found).1))
    }

    /// Gives each account its token, if it is the same key at the same platform.
    pub(in crate::app) fn endow(&self, written: &[config::Account], accounts: &[Arc<Account>]) {
        for (written, account) in written.iter().zip(accounts) {
            let own = self.tokens.iter().filter(|token| {
                token.account == written.name
                    && token.upstream == place_of(&written.upstream)
                    && token.key == written.app_key
            });
            for inherited in own {
                if let Some((family, _)) = FAMILIES.into_iter().find(|(_, word)| *word == inherited.family) {
                    account.tokens(family).take_over(&inherited.token);
                }
            }
        }
    }

    /// What is left. Sockets that nobody wanted are closed, tokens wiped.
    pub(in crate::app) fn heir(self) -> Heir {
        // Calls need this one; the others are fetched when somebody needs them.
        let calls = FAMILIES.into_iter().find_map(|(family, word)| (family == Family::Cloud).then_some(word));
        let tokens = self.tokens.into_iter().filter(|token| Some(&*token.family) == calls);
        Heir { end: self.end, served: tokens.map(|token| token.account).collect() }
    }
}

/// Takes over, as a service beside the listeners.
pub(in crate::app) struct Successor {
    pub(in crate::app) heir: Mutex<Option<Heir>>,
    pub(in crate::app) arrivals: Vec<(&'static str, mpsc::UnboundedSender<Arrival>)>,
    pub(in crate::app) drain: Drain,
    pub(in crate::app) callbacks: Drain,
    pub(in crate::app) inbox: Option<Inbox>,
    pub(in crate::app) outbound: Arc<Present<Outbound>>,
    pub(in crate::app) metrics: Arc<Metrics>,
    /// Told when nothing will come of it.
    pub(in crate::app) abandoned: Arc<Notify>,
    /// Told whether the process before this one ends its calls while this one serves.
    pub(in crate::app) before: watch::Sender<bool>,
    /// Told to operators once it accepts there.
    pub(in crate::app) addresses: Option<Addresses>,
}

#[async_trait]
impl BackgroundService for Successor {
    async fn start(&self, mut shutdown: ShutdownWatch) {
        let Some(heir) = self.heir.lock().unwrap_or_else(PoisonError::into_inner).take() else { return };
        tokio::select! {
            taken = self.take_over(heir) => if let Err(error) = taken {
                tracing::error!(pid = std::process::id(), "this process does not take over: {error}");
                self.abandoned.notify_one();
            },
            _ = shutdown.changed() => {}
        }
    }
}

impl Successor {
    async fn take_over(&self, heir: Heir) -> Result<(), StartError> {
        let of_pair = |error: io::Error| StartError(format!("the gateway before this one is gone ({error})"));
        let pair = Pair::new(heir.end).map_err(of_pair)?;
        self.await_tokens(&heir.served).await?;
        pair.say(&Message::Ready).await.map_err(of_pair)?;
        self.await_word(&pair).await.map_err(of_pair)?;
        self.drain.serve();
        self.before.send_replace(true);
        // When nobody hears it, there is nobody before this one any more.
        let _ = pair.say(&Message::Serves).await;
        self.addresses.into_iter().for_each(tell_listening);
        self.metrics.upgraded("ok");
        let (pid, from) = (std::process::id(), std::os::unix::process::parent_id());
        tracing::info!(pid, from, version = env!("CARGO_PKG_VERSION"), "this process has taken over");
        let opening = self.open_inbox();
        // From here on there is no way back: whatever becomes of the old process, this one serves.
        loop {
            match pair.receive().await {
                Ok(Some(Packet { message: Message::Connection { listener }, bytes, descriptors })) => {
                    let to = self.arrivals.iter().find(|(name, _)| *name == listener);
                    for (stream, (_, to)) in descriptors.into_iter().map(TcpStream::from).zip(to) {
                        // The service ends with the listener, which reads as long as it lives.
                        let _ = to.send(Arrival { stream, ahead: BytesMut::from(&bytes[..]) });
                    }
                }
                Ok(Some(Packet { message: Message::Inbox, .. })) => self.give_inbox(),
                Ok(Some(_)) => {}
                Ok(None) => break,
                Err(error) => {
                    tracing::error!(kind = ?error.kind(), "the gateway before this one said something unreadable");
                    break;
                }
            }
        }
        self.before.send_replace(false);
        // However it ended: the lock of the database went with it.
        self.give_inbox();
        // A panic in it was told by the hook.
        let _ = opening.await;
        Ok(())
    }

    /// Until each of these accounts could make a call, as far as they are still there. Others may log in later, as they would
    /// have to in the old process.
    async fn await_tokens(&self, served: &[String]) -> Result<(), StartError> {
        loop {
            let outbound = self.outbound.load();
            let demanded = outbound.accounts.iter().filter(|account| served.contains(&account.name));
            let mut missing = demanded.filter_map(|account| Some((account, account.cloud.held().err()?)));
            match missing.next() {
                None => return Ok(()),
                Some((account, Absent::Failing(error))) => {
                    let (account, reason) = (&account.name, error.reason());
                    return Err(StartError(format!("account {account:?} cannot log in ({reason})")));
                }
                Some(_) => tokio::time::sleep(LOOK_EVERY).await,
            }
        }
    }

    /// Until it is told to serve.
    async fn await_word(&self, pair: &Pair) -> io::Result<()> {
        loop {
            match pair.receive().await?.ok_or(io::ErrorKind::UnexpectedEof)?.message {
                Message::Spent { programs, accounts } => {
                    let (outbound, now) = (self.outbound.load(), clock::now());
                    ProgramLimits::owe(&outbound.limits, &programs, now);
                    outbound.accounts.iter().for_each(|own| own.limits.owe(&own.name, &accounts, now));
                }
                Message::Serve => return Ok(()),
                _ => return Err(io::ErrorKind::InvalidData.into()),
            }
        }
    }

    fn give_inbox(&self) {
        if let Some(inbox) = &self.inbox {
            inbox.take_over();
        }
    }

    /// Callbacks are accepted once the inbox was tried: until then they wait in the kernel's queue.
    fn open_inbox(&self) -> tokio::task::JoinHandle<()> {
        let (inbox, callbacks) = (self.inbox.clone(), self.callbacks.clone());
        let longest = self.outbound.load().rules.grace + OVERDUE;
        tokio::spawn(async move {
            if let Some(inbox) = inbox {
                inbox.tried_within(longest).await;
                inbox.tell_overdue();
                inbox.tried().await;
            }
            callbacks.serve();
        })
    }
}
