//! Temporal units and records against what libaom and ffmpeg write.

use super::*;
use crate::media::{hex, hostile};

/// `ffmpeg -f lavfi -i testsrc=s=640x360:r=25 -c:v libaom-av1 -pix_fmt yuv420p`: `av1C` in MP4, and the front of the first
/// temporal unit, whose frame is cut short here and has its size to match.
const AV1C: &str = "81010c000a0b0000000cc4ff673ffe6010";
const UNIT: &str = "12000a0b0000000cc4ff673ffe60103206140021983004";
/// The same with `-pix_fmt yuv444p10le`.
const AV1C_HIGH: &str = "812140000a0b2000000cc4ff6736be5080";

#[test]
fn records_of_libaom_say_what_was_encoded() {
    let config = Config::from_av1c(&hex(AV1C)).unwrap();
    assert_eq!((config.dimensions(), config.bit_depth()), ((640, 360), 8));
    assert_eq!(config.codec_string(), "av01.0.01M.08");
    assert_eq!(config.av1c(), hex(AV1C));

    let config = Config::from_av1c(&hex(AV1C_HIGH)).unwrap();
    assert_eq!((config.dimensions(), config.bit_depth()), ((640, 360), 10));
    assert_eq!(config.codec_string(), "av01.1.01M.10");
    assert_eq!(config.av1c(), hex(AV1C_HIGH));
}

#[test]
fn a_temporal_unit_loses_its_delimiter_and_nothing_else() {
    let unit = TemporalUnit::parse(&hex(UNIT)).unwrap();
    assert!(unit.random_access);
    assert_eq!(unit.payload, hex(&UNIT[4..]));
    assert_eq!(unit.config, Config::from_av1c(&hex(AV1C)).ok());
}

#[test]
fn a_last_obu_without_size_is_given_one() {
    // Type 6 without `obu_has_size_field`: an inter frame that is shown.
    let unit = TemporalUnit::parse(&hex("1200302f55")).unwrap();
    assert!(!unit.random_access);
    assert_eq!(unit.payload, hex("32022f55"));
    assert_eq!(unit.config, None);
}

#[test]
fn sizes_of_several_bytes_come_back_as_they_were() {
    let body = vec![0x30; 300];
    let mut bytes = vec![0x32, 0xac, 0x02];
    bytes.extend(&body);
    assert_eq!(TemporalUnit::parse(&bytes).unwrap().payload, bytes);
    assert_eq!(leb128(&[0xff; 8]), Err(ParseError::Invalid("leb128()")));
    assert_eq!(leb128(&[0x80, 0x80, 0x80, 0x80, 0x80, 0, 9]), Ok((0, &[9][..])), "padded");
}

#[test]
fn a_record_without_a_sequence_header_is_no_configuration() {
    assert_eq!(Config::from_av1c(&hex("81010c00")), Err(ParseError::Unsupported("configOBUs")));
}

#[test]
fn hostile_units_and_records_are_errors() {
    for good in [AV1C, AV1C_HIGH, UNIT] {
        hostile::each_mutation(&hex(good), |bytes| {
            if let Ok(config) = Config::from_av1c(bytes) {
                assert_eq!(Config::from_av1c(&config.av1c()), Ok(config));
            }
            if let Ok(unit) = TemporalUnit::parse(bytes) {
                let again = TemporalUnit::parse(&unit.payload).expect("what we write, we read");
                assert_eq!(again, unit);
            }
        });
    }
}
