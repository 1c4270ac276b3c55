//! Who is connected, and what for: what the API lists and may end.

use super::{
    events::{EventKind, Events},
    leash::Leash,
    limits::{Limits, Refusal},
    subscriber::LagProbe,
};
use crate::key::StreamKey;
use ipnet::IpNet;
use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, HashMap, hash_map::Entry},
    fmt,
    net::{IpAddr, SocketAddr},
    rc::{Rc, Weak},
    time::{Instant, SystemTime},
};
use thalweg_runtime::{self as rt, WaitError, sync::Cond};

/// Names a connection in logs and in the API, for the life of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientId(pub u64);

/// What a connection does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Role {
    /// Publishes a stream.
    Publisher(StreamKey),
    /// Plays a stream.
    Player(StreamKey),
}

/// One connection of one peer. Its entry goes when the last handle does.
pub struct Client {
    /// Its name.
    pub id: ClientId,
    /// When it was accepted.
    pub since: Instant,
    /// Bytes of media and protocol that were sent to it.
    pub sent: Cell<u64>,
    /// Bytes that came from it.
    pub received: Cell<u64>,
    /// How often it was too slow and skipped.
    pub skips: Cell<u64>,
    peer: Cell<SocketAddr>,
    /// By which protocol: `srt`, `rtmp`, `flv`, `ts`, `mp4`.
    protocol: Cell<&'static str>,
    role: RefCell<Option<Role>>,
    /// Whether it was said that it plays.
    is_playing: Cell<bool>,
    /// What had been sent to it before, and how often it had skipped.
    before: Cell<(u64, u64)>,
    lag: RefCell<Option<LagProbe>>,
    kick: RefCell<Option<Box<dyn Fn()>>>,
    leash: RefCell<Option<Leash>>,
    detail: RefCell<Option<Box<dyn Fn() -> Figures>>>,
    path: Cell<Option<Path>>,
    table: Weak<Table>,
}

/// The way that media takes, where it is another than that of the connection's first word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Path {
    /// What carries it: `udp`, `tcp`.
    pub network: &'static str,
    /// Our end, as the peer was told it.
    pub local: SocketAddr,
    /// The peer's end, as seen from here.
    pub remote: SocketAddr,
}

