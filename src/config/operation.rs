//! `[[operation]]`: a known operation changed, or a new one with its route.
//!
//! The table of known operations belongs to the outbound room, so whether a name without a route is known
//! is not decided here.

use http::{HeaderName, Method};

use super::bounds::{name, repeated};
use super::error::{Fault, either, quote};
use super::file;
use super::reference::Surroundings;
use super::table::Given;
use super::{Account, OperationRule};
use crate::secret::Secret;

/// Checks one operation; what is unwise goes to the warnings.
pub(super) fn operation(
    given: &Given<file::Operation>,
    accounts: &[Account],
    around: &mut Surroundings<'_>,
) -> Result<OperationRule, Fault> {
    let written = &given.value;
    let name = operation_name(given)?;
    let route = match (&written.method, &written.path) {
        (None, None) => None,
        (Some(method), Some(path)) => Some((self::method(method)?, self::path(path)?)),
        (Some(method), None) => return Err(method.fault("stands without path; add path, or remove method")),
        (None, Some(path)) => return Err(path.fault("stands without method; add method, or remove path")),
    };
    let sealed = match &written.encryption {
        None => None,
        Some(given) => match given.value.as_str() {
            "on" => Some(true),
            "off" => Some(false),
            _ => return Err(given.fault("must be \"on\" or \"off\"; the key belongs to the account")),
        },
    };
    if let (Some(true), Some(given)) = (sealed, &written.encryption)
        && let Some(open) = accounts.iter().find(|account| account.encryption.is_none())
    {
        return Err(given.fault(format!(
            "is on, but account \"{}\" has no encryption; give it one, or remove this line",
            open.name
        )));
    }
    let headers = written.headers.as_ref().map_or(Ok(Vec::new()), |given| headers(given, around))?;
    if route.is_none() && sealed.is_none() && headers.is_empty() {
        around.warnings.push(Fault::at(
            given.at,
            format!("operation \"{name}\" changes nothing; give it encryption, headers or a route, or remove it"),
        ));
    }
    Ok(OperationRule { name, route, sealed, headers })
}

fn headers(given: &Given<file::Headers>, around: &mut Surroundings<'_>) -> Result<Vec<(HeaderName, Secret)>, Fault> {
    // These frame the message or mark the envelope; a fixed value would break the one or belie the other.
    const OURS: [&str; 12] = [
        "connection",
        "content-length",
        "expect",
        "host",
        "is-encrypted",
        "keep-alive",
        "proxy-connection",
        "signed",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    ];
    if given.value.is_empty() {
        return Err(given.fault("is empty; name a header, or remove it to send Authorization"));
    }
    let mut headers: Vec<(HeaderName, _)> = Vec::new();
    for (name, reference) in &given.value {
        if OURS.contains(&name.as_str()) {
            return Err(reference.fault("is written by the gateway itself; remove it"));
        }
        if headers.iter().any(|(earlier, _)| earlier == name) {
            return Err(reference.fault("is named twice, for case makes no difference; remove one"));
        }
        headers.push((name.clone(), around.header_secret(reference)?));
    }
    Ok(headers)
}

fn method(given: &Given<String>) -> Result<Method, Fault> {
    const KNOWN: [Method; 7] =
        [Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::PATCH, Method::DELETE, Method::OPTIONS];
    KNOWN
        .iter()
        .find(|method| method.as_str() == given.value)
        .cloned()
        .ok_or_else(|| given.fault(format!("{} is not one of {}", quote(&given.value), either(&KNOWN))))
}

fn path(given: &Given<String>) -> Result<String, Fault> {
    let path = &given.value;
    let visible = path.bytes().all(|byte| byte.is_ascii_graphic());
    if path.starts_with('/') && visible && !path.contains(['?', '#']) {
        Ok(path.clone())
    } else {
        Err(given.fault(format!("{} must begin with / and have no query, no # and no spaces", quote(path))))
    }
}

fn operation_name(given: &Given<file::Operation>) -> Result<String, Fault> {
    let name = name(given, given.value.name.as_ref())?;
    match &given.value.name {
        Some(written) if name.bytes().any(|byte| byte.is_ascii_uppercase() || byte == b'-') => {
            Err(written.fault(format!("{} may hold only a to z, 0 to 9, _ and . for an operation", quote(&name))))
        }
        _ => Ok(name),
    }
}

/// Refuses the second operation of one method and path.
pub(super) fn distinct_routes(sections: &[Given<file::Operation>], operations: &[OperationRule]) -> Result<(), Fault> {
    let routes: Vec<_> =
        operations.iter().enumerate().filter_map(|(index, rule)| Some((index, rule.route.as_ref()?))).collect();
    let Some(second) = repeated(routes.iter().map(|(_, route)| route)) else { return Ok(()) };
    let (index, (method, path)) = routes[second];
    Err(Fault::at(sections[index].at, format!("two operations are {method} {path}; remove one of them")))
}
