//! Listing folders, a batch of entries at a time: a folder may hold millions.

use std::ffi::OsStr;
use std::fmt;
use std::fs::FileType;
use std::io;
use std::path::{Path, PathBuf};
use std::vec;

use crate::blocking::{self, Job};
use crate::wait;

/// Entries that one job reads at most.
const BATCH: usize = 256;

/// Begins to list a folder.
///
/// ```
/// # use thalweg_runtime::{self as rt, fs};
/// # rt::run(|| -> std::io::Result<()> {
/// let mut recordings = 0;
/// for entry in fs::read_dir(".")? {
///     recordings += u32::from(entry?.path().extension().is_some_and(|end| end == "ts"));
/// }
/// # Ok(())
/// # }).unwrap();
/// ```
///
/// # Suspends
///
/// Until the first entries are read, a deadline passes or the coroutine is cancelled; the iterator
/// does so whenever it needs more.
///
/// # Errors
///
/// As [`std::fs::read_dir`] and [`blocking::run`].
#[cfg_attr(debug_assertions, track_caller)]
pub fn read_dir(path: impl AsRef<Path>) -> io::Result<ReadDir> {
    let path = path.as_ref().to_owned();
    let batch = blocking::run(move || std::fs::read_dir(path).map(Batch::read))??;
    let mut dir = ReadDir { read: Vec::new().into_iter(), rest: Rest::Done };
    dir.adopt(batch);
    Ok(dir)
}

/// The entries of a folder, in no order, without `.` and `..`.
///
/// After an error that a deadline or a cancellation caused it goes on where it was; another error
/// is followed by the entries after it, if there are any.
pub struct ReadDir {
    read: vec::IntoIter<io::Result<DirEntry>>,
    rest: Rest,
}

enum Rest {
    Unread(std::fs::ReadDir),
    /// A job reads the next entries.
    Coming(Job<Batch>),
    Done,
}

/// What one job has read.
struct Batch {
    entries: Vec<io::Result<DirEntry>>,
    rest: Option<std::fs::ReadDir>,
}

/// An entry of a folder.
#[derive(Clone, Debug)]
pub struct DirEntry {
    path: PathBuf,
    file_type: Option<FileType>,
}

impl ReadDir {
    fn adopt(&mut self, batch: Batch) {
        self.read = batch.entries.into_iter();
        self.rest = batch.rest.map_or(Rest::Done, Rest::Unread);
    }

    /// Reads the next entries.
    #[cfg_attr(debug_assertions, track_caller)]
    fn fill(&mut self) -> io::Result<()> {
        let here = wait::enter()?;
        if let Rest::Unread(_) = self.rest {
            let place = here.scheduler.pools.work.admit(here)?;
            if let Rest::Unread(rest) = std::mem::replace(&mut self.rest, Rest::Done) {
                self.rest = Rest::Coming(Job::start(here, place, || Batch::read(rest))?);
            }
        }
        if let Rest::Coming(job) = &self.rest {
            // A wait that is cut short leaves the job to the next call.
            job.wait(here)?;
            let batch = job.take();
            self.rest = Rest::Done;
            self.adopt(batch?);
        }
        Ok(())
    }
}

impl Iterator for ReadDir {
    type Item = io::Result<DirEntry>;

    #[cfg_attr(debug_assertions, track_caller)]
    fn next(&mut self) -> Option<io::Result<DirEntry>> {
        loop {
            if let Some(entry) = self.read.next() {
                return Some(entry);
            }
            if matches!(self.rest, Rest::Done) {
                return None;
            }
            if let Err(error) = self.fill() {
                return Some(Err(error));
            }
        }
    }
}

impl Batch {
    fn read(mut dir: std::fs::ReadDir) -> Self {
        let entry = |entry: std::fs::DirEntry| DirEntry {
            path: entry.path(),
            file_type: entry.file_type().ok(),
        };
        let entries: Vec<_> = dir.by_ref().take(BATCH).map(|result| result.map(entry)).collect();
        let rest = (entries.len() == BATCH).then_some(dir);
        Self { entries, rest }
    }
}

impl DirEntry {
    /// Where it is: the path of the folder as it was given, and the name.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its name in the folder.
    #[must_use]
    pub fn file_name(&self) -> &OsStr {
        self.path.file_name().unwrap_or_default()
    }

    /// What it was when the folder was read, a link not followed; none when that was not to be
    /// found out.
    #[must_use]
    pub const fn file_type(&self) -> Option<FileType> {
        self.file_type
    }
}

impl fmt::Debug for ReadDir {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReadDir").field("read", &self.read.len()).finish_non_exhaustive()
    }
}
