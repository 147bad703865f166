//! Collecting a request: what leaves for the platform, sealed as it arrives, within its limits.
//!
//! A body that has to be sealed is never kept plain: each piece is sealed when it comes, and a body over
//! the limit is refused before it is read where its length is declared. It never decides whether a call
//! is sealed.

use bytes::{Bytes, BytesMut};
use http::{HeaderName, HeaderValue, Method, header};
use pingora::http::RequestHeader;
use pingora::protocols::http::v1::server::HttpSession;

use super::Asked;
use super::account::Sealing;
use super::call::{Length, Received, Stop};
use super::query;
use super::record::{Phase, Record};
use crate::clock;
use crate::config;
use crate::envelope::{self, Sealed, Sealer, Signed};
use crate::http::headers::{self, IS_ENCRYPTED, SIGNED};
use crate::limit::Admitted;
use crate::reply::Refusal;

/// The most of an unsealed body of unknown length that is looked at before it streams.
const PIECE: usize = 64 * 1024;

/// What goes to the platform, whole and unchangeable: a replay sends exactly this again.
pub(super) struct Outgoing {
    /// Without `Authorization`, which each try adds.
    pub(super) head: RequestHeader,
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
    /// `Some` when more of the body is still to come from the program and has to stream.
    pub(super) rest: Option<Streams>,
}

/// Proof that a body may stream: it is not sealed.
pub(super) struct Streams;

/// How much memory a request's body may need, in bytes.
pub(super) fn room(received: &Received<'_>, rules: &config::Outbound) -> usize {
    let plain = match received.length {
        Length::None => 0,
        Length::Known(bytes) => usize::try_from(bytes).unwrap_or(usize::MAX).min(rules.max_body),
        Length::Unknown => rules.max_body,
    };
    match received.sealing {
        Some(sealing) if plain > 0 => envelope::sealed_len(&sealing.scheme, plain),
        Some(_) => 0,
        None if received.length_over(rules.max_body) => PIECE,
        None => plain,
    }
}

impl Received<'_> {
    fn length_over(&self, limit: usize) -> bool {
        matches!(self.length, Length::Known(bytes) if bytes > limit as u64)
    }
}

/// Reads the body and builds what leaves.
pub(super) async fn collect(
    session: &mut HttpSession,
    received: &Received<'_>,
    rules: &config::Outbound,
    admitted: Admitted,
    record: &mut Record<'_>,
) -> Result<Collected, Stop> {
    let over = received.length_over(rules.max_body);
    if over && received.sealing.is_some() {
        return Err(Refusal::BodyTooLarge.into());
    }
    ask_for_body(session, received, rules).await?;
    let (body, sealed_body, rest) = match received.sealing {
        _ if received.length == Length::None => (Bytes::new(), None, None),
        Some(sealing) => {
            let (sealed, empty) = seal_body(session, received, sealing, rules, record).await?;
            if empty { (Bytes::new(), None, None) } else { (sealed.text, Some(sealed.signed), None) }
        }
        None if over => (Bytes::new(), None, Some(Streams)),
        None => {
            let (body, more) = hold_body(session, received, rules, record).await?;
            (body, None, more.then_some(Streams))
        }
    };
    let safe = received.is_safe();
    if safe && sealed_body.is_some() {
        return Err(Refusal::BodyNotSealable.into());
    }
    let repaired =
        received.query.as_deref().map(|query| if rules.repair_plus { query::repair_plus(query) } else { query.into() });
    let seals_query = received.sealing.filter(|_| sealed_body.is_none());
    let at = clock::now();
    let (query, signed) = match seals_query {
        Some(sealing) => seal_query(sealing, repaired.as_deref(), &received.method),
        None => (repaired.map(|query| Bytes::copy_from_slice(query.as_bytes())), sealed_body),
    };
    if seals_query.is_some() {
        record.spent(Phase::Seal, at);
    }
    let body_length = match (&rest, received.length) {
        (Some(_), Length::Unknown) => None,
        (Some(_), Length::Known(bytes)) => Some(bytes),
        _ => Some(body.len() as u64),
    };
    let head = compose(session, received, query.as_deref(), signed.as_ref(), body_length)?;
    Ok(Collected { outgoing: Outgoing { head, body }, admitted, rest })
}

/// The body is wanted: says so to a program that waits for it, and starts the clock of its pauses.
pub(super) async fn ask_for_body(
    session: &mut HttpSession,
    received: &Received<'_>,
    rules: &config::Outbound,
) -> Result<(), Stop> {
    if received.length == Length::None {
        return Ok(());
    }
    session.set_read_timeout(Some(rules.body_timeout));
    if session.is_expecting_continue() {
        session.write_continue_response().await.map_err(|_| Stop::ClientGone)?;
    }
    Ok(())
}

