//! Collecting a request: what leaves for the platform, sealed as it arrives, within its limits.
//!
//! A body that has to be sealed is never kept plain: each piece is sealed when it comes, and a body over
//! the limit is refused before it is read where its length is declared. It never decides whether a call
//! is sealed.

use bytes::{Bytes, BytesMut};
use http::Method;

use super::Outbound;
use super::account::Sealing;
use super::query;
use super::receive::Received;
use super::record::{Phase, Record};
use super::route::Auth;
use super::stop::Stop;
use crate::config;
use crate::envelope::{self, Sealed, Sealer, Signed};
use crate::http::head::Length;
use crate::http::headers::{self, Named};
use crate::http::request::{BadTarget, RequestHead, RequestHeadWriter};
use crate::http::session::{BodyFault, Bound, Session};
use crate::limit::Admitted;
use crate::reply::{Refusal, Reply};

/// The most of an unsealed body of unknown length that is looked at before it streams.
const PIECE: usize = 64 * 1024;

/// A chunked body of at most this doubles its buffer as it grows; a larger one gets all that it was admitted for at
/// once, because a buffer that moves needs up to three times its size.
const DOUBLES: usize = 1024 * 1024;

/// Bytes of a body of unknown length that get memory before anything came of it, and the steps after it; then all that
/// a body may have. Given all at once, a handful of programs that announce a body and send none would hold all there is.
const STEPS: [usize; 3] = [8 * 1024, 128 * 1024, DOUBLES];

/// Which bound a body met that did not come in time.
const SILENT: &str = "it paused for longer than outbound.body_timeout";
const TOO_SLOW: &str = "it kept the gateway waiting for longer than 8 s and a second for each KiB that came, whatever \
                        outbound.body_timeout says";

/// What goes to the platform, whole and unchangeable: a replay sends exactly this again.
pub(super) struct Outgoing {
    /// Without credentials, which each try adds.
    pub(super) head: RequestHead,
    /// The held body; the beginning of it when the body streams.
    pub(super) body: Bytes,
}

impl Outgoing {
    /// Bytes of the budget it needs.
    pub(super) fn held(&self) -> usize {
        self.body.len()
    }
}

/// A request collected within its admission.
pub(super) struct Collected {
    pub(super) outgoing: Outgoing,
    pub(super) admitted: Admitted,
    /// Signature of the plain body, where sealing made one.
    pub(super) signed: Option<Signed>,
    /// `Some` when more of the body is still to come from the program and has to stream.
    pub(super) rest: Option<Streams>,
}

/// Proof that a body may stream: it is not sealed.
pub(super) struct Streams;

/// How much memory a request's body needs before any of it came, in bytes.
pub(super) fn room(received: &Received<'_>, rules: &config::Outbound) -> usize {
    match received.length {
        Length::None => 0,
        Length::Unknown => room_of(received, rules, STEPS[0].min(rules.max_body)),
        Length::Known(_) if received.sealing.is_none() && received.length_over(rules.max_body) => PIECE,
        Length::Known(bytes) => {
            room_of(received, rules, usize::try_from(bytes).unwrap_or(usize::MAX).min(rules.max_body))
        }
    }
}

/// How much memory so many bytes of its body need.
fn room_of(received: &Received<'_>, rules: &config::Outbound, plain: usize) -> usize {
    // What is of unknown length grows by doubling, so there are two of it for a moment.
    match received.sealing {
        _ if plain == 0 => 0,
        Some(sealing) if received.length == Length::Unknown => 2 * envelope::sealed_len(&sealing.scheme, plain),
        Some(sealing) => envelope::sealed_len(&sealing.scheme, plain),
        None if received.length == Length::Unknown => (2 * plain).min(rules.max_body),
        None => plain,
    }
}

/// The memory of a body while it arrives.
struct Memory<'a, 'b> {
    outbound: &'a Outbound,
    received: &'a Received<'b>,
    admitted: Admitted,
    /// Bytes of the body that it is enough for; never looked at where the length is known.
    enough_for: usize,
}

impl<'a, 'b> Memory<'a, 'b> {
    fn new(outbound: &'a Outbound, received: &'a Received<'b>, admitted: Admitted) -> Self {
        Self { outbound, received, admitted, enough_for: STEPS[0] }
    }

    /// Asks for more where a body of unknown length has outgrown what it has.
    async fn holds(&mut self, plain: usize) -> Result<(), Reply> {
        if self.received.length != Length::Unknown || plain <= self.enough_for {
            return Ok(());
        }
        let rules = &self.outbound.rules;
        let step = STEPS.into_iter().find(|step| plain <= *step).unwrap_or(rules.max_body).min(rules.max_body);
        let room = room_of(self.received, rules, step);
        let grown = self.outbound.budget.grow(&mut self.admitted, room).await;
        grown.map_err(|_| Reply { retry_after: Some(rules.memory_wait), ..Refusal::Busy.into() })?;
        self.enough_for = step;
        Ok(())
    }
}

