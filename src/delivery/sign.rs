//! Signatures of deliveries, as Standard Webhooks 1.0.0 writes them: a receiver proves with them who sent a callback,
//! and when. Pure.
//!
//! It never reads a secret from anywhere and never prints one.

use ring::hmac;

use crate::secret::Secret;

/// The header with the id of the callback, the same at every attempt.
pub(super) const ID: &str = "webhook-id";

/// The header with the time of the attempt, in seconds since 1970.
pub(super) const TIMESTAMP: &str = "webhook-timestamp";

/// The header with the signatures.
pub(super) const SIGNATURE: &str = "webhook-signature";

/// The keys of one receiver. While a secret is being rotated there are two, and every delivery is signed with both.
pub(super) struct Signer(Vec<hmac::Key>);

impl Signer {
    /// With the bytes of each secret.
    pub(super) fn new(secrets: &[Secret]) -> Self {
        Self(secrets.iter().map(|secret| hmac::Key::new(hmac::HMAC_SHA256, secret.expose())).collect())
    }

    /// The value of [`SIGNATURE`]: one signature for each secret, separated by a space. `None`: nothing is signed.
    pub(super) fn sign(&self, id: &str, timestamp: &str, body: &[u8]) -> Option<String> {
        if self.0.is_empty() {
            return None;
        }
        let mut value = String::with_capacity(48 * self.0.len());
        for key in &self.0 {
            let mut context = hmac::Context::with_key(key);
            for part in [id.as_bytes(), b".", timestamp.as_bytes(), b".", body] {
                context.update(part);
            }
            if !value.is_empty() {
                value.push(' ');
            }
            value.push_str("v1,");
            base64_simd::STANDARD.encode_append(context.sign().as_ref(), &mut value);
        }
        Some(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The bytes of a secret in its usual form, `whsec_` and base64.
    fn decoded(secret: &str) -> Secret {
        let text = secret.strip_prefix("whsec_").expect("the usual form");
        Secret::new(base64_simd::STANDARD.decode_to_vec(text).expect("base64"))
    }

    #[test]
    fn the_published_vector_comes_out() {
        let signer = Signer::new(&[decoded("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")]);
        let signature = signer.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", br#"{"test": 2432232314}"#);
        assert_eq!(signature.as_deref(), Some("v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="));
    }

    #[test]
    fn a_secret_that_is_being_rotated_signs_beside_its_successor() {
        let (new, old) = (Secret::new("a new secret of the receiver"), Secret::new("the former secret of it"));
        let alone = |secret: &Secret| Signer::new(std::slice::from_ref(secret)).sign("cb_1", "1", b"{}");
        let both = Signer::new(&[new.clone(), old.clone()]).sign("cb_1", "1", b"{}");
        assert_eq!(both, Some(format!("{} {}", alone(&new).expect("signed"), alone(&old).expect("signed"))));
    }

    #[test]
    fn without_a_secret_nothing_is_signed() {
        assert_eq!(Signer::new(&[]).sign("cb_1", "1", b"{}"), None);
    }
}