/// Seals each piece as it arrives. Also says whether there was nothing at all.
async fn seal_body(
    session: &mut HttpSession,
    received: &Received<'_>,
    sealing: &Sealing,
    rules: &config::Outbound,
    record: &mut Record<'_>,
) -> Result<(Sealed, bool), Stop> {
    let declared = match received.length {
        Length::Known(bytes) => usize::try_from(bytes).ok(),
        _ => None,
    };
    let mut sealer: Sealer = sealing.cipher.sealer(declared);
    let mut plain = 0;
    while let Some(piece) = next_piece(session).await? {
        plain += piece.len();
        record.bytes_in = plain as u64;
        if plain > rules.max_body {
            return Err(Refusal::BodyTooLarge.into());
        }
        let at = clock::now();
        sealer.push(&piece);
        record.spent(Phase::Seal, at);
    }
    let at = clock::now();
    let sealed = sealer.finish();
    record.spent(Phase::Seal, at);
    Ok((sealed, plain == 0))
}

/// Holds an unsealed body whole, up to the limit; says whether more is to come.
async fn hold_body(
    session: &mut HttpSession,
    received: &Received<'_>,
    rules: &config::Outbound,
    record: &mut Record<'_>,
) -> Result<(Bytes, bool), Stop> {
    let mut held = match received.length {
        Length::Known(bytes) => BytesMut::with_capacity(usize::try_from(bytes).unwrap_or(0)),
        _ => BytesMut::new(),
    };
    while let Some(piece) = next_piece(session).await? {
        record.bytes_in += piece.len() as u64;
        held.extend_from_slice(&piece);
        // One more piece has to fit into what was admitted.
        if received.length == Length::Unknown && held.len() + PIECE > rules.max_body {
            return Ok((held.freeze(), true));
        }
    }
    Ok((held.freeze(), false))
}

/// The next piece of the program's body, `None` at its end.
pub(super) async fn next_piece(session: &mut HttpSession) -> Result<Option<Bytes>, Stop> {
    session.read_body_bytes().await.map_err(|error| match error.etype() {
        pingora::ErrorType::ReadTimedout => Refusal::BodyTimeout.into(),
        pingora::ErrorType::ConnectionClosed | pingora::ErrorType::ReadError => Stop::ClientGone,
        _ => Refusal::BodyIncomplete.into(),
    })
}

/// The sealed query, raw: the bare base64 text with literal `+ / =`, no parameter name.
fn seal_query(sealing: &Sealing, query: Option<&str>, method: &Method) -> (Option<Bytes>, Option<Signed>) {
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

/// The request head without `Authorization`: what the program sent, less what ends here, plus ours.
fn compose(
    session: &HttpSession,
    received: &Received<'_>,
    query: Option<&[u8]>,
    signed: Option<&Signed>,
    body_length: Option<u64>,
) -> Result<RequestHeader, Stop> {
    let request = session.req_header();
    let mut target = Vec::with_capacity(received.path.len() + 1 + query.map_or(0, <[u8]>::len));
    target.extend_from_slice(received.path.as_bytes());
    if let Some(query) = query {
        target.push(b'?');
        target.extend_from_slice(query);
    }
    let bad = |_| Stop::from(Refusal::BadRequest);
    let mut head =
        RequestHeader::build(received.method.clone(), &target, Some(request.headers.len() + 4)).map_err(bad)?;
    head.append_header(header::HOST, received.account.client.authority()).map_err(bad)?;
    let named = headers::named_by_connection(&request.headers);
    // An answer that has to be read here must not come compressed.
    let reads_answer = received.sealing.is_some();
    for (cased, value) in request.case_header_iter() {
        let Ok(name) = HeaderName::from_bytes(cased.as_slice()) else { continue };
        let dropped = headers::ends_at_hop(&name)
            || headers::ends_at_gateway(&name)
            || named.contains(&name)
            || (reads_answer && name == header::ACCEPT_ENCODING)
            || (signed.is_some() && !received.is_safe() && name == header::CONTENT_TYPE);
        if !dropped {
            head.append_header(cased.clone(), value.clone()).map_err(bad)?;
        }
    }
    if !head.headers.contains_key(header::USER_AGENT) {
        head.append_header(header::USER_AGENT, "Airudder").map_err(bad)?;
    }
    if let Some(signed) = signed {
        head.append_header(IS_ENCRYPTED, "1").map_err(bad)?;
        head.append_header(SIGNED, signed.as_str()).map_err(bad)?;
        if let Some(sealing) = received.sealing.filter(|_| !received.is_safe()) {
            head.append_header(header::CONTENT_TYPE, sealing.content_type.clone()).map_err(bad)?;
        }
    }
    match body_length {
        None => head.append_header(header::TRANSFER_ENCODING, "chunked").map_err(bad)?,
        Some(0) if received.is_safe() => false,
        Some(length) => head.append_header(header::CONTENT_LENGTH, HeaderValue::from(length)).map_err(bad)?,
    };
    Ok(head)
}
