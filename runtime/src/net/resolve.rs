//! Names to addresses, by the system's resolver on threads of its own, with a cache.
//!
//! The resolver is `getaddrinfo(3)`, so `/etc/hosts`, `nsswitch.conf` and the order of RFC 6724 hold.
//! It does not tell how long an answer is good for, so the cache keeps each for a time that is set
//! beforehand. Those who ask for the same name at the same time share one lookup. One that hangs
//! is shared, too, by whoever asks later: each leaves by a deadline of its own, and a name cannot
//! take more than one thread. Service names in place of ports, and addresses to names, are left
//! out.

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::HashMap;
use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::Duration;

use crate::bell::{Bell, Hear};
use crate::blocking::{BlockingError, Packet, Place, Ticket};
use crate::clock::{Clock, NEVER, Nanos, nanos};
use crate::error::WaitError;
use crate::join::Panic;
use crate::net::addr::{Target, ToAddr};
use crate::wait::{self, Here, WaitQueue, WaitingFor};

/// Stands in for the system's resolver.
pub(crate) type Resolver = Arc<dyn Fn(&str) -> io::Result<Vec<IpAddr>> + Send + Sync>;

type Found = io::Result<Vec<SocketAddr>>;

/// Names that are kept at most.
const NAMES: usize = 1024;

/// Addresses that are kept of a name at most. More than a handful are of no use to anybody.
const ADDRESSES: usize = 64;

/// What `RuntimeBuilder` collects for resolving names.
#[derive(Clone)]
pub(crate) struct NamesSettings {
    pub(crate) resolver: Option<Resolver>,
    pub(crate) ttl: Duration,
    pub(crate) failure_ttl: Duration,
}

/// The names that one runtime knows or is looking up.
#[derive(Debug)]
pub(crate) struct Names {
    settings: NamesSettings,
    /// By the name in lower case.
    lookups: RefCell<HashMap<Box<str>, Rc<Lookup>>>,
}

/// One question to the resolver, and its answer once there is one.
struct Lookup {
    packet: Arc<Packet<Found>>,
    ticket: OnceCell<Ticket>,
    answer: OnceCell<Answer>,
    /// Coroutines that wait for the answer, and how many there are.
    asking: WaitQueue,
    askers: Cell<usize>,
    ttl: Nanos,
    failure_ttl: Nanos,
    /// Rung when the answer is in the packet.
    _bell: Bell,
}

struct Answer {
    result: Result<Vec<SocketAddr>, Failure>,
    /// Until when it is good for others than those who wait for it.
    expires: Nanos,
}

struct Failure {
    kind: io::ErrorKind,
    text: String,
}

/// Looks up the addresses of a host: `"host:port"`, or a host and a port. They are in the order in
/// which they should be tried.
///
/// Text that is an address already is returned as it is. Answers are kept, addresses for 30 s and
/// failures for 2 s unless [`RuntimeBuilder::resolve_ttl`](crate::RuntimeBuilder::resolve_ttl) says
/// otherwise, of up to 1024 names and with up to 64 addresses each; the system's resolver does not
/// tell for how long they are good.
///
/// ```
/// # use thalweg_runtime::{self as rt, net};
/// # rt::run(|| -> std::io::Result<()> {
/// let addresses = net::resolve("localhost:7000")?;
/// assert!(addresses.iter().all(|address| address.ip().is_loopback()));
/// # Ok(())
/// # }).unwrap();
/// ```
///
/// # Suspends
///
/// Unless the answer is known, until it is, a deadline passes or the coroutine is cancelled. A
/// lookup that nobody waits for any more goes on if it has begun.
///
/// # Errors
///
/// `InvalidInput` for text that cannot be a host and a port;
/// [`Cancelled`](crate::Cancelled) and [`TimedOut`](crate::TimedOut) inside the error;
/// `Unsupported` for a name outside a runtime; and what the resolver reports, with the name.
#[cfg_attr(debug_assertions, track_caller)]
pub fn resolve(host: impl ToAddr) -> io::Result<Vec<SocketAddr>> {
    match host.target()? {
        Target::Addr(address) => Ok(vec![address]),
        Target::Name { host, port } => look_up(host, port),
    }
}

/// The addresses of a host that is no address itself.
#[cfg_attr(debug_assertions, track_caller)]
pub(crate) fn look_up(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    let here = wait::enter()?;
    let host = host.to_ascii_lowercase();
    let names = &here.scheduler.names;
    let lookup = match names.find(&host, here.scheduler.clock.now()) {
        Some(lookup) => lookup,
        None => names.begin(here, &host)?,
    };
    if lookup.answer.get().is_none() {
        names.wait(here, &host, &lookup)?;
    }
    let answer = lookup.answer.get().expect("it was waited for");
    match &answer.result {
        Ok(addresses) => {
            let with_port = |address: &SocketAddr| {
                let mut address = *address;
                address.set_port(port);
                address
            };
            Ok(addresses.iter().map(with_port).collect())
        }
        Err(failure) => {
            Err(io::Error::new(failure.kind, format!("cannot resolve {host:?}: {}", failure.text)))
        }
    }
}

impl Names {
    pub(crate) fn new(settings: NamesSettings) -> Self {
        Self { settings, lookups: RefCell::new(HashMap::new()) }
    }

    /// A lookup of `host` that is under way, or whose answer is still good.
    fn find(&self, host: &str, now: Nanos) -> Option<Rc<Lookup>> {
        let lookups = self.lookups.borrow();
        lookups.get(host).filter(|lookup| lookup.expires() > now).cloned()
    }

