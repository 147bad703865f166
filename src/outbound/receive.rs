//! Step one of a call: what the request's header decides, before anything of the body is read.
//!
//! Nothing is refused here that the platform might accept, unless the caller may not. It sends nothing and waits for
//! nothing.

use std::time::Duration;

use http::Method;

use super::Outbound;
use super::account::{Account, Sealing};
use super::record::Record;
use super::route::{Auth, Operation};
use super::stop::Stop;
use crate::clock;
use crate::http::head::{Length, Request};
use crate::http::headers::{IS_ENCRYPTED, SIGNED};
use crate::limit::{Deadline, parse_deadline};
use crate::program::{Credential, Program, Unknown};
use crate::reply::{Refusal, Reply};
use crate::token::Family;
use crate::trace::{TRACEPARENT, TraceParent};

/// What the request's header decides: who calls, for which account, which operation, and how.
pub(super) struct Received<'a> {
    pub(super) program: &'a Program,
    pub(super) account: &'a Account,
    pub(super) operation: &'a Operation,
    pub(super) request: &'a Request,
    pub(super) method: &'a Method,
    pub(super) path: &'a str,
    pub(super) query: Option<&'a str>,
    /// `Some` when this call is sealed.
    pub(super) sealing: Option<&'a Sealing>,
    pub(super) length: Length,
    /// Until when it can wait, for whatever it waits before it leaves, when it says so itself.
    pub(super) deadline: Option<Deadline>,
}

impl Received<'_> {
    /// Whether sending it twice does no harm (RFC 9110 section 9.2.1, as far as the platform's clients go).
    pub(super) fn is_safe(&self) -> bool {
        matches!(*self.method, Method::GET | Method::HEAD)
    }

    /// How long it can wait from now on, when it says so itself.
    pub(super) fn patience(&self) -> Option<Duration> {
        self.deadline.map(|deadline| deadline.left(clock::now()))
    }

    /// Whether the time is over after which it should not leave.
    pub(super) fn is_late(&self) -> bool {
        self.deadline.is_some_and(|deadline| deadline.is_over(clock::now()))
    }
}

/// Which operation is asked for, whoever asks.
pub(super) fn operation<'a>(
    outbound: &'a Outbound,
    request: &Request,
    record: &mut Record<'a>,
) -> Result<&'a Operation, Stop> {
    let method = request.method();
    record.method = method_name(method);
    // Of two traces neither is believed.
    record.trace = request.only(TRACEPARENT).ok().flatten().and_then(TraceParent::parse);
    if request.size() > outbound.rules.max_header {
        return Err(Refusal::HeaderTooLarge.into());
    }
    if matches!(*method, Method::CONNECT | Method::TRACE) {
        return Err(Refusal::MethodRefused.into());
    }
    let operation = outbound.routes.find(method, request.path());
    record.operation = &operation.name;
    Ok(operation)
}

/// Refuses what a program sealed itself: nobody could open it here.
pub(super) fn check_plain(request: &Request) -> Result<(), Refusal> {
    match request.header(IS_ENCRYPTED).or(request.header(SIGNED)) {
        Some(_) => Err(Refusal::AlreadySealed),
        None => Ok(()),
    }
}

/// Who asks for it, and for which account.
pub(super) fn receive<'a>(
    outbound: &'a Outbound,
    request: &'a Request,
    operation: &'a Operation,
    record: &mut Record<'a>,
) -> Result<Received<'a>, Stop> {
    let program = match outbound.programs.anonymous() {
        Some(everybody) => everybody,
        None => known(outbound, request, operation)?,
    };
    record.is_by(program);
    let account = account(outbound, request, program)?;
    record.is_for(account);
    if *request.method() == Method::POST {
        record.is_noted = outbound.series.keeps_ledger();
        record.shown_key = request.header("idempotency-key");
    }
    if !program.may(&operation.name) {
        return Err(Refusal::OperationNotAllowed.into());
    }
    check_plain(request)?;
    let sealing = account.sealing.as_ref().filter(|_| operation.sealed != Some(false));
    record.sealed = sealing.is_some();
    let deadline = match request.only("x-gateway-deadline").map_err(|_| Refusal::BadDeadline)? {
        None => None,
        Some(written) => {
            let deadline = parse_deadline(written, clock::wall_millis(), clock::now());
            Some(deadline.map_err(|_| Refusal::BadDeadline)?)
        }
    };
    let (method, path, query) = (request.method(), request.path(), request.query());
    let length = request.length();
    Ok(Received { program, account, operation, request, method, path, query, sealing, length, deadline })
}

