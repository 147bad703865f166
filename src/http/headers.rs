//! The headers that end at a hop, in either direction.
//!
//! A gateway that is not a transparent proxy has to do by hand what RFC 9110 section 7.6.1 asks for. It
//! decides by name only, whatever its spelling, and never looks at a value, `Connection` excepted.

/// The marker of a sealed message, in both directions: `Is-Encrypted: 1`.
pub(crate) const IS_ENCRYPTED: &str = "is-encrypted";

/// The digest over the plaintext of a sealed message.
pub(crate) const SIGNED: &str = "signed";

/// Whether a message is sealed, by the value of its own [`IS_ENCRYPTED`], never by what was sent.
pub(crate) fn is_sealed(marker: Option<&[u8]>) -> bool {
    marker.is_some_and(|value| value.trim_ascii() == b"1")
}

/// Whether a name is this one, which is written in lower case.
pub(crate) fn is(name: &[u8], known: &str) -> bool {
    name.len() == known.len() && name.eq_ignore_ascii_case(known.as_bytes())
}

/// Whether a name is one of these, or what a server would take for it that makes a variable of each header: there
/// `Content_Length` and `Content-Length` are one (CONTENT_LENGTH, RFC 3875 section 4.1.18), and the length of one could be
/// read where the other was checked.
fn is_any(name: &[u8], known: &[&str]) -> bool {
    known.iter().any(|known| is_spelt(name, known.as_bytes()))
}

fn is_spelt(name: &[u8], known: &[u8]) -> bool {
    let same = |(&byte, &known): (&u8, &u8)| byte.eq_ignore_ascii_case(&known) || byte == b'_' && known == b'-';
    name.len() == known.len() && name.iter().zip(known).all(same)
}

/// Whether a header belongs to one connection and must not be passed on (RFC 9110 section 7.6.1).
pub(crate) fn ends_at_hop(name: &[u8]) -> bool {
    // By length first: most names are none of these.
    let of_this_length: &[&str] = match name.len() {
        2 => &["te"],
        7 => &["trailer", "upgrade"],
        10 => &["connection", "keep-alive"],
        14 => &["http2-settings"],
        16 => &["proxy-connection"],
        17 => &["transfer-encoding"],
        18 => &["proxy-authenticate"],
        19 => &["proxy-authorization"],
        25 => &["proxy-authentication-info"],
        _ => return false,
    };
    is_any(name, of_this_length)
}

/// Whether a program's header is for the gateway alone, or would speak to the platform in its name:
/// credentials, markers of sealing, framing, and where the call came from.
pub(crate) fn ends_at_gateway(name: &[u8]) -> bool {
    let of_this_length: &[&str] = match name.len() {
        3 => &["via"],
        4 => &["host"],
        6 => &["expect", SIGNED],
        7 => &["baggage"],
        9 => &["forwarded", "x-real-ip"],
        10 => &["tracestate"],
        11 => &["traceparent"],
        12 => &[IS_ENCRYPTED],
        13 => &["authorization"],
        14 => &["content-length"],
        15 => &["idempotency-key"],
        _ => &[],
    };
    is_any(name, of_this_length) || begins(name, "x-forwarded-") || is_ours(name)
}

/// Whether a header is one by which programs and the gateway speak to each other: `X-Gateway-…`.
pub(crate) fn is_ours(name: &[u8]) -> bool {
    begins(name, "x-gateway-")
}

/// Which lengths the names of a head have. A message is asked for a dozen names that it does not have, and the length tells of
/// nearly all of them without a look at any.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Lengths(u64);

impl Lengths {
    /// There is a name of this length.
    pub(super) fn note(&mut self, length: usize) {
        self.0 |= Self::bit(length);
    }

    /// The fields to look through for a name of this length: all or none of them.
    pub(super) fn among<T>(self, fields: &[T], length: usize) -> &[T] {
        if self.0 & Self::bit(length) == 0 { &[] } else { fields }
    }

    fn bit(length: usize) -> u64 {
        1 << length.min(63)
    }
}

fn begins(name: &[u8], prefix: &str) -> bool {
    name.get(..prefix.len()).is_some_and(|start| is_spelt(start, prefix.as_bytes()))
}

/// A header that may stand once stands there again.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Twice;

/// The names that `Connection` lists beside `close` and `keep-alive`: they end at this hop too.
///
/// A name the gateway sets itself is not affected by what a program lists, because the gateway adds its
/// own headers after this filter (CVE-2026-105299).
pub(crate) struct Named<'a>(Vec<&'a [u8]>);

impl<'a> Named<'a> {
    /// By the values of all `Connection` headers.
    pub(crate) fn by(values: impl Iterator<Item = &'a [u8]>) -> Self {
        let mut named = Vec::new();
        for value in values {
            if !value.eq_ignore_ascii_case(b"keep-alive") && !value.eq_ignore_ascii_case(b"close") {
                named.extend(value.split(|&b| b == b',').map(<[u8]>::trim_ascii).filter(|name| !name.is_empty()));
            }
        }
        Self(named)
    }

    /// Whether this name is listed.
    pub(crate) fn contains(&self, name: &[u8]) -> bool {
        self.0.iter().any(|named| named.eq_ignore_ascii_case(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connection_names_further_headers_that_end_here() {
        let named = Named::by([&b"close, X-Secret ,te,,"[..], b"Authorization", b"keep-alive"].into_iter());
        for name in ["close", "x-secret", "TE", "authorization"] {
            assert!(named.contains(name.as_bytes()), "{name}");
        }
        for name in ["keep-alive", "", "x-secre", "x-secrets"] {
            assert!(!named.contains(name.as_bytes()), "{name:?}");
        }
    }

    #[test]
    fn each_header_that_ends_here_is_known() {
        for name in [
            "Connection",
            "Keep-Alive",
            "TE",
            "Trailer",
            "Transfer-Encoding",
            "Upgrade",
            "Proxy-Connection",
            "Proxy-Authenticate",
            "Proxy-Authorization",
            "Proxy-Authentication-Info",
            "HTTP2-Settings",
            "Transfer_Encoding",
        ] {
            assert!(ends_at_hop(name.as_bytes()), "{name}");
        }
        for name in [
            "Host",
            "Authorization",
            "Is-Encrypted",
            "Signed",
            "X-Forwarded-For",
            "X-Gateway-Account",
            "Expect",
            "Content-Length",
            "Forwarded",
            "Via",
            "X-Real-IP",
            "traceparent",
            "tracestate",
            "baggage",
            "Idempotency-Key",
            "Content_Length",
            "Is_Encrypted",
            "X_Gateway-Account",
            "x_forwarded_for",
        ] {
            assert!(ends_at_gateway(name.as_bytes()), "{name}");
        }
        for name in [
            "content-type",
            "accept",
            "tenantid",
            "token",
            "user-agent",
            "range",
            "idempotency-keys",
            "x-gateway",
            "content length",
        ] {
            assert!(!ends_at_hop(name.as_bytes()) && !ends_at_gateway(name.as_bytes()), "{name}");
        }
    }
}
