//! Opening and judging an answer, and building the head that the program reads.
//!
//! An answer is opened by its own header, never by what was sent. A sealed one is held until its digest
//! has proved it; an envelope of the platform is held until its code was read; everything else streams.
//! A wrong digest is an error, never a guess.

use std::io::Read;

use bytes::{Bytes, BytesMut};
use http::{Method, StatusCode, header};
use memchr::memmem;
use pingora::http::ResponseHeader;
use serde::Deserialize;

use super::Outbound;
use super::account::Account;
use super::call::{Received, Stop};
use super::record::{Phase, Record};
use crate::http::client::{Answer, SendCause};
use crate::http::headers::{self, IS_ENCRYPTED, SIGNED};
use crate::limit::Admitted;
use crate::reply::Refusal;
use crate::token::Family;

/// The largest unsealed answer that is held to read its code: the platform's envelopes are far smaller.
const ENVELOPE: usize = 64 * 1024;

/// An answer that was looked at: ready to be delivered, or to be discarded for a replay.
pub(super) struct Judged {
    /// What the program reads, without the final `Connection` and `Date`.
    pub(super) head: Box<ResponseHeader>,
    /// What is in hand of the body: all of it, unless `rest` is there.
    pub(super) held: Bytes,
    /// The answer, when more of its body streams.
    pub(super) rest: Option<Answer>,
    /// Whether a body follows the head at all (not for HEAD, 204 and 304).
    pub(super) has_body: bool,
    code: Option<i64>,
}

impl Judged {
    /// Whether the platform refused the token, by status or by the code in the body.
    pub(super) fn refuses_token(&self, family: Family) -> bool {
        self.head.status == StatusCode::UNAUTHORIZED || self.code.is_some_and(|code| family.refuses(code))
    }

