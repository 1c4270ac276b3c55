//! Copies of segments and playlists in a folder, for whoever serves files: `DIRECTORY/live/cam.m3u8` and what it names below
//! `DIRECTORY/live/cam/`.
//!
//! One coroutine a stream writes, behind a queue. A disk that fails or hangs costs the copies and nothing else: of each stream
//! at most one write is on its way, whatever becomes of the stream, and what could not be written is written later, as long as
//! a playlist names it. Playlists here name no parts, since nobody can wait for a file.

use super::{OnSegment, SegmentDone};
use crate::{disk::Disk, key::StreamKey};
use bytes::Bytes;
use std::{
    cell::{Cell, RefCell},
    collections::{BTreeSet, VecDeque},
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
    /// What was to be written, oldest first.
    written: VecDeque<String>,
    /// What of that could not be, with the playlist that names it.
    missing: VecDeque<Missing>,
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

impl Folder {
    pub(super) fn new(disk: Disk) -> Self {
        Self(Rc::new(Shared { disk, busy: RefCell::default() }))
    }

    /// Begins to write a stream; `kept` segments and what they need stay.
    pub(super) fn start(
        &self,
        stream: &StreamKey,
        kept: usize,
        on_segment: Option<Rc<OnSegment>>,
    ) -> io::Result<Copies> {
        let (sender, receiver) = bounded(QUEUE);
        let mut writer = Writer {
            folder: self.clone(),
            stream: stream.clone(),
            written: VecDeque::new(),
            missing: VecDeque::new(),
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
        let below = PathBuf::from(self.stream.path());
        let begun = self.folder.run(&self.stream, move |root| clear(&root.join(below)));
        self.note(begun.as_ref().err());
        while let Ok(copy) = copies.recv() {
            let written = self.write(&copy);
            if written.as_ref().is_err_and(rt::is_cancelled) {
                return;
            }
            self.note(written.as_ref().err());
            if let (Some(mut done), Some(tell)) = (copy.done, &self.on_segment) {
                if written.is_ok() {
                    let folder = self.folder.0.disk.root().join(self.stream.path());
                    done.file = copy.files.last().map(|(name, _)| folder.join(name));
                    done.playlist_file = Some(folder.join(&copy.playlist.0));
                }
                tell(&done);
            }
        }
    }

    fn write(&mut self, copy: &Copy) -> io::Result<()> {
        let job = self.job(copy);
        let files: Vec<_> =
            job.files.iter().map(|file| (file.name.clone(), file.body.clone())).collect();
        let written = self.folder.run(&self.stream, move |root| job.write(root));
        if written.is_err() {
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
        let folder = PathBuf::from(self.stream.path());
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
mod tests {
    use super::*;
    use thalweg_runtime::{ClockKind, Runtime};

    #[test]
    fn a_stream_has_one_write_on_its_way_however_long_the_disk_hangs() {
        let run = || {
            let disk = Disk::new("hls.directory", std::env::temp_dir(), Rc::new(|_, _| {}));
            let folder = Folder::new(disk.clone());
            let hangs = disk.hang().unwrap();
            let write = |name: &str| {
                let begun = rt::now();
                let written = folder.run(&name.parse().unwrap(), |_| Ok(()));
                (written.map_err(|error| error.kind()), (rt::now() - begun).as_secs())
            };
            assert_eq!(write("live/a"), (Err(io::ErrorKind::TimedOut), 10));
            for _ in 0..100 {
                assert_eq!(write("live/a"), (Err(io::ErrorKind::ResourceBusy), 0));
            }
            assert_eq!(write("live/b"), (Err(io::ErrorKind::TimedOut), 10));
            drop(hangs);
            rt::sleep(Duration::from_millis(1)).unwrap();
            assert_eq!(write("live/a"), (Ok(()), 0));
        };
        Runtime::builder().clock(ClockKind::Virtual).build().unwrap().block_on(run).unwrap();
    }
}
