//! The latency that a link calls for, from its round trip and its loss.
//!
//! SRT's latency is the time in which a lost packet can be asked for and sent again, so it is counted in round
//! trips. The SRT Deployment Guide gives a multiplier by loss (3 up to 1 %, 4 up to 3 %, 5 up to 7 %, 6 up to
//! 10 %; no less than for a round trip of 20 ms; range 3 to 20). Those are the tries after which one packet
//! in a million is still missing: `multiplier = ⌈6 / −log₁₀ loss⌉`, which goes on where the table ends.
//! To that comes the time that reports wait for reordered packets ([`crate::reorder`]); and where packets were
//! dropped although the latency was enough by that count (loss in bursts), a quarter more than what is set.
//!
//! The latency of a connection is fixed in its handshake: the advice is for the next one, or for people.

use std::fmt;
use std::time::{Duration, Instant};

use thalweg_runtime::{WaitError, now, sleep};

use crate::libsrt::Socket;
use crate::stats::{Counters, Stats};

/// How long is looked at before each advice.
const WINDOW: Duration = Duration::from_secs(10);
/// Fewer packets in a window say nothing.
const MIN_PACKETS: u64 = 100;
/// Round trips below are taken for this (SRT Deployment Guide, "for RTT ≤ 20 ms").
const MIN_ROUND_TRIP: Duration = Duration::from_millis(20);
/// What the handshake can carry.
const MAX_LATENCY: Duration = Duration::from_millis(65_535);
/// Advice is given in steps.
const STEP_MS: u64 = 10;

/// What latency a link calls for, and why.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Advice {
    /// The latency that the link calls for, in steps of 10 ms.
    pub recommended: Duration,
    /// The latency in force.
    pub current: Duration,
    /// The longest round trip seen.
    pub round_trip: Duration,
    /// The share of packets lost on the way at first, 0 to 1.
    pub loss: f64,
    /// Round trips that the recommendation has room for.
    pub multiplier: u32,
    /// Packets that came too late or never.
    pub dropped_packets: u64,
}

impl Advice {
    /// Whether the latency in force will do.
    #[must_use]
    pub fn is_enough(&self) -> bool {
        self.current >= self.recommended
    }

    /// Whether this is news after `earlier`: another verdict, or a fifth more or less.
    fn differs(&self, earlier: &Self) -> bool {
        let apart = self.recommended.abs_diff(earlier.recommended);
        self.is_enough() != earlier.is_enough() || apart * 5 >= earlier.recommended
    }

    fn log(&self) {
        let recommended_ms = self.recommended.as_millis();
        let current_ms = self.current.as_millis();
        let round_trip_ms = self.round_trip.as_millis();
        let loss_percent = self.loss * 100.0;
        let dropped = self.dropped_packets;
        if self.is_enough() {
            tracing::info!(
                recommended_ms,
                current_ms,
                round_trip_ms,
                loss_percent,
                dropped,
                "latency is enough"
            );
        } else {
            tracing::warn!(
                recommended_ms,
                current_ms,
                round_trip_ms,
                loss_percent,
                dropped,
                "latency is too short for the link"
            );
        }
    }
}

impl fmt::Display for Advice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "recommended latency {} ms ({} round trips of {} ms at {:.1} % loss), in force {} ms",
            self.recommended.as_millis(),
            self.multiplier,
            self.round_trip.as_millis(),
            self.loss * 100.0,
            self.current.as_millis(),
        )
    }
}

/// Watches one connection and advises.
#[derive(Clone, Debug, Default)]
pub struct LatencyAdvisor {
    window: Option<Window>,
    advice: Option<Advice>,
}

/// What happened since the window began.
#[derive(Clone, Copy, Debug)]
struct Window {
    began: Instant,
    first: Counters,
    /// Retransmissions received, across clearings of the interval.
    retransmitted: u64,
    last_retransmitted: u64,
    longest_round_trip: Duration,
    most_tolerance: u64,
}

impl LatencyAdvisor {
    /// An advisor that knows nothing yet.
    #[must_use]
    pub const fn new() -> Self {
        Self { window: None, advice: None }
    }

    /// What is advised at present; `None` until ten seconds of traffic were seen.
    #[must_use]
    pub const fn advice(&self) -> Option<&Advice> {
        self.advice.as_ref()
    }

