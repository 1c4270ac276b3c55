//! Playing by SRT.

use super::{
    figures::figures,
    session::{Settings, SrtEnd},
};
use crate::{
    auth::PlayGrant,
    container::{
        Chunk, Select,
        ts::{PACKET_LEN, TsMux},
    },
    hub::{Batch, Client, PlayEnd, Registry, Role, Source, SubscribeError, Subscriber},
    media::Timestamp,
    protocol::{
        Session,
        play::{Admit, PlayError},
    },
};
use std::{
    rc::Rc,
    time::{Duration, Instant},
};
use thalweg_runtime::{self as rt, WaitError};
use thalweg_srt_io::{
    FinishError, Options, RecvError, SendError, Socket,
    options::{Bandwidth, MaxBandwidth},
};
use tracing::{debug, info};

/// A message: as many packets as fit a datagram of Ethernet.
const MESSAGE_BYTES: usize = 7 * PACKET_LEN;

/// So many times faster than it was published the GOP goes out at the beginning.
const PACE: u32 = 4;

/// The least that a connection may send, in bytes a second, however little the stream has had time to send.
const BANDWIDTH_MIN: u64 = 2_000_000;

/// How long a player is given to play what was sent when the stream ends.
const FINISH: Duration = Duration::from_secs(3);

/// Sends the stream to the peer until either ends.
///
/// # Suspends
///
/// Until then.
pub(super) fn play(
    socket: &Rc<Socket>,
    session: &Session,
    registry: &Registry,
    grant: &PlayGrant,
    settings: &Settings,
) -> Result<(), SrtEnd> {
    let client = &session.client;
    // It counts as a player while it waits, so that the API shows who waits for what.
    client.set_role(Role::Player(grant.key().clone()));
    client.end_at(grant.until());
    let source = match registry.wait_for(grant, rt::now() + settings.wait) {
        Ok(source) => source,
        Err(SubscribeError::Wait(error)) => return Err(SrtEnd::Wait(error)),
        Err(error) => {
            client.note_refusal(Some(grant.key()), &error, None);
            return Err(SrtEnd::Refused(error.to_string()));
        }
    };
    let mut subscriber = source
        .subscribe::<TsMux>(Select::All, settings.start)
        .map_err(|end| SrtEnd::Play(PlayError::End(end)))?;
    let seen = Rc::clone(socket);
    client.set_detail(move || seen.stats().map(|stats| figures(&stats)).unwrap_or_default());
    client.begin_play(Some(subscriber.lag()));
    info!(stream = %grant.key(), "plays");
    limit_bandwidth(socket, &source);
    rt::scope(|scope| {
        let writer = scope.spawn(|| {
            let end = send_stream(socket, &mut subscriber, client, settings.stall);
            // Wakes the reader below, which waits for the peer.
            socket.close();
            end
        });
        let left = discard(socket);
        writer.cancel();
        match writer.join() {
            // The writer was cancelled since the peer left, or it noticed that too.
            Ok(
                SrtEnd::Wait(WaitError::Cancelled)
                | SrtEnd::Play(PlayError::End(PlayEnd::Wait(WaitError::Cancelled)))
                | SrtEnd::Disconnected,
            ) => Err(left),
            Ok(end) => Err(end),
            Err(_) => Err(left),
        }
    })
}

/// Reads what a player sends, which nobody wants, to learn when it leaves.
fn discard(socket: &Socket) -> SrtEnd {
    let mut buf = vec![0; 1_456];
    loop {
        match socket.recv(&mut buf) {
            Ok(_) => {}
            Err(RecvError::Closed | RecvError::Disconnected) => return SrtEnd::Disconnected,
            Err(RecvError::Wait(error)) => return SrtEnd::Wait(error),
            Err(RecvError::Failed(error)) => return SrtEnd::Srt(error),
            Err(_) => return SrtEnd::Broken,
        }
    }
}

/// Bounds what a connection may send, retransmission included, by what the stream needs: without a bound a lossy link makes
/// libsrt send again and again at up to 1 Gbit/s.
fn limit_bandwidth(socket: &Socket, source: &Source) {
    let seconds = rt::now().saturating_duration_since(source.since()).as_secs().max(1);
    let rate = source.received() / seconds;
    let limit = rate.saturating_mul(u64::from(2 * PACE)).max(BANDWIDTH_MIN);
    let limit = MaxBandwidth::Limit(Bandwidth::from_bytes_per_s(limit));
    if let Err(error) = socket.set_options(&Options::changes().max_bandwidth(limit)) {
        debug!(%error, "the bandwidth stays without a limit");
    }
}

