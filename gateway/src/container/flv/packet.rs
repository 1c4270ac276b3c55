//! The bodies of audio and video tags: legacy headers and those of Enhanced RTMP.
//!
//! Section names refer to "Enhanced RTMP (V2)" of the Veovera Software Organization, in force since 2025; E.4.2 and
//! E.4.3 to Adobe's "Video File Format Specification Version 10.1". One body may hold packets for several
//! tracks. What is in the packets is not looked at here.

use crate::media::{Codec, Span};
use bytes::{Buf, Bytes};
use std::fmt;

/// What a tag holds for one track.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    /// Which track of its kind; 0 is the one of tags that do not say.
    pub track: u8,
    /// How it is coded.
    pub codec: Codec,
    /// What it is.
    pub content: Content,
}

/// What a packet is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// What the decoder needs first, in the codec's record for ISO files.
    Config(Bytes),
    /// One picture, or one or several frames of sound.
    Frame {
        /// From the decode to the presentation time.
        composition: Span,
        /// Whether the sender says that decoding may begin here. Always so for sound.
        key: bool,
        /// As in an ISO file's sample.
        data: Bytes,
    },
    /// The track ends here.
    End,
}

/// Why a body, or one track's part of it, is not understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PacketError {
    /// It ends too early.
    Truncated,
    /// A legacy audio format that is not carried (E.4.2.1).
    AudioFormat(u8),
    /// A legacy video codec that is not carried (E.4.3.1).
    VideoCodec(u8),
    /// A codec of Enhanced RTMP that is not carried.
    FourCc([u8; 4]),
    /// A packet type that is reserved, or has no place where it is.
    PacketType(u8),
    /// A multitrack type that is reserved.
    MultitrackType(u8),
}

/// The packets of one body, in order. An error about a codec or packet type is about one track; after
/// [`PacketError::Truncated`] nothing comes.
#[derive(Debug)]
pub struct Packets {
    rest: Bytes,
    state: State,
    /// To be added to the timestamp of the tag.
    offset: Span,
}

#[derive(Clone, Copy, Debug)]
enum State {
    /// One packet remains, all of the rest.
    One { track: u8, codec: Codec, packet: PacketType, key: bool },
    /// Tracks remain, each with its size.
    Many { shared: Option<Codec>, packet: PacketType, key: bool, media: Media },
    /// An error remains.
    Failed(PacketError),
    /// Nothing remains.
    Done,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Media {
    Audio,
    Video,
}

/// Packet types that audio and video have in common, by meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum PacketType {
    Config,
    /// Coded data; with a composition time where the codec has one.
    Frame,
    /// Coded data without a composition time.
    FrameX,
    End,
    /// Something that no decoder needs: metadata, the order of channels.
    Ignored,
}

impl Packets {
    /// Of the body of an audio tag.
    pub fn of_audio(mut body: Bytes) -> Self {
        let Some([first]) = take(&mut body) else { return Self::done() };
        // E.4.2.1: format, rate, size, type. Enhanced audio: format 9, and the packet type in place of the rest.
        let packets = match first >> 4 {
            9 => Self::enhanced(first & 0x0f, true, Media::Audio, body),
            2 | 14 => Ok(Self::one(Codec::Mp3, PacketType::Frame, true, body)),
            10 => Self::legacy_aac(body),
            format => Err(PacketError::AudioFormat(format)),
        };
        packets.unwrap_or_else(Self::failed)
    }

    /// Of the body of a video tag.
    pub fn of_video(mut body: Bytes) -> Self {
        let Some([first]) = take(&mut body) else { return Self::done() };
        let kind = first >> 4 & 0x07;
        let key = matches!(kind, frame::KEY | frame::GENERATED_KEY);
        if first & 0x80 != 0 {
            // `ExVideoTagHeader`. A command frame has no picture; the kind of frame means nothing for metadata.
            let packet = first & 0x0f;
            if kind == frame::COMMAND && packet != video::METADATA {
                return Self::done();
            }
            return Self::enhanced(packet, key, Media::Video, body).unwrap_or_else(Self::failed);
        }
        if kind == frame::COMMAND {
            return Self::done();
        }
        // Deviates: 12 for HEVC is not in any specification, but what encoders without Enhanced RTMP use.
        let packets = match first & 0x0f {
            7 => Self::legacy_video(Codec::H264, key, body),
            12 => Self::legacy_video(Codec::Hevc, key, body),
            codec => Err(PacketError::VideoCodec(codec)),
        };
        packets.unwrap_or_else(Self::failed)
    }