/// Names, with their units last, and values.
pub type Figures = Vec<(&'static str, f64)>;

/// All connections.
#[derive(Clone, Debug, Default)]
pub struct Clients(Rc<Table>);

#[derive(Default)]
struct Table {
    clients: RefCell<BTreeMap<ClientId, Weak<Client>>>,
    /// How many come from each address.
    addresses: RefCell<HashMap<IpAddr, usize>>,
    total: Cell<u64>,
    limits: Cell<Limits>,
    proxies: RefCell<Vec<IpNet>>,
    events: Events,
    is_memory_short: Cell<bool>,
    /// How often a limit was reached, or is no more.
    changes: Cell<u64>,
    changed: Cond,
    /// What those that are gone had sent and received.
    gone: Cell<(u64, u64)>,
}

impl Clients {
    /// Nobody yet, and never more than `limits` allow.
    pub fn limited(limits: Limits) -> Self {
        Self(Rc::new(Table { limits: Cell::new(limits), ..Table::default() }))
    }

    /// Admits so many from now on; who is there stays.
    pub fn set_limits(&self, limits: Limits) {
        self.0.limits.set(limits);
        self.0.change();
    }

    /// Enters a connection, whatever [`Clients::refusal`] says of it.
    pub fn enter(&self, protocol: &'static str, peer: SocketAddr) -> Rc<Client> {
        let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
        let id = ClientId(self.0.total.get() + 1);
        self.0.total.set(id.0);
        let client = Rc::new(Client {
            id,
            peer: Cell::new(peer),
            since: rt::now(),
            sent: Cell::new(0),
            received: Cell::new(0),
            skips: Cell::new(0),
            protocol: Cell::new(protocol),
            role: RefCell::new(None),
            is_playing: Cell::new(false),
            before: Cell::new((0, 0)),
            lag: RefCell::new(None),
            kick: RefCell::new(None),
            leash: RefCell::new(None),
            detail: RefCell::new(None),
            path: Cell::new(None),
            table: Rc::downgrade(&self.0),
        });
        self.0.clients.borrow_mut().insert(id, Rc::downgrade(&client));
        let count = self.count();
        if self.0.came(peer.ip()) || count == self.0.limits.get().connections {
            self.0.change();
        }
        client
    }

    /// Why one more connection from `address` must not be served.
    pub fn refusal(&self, address: IpAddr) -> Option<Refusal> {
        let most = self.0.limits.get().connections_per_ip;
        self.overload().or_else(|| {
            let is_full = self.count_from(address) >= most && !self.0.is_proxy(address);
            is_full.then_some(Refusal::ConnectionsPerIp(most))
        })
    }

    /// Proxies of these networks may have any number of connections: they come from others, of whom
    /// [`Client::comes_from`] tells.
    pub fn set_proxies(&self, networks: Vec<IpNet>) {
        *self.0.proxies.borrow_mut() = networks;
    }

    /// Why no more connections must be served, from wherever they come.
    pub fn overload(&self) -> Option<Refusal> {
        let most = self.0.limits.get().connections;
        if self.count() >= most {
            return Some(Refusal::Connections(most));
        }
        self.is_memory_short().then_some(Refusal::Memory)
    }

    /// The addresses from which there are as many connections as may be.
    pub fn full_addresses(&self) -> Vec<IpAddr> {
        let most = self.0.limits.get().connections_per_ip;
        let addresses = self.0.addresses.borrow();
        let full = addresses.iter().filter(|&(&ip, &count)| count >= most && !self.0.is_proxy(ip));
        full.map(|(&address, _)| address).collect()
    }

    /// Whether there are so many connections that not even a word may be lost about one more.
    pub fn is_flooded(&self) -> bool {
        self.count() >= self.0.limits.get().connections.saturating_mul(2)
    }

    /// Waits until what [`Clients::overload`] and [`Clients::full_addresses`] say has changed since the change numbered
    /// `seen`; the result is the number of the latest change. They count from 1.
    ///
    /// # Suspends
    ///
    /// Until then, unless it has happened already.
    ///
    /// # Errors
    ///
    /// When the wait was cancelled, or a deadline passed.
    pub fn wait_changed(&self, seen: u64) -> Result<u64, WaitError> {
        while self.0.changes.get() <= seen {
            self.0.changed.wait()?;
        }
        Ok(self.0.changes.get())
    }

    /// The connection of this id.
    pub fn find(&self, id: ClientId) -> Option<Rc<Client>> {
        self.0.clients.borrow().get(&id).and_then(Weak::upgrade)
    }

    /// All connections, oldest first.
    pub fn list(&self) -> Vec<Rc<Client>> {
        self.0.clients.borrow().values().filter_map(Weak::upgrade).collect()
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.0.clients.borrow().len()
    }

    /// How many there were in all.
    pub fn total(&self) -> u64 {
        self.0.total.get()
    }

    /// Bytes that were sent to all there ever were.
    pub fn sent(&self) -> u64 {
        self.list().iter().map(|client| client.sent.get()).sum::<u64>() + self.0.gone.get().0
    }

    /// Bytes that came from all there ever were.
    pub fn received(&self) -> u64 {
        self.list().iter().map(|client| client.received.get()).sum::<u64>() + self.0.gone.get().1
    }

    /// What happened to them.
    pub fn events(&self) -> &Events {
        &self.0.events
    }

    /// Whether memory is so short that there should be no more of them.
    pub fn is_memory_short(&self) -> bool {
        self.0.is_memory_short.get()
    }

    /// Notes whether memory is short.
    pub fn set_memory_short(&self, is_short: bool) {
        if self.0.is_memory_short.replace(is_short) != is_short {
            self.0.change();
        }
    }

    /// How many come from this address.
    pub fn count_from(&self, address: IpAddr) -> usize {
        self.0.addresses.borrow().get(&address.to_canonical()).copied().unwrap_or(0)
    }
}

impl Client {
    /// The other end, as the transport tells, or the proxy in front of it that is trusted; IPv4 as itself, also on a
    /// socket of both families.
    pub fn peer(&self) -> SocketAddr {
        self.peer.get()
    }

    /// A trusted proxy has said who is behind it.
    /// The result is why it must not be served, if so many come from there that it is one too many.
    pub fn comes_from(&self, peer: SocketAddr) -> Option<Refusal> {
        let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
        let before = self.peer.replace(peer);
        let table = self.table.upgrade()?;
        let (is_full, was_full) = (table.came(peer.ip()), table.left(before.ip()));
        if is_full || was_full {
            table.change();
        }
        let most = table.limits.get().connections_per_ip;
        let count = table.addresses.borrow().get(&peer.ip()).copied().unwrap_or(0);
        (count > most && !table.is_proxy(peer.ip())).then_some(Refusal::ConnectionsPerIp(most))
    }

    /// By which protocol, as the API names it.
    pub fn protocol(&self) -> &'static str {
        self.protocol.get()
    }

    /// The protocol is known better now: HTTP turned out to be FLV.
    pub fn set_protocol(&self, protocol: &'static str) {
        self.protocol.set(protocol);
    }

    /// What it does, once known.
    pub fn role(&self) -> Option<Role> {
        self.role.borrow().clone()
    }

    /// The stream that it publishes or plays.
    pub fn key(&self) -> Option<StreamKey> {
        self.role().map(|role| match role {
            Role::Publisher(key) | Role::Player(key) => key,
        })
    }

    /// It publishes or plays from now on. That it plays is noted when it [begins](Self::begin_play): at first it may wait.
    pub fn set_role(&self, role: Role) {
        self.end_role();
        let publishes = matches!(role, Role::Publisher(_));
        *self.role.borrow_mut() = Some(role);
        if publishes {
            self.note(EventKind::Published);
        }
    }

    /// What it plays is there. `lag` tells how far behind it is, where it reads a feed.
    pub fn begin_play(&self, lag: Option<LagProbe>) {
        *self.lag.borrow_mut() = lag;
        self.before.set((self.sent.get(), self.skips.get()));
        if !self.is_playing.replace(true) {
            self.note(EventKind::Played);
        }
    }

    /// How far behind it is, if it plays.
    pub fn lag(&self) -> Option<LagProbe> {
        self.lag.borrow().clone()
    }

    /// Bytes that it got of what it plays, and how often it skipped in it.
    pub fn played(&self) -> (u64, u64) {
        let (sent, skips) = self.before.get();
        (self.sent.get().saturating_sub(sent), self.skips.get().saturating_sub(skips))
    }

    /// It neither publishes nor plays any more.
    pub fn clear_role(&self) {
        self.end_role();
    }

    /// Notes that it was refused what it wanted, for a reason that people can read; with what an SRT peer was told.
    pub fn note_refusal(
        &self,
        stream: Option<&StreamKey>,
        reason: impl fmt::Display,
        srt_code: Option<i32>,
    ) {
        if let Some(table) = self.table.upgrade() {
            table.events.note_refusal(self, stream, reason, srt_code);
        }
    }

    fn end_role(&self) {
        let is_playing = self.is_playing.replace(false);
        if let Some(source) = self.lag.borrow().as_ref().and_then(LagProbe::source) {
            let (sent, skips) = self.played();
            source.add_gone(sent, skips);
        }
        if matches!(*self.role.borrow(), Some(Role::Publisher(_))) {
            self.note(EventKind::Unpublished);
        } else if is_playing {
            self.note(EventKind::Stopped);
        }
        *self.role.borrow_mut() = None;
        *self.lag.borrow_mut() = None;
    }

    fn note(&self, kind: EventKind) {
        if let Some(table) = self.table.upgrade() {
            table.events.note_client(kind, self, "");
        }
    }

    /// How to end it.
    pub fn set_kick(&self, kick: impl Fn() + 'static) {
        *self.kick.borrow_mut() = Some(Box::new(kick));
    }

    /// Ends it at that time, which takes the place of an earlier one; never without.
    pub fn end_at(&self, until: Option<SystemTime>) {
        let own = || self.table.upgrade()?.clients.borrow().get(&self.id).cloned();
        let leash = until.and_then(|until| Leash::new(own()?, until));
        self.leash.replace(leash);
    }

    /// Ends it; `false` when it cannot be ended.
    pub fn kick(&self) -> bool {
        let kick = self.kick.borrow();
        kick.as_ref().inspect(|kick| kick()).is_some()
    }

    /// What the transport can tell of it.
    pub fn set_detail(&self, detail: impl Fn() -> Figures + 'static) {
        *self.detail.borrow_mut() = Some(Box::new(detail));
    }

    /// The transport's figures; empty when it has none.
    pub fn detail(&self) -> Figures {
        self.detail.borrow().as_ref().map(|detail| detail()).unwrap_or_default()
    }

    /// The way that its media takes from now on.
    pub fn set_path(&self, path: Option<Path>) {
        self.path.set(path);
    }

    /// The way that its media takes, where that is known and another than that of its first word.
    pub fn path(&self) -> Option<Path> {
        self.path.get()
    }

    /// Counts what was sent.
    pub fn add_sent(&self, bytes: usize) {
        self.sent.set(self.sent.get() + bytes as u64);
    }

    /// Counts what was received.
    pub fn add_received(&self, bytes: usize) {
        self.received.set(self.received.get() + bytes as u64);
    }
}

