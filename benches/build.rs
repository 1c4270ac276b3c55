//! Compiles the contenders in C. Where each is stands in an environment variable of the compiler.

use std::env;
use std::error::Error;
use std::path::Path;
use std::process::Command;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=src/gateway/schedule.h");
    for (source, variable) in SOURCES {
        compile(source, variable)?;
    }
    Ok(())
}

fn compile(source: &str, variable: &str) -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed={source}");
    let srt = pkg_config::Config::new().cargo_metadata(false).probe("srt")?;
    let name = Path::new(source).file_stem().ok_or("a source has a name")?;
    let program = Path::new(&env::var("OUT_DIR")?).join(name);
    let mut compiler = Command::new(env::var("CC").unwrap_or_else(|_unset| "cc".to_owned()));
    compiler.args(["-std=gnu11", "-O2", "-Wall", "-Wextra", "-Werror", "-pthread", "-o"]);
    compiler.arg(&program).arg(source);
    compiler.args(srt.include_paths.iter().map(|path| format!("-I{}", path.display())));
    compiler.args(srt.link_paths.iter().map(|path| format!("-L{}", path.display())));
    let status = compiler.args(["-Wl,--as-needed", "-lsrt"]).status()?;
    if !status.success() {
        return Err(format!("the C compiler ended with {status}: {compiler:?}").into());
    }
    println!("cargo::rustc-env={variable}={}", program.display());
    Ok(())
}

/// And the variables that tell where they are.
const SOURCES: [(&str, &str); 3] = [
    ("src/srt/send.c", "THALWEG_SEND_C"),
    ("src/gateway/fan_out.c", "THALWEG_FAN_OUT_C"),
    ("src/gateway/threads.c", "THALWEG_THREADS_C"),
];
