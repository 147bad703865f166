//! Callbacks: the public listener, the sources that arrive on it, the receivers they are delivered to, and the inbox.
//!
//! Owns the checked values. It never opens a socket, a database or a certificate.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;

use super::{Authorities, Identity, Threads, Upstream};
use crate::secret::Secret;

/// The public listener, where the platform calls back.
#[derive(Debug, Clone)]
pub struct Inbound {
    /// Port 0 takes a free one and logs it.
    pub listen: SocketAddr,
    /// Worker threads.
    pub threads: Threads,
    /// `None`: plain HTTP, behind something that ends TLS.
    pub tls: Option<Identity>,
    /// From the first byte of a request to the end of its header. Of the first one it begins with the connection.
    pub header_timeout: Duration,
    /// From the end of the header to the end of the body.
    pub body_timeout: Duration,
    /// How long an idle connection stays open.
    pub keepalive_timeout: Duration,
    /// Largest request header in bytes.
    pub max_header: usize,
    /// Largest body in bytes, as it arrives.
    pub max_body: usize,
    /// Budget in bytes for all bodies that are held at the same time.
    pub memory: usize,
    /// Connections at the same time, in all.
    pub max_connections: usize,
    /// Connections at the same time from one address.
    pub max_connections_per_address: usize,
    /// Peers whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<IpNet>,
}

/// A configured origin of callbacks.
#[derive(Clone)]
pub struct Source {
    /// Unique name, used in logs and metrics.
    pub name: String,
    /// Exact path. Being unguessable is what proves that a caller is the platform.
    pub path: String,
    /// Index into [`super::Config::accounts`]: whose scheme and key open its bodies.
    pub account: usize,
    /// Which bodies are sealed.
    pub encryption: SourceEncryption,
    /// What becomes of a callback.
    pub mode: Mode,
    /// Networks that may call; empty: all.
    pub allow: Vec<IpNet>,
    /// Indexes into [`super::Config::receivers`], each once. One exactly for [`Mode::Relay`].
    pub receivers: Vec<usize>,
    /// How many bodies that could not be opened are kept; 0: none.
    pub quarantine: usize,
}

/// The path proves who calls, so it is not printed.
impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Source")
            .field("name", &self.name)
            .field("path", &"REDACTED")
            .field("account", &self.account)
            .field("encryption", &self.encryption)
            .field("mode", &self.mode)
            .field("allow", &self.allow)
            .field("receivers", &self.receivers)
            .field("quarantine", &self.quarantine)
            .finish()
    }
}

/// Which bodies of a source are sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SourceEncryption {
    /// The request's own `Is-Encrypted` header says.
    Auto,
    /// All; a plain one is refused like one that cannot be opened.
    Required,
    /// None; the header is ignored.
    Off,
}

/// What becomes of a callback.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Stored, acknowledged, delivered.
    Store,
    /// Passed to the one receiver while the platform waits, because the platform uses the answer.
    Relay {
        /// How long the platform is kept waiting.
        timeout: Duration,
    },
}

/// Where callbacks are delivered.
#[derive(Debug, Clone, PartialEq)]
pub struct Receiver {
    /// Unique name, used in logs and metrics.
    pub name: String,
    /// Host and TLS of its URL. Plain `http` is accepted to any host: receivers are inside.
    pub upstream: Upstream,
    /// Path and query of its URL, beginning with `/`.
    pub target: String,
    /// The certificate authorities to trust instead of the system's.
    pub ca: Option<Authorities>,
    /// What it is shown when it asks for a client certificate.
    pub identity: Option<Identity>,
    /// Signs deliveries (Standard Webhooks 1.0.0): the current secret and, while it is being rotated, the former. Decoded
    /// already when written `whsec_<base64>`. Empty: unsigned.
    pub secrets: Vec<Secret>,
    /// Headers that every delivery carries, such as `Authorization`.
    pub headers: Vec<(http::HeaderName, Secret)>,
    /// Deliveries at the same time.
    pub concurrency: usize,
    /// From the start of an attempt to the end of its answer.
    pub timeout: Duration,
    /// How long to wait after the first attempt that failed, after the second, and so on; the last wait repeats until the
    /// callback is older than [`Inbox::retain`]. Never empty.
    pub retry: Vec<Duration>,
    /// Statuses that make a callback a dead letter at once; 410 always does.
    pub bury: Vec<u16>,
    /// The callbacks it takes; `None`: all.
    pub when: Option<When>,
}

/// A condition on the opened JSON.
#[derive(Debug, Clone, PartialEq)]
pub struct When {
    /// RFC 6901; empty: the whole document.
    pub pointer: String,
    /// What has to stand there.
    pub equals: serde_json::Value,
}

/// The durable store of callbacks.
#[derive(Debug, Clone)]
pub struct Inbox {
    /// The database file; its directory is made when it is missing.
    pub path: PathBuf,
    /// How long a callback is tried before it becomes a dead letter, and how long a delivered one is kept.
    pub retain: Duration,
    /// How long the answer to a call with an idempotency key is remembered.
    pub keep_answers: Duration,
    /// Most bytes the store may hold. Waiting callbacks are never purged: when they fill it, the platform gets 503.
    pub max_bytes: u64,
    /// How long it is remembered what became of a call that was sent; zero: not at all.
    pub ledger: Duration,
    /// Most bytes of that, a part of [`Self::max_bytes`].
    pub ledger_max_bytes: u64,
    /// What encrypts at rest.
    pub key: InboxKey,
    /// Former keys, which still open what they sealed.
    pub old_keys: Vec<Secret>,
}

/// Where the inbox key comes from.
#[derive(Debug, Clone, PartialEq)]
pub enum InboxKey {
    /// Configured: at least 32 bytes.
    Given(Secret),
    /// A key file beside the database, made with mode 0600 when there is no database yet.
    File(PathBuf),
}
