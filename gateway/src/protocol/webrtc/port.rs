//! The one UDP port of all peers: who gets which datagram, and which address an answer leaves from.
//!
//! A check of ICE names its peer by the user name in it; everything else is for whom the last good check from the same
//! address was for. Both are found in a table.

use super::stun;
use nix::{ifaddrs, net::if_::InterfaceFlags};
use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    io::{self, IoSliceMut},
    net::{IpAddr, SocketAddr},
    rc::{Rc, Weak},
};
use thalweg_runtime::{
    net::{RecvMeta, Transmit, UdpSocket},
    sync::channel::{self, Receiver, Sender},
};

/// A socket for WebRTC, and the peers behind it.
#[derive(Debug)]
pub struct Port {
    socket: UdpSocket,
    local: SocketAddr,
    /// What peers are told; empty for the addresses of the machine.
    announced: Vec<IpAddr>,
    routes: RefCell<Routes>,
    can_cut: bool,
    /// Datagrams that were for nobody.
    strays: Cell<u64>,
}

/// A datagram for a peer.
#[derive(Debug)]
pub(super) struct Datagram {
    /// From where, IPv4 as such.
    pub(super) source: SocketAddr,
    /// The address of this machine that it came to.
    pub(super) local: Option<IpAddr>,
    pub(super) bytes: Vec<u8>,
}

/// Where a peer's datagrams arrive. Dropping it takes the peer out of the tables.
#[derive(Debug)]
pub(super) struct Mailbox {
    port: Rc<Port>,
    ufrag: RefCell<String>,
    inbox: Rc<Inbox>,
    datagrams: Receiver<Datagram>,
}

#[derive(Debug, Default)]
struct Routes {
    by_ufrag: HashMap<String, Weak<Inbox>>,
    by_address: HashMap<SocketAddr, Weak<Inbox>>,
}

#[derive(Debug)]
struct Inbox {
    sender: Sender<Datagram>,
    /// From where its checks came.
    addresses: RefCell<Vec<SocketAddr>>,
}

/// Datagrams that wait for one peer at most; what is beyond is lost, as in a socket's buffer.
const INBOX: usize = 256;

/// Addresses of one peer that are known at a time: its interfaces, IPv4 and IPv6, before and after NAT.
const ADDRESSES_MAX: usize = 16;

/// Longer datagrams are none of WebRTC's: its packets fit the least MTU there is, with room to spare.
const DATAGRAM_BYTES: usize = 2_048;

impl Port {
    /// Uses `socket`; peers are told to send to `announced` addresses, or to those of the machine when there are none.
    ///
    /// # Errors
    ///
    /// When the socket does not tell its address.
    pub fn new(socket: UdpSocket, announced: Vec<IpAddr>) -> io::Result<Rc<Self>> {
        let local = socket.local_addr()?;
        let can_cut = socket.has_segmentation()?;
        let (routes, strays) = (RefCell::default(), Cell::new(0));
        Ok(Rc::new(Self { socket, local, announced, routes, can_cut, strays }))
    }

    /// Where it listens.
    pub const fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// How many datagrams came that were for no peer.
    pub fn strays(&self) -> u64 {
        self.strays.get()
    }

    /// Hands out what arrives, until the coroutine is cancelled.
    ///
    /// # Suspends
    ///
    /// Between datagrams.
    ///
    /// # Errors
    ///
    /// What the socket reports, a cancellation included.
    pub fn serve(&self) -> io::Result<()> {
        let mut memory = vec![0; UdpSocket::BATCH * DATAGRAM_BYTES];
        let mut meta = vec![RecvMeta::new(); UdpSocket::BATCH];
        loop {
            let mut buffers: Vec<_> =
                memory.chunks_mut(DATAGRAM_BYTES).map(IoSliceMut::new).collect();
            let count = match self.socket.recv_many(&mut buffers, &mut meta) {
                Ok(count) => count,
                // An ICMP message about something that was sent.
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => continue,
                Err(error) => return Err(error),
            };
            for (meta, buffer) in meta.iter().zip(&buffers).take(count) {
                if !meta.truncated {
                    self.route(meta, buffer.get(..meta.len).unwrap_or_default());
                }
            }
        }
    }

    /// The addresses that a peer is told to send to: what was configured, or the machine's own. A peer on this machine
    /// may also use the loopback.
    pub(super) fn candidates(&self, is_peer_here: bool) -> Vec<SocketAddr> {
        let at = |ip| SocketAddr::new(ip, self.local.port());
        if !self.announced.is_empty() {
            return self.announced.iter().copied().map(at).collect();
        }
        let bound = self.local.ip().to_canonical();
        if !bound.is_unspecified() {
            return vec![at(bound)];
        }
        let takes_v6 = self.local.is_ipv6();
        let interfaces = ifaddrs::getifaddrs().into_iter().flatten();
        let addresses =
            interfaces.filter(|interface| interface.flags.contains(InterfaceFlags::IFF_UP));
        let addresses = addresses.filter_map(|interface| {
            let address = interface.address?;
            let v4 = address.as_sockaddr_in().map(|v4| IpAddr::V4(v4.ip()));
            v4.or_else(|| address.as_sockaddr_in6().map(|v6| IpAddr::V6(v6.ip())))
        });
        addresses
            .filter(|ip| ip.is_ipv4() || takes_v6)
            .filter(|ip| is_peer_here || !ip.is_loopback())
            // An address that holds on one link only needs to be told which link.
            .filter(|ip| !matches!(ip, IpAddr::V6(ip) if ip.is_unicast_link_local()))
            .map(at)
            .collect()
    }

