//! Which peer a packet is for: found by the name in a check of ICE, or by the address that the last check came from.
//!
//! A name alone proves nothing, since it passes networks in the clear. A check counts once its integrity holds, which takes
//! the password (RFC 8445 §7.3): what is forged reaches no peer, takes no address and fills no table. Nor does a check that
//! was recorded elsewhere and comes again from another address.

use super::{
    addresses::Transport,
    port::Port,
    rtcp,
    stun::{self, Check},
    wire::Wire,
};
use std::{
    cell::{Cell, RefCell},
    collections::{HashMap, VecDeque},
    io,
    net::{IpAddr, SocketAddr},
    rc::{Rc, Weak},
    time::{Duration, Instant},
};
use str0m::IceCreds;
use thalweg_runtime::{
    self as rt,
    sync::channel::{self, Receiver, SendError, Sender},
};

/// A packet for a peer.
#[derive(Debug)]
pub(super) struct Datagram {
    pub(super) transport: Transport,
    /// From where, IPv4 as such.
    pub(super) source: SocketAddr,
    /// The address of this machine that it came to.
    pub(super) local: Option<IpAddr>,
    /// When it came.
    pub(super) at: Instant,
    pub(super) bytes: Vec<u8>,
}

/// Where a peer's packets arrive, and what it sends leaves. Dropping it takes the peer out of the tables and ends its
/// connections.
#[derive(Debug)]
pub(super) struct Mailbox {
    port: Rc<Port>,
    ufrag: RefCell<String>,
    inbox: Rc<Inbox>,
    datagrams: Receiver<Datagram>,
    /// Much waits on one of its connections of TCP.
    is_loaded: Cell<bool>,
}

/// Who is where.
#[derive(Debug, Default)]
pub(super) struct Routes {
    by_ufrag: HashMap<String, Named>,
    by_address: HashMap<SocketAddr, Known>,
}

/// A peer's part of the tables.
#[derive(Debug)]
pub(super) struct Inbox {
    sender: Sender<Datagram>,
    /// Feedback on congestion, for which no peer is woken.
    feedback: RefCell<VecDeque<Datagram>>,
    /// From where its checks came over UDP.
    addresses: RefCell<Vec<SocketAddr>>,
    /// Its connections of TCP by the addresses they come from, the latest last.
    wires: RefCell<Vec<(SocketAddr, Rc<Wire>)>>,
    /// From how many places it has been heard of.
    places: Cell<u32>,
    /// Packets that no connection took.
    unsent: Cell<u64>,
    /// The checks that came last, and from where.
    seen: RefCell<VecDeque<([u8; 12], SocketAddr)>>,
}

#[derive(Debug)]
struct Named {
    inbox: Weak<Inbox>,
    password: String,
}

#[derive(Debug)]
struct Known {
    inbox: Weak<Inbox>,
    /// When a check came from there last.
    checked: Instant,
}

/// Packets that wait for one peer at most; what is beyond is lost, as in a socket's buffer.
const INBOX: usize = 256;

/// Feedback that waits for one peer until it is woken by something else: more than comes between two pictures.
const FEEDBACK_MAX: usize = 16;

/// Addresses of one peer that are known at a time: its interfaces, IPv4 and IPv6, before and after NAT.
const ADDRESSES_MAX: usize = 16;

/// Connections of TCP that one peer has at a time; a further one takes the place of the oldest.
const WIRES_MAX: usize = 8;

/// Places that one peer is heard of from at most, one after the other and each connection counted: the stack forgets none.
const PLACES_MAX: u32 = 2_000;

/// Checks of one peer that are remembered: minutes of a browser, which makes one every few seconds for each pair.
const SEEN_MAX: usize = 64;

/// An address from which no check came for so long may become another's: consent has expired (RFC 7675 §5.1).
const CONSENT: Duration = Duration::from_secs(30);

impl Routes {
    /// Who a packet over UDP is for.
    pub(super) fn find(
        &mut self,
        bytes: &[u8],
        source: SocketAddr,
        now: Instant,
    ) -> Option<Rc<Inbox>> {
        match stun::local_ufrag(bytes) {
            Some(ufrag) => {
                let (inbox, check) = self.check(ufrag, bytes, source)?;
                let is_from_there = self.learn(&inbox, source, now);
                // What is turned away is not remembered, so that it may come again.
                is_from_there.then(|| {
                    inbox.remember(&check, source);
                    inbox
                })
            }
            None => self.by_address.get(&source).and_then(|known| known.inbox.upgrade()),
        }
    }

