//! Step one of a call: what the request's header decides, before anything of the body is read.
//!
//! Nothing is refused here that the platform might accept. It sends nothing and waits for nothing.

use http::Method;

use super::Outbound;
use super::account::{Account, Sealing};
use super::record::Record;
use super::route::Operation;
use super::stop::Stop;
use crate::http::head::{Length, Request};
use crate::http::headers::{IS_ENCRYPTED, SIGNED};
use crate::reply::Refusal;

/// What the request's header decides: who calls, for which account, which operation, and how.
pub(super) struct Received<'a> {
    pub(super) account: &'a Account,
    pub(super) operation: &'a Operation,
    pub(super) request: &'a Request,
    pub(super) method: &'a Method,
    pub(super) path: &'a str,
    pub(super) query: Option<&'a str>,
    /// `Some` when this call is sealed.
    pub(super) sealing: Option<&'a Sealing>,
    pub(super) length: Length,
}

impl Received<'_> {
    /// Whether sending it twice does no harm (RFC 9110 section 9.2.1, as far as the platform's clients go).
    pub(super) fn is_safe(&self) -> bool {
        matches!(*self.method, Method::GET | Method::HEAD)
    }
}

/// Reads the header.
pub(super) fn receive<'a>(
    outbound: &'a Outbound,
    request: &'a Request,
    record: &mut Record<'a>,
) -> Result<Received<'a>, Stop> {
    let method = request.method();
    record.method = method_name(method);
    if request.size() > outbound.rules.max_header {
        return Err(Refusal::HeaderTooLarge.into());
    }
    if matches!(*method, Method::CONNECT | Method::TRACE) {
        return Err(Refusal::MethodRefused.into());
    }

    let key = request.only("x-gateway-key").map_err(|_| Refusal::UnknownProgram)?;
    let program = outbound.programs.find(key).ok_or(Refusal::UnknownProgram)?;
    record.program = &program.name;
    let named = request.only("x-gateway-account").map_err(|_| Refusal::UnknownAccount)?;
    let account = match (program.account, named) {
        (Some(account), _) => &outbound.accounts[account],
        (None, None) => &outbound.accounts[0],
        (None, Some(named)) => {
            outbound.accounts.iter().find(|account| account.name.as_bytes() == named).ok_or(Refusal::UnknownAccount)?
        }
    };
    record.account = &account.name;

    let (path, query) = (request.path(), request.query());
    let operation = outbound.routes.find(method, path);
    record.operation = &operation.name;

    if request.header(IS_ENCRYPTED).is_some() || request.header(SIGNED).is_some() {
        return Err(Refusal::AlreadySealed.into());
    }
    let sealing = account.sealing.as_ref().filter(|_| operation.sealed != Some(false));
    record.sealed = sealing.is_some();
    Ok(Received { account, operation, request, method, path, query, sealing, length: request.length() })
}

/// The method's name in the log, where no stranger chooses the words.
pub(super) fn method_name(method: &Method) -> &'static str {
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
