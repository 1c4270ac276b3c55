//! Tickets: what lets a browser download a file whose page has the credential, since a link cannot bring one along.
//!
//! A ticket stands in the address that the API gives to who may read it, and is good for that file and an hour: the time of
//! its end and an HMAC-SHA256 (RFC 2104, FIPS 180-4) of both, by a key that lives as long as the process.

use std::fmt;
use std::fmt::Write as _;

use aws_lc_rs::{constant_time, hmac, rand::SystemRandom};

/// Gives out tickets and knows them again.
pub(super) struct Tickets(Option<hmac::Key>);

/// How long one is good, in seconds.
const GOOD_S: u64 = 3_600;

impl Tickets {
    pub(super) fn new() -> Self {
        // Without randomness there are none, and links need a credential.
        Self(hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new()).ok())
    }

    /// One for this name.
    pub(super) fn issue(&self, name: &str, now_s: u64) -> Option<String> {
        let end_s = now_s + GOOD_S;
        Some(format!("{end_s}-{}", self.mark(name, end_s)?))
    }

    /// Whether it is one of ours, of this name, and still good.
    pub(super) fn admits(&self, name: &str, ticket: &str, now_s: u64) -> bool {
        let parts = ticket.split_once('-');
        let end = parts.and_then(|(end, mark)| Some((end.parse::<u64>().ok()?, mark)));
        let Some((end_s, given)) = end else { return false };
        let is_known = self.mark(name, end_s).is_some_and(|mark| {
            constant_time::verify_slices_are_equal(mark.as_bytes(), given.as_bytes()).is_ok()
        });
        is_known && now_s < end_s
    }

    fn mark(&self, name: &str, end_s: u64) -> Option<String> {
        let tag = hmac::sign(self.0.as_ref()?, format!("{end_s} {name}").as_bytes());
        Some(tag.as_ref().iter().fold(String::new(), |mut mark, byte| {
            let _infallible = write!(mark, "{byte:02x}");
            mark
        }))
    }
}

impl fmt::Debug for Tickets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tickets(***)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ticket_is_good_for_one_name_one_hour_and_one_process() {
        let tickets = Tickets::new();
        let ticket = tickets.issue("a", 1_000).unwrap();
        assert!(tickets.admits("a", &ticket, 4_599));
        assert!(!tickets.admits("a", &ticket, 4_600), "it is over");
        assert!(!tickets.admits("b", &ticket, 1_000), "of another file");
        assert!(!Tickets::new().admits("a", &ticket, 1_000), "of another process");
        let later = ticket.replacen("4600", "9999", 1);
        assert!(!tickets.admits("a", &later, 1_000), "its end was changed");
        for junk in ["", "-", "4600", "4600-", "x-y", &ticket[..ticket.len() - 1]] {
            assert!(!tickets.admits("a", junk, 1_000), "{junk}");
        }
    }
}
