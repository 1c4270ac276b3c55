//! The series of web hooks: calls by their result, how long they took, what waits to be told.

use super::family::{Histogram, Page, Values, float};
use crate::hooks::{Hook, LATENCY_BOUNDS_S, Stats};

impl Page {
    pub(super) fn hooks(&mut self, stats: &Stats) {
        let label = |hook: Hook| ("hook", hook.name().to_owned());
        let (mut calls, mut seconds) = (Vec::new(), Vec::new());
        for (hook, stats) in Hook::ALL.into_iter().zip(&stats.hooks) {
            for (result, count) in [
                ("accepted", stats.accepted),
                ("refused", stats.refused),
                ("failed", stats.failed),
                ("skipped", stats.skipped),
            ] {
                calls.push((vec![label(hook), ("result", result.to_owned())], float(count)));
            }
            let bounds = LATENCY_BOUNDS_S.into_iter().chain([f64::INFINITY]);
            let buckets: Vec<(f64, u64)> = bounds.zip(stats.latency.counts).collect();
            let count = stats.latency.counts.iter().sum::<u64>();
            let histogram = Histogram { sum: stats.latency.sum_s, count, buckets };
            seconds.push((vec![label(hook)], histogram));
        }
        self.add("thalweg_hook_calls", "Calls of web hooks.", Values::Counter(calls));
        let help = "How long calls of web hooks took until their answer or failure.";
        self.add("thalweg_hook_seconds", help, Values::Histogram(seconds));
        self.gauge(
            "thalweg_hook_queued",
            "Events that wait to be told.",
            float(stats.queued as u64),
        );
        let help = "URLs of web hooks that failed too often of late.";
        self.gauge("thalweg_hook_urls_left_alone", help, float(stats.open_breakers as u64));
        let help = "Attempts to tell an event after the first.";
        self.counter("thalweg_hook_retries", help, float(stats.retries));
        let help = "Events that were not told, since too many waited.";
        self.counter("thalweg_hook_dropped", help, float(stats.dropped));
        let help = "Events that were not told, since nobody answered.";
        self.counter("thalweg_hook_given_up", help, float(stats.given_up));
    }
}
