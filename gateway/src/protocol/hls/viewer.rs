//! Who watches: HLS has requests, not connections, so a viewer is a name that comes again.
//!
//! The multivariant playlist is made for each viewer, and names media playlists with `?session=…` behind them. That is all that
//! differs: the media playlists themselves are the same for all, and what they name has no such parameter. Segments and parts
//! are counted for the viewer whose playlist came over the same connection, or was last asked for from the same address.
//! See docs/decisions/0013.

use crate::{
    auth::PlayGrant,
    hub::{Client, Clients, Role},
    key::StreamKey,
};
use aws_lc_rs::rand;
use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    fmt,
    net::{IpAddr, SocketAddr},
    rc::{Rc, Weak},
    time::{Duration, Instant},
};
use thalweg_runtime::{self as rt, coroutine_local};
use tracing::info;

/// All viewers. Clones are the same.
#[derive(Clone)]
pub(super) struct Viewers(Rc<Table>);

struct Table {
    viewers: RefCell<HashMap<String, Rc<Viewer>>>,
    clients: Clients,
    /// After this time without a request a viewer has left.
    timeout: Duration,
    is_sweeping: Cell<bool>,
}

/// One viewer of one stream.
pub(super) struct Viewer {
    key: StreamKey,
    address: IpAddr,
    /// Its entry among the clients, until it is kicked.
    client: RefCell<Option<Rc<Client>>>,
    grant: RefCell<Option<PlayGrant>>,
    seen: Cell<Instant>,
    is_kicked: Cell<bool>,
}

coroutine_local! {
    /// The viewer whose playlist was asked for over the connection that the coroutine serves.
    static LAST: RefCell<Weak<Viewer>> = RefCell::new(Weak::new());
}

/// A viewer is gone after so many target durations, but not before [`LEAST`].
const TARGETS: u32 = 4;
const LEAST: Duration = Duration::from_secs(15);

/// How long the name of a viewer is.
const NAME_LEN: usize = 32;

impl Viewers {
    pub(super) fn new(clients: Clients, target: Duration) -> Self {
        let timeout = LEAST.max(target.saturating_mul(TARGETS));
        let (viewers, is_sweeping) = (RefCell::default(), Cell::new(false));
        Self(Rc::new(Table { viewers, clients, timeout, is_sweeping }))
    }

    /// A name that nobody guesses.
    pub(super) fn new_name() -> String {
        let mut random = [0; NAME_LEN / 2];
        rand::fill(&mut random).expect("the system has random numbers");
        format!("{:032x}", u128::from_be_bytes(random))
    }

    /// Whether a name can be one of ours.
    pub(super) fn is_name(text: &str) -> bool {
        text.len() == NAME_LEN && text.bytes().all(|b| b.is_ascii_hexdigit())
    }

    /// A name for a viewer that brings none, so that it is known again.
    pub(super) fn name_for(address: IpAddr, agent: &str, key: &StreamKey) -> String {
        format!("{address} {agent:.64} {key}")
    }

    /// The viewer of this name, which was seen now; `None` when it is not there, or was there for another stream.
    pub(super) fn find(&self, name: &str, key: &StreamKey) -> Option<Rc<Viewer>> {
        let viewer =
            self.0.viewers.borrow().get(name).filter(|viewer| viewer.key == *key).cloned()?;
        viewer.see();
        Some(viewer)
    }

    /// Another viewer. It leaves when it is not seen for a while.
    pub(super) fn enter(&self, name: String, peer: SocketAddr, grant: PlayGrant) -> Rc<Viewer> {
        let key = grant.key().clone();
        let client = self.0.clients.enter("hls", peer);
        client.set_role(Role::Player(key.clone()));
        client.begin_play(None);
        client.end_at(grant.until());
        info!(stream = %key, client = client.id.0, %peer, "plays");
        let viewer = Rc::new(Viewer {
            key,
            address: client.peer().ip(),
            client: RefCell::new(Some(Rc::clone(&client))),
            grant: RefCell::new(Some(grant)),
            seen: Cell::new(rt::now()),
            is_kicked: Cell::new(false),
        });
        let kicked = Rc::downgrade(&viewer);
        client.set_kick(move || {
            if let Some(viewer) = kicked.upgrade() {
                viewer.is_kicked.set(true);
                viewer.leave("kicked");
            }
        });
        self.0.viewers.borrow_mut().insert(name, Rc::clone(&viewer));
        self.sweep();
        viewer.see();
        viewer
    }

    /// Why no other may come.
    pub(super) fn refusal(&self) -> Option<String> {
        self.0.clients.overload().map(|refusal| refusal.to_string())
    }

    /// Who gets something that names no viewer.
    pub(super) fn of_connection(&self, key: &StreamKey, address: IpAddr) -> Option<Rc<Viewer>> {
        let last = LAST.with_borrow(Weak::upgrade).filter(|viewer| viewer.key == *key);
        let viewer = last.or_else(|| {
            let viewers = self.0.viewers.borrow();
            let same = viewers.values().filter(|v| v.address == address && v.key == *key);
            same.max_by_key(|viewer| viewer.seen.get()).cloned()
        })?;
        viewer.seen.set(rt::now());
        Some(viewer)
    }

