//! Limits: what may be sent, how fast, by whom, and how much memory it may use meanwhile.
//!
//! A call takes its turn ([`AccountLimits::admit`]): its program's gate, its operation's, its account's; then memory for its body
//! (`Budget::admit`). It is refused only when it cannot be served in time. The account's breaker is asked before each try
//! ([`Turn::begin`]), and its rate is charged as each request leaves ([`Turn::leave`]). Nothing here knows a request, an answer or a socket.

mod adapt;
mod breaker;
mod budget;
mod deadline;
mod fair;
mod fields;
mod gate;
mod order;
mod pace;
mod rate;
mod spent;
mod turns;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

pub(crate) use budget::{Admitted, Budget, NoRoom, Reserved};
pub use deadline::{BadDeadline, Deadline, parse as parse_deadline};
pub use fields::Met;
pub(crate) use spent::SpentBy;

use breaker::Breaker;
use gate::{Gate, GateRules, Place};
use turns::{Held, NotNow};

use crate::clock::{self, Instant};
use crate::config::{self, OperationRule, ProgramLimit};
use crate::metrics::{LimitSeries, LimitedBy, Metrics};

/// The statuses by which the platform says no.
const NO: [u16; 2] = [429, 503];

/// The one lane of a program's own gate.
const ALONE: usize = 0;

/// What limits one program, at all accounts.
#[derive(Debug)]
pub struct ProgramLimits {
    /// Empty for the anonymous one.
    name: String,
    /// Where its calls wait at the gates that it shares with others. It keeps it from one configuration to the next.
    lane: usize,
    share: u32,
    gate: Option<Gate>,
}

impl ProgramLimits {
    /// Those of each program, in their order. Without programs, those of the anonymous one. What the programs of the same
    /// name used up of `former` ones stays used up.
    pub fn all(programs: &[config::Program], former: &[Self], now: Instant) -> Vec<Self> {
        let anonymous = [("", ProgramLimit::default())];
        let named: Vec<_> = programs.iter().map(|program| (program.name.as_str(), program.limit)).collect();
        let named = if named.is_empty() { &anonymous[..] } else { &named };
        let former: HashMap<_, _> = former.iter().map(|former| (former.name.as_str(), former)).collect();
        let mut taken: HashSet<_> = named.iter().filter_map(|(name, _)| Some(former.get(name)?.lane)).collect();
        let mut free = 0..;
        let own = |(name, limit): &(&str, ProgramLimit)| {
            let former = former.get(name);
            let lane = former.map(|former| former.lane).or_else(|| free.find(|lane| taken.insert(*lane)))?;
            let limited = limit.quota.is_some() || limit.concurrency.is_some();
            let rules = GateRules {
                name: "program",
                quota: limit.quota,
                least: None,
                concurrency: limit.concurrency,
                shares: vec![1],
            };
            let gate = limited.then(|| Gate::succeed(former.and_then(|former| former.gate.as_ref()), rules, None, now));
            Some(Self { name: (*name).to_owned(), lane, share: limit.share, gate })
        };
        named.iter().filter_map(own).collect()
    }

    /// The share of each lane. One that nobody has is as good as any.
    fn shares(programs: &[Self]) -> Vec<u32> {
        let mut shares = vec![1; programs.iter().map(|program| program.lane + 1).max().unwrap_or(1)];
        programs.iter().for_each(|program| shares[program.lane] = program.share);
        shares
    }
}

/// What limits the calls of one account.
#[derive(Debug)]
pub struct AccountLimits {
    gate: Option<Gate>,
    /// By name; few.
    operations: Vec<(String, Gate)>,
    breaker: Option<Arc<Breaker>>,
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
    /// Until when a request may wait to leave, where the call says so itself: one time for all its waits.
    end: Option<Instant>,
    left: Instant,
}

