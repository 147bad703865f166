//! What is remembered of one call until its end: then one log line and one set of observations, always.
//!
//! It holds names, counts and times. It has no field that could hold a body, a query, a token or a phone
//! number, so none can be logged; what the ledger keeps as tags stands in fields of its own, which the line does not read.

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use prometheus::Histogram;

use super::account::Account;
use super::key;
use crate::clock::{self, Instant};
use crate::inbox::Inbox;
use crate::inbox::ledger::{self, Named, RequestBytes};
use crate::limit::Met;
use crate::log::{self, key};
use crate::metrics::CallCounts;
use crate::metrics::Caller;
use crate::metrics::KeyOutcome;
use crate::metrics::Metrics;
use crate::metrics::recent::{Failure, Half};
use crate::program::Program;
use crate::reply::{Fault, Refusal, Sent};
use crate::trace::{self, CallSpan, TraceParent};

/// Carries the request id in every answer, the platform's included; whatever the platform sent under this name is
/// replaced, so that it always names a log line here.
pub(crate) const REQUEST_ID: &[u8] = b"X-Request-Id";

/// The parts of a call whose time is told apart. One that did not have to wait took no time: a look at the clock costs more
/// than a look at a token that is there, and what that took counts as a part of the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Waiting for its turn, and for memory.
    LimitWait,
    /// Waiting for a token.
    Token,
    /// Sealing the query or the body.
    Seal,
    /// Getting a connection.
    Connect,
    /// From the first byte sent to the answer's head.
    Platform,
    /// Reading and opening the answer.
    Open,
    /// Writing the answer to the program.
    Deliver,
}

/// Their names, in the order of the enum.
const PHASES: [&str; 7] = ledger::PHASES;

/// The series that every call touches, found once.
pub(crate) struct CallSeries {
    pub(crate) metrics: Arc<Metrics>,
    counts: CallCounts,
    phases: [Histogram; PHASES.len()],
    /// Where POSTs are noted, if there is a ledger.
    ledger: Option<Inbox>,
}

impl CallSeries {
    /// Finds them.
    pub(crate) fn new(metrics: Arc<Metrics>, counts: CallCounts, inbox: Option<&Inbox>) -> Self {
        let ledger = inbox.filter(|inbox| inbox.keeps_ledger()).cloned();
        Self { phases: metrics.phases(PHASES), counts, metrics, ledger }
    }

    /// Whether POSTs are noted.
    pub(crate) fn keeps_ledger(&self) -> bool {
        self.ledger.is_some()
    }
}

/// How a call ended for its program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// With the platform's answer.
    Answered,
    /// With an answer of our own.
    Refused(Refusal),
    /// The program was gone before it could be answered.
    ClientGone,
    /// The answer was cut while it streamed.
    CutOff,
}

/// One call's record. Written by [`Record::finish`].
pub(crate) struct Record<'a> {
    pub(crate) request_id: RequestId,
    /// The trace that the program says it belongs to.
    pub(crate) trace: Option<TraceParent>,
    program: &'a str,
    account: &'a str,
    caller: Caller,
    pub(crate) operation: &'a str,
    pub(crate) method: &'static str,
    /// Status on the wire to the program, 0 when nothing was written.
    pub(crate) status: u16,
    /// The code in the platform's answer, where it was read.
    pub(crate) platform_code: Option<i64>,
    pub(crate) sealed: bool,
    pub(crate) replayed: bool,
    pub(crate) sent: Sent,
    pub(crate) bytes_in: u64,
    pub(crate) bytes_out: u64,
    /// Why an answer could not be opened or a connection not made: a fixed word.
    pub(crate) reason: &'static str,
    /// A POST of a known program, where there is a ledger. What nobody is known for is a stranger's and would fill it.
    pub(crate) is_noted: bool,
    /// The idempotency key that it shows, for the ledger, which keeps its tag.
    pub(crate) shown_key: Option<&'a [u8]>,
    /// What its answer named, for the ledger, which keeps tags.
    named: Named,
    /// What became of its idempotency key, if it has one.
    pub(crate) key: Option<KeyOutcome>,
    /// The limits it met, for its answer.
    pub(crate) met: Met<'a>,
    started: Instant,
    looked: Instant,
    phases: [Duration; PHASES.len()],
    /// What its key took: waiting for an earlier call with it, and for the disk.
    keeping: Duration,
}

impl<'a> Record<'a> {
    /// It is known which program calls.
    pub(crate) fn is_by(&mut self, program: &'a Program) {
        (self.program, self.caller.program) = (&program.name, Some(program.index));
    }

    /// It is known for which account.
    pub(crate) fn is_for(&mut self, account: &'a Account) {
        (self.account, self.caller.account) = (&account.name, Some(account.index));
    }

