//! The one token that is held, and the one login in flight.
//!
//! A login runs detached from whoever asked for it: callers come and go, and all of them get what it brings,
//! a failure included. It never asks again by itself; that is [`upkeep`](super::upkeep) and the next call.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use tokio::sync::{Notify, watch};

use super::pace::{BackOff, Pace, refresh_after};
use super::{Absent, Handed, Issued, Login, LoginError, Observer, Reason, Remaining, Token, Unavailable};
use crate::clock::{self, Instant};
use crate::config::TokenRule;
use crate::secret::Secret;

/// Longest time one login may take, connecting included. A login is quick or it is broken, and all calls wait for it.
pub const LOGIN_TIME: Duration = Duration::from_secs(60);

/// Longest life that is believed. A refresh once a year costs nothing, and no sum of times overflows.
const LONGEST_LIFE: Duration = Duration::from_secs(365 * 86_400);

/// The token of one account and one family. A clone is another handle to the same one.
pub struct Cache<L> {
    pub(super) shared: Arc<Shared<L>>,
}

impl<L> Clone for Cache<L> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<L: Login> Cache<L> {
    /// A cold cache: it asks nobody until a call or the upkeep needs a token.
    pub fn new(rule: TokenRule, login: L, observer: impl Observer) -> Self {
        let state = State {
            generation: 0,
            flight: None,
            back_off: BackOff::default(),
            pause: None,
            outdated: false,
            absent: Absent::NotAsked,
        };
        Self {
            shared: Arc::new(Shared {
                terms: ArcSwap::from_pointee(Terms::new(rule, Pace::new(&rule), login, observer)),
                retired: AtomicBool::new(false),
                held: ArcSwapOption::empty(),
                state: Mutex::new(state),
                changed: Notify::new(),
            }),
        }
    }

    /// Logs in another way from now on. The token that is held serves on, and a pace that changed is used up as far as the
    /// former one was. For the same key pair at the same platform only.
    pub fn adopt(&self, rule: TokenRule, login: L, observer: impl Observer) {
        let former = self.shared.terms.load_full();
        let pace =
            if former.rule == rule { former.pace.clone() } else { Arc::new(former.pace.moved(&former.rule, &rule)) };
        self.shared.terms.store(Arc::new(Terms { pace, ..Terms::new(rule, Pace::new(&rule), login, observer) }));
        self.shared.changed.notify_waiters();
    }

    /// Logs in with another secret of the same key from now on, at once if it is kept fresh. The token that is held serves on
    /// until that succeeds, or until its end: a secret that is mistyped stops no call.
    pub fn renew(&self, rule: TokenRule, login: L, observer: impl Observer) {
        {
            let mut state = self.shared.lock();
            state.outdated = true;
            state.back_off = BackOff::default();
            state.pause = state.pause.filter(|pause| pause.asked_for);
        }
        self.adopt(rule, login, observer);
    }

    /// What happens from now on is told to nobody: calls that began with it may still use it, and the name it was observed
    /// under may be another one's.
    pub fn retire(&self) {
        self.shared.retired.store(true, Ordering::Relaxed);
    }