/// The program that the call's credential names.
fn known<'a>(outbound: &'a Outbound, request: &Request, operation: &Operation) -> Result<&'a Program, Stop> {
    let refuse = |refusal: Refusal, code: u16| {
        // The call centre's clients look for these in the body: empty, invalid, expired.
        let centre = matches!(operation.auth, Auth::Token(Family::CallCentre));
        Stop::from(Reply { call_centre_code: centre.then_some(code), ..refusal.into() })
    };
    let nobody = || refuse(Refusal::UnknownProgram, 10810);
    let shown = match key(request)? {
        Some(key) => Credential::Key(key),
        None => {
            // Of two values that name two programs neither is believed.
            let value = request.only("authorization").map_err(|_| nobody())?;
            Credential::Token(value.and_then(token).ok_or_else(nobody)?)
        }
    };
    outbound.programs.identify(shown, || clock::wall_millis() / 1000).map_err(|unknown| match unknown {
        Unknown::Key => nobody(),
        Unknown::Token => refuse(Refusal::TokenInvalid, 10812),
        Unknown::Expired => refuse(Refusal::TokenExpired, 10813),
    })
}

/// What stands in `X-Gateway-Key`. It comes before a token: whoever sends it means it.
pub(super) fn key(request: &Request) -> Result<Option<&[u8]>, Stop> {
    request.only("x-gateway-key").map_err(|_| Refusal::UnknownProgram.into())
}

/// The token of an `Authorization`: after `Token`, as the platform documents it, after `Bearer`, as some clients write it,
/// or alone, as others do. `None`: it is empty or of another scheme.
fn token(value: &[u8]) -> Option<&[u8]> {
    let value = value.trim_ascii();
    let Some(end) = value.iter().position(u8::is_ascii_whitespace) else {
        return (!value.is_empty()).then_some(value);
    };
    let (scheme, token) = value.split_at(end);
    [&b"token"[..], b"bearer"].iter().any(|known| scheme.eq_ignore_ascii_case(known)).then(|| token.trim_ascii())
}

/// The account of a call: the program's own, else the one that is named, else the first.
pub(super) fn account<'a>(
    outbound: &'a Outbound,
    request: &Request,
    program: &Program,
) -> Result<&'a Account, Refusal> {
    let named = request.only("x-gateway-account").map_err(|_| Refusal::UnknownAccount)?;
    match (program.account, named) {
        (Some(account), _) => Ok(&outbound.accounts[account]),
        (None, None) => Ok(&outbound.accounts[0]),
        (None, Some(named)) => outbound
            .accounts
            .iter()
            .find(|account| account.name.as_bytes() == named)
            .map(AsRef::as_ref)
            .ok_or(Refusal::UnknownAccount),
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_read_however_it_is_written() {
        for (value, expected) in [
            ("Token abc+/=", Some("abc+/=")),
            ("Bearer abc", Some("abc")),
            ("abc", Some("abc")),
            ("token abc", Some("abc")),
            ("BEARER \t abc ", Some("abc")),
            ("Token a b", Some("a b")),
            ("", None),
            (" ", None),
            ("Basic abc", None),
            ("Tokens abc", None),
            // As a word alone it is a token, and none that was given.
            ("Token", Some("Token")),
        ] {
            assert_eq!(token(value.as_bytes()), expected.map(str::as_bytes), "{value:?}");
        }
    }
}
