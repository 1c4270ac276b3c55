//! What a peer sends at once: packets of one length to one address in one run, which the kernel cuts.

use super::{
    addresses::Transport,
    port::{Port, Run},
    routes::Mailbox,
};
use std::{
    io,
    net::{IpAddr, SocketAddr},
};
use str0m::net::{Protocol, Transmit};

/// Packets that wait to be sent together.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    runs: Vec<Run>,
    /// Whether the last run may get another packet.
    is_open: bool,
    /// From which address the last datagram of each address came, so that answers leave from there.
    locals: Vec<(SocketAddr, IpAddr)>,
    bytes: usize,
    total: u64,
}

/// So many packets the kernel cuts a run into at most (`UDP_MAX_SEGMENTS`).
const RUN_PACKETS: usize = 64;

/// Addresses of a peer that are remembered.
const LOCALS_MAX: usize = 16;

/// With so much waiting, it is sent: a socket's buffer holds little more.
const FULL_BYTES: usize = 128 << 10;

impl Outbox {
    /// A datagram came from `peer` to `local`.
    pub(super) fn heard(&mut self, peer: SocketAddr, local: Option<IpAddr>) {
        let Some(local) = local else { return };
        if let Some((_, known)) = self.locals.iter_mut().find(|(known, _)| *known == peer) {
            *known = local;
        } else if self.locals.len() < LOCALS_MAX {
            self.locals.push((peer, local));
        }
    }

    /// Adds a packet.
    pub(super) fn push(&mut self, transmit: &Transmit, port: &Port) {
        let (to, bytes) = (transmit.destination, &*transmit.contents);
        let transport = match transmit.proto {
            Protocol::Udp => Transport::Udp,
            _ => Transport::Tcp,
        };
        self.bytes += bytes.len();
        self.total += bytes.len() as u64;
        if self.is_open
            && let Some(run) = self.runs.last_mut()
            && run.to == to
            && run.transport == transport
            && bytes.len() <= run.packet_len
            && run.bytes.len() < run.packet_len * RUN_PACKETS
            // A datagram of UDP, the headers aside.
            && run.bytes.len() + bytes.len() < 65_000
        {
            run.bytes.extend_from_slice(bytes);
            // A shorter one is the last.
            self.is_open = bytes.len() == run.packet_len;
            return;
        }
        let from = self.locals.iter().find(|(known, _)| *known == to).map(|&(_, local)| local);
        let mut memory = port.tray().memory();
        memory.extend_from_slice(bytes);
        self.runs.push(Run { transport, to, from, bytes: memory, packet_len: bytes.len() });
        self.is_open = port.can_cut();
    }

    /// Whether it is time to send.
    pub(super) const fn is_full(&self) -> bool {
        self.bytes >= FULL_BYTES
    }

    /// Bytes that were sent in all.
    pub(super) const fn total(&self) -> u64 {
        self.total
    }

    /// Sends what is waiting: now, or soon and with what other peers send.
    ///
    /// # Suspends
    ///
    /// While the socket's buffer is full.
    pub(super) fn flush(&mut self, mailbox: &Mailbox, with_others: bool) -> io::Result<()> {
        if self.runs.is_empty() {
            return Ok(());
        }
        let sent =
            if with_others { mailbox.leave(&mut self.runs) } else { mailbox.send(&self.runs) };
        mailbox.port().tray().give_back(self.runs.drain(..));
        self.is_open = false;
        self.bytes = 0;
        sent
    }
}
