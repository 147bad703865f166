//! Logins are answered here: existing clients log in first, and the platform's real token reaches nobody.
//!
//! A program that shows its pair is given a gateway token. Where nobody needs one, because there are no programs or the
//! login carries an `X-Gateway-Key`, it is a placeholder that opens nothing. A pair is read, judged and wiped.

use std::pin::pin;

use http::StatusCode;
use zeroize::Zeroizing;

use super::Outbound;
use super::body::next_piece;
use super::receive::{account, check_plain, key};
use super::record::{Phase, REQUEST_ID, Record};
use super::stop::{Stop, unless_gone};
use crate::clock;
use crate::http::head::{Length, Request};
use crate::http::response::ResponseHead;
use crate::http::session::Session;
use crate::program::{Attempt, Credential, Pair, Program};
use crate::reply::{Refusal, Reply};
use crate::token::Family;

/// 64 characters, as the platform's own tokens have.
const PLACEHOLDER: &str = "airudder-gateway-placeholder-token-opens-nothing-AAAAAAAAAAAAAAA";

/// Largest login that is read, in bytes.
const MAX_BODY: usize = 64 * 1024;

/// Answers a login in the family's own shape.
pub(super) async fn answer<'a>(
    outbound: &'a Outbound,
    request: &Request,
    session: &mut Session,
    record: &mut Record<'a>,
    family: Family,
) -> Result<(), Stop> {
    check_plain(request)?;
    let programs = &outbound.programs;
    let known = match programs.anonymous() {
        Some(everybody) => Some(everybody),
        None => match key(request)? {
            Some(key) => Some(programs.identify(Credential::Key(key), || 0).map_err(|_| Refusal::UnknownProgram)?),
            None => None,
        },
    };
    let token = match known {
        Some(program) => {
            name(outbound, request, program, record)?;
            read(outbound, request, session, record, None).await?;
            PLACEHOLDER.to_owned()
        }
        None => log_in(outbound, request, session, record).await?,
    };
    let body = match family {
        Family::Cloud => serde_json::json!({"data": {"token": token}, "status": "OK", "code": 200}),
        Family::CallCentre => serde_json::json!({"code": 0, "message": "OK", "body": {"token": token}}),
    }
    .to_string();
    record.status = 200;
    record.skip();
    record.bytes_out = if *request.method() == http::Method::HEAD { 0 } else { body.len() as u64 };
    let mut head = ResponseHead::new(StatusCode::OK);
    head.header(b"Content-Type", b"application/json").header(REQUEST_ID, record.request_id.as_bytes());
    session.answer(head, body.as_bytes()).await.map_err(|_| Stop::ClientGone)?;
    record.lap(Phase::Deliver);
    Ok(())
}

/// The token for the pair in the body. A wrong pair and one that is no pair are refused alike.
async fn log_in<'a>(
    outbound: &'a Outbound,
    request: &Request,
    session: &mut Session,
    record: &mut Record<'a>,
) -> Result<String, Stop> {
    let room = match request.length() {
        Length::None => 0,
        Length::Known(bytes) => usize::try_from(bytes).unwrap_or(MAX_BODY).min(MAX_BODY),
        Length::Unknown => MAX_BODY,
    };
    let admitted = outbound
        .budget
        .admit_unlimited(room)
        .await
        .map_err(|_| Reply { retry_after: Some(outbound.rules.memory_wait), ..Refusal::Busy.into() })?;
    // A buffer that grew would leave copies of a secret behind.
    let mut body = Zeroizing::new(Vec::with_capacity(room));
    read(outbound, request, session, record, Some(&mut body)).await?;
    let Attempt { named, wait, proved } = outbound.programs.log_in(Pair::read(&body).as_ref(), clock::now());
    drop((body, admitted));
    if let Some(program) = named {
        record.is_by(program);
    }
    if !wait.is_zero() {
        record.skip();
        unless_gone(session, pin!(tokio::time::sleep(wait))).await?;
        record.lap(Phase::LimitWait);
    }
    let proved = proved.ok_or(Refusal::LoginRefused)?;
    name(outbound, request, proved.program(), record)?;
    Ok(outbound.programs.issue(&proved, clock::wall_millis() / 1000).ok_or(Refusal::Internal)?)
}

/// Whose login it is, in the log.
fn name<'a>(
    outbound: &'a Outbound,
    request: &Request,
    program: &'a Program,
    record: &mut Record<'a>,
) -> Result<(), Refusal> {
    record.is_by(program);
    record.is_for(account(outbound, request, program)?);
    Ok(())
}

/// Reads the body; it is kept where there is a place for it, else forgotten.
async fn read(
    outbound: &Outbound,
    request: &Request,
    session: &mut Session,
    record: &mut Record<'_>,
    mut kept: Option<&mut Vec<u8>>,
) -> Result<(), Stop> {
    if matches!(request.length(), Length::Known(bytes) if bytes > MAX_BODY as u64) {
        return Err(Refusal::BodyTooLarge.into());
    }
    session.invite(outbound.rules.body_timeout).await.map_err(|_| Stop::ClientGone)?;
    while let Some(piece) = next_piece(session).await? {
        record.bytes_in += piece.len() as u64;
        if record.bytes_in > MAX_BODY as u64 {
            return Err(Refusal::BodyTooLarge.into());
        }
        if let Some(kept) = &mut kept {
            kept.extend_from_slice(piece);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::program::TOKEN_LENGTH;

    #[test]
    fn the_placeholder_looks_like_a_token() {
        assert_eq!(PLACEHOLDER.len(), TOKEN_LENGTH);
    }
}
