//! TLS of a listener: the certificate it shows, which can be replaced while it runs.
//!
//! It reads no file: a pair comes from the configuration, which has checked it, so that a broken file breaks no
//! connection.

use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;
use pingora::listeners::tls::Acceptor;
use pingora::protocols::Stream;
use pingora::protocols::l4::stream::Stream as TransportStream;
use prometheus::IntGauge;
use rustls::crypto::ring::default_provider;
use rustls::crypto::ring::sign::any_supported_type;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{CipherSuite, ServerConfig, SupportedCipherSuite};

use crate::config::IdentityPair;

/// TLS with a certificate.
pub(crate) struct Tls {
    acceptor: Acceptor,
    shown: Arc<Shown>,
    expiry: IntGauge,
}

/// The certificate that new connections are shown.
struct Shown(ArcSwap<CertifiedKey>);

/// A certificate that can be shown.
pub(crate) struct Certified {
    key: CertifiedKey,
    /// In seconds since 1970; 0 when it does not say.
    expires: i64,
}

/// No certificate can be shown: the end of a sentence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TlsError {
    /// The key cannot sign.
    Key,
    /// The library refuses its own defaults.
    Protocol,
}

impl Tls {
    /// TLS 1.2 and 1.3 for HTTP/1.1, showing this pair. `expiry` always tells when what is shown ends.
    ///
    /// # Errors
    /// See [`TlsError`].
    pub(crate) fn try_new(pair: IdentityPair, expiry: IntGauge) -> Result<Self, TlsError> {
        let Certified { key, expires } = Self::certify(pair)?;
        expiry.set(expires);
        let shown = Arc::new(Shown(ArcSwap::from_pointee(key)));
        let mut config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|_| TlsError::Protocol)?
            .with_no_client_auth()
            .with_cert_resolver(shown.clone());
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self { acceptor: Acceptor::from_server_config(Arc::new(config)), shown, expiry })
    }

    /// Shows this pair from now on; connections that are there keep theirs. Whether it is another one: a chain has only
    /// one key that belongs to it.
    ///
    /// # Errors
    /// See [`TlsError`]; then the former one stays.
    pub(crate) fn replace(&self, pair: IdentityPair) -> Result<bool, TlsError> {
        Self::certify(pair).map(|certified| self.show(certified))
    }

    /// A pair that can be shown.
    ///
    /// # Errors
    /// See [`TlsError`].
    pub(crate) fn certify(pair: IdentityPair) -> Result<Certified, TlsError> {
        let key = any_supported_type(&pair.key).map_err(|_| TlsError::Key)?;
        Ok(Certified { key: CertifiedKey::new(pair.chain, key), expires: pair.expires.unwrap_or(0) })
    }

    /// Shows it from now on. Whether it is another one.
    pub(crate) fn show(&self, certified: Certified) -> bool {
        let Certified { key, expires } = certified;
        if self.shown.0.load().cert == key.cert {
            return false;
        }
        self.shown.0.store(Arc::new(key));
        self.expiry.set(expires);
        true
    }

    /// `None` when the peer did not manage.
    pub(super) async fn shake_hands(&self, stream: TransportStream) -> Option<Stream> {
        let stream = self.acceptor.tls_handshake(stream).await.ok()?;
        Some(Box::new(stream))
    }
}

/// From now on connections to others ask for AES with 128 bits first: it guards for as long as anybody has to care, and a long
/// body costs less than with 256 bits. What the other side insists on is still taken. pingora asks for the process's default.
pub(super) fn ask_for_short_keys() {
    let mut provider = default_provider();
    provider.cipher_suites.sort_by_key(|suite| !has_short_key(suite));
    // There is one already when this was asked before.
    let _ = provider.install_default();
}

fn has_short_key(suite: &SupportedCipherSuite) -> bool {
    matches!(
        suite.suite(),
        CipherSuite::TLS13_AES_128_GCM_SHA256
            | CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256
            | CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256
    )
}

impl ResolvesServerCert for Shown {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.load_full())
    }
}

impl fmt::Debug for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Shown(REDACTED)")
    }
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Key => "the key cannot sign; name an RSA, ECDSA or Ed25519 key",
            Self::Protocol => "the TLS library refuses its defaults; this is a bug of the gateway",
        })
    }
}

impl std::error::Error for TlsError {}

#[cfg(test)]
mod tests {
    use rustls::crypto::CryptoProvider;

    use super::*;

    #[test]
    fn short_keys_are_asked_for_first_and_nothing_is_left_out() {
        ask_for_short_keys();
        let suites = &CryptoProvider::get_default().expect("it is there").cipher_suites;
        assert_eq!(
            suites.iter().map(has_short_key).collect::<Vec<_>>(),
            [true, true, true, false, false, false, false, false, false]
        );
        assert_eq!(suites.len(), default_provider().cipher_suites.len());
    }
}
