//! What is counted and timed in the SRT cases, whoever receives or sends.

use std::fs;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::child::write_note;
use crate::measure::{
    CPU, CPU_MAIN, LATE_P50, LATE_P90, LATE_P99, MB_RSS, Outcome, Plan, Sample, THREADS,
    status_field,
};
use crate::sys;

/// What one socket has received or sent. One each, so that threads do not meet at a lock.
#[derive(Debug, Default)]
pub(crate) struct Log {
    messages: AtomicU64,
    late_us: Mutex<Vec<i64>>,
}

impl Log {
    /// Counts a message that has just been got, `late_us` microseconds after it was due.
    #[inline]
    pub(crate) fn received(&self, late_us: i64) {
        self.sent();
        self.late_us.lock().unwrap_or_else(PoisonError::into_inner).push(late_us);
    }

    /// Counts a message.
    #[inline]
    pub(crate) fn sent(&self) {
        self.messages.fetch_add(1, Ordering::Relaxed);
    }
}

/// The logs of all sockets.
#[derive(Clone, Debug)]
pub(crate) struct Logs(Vec<Arc<Log>>);

impl Logs {
    pub(crate) fn new(sockets: usize) -> Self {
        Self((0..sockets).map(|_index| Arc::default()).collect())
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<Log>> {
        self.0.iter()
    }

    /// Takes out what has been logged: the number of messages, and the lateness of each in order.
    fn take(&self) -> (u64, Vec<i64>) {
        let mut late_us = Vec::new();
        let mut messages = 0;
        for log in &self.0 {
            messages += log.messages.swap(0, Ordering::Relaxed);
            late_us.append(&mut log.late_us.lock().unwrap_or_else(PoisonError::into_inner));
        }
        late_us.sort_unstable();
        (messages, late_us)
    }
}

/// Warms up, then measures the repetitions of a plan. `pass` lets the time go by.
///
/// `spacing` is the time between two messages of a socket; without one, none are expected.
pub(crate) fn windows(
    plan: Plan,
    spacing: Option<Duration>,
    logs: &Logs,
    mut pass: impl FnMut(Duration) -> io::Result<()>,
) -> Outcome {
    pass(WARM_UP)?;
    let mut samples = Vec::new();
    for _ in 0..plan.reps {
        let _before = logs.take();
        let (cpu, main, start) = (sys::process_cpu(), main_thread_cpu()?, Instant::now());
        pass(plan.rep)?;
        let wall = start.elapsed().as_secs_f64();
        let per_cent = |used: Duration| used.as_secs_f64() / wall * 100.0;
        samples.push(Sample { unit: CPU, value: per_cent(sys::process_cpu() - cpu) });
        samples.push(Sample { unit: CPU_MAIN, value: per_cent(main_thread_cpu()? - main) });
        let (messages, late_us) = logs.take();
        if let Some(spacing) = spacing {
            let expected = wall / spacing.as_secs_f64() * plan.n as f64;
            note_missing(messages as f64 / expected);
        }
        if !late_us.is_empty() {
            samples.extend(quantiles(&late_us));
        }
    }
    samples.extend(footprint()?);
    Ok(samples)
}

fn note_missing(share: f64) {
    if share < 0.95 {
        write_note(&format!("only {:.0} % of the messages came through", share * 100.0));
    }
}

fn quantiles(sorted_us: &[i64]) -> [Sample; 3] {
    [(LATE_P50, 50), (LATE_P90, 90), (LATE_P99, 99)].map(|(unit, per_cent)| {
        let value = sorted_us[(sorted_us.len() - 1) * per_cent / 100];
        Sample { unit, value: value as f64 }
    })
}

fn footprint() -> io::Result<[Sample; 2]> {
    let status = fs::read_to_string("/proc/self/status")?;
    let threads = status_field(&status, "Threads:")?;
    let rss_kb = status_field(&status, "VmRSS:")?;
    Ok([
        Sample { unit: THREADS, value: threads as f64 },
        Sample { unit: MB_RSS, value: rss_kb as f64 / 1024.0 },
    ])
}

/// CPU time of the first thread, on which the runtime runs.
fn main_thread_cpu() -> io::Result<Duration> {
    let stat = fs::read_to_string(format!("/proc/self/task/{}/schedstat", std::process::id()))?;
    let first = stat.split_whitespace().next().and_then(|field| field.parse().ok());
    first.map(Duration::from_nanos).ok_or_else(|| io::Error::other("schedstat has no CPU time"))
}

/// From the last connection on: libsrt's threads have started and the flow is even.
const WARM_UP: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::{Logs, quantiles};

    #[test]
    fn quantiles_are_of_all_sockets_together() {
        let logs = Logs::new(2);
        for (log, first) in logs.iter().zip([0, 50]) {
            log.messages.store(50, std::sync::atomic::Ordering::Relaxed);
            log.late_us.lock().unwrap().extend(first..first + 50);
        }
        let (messages, late_us) = logs.take();
        assert_eq!(messages, 100);
        assert_eq!(quantiles(&late_us).map(|sample| sample.value), [49.0, 89.0, 98.0]);
        assert_eq!(logs.take(), (0, Vec::new()));
    }
}
