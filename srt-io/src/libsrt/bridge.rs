//! The bridge: the one thread that waits for events of libsrt and passes them on to whoever waits for them.
//!
//! libsrt has no descriptor that a runtime could watch, so a thread has to sit in `srt_epoll_uwait`; and no
//! more than one, since waiters share one condition variable that is signalled to one of them. The
//! thread serves all runtimes of the process. It is started with the first socket and ends when
//! there has been none for a second, or when the process exits. Inside of libsrt it looks at its events every 10 ms
//! at the latest; a runtime's own thread is woken only for an event that one of its coroutines waits for.
//!
//! A socket is registered once, when it is made and before it listens or connects: a change of what is
//! watched is a lock and two maps in libsrt, and one that is ready already when it is registered
//! is reported late.
#![expect(
    clippy::disallowed_types,
    reason = "shared between runtimes; held for a look into a table, or while the thread starts or stops"
)]

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::ffi::{self, Epoll, EventRoom, Flags};
use super::source::Source;
use crate::error::{SrtError, StartError};

/// What the thread and the owners of sockets share.
#[derive(Debug)]
struct Bridge {
    epoll: Epoll,
    /// By libsrt's number. A number that is not here belongs to a socket that was closed meanwhile.
    sources: Mutex<HashMap<i32, Arc<Source>>>,
    stopping: AtomicBool,
}

#[derive(Debug)]
struct Running {
    bridge: Arc<Bridge>,
    thread: JoinHandle<()>,
    /// The process that has the thread. A forked child has not.
    process: u32,
}

#[derive(Debug)]
enum Life {
    NotRunning,
    Running(Running),
    /// For good.
    Ended,
}

static LIFE: Mutex<Life> = Mutex::new(Life::NotRunning);

/// Events taken at once; more are left for the next round.
const EVENTS: usize = 1024;

/// After this long without an event the thread looks whether there are sockets at all.
const IDLE: Duration = Duration::from_secs(1);

/// Why a socket is not watched.
#[derive(Debug)]
pub(super) enum WatchError {
    Start(StartError),
    Srt(SrtError),
}

/// Has the events of `source` reported to it, until [`forget`].
pub(super) fn watch(source: &Arc<Source>, flags: Flags) -> Result<(), WatchError> {
    let mut life = life();
    let bridge = running(&mut life).map_err(WatchError::Start)?;
    let id = source.raw.id();
    // In the table first: an event may come at once.
    bridge.sources().insert(id, Arc::clone(source));
    let added = bridge.epoll.add(id, flags);
    if added.is_err() {
        bridge.sources().remove(&id);
    }
    added.map_err(WatchError::Srt)
}

/// Ends what [`watch`] began. libsrt itself forgets a socket that is closed.
pub(super) fn forget(source: &Source) {
    let removed = match &*life() {
        Life::Running(running) => running.bridge.sources().remove(&source.raw.id()),
        Life::NotRunning | Life::Ended => None,
    };
    // Outside of the locks.
    drop(removed);
}

/// Starts libsrt, and the thread unless it runs.
pub(super) fn start() -> Result<(), StartError> {
    running(&mut life()).map(drop)
}

/// Ends the thread for good, having closed every socket; `false` if that was done before.
pub(super) fn end() -> bool {
    let life = std::mem::replace(&mut *life(), Life::Ended);
    if let Life::Running(running) = &life {
        let sources: Vec<_> = running.bridge.sources().drain().map(|(_, source)| source).collect();
        sources.iter().for_each(|source| source.close());
    }
    let ended = !matches!(life, Life::Ended);
    if let Life::Running(running) = life {
        running.stop();
    }
    ended
}

fn life() -> MutexGuard<'static, Life> {
    // A panic under the lock is one of starting a thread, before anything was changed.
    LIFE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn running(life: &mut Life) -> Result<&Arc<Bridge>, StartError> {
    if let Life::NotRunning = life {
        *life = Life::Running(Running::start()?);
    }
    match life {
        Life::Running(running) => Ok(&running.bridge),
        Life::NotRunning | Life::Ended => Err(StartError::Ended),
    }
}

impl Running {
    fn start() -> Result<Self, StartError> {
        ffi::startup().map_err(StartError::Library)?;
        static AT_EXIT: std::sync::Once = std::sync::Once::new();
        AT_EXIT.call_once(|| ffi::at_exit(on_exit));
        let bridge = Arc::new(Bridge {
            epoll: Epoll::new().map_err(StartError::Library)?,
            sources: Mutex::new(HashMap::new()),
            stopping: AtomicBool::new(false),
        });
        let theirs = Arc::clone(&bridge);
        let spawn =
            || thread::Builder::new().name("srt-bridge".to_owned()).spawn(move || theirs.run());
        let thread = ffi::with_signals_blocked(spawn).map_err(StartError::Thread)?;
        Ok(Self { bridge, thread, process: std::process::id() })
    }

    /// Ends the thread: releasing what it waits for makes its wait fail within 10 ms.
    #[expect(clippy::disallowed_methods, reason = "at the end of the library or of the process")]
    fn stop(self) {
        if self.process != std::process::id() {
            return;
        }
        self.bridge.stopping.store(true, Ordering::SeqCst);
        self.bridge.epoll.release();
        // It logs its panic by itself.
        let _ended = self.thread.join();
    }
}

impl Bridge {
    fn sources(&self) -> MutexGuard<'_, HashMap<i32, Arc<Source>>> {
        self.sources.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self) {
        let mut room = EventRoom::new(EVENTS);
        let mut reports: Vec<(Arc<Source>, Flags)> = Vec::with_capacity(EVENTS);
        loop {
            match self.epoll.wait(&mut room, IDLE) {
                Ok(events) => {
                    let sources = self.sources();
                    reports.extend(events.filter_map(|event| {
                        Some((Arc::clone(sources.get(&event.socket)?), event.flags))
                    }));
                }
                Err(error) => {
                    if !self.stopping.load(Ordering::SeqCst) {
                        tracing::error!(%error, "waiting for events of SRT failed; no more will come");
                    }
                    return;
                }
            }
            let idle = reports.is_empty();
            for (source, flags) in reports.drain(..) {
                source.report(flags);
            }
            pass_on_log();
            if idle && self.retire() {
                return;
            }
        }
    }

    /// Ends the bridge if there are no sockets; the next one starts another.
    fn retire(&self) -> bool {
        let mut life = life();
        let is_idle = match &*life {
            Life::Running(running) => running.bridge.sources().is_empty(),
            // Whoever ends the library waits for the thread.
            Life::NotRunning | Life::Ended => false,
        };
        if is_idle {
            *life = Life::NotRunning;
        }
        is_idle
    }
}

/// What libsrt has said since the last time.
fn pass_on_log() {
    let (lines, lost) = ffi::take_log();
    for line in lines {
        tracing::debug!(target: "srt", area = %line.area, "{}", line.text);
    }
    if lost > 0 {
        tracing::debug!(target: "srt", lost, "messages of libsrt were lost: too many at once");
    }
}

/// libsrt's own destructors, which run later, would pull away what the thread waits on.
extern "C" fn on_exit() {
    let life = match LIFE.try_lock() {
        Ok(mut life) => std::mem::replace(&mut *life, Life::Ended),
        // Some thread starts or stops the bridge right now, and will not be waited for.
        Err(_busy) => return,
    };
    if let Life::Running(running) = life {
        running.stop();
    }
}
