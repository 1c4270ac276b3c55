//! From tags to access units.
//!
//! Every track of Enhanced RTMP becomes a track here. What is not understood is left out and reported once by
//! [`FlvDemux::take_fault`]; nothing ends the stream. The times of sound are put on the grid of its samples.

use super::{
    codec::{config_in_frame, parse_record},
    grid::SampleGrid,
    metadata,
    packet::{Content, Packet, PacketError, Packets},
    picture::{Sorted, sort},
    tag::{Tag, TagKind},
};
use crate::{
    container::Sink,
    media::{
        AccessUnit, Codec, CodecConfig, MediaKind, ParseError, Span, Timestamp, Track, TrackId,
        Tracks, Unwrapper, av1, h264, h265,
        nal::{LengthSize, Syntax},
        opus,
    },
};
use bytes::Bytes;
use std::{collections::VecDeque, fmt, rc::Rc};

/// Tags in, access units out.
#[derive(Debug)]
pub struct FlvDemux {
    clock: Unwrapper,
    tracks: Vec<TrackState>,
    /// What `onMetaData` says that there will be, and nothing came of yet.
    promised: Vec<(TrackId, Codec)>,
    /// The time of the first unit.
    began: Option<Timestamp>,
    /// The sink doesn't know the tracks as they are.
    is_stale: bool,
    /// Faults that were reported, so that each is only once.
    known_faults: Vec<Fault>,
    new_faults: VecDeque<Fault>,
}

#[derive(Debug)]
struct TrackState {
    id: TrackId,
    codec: Codec,
    config: Option<Rc<CodecConfig>>,
    /// Of the lengths in its payloads, for H.264 and HEVC.
    length_size: LengthSize,
    /// For sound.
    grid: SampleGrid,
}

/// Something that was left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// A tag, or a part of one.
    Packet(PacketError),
    /// What a decoder needs first could not be understood.
    Config(Codec, ParseError),
    /// A frame could not be understood.
    Frame(Codec, ParseError),
    /// Frames came before what their decoder needs.
    NoConfig(Codec),
    /// More tracks than a publisher may have.
    TooManyTracks,
}

/// How many tracks a publisher may have.
const MAX_TRACKS: usize = 32;

/// How many different faults are kept.
const MAX_FAULTS: usize = 32;

/// How long a promised track is waited for.
const PATIENCE: Span = Span::from_ms(5_000);

impl FlvDemux {
    /// At the beginning of a stream.
    pub const fn new() -> Self {
        Self {
            clock: Unwrapper::RTMP,
            tracks: Vec::new(),
            promised: Vec::new(),
            began: None,
            is_stale: true,
            known_faults: Vec::new(),
            new_faults: VecDeque::new(),
        }
    }

    /// Takes the next tag.
    pub fn tag(&mut self, tag: Tag, sink: &mut impl Sink) {
        let packets = match tag.kind {
            TagKind::Audio => Packets::of_audio(tag.body),
            TagKind::Video => Packets::of_video(tag.body),
            TagKind::Script => return self.script(&tag.body),
        };
        let at = Timestamp::from_ms(self.clock.unwrap(tag.timestamp_ms.into())) + packets.offset();
        for packet in packets {
            let result = match packet {
                Ok(packet) => self.packet(packet, at, sink),
                Err(error) => Err(Fault::Packet(error)),
            };
            if let Err(fault) = result {
                self.report(fault);
            }
        }
    }

    /// A fault that was not reported before.
    pub fn take_fault(&mut self) -> Option<Fault> {
        self.new_faults.pop_front()
    }

    fn script(&mut self, body: &[u8]) {
        if self.began.is_none() {
            self.promised = metadata::promised_codecs(body)
                .into_iter()
                .map(|codec| (track_id(codec.kind(), 0), codec))
                .collect();
        }
    }

    fn packet(&mut self, packet: Packet, at: Timestamp, sink: &mut impl Sink) -> Result<(), Fault> {
        let Packet { track, codec, content } = packet;
        let index = self.track(track_id(codec.kind(), track), codec)?;
        match content {
            Content::Config(record) => self.config(index, &record, sink),
            Content::Frame { composition, key, data } if !data.is_empty() => {
                self.frame(index, Frame { dts: at, composition, key, data }, sink)
            }
            Content::Frame { .. } | Content::End => Ok(()),
        }
    }