impl Received<'_> {
    pub(super) fn length_over(&self, limit: usize) -> bool {
        matches!(self.length, Length::Known(bytes) if bytes > limit as u64)
    }
}

/// Reads the body and builds what leaves.
pub(super) async fn collect(
    outbound: &Outbound,
    session: &mut Session,
    received: &Received<'_>,
    admitted: Admitted,
    record: &mut Record<'_>,
) -> Result<Collected, Stop> {
    let rules = &outbound.rules;
    let mut memory = Memory::new(outbound, received, admitted);
    let over = received.length_over(rules.max_body);
    if over && received.sealing.is_some() {
        return Err(Refusal::BodyTooLarge.into());
    }
    session.invite(rules.body_timeout).await.map_err(|_| Stop::ClientGone)?;
    let (body, sealed_body, rest) = match received.sealing {
        _ if received.length == Length::None => (Bytes::new(), None, None),
        Some(sealing) => {
            let (sealed, empty) = seal_body(session, &mut memory, sealing, record).await?;
            if empty { (Bytes::new(), None, None) } else { (sealed.text, Some(sealed.signed), None) }
        }
        None if over => (Bytes::new(), None, Some(Streams)),
        None => {
            let (body, more) = hold_body(session, &mut memory, record).await?;
            (body, None, more.then_some(Streams))
        }
    };
    let safe = received.is_safe();
    if safe && sealed_body.is_some() {
        return Err(Refusal::BodyNotSealable.into());
    }
    let repaired = received.query.map(|query| if rules.repair_plus { query::repair_plus(query) } else { query.into() });
    let seals_query = received.sealing.filter(|_| sealed_body.is_none());
    if sealed_body.is_none() {
        record.skip();
    }
    let (query, signed) = match seals_query {
        Some(sealing) => seal_query(sealing, repaired.as_deref(), received.method),
        None => (repaired.map(|query| Bytes::copy_from_slice(query.as_bytes())), sealed_body),
    };
    if seals_query.is_some() {
        record.lap(Phase::Seal);
    }
    let body_length = match (&rest, received.length) {
        (Some(_), Length::Unknown) => None,
        (Some(_), Length::Known(bytes)) => Some(bytes),
        _ => Some(body.len() as u64),
    };
    let head = compose(received, query.as_deref(), signed.as_ref(), body_length)?;
    Ok(Collected { outgoing: Outgoing { head, body }, admitted: memory.admitted, signed: sealed_body, rest })
}

/// Seals each piece as it arrives. Also says whether there was nothing at all.
async fn seal_body(
    session: &mut Session,
    memory: &mut Memory<'_, '_>,
    sealing: &Sealing,
    record: &mut Record<'_>,
) -> Result<(Sealed, bool), Stop> {
    let (received, rules) = (memory.received, &memory.outbound.rules);
    let declared = match received.length {
        Length::Known(bytes) => usize::try_from(bytes).ok(),
        _ => None,
    };
    let mut sealer: Sealer = sealing.cipher.sealer(declared);
    let mut plain = 0;
    while let Some(piece) = next_piece(session).await? {
        let before = plain;
        plain += piece.len();
        record.bytes_in = plain as u64;
        if plain > rules.max_body {
            return Err(Refusal::BodyTooLarge.into());
        }
        memory.holds(plain).await?;
        if declared.is_none() && before <= DOUBLES && plain > DOUBLES {
            sealer.expect(rules.max_body);
        }
        // Waiting for the program is no phase.
        record.skip();
        sealer.push(piece);
        if !session.is_body_done() {
            record.lap(Phase::Seal);
        }
    }
    let sealed = sealer.finish();
    record.lap(Phase::Seal);
    Ok((sealed, plain == 0))
}

/// Holds an unsealed body whole, up to the limit; says whether more is to come.
async fn hold_body(
    session: &mut Session,
    memory: &mut Memory<'_, '_>,
    record: &mut Record<'_>,
) -> Result<(Bytes, bool), Stop> {
    let (received, rules) = (memory.received, &memory.outbound.rules);
    let mut held = match received.length {
        Length::Known(bytes) => BytesMut::with_capacity(usize::try_from(bytes).unwrap_or(0)),
        _ => BytesMut::new(),
    };
    while let Some(piece) = next_piece(session).await? {
        record.bytes_in += piece.len() as u64;
        memory.holds(held.len() + piece.len()).await?;
        if received.length == Length::Unknown && held.len() <= DOUBLES && held.len() + piece.len() > DOUBLES {
            held.reserve(rules.max_body - held.len());
        }
        held.extend_from_slice(piece);
        // One more piece has to fit into what was admitted.
        if received.length == Length::Unknown && held.len() + PIECE > rules.max_body {
            return Ok((held.freeze(), true));
        }
    }
    Ok((held.freeze(), false))
}

