//! Logins are answered here: existing clients log in first, and the platform's real token reaches nobody.
//!
//! The token that is given out is a placeholder. It opens nothing, here or at the platform: a call is
//! known by its `X-Gateway-Key`, and whatever it carries in `Authorization` is dropped.

use http::StatusCode;

use super::body::next_piece;
use super::receive::Received;
use super::record::{REQUEST_ID, Record};
use super::stop::Stop;
use crate::config;
use crate::http::head::Length;
use crate::http::response::ResponseHead;
use crate::http::session::Session;
use crate::reply::Refusal;
use crate::token::Family;

/// 64 characters, as the platform's own tokens have.
const PLACEHOLDER: &str = "airudder-gateway-placeholder-token-opens-nothing-AAAAAAAAAAAAAAA";

/// Largest login that is read, in bytes.
const MAX_BODY: u64 = 64 * 1024;

/// Answers a login in the family's own shape. What it carries is read and forgotten.
pub(super) async fn answer(
    session: &mut Session,
    received: &Received<'_>,
    rules: &config::Outbound,
    record: &mut Record<'_>,
    family: Family,
) -> Result<(), Stop> {
    if matches!(received.length, Length::Known(bytes) if bytes > MAX_BODY) {
        return Err(Refusal::BodyTooLarge.into());
    }
    session.invite(rules.body_timeout).await.map_err(|_| Stop::ClientGone)?;
    let mut read = 0;
    while let Some(piece) = next_piece(session).await? {
        read += piece.len() as u64;
        if read > MAX_BODY {
            return Err(Refusal::BodyTooLarge.into());
        }
    }
    let body = match family {
        Family::Cloud => serde_json::json!({"data": {"token": PLACEHOLDER}, "status": "OK", "code": 200}),
        Family::CallCentre => serde_json::json!({"code": 0, "message": "OK", "body": {"token": PLACEHOLDER}}),
    }
    .to_string();
    record.status = 200;
    record.sealed = false;
    record.bytes_in = read;
    record.bytes_out = if *received.method == http::Method::HEAD { 0 } else { body.len() as u64 };
    let mut head = ResponseHead::new(StatusCode::OK);
    head.header(b"Content-Type", b"application/json").header(REQUEST_ID, record.request_id.as_bytes());
    session.answer(head, body.as_bytes()).await.map_err(|_| Stop::ClientGone)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_placeholder_looks_like_a_token() {
        assert_eq!(PLACEHOLDER.len(), 64);
    }
}