    /// The place of a track in `tracks`, which it gets if it has none.
    fn track(&mut self, id: TrackId, codec: Codec) -> Result<usize, Fault> {
        if let Some(index) = self.tracks.iter().position(|track| track.id == id) {
            if self.tracks.get(index).is_some_and(|track| track.codec == codec) {
                return Ok(index);
            }
            self.tracks.remove(index);
        }
        if self.tracks.len() >= MAX_TRACKS {
            return Err(Fault::TooManyTracks);
        }
        let index = self.tracks.partition_point(|track| track.id < id);
        self.tracks.insert(index, TrackState::new(id, codec));
        Ok(index)
    }

    fn config(&mut self, index: usize, record: &[u8], sink: &mut impl Sink) -> Result<(), Fault> {
        let Some(track) = self.tracks.get_mut(index) else { return Ok(()) };
        let parsed =
            parse_record(track.codec, record).map_err(|error| Fault::Config(track.codec, error))?;
        let Some((config, length_size)) = parsed else { return Ok(()) };
        track.length_size = length_size;
        if track.take_config(config) {
            self.is_stale = true;
            // Before the first unit the sink is told of all tracks together.
            if self.began.is_some() {
                self.announce(sink);
            }
        }
        Ok(())
    }

    fn frame(&mut self, index: usize, frame: Frame, sink: &mut impl Sink) -> Result<(), Fault> {
        let Some(track) = self.tracks.get_mut(index) else { return Ok(()) };
        let was_known = track.config.is_some();
        let unit = track.unit(frame);
        // A frame without a picture may tell the configuration, too.
        self.is_stale |= !was_known && track.config.is_some();
        let Some(unit) = unit? else { return Ok(()) };
        let began = *self.began.get_or_insert(unit.dts);
        if !self.promised.is_empty() && unit.dts - began > PATIENCE {
            self.promised.clear();
            self.is_stale = true;
        }
        if self.is_stale {
            self.announce(sink);
        }
        sink.unit(unit);
        Ok(())
    }

    /// Tells the sink about the tracks that have a configuration, and those that are promised.
    fn announce(&mut self, sink: &mut impl Sink) {
        let known = self.tracks.iter().filter(|track| track.config.is_some());
        let mut tracks: Vec<_> = known
            .map(|track| Track {
                id: track.id,
                codec: track.codec,
                language: None,
                config: track.config.clone(),
            })
            .collect();
        self.promised.retain(|(id, _)| tracks.iter().all(|track| track.id != *id));
        tracks.extend(self.promised.iter().map(|&(id, codec)| Track {
            id,
            codec,
            language: None,
            config: None,
        }));
        tracks.sort_by_key(|track| track.id);
        self.is_stale = false;
        sink.tracks(&tracks.into_iter().collect::<Tracks>());
    }

    fn report(&mut self, fault: Fault) {
        if self.known_faults.len() < MAX_FAULTS && !self.known_faults.contains(&fault) {
            self.known_faults.push(fault);
            self.new_faults.push_back(fault);
        }
    }
}

impl Default for FlvDemux {
    fn default() -> Self {
        Self::new()
    }
}

/// A frame as the tag has it.
struct Frame {
    dts: Timestamp,
    composition: Span,
    key: bool,
    data: Bytes,
}

impl TrackState {
    const fn new(id: TrackId, codec: Codec) -> Self {
        Self { id, codec, config: None, length_size: LengthSize::Four, grid: SampleGrid::new() }
    }

    /// Keeps a configuration unless it is what is known; whether there was none before.
    fn take_config(&mut self, config: CodecConfig) -> bool {
        let is_first = self.config.is_none();
        if self.config.as_deref() != Some(&config) {
            self.config = Some(Rc::new(config));
        }
        is_first
    }

    /// The access unit of a frame; `None` when it has no picture.
    fn unit(&mut self, frame: Frame) -> Result<Option<AccessUnit>, Fault> {
        match self.codec {
            Codec::H264 => self.picture(frame, Syntax::H264),
            Codec::Hevc => self.picture(frame, Syntax::Hevc),
            Codec::Av1 => self.temporal_unit(frame).map(Some),
            Codec::Vp8 | Codec::Vp9 => self.vpx(frame).map(Some),
            _ => self.sound(frame).map(Some),
        }
    }

