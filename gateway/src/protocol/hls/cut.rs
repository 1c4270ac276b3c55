//! Where segments and parts begin and end. No media here, only the times of the track that leads: the video, or the
//! sound where there is no video.
//!
//! Section numbers are those of draft-pantos-hls-rfc8216bis-17.
//!
//! * **Segments** begin at random-access points, as many groups of pictures in each as fit the target duration, which is a
//!   promise for the life of the playlist (§4.4.3.1). A group that does not fit is cut where it must be.
//! * **Parts** have as many frames as come nearest to what was asked for. A part ends with its last frame, whose duration
//!   is taken to be that of the one before: to wait for the next frame would cost all viewers a frame's time. What may
//!   be at most (`PART-TARGET`, §4.4.3.7) is fixed with the first part, so that every other has 85 % of it.

use crate::media::{Span, Timestamp};
use std::collections::VecDeque;

/// Cuts one track.
#[derive(Debug)]
pub(super) struct Cutter {
    target: Span,
    /// How long parts should be.
    part: Span,
    /// How long they are at most; `None` until the first has ended.
    part_target: Option<Span>,
    segment: Option<Timestamp>,
    part_begin: Timestamp,
    /// Frames in the present part.
    frames: u32,
    /// Where the part ends, as far as is known.
    end: Timestamp,
    group: Option<Timestamp>,
    /// The lengths of the last groups of pictures.
    groups: VecDeque<Span>,
    /// How many segments have begun.
    count: u64,
}

/// Where a frame goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Nowhere: nothing can be decoded yet.
    Nowhere,
    /// Into the present part.
    Here,
    /// Into a new segment.
    Segment {
        /// It does not begin with a random-access point: the present group of pictures is longer than a segment
        /// may be.
        is_forced: bool,
    },
}

/// By how much a segment may exceed the target: its duration, rounded to whole seconds, does not (§4.4.3.1).
const TOLERANCE: Span = Span::from_ms(250);

/// How many groups of pictures tell how long the next may be.
const GROUPS: usize = 8;

/// So many segments at the beginning are short, so that the first viewer can begin.
const SHORT_SEGMENTS: u64 = 3;

/// How long a segment is at least, except where the stream changes.
const SHORTEST: Span = Span::from_ms(1_000);

impl Cutter {
    pub(super) const fn new(target: Span, part: Span) -> Self {
        Self {
            target,
            part,
            part_target: None,
            segment: None,
            part_begin: Timestamp::ZERO,
            frames: 0,
            end: Timestamp::ZERO,
            group: None,
            groups: VecDeque::new(),
            count: 0,
        }
    }

    /// How long parts are at most; `None` until the first has ended.
    pub(super) const fn part_target(&self) -> Option<Span> {
        self.part_target
    }

    /// A frame is due at `time`, probably for `duration`.
    pub(super) fn place(&mut self, time: Timestamp, duration: Span, random_access: bool) -> Place {
        let since_group = self.group.map(|group| time - group);
        if random_access {
            if let Some(since) = since_group {
                if self.groups.len() == GROUPS {
                    self.groups.pop_front();
                }
                self.groups.push_back(since);
            }
            self.group = Some(time);
        }
        let Some(segment) = self.segment else {
            return if random_access { self.begin(time, false) } else { Place::Nowhere };
        };
        let elapsed = time - segment;
        if random_access {
            let next = self.groups.iter().max().copied().unwrap_or(self.target);
            let half = Span::from_ticks(next.ticks() / 2);
            let is_full = elapsed + next > self.target + TOLERANCE.min(half);
            let is_short = self.count <= SHORT_SEGMENTS && elapsed >= SHORTEST;
            if is_full || is_short {
                return self.begin(time, false);
            }
        }
        if elapsed + duration > self.target + TOLERANCE {
            return self.begin(time, !random_access);
        }
        Place::Here
    }

    /// As [`place`](Self::place), for sound whose segments begin where those of the video do.
    pub(super) fn place_after(
        &mut self,
        time: Timestamp,
        duration: Span,
        boundaries: &mut VecDeque<Timestamp>,
    ) -> Place {
        let mut begins = false;
        // The frame in which the boundary lies is the first behind it.
        while boundaries.front().is_some_and(|&boundary| boundary < time + duration) {
            boundaries.pop_front();
            begins = true;
        }
        match self.segment {
            _ if begins => self.begin(time, false),
            None => Place::Nowhere,
            // The video has stopped.
            Some(segment) if time + duration - segment > self.target + TOLERANCE + TOLERANCE => {
                self.begin(time, false)
            }
            Some(_) => Place::Here,
        }
    }

    /// The frame that was placed is there. Whether the part ends with it.
    pub(super) fn add(&mut self, time: Timestamp, duration: Span) -> bool {
        self.frames += 1;
        self.end = time + duration;
        let elapsed = self.end - self.part_begin;
        match self.part_target {
            Some(most) => elapsed + duration > most,
            None => elapsed + Span::from_ticks(duration.ticks() / 2) > self.part,
        }
    }

    /// Frames in the present part.
    pub(super) const fn frames(&self) -> u32 {
        self.frames
    }

    /// The part ends; how long it is, as far as is known. The next begins at its end.
    pub(super) fn end_part(&mut self) -> Span {
        let elapsed = self.end - self.part_begin;
        if self.part_target.is_none() {
            self.part_target = Some(self.longest_part(elapsed));
        }
        self.frames = 0;
        self.part_begin = self.end;
        elapsed
    }

    /// The first frame of a part tells better where it begins. Whether this is the first.
    pub(super) const fn begin_part(&mut self, time: Timestamp) -> bool {
        let is_first = self.frames == 0;
        if is_first {
            self.part_begin = time;
            self.end = time;
        }
        is_first
    }

