//! TLS of a listener: the certificate it shows, which can be replaced while it runs.
//!
//! A new pair is checked before it takes the place of the old one, so that a broken file breaks no connection. It
//! reads no file: the bytes come from the configuration.

use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;
use pingora::listeners::tls::Acceptor;
use pingora::protocols::Stream;
use pingora::protocols::l4::stream::Stream as TransportStream;
use rustls::ServerConfig;
use rustls::crypto::ring::{default_provider, sign::any_supported_type};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

/// TLS with a certificate.
pub(crate) struct Tls {
    acceptor: Acceptor,
    shown: Arc<Shown>,
}

/// The certificate that new connections are shown.
struct Shown(ArcSwap<CertifiedKey>);

/// Why a pair cannot be shown: the end of a sentence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PairError {
    /// No certificate in the chain's file, or one that is not one.
    Certificate,
    /// No private key that can sign.
    Key,
    /// Key and certificate belong to different pairs.
    Mismatch,
    /// The library refuses its own defaults.
    Protocol,
}

impl Tls {
    /// TLS 1.2 and 1.3 for HTTP/1.1, showing this chain (PEM) with its key (PEM).
    ///
    /// # Errors
    /// What is wrong with the pair.
    pub(crate) fn try_new(chain: &[u8], key: &[u8]) -> Result<Self, PairError> {
        let shown = Arc::new(Shown(ArcSwap::from_pointee(pair(chain, key)?)));
        let mut config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|_| PairError::Protocol)?
            .with_no_client_auth()
            .with_cert_resolver(shown.clone());
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self { acceptor: Acceptor::from_server_config(Arc::new(config)), shown })
    }

    /// Shows another pair from now on. Connections that are there keep theirs.
    ///
    /// # Errors
    /// What is wrong with the pair; then the former one stays.
    pub(crate) fn replace(&self, chain: &[u8], key: &[u8]) -> Result<(), PairError> {
        self.shown.0.store(Arc::new(pair(chain, key)?));
        Ok(())
    }

    /// `None` when the peer did not manage.
    pub(super) async fn shake_hands(&self, stream: TransportStream) -> Option<Stream> {
        let stream = self.acceptor.tls_handshake(stream).await.ok()?;
        Some(Box::new(stream))
    }
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

impl fmt::Display for PairError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Certificate => "the certificate's file holds no chain of PEM certificates",
            Self::Key => "the key's file holds no PEM private key that can sign",
            Self::Mismatch => "the key does not belong to the certificate",
            Self::Protocol => "the TLS library refuses its defaults",
        })
    }
}

impl std::error::Error for PairError {}

fn pair(chain: &[u8], key: &[u8]) -> Result<CertifiedKey, PairError> {
    let chain: Vec<_> =
        CertificateDer::pem_slice_iter(chain).collect::<Result<_, _>>().map_err(|_| PairError::Certificate)?;
    if chain.is_empty() {
        return Err(PairError::Certificate);
    }
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| PairError::Key)?;
    let pair = CertifiedKey::new(chain, any_supported_type(&key).map_err(|_| PairError::Key)?);
    match pair.keys_match() {
        Ok(()) => Ok(pair),
        // A kind of key that cannot be compared; the first handshake tells.
        Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::Unknown)) => Ok(pair),
        Err(rustls::Error::InconsistentKeys(_)) => Err(PairError::Mismatch),
        Err(_) => Err(PairError::Certificate),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made() -> (String, String) {
        let made = rcgen::generate_simple_self_signed(["gateway".to_owned()]).expect("a certificate");
        (made.cert.pem(), made.signing_key.serialize_pem())
    }

    #[test]
    fn a_pair_has_to_be_one_before_it_is_shown() {
        let ((chain, key), (other, other_key)) = (made(), made());
        let tls = Tls::try_new(chain.as_bytes(), key.as_bytes()).expect("a pair");
        let shown = tls.shown.0.load_full();
        for (chain, key, error) in [
            ("", key.as_str(), PairError::Certificate),
            ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", &key, PairError::Certificate),
            (&chain, "", PairError::Key),
            (&chain, &chain, PairError::Key),
            (&chain, &other_key, PairError::Mismatch),
        ] {
            assert_eq!(tls.replace(chain.as_bytes(), key.as_bytes()), Err(error));
            assert!(Arc::ptr_eq(&shown, &tls.shown.0.load_full()), "the former one stays");
        }
        tls.replace(other.as_bytes(), other_key.as_bytes()).expect("a pair");
        assert_ne!(shown.cert, tls.shown.0.load_full().cert);
    }
}
