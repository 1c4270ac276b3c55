//! `make bench`: SRT for coroutines against threads and a polling loop, in one table. See
//! docs/benchmarks.md.

use std::process::ExitCode;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    thalweg_benches::run_srt(&args)
}