    /// What is to be added to the tag's timestamp, less than 2 ms.
    pub const fn offset(&self) -> Span {
        self.offset
    }

    /// E.4.2.2.
    fn legacy_aac(mut body: Bytes) -> Result<Self, PacketError> {
        let packet = match take(&mut body).ok_or(PacketError::Truncated)? {
            [0] => PacketType::Config,
            [1] => PacketType::Frame,
            [other] => return Err(PacketError::PacketType(other)),
        };
        Ok(Self::one(Codec::Aac, packet, true, body))
    }

    /// E.4.3.2. All three types have a composition time here, though only pictures have use for it.
    fn legacy_video(codec: Codec, key: bool, mut body: Bytes) -> Result<Self, PacketError> {
        let packet = match take(&mut body).ok_or(PacketError::Truncated)? {
            [0] => PacketType::Config,
            [1] => PacketType::Frame,
            [2] => PacketType::End,
            [other] => return Err(PacketError::PacketType(other)),
        };
        if packet == PacketType::Config {
            take::<3>(&mut body).ok_or(PacketError::Truncated)?;
        }
        Ok(Self::one(codec, packet, key, body))
    }

    /// `ExAudioTagHeader` and `ExVideoTagHeader`, after their first byte.
    fn enhanced(
        mut packet: u8,
        key: bool,
        media: Media,
        mut body: Bytes,
    ) -> Result<Self, PacketError> {
        let mut offset = Span::ZERO;
        while packet == MOD_EX {
            let (modifier, next) = modifier(&mut body).ok_or(PacketError::Truncated)?;
            offset = modifier.unwrap_or(offset);
            packet = next;
        }
        let multitrack = match media {
            Media::Audio => audio::MULTITRACK,
            Media::Video => video::MULTITRACK,
        };
        let mut packets = if packet == multitrack {
            Self::multitrack(key, media, body)?
        } else {
            let packet = PacketType::new(packet, media)?;
            let codec = four_cc(&mut body, media)?;
            Self::one(codec, packet, key, body)
        };
        packets.offset = offset;
        Ok(packets)
    }

    fn multitrack(key: bool, media: Media, mut body: Bytes) -> Result<Self, PacketError> {
        let [types] = take(&mut body).ok_or(PacketError::Truncated)?;
        let packet = PacketType::new(types & 0x0f, media)?;
        match types >> 4 {
            multitrack::ONE_TRACK => {
                let codec = four_cc(&mut body, media);
                let [track] = take(&mut body).ok_or(PacketError::Truncated)?;
                let one = Self::one(codec?, packet, key, body);
                Ok(one.on_track(track))
            }
            multitrack::MANY_TRACKS => {
                let shared = Some(four_cc(&mut body, media)?);
                Ok(Self::new(body, State::Many { shared, packet, key, media }))
            }
            multitrack::MANY_TRACKS_MANY_CODECS => {
                Ok(Self::new(body, State::Many { shared: None, packet, key, media }))
            }
            other => Err(PacketError::MultitrackType(other)),
        }
    }

    const fn new(rest: Bytes, state: State) -> Self {
        Self { rest, state, offset: Span::ZERO }
    }

    const fn one(codec: Codec, packet: PacketType, key: bool, rest: Bytes) -> Self {
        Self::new(rest, State::One { track: 0, codec, packet, key })
    }

    fn on_track(mut self, number: u8) -> Self {
        if let State::One { track, .. } = &mut self.state {
            *track = number;
        }
        self
    }

    const fn failed(error: PacketError) -> Self {
        Self::new(Bytes::new(), State::Failed(error))
    }

    const fn done() -> Self {
        Self::new(Bytes::new(), State::Done)
    }

