//! The library: which files there are, and what may be done with them.
//!
//! All notes are read when the folder is opened, and what they tell is kept: about 300 bytes for each file. From then on the
//! library is what happens here; a file that somebody else removes shows as missing when it is asked for.

use super::{
    Format, Totals, disk,
    note::{self, Note},
};
use crate::{
    disk::Disk,
    key::StreamKey,
    naming::{Template, Values},
};
use jiff::{Zoned, tz::TimeZone};
use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    fmt,
    fs::{File, Metadata, TryLockError},
    io,
    os::unix::fs::{FileExt, MetadataExt},
    path::Path,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};
use thalweg_runtime::{
    self as rt, WaitError,
    sync::{Cond, Mutex, MutexGuard},
};
use tracing::{info, warn};

/// Names a file for good: when it began, by the clock of UTC, and a number. They sort by time.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecordingId(Rc<str>);

/// The files of one folder. Clones are the same library.
#[derive(Clone, Debug)]
pub struct Library(Rc<Shelf>);

struct Shelf {
    disk: Disk,
    entries: RefCell<BTreeMap<RecordingId, Rc<Entry>>>,
    /// Bytes of all files together.
    bytes: Cell<u64>,
    /// Held while the folder is ours; nobody else may record there. There once the notes have been read.
    lock: Mutex<Option<Arc<File>>>,
    is_open: Cell<bool>,
    numbers: Cell<u32>,
    totals: Cell<Totals>,
    /// Files that have ended, which the disk would not let be noted.
    unnoted: RefCell<BTreeMap<RecordingId, Rc<Entry>>>,
    /// A file has ended or grown.
    changed: Cond,
}

/// One file.
#[derive(Debug)]
pub struct Entry {
    /// Its name.
    pub id: RecordingId,
    /// The stream that was recorded.
    pub stream: StreamKey,
    /// Where it lies below the folder.
    pub file: String,
    /// Its container.
    pub format: Format,
    /// When it began, in milliseconds since 1970.
    pub began_ms: i64,
    pub(super) duration: Cell<Duration>,
    pub(super) bytes: Cell<u64>,
    state: RefCell<State>,
}

/// What a file is to be called.
#[derive(Clone, Copy, Debug)]
pub(super) struct Naming<'a> {
    /// After which stream.
    pub(super) stream: &'a StreamKey,
    /// Its container.
    pub(super) format: Format,
    /// How.
    pub(super) template: &'a Template,
    /// How long ago it began.
    pub(super) behind: Duration,
}

/// What became of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// It is being written.
    Recording,
    /// It is whole.
    Finished,
    /// The disk failed; what is there is whole up to then.
    Failed(String),
    /// The process ended while it was written; what is there is whole but for the last second or so.
    Interrupted,
}

/// Which files are wanted.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Of this stream.
    pub stream: Option<StreamKey>,
    /// With something of this time or later, in milliseconds since 1970.
    pub from_ms: Option<i64>,
    /// With something of this time or earlier.
    pub to_ms: Option<i64>,
}

/// Why something cannot be done with a file.
#[derive(Debug)]
#[non_exhaustive]
pub enum LibraryError {
    /// There is none of that name.
    NotFound,
    /// It is being written.
    InUse,
    /// The disk says no.
    Disk(io::Error),
}

/// A file that is being read.
#[derive(Debug)]
pub struct Download {
    file: Arc<File>,
    disk: Disk,
    /// How large it is now.
    pub len: u64,
}

/// Who waits for somebody else to open the folder says so after this.
const PATIENCE: Duration = Duration::from_secs(5);

/// So much is read at once.
const READ: usize = 256 << 10;

impl Library {
    pub(super) fn new(disk: Disk) -> Self {
        Self(Rc::new(Shelf {
            disk,
            entries: RefCell::default(),
            bytes: Cell::new(0),
            lock: Mutex::new(None),
            is_open: Cell::new(false),
            numbers: Cell::new(0),
            totals: Cell::default(),
            unnoted: RefCell::default(),
            changed: Cond::new(),
        }))
    }

    /// The folder of the recordings.
    #[must_use]
    pub fn root(&self) -> &Path {
        self.0.disk.root()
    }