impl AccountLimits {
    /// Those of an account, for all operations and programs of a configuration. What was used up of the `former` ones of the
    /// same account stays used up, and what its breaker found out stays.
    pub fn new(
        account: &config::Account,
        operations: &[OperationRule],
        programs: &[ProgramLimits],
        former: Option<&Self>,
        metrics: &Metrics,
        now: Instant,
    ) -> Self {
        let series = metrics.limits.account(&account.name);
        let limit = account.limit;
        let shares = ProgramLimits::shares(programs);
        let rules = GateRules {
            name: "account",
            quota: limit.quota,
            least: limit.least,
            concurrency: limit.concurrency,
            shares: shares.clone(),
        };
        let limited = limit.quota.is_some() || limit.concurrency.is_some();
        if !limited {
            series.rate.set(0.0);
        }
        let gate = limited.then(|| {
            let former = former.and_then(|former| former.gate.as_ref());
            Gate::succeed(former, rules, Some(series.rate.clone()), now)
        });
        let of_operation = |rule: &OperationRule| {
            let quota = Some(rule.limit?);
            let former = former.and_then(|former| former.of_operation(&rule.name));
            let shares = shares.clone();
            let rules = GateRules { name: "operation", quota, least: None, concurrency: None, shares };
            Some((rule.name.clone(), Gate::succeed(former, rules, None, now)))
        };
        Self {
            gate,
            operations: operations.iter().filter_map(of_operation).collect(),
            breaker: Self::breaker(account, former, metrics),
            max_wait: limit.max_wait,
            series,
        }
    }

    fn breaker(account: &config::Account, former: Option<&Self>, metrics: &Metrics) -> Option<Arc<Breaker>> {
        let former = former.and_then(|former| former.breaker.as_ref());
        match (account.breaker, former) {
            (Some(rule), Some(former)) => {
                former.adopt(rule);
                Some(former.clone())
            }
            (Some(rule), None) => Some(Arc::new(Breaker::new(rule, metrics.limits.breaker(&account.name)))),
            (None, former) => {
                if former.is_some() {
                    metrics.limits.forget_breaker(&account.name);
                }
                None
            }
        }
    }

