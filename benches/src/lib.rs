//! What the runtime, SRT on it and the gateway cost, beside others on the same machine.
//!
//! `make bench` runs three binaries. `runtime` measures what a switch, a wake-up, a spawn, a timer, an
//! echo request and a parked coroutine cost: with us, on tokio (`current_thread`), on State Threads, and
//! where it applies on raw corosensei and a raw epoll loop. `srt` measures how late a message reaches its
//! coroutine and what sockets cost, beside blocking threads, a polling loop and libsrt alone. `gateway`
//! measures how much later a picture arrives for having gone through it, and what viewers and publishers cost, beside bare
//! loops and blocking threads in C. Each prints one table and writes its figures to `target/bench`.
//!
//! The `harness` runs a `suite`. It starts every measurement in a child process of its own (`child`),
//! which runs one `case` on one `contender`; `load` is the client of the echo cases, `srt::load` the other
//! end of the SRT cases; `gateway` has processes of its own. `target` has the forms of what is to be reached and of what earlier measurements
//! say of the contenders, `report` the verdicts. docs/benchmarks.md describes each case.

mod case;
mod child;
mod contender;
mod gateway;
mod harness;
mod load;
mod machine;
mod measure;
mod process;
mod report;
mod rng;
mod srt;
mod st;
mod suite;
mod sys;
mod target;

use std::process::ExitCode;

/// Runs the binary `runtime`.
pub fn run_runtime(args: &[String]) -> ExitCode {
    run(&suite::RUNTIME, args)
}

/// Runs the binary `srt`.
pub fn run_srt(args: &[String]) -> ExitCode {
    run(&suite::SRT, args)
}

/// Runs the binary `gateway`.
pub fn run_gateway(args: &[String]) -> ExitCode {
    run(&suite::GATEWAY, args)
}

/// Runs the harness, or with a hidden first argument one of its child processes.
#[expect(clippy::print_stderr, reason = "the binary's own error message")]
fn run(suite: &suite::Suite, args: &[String]) -> ExitCode {
    let result = match args.first().map(String::as_str) {
        Some("child") => child::run(&args[1..]),
        Some("load") => load::run(&args[1..]),
        Some("srt-load") => srt::load::run(&args[1..]),
        Some(name) if name.starts_with("gateway-") => gateway::child(name, &args[1..]),
        _ => harness::run(suite, args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{} bench: {error}", suite.name);
            ExitCode::FAILURE
        }
    }
}
