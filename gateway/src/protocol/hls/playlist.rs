//! The text of playlists. Section numbers are those of draft-pantos-hls-rfc8216bis-17.
//!
//! Nothing in a media playlist depends on who asks, so that it can be cached; what does stands in the multivariant
//! playlist alone.

use super::{
    lane::{Container, Lane, Part, Segment},
    name::{self, put},
};
use crate::media::{Codec, MediaKind, Span};
use std::rc::Rc;

/// What a media playlist needs besides its lane.
#[derive(Clone, Copy, Debug)]
pub(super) struct Media<'a> {
    pub(super) epoch: &'a str,
    pub(super) lane: &'a Lane,
    /// The other lanes, for reports of where they are.
    pub(super) others: &'a [Lane],
    /// Nothing more will come (§4.4.3.4).
    pub(super) has_ended: bool,
    /// Leave out what the client must know already (§6.2.5.1).
    pub(super) is_delta: bool,
    /// For a file: there are no parts, and nobody waits for anything.
    pub(super) is_file: bool,
}

/// So many target durations before its end a playlist can be cut for a client that has the rest (§4.4.3.8: at least six).
const SKIP_TARGETS: i64 = 6;

/// So many target durations before its end a playlist names parts (§6.2.2: three).
const PART_TARGETS: i64 = 3;

/// So many parts before its end a player begins at least (§4.4.3.8: twice the part target is the least, three are recommended).
const HOLD_BACK_PARTS: i64 = 3;

