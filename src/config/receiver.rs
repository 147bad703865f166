//! `[[receiver]]`: where callbacks are delivered, what proves them, and which of them it takes.
//!
//! Owns the form of signing secrets (Standard Webhooks 1.0.0). It never opens a connection.

use std::time::Duration;

use base64_simd::{STANDARD, STANDARD_NO_PAD};

use super::bounds::{count, name, positive};
use super::error::Fault;
use super::identity::identity;
use super::inbound::{Receiver, When};
use super::reference::Surroundings;
use super::table::Given;
use super::{Upstream, file, headers};
use crate::secret::Secret;

/// What a secret of Standard Webhooks begins with; the rest is base64.
const WRITTEN_AS_BASE64: &[u8] = b"whsec_";
/// Bytes a signing secret should have at least, as Standard Webhooks says.
const LEAST_SECRET: usize = 24;

/// Waits after attempts that failed, in seconds: 5 s, 30 s, 2 min, 10 min, 30 min, 1 h, 3 h, 6 h, 12 h, then daily.
const RETRY: [u64; 10] = [5, 30, 120, 600, 1800, 3600, 10_800, 21_600, 43_200, 86_400];
/// Most waits of a schedule.
const MOST_WAITS: usize = 64;

/// Checks one receiver; what is unwise goes to the warnings.
pub(super) fn receiver(given: &Given<file::Receiver>, around: &mut Surroundings<'_>) -> Result<Receiver, Fault> {
    let written = &given.value;
    let name = name(given, written.name.as_ref())?;
    let Some(url) = &written.url else {
        return Err(Fault::at(
            given.at,
            format!("receiver \"{name}\" has no url; add url = \"http://HOST:PORT/PATH\""),
        ));
    };
    // An address may hold a password that was put there by mistake, so no sentence shows it.
    let (upstream, target) = Upstream::parse_url(&url.value).map_err(|rest| url.fault(rest))?;
    let ca = written.ca.as_ref().map(|ca| around.ca(ca)).transpose()?;
    let own = written.identity.as_ref();
    let identity = own
        .map(|own| identity(own.at, "identity", own.value.cert.as_ref(), own.value.key.as_ref(), around))
        .transpose()?;
    if !upstream.tls {
        let without = "has no effect on an http:// url; remove it";
        around.warnings.extend(written.ca.as_ref().map(|ca| ca.fault(without)));
        around.warnings.extend(own.map(|own| own.fault(without)));
    }
    if let (None, Some(old)) = (&written.secret, &written.old_secret) {
        return Err(old.fault("stands without secret; it is the former one while receivers change, so add secret"));
    }
    let secrets = [&written.secret, &written.old_secret].into_iter().flatten();
    let secrets = secrets.map(|secret| signing_secret(secret, around)).collect::<Result<Vec<_>, _>>()?;
    if let ([secret, old], Some(given)) = (secrets.as_slice(), &written.old_secret)
        && secret == old
    {
        around.warnings.push(given.fault("is the same as secret, so deliveries are signed twice alike; remove it"));
    }
    Ok(Receiver {
        name,
        upstream,
        target,
        ca,
        identity,
        secrets,
        headers: written.headers.as_ref().map_or(Ok(Vec::new()), |given| headers::of_receiver(given, around))?,
        concurrency: count(written.concurrency.as_ref(), 1..=1024, 16)?,
        timeout: positive(written.timeout.as_ref(), Duration::from_secs(15))?,
        retry: retry(written.retry.as_ref())?,
        bury: bury(written.bury.as_ref())?,
        when: written.when.as_ref().map(when).transpose()?,
    })
}

/// The bytes that sign. The sentences never show what was written.
fn signing_secret(given: &Given<file::Reference>, around: &mut Surroundings<'_>) -> Result<Secret, Fault> {
    let secret = around.secret(given)?;
    let secret = match secret.expose().strip_prefix(WRITTEN_AS_BASE64) {
        None => secret,
        Some(text) => match STANDARD.decode_to_vec(text).or_else(|_| STANDARD_NO_PAD.decode_to_vec(text)) {
            Ok(bytes) if !bytes.is_empty() => Secret::new(bytes),
            _ => return Err(given.fault("begins with whsec_, but what follows is not base64; copy it anew")),
        },
    };
    if secret.len() < LEAST_SECRET {
        around.warnings.push(given.fault(format!(
            "has {} bytes, which may be found out by trying; make one of {LEAST_SECRET} to 64 random bytes",
            secret.len()
        )));
    }
    Ok(secret)
}

/// The waits after attempts that failed.
fn retry(given: Option<&Given<Vec<Given<Duration>>>>) -> Result<Vec<Duration>, Fault> {
    let Some(given) = given else { return Ok(RETRY.map(Duration::from_secs).to_vec()) };
    if !(1..=MOST_WAITS).contains(&given.value.len()) {
        return Err(given.fault(format!(
            "holds {} waits; write one to {MOST_WAITS}, such as [\"5s\", \"1m\", \"1h\"]; the last one repeats",
            given.value.len()
        )));
    }
    given.value.iter().map(|wait| positive(Some(wait), Duration::from_secs(5))).collect()
}

/// Statuses that bury. 429 and 503 ask to come again, 2xx is a delivery, and 1xx is no answer.
fn bury(given: Option<&Given<Vec<Given<u64>>>>) -> Result<Vec<u16>, Fault> {
    let Some(given) = given else { return Ok(Vec::new()) };
    let status = |given: &Given<u64>| match u16::try_from(given.value) {
        Ok(status @ (429 | 503)) => {
            Err(given.fault(format!("holds {status}, which asks to come again later; remove it")))
        }
        Ok(status @ 300..=599) => Ok(status),
        _ => Err(given.fault(format!("holds {}; a status that buries is from 300 to 599", given.value))),
    };
    given.value.iter().map(status).collect()
}

fn when(given: &Given<file::When>) -> Result<When, Fault> {
    let missing = |key| {
        Fault::at(given.at, format!("when has no {key}; write {{ pointer = \"/status\", equals = \"finished\" }}"))
    };
    let pointer = given.value.pointer.as_ref().ok_or_else(|| missing("pointer"))?;
    let equals = given.value.equals.as_ref().ok_or_else(|| missing("equals"))?;
    // RFC 6901: ~ stands only in ~0 and ~1.
    let is_escaped = pointer.value.split('~').skip(1).all(|rest| rest.starts_with(['0', '1']));
    if !(pointer.value.is_empty() || pointer.value.starts_with('/')) || !is_escaped {
        return Err(pointer
            .fault("is no JSON pointer; begin with / and write ~ as ~0 and / as ~1, such as \"/details/0/result\""));
    }
    Ok(When { pointer: pointer.value.clone(), equals: equals.value.clone() })
}
