//! A folder on a disk that may be slow, be full or hang: work for it on threads of the pool, and how it is with it.
//!
//! At most twelve threads are busy with one folder, so a disk that hangs does not take those that others need. Who
//! waits for it can be cancelled; what was begun goes on, since no thread can be called back from the kernel. What is
//! done there, and how paths are made, is the business of who calls.

use nix::sys::statvfs::statvfs;
use std::{
    cell::{Cell, RefCell},
    fmt, io,
    path::{Path, PathBuf},
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};
use thalweg_runtime::{self as rt, JoinError, JoinHandle, WaitError, blocking, sync::Semaphore};
use tracing::{info, warn};

/// A folder. Clones are the same one.
#[derive(Clone, Debug)]
pub struct Disk(Rc<Inner>);

struct Inner {
    name: &'static str,
    root: Arc<Path>,
    places: Semaphore,
    /// How many callers have waited for long, and since when the disk has not answered.
    waiting: Cell<usize>,
    stalled: Cell<Option<Instant>>,
    failures: Cell<u64>,
    /// Of the last write, when that failed.
    error: RefCell<Option<String>>,
    space: Cell<Option<Space>>,
    measured: Cell<Option<Instant>>,
    tell: Tell,
}

/// Is called when a disk fails and when it works again. Must not suspend.
pub type Tell = Rc<dyn Fn(&Disk, Change<'_>)>;

/// What has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change<'a> {
    /// It fails or hangs: why.
    Failed(&'a str),
    /// It does what it is told again.
    Works,
}

/// Room on a disk, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    /// What can still be written.
    pub free: u64,
    /// Of the whole file system.
    pub total: u64,
}

/// How it is with a disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// For how long it has not answered, when that is long.
    pub stalled: Option<Duration>,
    /// Why it could not be written to the last time, if it could not.
    pub error: Option<String>,
    /// How often writing has failed.
    pub failures: u64,
    /// As last measured.
    pub space: Option<Space>,
}

/// How many threads one folder may have, of the 32 of the pool.
const PLACES: u32 = 12;

/// A disk that has not answered for so long is said to hang.
const PATIENCE: Duration = Duration::from_secs(5);

/// How often its room is measured while it is used.
const MEASURED: Duration = Duration::from_secs(10);

impl Disk {
    /// The folder `root`, which the key `name` of the configuration names.
    #[must_use]
    pub fn new(name: &'static str, root: PathBuf, tell: Tell) -> Self {
        Self(Rc::new(Inner {
            name,
            root: root.into(),
            places: Semaphore::new(PLACES),
            waiting: Cell::default(),
            stalled: Cell::default(),
            failures: Cell::default(),
            error: RefCell::default(),
            space: Cell::default(),
            measured: Cell::default(),
            tell,
        }))
    }

