//! `[[operation]]`: a known operation changed, or a new one with its route.
//!
//! The table of known operations belongs to the outbound room, so whether a name without a route is known
//! is not decided here.

use http::Method;

use super::bounds::{name, path, repeated};
use super::error::{Fault, either, quote};
use super::limit;
use super::reference::Surroundings;
use super::table::Given;
use super::{Account, OperationRule, file, headers};

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
        (Some(method), Some(path)) => Some((self::method(method)?, exact_path(path)?)),
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
    let headers = written.headers.as_ref().map_or(Ok(Vec::new()), |given| headers::of_operation(given, around))?;
    let limit = limit::of_operation(written.limit.as_ref())?;
    let needs_key = match &written.idempotency {
        None => false,
        Some(given) => match given.value.as_str() {
            "required" => true,
            "optional" => false,
            _ => return Err(given.fault("must be \"required\" or \"optional\"")),
        },
    };
    if route.is_none() && sealed.is_none() && headers.is_empty() && limit.is_none() && !needs_key {
        around.warnings.push(Fault::at(
            given.at,
            format!(
                "operation \"{name}\" changes nothing; give it encryption, headers, limit, idempotency or a route, or remove it"
            ),
        ));
    }
    Ok(OperationRule { name, route, sealed, headers, limit, needs_key })
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

fn exact_path(given: &Given<String>) -> Result<String, Fault> {
    path(given).map_err(|rest| given.fault(format!("{} {rest}", quote(&given.value))))
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

/// Refuses to require a key that would be kept nowhere.
pub(super) fn keys_are_kept(
    sections: &[Given<file::Operation>],
    operations: &[OperationRule],
    is_kept: bool,
) -> Result<(), Fault> {
    let needs = sections.iter().zip(operations).find(|(_, rule)| rule.needs_key).filter(|_| !is_kept);
    let Some((section, rule)) = needs else { return Ok(()) };
    let at = section.value.idempotency.as_ref().map_or(section.at, |given| given.at);
    Err(Fault::at(
        at,
        format!("operation \"{}\" requires keys, and they are kept in the inbox; add [inbox]", rule.name),
    ))
}

/// Refuses the second operation of one method and path.
pub(super) fn distinct_routes(sections: &[Given<file::Operation>], operations: &[OperationRule]) -> Result<(), Fault> {
    let routes: Vec<_> =
        operations.iter().enumerate().filter_map(|(index, rule)| Some((index, rule.route.as_ref()?))).collect();
    let Some(second) = repeated(routes.iter().map(|(_, route)| route)) else { return Ok(()) };
    let (index, (method, path)) = routes[second];
    Err(Fault::at(sections[index].at, format!("two operations are {method} {path}; remove one of them")))
}
