//! What happened lately: who published and played, who was refused and why, what was recorded, and what the gateway did
//! about load and configuration. A bounded log for the API; the whole story is in the log of the process.
//!
//! Refusals have a ring of their own, since a peer that tries again and again would push all the rest out of one that
//! they shared. Their numbers count on together, so that one reader sees both in order.

use super::{Client, ClientId, Role};
use crate::key::StreamKey;
use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    fmt,
    net::SocketAddr,
    rc::Rc,
    time::SystemTime,
};

/// How many events are kept besides refusals.
const EVENTS_MAX: usize = 1_000;

/// How many refusals are kept.
const REFUSALS_MAX: usize = 200;

/// How much of a reason is kept, in bytes: it may quote what a peer sent.
const REASON_BYTES: usize = 300;

/// The log. Clones are the same log.
#[derive(Clone, Debug, Default)]
pub struct Events(Rc<Log>);

#[derive(Default)]
struct Log {
    /// The number of the latest event; they count from 1.
    last: Cell<u64>,
    refused: Cell<u64>,
    happened: RefCell<VecDeque<Event>>,
    refusals: RefCell<VecDeque<Event>>,
    elsewhere: RefCell<Option<Rc<dyn Fn() -> Elsewhere>>>,
}

/// Refusals that were kept elsewhere since it was last asked, as on the threads of libsrt, which can note nothing here.
#[derive(Debug, Default)]
pub struct Elsewhere {
    /// How many there were.
    pub count: u64,
    /// Those of them that are known.
    pub rejections: Vec<Rejection>,
}

/// Somebody who was refused before it was a client.
#[derive(Debug)]
pub struct Rejection {
    /// When.
    pub at: SystemTime,
    /// Who.
    pub peer: SocketAddr,
    /// By which protocol.
    pub protocol: &'static str,
    /// What it named the stream.
    pub stream: String,
    /// Why, for people.
    pub reason: String,
    /// What an SRT peer was told.
    pub srt_code: Option<i32>,
}

/// Something that happened.
#[derive(Clone, Debug)]
pub struct Event {
    /// Its number: later events have greater ones.
    pub id: u64,
    /// When it was.
    pub at: SystemTime,
    /// What it was.
    pub kind: EventKind,
    /// The stream that it is about; what a peer named it, where it was refused.
    pub stream: Option<String>,
    /// The connection that it is about.
    pub client: Option<ClientId>,
    /// Who that is.
    pub peer: Option<SocketAddr>,
    /// By which protocol.
    pub protocol: Option<&'static str>,
    /// Why, or what exactly, for people; may be empty.
    pub detail: String,
    /// What an SRT peer was told with its refusal.
    pub srt_code: Option<i32>,
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// A client publishes a stream.
    Published,
    /// It does not any more.
    Unpublished,
    /// A client plays a stream.
    Played,
    /// It does not any more.
    Stopped,
    /// Somebody was turned away.
    Refused,
    /// A client was ended by an operator.
    Kicked,
    /// The configuration was read again.
    Reload,
    /// There is too much load, or not any more.
    Overload,
    /// A stream is being recorded.
    Recording,
    /// It is not any more; its files are complete.
    Recorded,
    /// A file could not be written on.
    RecordingFailed,
    /// Recorded files were removed.
    RecordingDeleted,
    /// A disk fails or hangs.
    DiskFailed,
    /// It does what it is told again.
    DiskWorks,
}

impl Events {
    /// Notes what has to do with no client.
    pub fn note(&self, kind: EventKind, detail: impl fmt::Display) {
        self.push(Event { detail: short(&detail.to_string()), ..Event::new(kind) });
    }

    /// Notes what became of a stream, whoever publishes it.
    pub fn note_stream(&self, kind: EventKind, key: &StreamKey, detail: impl fmt::Display) {
        let stream = Some(key.to_string());
        self.push(Event { stream, detail: short(&detail.to_string()), ..Event::new(kind) });
    }

