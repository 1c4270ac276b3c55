//! What a peer sends: by UDP through the tray of all peers, or by its connections of TCP; and which address it leaves from.

use super::{addresses::Transport, routes::Mailbox};
use std::{
    net::{IpAddr, SocketAddr},
    ops::RangeInclusive,
};
use str0m::{net::Transmit, stats::CandidatePairStats};

/// The way out of one peer.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    /// From which address the last datagram of each address came, so that answers leave from there.
    locals: Vec<(SocketAddr, IpAddr)>,
    /// Where media goes.
    way: Option<(Transport, SocketAddr)>,
    total: u64,
}

/// The first byte of a packet of DTLS (RFC 7983 §7).
const DTLS: RangeInclusive<u8> = 20..=63;

/// Addresses of a peer that are remembered.
const LOCALS_MAX: usize = 16;

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

    /// Adds a packet of the stack, which leaves at the next [`Mailbox::flush`].
    pub(super) fn push(&mut self, transmit: &Transmit, mailbox: &Mailbox) {
        let (to, packet) = (transmit.destination, &*transmit.contents);
        let transport = Transport::from(transmit.proto);
        // DTLS takes the way that was agreed on, checks take all of them.
        if packet.first().is_some_and(|first| DTLS.contains(first)) {
            self.way = Some((transport, to));
        }
        self.add((transport, to), mailbox, |bytes| bytes.extend_from_slice(packet));
    }

    /// The way that was agreed on may be another now.
    pub(super) fn note_way(&mut self, pair: Option<&CandidatePairStats>) {
        if let Some(pair) = pair {
            self.way = Some((pair.protocol.into(), pair.remote.addr));
        }
    }

    /// Adds a packet of media, which `write` writes behind what is there.
    pub(super) fn put(&mut self, mailbox: &Mailbox, write: impl FnOnce(&mut Vec<u8>)) {
        if let Some(way) = self.way {
            self.add(way, mailbox, write);
        }
    }

    fn add(
        &mut self,
        (transport, to): (Transport, SocketAddr),
        mailbox: &Mailbox,
        write: impl FnOnce(&mut Vec<u8>),
    ) {
        let len = match transport {
            Transport::Udp => {
                let from = self.locals.iter().find(|(known, _)| *known == to);
                mailbox.port().tray().put(to, from.map(|&(_, local)| local), write)
            }
            Transport::Tcp => {
                let mut packet = Vec::new();
                write(&mut packet);
                mailbox.put_on_wire(to, &packet);
                packet.len()
            }
        };
        self.total += len as u64;
    }

    /// Bytes that were sent in all.
    pub(super) const fn total(&self) -> u64 {
        self.total
    }
}
