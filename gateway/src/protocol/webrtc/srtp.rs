//! SRTP and SRTCP (RFC 3711, RFC 7714): packets of ours sealed where they lie, reports of the peer's opened.
//!
//! Sequence numbers are those of 48 bits that both sides count (RFC 3711 §3.3.1); whoever seals keeps them, and seals none of
//! them twice with something else in it.

#![cfg_attr(not(test), warn(clippy::indexing_slicing, clippy::cast_possible_truncation))]

use super::keys::{Keys, Master};
use aws_lc_rs::{
    aead::{AES_128_GCM, AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey},
    cipher::{AES_128, AES_256, EncryptingKey, EncryptionContext, UnboundCipherKey},
    constant_time, hmac,
    iv::FixedLength,
};
use std::fmt;
use str0m::crypto::dtls::SrtpProfile;

/// What seals the packets of one direction.
#[derive(Debug)]
pub(super) struct Sealer {
    rtp: Session,
    rtcp: Session,
    /// Of SRTCP, counted over all its packets.
    index: u32,
}

/// What opens the reports of the other.
#[derive(Debug)]
pub(super) struct Opener {
    rtcp: Session,
    /// Of each source, which reports have come.
    seen: Vec<Seen>,
}

/// Keys for the packets of one protocol in one direction (RFC 3711 §4.3.1).
enum Session {
    /// `AES_CM_128_HMAC_SHA1_80`.
    Counter(Box<Counter>),
    /// `AEAD_AES_128_GCM` and `AEAD_AES_256_GCM`.
    Gcm { key: LessSafeKey, salt: [u8; 12] },
}

struct Counter {
    key: EncryptingKey,
    salt: [u8; 14],
    signs: hmac::Key,
}

/// The reports of one source that came last (RFC 3711 §3.3.2).
#[derive(Clone, Copy, Debug)]
struct Seen {
    ssrc: u32,
    latest: u32,
    /// The latest and the 63 before it, a bit each.
    window: u64,
}

/// Labels of keys (RFC 3711 §4.3.2): of RTP, and of RTCP.
const RTP: u8 = 0;
const RTCP: u8 = 3;

/// Of a report, what is not encrypted.
const CLEAR: usize = 8;

/// The index of a report, with the mark that it is encrypted.
const INDEX: usize = 4;
const ENCRYPTED: u32 = 1 << 31;

/// Sources of one peer whose reports are taken: it has one for each stream, and some to send again.
const SOURCES_MAX: usize = 8;

const GCM_TAG: usize = 16;
const SHA1_TAG: usize = 10;

/// A tag is no longer.
pub(super) const TAG_MAX: usize = GCM_TAG;

impl Sealer {
    pub(super) fn new(keys: &Keys) -> Option<Self> {
        let session = |label| Session::derive(keys.profile, &keys.ours, label);
        Some(Self { rtp: session(RTP)?, rtcp: session(RTCP)?, index: 0 })
    }

    /// How much longer a packet is when it is sealed.
    pub(super) const fn tag_len(&self) -> usize {
        self.rtp.tag_len()
    }

    /// Seals a packet of RTP: a header in the clear, then what is encrypted, then room for the tag. `index` is its sequence
    /// number of 48 bits.
    pub(super) fn seal(&self, packet: &mut [u8], header_len: usize, ssrc: u32, index: u64) {
        let Some(end) = packet.len().checked_sub(self.tag_len()) else { return };
        let Some((header, rest)) = packet.split_at_mut_checked(header_len) else { return };
        let Some(body_len) = end.checked_sub(header_len) else { return };
        match &self.rtp {
            Session::Gcm { key, salt } => {
                let (body, tag) = rest.split_at_mut(body_len);
                seal_gcm(key, gcm_nonce(salt, ssrc, index), header, body, tag);
            }
            Session::Counter(counter) => {
                let Counter { key, salt, signs } = &**counter;
                let (body, tag) = rest.split_at_mut(body_len);
                encrypt_counter(key, counter_iv(salt, ssrc, index), body);
                let rollover = rollover(index).to_be_bytes();
                sign(signs, &[header, body, &rollover], tag);
            }
        }
    }