    /// Takes statistics of now, once a second or so. The result is an advice that differs from the last; it is
    /// logged too.
    pub fn update(&mut self, stats: &Stats, now: Instant) -> Option<Advice> {
        let window = self.window.get_or_insert_with(|| Window::new(stats, now));
        window.take(stats);
        if now.saturating_duration_since(window.began) < WINDOW {
            return None;
        }
        let window = std::mem::replace(window, Window::new(stats, now));
        let advice = window.advise(stats, now)?;
        if self.advice.is_some_and(|earlier| !advice.differs(&earlier)) {
            return None;
        }
        advice.log();
        self.advice = Some(advice);
        Some(advice)
    }
}

/// Watches a socket until the connection ends, logs each new advice and hands it to `on_change`.
///
/// # Suspends
///
/// Nearly always: it looks once a second.
///
/// # Errors
///
/// When the wait is cancelled or a deadline passes; the end of the connection is none.
pub fn watch_latency(socket: &Socket, mut on_change: impl FnMut(&Advice)) -> Result<(), WaitError> {
    let mut advisor = LatencyAdvisor::new();
    while let Ok(stats) = socket.stats() {
        if let Some(advice) = advisor.update(&stats, now()) {
            on_change(&advice);
        }
        sleep(Duration::from_secs(1))?;
    }
    Ok(())
}

impl Window {
    fn new(stats: &Stats, now: Instant) -> Self {
        Self {
            began: now,
            first: stats.total,
            retransmitted: 0,
            last_retransmitted: stats.interval.recv_retransmitted_packets,
            longest_round_trip: stats.now.round_trip,
            most_tolerance: stats.now.reorder_tolerance_packets,
        }
    }

    fn take(&mut self, stats: &Stats) {
        let retransmitted = stats.interval.recv_retransmitted_packets;
        // Somebody cleared the interval if it shrank; then all of it is new.
        self.retransmitted +=
            retransmitted.checked_sub(self.last_retransmitted).unwrap_or(retransmitted);
        self.last_retransmitted = retransmitted;
        self.longest_round_trip = self.longest_round_trip.max(stats.now.round_trip);
        self.most_tolerance = self.most_tolerance.max(stats.now.reorder_tolerance_packets);
    }

    fn advise(&self, stats: &Stats, now: Instant) -> Option<Advice> {
        let seen = stats.total.since(&self.first);
        let receives = seen.recv_unique_packets >= seen.sent_unique_packets;
        let (packets, lost, dropped, current) = if receives {
            let duplicates = seen.recv_packets.saturating_sub(seen.recv_unique_packets);
            let dropped = seen.recv_dropped_packets;
            let lost = self.retransmitted.saturating_sub(duplicates) + dropped;
            (seen.recv_unique_packets + dropped, lost, dropped, stats.now.recv_latency)
        } else {
            // A sender knows what it was asked for, reordering included.
            let sent = seen.sent_unique_packets;
            (sent, seen.retransmitted_packets, seen.send_dropped_packets, stats.now.send_latency)
        };
        if packets < MIN_PACKETS {
            return None;
        }
        let loss = ratio(lost, packets);
        let multiplier = multiplier(loss);
        let elapsed = now.saturating_duration_since(self.began);
        let tolerated = if receives { self.most_tolerance } else { 0 };
        let wait = elapsed.mul_f64(ratio(tolerated, packets));
        let mut wanted = self.longest_round_trip.max(MIN_ROUND_TRIP) * multiplier + wait;
        if dropped > 0 && current >= wanted {
            wanted = current + current / 4;
        }
        let recommended = in_steps(wanted.min(MAX_LATENCY));
        Some(Advice {
            recommended,
            current,
            round_trip: self.longest_round_trip,
            loss,
            multiplier,
            dropped_packets: dropped,
        })
    }
}

/// Tries until one packet in a million is missing, 3 to 20.
fn multiplier(loss: f64) -> u32 {
    let tries = 6.0 / -loss.clamp(1e-6, 0.99).log10();
    // The table's own values lie a hair beyond whole numbers: 3 % makes 3.94, 7 % makes 5.19.
    (3..20).find(|whole| tries <= f64::from(*whole) + 0.2).unwrap_or(20)
}

#[expect(clippy::cast_precision_loss, reason = "a share of packets; 2⁵³ packets are out of reach")]
fn ratio(part: u64, whole: u64) -> f64 {
    part as f64 / whole.max(1) as f64
}

