//! Tokens: JSON Web Tokens (RFC 7519) that an issuer whom the configuration trusts has signed (RFC 7515).
//!
//! The algorithm is the configuration's, never the token's: a token that names another is refused before its signature is
//! looked at, so `none` and a public key taken for an HMAC secret lead nowhere. Of a set of keys only those of that algorithm are
//! kept. A token has to say until when it is good (`exp`), for which streams (`streams`, names or patterns) and for what
//! (`actions`, `publish` and `play`).

use super::{Ask, Refused};
use crate::{key::Pattern, secret::Secret};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, VerificationAlgorithm,
};
use jsonwebtoken::{
    Algorithm, DecodingKey, Validation, decode, decode_header,
    errors::ErrorKind,
    jwk::{AlgorithmParameters, EllipticCurve, Jwk, JwkSet, KeyAlgorithm, PublicKeyUse},
};
use rustls::pki_types::{SubjectPublicKeyInfoDer, pem::PemObject};
use serde::Deserialize;
use std::fmt;

/// How tokens are signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignedBy {
    /// HMAC with SHA-256, a secret that the issuer shares.
    Hs256,
    /// RSA with SHA-256, PKCS #1 v1.5; a key of 2048 to 8192 bits.
    Rs256,
    /// ECDSA on P-256 with SHA-256.
    Es256,
}

/// What tokens are checked with.
#[derive(Clone, Copy, Debug)]
pub enum KeyText<'a> {
    /// The secret itself, for [`SignedBy::Hs256`].
    Secret(&'a Secret),
    /// A file of the form PEM with a `PUBLIC KEY`.
    Pem(&'a [u8]),
    /// A set of keys (RFC 7517), of which a token names its own by `kid`.
    Jwks(&'a [u8]),
}

/// Checks tokens.
#[derive(Clone)]
pub struct Verifier {
    /// With their names, where they have one.
    keys: Vec<(Option<String>, DecodingKey)>,
    validation: Validation,
}

/// Why tokens cannot be checked with what the configuration names.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum VerifierError {
    /// There is no `PUBLIC KEY` of the form PEM.
    Pem,
    /// It is no key of the algorithm, or too short a one.
    Key,
    /// It is no set of keys: the text says why.
    Jwks(String),
    /// The set has no key of the algorithm that is meant for signatures.
    NoneFits,
    /// A secret belongs to HS256, and a file of keys to the others.
    Mismatch,
}

/// What a token says.
#[derive(Debug, Deserialize)]
struct Claims {
    exp: f64,
    nbf: Option<f64>,
    streams: OneOrMore,
    actions: OneOrMore,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum OneOrMore {
    One(String),
    More(Vec<String>),
}

/// So far may the issuer's clock and ours be apart, in seconds.
const LEEWAY_S: f64 = 5.0;

impl Verifier {
    /// One of tokens that are signed by this algorithm, and whose `iss` and `aud` are these, where they are given.
    ///
    /// # Errors
    ///
    /// [`VerifierError`] says what is wrong with the key.
    pub fn new(
        signed_by: SignedBy,
        key: KeyText<'_>,
        issuer: Option<&str>,
        audience: Option<&str>,
    ) -> Result<Self, VerifierError> {
        let keys = match (signed_by, key) {
            (SignedBy::Hs256, KeyText::Secret(secret)) => {
                vec![(None, DecodingKey::from_secret(secret.reveal().as_bytes()))]
            }
            (SignedBy::Hs256, _) | (_, KeyText::Secret(_)) => return Err(VerifierError::Mismatch),
            (_, KeyText::Pem(text)) => vec![(None, key_of_pem(signed_by, text)?)],
            (_, KeyText::Jwks(text)) => keys_of_set(signed_by, text)?,
        };
        let mut validation = Validation::new(signed_by.algorithm());
        // The times are compared here, with a clock that tests can set.
        validation.validate_exp = false;
        let mut required = vec!["exp"];
        // Without an audience of ours, tokens that name one are for somebody else or for anybody.
        validation.validate_aud = audience.is_some();
        if let Some(audience) = audience {
            validation.set_audience(&[audience]);
            required.push("aud");
        }
        if let Some(issuer) = issuer {
            validation.set_issuer(&[issuer]);
            required.push("iss");
        }
        validation.set_required_spec_claims(&required);
        Ok(Self { keys, validation })
    }

    /// Until when the token is good for what is asked, in seconds since 1970, if it is at `now`.
    pub(super) fn check(&self, token: &Secret, ask: &Ask, now: u64) -> Result<u64, Refused> {
        let claims = self.claims(token.reveal())?;
        #[expect(clippy::cast_precision_loss, reason = "2^53 seconds are far")]
        let now = now as f64;
        if claims.exp.is_nan() || claims.exp + LEEWAY_S <= now {
            return Err(Refused::Unauthorized("the token has expired".into()));
        }
        if claims.nbf.is_some_and(|from| from.is_nan() || from - LEEWAY_S > now) {
            return Err(Refused::Unauthorized("the token is not good yet".into()));
        }
        let action = ask.action.to_string();
        if !claims.actions.iter().any(|allowed| allowed == action) {
            return Err(Refused::Forbidden(format!("the token is not for who wants to {action}")));
        }
        let patterns = claims.streams.iter().filter_map(|text| text.parse::<Pattern>().ok());
        if !patterns.into_iter().any(|pattern| pattern.fits(&ask.key)) {
            return Err(Refused::Forbidden("the token is for other streams".into()));
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "it saturates, and what is past was refused"
        )]
        Ok(claims.exp as u64)
    }

    fn claims(&self, token: &str) -> Result<Claims, Refused> {
        let wrong = |error: &jsonwebtoken::errors::Error| {
            Refused::Unauthorized(format!("the token is not accepted: {}", describe(error.kind())))
        };
        let header = decode_header(token).map_err(|error| wrong(&error))?;
        let named = |name: &Option<String>| match (&header.kid, name) {
            (Some(wanted), Some(name)) => wanted == name,
            // A single key needs no name, and a token without a name may be of any key.
            _ => true,
        };
        let mut refused = Refused::Unauthorized("no key is known by the token's name of it".into());
        for (_, key) in self.keys.iter().filter(|(name, _)| named(name)) {
            match decode::<Claims>(token, key, &self.validation) {
                Ok(token) => return Ok(token.claims),
                Err(error) => refused = wrong(&error),
            }
        }
        Err(refused)
    }
}

fn key_of_pem(signed_by: SignedBy, text: &[u8]) -> Result<DecodingKey, VerifierError> {
    let der = SubjectPublicKeyInfoDer::from_pem_slice(text).map_err(|_| VerifierError::Pem)?;
    let algorithm: &'static dyn VerificationAlgorithm = match signed_by {
        SignedBy::Hs256 => return Err(VerifierError::Mismatch),
        SignedBy::Rs256 => &RSA_PKCS1_2048_8192_SHA256,
        SignedBy::Es256 => &ECDSA_P256_SHA256_FIXED,
    };
    ParsedPublicKey::new(algorithm, der.as_ref()).map_err(|_| VerifierError::Key)?;
    Ok(match signed_by {
        SignedBy::Rs256 => DecodingKey::from_rsa_der(der.as_ref()),
        _ => DecodingKey::from_ec_der(der.as_ref()),
    })
}

