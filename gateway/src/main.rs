//! The program `thalweg`.

use std::process::ExitCode;

fn main() -> ExitCode {
    thalweg_gateway::cli::main(thalweg_gateway::server::run)
}