impl Media<'_> {
    /// The text.
    pub(super) fn write(&self) -> String {
        let lane = self.lane;
        let mut out = String::with_capacity(4_096);
        let skipped = if self.is_delta { self.skippable() } else { 0 };
        self.put_head(skipped, &mut out);
        let end = self.end();
        let mut last: Option<&Segment> = None;
        let mut until_end = end;
        let open =
            lane.open().filter(|open| self.part_target().is_some() && !open.parts.is_empty());
        for (at, segment) in lane.listed().chain(open).enumerate() {
            until_end = until_end - segment.duration;
            if at >= skipped {
                self.put_segment(segment, last, until_end, &mut out);
            }
            last = Some(segment);
        }
        self.put_tail(&mut out);
        out
    }

    /// How long parts are at most; `None` where none are named.
    fn part_target(&self) -> Option<Span> {
        self.lane.part_target().filter(|_| !self.is_file)
    }

    fn put_head(&self, skipped: usize, out: &mut String) {
        let lane = self.lane;
        let target = lane.rules().target;
        let parts = self.part_target();
        // §8: EXT-X-SKIP needs version 9, EXT-X-MAP in a playlist of media segments 6.
        let version = if parts.is_some() { 9 } else { 6 };
        put(out, format_args!("#EXTM3U\n#EXT-X-VERSION:{version}\n"));
        put(out, format_args!("#EXT-X-TARGETDURATION:{}\n", target.ms() / 1_000));
        if lane.listed().all(|segment| segment.is_independent) {
            out.push_str("#EXT-X-INDEPENDENT-SEGMENTS\n");
        }
        if let Some(part) = parts {
            let hold_back = Span::from_ticks(part.ticks() * HOLD_BACK_PARTS);
            let skip = Span::from_ticks(target.ticks() * SKIP_TARGETS);
            put(
                out,
                format_args!(
                    "#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,PART-HOLD-BACK={},CAN-SKIP-UNTIL={}\n",
                    seconds(hold_back),
                    seconds(skip)
                ),
            );
            put(out, format_args!("#EXT-X-PART-INF:PART-TARGET={}\n", seconds(part)));
        } else if !self.is_file {
            out.push_str("#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES\n");
        }
        put(out, format_args!("#EXT-X-MEDIA-SEQUENCE:{}\n", lane.first_msn()));
        let gone = lane.gone_discontinuities();
        if gone > 0 || lane.listed().chain(lane.open()).any(|s| s.is_discontinuous) {
            put(out, format_args!("#EXT-X-DISCONTINUITY-SEQUENCE:{gone}\n"));
        }
        if skipped > 0 {
            put(out, format_args!("#EXT-X-SKIP:SKIPPED-SEGMENTS={skipped}\n"));
        }
    }

    /// What is said of a segment, and the segment. `last` is the one before; `until_end` is what comes after.
    fn put_segment(
        &self,
        segment: &Segment,
        last: Option<&Segment>,
        until_end: Span,
        out: &mut String,
    ) {
        let lane = self.lane;
        if segment.is_discontinuous {
            out.push_str("#EXT-X-DISCONTINUITY\n");
        }
        let same_init = last.is_some_and(|last| same(last.init.as_ref(), segment.init.as_ref()));
        let same_key = last.is_some_and(|last| same(last.key.as_ref(), segment.key.as_ref()));
        if let Some(init) = segment.init.as_ref().filter(|_| !same_init) {
            // A key would hold for the init segment too (§4.4.4.4), whose vector no number gives.
            if last.is_some_and(|last| last.key.is_some()) {
                out.push_str("#EXT-X-KEY:METHOD=NONE\n");
            }
            let (epoch, name, version) = (self.epoch, &lane.name, init.version());
            put(out, format_args!("#EXT-X-MAP:URI=\"hls-{epoch}-{name}-init{version}.mp4\"\n"));
        }
        if let Some(key) = segment.key.as_ref().filter(|_| !same_key || !same_init) {
            let (epoch, number) = (self.epoch, key.number);
            put(
                out,
                format_args!("#EXT-X-KEY:METHOD=AES-128,URI=\"hls-{epoch}-key{number}.key\"\n"),
            );
        }
        put(out, format_args!("#EXT-X-PROGRAM-DATE-TIME:{}\n", date_time(segment.program_ms)));
        let recent = Span::from_ticks(lane.rules().target.ticks() * PART_TARGETS);
        if self.part_target().is_some() && until_end < recent {
            for (at, part) in segment.parts.iter().enumerate() {
                self.put_part(segment.msn, at, part, out);
            }
        }
        if !segment.body.is_empty() {
            let uri = name::segment(self.epoch, &lane.name, segment.msn, lane.container);
            put(out, format_args!("#EXTINF:{},\n{uri}\n", seconds(segment.duration)));
        }
    }

    fn put_part(&self, msn: u64, at: usize, part: &Part, out: &mut String) {
        let (duration, uri) = (seconds(part.duration), self.part_uri(msn, at));
        put(out, format_args!("#EXT-X-PART:DURATION={duration},URI=\"{uri}\""));
        out.push_str(if part.is_independent { ",INDEPENDENT=YES\n" } else { "\n" });
    }

    fn part_uri(&self, msn: u64, at: usize) -> String {
        let (name, extension) = (&self.lane.name, self.lane.container.extension());
        format!("hls-{}-{name}-{msn}.{at}.{extension}", self.epoch)
    }

    fn put_tail(&self, out: &mut String) {
        let lane = self.lane;
        if self.has_ended {
            out.push_str("#EXT-X-ENDLIST\n");
            return;
        }
        if self.part_target().is_none() {
            return;
        }
        let next = lane.open().map_or(0, |open| open.parts.len());
        let uri = self.part_uri(lane.growing_msn(), next);
        put(out, format_args!("#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"{uri}\"\n"));
        for other in self.others.iter().filter(|other| other.name != lane.name) {
            let Some((msn, part)) = other.newest_part() else { continue };
            let uri = name::media(&other.name);
            put(
                out,
                format_args!(
                    "#EXT-X-RENDITION-REPORT:URI=\"{uri}\",LAST-MSN={msn},LAST-PART={part}\n"
                ),
            );
        }
    }

    /// How long the playlist is.
    fn end(&self) -> Span {
        let segments = self.lane.listed().chain(self.lane.open());
        segments.fold(Span::ZERO, |sum, segment| sum + segment.duration)
    }

    /// How many segments a client may be spared: those that end before the skip boundary (§4.4.3.8). None in a
    /// playlist that has ended, or that names no parts.
    fn skippable(&self) -> usize {
        if self.has_ended || self.part_target().is_none() {
            return 0;
        }
        let boundary = Span::from_ticks(self.lane.rules().target.ticks() * SKIP_TARGETS);
        let mut left = self.end();
        let mut count = 0;
        for segment in self.lane.listed() {
            left = left - segment.duration;
            if left < boundary {
                break;
            }
            count += 1;
        }
        count
    }
}

impl Lane {
    /// The last part that there is: its segment, and its place there.
    fn newest_part(&self) -> Option<(u64, usize)> {
        let newest = self.listed().chain(self.open()).rfind(|s| !s.parts.is_empty())?;
        Some((newest.msn, newest.parts.len() - 1))
    }
}

