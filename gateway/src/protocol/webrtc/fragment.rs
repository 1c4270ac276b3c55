//! A piece of SDP that tells of addresses (RFC 8840 §9): what a peer sends after its offer, and what we answer.

use super::resource::Fresh;
use str0m::{Candidate, IceCreds};

/// What a peer said.
#[derive(Debug, Default)]
pub(super) struct Fragment {
    /// Its name and password, if they were there.
    pub(super) credentials: Option<IceCreds>,
    pub(super) candidates: Vec<Candidate>,
}

/// More candidates than this in one piece has no machine.
const CANDIDATES_MAX: usize = 64;

impl Fragment {
    /// Reads what of it is understood; candidates that are not, such as names of mDNS, are left out, since the peer's
    /// checks tell its address anyway.
    pub(super) fn parse(text: &str) -> Self {
        let (mut ufrag, mut pass) = (None, None);
        let mut candidates = Vec::new();
        for line in text.lines() {
            if let Some(value) = line.strip_prefix("a=ice-ufrag:") {
                ufrag = ufrag.or_else(|| Some(value.trim().to_owned()));
            } else if let Some(value) = line.strip_prefix("a=ice-pwd:") {
                pass = pass.or_else(|| Some(value.trim().to_owned()));
            } else if let Some(value) = line.strip_prefix("a=")
                && value.starts_with("candidate:")
                && candidates.len() < CANDIDATES_MAX
            {
                candidates.extend(Candidate::from_sdp_string(value.trim()).ok());
            }
        }
        let credentials = ufrag.zip(pass).map(|(ufrag, pass)| IceCreds { ufrag, pass });
        Self { credentials, candidates }
    }
}

/// The answer to a restart (RFC 9725 §4.3.3).
pub(super) fn answer(fresh: &Fresh) -> String {
    let IceCreds { ufrag, pass } = &fresh.credentials;
    let mut text = format!("a=ice-lite\r\na=ice-ufrag:{ufrag}\r\na=ice-pwd:{pass}\r\n");
    for candidate in &fresh.candidates {
        text.push_str("a=");
        text.push_str(candidate.trim_end());
        text.push_str("\r\n");
    }
    text.push_str("a=end-of-candidates\r\n");
    text
}

/// The peer's name in ICE, as its offer says.
pub(super) fn ufrag_of(offer: &str) -> Option<&str> {
    offer.lines().find_map(|line| line.strip_prefix("a=ice-ufrag:")).map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_piece_tells_names_and_addresses_and_what_is_not_understood_is_left_out() {
        let text = "a=group:BUNDLE 0 1\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\n\
            a=ice-ufrag:EsAw\r\na=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1\r\n\
            a=candidate:1387637174 1 udp 2122260223 192.0.2.1 61764 typ host generation 0\r\n\
            a=candidate:2 1 udp 2122260223 1f4712db-ea17-4bcf-a596-105139dfd8bf.local 54596 typ host\r\n\
            a=candidate:junk\r\na=end-of-candidates\r\n";
        let fragment = Fragment::parse(text);
        let credentials = fragment.credentials.unwrap();
        assert_eq!((&*credentials.ufrag, credentials.pass.len()), ("EsAw", 24));
        assert_eq!(fragment.candidates.len(), 1);
        assert_eq!(fragment.candidates[0].addr(), "192.0.2.1:61764".parse().unwrap());
        assert_eq!(ufrag_of(text), Some("EsAw"));
    }

    #[test]
    fn a_piece_with_thousands_of_candidates_gives_a_bounded_number() {
        let line = "a=candidate:1 1 udp 2122260223 192.0.2.1 61764 typ host\r\n";
        assert_eq!(Fragment::parse(&line.repeat(5_000)).candidates.len(), CANDIDATES_MAX);
    }
}
