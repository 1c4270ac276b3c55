//! A certificate of our own making, to try things out: new at every start, trusted by nobody.

use std::sync::Arc;

use jiff::{ToSpan, Zoned, civil, tz::TimeZone};
use rcgen::{CertificateParams, DnType, KeyPair, date_time_ymd};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::sign::CertifiedKey;

use super::certificate::{CertificateError, Presentable};
use super::validity::Validity;

/// What such a certificate is called in the log.
const NAME: &str = "the self-signed certificate";

/// Makes a certificate for these names and addresses, for a year.
pub(super) fn make(
    names: &[String],
    provider: &CryptoProvider,
) -> Result<Presentable, CertificateError> {
    let today = Zoned::now().with_time_zone(TimeZone::UTC).date();
    let on = |date: civil::Date| date_time_ymd(date.year().into(), month(date), day(date));
    let made = (|| {
        let mut params = CertificateParams::new(names)?;
        params.distinguished_name.push(DnType::CommonName, "Thalweg, self-signed");
        // The clock of a client may be behind.
        params.not_before = on(today.saturating_sub(1.day()));
        params.not_after = on(today.saturating_add(1.year()));
        let key = KeyPair::generate()?;
        Ok((params.self_signed(&key)?, key.serialize_der()))
    })();
    let (certificate, key) = made.map_err(CertificateError::Unmade)?;
    let unusable = |error| CertificateError::Unusable { path: NAME.into(), error };
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key));
    let der = certificate.der().clone();
    let bad = rustls::CertificateError::BadEncoding;
    let validity = Validity::of(&der).ok_or_else(|| unusable(bad.into()))?;
    let key = CertifiedKey::from_der(vec![der], key, provider).map_err(unusable)?;
    Ok(Presentable { name: NAME.into(), key: Arc::new(key), validity })
}

fn month(date: civil::Date) -> u8 {
    date.month().unsigned_abs()
}

fn day(date: civil::Date) -> u8 {
    date.day().unsigned_abs()
}
