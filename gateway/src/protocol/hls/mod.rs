//! HLS and Low-Latency HLS (draft-pantos-hls-rfc8216bis-17): `/live/cam.m3u8` and all that it names.
//!
//! ```text
//! units ─▶ segmenter ─▶ State ─▶ Lane: parts, segments ─▶ playlists ─▶ whoever waits for them
//!          one a stream          one a media playlist     written once
//! ```
//!
//! | file | what it does |
//! |---|---|
//! | `cut` | where segments and parts end |
//! | `lane` | the segments of one media playlist, and what is kept of them |
//! | `stream` | units to lanes; what a request may wait for |
//! | `segmenter` | the coroutine of a stream, which is there while somebody watches |
//! | `playlist`, `name` | the text of playlists, the names in them |
//! | `serve` | requests and their answers, caching, blocking reload |
//! | `viewer` | who watches, and how that is told without names that differ |
//! | `crypt` | AES-128 |
//! | `disk` | copies in a folder |
//!
//! A blocked request is a coroutine that waits for its stream's condition; nothing polls. A stream is segmented while somebody
//! asks for it, and its numbers go on when it is segmented again.

mod crypt;
mod cut;
mod disk;
mod lane;
mod name;
mod playlist;
mod segmenter;
mod serve;
mod stream;
mod viewer;

use crate::{
    auth::Gate,
    disk::Disk,
    hub::{Clients, Registry},
    key::StreamKey,
};
use std::{fmt, path::PathBuf, rc::Rc, time::Duration};

pub use segmenter::Hls;

/// How streams are segmented and served.
#[derive(Clone)]
pub struct Settings {
    /// Who may play.
    pub gate: Gate,
    /// The streams.
    pub registry: Registry,
    /// Where viewers are listed.
    pub clients: Clients,
    /// What segments are made of.
    pub segments: Segments,
    /// How long a segment is at most, in whole seconds.
    pub target: Duration,
    /// How long parts are; `None` for none, and so no low latency.
    pub part: Option<Duration>,
    /// How many segments a playlist names.
    pub segments_kept: usize,
    /// How many bytes of segments each playlist of a stream may keep in memory.
    pub stream_bytes: usize,
    /// Streams are segmented also while nobody watches.
    pub is_always: bool,
    /// How long a stream is segmented after somebody asked last.
    pub idle: Duration,
    /// How long a player may wait for a stream that nobody publishes.
    pub wait: Duration,
    /// Viewers are counted, by a name that stands in the multivariant playlist.
    pub has_sessions: bool,
    /// After how many segments another key is made; `None` when nothing is encrypted.
    pub key_segments: Option<u64>,
    /// Where copies are written, if anywhere.
    pub directory: Option<Disk>,
    /// Told of each segment of the first playlist of a stream when it is whole. Must not suspend.
    pub on_segment: Option<Rc<OnSegment>>,
}

/// Is told of a segment that is whole.
pub type OnSegment = dyn Fn(&SegmentDone);

/// What segments are made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Segments {
    /// fMP4, except for what plays better in MPEG-TS.
    Auto,
    /// CMAF.
    Fmp4,
    /// MPEG-TS, where it has a place for the codecs.
    Ts,
}

/// A segment that is whole.
#[derive(Clone, Debug)]
pub struct SegmentDone {
    /// The stream.
    pub key: StreamKey,
    /// How long it is.
    pub duration: Duration,
    /// Its media sequence number.
    pub msn: u64,
    /// The path of its URL, without a slash in front.
    pub uri: String,
    /// The path of the URL of the playlist that names it.
    pub playlist_uri: String,
    /// Where it is on disk, if it is.
    pub file: Option<PathBuf>,
    /// Where the playlist is on disk.
    pub playlist_file: Option<PathBuf>,
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("segments", &self.segments)
            .field("target", &self.target)
            .field("part", &self.part)
            .finish_non_exhaustive()
    }
}
