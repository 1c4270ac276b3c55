//! Whether the way to a viewer carries what is sent to it, by what its feedback tells: round trips and losses of packets
//! (draft-holmer-rmcat-transport-wide-cc-extensions-01), or those of reports (RFC 3550 §6.4) where there is no other.
//!
//! What waits in front of a bottleneck makes the round trip longer than it is at its least. Where less gets through than
//! comes, that grows, and once the queue is full packets are lost. The stack's own estimate is not used: it comes only with
//! its pacer, which asks to be called for each packet, and with padding that takes of the link what it looks for.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

/// What is known of the way to one viewer.
#[derive(Debug, Default)]
pub(super) struct Link {
    least: Option<Least>,
    /// What was told last: the same again is nothing new.
    last: Option<(Option<Duration>, Option<f32>)>,
    /// The latest, oldest first.
    readings: VecDeque<Reading>,
    /// How many bytes had been sent, over the second to which a share of losses refers.
    sent: VecDeque<(Instant, u64)>,
}

/// The link does not carry what is sent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Strain {
    /// For how long a packet waits on the way.
    pub(super) queue: Duration,
    /// The share of packets that are lost.
    pub(super) loss: f64,
    /// The share of what is sent that gets through.
    pub(super) carried: f64,
    /// How much that is, in bits a second.
    pub(super) carried_bps: f64,
}

#[derive(Clone, Copy, Debug)]
struct Reading {
    at: Instant,
    queue: Duration,
    loss: f64,
}

/// The shortest round trip of the last minute or two, as routes change.
#[derive(Clone, Copy, Debug)]
struct Least {
    since: Instant,
    now: Duration,
    before: Duration,
}

/// So many readings in a row say the same before it is believed; a large picture alone fills a queue for a moment.
const READINGS: usize = 4;

/// So many are enough where the queue is long and overflows: of what is sent more, pictures are made no more.
const ACUTE: usize = 2;

/// A queue as long as this is noticed.
const QUEUE: Duration = Duration::from_millis(150);

/// As long as this it is too long, also where it grows slowly.
const LONG_QUEUE: Duration = Duration::from_millis(400);

/// Shorter than this a queue is as good as empty. Feedback comes every 50 to 250 ms, and is not more exact.
const SHORT_QUEUE: Duration = Duration::from_millis(80);

/// With so much lost the link does not carry the stream, whatever the reason.
const LOSSY: f64 = 0.25;

/// Where so little gets through, that is clearly less than is sent.
const CLEARLY_LESS: f64 = 0.9;

/// For how long the shortest round trip is remembered at least.
const REMEMBER: Duration = Duration::from_secs(60);

impl Link {
    /// What feedback told at that time, when so many bytes had been sent.
    pub(super) fn note(
        &mut self,
        at: Instant,
        rtt: Option<Duration>,
        loss: Option<f32>,
        sent: u64,
    ) {
        if self.last.replace((rtt, loss)) == Some((rtt, loss)) {
            return;
        }
        let queue = rtt.map_or(Duration::ZERO, |rtt| {
            let least = self.least.get_or_insert(Least { since: at, now: rtt, before: rtt });
            least.note(at, rtt);
            rtt.saturating_sub(least.value())
        });
        if self.readings.len() == READINGS {
            self.readings.pop_front();
        }
        let loss = loss.map_or(0.0, f64::from);
        self.readings.push_back(Reading { at, queue, loss });
        if self.sent.len() > READINGS {
            self.sent.pop_front();
        }
        self.sent.push_back((at, sent));
    }

    /// For how long packets wait on the way, as far as is known.
    pub(super) fn queue(&self) -> Option<Duration> {
        self.readings.back().map(|reading| reading.queue)
    }

    /// Whether it has kept carrying less than was sent.
    pub(super) fn strain(&self) -> Option<Strain> {
        let (first, last) = (self.readings.front()?, self.readings.back()?);
        let is_acute =
            self.readings.len() >= ACUTE && self.readings.iter().rev().take(ACUTE).all(overflows);
        if self.readings.len() < READINGS && !is_acute {
            return None;
        }
        let queue = self.readings.iter().map(|it| it.queue).min()?;
        let loss = self.readings.iter().map(|it| it.loss).fold(1.0, f64::min);
        let passed = last.at.saturating_duration_since(first.at).as_secs_f64().max(1e-3);
        let growth = (last.queue.as_secs_f64() - first.queue.as_secs_f64()) / passed;
        let carried = (1.0 - last.loss) * (1.0 - growth).clamp(0.0, 1.0);
        let is_long = queue >= LONG_QUEUE && growth > CLEARLY_LESS - 1.0;
        let is_short_of = |least| queue >= least && carried <= CLEARLY_LESS;
        let loses = queue >= SHORT_QUEUE && loss >= 1.0 - CLEARLY_LESS;
        let is_strained = is_acute || is_long || is_short_of(QUEUE) || loses || loss >= LOSSY;
        let (queue, loss, carried_bps) = (last.queue, last.loss, self.sent_bps() * carried);
        is_strained.then_some(Strain { queue, loss, carried, carried_bps })
    }

    #[expect(clippy::cast_precision_loss, reason = "a rate; 2^53 bytes are far")]
    fn sent_bps(&self) -> f64 {
        let ends = self.sent.front().zip(self.sent.back());
        ends.map_or(0.0, |(&(since, before), &(now, sent))| {
            let passed = now.saturating_duration_since(since).as_secs_f64().max(1e-3);
            sent.saturating_sub(before) as f64 * 8.0 / passed
        })
    }