    /// The segment ends with what came last; how long it is, as far as is known. Nothing goes on before the next
    /// random-access point.
    pub(super) fn stop(&mut self) -> Span {
        self.group = None;
        self.groups.clear();
        self.segment.take().map_or(Span::ZERO, |segment| self.end - segment)
    }

    /// As many frames as come nearest to the wish, and a little more, since not all frames are equally long.
    fn longest_part(&self, first: Span) -> Span {
        let frame = (first.ticks() / i64::from(self.frames.max(1))).max(1);
        let frames = ((self.part.ticks() + frame / 2) / frame).max(1);
        let whole = frames * frame;
        let most = (whole + whole / 50).max(whole + Span::from_ms(3).ticks());
        let most = most.max(first.ticks());
        let ms = Span::from_ms(1).ticks();
        Span::from_ticks((most + ms - 1) / ms * ms)
    }

    fn begin(&mut self, time: Timestamp, is_forced: bool) -> Place {
        self.segment = Some(time);
        self.count += 1;
        Place::Segment { is_forced }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TICKS: i64 = 90_000;

    /// The lengths of segments, whether each was forced, and the lengths of the parts in each.
    #[derive(Debug, Default)]
    struct Cuts {
        segments: Vec<(i64, bool)>,
        parts: Vec<Vec<i64>>,
        part_target: i64,
    }

    /// `frames` of frame `n` at `at(n)` ms with a random-access point every `group` frames.
    fn cut(target_ms: i64, part_ms: i64, frames: i64, group: i64, at: impl Fn(i64) -> i64) -> Cuts {
        let mut cutter = Cutter::new(Span::from_ms(target_ms), Span::from_ms(part_ms));
        let mut cuts = Cuts::default();
        let mut begun: Option<i64> = None;
        for n in 0..frames {
            let (time, duration) =
                (Timestamp::from_ms(at(n)), Span::from_ms(at(n.max(1)) - at(n.max(1) - 1)));
            match cutter.place(time, duration, n % group == 0) {
                Place::Nowhere => continue,
                Place::Here => {}
                Place::Segment { is_forced } => {
                    if let Some(begun) = begun.replace(at(n)) {
                        if cutter.frames > 0 {
                            cuts.parts.last_mut().unwrap().push(cutter.end_part().ms());
                        }
                        cuts.segments.last_mut().unwrap().0 = at(n) - begun;
                    }
                    cuts.segments.push((0, is_forced));
                    cuts.parts.push(Vec::new());
                }
            }
            cutter.begin_part(time);
            if cutter.add(time, duration) {
                cuts.parts.last_mut().unwrap().push(cutter.end_part().ms());
            }
        }
        cuts.segments.pop();
        cuts.parts.pop();
        cuts.part_target = cutter.part_target().map_or(0, Span::ms);
        cuts
    }

    fn assert_parts(cuts: &Cuts) {
        for parts in &cuts.parts {
            for (at, &part) in parts.iter().enumerate() {
                let is_last = at + 1 == parts.len();
                assert!(part <= cuts.part_target, "{cuts:?}");
                assert!(is_last || 100 * part >= 85 * cuts.part_target, "{cuts:?}");
            }
        }
    }

    #[test]
    fn groups_that_fit_are_kept_together_up_to_the_target() {
        let cuts = cut(4_000, 200, 25 * 60, 25, |n| n * 40);
        assert_eq!(&cuts.segments[..3], &[(1_000, false); 3]);
        assert!(cuts.segments[3..].iter().all(|&segment| segment == (4_000, false)), "{cuts:?}");
        assert_parts(&cuts);
    }

    #[test]
    fn a_group_longer_than_the_target_is_cut_and_never_exceeds_it() {
        let cuts = cut(2_000, 200, 25 * 60, 250, |n| n * 40);
        assert!(cuts.segments.iter().all(|&(ms, _)| ms < 2_500), "{cuts:?}");
        assert!(cuts.segments.iter().any(|&(_, forced)| forced));
        let free = cuts.segments.iter().filter(|(_, forced)| !forced).count();
        assert!(free >= 5, "each group of ten seconds begins a segment: {cuts:?}");
        assert_parts(&cuts);
    }

    #[test]
    fn parts_keep_85_percent_of_their_target_at_every_usual_rate() {
        for part_ms in [100, 200, 333, 500, 1_000] {
            for per_1001 in [24_000, 25_025, 29_970 + 30, 30_030, 50_050, 60_000] {
                // As RTMP has it, in whole milliseconds.
                let at = move |n: i64| n * 1_001_000 / per_1001;
                let cuts = cut(4_000, part_ms, per_1001 * 40 / 1_001, per_1001 * 2 / 1_001, at);
                assert!(cuts.segments.len() >= 8, "{cuts:?}");
                assert_parts(&cuts);
            }
        }
    }

    #[test]
    fn sound_alone_is_cut_anywhere() {
        let cuts = cut(4_000, 200, 47 * 40, 1, |n| n * 1_024 * 1_000 / 48_000);
        assert!(
            cuts.segments
                .iter()
                .skip(3)
                .all(|&(ms, forced)| !forced && (3_900..=4_040).contains(&ms))
        );
        assert_parts(&cuts);
    }

    #[test]
    fn nothing_begins_before_a_random_access_point_nor_after_a_stop() {
        let mut cutter = Cutter::new(Span::from_ms(2_000), Span::from_ms(200));
        let (at, frame) = (Timestamp::from_ms(1), Span::from_ticks(TICKS / 25));
        assert_eq!(cutter.place(at, frame, false), Place::Nowhere);
        assert_eq!(cutter.place(at, frame, true), Place::Segment { is_forced: false });
        cutter.stop();
        assert_eq!(cutter.place(at, frame, false), Place::Nowhere);
    }
}