    /// Lets go of an answer that will not be delivered.
    pub(super) async fn discard(self, account: &Account) {
        if let Some(answer) = self.rest {
            account.client.release(answer).await;
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
    let Some(head) = answer.head() else { return Err(Refusal::AnswerUnreadable.into()) };
    let status = head.status;
    let bodyless =
        received.method == Method::HEAD || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    let sealed = headers::is_sealed(&head.headers);
    let length = head.headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    received.account.series.answered(status.as_u16());

    let judged = if bodyless {
        let head = translate(head, sealed, None);
        received.account.client.release(answer).await;
        Judged { head, held: Bytes::new(), rest: None, has_body: false, code: None }
    } else if sealed {
        let limit = outbound.rules.max_answer;
        let room = length.unwrap_or(limit);
        if room > limit {
            return Err(Refusal::AnswerTooLarge.into());
        }
        // The request was carried out: without room the program learns that, and not the answer.
        let _reserved = outbound.budget.reserve_answer(admitted, room).await.map_err(|_| Refusal::AnswerTooLarge)?;
        let plain = open(outbound, received, &mut answer, length, record).await?;
        let Some(head) = answer.head() else { return Err(Refusal::AnswerUnreadable.into()) };
        let judged = Judged {
            head: translate(head, true, Some(plain.len())),
            code: code(&plain),
            held: plain,
            rest: None,
            has_body: true,
        };
        received.account.client.release(answer).await;
        judged
    } else if is_envelope(head, length) {
        let (held, done) = hold(&mut answer, ENVELOPE).await?;
        let Some(head) = answer.head() else { return Err(Refusal::AnswerUnreadable.into()) };
        let code = match compressed(head) {
            true => inflate(&held, ENVELOPE * 4).and_then(|plain| code(&plain)),
            false => code(&held),
        };
        let head = translate(head, false, done.then_some(held.len()));
        if done {
            received.account.client.release(answer).await;
            Judged { head, held, rest: None, has_body: true, code }
        } else {
            Judged { head, held, rest: Some(answer), has_body: true, code }
        }
    } else {
        Judged {
            head: translate(head, false, None),
            held: Bytes::new(),
            rest: Some(answer),
            has_body: true,
            code: None,
        }
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
    let Some(head) = answer.head() else { return Err(Refusal::AnswerUnreadable.into()) };
    let signed = head.headers.get(SIGNED).cloned();
    let compressed = compressed(head);
    let mut unreadable = |reason: &'static str| {
        record.reason = reason;
        outbound.series.metrics.crypto_failures.with_label_values(&[&received.account.name, reason]).inc();
        Stop::from(Refusal::AnswerUnreadable)
    };
    let Some(sealing) = &received.account.sealing else { return Err(unreadable("no_key")) };
    let Some(signed) = signed else { return Err(unreadable("unsigned")) };
    let limit = outbound.rules.max_answer;
    let mut opener = sealing.cipher.opener(length.filter(|_| !compressed));
    if compressed {
        let (text, done) = hold(answer, limit).await?;
        let text = done.then(|| inflate(&text, limit)).flatten().ok_or_else(|| unreadable("compression"))?;
        opener.push(&text).map_err(|error| unreadable(error.reason()))?;
    } else {
        let mut read = 0;
        while let Some(piece) = answer.piece().await.map_err(cut)? {
            read += piece.len();
            if read > limit {
                return Err(Refusal::AnswerTooLarge.into());
            }
            opener.push(piece).map_err(|error| unreadable(error.reason()))?;
        }
    }
    let plain = opener.finish(signed.as_bytes()).map_err(|error| unreadable(error.reason()))?;
    Ok(Bytes::from(plain))
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
fn is_envelope(head: &ResponseHeader, length: Option<usize>) -> bool {
    let json = head.headers.get(header::CONTENT_TYPE).is_some_and(|value| {
        let value = value.as_bytes();
        value.windows(4).any(|part| part.eq_ignore_ascii_case(b"json"))
    });
    json && length.is_none_or(|length| length <= ENVELOPE) && head.status != StatusCode::PARTIAL_CONTENT
}

fn compressed(head: &ResponseHeader) -> bool {
    head.headers.get(header::CONTENT_ENCODING).is_some_and(|value| {
        let value = value.as_bytes();
        value.eq_ignore_ascii_case(b"gzip") || value.eq_ignore_ascii_case(b"x-gzip")
    })
}

/// The text of a gzip body, or `None` when it is none or unpacks to more than `limit` bytes.
fn inflate(body: &[u8], limit: usize) -> Option<Bytes> {
    let mut plain = Vec::new();
    let read = flate2::read::MultiGzDecoder::new(body).take(limit as u64 + 1).read_to_end(&mut plain).ok()?;
    (read <= limit).then(|| plain.into())
}

/// The `code` of the platform's envelope (a number, or digits in quotes).
fn code(body: &[u8]) -> Option<i64> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Code<'a> {
        Number(i64),
        Text(&'a str),
    }
    #[derive(Deserialize)]
    struct Envelope<'a> {
        #[serde(borrow)]
        code: Option<Code<'a>>,
        retcode: Option<i64>,
    }
    if body.len() > ENVELOPE || !body.trim_ascii_start().starts_with(b"{") {
        return None;
    }
    if let Some(code) = plain_success(body) {
        return Some(code);
    }
    let envelope: Envelope<'_> = serde_json::from_slice(body).ok()?;
    let code = match envelope.code {
        Some(Code::Number(code)) => Some(code),
        Some(Code::Text(digits)) => digits.parse().ok(),
        None => envelope.retcode,
    };
    code
}

/// The usual case without parsing: `"code"` stands in the body once, and says success wherever it stands.
/// Anything else has to be parsed, because a refusal counts only at the top.
fn plain_success(body: &[u8]) -> Option<i64> {
    let mut found = memmem::find_iter(body, b"\"code\"");
    let after = body[found.next()? + 6..].trim_ascii_start().strip_prefix(b":")?.trim_ascii_start();
    let digits = after.iter().take_while(|b| b.is_ascii_digit()).count();
    let ends = matches!(after.get(digits), Some(b',' | b'}' | b' ' | b'\r' | b'\n' | b'\t'));
    match &after[..digits] {
        _ if !ends || found.next().is_some() => None,
        b"200" => Some(200),
        b"0" => Some(0),
        _ => None,
    }
}

/// The platform's head as the program gets it: without what ends here, with the exact length of an opened body.
fn translate(head: &ResponseHeader, sealed: bool, length: Option<usize>) -> Box<ResponseHeader> {
    let named = headers::named_by_connection(&head.headers);
    let mut out = match ResponseHeader::build_no_case(head.status, Some(head.headers.len() + 3)) {
        Ok(out) => Box::new(out),
        // The status was a status a moment ago.
        Err(_) => return Box::new(head.clone()),
    };
    let _ = out.set_reason_phrase(head.get_reason_phrase());
    for (name, value) in &head.headers {
        let dropped = headers::ends_at_hop(name)
            || named.contains(name)
            || name.as_str().starts_with("x-gateway-")
            || name == IS_ENCRYPTED
            || name == SIGNED
            || (length.is_some() && name == header::CONTENT_LENGTH)
            || (sealed && (name == header::CONTENT_ENCODING || name == header::CONTENT_LENGTH));
        if dropped {
            continue;
        }
        let _ = out.append_header(name.clone(), value.clone());
    }
    if let Some(length) = length {
        let _ = out.append_header(header::CONTENT_LENGTH, length);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_code_is_the_one_at_the_top() {
        for (body, expected) in [
            (r#"{"data":{},"status":"OK","code":200}"#, Some(200)),
            (r#"{"code":0,"body":{}}"#, Some(0)),
            (r#"{ "code" : 401 , "data":null}"#, Some(401)),
            (r#"{"code":"401"}"#, Some(401)),
            (r#"{"code":-1}"#, Some(-1)),
            (r#"{"code":2000}"#, Some(2000)),
            (r#"{"code":200.5}"#, None),
            (r#"{"data":{"code":401},"code":200}"#, Some(200)),
            (r#"{"data":{"code":200},"code":10811}"#, Some(10811)),
            (r#"{"data":{"code":401}}"#, None),
            (r#"{"data":"\"code\": 401"}"#, None),
            (r#"{"retcode":0,"data":{}}"#, Some(0)),
            (r#"{"retcode":7,"data":{}}"#, Some(7)),
            (r#"{"code":401"#, None),
            ("[401]", None),
            ("", None),
        ] {
            assert_eq!(code(body.as_bytes()), expected, "{body}");
        }
    }

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