    /// Seals a compound of RTCP.
    pub(super) fn seal_report(&mut self, report: &[u8]) -> Vec<u8> {
        let index = self.index;
        self.index = (index + 1) & !ENCRYPTED;
        let word = (index | ENCRYPTED).to_be_bytes();
        let mut packet = Vec::with_capacity(report.len() + TAG_MAX + INDEX);
        packet.extend_from_slice(report);
        let Some(ssrc) = ssrc_of(report) else { return packet };
        let len = packet.len();
        match &self.rtcp {
            Session::Gcm { key, salt } => {
                packet.resize(len + GCM_TAG, 0);
                let (clear, rest) = packet.split_at_mut(CLEAR);
                let (body, tag) = rest.split_at_mut(len - CLEAR);
                let header = [&*clear, &word].concat();
                seal_gcm(key, gcm_nonce(salt, ssrc, index.into()), &header, body, tag);
                packet.extend_from_slice(&word);
            }
            Session::Counter(counter) => {
                let Counter { key, salt, signs } = &**counter;
                let (_, body) = packet.split_at_mut(CLEAR);
                encrypt_counter(key, counter_iv(salt, ssrc, index.into()), body);
                packet.extend_from_slice(&word);
                let mut tag = [0; SHA1_TAG];
                sign(signs, &[&packet], &mut tag);
                packet.extend_from_slice(&tag);
            }
        }
        packet
    }
}

impl Opener {
    pub(super) fn new(keys: &Keys) -> Option<Self> {
        let rtcp = Session::derive(keys.profile, &keys.theirs, RTCP)?;
        Some(Self { rtcp, seen: Vec::new() })
    }

    /// The compound of RTCP in a packet; `None` when the peer did not seal it, or it came before.
    pub(super) fn open(&mut self, packet: &[u8]) -> Option<Vec<u8>> {
        let ssrc = ssrc_of(packet)?;
        let (report, word) = match &self.rtcp {
            Session::Gcm { key, salt } => {
                let (sealed, word) = packet.split_last_chunk::<INDEX>()?;
                let index = u32::from_be_bytes(*word) & !ENCRYPTED;
                let is_encrypted = u32::from_be_bytes(*word) & ENCRYPTED != 0;
                let (clear, body) = sealed.split_at_checked(CLEAR)?;
                let nonce = gcm_nonce(salt, ssrc, index.into());
                // RFC 7714 §9.2 and §9.3: what is not encrypted is signed as a whole.
                let tag_at = body.len().checked_sub(GCM_TAG)?;
                let (body, tag) = body.split_at_checked(tag_at)?;
                let (header, body) = match is_encrypted {
                    true => ([clear, word].concat(), body),
                    false => ([clear, body, word].concat(), [].as_slice()),
                };
                let mut report = sealed.get(..CLEAR + tag_at)?.to_vec();
                let opened = report.get_mut(CLEAR..CLEAR + body.len())?;
                let nonce = Nonce::assume_unique_for_key(nonce);
                key.open_separate_gather(nonce, Aad::from(&header), body, tag, opened).ok()?;
                (report, *word)
            }
            Session::Counter(counter) => {
                let Counter { key, salt, signs } = &**counter;
                let tag_at = packet.len().checked_sub(SHA1_TAG)?;
                let (signed, tag) = packet.split_at_checked(tag_at)?;
                let whole = hmac::sign(signs, signed);
                constant_time::verify_slices_are_equal(whole.as_ref().get(..SHA1_TAG)?, tag)
                    .ok()?;
                let (sealed, word) = signed.split_last_chunk::<INDEX>()?;
                let index = u32::from_be_bytes(*word);
                let mut report = sealed.to_vec();
                if index & ENCRYPTED != 0 {
                    let iv = counter_iv(salt, ssrc, (index & !ENCRYPTED).into());
                    encrypt_counter(key, iv, report.get_mut(CLEAR..)?);
                }
                (report, *word)
            }
        };
        self.is_new(ssrc, u32::from_be_bytes(word) & !ENCRYPTED).then_some(report)
    }

    /// Notes a report that is genuine; `false` when it came before, or may have.
    fn is_new(&mut self, ssrc: u32, index: u32) -> bool {
        let Some(seen) = self.seen.iter_mut().find(|seen| seen.ssrc == ssrc) else {
            let has_room = self.seen.len() < SOURCES_MAX;
            if has_room {
                self.seen.push(Seen { ssrc, latest: index, window: 1 });
            }
            return has_room;
        };
        if index > seen.latest {
            seen.window = seen.window.checked_shl(index - seen.latest).unwrap_or(0) | 1;
            seen.latest = index;
            return true;
        }
        let bit = 1_u64.checked_shl(seen.latest - index).unwrap_or(0);
        let is_new = bit != 0 && seen.window & bit == 0;
        seen.window |= bit;
        is_new
    }
}

impl Session {
    /// RFC 3711 §4.3, and RFC 7714 §11 for the shorter salts.
    fn derive(profile: SrtpProfile, master: &Master, label: u8) -> Option<Self> {
        match profile {
            SrtpProfile::AES128_CM_SHA1_80 => Counter::derive(master, label).map(Self::Counter),
            SrtpProfile::AEAD_AES_128_GCM => {
                let key = UnboundKey::new(&AES_128_GCM, &derive::<16>(master, label)?).ok()?;
                Some(Self::Gcm { key: LessSafeKey::new(key), salt: derive(master, label + 2)? })
            }
            SrtpProfile::AEAD_AES_256_GCM => {
                let key = UnboundKey::new(&AES_256_GCM, &derive::<32>(master, label)?).ok()?;
                Some(Self::Gcm { key: LessSafeKey::new(key), salt: derive(master, label + 2)? })
            }
            _ => None,
        }
    }

