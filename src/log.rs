//! Log lines on standard output: one JSON object, or one line for people, per event.
//!
//! A subscriber of its own, because a line per call has to cost next to nothing: it is formatted into one
//! buffer and written by a thread in batches. It takes the gateway's own events only; libraries may log
//! what strangers sent, so theirs are not taken. When the output is stuck, lines are dropped and counted,
//! never waited for.

use std::fmt::{self, Write as _};
use std::io::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::Duration;

use prometheus::IntCounter;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

use crate::clock;
use crate::config::LogFormat;

/// Bytes that may wait for the output; lines beyond are dropped.
const WAITING_LIMIT: usize = 4 * 1024 * 1024;

/// How long lines may gather before they are written together.
const GATHER: Duration = Duration::from_millis(20);

/// Starts logging for the whole process. Keep the guard: dropping it writes what is left.
///
/// # Errors
/// When a subscriber is set already.
pub fn start(format: LogFormat, dropped: IntCounter) -> Result<Flush, tracing::subscriber::SetGlobalDefaultError> {
    let queue =
        Arc::new(Queue { state: Mutex::new(State::default()), filled: Condvar::new(), written: Condvar::new() });
    let lines = Lines::new(format, queue.clone(), dropped);
    tracing::subscriber::set_global_default(lines.clone())?;
    let _ = LINES.set(lines);
    let writer = queue.clone();
    // Detached: it ends with the process, after the guard has seen it write everything.
    let _ = thread::Builder::new().name("log".to_owned()).spawn(move || writer.write_forever());
    std::panic::set_hook(Box::new(|panic| {
        // The payload may hold anything; the place is enough to find the bug.
        let (file, line) = panic.location().map_or(("?", 0), |place| (place.file(), place.line()));
        tracing::error!(file, line, "a bug: the gateway panicked; report it with this place");
    }));
    Ok(Flush(queue))
}

/// Writes what is left when dropped.
#[must_use = "dropping it at once would not wait for later lines"]
pub struct Flush(Arc<Queue>);

impl Drop for Flush {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.hurry = true;
        self.0.filled.notify_one();
        while !state.waiting.is_empty() || state.writing {
            let (next, timed_out) =
                self.0.written.wait_timeout(state, Duration::from_secs(2)).unwrap_or_else(PoisonError::into_inner);
            state = next;
            if timed_out.timed_out() {
                return;
            }
        }
    }
}

struct Queue {
    state: Mutex<State>,
    filled: Condvar,
    written: Condvar,
}

