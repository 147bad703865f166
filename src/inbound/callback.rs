//! One callback, from the platform's bytes to the answer it gets. Read it from top to bottom.
//!
//! On a source that stores, nothing answers 200 before the inbox has it on disk. It never touches a socket: the
//! request is read and answered through `request`.

use std::net::IpAddr;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use super::Inbound;
use super::answer::{Answer, Fixed, Relayed};
use super::loss::Seen;
use super::moment::Moment;
use super::open::{self, Marks, Opened, Unopened};
use super::origin;
use super::record::{Outcome, Record};
use super::relay::{Relay, RelayError};
use super::request::{Length, Request, Unread};
use super::source::{Mode, Source};
use crate::clock;
use crate::envelope::{Sealed, Signed};
use crate::http::headers;
use crate::inbox::Appended;
use crate::inbox::Inbox;
use crate::inbox::NewCallback;
use crate::limit::Admitted;

/// From this size on, in bytes, a body is opened beside the worker, which has other callbacks to read meanwhile: it
/// takes a tenth of a millisecond and more.
const LARGE: usize = 128 * 1024;

/// What a body of unknown length is given before any of it is there, in bytes: more than most callbacks have, and so little
/// that all connections together cannot use up the memory by announcing bodies that they never send.
const FIRST: usize = 8 * 1024;

/// How a callback ends: its answer, and when that may leave.
pub(super) struct Ended {
    pub(super) answer: Answer,
    pub(super) moment: Option<Moment>,
}

/// Why a callback is not taken.
struct Refused {
    answer: Answer,
    outcome: Outcome,
    reason: &'static str,
    moment: Option<Moment>,
}

/// What the header decides.
struct Received<'a> {
    source: &'a Arc<Source>,
    length: Length,
    marks: Marks,
    content_type: Option<Vec<u8>>,
}

/// A body that was read, and the memory it may take.
struct Held {
    body: Bytes,
    /// Never empty.
    admitted: Vec<Admitted>,
}

/// Takes one callback.
pub(super) async fn take<'a>(
    inbound: &'a Inbound,
    request: &mut Request<'_>,
    peer: IpAddr,
    record: &mut Record<'a>,
) -> Ended {
    // 1. Receive: method, path and network decide whether it is a callback at all.
    let received = match receive(inbound, request, peer, record) {
        Ok(received) => received,
        Err(refused) => return record.refuse(refused),
    };
    let losses = &received.source.losses;
    let signed = received.marks.signed.as_deref().map(Seen::Signed);

    // 2. Collect: within its limit, its time and the memory that is left.
    let held = match collect(inbound, request, &received).await {
        Ok(held) => held,
        Err(refused) => {
            losses.refused(signed.unwrap_or(Seen::Length(received.length.declared())), clock::now());
            return record.refuse(refused);
        }
    };
    let arrived = clock::now();
    let body = held.body.clone();
    record.bytes = body.len();

    // 3. Open. 4. Append, or pass on.
    let taken = match open(&received, body.clone()).await {
        Ok(opened) => {
            record.kind = Some(opened.kind);
            match &received.source.mode {
                Mode::Store(inbox, _) => append(inbox, &received, opened, record).await,
                Mode::Relay(relay) => pass(inbound, relay, &received, opened, &held.admitted[0]).await,
            }
        }
        Err(Unopened(reason)) => {
            keep(&received, reason, held);
            // The same answer at the same moment, whatever the reason.
            let moment = Some(Moment::after(arrived, body.len()));
            Err(Refused { answer: Fixed::Unreadable.into(), outcome: Outcome::Unopened, reason, moment })
        }
    };
    let seen = signed.unwrap_or(Seen::Body(&body));
    match taken {
        Ok((outcome, answer)) => {
            // A relay hands on what its receiver says, and the platform tries again after anything but 200.
            if answer.status() == 200 {
                losses.accepted(seen);
            } else {
                losses.refused(seen, clock::now());
            }
            record.outcome = outcome;
            Ended { answer, moment: None }
        }
        Err(refused) => {
            losses.refused(seen, clock::now());
            record.refuse(refused)
        }
    }
}

