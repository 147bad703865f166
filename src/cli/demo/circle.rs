//! The way of a callback, from the end of a call to the program that takes it, told in the order in which it happened.
//! It only listens; whoever does something says so.

use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::time::Duration;

use super::program::shorten;
use crate::clock::{self, Instant};
use crate::simulator::CallbackTry;

/// How long the circle may take before the demo says that something is wrong.
const PATIENCE: Duration = Duration::from_secs(30);

/// Something that happened.
pub(super) struct Event {
    pub(super) at: Instant,
    pub(super) who: &'static str,
    pub(super) verb: &'static str,
    pub(super) what: String,
    /// The callback has arrived where it should.
    pub(super) last: bool,
}

/// Where events are told.
pub(super) type Events = Sender<Event>;

/// Tells of a try of the platform: what it sent, and what it was answered.
pub(super) fn tell(events: &Events, tried: &CallbackTry) {
    let now = clock::now();
    let sent = format!(
        "{}\n             Is-Encrypted: 1  Signed: {}",
        shorten(&tried.sent),
        tried.signed.as_deref().unwrap_or("-"),
    );
    let answered = match &tried.answer {
        Ok(answer) => format!(
            "{} {} after {:.1} ms: opened, encrypted, synced to disk, and only then acknowledged",
            answer.status,
            shorten(&answer.body),
            tried.took.as_secs_f64() * 1000.0,
        ),
        Err(no_answer) => no_answer.word().to_owned(),
    };
    let event = |at, who, verb, what| Event { at, who, verb, what, last: false };
    // Nobody listens any more when the demo ends.
    let _ = events.send(event(now - tried.took, "platform", "sends", sent));
    let _ = events.send(event(now, "gateway", "answers", answered));
}

/// Waits until a callback has gone all the way since `begin`, and prints its way.
pub(super) fn show(events: &Receiver<Event>, begin: Instant) -> io::Result<()> {
    let mut seen: Vec<Event> = Vec::new();
    // The platform may hear of its answer after the receiver has taken the callback.
    while !(seen.iter().any(|event| event.last) && seen.iter().any(|event| event.who == "gateway")) {
        seen.push(events.recv_timeout(PATIENCE).map_err(|error| match error {
            RecvTimeoutError::Timeout => io::Error::new(io::ErrorKind::TimedOut, "no callback was delivered"),
            RecvTimeoutError::Disconnected => io::Error::other("the receiver has ended"),
        })?);
    }
    seen.sort_by_key(|event| event.at);
    for Event { at, who, verb, what, .. } in seen {
        println!("   +{:.3} s  {who} {verb}: {what}", (at - begin).as_secs_f64());
    }
    println!();
    Ok(())
}