    /// Whose connection it is that begins with this packet.
    pub(super) fn find_first(&self, bytes: &[u8], source: SocketAddr) -> Option<Rc<Inbox>> {
        let (inbox, check) = self.check(stun::local_ufrag(bytes)?, bytes, source)?;
        inbox.count_place().then(|| {
            inbox.remember(&check, source);
            inbox
        })
    }

    /// A check that is genuine, and new or from where it came before.
    fn check(&self, ufrag: &str, bytes: &[u8], source: SocketAddr) -> Option<(Rc<Inbox>, Check)> {
        let named = self.by_ufrag.get(ufrag)?;
        let inbox = named.inbox.upgrade()?;
        let check = stun::genuine(bytes, &named.password)?;
        let is_elsewhere =
            inbox.seen.borrow().iter().any(|&(id, from)| id == check && from != source);
        (!is_elsewhere).then_some((inbox, check))
    }

    /// The peer is reached at this address from now on; `false` when that is another's, or it has too many.
    fn learn(&mut self, inbox: &Rc<Inbox>, source: SocketAddr, now: Instant) -> bool {
        if let Some(known) = self.by_address.get_mut(&source) {
            if known.is_of(inbox) {
                known.checked = now;
                return true;
            }
            if known.inbox.strong_count() > 0 && now < known.checked + CONSENT {
                return false;
            }
        }
        let mut addresses = inbox.addresses.borrow_mut();
        if addresses.len() >= ADDRESSES_MAX {
            let checked = |address: &SocketAddr| {
                self.by_address.get(address).filter(|known| known.is_of(inbox)).map(|it| it.checked)
            };
            let ages = addresses.iter().map(checked).enumerate();
            let Some((oldest, last)) = ages.min_by_key(|&(_, checked)| checked) else {
                return false;
            };
            if last.is_some_and(|checked| now < checked + CONSENT) {
                return false;
            }
            let oldest = addresses.swap_remove(oldest);
            if last.is_some() {
                self.by_address.remove(&oldest);
            }
        }
        if !inbox.count_place() {
            return false;
        }
        addresses.push(source);
        self.by_address.insert(source, Known { inbox: Rc::downgrade(inbox), checked: now });
        true
    }

    fn name(&mut self, credentials: &IceCreds, inbox: &Rc<Inbox>) {
        let named = Named { inbox: Rc::downgrade(inbox), password: credentials.pass.clone() };
        self.by_ufrag.insert(credentials.ufrag.clone(), named);
    }

    fn forget(&mut self, ufrag: &str, inbox: &Rc<Inbox>) {
        self.by_ufrag.remove(ufrag);
        for address in inbox.addresses.borrow().iter() {
            if self.by_address.get(address).is_some_and(|known| known.is_of(inbox)) {
                self.by_address.remove(address);
            }
        }
    }
}

impl Known {
    fn is_of(&self, inbox: &Rc<Inbox>) -> bool {
        std::ptr::eq(self.inbox.as_ptr(), Rc::as_ptr(inbox))
    }
}

impl Inbox {
    fn new() -> (Rc<Self>, Receiver<Datagram>) {
        let (sender, datagrams) = channel::bounded(INBOX);
        let (feedback, addresses, wires, places, unsent, seen) = Default::default();
        (Rc::new(Self { sender, feedback, addresses, wires, places, unsent, seen }), datagrams)
    }

    /// A peer that does not keep up loses packets. The result is whether this one can wait until it is woken for
    /// something else.
    pub(super) fn offer(&self, datagram: Datagram) -> bool {
        if rtcp::is_congestion_feedback(&datagram.bytes) {
            let mut feedback = self.feedback.borrow_mut();
            if feedback.len() < FEEDBACK_MAX {
                feedback.push_back(datagram);
                return true;
            }
        }
        let _lost = self.sender.try_send(datagram);
        false
    }

    /// Hands over a packet of TCP, which can wait.
    ///
    /// # Suspends
    ///
    /// While the peer has as many packets as it may.
    ///
    /// # Errors
    ///
    /// When the peer is gone, or the wait was cancelled.
    pub(super) fn deliver(&self, datagram: Datagram) -> Result<(), SendError<Datagram>> {
        self.sender.send(datagram)
    }

    /// What the peer sends to `source` leaves by this connection from now on.
    pub(super) fn connect(&self, source: SocketAddr, wire: &Rc<Wire>) {
        let mut wires = self.wires.borrow_mut();
        let before = wires.extract_if(.., |(known, _)| *known == source);
        before.for_each(|(_, wire)| wire.close());
        if wires.len() >= WIRES_MAX {
            wires.remove(0).1.close();
        }
        wires.push((source, Rc::clone(wire)));
        if self.sender.is_closed() {
            wire.close();
        }
    }

