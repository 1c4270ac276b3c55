//! VP8 (RFC 7741) and VP9 (RFC 9628, non-flexible mode, one layer).

use super::Payload;
use crate::media::AccessUnit;

/// What frames are counted by: decoders notice by it that one is missing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Numbers {
    /// `PictureID`, 15 bits.
    picture: u16,
}

impl Numbers {
    /// The next one, as two bytes with the bit for 15 bits set.
    fn next(&mut self) -> [u8; 2] {
        self.picture = (self.picture + 1) & 0x7fff;
        (self.picture | 0x8000).to_be_bytes()
    }
}

/// RFC 7741 §4.2: X, S and partition 0; then I, and the picture's number.
pub(super) fn vp8(numbers: &mut Numbers, unit: &AccessUnit, limit: usize) -> Vec<Payload> {
    const EXTENDED: u8 = 0x80;
    const START: u8 = 0x10;
    const HAS_PICTURE: u8 = 0x80;
    let [high, low] = numbers.next();
    pieces(&unit.payload, limit, 4, |start, _| {
        vec![EXTENDED | if start { START } else { 0 }, HAS_PICTURE, high, low]
    })
}

/// RFC 9628 §4.2: I, P, B, E, and the picture's number. A frame that refers to others says so.
pub(super) fn vp9(numbers: &mut Numbers, unit: &AccessUnit, limit: usize) -> Vec<Payload> {
    const HAS_PICTURE: u8 = 0x80;
    const PREDICTED: u8 = 0x40;
    const BEGIN: u8 = 0x08;
    const END: u8 = 0x04;
    let [high, low] = numbers.next();
    let common = HAS_PICTURE | if unit.random_access { 0 } else { PREDICTED };
    pieces(&unit.payload, limit, 3, |start, end| {
        let mut first = common;
        if start {
            first |= BEGIN;
        }
        if end {
            first |= END;
        }
        vec![first, high, low]
    })
}

fn pieces(
    frame: &[u8],
    limit: usize,
    head_len: usize,
    head: impl Fn(bool, bool) -> Vec<u8>,
) -> Vec<Payload> {
    let pieces = frame.chunks(limit.saturating_sub(head_len).max(1));
    let count = pieces.len();
    let packet = |(index, piece): (usize, &[u8])| {
        let mut packet = head(index == 0, index + 1 == count);
        packet.extend_from_slice(piece);
        packet.into()
    };
    pieces.enumerate().map(packet).collect()
}
