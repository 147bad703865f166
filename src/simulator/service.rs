//! One request, from its header to its answer, read from top to bottom. Which fault strikes is decided in `faults`,
//! what an operation says in `operations` and `probes`; here it is received, opened, let in, sealed and sent.

use std::convert::Infallible;
use std::future;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{CONNECTION, LOCATION, RETRY_AFTER};
use http::request::Parts;
use http::{HeaderName, HeaderValue, Request, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use tokio::sync::watch;

use super::answer::{Answer, Payload, Shape};
use super::auth::{self, Family, Refused};
use super::body::Outgoing;
use super::control::Control;
use super::faults::{FaultKind, Page, Rest};
use super::input::Input;
use super::options::{SealAnswers, Seen};
use super::platform::Platform;
use super::record::{EntryId, Received};
use super::response::{IS_ENCRYPTED, SIGNED, sent, written};
use super::wire::{Busy, End, Line, Order};
use super::{operations, probes, recording};
use crate::envelope::Signed;

/// Answers one request, or ends its connection and never returns.
pub(super) async fn answer(platform: Arc<Platform>, line: Arc<Line>, request: Request<Incoming>) -> Response<Outgoing> {
    let busy = line.busy();
    let (head, body) = request.into_parts();
    if let Some(control) = Control::find(head.uri.path()) {
        let answer = control.answer(&platform, &head.method, body).await;
        return sent(answer, Vec::new(), busy);
    }
    Call::begin(platform, line, head, busy).run(body).await
}

/// One request that is not for the simulator itself.
struct Call {
    platform: Arc<Platform>,
    line: Arc<Line>,
    head: Parts,
    entry: EntryId,
    fault: Option<FaultKind>,
    /// Changes when those that are held may go on.
    released: watch::Receiver<u64>,
    busy: Busy,
}

/// How an answer is sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sealing {
    Plain,
    Right,
    OtherKey,
    WrongDigest,
    NoDigest,
    BadBase64,
    Shortened(usize),
}

impl Call {
    /// Records the header, and takes the fault that strikes.
    fn begin(platform: Arc<Platform>, line: Arc<Line>, head: Parts, busy: Busy) -> Self {
        let path = head.uri.path();
        // Before it is counted: whoever saw it counted may let it go.
        let released = platform.released.subscribe();
        let entry = platform.records.begin(path, |at| received(&line, &head, at));
        let fault = platform.faults.take(path);
        platform.changed();
        Self { platform, line, head, entry, fault, released, busy }
    }

    async fn run(mut self, body: Incoming) -> Response<Outgoing> {
        match self.fault {
            Some(FaultKind::CutBeforeBody { reset }) => self.end(Bytes::new(), End::cut(reset)).await,
            Some(FaultKind::Early { rest }) => {
                match rest {
                    Rest::Close => drop(body),
                    Rest::KeepReading => {
                        tokio::spawn(collect(self.platform.clone(), self.entry, body));
                    }
                }
                let answer = Answer::failed(StatusCode::PAYLOAD_TOO_LARGE, "the body is too large");
                return self.send(answer, Sealing::Plain).await;
            }
            _ => {}
        }
        let Some(body) = collect(self.platform.clone(), self.entry, body).await else {
            // The program broke off: there is nobody to answer.
            self.end(Bytes::new(), End::Cut).await
        };
        self.pause().await;
        match &self.fault {
            Some(FaultKind::CutBeforeAnswer { reset }) => self.end(Bytes::new(), End::cut(*reset)).await,
            Some(FaultKind::Raw { text }) => self.end(text.clone().into(), End::Proper).await,
            _ => {}
        }
        let (answer, sealing) = match &body {
            Collected::Whole(body) => self.operate(body),
            Collected::TooLarge => {
                (Answer::failed(StatusCode::PAYLOAD_TOO_LARGE, "the body is too large"), Sealing::Plain)
            }
        };
        self.send(answer, sealing).await
    }

    /// Latency, and the fault that is made of time.
    async fn pause(&mut self) {
        let options = &self.platform.options;
        let latency = options.latency + self.platform.noise.up_to(options.jitter);
        if !latency.is_zero() {
            tokio::time::sleep(latency).await;
        }
        match self.fault {
            Some(FaultKind::Hang { ms: Some(ms) }) => tokio::time::sleep(Duration::from_millis(ms)).await,
            Some(FaultKind::Hang { ms: None }) => future::pending().await,
            Some(FaultKind::Hold) => {
                // An error means that the simulator stops, and this task with it.
                let _ = self.released.changed().await;
            }
            _ => {}
        }
    }

