//! A stand-in for the platform: tokens, sealed calls, known operations, recordings, callbacks, and faults on demand.
//!
//! It owns its own HTTP (hyper), its own TLS and its own idea of each operation, and shares only the envelope and
//! the leaves with the gateway, so that the two can never agree on a bug by sharing its flow. It calls nobody but whoever it was
//! given a callback URL for.

mod answer;
mod auth;
mod body;
mod callback;
mod caller;
mod control;
mod dialled;
mod faults;
mod input;
mod lock;
mod noise;
mod operations;
mod options;
mod platform;
mod post;
mod probes;
mod record;
mod recording;
mod response;
mod server;
mod service;
mod tasks;
mod tls;
mod wire;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

pub use callback::{Callback, CallbackAnswer, CallbackTry, NoAnswer, Sample};
pub use faults::{Fault, FaultKind, Page, Rest};
pub use options::{CallbackObserver, Keep, Observer, Options, RefusalStyle, SealAnswers, Seen};
pub use record::Received;
pub use recording::recording_bytes;

use platform::Platform;

/// A running platform. Clones are handles to the same one; it stops when the last of them is dropped.
#[derive(Clone)]
pub struct Simulator {
    running: Arc<Running>,
}

struct Running {
    platform: Arc<Platform>,
    ca_pem: Option<String>,
    stop: watch::Sender<bool>,
    stopped: watch::Receiver<bool>,
}

impl Simulator {
    /// Listens and answers in tasks of the current runtime.
    ///
    /// Fails when the address cannot be bound, the key does not fit its scheme, or the certificate cannot be made.
    pub async fn start(options: Options) -> io::Result<Simulator> {
        let (simulator, parts) = Self::prepare(options)?;
        tokio::spawn(parts.run());
        Ok(simulator)
    }

