//! `AVCDecoderConfigurationRecord`, ISO/IEC 14496-15:2019 §5.3.3.1.

#![cfg_attr(not(test), warn(clippy::indexing_slicing, clippy::cast_possible_truncation))]

use super::{LengthSize, ParameterSets, ParseError, SeqParameterSet, SetKind};
use bytes::Bytes;

/// The parameter sets in a record, and the size of lengths that it announces.
pub(super) fn parse(record: &[u8]) -> Result<(Vec<&[u8]>, LengthSize), ParseError> {
    let (&[version, _profile, _compatibility, _level, length, sequence_count], mut rest) =
        record.split_first_chunk().ok_or(ParseError::Truncated)?;
    if version != 1 {
        return Err(ParseError::Invalid("configurationVersion"));
    }
    let size = LengthSize::from_minus_one(length)?;
    let mut nals = Vec::new();
    take_sets(&mut rest, sequence_count & 0x1f, &mut nals)?;
    let (&picture_count, after) = rest.split_first().ok_or(ParseError::Truncated)?;
    rest = after;
    take_sets(&mut rest, picture_count, &mut nals)?;
    // For High profiles; many encoders leave it out, so what does not fit is no error.
    if let Some((&[_chroma, _luma_depth, _chroma_depth, extension_count], mut rest)) =
        rest.split_first_chunk()
    {
        let known = nals.len();
        if take_sets(&mut rest, extension_count, &mut nals).is_err() {
            nals.truncate(known);
        }
    }
    Ok((nals, size))
}

fn take_sets<'a>(
    rest: &mut &'a [u8],
    count: u8,
    nals: &mut Vec<&'a [u8]>,
) -> Result<(), ParseError> {
    for _ in 0..count {
        let (length, after) = rest.split_first_chunk().ok_or(ParseError::Truncated)?;
        let length = usize::from(u16::from_be_bytes(*length));
        let (nal, after) = after.split_at_checked(length).ok_or(ParseError::Truncated)?;
        nals.push(nal);
        *rest = after;
    }
    Ok(())
}

/// The record for these sets, with lengths of 4 bytes in the payloads.
pub(super) fn encode(
    sets: &ParameterSets,
    sps: &SeqParameterSet,
    [profile, compatibility, level]: [u8; 3],
) -> Bytes {
    let mut record = vec![1, profile, compatibility, level, 0xff];
    put_sets(&mut record, 0xe0, 31, sets.of(SetKind::Sequence));
    put_sets(&mut record, 0, 255, sets.of(SetKind::Picture));
    // All but Baseline, Main and Extended.
    if !matches!(profile, 66 | 77 | 88) {
        let chroma = &sps.chroma_info;
        // Idc and depths were read from fields of so few bits that they fit.
        record.push(0xfc | (chroma.chroma_format.to_u32() & 3) as u8);
        record.push(0xf8 | (chroma.bit_depth_luma_minus8 & 7));
        record.push(0xf8 | (chroma.bit_depth_chroma_minus8 & 7));
        put_sets(&mut record, 0, 255, sets.of(SetKind::SequenceExtension));
    }
    Bytes::from(record)
}

/// A count with reserved bits above it, and the first `max` sets after their lengths.
fn put_sets<'a>(
    record: &mut Vec<u8>,
    reserved: u8,
    max: u8,
    sets: impl Iterator<Item = &'a Bytes>,
) {
    let at = record.len();
    record.push(reserved);
    let mut count = 0;
    for nal in sets.take(usize::from(max)) {
        let length = u16::try_from(nal.len()).expect("the store takes no set that is longer");
        record.extend_from_slice(&length.to_be_bytes());
        record.extend_from_slice(nal);
        count += 1;
    }
    if let Some(byte) = record.get_mut(at) {
        *byte = reserved | count;
    }
}