    /// What it lies on.
    #[must_use]
    pub fn disk(&self) -> &Disk {
        &self.0.disk
    }

    /// Whether the folder could be read.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.0.is_open.get()
    }

    /// Makes the folder if it is missing, takes it for ourselves and reads the notes, unless that has been done.
    ///
    /// # Suspends
    ///
    /// Until that is done.
    ///
    /// # Errors
    ///
    /// When the folder cannot be used, or another gateway has it.
    pub(super) fn open(&self, stalled: &Cell<Option<Instant>>) -> io::Result<()> {
        if self.is_open() {
            return Ok(());
        }
        let mut lock = self.lock(stalled)?;
        if lock.is_some() {
            return Ok(());
        }
        let opened = self.0.disk.run(stalled, |root| {
            let lock = take_folder(root)?;
            Ok((lock, read_notes(root)?))
        });
        let (taken, found) = opened.inspect_err(|error| self.0.disk.note_failure(error))?;
        *lock = Some(Arc::new(taken));
        let mut entries = self.0.entries.borrow_mut();
        for (id, note) in found {
            let Some(entry) = Entry::of(&id, &note) else { continue };
            // One that is being written is known better here.
            if !entries.contains_key(&entry.id) {
                self.0.bytes.set(self.0.bytes.get() + entry.bytes());
                entries.insert(entry.id.clone(), Rc::new(entry));
            }
        }
        info!(folder = %self.root().display(), files = entries.len(), bytes = self.0.bytes.get(), "recordings");
        self.0.is_open.set(true);
        Ok(())
    }

    /// Opens the folder once more if another lies in its place: it was removed and made again, or another disk is there.
    ///
    /// # Suspends
    ///
    /// Until that is done.
    ///
    /// # Errors
    ///
    /// As [`Self::open`].
    pub(super) fn reopen_if_replaced(&self, stalled: &Cell<Option<Instant>>) -> io::Result<()> {
        let held = self.lock(stalled)?.clone();
        if let Some(held) = held {
            let looked = self.0.disk.run(stalled, move |root| {
                let place = |metadata: Metadata| (metadata.dev(), metadata.ino());
                match disk::open(root, &lock_path()).and_then(|file| file.metadata()) {
                    Ok(there) => Ok(place(there) == place(held.metadata()?)),
                    Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
                    Err(error) => Err(error),
                }
            });
            if !looked.inspect_err(|error| self.0.disk.note_failure(error))? {
                self.lock(stalled)?.take();
                self.0.is_open.set(false);
                let mut entries = self.0.entries.borrow_mut();
                entries.retain(|_, entry| *entry.state.borrow() == State::Recording);
                self.0.bytes.set(entries.values().map(|entry| entry.bytes()).sum());
            }
        }
        self.open(stalled)
    }

    fn lock(
        &self,
        stalled: &Cell<Option<Instant>>,
    ) -> io::Result<MutexGuard<'_, Option<Arc<File>>>> {
        let begun = rt::now();
        loop {
            match rt::timeout(PATIENCE, || self.0.lock.lock()) {
                Err(WaitError::TimedOut(_)) => {
                    // Unless it was the caller's own deadline.
                    rt::yield_now()?;
                    stalled.set(Some(begun));
                }
                locked => {
                    stalled.set(None);
                    return Ok(locked?);
                }
            }
        }
    }

    /// Makes a file and its note.
    ///
    /// # Suspends
    ///
    /// Until they are there.
    ///
    /// # Errors
    ///
    /// What the disk reports; then there is no file.
    pub(super) fn begin(
        &self,
        naming: Naming<'_>,
        stalled: &Cell<Option<Instant>>,
    ) -> io::Result<(Rc<Entry>, Arc<File>)> {
        self.open(stalled)?;
        let number = self.0.numbers.get();
        self.0.numbers.set(number.wrapping_add(1));
        let Naming { stream, format, template, behind } = naming;
        let (key, template) = (stream.clone(), template.clone());
        let (id, note, file) = self.0.disk.run(stalled, move |root| {
            // The zone is read from files the first time.
            let now = Zoned::now();
            let began = now.checked_sub(behind).unwrap_or(now);
            let values = Values { key: &key, time: &began, ext: format.extension() };
            let (file, path) = disk::create(root, &template.path(&values))?;
            let utc = began.timestamp().to_zoned(TimeZone::UTC);
            let id = format!("{}-{number}", utc.strftime("%Y%m%dT%H%M%S%3fZ"));
            let note = Note::new(&key, &path, format, began.timestamp().as_millisecond());
            if let Err(error) = disk::replace(root, &note::path(&id), &note.encode()) {
                // Without a note nobody would know it.
                let _removed = disk::remove(root, &path);
                return Err(error);
            }
            Ok((id, note, file))
        })?;
        let entry = Rc::new(Entry {
            id: RecordingId(id.into()),
            stream: stream.clone(),
            file: note.file,
            format,
            began_ms: note.began_ms,
            duration: Cell::default(),
            bytes: Cell::default(),
            state: RefCell::new(State::Recording),
        });
        self.0.entries.borrow_mut().insert(entry.id.clone(), Rc::clone(&entry));
        Ok((entry, Arc::new(file)))
    }

    /// The file has grown.
    pub(super) fn grow(&self, entry: &Entry, bytes: u64, lasts: Duration) {
        let before = entry.bytes.replace(bytes);
        self.0.bytes.set(self.0.bytes.get().saturating_sub(before) + bytes);
        entry.duration.set(lasts);
        self.0.changed.broadcast();
    }

    /// It will grow no more.
    pub(super) fn end(&self, entry: &Entry, state: State) {
        *entry.state.borrow_mut() = state;
        self.0.changed.broadcast();
    }

    /// It is not there any more.
    pub(super) fn forget(&self, entry: &Entry) {
        if self.0.entries.borrow_mut().remove(&entry.id).is_some() {
            self.0.bytes.set(self.0.bytes.get().saturating_sub(entry.bytes()));
        }
        self.0.changed.broadcast();
    }

    /// Waits until a file has ended or grown, or the deadline has passed.
    pub(super) fn wait_changed(&self, deadline: Instant) -> Result<(), WaitError> {
        self.0.changed.wait_until(deadline)
    }

    /// Bytes of all files together.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.0.bytes.get()
    }

    pub(super) fn totals(&self) -> Totals {
        self.0.totals.get()
    }

    pub(super) fn count_totals(&self, count: impl FnOnce(&mut Totals)) {
        let mut totals = self.0.totals.get();
        count(&mut totals);
        self.0.totals.set(totals);
    }

    /// How many files there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.entries.borrow().len()
    }

    /// A file.
    #[must_use]
    pub fn find(&self, id: &str) -> Option<Rc<Entry>> {
        self.0.entries.borrow().get(&RecordingId(id.into())).cloned()
    }

    /// The files that are wanted, newest first: how many there are, and those from `start` on, at most `count`.
    #[must_use]
    pub fn list(&self, filter: &Filter, start: usize, count: usize) -> (usize, Vec<Rc<Entry>>) {
        let entries = self.0.entries.borrow();
        let mut wanted = entries.values().rev().filter(|entry| filter.admits(entry));
        let mut found = Vec::new();
        let mut total = 0;
        for entry in &mut wanted {
            if total >= start && found.len() < count {
                found.push(Rc::clone(entry));
            }
            total += 1;
        }
        (total, found)
    }

    /// When the first file that has ended will have ended `keep` ago, in milliseconds since 1970.
    pub(super) fn next_expiry_ms(
        &self,
        keep: Duration,
        admits: impl Fn(&RecordingId) -> bool,
    ) -> Option<i64> {
        let keep = i64::try_from(keep.as_millis()).unwrap_or(i64::MAX);
        let entries = self.0.entries.borrow();
        let ended = entries.values().filter(|entry| *entry.state.borrow() != State::Recording);
        let ended = ended.filter(|entry| admits(&entry.id));
        ended.map(|entry| entry.ended_ms().saturating_add(keep)).min()
    }

    /// The oldest file that is not being written and that `admits`.
    pub(super) fn oldest(&self, admits: impl Fn(&Entry) -> bool) -> Option<Rc<Entry>> {
        let entries = self.0.entries.borrow();
        let mut ended = entries.values().filter(|entry| *entry.state.borrow() != State::Recording);
        ended.find(|entry| admits(entry)).cloned()
    }

    /// Removes a file and its note.
    ///
    /// # Suspends
    ///
    /// Until that is done.
    ///
    /// # Errors
    ///
    /// [`LibraryError`] says why not.
    pub fn delete(&self, id: &str) -> Result<Rc<Entry>, LibraryError> {
        let entry = self.find(id).ok_or(LibraryError::NotFound)?;
        if *entry.state.borrow() == State::Recording {
            return Err(LibraryError::InUse);
        }
        let (file, note) = (entry.file.clone(), note::path(id));
        let removed = self.0.disk.run(&Cell::new(None), move |root| {
            match disk::remove(root, &file) {
                // Somebody else has.
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            // A note without a file is removed when it is next read.
            let _removed = disk::remove(root, &note);
            Ok(())
        });
        removed.map_err(LibraryError::Disk)?;
        self.forget(&entry);
        Ok(entry)
    }

    /// Opens a file to read it, as far as it has been written.
    ///
    /// # Suspends
    ///
    /// Until it is open.
    ///
    /// # Errors
    ///
    /// [`LibraryError`] says why not; a file that somebody removed is not found.
    pub fn read(&self, entry: &Entry) -> Result<Download, LibraryError> {
        let path = entry.file.clone();
        let opened = self.0.disk.run(&Cell::new(None), move |root| {
            let file = disk::open(root, &path)?;
            let len = file.metadata()?.len();
            Ok((file, len))
        });
        let (file, on_disk) = opened.map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => LibraryError::NotFound,
            _ => LibraryError::Disk(error),
        })?;
        // What is being written now is not whole yet.
        let len =
            if entry.state() == State::Recording { entry.bytes().min(on_disk) } else { on_disk };
        Ok(Download { file: Arc::new(file), disk: self.0.disk.clone(), len })
    }

    /// Writes what is known of a file beside it.
    ///
    /// # Suspends
    ///
    /// Until that is done.
    ///
    /// # Errors
    ///
    /// What the disk reports.
    pub(super) fn note(&self, entry: &Entry, stalled: &Cell<Option<Instant>>) -> io::Result<()> {
        let noted = self.write_note(entry, stalled);
        let is_over = *entry.state.borrow() != State::Recording;
        if let Some(entry) = self.find(&entry.id.0).filter(|_| noted.is_err() && is_over) {
            self.0.unnoted.borrow_mut().insert(entry.id.clone(), entry);
        }
        noted
    }

    /// Notes what could not be noted before.
    ///
    /// # Suspends
    ///
    /// Until that is done.
    ///
    /// # Errors
    ///
    /// What the disk reports; what is left is kept for the next time.
    pub(super) fn note_rest(&self, stalled: &Cell<Option<Instant>>) -> io::Result<()> {
        let next = || self.0.unnoted.borrow().values().next().cloned();
        while let Some(entry) = next() {
            if self.find(&entry.id.0).is_some() {
                self.write_note(&entry, stalled)?;
            }
            self.0.unnoted.borrow_mut().remove(&entry.id);
        }
        Ok(())
    }

    fn write_note(&self, entry: &Entry, stalled: &Cell<Option<Instant>>) -> io::Result<()> {
        let path = note::path(&entry.id.0);
        let mut note = Note::new(&entry.stream, &entry.file, entry.format, entry.began_ms);
        note.bytes = entry.bytes();
        note.duration_ms = u64::try_from(entry.duration().as_millis()).unwrap_or(u64::MAX);
        note.set_state(&entry.state());
        let noted =
            self.0.disk.run(stalled, move |root| disk::replace(root, &path, &note.encode()));
        noted.inspect_err(|error| self.0.disk.note_failure(error))
    }
}