impl Table {
    fn is_proxy(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.proxies.borrow().iter().any(|network| network.contains(&address))
    }

    fn change(&self) {
        self.changes.set(self.changes.get() + 1);
        self.changed.broadcast();
    }

    /// One more comes from there; `true` when these are now as many as may be.
    fn came(&self, address: IpAddr) -> bool {
        let mut addresses = self.addresses.borrow_mut();
        let from = addresses.entry(address).or_default();
        *from += 1;
        *from == self.limits.get().connections_per_ip
    }

    /// One less comes from there; `true` when there were as many as may be.
    fn left(&self, address: IpAddr) -> bool {
        let mut was_full = false;
        if let Entry::Occupied(mut count) = self.addresses.borrow_mut().entry(address) {
            was_full = *count.get() == self.limits.get().connections_per_ip;
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
        was_full
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.end_role();
        if let Some(table) = self.table.upgrade() {
            let was_full = table.clients.borrow().len() == table.limits.get().connections;
            table.clients.borrow_mut().remove(&self.id);
            if table.left(self.peer().ip()) || was_full {
                table.change();
            }
            let (sent, received) = table.gone.get();
            table.gone.set((sent + self.sent.get(), received + self.received.get()));
        }
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("id", &self.id)
            .field("peer", &self.peer())
            .field("protocol", &self.protocol)
            .field("role", &self.role)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} clients", self.clients.borrow().len())
    }
}

