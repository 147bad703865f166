//! Tables of header names, each with a secret: for operations and for receivers.
//!
//! Owns which headers are the gateway's own to write. No value is ever shown.

use http::HeaderName;

use super::error::Fault;
use super::file;
use super::reference::Surroundings;
use super::table::Given;
use crate::secret::Secret;

/// These frame the message or mark the envelope; a fixed value would break the one or belie the other.
const FRAMING: [&str; 12] = [
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

/// What begins so a delivery says of itself, and receivers rely on it.
const OF_DELIVERIES: [&str; 2] = ["webhook-", "x-gateway-"];

/// Headers that an operation sends in place of `Authorization`.
pub(super) fn of_operation(
    given: &Given<file::Headers>,
    around: &mut Surroundings<'_>,
) -> Result<Vec<(HeaderName, Secret)>, Fault> {
    if given.value.is_empty() {
        return Err(given.fault("is empty; name a header, or remove it to send Authorization"));
    }
    checked(given, around, |_| false)
}

/// Headers that every delivery to a receiver carries.
pub(super) fn of_receiver(
    given: &Given<file::Headers>,
    around: &mut Surroundings<'_>,
) -> Result<Vec<(HeaderName, Secret)>, Fault> {
    if given.value.is_empty() {
        return Err(given.fault("is empty; name a header, or remove it"));
    }
    checked(given, around, |name| OF_DELIVERIES.iter().any(|begin| name.starts_with(begin)))
}

fn checked(
    given: &Given<file::Headers>,
    around: &mut Surroundings<'_>,
    is_ours: impl Fn(&str) -> bool,
) -> Result<Vec<(HeaderName, Secret)>, Fault> {
    let mut headers: Vec<(HeaderName, _)> = Vec::new();
    for (name, reference) in &given.value {
        if FRAMING.contains(&name.as_str()) || is_ours(name.as_str()) {
            return Err(reference.fault("is written by the gateway itself; remove it"));
        }
        if headers.iter().any(|(earlier, _)| earlier == name) {
            return Err(reference.fault("is named twice, for case makes no difference; remove one"));
        }
        headers.push((name.clone(), around.header_secret(reference)?));
    }
    Ok(headers)
}
