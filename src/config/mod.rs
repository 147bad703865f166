//! The configuration: the file as written (`file`), and the checked value the program uses (here).
//!
//! Parsed once, at the door: after [`Config::load`] no name is unknown, no key has a wrong size and no
//! URL is text. The environment and the files a configuration names are read here and nowhere else.

mod account;
mod address;
mod admin;
mod authorities;
mod bounds;
mod callbacks;
mod check;
mod error;
mod file;
mod fixed;
mod headers;
mod identity;
mod inbound;
mod inbox;
mod limit;
mod network;
mod operation;
mod program;
mod receiver;
mod reference;
mod source;
mod table;
mod units;

use std::ffi::OsString;
use std::fmt;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

pub use authorities::Authorities;
pub use error::ConfigError;
pub use identity::{Identity, IdentityError, IdentityPair};
pub use inbound::{Inbound, Inbox, InboxKey, Mode, Receiver, Source, SourceEncryption, When};
pub use limit::{AccountLimit, BreakerRule, LONGEST_WAIT, ProgramLimit, Quota};
pub use program::{KeyPair, OperationPattern, Program, TokenRules};
pub use units::Frequency;
pub use units::duration as parse_duration;

use crate::secret::Secret;

/// Everything an operator decided, checked.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where programs call.
    pub outbound: Outbound,
    /// Where operators look.
    pub admin: Admin,
    /// How log lines look.
    pub log: Log,
    /// At least one; the first is used when a call names none.
    pub accounts: Vec<Account>,
    /// Empty: everything on the outbound listener is one anonymous program.
    pub programs: Vec<Program>,
    /// What the file says of single operations, beside the table of known ones.
    pub operations: Vec<OperationRule>,
    /// Where the platform calls back; `None`: no callbacks.
    pub inbound: Option<Inbound>,
    /// Origins of callbacks; none without [`Config::inbound`].
    pub sources: Vec<Source>,
    /// Where callbacks are delivered.
    pub receivers: Vec<Receiver>,
    /// `Some` when a source stores.
    pub inbox: Option<Inbox>,
    /// Legal but unwise values, one sentence each with its line, to be logged at start.
    pub warnings: Vec<String>,
}

impl Config {
    /// Reads a file, what it refers to, and the environment. Relative paths start at the file's directory.
    ///
    /// # Errors
    /// The first thing that is wrong, as one sentence with file, line and key; see [`ConfigError`].
    #[expect(clippy::disallowed_methods, reason = "this is the place the rule points to")]
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let (text, dir) = read(path)?;
        Self::try_new(&text, Some(path), dir, &|name| std::env::var_os(name))
    }

    /// Reads a text. `dir` is where relative paths start; `env` finds environment variables, so that a test
    /// need not change its own.
    ///
    /// # Errors
    /// As [`Config::load`], with the line alone in the place of file and line.
    pub fn parse(text: &str, dir: &Path, env: impl Fn(&str) -> Option<OsString>) -> Result<Self, ConfigError> {
        Self::try_new(text, None, dir, &env)
    }

    fn try_new(
        text: &str,
        path: Option<&Path>,
        dir: &Path,
        env: &dyn Fn(&str) -> Option<OsString>,
    ) -> Result<Self, ConfigError> {
        let mut around = reference::Surroundings { dir, env, warnings: Vec::new() };
        let checked = file::File::parse(text).and_then(|file| check::check(&file, &mut around));
        let mut config = checked.map_err(|fault| fault.locate(path, text))?;
        config.warnings = around.warnings.into_iter().map(|warning| warning.locate(path, text).to_string()).collect();
        Ok(config)
    }
}

/// The outbound listener and the limits of one call.
#[derive(Debug, Clone)]
pub struct Outbound {
    /// Address of the plain-HTTP listener. Port 0 takes a free one and logs it.
    pub listen: SocketAddr,
    /// Worker threads; each connection stays on one.
    pub threads: Threads,
    /// From the first byte of a request to the end of its header. Of the first one it begins with the connection.
    pub header_timeout: Duration,
    /// Longest silence while a request body arrives. `http::pace` bounds all silences together.
    pub body_timeout: Duration,
    /// How long an idle keep-alive connection of a program stays open.
    pub keepalive_timeout: Duration,
    /// Largest request header in bytes, request line included (431 above).
    pub max_header: usize,
    /// Largest body that is held whole, in bytes: sealed bodies above it are refused (413), unsealed ones stream.
    pub max_body: usize,
    /// Largest answer that is held whole, in bytes: sealed answers above it are refused (502).
    pub max_answer: usize,
    /// Budget in bytes for all held bodies and answers together.
    pub memory: usize,
    /// How long a call waits for a share of that budget before it is refused (503).
    pub memory_wait: Duration,
    /// Connections of programs at the same time; further ones wait in the kernel's queue.
    pub max_connections: usize,
    /// Send a literal `+` before digits in a query value as `%2B`.
    pub repair_plus: bool,
    /// How programs that log in are known afterwards.
    pub tokens: TokenRules,
    /// How long calls in flight may take to finish after SIGTERM.
    pub grace: Duration,
}

/// Worker threads of a listener.
#[derive(Debug, Clone, Copy)]
pub enum Threads {
    /// As the file says.
    Given(usize),
    /// The file says nothing: one for each core that was there when it was read.
    Cores(usize),
}

