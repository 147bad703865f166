//! What systemd is told, where it started the gateway (`Type=notify`): ready, reloading, stopping, and who goes on.
//!
//! Without `NOTIFY_SOCKET` nothing happens. Nothing waits for systemd, and nothing depends on it.

use sd_notify::NotifyState;

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

/// From now on the process of this number is the gateway, so its end is the service's.
pub(super) fn succeeded_by(pid: u32) {
    tell(&[NotifyState::MainPid(pid)]);
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(kind = ?error.kind(), "systemd could not be told; look at NOTIFY_SOCKET");
    }
}
