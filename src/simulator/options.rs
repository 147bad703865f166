//! What a simulator is told when it starts, with the published platform as the default.
//! It decides nothing.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use http::{Method, StatusCode};

use super::callback::CallbackTry;
use crate::config::Scheme;
use crate::secret::Secret;

/// How a simulated platform behaves. The default is the published one: `("demo-key", "demo-secret")`, the key
/// `airudderredduria` by `aes-ecb-zero`, tokens of 24 hours, plain HTTP on a free port of 127.0.0.1.
#[derive(Clone)]
pub struct Options {
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Speak HTTPS with a certificate made at the start.
    pub tls: bool,
    /// Names and addresses in that certificate.
    pub tls_names: Vec<String>,
    /// `APPKey` and `APPSecret` that a login has to show.
    pub key_pair: (String, String),
    /// How sealed calls are opened; `None` refuses them.
    pub cipher: Option<(Scheme, Secret)>,
    /// How long a token lives.
    pub token_life: Duration,
    /// When answers are sealed.
    pub seal_answers: SealAnswers,
    /// Refuse calls that are not sealed (400); logins and recordings excepted.
    pub require_sealed: bool,
    /// What a dead token is answered with.
    pub refusal: RefusalStyle,
    /// Every call takes at least this long.
    pub latency: Duration,
    /// And up to this much longer, evenly spread.
    pub jitter: Duration,
    /// Size of every recording in bytes.
    pub recording_size: u64,
    /// Where the callbacks of created tasks go; `None`: there are none.
    pub callback_url: Option<String>,
    /// PEM text of the authority that an `https` callback URL has to be certified by.
    pub callback_ca: Option<String>,
    /// Whether the callbacks of created tasks are sealed. The published samples are plain.
    pub seal_callbacks: bool,
    /// How long a minute lasts: between two tries of a callback, and between redials.
    pub callback_minute: Duration,
    /// How long a callback waits for its answer.
    pub callback_patience: Duration,
    /// How long a call takes, from the creation of its task to its end.
    pub call_time: Duration,
    /// Told of every try of a callback.
    pub callback_observer: Option<CallbackObserver>,
    /// What is remembered of requests.
    pub keep: Keep,
    /// Largest body in bytes that is kept and understood; a larger one is read, counted and answered 413.
    pub keep_body: usize,
    /// How many requests, and how many tries of callbacks, are remembered; the oldest goes first.
    pub keep_requests: usize,
    /// Told of every answered call.
    pub observer: Option<Observer>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            tls: false,
            tls_names: ["localhost", "127.0.0.1", "::1"].map(String::from).into(),
            key_pair: ("demo-key".into(), "demo-secret".into()),
            cipher: Some((Scheme::EcbZero, Secret::new("airudderredduria"))),
            token_life: Duration::from_secs(24 * 60 * 60),
            seal_answers: SealAnswers::AsAsked,
            require_sealed: false,
            refusal: RefusalStyle::Http401,
            latency: Duration::ZERO,
            jitter: Duration::ZERO,
            recording_size: 48 * 1024,
            callback_url: None,
            callback_ca: None,
            seal_callbacks: false,
            callback_minute: Duration::from_secs(60),
            callback_patience: Duration::from_secs(5),
            call_time: Duration::from_millis(100),
            callback_observer: None,
            keep: Keep::Everything,
            keep_body: 16 * 1024 * 1024,
            keep_requests: 10_000,
            observer: None,
        }
    }
}

/// When answers are sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SealAnswers {
    /// A sealed call gets a sealed answer, a plain one a plain answer.
    AsAsked,
    /// Every answer but those to plain logins, and files.
    Always,
    /// None.
    Never,
}

/// What a dead or missing token is answered with, in the `/service/cloud` family. The call-centre family always
/// answers HTTP 200 and its own body codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefusalStyle {
    /// HTTP 401, plain.
    Http401,
    /// HTTP 200 with `"code": 401`, plain.
    Ok200,
    /// HTTP 200 with `"code": 401`, sealed.
    Sealed200,
    /// HTTP 401, sealed.
    Sealed401,
}

/// What is remembered of requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// Header, body and opened text, for tests.
    Everything,
    /// Counters only, for load.
    Counters,
}

/// Is told of every answered call, from the task that answers it: it must not block.
pub type Observer = Arc<dyn Fn(&Seen<'_>) + Send + Sync>;

/// Is told of every try of a callback, when it has ended: it must not block.
pub type CallbackObserver = Arc<dyn Fn(&CallbackTry) + Send + Sync>;

/// What may be shown of a call: never a body, a query or a header.
#[derive(Debug, Clone, Copy)]
pub struct Seen<'a> {
    /// Method of the request.
    pub method: &'a Method,
    /// Path without the query.
    pub path: &'a str,
    /// Whether it said `Is-Encrypted: 1`.
    pub sealed: bool,
    /// What was answered; `None` when a fault cut the connection.
    pub status: Option<StatusCode>,
}
