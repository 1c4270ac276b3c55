//! Copies of segments and playlists in a folder, for whoever serves files: `DIRECTORY/live/cam.m3u8` and what it names below
//! `DIRECTORY/live/cam/`.
//!
//! One coroutine a stream writes, behind a queue. A disk that fails or hangs costs the copies and nothing else: of each stream
//! at most one write is on its way, whatever becomes of the stream, and what could not be written is written later, as long as
//! a playlist names it; what nothing follows, as when the stream has ended, is tried again for some minutes. Playlists here
//! name no parts, since nobody can wait for a file.

use super::{OnSegment, SegmentDone};
use crate::{disk::Disk, key::StreamKey};
use bytes::Bytes;
use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, BTreeSet, VecDeque},
    fs, io,
    path::{Path, PathBuf},
    rc::Rc,
    time::Duration,
};
use thalweg_runtime::{
    self as rt,
    sync::channel::{Receiver, Sender, bounded},
};
use tracing::{info, warn};

/// The folder of all streams. Clones are the same one.
#[derive(Clone, Debug)]
pub(super) struct Folder(Rc<Shared>);

#[derive(Debug)]
struct Shared {
    disk: Disk,
    /// Streams of which a write is on its way.
    busy: RefCell<BTreeSet<StreamKey>>,
    /// How often a stream has begun here, and which of these beginnings each was.
    begun: Cell<u64>,
    lives: RefCell<BTreeMap<StreamKey, u64>>,
}

/// Where to put files of a stream; without end until it is dropped.
#[derive(Debug)]
pub(super) struct Copies(Sender<Copy>);

/// What belongs together: a segment, what it needs, and the playlists that name it.
#[derive(Debug)]
pub(super) struct Copy {
    /// Files that are written once: init segment, key, segment.
    pub(super) files: Vec<(String, Bytes)>,
    /// The name of the lane's playlist, and its text.
    pub(super) playlist: (String, Bytes),
    pub(super) multivariant: Bytes,
    /// Told of, if the lane is the main one.
    pub(super) done: Option<SegmentDone>,
}

/// The coroutine that writes.
struct Writer {
    folder: Folder,
    stream: StreamKey,
    /// Of its stream.
    life: u64,
    /// What was to be written, oldest first.
    written: VecDeque<String>,
    /// What of that could not be, with the playlist that names it.
    missing: VecDeque<Missing>,
    /// The latest of each playlist, where that could not be written.
    late: Vec<Copy>,
    kept: usize,
    is_failing: bool,
    on_segment: Option<Rc<OnSegment>>,
}

struct Missing {
    playlist: String,
    name: String,
    body: Bytes,
}

/// A copy on its way to the disk.
struct Job {
    /// Below the root, with all names but that of the multivariant playlist in it.
    folder: PathBuf,
    files: Vec<JobFile>,
    playlist: (String, Bytes),
    multivariant: (PathBuf, Bytes),
    old: Vec<String>,
}

struct JobFile {
    name: String,
    body: Bytes,
    /// It was written before, but somebody may have taken it away.
    is_known: bool,
}

/// A stream is busy as long as this lives.
struct Busy(Folder, StreamKey);

/// So many segments wait for a slow disk.
const QUEUE: usize = 16;

/// So many files are kept that could not be written.
const MISSING_MAX: usize = 32;

/// Nobody waits longer for a copy; the disk may still write it.
const PATIENCE: Duration = Duration::from_secs(8);

/// How long it is waited before each attempt to write what nothing follows.
const PAUSES_S: [u64; 9] = [1, 2, 4, 8, 15, 30, 60, 60, 60];

impl Folder {
    pub(super) fn new(disk: Disk) -> Self {
        let (busy, begun, lives) = Default::default();
        Self(Rc::new(Shared { disk, busy, begun, lives }))
    }

    /// Begins to write a stream; `kept` segments and what they need stay.
    pub(super) fn start(
        &self,
        stream: &StreamKey,
        kept: usize,
        on_segment: Option<Rc<OnSegment>>,
    ) -> io::Result<Copies> {
        let (sender, receiver) = bounded(QUEUE);
        let life = self.0.begun.get();
        self.0.begun.set(life + 1);
        self.0.lives.borrow_mut().insert(stream.clone(), life);
        let mut writer = Writer {
            folder: self.clone(),
            stream: stream.clone(),
            life,
            written: VecDeque::new(),
            missing: VecDeque::new(),
            late: Vec::new(),
            kept,
            is_failing: false,
            on_segment,
        };
        let name = format!("hls disk {stream}");
        rt::Builder::new().name(name).spawn(move || writer.run(&receiver))?;
        Ok(Copies(sender))
    }

