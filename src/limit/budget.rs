//! The memory budget: a call gets its share before it gets a buffer.
//!
//! Request bodies and answers draw on separate halves. A call that holds a body may wait for room for its
//! answer; one that holds an answer never waits for anything here. So no two calls can wait for each
//! other. It never looks at what the memory is used for.

use std::sync::Arc;
use std::time::Duration;

use prometheus::IntGauge;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::Turn;

/// The unit of the budget in bytes; a reservation is rounded up to it.
const UNIT: usize = 1024;

/// The memory for held bodies and answers, shared by all calls. A handle: cheap to clone.
#[derive(Clone)]
pub(crate) struct Budget {
    requests: Half,
    answers: Half,
}

#[derive(Clone)]
struct Half {
    free: Arc<Semaphore>,
    units: u32,
    wait: Duration,
    in_use: IntGauge,
}

/// Proof that a call may hold a body of the size it asked for. Dropping it gives the memory back.
pub(crate) struct Admitted(Reserved);

/// Memory reserved for one body or answer.
pub(crate) struct Reserved {
    permit: OwnedSemaphorePermit,
    in_use: IntGauge,
}

/// The budget stayed used up for the whole wait.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct NoRoom;

impl Budget {
    /// `bytes` in all; a call waits up to `wait` for its share. `in_use` shows what is reserved.
    pub(crate) fn new(bytes: usize, wait: Duration, in_use: &IntGauge) -> Self {
        let units = u32::try_from(bytes / 2 / UNIT).unwrap_or(u32::MAX).max(1);
        let half = || Half { free: Arc::new(Semaphore::new(units as usize)), units, wait, in_use: in_use.clone() };
        Self { requests: half(), answers: half() }
    }

    /// The same memory, for which a call waits up to `wait`.
    pub(crate) fn waiting(&self, wait: Duration) -> Self {
        let half = |half: &Half| Half { wait, ..half.clone() };
        Self { requests: half(&self.requests), answers: half(&self.answers) }
    }

    /// Room for a request body of `bytes`, first come first served. The caller's turn has come, which bounds how many
    /// wait here where its account is limited.
    ///
    /// # Errors
    /// [`NoRoom`] after the wait.
    pub(crate) async fn admit(&self, _turn: &Turn<'_>, bytes: usize) -> Result<Admitted, NoRoom> {
        self.admit_unlimited(bytes).await
    }

    /// The same for what no limit of calls holds up: logins, and what the platform sends by itself.
    ///
    /// # Errors
    /// [`NoRoom`] after the wait.
    pub(crate) async fn admit_unlimited(&self, bytes: usize) -> Result<Admitted, NoRoom> {
        self.requests.reserve(bytes).await.map(Admitted)
    }

    /// More room for a body that grows, `bytes` in all. It waits while it holds what it has, so the steps before the last have
    /// to be small; two that wait for each other end after the wait.
    ///
    /// # Errors
    /// [`NoRoom`] after the wait; what it had stays.
    pub(crate) async fn grow(&self, admitted: &mut Admitted, bytes: usize) -> Result<(), NoRoom> {
        let missing = bytes.saturating_sub(admitted.0.permit.num_permits() * UNIT);
        let more = self.requests.reserve(missing).await?;
        admitted.0.absorb(more);
        Ok(())
    }

    /// Room for an answer of `bytes`. The caller is an admitted one, which bounds how many wait here.
    ///
    /// # Errors
    /// [`NoRoom`] after the wait.
    pub(crate) async fn reserve_answer(&self, _of: &Admitted, bytes: usize) -> Result<Reserved, NoRoom> {
        self.answers.reserve(bytes).await
    }
}

impl Half {
    async fn reserve(&self, bytes: usize) -> Result<Reserved, NoRoom> {
        // A checked configuration never asks for more than the whole; if it did, taking all of it still ends.
        let units = u32::try_from(bytes.div_ceil(UNIT)).unwrap_or(u32::MAX).min(self.units);
        let permit = match self.free.clone().try_acquire_many_owned(units) {
            Ok(permit) => permit,
            Err(_) => match timeout(self.wait, self.free.clone().acquire_many_owned(units)).await {
                Ok(Ok(permit)) => permit,
                _ => return Err(NoRoom),
            },
        };
        self.in_use.add(i64::from(units) * UNIT as i64);
        Ok(Reserved { permit, in_use: self.in_use.clone() })
    }
}