fn in_steps(time: Duration) -> Duration {
    let ms = u64::try_from(time.as_micros().div_ceil(1000)).unwrap_or(u64::MAX);
    Duration::from_millis(ms.div_ceil(STEP_MS) * STEP_MS).min(MAX_LATENCY)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Link {
        stats: Stats,
        start: Instant,
        advisor: LatencyAdvisor,
    }

    impl Link {
        #[expect(clippy::disallowed_methods, reason = "the origin of a simulated clock")]
        fn new(round_trip_ms: u64, latency_ms: u64) -> Self {
            let mut stats = Stats::default();
            stats.now.round_trip = Duration::from_millis(round_trip_ms);
            stats.now.recv_latency = Duration::from_millis(latency_ms);
            stats.now.send_latency = Duration::from_millis(latency_ms);
            Self { stats, start: Instant::now(), advisor: LatencyAdvisor::new() }
        }

        /// So many seconds of 1000 packets received, of which `lost` came by retransmission only and
        /// `dropped` not at all; the news of that time.
        fn receive(&mut self, seconds: u64, lost: u64, dropped: u64) -> Vec<Advice> {
            let mut news = Vec::new();
            for _ in 0..seconds {
                let stats = &mut self.stats;
                stats.elapsed += Duration::from_secs(1);
                stats.total.recv_packets += 1000 - dropped;
                stats.total.recv_unique_packets += 1000 - dropped;
                stats.total.recv_dropped_packets += dropped;
                stats.interval.recv_retransmitted_packets += lost;
                news.extend(self.advisor.update(&self.stats, self.start + self.stats.elapsed));
            }
            news
        }
    }

    #[test]
    fn the_multiplier_is_the_guides() {
        let table = [
            (0.0, 3),
            (0.001, 3),
            (0.01, 3),
            (0.03, 4),
            (0.07, 5),
            (0.1, 6),
            (0.2, 9),
            (0.5, 20),
            (1.0, 20),
        ];
        for (loss, expected) in table {
            assert_eq!(multiplier(loss), expected, "{loss}");
        }
    }

    #[test]
    fn round_trip_and_loss_make_the_advice() {
        let mut link = Link::new(80, 120);
        let news = link.receive(12, 30, 0);
        let [advice] = *news else { panic!("{news:?}") };
        assert_eq!((advice.multiplier, advice.recommended), (4, Duration::from_millis(320)));
        assert!(!advice.is_enough());
        assert_eq!(
            advice.to_string(),
            "recommended latency 320 ms (4 round trips of 80 ms at 3.0 % loss), in force 120 ms"
        );
        assert_eq!(link.advisor.advice(), Some(&advice));
    }

    #[test]
    fn the_same_advice_is_given_once() {
        let mut link = Link::new(80, 500);
        assert_eq!(link.receive(100, 5, 0).len(), 1);
        link.stats.now.round_trip = Duration::from_millis(85);
        assert_eq!(link.receive(100, 5, 0).len(), 0);
        link.stats.now.round_trip = Duration::from_millis(200);
        assert_eq!(link.receive(100, 5, 0).len(), 1);
    }

    #[test]
    fn short_round_trips_count_as_twenty_milliseconds() {
        let mut link = Link::new(1, 120);
        assert_eq!(link.receive(12, 0, 0)[0].recommended, Duration::from_millis(60));
    }

    #[test]
    fn drops_despite_enough_latency_call_for_more() {
        let mut link = Link::new(20, 400);
        let news = link.receive(12, 0, 1);
        assert_eq!(news[0].recommended, Duration::from_millis(500));
        assert!(!news[0].is_enough());
    }

    #[test]
    fn duplicates_are_no_loss() {
        let mut link = Link::new(50, 120);
        link.receive(1, 0, 0);
        // Reordered packets, asked for in vain.
        link.stats.interval.recv_retransmitted_packets += 2000;
        link.stats.total.recv_packets += 2000;
        assert_eq!(link.receive(12, 0, 0)[0].multiplier, 3);
    }

    #[test]
    fn waiting_for_reordered_packets_comes_on_top() {
        let mut link = Link::new(50, 120);
        link.stats.now.reorder_tolerance_packets = 40;
        // 40 packets at 1000 a second.
        assert_eq!(link.receive(12, 0, 0)[0].recommended, Duration::from_millis(190));
    }

    #[test]
    fn a_sender_advises_too() {
        let mut link = Link::new(100, 120);
        let mut news = None;
        for second in 1..=12 {
            link.stats.total.sent_packets += 1070;
            link.stats.total.sent_unique_packets += 1000;
            link.stats.total.retransmitted_packets += 70;
            let at = link.start + Duration::from_secs(second);
            let advice = link.advisor.update(&link.stats, at);
            news = news.or(advice);
        }
        assert_eq!(news.map(|advice| advice.recommended), Some(Duration::from_millis(500)));
    }

    #[test]
    fn silence_says_nothing() {
        let mut link = Link::new(80, 120);
        for second in 1..60 {
            let at = link.start + Duration::from_secs(second);
            assert_eq!(link.advisor.update(&link.stats, at), None);
        }
    }
}
