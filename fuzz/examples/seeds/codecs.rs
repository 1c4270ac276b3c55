//! Seeds of the target `codecs`: configurations and the first frames of every codec.

use crate::{
    Corpus,
    clips::{PICTURES, SOUND, X264, ffmpeg},
};
use std::path::Path;
use thalweg_gateway::media::{aac, av1, h264, h265, nal::AnnexB, opus};

/// The first bytes of seeds, by which the target chooses its parser.
mod parser {
    pub(super) const AVCC: u8 = 0;
    pub(super) const HVCC: u8 = 1;
    pub(super) const H264_SETS: u8 = 2;
    pub(super) const HEVC_SETS: u8 = 3;
    pub(super) const ASC: u8 = 4;
    pub(super) const ADTS: u8 = 5;
    pub(super) const LATM: u8 = 6;
    pub(super) const AV1C: u8 = 7;
    pub(super) const AV1_UNIT: u8 = 8;
    pub(super) const OPUS_HEAD: u8 = 9;
    pub(super) const OPUS_CONTROL: u8 = 10;
    pub(super) const AC3: u8 = 11;
    pub(super) const MP3: u8 = 12;
    pub(super) const VPX: u8 = 13;
    pub(super) const NAL_UNITS: u8 = 14;
}

pub(crate) fn configurations(folder: &Path, corpus: &Corpus) {
    let put = |name: &str, parser: u8, bytes: &[u8]| {
        let bytes = &bytes[..bytes.len().min(1500)];
        corpus.put("codecs", name, &[&[parser], bytes].concat());
    };
    h264(folder, &put);
    hevc(folder, &put);
    av1_and_vpx(folder, &put);
    sound(folder, &put);
}

const FOUR_PICTURES: &str = "-frames:v 4 -flags bitexact -fflags bitexact";

fn h264(folder: &Path, put: &dyn Fn(&str, u8, &[u8])) {
    let interlaced =
        ":tff=1:weightp=2:bframes=2:colorprim=bt709 -flags +ildct+ilme -pix_fmt yuv422p10";
    for (name, options) in [
        ("h264", ""),
        ("h264_interlaced_422_10", interlaced),
        ("h264_high_4_4_4", " -pix_fmt yuv444p"),
    ] {
        let arguments = format!("{PICTURES} {X264}{options} {FOUR_PICTURES}");
        let stream = ffmpeg(folder, &format!("{name}.h264"), &arguments);
        let sets = sets(&stream, |first| matches!(first & 31, 7 | 8));
        let config = h264::Config::from_parameter_sets(sets.iter().copied());
        put(&format!("avcc_{name}"), parser::AVCC, &config.expect("x264 is right").avcc());
        put(&format!("sets_{name}"), parser::H264_SETS, &annex_b(&sets));
        put(&format!("nal_units_{name}"), parser::NAL_UNITS, &stream);
    }
}

fn hevc(folder: &Path, put: &dyn Fn(&str, u8, &[u8])) {
    let x265 = "-c:v libx265 -preset ultrafast -x265-params log-level=none:pools=none";
    let timed = ":hrd=1:vbv-maxrate=100:vbv-bufsize=100:colorprim=bt709 -pix_fmt yuv422p10";
    for (name, options) in [("hevc", ":repeat-headers=1"), ("hevc_422_10", timed)] {
        let arguments = format!("{PICTURES} {x265}{options} {FOUR_PICTURES}");
        let stream = ffmpeg(folder, &format!("{name}.hevc"), &arguments);
        let sets = sets(&stream, |first| (32..=34).contains(&(first >> 1 & 63)));
        let config = h265::Config::from_parameter_sets(sets.iter().copied());
        put(&format!("hvcc_{name}"), parser::HVCC, &config.expect("x265 is right").hvcc());
        put(&format!("sets_{name}"), parser::HEVC_SETS, &annex_b(&sets));
        put(&format!("nal_units_{name}"), parser::NAL_UNITS, &stream);
    }
}