    /// Begins a lookup, once the pool for names has room for it.
    fn begin(&self, here: Here, host: &str) -> io::Result<Rc<Lookup>> {
        let place = here.scheduler.pools.names.admit(here)?;
        // Another coroutine may have begun one meanwhile. From here on nothing suspends.
        if let Some(lookup) = self.find(host, here.scheduler.clock.now()) {
            return Ok(lookup);
        }
        let lookup = self.start(here, host, place)?;
        let mut lookups = self.lookups.borrow_mut();
        if lookups.len() >= NAMES {
            make_room(&mut lookups, here.scheduler.clock.now());
        }
        lookups.insert(host.into(), Rc::clone(&lookup));
        Ok(lookup)
    }

    fn start(&self, here: Here, host: &str, place: Place) -> io::Result<Rc<Lookup>> {
        let lookup = Rc::new_cyclic(|lookup: &Weak<Lookup>| {
            let bell = here.scheduler.bells.hang(lookup.clone());
            Lookup {
                packet: Packet::new(bell.ringer()),
                ticket: OnceCell::new(),
                answer: OnceCell::new(),
                asking: WaitQueue::new(),
                askers: Cell::new(0),
                ttl: nanos(self.settings.ttl),
                failure_ttl: nanos(self.settings.failure_ttl),
                _bell: bell,
            }
        });
        let (host, resolver) = (host.to_owned(), self.settings.resolver.clone());
        let work = lookup.packet.work(move || match resolver {
            Some(resolver) => {
                let ips = resolver(&host)?;
                Ok(ips.into_iter().map(|ip| SocketAddr::new(ip, 0)).collect())
            }
            None => ask_system(&host),
        });
        let ticket = place.push(work).map_err(BlockingError::NoThread)?;
        lookup.ticket.set(ticket).expect("it was made just now");
        Ok(lookup)
    }

    /// Waits until `lookup` has its answer. The last who leaves without one takes back a lookup
    /// that no thread has begun.
    fn wait(&self, here: Here, host: &str, lookup: &Rc<Lookup>) -> Result<(), WaitError> {
        let _waiting = lookup.ticket.get().map(Ticket::wait);
        lookup.askers.set(lookup.askers.get() + 1);
        let mut result = Ok(());
        while lookup.answer.get().is_none() && result.is_ok() {
            result = here.wait_in(&lookup.asking, WaitingFor::Resolve, NEVER);
        }
        lookup.askers.set(lookup.askers.get() - 1);
        // What is there by now is given, whatever else ended the wait.
        lookup.settle(&here.scheduler.clock);
        if lookup.answer.get().is_some() {
            return Ok(());
        }
        if lookup.askers.get() == 0 && lookup.ticket.get().is_some_and(Ticket::withdraw) {
            let mut lookups = self.lookups.borrow_mut();
            if lookups.get(host).is_some_and(|known| Rc::ptr_eq(known, lookup)) {
                lookups.remove(host);
            }
        }
        result
    }
}

/// Drops what is no longer good or, when there is none of that, what will be so first.
fn make_room(lookups: &mut HashMap<Box<str>, Rc<Lookup>>, now: Nanos) {
    lookups.retain(|_, lookup| lookup.expires() > now);
    if lookups.len() < NAMES {
        return;
    }
    let settled = lookups.iter().filter(|(_, lookup)| lookup.answer.get().is_some());
    let first = settled.min_by_key(|(_, lookup)| lookup.expires()).map(|(host, _)| host.clone());
    if let Some(first) = first {
        lookups.remove(&first);
    }
}

impl Lookup {
    fn expires(&self) -> Nanos {
        self.answer.get().map_or(NEVER, |answer| answer.expires)
    }

    /// Takes the answer out of the packet, if it is there.
    fn settle(&self, clock: &Clock) {
        let Some(result) = self.packet.take() else { return };
        let now = clock.refresh();
        let answer = match result {
            Ok(Ok(mut addresses)) if !addresses.is_empty() => {
                addresses.truncate(ADDRESSES);
                Answer { result: Ok(addresses), expires: now.saturating_add(self.ttl) }
            }
            Ok(Ok(_)) => {
                let failure = Failure::new(io::ErrorKind::NotFound, "the name has no address");
                Answer { result: Err(failure), expires: now.saturating_add(self.failure_ttl) }
            }
            Ok(Err(error)) => {
                let failure = Failure::new(error.kind(), error);
                Answer { result: Err(failure), expires: now.saturating_add(self.failure_ttl) }
            }
            Err(panic) => Answer { result: Err(panic.into()), expires: now },
        };
        let unset = self.answer.set(answer);
        debug_assert!(unset.is_ok(), "a packet has one result");
    }
}

impl Hear for Lookup {
    fn hear(&self, clock: &Clock) {
        self.settle(clock);
        self.asking.wake_all();
    }
}

impl Failure {
    fn new(kind: io::ErrorKind, text: impl fmt::Display) -> Self {
        Self { kind, text: text.to_string() }
    }
}

impl From<Panic> for Failure {
    fn from(panic: Panic) -> Self {
        Self::new(io::ErrorKind::Other, format_args!("the resolver {panic}"))
    }
}

#[expect(clippy::disallowed_methods, reason = "runs on a thread of the pool")]
fn ask_system(host: &str) -> Found {
    use std::net::ToSocketAddrs;
    Ok((host, 0).to_socket_addrs()?.collect())
}

impl fmt::Debug for NamesSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NamesSettings")
            .field("resolver", &self.resolver.as_ref().map(|_| "custom"))
            .field("ttl", &self.ttl)
            .field("failure_ttl", &self.failure_ttl)
            .finish()
    }
}

impl fmt::Debug for Lookup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lookup")
            .field("answered", &self.answer.get().is_some())
            .field("askers", &self.askers.get())
            .finish_non_exhaustive()
    }
}
