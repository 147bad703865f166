//! A gateway whose binary is upgraded while it runs: which process serves, and when the one before it has ended.
//! Processes are known by what the gateway printed; those that took over are nobody's children here.

use std::path::PathBuf;

use serde_json::Value;

use super::Gateway;
use super::gateway::signal;

/// The process that a field of a log line with this message names.
fn process(line: &str, message: &str, field: &str) -> Option<u32> {
    let line: Value = serde_json::from_str(line).ok().filter(|line: &Value| line["message"] == message)?;
    u32::try_from(line[field].as_u64()?).ok()
}

fn that_took_over(line: &str) -> Option<u32> {
    process(line, "this process has taken over", "pid")
}

fn that_was_started(line: &str) -> Option<u32> {
    process(line, "an upgrade begins: the next process was started", "to")
}

/// Whether it runs; one that has ended and that nobody asked about yet does not.
pub(crate) fn runs(pid: u32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    status.rsplit(')').next().is_some_and(|rest| !rest.is_empty() && !rest.trim_start().starts_with(['Z', 'X']))
}

impl Gateway {
    /// The process that serves: the last one that took over and still runs, or the one that was started.
    pub(crate) fn serving(&self) -> u32 {
        let successors = self.output.all(that_took_over);
        successors.into_iter().rev().find(|pid| runs(*pid)).unwrap_or_else(|| self.pid())
    }

    /// Asks the serving process for an upgrade.
    pub(crate) fn ask_for_upgrade(&self) {
        signal("-USR2", self.serving());
    }

    /// Upgrades, and waits until the process before has ended. The one that serves now.
    pub(crate) fn upgrade(&self) -> u32 {
        let (before, former) = (self.output.all(that_took_over).len(), self.serving());
        signal("-USR2", former);
        let serving = self.output.after(before, that_took_over);
        self.until(|_| !runs(former));
        serving
    }

    /// The process that was started last in order to take over.
    pub(crate) fn next_process(&self, before: usize) -> u32 {
        self.output.after(before, that_was_started)
    }

    /// Stops the process that serves, and waits until it has ended.
    pub(crate) fn stop_serving(&self) {
        let serving = self.serving();
        signal("-TERM", serving);
        self.until(|_| !runs(serving));
    }

    /// Ends whatever was started in order to take over and still runs.
    pub(super) fn kill_successors(&self) {
        let config: PathBuf = self.config();
        for pid in self.output.all(that_was_started) {
            let command = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            // Another process may have the number by now.
            if runs(pid) && String::from_utf8_lossy(&command).contains(&*config.to_string_lossy()) {
                let _ = std::process::Command::new("kill").arg("-KILL").arg(pid.to_string()).status();
            }
        }
    }
}
