//! Which streams are recorded: by rule, and by request.

use super::{
    Format, Library, Plan, Settings, Status, Totals, retention,
    session::{ENDING, Session},
};
use crate::{
    hub::{Registry, Source, SourceState},
    key::StreamKey,
};
use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, BTreeSet},
    fmt, io,
    rc::Rc,
    time::Instant,
};
use thalweg_runtime::{self as rt, WaitError, sync::Cond};
use tracing::{error, warn};

/// Records. Clones are the same recorder.
#[derive(Clone)]
pub struct Recorder(Rc<Inner>);

struct Inner {
    registry: Registry,
    settings: Rc<Settings>,
    library: Library,
    running: RefCell<BTreeMap<StreamKey, Rc<Session>>>,
    /// Of streams that have ended and are there again: the disk has not taken all of the one before yet.
    ending: RefCell<Vec<Rc<Session>>>,
    /// Streams that somebody stopped: no rule starts them again before they have ended.
    stopped: RefCell<BTreeSet<StreamKey>>,
    is_closing: Cell<bool>,
    /// A session has ended.
    ended: Cond,
}

/// What somebody asks for; the settings decide about the rest.
#[derive(Clone, Copy, Debug, Default)]
pub struct Choice {
    /// The container.
    pub format: Option<Format>,
    /// When files end.
    pub plan: Option<Plan>,
}

/// Why a stream cannot be recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StartError {
    /// There is no such stream.
    NotFound(StreamKey),
    /// It is being recorded.
    Running(StreamKey),
    /// The gateway is shutting down.
    Closing,
    /// There is no room for another coroutine.
    Spawn,
}

impl Recorder {
    /// One that records nothing yet.
    #[must_use]
    pub fn new(registry: Registry, settings: Settings) -> Self {
        let library = Library::new(settings.disk.clone());
        Self(Rc::new(Inner {
            registry,
            settings: Rc::new(settings),
            library,
            running: RefCell::default(),
            ending: RefCell::default(),
            stopped: RefCell::default(),
            is_closing: Cell::new(false),
            ended: Cond::new(),
        }))
    }

    /// The files.
    #[must_use]
    pub fn library(&self) -> &Library {
        &self.0.library
    }

    /// Records what the rules name, from when it is published.
    ///
    /// # Suspends
    ///
    /// Until it is cancelled.
    ///
    /// # Errors
    ///
    /// The cancellation.
    pub fn follow_rules(&self) -> io::Result<()> {
        if let Err(error) = self.0.library.open(&Cell::new(None)) {
            if rt::is_cancelled(&error) {
                return Err(error);
            }
            // Whoever records tries again.
            error!(%error, "the folder of recordings cannot be used");
        }
        let mut seen = 0;
        loop {
            self.apply_rules();
            seen = self.0.registry.wait_changed(seen)?;
        }
    }

    /// Removes files that are too old or too many.
    ///
    /// # Suspends
    ///
    /// Until it is cancelled; it returns at once when nothing is to be removed ever.
    ///
    /// # Errors
    ///
    /// The cancellation.
    pub fn keep_bounds(&self) -> io::Result<()> {
        retention::keep(
            &self.0.library,
            self.0.settings.keep,
            self.0.settings.max_bytes,
            &self.0.settings.events,
        )
    }

    /// Begins to record a stream.
    ///
    /// # Errors
    ///
    /// [`StartError`] says why not.
    pub fn start(&self, key: &StreamKey, choice: Choice) -> Result<(), StartError> {
        let source = self.0.registry.find(key).ok_or_else(|| StartError::NotFound(key.clone()))?;
        self.0.stopped.borrow_mut().remove(key);
        self.begin(source, choice, "api")
    }

    /// Ends the recording of a stream, and completes its file. `false` when it is not recorded.
    ///
    /// # Suspends
    ///
    /// Until the file is complete, but not for long: a disk that hangs is not waited for.
    ///
    /// # Errors
    ///
    /// When the wait was cancelled.
    pub fn stop(&self, key: &StreamKey) -> Result<bool, WaitError> {
        let Some(session) = self.0.running.borrow().get(key).cloned() else { return Ok(false) };
        self.0.stopped.borrow_mut().insert(key.clone());
        session.stop();
        let until = rt::now() + ENDING;
        let is_running =
            || self.0.running.borrow().get(key).is_some_and(|now| Rc::ptr_eq(now, &session));
        self.wait_until(until, is_running)?;
        Ok(true)
    }

    /// What all recordings of this process amount to.
    #[must_use]
    pub fn totals(&self) -> Totals {
        self.0.library.totals()
    }

