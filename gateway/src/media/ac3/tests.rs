//! Frames of both kinds against what ffmpeg writes.

use super::*;
use crate::media::{hex, hostile};

/// `ffmpeg -f lavfi -i sine=r=48000 -af aformat=cl=5.1 -c:a ac3 -b:a 448k`
const AC3: &str = "0b77b50b1e40ebf8403eff99ff0841fc";
/// The same with `-c:a eac3 -b:a 224k`.
const EAC3: &str = "0b7701bf3f87c0002080200002004000";

fn padded(head: &str, length: usize) -> Vec<u8> {
    let mut frame = hex(head);
    frame.resize(length, 0);
    frame
}

#[test]
fn frames_of_ffmpeg_say_length_rate_and_channels() {
    let frame = Frame::parse(&hex(AC3)).unwrap();
    assert_eq!((frame.len(), frame.samples(), frame.sample_rate()), (1_792, 1_536, 48_000));
    let config = Config::from_unit(&padded(AC3, 1_792)).unwrap();
    assert_eq!((config.channels(), config.codec_string().as_str()), (6, "ac-3"));
    assert_eq!(config.record(), hex("103de0"), "as ffmpeg writes it");

    let frame = Frame::parse(&hex(EAC3)).unwrap();
    assert_eq!((frame.len(), frame.samples(), frame.sample_rate()), (896, 1_536, 48_000));
    let config = Config::from_unit(&padded(EAC3, 896)).unwrap();
    assert_eq!((config.channels(), config.codec_string().as_str()), (6, "ec-3"));
    assert_eq!(config.record(), hex("0700200f00"), "as ffmpeg writes it");
}

#[test]
fn sizes_at_44_1_khz_alternate() {
    // 128 kbit/s: table 4.13 has 278 and 279 words.
    let mut frame = hex(AC3);
    for (size_code, length) in [(16, 556), (17, 558)] {
        frame[4] = 0x40 | size_code;
        assert_eq!(Frame::parse(&frame).unwrap().len(), length);
    }
}

#[test]
fn a_dependent_substream_belongs_to_the_unit_and_adds_channels() {
    let main = padded(EAC3, 896);
    // Dependent, 10 bytes, stereo; dialogue normalisation, no compression, a channel map with Lrs/Rrs (bit 6).
    let dependent = hex("0b774004348010200000");
    let bytes = [&main[..], &dependent, &main, &dependent].concat();
    let found: Vec<_> = units(&bytes).map(<[u8]>::len).collect();
    assert_eq!(found, [906, 906]);
    let config = Config::from_unit(&bytes).unwrap();
    assert_eq!(config.channels(), 8);
    assert_eq!(config.record().len(), 6);
    assert_ne!(config, Config::from_unit(&main).unwrap());
}

#[test]
fn units_end_where_frames_do() {
    let bytes = [padded(AC3, 1_792), padded(AC3, 1_792), vec![1, 2, 3]].concat();
    assert_eq!(units(&bytes).map(<[u8]>::len).collect::<Vec<_>>(), [1_792, 1_792]);
    assert_eq!(units(&bytes[..2_000]).count(), 1);
    assert_eq!(units(&bytes[1..]).count(), 0);
}

#[test]
fn hostile_frames_are_errors() {
    for head in [AC3, EAC3, "0b774004348010200000"] {
        hostile::each_mutation(&hex(head), |bytes| {
            if let Ok(config) = Config::from_unit(bytes) {
                assert!(config.channels() > 0 && config.sample_rate() > 0);
                assert!(config.record().len() >= 3);
            }
            let _ = units(bytes).count();
        });
    }
}
