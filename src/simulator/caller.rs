//! The platform's caller: sends a callback once and, while it is not answered 200, five times more a minute apart, and
//! then never again. Every try is on record. It decides neither what a callback says nor when a call ended.

use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::TlsConnector;

use super::callback::{Callback, CallbackAnswer, CallbackTry, NoAnswer};
use super::lock::lock;
use super::options::{CallbackObserver, Options};
use super::post::Target;
use super::tls;
use crate::clock::{self, Instant};
use crate::envelope::{Cipher, Signed};

/// Tries of a callback: the first, and five repeats.
const TRIES: u32 = 6;

/// Callbacks that are on their way at the same time; a task of thousands of calls must not use up all sockets.
const AT_ONCE: usize = 64;

/// A handle to the one caller of a platform.
#[derive(Clone)]
pub(super) struct Caller(Arc<Inner>);

struct Inner {
    minute: Duration,
    patience: Duration,
    most: usize,
    observer: Option<CallbackObserver>,
    cipher: Option<Cipher>,
    trust: Option<TlsConnector>,
    runtime: Handle,
    at_once: Semaphore,
    since: Instant,
    numbers: AtomicU64,
    tries: Mutex<VecDeque<CallbackTry>>,
    /// Where the callbacks of created tasks go.
    url: Mutex<Option<String>>,
    seal: bool,
    changes: watch::Sender<u64>,
    stop: watch::Receiver<bool>,
}

impl Caller {
    /// Callbacks go out in tasks of the current runtime, until `stop` says so. `changes` is bumped after every try.
    pub(super) fn try_new(
        options: &Options,
        cipher: Option<Cipher>,
        changes: watch::Sender<u64>,
        stop: watch::Receiver<bool>,
    ) -> io::Result<Self> {
        let inner = Inner {
            minute: options.callback_minute,
            patience: options.callback_patience,
            most: options.keep_requests.max(1),
            observer: options.callback_observer.clone(),
            cipher,
            trust: options.callback_ca.as_deref().map(tls::connector).transpose()?,
            runtime: Handle::try_current().map_err(io::Error::other)?,
            at_once: Semaphore::new(AT_ONCE),
            since: clock::now(),
            numbers: AtomicU64::new(1),
            tries: Mutex::default(),
            url: Mutex::default(),
            seal: options.seal_callbacks,
            changes,
            stop,
        };
        let caller = Self(Arc::new(inner));
        // Said at the start, and not by the first task a program creates.
        if let Some(url) = &options.callback_url {
            caller.call_back_to(url)?;
        }
        Ok(caller)
    }

    /// Where the callbacks of tasks go that are created from now on.
    pub(super) fn call_back_to(&self, url: &str) -> io::Result<()> {
        self.check(&Callback { sealed: self.0.seal, ..Callback::new(url, Bytes::new()) })?;
        *lock(&self.0.url) = Some(url.to_owned());
        Ok(())
    }

    /// What [`Caller::call_back_to`] said last.
    pub(super) fn url(&self) -> Option<String> {
        lock(&self.0.url).clone()
    }

    /// Whether this can be sent at all: a good URL, and a cipher if it is to be sealed.
    fn check(&self, callback: &Callback) -> io::Result<Target> {
        if callback.sealed && self.0.cipher.is_none() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "a sealed callback needs a scheme and its key"));
        }
        Target::try_new(&callback.url, self.0.trust.as_ref())
    }

    /// Sends it, after a while. The task ends with the last try; all of them are then in its result and on record.
    pub(super) fn send(&self, callback: Callback, after: Duration) -> io::Result<JoinHandle<Vec<CallbackTry>>> {
        let target = self.check(&callback)?;
        let number = self.0.numbers.fetch_add(1, Ordering::Relaxed);
        let caller = self.clone();
        Ok(self.0.runtime.spawn(async move {
            let mut stop = caller.0.stop.clone();
            let sending = async {
                tokio::time::sleep(after).await;
                let mut copies = JoinSet::new();
                for copy in 1..=callback.copies.max(1) {
                    let (caller, target, callback) = (caller.clone(), target.clone(), callback.clone());
                    copies.spawn(async move { caller.send_copy(number, copy, &target, &callback).await });
                }
                copies.join_all().await.into_iter().flatten().collect()
            };
            tokio::select! {
                tries = sending => tries,
                // Those under way are dropped with it.
                _ = stop.wait_for(|stop| *stop) => Vec::new(),
            }
        }))
    }

    /// Sealed once: what is repeated has the same bytes.
    async fn send_copy(&self, number: u64, copy: u32, target: &Target, callback: &Callback) -> Vec<CallbackTry> {
        let (body, signed) = match self.0.cipher.as_ref().filter(|_| callback.sealed) {
            Some(cipher) => {
                let sealed = cipher.seal(&callback.body);
                (sealed.text, Some(sealed.signed))
            }
            None => (callback.body.clone(), None),
        };
        let mut tries = Vec::new();
        for attempt in 1..=TRIES {
            if attempt > 1 {
                tokio::time::sleep(self.0.minute).await;
            }
            let (at, took, answer) = self.try_once(target, body.clone(), signed.as_ref()).await;
            let tried = CallbackTry {
                callback: number,
                copy,
                attempt,
                sent: body.clone(),
                signed: signed.as_ref().map(|signed| signed.as_str().to_owned()),
                at,
                took,
                answer,
            };
            self.record(tried.clone());
            let acknowledged = tried.acknowledged();
            tries.push(tried);
            if acknowledged {
                break;
            }
        }
        tries
    }

    /// When it was sent, how long it took, and what came of it.
    async fn try_once(
        &self,
        target: &Target,
        body: Bytes,
        signed: Option<&Signed>,
    ) -> (Duration, Duration, Result<CallbackAnswer, NoAnswer>) {
        // It is never closed, so there is nothing to do about an error.
        let _permit = self.0.at_once.acquire().await;
        let begun = clock::now();
        let answered = tokio::time::timeout(self.0.patience, target.post(body, signed)).await;
        let answer = answered.unwrap_or(Err(NoAnswer::TimedOut)).map(|answer| self.open(answer));
        (begun - self.0.since, clock::now() - begun, answer)
    }

    /// An answer says itself whether it is sealed.
    fn open(&self, mut answer: CallbackAnswer) -> CallbackAnswer {
        if let Some(cipher) = self.0.cipher.as_ref().filter(|_| answer.header("is-encrypted") == Some("1")) {
            let signed = answer.header("signed").unwrap_or_default();
            answer.opened = cipher.open(&answer.body, signed.as_bytes()).ok().map(Bytes::from);
        }
        answer
    }

    fn record(&self, tried: CallbackTry) {
        if let Some(observer) = &self.0.observer {
            observer(&tried);
        }
        let mut tries = lock(&self.0.tries);
        if tries.len() == self.0.most {
            tries.pop_front();
        }
        tries.push_back(tried);
        drop(tries);
        self.0.changes.send_modify(|changes| *changes = changes.wrapping_add(1));
    }

    /// Every try that is remembered, in the order they ended.
    pub(super) fn tries(&self) -> Vec<CallbackTry> {
        lock(&self.0.tries).iter().cloned().collect()
    }

    pub(super) fn clear(&self) {
        lock(&self.0.tries).clear();
    }
}
