//! Adaptive reorder tolerance: keeps jitter from turning into retransmission storms.
//!
//! A receiver reports a gap in the sequence at once, unless its *reorder tolerance* says how many packets
//! shall follow first. libsrt moves that tolerance by itself, between 0 and `SRTO_LOSSMAXTTL`, and badly
//! (Haivision/srt #3341, #735). In `srtcore/core.cpp` of 1.5.1:
//!
//! - a caller starts at 0 whatever the option says, an accepted socket at the option's value (line 358);
//! - an original packet that comes late by more raises it to that distance, at most to the option (`unlose`);
//! - every 50 packets in order lower it by one, so between two gusts of jitter it is gone;
//! - setting the option *while connected* sets the tolerance itself to the new value (`setOpt`).
//!
//! [`ReorderController`] uses the last: it watches the statistics, sets the option to what the link needs, and
//! sets it again when libsrt has let it fall. It is pure: statistics and time go in, a value to set comes
//! out. [`hold_tolerance`] runs it for a socket.
//!
//! Waiting has a price, the delay of each report of a real loss. So the tolerance never exceeds what the
//! latency leaves beyond two round trips; where packets are dropped and loss outweighs reordering, it is
//! halved; and ten seconds without reordering turn it off. What it cannot prevent: libsrt's periodic reports
//! (`SRTO_NAKREPORT`) name every gap that is open when they are due, tolerated or not.

use std::time::{Duration, Instant};

use thalweg_runtime::{WaitError, now, sleep};

use crate::libsrt::Socket;
use crate::options::Options;
use crate::stats::Stats;

/// How long reordering is remembered, in two halves.
const HALF_MEMORY: Duration = Duration::from_secs(5);
/// The greatest tolerance unless set otherwise: 40 ms of 150 Mbit/s.
const DEFAULT_LIMIT: u32 = 512;

/// Finds the reorder tolerance for one receiving socket.
#[derive(Clone, Debug)]
pub struct ReorderController {
    /// The greatest tolerance ever set, in packets.
    limit: u32,
    /// The greatest tolerance that loss permits at present; moves down by halves and up by ones.
    ceiling: u32,
    /// What was set last.
    set: u32,
    last: Option<Sample>,
    /// The greatest distance seen in this half of the memory, and in the one before.
    newer_peak: u64,
    older_peak: u64,
    half_began: Option<Instant>,
}

/// Counters as they stood at one moment.
#[derive(Clone, Copy, Debug)]
struct Sample {
    at: Instant,
    unique: u64,
    duplicates: u64,
    gaps: u64,
    dropped: u64,
    /// Counts since the last clearing, by whomever.
    retransmitted: u64,
    distance: u64,
}

/// What happened between two samples.
#[derive(Clone, Copy, Debug)]
struct Change {
    time: Duration,
    unique: u64,
    dropped: u64,
    /// Packets that were lost indeed.
    lost: u64,
    /// Packets that were missed and then came by themselves.
    reordered: u64,
    distance_grew: bool,
}

impl Sample {
    fn of(stats: &Stats, at: Instant) -> Self {
        Self {
            at,
            unique: stats.total.recv_unique_packets,
            duplicates: stats.duplicate_packets(),
            gaps: stats.total.recv_loss_packets,
            dropped: stats.total.recv_dropped_packets,
            retransmitted: stats.interval.recv_retransmitted_packets,
            distance: stats.now.reorder_distance_packets,
        }
    }

    fn since(&self, earlier: &Self) -> Change {
        // Somebody cleared the interval in between if it shrank; then all of it is new.
        let retransmitted =
            self.retransmitted.checked_sub(earlier.retransmitted).unwrap_or(self.retransmitted);
        let duplicates = self.duplicates.saturating_sub(earlier.duplicates);
        let dropped = self.dropped.saturating_sub(earlier.dropped);
        // A retransmission of what was there already is a duplicate; the others filled a gap.
        let lost = retransmitted.saturating_sub(duplicates) + dropped;
        Change {
            time: self.at.saturating_duration_since(earlier.at),
            unique: self.unique.saturating_sub(earlier.unique),
            dropped,
            lost,
            reordered: self.gaps.saturating_sub(earlier.gaps).saturating_sub(lost),
            distance_grew: self.distance > earlier.distance,
        }
    }
}

impl ReorderController {
    /// A controller that never tolerates more than `limit` packets.
    #[must_use]
    pub const fn with_limit(limit: u32) -> Self {
        Self {
            limit,
            ceiling: limit,
            set: 0,
            last: None,
            newer_peak: 0,
            older_peak: 0,
            half_began: None,
        }
    }

    /// A controller that tolerates up to 512 packets.
    #[must_use]
    pub const fn new() -> Self {
        Self::with_limit(DEFAULT_LIMIT)
    }