    /// That connection is no more.
    pub(super) fn disconnect(&self, wire: &Rc<Wire>) {
        self.wires.borrow_mut().retain(|(_, known)| !Rc::ptr_eq(known, wire));
    }

    /// It is heard of from another place; `false` when those have been too many.
    fn count_place(&self) -> bool {
        self.places.set(self.places.get().saturating_add(1));
        self.places.get() <= PLACES_MAX
    }

    fn remember(&self, &check: &Check, source: SocketAddr) {
        let mut seen = self.seen.borrow_mut();
        if seen.contains(&(check, source)) {
            return;
        }
        if seen.len() >= SEEN_MAX {
            seen.pop_front();
        }
        seen.push_back((check, source));
    }

    /// Puts a packet on the connection that it is for, or on the latest, when that one was replaced.
    ///
    /// The result is whether much waits there.
    fn send(&self, to: SocketAddr, packet: &[u8]) -> bool {
        let wires = self.wires.borrow();
        let wire = wires.iter().find(|(source, _)| *source == to).or_else(|| wires.last());
        let is_taken = wire.is_some_and(|(_, wire)| wire.push(packet, rt::now()));
        if !is_taken {
            self.unsent.set(self.unsent.get() + 1);
        }
        wire.is_some_and(|(_, wire)| wire.is_half_full())
    }
}

impl Mailbox {
    /// A peer that is known by this name from now on.
    pub(super) fn new(port: &Rc<Port>, credentials: &IceCreds) -> Self {
        let (inbox, datagrams) = Inbox::new();
        port.routes().borrow_mut().name(credentials, &inbox);
        let ufrag = RefCell::new(credentials.ufrag.clone());
        Self { port: Rc::clone(port), ufrag, inbox, datagrams, is_loaded: Cell::new(false) }
    }

    /// What arrives.
    pub(super) const fn datagrams(&self) -> &Receiver<Datagram> {
        &self.datagrams
    }

    /// Feedback on congestion, which is a peer's to take when it was woken for something else: it comes too often to be
    /// worth a wake-up each.
    pub(super) fn take_feedback(&self) -> Option<Datagram> {
        self.inbox.feedback.borrow_mut().pop_front()
    }

    pub(super) const fn port(&self) -> &Rc<Port> {
        &self.port
    }

    /// Packets for TCP that its connections had no room for.
    pub(super) fn unsent(&self) -> u64 {
        self.inbox.unsent.get()
    }

    /// The peer has another name from now on, after a restart of ICE.
    pub(super) fn rename(&self, credentials: &IceCreds) {
        let mut routes = self.port.routes().borrow_mut();
        let before = self.ufrag.replace(credentials.ufrag.clone());
        routes.by_ufrag.remove(&before);
        routes.name(credentials, &self.inbox);
    }

    /// Gives a packet to a connection of TCP, now: what there is no room for is lost, as any datagram may be.
    pub(super) fn put_on_wire(&self, to: SocketAddr, packet: &[u8]) {
        self.is_loaded.set(self.inbox.send(to, packet) | self.is_loaded.get());
    }

    /// Whether so much waits that it is time to [`Mailbox::flush`].
    pub(super) fn is_full(&self) -> bool {
        self.is_loaded.get() || self.port.tray().is_full()
    }

    /// Sends what the peer has put in the port's tray: soon and with what other peers send, unless that is much or `is_urgent`.
    ///
    /// # Suspends
    ///
    /// While the socket's buffer is full. Connections of TCP get a turn, and no more.
    pub(super) fn flush(&self, is_urgent: bool) -> io::Result<()> {
        if self.is_loaded.take() {
            rt::yield_now()?;
        }
        let tray = self.port.tray();
        match tray.is_empty() {
            true => Ok(()),
            false if is_urgent || tray.is_full() => self.port.empty_tray(),
            false => {
                tray.offer();
                Ok(())
            }
        }
    }
}

