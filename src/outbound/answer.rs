//! Opening and judging an answer, and building the head that the program reads.
//!
//! An answer is opened by its own header, never by what was sent. A sealed one is held until its digest
//! has proved it; an envelope of the platform is held until its code was read; everything else streams.
//! A wrong digest is an error, never a guess.

use std::io::Read;

use bytes::{Bytes, BytesMut};
use http::{Method, StatusCode};

use super::Outbound;
use super::account::Account;
use super::code::{self, ENVELOPE};
use super::receive::Received;
use super::record::{Phase, REQUEST_ID, Record};
use super::stop::Stop;
use super::unpack::{SealedText, Spoilt};
use crate::clock;
use crate::http::answer::{Answer, Head, SendCause};
use crate::http::headers::{self, IS_ENCRYPTED, Named, SIGNED};
use crate::http::response::ResponseHead;
use crate::limit::{Admitted, Reserved};
use crate::reply::{Refusal, Reply};
use crate::token::Family;

/// Says which of the two limits it was.
const NO_MEMORY: &str = "outbound.memory was used up by other answers, so this one could not be held; raise it";

/// An answer that was looked at: ready to be delivered, or to be discarded for a replay.
pub(super) struct Judged {
    /// What the program reads, without what says how the body ends.
    pub(super) head: ResponseHead,
    /// How long the body is, as far as is known; of an answer without one, how long it would be.
    pub(super) length: Option<u64>,
    /// What is in hand of the body: all of it, unless `rest` is there.
    pub(super) held: Bytes,
    /// The answer, when more of its body streams.
    pub(super) rest: Option<Answer>,
    code: Option<i64>,
    /// Memory for what is held.
    pub(super) _reserved: Option<Reserved>,
}

impl Judged {
    /// A whole answer that was kept.
    pub(super) fn kept(head: ResponseHead, held: Bytes, reserved: Reserved) -> Self {
        Self { head, length: Some(held.len() as u64), held, rest: None, code: None, _reserved: Some(reserved) }
    }

    /// Whether the platform refused the token, by status or by the code in the body.
    pub(super) fn refuses_token(&self, family: Family) -> bool {
        self.head.status() == StatusCode::UNAUTHORIZED || self.code.is_some_and(|code| family.refuses(code))
    }

    /// Lets go of an answer that will not be delivered.
    pub(super) fn discard(self, account: &Account) {
        if let Some(answer) = self.rest {
            account.client.release(answer, clock::now());
        }
    }
}

/// Opens the answer if it is sealed, and reads the code of an answer that may be one of the platform's envelopes.
pub(super) async fn judge(
    outbound: &Outbound,
    received: &Received<'_>,
    mut answer: Answer,
    admitted: &Admitted,
    record: &mut Record<'_>,
) -> Result<Judged, Stop> {
    let head = answer.head();
    let status = head.status();
    let bodyless =
        *received.method == Method::HEAD || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    let sealed = headers::is_sealed(head.find(IS_ENCRYPTED));
    let declared = answer.body_length();
    let length = declared.map(|length| usize::try_from(length).unwrap_or(usize::MAX));
    received.account.series.answered(status.as_u16());

    let now = record.looked();
    let release = |answer| received.account.client.release(answer, now);
    let judged = if bodyless {
        // What a GET would have had; the length of a sealed text is not the opened one's.
        let length = head.content_length().filter(|_| !sealed);
        let head = translate(head, sealed);
        release(answer);
        Judged { head, length, held: Bytes::new(), rest: None, code: None, _reserved: None }
    } else if sealed {
        let limit = outbound.rules.max_answer;
        if length.is_some_and(|length| length > limit) {
            return Err(Refusal::AnswerTooLarge.into());
        }
        // How far a compressed one unpacks is not known before.
        let room = length.filter(|_| !compressed(head)).unwrap_or(limit);
        // The request was carried out: without room the program learns that, and not the answer.
        let mut reserved = outbound.budget.reserve_answer(admitted, room).await.map_err(|_| {
            record.reason = "memory";
            Reply { detail: Some(NO_MEMORY), ..Refusal::AnswerTooLarge.into() }
        })?;
        let held = open(outbound, received, &mut answer, length, record).await?;
        reserved.shrink(held.len());
        let head = translate(answer.head(), true);
        release(answer);
        let (code, length) = (code::find(&held), Some(held.len() as u64));
        Judged { head, length, held, rest: None, code, _reserved: Some(reserved) }
    } else if may_be_envelope(head, length) {
        let (held, done) = hold(&mut answer, ENVELOPE).await?;
        let code = match compressed(answer.head()) {
            true => inflate(&held, ENVELOPE * 4).and_then(|plain| code::find(&plain)),
            false => code::find(&held),
        };
        let head = translate(answer.head(), false);
        let length = if done { Some(held.len() as u64) } else { declared };
        let rest = if done {
            release(answer);
            None
        } else {
            Some(answer)
        };
        Judged { head, length, held, rest, code, _reserved: None }
    } else {
        let head = translate(head, false);
        Judged { head, length: declared, held: Bytes::new(), rest: Some(answer), code: None, _reserved: None }
    };
    received.account.series.body_code(judged.code);
    record.platform_code = judged.code;
    record.lap(Phase::Open);
    Ok(judged)
}

