//! `[[account]]`: from what is written to an account that can be used.
//!
//! Owns the defaults towards the platform, the form of its address and the sizes of keys. It never opens a
//! connection and never resolves a name.

use std::net::IpAddr;
use std::time::Duration;

use super::bounds::{count, name, positive};
use super::error::{Fault, either};
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

impl Upstream {
    /// Takes apart `https://host[:port][/]`. The refusal is the rest of a sentence and never shows the address.
    fn parse(written: &str) -> Result<Self, &'static str> {
        let (scheme, rest) = written.split_once("://").ok_or("must begin with https://")?;
        let tls = match scheme.to_ascii_lowercase().as_str() {
            "https" => true,
            "http" => false,
            _ => return Err("must begin with https://"),
        };
        if rest.contains('@') {
            return Err("must not hold a user or a password; use app_key and app_secret");
        }
        if rest.contains(['?', '#']) {
            return Err("must not have a query; write the address only, such as \"https://api.airudder.com\"");
        }
        let authority = rest.strip_suffix('/').unwrap_or(rest);
        if authority.contains('/') {
            return Err("must not have a path, because programs name the path; write the address only");
        }
        let (host, port) = split_port(authority)?;
        let host = host.to_ascii_lowercase();
        let address = address(&host)?;
        let loopback = host == "localhost" || address.is_some_and(|address| address.is_loopback());
        if !tls && !loopback {
            return Err("must begin with https://, because plain http:// shows tokens and numbers on the way \
                        (it is accepted only to 127.0.0.0/8, ::1 and localhost)");
        }
        let scheme_port = if tls { 443 } else { 80 };
        let port = port.unwrap_or(scheme_port);
        let (open, close) = if host.contains(':') { ("[", "]") } else { ("", "") };
        let authority =
            if port == scheme_port { format!("{open}{host}{close}") } else { format!("{open}{host}{close}:{port}") };
        Ok(Self { tls, host, port, authority })
    }
}

/// `host`, `host:port`, `[v6]` or `[v6]:port`; the host without brackets.
fn split_port(authority: &str) -> Result<(&str, Option<u16>), &'static str> {
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (host, after) = rest.split_once(']').ok_or("has a [ without its ]; write [address]:port")?;
            if !host.contains(':') {
                return Err("has brackets around what is not an IPv6 address; remove them");
            }
            match after.strip_prefix(':') {
                Some(port) => (host, Some(port)),
                None if after.is_empty() => (host, None),
                None => return Err("has more than a port after its ]; write [address]:port"),
            }
        }
        None => match authority.split_once(':') {
            Some((_, port)) if port.contains(':') => return Err("needs brackets around an IPv6 address"),
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        },
    };
    let Some(digits) = port else { return Ok((host, None)) };
    match digits.parse::<u16>() {
        Ok(port) if port != 0 && !digits.starts_with('+') => Ok((host, Some(port))),
        _ => Err("has no valid port; write a number from 1 to 65535"),
    }
}

/// The address when the host is one; refuses what is neither an address nor a possible name.
fn address(host: &str) -> Result<Option<IpAddr>, &'static str> {
    if let Ok(address) = host.parse() {
        return Ok(Some(address));
    }
    let label = |label: &str| {
        (1..=63).contains(&label.len()) && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    let numeric = host.rsplit('.').next().is_some_and(|last| last.bytes().all(|byte| byte.is_ascii_digit()));
    if host.len() <= 253 && host.split('.').all(label) && !numeric {
        Ok(None)
    } else {
        Err("has no valid host; write a name or an IP address, such as \"https://api.airudder.com\"")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_upstream_is_taken_apart_once() {
        for (written, tls, host, port, authority) in [
            ("https://api.airudder.com", true, "api.airudder.com", 443, "api.airudder.com"),
            ("https://API.airudder.com/", true, "api.airudder.com", 443, "api.airudder.com"),
            ("HTTPS://api.airudder.com:443", true, "api.airudder.com", 443, "api.airudder.com"),
            ("https://api.airudder.com:8443", true, "api.airudder.com", 8443, "api.airudder.com:8443"),
            ("https://203.0.113.9:80", true, "203.0.113.9", 80, "203.0.113.9:80"),
            ("https://[2001:db8::1]", true, "2001:db8::1", 443, "[2001:db8::1]"),
            ("http://localhost:9000", false, "localhost", 9000, "localhost:9000"),
            ("http://127.8.9.10", false, "127.8.9.10", 80, "127.8.9.10"),
            ("http://[::1]:9000/", false, "::1", 9000, "[::1]:9000"),
        ] {
            let expected = Upstream { tls, host: host.into(), port, authority: authority.into() };
            assert_eq!(Upstream::parse(written), Ok(expected), "{written}");
        }
    }

    #[test]
    fn an_upstream_that_is_more_or_less_than_an_address_is_refused() {
        for written in [
            "",
            "api.airudder.com",
            "https:api.airudder.com",
            "https://",
            "https:///",
            "https://:443",
            "ftp://api.airudder.com",
            "https://u:p@api.airudder.com",
            "https://api.airudder.com/service",
            "https://api.airudder.com//",
            "https://api.airudder.com?a=b",
            "https://api.airudder.com#a",
            "https://api.airudder.com:",
            "https://api.airudder.com:0",
            "https://api.airudder.com:+443",
            "https://api.airudder.com:65536",
            "https://api airudder.com",
            "https://api..airudder.com",
            "https://api_airudder.com\n",
            "https://300.1.1.1",
            "https://2001:db8::1",
            "https://[2001:db8::1",
            "https://[2001:db8::1]x",
            "https://[127.0.0.1]",
            "https://[::1%eth0]",
            "http://api.airudder.com",
            "http://128.0.0.1",
            "http://localhost.example.com",
            "http://0.0.0.0",
            "http://[::ffff:127.0.0.1]",
        ] {
            assert!(Upstream::parse(written).is_err(), "{written}");
        }
    }
}