    fn picture(&mut self, frame: Frame, syntax: Syntax) -> Result<Option<AccessUnit>, Fault> {
        let codec = self.codec;
        let fault = |error| Fault::Frame(codec, error);
        let Sorted { payload, has_slice, random_access, parameter_sets } =
            sort(&frame.data, self.length_size, syntax).map_err(fault)?;
        if !parameter_sets.is_empty() {
            let nals = parameter_sets.iter().map(Vec::as_slice);
            if let Some(config) = merged(self.config.as_deref(), syntax, nals).map_err(fault)? {
                self.take_config(config);
            }
        }
        if !has_slice {
            return Ok(None);
        }
        self.finish(frame.dts, frame.composition, frame.key || random_access, payload).map(Some)
    }

    fn temporal_unit(&mut self, frame: Frame) -> Result<AccessUnit, Fault> {
        let unit = av1::TemporalUnit::parse(&frame.data)
            .map_err(|error| Fault::Frame(self.codec, error))?;
        if let Some(config) = unit.config {
            self.take_config(CodecConfig::Av1(config));
        }
        let random_access = frame.key || unit.random_access;
        self.finish(frame.dts, frame.composition, random_access, unit.payload)
    }

    fn vpx(&mut self, frame: Frame) -> Result<AccessUnit, Fault> {
        self.look_into(&frame.data)?;
        self.finish(frame.dts, frame.composition, frame.key, frame.data)
    }

    fn sound(&mut self, frame: Frame) -> Result<AccessUnit, Fault> {
        self.look_into(&frame.data)?;
        if self.codec == Codec::Opus && self.config.is_none() {
            // "If the Opus sequence start payload is empty … default to mono/stereo mode" (`ExAudioTagBody`). Bit 2 of a
            // packet is set for stereo (RFC 6716 §3.1).
            let channels = if frame.data.first().is_some_and(|toc| toc & 4 != 0) { 2 } else { 1 };
            if let Ok(config) = opus::Config::with_channels(channels) {
                self.take_config(CodecConfig::Opus(config));
            }
        }
        let config = self.config.as_deref().ok_or(Fault::NoConfig(self.codec))?;
        let at = match (config.samples(&frame.data), config.sample_rate()) {
            (Some(samples), Some(rate)) => self.grid.place(frame.dts, samples, rate),
            _ => frame.dts,
        };
        self.finish(at, Span::ZERO, true, frame.data)
    }

    /// Takes what a frame says of its own decoding.
    fn look_into(&mut self, frame: &[u8]) -> Result<(), Fault> {
        let found =
            config_in_frame(self.codec, frame).map_err(|error| Fault::Frame(self.codec, error))?;
        if let Some(config) = found {
            self.take_config(config);
        }
        Ok(())
    }

    fn finish(
        &self,
        dts: Timestamp,
        composition: Span,
        random_access: bool,
        payload: Bytes,
    ) -> Result<AccessUnit, Fault> {
        let config = self.config.clone().ok_or(Fault::NoConfig(self.codec))?;
        let pts = dts + composition;
        Ok(AccessUnit { track: self.id, dts, pts, random_access, config, payload })
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Packet(error) => error.fmt(f),
            Self::Config(codec, error) => write!(f, "the configuration of {codec}: {error}"),
            Self::Frame(codec, error) => write!(f, "a frame of {codec}: {error}"),
            Self::NoConfig(codec) => write!(f, "frames of {codec} before its configuration"),
            Self::TooManyTracks => write!(f, "more than {MAX_TRACKS} tracks"),
        }
    }
}

/// The configuration with parameter sets that came in band; `None` when they say nothing new.
fn merged<'a>(
    config: Option<&CodecConfig>,
    syntax: Syntax,
    nals: impl Iterator<Item = &'a [u8]>,
) -> Result<Option<CodecConfig>, ParseError> {
    Ok(match (syntax, config) {
        (_, Some(CodecConfig::H264(config))) => config.merged(nals)?.map(CodecConfig::H264),
        (_, Some(CodecConfig::Hevc(config))) => config.merged(nals)?.map(CodecConfig::Hevc),
        (Syntax::H264, _) => Some(CodecConfig::H264(h264::Config::from_parameter_sets(nals)?)),
        (Syntax::Hevc, _) => Some(CodecConfig::Hevc(h265::Config::from_parameter_sets(nals)?)),
    })
}

/// Video before sound, each in the order of its track numbers.
fn track_id(kind: MediaKind, number: u8) -> TrackId {
    let base = match kind {
        MediaKind::Video => 0x100,
        MediaKind::Audio => 0x200,
    };
    TrackId(base + u16::from(number))
}

#[cfg(test)]
mod tests;