impl Admitted {
    /// Gives back what the body turned out not to need.
    pub(crate) fn shrink(&mut self, bytes: usize) {
        self.0.shrink(bytes);
    }
}

impl Reserved {
    /// Two reservations of one half become one.
    fn absorb(&mut self, mut more: Self) {
        if let Some(all) = more.permit.split(more.permit.num_permits()) {
            self.permit.merge(all);
        }
    }

    /// Gives back what was reserved and not used.
    pub(crate) fn shrink(&mut self, bytes: usize) {
        let surplus = self.permit.num_permits().saturating_sub(bytes.div_ceil(UNIT));
        if let Some(surplus) = self.permit.split(surplus) {
            self.in_use.sub((surplus.num_permits() * UNIT) as i64);
        }
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        self.in_use.sub((self.permit.num_permits() * UNIT) as i64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn budget(kib: usize) -> (Budget, IntGauge) {
        let in_use = IntGauge::new("in_use", "in use").expect("a gauge");
        (Budget::new(kib * 2 * UNIT, Duration::from_secs(5), &in_use), in_use)
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_waits_for_room_and_is_refused_when_none_comes() {
        let (budget, in_use) = budget(10);
        let first = budget.admit_unlimited(8 * UNIT).await.expect("room");
        assert_eq!(in_use.get(), 8 * UNIT as i64);
        assert_eq!(budget.admit_unlimited(3 * UNIT).await.err(), Some(NoRoom));
        let waiting = tokio::spawn({
            let budget = budget.clone();
            async move { budget.admit_unlimited(3 * UNIT).await.is_ok() }
        });
        tokio::task::yield_now().await;
        drop(first);
        assert!(waiting.await.expect("no panic"));
        assert_eq!(in_use.get(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn another_patience_is_for_the_same_memory() {
        let (budget, in_use) = budget(10);
        let held = budget.admit_unlimited(10 * UNIT).await.expect("room");
        let (patient, began) = (budget.waiting(Duration::from_secs(60)), crate::clock::now());
        assert_eq!(patient.admit_unlimited(UNIT).await.err(), Some(NoRoom));
        assert_eq!((crate::clock::now() - began).as_secs(), 60);
        drop(held);
        assert!(patient.admit_unlimited(10 * UNIT).await.is_ok());
        assert_eq!(in_use.get(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn what_has_grown_gives_everything_back() {
        let (budget, in_use) = budget(10);
        let mut body = budget.admit_unlimited(2 * UNIT).await.expect("room");
        budget.grow(&mut body, 8 * UNIT).await.expect("room for six more");
        budget.grow(&mut body, 3 * UNIT).await.expect("it has that");
        assert_eq!(in_use.get(), 8 * UNIT as i64);
        let other = budget.admit_unlimited(2 * UNIT).await.expect("the rest");
        assert_eq!(budget.grow(&mut body, 9 * UNIT).await, Err(NoRoom));
        assert_eq!(in_use.get(), 10 * UNIT as i64, "what it had stays");
        body.shrink(UNIT);
        assert_eq!(in_use.get(), 3 * UNIT as i64);
        drop((body, other));
        assert_eq!(in_use.get(), 0);
        assert!(budget.admit_unlimited(10 * UNIT).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn answers_have_room_while_bodies_take_all_of_theirs() {
        let (budget, in_use) = budget(4);
        let mut body = budget.admit_unlimited(100 * UNIT).await.expect("clamped to the whole half");
        let answer = budget.reserve_answer(&body, 4 * UNIT).await.expect("the other half");
        body.shrink(UNIT);
        assert_eq!(in_use.get(), 5 * UNIT as i64);
        drop((answer, body));
        assert_eq!(in_use.get(), 0);
    }
}