    /// Starts the clock.
    pub(crate) fn new() -> Self {
        let now = clock::now();
        Self {
            request_id: RequestId::next(),
            trace: None,
            program: "-",
            account: "-",
            caller: Caller::default(),
            operation: "-",
            method: "-",
            status: 0,
            platform_code: None,
            sealed: false,
            replayed: false,
            sent: Sent::No,
            bytes_in: 0,
            bytes_out: 0,
            reason: "-",
            is_noted: false,
            shown_key: None,
            named: Named::default(),
            key: None,
            met: Met::default(),
            started: now,
            looked: now,
            phases: [Duration::ZERO; PHASES.len()],
            keeping: Duration::ZERO,
        }
    }

    /// Counts the time since the last look at the clock as a phase's.
    pub(crate) fn lap(&mut self, phase: Phase) {
        let now = clock::now();
        self.phases[phase as usize] += now.saturating_duration_since(self.looked);
        self.looked = now;
    }

    /// Counts the time since the last look at the clock as its key's.
    pub(crate) fn lap_key(&mut self) {
        let now = clock::now();
        self.keeping += now.saturating_duration_since(self.looked);
        self.looked = now;
    }

    /// The last look at the clock, for those who need not know the time more exactly.
    pub(crate) fn looked(&self) -> Instant {
        self.looked
    }

    /// The time since the last look at the clock is no phase's: the program's own, say.
    pub(crate) fn skip(&mut self) {
        self.looked = clock::now();
    }

    /// What the answer named, if the call is noted.
    pub(crate) fn name(&mut self, find: impl FnOnce() -> Named) {
        if self.is_noted {
            self.named = find();
        }
    }

    /// Notes it in the ledger.
    fn note(&self, outcome: &'static str, took: Duration, ledger: Option<&Inbox>) {
        let Some(ledger) = ledger.filter(|_| self.is_noted) else { return };
        let key = self.shown_key.and_then(|value| key::parse(value).ok());
        ledger.note(&ledger::Call {
            request: self.request_id.number(),
            at_ms: clock::wall_millis().saturating_sub(took.as_millis() as u64),
            program: self.program,
            account: self.account,
            operation: self.operation,
            key: key.as_deref(),
            named: &self.named,
            sent: self.sent.as_str(),
            status: self.status,
            outcome,
            code: self.platform_code,
            replayed: self.replayed,
            phases: self.phases,
            keeping: self.keeping,
            took,
            parent: self.trace,
        });
    }

    /// Whether its answer is the end of an earlier call with its key.
    fn is_told_again(&self) -> bool {
        self.key.is_some_and(KeyOutcome::is_told_again)
    }

    /// Writes the log line and the observations. Consumes the record: a call ends once.
    pub(crate) fn finish(mut self, end: End, series: &CallSeries) {
        let metrics = &series.metrics;
        if !matches!(end, End::Answered) {
            self.skip();
        }
        let took = self.looked.saturating_duration_since(self.started);
        let (outcome, fault) = match end {
            // Of whoever failed the earlier call: it is not one failure more with each repeat.
            End::Answered if self.is_told_again() => ("answered", Fault::None),
            End::Refused(refusal) if self.is_told_again() => (refusal.word(), Fault::None),
            End::Answered => ("answered", blamed(self.status, self.platform_code)),
            End::Refused(refusal) => (refusal.word(), refusal.fault()),
            End::ClientGone => ("client_gone", Fault::Program),
            End::CutOff => ("cut_off", Fault::Platform),
        };
        series.counts.ended(self.caller, [self.program, self.account], self.operation, fault.as_str());
        // What changes nothing leaves nothing to find out, and what did not leave was counted when it did.
        let repeats = matches!(self.key, Some(KeyOutcome::StillUnknown | KeyOutcome::InUse));
        if self.sent == Sent::Unknown && !repeats && !matches!(self.method, "GET" | "HEAD") {
            series.counts.unknown(self.account);
        }
        if let Some(key) = self.key {
            metrics.keyed.ended(key);
        }
        metrics.call_seconds.observe(took.as_secs_f64());
        if let End::Refused(refusal) = end {
            metrics.refusals.with_label_values(&[refusal.word()]).inc();
        }
        self.note(outcome, took, series.ledger.as_ref());
        if fault != Fault::None {
            metrics.recent.note(
                Failure {
                    half: Half::Call,
                    word: outcome,
                    name: self.program,
                    operation: self.operation,
                    fault: fault.as_str(),
                    status: self.status,
                    code: self.platform_code,
                },
                clock::wall_millis(),
            );
        }
        for (histogram, spent) in series.phases.iter().zip(self.phases) {
            if !spent.is_zero() {
                histogram.observe(spent.as_secs_f64());
            }
        }
        let micros = |phase: Phase| self.phases[phase as usize].as_micros() as u64;
        log::call(|line| {
            line.word(key!("request_id"), self.request_id.as_str());
            if let Some(trace) = &self.trace {
                line.word(key!("trace_id"), trace.trace_id());
            }
            line.word(key!("program"), self.program);
            line.word(key!("account"), self.account);
            line.word(key!("operation"), self.operation);
            line.word(key!("method"), self.method);
            line.number(key!("status"), self.status);
            line.word(key!("outcome"), outcome);
            line.word(key!("fault"), fault.as_str());
            line.word(key!("sent"), self.sent.as_str());
            if let Some(code) = self.platform_code {
                line.number(key!("platform_code"), code);
            }
            line.flag(key!("sealed"), self.sealed);
            line.flag(key!("replayed"), self.replayed);
            line.word(key!("reason"), self.reason);
            if let Some(key) = self.key {
                line.word(key!("key"), key.as_str());
            }
            line.number(key!("bytes_in"), self.bytes_in);
            line.number(key!("bytes_out"), self.bytes_out);
            line.number(key!("limit_wait_us"), micros(Phase::LimitWait));
            line.number(key!("token_us"), micros(Phase::Token));
            line.number(key!("seal_us"), micros(Phase::Seal));
            line.number(key!("connect_us"), micros(Phase::Connect));
            line.number(key!("platform_us"), micros(Phase::Platform));
            line.number(key!("open_us"), micros(Phase::Open));
            line.number(key!("deliver_us"), micros(Phase::Deliver));
            line.number(key!("total_us"), took.as_micros() as u64);
        });
        if let Some(parent) = &self.trace {
            let phases = PHASES.into_iter().zip(self.phases).filter(|(_, took)| !took.is_zero());
            trace::call(parent, || CallSpan {
                request_id: self.request_id.as_str(),
                program: self.program,
                account: self.account,
                operation: self.operation,
                status: self.status,
                outcome,
                fault: fault.as_str(),
                took,
                phases: phases.collect(),
            });
        }
    }
}