/// Opens a sealed answer as it arrives.
async fn open(
    outbound: &Outbound,
    received: &Received<'_>,
    answer: &mut Answer,
    length: Option<usize>,
    record: &mut Record<'_>,
) -> Result<Bytes, Stop> {
    let signed = answer.head().find(SIGNED).map(<[u8]>::to_vec);
    let compressed = compressed(answer.head());
    let mut refuse = |spoilt: Spoilt| match spoilt {
        Spoilt::TooLarge => Stop::from(Refusal::AnswerTooLarge),
        Spoilt::Unreadable(reason) => {
            record.reason = reason;
            outbound.series.metrics.crypto_failures.with_label_values(&[&received.account.name, reason]).inc();
            Refusal::AnswerUnreadable.into()
        }
    };
    let Some(sealing) = &received.account.sealing else { return Err(refuse(Spoilt::Unreadable("no_key"))) };
    let Some(signed) = signed else { return Err(refuse(Spoilt::Unreadable("unsigned"))) };
    let limit = outbound.rules.max_answer;
    let opener = sealing.cipher.opener(length.filter(|_| !compressed));
    let mut text = SealedText::new(opener, limit, compressed);
    while let Some(piece) = answer.piece().await.map_err(cut)? {
        text.push(piece).map_err(&mut refuse)?;
    }
    text.finish(&signed).map(Bytes::from).map_err(refuse)
}

/// Up to about `limit` bytes of the body, and whether that was all of it.
async fn hold(answer: &mut Answer, limit: usize) -> Result<(Bytes, bool), Stop> {
    let mut held = BytesMut::new();
    while held.len() <= limit {
        match answer.piece().await.map_err(cut)? {
            Some(piece) => held.extend_from_slice(piece),
            None => return Ok((held.freeze(), true)),
        }
    }
    Ok((held.freeze(), answer.is_done()))
}

fn cut(_: SendCause) -> Stop {
    Refusal::AnswerCut.into()
}

/// Whether an unsealed answer may be one of the platform's envelopes: JSON, and small as far as is known.
fn may_be_envelope(head: &Head, length: Option<usize>) -> bool {
    let json =
        head.find("content-type").is_some_and(|value| value.windows(4).any(|part| part.eq_ignore_ascii_case(b"json")));
    json && length.is_none_or(|length| length <= ENVELOPE) && head.status() != StatusCode::PARTIAL_CONTENT
}

fn compressed(head: &Head) -> bool {
    head.find("content-encoding")
        .is_some_and(|value| value.eq_ignore_ascii_case(b"gzip") || value.eq_ignore_ascii_case(b"x-gzip"))
}

/// The text of a gzip body, or `None` when it is none or unpacks to more than `limit` bytes.
fn inflate(body: &[u8], limit: usize) -> Option<Bytes> {
    let mut plain = Vec::new();
    let read = flate2::read::MultiGzDecoder::new(body).take(limit as u64 + 1).read_to_end(&mut plain).ok()?;
    (read <= limit).then(|| plain.into())
}

/// The platform's head as the program gets it: without what ends here, and without what says how the body ends. The
/// platform may have declared a length twice, or one that is not what ends the body.
fn translate(head: &Head, sealed: bool) -> ResponseHead {
    let named = Named::by(head.all("connection"));
    let mut out = ResponseHead::with_reason(head.status(), head.reason().unwrap_or_default());
    for (name, value) in head.fields() {
        let dropped = headers::ends_at_hop(name)
            || headers::is_ours(name)
            || named.contains(name)
            || match name.len() {
                4 => headers::is(name, "date"),
                6 => headers::is(name, SIGNED),
                12 => headers::is(name, IS_ENCRYPTED) || name.eq_ignore_ascii_case(REQUEST_ID),
                14 => headers::is(name, "content-length"),
                // It would say that this is the answer to an earlier call.
                20 => headers::is(name, "idempotency-replayed"),
                16 => sealed && headers::is(name, "content-encoding"),
                _ => false,
            };
        if !dropped {
            out.header(name, value);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_that_unpacks_to_too_much_is_none() {
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        std::io::Write::write_all(&mut packed, &[b'a'; 1000]).expect("memory");
        let packed = packed.finish().expect("memory");
        assert_eq!(inflate(&packed, 1000).map(|plain| plain.len()), Some(1000));
        assert_eq!(inflate(&packed, 999), None);
        assert_eq!(inflate(b"not gzip", 999), None);
    }
}
