//! One stream being recorded: the coroutine between the hub and the disk.
//!
//! When the disk fails, the file ends with its last whole piece, and after a pause that doubles from a second to a minute
//! another begins at the next random-access point. The stream's end ends the recording, a publisher that comes back within
//! the grace time does not.

use super::{
    Finished, Format, Plan, Settings,
    cut::{Step, Take},
    disk,
    library::{Entry, Library, Naming, RecordingId, State},
};
use crate::{
    hub::{EventKind, PlayEnd, Registry, Source, SourceState, Start},
    key::StreamKey,
    media::Span,
};
use bytes::Bytes;
use std::{
    cell::{Cell, RefCell},
    fmt,
    fs::File,
    io,
    os::unix::fs::MetadataExt,
    path::Path,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};
use thalweg_runtime::{self as rt, JoinHandle, WaitError};
use tracing::{info, warn};

/// A stream that is being recorded.
pub(super) struct Session {
    source: Rc<Source>,
    library: Library,
    settings: Rc<Settings>,
    format: Format,
    plan: Plan,
    /// `rule` or `api`.
    by: &'static str,
    since: Instant,
    current: RefCell<Option<Rc<Entry>>>,
    files: Cell<u64>,
    bytes: Cell<u64>,
    /// Of all its readers of the hub before the present one; and with the present one.
    misses_before: Cell<(u64, u64)>,
    misses: Cell<(u64, u64)>,
    failures: Cell<u64>,
    error: RefCell<Option<String>>,
    retry_at: Cell<Option<Instant>>,
    /// Since when the disk has not answered.
    stalled: Cell<Option<Instant>>,
    handle: RefCell<Option<JoinHandle<()>>>,
}

/// What a recording is at, for the API.
#[derive(Clone, Debug)]
pub struct Status {
    /// The stream.
    pub stream: StreamKey,
    /// Who wanted it: `rule` or `api`.
    pub by: &'static str,
    /// Its container.
    pub format: Format,
    /// When files end.
    pub plan: Plan,
    /// What it does.
    pub phase: Phase,
    /// For how long.
    pub age: Duration,
    /// The file that is being written: its name in the library, where it lies, and how long it lasts.
    pub current: Option<(RecordingId, String, Duration)>,
    /// Files that were begun.
    pub files: u64,
    /// Bytes that were written.
    pub bytes: u64,
    /// How often the disk was too slow, and something was skipped.
    pub skips: u64,
    /// How many units were missed by that; pieces of the stream where packets are recorded as they come.
    pub skipped: u64,
    /// How often the disk failed.
    pub failures: u64,
    /// The last failure.
    pub error: Option<String>,
    /// Until it is tried again.
    pub retry_in: Option<Duration>,
    /// For how long the disk has not answered, when that is long.
    pub stalled: Option<Duration>,
}

/// What a recording does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// It waits for a random-access point.
    Waiting,
    /// It writes.
    Recording,
    /// The disk failed; it tries again after a pause.
    Failing,
    /// The disk does not answer.
    Stalled,
}

/// The file that is being written.
struct Writing {
    entry: Rc<Entry>,
    file: Arc<File>,
    /// Where the next piece goes: behind whole pieces only.
    len: u64,
    synced: Instant,
    noted: Instant,
}

/// How long the end of a recording may take that was told to end.
pub(super) const ENDING: Duration = Duration::from_secs(10);

/// How often the note of a growing file is renewed.
const NOTED: Duration = Duration::from_secs(10);

/// The longest pause after a failure.
const PAUSE_MAX: Duration = Duration::from_secs(60);

impl Session {
    pub(super) fn new(
        source: Rc<Source>,
        library: Library,
        settings: Rc<Settings>,
        (format, plan): (Format, Plan),
        by: &'static str,
    ) -> Self {
        Self {
            source,
            library,
            settings,
            format,
            plan,
            by,
            since: rt::now(),
            current: RefCell::default(),
            files: Cell::default(),
            bytes: Cell::default(),
            misses_before: Cell::default(),
            misses: Cell::default(),
            failures: Cell::default(),
            error: RefCell::default(),
            retry_at: Cell::default(),
            stalled: Cell::default(),
            handle: RefCell::default(),
        }
    }

