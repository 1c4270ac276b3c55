//! The end: players are told, what was sent is played, and then the process goes.

use super::{Gateway, listeners::Serving};
use crate::{hub::Role, record::Recorder};
use std::{io, process, time::Duration};
use thalweg_runtime::{
    self as rt, select,
    signal::{Signal, Signals},
};
use tracing::{info, warn};

/// How often it is looked whether all connections have ended; only while the process ends.
const LOOK: Duration = Duration::from_millis(20);

/// Ends all that serves, and waits until the connections have ended, the time for that is over, or the signal comes
/// a second time.
pub(super) fn run(gateway: &Gateway, serving: &Serving) -> io::Result<()> {
    let signals = Signals::new([Signal::Interrupt, Signal::Terminate])?;
    serving.stop();
    // Players read what is there to its end and are told that it is one.
    gateway.registry.close();
    for client in gateway.clients.list() {
        // A viewer of HLS has no connection that could be served to its end.
        let has_nothing_to_read = matches!(client.role(), Some(Role::Publisher(_)) | None);
        if has_nothing_to_read || client.protocol() == "hls" {
            client.kick();
        }
    }
    // Their streams have ended, so recordings complete their files.
    let recordings = || gateway.recorder.as_ref().map_or(0, Recorder::running);
    if let Some(recorder) = &gateway.recorder {
        recorder.close();
    }
    let end = rt::now() + gateway.config.timeouts.shutdown;
    while gateway.clients.count() > 0 || recordings() > 0 {
        if rt::now() >= end {
            let (connections, recordings) = (gateway.clients.count(), recordings());
            warn!(connections, recordings, "ended without waiting longer");
            return Ok(());
        }
        select! {
            signal = signals.receiving() => at_once(signal?),
            _ = select::after(LOOK) => {},
        }?;
    }
    info!("all connections have ended");
    gateway.hooks.drain(end);
    Ok(())
}

#[expect(clippy::exit, reason = "a second signal is an order to end without ceremony")]
fn at_once(signal: Signal) {
    warn!(%signal, "ended at once");
    process::exit(1);
}
