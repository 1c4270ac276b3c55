//! Tokens of all kinds, made here and forged.

use super::*;
use crate::auth::Action;
use aws_lc_rs::{
    encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der},
    hmac,
    rand::SystemRandom,
    rsa::KeySize,
    signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair, RSA_PKCS1_SHA256, RsaKeyPair,
    },
};
use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use serde_json::{Value, json};

const NOW: u64 = 1_700_000_000;

fn secret() -> Secret {
    "a secret of thirty-two bytes, or more".into()
}

fn part(value: &Value) -> String {
    URL_SAFE_NO_PAD.encode(value.to_string())
}

fn token(header: &Value, claims: &Value, sign: impl Fn(&[u8]) -> Vec<u8>) -> Secret {
    let message = format!("{}.{}", part(header), part(claims));
    let signature = URL_SAFE_NO_PAD.encode(sign(message.as_bytes()));
    Secret::new(format!("{message}.{signature}"))
}

fn hs256(message: &[u8]) -> Vec<u8> {
    mac(secret().reveal().as_bytes(), message)
}

fn mac(key: &[u8], message: &[u8]) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), message).as_ref().to_vec()
}

fn claims() -> Value {
    json!({ "exp": NOW + 60, "streams": ["live/*"], "actions": ["play"], "sub": "somebody" })
}

fn ask() -> Ask {
    let key = "live/cam".parse().unwrap();
    Ask::new(Action::Play, &key, "test", "192.0.2.1:5".parse().unwrap())
}

fn verifier() -> Verifier {
    Verifier::new(SignedBy::Hs256, KeyText::Secret(&secret()), None, None).unwrap()
}

fn check(verifier: &Verifier, token: &Secret) -> Result<u64, String> {
    verifier.check(token, &ask(), NOW).map_err(|refused| match refused {
        Refused::Unauthorized(why) => format!("401 {why}"),
        Refused::Forbidden(why) => format!("403 {why}"),
        other => panic!("{other:?}"),
    })
}

fn check_claims(claims: &Value) -> Result<u64, String> {
    check(&verifier(), &token(&json!({ "alg": "HS256" }), claims, hs256))
}

fn with(name: &str, value: Value) -> Value {
    let mut claims = claims();
    claims[name] = value;
    claims
}

fn without(name: &str) -> Value {
    let mut claims = claims();
    claims.as_object_mut().unwrap().remove(name);
    claims
}

#[test]
fn a_token_is_good_until_it_expires_for_its_streams_and_actions() {
    assert_eq!(check_claims(&claims()), Ok(NOW + 60));
    assert_eq!(check_claims(&with("streams", "live/cam".into())), Ok(NOW + 60));
    assert_eq!(check_claims(&with("actions", "play".into())), Ok(NOW + 60));
    for (claims, expected) in [
        (with("exp", (NOW - 6).into()), "401 the token has expired"),
        (with("exp", 0.into()), "401 the token has expired"),
        (with("nbf", (NOW + 6).into()), "401 the token is not good yet"),
        (with("streams", json!(["other/*"])), "403 the token is for other streams"),
        (with("streams", json!([])), "403 the token is for other streams"),
        (with("actions", "publish".into()), "403 the token is not for who wants to play"),
    ] {
        assert_eq!(check_claims(&claims), Err(expected.into()), "{claims}");
    }
    for claims in [
        without("exp"),
        without("streams"),
        without("actions"),
        with("exp", "soon".into()),
        with("exp", Value::Null),
    ] {
        let refused = check_claims(&claims).unwrap_err();
        assert!(refused.starts_with("401 the token is not accepted"), "{claims}: {refused}");
    }
}

#[test]
fn forged_tokens_are_refused() {
    let verifier = verifier();
    let good = token(&json!({ "alg": "HS256" }), &claims(), hs256);
    let (message, _) = good.reveal().rsplit_once('.').unwrap();
    let forged = [
        token(&json!({ "alg": "HS256" }), &claims(), |message| mac(b"another", message)),
        token(&json!({ "alg": "none" }), &claims(), |_| Vec::new()),
        token(&json!({ "alg": "None" }), &claims(), |_| Vec::new()),
        token(&json!({ "alg": "HS384" }), &claims(), hs256),
        token(&json!({ "alg": "RS256" }), &claims(), hs256),
        token(&json!({ "typ": "JWT" }), &claims(), hs256),
        Secret::new(format!("{message}.")),
        message.into(),
        "".into(),
        "..".into(),
        "a.b.c".into(),
    ];
    for token in forged {
        let refused = check(&verifier, &token).unwrap_err();
        assert!(refused.starts_with("401 the token is not accepted"), "{refused}");
    }
}

#[test]
fn issuer_and_audience_are_wanted_where_they_are_configured() {
    let verifier =
        Verifier::new(SignedBy::Hs256, KeyText::Secret(&secret()), Some("us"), Some("here"));
    let verifier = verifier.unwrap();
    let check = |more: Value| {
        let mut claims = claims();
        claims.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        check(&verifier, &token(&json!({ "alg": "HS256" }), &claims, hs256)).is_ok()
    };
    assert!(check(json!({ "iss": "us", "aud": "here" })));
    assert!(check(json!({ "iss": "us", "aud": ["there", "here"] })));
    for more in [
        json!({ "iss": "us" }),
        json!({ "aud": "here" }),
        json!({ "iss": "them", "aud": "here" }),
        json!({ "iss": "us", "aud": "there" }),
    ] {
        assert!(!check(more.clone()), "{more}");
    }
}