impl Drop for Mailbox {
    fn drop(&mut self) {
        self.port.routes().borrow_mut().forget(&self.ufrag.borrow(), &self.inbox);
        for (_, wire) in self.inbox.wires.borrow_mut().drain(..) {
            wire.close();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::webrtc::stun::tests::check;

    const PASSWORD: &str = "password of 24 characters";

    /// Tables with these peers in them.
    fn routes<const N: usize>(ufrags: [&str; N]) -> (Routes, [Rc<Inbox>; N]) {
        let mut routes = Routes::default();
        let inboxes = ufrags.map(|ufrag| {
            let (inbox, _) = Inbox::new();
            let credentials = IceCreds { ufrag: ufrag.to_owned(), pass: PASSWORD.to_owned() };
            routes.name(&credentials, &inbox);
            inbox
        });
        (routes, inboxes)
    }

    fn from(port: u16) -> SocketAddr {
        SocketAddr::new([192, 0, 2, 1].into(), port)
    }

    fn is(found: Option<Rc<Inbox>>, inbox: &Rc<Inbox>) -> bool {
        found.is_some_and(|found| Rc::ptr_eq(&found, inbox))
    }

    /// No STUN.
    const MEDIA: &[u8] = &[0x80, 96, 0, 1];

    #[test]
    fn forged_checks_reach_nobody_and_do_not_keep_the_peer_out() {
        rt::run(|| {
            let (mut routes, [inbox]) = routes(["ours"]);
            let now = rt::now();
            for port in 1..1_000 {
                assert!(routes.find(&check("ours", "guessed"), from(port), now).is_none());
                assert!(routes.find(MEDIA, from(port), now).is_none());
            }
            assert!(routes.find_first(&check("ours", "guessed"), from(1)).is_none());
            assert!(routes.by_address.is_empty() && inbox.seen.borrow().is_empty());
            assert!(is(routes.find(&check("ours", PASSWORD), from(7), now), &inbox));
            assert!(is(routes.find(MEDIA, from(7), now), &inbox));
        });
    }

    #[test]
    fn a_recorded_check_is_good_from_where_it_came_and_from_nowhere_else() {
        rt::run(|| {
            let (mut routes, [inbox]) = routes(["ours"]);
            let (now, recorded) = (rt::now(), check("ours", PASSWORD));
            assert!(is(routes.find(&recorded, from(1), now), &inbox));
            assert!(is(routes.find(&recorded, from(1), now), &inbox));
            assert!(routes.find(&recorded, from(2), now).is_none());
            assert!(routes.find_first(&recorded, from(2)).is_none());
            assert!(routes.find(MEDIA, from(2), now).is_none());
        });
    }

    #[test]
    fn an_address_is_its_peers_until_that_was_not_heard_of_for_long() {
        rt::run(|| {
            let (mut routes, [first, second]) = routes(["first", "second"]);
            let now = rt::now();
            assert!(is(routes.find(&check("first", PASSWORD), from(1), now), &first));
            let taken = check("second", PASSWORD);
            assert!(routes.find(&taken, from(1), now + CONSENT / 2).is_none());
            assert!(is(routes.find(MEDIA, from(1), now), &first));
            assert!(is(routes.find(&taken, from(1), now + CONSENT), &second));
            assert!(is(routes.find(MEDIA, from(1), now), &second));
            // The one who left it has lost no place by it, and takes nothing along when it goes.
            routes.forget("first", &first);
            assert!(is(routes.find(MEDIA, from(1), now), &second));
            routes.forget("second", &second);
            assert!(routes.by_address.is_empty() && routes.by_ufrag.is_empty());
        });
    }

    #[test]
    fn a_peer_that_connects_again_and_again_is_turned_away_in_the_end() {
        rt::run(|| {
            let (mut routes, [inbox]) = routes(["ours"]);
            assert!(is(routes.find(&check("ours", PASSWORD), from(1), rt::now()), &inbox));
            let connects = |&port: &u16| routes.find_first(&check("ours", PASSWORD), from(port));
            let count = (2..3_000).filter(|port| connects(port).is_some()).count();
            assert_eq!(count, PLACES_MAX as usize - 1);
            // Where it is known it stays.
            assert!(is(routes.find(&check("ours", PASSWORD), from(1), rt::now()), &inbox));
        });
    }

    #[test]
    fn a_peer_that_moves_on_and_on_is_found_and_its_addresses_are_bounded() {
        rt::run(|| {
            let (mut routes, [inbox]) = routes(["ours"]);
            let mut now = rt::now();
            for port in 0..200 {
                now += CONSENT / 4;
                assert!(is(routes.find(&check("ours", PASSWORD), from(port), now), &inbox));
                assert!(routes.by_address.len() <= ADDRESSES_MAX);
            }
            // So many at once has no machine.
            let many = 1_000..2_000;
            let count = many
                .filter(|&port| routes.find(&check("ours", PASSWORD), from(port), now).is_some());
            assert!(count.count() <= ADDRESSES_MAX);
            assert!(is(routes.find(&check("ours", PASSWORD), from(199), now), &inbox));
            assert_eq!(inbox.seen.borrow().len(), SEEN_MAX);
        });
    }
}