/// Sends chunk after chunk; returns why it stopped.
fn send_stream(
    socket: &Socket,
    subscriber: &mut Subscriber,
    client: &Client,
    stall: Duration,
) -> SrtEnd {
    let mut batch = Batch::default();
    let mut pace = Pace::default();
    let mut admit = Admit::ts();
    let mut message = Message { socket, client, stall, bytes: Vec::new() };
    loop {
        match subscriber.recv(&mut batch) {
            Ok(()) => {}
            Err(PlayEnd::Unpublished) => return finish(socket),
            Err(end) => return SrtEnd::Play(PlayError::End(end)),
        }
        client.skips.set(subscriber.skips());
        if batch.is_jump {
            pace = Pace::default();
        }
        if let Err(end) = send_batch(&batch, &mut admit, &mut pace, &mut message) {
            return end;
        }
    }
}

fn send_batch(
    batch: &Batch,
    admit: &mut Admit,
    pace: &mut Pace,
    message: &mut Message<'_>,
) -> Result<(), SrtEnd> {
    admit.begin(batch);
    let first = batch.chunks.first().map_or(Timestamp::ZERO, |chunk| chunk.dts);
    for part in admit.head(batch) {
        message.push(&admit.part(part, first))?;
    }
    for chunk in &batch.chunks {
        pace.wait(chunk).map_err(SrtEnd::Wait)?;
        for part in &chunk.parts {
            message.push(&admit.part(part, chunk.dts))?;
        }
    }
    message.flush()
}

/// Gathers packets into messages.
struct Message<'a> {
    socket: &'a Socket,
    client: &'a Client,
    stall: Duration,
    bytes: Vec<u8>,
}

impl Message<'_> {
    fn push(&mut self, packets: &[u8]) -> Result<(), SrtEnd> {
        let mut rest = packets;
        while !rest.is_empty() {
            let room = MESSAGE_BYTES - self.bytes.len();
            let (now, later) = rest.split_at(rest.len().min(room));
            if self.bytes.is_empty() && now.len() == MESSAGE_BYTES {
                self.send(now)?;
            } else {
                self.bytes.extend_from_slice(now);
                if self.bytes.len() == MESSAGE_BYTES {
                    self.flush()?;
                }
            }
            rest = later;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), SrtEnd> {
        let bytes = std::mem::take(&mut self.bytes);
        let sent = if bytes.is_empty() { Ok(()) } else { self.send(&bytes) };
        self.bytes = bytes;
        self.bytes.clear();
        sent
    }

    fn send(&self, bytes: &[u8]) -> Result<(), SrtEnd> {
        match rt::timeout(self.stall, || self.socket.send(bytes)) {
            Ok(sent) => {
                self.client.add_sent(sent);
                Ok(())
            }
            Err(SendError::Closed | SendError::Disconnected) => Err(SrtEnd::Disconnected),
            Err(SendError::Wait(WaitError::TimedOut(_))) => {
                Err(SrtEnd::Play(PlayError::Stalled(self.stall)))
            }
            Err(SendError::Wait(error)) => Err(SrtEnd::Wait(error)),
            Err(SendError::Failed(error)) => Err(SrtEnd::Srt(error)),
            Err(_) => Err(SrtEnd::Broken),
        }
    }
}

/// Lets what was there before the player came go out at a bounded multiple of the stream's own speed.
#[derive(Default)]
struct Pace {
    /// When the first chunk went out, and when it was due on the stream's timeline.
    begun: Option<(Instant, Timestamp)>,
}

impl Pace {
    /// Waits until `chunk` may leave.
    fn wait(&mut self, chunk: &Chunk) -> Result<(), WaitError> {
        let (at, first) = *self.begun.get_or_insert_with(|| (rt::now(), chunk.dts));
        let due = at + (chunk.dts - first).duration() / PACE;
        if due > rt::now() { rt::sleep_until(due) } else { Ok(()) }
    }
}

/// The stream is over: what was sent is still to be played.
fn finish(socket: &Socket) -> SrtEnd {
    match socket.finish(rt::now() + FINISH) {
        Err(FinishError::Wait(error)) => SrtEnd::Wait(error),
        _ => SrtEnd::Play(PlayError::End(PlayEnd::Unpublished)),
    }
}
