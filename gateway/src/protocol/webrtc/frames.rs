//! From what str0m puts together to access units, on one timeline for all tracks of a publisher.

use super::negotiate::Incoming;
use crate::media::{
    AccessUnit, Codec, CodecConfig, MediaKind, ParseError, Span, Timestamp, Track as MediaTrack,
    TrackId, av1, h264, h265,
    nal::{AnnexB, Picture, Syntax},
    opus, vpx,
};
use bytes::Bytes;
use std::{
    rc::Rc,
    time::{Duration, Instant, SystemTime},
};
use str0m::{
    media::{Frequency, MediaData, MediaTime, Mid},
    rtp::rtcp::SenderInfo,
};

/// One track of a publisher.
#[derive(Debug)]
pub(super) struct Track {
    mid: Mid,
    id: TrackId,
    codec: Codec,
    config: Option<Rc<CodecConfig>>,
    picture: Picture,
    /// When the session began.
    begun: Instant,
    /// The first time of RTP, in ticks of 90 kHz, and what it is on our timeline.
    anchor: Option<(i64, Timestamp)>,
    /// A time of the sender's clock on the wall, and what it is in RTP, in ticks of 90 kHz.
    sender: Option<(SystemTime, i64)>,
    is_aligned: bool,
}

/// A unit, and whether decoders must be told something new before it.
#[derive(Debug)]
pub(super) struct Frame {
    pub(super) unit: AccessUnit,
    pub(super) is_new: bool,
}

/// What is nearer together than this is not moved: viewers do not notice, but a gap.
const ALIGNED: Span = Span::from_ms(15);

/// Clocks that are farther apart than this are wrong, and tell nothing.
const ALIGNED_MAX: Span = Span::from_ms(5_000);

impl Track {
    pub(super) fn new(incoming: &Incoming, begun: Instant) -> Self {
        let codec = incoming.codec;
        let syntax = if codec == Codec::Hevc { Syntax::Hevc } else { Syntax::H264 };
        let config = (codec == Codec::Opus).then(|| opus::Config::with_channels(2).ok()).flatten();
        Self {
            mid: incoming.mid,
            id: incoming.track,
            codec,
            config: config.map(|config| Rc::new(CodecConfig::Opus(config))),
            picture: Picture::new(syntax),
            begun,
            anchor: None,
            sender: None,
            is_aligned: false,
        }
    }

    pub(super) const fn mid(&self) -> Mid {
        self.mid
    }

    pub(super) const fn kind(&self) -> MediaKind {
        self.codec.kind()
    }

    /// As others see it.
    pub(super) fn as_track(&self) -> MediaTrack {
        let config = self.config.clone();
        MediaTrack { id: self.id, codec: self.codec, language: None, config }
    }

    /// What a frame is; `None` while it cannot be decoded.
    pub(super) fn frame(&mut self, data: &MediaData) -> Result<Option<Frame>, ParseError> {
        let pts = self.place(data.time, data.network_time);
        let before = self.config.clone();
        let (payload, random_access) = match self.codec {
            Codec::H264 | Codec::Hevc => self.picture(&data.data)?,
            Codec::Av1 => {
                let unit = av1::TemporalUnit::parse(&data.data)?;
                if let Some(config) = unit.config {
                    self.set(CodecConfig::Av1(config));
                }
                (unit.payload, unit.random_access)
            }
            Codec::Vp8 => {
                // RFC 6386 §9.1: the first bit tells.
                let is_key = data.data.first().is_some_and(|first| first & 1 == 0);
                if is_key {
                    self.set(CodecConfig::Vp8(vpx::Config::from_vp8(&data.data)?));
                }
                (Bytes::copy_from_slice(&data.data), is_key)
            }
            Codec::Vp9 => {
                let config = vpx::Config::from_vp9(&data.data).ok();
                let is_key = config.is_some();
                config.into_iter().for_each(|config| self.set(CodecConfig::Vp9(config)));
                (Bytes::copy_from_slice(&data.data), is_key)
            }
            _ => (Bytes::copy_from_slice(&data.data), true),
        };
        let Some(config) = self.config.clone() else { return Ok(None) };
        if payload.is_empty() {
            return Ok(None);
        }
        let is_new = before.is_none_or(|before| !Rc::ptr_eq(&before, &config));
        let track = self.id;
        let unit = AccessUnit { track, dts: pts, pts, random_access, config, payload };
        Ok(Some(Frame { unit, is_new }))
    }

