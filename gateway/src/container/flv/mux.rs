//! From access units to tags: the bodies, which are the same in every framing, and the framing of files.
//!
//! H.264, AAC and MP3 are written as FLV always did, everything else as Enhanced RTMP does. The first track of each kind is
//! the one of tags that name no track; further ones are written only where the reader is known to understand
//! multitrack packets. Payloads are shared with the access units.

use super::{
    codec,
    metadata::{self, Described},
    packet::{self, CODED_FRAMES, SEQUENCE_START, code_of, frame},
    tag::{self, BACK_POINTER_LEN, MAX_BODY_LEN, TAG_HEADER_LEN, TagKind},
};
use crate::{
    container::{Chunk, LeftOut, Mux, Select},
    media::{AccessUnit, Codec, CodecConfig, MediaKind, Span, Timestamp, Track, TrackId, Tracks},
};
use bytes::{BufMut, Bytes, BytesMut};
use std::rc::Rc;

/// Makes FLV files, and what HTTP-FLV is. See [`after_skip`].
pub type FlvMux = TagMux<FileFraming>;

/// How tags are put into bytes.
pub trait Framing {
    /// What comes before all tags.
    fn opening(&self, audio: bool, video: bool) -> Option<Bytes>;

    /// Appends a tag whose body is `front` and then `payload`, together less than 16 MiB.
    fn frame(
        &self,
        kind: TagKind,
        timestamp_ms: u32,
        front: &[u8],
        payload: Bytes,
        out: &mut Vec<Bytes>,
    );
}

/// What a reader understands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Carriage {
    /// H.264, AAC and MP3.
    Legacy,
    /// All codecs of Enhanced RTMP, one track of each kind.
    Enhanced,
    /// All codecs and all tracks.
    Multitrack,
}

/// Access units in, framed tags out.
#[derive(Debug)]
pub struct TagMux<F> {
    framing: F,
    select: Select,
    carriage: Carriage,
    tracks: Vec<Carried>,
    left_out: Vec<(TrackId, LeftOut)>,
    /// For readers that begin, as long as nothing in it changes.
    head: Option<Rc<[Bytes]>>,
    begin: Beginnings,
    /// Something was written.
    has_begun: bool,
}

/// The framing of files: a header and the size of the tag after it.
#[derive(Clone, Copy, Debug, Default)]
pub struct FileFraming;

/// A track that is written.
#[derive(Debug)]
struct Carried {
    id: TrackId,
    /// Among those of its kind.
    number: u8,
    codec: Codec,
    config: Option<Rc<CodecConfig>>,
    /// The configuration was announced when there were readers already: they have yet to be told.
    is_news: bool,
}

/// Where readers may begin.
#[derive(Debug, Default)]
struct Beginnings {
    /// The last picture, or the first unit of all.
    video: Option<Timestamp>,
    /// The last place in sound alone.
    audio: Option<Timestamp>,
}

impl<F: Framing> TagMux<F> {
    /// A muxer that has seen nothing yet.
    pub fn with_framing(framing: F, select: Select, carriage: Carriage) -> Self {
        Self {
            framing,
            select,
            carriage,
            tracks: Vec::new(),
            left_out: Vec::new(),
            head: None,
            begin: Beginnings::default(),
            has_begun: false,
        }
    }

    /// Whether a track of this kind is carried.
    fn has(&self, kind: MediaKind) -> bool {
        self.tracks.iter().any(|track| track.codec.kind() == kind)
    }

    /// Why a track is not carried, if it isn't, as the next of its kind.
    fn reason_to_leave_out(&self, track: &Track, number: usize) -> Option<LeftOut> {
        let has_legacy_form = matches!(track.codec, Codec::H264 | Codec::Aac | Codec::Mp3);
        if self.carriage == Carriage::Legacy && !has_legacy_form
            || !track.config.as_deref().is_none_or(codec::is_carried)
        {
            return Some(LeftOut::Codec);
        }
        let limit =
            if self.carriage == Carriage::Multitrack { usize::from(u8::MAX) + 1 } else { 1 };
        (number >= limit).then_some(LeftOut::NotFirst)
    }