impl Threads {
    /// How many, 1 or more.
    pub fn number(self) -> usize {
        let (Self::Given(number) | Self::Cores(number)) = self;
        number
    }
}

/// The admin listener.
#[derive(Debug, Clone)]
pub struct Admin {
    /// Address of `/metrics`, `/livez`, `/readyz` and the operating pages.
    pub listen: SocketAddr,
    /// What the operating pages ask for; `None`: they exist on loopback only.
    pub token: Option<Secret>,
}

/// The text of a configuration, and where its relative paths start.
fn read(path: &Path) -> Result<(String, &Path), ConfigError> {
    let text = reference::read_text(path)
        .map_err(|why| ConfigError::of_file(path, format!("the configuration cannot be read: {why}")))?;
    Ok((text, path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."))))
}

/// The log on standard output, and traces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    /// One JSON object a line, or text for people.
    pub format: LogFormat,
    /// URL of a collector to which the spans of calls are exported; `None`: nowhere. It takes the feature `otlp`.
    pub traces: Option<String>,
}

/// Shape of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// `time LEVEL message key=value …`.
    Human,
}

/// One key pair at the platform: its address, its token and its envelope.
#[derive(Debug, Clone)]
pub struct Account {
    /// Unique name, used in logs, metrics and `X-Gateway-Account`.
    pub name: String,
    /// The platform's address.
    pub upstream: Upstream,
    /// The certificate authorities to trust instead of the system's.
    pub ca: Option<Authorities>,
    /// `APPKey` of the login.
    pub app_key: Secret,
    /// `APPSecret` of the login.
    pub app_secret: Secret,
    /// `None`: calls travel unsealed.
    pub encryption: Option<Encryption>,
    /// Timeouts towards the platform.
    pub timeouts: Timeouts,
    /// How long its token lives and how often it may be asked for.
    pub token: TokenRule,
    /// How much may be sent, and how long a call waits for it.
    pub limit: AccountLimit,
    /// When nothing more is sent for a while; `None`: never.
    pub breaker: Option<BreakerRule>,
}

/// The platform's address, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upstream {
    /// `https`. Plain `http` is accepted towards loopback only.
    pub tls: bool,
    /// Name or address, without brackets.
    pub host: String,
    /// Port, 443 or 80 when the URL names none.
    pub port: u16,
    /// Value of the `Host` header: the host, and the port when it is not the scheme's own.
    pub authority: String,
}

/// How an account's bodies are sealed.
#[derive(Debug, Clone, PartialEq)]
pub struct Encryption {
    /// Cipher and padding.
    pub scheme: Scheme,
    /// 16, 24 or 32 bytes, used directly.
    pub key: Secret,
    /// `Content-Type` of a sealed POST.
    pub content_type: String,
    /// What a GET without a query looks like.
    pub empty_query: EmptyQuery,
    /// Whether logins are sealed too (the platform's documentation is silent; they are not by default).
    pub seal_login: bool,
}

/// The two ways the platform may have asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scheme {
    /// `aes-ecb-zero`: the documented one.
    EcbZero,
    /// `aes-cbc-pkcs7`, with where its IV comes from.
    CbcPkcs7(Iv),
}

/// Where the IV of `aes-cbc-pkcs7` comes from.
#[derive(Clone, PartialEq, Eq)]
pub enum Iv {
    /// A random one in the first block of the ciphertext.
    Prefix,
    /// A configured one.
    Fixed([u8; 16]),
}

/// An IV may come from the same place as a key, so it is not printed either.
impl fmt::Debug for Iv {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Prefix => "Prefix",
            Self::Fixed(_) => "Fixed(REDACTED)",
        })
    }
}

/// A GET without a query on a sealed account (the platform's documentation is silent).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EmptyQuery {
    /// Sent as it is.
    Plain,
    /// Sent with `Is-Encrypted` and the `Signed` of nothing.
    Mark,
    /// The empty string is sealed.
    Seal,
}

/// Timeouts towards the platform.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// TCP and TLS together.
    pub connect: Duration,
    /// Longest silence while an answer is awaited or arrives.
    pub read: Duration,
    /// Longest time one write may take.
    pub write: Duration,
    /// An unused connection is dropped after this, well before the platform would.
    pub idle: Duration,
}

/// The token's life and the pace of logins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TokenRule {
    /// Counted from the moment the login was sent (24 h documented).
    pub life: Duration,
    /// Logins that may follow each other at once.
    pub burst: u32,
    /// After the burst, one login in this time.
    pub every: Duration,
}

/// What the file says of one operation: a known one changed, or a new one.
#[derive(Debug, Clone)]
pub struct OperationRule {
    /// Name in logs and metrics.
    pub name: String,
    /// Method and exact path of a new operation; `None` for a known name.
    pub route: Option<(http::Method, String)>,
    /// Whether it is sealed; `None`: as the account says.
    pub sealed: Option<bool>,
    /// Headers that take the place of `Authorization`, with their values.
    pub headers: Vec<(http::HeaderName, Secret)>,
    /// How many calls of it each account may send; `None`: as many as come.
    pub limit: Option<Quota>,
    /// Whether a POST of it is refused without an `Idempotency-Key`.
    pub needs_key: bool,
}