/// The next piece of the program's body, never an empty one, `None` at its end.
pub(super) async fn next_piece(session: &mut Session) -> Result<Option<&[u8]>, Stop> {
    session.read_body().await.map_err(|fault| match fault {
        BodyFault::TooSlow(bound) => {
            let detail = match bound {
                Bound::Silence => SILENT,
                Bound::All => TOO_SLOW,
            };
            Reply { detail: Some(detail), ..Refusal::BodyTimeout.into() }.into()
        }
        BodyFault::Incomplete => Refusal::BodyIncomplete.into(),
        BodyFault::Gone => Stop::ClientGone,
    })
}

/// The sealed query, raw: the bare base64 text with literal `+ / =`, no parameter name.
pub(super) fn seal_query(sealing: &Sealing, query: Option<&str>, method: &Method) -> (Option<Bytes>, Option<Signed>) {
    let query = query.filter(|query| !query.is_empty());
    match (query, sealing.empty_query) {
        (Some(query), _) => {
            let Sealed { text, signed } = sealing.cipher.seal(query.as_bytes());
            (Some(text), Some(signed))
        }
        // Only a GET is documented to be sealed by its query; a POST without anything has nothing to seal.
        (None, config::EmptyQuery::Seal) if *method == Method::GET || *method == Method::HEAD => {
            let Sealed { text, signed } = sealing.cipher.seal(b"");
            (Some(text), Some(signed))
        }
        (None, config::EmptyQuery::Mark) => (None, Some(sealing.cipher.seal(b"").signed)),
        (None, _) => (None, None),
    }
}

/// The request head without credentials: what the program sent, less what ends here, plus ours.
fn compose(
    received: &Received<'_>,
    query: Option<&[u8]>,
    signed: Option<&Signed>,
    body_length: Option<u64>,
) -> Result<RequestHead, Stop> {
    let mut head = RequestHeadWriter::try_new(received.method, received.path.as_bytes(), query)
        .map_err(|BadTarget| Refusal::BadRequest)?;
    head.header(b"Host", received.account.client.authority().as_bytes());
    let named = Named::by(received.request.all("connection"));
    // A sealed answer must not come compressed. One whose code has to be read may come in the coding that can be unpacked
    // here, and in no other.
    let sealed = received.sealing.is_some();
    let reads_answer = sealed || matches!(received.operation.auth, Auth::Token(_));
    let seals_body = signed.is_some() && !received.is_safe();
    let mut has_user_agent = false;
    for (name, value) in received.request.headers() {
        let accepts = reads_answer && headers::is(name, "accept-encoding");
        let dropped = headers::ends_at_hop(name)
            || headers::ends_at_gateway(name)
            || named.contains(name)
            || accepts
            || (seals_body && headers::is(name, "content-type"))
            || received.operation.sets(name);
        if accepts && !sealed && names_gzip(value) {
            head.header(b"Accept-Encoding", b"gzip");
        }
        if !dropped {
            has_user_agent |= headers::is(name, "user-agent");
            head.header(name, value);
        }
    }
    if !has_user_agent {
        head.header(b"User-Agent", b"Airudder");
    }
    if let Some(signed) = signed {
        head.header(b"Is-Encrypted", b"1").header(b"Signed", signed.as_str().as_bytes());
        if let Some(sealing) = received.sealing.filter(|_| seals_body) {
            head.header(b"Content-Type", sealing.content_type.as_bytes());
        }
    }
    match body_length {
        None => _ = head.header(b"Transfer-Encoding", b"chunked"),
        Some(0) if received.is_safe() => {}
        Some(length) => _ = head.content_length(length),
    }
    Ok(head.finish())
}

/// Whether a program takes gzip (RFC 9110 section 12.5.3); one that weighs it with zero does not.
fn names_gzip(accepted: &[u8]) -> bool {
    accepted.split(|&b| b == b',').any(|coding| {
        let mut parts = coding.split(|&b| b == b';').map(<[u8]>::trim_ascii);
        let named = parts.next().is_some_and(|name| name.eq_ignore_ascii_case(b"gzip") || name == b"*");
        named && !parts.any(|weight| matches!(weight, b"q=0" | b"q=0.0" | b"q=0.00" | b"q=0.000"))
    })
}
