//! Certificates for the listener of callbacks, made for a test.

use std::time::Duration;

use super::Folder;

/// The name in them.
pub(crate) const NAME: &str = "callbacks.example";

/// Writes `tls.pem` and `tls.key`, a pair that ends so many seconds after 1970, and returns its certificate.
pub(crate) fn write_pair(folder: &Folder, ends: u64) -> String {
    let mut wanted = rcgen::CertificateParams::new([NAME.to_owned()]).expect("a name");
    wanted.not_after = rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs(ends);
    let key = rcgen::KeyPair::generate().expect("a key");
    let made = wanted.self_signed(&key).expect("a certificate");
    // One after the other, as an operator would: for a moment they do not fit.
    std::fs::write(folder.path().join("tls.key"), key.serialize_pem()).expect("written");
    std::fs::write(folder.path().join("tls.pem"), made.pem()).expect("written");
    made.pem()
}
