//! Copies of segments and playlists in a folder, for whoever serves files: `DIRECTORY/live/cam.m3u8` and what it names below
//! `DIRECTORY/live/cam/`.
//!
//! One coroutine a stream writes, behind a queue. A disk that fails or hangs costs the copies and nothing else: what does not fit
//! the queue is left out. Playlists here name no parts, since nobody can wait for a file.

use super::{OnSegment, SegmentDone};
use crate::key::StreamKey;
use bytes::Bytes;
use std::{
    collections::VecDeque,
    io,
    path::{Path, PathBuf},
    rc::Rc,
    time::Duration,
};
use thalweg_runtime::{
    self as rt, fs,
    sync::channel::{Receiver, Sender, bounded},
};
use tracing::{info, warn};

/// Where to put files; without end until it is dropped.
#[derive(Debug)]
pub(super) struct Disk(Sender<Copy>);

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
    stream: StreamKey,
    /// Where the multivariant playlist is, and the folder of the others.
    multivariant: PathBuf,
    folder: PathBuf,
    /// What was written, oldest first.
    written: VecDeque<String>,
    kept: usize,
    is_failing: bool,
    on_segment: Option<Rc<OnSegment>>,
}

/// So many segments wait for a slow disk.
const QUEUE: usize = 16;

/// A disk that takes longer for a file hangs.
const PATIENCE: Duration = Duration::from_secs(10);

impl Disk {
    /// Begins to write the stream below `directory`; `kept` segments and what they need stay.
    pub(super) fn start(
        directory: &Path,
        stream: &StreamKey,
        kept: usize,
        on_segment: Option<Rc<OnSegment>>,
    ) -> io::Result<Self> {
        let (sender, receiver) = bounded(QUEUE);
        let folder = directory.join(stream.path());
        let mut multivariant = folder.clone().into_os_string();
        multivariant.push(".m3u8");
        let mut writer = Writer {
            stream: stream.clone(),
            multivariant: multivariant.into(),
            folder,
            written: VecDeque::new(),
            kept,
            is_failing: false,
            on_segment,
        };
        let name = format!("hls disk {stream}");
        rt::Builder::new().name(name).spawn(move || writer.run(&receiver))?;
        Ok(Self(sender))
    }

    /// Whether there was room for it.
    pub(super) fn put(&self, copy: Copy) -> bool {
        self.0.try_send(copy).is_ok()
    }
}

impl Writer {
    fn run(&mut self, copies: &Receiver<Copy>) {
        let begun = rt::timeout(PATIENCE, || self.clear());
        self.note(begun.as_ref().err());
        while let Ok(copy) = copies.recv() {
            let written = rt::timeout(PATIENCE, || self.write(&copy));
            if written.as_ref().is_err_and(rt::is_cancelled) {
                return;
            }
            self.note(written.as_ref().err());
            if let (Some(mut done), Some(tell)) = (copy.done, &self.on_segment) {
                if written.is_ok() {
                    done.file = copy.files.last().map(|(name, _)| self.folder.join(name));
                    done.playlist_file = Some(self.folder.join(&copy.playlist.0));
                }
                tell(&done);
            }
        }
    }

    /// Takes away what another life of the stream has left.
    fn clear(&self) -> io::Result<()> {
        fs::create_dir_all(&self.folder)?;
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            let is_ours = entry.file_name().to_str().is_some_and(|name| name.starts_with("hls-"));
            if is_ours {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }

    fn write(&mut self, copy: &Copy) -> io::Result<()> {
        for (name, body) in &copy.files {
            let known = self.written.iter().position(|written| written == name);
            match known {
                // Init segments and keys stay as long as somebody needs them.
                Some(at) => drop(self.written.remove(at)),
                None => fs::write(self.folder.join(name), body.to_vec())?,
            }
            self.written.push_back(name.clone());
        }
        self.replace(&self.folder.join(&copy.playlist.0), &copy.playlist.1)?;
        self.replace(&self.multivariant, &copy.multivariant)?;
        while self.written.len() > self.kept {
            let Some(oldest) = self.written.pop_front() else { break };
            // An operator may have taken it away.
            let _gone = fs::remove_file(self.folder.join(oldest));
        }
        Ok(())
    }

    /// Who reads meanwhile sees the old file or the new one.
    fn replace(&self, path: &Path, body: &Bytes) -> io::Result<()> {
        let mut new = path.to_owned().into_os_string();
        new.push(".new");
        fs::write(&new, body.to_vec())?;
        fs::rename(new, path)
    }

    /// Says once that the disk fails, and once that it works again.
    fn note(&mut self, error: Option<&io::Error>) {
        let was_failing = std::mem::replace(&mut self.is_failing, error.is_some());
        let (stream, folder) = (&self.stream, self.folder.display());
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
