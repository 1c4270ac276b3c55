//! When a viewer gets what, and which times it is told: what was there before it came goes out faster than it plays, with
//! times as much closer together, so that its last picture is shown now.

use crate::media::{Span, Timestamp};
use std::time::Instant;

/// So many times faster than it plays the GOP goes out at the beginning.
const RATE: u32 = 4;

/// One viewer's clock.
#[derive(Clone, Copy, Debug)]
pub(super) struct Playout {
    /// Where the present straight began: when, at which time of the source, and at which of the viewer.
    since: Instant,
    from: Timestamp,
    at: Span,
    /// What was there before is still going out.
    is_behind: bool,
    /// The latest time of the viewer that was given, and which of the source's it is.
    latest: Span,
    newest: Timestamp,
}

impl Playout {
    /// Begins with what is due at `from` on the source's timeline, of which more has come already.
    pub(super) const fn new(now: Instant, from: Timestamp) -> Self {
        let at = Span::ZERO;
        Self { since: now, from, at, is_behind: true, latest: at, newest: from }
    }

    /// Goes on at another place of the source; the viewer's time goes on as the clock on the wall does.
    pub(super) fn jump(&mut self, now: Instant, from: Timestamp) {
        let passed = now.saturating_duration_since(self.since);
        let at = (self.at + Span::from(passed)).max(self.latest + Span::from_ms(1));
        *self = Self { since: now, from, at, is_behind: true, latest: at, newest: from };
    }

    /// Whether what was there before is still going out.
    pub(super) const fn is_behind(&self) -> bool {
        self.is_behind
    }

    /// When what is to be shown at `pts` may go out.
    pub(super) fn due(&self, pts: Timestamp) -> Instant {
        if self.is_behind { self.since + (pts - self.from).duration() / RATE } else { self.since }
    }

    /// The viewer's time of what is to be shown at `pts`.
    pub(super) fn place(&mut self, pts: Timestamp) -> Span {
        let into = (pts - self.from).ticks();
        let into = if self.is_behind { into / i64::from(RATE) } else { into };
        let at = self.at + Span::from_ticks(into);
        if at > self.latest {
            (self.latest, self.newest) = (at, pts);
        }
        at
    }

    /// All that was there has gone out, `pts` last: from the newest of it on times are the source's. That may not be the last,
    /// where sound is late. The viewer's clock goes on as it was told of it, even if this comes late.
    pub(super) fn catch_up(&mut self, pts: Timestamp) {
        if self.is_behind {
            self.place(pts);
            let since = self.since + (self.latest - self.at).duration();
            let (from, at) = (self.newest, self.latest);
            *self = Self { since, from, at, is_behind: false, ..*self };
        }
    }

    /// When, on the wall, the viewer's time is `at`.
    pub(super) fn wall(&self, at: Span) -> Instant {
        let into = at - self.at;
        if into < Span::ZERO {
            self.since.checked_sub(into.abs().duration()).unwrap_or(self.since)
        } else {
            self.since + into.duration()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use thalweg_runtime as rt;

    const fn ms(ms: i64) -> Timestamp {
        Timestamp::from_ms(ms)
    }

    #[test]
    fn what_was_there_goes_out_four_times_as_fast_and_ends_now() {
        let now = rt::now();
        let mut playout = Playout::new(now, ms(10_000));
        assert_eq!(playout.due(ms(12_000)), now + Duration::from_millis(500));
        assert_eq!(playout.place(ms(12_000)), Span::from_ms(500));
        let later = now + Duration::from_millis(500);
        playout.catch_up(ms(12_000));
        assert!(!playout.is_behind());
        assert_eq!(playout.place(ms(12_040)), Span::from_ms(540));
        assert!(playout.due(ms(12_040)) <= later);
    }

    #[test]
    fn late_sound_that_comes_last_does_not_put_off_the_next_picture() {
        let now = rt::now();
        let mut playout = Playout::new(now, ms(10_000));
        let before = playout.wall(Span::from_ms(100));
        assert_eq!(playout.place(ms(11_000)), Span::from_ms(250));
        playout.catch_up(ms(10_700));
        assert_eq!(playout.place(ms(11_040)), Span::from_ms(290));
        assert_eq!(playout.place(ms(10_720)), Span::from_ms(-30));
        assert_eq!(playout.wall(Span::from_ms(100)), before);
        // Sound of before the first picture, and nothing else.
        let mut playout = Playout::new(now, ms(10_000));
        playout.catch_up(ms(9_600));
        assert_eq!(playout.place(ms(10_040)), Span::from_ms(40));
        assert_eq!(playout.wall(Span::from_ms(100)), before);
    }

    #[test]
    fn what_was_told_of_the_clock_before_stays_true() {
        let now = rt::now();
        let mut playout = Playout::new(now, ms(10_000));
        let before = playout.wall(Span::from_ms(100));
        // The last picture that was there goes out late.
        playout.catch_up(ms(12_000));
        assert_eq!(playout.wall(Span::from_ms(100)), before);
        assert_eq!(playout.place(ms(12_100)), Span::from_ms(600));
    }

    #[test]
    fn a_jump_goes_on_where_the_wall_clock_is_and_never_back() {
        let now = rt::now();
        let mut playout = Playout::new(now, ms(0));
        playout.catch_up(ms(0));
        assert_eq!(playout.place(ms(1_000)), Span::from_ms(1_000));
        playout.jump(now + Duration::from_millis(3_000), ms(2_000));
        assert_eq!(playout.place(ms(2_000)), Span::from_ms(3_000));
        playout.jump(now + Duration::from_millis(3_000), ms(2_000));
        assert_eq!(playout.place(ms(2_000)), Span::from_ms(3_001));
    }

    #[test]
    fn sound_and_pictures_have_one_clock_on_the_wall() {
        let now = rt::now();
        let mut playout = Playout::new(now, ms(0));
        playout.catch_up(ms(0));
        let picture = playout.place(ms(120));
        assert_eq!(playout.wall(picture), now + Duration::from_millis(120));
        let sound = playout.place(ms(60));
        assert_eq!(playout.wall(picture) - playout.wall(sound), Duration::from_millis(60));
    }
}
