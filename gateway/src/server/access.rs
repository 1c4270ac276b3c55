//! The rules of access control, out of the configuration and the files of keys that it names.

use crate::{
    auth::{KeyText, Rule, Rules, SignedBy, Signer, Terms, User, Verifier},
    config::{AccessRule, AccessTerms, AccessTokens, AccessUser, TokenAlgorithm},
};
use std::{fmt, io, path::Path};
use thalweg_runtime::fs;

/// Makes rules of what the configuration says.
///
/// # Suspends
///
/// While files are read.
///
/// # Errors
///
/// The file that cannot be read or used, and why.
pub(super) fn rules(access: &[AccessRule]) -> io::Result<Rules> {
    let rule = |rule: &AccessRule| {
        Ok(Rule {
            streams: rule.streams.clone(),
            publish: rule.publish.as_ref().map(terms).transpose()?,
            play: rule.play.as_ref().map(terms).transpose()?,
        })
    };
    access.iter().map(rule).collect::<io::Result<_>>().map(Rules::new)
}

fn terms(terms: &AccessTerms) -> io::Result<Terms> {
    let user =
        |user: &AccessUser| User { name: user.name.clone(), password: user.password.clone() };
    Ok(Terms {
        is_closed: terms.closed,
        allow: terms.allow.clone(),
        deny: terms.deny.clone(),
        users: terms.users.iter().map(user).collect(),
        signed: (!terms.signed.is_empty()).then(|| Signer::new(&terms.signed)),
        tokens: terms.jwt.as_ref().map(verifier).transpose()?,
        passphrase: terms.passphrase.clone(),
        ends_at_expiry: terms.end_at_expiry,
    })
}

fn verifier(tokens: &AccessTokens) -> io::Result<Verifier> {
    let signed_by = match tokens.algorithm {
        TokenAlgorithm::Hs256 => SignedBy::Hs256,
        TokenAlgorithm::Rs256 => SignedBy::Rs256,
        TokenAlgorithm::Es256 => SignedBy::Es256,
    };
    let (issuer, audience) = (tokens.issuer.as_deref(), tokens.audience.as_deref());
    let of_file = |name, path: &Path, key: fn(&[u8]) -> KeyText<'_>| {
        let named = |what: &dyn fmt::Display| {
            io::Error::other(format!("access: {name} {}: {what}", path.display()))
        };
        let text = fs::read(path).map_err(|error| named(&error))?;
        let made = Verifier::new(signed_by, key(&text), issuer, audience);
        made.map_err(|error| named(&error))
    };
    match (&tokens.secret, &tokens.key_file, &tokens.jwks_file) {
        (Some(secret), ..) => {
            let made = Verifier::new(signed_by, KeyText::Secret(secret), issuer, audience);
            made.map_err(io::Error::other)
        }
        (_, Some(path), _) => of_file("key_file", path, |text| KeyText::Pem(text)),
        (_, _, Some(path)) => of_file("jwks_file", path, |text| KeyText::Jwks(text)),
        (None, None, None) => Err(io::Error::other("access: jwt names no key")),
    }
}