/// Whom the platform's answer blames: by its status, and where that says nothing by the code in its body, which looks
/// like a status where it is not 0.
fn blamed(status: u16, code: Option<i64>) -> Fault {
    match (status, code) {
        (500.., _) => Fault::Platform,
        (400..500, _) => Fault::Program,
        (_, None | Some(0 | 200)) => Fault::None,
        (_, Some(400..500)) => Fault::Program,
        _ => Fault::Platform,
    }
}

/// Names one call in its answer, its log line and its errors: 32 hexadecimal digits, unique over restarts.
#[derive(Clone, Copy)]
pub(crate) struct RequestId([u8; 32]);

impl RequestId {
    fn next() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        static PROCESS: std::sync::OnceLock<[u8; 16]> = std::sync::OnceLock::new();
        let process = PROCESS.get_or_init(|| hexadecimal(getrandom::u64().unwrap_or_else(|_| clock::wall_millis())));
        let mut digits = [0; 32];
        digits[..16].copy_from_slice(process);
        digits[16..].copy_from_slice(&hexadecimal(NEXT.fetch_add(1, Ordering::Relaxed)));
        Self(digits)
    }

    /// The digits.
    pub(crate) fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    /// What the digits stand for.
    pub(crate) fn number(&self) -> RequestBytes {
        let value = |digit: u8| (digit & 0xf) + 9 * (digit >> 6);
        let mut number = RequestBytes::default();
        for (byte, [high, low]) in number.iter_mut().zip(self.0.as_chunks().0) {
            *byte = value(*high) << 4 | value(*low);
        }
        number
    }

    /// The digits as bytes.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

fn hexadecimal(number: u64) -> [u8; 16] {
    std::array::from_fn(|at| b"0123456789abcdef"[(number >> (60 - 4 * at) & 0xf) as usize])
}

impl std::fmt::Debug for RequestId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for byte in self.0 {
            f.write_char(char::from(byte))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn request_ids_differ_and_are_hexadecimal() {
        let (first, second) = (RequestId::next(), RequestId::next());
        assert_ne!(first.as_str(), second.as_str());
        assert_eq!(first.as_str()[..16], second.as_str()[..16]);
        assert!(first.as_str().bytes().all(|b| b.is_ascii_hexdigit()));
    }

    #[test]
    fn a_request_id_is_kept_as_the_number_of_its_digits() {
        let id = RequestId(*b"0123456789abcdef00000000000000fe");
        let number = [0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef, 0, 0, 0, 0, 0, 0, 0, 0xfe];
        assert_eq!(id.number(), number);
    }

    #[test]
    fn phases_stand_in_the_order_of_their_numbers() {
        assert_eq!(PHASES[Phase::LimitWait as usize], "limit_wait");
        assert_eq!(PHASES[Phase::Seal as usize], "seal");
        assert_eq!(PHASES[Phase::Deliver as usize], "deliver");
    }
}