impl fmt::Display for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(address: &str) -> SocketAddr {
        SocketAddr::new(address.parse().unwrap(), 4000)
    }

    #[test]
    fn a_change_is_told_when_a_limit_is_reached_and_when_it_is_no_more() {
        let clients = Clients::limited(Limits { connections: 3, connections_per_ip: 2 });
        let [one, same, two] = ["192.0.2.1", "::ffff:192.0.2.1", "2001:db8::1"].map(peer);
        let first = clients.enter("srt", one);
        assert_eq!((clients.0.changes.get(), clients.refusal(one.ip())), (0, None));
        let second = clients.enter("srt", same);
        assert_eq!(clients.0.changes.get(), 1);
        assert_eq!(clients.full_addresses(), [one.ip()]);
        assert_eq!(clients.refusal(same.ip()), Some(Refusal::ConnectionsPerIp(2)));
        assert_eq!((clients.refusal(two.ip()), clients.overload()), (None, None));
        let third = clients.enter("http", two);
        assert_eq!(clients.0.changes.get(), 2);
        assert_eq!(clients.overload(), Some(Refusal::Connections(3)));
        drop(third);
        assert_eq!((clients.0.changes.get(), clients.overload()), (3, None));
        drop(first);
        assert_eq!((clients.0.changes.get(), clients.refusal(one.ip())), (4, None));
        drop(second);
        assert_eq!(clients.0.changes.get(), 4);
        clients.set_memory_short(true);
        clients.set_memory_short(true);
        assert_eq!((clients.0.changes.get(), clients.overload()), (5, Some(Refusal::Memory)));
    }
}