impl Entry {
    fn of(id: &str, note: &Note) -> Option<Self> {
        Some(Self {
            id: RecordingId(id.into()),
            stream: note.stream()?,
            file: note.file.clone(),
            format: note.format()?,
            began_ms: note.began_ms,
            duration: Cell::new(Duration::from_millis(note.duration_ms)),
            bytes: Cell::new(note.bytes),
            state: RefCell::new(note.state()),
        })
    }

    /// How large it is.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes.get()
    }

    /// How much media it has. Of an interrupted file as was last noted: it may have some seconds more.
    #[must_use]
    pub fn duration(&self) -> Duration {
        self.duration.get()
    }

    /// What became of it.
    #[must_use]
    pub fn state(&self) -> State {
        self.state.borrow().clone()
    }

    /// When what it has ends, in milliseconds since 1970.
    #[must_use]
    pub fn ended_ms(&self) -> i64 {
        let lasts = i64::try_from(self.duration().as_millis()).unwrap_or(i64::MAX);
        self.began_ms.saturating_add(lasts)
    }
}

impl Filter {
    fn admits(&self, entry: &Entry) -> bool {
        self.stream.as_ref().is_none_or(|stream| *stream == entry.stream)
            && self.from_ms.is_none_or(|from| entry.ended_ms() >= from)
            && self.to_ms.is_none_or(|to| entry.began_ms <= to)
    }
}

