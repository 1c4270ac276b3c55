//! Sample entries: how a track is coded, in `stsd`.
//!
//! Each holds the record of its codec, which the codec's own module writes and the box here only wraps.

#![cfg_attr(not(test), warn(clippy::indexing_slicing, clippy::cast_possible_truncation))]

use crate::media::CodecConfig;
use bytes::Bytes;
use mp4_atom::{
    Ac3, Atom, Audio, Av01, Avc1, Codec, Colr, Eac3, Esds, Hvc1, Mp4a, Opus, Pasp, Visual, Vp08,
    Vp09, esds,
};

/// The sample entry of a track with this configuration.
///
/// # Errors
///
/// When MP4 has no form for it, such as pictures of more than 65 535 pixels in a row.
pub(super) fn sample_entry(config: &CodecConfig) -> Result<Codec, mp4_atom::Error> {
    Ok(match config {
        CodecConfig::H264(h264) => Codec::Avc1(Avc1 {
            visual: visual(config)?,
            avcc: record(&h264.avcc())?,
            colr: colr(config),
            pasp: pasp(config),
            ..Avc1::default()
        }),
        CodecConfig::Hevc(hevc) => Codec::Hvc1(Hvc1 {
            visual: visual(config)?,
            hvcc: record(&hevc.hvcc())?,
            colr: colr(config),
            pasp: pasp(config),
            ..Hvc1::default()
        }),
        CodecConfig::Av1(av1) => Codec::Av01(Av01 {
            visual: visual(config)?,
            av1c: record(&av1.av1c())?,
            colr: colr(config),
            ..Av01::default()
        }),
        CodecConfig::Vp8(vp8) => Codec::Vp08(Vp08 {
            visual: visual(config)?,
            vpcc: record(&vp8.vpcc())?,
            ..Vp08::default()
        }),
        CodecConfig::Vp9(vp9) => Codec::Vp09(Vp09 {
            visual: visual(config)?,
            vpcc: record(&vp9.vpcc())?,
            ..Vp09::default()
        }),
        CodecConfig::Aac(aac) => {
            /// `objectTypeIndication` of ISO/IEC 14496-3.
            const MPEG_4_AUDIO: u8 = 0x40;
            mp4a(config, MPEG_4_AUDIO, Some(aac.asc().to_vec()))
        }
        CodecConfig::Mp3(mp3) => mp4a(config, mp3.object_type(), None),
        CodecConfig::Opus(opus) => {
            Codec::Opus(Opus { audio: audio(config), dops: record(&opus.dops())?, btrt: None })
        }
        CodecConfig::Ac3(ac3) => {
            Codec::Ac3(Ac3 { audio: audio(config), dac3: record(&ac3.record())? })
        }
        CodecConfig::Eac3(eac3) => {
            Codec::Eac3(Eac3 { audio: audio(config), dec3: record(&eac3.record())? })
        }
    })
}

/// The body of a box, as the box.
fn record<A: Atom>(body: &Bytes) -> Result<A, mp4_atom::Error> {
    A::decode_body(&mut body.as_ref())
}

/// `VisualSampleEntry`, ISO/IEC 14496-12:2022 §12.1.3.
fn visual(config: &CodecConfig) -> Result<Visual, mp4_atom::Error> {
    let (width, height) = config.dimensions().unwrap_or_default();
    let fit = |size| u16::try_from(size).map_err(|_| mp4_atom::Error::InvalidSize);
    Ok(Visual {
        data_reference_index: 1,
        width: fit(width)?,
        height: fit(height)?,
        ..Visual::default()
    })
}

/// `ColourInformationBox`, §12.1.5: what the stream says itself, for players that ask the file. What HDR says besides, its
/// display and its light levels, stays in the stream's own messages, of which mp4-atom has no boxes.
fn colr(config: &CodecConfig) -> Option<Colr> {
    let colour = config.colour()?;
    Some(Colr::Nclx {
        colour_primaries: u16::from(colour.primaries),
        transfer_characteristics: u16::from(colour.transfer),
        matrix_coefficients: u16::from(colour.matrix),
        full_range_flag: colour.full_range,
    })
}

fn pasp(config: &CodecConfig) -> Option<Pasp> {
    let (width, height) = config.sample_aspect()?;
    Some(Pasp { h_spacing: u32::from(width), v_spacing: u32::from(height) })
}

/// `AudioSampleEntry`, §12.2.3. Rates that do not fit its 16 bits are 0 there, and the record says them.
fn audio(config: &CodecConfig) -> Audio {
    let rate = config.sample_rate().and_then(|rate| u16::try_from(rate).ok()).unwrap_or(0);
    Audio {
        data_reference_index: 1,
        channel_count: u16::from(config.channels().unwrap_or(2)),
        sample_size: 16,
        sample_rate: rate.into(),
    }
}

/// `MP4AudioSampleEntry` with an `esds`, ISO/IEC 14496-14:2020 §6.7.
fn mp4a(config: &CodecConfig, object_type_indication: u8, specific: Option<Vec<u8>>) -> Codec {
    /// `AudioStream`, ISO/IEC 14496-1 table 6.
    const AUDIO_STREAM: u8 = 5;
    let dec_specific =
        specific.map(|raw| esds::DecoderSpecific { raw, ..esds::DecoderSpecific::default() });
    let dec_config = esds::DecoderConfig {
        object_type_indication,
        stream_type: AUDIO_STREAM,
        dec_specific,
        ..esds::DecoderConfig::default()
    };
    Codec::Mp4a(Mp4a {
        audio: audio(config),
        esds: Esds { es_desc: esds::EsDescriptor { dec_config, ..esds::EsDescriptor::default() } },
        btrt: None,
        taic: None,
    })
}
