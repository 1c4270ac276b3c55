//! The handshake: 1 + 1536 + 1536 bytes each way, plain or with digests.
//!
//! The plain one is §5.2 of Adobe's "Real-Time Messaging Protocol (RTMP) specification" 1.0 of December 2012. The
//! digests are in no specification: Flash, and some players and encoders after it, play H.264 only when the server
//! can compute them. Layout and keys are those of every open implementation since rtmpdump. Encrypted RTMP
//! (versions 6 and 8) is refused.

use aws_lc_rs::{
    hmac,
    rand::{SecureRandom, SystemRandom},
};
use std::fmt;

/// Length of C1, C2, S1 and S2.
pub const PART_LEN: usize = 1536;

/// The version that C0 and S0 state.
pub const VERSION: u8 = 3;

/// Why a handshake failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HandshakeError {
    /// The peer wants another version: encrypted RTMP, or it doesn't speak RTMP at all.
    Version(u8),
    /// The server's S2 doesn't fit our C1.
    Answer,
    /// The system gives no random bytes.
    Random,
}

/// C1, C2, S1 or S2.
pub type Part = [u8; PART_LEN];

/// Where in C1 or S1 the digest is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Layout {
    /// In the first half, at 8; the second half would be for a key exchange.
    DigestFirst,
    /// In the second half, at 772.
    DigestLast,
}

/// Checks C0 or S0.
///
/// # Errors
///
/// [`HandshakeError::Version`].
pub const fn check_version(version: u8) -> Result<(), HandshakeError> {
    if version == VERSION { Ok(()) } else { Err(HandshakeError::Version(version)) }
}

/// S0, S1 and S2 for a client's C1. With digests when C1 has one, else plain.
///
/// # Errors
///
/// [`HandshakeError::Random`].
pub fn answer_client(c1: &Part) -> Result<Vec<u8>, HandshakeError> {
    let mut s1 = random_part()?;
    let Some((layout, digest)) = find_digest(c1, PLAYER_KEY_SHORT) else {
        return Ok([&[VERSION], &s1[..], &c1[..]].concat());
    };
    // A version that is not 0 tells the client to look for the digest.
    write_at(&mut s1, 4, &[4, 5, 0, 1]);
    sign(&mut s1, layout, SERVER_KEY_SHORT);
    let s2 = answer_to(&digest, SERVER_KEY)?;
    Ok([&[VERSION], &s1[..], &s2[..]].concat())
}

/// C0 and C1 of a client, with a digest.
///
/// # Errors
///
/// [`HandshakeError::Random`].
pub fn greet_server() -> Result<Vec<u8>, HandshakeError> {
    let mut c1 = random_part()?;
    write_at(&mut c1, 4, &[9, 0, 124, 2]);
    sign(&mut c1, Layout::DigestFirst, PLAYER_KEY_SHORT);
    Ok([&[VERSION], &c1[..]].concat())
}

/// C2 for a server's S1 and S2.
///
/// # Errors
///
/// [`HandshakeError::Answer`] when S1 has a digest and S2 is neither the answer to C1's nor its echo;
/// [`HandshakeError::Random`].
pub fn answer_server(c1: &Part, s1: &Part, s2: &Part) -> Result<Box<Part>, HandshakeError> {
    let Some((_, digest)) = find_digest(s1, SERVER_KEY_SHORT) else { return Ok(Box::new(*s1)) };
    let (_, ours) = find_digest(c1, PLAYER_KEY_SHORT).ok_or(HandshakeError::Answer)?;
    if !answers(s2, &ours, SERVER_KEY) && s2 != c1 {
        return Err(HandshakeError::Answer);
    }
    answer_to(&digest, PLAYER_KEY)
}

impl Layout {
    /// Where the digest begins in this part. The place is drawn by the sum of four bytes.
    fn position(self, part: &Part) -> usize {
        let at = match self {
            Self::DigestFirst => 8,
            Self::DigestLast => 8 + BLOCK_LEN,
        };
        let sum: usize = part.iter().skip(at).take(4).map(|&byte| usize::from(byte)).sum();
        at + 4 + sum % (BLOCK_LEN - 4 - DIGEST_LEN)
    }
}

impl fmt::Display for HandshakeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Version(version) => write!(f, "the peer wants RTMP version {version}, not 3"),
            Self::Answer => f.write_str("the server's answer does not fit our greeting"),
            Self::Random => f.write_str("the system gives no random bytes"),
        }
    }
}

impl std::error::Error for HandshakeError {}

/// The digest in a part whose sender has this key, and where it is.
fn find_digest(part: &Part, key: &[u8]) -> Option<(Layout, Digest)> {
    [Layout::DigestFirst, Layout::DigestLast].into_iter().find_map(|layout| {
        let digest = digest_around(part, layout, key);
        let at = layout.position(part);
        (part.get(at..at + DIGEST_LEN)? == digest).then_some((layout, digest))
    })
}

fn sign(part: &mut Part, layout: Layout, key: &[u8]) {
    let digest = digest_around(part, layout, key);
    write_at(part, layout.position(part), &digest);
}

/// Of all of the part but the place for the digest.
fn digest_around(part: &Part, layout: Layout, key: &[u8]) -> Digest {
    let (before, rest) = part.split_at(layout.position(part));
    let after = rest.get(DIGEST_LEN..).unwrap_or_default();
    hmac_sha256(key, &[before, after])
}

/// C2 or S2: random bytes, and a digest of them by a key made from the other side's digest.
fn answer_to(digest: &Digest, key: &[u8]) -> Result<Box<Part>, HandshakeError> {
    let mut part = random_part()?;
    let (random, _) = part.split_at(PART_LEN - DIGEST_LEN);
    let answer = hmac_sha256(&hmac_sha256(key, &[digest]), &[random]);
    write_at(&mut part, PART_LEN - DIGEST_LEN, &answer);
    Ok(part)
}