impl Download {
    /// Reads some of it at `offset`, up to 256 KiB; nothing at its end.
    ///
    /// # Suspends
    ///
    /// Until it is read.
    ///
    /// # Errors
    ///
    /// What the disk reports.
    pub fn read_at(&self, offset: u64, len: u64) -> io::Result<Vec<u8>> {
        let file = Arc::clone(&self.file);
        let len = usize::try_from(len).unwrap_or(READ).min(READ);
        self.disk.run(&Cell::new(None), move |_| {
            let mut bytes = vec![0; len];
            let count = file.read_at(&mut bytes, offset)?;
            bytes.truncate(count);
            Ok(bytes)
        })
    }
}

/// Makes the folder and locks it. Blocks.
fn take_folder(root: &Path) -> io::Result<File> {
    let about =
        |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", root.display()));
    std::fs::create_dir_all(root).map_err(about)?;
    let path = lock_path();
    let file = match disk::open(root, &path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => disk::create(root, &path)?.0,
        opened => opened?,
    };
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            let text = format!("{}: another gateway records there", root.display());
            Err(io::Error::new(io::ErrorKind::ResourceBusy, text))
        }
        Err(TryLockError::Error(error)) => Err(about(error)),
    }
}

fn lock_path() -> String {
    format!("{}/lock", note::FOLDER)
}