    /// Takes statistics of now; the result is what `SRTO_LOSSMAXTTL` is to be set to, if anything.
    ///
    /// Called a few times a second. Clearing the statistics in between does no harm.
    pub fn update(&mut self, stats: &Stats, now: Instant) -> Option<u32> {
        let sample = Sample::of(stats, now);
        let change = self.last.replace(sample).map(|last| sample.since(&last))?;
        if change.unique == 0 {
            return None;
        }
        self.remember(&change, &sample);
        self.heed_loss(&change);
        let target = self.target(&change, stats);
        let tolerance = stats.now.reorder_tolerance_packets;
        // libsrt let it fall: an eighth is worth a call that takes three locks.
        let fell = target > 0 && tolerance + u64::from(target.div_ceil(8)) <= u64::from(target);
        if target == self.set && !fell {
            return None;
        }
        self.set = target;
        Some(target)
    }

    /// What was set last, in packets.
    #[must_use]
    pub const fn tolerance(&self) -> u32 {
        self.set
    }

    /// Distances count only with reordering that happened: libsrt's distance stands still without it.
    fn remember(&mut self, change: &Change, sample: &Sample) {
        let began = *self.half_began.get_or_insert(sample.at);
        if sample.at.saturating_duration_since(began) >= HALF_MEMORY {
            self.older_peak = std::mem::take(&mut self.newer_peak);
            self.half_began = Some(sample.at);
        }
        // A gap that opens in one interval is filled in the next: a tenth may be that.
        if change.distance_grew || change.reordered > change.lost / 10 {
            self.newer_peak = self.newer_peak.max(sample.distance);
        }
    }

    fn heed_loss(&mut self, change: &Change) {
        if change.dropped > 0 && change.lost > change.reordered {
            self.ceiling = (self.ceiling.min(self.set.max(2)) / 2).max(1);
        } else if change.dropped == 0 {
            self.ceiling = (self.ceiling + self.ceiling.div_ceil(64)).min(self.limit);
        }
    }

    /// A quarter above the distance seen, within what latency and loss permit.
    fn target(&self, change: &Change, stats: &Stats) -> u32 {
        let peak = self.newer_peak.max(self.older_peak);
        if peak == 0 {
            return 0;
        }
        let latency = stats.now.recv_latency;
        let spare = latency.saturating_sub(stats.now.round_trip * 2).max(latency / 10);
        // Without a latency (message and file mode) nothing is ever too late.
        let packets = if latency.is_zero() { u64::MAX } else { packets_in(change, spare) };
        let target = (peak + peak.div_ceil(4)).min(packets).min(self.ceiling.into());
        u32::try_from(target).unwrap_or(u32::MAX)
    }
}

impl Default for ReorderController {
    fn default() -> Self {
        Self::new()
    }
}

/// Holds the reorder tolerance of a receiving socket where the link needs it, until the connection ends.
/// Meant for a coroutine of its own beside the one that receives; 200 ms is a good interval.
///
/// # Suspends
///
/// Nearly always: it looks once an interval.
///
/// # Errors
///
/// When the wait is cancelled or a deadline passes; the end of the connection is none.
pub fn hold_tolerance(socket: &Socket, every: Duration) -> Result<(), WaitError> {
    let mut controller = ReorderController::new();
    loop {
        // Neither can fail but for a connection that ended.
        let Ok(stats) = socket.stats() else { return Ok(()) };
        if let Some(packets) = controller.update(&stats, now()) {
            tracing::debug!(packets, "reorder tolerance");
            if socket.set_options(&Options::changes().loss_max_ttl(packets)).is_err() {
                return Ok(());
            }
        }
        sleep(every)?;
    }
}

