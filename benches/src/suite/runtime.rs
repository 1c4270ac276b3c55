//! The runtime's suite: yield to memory, against tokio, State Threads and raw loops.
//!
//! [`TARGETS`] is the table of the issue "The runtime's core", section "Speed"; [`KNOWN_RATIOS`]
//! are the minima of `design/RUNTIME-NUMBERS.md`, measured on the same kind of machine.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use super::{Measured, Suite};
use crate::case::ContenderName::{Corosensei, Epoll, StateThreads, Thalweg, Tokio};
use crate::case::{Case, ContenderName};
use crate::harness::{Run, progress};
use crate::measure::{BYTES_PTE, BYTES_RSS, NS, NS_CPU, Plan, SYSCALLS};
use crate::process::{Served, child_args, finish, spawn_self};
use crate::target::Against::{Absolute, Own, Peer};
use crate::target::{KnownRatio, Target, known, target};

/// The suite.
pub(crate) const RUNTIME: Suite = Suite {
    name: "runtime",
    cases: &[
        Case::Yield,
        Case::Cond,
        Case::CondDeadline,
        Case::Spawn,
        Case::Timer,
        Case::Echo,
        Case::EchoIdle,
        Case::Memory,
    ],
    contenders: &[Thalweg, Tokio, StateThreads, Corosensei, Epoll],
    rounds: 5,
    prepare: mount_tracefs,
    plan,
    measure,
    targets: TARGETS,
    known_ratios: KNOWN_RATIOS,
    numbers: "RUNTIME-NUMBERS.md",
};

/// How long to measure; `None` leaves it out of this round.
fn plan(case: Case, contender: ContenderName, n: usize, run: Run) -> Option<Plan> {
    let (reps, rep_ms) = match case {
        Case::Timer => (2, 1000),
        Case::Echo | Case::EchoIdle => (3, 300),
        // Memory hardly varies, and a million coroutines take long to set up.
        Case::Memory if n > 100_000 && (run.is_quick || run.round > 0) => return None,
        Case::Memory if run.round > 1 => return None,
        Case::Memory => (1, 0),
        _ => (5, 30),
    };
    // State Threads polls all idle connections for each one that it accepts: half a minute.
    let is_slow = case == Case::EchoIdle && contender == StateThreads;
    if is_slow && (run.is_quick || run.round > 0) {
        return None;
    }
    let (reps, rep_ms) = if run.is_quick { (reps.min(3), rep_ms / 3) } else { (reps, rep_ms) };
    Some(Plan { n, reps, rep: Duration::from_millis(rep_ms) })
}

fn measure(case: Case, contender: ContenderName, plan: Plan) -> Measured {
    let args = child_args(case, contender, plan);
    if !case.is_echo() {
        return finish(spawn_self(&args)?);
    }
    let server = Served::start(&args)?;
    let (active, idle) = if case == Case::EchoIdle { (1, plan.n) } else { (plan.n, 0) };
    let args = [
        "load".to_owned(),
        server.port().to_owned(),
        server.id().to_string(),
        active.to_string(),
        idle.to_string(),
        plan.reps.to_string(),
        plan.rep.as_millis().to_string(),
    ];
    finish(spawn_self(&args)?)
}

/// Counting system calls needs tracefs; only root can mount it, and only then is it tried.
fn mount_tracefs() {
    let events = Path::new("/sys/kernel/tracing/events");
    if !events.exists() {
        let mount = ["-t", "tracefs", "nodev", "/sys/kernel/tracing"];
        let result = Command::new("mount").args(mount).stderr(Stdio::null()).status();
        if !result.is_ok_and(|status| status.success()) {
            progress("no tracefs: system calls will not be counted");
        }
    }
}

const TARGETS: &[Target] = &[
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
const KNOWN_RATIOS: &[KnownRatio] = &[
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
