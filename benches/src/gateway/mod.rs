//! The gateway's cases: its contenders in C, and the processes that publish and watch.
//!
//! The processes of a measurement are children of the harness: the gateway or its contender in C, the encoders
//! (`publish`), the viewers (`sink`); for delays, encoder and player are one (`delay`, and with Chromium as the player
//! `display` and `whep`). The harness itself only looks
//! at the CPU time and memory of the one that is measured (`cases`).

mod browser;
mod cases;
mod clip;
mod delay;
mod display;
mod ends;
mod hls;
mod publish;
mod rtmp;
mod server;
mod sink;
mod slow_disk;
mod timecode;
mod webrtc;
mod whep;

use std::error::Error;
use std::ffi::OsString;
use std::io;
use std::process::ExitCode;
use std::time::Duration;

pub(crate) use cases::{measure, prepare};

use crate::sys;

/// Runs one of the child processes.
pub(crate) fn child(name: &str, args: &[String]) -> Result<(), Box<dyn Error>> {
    match name {
        "gateway-serve" => serve(args),
        "gateway-publish" => publish::run(args),
        "gateway-sink" => sink::run(args),
        "gateway-delay" => delay::run(args),
        "gateway-display" => display::run(args),
        "gateway-blocked" => hls::run_blocked(args),
        "gateway-whep" => whep::run(args),
        "gateway-hls-sink" => hls::run_sink(args),
        _ => Err(format!("no child is called {name:?}").into()),
    }
}

/// Is the gateway, on the core that the first argument names.
fn serve(args: &[String]) -> Result<(), Box<dyn Error>> {
    let (core, args) = args.split_first().ok_or("no core")?;
    pin(core)?;
    let surroundings = thalweg_gateway::cli::Surroundings {
        environment: Vec::new(),
        is_terminal: false,
        output: &mut io::stdout(),
        errors: &mut io::stderr(),
    };
    let args = ["thalweg"].into_iter().chain(args.iter().map(String::as_str)).map(OsString::from);
    let code = thalweg_gateway::cli::run(args, surroundings, thalweg_gateway::server::run);
    (code == ExitCode::SUCCESS).then_some(()).ok_or_else(|| "the gateway failed".into())
}

/// Binds the calling process to a core, unless it may run on any.
fn pin(core: &str) -> Result<(), Box<dyn Error>> {
    if core != ANY_CORE {
        sys::pin_to_core(core.parse()?)?;
    }
    Ok(())
}

/// Of every SRT connection of these cases.
const LATENCY_MS: i32 = 20;
const ANY_CORE: &str = "any";
/// A child that takes longer hangs.
const CHILD_LIMIT: Duration = Duration::from_secs(90);
