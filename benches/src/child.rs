//! A child process of the harness: one case on one contender, for the runtime's suite pinned to core 0.
//!
//! Writes `sample<TAB>unit<TAB>value` for each repetition, and before that `port<TAB>number` once it
//! listens, where it is a server. A fresh process for each measurement keeps heaps, stacks and signal handlers apart.

use std::error::Error;
use std::net::TcpListener;
use std::str::FromStr;
use std::time::Duration;

use crate::case::{Case, ContenderName};
use crate::contender;
use crate::measure::{Outcome, Plan, Sample};
use crate::srt;
use crate::suite::SRT;
use crate::sys;

/// Runs `child <case> <contender> <n> <reps> <rep ms>`.
pub(crate) fn run(args: &[String]) -> Result<(), Box<dyn Error>> {
    let case: Case = argument(args, 0)?;
    let name: ContenderName = argument(args, 1)?;
    let plan = Plan {
        n: argument(args, 2)?,
        reps: argument(args, 3)?,
        rep: Duration::from_millis(argument(args, 4)?),
    };
    sys::end_after(CHILD_LIMIT);
    sys::raise_fd_limit()?;
    let samples = measure(case, name, plan).map_err(|error| -> Box<dyn Error> { error })?;
    write_samples(&samples);
    // What a contender left running ends here, without a word: libsrt would take seconds to clean up.
    sys::end_at_once()
}

fn measure(case: Case, name: ContenderName, plan: Plan) -> Outcome {
    if SRT.cases.contains(&case) {
        return srt::measure(case, name, plan);
    }
    sys::pin_to_core(SERVER_CORE)?;
    let contender = contender::of(name)?;
    match case {
        Case::Yield => contender.yield_round_robin(plan),
        Case::Cond => contender.cond(plan),
        Case::CondDeadline => contender.cond_deadline(plan),
        Case::Spawn => contender.spawn(plan),
        Case::Timer => contender.timer(plan),
        Case::Echo | Case::EchoIdle => {
            let listener = TcpListener::bind("127.0.0.1:0")?;
            write_port(listener.local_addr()?.port());
            contender.echo(listener)
        }
        Case::Memory => contender.memory(plan),
        _ => Err(format!("{case} is of another suite").into()),
    }
}

/// Reads the argument at `index` of a child's command line.
pub(crate) fn argument<T: FromStr>(args: &[String], index: usize) -> Result<T, String> {
    let text = args.get(index).ok_or_else(|| format!("argument {index} is missing"))?;
    text.parse().map_err(|_error| format!("argument {index} is no good: {text:?}"))
}

#[expect(clippy::print_stdout, reason = "the pipe to the harness")]
pub(crate) fn write_samples(samples: &[Sample]) {
    for Sample { unit, value } in samples {
        println!("sample\t{unit}\t{value}");
    }
}

#[expect(clippy::print_stdout, reason = "the pipe to the harness")]
pub(crate) fn write_note(note: &str) {
    println!("note\t{note}");
}

#[expect(clippy::print_stdout, reason = "the pipe to the harness")]
pub(crate) fn write_port(port: u16) {
    println!("port\t{port}");
}

/// Everything of the runtime's suite that is measured runs here.
const SERVER_CORE: usize = 0;
/// A child that takes longer hangs.
const CHILD_LIMIT: Duration = Duration::from_secs(90);
