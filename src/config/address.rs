//! Addresses of others: the platform's, which has no path, and a receiver's, which may have one.
//!
//! Owns their form. It never resolves a name, and no refusal shows an address, because it may hold a password that
//! was put there by mistake.

use std::net::IpAddr;

use super::Upstream;

impl Upstream {
    /// Takes apart `https://host[:port][/]`. The refusal is the rest of a sentence and never shows the address.
    pub(super) fn parse(written: &str) -> Result<Self, &'static str> {
        let (scheme, rest) = scheme(written, "must begin with https://")?;
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
        let upstream = Self::of(scheme, authority)?;
        let loopback =
            upstream.host == "localhost" || upstream.host.parse().is_ok_and(|address: IpAddr| address.is_loopback());
        if !upstream.tls && !loopback {
            return Err("must begin with https://, because plain http:// shows tokens and numbers on the way \
                        (it is accepted only to 127.0.0.0/8, ::1 and localhost)");
        }
        Ok(upstream)
    }

    /// Takes apart `http[s]://host[:port][/path][?query]`; the second part begins with `/`. The refusal is the rest of a
    /// sentence and never shows the address.
    pub(super) fn parse_url(written: &str) -> Result<(Self, String), &'static str> {
        let (scheme, rest) = scheme(written, "must begin with https:// or http://")?;
        let (authority, target) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        if authority.contains('@') {
            return Err("must not hold a user or a password; use headers = { Authorization = { env = \"NAME\" } }");
        }
        if target.contains('#') {
            return Err("must not have a #, because what follows it is never sent");
        }
        if !target.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err("must have a path and a query of visible ASCII; write the rest as %XX");
        }
        let target = if target.starts_with('/') { target.to_owned() } else { format!("/{target}") };
        Ok((Self::of(scheme, authority)?, target))
    }

    fn of(tls: bool, authority: &str) -> Result<Self, &'static str> {
        let (host, port) = split_port(authority)?;
        let host = host.to_ascii_lowercase();
        check_host(&host)?;
        let scheme_port = if tls { 443 } else { 80 };
        let port = port.unwrap_or(scheme_port);
        let (open, close) = if host.contains(':') { ("[", "]") } else { ("", "") };
        let authority =
            if port == scheme_port { format!("{open}{host}{close}") } else { format!("{open}{host}{close}:{port}") };
        Ok(Self { tls, host, port, authority })
    }
}

/// Whether it is `https`, and what follows `://`.
fn scheme<'a>(written: &'a str, refusal: &'static str) -> Result<(bool, &'a str), &'static str> {
    let (scheme, rest) = written.split_once("://").ok_or(refusal)?;
    match scheme.to_ascii_lowercase().as_str() {
        "https" => Ok((true, rest)),
        "http" => Ok((false, rest)),
        _ => Err(refusal),
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

/// Refuses what is neither an address nor a possible name.
fn check_host(host: &str) -> Result<(), &'static str> {
    if host.parse::<IpAddr>().is_ok() {
        return Ok(());
    }
    let label = |label: &str| {
        (1..=63).contains(&label.len()) && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    let numeric = host.rsplit('.').next().is_some_and(|last| last.bytes().all(|byte| byte.is_ascii_digit()));
    if host.len() <= 253 && host.split('.').all(label) && !numeric {
        Ok(())
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

    #[test]
    fn a_url_has_a_path_and_a_query_as_well() {
        for (written, authority, target) in [
            ("http://books", "books", "/"),
            ("http://books:9000/hooks/calls", "books:9000", "/hooks/calls"),
            ("https://books.internal?a=b&c", "books.internal", "/?a=b&c"),
            ("https://[2001:db8::1]:8443/a@b?c=/d", "[2001:db8::1]:8443", "/a@b?c=/d"),
            ("HTTP://Books/Hooks/", "books", "/Hooks/"),
        ] {
            let (upstream, found) = Upstream::parse_url(written).expect(written);
            assert_eq!((upstream.authority.as_str(), found.as_str()), (authority, target), "{written}");
            assert_eq!(upstream.tls, written.starts_with("https"), "{written}");
        }
        for written in [
            "",
            "books",
            "ftp://books",
            "http://",
            "http:///hooks",
            "http://u:p@books/",
            "http://books/#a",
            "http://books#a",
            "http://books/a b",
            "http://books/é",
            "http://books:0/",
            "http://books:x/",
            "http://books\\x/",
        ] {
            assert!(Upstream::parse_url(written).is_err(), "{written}");
        }
    }
}
