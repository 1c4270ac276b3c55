//! The composition root: binds what the configuration names, starts what serves it, and ends all in order.

mod access;
mod disks;
mod hls;
mod hooks;
mod limits;
mod listeners;
mod notify;
mod overload;
mod recording;
mod reload;
mod secure;
mod shutdown;
mod tcp;

use crate::{
    auth::Gate,
    config::{Config, InForce, Loaded},
    hooks::Hooks,
    hub::{Bounds, Clients, Limits, Registry, Settings},
    log::Log,
    media::Span,
    record::Recorder,
    tls::Certificates,
};
use disks::Disks;
use listeners::Listeners;
use notify::Notify;
use reload::Running;
use std::{io, process::ExitCode, rc::Rc};
use thalweg_runtime::{self as rt, RunError, Runtime, signal::Signal};
use tracing::{error, info};

/// What everything in a running gateway shares. A change of the configuration makes another one, with the same streams
/// and connections.
#[derive(Clone, Debug)]
struct Gateway {
    config: Box<Config>,
    /// The same to be shown.
    in_force: Vec<InForce>,
    registry: Registry,
    gate: Gate,
    hooks: Hooks,
    clients: Clients,
    /// There when recordings have a folder.
    recorder: Option<Recorder>,
    disks: Disks,
    /// For HTTPS and RTMPS, where either is served.
    certificates: Option<Certificates>,
    log: Rc<Log>,
}

/// Runs the gateway until it is told to end. This is what `thalweg serve` does.
///
/// Blocks the thread, on which it runs everything.
#[expect(clippy::print_stderr, reason = "there is no log yet, or no more")]
pub fn run(loaded: Loaded) -> ExitCode {
    let log = match Log::start(&loaded.config.log) {
        Ok(log) => Rc::new(log),
        Err(error) => {
            eprintln!("thalweg: {error}");
            return ExitCode::FAILURE;
        }
    };
    let result = run_logged(loaded, Rc::clone(&log));
    drop(log);
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("thalweg: {error}");
            ExitCode::FAILURE
        }
    }
}

/// What begins and reloads makes certificates, which goes deep where nothing is optimised.
const MAIN_STACK_BYTES: usize = 1 << 20;

fn run_logged(loaded: Loaded, log: Rc<Log>) -> io::Result<()> {
    limits::raise();
    let grace = loaded.config.timeouts.shutdown;
    let runtime = Runtime::builder().name("thalweg").shutdown_grace(grace).build()?;
    // In a box: what begins a coroutine has to fit into a page of its stack.
    let loaded = Box::new(loaded);
    let main = move || {
        let main = rt::Builder::new().name("main").stack_size(MAIN_STACK_BYTES);
        main.spawn(move || serve(*loaded, log))?.join().map_err(io::Error::other)?
    };
    match runtime.block_on(main) {
        Ok(result) => result,
        Err(error @ RunError::Deadlock(_)) => {
            error!(%error, "nothing can ever happen any more");
            Err(io::Error::other(error))
        }
        Err(error) => Err(io::Error::other(error)),
    }
}

fn serve(loaded: Loaded, log: Rc<Log>) -> io::Result<()> {
    let (config, in_force) = (loaded.config.clone(), loaded.in_force.clone());
    let (notify, signals) = (Notify::from_environment(), reload::listen()?);
    let _dumps = rt::install_dump_on(Signal::Quit)?;
    let registry = Registry::new(hub_settings(&config));
    let clients = Clients::limited(client_limits(&config));
    clients.set_proxies(config.http.trusted_proxies.clone());
    let certificates = secure::certificates(&config)?;
    let (gate, hooks) = (Gate::new(access::rules(&config.access)?), hooks::open(&config.hooks)?);
    overload::guard(&gate, &registry, &clients);
    let disks = Disks::new(&config, clients.events());
    let recorder = {
        let (events, disk) = (clients.events(), disks.record.as_ref());
        recording::recorder(&config.record, &registry, &hooks, events, disk)
    };
    let gateway = Rc::new(Gateway {
        config,
        in_force,
        registry,
        gate,
        hooks,
        clients,
        recorder,
        disks,
        certificates,
        log,
    });
    hooks::attach(&gateway)?;
    let listeners = Listeners::bind(&gateway)?;
    listeners.announce()?;
    let serving = listeners.serve(&gateway)?;
    let _recording = recording::start(&gateway)?;
    let mut running = Running::new(gateway, serving, loaded, notify.clone())?;
    notify.ready();
    let _watchdog = notify.start_watchdog()?;
    let signal = running.until_told_to_end(&signals)?;
    drop(signals);
    info!(%signal, "shutting down; once more to end at once");
    running.end()
}

fn hub_settings(config: &Config) -> Settings {
    Settings {
        bounds: Bounds {
            bytes: usize::try_from(config.hub.ring_bytes).unwrap_or(usize::MAX),
            span: Span::from(config.hub.ring_time),
        },
        grace: config.publish.grace,
        merge_window: config.play.merge_window,
        streams_max: limits::most(config.limits.streams),
        publishers_max: limits::most(config.limits.publishers),
        publisher_rate_bps: config.limits.bitrate_per_publisher_bps,
    }
}

fn client_limits(config: &Config) -> Limits {
    Limits {
        connections: limits::most(config.limits.connections),
        connections_per_ip: limits::most(config.limits.connections_per_ip),
    }
}
