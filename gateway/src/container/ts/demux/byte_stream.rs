//! From a byte stream that arrives in pieces to NAL units after their lengths, in one pass and one buffer
//! (H.264 (08/2021) annex B, H.265 (08/2021) annex B).

#![cfg_attr(not(test), warn(clippy::indexing_slicing, clippy::cast_possible_truncation))]

use crate::media::nal::find_start_code;

/// NAL units after their lengths in four bytes; the last one is open as long as its end has not been seen.
#[derive(Debug, Default)]
pub(super) struct ByteStream {
    bytes: Vec<u8>,
    /// Where the open unit's length stands.
    open: Option<usize>,
    /// Zeros at the end of what was taken, 2 at most: a start code may continue in the next piece.
    zeros: usize,
}

/// A piece of a byte stream, cut at its first start code.
pub(super) struct Cut<'a> {
    /// Belongs to the unit before.
    pub(super) before: &'a [u8],
    /// Behind the start code; `None` if there is none.
    pub(super) after: Option<&'a [u8]>,
}

impl ByteStream {
    /// Cuts the next piece at its first start code, which may have begun in pieces before.
    pub(super) fn cut<'a>(&mut self, piece: &'a [u8]) -> Cut<'a> {
        let straddling = match *piece {
            [1, ..] if self.zeros >= 2 => Some(1),
            [0, 1, ..] if self.zeros >= 1 => Some(2),
            _ => None,
        };
        let (end, next) = match straddling {
            Some(next) => (0, Some(next)),
            None => match find_start_code(piece, 0) {
                Some(at) => (at, Some(at + 3)),
                None => (piece.len(), None),
            },
        };
        let before = piece.get(..end).unwrap_or(piece);
        if next.is_some() {
            self.zeros = 0;
        } else {
            let zeros = before.iter().rev().take_while(|byte| **byte == 0).count();
            let all = if zeros == before.len() { self.zeros + zeros } else { zeros };
            self.zeros = all.min(2);
        }
        Cut { before, after: next.and_then(|next| piece.get(next..)) }
    }

    /// Begins a unit. The one before must have been [closed](Self::close).
    pub(super) fn open(&mut self) {
        self.open = Some(self.bytes.len());
        self.bytes.extend_from_slice(&[0; 4]);
    }

    /// More of the open unit; nothing if there is none.
    pub(super) fn extend(&mut self, bytes: &[u8]) {
        if self.open.is_some() {
            self.bytes.extend_from_slice(bytes);
        }
    }

    /// The open unit so far, with what may turn out to be zeros before a start code.
    pub(super) fn open_unit(&self) -> &[u8] {
        self.open.and_then(|at| self.bytes.get(at + 4..)).unwrap_or(&[])
    }

    /// Where the open unit begins.
    pub(super) fn open_at(&self) -> Option<usize> {
        self.open
    }

    /// Ends the open unit: its length is written, zeros behind it are cut off. Kept only if `keep` says so of it.
    pub(super) fn close(&mut self, keep: impl FnOnce(&[u8]) -> bool) {
        let Some(at) = self.open.take() else { return };
        // `trailing_zero_8bits` and `zero_byte`: no unit ends with a zero (H.264 §7.4.1).
        let unit = self.bytes.get(at + 4..).unwrap_or(&[]);
        let len = unit.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        let unit = unit.get(..len).unwrap_or(&[]);
        if len == 0 || !keep(unit) {
            self.bytes.truncate(at);
            return;
        }
        self.bytes.truncate(at + 4 + len);
        let length = u32::try_from(len).expect("units are bounded far below 4 GiB");
        if let Some(prefix) = self.bytes.get_mut(at..).and_then(|bytes| bytes.first_chunk_mut()) {
            *prefix = length.to_be_bytes();
        }
    }

    /// Takes everything before `at`, which is where a unit begins; the rest moves to a buffer with `room` bytes.
    pub(super) fn take_before(&mut self, at: usize, room: usize) -> Vec<u8> {
        let rest = self.bytes.get(at..).unwrap_or(&[]);
        let mut bytes = Vec::with_capacity(room.max(rest.len()));
        bytes.extend_from_slice(rest);
        self.open = self.open.and_then(|open| open.checked_sub(at));
        let mut taken = std::mem::replace(&mut self.bytes, bytes);
        taken.truncate(at);
        taken
    }

    /// Drops everything. The bytes up to the next start code belong to nothing.
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.open = None;
    }

    /// As [`clear`](Self::clear), when the next piece does not follow the last one.
    pub(super) fn restart(&mut self) {
        self.clear();
        self.zeros = 0;
    }

    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The units of `stream`, which arrives in pieces of `size`.
    fn units(stream: &[u8], size: usize) -> Vec<u8> {
        let mut units = ByteStream::default();
        for mut piece in stream.chunks(size) {
            loop {
                let cut = units.cut(piece);
                units.extend(cut.before);
                let Some(after) = cut.after else { break };
                units.close(|_| true);
                units.open();
                piece = after;
            }
        }
        units.close(|unit| unit != [9, 9]);
        let len = units.len();
        units.take_before(len, 0)
    }

    #[test]
    fn pieces_of_every_size_give_the_same_units() {
        let stream = [
            &[7, 7, 0, 0][..],
            &[0, 0, 0, 1, 0x65, 0, 0, 3, 1, 0, 0],
            &[0, 0, 1, 0x41, 1, 2],
            &[0, 0, 1, 0, 0, 1, 0x41, 0, 1, 0, 2],
            &[0, 0, 0, 1, 9, 9, 0, 0, 0],
        ]
        .concat();
        let expected =
            [0, 0, 0, 5, 0x65, 0, 0, 3, 1, 0, 0, 0, 3, 0x41, 1, 2, 0, 0, 0, 5, 0x41, 0, 1, 0, 2];
        for size in 1..=stream.len() {
            assert_eq!(units(&stream, size), expected, "pieces of {size}");
        }
    }

    #[test]
    fn the_rest_moves_along_when_the_front_is_taken() {
        let mut units = ByteStream::default();
        units.open();
        units.extend(&[1, 2]);
        units.close(|_| true);
        units.open();
        units.extend(&[3]);
        let at = units.open_at().unwrap();
        assert_eq!(units.take_before(at, 100), [0, 0, 0, 2, 1, 2]);
        units.extend(&[4]);
        assert_eq!(units.open_unit(), [3, 4]);
        units.close(|_| true);
        let len = units.len();
        assert_eq!(units.take_before(len, 0), [0, 0, 0, 2, 3, 4]);
    }
}