    /// Takes the configuration of a unit; whether it is not the one that readers know.
    fn take_config(&mut self, index: usize, config: &Rc<CodecConfig>) -> bool {
        let Some(track) = self.tracks.get_mut(index) else { return false };
        let is_news = std::mem::take(&mut track.is_news);
        let known = track.config.as_ref();
        if known.is_some_and(|known| Rc::ptr_eq(known, config) || known == config) {
            return is_news;
        }
        track.config = Some(Rc::clone(config));
        self.head = None;
        true
    }

    /// `onMetaData` of what is known.
    fn metadata(&self) -> Bytes {
        let described: Vec<_> = self
            .tracks
            .iter()
            .filter_map(|track| {
                let config = track.config.as_deref()?;
                Some(Described { number: track.number, config, is_enhanced: track.is_enhanced() })
            })
            .collect();
        metadata::encode(&described)
    }

    /// What a reader needs that begins here.
    fn head(&mut self) -> Rc<[Bytes]> {
        if let Some(head) = &self.head {
            return Rc::clone(head);
        }
        let opening = self.framing.opening(self.has(MediaKind::Audio), self.has(MediaKind::Video));
        let mut parts: Vec<_> = opening.into_iter().collect();
        self.framing.frame(TagKind::Script, 0, &[], self.metadata(), &mut parts);
        for track in &self.tracks {
            if let Some(config) = &track.config {
                self.sequence_header(track, config, 0, &mut parts);
            }
        }
        let head: Rc<[Bytes]> = parts.into();
        self.head = Some(Rc::clone(&head));
        head
    }

    fn sequence_header(
        &self,
        track: &Carried,
        config: &CodecConfig,
        timestamp_ms: u32,
        parts: &mut Vec<Bytes>,
    ) {
        let Some(record) = codec::record(config) else { return };
        let mut front = Front::default();
        track.write_front(&mut front, Part::Config);
        self.framing.frame(track.tag_kind(), timestamp_ms, front.bytes(), record, parts);
    }

    /// The chunk with what changed before a unit. Only the sequence header: decoders need no more, and ffmpeg takes
    /// metadata in the middle for a track of data.
    fn change(&self, index: usize, unit: &AccessUnit, out: &mut Vec<Chunk>) {
        let timestamp_ms = wire_ms(unit.dts);
        let mut parts = Vec::new();
        if let Some(track) = self.tracks.get(index) {
            self.sequence_header(track, &unit.config, timestamp_ms, &mut parts);
        }
        out.push(Chunk { parts, dts: unit.dts, head: None });
    }
}

impl<F: Framing> Mux for TagMux<F> {
    fn tracks(&mut self, tracks: &Tracks) {
        let mut known = std::mem::take(&mut self.tracks);
        self.left_out.clear();
        self.head = None;
        for track in tracks.iter().filter(|track| self.select.carries(track.codec.kind())) {
            let of_kind = self.tracks.iter().filter(|t| t.codec.kind() == track.codec.kind());
            let number = of_kind.count();
            if let Some(reason) = self.reason_to_leave_out(track, number) {
                self.left_out.push((track.id, reason));
                continue;
            }
            let is_same = |t: &Carried| t.id == track.id && t.codec == track.codec;
            let before = known.iter().position(is_same).map(|at| known.swap_remove(at));
            let (config, is_news) =
                before.map_or((None, false), |before| (before.config, before.is_news));
            self.tracks.push(Carried {
                id: track.id,
                number: u8::try_from(number).unwrap_or(u8::MAX),
                codec: track.codec,
                is_news: is_news || self.has_begun && config.is_none(),
                config: config.or_else(|| track.config.clone()),
            });
        }
        if !self.has(MediaKind::Video) {
            self.begin.video = None;
        }
    }

    fn left_out(&self) -> Vec<(TrackId, LeftOut)> {
        self.left_out.clone()
    }

