//! The source's timeline: 33-bit times unwrapped, all tracks alike, and where it jumps
//! (ISO/IEC 13818-1:2019 §2.4.2, §2.4.3.5, §2.4.3.7).

#![cfg_attr(not(test), warn(clippy::indexing_slicing, clippy::cast_possible_truncation))]

use super::super::{packet::Pcr, pes::PesTimes};
use crate::media::{Span, Timestamp, TrackId, Unwrapper};

/// Unwraps the times of a programme.
///
/// There is one reference for all its tracks, so that tracks that begin on either side of a wrap end up beside one another.
#[derive(Debug)]
pub(super) struct Clock {
    times: Unwrapper,
    pcr: Option<Timestamp>,
    /// No time has been seen yet.
    is_new: bool,
}

/// When an access unit is due, and shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Times {
    pub(super) dts: Timestamp,
    pub(super) pts: Timestamp,
}

/// The source's timeline goes on elsewhere. Times before and after it do not compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Jump {
    /// The track whose decoding times jump; `None` for the programme's clock, which usually jumps first.
    pub track: Option<TrackId>,
    /// The last time before.
    pub from: Timestamp,
    /// The first time after.
    pub to: Timestamp,
    /// The source says so itself, by `discontinuity_indicator`.
    pub announced: bool,
}

impl Clock {
    pub(super) fn new() -> Self {
        Self { times: Unwrapper::MPEG_TS, pcr: None, is_new: true }
    }

    /// The times of a PES packet; `None` if it has none.
    pub(super) fn times(&mut self, coded: PesTimes) -> Option<Times> {
        let (pts, dts) = (coded.pts?, coded.dts?);
        self.is_new = false;
        let dts = self.times.unwrap(dts);
        let pts = self.times.peek(pts);
        Some(Times { dts: Timestamp::from_ticks(dts), pts: Timestamp::from_ticks(pts) })
    }

    /// The decoding time of a PES packet that is only looked at.
    pub(super) fn peek(&self, coded: PesTimes) -> Option<Timestamp> {
        coded.dts.map(|dts| Timestamp::from_ticks(self.times.peek(dts)))
    }

    /// Takes the programme's clock; says whether it jumped.
    pub(super) fn pcr(&mut self, pcr: Pcr, announced: bool) -> Option<Jump> {
        if self.is_new {
            // The first time of all, which the others are to be near.
            self.times.unwrap(pcr.base());
        }
        self.is_new = false;
        let to = Timestamp::from_ticks(self.times.peek(pcr.base()));
        let from = self.pcr.replace(to)?;
        let step = to - from;
        let jumps = step < Span::ZERO || step > FORWARD || announced;
        jumps.then_some(Jump { track: None, from, to, announced })
    }
}

/// Whether the decoding times of `track` jump between two of its units.
pub(super) fn jump_between(track: TrackId, from: Timestamp, to: Timestamp) -> Option<Jump> {
    let step = to - from;
    let jumps = step < -BACK || step > FORWARD;
    jumps.then_some(Jump { track: Some(track), from, to, announced: false })
}

/// Sources that lose packets for less than this only have a gap.
const FORWARD: Span = Span::from_ms(10_000);

/// Decoding times that step back by less are wrong, but of the same timeline.
const BACK: Span = Span::from_ms(1_000);

#[cfg(test)]
mod tests {
    use super::*;

    fn coded(pts: u64, dts: u64) -> PesTimes {
        PesTimes { pts: Some(pts), dts: Some(dts) }
    }

    #[test]
    fn tracks_on_either_side_of_the_wrap_share_a_timeline() {
        let mut clock = Clock::new();
        let top = (1 << 33) - 900;
        let video = clock.times(coded(2_700, top)).unwrap();
        let audio = clock.times(coded(100, 100)).unwrap();
        assert_eq!((video.pts - video.dts).ticks(), 3_600);
        assert_eq!((audio.dts - video.dts).ticks(), 1_000);
        assert_eq!(clock.peek(coded(top, top)), Some(video.dts));
    }

    #[test]
    fn the_clock_jumps_back_far_ahead_or_when_it_says_so() {
        let mut clock = Clock::new();
        let mut at =
            |seconds: u64, announced| clock.pcr(Pcr(seconds * 27_000_000), announced).is_some();
        assert!(!at(100, false));
        assert!(!at(101, false));
        assert!(at(100, false), "back");
        assert!(!at(109, false), "a gap");
        assert!(at(120, false), "far ahead");
        assert!(at(121, true), "announced");
    }

    #[test]
    fn a_wrap_is_no_jump() {
        let mut clock = Clock::new();
        let top = ((1 << 33) - 900) * 300;
        assert_eq!(clock.pcr(Pcr(top), false), None);
        clock.times(coded((1 << 33) - 900, (1 << 33) - 900));
        assert_eq!(clock.pcr(Pcr(900 * 300), false), None);
    }
}
