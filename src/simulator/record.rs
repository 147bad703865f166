//! What arrived, in order, for those who test against it.
//! It judges nothing and prints no content.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::Mutex;
use std::time::Duration;

use bytes::Bytes;

use super::auth;
use super::lock::lock;
use super::options::{Keep, Options};
use crate::clock::{self, Instant};

/// Different paths that are counted; what comes after them is not.
const MAX_PATHS: usize = 10_000;

/// One request as it arrived. `Debug` shows sizes only.
#[derive(Clone)]
pub struct Received {
    /// Number of the connection it came on, from 1 in the order they were accepted.
    pub connection: u64,
    /// As in the request line.
    pub method: String,
    /// Without the query.
    pub path: String,
    /// What stood after `?`, as on the wire; `None` without a `?`.
    pub query: Option<String>,
    /// Names and values in the order, spelling and number of the wire. Only for pipelined requests, which no
    /// program here sends, they are lowercase.
    pub headers: Vec<(String, String)>,
    /// The body as it arrived (ciphertext, if it was sealed), without its transfer coding; empty when it was
    /// larger than [`Options::keep_body`].
    pub body: Bytes,
    /// How many bytes of body arrived.
    pub body_len: u64,
    /// Whether the whole body arrived.
    pub complete: bool,
    /// What a sealed body or query held, if it opened and its digest was right.
    pub opened: Option<Bytes>,
    /// HTTP status of the answer; `None` before there is one, and when the connection was cut instead.
    pub status: Option<u16>,
    /// Since the start of the simulator.
    pub at: Duration,
}

impl Received {
    /// The first value of a header, whatever the spelling of its name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers_named(name).next()
    }

    /// All values of a header.
    pub fn headers_named(&self, name: &str) -> impl Iterator<Item = &str> {
        self.headers.iter().filter(move |(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// Whether it said `Is-Encrypted: 1`.
    pub fn sealed(&self) -> bool {
        self.header("is-encrypted") == Some("1")
    }
}

impl fmt::Debug for Received {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Received")
            .field("connection", &self.connection)
            .field("method", &self.method)
            .field("path", &self.path)
            .field("query_len", &self.query.as_deref().map(str::len))
            .field("headers", &self.headers.iter().map(|(name, _)| name).collect::<Vec<_>>())
            .field("body_len", &self.body_len)
            .field("complete", &self.complete)
            .field("opened_len", &self.opened.as_deref().map(<[u8]>::len))
            .field("status", &self.status)
            .field("at", &self.at)
            .finish()
    }
}

/// The list, and the counters beside it.
pub(super) struct Records {
    since: Instant,
    keep: Keep,
    most: usize,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    /// The request with id `first + i` stands at `i`.
    entries: VecDeque<Received>,
    first: u64,
    counts: HashMap<String, usize>,
    logins: usize,
}

/// Names one request in [`Records`]; it may be gone by the time it is used.
#[derive(Clone, Copy)]
pub(super) struct EntryId(u64);

impl Records {
    pub(super) fn new(options: &Options) -> Self {
        Self { since: clock::now(), keep: options.keep, most: options.keep_requests.max(1), inner: Mutex::default() }
    }

    /// Whether whole requests are wanted, so that others need not collect them in vain.
    pub(super) fn keeps_everything(&self) -> bool {
        self.keep == Keep::Everything
    }

    /// Counts a request whose header has arrived, and keeps what `received` makes of it.
    pub(super) fn begin(&self, path: &str, received: impl FnOnce(Duration) -> Received) -> EntryId {
        let mut inner = lock(&self.inner);
        if let Some(count) = inner.counts.get_mut(path) {
            *count += 1;
        } else if inner.counts.len() < MAX_PATHS {
            inner.counts.insert(path.to_owned(), 1);
        }
        if auth::Family::of_login(path).is_some() {
            inner.logins += 1;
        }
        let id = inner.first + inner.entries.len() as u64;
        if self.keep == Keep::Counters {
            inner.first += 1;
            return EntryId(id);
        }
        if inner.entries.len() == self.most {
            inner.entries.pop_front();
            inner.first += 1;
        }
        inner.entries.push_back(received(clock::now() - self.since));
        EntryId(id)
    }

    /// Adds to a request that is still remembered.
    pub(super) fn update(&self, EntryId(id): EntryId, apply: impl FnOnce(&mut Received)) {
        let mut inner = lock(&self.inner);
        let Some(index) = id.checked_sub(inner.first).and_then(|index| usize::try_from(index).ok()) else { return };
        if let Some(entry) = inner.entries.get_mut(index) {
            apply(entry);
        }
    }

    pub(super) fn all(&self) -> Vec<Received> {
        lock(&self.inner).entries.iter().cloned().collect()
    }

    pub(super) fn count(&self, path: &str) -> usize {
        lock(&self.inner).counts.get(path).copied().unwrap_or(0)
    }

    pub(super) fn logins(&self) -> usize {
        lock(&self.inner).logins
    }

    pub(super) fn clear(&self) {
        let mut inner = lock(&self.inner);
        inner.first += inner.entries.len() as u64;
        inner.entries.clear();
        inner.counts.clear();
        inner.logins = 0;
    }
}
