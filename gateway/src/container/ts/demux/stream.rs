//! One elementary stream: from its packets, by way of PES packets, to the assembly of its codec.

#![cfg_attr(not(test), warn(clippy::indexing_slicing, clippy::cast_possible_truncation))]

use super::{
    super::{
        packet::{Packet, Pid},
        pes::{PesPart, PesReader, PesTimes},
        psi::{Descriptors, PmtStream, language_of, stream_codec, stream_type, tag},
    },
    Context,
    audio::Audio,
    clock::Clock,
    framing::Syntax as AudioSyntax,
    video::{Hint, Video},
};
use crate::media::{
    AccessUnit, Codec, CodecConfig, Language, MediaKind, Timestamp, Track, TrackId, aac,
    nal::{AnnexB, Kind, SetKind, Syntax},
};
use std::rc::Rc;

/// A stream that is taken apart.
#[derive(Debug)]
pub(super) struct Stream {
    entry: PmtStream,
    codec: Codec,
    language: Option<Language>,
    pes: PesReader,
    assembly: Assembly,
    config: Option<Rc<CodecConfig>>,
    /// The decoding time of the last unit.
    last: Option<Timestamp>,
}

#[derive(Debug)]
enum Assembly {
    Video(Box<Video>, Syntax),
    Audio(Box<Audio>),
}

impl Stream {
    /// `None` if it is of no codec of ours.
    pub(super) fn new(entry: &PmtStream) -> Option<Self> {
        let codec = stream_codec(entry)?;
        let id = TrackId(entry.pid.value());
        let video = |syntax| Assembly::Video(Box::new(Video::new(id, syntax)), syntax);
        let audio = |syntax| Assembly::Audio(Box::new(Audio::new(id, syntax)));
        let assembly = match codec {
            Codec::H264 => video(Syntax::H264),
            Codec::Hevc => video(Syntax::Hevc),
            Codec::Aac if entry.stream_type == stream_type::AAC_LATM => {
                audio(AudioSyntax::Loas(aac::Loas::default()))
            }
            Codec::Aac => audio(AudioSyntax::Adts),
            Codec::Mp3 => audio(AudioSyntax::Mpeg),
            Codec::Ac3 => audio(AudioSyntax::Ac3),
            Codec::Eac3 => audio(AudioSyntax::Eac3 { has_dependents: false, units: 0 }),
            Codec::Opus => audio(AudioSyntax::Opus { channels: opus_channels(entry) }),
            Codec::Av1 | Codec::Vp8 | Codec::Vp9 => return None,
        };
        Some(Self {
            entry: entry.clone(),
            codec,
            language: language_of(entry),
            pes: PesReader::default(),
            assembly,
            config: None,
            last: None,
        })
    }

    /// Takes the next packet of its PID.
    pub(super) fn push(&mut self, packet: Packet<'_>, context: &mut Context) {
        if packet.is_scrambled() {
            context.stats.scrambled += 1;
            return;
        }
        if !packet.has_payload() {
            return;
        }
        let Self { pes, assembly, .. } = self;
        let errors = pes.errors;
        pes.push(packet.is_unit_start(), packet.payload(), |part| match assembly {
            Assembly::Video(video, _) => match part {
                PesPart::Begin(times) => video.begin(context.clock.times(times)),
                PesPart::Data(data) => video.data(data, context),
                PesPart::End => video.hint(Hint::Length, context),
            },
            Assembly::Audio(audio) => match part {
                PesPart::Begin(times) => audio.begin(context.clock.times(times)),
                PesPart::Data(data) => audio.data(data, context),
                PesPart::End => audio.end(context),
            },
        });
        context.stats.pes_errors += pes.errors - errors;
        if let Assembly::Video(video, _) = assembly
            && is_stuffed(packet)
        {
            video.hint(Hint::Stuffing, context);
        }
    }

    /// Packets are missing.
    pub(super) fn damage(&mut self, context: &mut Context) {
        self.pes.reset();
        match &mut self.assembly {
            Assembly::Video(video, _) => video.damage(context),
            Assembly::Audio(audio) => audio.damage(context),
        }
    }

    /// Nothing follows.
    pub(super) fn finish(&mut self, context: &mut Context) {
        match &mut self.assembly {
            Assembly::Video(video, _) => video.finish(context),
            Assembly::Audio(audio) => audio.end(context),
        }
    }

    /// Takes note of a unit that is delivered; returns the decoding time of the one before.
    pub(super) fn note(&mut self, unit: &AccessUnit) -> Option<Timestamp> {
        if self.config.as_ref().is_none_or(|known| !Rc::ptr_eq(known, &unit.config)) {
            self.config = Some(Rc::clone(&unit.config));
        }
        self.last.replace(unit.dts)
    }

    /// The decoding time of the PES packet that begins in this packet.
    pub(super) fn peek(&self, packet: Packet<'_>, clock: &Clock) -> Option<Timestamp> {
        PesTimes::peek(packet.payload()).and_then(|times| clock.peek(times))
    }

    /// Whether decoding may begin with the PES packet that begins in this packet: its first bytes say so,
    /// or, where they say nothing, the random access indicator (ISO/IEC 13818-1:2019 §2.4.3.5).
    pub(super) fn is_random_access(&self, packet: Packet<'_>) -> bool {
        let Assembly::Video(_, syntax) = &self.assembly else { return false };
        if packet.is_scrambled() {
            return false;
        }
        let is_marked = packet.adaptation().is_some_and(|field| field.random_access);
        let (mut has_sets, mut is_recovery) = (false, false);
        for nal in AnnexB::new(packet.payload()) {
            match syntax.classify(nal) {
                Some(Kind::Slice(slice)) => {
                    return slice.random_access || is_recovery || (has_sets && is_marked);
                }
                Some(Kind::ParameterSet(SetKind::Sequence)) => has_sets = true,
                Some(Kind::Sei) => is_recovery |= syntax.is_recovery_point(nal),
                _ => {}
            }
        }
        has_sets || is_recovery || is_marked
    }

    /// Whether the map's entry still means this stream.
    pub(super) fn is(&self, entry: &PmtStream) -> bool {
        self.entry == *entry
    }

    pub(super) fn pid(&self) -> Pid {
        self.entry.pid
    }

    pub(super) fn id(&self) -> TrackId {
        TrackId(self.entry.pid.value())
    }

    pub(super) fn kind(&self) -> MediaKind {
        self.codec.kind()
    }

    pub(super) fn has_config(&self) -> bool {
        self.config.is_some()
    }

    pub(super) fn track(&self) -> Track {
        Track {
            id: self.id(),
            codec: self.codec,
            language: self.language,
            config: self.config.clone(),
        }
    }
}

/// Whether nothing but stuffing explains the adaptation field. Packets with a PCR or private data have one anyway, and
/// their stuffing is not believed.
fn is_stuffed(packet: Packet<'_>) -> bool {
    packet
        .adaptation()
        .is_some_and(|field| field.stuffing > 0 && field.pcr.is_none() && !field.private)
}

/// `channel_config_code` of the extension descriptor.
fn opus_channels(entry: &PmtStream) -> Option<u8> {
    Descriptors(&entry.descriptors).find_map(|(tag, body)| match (tag, body) {
        (tag::DVB_EXTENSION, [tag::OPUS_EXTENSION, code, ..]) => Some(*code),
        _ => None,
    })
}
