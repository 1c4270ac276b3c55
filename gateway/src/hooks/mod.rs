//! Web hooks: calls over HTTP that tell a server of the operator's who comes and goes, and ask it who may.
//!
//! They are SRS's callbacks, field for field (`event`) and by SRS's rule of what accepts (`answer`). Three hooks decide,
//! `on_connect`, `on_publish` and `on_play`: the connection's own coroutine makes the call and goes on when every
//! server has accepted. The others only tell; they are queued (`queue`) and repeated until the server
//! has answered or the time for that is over. Both know from a `breaker` when a server is better left alone.
//!
//! What SRS has beyond that is left out: `on_hls_notify` and `on_forward`.

mod answer;
mod breaker;
mod call;
mod event;
mod queue;
mod sign;
mod stats;

use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, HashMap},
    fmt, io,
    rc::Rc,
    time::{Duration, Instant},
};

use call::{Event, Outcome, Target};
use event::Detail;
use queue::{Item, Owner, Queue};
use thalweg_runtime::{self as rt, WaitError};
use tracing::{debug, info, warn};

use crate::{
    http::client::{Client, Roots, Url},
    key::StreamKey,
};
pub use event::{Hook, Identity, Segment, Subject};
pub use sign::Signer;
pub use stats::{HookStats, LATENCY_BOUNDS_S, Latency, Stats};

/// How hooks are called.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Whom to call for which hook, in this order.
    pub urls: BTreeMap<Hook, Vec<Url>>,
    /// How long a call may take, from the name of the server to the last byte of its answer.
    pub timeout: Duration,
    /// What holds when a server that decides does not answer.
    pub on_failure: OnFailure,
    /// Signs the calls.
    pub signer: Option<Signer>,
    /// Who vouches for servers of https.
    pub roots: Roots,
    /// How many events may wait to be told.
    pub queue_most: usize,
    /// For how long an event is told again when nobody answers.
    pub retry: Duration,
    /// Who tells.
    pub identity: Identity,
}

/// What holds when a server that decides does not answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnFailure {
    /// Nobody gets in.
    Refuse,
    /// Everybody does.
    Accept,
}

/// The hooks of a gateway. Clones are the same.
#[derive(Clone)]
pub struct Hooks(Rc<Inner>);

struct Inner {
    settings: Settings,
    client: Client,
    targets: Vec<Target>,
    /// Indices of `targets`, by hook.
    of_hook: BTreeMap<Hook, Vec<usize>>,
    origins: usize,
    queue: Queue,
    /// Deliveries so far.
    deliveries: Cell<u64>,
    stats: RefCell<Stats>,
    /// Events were dropped, and the queue has not been half empty since.
    is_dropping: Cell<bool>,
    /// Who publishes each stream, or did last.
    publishers: RefCell<HashMap<StreamKey, Published>>,
}

struct Published {
    subject: Rc<Subject>,
    is_live: bool,
}

/// Why somebody may not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denied {
    /// A server refuses.
    Refused(Hook),
    /// A server that decides did not answer.
    Failed(Hook),
    /// The question was given up.
    Wait(WaitError),
}

/// What was allowed and lasts; dropping it tells that it is over.
#[must_use = "dropping it tells that it is over"]
pub struct Notice {
    hooks: Hooks,
    hook: Hook,
    subject: Rc<Subject>,
    /// Bytes sent and received, for `on_close`.
    traffic: Option<Box<dyn Fn() -> (u64, u64)>>,
    published: Option<StreamKey>,
}

/// How many coroutines tell events; so many servers may hang before others wait.
const TELLERS: usize = 8;

/// How many publishers that are gone are remembered, for files that are finished after them.
const PUBLISHERS_MOST: usize = 4096;

