//! Configurations, ADTS and LATM against what ffmpeg writes.

use super::*;
use crate::media::{hex, hostile};
use std::rc::Rc;

/// `ffmpeg -f lavfi -i anullsrc=r=44100:cl=stereo -c:a aac -flags +bitexact x.aac`, its first frame.
const ADTS: &str = "fff1508001bffc211004608c1c";
/// `ffmpeg -i x.aac -c copy -f latm`, its first two elements.
const LATM: [&str; 2] = ["56e00d200012101fe0310880230460e0", "56e0088310880230460e00"];

/// `ffmpeg -f lavfi -i anullsrc=r=48000:cl=2.1 -c:a aac -flags +bitexact`: from MP4, the first two frames in ADTS, and
/// the first element in LATM. The layout has no number.
const LAYOUT_ASC: &str = "118004c401002000044c61766356e500";
const LAYOUT_ADTS: [&str; 2] = [
    "fff14c00039ffca09880200400044c617663211004608c0c230000e0",
    "fff14c00023ffc211004608c0c230000e0",
];
const LAYOUT_LATM: &str = "56e01c2000118004c401002000044c6176631fe05108802304606118000700";

#[test]
fn configurations_say_object_type_rate_and_channels() {
    for (asc, rate, heard, channels, samples, name) in [
        // What ffmpeg, fdk-aac and Apple's encoder write for LC; the second asks for 960 samples.
        ("1210", 44_100, None, 2, 1_024, "mp4a.40.2"),
        ("1214", 44_100, None, 2, 960, "mp4a.40.2"),
        ("121056e500", 44_100, None, 2, 1_024, "mp4a.40.2"),
        ("11b0", 48_000, None, 6, 1_024, "mp4a.40.2"),
        // HE-AAC: implicit, hierarchical, backward compatible; version 2 in both explicit ways.
        ("1310", 24_000, None, 2, 1_024, "mp4a.40.2"),
        ("2b118800", 24_000, Some(48_000), 2, 1_024, "mp4a.40.5"),
        ("131056e598", 24_000, Some(48_000), 2, 1_024, "mp4a.40.5"),
        ("eb098800", 24_000, Some(48_000), 1, 1_024, "mp4a.40.29"),
        ("130856e59d4880", 24_000, Some(48_000), 1, 1_024, "mp4a.40.29"),
        // A rate that is written out: 48 000, and 11 111.
        ("17805dc010", 48_000, None, 2, 1_024, "mp4a.40.2"),
        ("178015b390", 11_111, None, 2, 1_024, "mp4a.40.2"),
        // ELD with 480 samples.
        ("f8e65000", 48_000, None, 2, 480, "mp4a.40.39"),
        (LAYOUT_ASC, 48_000, None, 3, 1_024, "mp4a.40.2"),
    ] {
        let config = Config::from_asc(&hex(asc)).unwrap_or_else(|error| panic!("{asc}: {error}"));
        assert_eq!((config.sample_rate(), config.extension_rate()), (rate, heard), "{asc}");
        assert_eq!((config.channels(), config.frame_samples()), (channels, samples), "{asc}");
        assert_eq!(config.codec_string(), name, "{asc}");
        assert_eq!(config.asc(), hex(asc), "kept verbatim");
    }
}

#[test]
fn an_adts_frame_is_what_its_configuration_writes() {
    let bytes = hex(ADTS);
    let header = AdtsHeader::parse(&bytes).unwrap();
    assert_eq!((header.frame_len(), header.header_len(), header.sample_rate()), (13, 7, 44_100));
    let frame = &bytes[7..];
    let config = header.config(frame).unwrap();
    assert_eq!(config.asc(), hex("1210"));
    assert!(header.agrees(&config));
    let written = config.adts(frame).unwrap();
    assert_eq!((&written.header[..], written.layout.len()), (&bytes[..7], 0));
}

#[test]
fn a_checksum_in_adts_is_passed_over() {
    let mut bytes = hex(ADTS);
    bytes[1] &= !1;
    bytes.splice(7..7, [0xab, 0xcd]);
    // Two bytes more in the frame.
    bytes[4] = 0x01;
    bytes[5] = 0xff;
    let header = AdtsHeader::parse(&bytes).unwrap();
    assert_eq!((header.frame_len(), header.header_len()), (15, 9));
}

