//! Who may look at the pages for operators, and who may change something there.
//!
//! The inbox shows what people said on the telephone, the status whose calls fail. With a token these pages are for whoever
//! has it; without one they exist only on a loopback listener. It compares in constant time and never prints a token.

use http::Method;

use super::page::{Page, Request};
use crate::config;
use crate::secret::Secret;

/// The rule of one gateway.
pub(crate) struct Access {
    token: Option<Secret>,
    /// The listener is on loopback.
    local: bool,
}

impl Access {
    /// As configured.
    pub(crate) fn new(admin: &config::Admin) -> Self {
        Self { token: admin.token.clone(), local: admin.listen.ip().to_canonical().is_loopback() }
    }

    /// Nothing when the request may see what is guarded, and change something if it wants to.
    pub(super) fn check(&self, request: &Request) -> Result<(), Page> {
        match &self.token {
            Some(token) if shown(request).is_some_and(|shown| shown == *token) => {}
            Some(_) => {
                return Err(Page::message(
                    401,
                    "This page asks for the token of [admin]: send it as Authorization: Bearer TOKEN, or as the password \
                     of any user.",
                ));
            }
            // A name that is made to lead here lets a web page of somebody else ask as if it were ours (DNS rebinding).
            None if self.local && names_this_machine(request.header("host").unwrap_or_default()) => {}
            None => return Err(Page::message(404, super::PAGES)),
        }
        if matches!(request.method, Method::GET | Method::HEAD) {
            return Ok(());
        }
        if !is_meant(request) {
            return Err(Page::message(
                415,
                "Send this with Content-Type: application/json or with the header X-Gateway-Admin: 1, which a form of a \
                 web page cannot.",
            ));
        }
        if !is_from_here(request) {
            return Err(Page::message(
                403,
                "A page of another origin sent this; change things from this gateway's own page.",
            ));
        }
        Ok(())
    }
}

/// The token that a request shows: as a bearer's, or as the password that a browser asked a person for (RFC 7617). The
/// scheme's case makes no difference (RFC 9110 section 11.1).
fn shown(request: &Request) -> Option<Secret> {
    let (scheme, value) = request.header("authorization")?.split_once(' ')?;
    let value = value.trim_matches(' ');
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(Secret::new(value));
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let pair = Secret::new(base64_simd::STANDARD.decode_to_vec(value).ok()?);
    let after = pair.expose().iter().position(|byte| *byte == b':')? + 1;
    Some(Secret::new(&pair.expose()[after..]))
}

/// Whether a browser that says where a request comes from says that it is our own page. Beside [`is_meant`], because a
/// browser sends a password by itself.
fn is_from_here(request: &Request) -> bool {
    let of_site = request.header("sec-fetch-site").is_none_or(|site| matches!(site, "same-origin" | "none"));
    let host = request.header("host").unwrap_or_default();
    let of_origin = !request.headers.contains_key("origin")
        || request
            .header("origin")
            .and_then(|origin| origin.split_once("://"))
            .is_some_and(|(_, origin)| origin.eq_ignore_ascii_case(host));
    of_site && of_origin
}

/// Whether a `Host` can only mean this machine.
fn names_this_machine(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    name.eq_ignore_ascii_case("localhost") || name.parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback())
}

/// Whether nothing that a browser sends by itself looks like this. A form has one of three content types and no header of
/// its own; a script of another origin has to ask first, and is not answered.
fn is_meant(request: &Request) -> bool {
    let json = request.header("content-type").is_some_and(|value| {
        value.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("application/json")
    });
    json || request.headers.contains_key("x-gateway-admin")
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::{HeaderMap, HeaderName, HeaderValue};

    use super::*;

    fn asked(method: Method, headers: &[(&'static str, &'static str)]) -> Request {
        let header = |(name, value): &(&'static str, &'static str)| {
            (HeaderName::from_static(name), HeaderValue::from_static(value))
        };
        Request {
            method,
            path: "/inbox".into(),
            query: String::new(),
            headers: headers.iter().map(header).collect::<HeaderMap>(),
            body: Bytes::new(),
        }
    }

    fn answered(access: &Access, method: Method, headers: &[(&'static str, &'static str)]) -> u16 {
        access.check(&asked(method, headers)).map_or_else(|page| page.status(), |()| 200)
    }

    #[test]
    fn a_token_is_asked_for_wherever_the_listener_is() {
        for local in [true, false] {
            let access = Access { token: Some(Secret::new("right")), local };
            for (value, status) in [
                ("Bearer right", 200),
                ("bearer right", 200),
                ("Bearer  right ", 200),
                ("Bearer wrong", 401),
                ("Bearer righ", 401),
                ("Bearer", 401),
                ("Basic right", 401),
                ("Basic bWU6cmlnaHQ=", 200),
                ("basic OnJpZ2h0", 200),
                ("Basic cmlnaHQ=", 401),
                ("Basic bWU6d3Jvbmc=", 401),
                ("Basic bWU6cmlnaHQ", 401),
                ("right", 401),
            ] {
                assert_eq!(answered(&access, Method::GET, &[("authorization", value)]), status, "{value}");
            }
            assert_eq!(answered(&access, Method::GET, &[("host", "localhost")]), 401);
        }
    }

    #[test]
    fn without_a_token_only_this_machine_finds_the_pages() {
        let access = |local| Access { token: None, local };
        for (host, status) in [
            ("localhost:9464", 200),
            ("127.0.0.1:9464", 200),
            ("127.0.0.1", 200),
            ("[::1]:9464", 200),
            ("evil.example:9464", 404),
            ("localhost.evil.example", 404),
            ("127.0.0.1.evil.example", 404),
            ("10.0.0.1", 404),
            ("", 404),
        ] {
            assert_eq!(answered(&access(true), Method::GET, &[("host", host)]), status, "{host}");
            assert_eq!(answered(&access(false), Method::GET, &[("host", host)]), 404, "{host}");
        }
        assert_eq!(answered(&access(true), Method::GET, &[]), 404);
    }

    #[test]
    fn what_a_form_of_a_web_page_can_send_changes_nothing() {
        let access = Access { token: None, local: true };
        let host = ("host", "localhost");
        for (header, status) in [
            (("content-type", "application/json"), 200),
            (("content-type", "Application/JSON; charset=utf-8"), 200),
            (("x-gateway-admin", "1"), 200),
            (("content-type", "application/x-www-form-urlencoded"), 415),
            (("content-type", "multipart/form-data"), 415),
            (("content-type", "text/plain; application/json"), 415),
            (("origin", "https://evil.example"), 415),
        ] {
            assert_eq!(answered(&access, Method::POST, &[host, header]), status, "{header:?}");
        }
    }

    #[test]
    fn a_page_of_another_origin_changes_nothing_even_with_the_right_headers() {
        let access = Access { token: None, local: true };
        let (host, meant) = (("host", "localhost:9464"), ("x-gateway-admin", "1"));
        for (header, status) in [
            (("origin", "http://localhost:9464"), 200),
            (("origin", "https://LOCALHOST:9464"), 200),
            (("origin", "http://localhost"), 403),
            (("origin", "http://localhost:9000"), 403),
            (("origin", "https://evil.example"), 403),
            (("origin", "null"), 403),
            (("origin", ""), 403),
            (("sec-fetch-site", "same-origin"), 200),
            (("sec-fetch-site", "none"), 200),
            (("sec-fetch-site", "same-site"), 403),
            (("sec-fetch-site", "cross-site"), 403),
        ] {
            assert_eq!(answered(&access, Method::POST, &[host, meant, header]), status, "{header:?}");
        }
    }
}