    /// The packet of the next track, where each has its size (`ExVideoTagBody`, `sizeOfVideoTrack`).
    fn next_of_many(
        &mut self,
        shared: Option<Codec>,
        packet: PacketType,
        key: bool,
        media: Media,
    ) -> Result<Option<Packet>, PacketError> {
        let codec = match shared {
            Some(codec) => Ok(codec),
            None => four_cc(&mut self.rest, media),
        };
        if codec == Err(PacketError::Truncated) {
            return Err(PacketError::Truncated);
        }
        let [track, l2, l1, l0] = take(&mut self.rest).ok_or(PacketError::Truncated)?;
        let len = u32::from_be_bytes([0, l2, l1, l0]) as usize;
        if len > self.rest.len() {
            return Err(PacketError::Truncated);
        }
        let body = self.rest.split_to(len);
        content(codec?, packet, key, body)
            .map(|content| content.map(|c| Packet { track, codec: c.0, content: c.1 }))
    }
}

impl Iterator for Packets {
    type Item = Result<Packet, PacketError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match self.state {
                State::Done => return None,
                State::Failed(error) => {
                    self.state = State::Done;
                    return Some(Err(error));
                }
                State::One { track, codec, packet, key } => {
                    self.state = State::Done;
                    let content =
                        content(codec, packet, key, self.rest.split_off(0)).transpose()?;
                    return Some(content.map(|(codec, content)| Packet { track, codec, content }));
                }
                State::Many { .. } if self.rest.is_empty() => self.state = State::Done,
                State::Many { shared, packet, key, media } => {
                    let next = self.next_of_many(shared, packet, key, media);
                    if next == Err(PacketError::Truncated) {
                        self.state = State::Done;
                    }
                    if let Some(packet) = next.transpose() {
                        return Some(packet);
                    }
                }
            }
        }
    }
}

impl PacketType {
    const fn new(number: u8, media: Media) -> Result<Self, PacketError> {
        Ok(match (media, number) {
            (_, SEQUENCE_START) => Self::Config,
            (_, CODED_FRAMES) => Self::Frame,
            (_, SEQUENCE_END) => Self::End,
            (Media::Video, video::CODED_FRAMES_X) => Self::FrameX,
            // The AV1 descriptor of MPEG-2 TS tells nothing that the sequence header in the stream doesn't.
            (Media::Video, video::METADATA | video::MPEG2_TS_SEQUENCE_START)
            | (Media::Audio, audio::MULTICHANNEL_CONFIG) => Self::Ignored,
            _ => return Err(PacketError::PacketType(number)),
        })
    }
}

impl fmt::Display for PacketError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated => f.write_str("an FLV tag is cut off"),
            Self::AudioFormat(format) => write!(f, "FLV audio format {format} is not carried"),
            Self::VideoCodec(codec) => write!(f, "FLV video codec {codec} is not carried"),
            Self::FourCc(code) => write!(f, "the codec '{}' is not carried", code.escape_ascii()),
            Self::PacketType(number) => write!(f, "FLV packet type {number} is not known"),
            Self::MultitrackType(number) => write!(f, "FLV multitrack type {number} is not known"),
        }
    }
}

impl std::error::Error for PacketError {}

/// The code of a codec in Enhanced RTMP (`AudioFourCc`, `VideoFourCc`).
pub const fn code_of(codec: Codec) -> [u8; 4] {
    match codec {
        Codec::H264 => *b"avc1",
        Codec::Hevc => *b"hvc1",
        Codec::Av1 => *b"av01",
        Codec::Vp8 => *b"vp08",
        Codec::Vp9 => *b"vp09",
        Codec::Aac => *b"mp4a",
        Codec::Mp3 => *b".mp3",
        Codec::Opus => *b"Opus",
        Codec::Ac3 => *b"ac-3",
        Codec::Eac3 => *b"ec-3",
    }
}

/// The codec of a code in Enhanced RTMP.
pub const fn codec_of(code: [u8; 4]) -> Option<Codec> {
    Some(match &code {
        b"avc1" => Codec::H264,
        b"hvc1" => Codec::Hevc,
        b"av01" => Codec::Av1,
        b"vp08" => Codec::Vp8,
        b"vp09" => Codec::Vp9,
        b"mp4a" => Codec::Aac,
        b".mp3" => Codec::Mp3,
        b"Opus" => Codec::Opus,
        b"ac-3" => Codec::Ac3,
        b"ec-3" => Codec::Eac3,
        _ => return None,
    })
}