    pub(super) fn set_handle(&self, handle: JoinHandle<()>) {
        *self.handle.borrow_mut() = Some(handle);
    }

    pub(super) fn source(&self) -> &Source {
        &self.source
    }

    /// Whether it records this one, and not another that had the same name before.
    pub(super) fn is_of(&self, source: &Rc<Source>) -> bool {
        Rc::ptr_eq(&self.source, source)
    }

    /// Tells it to end; it completes its file first.
    pub(super) fn stop(&self) {
        if let Some(handle) = &*self.handle.borrow() {
            handle.cancel();
        }
    }

    /// Records until the stream ends or it is told to stop.
    pub(super) fn run(&self, registry: &Registry) {
        self.run_until_over(registry);
        let (files, bytes) = (self.files.get(), self.bytes.get());
        if files > 0 {
            let noun = if files == 1 { "file" } else { "files" };
            let detail =
                format_args!("{}.{} MB in {files} {noun}", bytes / 1_000_000, bytes / 100_000 % 10);
            self.note(EventKind::Recorded, detail);
        }
    }

    fn note(&self, kind: EventKind, detail: impl fmt::Display) {
        self.settings.events.note_stream(kind, self.source.key(), detail);
    }

    fn run_until_over(&self, registry: &Registry) {
        let mut start = Start::Gop;
        let mut in_a_row = 0_u32;
        while let Err(error) = self.record(start) {
            if rt::is_cancelled(&error) {
                return;
            }
            let has_written = self.retry_at.take().is_none();
            // What a file is deleted from goes on in another at once, with what the ring still has.
            let is_deleted = has_written && error.kind() == io::ErrorKind::NotFound;
            in_a_row = if has_written { 1 } else { in_a_row.saturating_add(1) };
            let pause = match is_deleted {
                true => Duration::ZERO,
                false => Duration::from_secs(1 << in_a_row.saturating_sub(1).min(6)).min(PAUSE_MAX),
            };
            self.failures.set(self.failures.get() + 1);
            self.library.count_totals(|totals| totals.failures += 1);
            warn!(stream = %self.source.key(), %error, retry_s = pause.as_secs(), "recording failed");
            if in_a_row == 1 {
                self.note(EventKind::RecordingFailed, &error);
            }
            *self.error.borrow_mut() = Some(error.to_string());
            self.retry_at.set(Some(rt::now() + pause));
            if !self.pause(registry, pause) {
                return;
            }
            start = Start::Gop;
        }
    }

    /// Waits before another attempt. `false` when there is to be none.
    fn pause(&self, registry: &Registry, pause: Duration) -> bool {
        let until = rt::now() + pause;
        let mut seen = 0;
        while self.source.state() != SourceState::Ended {
            match rt::deadline(until, || registry.wait_changed(seen)) {
                Ok(change) => seen = change,
                Err(WaitError::TimedOut(_)) => return true,
                Err(_) => return false,
            }
        }
        false
    }

    /// Records until the stream ends, or the disk fails.
    fn record(&self, start: Start) -> io::Result<()> {
        let segment = match self.plan {
            Plan::Session => None,
            Plan::Segment(length) => Some(Span::from(length)),
        };
        // Before there is anything to write: a folder that cannot be used is said at once.
        match self.failures.get() {
            0 => self.library.open(&self.stalled)?,
            _ => self.library.reopen_if_replaced(&self.stalled)?,
        }
        let mut take = match Take::new(&self.source, self.format, segment, start) {
            Ok(take) => take,
            Err(PlayEnd::Wait(error)) => return Err(error.into()),
            Err(_) => return Ok(()),
        };
        let mut steps = Vec::new();
        let mut writing = None;
        self.misses_before.set(self.misses.get());
        loop {
            let end = take.next(&mut steps).err();
            self.count_misses(take.misses());
            let done = match end {
                None => self.perform(&mut steps, &mut writing),
                // The stream is over, and what is left waits for the disk as long as that takes.
                Some(PlayEnd::Unpublished) => {
                    take.finish(&mut steps);
                    let written = self.perform(&mut steps, &mut writing);
                    written.and_then(|()| self.complete(&mut writing))
                }
                Some(_) => {
                    take.finish(&mut steps);
                    rt::shield(ENDING, || {
                        self.perform(&mut steps, &mut writing)?;
                        self.complete(&mut writing)
                    })
                }
            };
            if let Err(error) = done {
                rt::shield(ENDING, || self.give_up(&mut writing, &error));
                return Err(error);
            }
            if end.is_some() {
                return Ok(());
            }
        }
    }

