//! `[[account]]`: from what is written to an account that can be used.
//!
//! Owns the defaults towards the platform and the sizes of keys. It never opens a
//! connection and never resolves a name.

use std::time::Duration;

use super::bounds::{count, name, positive};
use super::error::{Fault, either};
use super::limit;
use super::reference::Surroundings;
use super::table::Given;
use super::{Account, EmptyQuery, Encryption, Iv, Scheme, Timeouts, TokenRule, Upstream, file};
use crate::secret::Secret;

const UPSTREAM: &str = "https://api.airudder.com";
const CONTENT_TYPE: &str = "application/json";
/// Key sizes of AES-128, AES-192 and AES-256 in bytes.
const KEY_SIZES: [usize; 3] = [16, 24, 32];

/// Checks one account; what is unwise goes to the warnings.
pub(super) fn account(given: &Given<file::Account>, around: &mut Surroundings<'_>) -> Result<Account, Fault> {
    let written = &given.value;
    let name = name(given, written.name.as_ref())?;
    let missing =
        |key: &str| Fault::at(given.at, format!("account \"{name}\" has no {key}; add {key} = {{ env = \"NAME\" }}"));
    let upstream = match &written.upstream {
        Some(written) => upstream(written)?,
        None => Upstream::parse(UPSTREAM).map_err(Fault::of_text)?,
    };
    let ca = written.ca.as_ref().map(|ca| around.ca(ca)).transpose()?;
    if let Some(ca) = written.ca.as_ref().filter(|_| !upstream.tls) {
        around.warnings.push(ca.fault("has no effect on an http:// upstream; remove it"));
    }
    let app_key = around.text_secret(written.app_key.as_ref().ok_or_else(|| missing("app_key"))?)?;
    let app_secret = around.text_secret(written.app_secret.as_ref().ok_or_else(|| missing("app_secret"))?)?;
    let encryption = match &written.encryption {
        Some(Given { value: Some(sealing), at, .. }) => Some(encryption(sealing, *at, around)?),
        off => {
            let at = off.as_ref().map_or(given.at, |off| off.at);
            around.warnings.push(Fault::at(
                at,
                format!(
                    "account \"{name}\" sends its calls unsealed; set encryption if the platform gave you an AES key"
                ),
            ));
            None
        }
    };
    Ok(Account {
        upstream,
        ca,
        app_key,
        app_secret,
        encryption,
        timeouts: timeouts(written, around)?,
        token: token(written, around)?,
        limit: limit::of_account(written.limit.as_ref())?,
        breaker: limit::breaker(written.breaker.as_ref())?,
        name,
    })
}

fn timeouts(written: &file::Account, around: &mut Surroundings<'_>) -> Result<Timeouts, Fault> {
    const WISE_READ: Duration = Duration::from_secs(120);
    let timeouts = Timeouts {
        connect: positive(written.connect_timeout.as_ref(), Duration::from_secs(5))?,
        read: positive(written.read_timeout.as_ref(), Duration::from_secs(150))?,
        write: positive(written.write_timeout.as_ref(), Duration::from_secs(30))?,
        idle: positive(written.idle_timeout.as_ref(), Duration::from_secs(30))?,
    };
    if let Some(read) = written.read_timeout.as_ref().filter(|read| read.value < WISE_READ) {
        around.warnings.push(
            read.fault("is under 120 s; slow answers are normal here, and a POST cut short has no known outcome"),
        );
    }
    Ok(timeouts)
}

fn token(written: &file::Account, around: &mut Surroundings<'_>) -> Result<TokenRule, Fault> {
    const DOCUMENTED_LIFE: Duration = Duration::from_secs(24 * 60 * 60);
    let login = written.login.as_ref().map(|login| &login.value);
    let burst = count(login.and_then(|login| login.burst.as_ref()), 1..=1000, 3)?;
    let every = login.and_then(|login| login.every.as_ref());
    let rule = TokenRule {
        life: positive(written.token_life.as_ref(), DOCUMENTED_LIFE)?,
        burst: u32::try_from(burst).unwrap_or(u32::MAX),
        every: positive(every, Duration::from_secs(10))?,
    };
    if let Some(every) = every.filter(|_| rule.every < Duration::from_secs(1)) {
        around
            .warnings
            .push(every.fault("is under 1 s; a platform that refuses logins would be stormed, so write 1s or more"));
    }
    if let Some(life) = written.token_life.as_ref().filter(|_| rule.life > DOCUMENTED_LIFE) {
        around.warnings.push(
            life.fault("is above the 24h that the platform documents; calls would meet a dead token, so lower it"),
        );
    }
    Ok(rule)
}

