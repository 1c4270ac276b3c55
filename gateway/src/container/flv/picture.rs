//! The payload of a tag of H.264 or HEVC as an access unit wants it.

use crate::media::{
    ParseError,
    nal::{AnnexB, Kind, LengthPrefixed, LengthSize, Picture, Syntax},
};
use bytes::Bytes;

/// One picture out of a tag.
#[derive(Debug)]
pub(super) struct Sorted {
    /// What belongs into the access unit; the tag's own bytes whenever they are fit.
    pub(super) payload: Bytes,
    /// There is a picture, not only what may precede one.
    pub(super) has_slice: bool,
    /// Decoding may begin here.
    pub(super) random_access: bool,
    /// Parameter sets that came along.
    pub(super) parameter_sets: Vec<Vec<u8>>,
}

/// Sorts the NAL units of a tag.
///
/// Deviates: a payload with start codes instead of lengths is accepted, since some encoders send it.
///
/// # Errors
///
/// When it is neither.
pub(super) fn sort(data: &Bytes, size: LengthSize, syntax: Syntax) -> Result<Sorted, ParseError> {
    if size == LengthSize::Four
        && let Some(sorted) = as_it_is(data, syntax)
    {
        return Ok(sorted);
    }
    let mut picture = Picture::new(syntax);
    let mut result = Ok(());
    for nal in LengthPrefixed::new(data, size) {
        match nal {
            Ok(nal) => picture.push(nal),
            Err(error) => result = Err(error),
        }
    }
    if result.is_err() && has_start_code(data) {
        picture = Picture::new(syntax);
        AnnexB::new(data).for_each(|nal| picture.push(nal));
        result = Ok(());
    }
    result?;
    let (has_slice, random_access) = (picture.has_slice(), picture.is_random_access());
    let parameter_sets = picture.parameter_sets().to_vec();
    Ok(Sorted { payload: picture.take().into(), has_slice, random_access, parameter_sets })
}

/// Without a copy, when nothing has to be taken out.
fn as_it_is(data: &Bytes, syntax: Syntax) -> Option<Sorted> {
    let (mut has_slice, mut random_access) = (false, false);
    for nal in LengthPrefixed::new(data, LengthSize::Four) {
        let nal = nal.ok()?;
        let kind = syntax.classify(nal)?;
        if !kind.is_payload() {
            return None;
        }
        if let Kind::Slice(slice) = kind {
            has_slice = true;
            random_access |= slice.random_access;
        }
        random_access |= kind == Kind::Sei && syntax.is_recovery_point(nal);
    }
    let random_access = random_access && has_slice;
    Some(Sorted { payload: data.clone(), has_slice, random_access, parameter_sets: Vec::new() })
}

fn has_start_code(data: &[u8]) -> bool {
    data.starts_with(&[0, 0, 0, 1]) || data.starts_with(&[0, 0, 1])
}

#[cfg(test)]
mod tests {
    use super::*;

    const SLICE: &[u8] = &[0x65, 0x88, 0x84];
    const AUD: &[u8] = &[0x09, 0xf0];
    const SPS: &[u8] = &[0x67, 0x42];

    fn with_lengths(nals: &[&[u8]], len: usize) -> Bytes {
        let mut out = Vec::new();
        for nal in nals {
            out.extend(&(nal.len() as u32).to_be_bytes()[4 - len..]);
            out.extend(*nal);
        }
        out.into()
    }

    #[test]
    fn what_is_fit_is_not_copied() {
        let data = with_lengths(&[SLICE], 4);
        let sorted = sort(&data, LengthSize::Four, Syntax::H264).unwrap();
        assert_eq!(sorted.payload.as_ptr(), data.as_ptr());
        assert!(sorted.has_slice && sorted.random_access);
    }

    #[test]
    fn delimiters_and_parameter_sets_are_taken_out_and_lengths_made_four() {
        let expected = with_lengths(&[SLICE], 4);
        for (len, size) in [(1, LengthSize::One), (2, LengthSize::Two), (4, LengthSize::Four)] {
            let data = with_lengths(&[AUD, SPS, SLICE], len);
            let sorted = sort(&data, size, Syntax::H264).unwrap();
            assert_eq!(sorted.payload, expected);
            assert_eq!(sorted.parameter_sets, [SPS]);
        }
    }

    #[test]
    fn start_codes_are_accepted() {
        let data = [&[0, 0, 0, 1][..], AUD, &[0, 0, 1], SLICE].concat();
        let sorted = sort(&data.into(), LengthSize::Four, Syntax::H264).unwrap();
        assert_eq!(sorted.payload, with_lengths(&[SLICE], 4));
    }

    #[test]
    fn a_length_beyond_the_end_is_an_error() {
        let data = with_lengths(&[SLICE], 4);
        for len in 1..data.len() {
            assert!(sort(&data.slice(..len), LengthSize::Four, Syntax::H264).is_err(), "{len}");
        }
    }
}
