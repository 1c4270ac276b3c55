//! Whether a connection ended because the peer closed it, or because the peer fell silent.
//!
//! libsrt reports both alike. But it gives a peer up only after the peer idle timeout without a single packet from
//! it. So where the peer was certainly heard less than that before the end, it was the peer that closed.
//! Certain is what a call can see: a message that was received, and acknowledgements, which are counted in
//! the statistics; the keepalives of a peer that has nothing else to send cannot be seen.
//!
//! The rest is the likelier of two: a peer that was lost while data went to and fro is given up about the idle timeout after the
//! last of it, so that is taken for silence; an end that comes much later, while nothing was to be
//! heard anyway, is taken for the peer's close.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::ffi::RawSocket;

/// What is known of when the peer was heard. Times are in milliseconds since the process began to use SRT.
#[derive(Debug)]
pub(super) struct Heard {
    last_ms: AtomicU64,
    /// When acknowledgements were counted last, and how many there were.
    counted_ms: AtomicU64,
    acks: AtomicU64,
}

/// How often acknowledgements are counted at most.
const COUNT_INTERVAL_MS: u64 = 1000;

/// However short the idle timeout, 17 timers of 300 ms and more have to expire (`CUDT::checkExpTimer` of 1.5.1).
const LEAST_IDLE: Duration = Duration::from_millis(5100);

/// How late timers and counts of acknowledgements may be, together.
const UNCERTAINTY: Duration = Duration::from_secs(3);

impl Heard {
    /// The peer was heard just now, when the connection was made.
    pub(super) fn new(now: Instant) -> Self {
        let now_ms = since_start_ms(now);
        Self {
            last_ms: AtomicU64::new(now_ms),
            counted_ms: AtomicU64::new(now_ms),
            acks: AtomicU64::new(0),
        }
    }

    /// Something was received.
    pub(super) fn received(&self, now: Instant) {
        self.last_ms.store(since_start_ms(now), Ordering::Relaxed);
    }

    /// Something was sent: looks now and then whether what was sent before is acknowledged.
    pub(super) fn sent(&self, now: Instant, raw: &RawSocket) {
        let now_ms = since_start_ms(now);
        let counted_ms = self.counted_ms.load(Ordering::Relaxed);
        if now_ms.saturating_sub(counted_ms) < COUNT_INTERVAL_MS {
            return;
        }
        let Ok(stats) = raw.stats(false, true) else { return };
        let acks = u64::try_from(stats.pktRecvACKTotal).unwrap_or(0);
        if self.acks.swap(acks, Ordering::Relaxed) != acks {
            // They came at some time since the last count.
            self.last_ms.fetch_max(counted_ms, Ordering::Relaxed);
        }
        self.counted_ms.store(now_ms, Ordering::Relaxed);
    }

    /// Whether it was the peer that closed the connection, which ended at `end`.
    pub(super) fn closed_by_peer(&self, idle: Duration, end: Instant) -> bool {
        let last_ms = self.last_ms.load(Ordering::Relaxed);
        let silence = Duration::from_millis(since_start_ms(end).saturating_sub(last_ms));
        silence < idle || silence > idle.max(LEAST_IDLE) + UNCERTAINTY
    }
}

fn since_start_ms(at: Instant) -> u64 {
    static START: OnceLock<Instant> = OnceLock::new();
    let since = at.saturating_duration_since(*START.get_or_init(|| at));
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_about_the_idle_timeout_after_the_last_packet_is_silence() {
        let start = thalweg_runtime::now();
        let heard = Heard::new(start);
        let last = start + Duration::from_secs(1);
        heard.received(last);
        let cases = [(0, true), (4, true), (5, false), (7, false), (10, true), (60, true)];
        for (silence_s, by_peer) in cases {
            let end = last + Duration::from_secs(silence_s);
            assert_eq!(heard.closed_by_peer(Duration::from_secs(5), end), by_peer, "{silence_s} s");
        }
    }
}