    /// Whether both are handles to the same one.
    pub fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.shared, &other.shared)
    }

    /// The token for one try of a call. While one is held and alive this neither waits nor locks. `now` is a look at the clock
    /// of a moment ago.
    ///
    /// Without one it waits for the login in flight, or starts one. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// That login failed, or none may be made now: the pace is used up, or the platform's `Retry-After` runs.
    /// Calls do not wait out the back-off of the upkeep, since the pace already bounds what they can ask.
    pub async fn current(&self, now: Instant) -> Result<Token, Unavailable> {
        let token = match self.shared.find(now) {
            Some(token) => token,
            None => match self.shared.board() {
                Boarded::Held(token) => token,
                Boarded::Flight(mut landed) => landed.wait().await?,
                Boarded::Withheld(unavailable) => {
                    self.shared.tell(|observer| observer.login_withheld(&unavailable));
                    return Err(unavailable);
                }
            },
        };
        if token.mark_used() {
            self.shared.changed.notify_waiters();
        }
        Ok(token)
    }

    /// The platform refused this generation. It is forgotten if it is still the current one; a late refusal of
    /// an older one changes nothing. Asynchronous so that a store shared by replicas can take this place.
    pub async fn refused(&self, generation: u64) {
        {
            let mut state = self.shared.lock();
            let current = self.shared.held.load();
            if current.as_ref().is_none_or(|held| held.generation != generation) {
                return;
            }
            self.shared.held.store(None);
            state.absent = Absent::Refused;
        }
        self.shared.tell(|observer| observer.token_refused(generation));
        self.shared.changed.notify_waiters();
    }

    /// The token that is held, as another process can go on with it.
    pub fn hand_over(&self) -> Option<Handed> {
        let now = clock::now();
        let token = self.shared.find(now)?;
        let text = token.header_value().as_bytes().strip_prefix(super::SCHEME)?;
        Some(Handed {
            text: Secret::new(text),
            refresh_in: token.0.refresh_at.saturating_duration_since(now),
            ends_in: token.0.expires_at.saturating_duration_since(now),
        })
    }

    /// Goes on with another process's token of the same key at the same platform. One that cannot be used is as good as none.
    pub fn take_over(&self, handed: &Handed) {
        let now = clock::now();
        let ends_in = {
            let mut state = self.shared.lock();
            let (refresh_at, ends_in) = (now + handed.refresh_in.min(LONGEST_LIFE), handed.ends_in.min(LONGEST_LIFE));
            let Ok(token) = Token::try_new(&handed.text, state.generation + 1, refresh_at, now + ends_in) else {
                return;
            };
            state.generation = token.generation();
            state.absent = Absent::Lapsed;
            self.shared.held.store(Some(token.0));
            ends_in
        };
        self.shared.tell(|observer| observer.token_taken_over(ends_in));
        self.shared.changed.notify_waiters();
    }

    /// The token that is held and how long it lives, or why there is none: for readiness and metrics.
    pub fn held(&self) -> Result<Remaining, Absent> {
        // Under the lock, so that the reason belongs to the absence that was seen.
        let state = self.shared.lock();
        let now = clock::now();
        match self.shared.find(now) {
            Some(token) => Ok(Remaining {
                generation: token.generation(),
                life: token.0.expires_at.saturating_duration_since(now),
            }),
            None => Err(state.absent),
        }
    }
}

/// What all handles share.
pub(super) struct Shared<L> {
    /// Read for each login; replaced as a whole.
    terms: ArcSwap<Terms<L>>,
    /// Nobody listens any more.
    retired: AtomicBool,
    /// Read by every call without a lock; written under the lock of `state` only.
    held: ArcSwapOption<Issued>,
    state: Mutex<State>,
    /// Something happened that the upkeep has to look at.
    pub(super) changed: Notify,
}

/// How and how often it is logged in.
struct Terms<L> {
    rule: TokenRule,
    life: Duration,
    pace: Arc<Pace>,
    login: L,
    observer: Box<dyn Observer>,
}

impl<L> Terms<L> {
    fn new(rule: TokenRule, pace: Pace, login: L, observer: impl Observer) -> Self {
        let life = rule.life.min(LONGEST_LIFE);
        Self { rule, life, pace: Arc::new(pace), login, observer: Box::new(observer) }
    }
}

/// Never locked across an await.
pub(super) struct State {
    /// The last one given away.
    generation: u64,
    pub(super) flight: Option<Landed>,
    back_off: BackOff,
    /// Set by a failure, ended by a success.
    pub(super) pause: Option<Pause>,
    /// The token that is held came with a former secret, so a login is due.
    pub(super) outdated: bool,
    /// What is said when no token is held.
    absent: Absent,
}

/// How long logins rest after one that failed.
#[derive(Clone, Copy)]
pub(super) struct Pause {
    pub(super) until: Instant,
    /// The platform named this time: calls respect it too.
    asked_for: bool,
}

/// How a login ended, for everybody who waited.
type Outcome = Result<Token, Unavailable>;

/// What a call without a token gets.
pub(super) enum Boarded {
    /// One arrived in the meantime.
    Held(Token),
    /// The login in flight, perhaps started just now.
    Flight(Landed),
    /// No login may be made now.
    Withheld(Unavailable),
}

/// Where the outcome of a login will be.
#[derive(Clone)]
pub(super) struct Landed(watch::Receiver<Option<Outcome>>);

impl Landed {
    async fn wait(&mut self) -> Outcome {
        match self.0.wait_for(Option::is_some).await.as_deref() {
            Ok(Some(outcome)) => outcome.clone(),
            // A flight lands even when it is dropped, so this is out of reach; it must not be a panic.
            Ok(None) | Err(_) => {
                Err(Unavailable { reason: Reason::Login(LoginError::Abandoned), retry_after: Duration::ZERO })
            }
        }
    }
}

impl<L> Shared<L> {
    /// Tells the observer, as long as there is one.
    pub(super) fn tell(&self, what: impl FnOnce(&dyn Observer)) {
        if !self.retired.load(Ordering::Relaxed) {
            what(&*self.terms.load().observer);
        }
    }

