//! A new binary takes over: what the two processes say to each other, and in which order.
//!
//! The old one starts the new one over a pair of sockets that nobody else can reach. First come the listening sockets and the
//! tokens; once the new one is ready, it accepts, and the old one sends every connection over on which no request is under
//! way; last comes the inbox, which one of the two has at any time. Nothing here knows a call, and nothing is said twice.

mod leaving;
mod pair;
mod predecessor;
mod raised;
mod successor;

use serde::{Deserialize, Serialize};

use crate::config::Upstream;
use crate::limit::SpentBy;

pub(crate) use predecessor::Upgrades;
pub(super) use predecessor::{Failed, Handed, Listening, Origin as Beginning, Predecessor};
pub(super) use raised::Raised;
pub(crate) use successor::Inheritance;
pub(super) use successor::Successor;

/// What both have to speak. It changes when one of these messages does in a way that an older process would not understand;
/// then the old process serves on, and the gateway is restarted once.
const FORMAT: u32 = 2;

/// One message. Descriptors and bytes may go with it.
#[derive(Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum Message {
    /// The first one, from the old process. The listening sockets go with it, in this order.
    Hello { format: u32, listeners: Vec<Bound> },
    /// A token of an account. Its key, of so many bytes, goes with it, and then the token.
    Token { account: String, family: String, upstream: String, refresh_ms: u64, ends_ms: u64, key: usize },
    /// There are no more tokens.
    Build,
    /// From the new process: it could serve.
    Ready,
    /// So much is used up of the limits.
    Spent { programs: Vec<SpentBy>, accounts: Vec<SpentBy> },
    /// The old process accepts nothing more, so the new one does from now on.
    Serve,
    /// From the new process: it does.
    Serves,
    /// A connection, with what was read of its next request.
    Connection { listener: String },
    /// The old process has closed the inbox.
    Inbox,
}

/// A listening socket.
#[derive(Serialize, Deserialize)]
struct Bound {
    /// The listener's name.
    name: String,
    /// As its configuration wrote it, with port 0 where that stands there.
    address: std::net::SocketAddr,
}

/// Where a platform is, so that a token goes to no other one.
fn place_of(upstream: &Upstream) -> String {
    format!("{}://{}:{}", if upstream.tls { "https" } else { "http" }, upstream.host, upstream.port)
}