    fn of_operation(&self, operation: &str) -> Option<&Gate> {
        self.operations.iter().find(|(name, _)| name == operation).map(|(_, gate)| gate)
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
        mut now: Instant,
        met: &mut Met<'a>,
    ) -> Result<Turn<'a>, Refused> {
        // One for all gates, while the time goes on with each that lets it wait.
        let end = patience.map(|patience| now + patience);
        let (deadline, now) = (end.unwrap_or(now + self.max_wait), &mut now);
        if let Some(breaker) = &self.breaker {
            breaker.check().map_err(Refused::Open)?;
        }
        let of_operation = self.of_operation(operation);
        // In this order: what a program or an operation may not do must not use up what the account may.
        Ok(Turn {
            limits: self,
            program: self.enter(program.gate.as_ref(), LimitedBy::Program, ALONE, deadline, now, met).await?,
            operation: self.enter(of_operation, LimitedBy::Operation, program.lane, deadline, now, met).await?,
            account: self.enter(self.gate.as_ref(), LimitedBy::Account, program.lane, deadline, now, met).await?,
            probes: false,
            end,
            left: *now,
        })
    }

    /// Passes a gate, if there is one.
    async fn enter<'a>(
        &self,
        gate: Option<&'a Gate>,
        rate: LimitedBy,
        lane: usize,
        deadline: Instant,
        now: &mut Instant,
        met: &mut Met<'a>,
    ) -> Result<Option<Place>, Refused> {
        let Some(gate) = gate else { return Ok(None) };
        let entered = gate.enter(lane, deadline, now, &self.series.waiting).await;
        match entered {
            Ok(place) => {
                if let Some(policy) = &gate.policy {
                    met.add(policy, place.seen.left, place.seen.interval);
                }
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

    /// A call does not leave because the time is over that it wrote itself.
    pub fn refuse_late(&self) -> Refused {
        self.series.limited(LimitedBy::Deadline);
        Refused::Limited(LimitedBy::Deadline, Duration::ZERO)
    }

    /// Uses and shows what time has brought back, also while nobody calls.
    pub fn recover(&self, now: Instant) {
        if let Some(gate) = &self.gate {
            gate.recover(now);
        }
    }
}

impl Turn<'_> {
    /// The platform is to be asked now, and not before: the breaker's one try must not wait for a body or a token. Once
    /// let through, a call may try again.
    ///
    /// # Errors
    /// [`Refused::Open`]: nothing may leave, and no connection is to be made.
    pub fn begin(&mut self) -> Result<(), Refused> {
        if let Some(breaker) = self.limits.breaker.as_ref().filter(|_| !self.probes) {
            self.probes = breaker.pass().map_err(Refused::Open)?;
        }
        Ok(())
    }

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
        let patience = self.end.map_or(self.limits.max_wait, |end| end.saturating_duration_since(now));
        let wait = place.leave(patience, now).map_err(|not_now| self.limits.refuse(not_now, LimitedBy::Account))?;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Frequency, Quota};

    mod calls;
    mod handover;
    mod waits;

    fn programs(names: &[&str]) -> Vec<config::Program> {
        let quota = Some(Quota { rate: Frequency { calls: 1, per: Duration::from_secs(3600) }, burst: 2 });
        let program = |name: &&str| config::Program {
            name: (*name).to_owned(),
            api_key: None,
            pair: None,
            account: None,
            operations: Vec::new(),
            limit: ProgramLimit { quota, concurrency: None, share: name.len() as u32 },
        };
        names.iter().map(program).collect()
    }

    #[test]
    fn a_program_keeps_its_lane_and_a_new_one_takes_one_that_nobody_has() {
        let now = clock::now();
        let mut limits: Vec<ProgramLimits> = Vec::new();
        for (names, lanes, shares) in [
            (&["a", "bb", "ccc"][..], &[0, 1, 2][..], &[1, 2, 3][..]),
            (&["ccc", "a"], &[2, 0], &[1, 1, 3]),
            (&["ccc", "dddd", "a", "e"], &[2, 1, 0, 3], &[1, 4, 3, 1]),
            (&["dddd"], &[1], &[1, 4]),
            (&["x", "y"], &[0, 1], &[1, 1]),
            (&[], &[0], &[1]),
            (&["x"], &[0], &[1]),
        ] {
            limits = ProgramLimits::all(&programs(names), &limits, now);
            assert_eq!(limits.iter().map(|own| own.lane).collect::<Vec<_>>(), lanes, "{names:?}");
            assert_eq!(ProgramLimits::shares(&limits), shares, "{names:?}");
            for own in limits.iter().filter_map(|own| own.gate.as_ref()) {
                assert_eq!(format!("{own:?}").matches("Lane {").count(), 1, "its own gate has no room for the others");
            }
        }
    }

    #[tokio::test]
    async fn what_a_program_and_an_account_used_up_stays_used_up_under_their_names() {
        let text = "[outbound]\n[[account]]\nname = \"main\"\napp_key = { env = \"A\" }\napp_secret = { env = \"A\" }\n\
                    limit = { rate = \"1/h\", burst = 3 }\n\
                    [[operation]]\nname = \"task.create\"\nlimit = { rate = \"1/h\", burst = 1 }\n";
        let config = config::Config::parse(text, std::path::Path::new("."), |_| Some("x".into())).expect("it is good");
        let (metrics, now) = (Metrics::try_new().expect("series"), clock::now());
        let account = |programs: &[ProgramLimits], former: Option<&AccountLimits>| {
            AccountLimits::new(&config.accounts[0], &config.operations, programs, former, &metrics, now)
        };
        let passes = async |account: &AccountLimits, program: &ProgramLimits, operation| {
            let turn = account.admit(program, operation, Some(Duration::ZERO), now, &mut Met::default()).await;
            match turn {
                Ok(mut turn) => turn.leave().map(|_| ()).map_err(|_| "leaving"),
                Err(Refused::Limited(LimitedBy::Program, _)) => Err("program"),
                Err(Refused::Limited(LimitedBy::Operation, _)) => Err("operation"),
                Err(_) => Err("account"),
            }
        };
        let mut own = ProgramLimits::all(&programs(&["a", "b"]), &[], now);
        let mut limits = account(&own, None);
        assert_eq!(passes(&limits, &own[0], "task.create").await, Ok(()));
        assert_eq!(passes(&limits, &own[0], "other").await, Ok(()));
        for names in [&["b", "a"][..], &["new", "b", "a"], &["a", "b"]] {
            own = ProgramLimits::all(&programs(names), &own, now);
            limits = account(&own, Some(&limits));
            let of = |name: &str| own.iter().find(|own| own.name == name).expect("it is there");
            assert_eq!(passes(&limits, of("a"), "other").await, Err("program"), "{names:?}");
            assert_eq!(passes(&limits, of("b"), "task.create").await, Err("operation"), "{names:?}");
        }
        assert_eq!(passes(&limits, &own[1], "other").await, Ok(()));
        own = ProgramLimits::all(&programs(&["new"]), &own, now);
        limits = account(&own, Some(&limits));
        assert_eq!(passes(&limits, &own[0], "other").await, Err("account"), "its burst of three is used up");
        own = ProgramLimits::all(&programs(&["new"]), &[], now);
        assert_eq!(passes(&account(&own, None), &own[0], "other").await, Ok(()), "another account");
    }
}
