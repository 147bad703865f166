//! The platform under which the gateway fails: several connections that post callbacks, each with a call id of its own,
//! sealed and plain, and remember which of them were acknowledged.

use std::collections::BTreeMap;
use std::io::{BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;

use airudder_gateway::clock;
use airudder_gateway::config::Scheme;
use airudder_gateway::envelope::Cipher;
use airudder_gateway::secret::Secret;

use crate::support::{Client, KEY, PATIENCE};

/// Where the callbacks go.
pub(super) const PATH: &str = "/callbacks/9d05f4c7b1e2a88d63c0b5f2a7e94c11";

/// Connections of the load.
const CONNECTIONS: usize = 6;

/// A callback of one call. The text is a pad, so that entries differ in size.
pub(super) fn callback(call: &str, pad: usize) -> String {
    format!(
        r#"{{"task_id":"durable","status":"finished","details":[{{"call_id":"{call}","callee":"+6281200000001","text":"{}"}}]}}"#,
        "x".repeat(pad)
    )
}

/// The request that carries it.
pub(super) fn request(callback: &str, sealed: bool) -> Vec<u8> {
    let (headers, body) = if sealed {
        let cipher = Cipher::try_new(&Scheme::EcbZero, &Secret::new(KEY)).expect("a key");
        let sealed = cipher.seal(callback.as_bytes());
        (format!("Is-Encrypted: 1\r\nSigned: {}\r\n", sealed.signed.as_str()), sealed.text.to_vec())
    } else {
        (String::new(), callback.as_bytes().to_vec())
    };
    let head = format!(
        "POST {PATH} HTTP/1.1\r\nHost: gateway\r\nContent-Type: application/json\r\n{headers}Content-Length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), &body].concat()
}

/// What has come of the load so far.
#[derive(Default)]
struct Progress {
    /// The calls whose callback was answered 200.
    acknowledged: Vec<String>,
    /// Other answers, by status.
    refused: BTreeMap<u16, usize>,
}

/// A load that goes on until the gateway is gone or it is stopped.
pub(super) struct Load {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

struct Shared {
    progress: Mutex<Progress>,
    changed: Condvar,
    stopped: AtomicBool,
}

impl Load {
    /// Starts it. The call ids begin with `name`.
    pub(super) fn start(inbound: SocketAddr, name: &str) -> Self {
        let shared =
            Arc::new(Shared { progress: Mutex::default(), changed: Condvar::new(), stopped: AtomicBool::new(false) });
        let threads = (0..CONNECTIONS)
            .map(|number| {
                let (shared, name) = (shared.clone(), format!("{name}-{number}"));
                std::thread::spawn(move || shared.post_all(inbound, &name))
            })
            .collect();
        Self { shared, threads }
    }

    /// How many callbacks have been acknowledged.
    pub(super) fn acknowledged(&self) -> usize {
        self.shared.progress.lock().expect("no panic inside").acknowledged.len()
    }

    /// Waits until this many more have been acknowledged.
    pub(super) fn until_acknowledged(&self, more: usize) {
        let wanted = self.acknowledged() + more;
        self.until("acknowledged", |progress| progress.acknowledged.len() >= wanted);
    }

    /// Waits until one has been refused with 503.
    pub(super) fn until_refused(&self) {
        self.until("refused", |progress| progress.refused.contains_key(&503));
    }

    fn until(&self, what: &str, is_so: impl Fn(&Progress) -> bool) {
        let progress = self.shared.progress.lock().expect("no panic inside");
        let waited = self.shared.changed.wait_timeout_while(progress, PATIENCE, |progress| !is_so(progress));
        let (progress, waited) = waited.expect("no panic inside");
        let so_far = (progress.acknowledged.len(), progress.refused.clone());
        drop(progress);
        assert!(!waited.timed_out(), "too few were {what}; so far {so_far:?}");
    }

    /// Ends it, after the gateway's end or before. The acknowledged calls, and the other answers by status.
    pub(super) fn stop(self) -> (Vec<String>, BTreeMap<u16, usize>) {
        self.shared.stopped.store(true, Ordering::Relaxed);
        self.threads.into_iter().for_each(|thread| thread.join().expect("no panic inside"));
        let progress = std::mem::take(&mut *self.shared.progress.lock().expect("no panic inside"));
        (progress.acknowledged, progress.refused)
    }
}

impl Shared {
    /// One connection after the other, until nobody takes one.
    fn post_all(&self, inbound: SocketAddr, name: &str) {
        let mut number = 0;
        while let Ok(stream) = TcpStream::connect(inbound) {
            let mut client = Client::on(stream);
            while !self.stopped.load(Ordering::Relaxed) {
                number += 1;
                let call = format!("{name}-{number}");
                // Up to 8 KiB, which is more than a page of the database, in steps that hit odd places of a sector.
                let request = request(&callback(&call, number * 1237 % 8192), number % 2 == 0);
                let Some(answer) = client.send(request).try_answer(false) else { break };
                let mut progress = self.progress.lock().expect("no panic inside");
                if answer.status == 200 {
                    progress.acknowledged.push(call);
                } else {
                    *progress.refused.entry(answer.status).or_default() += 1;
                }
                drop(progress);
                self.changed.notify_all();
            }
            if self.stopped.load(Ordering::Relaxed) {
                return;
            }
        }
    }
}

/// Posts one request on a connection of its own, and gives its status if an answer came.
pub(super) fn post_once(inbound: SocketAddr, request: &[u8]) -> Option<u16> {
    let mut stream = TcpStream::connect(inbound).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    stream.write_all(request).ok()?;
    let mut line = String::new();
    std::io::BufRead::read_line(&mut BufReader::new(stream), &mut line).ok()?;
    line.split(' ').nth(1)?.parse().ok()
}

/// Waits a random while, so that what follows happens in the middle of something: up to this many microseconds.
pub(super) fn a_moment(random: &mut crate::support::Random, most: usize) {
    let end = clock::now() + std::time::Duration::from_micros(random.below(most) as u64);
    while clock::now() < end {
        std::thread::yield_now();
    }
}