    /// Does something for a stream, unless the disk is still at the last thing.
    fn run(
        &self,
        stream: &StreamKey,
        f: impl FnOnce(&Path) -> io::Result<()> + Send + 'static,
    ) -> io::Result<()> {
        if !self.0.busy.borrow_mut().insert(stream.clone()) {
            return Err(io::Error::new(io::ErrorKind::ResourceBusy, "the disk does not answer"));
        }
        let busy = Busy(self.clone(), stream.clone());
        let done = rt::timeout(PATIENCE, || self.0.disk.run_holding(busy, &Cell::new(None), f));
        let done = done.map_err(|error| match rt::timed_out(&error) {
            Some(_) => io::Error::new(io::ErrorKind::TimedOut, "the disk does not answer"),
            None => error,
        });
        match &done {
            Ok(()) => self.0.disk.note_success(),
            Err(error) if error.kind() == io::ErrorKind::TimedOut => {}
            Err(error) => self.0.disk.note_failure(error),
        }
        done
    }
}

impl Copies {
    /// Whether there was room for it.
    pub(super) fn put(&self, copy: Copy) -> bool {
        self.0.try_send(copy).is_ok()
    }
}

impl Writer {
    fn run(&mut self, copies: &Receiver<Copy>) {
        let below = below(&self.stream);
        let begun = self.folder.run(&self.stream, move |root| clear(&root.join(below)));
        self.note(begun.as_ref().err());
        while let Ok(mut copy) = copies.recv() {
            let (done, files) = (copy.done.take(), copy.paths(&self.folder, &self.stream));
            let Ok(is_written) = self.take(copy) else { return };
            if let (Some(mut done), Some(tell)) = (done, &self.on_segment) {
                if let Some((file, playlist_file)) = files.filter(|_| is_written) {
                    (done.file, done.playlist_file) = (Some(file), Some(playlist_file));
                }
                tell(&done);
            }
        }
        for seconds in PAUSES_S {
            if self.late.is_empty() || rt::sleep(Duration::from_secs(seconds)).is_err() {
                return;
            }
            for copy in std::mem::take(&mut self.late) {
                if self.take(copy).is_err() {
                    return;
                }
            }
        }
    }

    /// Writes a copy, or keeps it for later. Whether it was written; an error is a cancellation.
    fn take(&mut self, copy: Copy) -> io::Result<bool> {
        self.late.retain(|late| late.playlist.0 != copy.playlist.0);
        // The folder is that of another life then.
        if self.folder.0.lives.borrow().get(&self.stream) != Some(&self.life) {
            return Ok(false);
        }
        let written = self.write(&copy);
        self.note(written.as_ref().err());
        match written {
            Ok(()) => Ok(true),
            Err(error) if rt::is_cancelled(&error) => Err(error),
            Err(_) => {
                self.late.push(copy);
                Ok(false)
            }
        }
    }

    fn write(&mut self, copy: &Copy) -> io::Result<()> {
        let job = self.job(copy);
        let files: Vec<_> =
            job.files.iter().map(|file| (file.name.clone(), file.body.clone())).collect();
        let old = job.old.clone();
        let written = self.folder.run(&self.stream, move |root| job.write(root));
        if written.is_err() {
            // They may still be there.
            old.into_iter().rev().for_each(|name| self.written.push_front(name));
            let playlist = &copy.playlist.0;
            self.missing.extend(files.into_iter().map(|(name, body)| Missing {
                playlist: playlist.clone(),
                name,
                body,
            }));
            while self.missing.len() > MISSING_MAX {
                // Should it be wanted once more, it is written.
                let lost = self.missing.pop_front();
                self.written.retain(|name| lost.as_ref().is_none_or(|lost| lost.name != *name));
            }
        }
        written
    }