    fn unit(&mut self, unit: &AccessUnit, out: &mut Vec<Chunk>) {
        let Some(index) = self.tracks.iter().position(|track| track.id == unit.track) else {
            return;
        };
        if self.take_config(index, &unit.config) {
            self.change(index, unit, out);
        }
        let has_video = self.has(MediaKind::Video);
        let Some(track) = self.tracks.get(index) else { return };
        let may_begin = self.begin.here(unit, track, has_video);
        let mut front = Front::default();
        track.write_front(&mut front, Part::Frame(unit));
        if front.len + unit.payload.len() > MAX_BODY_LEN {
            // There is no length for it.
            return;
        }
        let mut parts = Vec::with_capacity(3);
        let (kind, payload) = (track.tag_kind(), unit.payload.clone());
        self.framing.frame(kind, wire_ms(unit.dts), front.bytes(), payload, &mut parts);
        let head = may_begin.then(|| self.head());
        self.has_begun = true;
        out.push(Chunk { parts, dts: unit.dts, head });
    }
}

impl Beginnings {
    /// Whether a reader may begin with this unit: at a picture where there are pictures; else twice a second, so that heads
    /// and marks don't outnumber the sound. Where pictures are promised and don't come, sound will do.
    fn here(&mut self, unit: &AccessUnit, track: &Carried, has_video: bool) -> bool {
        const WITHOUT_PICTURES: Span = Span::from_ms(5_000);
        const IN_SOUND: Span = Span::from_ms(500);
        if track.number > 0 {
            return false;
        }
        if track.codec.kind() == MediaKind::Video {
            self.video = Some(unit.dts);
            return unit.random_access;
        }
        if has_video && unit.dts - *self.video.get_or_insert(unit.dts) < WITHOUT_PICTURES {
            return false;
        }
        let is_due = self.audio.is_none_or(|last| (unit.dts - last).abs() >= IN_SOUND);
        if is_due {
            self.audio = Some(unit.dts);
        }
        is_due
    }
}

/// What a tag is for.
#[derive(Clone, Copy)]
enum Part<'a> {
    Config,
    Frame(&'a AccessUnit),
}

/// The bytes of a body before its payload.
#[derive(Debug, Default)]
struct Front {
    bytes: [u8; MAX_FRONT_LEN],
    len: usize,
}

/// Enhanced multitrack: flags, types, code, track, composition time.
const MAX_FRONT_LEN: usize = 1 + 1 + 4 + 1 + 3;

impl Front {
    fn put(&mut self, bytes: &[u8]) {
        if let Some(place) = self.bytes.get_mut(self.len..self.len + bytes.len()) {
            place.copy_from_slice(bytes);
            self.len += bytes.len();
        }
    }

    fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}

impl Carried {
    const fn tag_kind(&self) -> TagKind {
        match self.codec.kind() {
            MediaKind::Video => TagKind::Video,
            MediaKind::Audio => TagKind::Audio,
        }
    }

    /// Whether it is written in the form of Enhanced RTMP.
    const fn is_enhanced(&self) -> bool {
        self.number > 0 || !matches!(self.codec, Codec::H264 | Codec::Aac | Codec::Mp3)
    }

    fn write_front(&self, front: &mut Front, part: Part<'_>) {
        match self.codec.kind() {
            MediaKind::Video => self.write_video(front, part),
            MediaKind::Audio => self.write_audio(front, part),
        }
    }

    /// E.4.3 and `ExVideoTagHeader`.
    fn write_video(&self, front: &mut Front, part: Part<'_>) {
        let (kind, composition_ms) = match part {
            Part::Config => (frame::KEY, 0),
            Part::Frame(unit) => {
                let kind = if unit.random_access { frame::KEY } else { frame::INTER };
                (kind, ms(unit.pts) - ms(unit.dts))
            }
        };
        // 24 bits with a sign: 2 hours and 19 minutes.
        let [_, _, _, _, _, composition @ ..] =
            composition_ms.clamp(-0x80_0000, 0x7f_ffff).to_be_bytes();
        if !self.is_enhanced() {
            let packet = u8::from(matches!(part, Part::Frame(_)));
            front.put(&[kind << 4 | 7, packet]);
            return front.put(&composition);
        }
        let has_composition = matches!(self.codec, Codec::H264 | Codec::Hevc);
        let packet = match part {
            Part::Config => SEQUENCE_START,
            Part::Frame(_) if has_composition && composition_ms == 0 => {
                packet::video::CODED_FRAMES_X
            }
            Part::Frame(_) => CODED_FRAMES,
        };
        self.write_enhanced(front, 0x80 | kind << 4, packet, packet::video::MULTITRACK);
        if has_composition && packet == CODED_FRAMES {
            front.put(&composition);
        }
    }