#[test]
fn several_blocks_in_an_adts_frame_are_refused() {
    let mut bytes = hex(ADTS);
    bytes[6] |= 1;
    let expected = Err(ParseError::Unsupported("number_of_raw_data_blocks_in_frame"));
    assert_eq!(AdtsHeader::parse(&bytes), expected);
}

#[test]
fn a_layout_travels_between_adts_and_the_configuration() {
    let [first, second] = LAYOUT_ADTS.map(hex);
    let header = AdtsHeader::parse(&first).unwrap();
    let config = header.config(&first[7..]).unwrap();
    assert_eq!(config.channels(), 3);
    // Without the comment ("Lavc").
    assert_eq!(config.asc(), hex("118004c40100200000"));
    // The second frame has no layout in it: its header alone agrees, and is written with one.
    let header = AdtsHeader::parse(&second).unwrap();
    assert!(header.agrees(&config) && header.config(&second[7..]).is_err());
    let written = config.adts(&second[7..]).unwrap();
    assert_eq!(written.layout, hex("a098802004000 0".replace(' ', "").as_str()));
    let again = [&written.header[..], &written.layout, &second[7..]].concat();
    let header = AdtsHeader::parse(&again).unwrap();
    assert_eq!(header.frame_len(), again.len());
    assert_eq!(header.config(&again[7..]), Ok(config.clone()));
    assert!(config.adts(&first[7..]).unwrap().layout.is_empty(), "the frame says it itself");
}

#[test]
fn what_adts_cannot_say_is_not_said() {
    for asc in ["1214", "178015b390", "f8e65000"] {
        assert_eq!(Config::from_asc(&hex(asc)).unwrap().adts(&[0; 9]), None, "{asc}");
    }
    assert_eq!(Config::from_asc(&hex("1210")).unwrap().adts(&vec![0; 8_185]), None, "too long");
}

#[test]
fn latm_holds_the_frames_of_adts() {
    let mut loas = Loas::default();
    let mut elements = LATM.map(hex);
    for element in &elements {
        assert_eq!(Loas::element_len(element), Ok(element.len() - 3));
    }
    let first = loas.frames(&elements[0][3..]).unwrap();
    let second = loas.frames(&elements[1][3..]).unwrap();
    assert_eq!(first[0].config.asc(), hex("1210"));
    assert_eq!(first[0].payload, hex(ADTS)[7..]);
    assert_eq!(second, first);
    assert!(Rc::ptr_eq(&first[0].config, &second[0].config));
    // The same configuration again is no other.
    let third = loas.frames(&elements[0][3..]).unwrap();
    assert!(Rc::ptr_eq(&first[0].config, &third[0].config));
    elements[0][0] = 0;
    assert_eq!(Loas::element_len(&elements[0]), Err(ParseError::Invalid("syncword")));
}

#[test]
fn latm_without_a_configuration_yet_has_no_frames() {
    assert_eq!(Loas::default().frames(&hex(LATM[1])[3..]), Ok(vec![]));
}

#[test]
fn a_layout_in_latm_is_read_at_its_own_alignment() {
    let frames = Loas::default().frames(&hex(LAYOUT_LATM)[3..]).unwrap();
    assert_eq!(frames[0].config.asc(), hex("118004c401002000044c617663"));
    assert_eq!(frames[0].payload, hex("211004608c0c230000e0"));
}

#[test]
fn hostile_configurations_and_frames_are_errors() {
    for good in ["1210", "eb098800", "130856e59d4880", "178015b390", LAYOUT_ASC, "f8e65000"] {
        hostile::each_mutation(&hex(good), |bytes| {
            if let Ok(config) = Config::from_asc(bytes) {
                assert!(config.sample_rate() > 0 && config.channels() > 0);
                drop((config.codec_string(), config.adts(bytes)));
            }
        });
    }
    for good in [ADTS, LAYOUT_ADTS[0]] {
        hostile::each_mutation(&hex(good), |bytes| {
            if let Ok(header) = AdtsHeader::parse(bytes) {
                assert!(header.frame_len() >= header.header_len());
                drop(header.config(bytes.get(header.header_len()..).unwrap_or_default()));
            }
        });
    }
    let mut loas = Loas::default();
    for good in [LATM[0], LATM[1], LAYOUT_LATM] {
        hostile::each_mutation(&hex(good), |bytes| {
            let _ = Loas::element_len(bytes);
            drop(loas.frames(bytes.get(3..).unwrap_or_default()));
        });
    }
}
