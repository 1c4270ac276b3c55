//! Reads decisions and pieces off the front of an input.

/// What is left of an input. When it has ended, numbers are 0 and pieces are empty.
#[derive(Clone, Debug)]
pub(crate) struct Script<'a>(pub(crate) &'a [u8]);

impl<'a> Script<'a> {
    pub(crate) fn is_over(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn byte(&mut self) -> u8 {
        self.piece(1).first().copied().unwrap_or(0)
    }

    /// Two bytes, the high one first.
    pub(crate) fn word(&mut self) -> u16 {
        u16::from(self.byte()) << 8 | u16::from(self.byte())
    }

    /// The next `len` bytes, or what there is.
    pub(crate) fn piece(&mut self, len: usize) -> &'a [u8] {
        let (piece, rest) = self.0.split_at(len.min(self.0.len()));
        self.0 = rest;
        piece
    }

    /// A piece after its length in two bytes.
    pub(crate) fn sized_piece(&mut self) -> &'a [u8] {
        let len = self.word();
        self.piece(len.into())
    }
}

/// Cuts `bytes` into pieces whose lengths follow from `seed`: some of one byte, some long.
pub(crate) fn pieces(bytes: &[u8], seed: u8) -> impl Iterator<Item = &[u8]> {
    let mut state = u32::from(seed).wrapping_mul(0x9e37_79b9) | 1;
    let mut rest = bytes;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        // xorshift32.
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        let len = match state % 4 {
            0 => 1,
            1 => 1 + (state >> 8) as usize % 16,
            2 => 188,
            _ => 1 + (state >> 8) as usize % 1500,
        };
        let (piece, after) = rest.split_at(len.min(rest.len()));
        rest = after;
        Some(piece)
    })
}