    /// Everything that is being recorded, by name.
    #[must_use]
    pub fn list(&self) -> Vec<Status> {
        self.0.running.borrow().values().map(|session| session.status()).collect()
    }

    /// How it is with a stream that is being recorded.
    #[must_use]
    pub fn status(&self, key: &StreamKey) -> Option<Status> {
        self.0.running.borrow().get(key).map(|session| session.status())
    }

    /// Begins no more recordings. Those that run complete their files when their streams end.
    pub fn close(&self) {
        self.0.is_closing.set(true);
    }

    /// How many run.
    #[must_use]
    pub fn running(&self) -> usize {
        self.0.running.borrow().len() + self.0.ending.borrow().len()
    }

    fn wait_until(&self, deadline: Instant, goes_on: impl Fn() -> bool) -> Result<(), WaitError> {
        while goes_on() && rt::now() < deadline {
            match self.0.ended.wait_until(deadline) {
                Err(WaitError::TimedOut(_)) if rt::now() >= deadline => {}
                waited => waited?,
            }
        }
        Ok(())
    }

    fn apply_rules(&self) {
        let sources = self.0.registry.list();
        let mut stopped = self.0.stopped.borrow_mut();
        stopped.retain(|key| sources.iter().any(|source| source.key() == key));
        let is_wanted = |source: &Rc<Source>| {
            let key = source.key();
            source.state() == SourceState::Live
                && !stopped.contains(key)
                && self.0.running.borrow().get(key).is_none_or(|session| !session.is_of(source))
                && self.0.settings.streams.iter().any(|pattern| pattern.fits(key))
        };
        let wanted: Vec<_> = sources.into_iter().filter(is_wanted).collect();
        drop(stopped);
        for source in wanted {
            let key = source.key().clone();
            match self.begin(source, Choice::default(), "rule") {
                Ok(()) | Err(StartError::Closing) => {}
                Err(error) => error!(stream = %key, %error, "is not recorded"),
            }
        }
    }

    fn begin(
        &self,
        source: Rc<Source>,
        choice: Choice,
        by: &'static str,
    ) -> Result<(), StartError> {
        let key = source.key().clone();
        if self.0.is_closing.get() {
            return Err(StartError::Closing);
        }
        if self.0.running.borrow().get(&key).is_some_and(|session| session.is_of(&source)) {
            return Err(StartError::Running(key));
        }
        let settings = Rc::clone(&self.0.settings);
        let format = choice.format.unwrap_or(settings.format);
        let plan = choice.plan.unwrap_or(settings.plan);
        let library = self.0.library.clone();
        let session = Rc::new(Session::new(source, library, settings, (format, plan), by));
        let run = {
            let (recorder, session, key) = (self.clone(), Rc::clone(&session), key.clone());
            move || {
                session.run(&recorder.0.registry);
                recorder.forget(&key, &session);
                recorder.0.ended.broadcast();
                // A stream of the same name may have come while this one's file was completed.
                recorder.apply_rules();
            }
        };
        let name = format!("record {key}");
        let handle = rt::Builder::new().name(name).spawn(run).map_err(|error| {
            warn!(stream = %key, %error, "cannot record");
            StartError::Spawn
        })?;
        session.set_handle(handle);
        if let Some(before) = self.0.running.borrow_mut().insert(key.clone(), session) {
            self.let_end(&key, before);
        }
        Ok(())
    }

    /// A session may wait for the disk after its stream is over, but only one of each name: each keeps what it has to write.
    fn let_end(&self, key: &StreamKey, session: Rc<Session>) {
        let mut ending = self.0.ending.borrow_mut();
        ending.iter().filter(|other| other.source().key() == key).for_each(|other| other.stop());
        ending.push(session);
    }

    fn forget(&self, key: &StreamKey, session: &Rc<Session>) {
        let mut running = self.0.running.borrow_mut();
        if running.get(key).is_some_and(|known| Rc::ptr_eq(known, session)) {
            running.remove(key);
        }
        self.0.ending.borrow_mut().retain(|known| !Rc::ptr_eq(known, session));
    }
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFound(key) => write!(f, "there is no stream {key}"),
            Self::Running(key) => write!(f, "{key} is being recorded"),
            Self::Closing => f.write_str("the gateway is shutting down"),
            Self::Spawn => f.write_str("there is no room for another recording"),
        }
    }
}

impl std::error::Error for StartError {}

impl fmt::Debug for Recorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recorder")
            .field("settings", &self.0.settings)
            .field("running", &self.0.running.borrow().len())
            .finish_non_exhaustive()
    }
}
