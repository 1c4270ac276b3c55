//! AES-128 of whole segments and parts (draft-pantos-hls-rfc8216bis-17 §4.4.4.4, §5.2): CBC with padding, the segment's
//! number as initialisation vector, one key for several segments.

use aws_lc_rs::{
    cipher::{AES_128, EncryptionContext, PaddedBlockEncryptingKey, UnboundCipherKey},
    iv::FixedLength,
    rand,
};
use bytes::Bytes;
use std::{cell::RefCell, collections::VecDeque, fmt, rc::Rc};

/// A key, and which one it is.
pub(super) struct Key {
    /// Counts up through the life of a stream.
    pub(super) number: u64,
    bytes: [u8; 16],
}

impl Key {
    /// A key that nobody knows.
    ///
    /// # Panics
    ///
    /// When the system has no random numbers.
    pub(super) fn random(number: u64) -> Self {
        let mut bytes = [0; 16];
        rand::fill(&mut bytes).expect("the system has random numbers");
        Self { number, bytes }
    }

    /// The 16 bytes that a player asks for.
    pub(super) fn bytes(&self) -> Bytes {
        Bytes::copy_from_slice(&self.bytes)
    }

    /// A segment as it is served, or a part of it.
    pub(super) fn encrypt(&self, plain: &[u8], msn: u64) -> Bytes {
        let key = UnboundCipherKey::new(&AES_128, &self.bytes).expect("a key of 16 bytes");
        let key = PaddedBlockEncryptingKey::cbc_pkcs7(key).expect("AES has this mode");
        let mut data = plain.to_vec();
        // Without an attribute IV, the number of the segment is it (§5.2).
        let vector = FixedLength::from(u128::from(msn).to_be_bytes());
        key.less_safe_encrypt(&mut data, EncryptionContext::Iv128(vector))
            .expect("a vector of 16 bytes, and room for the padding");
        Bytes::from(data)
    }
}

#[cfg(test)]
impl Key {
    /// What was encrypted.
    pub(super) fn decrypt(&self, coded: &[u8], msn: u64) -> Vec<u8> {
        use aws_lc_rs::cipher::{DecryptionContext, PaddedBlockDecryptingKey};
        let unbound = UnboundCipherKey::new(&AES_128, &self.bytes).unwrap();
        let key = PaddedBlockDecryptingKey::cbc_pkcs7(unbound).unwrap();
        let vector = FixedLength::from(u128::from(msn).to_be_bytes());
        let mut data = coded.to_vec();
        key.decrypt(&mut data, DecryptionContext::Iv128(vector)).unwrap().to_vec()
    }
}

/// The keys of a stream, shared by its lanes.
#[derive(Debug)]
pub(super) struct Keys {
    /// How many segments have the same.
    segments: u64,
    /// The last of them: lanes are not quite at the same segment.
    last: RefCell<VecDeque<Rc<Key>>>,
}

impl Keys {
    /// None yet; `segments` in a row will have the same.
    pub(super) fn new(segments: u64) -> Self {
        Self { segments: segments.max(1), last: RefCell::default() }
    }

    /// The key of a segment.
    pub(super) fn of(&self, msn: u64) -> Rc<Key> {
        const KEPT: usize = 3;
        let number = msn / self.segments;
        let mut last = self.last.borrow_mut();
        if let Some(key) = last.iter().find(|key| key.number == number) {
            return Rc::clone(key);
        }
        let key = Rc::new(Key::random(number));
        if last.len() == KEPT {
            last.pop_front();
        }
        last.push_back(Rc::clone(&key));
        key
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key {} (***)", self.number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_encrypted_is_padded_and_comes_back_with_the_number_as_vector() {
        let key = Key::random(3);
        for len in [0, 1, 15, 16, 17, 188 * 7] {
            let plain: Vec<u8> = (0..len).map(|n| (n % 251) as u8).collect();
            let coded = key.encrypt(&plain, 7);
            assert_eq!(coded.len(), (len / 16 + 1) * 16);
            assert_eq!(key.decrypt(&coded, 7), plain);
        }
        assert!(!format!("{key:?}").contains(&format!("{:?}", key.bytes)));
    }
}
