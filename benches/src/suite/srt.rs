//! The suite of `srt-io`: lateness and CPU, against blocking threads, a polling loop and libsrt alone.
//!
//! [`TARGETS`] is the table of the issue "srt-io: SRT made coroutine-native", section "Speed";
//! [`KNOWN_RATIOS`] are from `design/SRT-NUMBERS.md` §3.2.

use std::time::Duration;

use super::{Measured, Suite};
use crate::case::ContenderName::{Libsrt, Poll, Thalweg, Thread};
use crate::case::{Case, ContenderName};
use crate::harness::Run;
use crate::measure::{CPU, CPU_MAIN, DROPPED, LATE_P50, LATE_P99, MB_RSS, Plan, RESENT, THREADS};
use crate::process::{Kept, Served, child_args, finish, spawn_self};
use crate::target::Against::{Absolute, AddedTo, MoreThan, Peer};
use crate::target::{KnownRatio, Target, known, target};

/// The suite.
pub(crate) const SRT: Suite = Suite {
    name: "srt",
    cases: &[Case::Wake1, Case::Wake10, Case::Silent, Case::Receive, Case::Send, Case::LongHaul],
    contenders: &[Thalweg, Thread, Poll, Libsrt],
    rounds: 3,
    prepare: || {},
    plan,
    measure,
    targets: TARGETS,
    known_ratios: KNOWN_RATIOS,
    numbers: "SRT-NUMBERS.md",
};

/// How long to measure.
fn plan(case: Case, _contender: ContenderName, n: usize, run: Run) -> Option<Plan> {
    let (reps, rep_ms) = match case {
        Case::Wake1 => (2, 2_000),
        Case::Wake10 => (2, 5_000),
        Case::LongHaul => (1, 20_000),
        _ => (2, 4_000),
    };
    let (reps, rep_ms) = if run.is_quick { (1, rep_ms / 2) } else { (reps, rep_ms) };
    Some(Plan { n, reps, rep: Duration::from_millis(rep_ms) })
}

fn measure(case: Case, contender: ContenderName, plan: Plan) -> Measured {
    let args = child_args(case, contender, plan);
    if case == Case::LongHaul {
        return finish(spawn_self(&args)?);
    }
    let server = Served::start(&args)?;
    let load = ["srt-load", case.name(), server.port(), &plan.n.to_string()].map(str::to_owned);
    let load = Kept::spawn_self(&load)?;
    let lines = server.finish();
    drop(load);
    lines
}

/// Of `wake`, the issue compares what each adds to the delay: what a thread has is its base.
const TARGETS: &[Target] = &[
    target(Case::Wake1, 1, LATE_P50, MoreThan(Thread), 60.0),
    target(Case::Wake1, 1, LATE_P50, AddedTo { base: Thread, peer: Poll }, 0.1),
    target(Case::Wake1, 1, LATE_P99, Peer(Poll), 1.0),
    target(Case::Wake10, 1, LATE_P50, MoreThan(Thread), 60.0),
    target(Case::Wake10, 1, LATE_P50, AddedTo { base: Thread, peer: Poll }, 0.1),
    target(Case::Wake10, 1, LATE_P99, Peer(Poll), 1.0),
    target(Case::Silent, 100, CPU, Peer(Libsrt), 1.3),
    // "The runtime's thread 0": but for the measuring itself.
    target(Case::Silent, 100, CPU_MAIN, Absolute, 0.05),
    target(Case::Receive, 50, CPU, Peer(Thread), 1.15),
    target(Case::Receive, 50, THREADS, Peer(Thread), 1.15),
    target(Case::Receive, 50, MB_RSS, Peer(Thread), 1.15),
    target(Case::Send, 50, CPU, Peer(Thread), 1.2),
    target(Case::LongHaul, 1, RESENT, Peer(Libsrt), 0.5),
    target(Case::LongHaul, 1, DROPPED, MoreThan(Libsrt), 0.0),
];

const KNOWN_RATIOS: &[KnownRatio] = &[
    known(Case::Wake1, 1, LATE_P50, (Poll, Thread), (553.0, 101.0)),
    known(Case::Wake10, 1, LATE_P50, (Poll, Thread), (5135.0, 135.0)),
    known(Case::Silent, 100, CPU, (Thread, Libsrt), (1.54, 1.51)),
    known(Case::Silent, 100, CPU, (Poll, Libsrt), (1.73, 1.51)),
];
