//! Measuring inside a child process: repetitions of calibrated length, CPU per event, memory per
//! coroutine.
//!
//! Nothing here knows a contender; a [`Stopwatch`] is a plain state machine, so that coroutines,
//! futures and loops all drive the same code.

use std::cell::Cell;
use std::error::Error;
use std::fs;
use std::io;
use std::time::{Duration, Instant};

use crate::sys;

/// What a child is asked to do.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    /// The size of the case: coroutines or connections.
    pub(crate) n: usize,
    /// Samples to take.
    pub(crate) reps: usize,
    /// Length of one sample at least; the timer case takes one CPU sample in each.
    pub(crate) rep: Duration,
}

/// One figure of one repetition.
#[derive(Clone, Debug)]
pub(crate) struct Sample {
    pub(crate) unit: &'static str,
    pub(crate) value: f64,
}

/// What measuring a case on a contender gives; `block_on` of every contender returns it, so it owns
/// all.
pub(crate) type Outcome = Result<Vec<Sample>, Box<dyn Error + Send + Sync>>;

/// Wall time per operation.
pub(crate) const NS: &str = "ns";
/// CPU time of the process per operation.
pub(crate) const NS_CPU: &str = "ns cpu";
/// System calls of the server per request.
pub(crate) const SYSCALLS: &str = "syscalls/req";
/// Resident memory per parked coroutine.
pub(crate) const BYTES_RSS: &str = "B rss";
/// Page tables per parked coroutine.
pub(crate) const BYTES_PTE: &str = "B pte";
/// From when a message was due to when its reader had it: quantiles of one repetition.
pub(crate) const LATE_P50: &str = "us p50";
pub(crate) const LATE_P90: &str = "us p90";
pub(crate) const LATE_P99: &str = "us p99";
/// CPU time of the process, in per cent of one core.
pub(crate) const CPU: &str = "% cpu";
/// CPU time of the process's first thread, in per cent of one core.
pub(crate) const CPU_MAIN: &str = "% cpu main";
/// Threads of the process at the end.
pub(crate) const THREADS: &str = "threads";
/// Resident memory of the process at the end.
pub(crate) const MB_RSS: &str = "MB rss";
/// Packets sent again for each thousand sent.
pub(crate) const RESENT: &str = "resent/1000";
/// Packets that came too late or never, for each thousand sent.
pub(crate) const DROPPED: &str = "dropped/1000";

/// CPU time of the process, in microseconds for each second of a stream or a viewer.
pub(crate) const US_CPU: &str = "us cpu/s";
/// How often the first thread went to sleep.
pub(crate) const SLEEPS: &str = "wake-ups";
/// Resident memory for each viewer.
pub(crate) const KIB_RSS: &str = "KiB rss";
/// By how much resident memory grew.
pub(crate) const MB_GROWN: &str = "MB grown";

/// From an offer to the first picture on the screen: the middle and the worst of several.
pub(crate) const JOIN_P50: &str = "ms join p50";
pub(crate) const JOIN_MAX: &str = "ms join max";
/// From a picture's way into SRT to its place on the screen.
pub(crate) const SHOWN_P50: &str = "ms shown p50";
pub(crate) const SHOWN_P99: &str = "ms shown p99";

/// All of these.
pub(crate) const UNITS: [&str; 22] = [
    NS, NS_CPU, SYSCALLS, BYTES_RSS, BYTES_PTE, LATE_P50, LATE_P90, LATE_P99, CPU, CPU_MAIN,
    THREADS, MB_RSS, RESENT, DROPPED, US_CPU, SLEEPS, KIB_RSS, MB_GROWN, JOIN_P50, JOIN_MAX,
    SHOWN_P50, SHOWN_P99,
];

/// Finds a count that takes one repetition, then times `reps` repetitions of it.
#[derive(Debug)]
pub(crate) struct Stopwatch {
    plan: Plan,
    /// Operations in one count, e.g. the yields of all coroutines while one yields once.
    ops_per_count: usize,
    count: u64,
    calibrated: bool,
    started: Option<Instant>,
    samples: Vec<f64>,
}

impl Stopwatch {
    pub(crate) fn new(plan: Plan, ops_per_count: usize) -> Self {
        let samples = Vec::with_capacity(plan.reps);
        Self { plan, ops_per_count, count: 1, calibrated: false, started: None, samples }
    }