impl Hooks {
    /// As `settings` say. Nothing is told before [`Hooks::start`].
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        let (targets, of_hook) = targets(&settings.urls);
        let origins = targets.iter().map(|target| target.origin + 1).max().unwrap_or(0);
        Self(Rc::new(Inner {
            client: Client::new(settings.roots.clone()),
            targets,
            of_hook,
            origins,
            queue: Queue::new(settings.queue_most),
            deliveries: Cell::new(0),
            stats: RefCell::default(),
            is_dropping: Cell::new(false),
            publishers: RefCell::default(),
            settings,
        }))
    }

    /// Begins to tell.
    ///
    /// # Errors
    ///
    /// When no coroutine can be started.
    pub fn start(&self) -> io::Result<()> {
        let tells = Hook::ALL.into_iter().any(|hook| !hook.decides() && self.0.is_wanted(hook));
        for at in 0..if tells { TELLERS } else { 0 } {
            let inner = Rc::clone(&self.0);
            let name = format!("hooks {at}");
            // It ends with the runtime.
            let _detached = rt::Builder::new().name(name).spawn(move || inner.tell_all())?;
        }
        Ok(())
    }

    /// Asks whether a connection may stay. `traffic` gives the bytes that were sent to it and received from it.
    ///
    /// # Suspends
    ///
    /// Until all servers have accepted or one has not.
    ///
    /// # Errors
    ///
    /// [`Denied`]; nothing is told of its end then.
    pub fn connect(
        &self,
        subject: Subject,
        traffic: impl Fn() -> (u64, u64) + 'static,
    ) -> Result<Notice, Denied> {
        self.0.ask(Hook::Connect, &subject)?;
        let mut notice = self.notice(Hook::Close, Rc::new(subject));
        notice.traffic = Some(Box::new(traffic));
        Ok(notice)
    }

    /// Asks whether `subject` may publish `key`.
    ///
    /// # Suspends
    ///
    /// Until all servers have accepted or one has not.
    ///
    /// # Errors
    ///
    /// [`Denied`]; nothing is told of its end then.
    pub fn publish(&self, subject: Subject, key: &StreamKey) -> Result<Notice, Denied> {
        self.0.ask(Hook::Publish, &subject)?;
        let subject = Rc::new(subject);
        self.0.note_publisher(key, &subject);
        let mut notice = self.notice(Hook::Unpublish, subject);
        notice.published = Some(key.clone());
        Ok(notice)
    }

    /// Asks whether `subject` may play.
    ///
    /// # Suspends
    ///
    /// Until all servers have accepted or one has not.
    ///
    /// # Errors
    ///
    /// [`Denied`]; nothing is told of its end then.
    pub fn play(&self, subject: Subject) -> Result<Notice, Denied> {
        self.0.ask(Hook::Play, &subject)?;
        Ok(self.notice(Hook::Stop, Rc::new(subject)))
    }

    /// A segment of a stream is finished.
    pub fn segment(&self, key: &StreamKey, segment: &Segment) {
        self.0.finished(Hook::Hls, key, &Detail::Segment(segment));
    }

    /// A recorded file of a stream is finished.
    pub fn recorded(&self, key: &StreamKey, file: &str) {
        self.0.finished(Hook::Dvr, key, &Detail::File(file));
    }

    /// What has been counted.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let open = self.0.targets.iter().filter(|target| target.breaker.borrow().is_open());
        let (queued, open_breakers) = (self.0.queue.len(), open.count());
        Stats { queued, open_breakers, ..self.0.stats.borrow().clone() }
    }

    /// Waits until all that has happened is told, or `until`.
    ///
    /// # Suspends
    ///
    /// Until then.
    pub fn drain(&self, until: Instant) {
        if rt::deadline(until, || self.0.queue.drained()).is_err() {
            warn!(untold = self.0.queue.len(), "ended before web hooks were told of all");
        }
    }

    fn notice(&self, hook: Hook, subject: Rc<Subject>) -> Notice {
        Notice { hooks: self.clone(), hook, subject, traffic: None, published: None }
    }
}

impl Inner {
    fn targets_of(&self, hook: Hook) -> &[usize] {
        self.of_hook.get(&hook).map_or(&[], |of_hook| of_hook)
    }

    fn is_wanted(&self, hook: Hook) -> bool {
        !self.targets_of(hook).is_empty()
    }

    fn event(&self, hook: Hook, subject: &Subject, detail: &Detail<'_>) -> Event {
        let number = self.deliveries.get() + 1;
        self.deliveries.set(number);
        let identity = &self.settings.identity;
        let delivery = format!("{}-{number}", identity.service);
        Event { hook, delivery, body: event::body(hook, identity, subject, detail) }
    }

    fn count(&self, hook: Hook, f: impl FnOnce(&mut HookStats)) {
        let mut stats = self.stats.borrow_mut();
        if let Some(stats) = stats.hooks.get_mut(hook.index()) {
            f(stats);
        }
    }

    /// Asks the servers of `hook` one after the other.
    fn ask(&self, hook: Hook, subject: &Subject) -> Result<(), Denied> {
        if !self.is_wanted(hook) {
            return Ok(());
        }
        // What is still to be told of this client was before.
        let settled =
            rt::timeout(self.settings.timeout, || self.queue.settled(subject.client, self.origins));
        match settled {
            Ok(()) | Err(WaitError::TimedOut(_)) => {}
            Err(error) => return Err(Denied::Wait(error)),
        }
        let event = self.event(hook, subject, &Detail::None);
        for target in self.targets_of(hook).iter().filter_map(|&at| self.targets.get(at)) {
            match self.call(target, &event) {
                Outcome::Accepted => {}
                Outcome::Refused => return Err(Denied::Refused(hook)),
                Outcome::Cancelled => return Err(Denied::Wait(WaitError::Cancelled)),
                Outcome::Failed(_) => match self.settings.on_failure {
                    OnFailure::Refuse => return Err(Denied::Failed(hook)),
                    OnFailure::Accept => {
                        debug!(%hook, "accepted without an answer, as hooks.on_failure says");
                    }
                },
            }
        }
        Ok(())
    }

