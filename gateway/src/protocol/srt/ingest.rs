//! Publishing by SRT.

use super::{
    figures::figures,
    session::{Settings, SrtEnd},
};
use crate::{
    auth::PublishGrant,
    hub::{Registry, Role},
    protocol::{Session, ts_ingest::TsIngest},
};
use std::rc::Rc;
use thalweg_runtime::{self as rt, WaitError};
use thalweg_srt_io::{Batch, RecvError, Socket};
use tracing::info;

/// Messages that are taken at once when they are due together.
const BATCH: usize = 32;

/// The largest message of live mode, in bytes.
const MESSAGE_BYTES: usize = 1_456;

/// Takes what the peer sends until it ends.
///
/// # Suspends
///
/// Between messages.
pub(super) fn publish(
    socket: &Rc<Socket>,
    session: &Session,
    registry: &Registry,
    grant: &PublishGrant,
    settings: &Settings,
) -> Result<(), SrtEnd> {
    let publisher = registry
        .publish(grant, settings.takes_over)
        .map_err(|error| SrtEnd::Refused(error.to_string()))?;
    let client = &session.client;
    client.set_role(Role::Publisher(grant.key().clone()));
    client.end_at(grant.until());
    let seen = Rc::clone(socket);
    client.set_detail(move || seen.stats().map(|stats| figures(&stats)).unwrap_or_default());
    info!(stream = %grant.key(), "publishes");
    let mut ingest = TsIngest::new(publisher);
    let mut batch = Batch::new(BATCH, MESSAGE_BYTES);
    let end = loop {
        match rt::timeout(settings.silence, || socket.recv_batch(&mut batch)) {
            Ok(_) => {}
            Err(error) => break recv_end(error, settings),
        }
        for message in batch.iter() {
            client.add_received(message.len());
            ingest.push(message);
        }
        if !ingest.is_current() {
            break SrtEnd::TakenOver;
        }
        if let Some(limit) = ingest.exceeded_bps() {
            break SrtEnd::TooFast(limit);
        }
    };
    ingest.finish();
    Err(end)
}

fn recv_end(error: RecvError, settings: &Settings) -> SrtEnd {
    match error {
        RecvError::Closed | RecvError::Disconnected => SrtEnd::Disconnected,
        RecvError::Wait(WaitError::TimedOut(_)) => SrtEnd::Silent(settings.silence),
        RecvError::Wait(error) => SrtEnd::Wait(error),
        RecvError::Failed(error) => SrtEnd::Srt(error),
        // The batch has room for the largest message that there can be.
        _ => SrtEnd::Broken,
    }
}
