//! What the CPU takes for the operations that the ratios hang on.
//!
//! tokio pays for locked instructions, a yield of State Threads for the clock, every server for
//! system calls: where these cost something else, so do the ratios between the contenders.

use std::fs;
use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use crate::sys;

/// Returns one line: the CPU's name and the cost of a locked add, a clock read and a system call.
pub(crate) fn describe() -> String {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let field = |name| {
        let line = info.lines().find(|line| line.starts_with(name));
        line.and_then(|line| line.split(':').nth(1)).map_or("?", str::trim)
    };
    let (name, family, model) = (field("model name"), field("cpu family"), field("model\t"));
    let counter = AtomicU64::new(0);
    let add = best_ns(1_000_000, || counter.fetch_add(1, Ordering::AcqRel));
    let clock = best_ns(200_000, Instant::now);
    let call = best_ns(50_000, || sys::write(-1, &[]));
    format!(
        "This machine: {name}, family {family} model {model}; locked add {add:.1} ns, \
         clock read {clock:.1} ns, smallest system call {call:.0} ns."
    )
}

fn best_ns<T>(count: u32, f: impl Fn() -> T) -> f64 {
    let run = |_rep: i32| {
        let started = Instant::now();
        for _ in 0..count {
            drop(black_box(f()));
        }
        started.elapsed().as_nanos() as f64 / f64::from(count)
    };
    (0..5).map(run).fold(f64::INFINITY, f64::min)
}
