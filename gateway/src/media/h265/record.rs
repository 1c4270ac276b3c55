//! `HEVCDecoderConfigurationRecord`, ISO/IEC 14496-15:2019 §8.3.3.1.

#![cfg_attr(not(test), warn(clippy::indexing_slicing, clippy::cast_possible_truncation))]

use super::{LengthSize, ParameterSets, ParseError, SetKind, Sps};
use bytes::Bytes;

/// The NAL units in a record, and the size of lengths that it announces.
pub(super) fn parse(record: &[u8]) -> Result<(Vec<&[u8]>, LengthSize), ParseError> {
    let (head, mut rest) = record.split_first_chunk::<23>().ok_or(ParseError::Truncated)?;
    let [version, .., last, arrays] = head;
    // Encoders of before the final edition write 0.
    if *version > 1 {
        return Err(ParseError::Invalid("configurationVersion"));
    }
    let size = LengthSize::from_minus_one(*last)?;
    let mut nals = Vec::new();
    for _ in 0..*arrays {
        let (&[_kind, high, low], after) = rest.split_first_chunk().ok_or(ParseError::Truncated)?;
        rest = after;
        for _ in 0..u16::from_be_bytes([high, low]) {
            let (length, after) = rest.split_first_chunk().ok_or(ParseError::Truncated)?;
            let length = usize::from(u16::from_be_bytes(*length));
            let (nal, after) = after.split_at_checked(length).ok_or(ParseError::Truncated)?;
            nals.push(nal);
            rest = after;
        }
    }
    Ok((nals, size))
}

/// The record for these sets, with lengths of 4 bytes in the payloads. All sets of a kind are in here, as `hvc1` demands.
pub(super) fn encode(sets: &ParameterSets, sps: &Sps) -> Bytes {
    /// `array_completeness`.
    const COMPLETE: u8 = 0x80;
    let profile = &sps.profile;
    let mut record = vec![1];
    record.push((profile.space << 6) | (u8::from(profile.high_tier) << 5) | profile.idc);
    record.extend_from_slice(&profile.compatibility.to_be_bytes());
    record.extend_from_slice(&profile.constraints);
    record.push(profile.level);
    // `min_spatial_segmentation_idc` and `parallelismType` 0: nothing is said of either.
    record.extend_from_slice(&[0xf0, 0x00, 0xfc]);
    record.push(0xfc | sps.chroma_format);
    record.push(0xf8 | sps.luma_depth_minus8);
    record.push(0xf8 | sps.chroma_depth_minus8);
    // `avgFrameRate` 0 (not said), `constantFrameRate` 0 (not said).
    record.extend_from_slice(&[0, 0]);
    record.push((sps.temporal_layers << 3) | (u8::from(sps.temporal_id_nested) << 2) | 3);
    let kinds = [(SetKind::Video, 32), (SetKind::Sequence, 33), (SetKind::Picture, 34)];
    record.push(3);
    for (kind, nal_type) in kinds {
        let sets = sets.of(kind);
        let count =
            u16::try_from(sets.clone().count()).expect("the store takes no more than 64 sets");
        record.push(COMPLETE | nal_type);
        record.extend_from_slice(&count.to_be_bytes());
        for nal in sets {
            let length = u16::try_from(nal.len()).expect("the store takes no set that is longer");
            record.extend_from_slice(&length.to_be_bytes());
            record.extend_from_slice(nal);
        }
    }
    Bytes::from(record)
}
