//! Step one of a call: what the request's header decides, before anything of the body is read.
//!
//! Nothing is refused here that the platform might accept. It sends nothing and waits for nothing.

use http::{Method, header};
use pingora::protocols::http::v1::server::HttpSession;

use super::Outbound;
use super::account::{Account, Sealing};
use super::record::Record;
use super::route::Operation;
use super::stop::Stop;
use crate::http::head::{self, Malformed};
use crate::http::headers::{self, IS_ENCRYPTED, SIGNED};
use crate::reply::{Refusal, Reply};

/// What the request's header decides: who calls, for which account, which operation, and how.
pub(super) struct Received<'a> {
    pub(super) account: &'a Account,
    pub(super) operation: &'a Operation,
    pub(super) method: Method,
    pub(super) path: String,
    pub(super) query: Option<String>,
    /// `Some` when this call is sealed.
    pub(super) sealing: Option<&'a Sealing>,
    pub(super) length: Length,
}

/// How long the request's body is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Length {
    /// There is none.
    None,
    /// As declared, in bytes.
    Known(u64),
    /// Chunked.
    Unknown,
}

impl Received<'_> {
    /// Whether sending it twice does no harm (RFC 9110 section 9.2.1, as far as the platform's clients go).
    pub(super) fn is_safe(&self) -> bool {
        matches!(self.method, Method::GET | Method::HEAD)
    }
}

/// Reads the header.
pub(super) fn receive<'a>(
    outbound: &'a Outbound,
    session: &HttpSession,
    record: &mut Record<'a>,
) -> Result<Received<'a>, Stop> {
    let request = session.req_header();
    record.method = method_name(&request.method);
    let raw = session.get_headers_raw_bytes();
    if raw.len() > outbound.rules.max_header {
        return Err(Refusal::HeaderTooLarge.into());
    }
    if matches!(request.method, Method::CONNECT | Method::TRACE) {
        return Err(Refusal::MethodRefused.into());
    }
    head::check(&raw).map_err(Reply::from)?;

    let key = headers::only(&request.headers, "x-gateway-key").map_err(|_| Refusal::UnknownProgram)?;
    let program = outbound.programs.find(key).ok_or(Refusal::UnknownProgram)?;
    record.program = &program.name;
    let named = headers::only(&request.headers, "x-gateway-account").map_err(|_| Refusal::UnknownAccount)?;
    let account = match (program.account, named) {
        (Some(account), _) => &outbound.accounts[account],
        (None, None) => &outbound.accounts[0],
        (None, Some(named)) => outbound
            .accounts
            .iter()
            .find(|account| account.name.as_bytes() == named.as_bytes())
            .ok_or(Refusal::UnknownAccount)?,
    };
    record.account = &account.name;

    let target = std::str::from_utf8(request.raw_path()).map_err(|_| Reply::from(Malformed::Target))?;
    let target = head::path_and_query(target);
    let (path, query) = target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
    let operation = outbound.routes.find(&request.method, path);
    record.operation = &operation.name;

    let marked = request.headers.contains_key(IS_ENCRYPTED) || request.headers.contains_key(SIGNED);
    if marked {
        return Err(Refusal::AlreadySealed.into());
    }
    let length = if request.headers.contains_key(header::TRANSFER_ENCODING) {
        Length::Unknown
    } else {
        match request.headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok()) {
            None | Some(0) => Length::None,
            Some(bytes) => Length::Known(bytes),
        }
    };
    let sealing = account.sealing.as_ref().filter(|_| operation.sealed != Some(false));
    record.sealed = sealing.is_some();
    Ok(Received {
        account,
        operation,
        method: request.method.clone(),
        path: path.to_owned(),
        query: query.map(str::to_owned),
        sealing,
        length,
    })
}

fn method_name(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::HEAD => "HEAD",
        Method::PUT => "PUT",
        Method::DELETE => "DELETE",
        Method::PATCH => "PATCH",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}
