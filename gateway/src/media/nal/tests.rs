//! Byte streams, length prefixes and classes of NAL units.

use super::*;
use crate::media::ParseError;

fn annex_b(stream: &[u8]) -> Vec<&[u8]> {
    AnnexB::new(stream).collect()
}

#[test]
fn start_codes_of_three_and_four_bytes_separate_units() {
    let stream = [9, 0, 0, 0, 1, 0x67, 1, 0, 0, 1, 0x68, 2, 0, 0, 0, 0, 1, 0x65, 3, 0, 0];
    assert_eq!(annex_b(&stream), [&[0x67, 1][..], &[0x68, 2], &[0x65, 3]]);
}

#[test]
fn a_stream_without_start_code_has_no_units() {
    for stream in [&[][..], &[0, 0], &[0, 0, 1], &[0, 0, 2, 1], &[0, 0, 1, 0, 0, 1]] {
        assert!(annex_b(stream).is_empty(), "{stream:?}");
    }
}

#[test]
fn a_start_code_is_found_wherever_it_begins() {
    for lead in 0..12 {
        for filler in [0_u8, 1, 2, 0xff] {
            let mut stream = vec![filler; lead];
            stream.extend([7, 0, 0, 1, 0x65]);
            assert_eq!(find_start_code(&stream, 0), Some(lead + 1), "{stream:?}");
            assert_eq!(find_start_code(&stream, lead + 2), None);
        }
    }
}

#[test]
fn lengths_of_every_size_are_read_and_checked() {
    let units = |payload: &'static [u8], size| {
        LengthPrefixed::new(payload, size).collect::<Result<Vec<_>, _>>()
    };
    assert_eq!(units(&[1, 7, 2, 8, 9], LengthSize::One), Ok(vec![&[7][..], &[8, 9]]));
    assert_eq!(units(&[0, 1, 7, 0, 2, 8, 9], LengthSize::Two), Ok(vec![&[7][..], &[8, 9]]));
    assert_eq!(units(&[0, 0, 0, 1, 7], LengthSize::Four), Ok(vec![&[7][..]]));
    assert_eq!(units(&[0, 0, 0, 2, 7], LengthSize::Four), Err(ParseError::Truncated));
    assert_eq!(units(&[0xff, 0xff, 0xff, 0xff, 7], LengthSize::Four), Err(ParseError::Truncated));
    assert_eq!(units(&[0, 0, 0], LengthSize::Four), Err(ParseError::Truncated));
    assert_eq!(LengthSize::from_minus_one(2), Err(ParseError::Invalid("lengthSizeMinusOne")));
}

#[test]
fn emulation_prevention_is_undone() {
    assert_eq!(*rbsp(&[1, 0, 0, 3, 1, 0, 0, 3, 0, 0, 3, 2]), [1, 0, 0, 1, 0, 0, 0, 0, 2]);
    assert_eq!(*rbsp(&[0, 0, 3]), [0, 0]);
    assert_eq!(*rbsp(&[0, 3, 0, 3]), [0, 3, 0, 3]);
    assert!(matches!(rbsp(&[0, 1, 0, 2]), Cow::Borrowed(_)));
}

#[test]
fn units_of_h264_are_known_by_their_first_bytes() {
    let kind = |nal: &[u8]| Syntax::H264.classify(nal);
    let slice = |random_access, first, disposable| {
        Some(Kind::Slice(Slice { random_access, first, disposable }))
    };
    assert_eq!(kind(&[0x65, 0x88]), slice(true, true, false));
    assert_eq!(kind(&[0x41, 0x9a]), slice(false, true, false));
    assert_eq!(kind(&[0x01, 0x9e]), slice(false, true, true));
    assert_eq!(kind(&[0x65, 0x40]), slice(true, false, false));
    assert_eq!(kind(&[0x67]), Some(Kind::ParameterSet(SetKind::Sequence)));
    assert_eq!(kind(&[0x68]), Some(Kind::ParameterSet(SetKind::Picture)));
    assert_eq!(kind(Syntax::H264.delimiter()), Some(Kind::Delimiter));
    assert_eq!(kind(&[0x0c, 0xff]), Some(Kind::Filler));
    assert_eq!(kind(&[0x65]), None, "a slice of no bytes");
    assert_eq!(kind(&[0xe5, 0x88]), None, "the forbidden bit");
    assert_eq!(kind(&[]), None);
}

#[test]
fn units_of_hevc_are_known_by_their_first_bytes() {
    let kind = |nal: &[u8]| Syntax::Hevc.classify(nal);
    let slice = |random_access, first, disposable| {
        Some(Kind::Slice(Slice { random_access, first, disposable }))
    };
    assert_eq!(kind(&[0x26, 0x01, 0xaf]), slice(true, true, false), "IDR_W_RADL");
    assert_eq!(kind(&[0x2a, 0x01, 0xaf]), slice(true, true, false), "CRA_NUT");
    assert_eq!(kind(&[0x02, 0x01, 0xd0]), slice(false, true, false), "TRAIL_R");
    assert_eq!(kind(&[0x00, 0x01, 0x60]), slice(false, false, true), "TRAIL_N");
    assert_eq!(kind(&[0x40, 0x01]), Some(Kind::ParameterSet(SetKind::Video)));
    assert_eq!(kind(Syntax::Hevc.delimiter()), Some(Kind::Delimiter));
    assert_eq!(kind(&[0x26, 0x09, 0xaf]), Some(Kind::Other), "another layer");
    assert_eq!(kind(&[0x26, 0x00, 0xaf]), None, "no temporal id");
    assert_eq!(kind(&[0x26]), None);
}

#[test]
fn a_recovery_point_is_found_among_other_messages() {
    // A message of 300 bytes with type 5, then a recovery point with `recovery_frame_cnt` 0.
    let mut nal = vec![0x06, 5, 255, 45];
    nal.extend([0xaa; 300]);
    nal.extend([6, 1, 0xc4, 0x80]);
    assert!(Syntax::H264.is_recovery_point(&nal));
    assert!(!Syntax::H264.is_recovery_point(&[0x06, 5, 2, 6, 1, 0x80]));
    assert!(!Syntax::H264.is_recovery_point(&[0x06, 5, 200, 6, 1, 0x80]), "a size past the end");
    assert!(!Syntax::H264.is_recovery_point(&[0x06, 255, 255, 255]));
}

#[test]
fn a_picture_keeps_what_its_decoder_needs_and_no_more() {
    let mut picture = Picture::new(Syntax::H264);
    for nal in [
        &[0x09, 0xf0][..],
        &[0x67, 1],
        &[0x68, 2],
        &[0x06, 5, 1, 0, 0x80],
        &[0x65, 0x88],
        &[0x65, 0x40],
    ] {
        picture.push(nal);
    }
    picture.push(&[0x0c, 0xff]);
    picture.push(&[0x0a]);
    assert!(picture.is_random_access() && !picture.is_disposable());
    assert_eq!(picture.parameter_sets(), [[0x67, 1], [0x68, 2]]);
    let payload = picture.take();
    let units: Result<Vec<_>, _> = LengthPrefixed::new(&payload, LengthSize::Four).collect();
    assert_eq!(units, Ok(vec![&[0x06, 5, 1, 0, 0x80][..], &[0x65, 0x88], &[0x65, 0x40]]));
    assert!(picture.is_empty() && !picture.has_slice() && picture.parameter_sets().is_empty());
    picture.push(&[0x01, 0x9e]);
    assert!(picture.is_disposable() && !picture.is_random_access());
}
