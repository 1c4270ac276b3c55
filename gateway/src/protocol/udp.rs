//! MPEG-TS over UDP, unicast: a configured input without any handshake.
//!
//! Who sends to the port publishes. The stream is live while something arrives, and from one sender: while it
//! lasts, datagrams of others are dropped and counted.

use crate::{
    auth::{Action, Ask, Gate, Refused},
    hub::{Clients, Registry, Role},
    key::StreamKey,
    protocol::ts_ingest::TsIngest,
};
use std::{io, net::SocketAddr, time::Duration};
use thalweg_runtime::{self as rt, net::UdpSocket};
use tracing::{info, warn};

/// The largest datagram that is taken whole: any that UDP can carry.
const DATAGRAM_BYTES: usize = 65_536;

/// How long a stream that somebody else publishes is left alone.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Publishes what arrives on `socket` as `key`, until the coroutine is cancelled.
///
/// # Suspends
///
/// Between datagrams.
///
/// # Errors
///
/// What the socket reports, a cancellation included.
pub fn serve(
    socket: &UdpSocket,
    clients: &Clients,
    registry: &Registry,
    gate: &Gate,
    key: &StreamKey,
    silence: Duration,
) -> io::Result<()> {
    let mut buf = vec![0; DATAGRAM_BYTES];
    loop {
        let (len, sender) = socket.recv_from(&mut buf)?;
        let first = buf.get(..len).unwrap_or_default().to_owned();
        publish(socket, clients, registry, gate, key, silence, sender, &first, &mut buf)?;
    }
}

/// One publication: from its first datagram until nothing has come for `silence`.
fn publish(
    socket: &UdpSocket,
    clients: &Clients,
    registry: &Registry,
    gate: &Gate,
    key: &StreamKey,
    silence: Duration,
    sender: SocketAddr,
    first: &[u8],
    buf: &mut [u8],
) -> io::Result<()> {
    let client = clients.enter("udp", sender);
    let ask = Ask::new(Action::Publish, key, "udp", sender).of_client(client.id.0);
    let grant = match gate.publish_configured(&ask) {
        Ok(grant) => grant,
        Err(Refused::Wait(error)) => return Err(error.into()),
        Err(refused) => {
            warn!(stream = %key, %sender, %refused, "datagrams are dropped");
            return drop_for_a_while(socket, buf);
        }
    };
    let publisher = match registry.publish(&grant, false) {
        Ok(publisher) => publisher,
        Err(error) => {
            warn!(stream = %key, %sender, %error, "datagrams are dropped");
            return drop_for_a_while(socket, buf);
        }
    };
    client.set_role(Role::Publisher(key.clone()));
    info!(stream = %key, %sender, "publishes");
    let mut ingest = TsIngest::new(publisher);
    let mut dropped = 0_u64;
    client.add_received(first.len());
    ingest.push(first);
    let mut until = rt::now() + silence;
    loop {
        match rt::deadline(until, || socket.recv_from(buf)) {
            Ok((len, from)) if from == sender => {
                client.add_received(len);
                ingest.push(buf.get(..len).unwrap_or_default());
                until = rt::now() + silence;
            }
            Ok(_) => dropped += 1,
            Err(error) if rt::timed_out(&error).is_some() => break,
            Err(error) => return Err(error),
        }
        if !ingest.is_current() {
            break;
        }
        if let Some(limit) = ingest.exceeded_bps() {
            warn!(stream = %key, %sender, limit, "sends more bits a second than limits.bitrate_per_publisher");
            ingest.finish();
            return drop_for_a_while(socket, buf);
        }
    }
    ingest.finish();
    info!(stream = %key, %sender, received = client.received.get(), dropped, "closed");
    Ok(())
}

/// Somebody else publishes the stream: drops what comes until it is time to look again.
fn drop_for_a_while(socket: &UdpSocket, buf: &mut [u8]) -> io::Result<()> {
    let until = rt::now() + LOOK_AGAIN;
    loop {
        match rt::deadline(until, || socket.recv_from(buf)) {
            Ok(_) => {}
            Err(error) if rt::timed_out(&error).is_some() => return Ok(()),
            Err(error) => return Err(error),
        }
    }
}