#[derive(Default)]
struct State {
    waiting: Vec<u8>,
    stamp: Stamp,
    writing: bool,
    hurry: bool,
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_forever(&self) {
        let mut batch = Vec::new();
        loop {
            let mut state = self.lock();
            state.writing = false;
            self.written.notify_all();
            while state.waiting.is_empty() {
                state = self.filled.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
            let hurry = state.hurry;
            drop(state);
            if !hurry {
                thread::sleep(GATHER);
            }
            batch.clear();
            {
                let mut state = self.lock();
                std::mem::swap(&mut batch, &mut state.waiting);
                state.writing = true;
            }
            let mut out = std::io::stdout().lock();
            // Nobody is left to tell when standard output is gone.
            let _ = out.write_all(&batch).and_then(|()| out.flush());
        }
    }
}

/// The time as text, written anew once a millisecond.
#[derive(Default)]
struct Stamp {
    millis: u64,
    text: String,
}

impl Stamp {
    fn now(&mut self) -> &str {
        let millis = clock::wall_millis();
        if millis != self.millis {
            self.millis = millis;
            self.text.clear();
            let _ = clock::write_rfc3339(millis, &mut self.text);
        }
        &self.text
    }
}

/// Where [`call`] writes; empty until [`start`].
static LINES: OnceLock<Lines> = OnceLock::new();

/// Lines have another shape from now on.
pub(crate) fn reshape(format: LogFormat) {
    if let Some(lines) = LINES.get() {
        lines.is_json.store(format == LogFormat::Json, Ordering::Relaxed);
    }
}

/// Writes the line of one call. It says what an event of the target `call` would, at a tenth of the price of one with
/// as many fields, which is a twentieth of a small call.
pub(crate) fn call(fill: impl FnOnce(&mut CallLine<'_>)) {
    line("\",\"level\":\"INFO\",\"target\":\"call\"", " INFO  call", fill);
}

/// Writes the line of one callback, of the target `callback`.
pub(crate) fn callback(fill: impl FnOnce(&mut CallLine<'_>)) {
    line("\",\"level\":\"INFO\",\"target\":\"callback\"", " INFO  callback", fill);
}

/// Writes a line whose beginning, behind the time, is `json` or `human`.
fn line(json: &str, human: &str, fill: impl FnOnce(&mut CallLine<'_>)) {
    if let Some(lines) = LINES.get() {
        lines.write(|out, time| {
            out.reserve(CALL_LINE);
            let is_json = lines.is_json.load(Ordering::Relaxed);
            let (before, after, end) = if is_json { ("{\"time\":\"", json, "}\n") } else { ("", human, "\n") };
            for part in [before, time, after] {
                out.extend_from_slice(part.as_bytes());
            }
            let mut line = CallLine { out, json: is_json };
            fill(&mut line);
            line.out.extend_from_slice(end.as_bytes());
        });
    }
}

/// About how long the line of a call is, in bytes.
const CALL_LINE: usize = 768;

/// A field's name as it stands in either format; made by [`key!`].
#[derive(Clone, Copy)]
pub(crate) struct Key {
    pub(crate) json: &'static str,
    pub(crate) human: &'static str,
}

/// The [`Key`] of a name.
macro_rules! key {
    ($name:literal) => {
        crate::log::Key { json: concat!(",\"", $name, "\":"), human: concat!(" ", $name, "=") }
    };
}
pub(crate) use key;

/// The fields of one call's line.
pub(crate) struct CallLine<'a> {
    out: &'a mut Vec<u8>,
    json: bool,
}

impl CallLine<'_> {
    fn key(&mut self, key: Key) {
        self.out.extend_from_slice(if self.json { key.json } else { key.human }.as_bytes());
    }

    /// A word that needs no escape: a stable word, a configured name, hexadecimal digits.
    pub(crate) fn word(&mut self, key: Key, word: &str) {
        self.key(key);
        if self.json {
            self.out.push(b'"');
        }
        self.out.extend_from_slice(word.as_bytes());
        if self.json {
            self.out.push(b'"');
        }
    }

    /// A number.
    pub(crate) fn number(&mut self, key: Key, number: impl itoa::Integer) {
        self.key(key);
        self.out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
    }

    /// Yes or no.
    pub(crate) fn flag(&mut self, key: Key, flag: bool) {
        self.key(key);
        self.out.extend_from_slice(if flag { b"true" } else { b"false" });
    }
}

#[derive(Clone)]
struct Lines {
    is_json: Arc<AtomicBool>,
    queue: Arc<Queue>,
    dropped: IntCounter,
}

impl Lines {
    fn new(format: LogFormat, queue: Arc<Queue>, dropped: IntCounter) -> Self {
        Self { is_json: Arc::new((format == LogFormat::Json).into()), queue, dropped }
    }

    /// Lets `fill` append one line, and sees to it that it is written.
    fn write(&self, fill: impl FnOnce(&mut Vec<u8>, &str)) {
        let mut state = self.queue.lock();
        if state.waiting.len() > WAITING_LIMIT {
            self.dropped.inc();
            return;
        }
        let was_empty = state.waiting.is_empty();
        let State { waiting, stamp, .. } = &mut *state;
        fill(waiting, stamp.now());
        drop(state);
        if was_empty {
            self.queue.filled.notify_one();
        }
    }
}

impl Subscriber for Lines {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= Level::INFO && (metadata.target().starts_with("airudder_gateway"))
    }

    fn event(&self, event: &Event<'_>) {
        self.write(|out, time| {
            let mut line = Line { out: Text(out), json: self.is_json.load(Ordering::Relaxed) };
            line.write(event, time);
        });
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }
    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

struct Line<'a> {
    out: Text<'a>,
    json: bool,
}

impl Line<'_> {
    // Writing into memory cannot fail, so the results below say nothing.
    fn write(&mut self, event: &Event<'_>, time: &str) {
        let metadata = event.metadata();
        let target = metadata.target().split("::").nth(1).unwrap_or(metadata.target());
        if self.json {
            for part in
                ["{\"time\":\"", time, "\",\"level\":\"", metadata.level().as_str(), "\",\"target\":\"", target, "\""]
            {
                self.out.0.extend_from_slice(part.as_bytes());
            }
        } else {
            let _ = write!(self.out, "{time} {:5} {target}", metadata.level());
        }
        event.record(self);
        self.out.0.extend_from_slice(if self.json { b"}\n" } else { b"\n" });
    }

