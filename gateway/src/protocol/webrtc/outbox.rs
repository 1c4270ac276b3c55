//! What a peer sends: by UDP through the tray of all peers, or by its connections of TCP; and which address it leaves from.

use super::routes::Mailbox;
use std::net::{IpAddr, SocketAddr};
use str0m::net::{Protocol, Transmit};

/// The way out of one peer.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    /// From which address the last datagram of each address came, so that answers leave from there.
    locals: Vec<(SocketAddr, IpAddr)>,
    total: u64,
}

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

    /// Adds a packet, which leaves at the next [`Mailbox::flush`].
    pub(super) fn push(&mut self, transmit: &Transmit, mailbox: &Mailbox) {
        let (to, packet) = (transmit.destination, &*transmit.contents);
        self.total += packet.len() as u64;
        if transmit.proto == Protocol::Udp {
            let from = self.locals.iter().find(|(known, _)| *known == to).map(|&(_, local)| local);
            mailbox.port().tray().put(to, from, packet);
        } else {
            mailbox.put_on_wire(to, packet);
        }
    }

    /// Bytes that were sent in all.
    pub(super) const fn total(&self) -> u64 {
        self.total
    }
}
