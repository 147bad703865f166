//! `limit` of accounts, programs and operations, and `breaker`: how much may be sent, and how long a call waits for it.
//!
//! Owns the defaults and what has to agree between rate, burst and least rate. It never counts a call.

use std::time::Duration;

use super::bounds::{count, positive};
use super::error::Fault;
use super::file;
use super::table::Given;
use super::units::Frequency;

/// A rate, and how many calls may follow each other at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    /// Calls in a time.
    pub rate: Frequency,
    /// Calls at once, at least one.
    pub burst: u32,
}

/// What an account may send to the platform.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AccountLimit {
    /// `None`: as much as comes.
    pub quota: Option<Quota>,
    /// The rate never falls below this, however often the platform says no. At most the rate.
    pub least: Option<Frequency>,
    /// How long a call waits for its turn when it does not say so itself.
    pub max_wait: Duration,
    /// Calls at the same time; `None`: any number.
    pub concurrency: Option<u32>,
}

/// What a program may send, to all accounts together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProgramLimit {
    /// `None`: as much as comes.
    pub quota: Option<Quota>,
    /// Calls at the same time; `None`: any number.
    pub concurrency: Option<u32>,
    /// Its part of an account's rate when others wait too, in relation to theirs.
    pub share: u32,
}

impl Default for ProgramLimit {
    fn default() -> Self {
        Self { quota: None, concurrency: None, share: 1 }
    }
}

/// When nothing more is sent for a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BreakerRule {
    /// Connections that failed or answers that did not come in time, in a row.
    pub failures: u32,
    /// For how long.
    pub open: Duration,
}

/// Most calls at once, and at the same time. The listener admits fewer connections by default.
const MOST: usize = 100_000;

/// The rate falls to this part of itself at most, where nothing else is written.
const LEAST_PART: u32 = 10;

/// How far `least` may be below `rate`.
const MOST_PART: f64 = 1000.0;

pub(super) fn of_account(given: Option<&Given<file::AccountLimit>>) -> Result<AccountLimit, Fault> {
    let written = given.map(|given| &given.value);
    let quota = match written {
        Some(written) => quota(written.rate.as_ref(), written.burst.as_ref())?,
        None => None,
    };
    let least = match (quota, written.and_then(|written| written.least.as_ref())) {
        (None, Some(least)) => return Err(least.fault("stands without rate; add rate, or remove least")),
        (None, None) => None,
        (Some(quota), None) => Some(Frequency { per: quota.rate.per * LEAST_PART, ..quota.rate }),
        (Some(quota), Some(least)) => {
            let part = quota.rate.per_second() / least.value.per_second();
            if !(1.0..=MOST_PART).contains(&part) {
                return Err(least.fault("must be from a thousandth of rate up to rate; correct one of them"));
            }
            Some(least.value)
        }
    };
    // Zero is wise here: whatever cannot leave at once is refused.
    let max_wait = written.and_then(|written| written.max_wait.as_ref());
    if let Some(given) = max_wait.filter(|given| given.value > LONGEST_WAIT) {
        return Err(given.fault("is over 10m, and what waits holds a connection; write 10m or less"));
    }
    Ok(AccountLimit {
        quota,
        least,
        max_wait: max_wait.map_or(Duration::from_secs(5), |given| given.value),
        concurrency: written.map_or(Ok(None), |written| number(written.concurrency.as_ref()))?,
    })
}

/// Longest wait for a turn, by the configuration or by a program: what waits holds a connection and a place in the queue.
pub const LONGEST_WAIT: Duration = Duration::from_secs(600);

pub(super) fn of_program(given: Option<&Given<file::ProgramLimit>>) -> Result<ProgramLimit, Fault> {
    let Some(Given { value: written, .. }) = given else { return Ok(ProgramLimit::default()) };
    let share = count(written.share.as_ref(), 1..=1000, 1)?;
    Ok(ProgramLimit {
        quota: quota(written.rate.as_ref(), written.burst.as_ref())?,
        concurrency: number(written.concurrency.as_ref())?,
        share: u32::try_from(share).unwrap_or(1),
    })
}

pub(super) fn of_operation(given: Option<&Given<file::OperationLimit>>) -> Result<Option<Quota>, Fault> {
    given.map_or(Ok(None), |given| quota(given.value.rate.as_ref(), given.value.burst.as_ref()))
}

/// `None`: off.
pub(super) fn breaker(given: Option<&Given<Option<file::Breaker>>>) -> Result<Option<BreakerRule>, Fault> {
    let written = match given {
        Some(Given { value: None, .. }) => return Ok(None),
        Some(Given { value: Some(written), .. }) => Some(written),
        None => None,
    };
    let failures = count(written.and_then(|written| written.failures.as_ref()), 1..=1000, 5)?;
    Ok(Some(BreakerRule {
        failures: u32::try_from(failures).unwrap_or(u32::MAX),
        open: positive(written.and_then(|written| written.open.as_ref()), Duration::from_secs(10))?,
    }))
}

fn quota(rate: Option<&Given<Frequency>>, burst: Option<&Given<u64>>) -> Result<Option<Quota>, Fault> {
    let Some(rate) = rate.map(|rate| rate.value) else {
        return match burst {
            Some(burst) => Err(burst.fault("stands without rate; add rate, or remove burst")),
            None => Ok(None),
        };
    };
    // As many as come in a second.
    let usual = (rate.per_second() as usize).clamp(1, MOST);
    let burst = count(burst, 1..=MOST, usual)?;
    Ok(Some(Quota { rate, burst: u32::try_from(burst).unwrap_or(u32::MAX) }))
}

fn number(given: Option<&Given<u64>>) -> Result<Option<u32>, Fault> {
    let Some(given) = given else { return Ok(None) };
    Ok(u32::try_from(count(Some(given), 1..=MOST, 1)?).ok())
}
