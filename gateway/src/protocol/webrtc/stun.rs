//! As much of STUN (RFC 8489) as it takes to find out for whom a message is.

#![cfg_attr(not(test), warn(clippy::indexing_slicing, clippy::cast_possible_truncation))]

use aws_lc_rs::hmac;
use str0m::ice::StunMessage;

/// What tells a check from another: its transaction (§5).
pub(super) type Check = [u8; 12];

/// §5: the value of the second word of every message.
const MAGIC_COOKIE: [u8; 4] = [0x21, 0x12, 0xa4, 0x42];
/// §14.3.
const USERNAME: u16 = 0x0006;
const HEADER_LEN: usize = 20;

/// Whether a datagram on a port of WebRTC is STUN (RFC 7983 §7).
pub(super) fn is_stun(datagram: &[u8]) -> bool {
    datagram.first().is_some_and(|&first| first < 4) && datagram.get(4..8) == Some(&MAGIC_COOKIE)
}

/// The name of whom a check is for: the part of the user name before the colon (RFC 8445 §7.2.2). Answers have none.
pub(super) fn local_ufrag(datagram: &[u8]) -> Option<&str> {
    if !is_stun(datagram) {
        return None;
    }
    let mut rest = datagram.get(HEADER_LEN..)?;
    loop {
        let (&[k0, k1, l0, l1], after) = rest.split_first_chunk()?;
        let len = usize::from(u16::from_be_bytes([l0, l1]));
        if u16::from_be_bytes([k0, k1]) == USERNAME {
            let name = std::str::from_utf8(after.get(..len)?).ok()?;
            return name.split_once(':').map(|(local, _)| local);
        }
        // §14: values are padded to words.
        rest = after.get(len.next_multiple_of(4)..)?;
    }
}

/// The check in a packet, if it is one and made by who knows the password (§14.5).
pub(super) fn genuine(packet: &[u8], password: &str) -> Option<Check> {
    let message = StunMessage::parse(packet).ok()?;
    let is_genuine = message.is_binding_request() && message.verify(password.as_bytes(), sign);
    let &check = packet.get(8..)?.first_chunk()?;
    is_genuine.then_some(check)
}

fn sign(key: &[u8], parts: &[&[u8]]) -> [u8; 20] {
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, key);
    let mut context = hmac::Context::with_key(&key);
    parts.iter().for_each(|part| context.update(part));
    let tag = context.sign();
    *tag.as_ref().first_chunk().expect("SHA-1 has 20 bytes")
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use str0m::ice::TransId;

    /// A check as a browser makes one.
    pub(in super::super) fn check(ufrag: &str, password: &str) -> Vec<u8> {
        let name = format!("{ufrag}:theirs");
        let message = StunMessage::binding_request(&name, TransId::new(), true, 7, 1, true);
        let mut bytes = vec![0; 256];
        let len = message.to_bytes(Some(password.as_bytes()), &mut bytes, sign).unwrap();
        bytes.truncate(len);
        bytes
    }

    #[test]
    fn a_check_is_genuine_when_it_was_made_with_the_password_and_as_it_was_made() {
        let mut bytes = check("ours", "secret");
        assert_eq!(local_ufrag(&bytes), Some("ours"));
        assert_eq!(genuine(&bytes, "secret").as_ref(), bytes[8..].first_chunk());
        assert_eq!(genuine(&bytes, "guessed"), None);
        for at in 0..bytes.len() {
            assert_eq!(genuine(&bytes[..at], "secret"), None, "{at}");
        }
        // A digit of the user name.
        bytes[26] ^= 1;
        assert_eq!(genuine(&bytes, "secret"), None);
    }

    fn message(attributes: &[(u16, &[u8])]) -> Vec<u8> {
        let mut message = vec![0, 1, 0, 0];
        message.extend(MAGIC_COOKIE);
        message.extend([7; 12]);
        for (kind, value) in attributes {
            message.extend(kind.to_be_bytes());
            message.extend(u16::try_from(value.len()).unwrap().to_be_bytes());
            message.extend_from_slice(value);
            message.resize(message.len().next_multiple_of(4), 0);
        }
        message
    }

    #[test]
    fn a_check_names_whom_it_is_for() {
        let check = message(&[(0x0024, &[0, 0, 1, 2]), (USERNAME, b"ours1:theirs")]);
        assert_eq!(local_ufrag(&check), Some("ours1"));
    }

    #[test]
    fn what_is_cut_off_or_something_else_names_nobody() {
        let check = message(&[(0x8022, b"abc"), (USERNAME, b"ours:theirs")]);
        for len in 0..check.len() - 1 {
            assert_eq!(local_ufrag(&check[..len]), None, "{len}");
        }
        assert_eq!(local_ufrag(&message(&[(USERNAME, b"no colon")])), None);
        assert_eq!(local_ufrag(&[0x80; 40]), None);
    }
}
