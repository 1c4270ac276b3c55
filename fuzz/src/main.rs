//! `thalweg-fuzz TARGET FILE…` runs a target on inputs, once each, to replay what the fuzzer found.
//!
//! Built with `--cfg fuzzing`, as `scripts/fuzz.sh` does, this is libFuzzer itself instead, on the target that the
//! variable `THALWEG_FUZZ` names.

#![cfg_attr(fuzzing, no_main)]
#![cfg_attr(
    not(fuzzing),
    expect(clippy::print_stdout, clippy::print_stderr, reason = "it is a tool of the terminal")
)]

#[cfg(fuzzing)]
mod fuzzing {
    use std::sync::LazyLock;
    use thalweg_fuzz::Target;

    static TARGET: LazyLock<&Target> = LazyLock::new(|| {
        let name = std::env::var("THALWEG_FUZZ").expect("THALWEG_FUZZ names the target");
        Target::find(&name).unwrap_or_else(|| panic!("there is no target {name}"))
    });

    libfuzzer_sys::fuzz_target!(|input: &[u8]| TARGET.check(input));
}

#[cfg(not(fuzzing))]
fn main() -> std::process::ExitCode {
    use std::process::ExitCode;
    use thalweg_fuzz::{TARGETS, Target};

    let mut arguments = std::env::args().skip(1);
    let Some(target) = arguments.next().and_then(|name| Target::find(&name)) else {
        let names: Vec<&str> = TARGETS.iter().map(|target| target.name).collect();
        eprintln!("usage: thalweg-fuzz TARGET FILE…, where TARGET is one of: {}", names.join(", "));
        return ExitCode::FAILURE;
    };
    for path in arguments {
        match std::fs::read(&path) {
            Ok(input) => {
                println!("{path}: {} bytes", input.len());
                target.check(&input);
            }
            Err(error) => {
                eprintln!("{path}: {error}");
                return ExitCode::FAILURE;
            }
        }
    }
    ExitCode::SUCCESS
}
