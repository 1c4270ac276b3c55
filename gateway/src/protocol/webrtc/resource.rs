//! Sessions as resources of HTTP: what a session's URL finds, and what may be said to it there (RFC 9725 §4.3 and §4.4).

use super::negotiate;
use crate::hub::Client;
use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    rc::Rc,
};
use str0m::{Candidate, IceCreds};
use thalweg_runtime::sync::channel::{self, OneshotSender, Receiver, Sender};

/// All sessions, by the secret part of their URLs.
#[derive(Clone, Debug, Default)]
pub(super) struct Sessions(Rc<RefCell<HashMap<String, Rc<Entry>>>>);

/// One session.
#[derive(Debug)]
pub(super) struct Entry {
    /// Its path on the server, without the secret.
    pub(super) path: String,
    pub(super) client: Rc<Client>,
    pub(super) control: Sender<Control>,
    /// Names the present ICE session (RFC 9725 §4.3.1).
    pub(super) tag: RefCell<String>,
    /// The peer's present name in ICE.
    pub(super) remote_ufrag: RefCell<String>,
    /// How many addresses it has told of.
    candidates: Cell<usize>,
}

/// What a session is asked from outside.
#[derive(Debug)]
pub(super) enum Control {
    /// The peer has further addresses.
    Candidates(Vec<Candidate>),
    /// The peer restarts ICE with these credentials; the answer is ours.
    Restart(IceCreds, OneshotSender<Fresh>),
    /// Somebody needs a random-access point of it.
    RandomAccess,
}

/// What a peer needs after a restart of ICE.
#[derive(Debug)]
pub(super) struct Fresh {
    pub(super) credentials: IceCreds,
    pub(super) candidates: Vec<String>,
}

/// An entry for as long as its session lasts.
#[derive(Debug)]
pub(super) struct Entered {
    id: String,
    entry: Rc<Entry>,
    pub(super) control: Receiver<Control>,
    sessions: Sessions,
}

/// Addresses that a peer tells of at most, which the stack keeps; more has no machine. The rest is found by its checks.
const CANDIDATES_MAX: usize = 256;

/// Requests that wait for one session.
const CONTROLS: usize = 8;

impl Sessions {
    /// Enters a session.
    pub(super) fn enter(&self, path: String, client: Rc<Client>, remote_ufrag: String) -> Entered {
        // Who knows it can end the session.
        let id = negotiate::random_text::<16>();
        let (sender, control) = channel::bounded(CONTROLS);
        let tag = RefCell::new(negotiate::random_text::<8>());
        let remote_ufrag = RefCell::new(remote_ufrag);
        let candidates = Cell::new(0);
        let entry = Rc::new(Entry { path, client, control: sender, tag, remote_ufrag, candidates });
        self.0.borrow_mut().insert(id.clone(), Rc::clone(&entry));
        Entered { id, entry, control, sessions: self.clone() }
    }

    /// The session of this id under this path.
    pub(super) fn find(&self, path: &str, id: &str) -> Option<Rc<Entry>> {
        self.0.borrow().get(id).filter(|entry| entry.path == path).cloned()
    }
}

impl Entry {
    /// Leaves of addresses that the peer tells of as many as it may still tell of.
    pub(super) fn admit(&self, candidates: &mut Vec<Candidate>) {
        candidates.truncate(CANDIDATES_MAX - self.candidates.get());
        self.candidates.set(self.candidates.get() + candidates.len());
    }
}

impl Entered {
    /// The path of the session's own resource.
    pub(super) fn location(&self) -> String {
        format!("{}/{}", self.entry.path, self.id)
    }

    /// What asks the peer for a random-access point. One that is asked more than it can be told has been asked already.
    pub(super) fn asking(&self) -> impl Fn() + 'static {
        let control = self.entry.control.clone();
        move || drop(control.try_send(Control::RandomAccess))
    }

    /// The name of its first ICE session.
    pub(super) fn tag(&self) -> String {
        self.entry.tag.borrow().clone()
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        self.sessions.0.borrow_mut().remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::Clients;
    use thalweg_runtime as rt;

    #[test]
    fn a_peer_that_tells_of_addresses_again_and_again_is_not_listened_to_any_more() {
        rt::run(|| {
            let address = "192.0.2.1:9".parse().unwrap();
            let candidate = Candidate::host(address, "udp").unwrap();
            let client = Clients::default().enter("webrtc", address);
            let entered = Sessions::default().enter("/whep/live/cam".into(), client, String::new());
            let told = |_: u32| {
                let mut candidates = vec![candidate.clone(); 60];
                entered.entry.admit(&mut candidates);
                candidates.len()
            };
            assert_eq!((0..6).map(told).collect::<Vec<_>>(), [60, 60, 60, 60, 16, 0]);
        });
    }
}
