//! How a hook server knows that a call is ours, and not an old one.
//!
//! A header holds the time, the number of the delivery and an HMAC-SHA256 (RFC 2104, FIPS 180-4) of both and the body. The
//! time bounds for how long a call that was overheard is good; the number, which stays the same when a call is repeated,
//! tells a repetition from a second event.

use std::fmt;

use aws_lc_rs::hmac;

/// Signs calls with a secret that the server knows, too.
#[derive(Clone)]
pub struct Signer(hmac::Key);

/// The name of the header.
pub(super) const HEADER: &str = "x-thalweg-signature";

impl Signer {
    /// With this secret.
    #[must_use]
    pub fn new(secret: &str) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()))
    }

    /// The value of the header: `t=…,id=…,v1=…`. What is signed is `t.id.body`.
    pub(super) fn header(&self, unix_s: u64, delivery: &str, body: &[u8]) -> String {
        let mut context = hmac::Context::with_key(&self.0);
        context.update(format!("{unix_s}.{delivery}.").as_bytes());
        context.update(body);
        let mut header = format!("t={unix_s},id={delivery},v1=");
        for byte in context.sign().as_ref() {
            header.push_str(&format!("{byte:02x}"));
        }
        header
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Signer(***)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `printf '1700000000.abc-1.{}' | openssl dgst -sha256 -hmac 'a secret of some length'`
    #[test]
    fn a_signature_is_what_openssl_makes_of_it() {
        let header = Signer::new("a secret of some length").header(1_700_000_000, "abc-1", b"{}");
        assert_eq!(
            header,
            "t=1700000000,id=abc-1,v1=feb2991f110b6796b95f9acf2c73a7046d58accc85f9ed5561c3bd77fd3385be"
        );
    }

    #[test]
    fn every_part_counts() {
        let signer = Signer::new("a secret of some length");
        let header = |t, id, body: &str| {
            let header = signer.header(t, id, body.as_bytes());
            header.rsplit_once('=').unwrap().1.to_owned()
        };
        let signature = header(1, "a", "{}");
        for other in [header(2, "a", "{}"), header(1, "b", "{}"), header(1, "a", "{ }")] {
            assert_ne!(signature, other);
        }
        assert!(!format!("{signer:?}").contains("length"));
    }
}