    const fn tag_len(&self) -> usize {
        match self {
            Self::Counter(_) => SHA1_TAG,
            Self::Gcm { .. } => GCM_TAG,
        }
    }
}

impl Counter {
    fn derive(master: &Master, label: u8) -> Option<Box<Self>> {
        let signs = derive::<20>(master, label + 1)?;
        Some(Box::new(Self {
            key: counter(&derive::<16>(master, label)?)?,
            salt: derive(master, label + 2)?,
            signs: hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &signs),
        }))
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Counter(_) => "AES-CM",
            Self::Gcm { .. } => "AES-GCM",
        })
    }
}

/// A key of a session (RFC 3711 §4.3.3): what the master key makes of zeros, from a place that the label tells.
fn derive<const LEN: usize>(master: &Master, label: u8) -> Option<[u8; LEN]> {
    let mut iv = [0; 16];
    iv.iter_mut().zip(&master.salt).for_each(|(iv, salt)| *iv = *salt);
    let [_, _, _, _, _, _, _, at, ..] = &mut iv;
    *at ^= label;
    let mut key = [0; LEN];
    encrypt_counter(&counter(&master.key)?, iv, &mut key);
    Some(key)
}

fn counter(key: &[u8]) -> Option<EncryptingKey> {
    let algorithm = if key.len() == 32 { &AES_256 } else { &AES_128 };
    EncryptingKey::ctr(UnboundCipherKey::new(algorithm, key).ok()?).ok()
}

/// Encrypts, and decrypts (RFC 3711 §4.1.1).
fn encrypt_counter(key: &EncryptingKey, iv: [u8; 16], body: &mut [u8]) {
    let context = EncryptionContext::Iv128(FixedLength::from(iv));
    key.less_safe_encrypt(body, context).expect("counter mode takes any length");
}

/// RFC 3711 §4.1.1: where the key stream of a packet begins.
fn counter_iv(salt: &[u8; 14], ssrc: u32, index: u64) -> [u8; 16] {
    let place = u128::from(ssrc) << 64 | u128::from(index) << 16;
    let mut iv = place.to_be_bytes();
    iv.iter_mut().zip(salt).for_each(|(iv, salt)| *iv ^= salt);
    iv
}

/// RFC 7714 §8.1 and §9.1: of RTP the rollover counter and the sequence number, of RTCP the index, in 48 bits.
fn gcm_nonce(salt: &[u8; 12], ssrc: u32, index: u64) -> [u8; 12] {
    let place = u128::from(ssrc) << 48 | u128::from(index & 0xffff_ffff_ffff);
    let mut nonce = *salt;
    let [_, _, _, _, place @ ..] = place.to_be_bytes();
    nonce.iter_mut().zip(place).for_each(|(nonce, place)| *nonce ^= place);
    nonce
}

fn seal_gcm(key: &LessSafeKey, nonce: [u8; 12], header: &[u8], body: &mut [u8], tag: &mut [u8]) {
    let nonce = Nonce::assume_unique_for_key(nonce);
    let sealed = key.seal_in_place_separate_tag(nonce, Aad::from(header), body);
    tag.copy_from_slice(sealed.expect("a packet is short").as_ref());
}

fn sign(key: &hmac::Key, parts: &[&[u8]], tag: &mut [u8]) {
    let mut context = hmac::Context::with_key(key);
    parts.iter().for_each(|part| context.update(part));
    let whole = context.sign();
    tag.iter_mut().zip(whole.as_ref()).for_each(|(tag, byte)| *tag = *byte);
}

#[expect(clippy::cast_possible_truncation, reason = "the upper 32 of 48 bits")]
const fn rollover(index: u64) -> u32 {
    (index >> 16) as u32
}