    /// What is to be done for a copy, with what is missing of those before and is still of use.
    fn job(&mut self, copy: &Copy) -> Job {
        let (playlist, text) = (&copy.playlist.0, String::from_utf8_lossy(&copy.playlist.1));
        let (own, others): (VecDeque<_>, _) =
            self.missing.drain(..).partition(|lost| lost.playlist == *playlist);
        self.missing = others;
        let wanted = |lost: &Missing| {
            text.contains(&lost.name) && copy.files.iter().all(|(name, _)| *name != lost.name)
        };
        let mut files = Vec::new();
        for Missing { name, body, .. } in own.iter().filter(|lost| wanted(lost)) {
            files.push(JobFile { name: name.clone(), body: body.clone(), is_known: false });
        }
        for (name, body) in &copy.files {
            // Init segments and keys stay as long as somebody needs them.
            let at = self.written.iter().position(|written| written == name);
            let is_lost = own.iter().any(|lost| lost.name == *name);
            if let Some(at) = at {
                self.written.remove(at);
            }
            self.written.push_back(name.clone());
            let (name, body, is_known) = (name.clone(), body.clone(), at.is_some() && !is_lost);
            files.push(JobFile { name, body, is_known });
        }
        let old = self.written.drain(..self.written.len().saturating_sub(self.kept)).collect();
        let folder = below(&self.stream);
        let mut multivariant = folder.clone().into_os_string();
        multivariant.push(".m3u8");
        let multivariant = (multivariant.into(), copy.multivariant.clone());
        Job { folder, files, playlist: copy.playlist.clone(), multivariant, old }
    }

    /// Says once that the disk fails, and once that it works again.
    fn note(&mut self, error: Option<&io::Error>) {
        let was_failing = std::mem::replace(&mut self.is_failing, error.is_some());
        let (stream, folder) = (&self.stream, self.folder.0.disk.root().display());
        match error {
            Some(error) if !was_failing => {
                warn!(%stream, %folder, %error, "hls.directory: segments cannot be written; players are served from memory");
            }
            None if was_failing => {
                info!(%stream, %folder, "hls.directory: segments are written again");
            }
            _ => {}
        }
    }
}

impl Copy {
    /// Where the segment and its playlist are once they are written.
    fn paths(&self, folder: &Folder, stream: &StreamKey) -> Option<(PathBuf, PathBuf)> {
        let folder = folder.0.disk.root().join(below(stream));
        let (segment, _) = self.files.last()?;
        Some((folder.join(segment), folder.join(&self.playlist.0)))
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        let mut lives = self.folder.0.lives.borrow_mut();
        if lives.get(&self.stream) == Some(&self.life) {
            lives.remove(&self.stream);
        }
    }
}

impl Job {
    /// Blocks.
    fn write(self, root: &Path) -> io::Result<()> {
        let folder = root.join(&self.folder);
        fs::create_dir_all(&folder).map_err(|error| about(error, &folder))?;
        for file in &self.files {
            let path = folder.join(&file.name);
            if !file.is_known || !path.exists() {
                write(&path, &file.body)?;
            }
        }
        replace(&folder.join(&self.playlist.0), &self.playlist.1)?;
        replace(&root.join(&self.multivariant.0), &self.multivariant.1)?;
        for old in &self.old {
            // An operator may have taken it away.
            let _gone = fs::remove_file(folder.join(old));
        }
        Ok(())
    }
}

/// Where the files of a stream are, below the root. On a virtual host it is a folder that no name can be that of.
fn below(stream: &StreamKey) -> PathBuf {
    let path = Path::new(stream.path());
    match stream.vhost() {
        StreamKey::VHOST_DEFAULT => path.to_owned(),
        vhost => Path::new(&format!("#{vhost}")).join(path),
    }
}

/// Takes away what another life of the stream has left. Blocks.
fn clear(folder: &Path) -> io::Result<()> {
    let told = |error| about(error, folder);
    fs::create_dir_all(folder).map_err(told)?;
    for entry in fs::read_dir(folder).map_err(told)? {
        let entry = entry?;
        let is_ours = entry.file_name().to_str().is_some_and(|name| name.starts_with("hls-"));
        if is_ours {
            fs::remove_file(entry.path()).map_err(|error| about(error, &entry.path()))?;
        }
    }
    Ok(())
}

/// Blocks.
#[expect(clippy::disallowed_methods, reason = "threads of the pool call it")]
fn write(path: &Path, body: &[u8]) -> io::Result<()> {
    fs::write(path, body).map_err(|error| {
        // What was written of it would only take room.
        let _removed = fs::remove_file(path);
        about(error, path)
    })
}

/// Who reads meanwhile sees the old file or the new one. Blocks.
fn replace(path: &Path, body: &[u8]) -> io::Result<()> {
    let mut new = path.to_owned().into_os_string();
    new.push(".new");
    let new = PathBuf::from(new);
    write(&new, body)?;
    fs::rename(&new, path).map_err(|error| about(error, path))
}

fn about(error: io::Error, path: &Path) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

impl Drop for Busy {
    fn drop(&mut self) {
        let Self(folder, stream) = self;
        folder.0.busy.borrow_mut().remove(stream);
    }
}

#[cfg(test)]
mod tests;
