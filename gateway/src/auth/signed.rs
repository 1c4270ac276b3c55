//! Signed addresses: whoever knows a secret writes until when a stream may be published or played, and nobody else can.
//!
//! Two parameters say it: `expires`, in seconds since 1970, and `sign`, the HMAC-SHA256 (RFC 2104, FIPS 180-4) of
//! `action:stream:expires` in hexadecimal, where the action is `publish` or `play` and the stream is `app/name`, with
//! `@vhost` behind it on a virtual host other than the default. They stand in the query of a URL or in a stream id of SRT.

use super::{Ask, Refused};
use crate::secret::Secret;
use aws_lc_rs::hmac;
use std::fmt;

/// Checks signatures by any of several secrets, so that one can be changed while addresses signed with the last are about.
#[derive(Clone)]
pub struct Signer {
    keys: Vec<hmac::Key>,
}

impl Signer {
    /// One that takes what any of `secrets` signed.
    #[must_use]
    pub fn new(secrets: &[Secret]) -> Self {
        let key = |secret: &Secret| hmac::Key::new(hmac::HMAC_SHA256, secret.reveal().as_bytes());
        Self { keys: secrets.iter().map(key).collect() }
    }

    /// Until when the address is good, in seconds since 1970, if it is at `now`.
    pub(super) fn check(&self, ask: &Ask, now: u64) -> Result<u64, Refused> {
        let wrong = || Refused::Unauthorized("the signature of the address is wrong".into());
        let expires = ask.credentials.expires.as_deref().unwrap_or_default();
        let signature = ask.credentials.signature.as_ref().and_then(|text| hex(text.reveal()));
        let signature = signature.ok_or_else(wrong)?;
        let message = format!("{}:{}:{expires}", ask.action, ask.key);
        let is_good = |key: &hmac::Key| hmac::verify(key, message.as_bytes(), &signature).is_ok();
        if !self.keys.iter().any(is_good) {
            return Err(wrong());
        }
        let until: u64 = expires.parse().map_err(|_| wrong())?;
        if until <= now {
            return Err(Refused::Unauthorized("the signed address has expired".into()));
        }
        Ok(until)
    }
}

/// The bytes of a SHA-256 that is written in hexadecimal.
fn hex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let (pairs, rest) = text.as_bytes().as_chunks();
    if !rest.is_empty() || pairs.len() != 32 {
        return None;
    }
    pairs.iter().map(|&[high, low]| Some(digit(high)? << 4 | digit(low)?)).collect()
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signer({} secrets)", self.keys.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::Action;

    fn ask(action: Action, stream: &str, query: &str) -> Ask {
        let key = stream.parse().unwrap();
        Ask::new(action, &key, "test", "192.0.2.1:5".parse().unwrap()).with_query(query)
    }

    fn signer() -> Signer {
        Signer::new(&["the next secret of all".into(), "correct horse battery".into()])
    }

    /// Made by `printf %s play:live/cam:2000000000 | openssl dgst -sha256 -hmac 'correct horse battery'`.
    const SIGN: &str = "d7d10420a942a4c1ff5a41ca9082629b712882692cc67728ba1c579bd6400ed2";

    #[test]
    fn an_address_is_good_for_what_was_signed_and_until_it_expires() {
        let good = format!("expires=2000000000&sign={SIGN}");
        let check = |action, stream: &str, query: &str, now| {
            signer().check(&ask(action, stream, query), now).map_err(|refused| refused.to_string())
        };
        assert_eq!(check(Action::Play, "live/cam", &good, 1_999_999_999), Ok(2_000_000_000));
        let upper = format!("expires=2000000000&sign={}", SIGN.to_uppercase());
        assert_eq!(check(Action::Play, "live/cam", &upper, 0), Ok(2_000_000_000));
        let expired = check(Action::Play, "live/cam", &good, 2_000_000_000).unwrap_err();
        assert!(expired.contains("expired"), "{expired}");
        for (action, stream, query) in [
            (Action::Publish, "live/cam", good.clone()),
            (Action::Play, "live/cam2", good.clone()),
            (Action::Play, "live/cam", good.replace("2000000000", "2000000001")),
            (Action::Play, "live/cam", good.replace("2000000000", "+2000000000")),
            (Action::Play, "live/cam", good.replace("d7d1", "0000")),
            (Action::Play, "live/cam", format!("expires=2000000000&sign={}", &SIGN[2..])),
            (Action::Play, "live/cam", format!("expires=2000000000&sign={SIGN}00")),
            (Action::Play, "live/cam", format!("sign={SIGN}")),
            (Action::Play, "live/cam", "expires=2000000000&sign=".into()),
            (Action::Play, "live/cam", "expires=2000000000&sign=\u{fc}".into()),
        ] {
            let refused = check(action, stream, &query, 0).unwrap_err();
            assert!(refused.contains("wrong"), "{query}: {refused}");
        }
    }
}
