//! Recording: streams into files, and what becomes of the files.
//!
//! ```text
//! hub ─▶ Take (cut/) ─▶ steps ─▶ session ─▶ disk (threads of the pool) ─▶ files below one folder
//!                                   │
//! Recorder: rules, start, stop ─────┘        Library: what there is ◀─ retention
//! ```
//!
//! Each stream that is recorded has a coroutine of its own, which reads the hub as a player does and waits for the disk. The
//! hub's ring is the buffer between the two: its bounds hold for a slow disk as for a slow player, and a recorder that falls out
//! of it goes on at the newest random-access point, counted. So a disk that is slow or hangs holds up its recordings and
//! nothing else.
//!
//! Files lie below one folder and are opened part by part without following links. Each has a note beside it, in a folder
//! `.thalweg` that templates cannot name: the notes are what the library knows, and what has none is never touched.

mod cut;
mod disk;
mod library;
mod note;
mod recorder;
mod retention;
mod session;

use crate::{
    disk::Disk,
    hub::Events,
    key::{Pattern, StreamKey},
    naming::Template,
};
use std::{fmt, path::PathBuf, rc::Rc, str::FromStr, time::Duration};

pub use library::{Download, Entry, Filter, Library, LibraryError, RecordingId, State};
pub use recorder::{Choice, Recorder, StartError};
pub use session::{Phase, Status};

/// What is recorded, where to, and how long it is kept.
#[derive(Clone)]
pub struct Settings {
    /// Where the files are.
    pub disk: Disk,
    /// What they are called there.
    pub template: Template,
    /// The streams that are recorded without being asked for.
    pub streams: Vec<Pattern>,
    /// In which container, unless another is asked for.
    pub format: Format,
    /// Into how many files, unless something else is asked for.
    pub plan: Plan,
    /// How much is at stake when the power fails; `None` leaves it to the system.
    pub sync: Option<Duration>,
    /// How long a file is kept after its end.
    pub keep: Option<Duration>,
    /// How many bytes all files may have together.
    pub max_bytes: Option<u64>,
    /// Where it is noted what becomes of recordings.
    pub events: Events,
    /// Is called with each file that is finished, whatever ended it. Must not suspend.
    pub on_file: Rc<dyn Fn(&Finished)>,
}

/// A container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Fragmented MP4.
    Mp4,
    /// MPEG-TS; packets as they came in where they came as such.
    Ts,
    /// FLV, Enhanced where the codec needs it.
    Flv,
}

/// When a file ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plan {
    /// With the stream: its publisher has left, and nobody came back within the grace time.
    Session,
    /// At the first random-access point after so much media.
    Segment(Duration),
}

/// What all recordings of this process amount to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Files that were begun.
    pub files: u64,
    /// Bytes that were written.
    pub bytes: u64,
    /// How often the disk failed.
    pub failures: u64,
    /// How often the disk was too slow, and something was skipped.
    pub skips: u64,
    /// How many units were missed by that; pieces of the stream where packets are recorded as they come.
    pub skipped: u64,
    /// Files that were removed as too old or too many.
    pub expired: u64,
}

/// A file that is finished: what a callback is told.
#[derive(Clone, Debug)]
pub struct Finished {
    /// Its name in the library.
    pub id: RecordingId,
    /// The stream.
    pub stream: StreamKey,
    /// The folder of recordings, as a whole path.
    pub cwd: PathBuf,
    /// Where it lies below that.
    pub file: String,
    /// Its container.
    pub format: Format,
    /// When it began, in milliseconds since 1970.
    pub began_ms: i64,
    /// How much media it has.
    pub duration: Duration,
    /// How large it is.
    pub bytes: u64,
    /// Why it ended early, if it did.
    pub error: Option<String>,
}

impl Format {
    /// The end of a file's name.
    #[must_use]
    pub const fn extension(self) -> &'static str {
        match self {
            Self::Mp4 => "mp4",
            Self::Ts => "ts",
            Self::Flv => "flv",
        }
    }

    /// Its media type.
    #[must_use]
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::Mp4 => "video/mp4",
            Self::Ts => "video/mp2t",
            Self::Flv => "video/x-flv",
        }
    }
}

/// By its extension.
impl FromStr for Format {
    type Err = UnknownFormat;

    fn from_str(text: &str) -> Result<Self, UnknownFormat> {
        let all = [Self::Mp4, Self::Ts, Self::Flv];
        all.into_iter().find(|format| format.extension() == text).ok_or(UnknownFormat)
    }
}

/// A text is no format's extension.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownFormat;

impl fmt::Display for UnknownFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a format is `mp4`, `ts` or `flv`")
    }
}

impl std::error::Error for UnknownFormat {}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("disk", &self.disk)
            .field("template", &self.template)
            .field("streams", &self.streams)
            .field("format", &self.format)
            .field("plan", &self.plan)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