fn av1_and_vpx(folder: &Path, put: &dyn Fn(&str, u8, &[u8])) {
    for (name, codec) in [
        ("av1", "libaom-av1 -cpu-used 8 -usage realtime"),
        ("vp8", "libvpx"),
        ("vp9", "libvpx-vp9"),
    ] {
        let arguments = format!("{PICTURES} -c:v {codec} -b:v 50k {FOUR_PICTURES}");
        let clip = ffmpeg(folder, &format!("{name}.ivf"), &arguments);
        // A file header of 32 bytes, then 12 bytes before each frame, length first.
        let len = u32::from_le_bytes([clip[32], clip[33], clip[34], clip[35]]) as usize;
        let frame = &clip[44..44 + len];
        if name == "av1" {
            put("av1_unit", parser::AV1_UNIT, frame);
            let unit = av1::TemporalUnit::parse(frame).expect("libaom is right");
            put("av1c", parser::AV1C, &unit.config.expect("the first unit tells").av1c());
        } else {
            put(name, parser::VPX, frame);
        }
    }
}

fn sound(folder: &Path, put: &dyn Fn(&str, u8, &[u8])) {
    let tail = "-t 0.1 -b:a 32k -flags bitexact -fflags bitexact";
    let adts = ffmpeg(folder, "aac.aac", &format!("{SOUND} -c:a aac {tail} -f adts"));
    put("adts", parser::ADTS, &adts);
    let header = aac::AdtsHeader::parse(&adts).expect("ffmpeg is right");
    put("asc_lc", parser::ASC, &header.config(&[]).expect("ffmpeg is right").asc());
    // HE-AAC v2 with both extensions signalled, and a layout of its own: ISO/IEC 14496-3:2019 §1.6.5, §4.4.1.1.
    put("asc_he_v2", parser::ASC, &[0xeb, 0x8a, 0x08, 0x00]);
    put("asc_he_implicit", parser::ASC, &[0x13, 0x88, 0x56, 0xe5, 0xa5, 0x48, 0x80]);
    put(
        "asc_layout",
        parser::ASC,
        &[
            0x11, 0x80, 0x04, 0xc8, 0x44, 0x00, 0x20, 0x00, 0xc4, 0x0d, 0x4c, 0x61, 0x76, 0x63,
            0x35, 0x38, 0x2e,
        ],
    );
    let loas = ffmpeg(folder, "aac.latm", &format!("{SOUND} -c:a aac {tail} -f latm"));
    put("latm", parser::LATM, &elements(&loas));
    for (name, codec, parser) in [
        ("ac3", "ac3 -f ac3", parser::AC3),
        ("eac3", "eac3 -f eac3", parser::AC3),
        ("mp3", "libmp3lame -id3v2_version 0 -write_xing 0 -f mp3", parser::MP3),
        ("mp2", "mp2 -f mp2", parser::MP3),
    ] {
        put(name, parser, &ffmpeg(folder, name, &format!("{SOUND} {tail} -c:a {codec}")));
    }
    for channels in [1, 2, 6] {
        let config = opus::Config::with_channels(channels).expect("so many are known");
        put(&format!("opus_head_{channels}"), parser::OPUS_HEAD, &config.head());
        put(&format!("opus_dops_{channels}"), parser::OPUS_HEAD, &config.dops());
    }
    let control = opus::ControlHeader::encode(300, 312, 17);
    put("opus_control", parser::OPUS_CONTROL, &[&control[..], &[0xfc; 40]].concat());
    put(
        "opus_packet_of_frames",
        parser::OPUS_CONTROL,
        &[0x0b, 0x83, 0x05, 0x05, 1, 2, 3, 4, 5, 6, 7, 8],
    );
}

/// The first of each kind of parameter set.
fn sets(stream: &[u8], is_set: impl Fn(u8) -> bool) -> Vec<&[u8]> {
    let mut sets: Vec<&[u8]> = AnnexB::new(stream).filter(|nal| is_set(nal[0])).collect();
    sets.sort_by_key(|nal| nal[0]);
    sets.dedup_by_key(|nal| nal[0]);
    sets
}

fn annex_b(nals: &[&[u8]]) -> Vec<u8> {
    nals.iter().flat_map(|nal| [&[0, 0, 0, 1], *nal].concat()).collect()
}

/// The elements of a LOAS stream, each after its length, without their headers.
fn elements(mut stream: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    while let Ok(len) = aac::Loas::element_len(stream) {
        out.extend_from_slice(&u16::try_from(len).expect("13 bits").to_be_bytes());
        out.extend_from_slice(&stream[3..3 + len]);
        stream = &stream[3 + len..];
    }
    out
}
