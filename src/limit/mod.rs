//! Limits: what may be sent, how fast, by whom, and how much memory it may use meanwhile.
//!
//! A call takes its turn ([`AccountLimits::admit`]): its program's gate, its operation's, its account's, and the account's
//! breaker; then memory for its body (`Budget::admit`). It is refused only when it cannot be served in time. The account's rate is
//! charged as each request leaves ([`Turn::leave`]). Nothing here knows a request, an answer or a socket.

mod adapt;
mod breaker;
mod budget;
mod deadline;
mod fair;
mod fields;
mod gate;
mod rate;
mod turns;

use std::time::Duration;

pub(crate) use budget::{Admitted, Budget, NoRoom, Reserved};
pub use deadline::{BadDeadline, parse as parse_deadline};
pub use fields::Met;

use breaker::Breaker;
use gate::{Gate, GateRules, Place};
use turns::{Held, NotNow};

use crate::clock::{self, Instant};
use crate::config::{self, OperationRule, ProgramLimit};
use crate::metrics::{LimitSeries, LimitedBy, Metrics};

/// The statuses by which the platform says no.
const NO: [u16; 2] = [429, 503];

/// What limits one program, at all accounts.
#[derive(Debug)]
pub struct ProgramLimits {
    lane: usize,
    gate: Option<Gate>,
}

impl ProgramLimits {
    /// Those of each program, in their order. Without programs, those of the anonymous one.
    pub fn all(programs: &[ProgramLimit], now: Instant) -> Vec<Self> {
        let own = |(lane, limit): (usize, &ProgramLimit)| {
            let limited = limit.quota.is_some() || limit.concurrency.is_some();
            let rules = GateRules {
                name: "program",
                quota: limit.quota,
                least: None,
                concurrency: limit.concurrency,
                // It stands alone at its gate.
                shares: vec![1; lane + 1],
            };
            let gate = limited.then(|| Gate::new(rules, None, now));
            Self { lane, gate }
        };
        match programs {
            [] => vec![Self { lane: 0, gate: None }],
            programs => programs.iter().enumerate().map(own).collect(),
        }
    }
}

/// What limits the calls of one account.
#[derive(Debug)]
pub struct AccountLimits {
    gate: Option<Gate>,
    /// By name; few.
    operations: Vec<(String, Gate)>,
    breaker: Option<Breaker>,
    max_wait: Duration,
    series: LimitSeries,
}

/// A call that has to wait longer than it can.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// A limit: which one, and when it makes sense to come again.
    Limited(LimitedBy, Duration),
    /// The breaker is open.
    Open(Duration),
}

/// Proof that a call passed its limits. Dropping it frees its places.
#[derive(Debug)]
pub struct Turn<'a> {
    limits: &'a AccountLimits,
    program: Option<Place>,
    operation: Option<Place>,
    account: Option<Place>,
    /// It tries for others whether the platform is back, and owes the breaker a word.
    probes: bool,
    /// How long a request may wait to leave.
    patience: Duration,
    left: Instant,
}

impl AccountLimits {
    /// Those of an account, for all operations and programs of a configuration.
    pub fn new(
        account: &config::Account,
        operations: &[OperationRule],
        programs: &[ProgramLimit],
        metrics: &Metrics,
        now: Instant,
    ) -> Self {
        let series = metrics.limits.account(&account.name);
        let limit = account.limit;
        let shares = || match programs {
            [] => vec![1],
            programs => programs.iter().map(|program| program.share).collect(),
        };
        let rules = GateRules {
            name: "account",
            quota: limit.quota,
            least: limit.least,
            concurrency: limit.concurrency,
            shares: shares(),
        };
        let limited = limit.quota.is_some() || limit.concurrency.is_some();
        let of_operation = |rule: &OperationRule| {
            let quota = Some(rule.limit?);
            let rules = GateRules { name: "operation", quota, least: None, concurrency: None, shares: shares() };
            Some((rule.name.clone(), Gate::new(rules, None, now)))
        };
        Self {
            gate: limited.then(|| Gate::new(rules, Some(series.rate.clone()), now)),
            operations: operations.iter().filter_map(of_operation).collect(),
            breaker: account.breaker.map(|rule| Breaker::new(rule, metrics.limits.breaker(&account.name))),
            max_wait: limit.max_wait,
            series,
        }
    }