    /// Notes what a client did, or what was done to it.
    pub fn note_client(&self, kind: EventKind, client: &Client, detail: impl fmt::Display) {
        let stream = client.role().map(|role| match role {
            Role::Publisher(key) | Role::Player(key) => key.to_string(),
        });
        self.push(Event { stream, detail: short(&detail.to_string()), ..Event::of(kind, client) });
    }

    /// Notes that a client was refused.
    pub fn note_refusal(
        &self,
        client: &Client,
        stream: Option<&StreamKey>,
        reason: impl fmt::Display,
        srt_code: Option<i32>,
    ) {
        let stream = stream.map(ToString::to_string);
        let detail = short(&reason.to_string());
        self.push(Event { stream, detail, srt_code, ..Event::of(EventKind::Refused, client) });
    }

    /// Has refusals fetched that are kept elsewhere, whenever somebody looks at the log.
    pub fn set_elsewhere(&self, fetch: impl Fn() -> Elsewhere + 'static) {
        *self.0.elsewhere.borrow_mut() = Some(Rc::new(fetch));
    }

    fn fetch(&self) {
        let Some(fetch) = self.0.elsewhere.borrow().clone() else { return };
        let Elsewhere { count, rejections } = fetch();
        let known = rejections.len() as u64;
        rejections.into_iter().for_each(|rejection| self.note_rejection(rejection));
        self.0.refused.set(self.0.refused.get() + count.saturating_sub(known));
    }

    fn note_rejection(&self, rejection: Rejection) {
        let Rejection { at, peer, protocol, stream, reason, srt_code } = rejection;
        self.push(Event {
            at,
            stream: Some(short(&stream)),
            peer: Some(peer),
            protocol: Some(protocol),
            detail: short(&reason),
            srt_code,
            ..Event::new(EventKind::Refused)
        });
    }

    /// The events after the one numbered `since`, in their order, at most `count`.
    pub fn after(&self, since: u64, count: usize) -> Vec<Event> {
        self.fetch();
        let (happened, refusals) = (self.0.happened.borrow(), self.0.refusals.borrow());
        let mut events: Vec<Event> = happened
            .iter()
            .chain(refusals.iter())
            .filter(|event| event.id > since)
            .cloned()
            .collect();
        events.sort_unstable_by_key(|event| event.id);
        events.truncate(count);
        events
    }

    /// The last refusals, newest first.
    pub fn refusals(&self) -> Vec<Event> {
        self.fetch();
        self.0.refusals.borrow().iter().rev().cloned().collect()
    }

    /// How many were refused so far.
    pub fn refused(&self) -> u64 {
        self.fetch();
        self.0.refused.get()
    }

    /// The number of the latest event; zero when there was none.
    pub fn last(&self) -> u64 {
        self.0.last.get()
    }

    fn push(&self, event: Event) {
        let id = self.0.last.get() + 1;
        self.0.last.set(id);
        let (ring, most) = if event.kind == EventKind::Refused {
            self.0.refused.set(self.0.refused.get() + 1);
            (&self.0.refusals, REFUSALS_MAX)
        } else {
            (&self.0.happened, EVENTS_MAX)
        };
        let mut ring = ring.borrow_mut();
        if ring.len() >= most {
            ring.pop_front();
        }
        ring.push_back(Event { id, ..event });
    }
}

impl fmt::Debug for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Log").field("last", &self.last).finish_non_exhaustive()
    }
}

impl Event {
    fn new(kind: EventKind) -> Self {
        Self {
            id: 0,
            at: SystemTime::now(),
            kind,
            stream: None,
            client: None,
            peer: None,
            protocol: None,
            detail: String::new(),
            srt_code: None,
        }
    }