/// Packets that arrive in `time` at the present rate.
fn packets_in(change: &Change, time: Duration) -> u64 {
    let micros = change.time.as_micros().max(1);
    u64::try_from(u128::from(change.unique) * time.as_micros() / micros).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A link at 500 packets/s, and libsrt's receiver as far as it moves the statistics.
    struct Link {
        stats: Stats,
        start: Instant,
        controller: ReorderController,
        sets: Vec<u32>,
    }

    const STEP: Duration = Duration::from_millis(200);
    const PACKETS: u64 = 100;

    impl Link {
        #[expect(clippy::disallowed_methods, reason = "the origin of a simulated clock")]
        fn new() -> Self {
            let mut stats = Stats::default();
            stats.now.round_trip = Duration::from_millis(80);
            stats.now.recv_latency = Duration::from_millis(400);
            Self {
                stats,
                start: Instant::now(),
                controller: ReorderController::new(),
                sets: Vec::new(),
            }
        }

        /// One interval: `reordered` packets late by `distance`, `lost` packets, `dropped` of them for good.
        fn step(&mut self, reordered: u64, distance: u64, lost: u64, dropped: u64) {
            let stats = &mut self.stats;
            stats.elapsed += STEP;
            stats.total.recv_unique_packets += PACKETS - dropped;
            stats.total.recv_packets += PACKETS - dropped;
            stats.total.recv_loss_packets += reordered + lost;
            stats.total.recv_dropped_packets += dropped;
            stats.interval.recv_retransmitted_packets += lost - dropped;
            let tolerance = &mut stats.now.reorder_tolerance_packets;
            if reordered > 0 {
                stats.now.reorder_distance_packets =
                    stats.now.reorder_distance_packets.max(distance);
                if distance > *tolerance {
                    // Each was asked for although it was on its way.
                    stats.total.recv_packets += reordered;
                    stats.interval.recv_retransmitted_packets += reordered;
                    *tolerance = distance.min(self.controller.tolerance().into());
                }
            } else {
                // 100 packets in order: two steps down.
                let fall = (*tolerance).min(2);
                *tolerance -= fall;
                stats.now.reorder_distance_packets =
                    stats.now.reorder_distance_packets.saturating_sub(fall);
            }
            if let Some(set) = self.controller.update(&self.stats, self.start + self.stats.elapsed)
            {
                self.stats.now.reorder_tolerance_packets = set.into();
                self.sets.push(set);
            }
        }

        fn steps(&mut self, count: usize, reordered: u64, distance: u64, lost: u64, dropped: u64) {
            (0..count).for_each(|_| self.step(reordered, distance, lost, dropped));
        }
    }

    #[test]
    fn a_link_in_order_is_left_alone() {
        let mut link = Link::new();
        link.steps(100, 0, 0, 0, 0);
        assert!(link.sets.is_empty(), "{:?}", link.sets);
    }

    #[test]
    fn jitter_is_tolerated_and_no_longer_asked_for() {
        let mut link = Link::new();
        link.steps(2, 0, 0, 0, 0);
        link.steps(2, 5, 12, 0, 0);
        assert_eq!(link.controller.tolerance(), 15);
        let duplicates = link.stats.duplicate_packets();
        link.steps(50, 5, 12, 0, 0);
        assert_eq!(link.stats.duplicate_packets(), duplicates);
    }

    #[test]
    fn tolerance_that_libsrt_lets_fall_is_set_again() {
        let mut link = Link::new();
        link.steps(3, 5, 12, 0, 0);
        // Gusts of jitter, two seconds apart: libsrt alone would have fallen by 20.
        for _ in 0..10 {
            link.steps(10, 0, 0, 0, 0);
            assert!(link.stats.now.reorder_tolerance_packets >= 13);
            let duplicates = link.stats.duplicate_packets();
            link.step(5, 12, 0, 0);
            assert_eq!(link.stats.duplicate_packets(), duplicates);
        }
    }

    #[test]
    fn it_is_off_ten_seconds_after_the_last_jitter() {
        let mut link = Link::new();
        link.steps(5, 5, 12, 0, 0);
        link.steps(60, 0, 0, 0, 0);
        assert_eq!((link.controller.tolerance(), link.sets.last()), (0, Some(&0)));
        let sets = link.sets.len();
        link.steps(60, 0, 0, 0, 0);
        assert_eq!(link.sets.len(), sets);
    }

    #[test]
    fn loss_alone_is_reported_at_once() {
        let mut link = Link::new();
        link.steps(1, 3, 8, 0, 0);
        link.steps(60, 0, 0, 0, 0);
        // The distance of long ago still stands in the statistics.
        link.stats.now.reorder_distance_packets = 8;
        link.steps(1, 0, 0, 5, 0);
        link.sets.clear();
        link.steps(100, 0, 0, 5, 0);
        assert_eq!(link.sets.iter().max().copied().unwrap_or(0), 0);
    }

    #[test]
    fn where_loss_dominates_and_packets_are_dropped_it_backs_off() {
        let mut link = Link::new();
        link.steps(5, 5, 40, 2, 0);
        assert_eq!(link.controller.tolerance(), 50);
        link.steps(3, 2, 40, 20, 5);
        assert!(link.controller.tolerance() <= 50 / 8 + 1, "{:?}", link.sets);
        link.steps(20, 2, 40, 20, 5);
        assert_eq!(link.controller.tolerance(), 1);
        // And comes back when nothing is dropped any more.
        link.steps(300, 5, 40, 2, 0);
        assert_eq!(link.controller.tolerance(), 50);
    }

    #[test]
    fn waiting_leaves_time_for_two_round_trips() {
        let mut link = Link::new();
        link.steps(5, 5, 400, 0, 0);
        // 500 packets/s × (400 ms − 2 × 80 ms).
        assert_eq!(link.controller.tolerance(), 120);
        link.stats.now.round_trip = Duration::from_millis(300);
        link.steps(2, 5, 400, 0, 0);
        assert_eq!(link.controller.tolerance(), 20);
        link.stats.now.recv_latency = Duration::ZERO;
        link.steps(2, 5, 400, 0, 0);
        assert_eq!(link.controller.tolerance(), 500);
    }

    #[test]
    fn clearing_the_statistics_in_between_changes_nothing() {
        let run = |clear: bool| {
            let mut link = Link::new();
            for _ in 0..100 {
                link.step(5, 12, 3, 0);
                if clear {
                    link.stats.interval.recv_retransmitted_packets = 0;
                }
            }
            link.controller.tolerance()
        };
        assert_eq!(run(true), run(false));
        assert_eq!(run(true), 15);
    }

    #[test]
    fn the_limit_holds() {
        let mut link = Link::new();
        link.controller = ReorderController::with_limit(10);
        link.steps(20, 5, 12, 0, 0);
        assert_eq!(link.controller.tolerance(), 10);
    }
}