fn answers(part: &Part, digest: &Digest, key: &[u8]) -> bool {
    let (random, answer) = part.split_at(PART_LEN - DIGEST_LEN);
    answer == hmac_sha256(&hmac_sha256(key, &[digest]), &[random])
}

/// Time 0, version 0, random bytes.
fn random_part() -> Result<Box<Part>, HandshakeError> {
    let mut part = Box::new([0; PART_LEN]);
    let (_, random) = part.split_at_mut(8);
    SystemRandom::new().fill(random).map_err(|_| HandshakeError::Random)?;
    Ok(part)
}

fn write_at(part: &mut Part, at: usize, bytes: &[u8]) {
    if let Some(place) = part.get_mut(at..at + bytes.len()) {
        place.copy_from_slice(bytes);
    }
}

fn hmac_sha256(key: &[u8], parts: &[&[u8]]) -> Digest {
    let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, key));
    parts.iter().for_each(|part| context.update(part));
    let mut digest = [0; DIGEST_LEN];
    digest.copy_from_slice(context.sign().as_ref());
    digest
}

type Digest = [u8; DIGEST_LEN];

const DIGEST_LEN: usize = 32;

/// Half of what follows time and version.
const BLOCK_LEN: usize = (PART_LEN - 8) / 2;

const PLAYER_KEY_SHORT: &[u8] = b"Genuine Adobe Flash Player 001";

const SERVER_KEY_SHORT: &[u8] = b"Genuine Adobe Flash Media Server 001";

const PLAYER_KEY: &[u8] = b"Genuine Adobe Flash Player 001\
    \xf0\xee\xc2\x4a\x80\x68\xbe\xe8\x2e\x00\xd0\xd1\x02\x9e\x7e\x57\
    \x6e\xec\x5d\x2d\x29\x80\x6f\xab\x93\xb8\xe6\x36\xcf\xeb\x31\xae";

const SERVER_KEY: &[u8] = b"Genuine Adobe Flash Media Server 001\
    \xf0\xee\xc2\x4a\x80\x68\xbe\xe8\x2e\x00\xd0\xd1\x02\x9e\x7e\x57\
    \x6e\xec\x5d\x2d\x29\x80\x6f\xab\x93\xb8\xe6\x36\xcf\xeb\x31\xae";

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(bytes: &[u8]) -> Vec<Part> {
        assert_eq!(bytes[0], VERSION);
        bytes[1..].chunks(PART_LEN).map(|part| part.try_into().unwrap()).collect()
    }

    fn signed_c1(layout: Layout) -> Box<Part> {
        let mut c1 = random_part().unwrap();
        write_at(&mut c1, 4, &[128, 0, 7, 2]);
        sign(&mut c1, layout, PLAYER_KEY_SHORT);
        c1
    }

    #[test]
    fn a_client_without_a_digest_gets_its_bytes_back() {
        let c1 = random_part().unwrap();
        let [s1, s2] = parts(&answer_client(&c1).unwrap())[..] else { panic!() };
        assert_eq!(s2, *c1);
        assert_eq!(s1[4..8], [0; 4], "says that there is no digest");
        assert_eq!(answer_server(&c1, &s1, &s2), Ok(Box::new(s1)), "the client echoes, too");
    }

    #[test]
    fn a_client_with_a_digest_gets_digests_in_its_layout() {
        for layout in [Layout::DigestFirst, Layout::DigestLast] {
            let c1 = signed_c1(layout);
            let [s1, s2] = parts(&answer_client(&c1).unwrap())[..] else { panic!() };
            assert_ne!(s1[4..8], [0; 4]);
            let (found, digest) = find_digest(&s1, SERVER_KEY_SHORT).unwrap();
            assert_eq!(found, layout);
            let c2 = answer_server(&c1, &s1, &s2).unwrap();
            assert!(answers(&c2, &digest, PLAYER_KEY));
        }
    }

    #[test]
    fn our_greeting_is_answered_with_digests() {
        let [c1] = parts(&greet_server().unwrap())[..] else { panic!() };
        let [s1, mut s2] = parts(&answer_client(&c1).unwrap())[..] else { panic!() };
        assert!(answer_server(&c1, &s1, &s2).is_ok());
        s2[100] ^= 1;
        assert_eq!(answer_server(&c1, &s1, &s2), Err(HandshakeError::Answer));
    }

    #[test]
    fn the_digest_is_found_wherever_its_place_is_drawn() {
        for sum in [0, 1, 3, 254, 255] {
            for layout in [Layout::DigestFirst, Layout::DigestLast] {
                let mut c1 = [sum; PART_LEN];
                sign(&mut c1, layout, PLAYER_KEY_SHORT);
                assert_eq!(find_digest(&c1, PLAYER_KEY_SHORT).map(|found| found.0), Some(layout));
            }
        }
    }

    #[test]
    fn other_versions_are_refused() {
        assert_eq!(check_version(b'G'), Err(HandshakeError::Version(b'G')));
        assert_eq!(check_version(6), Err(HandshakeError::Version(6)));
        assert_eq!(check_version(3), Ok(()));
    }

    #[test]
    fn hmac_sha256_gives_what_rfc_4231_says() {
        let digest = hmac_sha256(&[0x0b; 20], &[b"Hi", b" There"]);
        assert_eq!(digest[..8], [0xb0, 0x34, 0x4c, 0x61, 0xd8, 0xdb, 0x38, 0x53]);
    }
}