    /// The token, if it is held and alive.
    pub(super) fn find(&self, now: Instant) -> Option<Token> {
        self.held.load_full().map(Token).filter(|token| token.is_live(now))
    }

    /// A poisoned lock is used on: every change to the state is whole by itself.
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends a flight: keeps what it brought and frees the place for the next one.
    fn land(&self, sent: Instant, terms: Option<&Arc<Terms<L>>>, answer: Result<Secret, LoginError>) -> Outcome {
        let now = clock::now();
        let (outcome, said) = {
            let mut state = self.lock();
            state.flight = None;
            match self.issue(state.generation + 1, sent, now, answer) {
                Ok(token) => {
                    state.generation = token.generation();
                    state.back_off = BackOff::default();
                    state.pause = None;
                    // It may have begun with the former secret.
                    state.outdated &= !terms.is_some_and(|terms| Arc::ptr_eq(terms, &self.terms.load()));
                    state.absent = Absent::Lapsed;
                    self.held.store(Some(Arc::clone(&token.0)));
                    (Ok(token), Ok(state.generation))
                }
                Err(error) => {
                    let wait = state.back_off.fail(error.retry_after());
                    state.pause = Some(Pause { until: now + wait, asked_for: error.retry_after().is_some() });
                    state.absent = Absent::Failing(error);
                    (Err(Unavailable { reason: Reason::Login(error), retry_after: wait }), Err(error))
                }
            }
        };
        self.tell(|observer| observer.login_ended(said, now.saturating_duration_since(sent)));
        self.changed.notify_waiters();
        outcome
    }

    /// Its life counts from the moment the login was sent: the platform's clock cannot have started earlier.
    fn issue(
        &self,
        generation: u64,
        sent: Instant,
        now: Instant,
        answer: Result<Secret, LoginError>,
    ) -> Result<Token, LoginError> {
        let life = self.terms.load().life;
        let token = Token::try_new(&answer?, generation, sent + refresh_after(life), sent + life)?;
        if token.is_live(now) { Ok(token) } else { Err(LoginError::TimedOut) }
    }
}

impl<L: Login> Shared<L> {
    /// For a call: a token that arrived in the meantime, or a login.
    pub(super) fn board(self: &Arc<Self>) -> Boarded {
        let mut state = self.lock();
        match self.find(clock::now()) {
            Some(token) => Boarded::Held(token),
            None => self.take_off(&mut state).map_or_else(Boarded::Withheld, Boarded::Flight),
        }
    }

    /// Joins the login in flight, or starts one if that is admitted.
    pub(super) fn take_off(self: &Arc<Self>, state: &mut State) -> Result<Landed, Unavailable> {
        if let Some(landed) = &state.flight {
            return Ok(landed.clone());
        }
        let now = clock::now();
        if let Some(pause) = state.pause.filter(|pause| pause.asked_for && now < pause.until) {
            return Err(Unavailable { reason: Reason::Throttled, retry_after: pause.until - now });
        }
        self.terms.load().pace.check().map_err(|wait| Unavailable { reason: Reason::Paced, retry_after: wait })?;
        let (outcome, landed) = watch::channel(None);
        let landed = Landed(landed);
        state.flight = Some(landed.clone());
        let flight =
            Flight { shared: Arc::clone(self), sent: now, terms: None, answer: Err(LoginError::Abandoned), outcome };
        tokio::spawn(flight.fly());
        Ok(landed)
    }
}

/// A login on its way. It lands when it is dropped, so that one that panics, or whose runtime ends, leaves nobody
/// waiting and the place free.
struct Flight<L> {
    shared: Arc<Shared<L>>,
    sent: Instant,
    /// How it logs in.
    terms: Option<Arc<Terms<L>>>,
    answer: Result<Secret, LoginError>,
    outcome: watch::Sender<Option<Outcome>>,
}

impl<L: Login> Flight<L> {
    async fn fly(mut self) {
        self.sent = clock::now();
        let terms = self.terms.insert(self.shared.terms.load_full());
        let answer = tokio::time::timeout(LOGIN_TIME, terms.login.login()).await;
        self.answer = answer.unwrap_or(Err(LoginError::TimedOut));
    }
}

impl<L> Drop for Flight<L> {
    fn drop(&mut self) {
        let answer = std::mem::replace(&mut self.answer, Err(LoginError::Abandoned));
        self.outcome.send_replace(Some(self.shared.land(self.sent, self.terms.as_ref(), answer)));
    }
}