    /// Opens, lets in, asks the operation, and says how the answer is to be sealed.
    fn operate(&self, body: &Bytes) -> (Answer, Sealing) {
        let options = &self.platform.options;
        let path = self.head.uri.path();
        let sealed = is_sealed(&self.head);
        let opened = sealed.then(|| self.open(body));
        if let Some(Ok(opened)) = &opened {
            self.platform.records.update(self.entry, |entry| entry.opened = Some(opened.clone()));
        }
        let login = Family::of_login(path);
        let as_asked = match options.seal_answers {
            _ if login.is_some() && !sealed => false,
            SealAnswers::AsAsked => sealed,
            SealAnswers::Always => true,
            SealAnswers::Never => false,
        };
        let as_asked = if as_asked && self.platform.ciphers.is_some() { Sealing::Right } else { Sealing::Plain };
        if let Some(instead) = self.fault_instead(as_asked) {
            return instead;
        }
        if recording::is_recording(path) {
            return (recording::answer(&self.head.method, path, &self.head.headers, options.recording_size), as_asked);
        }
        if login.is_none() {
            let checked = match self.fault {
                Some(FaultKind::Refuse) => Err(Refused::Invalid),
                _ => auth::check(path, &self.head.headers, &self.platform.tokens),
            };
            if let Err(refused) = checked {
                let (answer, sealed) = auth::refusal(path, refused, options.refusal);
                return (answer, if sealed { Sealing::Right } else { Sealing::Plain });
            }
            if options.require_sealed && !sealed {
                return (Answer::failed(StatusCode::BAD_REQUEST, "the call has to be sealed"), Sealing::Plain);
            }
        }
        let opened = match opened {
            Some(Err(reason)) => {
                let status = format!("the sealed text does not open: {reason}");
                return (Answer::failed(StatusCode::BAD_REQUEST, &status), Sealing::Plain);
            }
            Some(Ok(opened)) => Some(opened),
            None => None,
        };
        let raw_query = self.head.uri.query().map(str::as_bytes);
        // A probe takes any bytes, and a hundred megabytes of them are no form.
        let input = || match &opened {
            None => Input::new(raw_query, body),
            Some(query) if body.is_empty() => Input::new(Some(query), &[]),
            Some(body) => Input::new(raw_query, body),
        };
        let answer = match login {
            Some(family) => auth::login(family, &input(), options, &self.platform.tokens),
            None => probes::answer(&self.head, body, opened.as_deref())
                .unwrap_or_else(|| operations::answer(&self.platform, &self.head.method, path, &input())),
        };
        (answer, self.fault_sealing(as_asked))
    }

    /// The plaintext of a sealed body, or of the query when there is no body.
    fn open(&self, body: &Bytes) -> Result<Bytes, &'static str> {
        let Some(ciphers) = &self.platform.ciphers else { return Err("encryption is off") };
        let signed = self.head.headers.get(SIGNED).map(HeaderValue::as_bytes).unwrap_or_default();
        let text = if body.is_empty() { self.head.uri.query().unwrap_or_default().as_bytes() } else { body };
        if text.is_empty() {
            // A GET without a query that is marked and not sealed.
            let nothing = Signed::of(b"");
            return if nothing.matches(signed) { Ok(Bytes::new()) } else { Err("digest") };
        }
        ciphers.right.open(text, signed).map(Bytes::from).map_err(|error| error.reason())
    }

    /// What a fault puts in the place of the operation's answer.
    fn fault_instead(&self, as_asked: Sealing) -> Option<(Answer, Sealing)> {
        match self.fault.as_ref()? {
            FaultKind::Status { code, page, retry_after, sealed } => {
                let status = StatusCode::from_u16(*code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
                let mut answer = match page {
                    Page::Json => Answer::failed(status, status.canonical_reason().unwrap_or("failed")),
                    Page::Html => Answer::html(status),
                    Page::Empty => Answer::empty(status),
                };
                answer.headers.extend(retry_after.map(|seconds| (RETRY_AFTER, HeaderValue::from(seconds))));
                Some((answer, if *sealed { Sealing::Right } else { Sealing::Plain }))
            }
            FaultKind::Code { code } => Some((Answer::code(*code, "failed"), as_asked)),
            FaultKind::Redirect { location } => {
                let mut answer = Answer::html(StatusCode::FOUND);
                answer.headers.extend(HeaderValue::try_from(location).ok().map(|location| (LOCATION, location)));
                Some((answer, Sealing::Plain))
            }
            _ => None,
        }
    }

    /// What a fault does to the sealing; those that spoil it seal plain answers too.
    fn fault_sealing(&self, as_asked: Sealing) -> Sealing {
        match self.fault {
            Some(FaultKind::Unsealed) => Sealing::Plain,
            Some(FaultKind::OtherKey) => Sealing::OtherKey,
            Some(FaultKind::WrongDigest) => Sealing::WrongDigest,
            Some(FaultKind::NoDigest) => Sealing::NoDigest,
            Some(FaultKind::BadBase64) => Sealing::BadBase64,
            Some(FaultKind::Shortened { to }) => Sealing::Shortened(to),
            _ => as_asked,
        }
    }

    /// Seals the answer and hands it to HTTP, or past it.
    async fn send(self, mut answer: Answer, sealing: Sealing) -> Response<Outgoing> {
        let seal_headers = self.seal(&mut answer, sealing);
        if matches!(self.fault, Some(FaultKind::Early { rest: Rest::Close })) {
            answer.headers.push((CONNECTION, HeaderValue::from_static("close")));
        }
        self.answered(Some(answer.status));
        let unbounded = answer.shape == Shape::CloseDelimited;
        let Self { line, fault, busy, .. } = self;
        let response = sent(answer, seal_headers, busy);
        let (last_words, end) = match fault {
            Some(FaultKind::CutMidAnswer { after, reset }) => (written(response, true, Some(after)), End::cut(reset)),
            Some(FaultKind::CloseAfter) => (written(response, !unbounded, None), End::Proper),
            _ if unbounded => (written(response, false, None), End::Proper),
            Some(FaultKind::Trickle { ms }) => {
                return response.map(|body| body.slowly(Duration::from_millis(ms)));
            }
            Some(FaultKind::Endless) => return response.map(Outgoing::for_ever),
            _ => return response,
        };
        match end_line(&line, last_words, end).await {}
    }

    /// Seals what can be sealed, in place, and returns the headers that say so.
    fn seal(&self, answer: &mut Answer, sealing: Sealing) -> Vec<(HeaderName, HeaderValue)> {
        let (Some(ciphers), Some(plain)) = (&self.platform.ciphers, answer.sealable()) else { return Vec::new() };
        let cipher = match sealing {
            Sealing::Plain => return Vec::new(),
            Sealing::OtherKey => &ciphers.wrong,
            _ => &ciphers.right,
        };
        let sealed = cipher.seal(plain);
        let signed = match sealing {
            Sealing::WrongDigest => Signed::of(b"something else"),
            _ => sealed.signed,
        };
        let mut text = sealed.text;
        match sealing {
            Sealing::BadBase64 => {
                let mut bytes = text.to_vec();
                let middle = bytes.len() / 2;
                bytes[middle] = b'*';
                text = bytes.into();
            }
            Sealing::Shortened(to) => text.truncate(to),
            _ => {}
        }
        answer.payload = Payload::Bytes(text);
        let mut headers = vec![(IS_ENCRYPTED, HeaderValue::from_static("1"))];
        if sealing != Sealing::NoDigest {
            headers.extend(HeaderValue::from_str(signed.as_str()).ok().map(|signed| (SIGNED, signed)));
        }
        headers
    }

    /// Ends the connection with these last bytes.
    async fn end(&self, last_words: Bytes, end: End) -> ! {
        self.answered(None);
        match end_line(&self.line, last_words, end).await {}
    }

    /// Records how the call ended, before the peer can see it.
    fn answered(&self, status: Option<StatusCode>) {
        self.platform.records.update(self.entry, |entry| entry.status = status.map(|status| status.as_u16()));
        if let Some(observer) = &self.platform.options.observer {
            let (method, path) = (&self.head.method, self.head.uri.path());
            observer(&Seen { method, path, sealed: is_sealed(&self.head), status });
        }
        self.platform.changed();
    }
}