/// What the header decides, before anything of the body is read.
fn receive<'a>(
    inbound: &'a Inbound,
    request: &Request<'_>,
    peer: IpAddr,
    record: &mut Record<'a>,
) -> Result<Received<'a>, Refused> {
    let refuse =
        |fixed: Fixed, reason| Refused { answer: fixed.into(), outcome: Outcome::Refused, reason, moment: None };
    if request.header_size() > inbound.rules.max_header {
        return Err(refuse(Fixed::HeaderTooLarge, "header"));
    }
    // Before the path, so that it says nothing about paths.
    if !request.is_post() {
        return Err(refuse(Fixed::MethodRefused, "method"));
    }
    let source = inbound.sources.find(request.path()).ok_or_else(|| refuse(Fixed::NotFound, "path"))?;
    if !source.allow.is_empty() {
        let forwarded = request.all("x-forwarded-for");
        let origin = origin::origin(peer, forwarded, &inbound.rules.trusted_proxies);
        if !origin.is_some_and(|origin| origin::is_in(origin, &source.allow)) {
            return Err(refuse(Fixed::NotFound, "network"));
        }
    }
    record.source = &source.name;

    let sealed = request.only(headers::IS_ENCRYPTED);
    let signed = request.only(headers::SIGNED);
    let marks = Marks {
        sealed: if signed.is_ok() { sealed.ok().map(headers::is_sealed) } else { None },
        signed: signed.ok().flatten().map(<[u8]>::to_vec),
    };
    record.sealed = marks.sealed == Some(true);
    let content_type = request.only("content-type").ok().flatten().map(<[u8]>::to_vec);
    let received = Received { source, length: request.length(), marks, content_type };
    let plain = |coding: &[u8]| coding.trim_ascii().eq_ignore_ascii_case(b"identity");
    if !request.all("content-encoding").all(plain) {
        let refused = Refused { outcome: Outcome::Unopened, ..refuse(Fixed::Compressed, "compressed") };
        let seen = received.marks.signed.as_deref().map_or(Seen::Length(received.length.declared()), Seen::Signed);
        source.losses.refused(seen, clock::now());
        return Err(refused);
    }
    Ok(received)
}

/// Memory first, then the body. One of unknown length gets its memory as it grows, or a few would reserve all there is.
async fn collect(inbound: &Inbound, request: &mut Request<'_>, received: &Received<'_>) -> Result<Held, Refused> {
    let refuse = |fixed: Fixed, outcome| Refused { answer: fixed.into(), outcome, reason: "-", moment: None };
    let (most, within) = (inbound.rules.max_body, inbound.rules.body_timeout);
    let deadline = clock::now() + within;
    let mut room = match received.length {
        Length::Known(bytes) if bytes > most as u64 => return Err(refuse(Fixed::TooLarge, Outcome::TooLarge)),
        Length::Known(bytes) => bytes as usize,
        Length::Unknown => most.min(FIRST),
    };
    // The body as it arrives. What it is when it is open fits into the budget's other half, which answers of relays share.
    let admit = async |bytes: usize| {
        let admitted = inbound.budget.admit_unlimited(bytes).await;
        admitted.map_err(|_| Refused { reason: "memory", ..refuse(Fixed::Unavailable, Outcome::Unavailable) })
    };
    let mut admitted = vec![admit(room).await?];
    let unread = |unread| match unread {
        Unread::TimedOut => refuse(Fixed::TimedOut, Outcome::TimedOut),
        Unread::Cut => refuse(Fixed::Unreadable, Outcome::Cut),
        Unread::Gone => Refused { answer: Answer::None, ..refuse(Fixed::Unreadable, Outcome::Cut) },
    };
    let mut body = BytesMut::with_capacity(room);
    request.invite(within).await.map_err(unread)?;
    while let Some(piece) = request.piece(deadline).await.map_err(unread)? {
        let length = body.len() + piece.len();
        if length > most {
            return Err(refuse(Fixed::TooLarge, Outcome::TooLarge));
        }
        if length > room {
            // In whole steps, because the budget rounds each of them up.
            let grown = (2 * length).next_multiple_of(LARGE).min(most);
            admitted.push(admit(grown - room).await?);
            room = grown;
        }
        body.extend_from_slice(piece);
    }
    if let [all] = admitted.as_mut_slice() {
        all.shrink(body.len());
    }
    Ok(Held { body: body.freeze(), admitted })
}