fn encryption(written: &file::Encryption, at: usize, around: &mut Surroundings<'_>) -> Result<Encryption, Fault> {
    const SCHEMES: &str = "\"aes-ecb-zero\" or \"aes-cbc-pkcs7\"";
    let Some(scheme) = &written.scheme else {
        return Err(Fault::at(at, format!("encryption has no scheme; add scheme = {SCHEMES}")));
    };
    let scheme = match (scheme.value.as_str(), &written.iv) {
        ("aes-ecb-zero", None) => Scheme::EcbZero,
        ("aes-ecb-zero", Some(iv)) => {
            return Err(iv.fault("has no place in aes-ecb-zero; remove it or use aes-cbc-pkcs7"));
        }
        ("aes-cbc-pkcs7", Some(written)) => Scheme::CbcPkcs7(iv(written, around)?),
        ("aes-cbc-pkcs7", None) => {
            return Err(scheme.fault("aes-cbc-pkcs7 needs an iv; add iv = \"prefix\" or iv = { fixed = … }"));
        }
        _ => return Err(scheme.fault(format!("must be {SCHEMES}"))),
    };
    let Some(key) = &written.key else {
        return Err(Fault::at(at, "encryption has no key; add key = { env = \"NAME\" }"));
    };
    let empty_query = match &written.empty_query {
        None => EmptyQuery::Plain,
        Some(given) => match given.value.as_str() {
            "plain" => EmptyQuery::Plain,
            "mark" => EmptyQuery::Mark,
            "seal" => EmptyQuery::Seal,
            _ => return Err(given.fault("must be \"plain\", \"mark\" or \"seal\"")),
        },
    };
    Ok(Encryption {
        scheme,
        key: cipher_key(key, around)?,
        content_type: content_type(written)?,
        empty_query,
        seal_login: written.seal_login.as_ref().is_some_and(|given| given.value),
    })
}

fn cipher_key(given: &Given<file::Reference>, around: &mut Surroundings<'_>) -> Result<Secret, Fault> {
    let key = around.secret(given)?;
    if KEY_SIZES.contains(&key.len()) {
        return Ok(key);
    }
    Err(given.fault(format!(
        "has {} bytes, but an AES key has {}; take the key exactly as the platform gave it, without decoding",
        key.len(),
        either(&KEY_SIZES)
    )))
}

fn iv(given: &Given<file::Iv>, around: &mut Surroundings<'_>) -> Result<Iv, Fault> {
    let secret = match &given.value {
        file::Iv::Prefix => return Ok(Iv::Prefix),
        file::Iv::Text(written) => Secret::new(written.as_bytes()),
        file::Iv::Reference(reference) => around.secret(reference)?,
    };
    match secret.expose().try_into() {
        Ok(bytes) => Ok(Iv::Fixed(bytes)),
        Err(_) => Err(given.fault(format!("has {} bytes, but an AES IV has 16; correct it", secret.len()))),
    }
}

/// `type/subtype`, perhaps with parameters: visible ASCII.
fn content_type(written: &file::Encryption) -> Result<String, Fault> {
    let Some(given) = &written.content_type else { return Ok(CONTENT_TYPE.to_owned()) };
    let value = &given.value;
    let visible = value.bytes().all(|byte| (b' '..=b'~').contains(&byte)) && value.trim() == value;
    match value.split_once('/') {
        Some((kind, subtype)) if visible && !kind.is_empty() && !subtype.is_empty() => Ok(value.clone()),
        _ => Err(given.fault("must be a media type, such as \"application/json\"")),
    }
}

/// An address may hold a password that was put there by mistake, so no sentence shows it.
fn upstream(given: &Given<String>) -> Result<Upstream, Fault> {
    Upstream::parse(&given.value).map_err(|rest| given.fault(rest))
}