    /// The same on a thread and a runtime of its own, for callers that have none.
    pub fn start_in_thread(options: Options) -> io::Result<Simulator> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (simulator, parts) = {
            let _inside = runtime.enter();
            Self::prepare(options)?
        };
        std::thread::Builder::new().name("simulator".into()).spawn(move || runtime.block_on(parts.run()))?;
        Ok(simulator)
    }

    fn prepare(options: Options) -> io::Result<(Simulator, Parts)> {
        let listener = server::listen(options.listen)?;
        let address = listener.local_addr()?;
        let (acceptor, ca_pem) = if options.tls {
            let identity = tls::Identity::try_new(&options.tls_names)?;
            (Some(identity.acceptor), Some(identity.ca_pem))
        } else {
            (None, None)
        };
        let (stop, stop_asked) = watch::channel(false);
        let platform = Arc::new(Platform::try_new(options, address, stop_asked.clone())?);
        let (has_stopped, stopped) = watch::channel(false);
        let parts = Parts { platform: platform.clone(), listener, acceptor, stop: stop_asked, stopped: has_stopped };
        Ok((Simulator { running: Arc::new(Running { platform, ca_pem, stop, stopped }) }, parts))
    }

    fn platform(&self) -> &Platform {
        &self.running.platform
    }

    /// The address a program puts in place of the platform's: `http(s)://127.0.0.1:port`.
    pub fn url(&self) -> String {
        self.platform().url.clone()
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.platform().address
    }

    /// The authority that signed its certificate, to be trusted by callers; `None` without TLS.
    pub fn ca_pem(&self) -> Option<&str> {
        self.running.ca_pem.as_deref()
    }

    /// Queues a fault behind those already waiting. Each request takes the first one that matches it.
    pub fn fault(&self, fault: impl Into<Fault>) {
        self.platform().faults.push(fault.into());
    }

    /// Forgets all faults that have not struck, those that strike always included.
    pub fn clear_faults(&self) {
        self.platform().faults.clear();
    }

    /// Lets every call go on that [`FaultKind::Hold`] holds now.
    pub fn release(&self) {
        self.platform().release();
    }

    /// A token of the `/service/cloud` family, as a login would give it, without a login.
    pub fn issue_token(&self) -> String {
        self.platform().tokens.issue(auth::Family::Cloud)
    }

    /// Every token issued so far is dead from now on.
    pub fn revoke_tokens(&self) {
        self.platform().tokens.revoke_all();
    }

    /// Every token issued so far, dead ones too, so that a test can look for them where they must not be.
    pub fn tokens(&self) -> Vec<String> {
        self.platform().tokens.all()
    }

    /// Everything that arrived, in order. Empty when [`Options::keep`] says counters only.
    pub fn requests(&self) -> Vec<Received> {
        self.platform().records.all()
    }

    /// How many requests arrived for exactly this path. Counted as soon as the header has arrived.
    pub fn count(&self, path: &str) -> usize {
        self.platform().records.count(path)
    }

    /// How many logins were tried, both families, refused ones included.
    pub fn logins(&self) -> usize {
        self.platform().records.logins()
    }

    /// How many connections were accepted.
    pub fn connections(&self) -> usize {
        self.platform().lines.accepted()
    }

    /// How many connections are open now.
    pub fn open_connections(&self) -> usize {
        self.platform().lines.open()
    }

    /// Sends a callback as the platform does, and waits for its last try: once, and five times more a minute apart
    /// ([`Options::callback_minute`]), until it is answered 200. Returns every try; none when the
    /// simulator stopped meanwhile.
    ///
    /// # Errors
    ///
    /// The URL is none or asks for TLS without [`Options::callback_ca`], or there is no cipher to seal it with.
    pub async fn call_back(&self, callback: Callback) -> io::Result<Vec<CallbackTry>> {
        self.platform().caller.send(callback, Duration::ZERO)?.await.map_err(io::Error::other)
    }

    /// Where the callbacks of tasks go that are created from now on, in place of [`Options::callback_url`].
    ///
    /// # Errors
    /// Those of [`Simulator::call_back`].
    pub fn call_back_to(&self, url: &str) -> io::Result<()> {
        self.platform().caller.call_back_to(url)
    }

    /// Every try of every callback that has ended, in that order; at most [`Options::keep_requests`].
    pub fn callbacks(&self) -> Vec<CallbackTry> {
        self.platform().caller.tries()
    }

    /// Forgets requests, callbacks, counts and faults. Tokens and connections stay.
    pub fn clear(&self) {
        self.platform().clear();
    }

    /// Closes every connection that is not in the middle of a request, and returns how many, once they are closed.
    pub async fn close_idle(&self) -> usize {
        self.platform().close_idle().await
    }

    /// Waits until something is so. It is looked at again after every request, answer, closed connection and
    /// try of a callback.
    pub async fn until(&self, mut is_so: impl FnMut(&Simulator) -> bool) {
        let mut changes = self.platform().changes.subscribe();
        while !is_so(self) {
            if changes.changed().await.is_err() {
                return;
            }
        }
    }

    /// Waits until that many requests have arrived for exactly this path.
    pub async fn arrived(&self, path: &str, times: usize) {
        self.until(|simulator| simulator.count(path) >= times).await;
    }

    /// Stops listening, cuts what is open, and returns when all of it is gone.
    pub async fn stop(self) {
        self.running.stop.send_replace(true);
        let mut stopped = self.running.stopped.clone();
        // An error means that its runtime is gone, and the simulator with it.
        let _ = stopped.wait_for(|stopped| *stopped).await;
    }
}

/// What a start made, before there is a runtime to run it.
struct Parts {
    platform: Arc<Platform>,
    listener: TcpListener,
    acceptor: Option<TlsAcceptor>,
    stop: watch::Receiver<bool>,
    stopped: watch::Sender<bool>,
}

impl Parts {
    async fn run(self) {
        server::serve(self.platform, self.listener, self.acceptor, self.stop).await;
        self.stopped.send_replace(true);
    }
}
