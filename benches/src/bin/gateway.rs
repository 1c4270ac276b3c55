//! `make bench`: the gateway against bare loops that write and read the same, in one table. See
//! docs/benchmarks.md.

use std::process::ExitCode;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    thalweg_benches::run_gateway(&args)
}
