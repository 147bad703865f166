//! Operations that the platform does not have and tests need, under `/_sim/`: what arrived, and answers of every
//! kind. They ask for a token and can be sealed like any other.

use http::header::{AUTHORIZATION, ETAG};
use http::request::Parts;
use http::{HeaderValue, StatusCode};
use serde_json::{Value, json};

use super::answer::{Answer, Shape};
use crate::envelope::Signed;

/// What stands around the padding of `/_sim/answer/<n>`.
const FRAME: &str = r#"{"data":{"pad":""},"status":"OK","code":200}"#;

/// The largest answer that is made, in bytes.
const MOST: usize = 256 * 1024 * 1024;

/// Answers a probe; `None` when the path is none.
pub(super) fn answer(head: &Parts, body: &[u8], opened: Option<&[u8]>) -> Option<Answer> {
    let probe = head.uri.path().strip_prefix("/_sim/")?;
    let (name, argument) = probe.split_once('/').unwrap_or((probe, ""));
    let shape = match name {
        "echo" => Shape::Whole,
        "gzip" => Shape::Gzip,
        "chunked" => Shape::Chunked,
        "close" => Shape::CloseDelimited,
        "status" => return Some(status(argument)),
        "answer" => return Some(sized(argument)),
        _ => return None,
    };
    Some(Answer::ok(&echo(head, body, opened)).with_shape(shape))
}

/// What arrived, without the token.
fn echo(head: &Parts, body: &[u8], opened: Option<&[u8]>) -> Value {
    let headers: Vec<[String; 2]> = head
        .headers
        .iter()
        .map(|(name, value)| {
            let hidden = name == AUTHORIZATION || name == "token";
            let shown = if hidden { "(hidden)".into() } else { String::from_utf8_lossy(value.as_bytes()) };
            [name.to_string(), shown.into_owned()]
        })
        .collect();
    let sized = |bytes: &[u8]| json!({ "length": bytes.len(), "sha256": Signed::of(bytes).as_str() });
    json!({
        "method": head.method.as_str(),
        "path": head.uri.path(),
        "query": head.uri.query(),
        "headers": headers,
        "body": sized(body),
        "opened": opened.map(sized),
    })
}

/// Any status, 200 to 599, without a body where there can be none.
fn status(argument: &str) -> Answer {
    match argument.parse().ok().filter(|code| (200..600).contains(code)).map(StatusCode::from_u16) {
        Some(Ok(StatusCode::NO_CONTENT)) => Answer::empty(StatusCode::NO_CONTENT),
        Some(Ok(StatusCode::NOT_MODIFIED)) => {
            Answer::empty(StatusCode::NOT_MODIFIED).with_header(ETAG, HeaderValue::from_static("\"probe\""))
        }
        Some(Ok(code)) => Answer::failed(code, code.canonical_reason().unwrap_or("no name")),
        _ => Answer::failed(StatusCode::NOT_FOUND, "a status is 200 to 599"),
    }
}

/// JSON of exactly this many bytes (before sealing).
fn sized(argument: &str) -> Answer {
    let Some(pad) =
        argument.parse::<usize>().ok().filter(|size| *size <= MOST).and_then(|size| size.checked_sub(FRAME.len()))
    else {
        return Answer::failed(StatusCode::NOT_FOUND, "a size is 44 to 268435456");
    };
    Answer::ok(&json!({ "pad": "x".repeat(pad) }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sized_answer_has_its_size() {
        for size in [44, 45, 1024, 100_000] {
            assert_eq!(sized(&size.to_string()).sealable().map(bytes::Bytes::len), Some(size));
        }
        for wrong in ["43", "", "-1", "268435457", "x"] {
            assert_eq!(sized(wrong).status, StatusCode::NOT_FOUND, "{wrong}");
        }
    }
}