    /// E.4.2 and `ExAudioTagHeader`.
    fn write_audio(&self, front: &mut Front, part: Part<'_>) {
        if self.is_enhanced() {
            let packet = match part {
                Part::Config => SEQUENCE_START,
                Part::Frame(_) => CODED_FRAMES,
            };
            return self.write_enhanced(front, 9 << 4, packet, packet::audio::MULTITRACK);
        }
        if self.codec == Codec::Aac {
            // Always "44 kHz, 16 bits, stereo"; the truth is in the sequence header (E.4.2.1).
            return front.put(&[0xaf, u8::from(matches!(part, Part::Frame(_)))]);
        }
        let config = self.config.as_deref();
        let rate = config.and_then(CodecConfig::sample_rate).unwrap_or(44_100);
        let channels = config.and_then(CodecConfig::channels).unwrap_or(2);
        // Deviates: E.4.2.1 has no 32 and 48 kHz. Decoders look into the frame's own header.
        let rate = match rate {
            0..=8_000 => 0,
            8_001..=16_000 => 1,
            16_001..=24_000 => 2,
            _ => 3,
        };
        front.put(&[2 << 4 | rate << 2 | 2 | u8::from(channels != 1)]);
    }

    /// One track in a packet, named if it is not the first.
    fn write_enhanced(&self, front: &mut Front, flags: u8, packet: u8, multitrack: u8) {
        if self.number == 0 {
            front.put(&[flags | packet]);
            return front.put(&code_of(self.codec));
        }
        front.put(&[flags | multitrack, packet::multitrack::ONE_TRACK << 4 | packet]);
        front.put(&code_of(self.codec));
        front.put(&[self.number]);
    }
}

impl Framing for FileFraming {
    fn opening(&self, audio: bool, video: bool) -> Option<Bytes> {
        Some(Bytes::copy_from_slice(&tag::file_header(audio, video)))
    }

    fn frame(
        &self,
        kind: TagKind,
        timestamp_ms: u32,
        front: &[u8],
        payload: Bytes,
        out: &mut Vec<Bytes>,
    ) {
        let len = front.len() + payload.len();
        let header_len = TAG_HEADER_LEN + front.len();
        let mut frame = BytesMut::with_capacity(header_len + BACK_POINTER_LEN);
        tag::encode_tag_header(kind, timestamp_ms, len, &mut frame);
        frame.put_slice(front);
        frame.put_uint((TAG_HEADER_LEN + len) as u64, BACK_POINTER_LEN);
        let mut header = frame.freeze();
        let trailer = header.split_off(header_len);
        out.extend([header, payload, trailer]);
    }
}

impl FlvMux {
    /// For these tracks. Readers of files are taken to know Enhanced RTMP's codecs, and no multitrack packets.
    pub fn new(select: Select) -> Self {
        Self::with_framing(FileFraming, select, Carriage::Enhanced)
    }
}

/// What of an [`FlvMux`]'s head is to be sent in the middle of a file: all but the file's header.
pub fn after_skip(head: &[Bytes]) -> &[Bytes] {
    head.split_first().map_or(&[], |(_, tags)| tags)
}

/// Milliseconds, rounded to the nearest, so that sound on the grid of its samples doesn't lag.
const fn ms(at: Timestamp) -> i64 {
    at.ticks().saturating_add(45).div_euclid(90)
}

/// As FLV and RTMP write it: modulo 2³².
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the wire wraps")]
const fn wire_ms(at: Timestamp) -> u32 {
    ms(at) as u32
}

#[cfg(test)]
mod tests;