fn ssrc_of(report: &[u8]) -> Option<u32> {
    report.get(4..CLEAR)?.first_chunk().map(|&ssrc| u32::from_be_bytes(ssrc))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(text: &str) -> Vec<u8> {
        let digits: Vec<char> = text.chars().filter(|digit| !digit.is_whitespace()).collect();
        digits
            .chunks(2)
            .map(|pair| u8::from_str_radix(&pair.iter().collect::<String>(), 16).unwrap())
            .collect()
    }

    fn master(key: &str, salt: &str) -> Master {
        Master { key: hex(key), salt: hex(salt) }
    }

    fn both(profile: SrtpProfile) -> (Sealer, Opener) {
        let lengths = [56, 60, 88];
        let material: Vec<u8> = (0..88).collect();
        let all = lengths.iter().map(|&len| &material[..len]);
        let keys =
            |is_client| all.clone().find_map(|it| Keys::new(profile, it, is_client)).unwrap();
        (Sealer::new(&keys(true)).unwrap(), Opener::new(&keys(false)).unwrap())
    }

    /// RFC 3711 §B.3.
    #[test]
    fn keys_are_derived_as_the_example_says() {
        let master = master("E1F97A0D3E018BE0D64FA32C06DE4139", "0EC675AD498AFEEBB6960B3AABE6");
        let key: [u8; 16] = derive(&master, 0).unwrap();
        let signs: [u8; 20] = derive(&master, 1).unwrap();
        let salt: [u8; 14] = derive(&master, 2).unwrap();
        assert_eq!(key[..], hex("C61E7A93744F39EE10734AFE3FF7A087"));
        assert_eq!(signs[..], hex("CEBE321F6FF7716B6FD4AB49AF256A156D38BAA4"));
        assert_eq!(salt[..], hex("30CBBC08863D8C85D49DB34A9AE1"));
    }

    /// RFC 3711 §B.2: the key stream of the packet with index and source 0.
    #[test]
    fn the_key_stream_in_counter_mode_is_that_of_the_example() {
        let key = counter(&hex("2B7E151628AED2A6ABF7158809CF4F3C")).unwrap();
        let salt = hex("F0F1F2F3F4F5F6F7F8F9FAFBFCFD");
        let mut body = [0; 32];
        encrypt_counter(&key, counter_iv(salt.first_chunk().unwrap(), 0, 0), &mut body);
        assert_eq!(
            body[..],
            hex("E03EAD0935C95E80E166B16DD92B4EB4 D23513162B02D0F72A43A2FE4A5F97AB")
        );
    }

    /// RFC 7714 §16.1.1: a packet sealed with `AEAD_AES_128_GCM`.
    #[test]
    fn a_packet_is_sealed_with_gcm_as_the_example_says() {
        let key = UnboundKey::new(&AES_128_GCM, &hex("000102030405060708090a0b0c0d0e0f")).unwrap();
        let salt = *hex("517569642070726f2071756f").first_chunk().unwrap();
        let session = || Session::Gcm {
            key: LessSafeKey::new(UnboundKey::new(&AES_128_GCM, &[0; 16]).unwrap()),
            salt: [0; 12],
        };
        let rtp = Session::Gcm { key: LessSafeKey::new(key), salt };
        let sealer = Sealer { rtp, rtcp: session(), index: 0 };
        let mut packet = hex("8040f17b 8041f8d3 5501a0b2");
        packet.extend(b"Gallia est omnis divisa in partes tres");
        packet.extend([0; GCM_TAG]);
        sealer.seal(&mut packet, 12, 0x5501_a0b2, 0xf17b);
        assert_eq!(
            packet,
            hex("8040f17b 8041f8d3 5501a0b2 f24de3a3 fb34de6c acba861c 9d7e4bca be633bd5 0d294e6f
                 42a5f47a 51c7d19b 36de3adf 8833899d 7f27beb1 6a9152cf 765ee439 0cce")
        );
    }

    #[test]
    fn a_report_is_opened_once_and_none_that_was_changed() {
        for profile in SrtpProfile::ALL {
            let (mut sealer, mut opener) = both(*profile);
            let report: Vec<u8> = (0..28).collect();
            let (first, second) = (sealer.seal_report(&report), sealer.seal_report(&report));
            assert_ne!(first[8..20], report[8..20], "{profile:?}");
            for at in 0..first.len() {
                let mut changed = first.clone();
                changed[at] ^= 1;
                assert_eq!(opener.open(&changed), None, "{profile:?}, byte {at}");
                assert_eq!(opener.open(&first[..at]), None, "{profile:?}, {at} bytes");
            }
            // Out of order, as networks have it.
            assert_eq!(opener.open(&second).as_deref(), Some(&report[..]), "{profile:?}");
            assert_eq!(opener.open(&first).as_deref(), Some(&report[..]), "{profile:?}");
            assert_eq!(opener.open(&first), None, "{profile:?}");
            assert_eq!(opener.open(&second), None, "{profile:?}");
        }
    }

    #[test]
    fn what_is_too_old_to_be_remembered_counts_as_seen() {
        let (_, mut opener) = both(SrtpProfile::AEAD_AES_128_GCM);
        assert!(opener.is_new(7, 10) && opener.is_new(7, 200));
        assert!(!opener.is_new(7, 11) && !opener.is_new(7, 136));
        assert!(opener.is_new(7, 137) && !opener.is_new(7, 137));
        assert!(opener.is_new(8, 11));
        // No peer has that many sources.
        assert_eq!((0..100).filter(|ssrc| opener.is_new(100 + ssrc, 1)).count(), SOURCES_MAX - 2);
    }
}
