//! What systemd is told, where it started the gateway (`Type=notify`): ready, reloading, stopping, and who goes on.
//!
//! Without `NOTIFY_SOCKET` nothing happens. Nothing waits for systemd and nothing depends on it, but an upgrade: whoever is
//! not told who goes on would take the end of the old process for the gateway's.

use std::io;
use std::time::Duration;

use sd_notify::NotifyState;
use tokio::sync::oneshot;
use tokio::time::timeout;

/// How long systemd may take to make room for a word. It reads them all day long, so one that takes longer is not there.
const HEARS: Duration = Duration::from_secs(5);

/// It serves, again after a reload too.
pub(super) fn ready() {
    tell(&[NotifyState::Ready]);
}

/// Another configuration is being read; [`ready`] follows.
pub(super) fn reloading() {
    // Newer versions of systemd want the time of it.
    if let Ok(time) = NotifyState::monotonic_usec_now() {
        tell(&[NotifyState::Reloading, time]);
    }
}

/// It ends.
pub(super) fn stopping() {
    tell(&[NotifyState::Stopping]);
}

/// Whether it could be told who goes on. What it is told here changes nothing.
///
/// # Errors
/// What to do.
pub(super) async fn is_reached() -> Result<(), String> {
    have_heard(NotifyState::Status("")).await
}

/// From now on the process of this number is the gateway, so its end is the service's.
///
/// # Errors
/// What to do. For systemd, the former one is the gateway still.
pub(super) async fn succeeded_by(pid: u32) -> Result<(), String> {
    have_heard(NotifyState::MainPid(pid)).await
}

async fn have_heard(state: NotifyState<'static>) -> Result<(), String> {
    let (said, answer) = oneshot::channel();
    // A thread of its own, which the end of the process does not wait for: there is no bound for a write to a socket.
    std::thread::Builder::new()
        .name("notify".to_owned())
        .spawn(move || said.send(sd_notify::notify(&[state])))
        .map_err(|error| unheard(&error))?;
    match timeout(HEARS, answer).await {
        Ok(Ok(told)) => told.map_err(|error| unheard(&error)),
        _ => Err(unheard(&io::ErrorKind::TimedOut.into())),
    }
}

fn unheard(error: &io::Error) -> String {
    format!(
        "NOTIFY_SOCKET is set and nobody hears there who goes on ({error}): let systemd start the gateway with \
         Type=notify, or unset it and start it with `run --upgradable` from what goes on without it; else restart it"
    )
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(kind = ?error.kind(), "systemd could not be told; look at NOTIFY_SOCKET");
    }
}
