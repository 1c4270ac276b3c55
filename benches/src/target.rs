//! What the runtime has to reach, and what is known of the contenders.
//!
//! [`TARGETS`] is the table of the issue "The runtime's core", section "Speed"; [`KNOWN_RATIOS`]
//! are the minima of `design/RUNTIME-NUMBERS.md`, measured on the same kind of machine.

use crate::case::{Case, ContenderName};
use crate::harness::{Figures, Key};
use crate::measure::{BYTES_PTE, BYTES_RSS, NS, NS_CPU, SYSCALLS};
use Against::{Absolute, Own, Peer};
use ContenderName::{Corosensei, Epoll, StateThreads, Thalweg, Tokio};

/// One cell of the table.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Target {
    pub(crate) case: Case,
    pub(crate) n: usize,
    pub(crate) unit: &'static str,
    pub(crate) against: Against,
    /// Ours may be this much at most, as a multiple of the other or absolute.
    pub(crate) at_most: f64,
}

/// What ours is compared with.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Against {
    /// The same row of another contender.
    Peer(ContenderName),
    /// Our own `echo` with this many connections: idle ones must change nothing.
    Own(usize),
    /// The figure itself.
    Absolute,
}

impl Target {
    /// Returns our minimum as a multiple of what it is compared with, or itself; `None` when either
    /// is missing.
    pub(crate) fn reached(&self, figures: &Figures) -> Option<f64> {
        let ours = Key { case: self.case, n: self.n, unit: self.unit, contender: Thalweg };
        let min = |key| Some(figures.summary(key)?.min);
        let base = match self.against {
            Peer(contender) => min(Key { contender, ..ours })?,
            Own(n) => min(Key { case: Case::Echo, n, ..ours })?,
            Absolute => 1.0,
        };
        Some(min(ours)? / base)
    }
}

/// The ratio of two contenders' minima in RUNTIME-NUMBERS.md.
#[derive(Clone, Copy, Debug)]
pub(crate) struct KnownRatio {
    pub(crate) case: Case,
    pub(crate) n: usize,
    pub(crate) unit: &'static str,
    pub(crate) over: ContenderName,
    pub(crate) under: ContenderName,
    pub(crate) ratio: f64,
}

impl KnownRatio {
    /// Returns the same ratio in this run; `None` when either is missing.
    pub(crate) fn measured(&self, figures: &Figures) -> Option<f64> {
        let key = |contender| Key { case: self.case, n: self.n, unit: self.unit, contender };
        let over = figures.summary(key(self.over))?.min;
        let under = figures.summary(key(self.under))?.min;
        Some(over / under)
    }
}

/// A run in which a known ratio is off by more than this factor is not to be trusted.
pub(crate) const TRUSTED_FACTOR: f64 = 1.4;

const fn target(
    case: Case,
    n: usize,
    unit: &'static str,
    against: Against,
    at_most: f64,
) -> Target {
    Target { case, n, unit, against, at_most }
}

const fn known(
    case: Case,
    n: usize,
    unit: &'static str,
    (over, under): (ContenderName, ContenderName),
    (over_value, under_value): (f64, f64),
) -> KnownRatio {
    KnownRatio { case, n, unit, over, under, ratio: over_value / under_value }
}