    /// Ends the running repetition and returns how often to do the work next; `None` when all is
    /// measured.
    #[inline(never)]
    pub(crate) fn next_count(&mut self) -> Option<u64> {
        if let Some(started) = self.started {
            self.record(started.elapsed());
        }
        if self.samples.len() >= self.plan.reps {
            return None;
        }
        self.started = Some(Instant::now());
        Some(self.count)
    }

    fn record(&mut self, elapsed: Duration) {
        if self.calibrated {
            let ops = self.count as f64 * self.ops_per_count as f64;
            self.samples.push(elapsed.as_nanos() as f64 / ops);
        } else if elapsed < self.plan.rep / 2 {
            self.count *= 2;
        } else {
            self.calibrated = true;
        }
    }

    /// Returns the samples, each divided by `share`: the operations that took place for each one
    /// expected.
    pub(crate) fn into_samples(self, unit: &'static str, share: f64) -> Vec<Sample> {
        self.samples.into_iter().map(|value| Sample { unit, value: value / share }).collect()
    }
}

/// Counts what the coroutines of a yield round do besides the one that holds the stopwatch.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// Coroutines that wait at their gates.
    pub(crate) gathered: Cell<usize>,
    pub(crate) stop: Cell<bool>,
    pub(crate) total: Cell<u64>,
}

impl Tally {
    pub(crate) fn gather(&self) {
        self.gathered.set(self.gathered.get() + 1);
    }

    pub(crate) fn add(&self, yields: u64) {
        self.total.set(self.total.get() + yields);
    }
}

/// Returns how many of `n` coroutines' yields took place for each that strict round robin would
/// give.
///
/// `own` are the yields of the coroutine that measured, `total` those of all.
pub(crate) fn round_robin_share(n: usize, own: u64, total: u64) -> f64 {
    total as f64 / (own as f64 * n as f64)
}

/// CPU time per event over windows, for events that other coroutines count.
#[derive(Debug)]
pub(crate) struct CpuWindow {
    cpu: Duration,
    events: u64,
}

impl CpuWindow {
    pub(crate) fn open(events: u64) -> Self {
        Self { cpu: sys::process_cpu(), events }
    }

    pub(crate) fn close(self, events: u64) -> Sample {
        let cpu = sys::process_cpu().saturating_sub(self.cpu);
        let events = events.saturating_sub(self.events).max(1);
        Sample { unit: NS_CPU, value: cpu.as_nanos() as f64 / events as f64 }
    }
}

/// Memory of this process as the kernel sees it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Memory {
    rss_bytes: u64,
    pte_bytes: u64,
}

impl Memory {
    pub(crate) fn now() -> io::Result<Self> {
        let status = fs::read_to_string("/proc/self/status")?;
        let kb = |name| Ok::<u64, io::Error>(status_field(&status, name)? * 1024);
        Ok(Self { rss_bytes: kb("VmRSS:")?, pte_bytes: kb("VmPTE:")? })
    }

    /// Returns what `n` coroutines added since `self`, for each of them.
    pub(crate) fn growth_per_coroutine(self, n: usize) -> io::Result<Vec<Sample>> {
        let now = Self::now()?;
        let per = |before: u64, after: u64| after.saturating_sub(before) as f64 / n as f64;
        Ok(vec![
            Sample { unit: BYTES_RSS, value: per(self.rss_bytes, now.rss_bytes) },
            Sample { unit: BYTES_PTE, value: per(self.pte_bytes, now.pte_bytes) },
        ])
    }
}

/// Returns the number in a line of `/proc/self/status`, without its unit.
pub(crate) fn status_field(status: &str, name: &str) -> io::Result<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let number = line.and_then(|rest| rest.split_whitespace().next()?.parse().ok());
    number.ok_or_else(|| io::Error::other(format!("/proc/self/status: no {name}")))
}

/// How often to look whether the coroutines of a case have started and wait.
pub(crate) const GATHERING: Duration = Duration::from_millis(1);
/// The deadline of a wait in the case `cond-deadline`.
pub(crate) const WAIT_LIMIT: Duration = Duration::from_secs(5);
/// Time for the sleepers of the timer case to spread before the first window.
pub(crate) const TIMER_WARM_UP: Duration = Duration::from_millis(1300);
/// The read buffer of an echo connection.
pub(crate) const ECHO_BUF_BYTES: usize = 1024;