    /// Takes out who has left, for as long as there is anybody.
    fn sweep(&self) {
        if self.0.is_sweeping.replace(true) {
            return;
        }
        let table = Rc::downgrade(&self.0);
        let begun = rt::Builder::new().name("hls viewers").spawn(move || {
            while let Some(due) = table.upgrade().and_then(|table| table.forget()) {
                if rt::sleep_until(due).is_err() {
                    break;
                }
            }
        });
        if begun.is_err() {
            self.0.is_sweeping.set(false);
        }
    }
}

impl Table {
    /// Takes out who has left. When to look again; `None` when nobody is there.
    fn forget(&self) -> Option<Instant> {
        let due = rt::now().checked_sub(self.timeout);
        let has_left = |viewer: &Viewer| due.is_some_and(|due| viewer.seen.get() <= due);
        let mut viewers = self.viewers.borrow_mut();
        let gone: Vec<_> = viewers.extract_if(|_, viewer| has_left(viewer)).collect();
        let next = viewers.values().map(|viewer| viewer.seen.get()).min();
        drop(viewers);
        gone.iter().for_each(|(_, viewer)| viewer.leave("was not seen any more"));
        if next.is_none() {
            self.is_sweeping.set(false);
        }
        next.map(|seen| seen + self.timeout)
    }
}

impl Viewer {
    /// Whether it was told to go.
    pub(super) fn is_kicked(&self) -> bool {
        self.is_kicked.get()
    }

    /// Counts what was sent to it.
    pub(super) fn add_sent(&self, bytes: usize) {
        if let Some(client) = &*self.client.borrow() {
            client.add_sent(bytes);
        }
    }

    /// It asks over the connection that the calling coroutine serves.
    fn see(self: &Rc<Self>) {
        self.seen.set(rt::now());
        LAST.set(Rc::downgrade(self));
    }

    fn leave(&self, cause: &str) {
        let grant = self.grant.borrow_mut().take();
        let client = self.client.borrow_mut().take();
        drop(grant);
        if let Some(client) = client {
            let seconds = rt::now().saturating_duration_since(client.since).as_secs_f64();
            let (id, sent) = (client.id.0, client.sent.get());
            info!(cause, protocol = "hls", client = id, stream = %self.key, seconds, sent, "closed");
        }
    }
}

impl fmt::Debug for Viewers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} viewers", self.0.viewers.borrow().len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::{Action, Ask, Gate};

    const TARGET: Duration = Duration::from_secs(2);

    fn enter(viewers: &Viewers, name: &str, key: &StreamKey) -> Rc<Viewer> {
        let peer = "192.0.2.1:5".parse().unwrap();
        let grant = Gate::open().play(&Ask::new(Action::Play, key, "hls", peer)).unwrap();
        viewers.enter(name.to_owned(), peer, grant)
    }

    #[test]
    fn a_viewer_is_a_client_until_it_is_not_seen_any_more() {
        let runtime = rt::Runtime::builder().clock(rt::ClockKind::Virtual).build().unwrap();
        runtime
            .block_on(|| {
                let (clients, key) = (Clients::default(), "live/cam".parse().unwrap());
                let viewers = Viewers::new(clients.clone(), TARGET);
                enter(&viewers, "a", &key);
                for _ in 0..5 {
                    rt::sleep(LEAST / 2).unwrap();
                    assert!(viewers.find("a", &key).is_some());
                }
                assert_eq!(clients.count(), 1);
                rt::sleep(LEAST * 2).unwrap();
                assert!(viewers.find("a", &key).is_none());
                assert_eq!(clients.count(), 0);
                // Whoever comes later is looked after too.
                enter(&viewers, "b", &key);
                rt::sleep(LEAST * 2).unwrap();
                assert_eq!(clients.count(), 0);
            })
            .unwrap();
    }

    #[test]
    fn who_was_kicked_is_known_as_such_and_no_client_any_more() {
        rt::run(|| {
            let (clients, key) = (Clients::default(), "live/cam".parse().unwrap());
            let viewers = Viewers::new(clients.clone(), TARGET);
            let viewer = enter(&viewers, "a", &key);
            viewer.add_sent(7);
            assert!(clients.list().iter().all(|client| client.sent.get() == 7 && client.kick()));
            assert_eq!((clients.count(), clients.sent()), (0, 7));
            assert!(viewers.find("a", &key).unwrap().is_kicked());
            let other = "live/other".parse().unwrap();
            assert!(viewers.find("a", &other).is_none(), "a name is good for one stream");
        });
    }

    #[test]
    fn names_are_random_and_nothing_else_is_taken_for_one() {
        let name = Viewers::new_name();
        assert!(Viewers::is_name(&name) && name != Viewers::new_name());
        for wrong in ["", "1", "../../etc/passwd", &"g".repeat(NAME_LEN)] {
            assert!(!Viewers::is_name(wrong));
        }
    }
}