    /// The key of the configuration that names it.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.0.name
    }

    /// The folder.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.0.root
    }

    /// How it is with it, without asking it.
    #[must_use]
    pub fn health(&self) -> Health {
        let now = rt::now();
        Health {
            stalled: self.0.stalled.get().map(|since| now.saturating_duration_since(since)),
            error: self.0.error.borrow().clone(),
            failures: self.0.failures.get(),
            space: self.0.space.get(),
        }
    }

    /// Takes all places, so that whoever comes finds a disk that does not answer as long as the result lives.
    #[cfg(test)]
    pub(crate) fn hang(&self) -> Result<rt::sync::Permit<'_>, WaitError> {
        self.0.places.acquire(PLACES)
    }

    /// Does `f` with the folder on a thread. While that takes long, `stalled` has the time since when.
    ///
    /// # Suspends
    ///
    /// Until it is done. A cancellation or a deadline is heard only when the disk takes long: what was begun is then left
    /// to go on, and what was not is never begun.
    ///
    /// # Errors
    ///
    /// Those of `f`, and when the wait was cancelled or a deadline passed.
    pub fn run<T: Send + 'static>(
        &self,
        stalled: &Cell<Option<Instant>>,
        f: impl FnOnce(&Path) -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let has_begun = Rc::new(Cell::new(false));
        let job = self.begin((), Rc::clone(&has_begun), f)?;
        // Who asks again and again while the disk hangs leaves nothing behind that waits for it.
        self.wait(&job, stalled).inspect_err(|_| {
            if !has_begun.get() {
                job.cancel();
            }
        })
    }

    /// As [`Self::run`], but for what is done also when nobody waits for it any more. Then `held` is dropped.
    ///
    /// # Suspends
    ///
    /// As [`Self::run`].
    ///
    /// # Errors
    ///
    /// As [`Self::run`].
    pub fn run_holding<H: 'static, T: Send + 'static>(
        &self,
        held: H,
        stalled: &Cell<Option<Instant>>,
        f: impl FnOnce(&Path) -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        self.wait(&self.begin(held, Rc::default(), f)?, stalled)
    }

    /// Has `f` done as soon as there is a place for it, of which `has_begun` tells.
    fn begin<H: 'static, T: Send + 'static>(
        &self,
        held: H,
        has_begun: Rc<Cell<bool>>,
        f: impl FnOnce(&Path) -> io::Result<T> + Send + 'static,
    ) -> io::Result<JoinHandle<io::Result<T>>> {
        let disk = self.clone();
        let job = rt::Builder::new().name("disk").spawn(move || -> io::Result<T> {
            let _held = held;
            let _place = disk.0.places.acquire(1)?;
            has_begun.set(true);
            disk.on_thread(f)
        })?;
        Ok(job)
    }

    /// Waits for what is to be done, and judges the disk by how long that takes.
    fn wait<T: 'static>(
        &self,
        job: &JoinHandle<io::Result<T>>,
        stalled: &Cell<Option<Instant>>,
    ) -> io::Result<T> {
        let begun = rt::now();
        let mut wait = None;
        loop {
            match rt::shield(PATIENCE, || job.join()) {
                Ok(result) => {
                    stalled.set(None);
                    if !result.as_ref().is_err_and(rt::is_cancelled) {
                        self.answered(wait);
                    }
                    return result;
                }
                Err(JoinError::Wait(WaitError::TimedOut(_))) => {
                    // Whoever wants to end need not wait for a disk that may never answer.
                    rt::yield_now()?;
                    stalled.set(Some(begun));
                    wait.get_or_insert_with(|| Wait::begin(self, begun));
                }
                Err(error) => return Err(io::Error::other(error.to_string())),
            }
        }
    }

    /// Writing has failed, by this error.
    pub fn note_failure(&self, error: &io::Error) {
        if rt::is_cancelled(error) || rt::timed_out(error).is_some() {
            return;
        }
        self.0.failures.set(self.0.failures.get() + 1);
        let text = error.to_string();
        let before = self.0.error.replace(Some(text.clone()));
        if before.is_none() {
            (self.0.tell)(self, Change::Failed(&text));
        }
    }

    /// Writing has not failed.
    pub fn note_success(&self) {
        if self.0.error.take().is_some() {
            self.tell_if_well();
        }
    }

    fn on_thread<T: Send + 'static>(
        &self,
        f: impl FnOnce(&Path) -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let root = Arc::clone(&self.0.root);
        let now = rt::now();
        let is_due = |at: Instant| now.saturating_duration_since(at) >= MEASURED;
        let measures = self.0.measured.get().is_none_or(is_due);
        if measures {
            self.0.measured.set(Some(now));
        }
        let work = move || {
            let result = f(&root);
            (result, measures.then(|| measure(&root)).flatten())
        };
        let (result, space) = blocking::run(work)?;
        if space.is_some() {
            self.0.space.set(space);
        }
        result
    }

    /// Somebody has got an answer, perhaps after a long wait.
    fn answered(&self, wait: Option<Wait>) {
        let has_waited = wait.is_some();
        drop(wait);
        // While others wait for what does not come, a quick answer may be one out of memory.
        if !has_waited && self.0.waiting.get() > 0 {
            return;
        }
        if let Some(since) = self.0.stalled.take() {
            let seconds = rt::now().saturating_duration_since(since).as_secs_f64();
            info!(folder = %self.root().display(), seconds, "{}: the disk answers again", self.0.name);
            self.tell_if_well();
        }
    }

    fn tell_if_well(&self) {
        if self.0.stalled.get().is_none() && self.0.error.borrow().is_none() {
            (self.0.tell)(self, Change::Works);
        }
    }
}

/// A caller who has waited for long.
struct Wait(Disk);

impl Wait {
    fn begin(disk: &Disk, since: Instant) -> Self {
        let Inner { waiting, stalled, name, .. } = &*disk.0;
        waiting.set(waiting.get() + 1);
        if stalled.get().is_none() {
            stalled.set(Some(since));
            let folder = disk.root().display();
            warn!(%folder, "{name}: the disk has not answered for {PATIENCE:?}; what is to be written waits");
            let text = format!("the disk has not answered for {PATIENCE:?}");
            (disk.0.tell)(disk, Change::Failed(&text));
        }
        Self(disk.clone())
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        let waiting = &self.0.0.waiting;
        waiting.set(waiting.get().saturating_sub(1));
    }
}