    fn count_misses(&self, (skips, skipped): (u64, u64)) {
        let (skips_before, skipped_before) = self.misses_before.get();
        let now = (skips_before + skips, skipped_before + skipped);
        let before = self.misses.replace(now);
        if now.0 > before.0 {
            let stream = self.source.key();
            let missed = now.1 - before.1;
            self.library.count_totals(|totals| {
                totals.skips += now.0 - before.0;
                totals.skipped += missed;
            });
            warn!(%stream, missed, "the disk is too slow; the recording skipped to the newest random-access point");
        }
    }

    fn perform(&self, steps: &mut Vec<Step>, writing: &mut Option<Writing>) -> io::Result<()> {
        for step in steps.drain(..) {
            match step {
                Step::Begin { head, behind } => {
                    self.complete(writing)?;
                    *writing = Some(self.begin(behind.duration())?);
                    self.append(writing, head, Span::ZERO)?;
                }
                Step::Append { parts, lasts } => self.append(writing, parts, lasts)?,
            }
        }
        Ok(())
    }

    fn begin(&self, behind: Duration) -> io::Result<Writing> {
        let stream = self.source.key();
        let naming =
            Naming { stream, format: self.format, template: &self.settings.template, behind };
        let begun = self.library.begin(naming, &self.stalled);
        let (entry, file) = begun.inspect_err(|error| self.library.disk().note_failure(error))?;
        info!(%stream, file = entry.file, "recording");
        self.library.count_totals(|totals| totals.files += 1);
        if self.files.replace(self.files.get() + 1) == 0 {
            self.note(EventKind::Recording, format_args!("{}, by {}", entry.file, self.by));
        }
        *self.current.borrow_mut() = Some(Rc::clone(&entry));
        if let Err(error) = self.library.note_rest(&self.stalled) {
            warn!(%stream, %error, "what became of files before cannot be noted yet");
        }
        let now = rt::now();
        Ok(Writing { entry, file, len: 0, synced: now, noted: now })
    }

    fn append(
        &self,
        writing: &mut Option<Writing>,
        parts: Vec<Bytes>,
        lasts: Span,
    ) -> io::Result<()> {
        let Some(writing) = writing else { return Ok(()) };
        let (file, offset) = (Arc::clone(&writing.file), writing.len);
        let now = rt::now();
        let age = now.saturating_duration_since(writing.synced);
        let syncs = self.settings.sync.is_some_and(|every| age >= every);
        let written = self.library.disk().run(&self.stalled, move |_| {
            let end = disk::append(&file, &parts, offset)?;
            if syncs {
                file.sync_data()?;
            }
            Ok((end, file.metadata()?.nlink() > 0))
        });
        let disk = self.library.disk();
        let written = written.inspect_err(|error| disk.note_failure(error));
        let (end, is_there) = written.map_err(|error| self.about(&writing.entry, error))?;
        if !is_there {
            let text = "the file was deleted while it was recorded";
            let error = io::Error::new(io::ErrorKind::NotFound, text);
            return Err(self.about(&writing.entry, error));
        }
        let more = end - writing.len;
        self.bytes.set(self.bytes.get() + more);
        self.library.count_totals(|totals| totals.bytes += more);
        writing.len = end;
        if lasts > Span::ZERO {
            // The disk works.
            self.retry_at.set(None);
            self.error.take();
            disk.note_success();
        }
        self.library.grow(&writing.entry, end, lasts.duration());
        if syncs {
            writing.synced = now;
        }
        if now.saturating_duration_since(writing.noted) >= NOTED {
            writing.noted = now;
            self.library.note(&writing.entry, &self.stalled)?;
        }
        Ok(())
    }

    /// The error with the file's path.
    fn about(&self, entry: &Entry, error: io::Error) -> io::Error {
        if rt::is_cancelled(&error) || rt::timed_out(&error).is_some() {
            return error;
        }
        let path = self.library.root().join(&entry.file);
        io::Error::new(error.kind(), format!("{}: {error}", path.display()))
    }