    /// A picture of H.264 or HEVC, which comes as a byte stream.
    fn picture(&mut self, stream: &[u8]) -> Result<(Bytes, bool), ParseError> {
        for nal in AnnexB::new(stream) {
            self.picture.push(nal);
        }
        let random_access = self.picture.is_random_access();
        let sets: Vec<Vec<u8>> = self.picture.parameter_sets().to_vec();
        let payload = Bytes::from(self.picture.take());
        if !sets.is_empty() {
            let sets = sets.iter().map(Vec::as_slice);
            let config = match (&self.config.as_deref(), self.codec) {
                (Some(CodecConfig::H264(known)), _) => known.merged(sets)?.map(CodecConfig::H264),
                (Some(CodecConfig::Hevc(known)), _) => known.merged(sets)?.map(CodecConfig::Hevc),
                (_, Codec::Hevc) => {
                    Some(CodecConfig::Hevc(h265::Config::from_parameter_sets(sets)?))
                }
                _ => Some(CodecConfig::H264(h264::Config::from_parameter_sets(sets)?)),
            };
            config.into_iter().for_each(|config| self.set(config));
        }
        Ok((payload, random_access))
    }

    fn set(&mut self, config: CodecConfig) {
        if self.config.as_deref() != Some(&config) {
            self.config = Some(Rc::new(config));
        }
    }

    /// A time of RTP on our timeline, which begins when the track's first packet comes.
    fn place(&mut self, time: MediaTime, arrived: Instant) -> Timestamp {
        let ticks = ticks(time);
        let (first, at) = *self.anchor.get_or_insert_with(|| {
            let since = arrived.saturating_duration_since(self.begun);
            (ticks, Timestamp::ZERO + Span::from(since))
        });
        at + Span::from_ticks(ticks - first)
    }

    /// What the sender says of its clock.
    pub(super) fn note_sender(&mut self, info: &SenderInfo) {
        self.sender = Some((info.ntp_time, ticks(info.rtp_time)));
    }

    /// Moves this track to where it belongs beside `other`, once, when the sender has told of both.
    pub(super) fn align_with(&mut self, other: &Self) {
        if self.is_aligned {
            return;
        }
        let (Some(own), Some(theirs)) = (self.wall_to_timeline(), other.wall_to_timeline()) else {
            return;
        };
        self.is_aligned = true;
        let gap = signed(own.0, theirs.0) - (own.1 - theirs.1);
        if gap.abs() > ALIGNED
            && gap.abs() < ALIGNED_MAX
            && let Some((_, at)) = &mut self.anchor
        {
            *at = *at + gap;
        }
    }

    /// A time on the sender's wall, and what it is on our timeline.
    fn wall_to_timeline(&self) -> Option<(SystemTime, Timestamp)> {
        let ((first, at), (wall, ticks)) = (self.anchor?, self.sender?);
        Some((wall, at + Span::from_ticks(wrapped(ticks - first))))
    }
}

fn ticks(time: MediaTime) -> i64 {
    i64::try_from(time.rebase(Frequency::NINETY_KHZ).numer()).unwrap_or(i64::MAX)
}

/// Reports carry 32 bits of what has more in frames; the difference of the two is small.
fn wrapped(ticks: i64) -> i64 {
    #[expect(clippy::cast_possible_truncation, reason = "modulo 2^32")]
    let low = ticks as i32;
    i64::from(low)
}

/// `a` less `b`.
fn signed(a: SystemTime, b: SystemTime) -> Span {
    let span = |duration: Duration| Span::from(duration);
    a.duration_since(b).map_or_else(|error| -span(error.duration()), span)
}