pub(crate) const TARGETS: &[Target] = &[
    target(Case::Yield, 2, NS, Peer(Corosensei), 1.4),
    target(Case::Yield, 100, NS, Peer(Corosensei), 1.4),
    target(Case::Yield, 1_000, NS, Peer(Corosensei), 1.5),
    target(Case::Yield, 2, NS, Peer(Tokio), 0.35),
    target(Case::Yield, 100, NS, Peer(Tokio), 0.35),
    target(Case::Yield, 1_000, NS, Peer(Tokio), 0.45),
    target(Case::Yield, 100_000, NS, Peer(Tokio), 0.75),
    target(Case::Cond, 2, NS, Peer(Tokio), 0.4),
    target(Case::Cond, 2, NS, Peer(StateThreads), 1.0),
    target(Case::CondDeadline, 100_000, NS, Peer(Tokio), 0.5),
    target(Case::Spawn, 1, NS, Peer(Tokio), 0.35),
    target(Case::Spawn, 1, NS, Peer(StateThreads), 0.7),
    target(Case::Spawn, 10_000, NS, Peer(Tokio), 0.35),
    target(Case::Spawn, 10_000, NS, Peer(StateThreads), 0.7),
    target(Case::Timer, 100_000, NS_CPU, Peer(Tokio), 0.8),
    target(Case::Echo, 1, NS_CPU, Peer(Epoll), 1.08),
    target(Case::Echo, 100, NS_CPU, Peer(Epoll), 1.08),
    target(Case::Echo, 1_000, NS_CPU, Peer(Epoll), 1.2),
    target(Case::Echo, 1, NS_CPU, Peer(Tokio), 1.0),
    target(Case::Echo, 100, NS_CPU, Peer(Tokio), 1.0),
    target(Case::Echo, 1_000, NS_CPU, Peer(Tokio), 1.05),
    target(Case::Echo, 1, NS_CPU, Peer(StateThreads), 0.8),
    target(Case::Echo, 100, NS_CPU, Peer(StateThreads), 0.8),
    target(Case::Echo, 1_000, NS_CPU, Peer(StateThreads), 0.8),
    target(Case::Echo, 1, SYSCALLS, Peer(Epoll), 1.08),
    target(Case::Echo, 100, SYSCALLS, Peer(Epoll), 1.08),
    target(Case::Echo, 1_000, SYSCALLS, Peer(Epoll), 1.2),
    target(Case::Echo, 1, SYSCALLS, Peer(Tokio), 1.0),
    target(Case::Echo, 100, SYSCALLS, Peer(Tokio), 1.0),
    target(Case::Echo, 1_000, SYSCALLS, Peer(Tokio), 1.05),
    target(Case::Echo, 1, SYSCALLS, Peer(StateThreads), 0.8),
    target(Case::Echo, 100, SYSCALLS, Peer(StateThreads), 0.8),
    target(Case::Echo, 1_000, SYSCALLS, Peer(StateThreads), 0.8),
    target(Case::EchoIdle, 10_000, NS_CPU, Peer(StateThreads), 0.8),
    target(Case::EchoIdle, 10_000, SYSCALLS, Peer(StateThreads), 0.8),
    // "Idle connections change nothing": within the noise of a run.
    target(Case::EchoIdle, 10_000, NS_CPU, Own(1), 1.1),
    target(Case::EchoIdle, 10_000, SYSCALLS, Own(1), 1.01),
    target(Case::Memory, 100_000, BYTES_RSS, Absolute, 4_600.0),
    target(Case::Memory, 100_000, BYTES_PTE, Absolute, 600.0),
    target(Case::Memory, 1_000_000, BYTES_RSS, Absolute, 4_600.0),
    target(Case::Memory, 1_000_000, BYTES_PTE, Absolute, 600.0),
];

/// State Threads is libst as Debian has it where there is a figure, else 1.9.5. Left out is what
/// differs by design: yields of so many that the order of the stacks matters, and echo on State
/// Threads, which was measured there with epoll.
pub(crate) const KNOWN_RATIOS: &[KnownRatio] = &[
    known(Case::Yield, 2, NS, (Tokio, Corosensei), (27.0, 6.6)),
    known(Case::Yield, 100, NS, (Tokio, Corosensei), (27.0, 7.3)),
    known(Case::Yield, 2, NS, (StateThreads, Tokio), (282.0, 27.0)),
    known(Case::Yield, 100, NS, (StateThreads, Tokio), (56.0, 27.0)),
    known(Case::Cond, 2, NS, (Tokio, StateThreads), (92.0, 35.0)),
    known(Case::CondDeadline, 100_000, NS, (StateThreads, Tokio), (662.0, 236.0)),
    known(Case::Spawn, 1, NS, (Tokio, StateThreads), (171.0, 73.0)),
    known(Case::Spawn, 1, NS, (Tokio, Corosensei), (171.0, 12.5)),
    known(Case::Timer, 100_000, NS_CPU, (StateThreads, Tokio), (3569.0, 916.0)),
    known(Case::Echo, 1, NS_CPU, (Epoll, Tokio), (25.2, 21.7)),
    known(Case::Echo, 100, NS_CPU, (Epoll, Tokio), (6964.0, 7225.0)),
    known(Case::Echo, 1_000, NS_CPU, (Epoll, Tokio), (7766.0, 7761.0)),
    known(Case::EchoIdle, 10_000, NS_CPU, (Epoll, Tokio), (25.0, 24.8)),
    known(Case::Memory, 100_000, BYTES_RSS, (StateThreads, Tokio), (4160.0, 456.0)),
];