/// The room below a folder. Blocks.
fn measure(root: &Path) -> Option<Space> {
    let found = statvfs(root).ok()?;
    let unit = found.fragment_size();
    // What is kept for the superuser (ext4) is not for us, whoever we are.
    let (free, total) = (found.blocks_available(), found.blocks());
    Some(Space { free: free.saturating_mul(unit), total: total.saturating_mul(unit) })
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inner")
            .field("name", &self.name)
            .field("root", &self.root)
            .field("stalled", &self.stalled)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{
        atomic::{AtomicU32, Ordering},
        mpsc,
    };
    use thalweg_runtime::{ClockKind, Runtime};

    fn disk(told: &Rc<RefCell<Vec<String>>>) -> Disk {
        let told = Rc::clone(told);
        let tell = move |_: &Disk, change: Change<'_>| {
            told.borrow_mut().push(match change {
                Change::Failed(why) => why.to_owned(),
                Change::Works => "works".to_owned(),
            });
        };
        Disk::new("record.dir", std::env::temp_dir(), Rc::new(tell))
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "a disk that hangs, on a thread of the pool")]
    fn a_disk_that_hangs_leaves_threads_to_others() {
        rt::run(|| {
            let disk = disk(&Rc::default());
            let releases: Vec<_> = (0..40)
                .map(|_| {
                    let (release, released) = mpsc::channel::<()>();
                    let disk = disk.clone();
                    rt::spawn(move || {
                        disk.run(&Cell::new(None), move |_| {
                            let _dropped = released.recv();
                            Ok(())
                        })
                    });
                    release
                })
                .collect();
            rt::yield_now().unwrap();
            let other = || blocking::run(|| 7);
            assert_eq!(rt::timeout(Duration::from_secs(10), other).unwrap(), 7);
            drop(releases);
        });
    }

    #[test]
    fn who_gives_up_on_a_disk_that_hangs_leaves_nothing_behind_that_waits_for_it() {
        let run = || {
            let disk = disk(&Rc::default());
            let hangs = disk.hang().unwrap();
            let done = Arc::new(AtomicU32::new(0));
            let before = rt::dump().unwrap().coroutines.len();
            for _ in 0..100 {
                let done = Arc::clone(&done);
                let work = move |_: &Path| Ok(done.fetch_add(1, Ordering::Relaxed));
                let ran = rt::timeout(Duration::from_secs(8), || disk.run(&Cell::new(None), work));
                assert!(rt::timed_out(&ran.unwrap_err()).is_some());
            }
            rt::yield_now().unwrap();
            assert_eq!(rt::dump().unwrap().coroutines.len(), before);
            drop(hangs);
            rt::sleep(Duration::from_secs(1)).unwrap();
            assert_eq!(done.load(Ordering::Relaxed), 0);
            disk.run(&Cell::new(None), |_| Ok(())).unwrap();
        };
        Runtime::builder().clock(ClockKind::Virtual).build().unwrap().block_on(run).unwrap();
    }

    #[test]
    fn a_silence_is_told_once_and_its_end_too() {
        let run = || {
            let told = Rc::default();
            let disk = disk(&told);
            let hangs = disk.hang().unwrap();
            let work = |disk: &Disk| {
                let disk = disk.clone();
                rt::spawn(move || disk.run(&Cell::new(None), |_| Ok(())))
            };
            let jobs = [work(&disk), work(&disk)];
            rt::sleep(Duration::from_secs(20)).unwrap();
            assert!(disk.health().stalled.is_some_and(|since| since >= Duration::from_secs(19)));
            assert_eq!(told.borrow().len(), 1, "{told:?}");
            drop(hangs);
            jobs.into_iter().for_each(|job| job.join().unwrap().unwrap());
            assert_eq!((disk.health().stalled, told.borrow().len()), (None, 2));
            disk.note_failure(&io::Error::other("full"));
            disk.note_failure(&io::Error::other("full"));
            disk.note_success();
            let expected = ["the disk has not answered for 5s", "works", "full", "works"];
            assert_eq!(told.borrow().as_slice(), expected);
            assert_eq!(disk.health().failures, 2);
        };
        Runtime::builder().clock(ClockKind::Virtual).build().unwrap().block_on(run).unwrap();
    }
}
