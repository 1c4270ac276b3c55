//! From when until when a certificate is valid.
//!
//! Reads as much of a certificate as lies before that and no more: `Certificate`, `TBSCertificate`, and `Validity` of
//! RFC 5280 §4.1, in DER (X.690 §8, §10).

use jiff::civil::DateTime;
use jiff::tz::Offset;
use jiff::{SignedDuration, Timestamp};

/// From when until when a certificate is valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    /// The first moment.
    pub not_before: Timestamp,
    /// The last moment.
    pub not_after: Timestamp,
}

const SEQUENCE: u8 = 0x30;
/// `[0] EXPLICIT Version`
const VERSION: u8 = 0xa0;
const INTEGER: u8 = 0x02;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;

/// A renewal that has not come by then has failed: so long before the end it is warned.
const WARNING: SignedDuration = SignedDuration::from_hours(21 * 24);

impl Validity {
    /// That of a certificate in DER; `None` when it is no certificate.
    #[must_use]
    pub fn of(certificate: &[u8]) -> Option<Self> {
        let mut outer = Reader(certificate);
        let mut certificate = Reader(outer.take(SEQUENCE)?);
        let mut tbs = Reader(certificate.take(SEQUENCE)?);
        if tbs.0.first() == Some(&VERSION) {
            tbs.take(VERSION)?;
        }
        tbs.take(INTEGER)?;
        // The algorithm of the signature, then the issuer.
        tbs.take(SEQUENCE)?;
        tbs.take(SEQUENCE)?;
        let mut validity = Reader(tbs.take(SEQUENCE)?);
        Some(Self { not_before: validity.time()?, not_after: validity.time()? })
    }

    /// From when on it is time to warn: three weeks before the end, or a third of the whole time where that is less, as
    /// there are certificates for six days.
    #[must_use]
    pub fn warning_from(&self) -> Timestamp {
        let whole = self.not_after.duration_since(self.not_before);
        let ahead = WARNING.min(whole / 3);
        self.not_after.checked_sub(ahead).unwrap_or(self.not_after)
    }
}

/// What is left to be read.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// The content of the next element, which has to have this tag.
    fn take(&mut self, tag: u8) -> Option<&'a [u8]> {
        let (&found, rest) = self.0.split_first()?;
        let (&first, mut rest) = rest.split_first()?;
        let len = if first < 0x80 {
            usize::from(first)
        } else {
            // The long form; more than four bytes of length is no certificate.
            let count = usize::from(first & 0x7f);
            let (bytes, after) =
                rest.split_at_checked(count).filter(|_| (1..=4).contains(&count))?;
            rest = after;
            bytes.iter().fold(0, |len, &byte| len << 8 | usize::from(byte))
        };
        let (content, after) = rest.split_at_checked(len)?;
        self.0 = after;
        (found == tag).then_some(content)
    }

    /// `Time`: RFC 5280 §4.1.2.5 wants seconds and `Z`.
    fn time(&mut self) -> Option<Timestamp> {
        let tag = *self.0.first()?;
        let text = std::str::from_utf8(self.take(tag)?).ok()?.strip_suffix('Z')?;
        let (year, rest) = match tag {
            UTC_TIME => {
                let (year, rest) = text.split_at_checked(2)?;
                let year: i16 = year.parse().ok()?;
                (if year >= 50 { 1900 + year } else { 2000 + year }, rest)
            }
            GENERALIZED_TIME => {
                let (year, rest) = text.split_at_checked(4)?;
                (year.parse().ok()?, rest)
            }
            _ => return None,
        };
        let number = |at: usize| -> Option<i8> { rest.get(at..at + 2)?.parse().ok() };
        if rest.len() != 10 {
            return None;
        }
        let time =
            DateTime::new(year, number(0)?, number(2)?, number(4)?, number(6)?, number(8)?, 0);
        Offset::UTC.to_timestamp(time.ok()?).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    fn made(from: (i32, u8, u8), to: (i32, u8, u8)) -> Vec<u8> {
        let mut params = CertificateParams::new(["localhost".to_owned()]).unwrap();
        params.not_before = date_time_ymd(from.0, from.1, from.2);
        params.not_after = date_time_ymd(to.0, to.1, to.2);
        let key = KeyPair::generate().unwrap();
        params.self_signed(&key).unwrap().der().to_vec()
    }

    #[test]
    fn both_forms_of_a_time_are_read() {
        let validity = Validity::of(&made((2026, 1, 31), (2061, 12, 1))).unwrap();
        assert_eq!(validity.not_before.to_string(), "2026-01-31T00:00:00Z");
        assert_eq!(validity.not_after.to_string(), "2061-12-01T00:00:00Z");
    }

    #[test]
    fn it_is_warned_three_weeks_ahead_or_a_third_of_the_time() {
        let validity = Validity::of(&made((2026, 1, 1), (2026, 4, 1))).unwrap();
        assert_eq!(validity.warning_from().to_string(), "2026-03-11T00:00:00Z");
        let validity = Validity::of(&made((2026, 1, 1), (2026, 1, 7))).unwrap();
        assert_eq!(validity.warning_from().to_string(), "2026-01-05T00:00:00Z");
    }

    #[test]
    fn no_part_of_a_certificate_is_one() {
        let whole = made((2026, 1, 1), (2026, 4, 1));
        for len in 0..whole.len() {
            assert_eq!(Validity::of(&whole[..len]), None, "{len}");
        }
    }

    proptest::proptest! {
        #[test]
        fn junk_is_no_certificate_and_no_panic(at in 0_usize..300, byte: u8, junk: Vec<u8>) {
            let mut bytes = made((2026, 1, 1), (2026, 4, 1));
            bytes[at % 300] = byte;
            let _any = Validity::of(&bytes);
            let _any = Validity::of(&junk);
        }
    }
}
