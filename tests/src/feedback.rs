//! Feedback on congestion as no browser sends it, from a viewer with whom all else is in order.
//!
//! It is encrypted and signed like any other, so only who may watch can send it. It is put in where the viewer's own feedback
//! is about to be encrypted.

use std::sync::atomic::{AtomicU32, Ordering};
use str0m::crypto::{
    AeadAes256GcmCipher, CryptoError, CryptoProvider, SrtpProvider, SupportedAeadAes128Gcm,
    SupportedAeadAes256Gcm, SupportedAes128CmSha1_80, from_feature_flags,
};

/// Cryptography that spoils the feedback of whoever uses it.
#[must_use]
pub fn spoiling() -> CryptoProvider {
    CryptoProvider { srtp_provider: &Spoiling, ..from_feature_flags() }
}

/// How often it has been spoilt by anybody in this process.
#[must_use]
pub fn spoilt() -> u32 {
    SPOILT.load(Ordering::Relaxed)
}

static SPOILT: AtomicU32 = AtomicU32::new(0);

#[derive(Debug)]
struct Spoiling;

#[derive(Debug)]
struct Cipher(Box<dyn AeadAes256GcmCipher>);

fn plain() -> &'static dyn SrtpProvider {
    from_feature_flags().srtp_provider
}

impl SrtpProvider for Spoiling {
    fn aes_128_cm_sha1_80(&self) -> &'static dyn SupportedAes128CmSha1_80 {
        plain().aes_128_cm_sha1_80()
    }

    fn aead_aes_128_gcm(&self) -> &'static dyn SupportedAeadAes128Gcm {
        plain().aead_aes_128_gcm()
    }

    fn aead_aes_256_gcm(&self) -> &'static dyn SupportedAeadAes256Gcm {
        &Self
    }

    fn srtp_aes_128_ecb_round(&self, key: &[u8], input: &[u8], output: &mut [u8]) {
        plain().srtp_aes_128_ecb_round(key, input, output);
    }

    fn srtp_aes_256_ecb_round(&self, key: &[u8], input: &[u8], output: &mut [u8]) {
        plain().srtp_aes_256_ecb_round(key, input, output);
    }
}

impl SupportedAeadAes256Gcm for Spoiling {
    fn create_cipher(&self, key: [u8; 32], encrypt: bool) -> Box<dyn AeadAes256GcmCipher> {
        Box::new(Cipher(plain().aead_aes_256_gcm().create_cipher(key, encrypt)))
    }
}

impl AeadAes256GcmCipher for Cipher {
    fn encrypt(
        &mut self,
        iv: &[u8; 12],
        aad: &[u8],
        input: &[u8],
        output: &mut [u8],
    ) -> Result<(), CryptoError> {
        let mut input = input.to_vec();
        if is_feedback(aad) {
            spoil(&mut input);
        }
        self.0.encrypt(iv, aad, &input, output)
    }

    fn decrypt(
        &mut self,
        iv: &[u8; 12],
        aads: &[&[u8]],
        input: &[u8],
        output: &mut [u8],
    ) -> Result<usize, CryptoError> {
        self.0.decrypt(iv, aads, input, output)
    }
}

/// Transport-wide feedback of at least eight words (draft-holmer-rmcat-transport-wide-cc-extensions-01 §3.1), by its header,
/// which is in the clear.
fn is_feedback(header: &[u8]) -> bool {
    matches!(header, [0x8f | 0xaf, 205, 0, words, ..] if *words >= 7)
}

/// What comes after the header and the sender: the source, the first number, how many there are, the time and the count; then
/// chunks, then times.
fn spoil(packet: &mut [u8]) {
    // One packet. A run of none that were received soon after the last, then a run of one that was received late.
    let parts = [(6, [0, 1]), (12, [0x20, 0]), (14, [0x40, 1])];
    for (at, bytes) in parts {
        packet[at..at + 2].copy_from_slice(&bytes);
    }
    SPOILT.fetch_add(1, Ordering::Relaxed);
}