    /// Ends the present file, which is whole.
    fn complete(&self, writing: &mut Option<Writing>) -> io::Result<()> {
        let Some(Writing { entry, file, .. }) = writing.take() else { return Ok(()) };
        self.current.take();
        let syncs = self.settings.sync.is_some();
        // Closing may take as long as writing.
        let closed = self
            .library
            .disk()
            .run(&self.stalled, move |_| if syncs { file.sync_data() } else { Ok(()) })
            .inspect_err(|error| self.library.disk().note_failure(error));
        let state = match &closed {
            Ok(()) => State::Finished,
            Err(error) => State::Failed(error.to_string()),
        };
        let error = closed.as_ref().err().map(ToString::to_string);
        self.library.end(&entry, state);
        info!(
            stream = %entry.stream,
            file = entry.file,
            seconds = entry.duration().as_secs_f64(),
            bytes = entry.bytes(),
            "recorded"
        );
        self.tell(&entry, error);
        closed.and_then(|()| self.library.note(&entry, &self.stalled))
    }

    /// Ends the present file after a failure; what was written before stays.
    fn give_up(&self, writing: &mut Option<Writing>, error: &io::Error) {
        let Some(Writing { entry, file, .. }) = writing.take() else { return };
        self.current.take();
        let hangs = rt::is_cancelled(error) || rt::timed_out(error).is_some();
        let why = match hangs {
            true => "the disk did not answer when the recording was to end".to_owned(),
            false => error.to_string(),
        };
        self.library.end(&entry, State::Failed(why.clone()));
        // A thread closes it, whatever that takes.
        let _closing = rt::spawn({
            let (library, entry) = (self.library.clone(), Rc::clone(&entry));
            move || {
                let close = move |_: &Path| {
                    drop(file);
                    Ok(())
                };
                library.disk().run(&Cell::new(None), close)?;
                if hangs { library.note(&entry, &Cell::new(None)) } else { Ok(()) }
            }
        });
        if hangs {
            return self.tell(&entry, Some(why));
        }
        // A file that is gone, or never had any media, leaves nothing to be known of.
        let is_gone = error.kind() == io::ErrorKind::NotFound || entry.duration().is_zero();
        if is_gone && self.library.delete(&entry.id.to_string()).is_ok() {
            return;
        }
        self.tell(&entry, Some(why));
        if let Err(error) = self.library.note(&entry, &self.stalled) {
            warn!(file = entry.file, %error, "what became of the file cannot be noted");
        }
    }

    fn tell(&self, entry: &Entry, error: Option<String>) {
        (self.settings.on_file)(&Finished {
            id: entry.id.clone(),
            stream: entry.stream.clone(),
            cwd: self.library.root().to_owned(),
            file: entry.file.clone(),
            format: entry.format,
            began_ms: entry.began_ms,
            duration: entry.duration(),
            bytes: entry.bytes(),
            error,
        });
    }

    pub(super) fn status(&self) -> Status {
        let now = rt::now();
        let current = self.current.borrow();
        let stalled = self.stalled.get().map(|since| now.saturating_duration_since(since));
        let retry_in = self.retry_at.get().map(|at| at.saturating_duration_since(now));
        let phase = match (&stalled, &retry_in, &*current) {
            (Some(_), ..) => Phase::Stalled,
            (_, Some(_), None) => Phase::Failing,
            (.., Some(_)) => Phase::Recording,
            (.., None) => Phase::Waiting,
        };
        let (skips, skipped) = self.misses.get();
        Status {
            stream: self.source.key().clone(),
            by: self.by,
            format: self.format,
            plan: self.plan,
            phase,
            age: now.saturating_duration_since(self.since),
            current: current
                .as_ref()
                .map(|entry| (entry.id.clone(), entry.file.clone(), entry.duration())),
            files: self.files.get(),
            bytes: self.bytes.get(),
            skips,
            skipped,
            failures: self.failures.get(),
            error: self.error.borrow().clone(),
            retry_in,
            stalled,
        }
    }
}

impl Phase {
    /// Its name in the API.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Recording => "recording",
            Self::Failing => "failing",
            Self::Stalled => "stalled",
        }
    }
}
