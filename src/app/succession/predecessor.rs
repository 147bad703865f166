//! The old process: it starts the new one, gives it what it needs, and goes when nothing is left here.
//!
//! Until the inbox has changed hands, the old one can go on as if nothing had been, and does when the new one fails. It
//! closes no connection that could be handed over and cuts no call.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::pin::pin;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Waker};
use std::time::Duration;

use tokio::signal::unix::{self, SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::timeout;
use zeroize::Zeroizing;

use super::pair::{self, ANSWER, Packet, Pair};
use super::raised::Raised;
use super::{Bound, FORMAT, Message, place_of};
use crate::app::accounts::FAMILIES;
use crate::app::notify;
use crate::app::reload::Served;
use crate::app::signals::Stops;
use crate::clock;
use crate::delivery::Stop;
use crate::http::drain::{Arrival, Drain, Parcel};
use crate::http::present::Present;
use crate::inbox::Inbox;
use crate::limit::{ProgramLimits, SpentBy};
use crate::outbound::Outbound;

/// How long the new process may take until it could serve: it reads a configuration, checks an inbox and may have to log in.
const START: Duration = Duration::from_secs(60);

/// Most entries of one message about limits: it has to fit a packet.
const IN_ONE: usize = 100;

/// SIGUSR2, which ends a process that does not ask for it.
pub(crate) struct Upgrades(unix::Signal);

/// What the next process is started from.
pub(in crate::app) struct Origin {
    /// The binary. What lies there then is started.
    pub(in crate::app) binary: PathBuf,
    /// The configuration file.
    pub(in crate::app) config: PathBuf,
    /// Whether whoever started this process goes on when it ends and the next one has taken over.
    pub(in crate::app) upgradable: bool,
    /// Whether a service manager has to be told who goes on.
    pub(in crate::app) is_watched: bool,
    /// Who asks for it.
    pub(in crate::app) upgrades: Upgrades,
}

/// A listening socket, to be given away.
pub(in crate::app) struct Listening {
    pub(in crate::app) name: &'static str,
    /// As the configuration wrote it.
    pub(in crate::app) address: SocketAddr,
    pub(in crate::app) socket: TcpListener,
}

/// Starts the next process and hands over.
pub(in crate::app) struct Predecessor {
    pub(in crate::app) origin: Origin,
    pub(in crate::app) listening: Vec<Listening>,
    /// Where connections go back to that nobody took.
    pub(in crate::app) arrivals: Vec<(&'static str, mpsc::UnboundedSender<Arrival>)>,
    pub(in crate::app) served: Arc<Mutex<Served>>,
    pub(in crate::app) outbound: Arc<Present<Outbound>>,
    pub(in crate::app) drain: Drain,
    pub(in crate::app) callbacks: Drain,
    pub(in crate::app) deliveries: Option<Stop>,
    pub(in crate::app) inbox: Option<Inbox>,
}

/// What came of handing over.
pub(in crate::app) enum Handed {
    /// Everything: nothing is left here, or the grace is over.
    Over,
    /// The gateway is to stop. The new process was told; what is left here is to be drained.
    Stopped(Raised),
}

/// How handing over went on once the new process served.
enum Tail {
    /// Nothing is left here; or nobody could be told who goes on, and all is here still.
    Left(Result<(), String>),
    /// Somebody wants the gateway to stop.
    Stop,
    /// The new process failed, perhaps with a connection on its way.
    Lost(Option<Parcel>),
}

/// Why nobody has taken over.
pub(in crate::app) struct Failed {
    /// One sentence.
    pub(in crate::app) why: String,
    /// Whether this process goes on as if nothing had been. If not, the inbox had changed hands, and this is the crash of a
    /// gateway.
    pub(in crate::app) serves_on: bool,
}

/// How far handing over has come.
pub(super) struct Progress {
    /// The next process.
    pub(super) to: u32,
    /// When somebody asked for it.
    pub(super) asked: clock::Instant,
    /// The service manager was told that the next process is the gateway.
    pub(super) announced: AtomicBool,
    /// The inbox is on its way: there is no way back.
    pub(super) committed: AtomicBool,
    /// Connections that went over.
    pub(super) connections: AtomicUsize,
    /// The next process was told to stop, and has.
    pub(super) is_alone: AtomicBool,
}

impl Upgrades {
    /// Asks for the signal.
    ///
    /// # Errors
    /// The system gives no pipe.
    pub(crate) fn catch() -> io::Result<Self> {
        // Whichever runtime runs later reads it; to ask, one has to be there.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
        let _inside = runtime.enter();
        signal(SignalKind::user_defined2()).map(Self)
    }
}

impl Predecessor {
    /// Ready when somebody asks for an upgrade.
    pub(in crate::app) async fn asked(&mut self) {
        if self.origin.upgrades.0.recv().await.is_none() {
            std::future::pending::<()>().await;
        }
    }

    /// Whoever asked meanwhile asked for the same.
    pub(in crate::app) fn forget_asking(&mut self) {
        while self.origin.upgrades.0.poll_recv(&mut Context::from_waker(Waker::noop())).is_ready() {}
    }

    /// Starts the next process and waits until it could serve.
    ///
    /// # Errors
    /// One sentence. The process has ended then, and nothing has changed.
    pub(in crate::app) async fn raise(&self) -> Result<Raised, String> {
        if std::process::id() == 1 {
            return Err("this process is the first one of its container, which would end with it: \
                        start a new container instead"
                .to_owned());
        }
        if !self.origin.upgradable {
            return Err("whoever started this process may take its end for the gateway's and end the next one, too: \
                        let systemd start it with Type=notify, or with `run --upgradable` what goes on without it; \
                        else restart it"
                .to_owned());
        }
        let asked = clock::now();
        if self.origin.is_watched {
            notify::is_reached().await?;
        }
        // One after another: what this process takes over itself it has to have first.
        if let Some(inbox) = &self.inbox {
            inbox.tried().await;
        }
        let binary = self.origin.binary.display();
        let cannot =
            |error: io::Error| format!("{binary} cannot be started ({error}); put it there and send SIGUSR2 again");
        let (own, its) = pair::ends().map_err(cannot)?;
        let child = Command::new(&self.origin.binary)
            .args(["run", "--upgradable", "--take-over", "--config"])
            .arg(&self.origin.config)
            .stdin(Stdio::from(its))
            .spawn()
            .map_err(cannot)?;
        let (pid, to) = (std::process::id(), child.id());
        tracing::info!(pid, to, %binary, "an upgrade begins: the next process was started");
        let (pair, inbox) = (Pair::new(own).map_err(cannot)?, self.inbox.clone());
        let mut raised = Raised { child, pair, inbox, serves: false, asked };
        match timeout(START, self.instruct(&raised.pair)).await {
            Ok(Ok(())) => Ok(raised),
            Ok(Err(_)) => Err(raised.epitaph().await),
            Err(_) => {
                let longest = START.as_secs();
                Err(format!(
                    "{binary} was not ready within {longest} s; its log lines say what it waited for; send SIGUSR2 again"
                ))
            }
        }
    }

    /// Gives it what it needs to be built, and waits until it says that it was.
    async fn instruct(&self, pair: &Pair) -> io::Result<()> {
        let listeners = self.listening.iter();
        let listeners = listeners.map(|own| Bound { name: own.name.to_owned(), address: own.address }).collect();
        let sockets: Vec<_> = self.listening.iter().map(|own| own.socket.as_fd()).collect();
        pair.send(&Message::Hello { format: FORMAT, listeners }, &[], &sockets).await?;
        for (message, bytes) in self.tokens().await {
            pair.send(&message, &bytes, &[]).await?;
        }
        pair.say(&Message::Build).await?;
        match pair.receive().await? {
            Some(Packet { message: Message::Ready, .. }) => Ok(()),
            _ => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }

    /// The tokens that are held, each with the key that it belongs to.
    async fn tokens(&self) -> Vec<(Message, Zeroizing<Vec<u8>>)> {
        let served = self.served.clone();
        let found = move || {
            // A reload may hold it for as long as files take.
            let served = served.lock().unwrap_or_else(PoisonError::into_inner);
            let generation = &served.generation;
            let both = generation.config.accounts.iter().zip(&generation.outbound.accounts);
            let tokens = both.flat_map(|(written, account)| {
                FAMILIES.into_iter().filter_map(move |(family, word)| {
                    let held = account.tokens(family).hand_over()?;
                    let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
                    let key = written.app_key.expose();
                    let message = Message::Token {
                        account: written.name.clone(),
                        family: word.to_owned(),
                        upstream: place_of(&written.upstream),
                        refresh_ms: millis(held.refresh_in),
                        ends_ms: millis(held.ends_in),
                        key: key.len(),
                    };
                    Some((message, Zeroizing::new([key, held.text.expose()].concat())))
                })
            });
            tokens.collect()
        };
        // Without them the new process logs in itself.
        tokio::task::spawn_blocking(found).await.unwrap_or_default()
    }

    /// Hands over, until everything is there or somebody wants the gateway to stop.
    ///
    /// # Errors
    /// The new process failed, and has ended.
    pub(in crate::app) async fn hand_over(
        &self,
        mut raised: Raised,
        grace: Duration,
        stops: &mut Stops,
    ) -> Result<Handed, Failed> {
        let (away, mut parcels) = mpsc::unbounded_channel();
        // From here on: no new connection, and no request begins.
        self.drain.hand_over(away.clone());
        if let Err(error) = timeout(ANSWER, self.begin(&raised.pair)).await.unwrap_or_else(|late| Err(late.into())) {
            let why = match error.kind() {
                io::ErrorKind::TimedOut => {
                    format!(
                        "the new process did not answer within {} s; send SIGUSR2 again, or restart",
                        ANSWER.as_secs()
                    )
                }
                _ => raised.epitaph().await,
            };
            raised.end();
            self.serve_on(parcels, None);
            return Err(Failed { why, serves_on: true });
        }
        // It serves, whatever becomes of this process.
        raised.serves = true;
        let progress = Progress {
            to: raised.pid(),
            asked: raised.asked,
            announced: AtomicBool::new(false),
            committed: AtomicBool::new(false),
            connections: AtomicUsize::new(0),
            is_alone: AtomicBool::new(false),
        };
        let is_alone = || progress.is_alone.load(Ordering::Relaxed);
        let tail = {
            let (pair, child) = raised.parts();
            let mut leaving = pin!(self.leave(pair, away, grace, &progress));
            // It has nothing more to say, so whatever comes is its end.
            let mut ended = pin!(pair.receive());
            loop {
                tokio::select! {
                    biased;
                    Some(parcel) = parcels.recv() => match send(pair, &parcel).await {
                        Ok(()) => _ = progress.connections.fetch_add(1, Ordering::Relaxed),
                        // Nobody goes on with it: it closes, as every connection does when the gateway stops.
                        Err(_) if is_alone() || progress.is_left_alone(child).await => {}
                        Err(_) => break Tail::Lost(Some(parcel)),
                    },
                    left = &mut leaving => break Tail::Left(left),
                    _ = &mut ended, if !is_alone() => if !progress.is_left_alone(child).await {
                        break Tail::Lost(None);
                    },
                    () = stops.come() => break Tail::Stop,
                }
            }
        };
        let unsent = match tail {
            Tail::Left(Err(why)) => {
                raised.end();
                self.serve_on(parcels, None);
                return Err(Failed { why, serves_on: true });
            }
            Tail::Left(Ok(())) => {
                // Its end of the pair closes when this process has ended, and no sooner: the new one may wait for that.
                std::mem::forget(raised);
                return Ok(Handed::Over);
            }
            Tail::Stop => {
                raised.stop();
                return Ok(Handed::Stopped(raised));
            }
            Tail::Lost(unsent) => unsent,
        };
        let why = raised.epitaph().await;
        // One that is stuck would keep the sockets and the inbox from whoever serves next.
        raised.end();
        let committed = progress.committed.load(Ordering::Acquire);
        if committed && self.inbox.is_some() {
            return Err(Failed { why, serves_on: false });
        }
        if progress.announced.load(Ordering::Acquire)
            && let Err(why) = notify::succeeded_by(std::process::id()).await
        {
            tracing::warn!("{why}");
        }
        self.serve_on(parcels, unsent);
        Err(Failed { why, serves_on: true })
    }

    /// What the limits have to know, and the word, which the new process has to have heard.
    async fn begin(&self, pair: &Pair) -> io::Result<()> {
        let (mut programs, mut accounts) = self.spent();
        while !programs.is_empty() || !accounts.is_empty() {
            let some = |all: &mut Vec<SpentBy>| all.split_off(all.len() - all.len().min(IN_ONE));
            pair.say(&Message::Spent { programs: some(&mut programs), accounts: some(&mut accounts) }).await?;
        }
        pair.say(&Message::Serve).await?;
        match pair.receive().await? {
            Some(Packet { message: Message::Serves, .. }) => Ok(()),
            _ => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }

    fn spent(&self) -> (Vec<SpentBy>, Vec<SpentBy>) {
        let outbound = self.outbound.load();
        let now = clock::now();
        let accounts = outbound.accounts.iter().flat_map(|account| account.limits.spent(&account.name, now)).collect();
        (ProgramLimits::spent(&outbound.limits, now), accounts)
    }

    /// As if nothing had been.
    fn serve_on(&self, mut parcels: mpsc::UnboundedReceiver<Parcel>, first: Option<Parcel>) {
        self.drain.serve();
        self.callbacks.serve();
        let arrivals = self.arrivals.clone();
        let stay = move |parcel: Parcel| {
            if let Some((_, to)) = arrivals.iter().find(|(name, _)| *name == parcel.listener) {
                // The listener lives as long as this process.
                let _ = to.send(parcel.unpack());
            }
        };
        first.into_iter().for_each(&stay);
        tokio::spawn(async move {
            // Whoever still sends has taken a handle before it was taken back.
            while let Some(parcel) = parcels.recv().await {
                stay(parcel);
            }
        });
    }
}

async fn send(pair: &Pair, parcel: &Parcel) -> io::Result<()> {
    let message = Message::Connection { listener: parcel.listener.to_owned() };
    pair.send(&message, &parcel.ahead, &[parcel.stream.as_fd()]).await
}
