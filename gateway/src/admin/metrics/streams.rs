//! Series of streams: those within the bound each have their own, all beyond are added up as `other`.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::family::{Labels, Page, Values, float};
use crate::admin::Admin;
use crate::hub::{Client, Source, SourceState};

/// Under which name those beyond the bound are added up. No stream has it, since the names of streams have a slash.
const OTHER: &str = "other";

/// What is told of a stream, or of many.
#[derive(Clone, Copy, Debug, Default)]
struct Sum {
    live: f64,
    clients: f64,
    frames: f64,
    received: f64,
    sent: f64,
    skips: f64,
    jumps: f64,
    ring_bytes: f64,
    ring_seconds: f64,
}

/// What is told of a feed, or of many.
#[derive(Clone, Copy, Debug, Default)]
struct FeedSum {
    readers: f64,
    ring_bytes: f64,
    lag_seconds: f64,
}

type Family = (&'static str, &'static str, bool, fn(&Sum) -> f64);

/// Names, what they mean, whether they count up, and where they come from.
const FAMILIES: [Family; 9] = [
    ("live", "Whether somebody publishes it.", false, |sum| sum.live),
    ("clients", "Who publishes and plays it.", false, |sum| sum.clients),
    ("frames", "Pictures that came in.", true, |sum| sum.frames),
    ("receive_bytes", "Bytes from its publishers.", true, |sum| sum.received),
    ("send_bytes", "Bytes to its players.", true, |sum| sum.sent),
    ("skips", "How often players were too slow and skipped.", true, |sum| sum.skips),
    ("time_jumps", "Jumps of its times.", true, |sum| sum.jumps),
    ("ring_bytes", "Bytes kept of it.", false, |sum| sum.ring_bytes),
    ("ring_seconds", "Media time kept of it.", false, |sum| sum.ring_seconds),
];

impl Page {
    /// The series of `sources`, of which the first `most` have their own.
    pub(super) fn streams(
        &mut self,
        admin: &Admin,
        sources: &[Rc<Source>],
        clients: &[Rc<Client>],
        most: usize,
    ) {
        let left_out = sources.len().saturating_sub(most);
        let help = "Streams that are added up as `other`.";
        self.gauge("thalweg_streams_left_out", help, float(left_out as u64));
        let label = |at: usize, source: &Source| {
            if at < most { source.key().to_string() } else { OTHER.to_owned() }
        };
        let mut sums = BTreeMap::<String, Sum>::new();
        let shares = admin.shares();
        for (at, source) in sources.iter().enumerate() {
            let share = shares.get(source.key()).copied().unwrap_or_default();
            let (sent, skips) = source.gone();
            let (bytes, span) = source.fill();
            let sum = sums.entry(label(at, source)).or_default();
            sum.live += f64::from(u8::from(source.state() == SourceState::Live));
            sum.clients += float(share.clients as u64);
            sum.frames += float(source.frames());
            sum.received += float(source.received());
            sum.sent += float(sent + share.sent);
            sum.skips += float(skips + share.skips);
            sum.jumps += float(source.jumps());
            sum.ring_bytes += float(bytes as u64);
            sum.ring_seconds += span.duration().as_secs_f64();
        }
        for (name, help, counts_up, of) in FAMILIES {
            let values = sums.iter();
            let values =
                values.map(|(stream, sum)| (vec![("stream", stream.clone())], of(sum))).collect();
            let values = if counts_up { Values::Counter(values) } else { Values::Gauge(values) };
            self.add(&format!("thalweg_stream_{name}"), help, values);
        }
        let labels: BTreeMap<_, _> = sources
            .iter()
            .enumerate()
            .map(|(at, source)| (source.key().clone(), label(at, source)))
            .collect();
        self.demux(sources, most);
        self.feeds(sources, clients, &labels);
    }

    /// What taking streams apart has counted, for those that have series of their own.
    fn demux(&mut self, sources: &[Rc<Source>], most: usize) {
        let mut families = BTreeMap::<&'static str, Vec<(Labels, f64)>>::new();
        for source in sources.iter().take(most) {
            for (name, value) in source.detail() {
                let labels = vec![("stream", source.key().to_string())];
                families.entry(name).or_default().push((labels, value));
            }
        }
        for (name, values) in families {
            let help = "What taking the stream apart has counted.";
            self.add(&format!("thalweg_stream_{name}"), help, Values::Counter(values));
        }
    }

    fn feeds(
        &mut self,
        sources: &[Rc<Source>],
        clients: &[Rc<Client>],
        labels: &BTreeMap<crate::key::StreamKey, String>,
    ) {
        let mut sums = BTreeMap::<(String, &str, String), FeedSum>::new();
        for source in sources {
            for feed in source.feeds() {
                let stream = labels.get(source.key()).cloned().unwrap_or_default();
                let tracks = format!("{:?}", feed.select).to_lowercase();
                let sum = sums.entry((stream, feed.name, tracks)).or_default();
                sum.readers += float(feed.readers as u64);
                sum.ring_bytes += float(feed.bytes as u64);
            }
        }
        for client in clients {
            let Some(lag) = client.lag().and_then(|lag| lag.now()) else { continue };
            let seconds = lag.span.duration().as_secs_f64();
            let stream = client.key().and_then(|key| labels.get(&key).cloned()).unwrap_or_default();
            let tracks = format!("{:?}", lag.select).to_lowercase();
            if let Some(sum) = sums.get_mut(&(stream, lag.format, tracks)) {
                sum.lag_seconds = sum.lag_seconds.max(seconds);
            }
        }
        let of = |value: fn(&FeedSum) -> f64| {
            let values = sums.iter().map(|((stream, format, tracks), sum)| {
                let labels = vec![
                    ("stream", stream.clone()),
                    ("format", (*format).to_owned()),
                    ("tracks", tracks.clone()),
                ];
                (labels, value(sum))
            });
            Values::Gauge(values.collect())
        };
        let lag = "How far the slowest player of a format is behind.";
        self.add("thalweg_feed_readers", "Players of a format.", of(|sum| sum.readers));
        self.add("thalweg_feed_ring_bytes", "Bytes kept of a format.", of(|sum| sum.ring_bytes));
        self.add("thalweg_feed_lag_seconds", lag, of(|sum| sum.lag_seconds));
    }
}