fn four_cc(body: &mut Bytes, media: Media) -> Result<Codec, PacketError> {
    let code = take(body).ok_or(PacketError::Truncated)?;
    let codec = codec_of(code).ok_or(PacketError::FourCc(code))?;
    let fits = (codec.kind() == crate::media::MediaKind::Audio) == (media == Media::Audio);
    if fits { Ok(codec) } else { Err(PacketError::FourCc(code)) }
}

/// One modifier: the time offset if it is that, and the packet type that follows it.
fn modifier(body: &mut Bytes) -> Option<(Option<Span>, u8)> {
    let mut len = usize::from(take::<1>(body)?[0]) + 1;
    if len == 256 {
        len = usize::from(u16::from_be_bytes(take(body)?)) + 1;
    }
    if len > body.len() {
        return None;
    }
    let data = body.split_to(len);
    let [types] = take(body)?;
    let offset = match (types >> 4, data.first_chunk()) {
        (TIMESTAMP_OFFSET_NANO, Some(&[n2, n1, n0])) => {
            let nanos = u32::from_be_bytes([0, n2, n1, n0]);
            Some(Span::from_units(i64::from(nanos), 1_000_000_000))
        }
        _ => None,
    };
    Some((offset, types & 0x0f))
}

/// What a packet of this type holds; `None` when nobody needs it.
fn content(
    codec: Codec,
    packet: PacketType,
    key: bool,
    mut body: Bytes,
) -> Result<Option<(Codec, Content)>, PacketError> {
    let has_composition = matches!(codec, Codec::H264 | Codec::Hevc);
    let content = match packet {
        PacketType::Config => Content::Config(body),
        PacketType::End => Content::End,
        PacketType::Ignored => return Ok(None),
        PacketType::Frame if has_composition => {
            let [c2, c1, c0] = take(&mut body).ok_or(PacketError::Truncated)?;
            // A signed number of 24 bits, moved to the top for its sign and back.
            let ms = i32::from_be_bytes([c2, c1, c0, 0]) >> 8;
            Content::Frame { composition: Span::from_ms(ms.into()), key, data: body }
        }
        PacketType::Frame | PacketType::FrameX => {
            Content::Frame { composition: Span::ZERO, key, data: body }
        }
    };
    Ok(Some((codec, content)))
}

fn take<const N: usize>(body: &mut Bytes) -> Option<[u8; N]> {
    let taken = *body.first_chunk::<N>()?;
    body.advance(N);
    Some(taken)
}

/// `AudioPacketType` and `VideoPacketType`, where they agree.
pub(super) const SEQUENCE_START: u8 = 0;
pub(super) const CODED_FRAMES: u8 = 1;
const SEQUENCE_END: u8 = 2;
const MOD_EX: u8 = 7;
/// `AudioPacketModExType` and `VideoPacketModExType`.
const TIMESTAMP_OFFSET_NANO: u8 = 0;

/// `AudioPacketType`.
pub(super) mod audio {
    pub(super) const MULTICHANNEL_CONFIG: u8 = 4;
    pub(in super::super) const MULTITRACK: u8 = 5;
}

/// `VideoPacketType`.
pub(super) mod video {
    pub(in super::super) const CODED_FRAMES_X: u8 = 3;
    pub(super) const METADATA: u8 = 4;
    pub(super) const MPEG2_TS_SEQUENCE_START: u8 = 5;
    pub(in super::super) const MULTITRACK: u8 = 6;
}

/// `AvMultitrackType`.
pub(super) mod multitrack {
    pub(in super::super) const ONE_TRACK: u8 = 0;
    pub(super) const MANY_TRACKS: u8 = 1;
    pub(super) const MANY_TRACKS_MANY_CODECS: u8 = 2;
}

/// `VideoFrameType`.
pub(super) mod frame {
    pub(in super::super) const KEY: u8 = 1;
    pub(in super::super) const INTER: u8 = 2;
    pub(super) const GENERATED_KEY: u8 = 4;
    pub(super) const COMMAND: u8 = 5;
}

#[cfg(test)]
mod tests;