    /// Whether more at once would only wait on the way.
    pub(super) fn is_loaded(&self) -> bool {
        let is_loaded = |it: &Reading| it.queue >= QUEUE || it.loss >= 1.0 - CLEARLY_LESS;
        self.readings.back().is_some_and(is_loaded)
    }

    /// Whether what waited on the way has arrived, when nothing more was sent since `at`.
    pub(super) fn is_drained(&self, at: Instant) -> bool {
        self.readings.back().is_none_or(|it| {
            it.queue.saturating_sub(at.saturating_duration_since(it.at)) < SHORT_QUEUE
        })
    }

    /// Something else is sent from now on: what was before says nothing of it.
    pub(super) fn restart(&mut self) {
        self.readings.clear();
    }

    /// The present round trip is what the way takes, however little is sent: others fill it, or it is another way.
    pub(super) fn accept(&mut self) {
        self.least = None;
        self.readings.clear();
    }
}

fn overflows(reading: &Reading) -> bool {
    reading.queue >= SHORT_QUEUE && reading.loss >= LOSSY
}

impl Least {
    fn note(&mut self, at: Instant, rtt: Duration) {
        if at.saturating_duration_since(self.since) >= REMEMBER {
            *self = Self { since: at, now: rtt, before: self.now };
        }
        self.now = self.now.min(rtt);
    }

    fn value(&self) -> Duration {
        self.now.min(self.before)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use thalweg_runtime as rt;

    /// Every 250 ms a round trip and a share that is lost; whether and when it is strained first.
    fn strained_at(readings: impl IntoIterator<Item = (u64, f32)>) -> Option<usize> {
        let (mut link, begun) = (Link::default(), rt::now());
        readings.into_iter().enumerate().position(|(index, (rtt_ms, loss))| {
            // No two round trips are the same to the nanosecond.
            let rtt = Duration::from_millis(rtt_ms) + Duration::from_nanos(index as u64);
            let at = begun + Duration::from_millis(250) * u32::try_from(index).unwrap();
            link.note(at, Some(rtt), Some(loss), 0);
            link.strain().is_some()
        })
    }

    #[test]
    fn a_queue_that_grows_is_noticed_within_two_seconds() {
        // 4/5 of the stream get through: 50 ms more every 250 ms.
        let at = strained_at((0..20).map(|n| (20 + 50 * n, 0.0))).unwrap();
        assert!(at <= 8, "at the {at}th reading");
    }

    #[test]
    fn a_queue_that_is_full_and_loses_is_noticed() {
        let readings = [(20, 0.0), (150, 0.0), (220, 0.1)].into_iter();
        let at = strained_at(readings.chain([(220, 0.3); 10])).unwrap();
        assert!(at <= 4, "at the {at}th reading");
        // A short one too.
        assert!(strained_at([(20, 0.0)].into_iter().chain([(110, 0.15); 10])).is_some());
    }

    #[test]
    fn a_queue_that_grows_slowly_is_noticed_when_it_is_long() {
        let at = strained_at((0..200).map(|n| (20 + 10 * n, 0.0))).unwrap();
        assert!((35..50).contains(&at), "at the {at}th reading");
    }

    #[test]
    fn large_pictures_and_others_on_the_same_way_are_no_strain() {
        // A random-access point every second fills the queue for half of it.
        let pictures = [20, 300, 180, 40].into_iter().cycle().take(200);
        assert_eq!(strained_at(pictures.map(|rtt| (rtt, 0.0))), None);
        // Somebody else's download keeps it filled; that costs nobody else anything.
        let download =
            [20, 20].into_iter().chain([260, 240, 250, 245].into_iter().cycle().take(99));
        assert_eq!(strained_at(download.map(|rtt| (rtt, 0.0))), None);
        // Losses of a radio link, which are sent again.
        assert_eq!(
            strained_at([(20, 0.08), (35, 0.05), (25, 0.12)].into_iter().cycle().take(99)),
            None
        );
        // What was there before a viewer came goes out fast, and drains.
        assert_eq!(strained_at((0..8).map(|n| (1_000 - 125 * n, 0.0))), None);
    }

    #[test]
    fn much_loss_alone_is_strain() {
        assert_eq!(strained_at((0..10).map(|n| (20 + n % 3, 0.3))), Some(3));
    }

    #[test]
    fn the_same_again_is_nothing_new() {
        let (mut link, begun) = (Link::default(), rt::now());
        for n in 0..10 {
            link.note(
                begun + n * Duration::from_millis(250),
                Some(Duration::from_millis(20)),
                Some(0.9),
                0,
            );
        }
        assert_eq!(link.strain(), None);
    }

    #[test]
    fn a_queue_drains_while_nothing_is_sent() {
        let (mut link, begun) = (Link::default(), rt::now());
        link.note(begun, Some(Duration::from_millis(20)), None, 0);
        link.note(begun, Some(Duration::from_millis(320)), None, 0);
        assert!(!link.is_drained(begun + Duration::from_millis(100)));
        assert!(link.is_drained(begun + Duration::from_millis(230)));
    }

    #[test]
    fn a_longer_way_is_accepted_after_a_while() {
        let (mut link, begun) = (Link::default(), rt::now());
        link.note(begun, Some(Duration::from_millis(20)), None, 0);
        let longer = |n: u64| Some(Duration::from_millis(200) + Duration::from_nanos(n));
        for n in 0..130 {
            link.note(begun + Duration::from_secs(n), longer(n), None, 0);
        }
        assert!(link.queue() < Some(Duration::from_millis(1)));
    }
}
