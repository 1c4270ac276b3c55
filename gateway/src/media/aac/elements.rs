//! `program_config_element`: channel layouts that no number stands for (ISO/IEC 14496-3:2019 §4.4.1.1).

#![cfg_attr(not(test), warn(clippy::indexing_slicing, clippy::cast_possible_truncation))]

use super::{BitWriter, Bits, ParseError};

/// `id_syn_ele` of a `program_config_element`, table 4.85.
pub(super) const ID_PCE: u32 = 5;

/// One of them, without its comment.
#[derive(Clone, Debug)]
pub(super) struct ProgramConfig {
    /// All before the comment, from the first bit on.
    fields: Vec<u8>,
    field_bits: usize,
    pub(super) channels: u8,
}

impl ProgramConfig {
    pub(super) fn parse(bits: &mut Bits<'_>) -> Result<Self, ParseError> {
        let start = bits.clone();
        // Tag, object type, sampling frequency index.
        bits.skip(10)?;
        let front = bits.read(4)?;
        let side = bits.read(4)?;
        let back = bits.read(4)?;
        let lfe = bits.byte(2)?;
        let data = bits.byte(3)?;
        let coupling = bits.byte(4)?;
        // Mixdown of mono, of stereo, and by matrix.
        for width in [4, 4, 3] {
            if bits.flag()? {
                bits.skip(width)?;
            }
        }
        let mut channels = lfe;
        for _ in 0..front + side + back {
            // `element_is_cpe`, tag.
            channels += 1 + bits.byte(1)?;
            bits.skip(4)?;
        }
        bits.skip(4 * usize::from(lfe + data) + 5 * usize::from(coupling))?;
        let field_bits = bits.position() - start.position();
        bits.align();
        let comment = bits.read(8)?;
        bits.skip(8 * comment as usize)?;
        if channels == 0 {
            return Err(ParseError::Invalid("num_front_channel_elements"));
        }
        let mut fields = BitWriter::default();
        fields.copy(&mut start.clone(), field_bits)?;
        Ok(Self { fields: fields.finish(), field_bits, channels })
    }

    /// Appends it. Its comment is aligned to the bytes of what it is part of, so `out` must begin with that.
    pub(super) fn encode(&self, out: &mut BitWriter) {
        out.copy(&mut Bits::new(&self.fields), self.field_bits)
            .expect("the fields hold so many bits");
        out.align();
        out.put(0, 8);
    }
}