fn keys_of_set(
    signed_by: SignedBy,
    text: &[u8],
) -> Result<Vec<(Option<String>, DecodingKey)>, VerifierError> {
    let set: JwkSet =
        serde_json::from_slice(text).map_err(|error| VerifierError::Jwks(error.to_string()))?;
    let fitting = set.keys.iter().filter(|key| is_of(key, signed_by));
    let keys = fitting.map(|key| {
        let made = DecodingKey::from_jwk(key).map_err(|_| VerifierError::Key)?;
        Ok((key.common.key_id.clone(), made))
    });
    let keys = keys.collect::<Result<Vec<_>, _>>()?;
    if keys.is_empty() { Err(VerifierError::NoneFits) } else { Ok(keys) }
}

/// Whether a key of a set is one for signatures by this algorithm.
fn is_of(key: &Jwk, signed_by: SignedBy) -> bool {
    let is_kind = match (&key.algorithm, signed_by) {
        (AlgorithmParameters::RSA(_), SignedBy::Rs256) => true,
        (AlgorithmParameters::EllipticCurve(curve), SignedBy::Es256) => {
            curve.curve == EllipticCurve::P256
        }
        _ => false,
    };
    let is_use = !matches!(key.common.public_key_use, Some(PublicKeyUse::Encryption));
    let named = match signed_by {
        SignedBy::Hs256 => KeyAlgorithm::HS256,
        SignedBy::Rs256 => KeyAlgorithm::RS256,
        SignedBy::Es256 => KeyAlgorithm::ES256,
    };
    is_kind && is_use && key.common.key_algorithm.is_none_or(|says| says == named)
}

/// What is wrong with a token, without its parts.
fn describe(kind: &ErrorKind) -> String {
    match kind {
        ErrorKind::InvalidSignature => "its signature is wrong".into(),
        ErrorKind::InvalidAlgorithm | ErrorKind::UnsupportedAlgorithm => {
            "it is signed by another algorithm".into()
        }
        ErrorKind::InvalidIssuer => "its issuer is another".into(),
        ErrorKind::InvalidAudience => "it is for another audience".into(),
        ErrorKind::MissingRequiredClaim(claim) => format!("it has no `{claim}`"),
        // Serde's own words tell which claim is missing, and may hold what the token says.
        ErrorKind::Json(_) => {
            "`exp`, `streams` and `actions` are wanted, and an algorithm that is known".into()
        }
        _ => "it is no token".into(),
    }
}

impl SignedBy {
    const fn algorithm(self) -> Algorithm {
        match self {
            Self::Hs256 => Algorithm::HS256,
            Self::Rs256 => Algorithm::RS256,
            Self::Es256 => Algorithm::ES256,
        }
    }
}

impl OneOrMore {
    fn iter(&self) -> impl Iterator<Item = &str> {
        let list = match self {
            Self::One(one) => std::slice::from_ref(one),
            Self::More(more) => more,
        };
        list.iter().map(String::as_str)
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Verifier({:?}, {} keys)", self.validation.algorithms, self.keys.len())
    }
}

impl fmt::Display for VerifierError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pem => f.write_str("there is no PUBLIC KEY in it of the form PEM"),
            Self::Key => f.write_str(
                "it is no key of the algorithm: RS256 takes RSA of 2048 to 8192 bits, ES256 takes P-256",
            ),
            Self::Jwks(why) => write!(f, "it is no set of keys (JWKS): {why}"),
            Self::NoneFits => f.write_str("the set has no key for signatures by the algorithm"),
            Self::Mismatch => f.write_str("HS256 takes `secret`, RS256 and ES256 take a file"),
        }
    }
}

impl std::error::Error for VerifierError {}

#[cfg(test)]
mod tests;
