//! The coroutine that segments a stream, and the table of streams.

use super::{
    SegmentDone, Settings,
    disk::{Copies, Copy, Folder},
    lane::Container,
    name, playlist,
    stream::{Resumed, Stream},
    viewer::Viewers,
};
use crate::{
    hub::{Joint, PlayEnd, Source, SourceState, Start, UnitReader},
    key::StreamKey,
    media::{AccessUnit, Timestamp},
};
use std::{
    cell::RefCell,
    collections::HashMap,
    fmt, io,
    rc::Rc,
    time::{SystemTime, UNIX_EPOCH},
};
use thalweg_runtime as rt;
use tracing::{debug, info, warn};

/// All streams as HLS has them. Clones are the same.
#[derive(Clone)]
pub struct Hls(Rc<Inner>);

struct Inner {
    settings: Settings,
    streams: RefCell<HashMap<StreamKey, Rc<Stream>>>,
    viewers: Viewers,
    /// Where copies are written, if anywhere.
    folder: Option<Folder>,
}

/// Why segmenting is over.
#[derive(Debug)]
enum Over {
    /// The source has ended.
    Ended,
    /// Nobody has asked for so long.
    Idle,
    /// The gateway ends.
    Cancelled,
}

impl Hls {
    /// Nothing is segmented yet.
    pub fn new(settings: Settings) -> Self {
        let viewers = Viewers::new(settings.clients.clone(), settings.target);
        let folder = settings.directory.clone().map(Folder::new);
        Self(Rc::new(Inner { settings, streams: RefCell::default(), viewers, folder }))
    }

    /// Segments all streams that are published, if that is wanted also while nobody watches.
    ///
    /// # Suspends
    ///
    /// Between changes of the registry.
    ///
    /// # Errors
    ///
    /// When it was cancelled; also when a coroutine could not be started.
    pub fn watch(&self) -> io::Result<()> {
        let mut seen = 0;
        if !self.0.settings.is_always {
            return Ok(());
        }
        loop {
            for source in self.0.settings.registry.list() {
                if source.state() == SourceState::Live {
                    self.stream(&source)?;
                }
            }
            seen = self.0.settings.registry.wait_changed(seen)?;
        }
    }

    pub(super) fn settings(&self) -> &Settings {
        &self.0.settings
    }

    pub(super) fn viewers(&self) -> &Viewers {
        &self.0.viewers
    }

    /// The stream of a source, which is segmented from now on if it was not before.
    pub(super) fn stream(&self, source: &Rc<Source>) -> io::Result<Rc<Stream>> {
        let known = self.known(source.key());
        if let Some(stream) = known.as_ref().filter(|stream| stream.serves(source)) {
            stream.asked.set(rt::now());
            return Ok(Rc::clone(stream));
        }
        let resumed = known.map_or_else(Resumed::default, |old| old.state.borrow().resumed());
        let stream =
            Rc::new(Stream::new(source, &self.0.settings, resumed, unix_ms() as u64 / 1_000));
        {
            let mut streams = self.0.streams.borrow_mut();
            // What nobody segments is only kept for its numbers.
            streams.retain(|_, old| old.is_running.get() || old.source.strong_count() > 0);
            streams.insert(source.key().clone(), Rc::clone(&stream));
        }
        let (hls, reader, begun) =
            (self.clone(), source.read_units(Start::Gop), Rc::clone(&stream));
        let name = format!("hls {}", source.key());
        rt::Builder::new().name(name).spawn(move || hls.run(&begun, reader))?;
        Ok(stream)
    }

    /// The stream of this name, also when it has ended a moment ago.
    pub(super) fn known(&self, key: &StreamKey) -> Option<Rc<Stream>> {
        self.0.streams.borrow().get(key).cloned()
    }

    /// The life of a stream.
    fn run(&self, stream: &Rc<Stream>, mut reader: UnitReader) {
        info!(stream = %stream.key, "segmenting begins");
        let disk = self.disk(&stream.key);
        let over = self.segment(stream, &mut reader, disk.as_ref());
        drop(reader);
        if matches!(over, Over::Ended) {
            stream.state.borrow_mut().end();
            self.tell_finished(stream, disk.as_ref());
            stream.changed.broadcast();
            // Players read to the end.
            let listed = u32::try_from(self.0.settings.segments_kept).unwrap_or(u32::MAX);
            let _is_over = rt::sleep(self.0.settings.target.saturating_mul(listed));
        }
        info!(stream = %stream.key, ?over, "segmenting is over");
        stream.is_running.set(false);
        stream.state.borrow_mut().forget();
        stream.changed.broadcast();
        let mut streams = self.0.streams.borrow_mut();
        let is_own = streams.get(&stream.key).is_some_and(|known| Rc::ptr_eq(known, stream));
        if is_own && matches!(over, Over::Ended) {
            streams.remove(&stream.key);
        }
    }

