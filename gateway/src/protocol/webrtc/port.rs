//! The one UDP port of all peers, the addresses of TCP beside it, and which address an answer leaves from.

use super::{
    addresses::{self, Local, Transport},
    routes::{Datagram, Routes},
    tcp::Newcomers,
    tray::{Load, Tray},
};
use std::{
    cell::{Cell, RefCell},
    io::{self, IoSliceMut},
    net::{IpAddr, SocketAddr},
    rc::Rc,
    time::Duration,
};
use thalweg_runtime::{
    self as rt,
    net::{RecvMeta, Transmit, UdpSocket},
};

/// A socket for WebRTC, and the peers behind it.
#[derive(Debug)]
pub struct Port {
    socket: UdpSocket,
    local: SocketAddr,
    /// Where connections of TCP are taken.
    tcp: RefCell<Vec<SocketAddr>>,
    /// What peers are told; empty for the addresses of the machine.
    announced: RefCell<Vec<IpAddr>>,
    routes: RefCell<Routes>,
    newcomers: Newcomers,
    tray: Tray,
    /// Packets that were for nobody.
    strays: Cell<u64>,
}

/// After feedback on congestion so much time passes before the socket is looked at again.
const FEEDBACK_PAUSE: Duration = Duration::from_millis(4);

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
        let announced = RefCell::new(announced);
        let (tcp, routes, newcomers, strays) = Default::default();
        Ok(Rc::new(Self {
            socket,
            local,
            tcp,
            announced,
            routes,
            newcomers,
            tray: Tray::new(can_cut),
            strays,
        }))
    }

    /// Where it listens.
    pub const fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// How many packets came that were for no peer.
    pub fn strays(&self) -> u64 {
        self.strays.get()
    }

    /// Hands out what arrives, and sends what peers have left, until the coroutine is cancelled.
    ///
    /// # Suspends
    ///
    /// Between datagrams.
    ///
    /// # Errors
    ///
    /// What the socket reports, a cancellation included.
    pub fn serve(&self) -> io::Result<()> {
        rt::scope(|scope| {
            let sender = scope.spawn(|| self.send_left());
            let end = self.receive();
            sender.cancel();
            let _over = sender.join();
            end
        })
    }

    fn receive(&self) -> io::Result<()> {
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
            let mut can_wait = true;
            for (meta, buffer) in meta.iter().zip(&buffers).take(count) {
                if !meta.truncated {
                    can_wait &= self.route(meta, buffer.get(..meta.len).unwrap_or_default());
                }
            }
            if can_wait {
                // With many viewers feedback comes all the time; it is taken some at a time.
                rt::sleep(FEEDBACK_PAUSE)?;
            } else if count == UdpSocket::BATCH {
                // There is more. Peers take theirs before, so that what they get at once fits into their inboxes.
                rt::yield_now()?;
            }
        }
    }

    /// What peers are told from now on, as in [`Port::new`].
    pub fn set_announced(&self, announced: Vec<IpAddr>) {
        self.announced.replace(announced);
    }

    fn send_left(&self) -> io::Result<()> {
        loop {
            self.tray.wait()?;
            self.empty_tray()?;
        }
    }

    /// Sends all that peers have left. What cannot be sent is lost, as any datagram may be.
    ///
    /// # Suspends
    ///
    /// While the socket's buffer is full, and while another does the same.
    pub(super) fn empty_tray(&self) -> io::Result<()> {
        // So that the packets of a peer stay in their order.
        let _turn = self.tray.turn.lock()?;
        let load = self.tray.take();
        let sent = self.send(&load);
        self.tray.give_back(load);
        sent
    }

    pub(super) const fn tray(&self) -> &Tray {
        &self.tray
    }

    /// Where connections of TCP are taken from now on.
    pub fn set_tcp(&self, addresses: Vec<SocketAddr>) {
        self.tcp.replace(addresses);
    }

    /// The addresses that a peer is told to send to. A peer on this machine may also use the loopback.
    pub(super) fn candidates(&self, is_peer_here: bool) -> Vec<Local> {
        let (tcp, announced) = (self.tcp.borrow(), self.announced.borrow());
        let tcp = tcp.iter().map(|&bound| (Transport::Tcp, bound));
        let sockets = [(Transport::Udp, self.local)].into_iter().chain(tcp);
        let locals = sockets.flat_map(|(transport, bound)| {
            addresses::of_socket(transport, bound, &announced, is_peer_here)
        });
        locals.collect()
    }

    pub(super) const fn routes(&self) -> &RefCell<Routes> {
        &self.routes
    }

    /// Connections of which it is not known yet whose they are.
    pub(super) const fn newcomers(&self) -> &Newcomers {
        &self.newcomers
    }

    /// A packet was for nobody.
    pub(super) fn add_stray(&self) {
        self.strays.set(self.strays.get() + 1);
    }

    /// Hands a packet to whom it is for, who may not have to be woken for it: that is the result.
    fn route(&self, meta: &RecvMeta, bytes: &[u8]) -> bool {
        let source = SocketAddr::new(meta.source.ip().to_canonical(), meta.source.port());
        let at = rt::now();
        let inbox = self.routes.borrow_mut().find(bytes, source, at);
        let Some(inbox) = inbox else {
            self.add_stray();
            return false;
        };
        let local = meta.local.map(|local| local.to_canonical());
        let (transport, bytes) = (Transport::Udp, bytes.to_vec());
        inbox.offer(Datagram { transport, source, local, at, bytes })
    }

    fn send(&self, load: &Load) -> io::Result<()> {
        let is_v6 = self.local.is_ipv6();
        let transmits: Vec<_> = load
            .runs()
            .map(|(to, from, packets, packet_len)| {
                let mapped_ip = |ip| mapped(SocketAddr::new(ip, 0)).ip();
                let to = if is_v6 { mapped(to) } else { to };
                let from = from.map(|ip| if is_v6 { mapped_ip(ip) } else { ip });
                let transmit = Transmit::new(packets).to(to).from(from);
                match u16::try_from(packet_len) {
                    Ok(len) if packets.len() > packet_len => transmit.segment_size(len),
                    _ => transmit,
                }
            })
            .collect();
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
}

/// An IPv4 address as a socket of IPv6 writes it.
fn mapped(address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(ip) => SocketAddr::new(IpAddr::V6(ip.to_ipv6_mapped()), address.port()),
        IpAddr::V6(_) => address,
    }
}