async fn open(received: &Received<'_>, body: Bytes) -> Result<Opened, Unopened> {
    if body.len() < LARGE {
        return open::open(received.source, &received.marks, body);
    }
    let (source, marks) = (received.source.clone(), received.marks.clone());
    let opened = tokio::task::spawn_blocking(move || open::open(&source, &marks, body)).await;
    opened.unwrap_or(Err(Unopened("internal")))
}

/// Acknowledges what is on disk, and nothing else.
async fn append(
    inbox: &Inbox,
    received: &Received<'_>,
    opened: Opened,
    record: &Record<'_>,
) -> Result<(Outcome, Answer), Refused> {
    let Opened { text, kind, ids, receivers, .. } = opened;
    let untaken = receivers.is_empty() && received.source.has_receivers();
    let callback = NewCallback {
        source: received.source.name.clone(),
        receivers,
        kind,
        body: text,
        ids,
        received_ms: record.received_ms,
    };
    match inbox.append(callback).await {
        Ok(Appended::Stored(_)) if untaken => Ok((Outcome::Untaken, Fixed::Acknowledged.into())),
        Ok(Appended::Stored(_)) => Ok((Outcome::Stored, Fixed::Acknowledged.into())),
        Ok(Appended::Duplicate) => Ok((Outcome::Duplicate, Fixed::Acknowledged.into())),
        Err(unavailable) => Err(Refused {
            answer: Fixed::Unavailable.into(),
            outcome: Outcome::Unavailable,
            reason: unavailable.word(),
            moment: None,
        }),
    }
}

/// Passes it on and hands the answer back, sealed if the callback was.
async fn pass(
    inbound: &Inbound,
    relay: &Relay,
    received: &Received<'_>,
    opened: Opened,
    admitted: &Admitted,
) -> Result<(Outcome, Answer), Refused> {
    let refuse =
        |fixed: Fixed, reason| Refused { answer: fixed.into(), outcome: Outcome::RelayFailed, reason, moment: None };
    let room = async |bytes| inbound.budget.reserve_answer(admitted, bytes).await;
    let passed = relay.pass(&received.source.name, &opened.text, received.content_type.as_deref(), room).await;
    let (mut relayed, _room) = passed.map_err(|error| match error {
        RelayError::Late => refuse(Fixed::RelayTimedOut, "late"),
        RelayError::NoRoom => refuse(Fixed::Unavailable, "memory"),
        RelayError::Failed(reason) => refuse(Fixed::RelayFailed, reason),
    })?;
    let cipher = received.source.cipher.as_ref().filter(|_| opened.was_sealed);
    if let Some(cipher) = cipher.filter(|_| !matches!(relayed.status, 204 | 304)) {
        let Sealed { text, signed } = cipher.seal(&relayed.body);
        relayed = Relayed { body: text, signed: Some(Signed::as_str(&signed).to_owned()), ..relayed };
    }
    Ok((Outcome::Relayed, Answer::Relayed(Box::new(relayed))))
}

/// Keeps a body that could not be opened, where the source asks for it. The answer does not wait for that.
fn keep(received: &Received<'_>, reason: &'static str, held: Held) {
    let Some((inbox, most)) = received.source.quarantine.clone() else { return };
    let source = received.source.name.clone();
    tokio::spawn(async move {
        if let Err(unavailable) = inbox.quarantine(&source, held.body, reason, most).await {
            let source = &*source;
            tracing::warn!(source, reason = unavailable.word(), "a body that could not be opened was not kept");
        }
        drop(held.admitted);
    });
}

impl Record<'_> {
    fn refuse(&mut self, refused: Refused) -> Ended {
        self.outcome = refused.outcome;
        self.reason = refused.reason;
        Ended { answer: refused.answer, moment: refused.moment }
    }
}

impl Length {
    fn declared(self) -> Option<u64> {
        match self {
            Self::Known(bytes) => Some(bytes),
            Self::Unknown => None,
        }
    }
}