    /// Queues an event for all servers of `hook`.
    fn tell(&self, hook: Hook, owner: &Owner, subject: &Subject, detail: &Detail<'_>) {
        if !self.is_wanted(hook) {
            return;
        }
        let event = Rc::new(self.event(hook, subject, detail));
        for &at in self.targets_of(hook) {
            let Some(target) = self.targets.get(at) else { continue };
            let event = Rc::clone(&event);
            let item = Item { event, target: at, attempts: 0, since: rt::now() };
            if self.queue.push((owner.clone(), target.origin), item).is_err() {
                self.stats.borrow_mut().dropped += 1;
                if !self.is_dropping.replace(true) {
                    let most = self.settings.queue_most;
                    warn!(most, "events for web hooks are dropped: hooks.queue is full");
                }
            }
        }
    }

    fn finished(&self, hook: Hook, key: &StreamKey, detail: &Detail<'_>) {
        let publisher =
            self.publishers.borrow().get(key).map(|published| Rc::clone(&published.subject));
        let subject = publisher.unwrap_or_else(|| {
            // It comes from an input that nobody had to ask for.
            Rc::new(Subject::of_stream(0, std::net::Ipv4Addr::UNSPECIFIED.into(), key))
        });
        self.tell(hook, &Owner::Stream(key.to_string().into()), &subject, detail);
    }

    fn note_publisher(&self, key: &StreamKey, subject: &Rc<Subject>) {
        let mut publishers = self.publishers.borrow_mut();
        if publishers.len() >= PUBLISHERS_MOST {
            publishers.retain(|_, published| published.is_live);
        }
        let subject = Rc::clone(subject);
        publishers.insert(key.clone(), Published { subject, is_live: true });
    }

    /// Tells what is queued, until the coroutine is cancelled.
    fn tell_all(&self) {
        while let Ok((lane, item)) = self.queue.next() {
            let Some(target) = self.targets.get(item.target) else {
                self.queue.done(lane);
                continue;
            };
            if item.attempts > 0 {
                self.stats.borrow_mut().retries += 1;
            }
            match self.call(target, &item.event) {
                Outcome::Accepted | Outcome::Refused => self.queue.done(lane),
                Outcome::Cancelled => return,
                Outcome::Failed(not_before) => {
                    let age = rt::now().saturating_duration_since(item.since);
                    if age < self.settings.retry {
                        self.queue.delay(lane, item.attempts.saturating_add(1), not_before);
                    } else {
                        self.stats.borrow_mut().given_up += 1;
                        warn!(hook = %item.event.hook, url = %target.url, ?age, "gave an event up");
                        self.queue.done(lane);
                    }
                }
            }
            if self.is_dropping.get() && self.queue.len() <= self.settings.queue_most / 2 {
                self.is_dropping.set(false);
                let dropped = self.stats.borrow().dropped;
                info!(dropped, "events for web hooks are no longer dropped");
            }
        }
    }
}

/// All URLs once, and whose indices belong to which hook.
fn targets(urls: &BTreeMap<Hook, Vec<Url>>) -> (Vec<Target>, BTreeMap<Hook, Vec<usize>>) {
    let mut targets: Vec<Target> = Vec::new();
    let mut origins: Vec<String> = Vec::new();
    let mut index = |url: &Url| {
        if let Some(known) = targets.iter().position(|target| target.url == *url) {
            return known;
        }
        let origin = origins.iter().position(|origin| origin == url.origin());
        let origin = origin.unwrap_or_else(|| {
            origins.push(url.origin().to_owned());
            origins.len() - 1
        });
        targets.push(Target { url: url.clone(), origin, breaker: RefCell::default() });
        targets.len() - 1
    };
    let of_hook = urls.iter().map(|(hook, urls)| (*hook, urls.iter().map(&mut index).collect()));
    let of_hook = of_hook.collect();
    (targets, of_hook)
}

impl Notice {
    /// Of whom it is.
    #[must_use]
    pub fn subject(&self) -> &Subject {
        &self.subject
    }
}

impl Drop for Notice {
    fn drop(&mut self) {
        let inner = &self.hooks.0;
        if let Some(key) = &self.published
            && let Some(published) = inner.publishers.borrow_mut().get_mut(key)
            && Rc::ptr_eq(&published.subject, &self.subject)
        {
            published.is_live = false;
        }
        let detail = match &self.traffic {
            Some(traffic) => {
                let (sent, received) = traffic();
                Detail::Traffic(sent, received)
            }
            None => Detail::None,
        };
        inner.tell(self.hook, &Owner::Client(self.subject.client), &self.subject, &detail);
    }
}

impl fmt::Debug for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {:?}", self.hook, self.subject)
    }
}

impl fmt::Debug for Hooks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hooks").field("settings", &self.0.settings).finish_non_exhaustive()
    }
}

impl fmt::Display for Denied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(hook) => write!(f, "the web hook {hook} refuses it"),
            Self::Failed(hook) => {
                write!(f, "the web hook {hook} does not answer, and without it nobody may")
            }
            Self::Wait(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for Denied {}

#[cfg(test)]
mod tests;
