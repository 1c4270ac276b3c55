//! Payloads put together again by the rules of their formats.

use super::*;
use crate::media::{Timestamp, TrackId, h264, h265, hex, nal, vpx};
use std::rc::Rc;

const LIMIT: usize = 1_150;

fn unit(config: CodecConfig, payload: Vec<u8>, random_access: bool) -> AccessUnit {
    AccessUnit {
        track: TrackId(1),
        dts: Timestamp::ZERO,
        pts: Timestamp::ZERO,
        random_access,
        config: Rc::new(config),
        payload: payload.into(),
    }
}

fn nals(sizes: &[(u8, usize)], header_len: usize) -> (Vec<Vec<u8>>, Vec<u8>) {
    let nals: Vec<Vec<u8>> = sizes
        .iter()
        .map(|&(first, len)| {
            let mut nal = vec![first, 1];
            nal.truncate(header_len);
            nal.extend((0..len).map(|at| u8::try_from(at % 251).unwrap()));
            nal
        })
        .collect();
    let mut payload = Vec::new();
    for nal in &nals {
        nal::put_length_prefixed(nal, &mut payload);
    }
    (nals, payload)
}

/// Puts H.264 together again as RFC 6184 says.
fn h264_again(packets: &[Payload]) -> Vec<Vec<u8>> {
    let mut nals = Vec::new();
    let mut fragment = Vec::new();
    for packet in packets {
        assert!(packet.len() <= LIMIT);
        match packet[0] & 0x1f {
            24 => {
                let mut rest = &packet[1..];
                while let Some((length, after)) = rest.split_first_chunk() {
                    let (nal, after) = after.split_at(u16::from_be_bytes(*length).into());
                    nals.push(nal.to_vec());
                    rest = after;
                }
            }
            28 => {
                if packet[1] & 0x80 != 0 {
                    assert!(fragment.is_empty());
                    fragment.push(packet[0] & 0xe0 | packet[1] & 0x1f);
                }
                fragment.extend_from_slice(&packet[2..]);
                if packet[1] & 0x40 != 0 {
                    nals.push(std::mem::take(&mut fragment));
                }
            }
            _ => nals.push(packet.to_vec()),
        }
    }
    assert!(fragment.is_empty());
    nals
}

fn avc() -> h264::Config {
    let sps = hex("6764001facd9405005bb0110000003001000000303c0f1831960");
    h264::Config::from_parameter_sets([&sps[..], &hex("68ebe3cb22c0")]).unwrap()
}

#[test]
fn pictures_of_h264_come_out_as_they_went_in_with_their_parameter_sets() {
    let (nals, payload) = nals(&[(0x06, 20), (0x65, 5_000), (0x65, LIMIT - 1)], 1);
    let config = avc();
    let sets: Vec<Vec<u8>> = config.parameter_sets().map(|set| set.to_vec()).collect();
    let unit = unit(CodecConfig::H264(config), payload, true);
    let packets = Packetizer::new(LIMIT).packetize(&unit);
    assert_eq!(h264_again(&packets), [sets, nals].concat());
    let fragments: Vec<usize> =
        packets.iter().filter(|p| p[0] & 0x1f == 28).map(|p| p.len()).collect();
    let (last, others) = fragments.split_last().unwrap();
    assert!(others.iter().all(|&len| len == LIMIT) && *last <= LIMIT, "{fragments:?}");
}

#[test]
fn a_picture_within_a_gop_brings_no_parameter_sets() {
    let (nals, payload) = nals(&[(0x41, 100)], 1);
    let unit = unit(CodecConfig::H264(avc()), payload, false);
    assert_eq!(h264_again(&Packetizer::new(LIMIT).packetize(&unit)), nals);
}

#[test]
fn what_is_cut_off_is_left_out() {
    let (nals, mut payload) = nals(&[(0x41, 100), (0x41, 100)], 1);
    payload.truncate(payload.len() - 1);
    let unit = unit(CodecConfig::H264(avc()), payload, false);
    assert_eq!(h264_again(&Packetizer::new(LIMIT).packetize(&unit)), nals[..1]);
}

#[test]
fn fragments_of_hevc_carry_the_kind_of_their_unit() {
    let config = hevc();
    let (nals, payload) = nals(&[(19 << 1, 3_000)], 2);
    let unit = unit(CodecConfig::Hevc(config), payload, false);
    let packets = Packetizer::new(LIMIT).packetize(&unit);
    let mut again = vec![19 << 1, 1];
    for (index, packet) in packets.iter().enumerate() {
        assert_eq!((packet[0] >> 1, packet[1]), (49, 1));
        assert_eq!(packet[2] & 0x3f, 19);
        assert_eq!(packet[2] & 0x80 != 0, index == 0);
        assert_eq!(packet[2] & 0x40 != 0, index + 1 == packets.len());
        again.extend_from_slice(&packet[3..]);
    }
    assert_eq!(again, nals[0]);
}

/// Of x265: 1280x720.
fn hevc() -> h265::Config {
    let sets = [
        "40010c01ffff01600000030090000003000003005d959809",
        "42010101600000030090000003000003005da00280802d165959a4932bc05a020000030002000003003210",
        "4401c172b46240",
    ];
    let sets = sets.map(hex);
    h265::Config::from_parameter_sets(sets.iter().map(Vec::as_slice)).unwrap()
}

#[test]
fn a_temporal_unit_of_av1_comes_out_as_it_went_in() {
    let body: Vec<u8> = (0..3_000).map(|at| u8::try_from(at % 250).unwrap()).collect();
    // OBU_FRAME with a size of 3000.
    let payload = [&[6 << 3 | 2, 0xb8, 0x17][..], &body].concat();
    let packets = av1::packetize(None, &payload, LIMIT);
    let mut again = Vec::new();
    for (index, packet) in packets.iter().enumerate() {
        assert_eq!(packet[0] & 0x80 != 0, index > 0);
        assert_eq!(packet[0] & 0x40 != 0, index + 1 < packets.len());
        assert_eq!(packet[0] & 0x30, 0x10);
        again.extend_from_slice(&packet[1..]);
    }
    assert_eq!(again[0], 6 << 3);
    assert_eq!(&again[1..], body);
}

#[test]
fn frames_of_vp8_and_vp9_are_numbered_and_marked_where_they_begin() {
    let mut key = vec![0x10, 0, 0, 0x9d, 1, 0x2a, 0x40, 1, 0xf0, 0];
    key.resize(2_500, 7);
    let config = vpx::Config::from_vp8(&key).unwrap();
    let unit = unit(CodecConfig::Vp8(config), key.clone(), true);
    let mut packetizer = Packetizer::new(LIMIT);
    let packets = packetizer.packetize(&unit);
    let starts: Vec<bool> = packets.iter().map(|packet| packet[0] & 0x10 != 0).collect();
    assert_eq!(starts, [true, false, false]);
    let again: Vec<u8> = packets.iter().flat_map(|packet| packet[4..].to_vec()).collect();
    assert_eq!(again, key);
    let next = packetizer.packetize(&unit);
    assert_eq!([next[0][2], next[0][3]], [0x80, 2]);
}

#[test]
fn opus_is_sent_as_it_is_and_aac_not_at_all() {
    let opus = crate::media::opus::Config::with_channels(2).unwrap();
    let packets =
        Packetizer::new(LIMIT).packetize(&unit(CodecConfig::Opus(opus), vec![1, 2], true));
    assert_eq!(packets, [Payload::from([1, 2])]);
}