/// The multivariant playlist (§4.4.6): `folder` is where the media playlists are, `query` what is appended to their
/// addresses.
pub(super) fn multivariant(lanes: &[Lane], folder: &str, query: &str) -> String {
    let Some(main) = lanes.first() else { return String::new() };
    let uri = |lane: &Lane| format!("{folder}/{}{query}", name::media(&lane.name));
    let mut out = String::from("#EXTM3U\n#EXT-X-VERSION:6\n");
    let sounds: Vec<&Lane> = lanes.iter().filter(|lane| !lane.init.has_video()).collect();
    let has_choice = lanes.len() > 1;
    if has_choice {
        for (at, lane) in sounds.iter().enumerate() {
            put_sound(at, lane, &uri(lane), &mut out);
        }
    }
    let (mut most, mut mean) = main.rates_bps();
    if has_choice && main.init.has_video() {
        let rates: Vec<_> = sounds.iter().map(|lane| lane.rates_bps()).collect();
        most += rates.iter().map(|rate| rate.0).max().unwrap_or(0);
        mean += rates.iter().map(|rate| rate.1).max().unwrap_or(0);
    }
    put(&mut out, format_args!("#EXT-X-STREAM-INF:BANDWIDTH={most},AVERAGE-BANDWIDTH={mean}"));
    put(&mut out, format_args!(",CODECS=\"{}\"", codecs(lanes)));
    let video = main.init.tracks().iter().find(|track| track.kind() == MediaKind::Video);
    if let Some(video) = video {
        if let Some((width, height)) = video.config.dimensions() {
            put(&mut out, format_args!(",RESOLUTION={width}x{height}"));
        }
        if let Some(rate) = video.config.frame_rate().or_else(|| main.frame_rate()) {
            put(&mut out, format_args!(",FRAME-RATE={rate:.3}"));
        }
    }
    if has_choice {
        out.push_str(",AUDIO=\"audio\"");
    }
    put(&mut out, format_args!("\n{}\n", uri(main)));
    out
}

/// One of several tracks of sound (§4.4.6.1).
fn put_sound(at: usize, lane: &Lane, uri: &str, out: &mut String) {
    let Some(track) = lane.init.tracks().first() else { return };
    put(out, format_args!("#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"audio\""));
    // Names must differ within a group.
    match track.language {
        Some(language) => {
            put(out, format_args!(",NAME=\"{language} {}\",LANGUAGE=\"{language}\"", at + 1));
        }
        None => put(out, format_args!(",NAME=\"{}\"", at + 1)),
    }
    let is_default = if at == 0 { "YES" } else { "NO" };
    put(out, format_args!(",DEFAULT={is_default},AUTOSELECT=YES"));
    if let Some(channels) = track.config.channels() {
        put(out, format_args!(",CHANNELS=\"{channels}\""));
    }
    put(out, format_args!(",URI=\"{uri}\"\n"));
}

/// The codecs of all lanes, each once.
fn codecs(lanes: &[Lane]) -> String {
    let mut names: Vec<String> = Vec::new();
    let is_ts = lanes.first().is_some_and(|main| main.container == Container::Ts);
    for track in lanes.iter().flat_map(|lane| lane.init.tracks()) {
        let name = match track.config.codec() {
            // Apple's name for what is no MPEG-4 there.
            Codec::Mp3 if is_ts => "mp4a.40.34".to_owned(),
            _ => track.config.codec_string(),
        };
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names.join(",")
}

/// Whether both are the same, or neither is there.
fn same<T>(one: Option<&Rc<T>>, other: Option<&Rc<T>>) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => Rc::ptr_eq(one, other),
        (None, None) => true,
        _ => false,
    }
}

/// With five decimals: a tick is 11 µs.
fn seconds(span: Span) -> String {
    let us = u64::try_from(span.ticks()).unwrap_or(0).saturating_mul(100) / 9;
    format!("{}.{:05}", us / 1_000_000, us % 1_000_000 / 10)
}

/// ISO 8601 with milliseconds (§4.4.4.6).
fn date_time(unix_ms: i64) -> String {
    let time = jiff::Timestamp::from_millisecond(unix_ms).unwrap_or_default();
    time.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string()
}

impl Container {
    /// The media type of its segments.
    pub(super) const fn media_type(self, has_video: bool) -> &'static str {
        match (self, has_video) {
            (Self::Fmp4, true) => "video/mp4",
            (Self::Fmp4, false) => "audio/mp4",
            (Self::Ts, _) => "video/mp2t",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_in_full() {
        assert_eq!(seconds(Span::from_ms(2_000)), "2.00000");
        assert_eq!(seconds(Span::from_ticks(3_003)), "0.03336");
        assert_eq!(date_time(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(date_time(1_700_000_000_123), "2023-11-14T22:13:20.123Z");
    }
}