    /// A peer that is known by this name from now on.
    pub(super) fn enter(self: &Rc<Self>, ufrag: &str) -> Mailbox {
        let (sender, datagrams) = channel::bounded(INBOX);
        let inbox = Rc::new(Inbox { sender, addresses: RefCell::default() });
        self.routes.borrow_mut().by_ufrag.insert(ufrag.to_owned(), Rc::downgrade(&inbox));
        let ufrag = RefCell::new(ufrag.to_owned());
        Mailbox { port: Rc::clone(self), ufrag, inbox, datagrams }
    }

    fn route(&self, meta: &RecvMeta, bytes: &[u8]) {
        let source = SocketAddr::new(meta.source.ip().to_canonical(), meta.source.port());
        let inbox = match stun::local_ufrag(bytes) {
            Some(ufrag) => self.routes.borrow_mut().checked(ufrag, source),
            None => self.routes.borrow().by_address.get(&source).and_then(Weak::upgrade),
        };
        let Some(inbox) = inbox else {
            self.strays.set(self.strays.get() + 1);
            return;
        };
        let local = meta.local.map(|local| local.to_canonical());
        // A peer that does not keep up loses datagrams.
        let _lost = inbox.sender.try_send(Datagram { source, local, bytes: bytes.to_vec() });
    }

    /// Sends runs of packets, each to one address; what cannot be sent is lost, as any datagram may be.
    ///
    /// # Suspends
    ///
    /// While the socket's buffer is full.
    pub(super) fn send(&self, runs: &[Run]) -> io::Result<()> {
        let transmits: Vec<_> = runs.iter().map(|run| run.transmit(self.local.is_ipv6())).collect();
        let mut rest = transmits.as_slice();
        while !rest.is_empty() {
            match self.socket.send_many(rest) {
                Ok(sent) => rest = rest.get(sent..).unwrap_or_default(),
                Err(error) if thalweg_runtime::is_cancelled(&error) => return Err(error),
                Err(error) if thalweg_runtime::timed_out(&error).is_some() => return Err(error),
                // About the first of them: no route, or a firewall. ICE notices when it lasts.
                Err(_) => rest = rest.get(1..).unwrap_or_default(),
            }
        }
        Ok(())
    }

    /// Whether the kernel cuts a run into its packets.
    pub(super) const fn can_cut(&self) -> bool {
        self.can_cut
    }
}

/// Packets of the same length, the last of which may be shorter, from one address to another.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) to: SocketAddr,
    pub(super) from: Option<IpAddr>,
    pub(super) bytes: Vec<u8>,
    pub(super) packet_len: usize,
}

impl Run {
    fn transmit(&self, is_v6: bool) -> Transmit<'_> {
        let to = if is_v6 { mapped(self.to) } else { self.to };
        let from = self.from.map(|ip| if is_v6 { mapped(SocketAddr::new(ip, 0)).ip() } else { ip });
        let transmit = Transmit::new(&self.bytes).to(to).from(from);
        match u16::try_from(self.packet_len) {
            Ok(len) if self.bytes.len() > self.packet_len => transmit.segment_size(len),
            _ => transmit,
        }
    }
}

/// An IPv4 address as a socket of IPv6 writes it.
fn mapped(address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(ip) => SocketAddr::new(IpAddr::V6(ip.to_ipv6_mapped()), address.port()),
        IpAddr::V6(_) => address,
    }
}

impl Routes {
    /// Who is meant by a check, and reached at this address from now on, unless that is another's.
    fn checked(&mut self, ufrag: &str, source: SocketAddr) -> Option<Rc<Inbox>> {
        let inbox = self.by_ufrag.get(ufrag)?.upgrade()?;
        let known = self.by_address.get(&source).and_then(Weak::upgrade);
        let mut addresses = inbox.addresses.borrow_mut();
        // A check is not proven genuine yet: it takes no address away from another.
        if known.is_none() && addresses.len() < ADDRESSES_MAX {
            self.by_address.insert(source, Rc::downgrade(&inbox));
            addresses.push(source);
        }
        drop(addresses);
        Some(inbox)
    }
}

impl Mailbox {
    /// What arrives.
    pub(super) const fn datagrams(&self) -> &Receiver<Datagram> {
        &self.datagrams
    }

    pub(super) const fn port(&self) -> &Rc<Port> {
        &self.port
    }

    /// The peer has another name from now on, after a restart of ICE.
    pub(super) fn rename(&self, ufrag: &str) {
        let mut routes = self.port.routes.borrow_mut();
        let before = self.ufrag.replace(ufrag.to_owned());
        routes.by_ufrag.remove(&before);
        routes.by_ufrag.insert(ufrag.to_owned(), Rc::downgrade(&self.inbox));
    }
}

impl Drop for Mailbox {
    fn drop(&mut self) {
        let mut routes = self.port.routes.borrow_mut();
        routes.by_ufrag.remove(&*self.ufrag.borrow());
        for address in self.inbox.addresses.borrow().iter() {
            let is_ours = routes
                .by_address
                .get(address)
                .is_some_and(|inbox| std::ptr::eq(inbox.as_ptr(), Rc::as_ptr(&self.inbox)));
            if is_ours {
                routes.by_address.remove(address);
            }
        }
    }
}
