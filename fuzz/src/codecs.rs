//! Codec configurations and frame headers: the first byte says which parser gets the rest.
//!
//! What a parser accepts and can write again must be read again as the same.

use crate::{outputs::describe, script::Script};
use std::rc::Rc;
use thalweg_gateway::media::{
    CodecConfig, aac, ac3, av1, h264, h265, mp3,
    nal::{AnnexB, LengthPrefixed, LengthSize, Picture, Syntax, rbsp},
    opus, vpx,
};

pub(crate) fn run(input: &[u8]) {
    let mut script = Script(input);
    let kind = usize::from(script.byte());
    let bytes = script.0;
    PARSERS[kind % PARSERS.len()](bytes);
}

/// In an order that the seeds rely on: add at the end.
const PARSERS: [fn(&[u8]); 15] = [
    avcc,
    hvcc,
    h264_sets,
    hevc_sets,
    asc,
    adts,
    latm,
    av1c,
    av1_unit,
    opus_head,
    opus_control,
    ac3,
    mp3,
    vpx,
    nal_units,
];

fn avcc(bytes: &[u8]) {
    let Ok((config, _)) = h264::Config::from_avcc(bytes) else { return };
    let (again, size) = h264::Config::from_avcc(&config.avcc()).expect("what is written is read");
    assert_eq!((&again, size), (&config, LengthSize::Four));
    h264(config);
}

fn h264_sets(bytes: &[u8]) {
    if let Ok(config) = h264::Config::from_parameter_sets(AnnexB::new(bytes)) {
        h264(config);
    }
}

fn h264(config: h264::Config) {
    let sets: Vec<_> = config.parameter_sets().cloned().collect();
    let nals = || sets.iter().map(|set| &set[..]);
    assert_eq!(h264::Config::from_parameter_sets(nals()).as_ref(), Ok(&config));
    assert_eq!(config.merged(nals()), Ok(None), "its own sets are news");
    // Slices of all kinds, with headers made of what the sets are made of.
    let mut last = None;
    for set in nals() {
        for kind in [0x41, 0x65] {
            let slice = [&[kind], set].concat();
            let Ok(head) = config.slice_head(&slice) else { continue };
            if let Some(last) = &last {
                std::hint::black_box(head.boundary(last));
            }
            last = Some(head);
        }
    }
    describe(&Rc::new(CodecConfig::H264(config)));
}

fn hvcc(bytes: &[u8]) {
    let Ok((config, _)) = h265::Config::from_hvcc(bytes) else { return };
    let (again, size) = h265::Config::from_hvcc(&config.hvcc()).expect("what is written is read");
    assert_eq!((&again, size), (&config, LengthSize::Four));
    hevc(config);
}

fn hevc_sets(bytes: &[u8]) {
    if let Ok(config) = h265::Config::from_parameter_sets(AnnexB::new(bytes)) {
        hevc(config);
    }
}

fn hevc(config: h265::Config) {
    let sets: Vec<_> = config.parameter_sets().cloned().collect();
    let nals = || sets.iter().map(|set| &set[..]);
    assert_eq!(h265::Config::from_parameter_sets(nals()).as_ref(), Ok(&config));
    assert_eq!(config.merged(nals()), Ok(None), "its own sets are news");
    describe(&Rc::new(CodecConfig::Hevc(config)));
}

fn asc(bytes: &[u8]) {
    let Ok(config) = aac::Config::from_asc(bytes) else { return };
    assert_eq!(aac::Config::from_asc(&config.asc()).as_ref(), Ok(&config));
    if let Some(adts) = config.adts(&[0; 16]) {
        let header = aac::AdtsHeader::parse(&adts.header).expect("what is written is read");
        assert!(header.agrees(&config));
    }
    describe(&Rc::new(CodecConfig::Aac(config)));
}

fn adts(bytes: &[u8]) {
    let Ok(header) = aac::AdtsHeader::parse(bytes) else { return };
    let body = bytes.get(header.header_len()..).unwrap_or_default();
    if let Ok(config) = header.config(body) {
        assert!(header.agrees(&config));
        describe(&Rc::new(CodecConfig::Aac(config)));
    }
}

