//! What a switch, a wake-up, a spawn, a timer, an echo request and a parked coroutine cost: with
//! us, on tokio (`current_thread`), on State Threads, and where it applies on raw corosensei and a
//! raw epoll loop.
//!
//! `make bench` runs the binary `runtime`, which prints one table and writes
//! `target/bench/runtime.json`. It starts every measurement in a child process of its own
//! (`child`), which runs one `case` on one `contender`; `load` is the client of the echo cases.
//! `target` holds what the project wants to reach and what earlier measurements say of the
//! contenders, `report` the verdicts. docs/benchmarks.md describes each case.

mod case;
mod child;
mod contender;
mod harness;
mod load;
mod machine;
mod measure;
mod report;
mod rng;
mod st;
mod sys;
mod target;

use std::process::ExitCode;

/// Runs the program: the harness, or with a hidden first argument one of its child processes.
#[expect(clippy::print_stderr, reason = "the binary's own error message")]
pub fn run(args: &[String]) -> ExitCode {
    let result = match args.first().map(String::as_str) {
        Some("child") => child::run(&args[1..]),
        Some("load") => load::run(&args[1..]),
        _ => harness::run(args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("runtime bench: {error}");
            ExitCode::FAILURE
        }
    }
}