/// Reads all notes; those whose files are gone are removed. Blocks.
fn read_notes(root: &Path) -> io::Result<Vec<(String, Note)>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(root.join(note::FOLDER))? {
        let name = entry?.file_name();
        if let Some(cut) = name.to_str().filter(|name| name.ends_with(".json.new")) {
            // A process was killed while it wrote it.
            let _removed = disk::remove(root, &format!("{}/{cut}", note::FOLDER));
        }
        let Some(id) = name.to_str().and_then(|name| name.strip_suffix(".json")) else { continue };
        let path = note::path(id);
        let Some(mut note) = read_small(root, &path).and_then(|bytes| Note::parse(&bytes)) else {
            warn!(note = path, "is not understood and left alone, with its file");
            continue;
        };
        match disk::open(root, &note.file).and_then(|file| file.metadata()) {
            Ok(metadata) => {
                note.bytes = metadata.len();
                found.push((id.to_owned(), note));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let _removed = disk::remove(root, &path);
            }
            Err(error) => warn!(%error, "a recording cannot be read and is left alone"),
        }
    }
    Ok(found)
}

/// The contents of a file of at most a few pages.
fn read_small(root: &Path, path: &str) -> Option<Vec<u8>> {
    let file = disk::open(root, path).ok()?;
    let mut bytes = vec![0; 16 << 10];
    let count = file.read_at(&mut bytes, 0).ok()?;
    bytes.truncate(count);
    Some(bytes)
}

/// Now, in milliseconds since 1970.
pub(super) fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

impl State {
    /// Its name in notes and in the API.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Recording => "recording",
            Self::Finished => "finished",
            Self::Failed(_) => "failed",
            Self::Interrupted => "interrupted",
        }
    }
}

impl fmt::Display for RecordingId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for LibraryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFound => f.write_str("there is no such recording"),
            Self::InUse => f.write_str("the recording is still being written"),
            Self::Disk(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for LibraryError {}

impl fmt::Debug for Shelf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shelf")
            .field("disk", &self.disk)
            .field("bytes", &self.bytes)
            .field("is_open", &self.is_open)
            .finish_non_exhaustive()
    }
}
