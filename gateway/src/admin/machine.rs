//! What the system knows of the machine, and of this process in it, for those parts of SRS's API that show it.

#![expect(
    clippy::disallowed_methods,
    reason = "procfs answers from memory, and it is read on a thread for what blocks"
)]

use std::cell::Cell;
use std::fs;
use std::io;
use std::time::{Duration, Instant};

use thalweg_runtime::{self as rt, blocking};

/// Texts of proc(5), read together.
#[derive(Clone, Debug, Default)]
pub(super) struct Machine {
    stat: String,
    self_stat: String,
    meminfo: String,
    net_dev: String,
    sockstat: String,
    snmp: String,
    vmstat: String,
    diskstats: String,
}

/// Ticks of all processors: the columns of the first line of `/proc/stat`.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Ticks {
    pub(super) user: u64,
    pub(super) nice: u64,
    pub(super) system: u64,
    pub(super) idle: u64,
    pub(super) iowait: u64,
    pub(super) irq: u64,
    pub(super) softirq: u64,
    pub(super) steal: u64,
    pub(super) guest: u64,
}

/// Bytes that went through the interfaces.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Traffic {
    pub(super) received: u64,
    pub(super) sent: u64,
}

/// Sockets of the machine.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sockets {
    pub(super) tcp: u64,
    pub(super) established: u64,
    pub(super) time_wait: u64,
    pub(super) udp: u64,
}

/// What changed between two looks.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Shares {
    /// Of the time of all processors, 0 to 1.
    pub(super) machine_cpu: f64,
    /// Of the time of one processor, 1 for each that was used whole.
    pub(super) process_cpu: f64,
    /// KiB a second that came from disks,
    pub(super) disk_read_kib_per_s: f64,
    /// and that went there.
    pub(super) disk_write_kib_per_s: f64,
    /// Of the time that the busiest disk was at work, 0 to 1.
    pub(super) disk_busy: f64,
}

/// The last look that was old enough, and what had changed by then.
#[derive(Debug, Default)]
pub(super) struct Looks {
    last: Cell<Option<Counts>>,
    shares: Cell<Shares>,
}

#[derive(Clone, Copy, Debug)]
struct Counts {
    at: Instant,
    ticks_busy: u64,
    ticks: u64,
    own_ticks: u64,
    paged_in_kib: u64,
    paged_out_kib: u64,
    disk_busy_ms: u64,
}

/// The least time between two looks that are compared.
const APART: Duration = Duration::from_secs(1);

/// Ticks in a second for programs, on every machine (`USER_HZ` of proc(5)).
const TICKS_PER_S: f64 = 100.0;

impl Machine {
    /// Asks the system. What it does not tell is empty, or 0.
    ///
    /// # Suspends
    ///
    /// Until a thread has asked.
    pub(super) fn look() -> io::Result<Self> {
        Ok(blocking::run(|| {
            let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
            Self {
                stat: read("/proc/stat"),
                self_stat: read("/proc/self/stat"),
                meminfo: read("/proc/meminfo"),
                net_dev: read("/proc/net/dev"),
                sockstat: read("/proc/net/sockstat"),
                snmp: read("/proc/net/snmp"),
                vmstat: read("/proc/vmstat"),
                diskstats: read("/proc/diskstats"),
            }
        })?)
    }

    pub(super) fn ticks(&self) -> Ticks {
        let line = self.stat.lines().find_map(|line| line.strip_prefix("cpu ")).unwrap_or_default();
        let mut columns = numbers(line);
        let mut next = || columns.next().unwrap_or_default();
        Ticks {
            user: next(),
            nice: next(),
            system: next(),
            idle: next(),
            iowait: next(),
            irq: next(),
            softirq: next(),
            steal: next(),
            guest: next(),
        }
    }

    /// A line of `/proc/meminfo`, in KiB.
    pub(super) fn memory_kib(&self, name: &str) -> u64 {
        let line = self.meminfo.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.and_then(|rest| numbers(rest).next()).unwrap_or_default()
    }

    /// A column of `/proc/self/stat` by its number in proc(5), from 3 on; as text, since one of them is a letter.
    pub(super) fn own(&self, column: usize) -> &str {
        // The second is the name, in parentheses, and may hold spaces.
        let rest = self.self_stat.rsplit_once(')').map_or("", |(_, rest)| rest);
        rest.split_whitespace().nth(column.saturating_sub(3)).unwrap_or_default()
    }

    /// As [`Machine::own`], for a column that is a number.
    pub(super) fn own_number(&self, column: usize) -> i64 {
        self.own(column).parse().unwrap_or_default()
    }

    /// What went through all interfaces but the loopback, and through the loopback.
    pub(super) fn traffic(&self) -> (Traffic, Traffic) {
        let (mut outside, mut inside) = (Traffic::default(), Traffic::default());
        for line in self.net_dev.lines() {
            let Some((name, columns)) = line.split_once(':') else { continue };
            let columns: Vec<u64> = numbers(columns).collect();
            let sum = if name.trim() == "lo" { &mut inside } else { &mut outside };
            sum.received += columns.first().copied().unwrap_or_default();
            sum.sent += columns.get(8).copied().unwrap_or_default();
        }
        (outside, inside)
    }