    fn segment(&self, stream: &Stream, reader: &mut UnitReader, disk: Option<&Copies>) -> Over {
        let mut batch = Vec::new();
        loop {
            let has_skipped = match reader.recv(&mut batch) {
                Ok(has_skipped) => has_skipped,
                Err(PlayEnd::Unpublished) => return Over::Ended,
                Err(PlayEnd::Wait(_)) => return Over::Cancelled,
            };
            stream.state.borrow_mut().tracks(&reader.tracks());
            if take(stream, reader, &batch, has_skipped) {
                self.tell_finished(stream, disk);
                stream.changed.broadcast();
            }
            let idle = rt::now().saturating_duration_since(stream.asked.get());
            if !self.0.settings.is_always && idle > self.0.settings.idle {
                return Over::Idle;
            }
            // What was in the ring comes in pieces, and others go on between.
            if rt::yield_now().is_err() {
                return Over::Cancelled;
            }
        }
    }

    /// Tells of the segments that have become whole: the disk of all, and others of those of the main lane.
    fn tell_finished(&self, stream: &Stream, disk: Option<&Copies>) {
        let finished = stream.state.borrow_mut().take_finished();
        for (at, msn) in finished {
            let Some(done) = done(stream, at, msn) else { continue };
            debug!(stream = %stream.key, msn, duration = ?done.duration, "segment");
            let told = self.settings().on_segment.as_ref().filter(|_| at == 0);
            if let Some(disk) = disk {
                let copy = copy(stream, at, msn, told.map(|_| done));
                if copy.is_some_and(|copy| !disk.put(copy)) {
                    warn!(stream = %stream.key, msn, "hls.directory: the disk is too slow, a segment is left out");
                }
            } else if let Some(tell) = told {
                tell(&done);
            }
        }
    }

    fn disk(&self, key: &StreamKey) -> Option<Copies> {
        let settings = self.settings();
        let folder = self.0.folder.as_ref()?;
        // As in memory, for players that have an older playlist; with keys and init segments.
        let kept = settings.segments_kept * 4 + 4;
        let disk = folder.start(key, kept, settings.on_segment.clone());
        let told = |error: &_| warn!(stream = %key, %error, "hls.directory: nothing is written");
        disk.inspect_err(told).ok()
    }
}

/// A segment as files.
fn copy(stream: &Stream, at: usize, msn: u64, done: Option<SegmentDone>) -> Option<Copy> {
    let state = stream.state.borrow();
    let lane = state.lanes.get(at)?;
    let segment = lane.segment(msn)?;
    let (epoch, name) = (&stream.epoch, &lane.name);
    let mut files = Vec::new();
    if let Some(init) = segment.init.as_ref().filter(|_| lane.container == Container::Fmp4) {
        files.push((format!("hls-{epoch}-{name}-init{}.mp4", init.version()), init.bytes()));
    }
    if let Some(key) = &segment.key {
        files.push((format!("hls-{epoch}-key{}.key", key.number), key.bytes()));
    }
    let file = name::segment(epoch, name, msn, lane.container);
    files.push((file, segment.body.clone()));
    let folder = name::escape(stream.key.name());
    Some(Copy {
        files,
        playlist: (name::media(name), state.file_playlist(epoch, at)?),
        multivariant: playlist::multivariant(&state.lanes, &folder, "").into(),
        done,
    })
}

/// Whether there is more for players.
fn take(stream: &Stream, reader: &UnitReader, batch: &[Rc<AccessUnit>], has_skipped: bool) -> bool {
    let latest = batch.iter().map(|unit| unit.dts).max().unwrap_or(Timestamp::ZERO);
    let now_ms = unix_ms();
    let mut state = stream.state.borrow_mut();
    state.note_time(latest, now_ms);
    let mut is_more = false;
    for (at, unit) in batch.iter().enumerate() {
        let joint = reader.joint(batch, at);
        let is_lost = has_skipped && at == 0;
        if is_lost || joint == Joint::Publisher {
            state.interrupt();
            state.note_time(latest, now_ms);
            is_more = true;
        } else if joint == Joint::Jump {
            state.note_jump();
        }
        is_more |= state.unit(unit);
    }
    is_more
}

fn done(stream: &Stream, at: usize, msn: u64) -> Option<SegmentDone> {
    let state = stream.state.borrow();
    let lane = state.lanes.get(at)?;
    let segment = lane.segment(msn)?;
    let folder = name::path(&stream.key);
    let file = name::segment(&stream.epoch, &lane.name, msn, lane.container);
    Some(SegmentDone {
        key: stream.key.clone(),
        duration: segment.duration.duration(),
        msn,
        uri: format!("{folder}/{file}"),
        playlist_uri: format!("{folder}/{}", name::media(&lane.name)),
        file: None,
        playlist_file: None,
    })
}

/// Milliseconds since 1970.
fn unix_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

impl fmt::Debug for Hls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let streams = self.0.streams.borrow();
        f.debug_struct("Hls").field("streams", &streams.keys()).finish_non_exhaustive()
    }
}