    fn of(kind: EventKind, client: &Client) -> Self {
        Self {
            client: Some(client.id),
            peer: Some(client.peer()),
            protocol: Some(client.protocol()),
            ..Self::new(kind)
        }
    }
}

impl EventKind {
    /// Its name in the API.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Published => "published",
            Self::Unpublished => "unpublished",
            Self::Played => "played",
            Self::Stopped => "stopped",
            Self::Refused => "refused",
            Self::Kicked => "kicked",
            Self::Reload => "reload",
            Self::Overload => "overload",
            Self::Recording => "recording",
            Self::Recorded => "recorded",
            Self::RecordingFailed => "recording_failed",
            Self::RecordingDeleted => "recording_deleted",
            Self::DiskFailed => "disk_failed",
            Self::DiskWorks => "disk_works",
        }
    }
}

fn short(text: &str) -> String {
    let mut end = text.len().min(REASON_BYTES);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::Clients;
    use thalweg_runtime as rt;

    fn rejection(n: u64) -> Rejection {
        let (stream, reason) = ("ä".repeat(5000), n.to_string());
        let (at, protocol) = (SystemTime::now(), "srt");
        Rejection { at, peer: peer(), protocol, stream, reason, srt_code: Some(1402) }
    }

    fn peer() -> SocketAddr {
        "192.0.2.1:5".parse().unwrap()
    }

    #[test]
    fn refusals_push_out_only_refusals() {
        let events = Events::default();
        events.note(EventKind::Reload, "x");
        for n in 0..2 * REFUSALS_MAX as u64 {
            events.note_rejection(rejection(n));
        }
        let all = events.after(0, usize::MAX);
        assert_eq!(all.len(), 1 + REFUSALS_MAX);
        assert_eq!((all[0].id, all[0].kind), (1, EventKind::Reload));
        assert!(all.is_sorted_by_key(|event| event.id));
        assert_eq!(events.refused(), 400);
        assert_eq!(events.refusals()[0].detail, "399");
        assert_eq!(events.after(events.last(), 10).len(), 0);
        assert_eq!(events.after(events.last() - 2, 1)[0].id, events.last() - 1);
    }

    #[test]
    fn what_a_peer_sent_is_cut() {
        let events = Events::default();
        events.note_rejection(rejection(1));
        let refused = &events.refusals()[0];
        assert!(refused.stream.as_ref().unwrap().len() <= REASON_BYTES);
    }

    #[test]
    fn refusals_elsewhere_are_fetched_when_somebody_looks() {
        let events = Events::default();
        let left = Cell::new(Some(10));
        events.set_elsewhere(move || match left.take() {
            Some(count) => Elsewhere { count, rejections: vec![rejection(8), rejection(9)] },
            None => Elsewhere::default(),
        });
        assert_eq!(events.after(0, 100).len(), 2);
        assert_eq!((events.refused(), events.refusals().len()), (10, 2));
    }

    #[test]
    fn roles_of_clients_come_and_go() {
        let run = || {
            let clients = Clients::default();
            let key: StreamKey = "live/cam".parse().unwrap();
            let publisher = clients.enter("srt", peer());
            publisher.set_role(Role::Publisher(key.clone()));
            let waiting = clients.enter("flv", peer());
            waiting.set_role(Role::Player(key.clone()));
            waiting.clear_role();
            let player = clients.enter("flv", peer());
            player.set_role(Role::Player(key));
            player.begin_play(None);
            drop(player);
            publisher.clear_role();
            drop(publisher);
            let events = clients.events().after(0, 100);
            let kinds: Vec<_> = events.iter().map(|event| event.kind.name()).collect();
            assert_eq!(kinds, ["published", "played", "stopped", "unpublished"]);
            assert!(events.iter().all(|event| event.stream.as_deref() == Some("live/cam")));
        };
        rt::Runtime::builder()
            .clock(rt::ClockKind::Virtual)
            .build()
            .unwrap()
            .block_on(run)
            .unwrap();
    }
}
