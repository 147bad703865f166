//! The headers that end at a hop, in either direction.
//!
//! A gateway that is not a transparent proxy has to do by hand what RFC 9110 section 7.6.1 asks for. It
//! decides by name only and never looks at a value, `Connection` excepted.

use http::header::{self, HeaderMap, HeaderName, HeaderValue};

/// The marker of a sealed message, in both directions: `Is-Encrypted: 1`.
pub(crate) const IS_ENCRYPTED: HeaderName = HeaderName::from_static("is-encrypted");

/// The digest over the plaintext of a sealed message.
pub(crate) const SIGNED: HeaderName = HeaderName::from_static("signed");

/// Whether a message is sealed, by the value of its own [`IS_ENCRYPTED`], never by what was sent.
pub(crate) fn is_sealed(marker: Option<&[u8]>) -> bool {
    marker.is_some_and(|value| value.trim_ascii() == b"1")
}

/// Whether a header belongs to one connection and must not be passed on (RFC 9110 section 7.6.1).
pub(crate) fn ends_at_hop(name: &HeaderName) -> bool {
    matches!(
        *name,
        header::CONNECTION
            | header::TE
            | header::TRAILER
            | header::TRANSFER_ENCODING
            | header::UPGRADE
            | header::PROXY_AUTHENTICATE
            | header::PROXY_AUTHORIZATION
    ) || matches!(name.as_str(), "keep-alive" | "proxy-connection" | "proxy-authentication-info" | "http2-settings")
}

/// Whether a program's header is for the gateway alone, or would speak to the platform in its name:
/// credentials, markers of sealing, framing, and where the call came from.
pub(crate) fn ends_at_gateway(name: &HeaderName) -> bool {
    matches!(
        *name,
        header::HOST
            | header::AUTHORIZATION
            | header::CONTENT_LENGTH
            | header::EXPECT
            | header::FORWARDED
            | header::VIA
    ) || {
        let name = name.as_str();
        matches!(name, "is-encrypted" | "signed" | "x-real-ip" | "traceparent" | "tracestate" | "baggage")
            || name.starts_with("x-forwarded-")
            || name.starts_with("x-gateway-")
    }
}

/// A header that may stand once stands there again.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Twice;

/// The one value of a header that decides something, so that no two readers of a request can choose differently.
pub(crate) fn only<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a HeaderValue>, Twice> {
    let mut values = headers.get_all(name).iter();
    let first = values.next();
    if values.next().is_some() { Err(Twice) } else { Ok(first) }
}

/// The names that `Connection` lists beside `close` and `keep-alive`: they end at this hop too.
///
/// A name the gateway sets itself is not affected by what a program lists, because the gateway adds its
/// own headers after this filter (CVE-2026-105299).
pub(crate) fn named_by_connection<'a>(values: impl Iterator<Item = &'a [u8]>) -> Vec<HeaderName> {
    let mut named = Vec::new();
    for value in values {
        if value.eq_ignore_ascii_case(b"keep-alive") || value.eq_ignore_ascii_case(b"close") {
            continue;
        }
        named.extend(value.split(|&b| b == b',').filter_map(|name| HeaderName::from_bytes(name.trim_ascii()).ok()));
    }
    named
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connection_names_further_headers_that_end_here() {
        let values = [&b"close, X-Secret ,te"[..], b"Authorization", b"keep-alive"];
        assert_eq!(named_by_connection(values.into_iter()), ["close", "x-secret", "te", "authorization"]);
        assert!(named_by_connection([].into_iter()).is_empty());
    }

    #[test]
    fn a_header_that_decides_stands_once() {
        let mut headers = HeaderMap::new();
        assert_eq!(only(&headers, "x-a"), Ok(None));
        headers.append("x-a", "1".parse().expect("a value"));
        assert_eq!(only(&headers, "x-a").map(|value| value.is_some()), Ok(true));
        headers.append("x-a", "1".parse().expect("a value"));
        assert_eq!(only(&headers, "x-a"), Err(Twice));
    }

    #[test]
    fn each_header_that_ends_here_is_known() {
        for name in ["connection", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade", "proxy-connection"] {
            assert!(ends_at_hop(&HeaderName::from_static(name)), "{name}");
        }
        for name in
            ["host", "authorization", "is-encrypted", "signed", "x-forwarded-for", "x-gateway-account", "expect"]
        {
            assert!(ends_at_gateway(&HeaderName::from_static(name)), "{name}");
        }
        for name in ["content-type", "accept", "tenantid", "token", "user-agent", "range", "idempotency-key"] {
            let name = HeaderName::from_static(name);
            assert!(!ends_at_hop(&name) && !ends_at_gateway(&name), "{name}");
        }
    }
}