/// Several elements of one stream, each after its length.
fn latm(bytes: &[u8]) {
    let mut script = Script(bytes);
    let mut loas = aac::Loas::default();
    while !script.is_over() {
        let element = script.sized_piece();
        let _announced = aac::Loas::element_len(element);
        let Ok(frames) = loas.frames(element) else { continue };
        let len: usize = frames.iter().map(|frame| frame.payload.len()).sum();
        assert!(len <= element.len());
        for frame in frames {
            describe(&Rc::new(CodecConfig::Aac((*frame.config).clone())));
        }
    }
}

fn av1c(bytes: &[u8]) {
    let Ok(config) = av1::Config::from_av1c(bytes) else { return };
    assert_eq!(av1::Config::from_av1c(&config.av1c()).as_ref(), Ok(&config));
    describe(&Rc::new(CodecConfig::Av1(config)));
}

fn av1_unit(bytes: &[u8]) {
    let Ok(unit) = av1::TemporalUnit::parse(bytes) else { return };
    let again = av1::TemporalUnit::parse(&unit.payload).expect("what is written is read");
    assert_eq!(again.payload, unit.payload);
    if let Some(config) = unit.config {
        describe(&Rc::new(CodecConfig::Av1(config)));
    }
}

fn opus_head(bytes: &[u8]) {
    if let Ok(config) = opus::Config::from_head(bytes) {
        assert_eq!(opus::Config::from_head(&config.head()).as_ref(), Ok(&config));
        describe(&Rc::new(CodecConfig::Opus(config)));
    }
    if let Ok(config) = opus::Config::from_dops(bytes) {
        assert_eq!(opus::Config::from_dops(&config.dops()).as_ref(), Ok(&config));
        describe(&Rc::new(CodecConfig::Opus(config)));
    }
}

fn opus_control(bytes: &[u8]) {
    let _samples = opus::packet_samples(bytes);
    let _header = opus::ControlHeader::parse(bytes);
}

fn ac3(bytes: &[u8]) {
    if let Ok(frame) = ac3::Frame::parse(bytes) {
        assert!(!frame.is_empty());
    }
    let units = ac3::units(bytes).map(<[u8]>::len).sum::<usize>();
    assert!(units <= bytes.len());
    if let Ok(config) = ac3::Config::from_unit(bytes) {
        std::hint::black_box(config.record());
        describe(&Rc::new(CodecConfig::Ac3(config)));
    }
}

fn mp3(bytes: &[u8]) {
    let _header = mp3::FrameHeader::parse(bytes);
    if let Ok(config) = mp3::Config::from_frame(bytes) {
        describe(&Rc::new(CodecConfig::Mp3(config)));
    }
}

fn vpx(bytes: &[u8]) {
    let _keys = (vpx::is_vp8_key(bytes), vpx::is_vp9_key(bytes));
    for config in [vpx::Config::from_vp8(bytes), vpx::Config::from_vp9(bytes)].into_iter().flatten()
    {
        std::hint::black_box((config.vpcc(), config.codec_string()));
    }
}

fn nal_units(bytes: &[u8]) {
    for syntax in [Syntax::H264, Syntax::Hevc] {
        let mut picture = Picture::new(syntax);
        for nal in AnnexB::new(bytes) {
            assert!(!nal.is_empty());
            std::hint::black_box((syntax.classify(nal), syntax.is_recovery_point(nal), rbsp(nal)));
            picture.push(nal);
        }
        let payload = picture.take();
        let mut nals = LengthPrefixed::new(&payload, LengthSize::Four);
        assert!(nals.all(|nal| nal.is_ok()));
    }
    for size in [LengthSize::One, LengthSize::Two, LengthSize::Four] {
        let len: usize = LengthPrefixed::new(bytes, size).flatten().map(<[u8]>::len).sum();
        assert!(len <= bytes.len());
    }
}