/// A body that was read whole.
enum Collected {
    Whole(Bytes),
    /// Read and counted, not kept.
    TooLarge,
}

/// Reads a body to its end, and records it; `None` when it broke off.
async fn collect(platform: Arc<Platform>, entry: EntryId, mut body: Incoming) -> Option<Collected> {
    let most = platform.options.keep_body;
    let mut kept = BytesMut::new();
    let mut len = 0_u64;
    // hyper does not end the body of a call that was answered early before the next call comes, so its length has to.
    while !body.is_end_stream() {
        let Some(frame) = body.frame().await else { break };
        let Ok(data) = frame.ok()?.into_data() else { continue };
        len += data.len() as u64;
        if len <= most as u64 {
            kept.extend_from_slice(&data);
        } else {
            kept = BytesMut::new();
        }
        if platform.records.keeps_everything() {
            platform.records.update(entry, |entry| entry.body_len = len);
            platform.changed();
        }
    }
    let kept = kept.freeze();
    platform.records.update(entry, |entry| {
        entry.complete = true;
        entry.body = kept.clone();
    });
    platform.changed();
    Some(if len <= most as u64 { Collected::Whole(kept) } else { Collected::TooLarge })
}

fn is_sealed(head: &Parts) -> bool {
    head.headers.get(IS_ENCRYPTED).is_some_and(|value| value == "1")
}

/// The record of a header that has just arrived.
fn received(line: &Line, head: &Parts, at: Duration) -> Received {
    let as_parsed = || {
        let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
        head.headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect()
    };
    let request_line = format!("{} {} HTTP/1.", head.method, head.uri);
    Received {
        connection: line.number,
        method: head.method.to_string(),
        path: head.uri.path().to_owned(),
        query: head.uri.query().map(str::to_owned),
        headers: line.take_header_fields(&request_line).unwrap_or_else(as_parsed),
        body: Bytes::new(),
        body_len: 0,
        complete: false,
        opened: None,
        status: None,
        at,
    }
}

/// Hands the connection to its task, which writes the last words and ends it; the caller is dropped meanwhile.
async fn end_line(line: &Line, last_words: Bytes, end: End) -> Infallible {
    line.order(Order::End(last_words, end));
    future::pending().await
}
