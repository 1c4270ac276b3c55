//! Publishing by SRT.

use super::session::{Settings, SrtEnd};
use crate::{
    auth::PublishGrant,
    hub::{Figures, Registry, Role},
    protocol::{Session, ts_ingest::TsIngest},
};
use std::rc::Rc;
use thalweg_runtime::{self as rt, WaitError};
use thalweg_srt_io::{Batch, RecvError, Socket, Stats};
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

/// What the API shows of a connection.
pub(super) fn figures(stats: &Stats) -> Figures {
    #[expect(clippy::cast_precision_loss, reason = "figures for people; 2^53 packets are far")]
    let count = |packets: u64| packets as f64;
    let (total, now) = (&stats.total, &stats.now);
    vec![
        ("rtt_s", now.round_trip.as_secs_f64()),
        ("link_bits_per_s", now.link_bits_per_s),
        ("recv_packets", count(total.recv_packets)),
        ("recv_unique_packets", count(total.recv_unique_packets)),
        ("recv_loss_packets", count(total.recv_loss_packets)),
        ("recv_dropped_packets", count(total.recv_dropped_packets)),
        ("recv_latency_s", now.recv_latency.as_secs_f64()),
        ("recv_buffer_s", now.recv_buffer_span.as_secs_f64()),
        ("sent_packets", count(total.sent_packets)),
        ("sent_unique_packets", count(total.sent_unique_packets)),
        ("send_loss_packets", count(total.send_loss_packets)),
        ("retransmitted_packets", count(total.retransmitted_packets)),
        ("send_dropped_packets", count(total.send_dropped_packets)),
        ("send_latency_s", now.send_latency.as_secs_f64()),
        ("send_buffer_s", now.send_buffer_span.as_secs_f64()),
        ("in_flight_packets", count(now.in_flight_packets)),
        ("reorder_tolerance_packets", count(now.reorder_tolerance_packets)),
    ]
}