    /// Takes a turn. `patience` is how long the call can wait when it says so itself; `met` learns which limits it met.
    ///
    /// # Errors
    /// [`Refused`], at once where it is known that the wait would be too long.
    pub async fn admit<'a>(
        &'a self,
        program: &'a ProgramLimits,
        operation: &str,
        patience: Option<Duration>,
        now: Instant,
        met: &mut Met<'a>,
    ) -> Result<Turn<'a>, Refused> {
        let patience = patience.unwrap_or(self.max_wait);
        if let Some(breaker) = &self.breaker {
            breaker.check().map_err(Refused::Open)?;
        }
        let of_operation = self.operations.iter().find(|(name, _)| name == operation).map(|(_, gate)| gate);
        // In this order: what a program or an operation may not do must not use up what the account may.
        let mut turn = Turn {
            limits: self,
            program: self.enter(program.gate.as_ref(), LimitedBy::Program, program, patience, now, met).await?,
            operation: self.enter(of_operation, LimitedBy::Operation, program, patience, now, met).await?,
            account: self.enter(self.gate.as_ref(), LimitedBy::Account, program, patience, now, met).await?,
            probes: false,
            patience,
            left: now,
        };
        if let Some(breaker) = &self.breaker {
            turn.probes = breaker.pass().map_err(Refused::Open)?;
        }
        Ok(turn)
    }

    /// Passes a gate, if there is one.
    async fn enter<'a>(
        &self,
        gate: Option<&'a Gate>,
        rate: LimitedBy,
        program: &ProgramLimits,
        patience: Duration,
        now: Instant,
        met: &mut Met<'a>,
    ) -> Result<Option<Place>, Refused> {
        let Some(gate) = gate else { return Ok(None) };
        let entered = gate.enter(program.lane, now + patience, now, &self.series.waiting).await;
        match entered {
            Ok(place) => {
                met.pass(gate, &place);
                Ok(Some(place))
            }
            Err(not_now) => {
                gate.tell(not_now, met);
                Err(self.refuse(not_now, rate))
            }
        }
    }

    fn refuse(&self, not_now: NotNow, rate: LimitedBy) -> Refused {
        let by = match not_now.held {
            Held::Rate => rate,
            Held::Pause => LimitedBy::Pause,
            Held::Concurrency => LimitedBy::Concurrency,
            Held::Queue => LimitedBy::Queue,
        };
        self.series.limited(by);
        Refused::Limited(by, not_now.wait)
    }

    /// Uses and shows what time has brought back, also while nobody calls.
    pub fn recover(&self, now: Instant) {
        if let Some(gate) = &self.gate {
            gate.recover(now);
        }
    }
}

impl Turn<'_> {
    /// A request of this call leaves: the account's rate is charged, for the first one and for each further one. How long
    /// it has to wait for that; nearly always not at all.
    ///
    /// # Errors
    /// [`Refused`] when that is longer than the call can wait. Then nothing is charged, and it must not leave.
    pub fn leave(&mut self) -> Result<Duration, Refused> {
        for place in [&mut self.program, &mut self.operation].into_iter().flatten() {
            place.spend();
        }
        let Some(place) = &mut self.account else { return Ok(Duration::ZERO) };
        // Since the last look at the clock a body may have arrived.
        let now = clock::now();
        let wait =
            place.leave(self.patience, now).map_err(|not_now| self.limits.refuse(not_now, LimitedBy::Account))?;
        self.left = now + wait;
        Ok(wait)
    }

    /// The platform answered with this status. If that says no, the account's rate falls; `retry_after` reads when to come
    /// again.
    pub fn answered(&mut self, status: u16, now: Instant, retry_after: impl FnOnce() -> Option<Duration>) {
        self.probes = false;
        if let Some(breaker) = &self.limits.breaker {
            breaker.succeeded();
        }
        if let Some(gate) = self.limits.gate.as_ref().filter(|_| NO.contains(&status))
            && gate.refused(self.left, retry_after(), now)
        {
            self.limits.series.cuts.inc();
        }
    }

    /// The platform was not reached, or did not answer in time.
    pub fn failed(&mut self, now: Instant) {
        if let Some(breaker) = &self.limits.breaker {
            breaker.failed(self.probes, now);
        }
        self.probes = false;
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        if let Some(breaker) = self.limits.breaker.as_ref().filter(|_| self.probes) {
            breaker.abandoned();
        }
    }
}
