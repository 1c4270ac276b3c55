//! One timeline for all that a source ever sends, across jumps and across publishers.
//!
//! Each publisher counts from an origin of its own, and some jump. Players must not see either: a
//! timestamp that goes back stops them. So the hub shifts a publisher's times by an offset, chosen such that
//! the first unit follows the last one that went out, and chooses anew when the times jump.

use crate::media::{Span, Timestamp, TrackId};
use std::collections::BTreeMap;

/// A track's time that is farther ahead than this does not continue its last one. Below, it is a gap: the
/// publisher was silent, or the network lost that much.
const GAP_MAX: Span = Span::from_ms(10_000);

/// A track's time that is farther back than this is not a publisher's inaccuracy: it began again, as a file in
/// a loop does.
const BACK_MAX: Span = Span::from_ms(500);

/// Between the last unit before a jump and the first after it; about a frame.
const STEP: Span = Span::from_ms(33);

#[derive(Debug, Default)]
pub(super) struct Timeline {
    /// From the publisher's times to ours; `None` until its first unit.
    offset: Option<Span>,
    /// The offset before the last jump: the other tracks still use it for a moment, since tracks do not jump
    /// at the same place in the stream.
    previous: Option<Span>,
    /// The latest decode time that went out.
    latest: Option<Timestamp>,
    /// The last decode time of each track.
    tracks: BTreeMap<TrackId, Timestamp>,
    jumps: u64,
}

impl Timeline {
    /// Another publisher begins: its times have nothing to do with those before.
    pub(super) fn restart(&mut self) {
        self.offset = None;
        self.previous = None;
    }

    /// How often the times of a publisher jumped.
    pub(super) const fn jumps(&self) -> u64 {
        self.jumps
    }

    /// The decode and presentation time of a unit on our timeline. Decode times of a track always rise, and nothing is
    /// shown before it is decoded.
    pub(super) fn place(
        &mut self,
        track: TrackId,
        dts: Timestamp,
        pts: Timestamp,
    ) -> (Timestamp, Timestamp) {
        let offset = self.offset_for(track, dts);
        let mut placed = dts + offset;
        if let Some(&last) = self.tracks.get(&track) {
            placed = placed.max(last + Span::from_ticks(1));
        }
        self.tracks.insert(track, placed);
        self.latest = Some(self.latest.map_or(placed, |latest| latest.max(placed)));
        (placed, (pts + offset).max(placed))
    }

    fn offset_for(&mut self, track: TrackId, dts: Timestamp) -> Span {
        let last = self.tracks.get(&track).copied().or(self.latest).unwrap_or(Timestamp::ZERO);
        let distance = |offset: &Span| dts + *offset - last;
        let nearest = [self.offset, self.previous]
            .into_iter()
            .flatten()
            .filter(|offset| (-BACK_MAX..=GAP_MAX).contains(&distance(offset)))
            .min_by_key(|offset| distance(offset).abs());
        if let Some(offset) = nearest {
            return offset;
        }
        let start = self.latest.map_or(Timestamp::ZERO, |latest| latest + STEP);
        let offset = start - dts;
        if self.offset.is_some() {
            self.jumps += 1;
        }
        self.previous = self.offset.replace(offset);
        offset
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VIDEO: TrackId = TrackId(1);
    const AUDIO: TrackId = TrackId(2);

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_ms(ms)
    }

    fn place(timeline: &mut Timeline, track: TrackId, ms: i64) -> i64 {
        timeline.place(track, at(ms), at(ms)).0.ms()
    }

    #[test]
    fn a_stream_starts_at_zero_and_keeps_its_distances() {
        let mut timeline = Timeline::default();
        assert_eq!(place(&mut timeline, VIDEO, 5_000_000), 0);
        assert_eq!(place(&mut timeline, AUDIO, 5_000_010), 10);
        assert_eq!(place(&mut timeline, VIDEO, 5_000_040), 40);
        let (dts, pts) = timeline.place(VIDEO, at(5_000_080), at(5_000_200));
        assert_eq!((dts.ms(), pts.ms()), (80, 200));
    }

    #[test]
    fn the_next_publisher_goes_on_where_the_last_ended() {
        let mut timeline = Timeline::default();
        place(&mut timeline, VIDEO, 0);
        place(&mut timeline, VIDEO, 4_000);
        timeline.restart();
        assert_eq!(place(&mut timeline, VIDEO, 77), 4_033);
        assert_eq!(place(&mut timeline, AUDIO, 87), 4_043);
        assert_eq!(timeline.jumps(), 0);
    }

    #[test]
    fn tracks_that_jump_one_after_the_other_stay_together() {
        let mut timeline = Timeline::default();
        place(&mut timeline, VIDEO, 1_000);
        place(&mut timeline, AUDIO, 1_000);
        assert_eq!(place(&mut timeline, VIDEO, 900_000), 33, "a jump forward");
        assert_eq!(place(&mut timeline, AUDIO, 1_020), 20, "sound is still before the jump");
        assert_eq!(place(&mut timeline, AUDIO, 900_010), 43);
        assert_eq!(place(&mut timeline, VIDEO, 900_040), 73);
        assert_eq!(place(&mut timeline, VIDEO, 5), 106, "and back");
        assert_eq!(place(&mut timeline, AUDIO, 15), 116);
        assert_eq!(timeline.jumps(), 2);
    }

    #[test]
    fn a_short_file_in_a_loop_goes_on_and_its_sound_stays_with_its_pictures() {
        let mut timeline = Timeline::default();
        let mut apart = Vec::new();
        for round in 0..5 {
            for n in 0..50 {
                let video = place(&mut timeline, VIDEO, n * 40);
                // Sound comes 300 ms behind, so it begins again later than the pictures.
                let (round, sound) = if n < 8 { (round - 1, n + 42) } else { (round, n - 8) };
                if round >= 0 {
                    apart.push((video, place(&mut timeline, AUDIO, sound * 40)));
                }
            }
        }
        assert!(
            apart.iter().all(|(video, audio)| (250..=400).contains(&(video - audio))),
            "{apart:?}"
        );
    }

    #[test]
    fn decode_times_of_a_track_always_rise() {
        let mut timeline = Timeline::default();
        let times = [0, 40, 40, 30, 80, -20_000, i64::MAX / 90, i64::MIN / 90];
        let placed: Vec<_> =
            times.iter().map(|&ms| timeline.place(VIDEO, at(ms), at(ms)).0).collect();
        assert!(placed.is_sorted_by(|a, b| a < b), "{placed:?}");
    }

    #[test]
    fn nothing_is_shown_before_it_is_decoded() {
        let mut timeline = Timeline::default();
        let (dts, pts) = timeline.place(VIDEO, at(1_000), at(500));
        assert_eq!(dts, pts);
    }
}
