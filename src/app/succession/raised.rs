//! The next process as the one before sees it: its number, its end of the pair, and how it ends.
//!
//! One that has not taken over ends with its handle. Nothing is handed over here.

use std::process::{Child, ExitStatus};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::time::{sleep, timeout};

use super::Message;
use super::pair::Pair;
use crate::app::signals::Stops;
use crate::clock;
use crate::inbox::Inbox;

/// How often it is looked whether it has ended.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// How long one that says nothing any more may take to end.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// A new process that could serve. Dropping it ends it, unless it has taken over.
pub(in crate::app) struct Raised {
    pub(super) child: Child,
    pub(super) pair: Pair,
    /// This process's, as long as it has it.
    pub(super) inbox: Option<Inbox>,
    pub(super) serves: bool,
    /// When somebody asked for it.
    pub(super) asked: clock::Instant,
}

impl Raised {
    /// Its number.
    pub(in crate::app) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What is said to it goes here, and how it ended is asked there.
    pub(super) fn parts(&mut self) -> (&Pair, &mut Child) {
        (&self.pair, &mut self.child)
    }

    /// Tells it to stop, as this process was told.
    pub(super) fn stop(&mut self) {
        // Whoever has ended has no number any more.
        if !matches!(self.child.try_wait(), Ok(None)) {
            return;
        }
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        if let Some(Err(error)) = pid.map(|pid| kill_process(pid, Signal::TERM)) {
            tracing::warn!(%error, "the next process could not be told to stop");
        }
    }

    /// Waits for the end of one that was told to stop, at most so long. This process has drained, so the inbox is the other's.
    pub(in crate::app) async fn finish(mut self, longest: Duration, stops: &mut Stops) {
        if let Some(inbox) = self.inbox.take() {
            let _ = tokio::task::spawn_blocking(move || inbox.close()).await;
        }
        // When nobody hears it, it has ended.
        let _ = self.pair.say(&Message::Inbox).await;
        // It waits for the end of this process, which waits for its.
        self.pair.close();
        let ended = async {
            while matches!(self.child.try_wait(), Ok(None)) {
                sleep(LOOK_EVERY).await;
            }
        };
        tokio::select! {
            _ = timeout(longest, ended) => {}
            () = stops.come() => {}
        }
        self.end();
    }

    /// Ends it, if it has not ended already.
    pub(super) fn end(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        self.serves = false;
    }

    /// How it ended, if it did.
    pub(super) async fn epitaph(&mut self) -> String {
        match last_status(&mut self.child).await {
            Some(status) => {
                format!("the new process ended ({status}); mend what its last words name and send SIGUSR2 again")
            }
            None => "the new process said nothing more; send SIGUSR2 again, or restart it".to_owned(),
        }
    }
}

/// The status of one that says nothing any more, if it ends soon.
pub(super) async fn last_status(child: &mut Child) -> Option<ExitStatus> {
    let end = clock::now() + LAST_WORDS;
    loop {
        match child.try_wait() {
            Ok(None) if clock::now() < end => sleep(LOOK_EVERY).await,
            ended => return ended.ok().flatten(),
        }
    }
}

impl Drop for Raised {
    fn drop(&mut self) {
        if !self.serves {
            self.end();
        }
    }
}