/// A public key of the form PEM.
fn pem(der: &[u8]) -> String {
    format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", STANDARD.encode(der))
}

struct Keys {
    rsa: RsaKeyPair,
    ec: EcdsaKeyPair,
}

impl Keys {
    fn new() -> Self {
        let rsa = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
        let ec = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        let _exportable: Pkcs8V1Der<'_> = rsa.as_der().unwrap();
        Self { rsa, ec }
    }

    fn rsa_pem(&self) -> String {
        let der: PublicKeyX509Der<'_> = self.rsa.public_key().as_der().unwrap();
        pem(der.as_ref())
    }

    fn ec_pem(&self) -> String {
        let der: PublicKeyX509Der<'_> = self.ec.public_key().as_der().unwrap();
        pem(der.as_ref())
    }

    fn jwks(&self) -> String {
        let point = self.ec.public_key().as_ref();
        let [x, y] = [1..33, 33..65].map(|half| URL_SAFE_NO_PAD.encode(&point[half]));
        let [n, e] = [self.rsa.public_key().modulus(), self.rsa.public_key().exponent()]
            .map(|number| URL_SAFE_NO_PAD.encode(number.big_endian_without_leading_zero()));
        json!({ "keys": [
            { "kty": "RSA", "kid": "r", "use": "sig", "n": n, "e": e },
            { "kty": "EC", "kid": "e", "crv": "P-256", "x": x, "y": y, "alg": "ES256" },
            { "kty": "oct", "kid": "o", "k": URL_SAFE_NO_PAD.encode("a shared secret") },
        ]})
        .to_string()
    }

    fn rs256(&self, message: &[u8]) -> Vec<u8> {
        let mut signature = vec![0; self.rsa.public_modulus_len()];
        let random = SystemRandom::new();
        self.rsa.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature).unwrap();
        signature
    }

    fn es256(&self, message: &[u8]) -> Vec<u8> {
        self.ec.sign(&SystemRandom::new(), message).unwrap().as_ref().to_vec()
    }
}

#[test]
fn public_keys_check_what_their_private_ones_signed_and_nothing_else() {
    let (keys, others) = (Keys::new(), Keys::new());
    let (rsa, ec, jwks) = (keys.rsa_pem(), keys.ec_pem(), keys.jwks());
    let new = |by, key| Verifier::new(by, key, None, None).unwrap();
    let verifiers = [
        (SignedBy::Rs256, new(SignedBy::Rs256, KeyText::Pem(rsa.as_bytes()))),
        (SignedBy::Es256, new(SignedBy::Es256, KeyText::Pem(ec.as_bytes()))),
        (SignedBy::Rs256, new(SignedBy::Rs256, KeyText::Jwks(jwks.as_bytes()))),
        (SignedBy::Es256, new(SignedBy::Es256, KeyText::Jwks(jwks.as_bytes()))),
    ];
    for (by, verifier) in &verifiers {
        let sign = |keys: &Keys, header: Value| {
            let keys = &keys;
            token(&header, &claims(), |message| match by {
                SignedBy::Rs256 => keys.rs256(message),
                _ => keys.es256(message),
            })
        };
        let (name, kid) = if *by == SignedBy::Rs256 { ("RS256", "r") } else { ("ES256", "e") };
        assert_eq!(check(verifier, &sign(&keys, json!({ "alg": name, "kid": kid }))), Ok(NOW + 60));
        assert_eq!(check(verifier, &sign(&keys, json!({ "alg": name }))), Ok(NOW + 60));
        check(verifier, &sign(&others, json!({ "alg": name }))).unwrap_err();
        // What everybody knows, the public key, taken for the secret of an HMAC.
        for public in [rsa.as_bytes(), ec.as_bytes(), jwks.as_bytes(), b"a shared secret"] {
            let confused = token(&json!({ "alg": "HS256" }), &claims(), |m| mac(public, m));
            let refused = check(verifier, &confused).unwrap_err();
            assert!(refused.ends_with("it is signed by another algorithm"), "{refused}");
        }
    }
    let (_, by_set) = &verifiers[2];
    let unknown = token(&json!({ "alg": "RS256", "kid": "x" }), &claims(), |m| keys.rs256(m));
    let refused = check(by_set, &unknown).unwrap_err();
    assert_eq!(refused, "401 no key is known by the token's name of it");
}

#[test]
fn keys_that_do_not_fit_are_said_to() {
    let keys = Keys::new();
    let (rsa, ec, shared) = (keys.rsa_pem(), keys.ec_pem(), secret());
    let new = |by, key| Verifier::new(by, key, None, None).unwrap_err();
    assert_eq!(new(SignedBy::Es256, KeyText::Pem(rsa.as_bytes())), VerifierError::Key);
    assert_eq!(new(SignedBy::Rs256, KeyText::Pem(ec.as_bytes())), VerifierError::Key);
    assert_eq!(new(SignedBy::Rs256, KeyText::Pem(b"junk")), VerifierError::Pem);
    assert_eq!(new(SignedBy::Rs256, KeyText::Secret(&shared)), VerifierError::Mismatch);
    assert_eq!(new(SignedBy::Hs256, KeyText::Pem(rsa.as_bytes())), VerifierError::Mismatch);
    assert_eq!(new(SignedBy::Rs256, KeyText::Jwks(br#"{"keys":[]}"#)), VerifierError::NoneFits);
    assert!(matches!(new(SignedBy::Rs256, KeyText::Jwks(b"junk")), VerifierError::Jwks(_)));
}