    pub(super) fn sockets(&self) -> Sockets {
        let count = |protocol: &str, name: &str| {
            let line = self.sockstat.lines().find_map(|line| line.strip_prefix(protocol));
            let mut words = line.unwrap_or_default().split_whitespace();
            words.find(|word| *word == name);
            words.next().and_then(|count| count.parse().ok()).unwrap_or_default()
        };
        Sockets {
            tcp: count("TCP:", "inuse"),
            established: self.established(),
            time_wait: count("TCP:", "tw"),
            udp: count("UDP:", "inuse"),
        }
    }

    /// `CurrEstab` of the two lines about TCP, names above values.
    fn established(&self) -> u64 {
        let mut lines = self.snmp.lines().filter_map(|line| line.strip_prefix("Tcp:"));
        let names = lines.next().unwrap_or_default().split_whitespace();
        let mut values = lines.next().unwrap_or_default().split_whitespace();
        let at = names.into_iter().position(|name| name == "CurrEstab");
        let value = at.and_then(|at| values.nth(at));
        value.and_then(|value| value.parse().ok()).unwrap_or_default()
    }

    fn counts(&self) -> Counts {
        let ticks = self.ticks();
        let page = |name: &str| {
            let line = self.vmstat.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|rest| numbers(rest).next()).unwrap_or_default()
        };
        // The tenth value after the name is the time at work, in ms (Documentation/admin-guide/iostats.rst).
        let busy = |line: &str| line.split_whitespace().nth(12).and_then(|ms| ms.parse().ok());
        let own = |column| u64::try_from(self.own_number(column)).unwrap_or_default();
        Counts {
            at: rt::now(),
            ticks_busy: ticks.busy(),
            ticks: ticks.busy() + ticks.idle + ticks.iowait,
            own_ticks: own(14) + own(15),
            paged_in_kib: page("pgpgin "),
            paged_out_kib: page("pgpgout "),
            disk_busy_ms: self.diskstats.lines().filter_map(busy).max().unwrap_or_default(),
        }
    }
}

impl Ticks {
    const fn busy(&self) -> u64 {
        self.user + self.nice + self.system + self.irq + self.softirq + self.steal
    }
}

impl Looks {
    /// What has changed since the last look that is a second old; what that found, when it is younger.
    pub(super) fn shares(&self, machine: &Machine) -> Shares {
        let now = machine.counts();
        let Some(last) = self.last.get() else {
            self.last.set(Some(now));
            // Nothing to compare with but the beginning of the machine.
            let machine_cpu = ratio(now.ticks_busy, now.ticks);
            self.shares.set(Shares { machine_cpu, ..Shares::default() });
            return self.shares.get();
        };
        let apart = now.at.saturating_duration_since(last.at);
        if apart < APART {
            return self.shares.get();
        }
        let seconds = apart.as_secs_f64();
        let since = |now: u64, then: u64| now.saturating_sub(then);
        let shares = Shares {
            machine_cpu: ratio(
                since(now.ticks_busy, last.ticks_busy),
                since(now.ticks, last.ticks),
            ),
            process_cpu: float(since(now.own_ticks, last.own_ticks)) / TICKS_PER_S / seconds,
            disk_read_kib_per_s: float(since(now.paged_in_kib, last.paged_in_kib)) / seconds,
            disk_write_kib_per_s: float(since(now.paged_out_kib, last.paged_out_kib)) / seconds,
            disk_busy: float(since(now.disk_busy_ms, last.disk_busy_ms)) / 1000.0 / seconds,
        };
        self.last.set(Some(now));
        self.shares.set(shares);
        shares
    }
}

fn numbers(text: &str) -> impl Iterator<Item = u64> {
    text.split_whitespace().map_while(|word| word.parse().ok())
}

#[expect(clippy::cast_precision_loss, reason = "shares for people")]
const fn float(count: u64) -> f64 {
    count as f64
}

/// A share of 0 to 1.
pub(super) fn ratio(part: u64, whole: u64) -> f64 {
    float(part) / float(whole.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_the_system_are_understood() {
        let machine = Machine {
            stat: "cpu  10 1 5 80 4 0 2 0 3 0\ncpu0 1 1 1 1\n".into(),
            self_stat: "42 (a (strange) name) S 1 42 42 0 -1 4194560 100 0 7 0 250 50 0 0 20 0 9 0 12345 1000 200 9\n"
                .into(),
            meminfo: "MemTotal:       1000 kB\nMemFree:         250 kB\n".into(),
            net_dev: "Inter-|   Receive\n face |bytes\n    lo: 7 1 0 0 0 0 0 0 8 1\n  eth0: 100 1 0 0 0 0 0 0 200 1\n"
                .into(),
            sockstat: "sockets: used 9\nTCP: inuse 3 orphan 0 tw 4 alloc 5 mem 1\nUDP: inuse 2 mem 0\n".into(),
            snmp: "Tcp: RtoAlgorithm CurrEstab InSegs\nTcp: 1 6 99\n".into(),
            ..Machine::default()
        };
        let ticks = machine.ticks();
        assert_eq!((ticks.user, ticks.idle, ticks.guest, ticks.busy()), (10, 80, 3, 18));
        assert_eq!((machine.own(3), machine.own_number(4), machine.own_number(14)), ("S", 1, 250));
        assert_eq!(machine.own_number(20), 9, "threads");
        assert_eq!(machine.memory_kib("MemFree"), 250);
        let (outside, inside) = machine.traffic();
        assert_eq!((outside.received, outside.sent, inside.sent), (100, 200, 8));
        let sockets = machine.sockets();
        assert_eq!((sockets.tcp, sockets.established), (3, 6));
        assert_eq!((sockets.time_wait, sockets.udp), (4, 2));
    }
}