    fn name(&mut self, field: &Field) {
        let name = field.name();
        let out = &mut self.out.0;
        if self.json {
            out.extend_from_slice(b",\"");
            out.extend_from_slice(name.as_bytes());
            out.extend_from_slice(b"\":");
        } else {
            out.push(b' ');
            if name != "message" {
                out.extend_from_slice(name.as_bytes());
                out.push(b'=');
            }
        }
    }

    fn text(&mut self, field: &Field, text: impl fmt::Display) {
        self.name(field);
        if self.json {
            self.out.0.push(b'"');
            let _ = write!(Escaped(&mut self.out), "{text}");
            self.out.0.push(b'"');
        } else {
            let _ = write!(Escaped(&mut self.out), "{text}");
        }
    }
}

impl Visit for Line<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.text(field, format_args!("{value:?}"));
    }
    fn record_str(&mut self, field: &Field, value: &str) {
        self.name(field);
        let quote: &[u8] = if self.json { b"\"" } else { b"" };
        self.out.0.extend_from_slice(quote);
        let _ = Escaped(&mut self.out).write_str(value);
        self.out.0.extend_from_slice(quote);
    }
    fn record_u64(&mut self, field: &Field, value: u64) {
        self.name(field);
        self.out.0.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
    }
    fn record_i64(&mut self, field: &Field, value: i64) {
        self.name(field);
        self.out.0.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
    }
    fn record_bool(&mut self, field: &Field, value: bool) {
        self.name(field);
        self.out.0.extend_from_slice(if value { b"true" } else { b"false" });
    }
}

/// Bytes as a target of `write!`.
struct Text<'a>(&'a mut Vec<u8>);

impl fmt::Write for Text<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.extend_from_slice(text.as_bytes());
        Ok(())
    }
}

/// Escapes what JSON asks to be escaped (RFC 8259 section 7); the same keeps a line for people on one line.
struct Escaped<'a, 'b>(&'a mut Text<'b>);

impl fmt::Write for Escaped<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut plain = 0;
        for (at, byte) in text.bytes().enumerate() {
            if byte >= 0x20 && byte != b'"' && byte != b'\\' {
                continue;
            }
            self.0.0.extend_from_slice(&text.as_bytes()[plain..at]);
            plain = at + 1;
            write!(self.0, "\\u{byte:04x}")?;
        }
        self.0.0.extend_from_slice(&text.as_bytes()[plain..]);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_escaped_as_json_asks() {
        let mut bytes = Vec::new();
        write!(Escaped(&mut Text(&mut bytes)), "a\"b\\c\nd陈").expect("memory");
        let line = format!("\"{}\"", String::from_utf8(bytes).expect("text"));
        assert_eq!(serde_json::from_str::<String>(&line).expect("JSON"), "a\"b\\c\nd陈");
    }

    #[test]
    fn a_line_is_one_json_object_with_typed_fields() {
        let queue = Arc::new(Queue { state: Mutex::default(), filled: Condvar::new(), written: Condvar::new() });
        let dropped = IntCounter::new("dropped", "dropped").expect("a counter");
        let lines = Lines::new(LogFormat::Json, queue.clone(), dropped);
        tracing::subscriber::with_default(lines, || {
            tracing::info!(target: "airudder_gateway::call", status = 200_u64, code = -1_i64, sealed = true, absent = None::<i64>, who = "a\"b", "done");
            tracing::info!(target: "pingora_core", "not ours");
        });
        let bytes = queue.lock().waiting.clone();
        let line: serde_json::Value = serde_json::from_slice(&bytes).expect("one JSON object");
        assert_eq!(line["target"], "call");
        assert_eq!(line["status"], 200);
        assert_eq!(line["code"], -1);
        assert_eq!(line["sealed"], true);
        assert_eq!(line["who"], "a\"b");
        assert_eq!(line["message"], "done");
        assert!(line.get("absent").is_none());
    }
}
