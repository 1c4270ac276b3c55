//! What the system knows of this process.

#![expect(
    clippy::disallowed_methods,
    reason = "procfs answers from memory, and it is read on a thread for what blocks"
)]

use std::fs;
use std::io;
use std::time::Duration;

use nix::sys::resource::{Resource, UsageWho, getrlimit, getrusage};
use thalweg_runtime::blocking;

/// Figures of the process and of its system.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Process {
    /// CPU time that all its threads used.
    pub(super) cpu: Duration,
    pub(super) resident_bytes: u64,
    pub(super) virtual_bytes: u64,
    pub(super) threads: u64,
    pub(super) fds: u64,
    pub(super) fds_max: u64,
    /// Of the machine.
    pub(super) memory_bytes: u64,
    /// Runnable threads of the machine, on average over 1, 5 and 15 minutes.
    pub(super) load: [f64; 3],
    /// How long the machine runs.
    pub(super) uptime_s: f64,
}

impl Process {
    /// Asks the system. What it does not tell is 0.
    ///
    /// # Suspends
    ///
    /// Until a thread has asked.
    pub(super) fn look() -> io::Result<Self> {
        // Counting some ten thousand descriptors takes longer than a turn.
        Ok(blocking::run(Self::ask)?)
    }

    fn ask() -> Self {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
        let numbers = |path: &str| -> Vec<f64> {
            let text = fs::read_to_string(path).unwrap_or_default();
            text.split_whitespace().map_while(|number| number.parse().ok()).collect()
        };
        let load = numbers("/proc/loadavg");
        let load = [0, 1, 2].map(|at| load.get(at).copied().unwrap_or_default());
        Self {
            cpu: cpu_time(),
            resident_bytes: 1024 * field(&status, "VmRSS:"),
            virtual_bytes: 1024 * field(&status, "VmSize:"),
            threads: field(&status, "Threads:"),
            fds: fs::read_dir("/proc/self/fd").map_or(0, |fds| fds.count() as u64),
            fds_max: getrlimit(Resource::RLIMIT_NOFILE).map_or(0, |(soft, _)| soft),
            memory_bytes: 1024 * field(&memory, "MemTotal:"),
            load,
            uptime_s: numbers("/proc/uptime").first().copied().unwrap_or_default(),
        }
    }
}

fn cpu_time() -> Duration {
    let Ok(usage) = getrusage(UsageWho::RUSAGE_SELF) else { return Duration::ZERO };
    [usage.user_time(), usage.system_time()].into_iter().fold(Duration::ZERO, |sum, time| {
        let seconds = u64::try_from(time.tv_sec()).unwrap_or_default();
        let micros = u64::try_from(time.tv_usec()).unwrap_or_default();
        sum + Duration::from_secs(seconds) + Duration::from_micros(micros)
    })
}

/// The number behind a name at the beginning of a line (proc(5)).
fn field(text: &str, name: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_system_knows_this_process() {
        let process = Process::ask();
        assert!(process.resident_bytes > 1 << 20, "{process:?}");
        assert!(process.virtual_bytes > process.resident_bytes, "{process:?}");
        assert!(process.memory_bytes > process.resident_bytes, "{process:?}");
        assert!(
            process.threads >= 1 && process.fds >= 3 && process.fds_max >= process.fds,
            "{process:?}"
        );
        assert!(process.uptime_s > 0.0, "{process:?}");
    }
}
