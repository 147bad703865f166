//! A certificate chain with its key: what a TLS peer shows of itself.
//!
//! Owns reading both files and deciding whether they can be used together. It never keeps the key, and no sentence
//! shows what a file holds.

use std::fmt;
use std::path::{Path, PathBuf};

use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::ParsedCertificate;
use rustls::sign::CertifiedKey;
use rustls::{Error, InconsistentKeys};
use zeroize::Zeroizing;

use super::error::Fault;
use super::reference::{Surroundings, read_pem};
use super::table::Given;

/// A certificate chain and its key, two PEM files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// PEM file of the chain, own certificate first.
    pub cert: PathBuf,
    /// PEM file of the private key, without a passphrase.
    pub key: PathBuf,
}

/// What both files held, read together and checked against each other.
pub struct IdentityPair {
    /// The chain, own certificate first; never empty.
    pub chain: Vec<CertificateDer<'static>>,
    /// The key of the first certificate.
    pub key: PrivateKeyDer<'static>,
    /// When the first certificate of the chain ends that does, in seconds since 1970; `None` when that cannot be read.
    pub expires: Option<i64>,
}

/// Why a pair cannot be used. `Display` begins with `cert` or `key` and says what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdentityError {
    of_key: bool,
    rest: String,
}

impl fmt::Display for IdentityError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", if self.of_key { "key" } else { "cert" }, self.rest)
    }
}

impl std::error::Error for IdentityError {}

impl Identity {
    /// Reads both files, which may have changed since the start. Blocking.
    ///
    /// # Errors
    /// A file that cannot be read, that holds nothing usable, or a key of another certificate.
    pub fn read(&self) -> Result<IdentityPair, IdentityError> {
        let (cert, key) = (&self.cert, &self.key);
        let of_cert = |rest: String| IdentityError { of_key: false, rest };
        let of_key = |rest: String| IdentityError { of_key: true, rest };
        let pem = read_pem(cert).map_err(|why| of_cert(format!("cannot be read from {cert:?}: {why}")))?;
        let damaged =
            || of_cert(format!("names {cert:?}, where a certificate is damaged; write the chain's PEM file anew"));
        let chain = CertificateDer::pem_slice_iter(&pem).collect::<Result<Vec<_>, _>>().map_err(|_| damaged())?;
        if chain.is_empty() {
            return Err(of_cert(format!(
                "names {cert:?}, which holds no certificate; name a PEM file with BEGIN CERTIFICATE"
            )));
        }
        if chain.iter().any(|certificate| ParsedCertificate::try_from(certificate).is_err()) {
            return Err(damaged());
        }
        let pem = read_pem(key).map(Zeroizing::new);
        let pem = pem.map_err(|why| of_key(format!("cannot be read from {key:?}: {why}")))?;
        let unusable = || {
            of_key(format!(
                "names {key:?}, which holds no usable private key; name a PEM file with BEGIN PRIVATE KEY, without a \
                 passphrase"
            ))
        };
        let private = PrivateKeyDer::from_pem_slice(&pem).map_err(|_| unusable())?;
        match CertifiedKey::from_der(chain.clone(), private.clone_key(), &default_provider()) {
            Ok(_) => Ok(IdentityPair { expires: expiry(&chain), chain, key: private }),
            Err(Error::InconsistentKeys(InconsistentKeys::KeyMismatch)) => Err(of_key(format!(
                "names {key:?}, which is not the key of the first certificate in {cert:?}; name a pair"
            ))),
            Err(Error::InvalidCertificate(_)) => Err(damaged()),
            Err(_) => Err(unusable()),
        }
    }
}

/// A chain is worth as much as its shortest certificate.
fn expiry(chain: &[CertificateDer<'static>]) -> Option<i64> {
    let ends = |certificate: &CertificateDer<'static>| {
        let (_, certificate) = x509_parser::parse_x509_certificate(certificate).ok()?;
        Some(certificate.validity().not_after.timestamp())
    };
    chain.iter().map(ends).collect::<Option<Vec<_>>>()?.into_iter().min()
}

/// The two keys of `tls` or of `identity`, as one pair that can be used now.
pub(super) fn identity(
    at: usize,
    title: &str,
    cert: Option<&Given<String>>,
    key: Option<&Given<String>>,
    around: &mut Surroundings<'_>,
) -> Result<Identity, Fault> {
    let missing =
        |key: &str| Fault::at(at, format!("{title} has no {key}; write {{ cert = \"FILE\", key = \"FILE\" }}"));
    let (cert, key) = (cert.ok_or_else(|| missing("cert"))?, key.ok_or_else(|| missing("key"))?);
    let path = |given: &Given<String>| around.dir.join(Path::new(&given.value));
    let identity = Identity { cert: path(cert), key: path(key) };
    identity.read().map_err(|error| if error.of_key { key } else { cert }.fault(&error.rest))?;
    around.warn_of_readers(key, &identity.key);
    Ok(identity)
}
