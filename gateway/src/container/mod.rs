//! Containers: wire bytes to access units and back. No I/O, no clock; hostile bytes are errors, never panics.
//!
//! A demuxer takes bytes and calls a [`Sink`]; a muxer implements [`Mux`] and gives [`Chunk`]s, which the hub
//! keeps once for all readers.

pub mod flv;
pub mod fmp4;
pub mod rtp;
pub mod ts;

use crate::media::{AccessUnit, MediaKind, Timestamp, TrackId, Tracks};
use bytes::Bytes;
use std::{fmt, rc::Rc};

/// What a demuxer finds, in the order in which it is complete.
pub trait Sink {
    /// The stream consists of these tracks from here on. Comes before the first unit, and again whenever the set or
    /// a track's codec changes, or a configuration becomes known that was not.
    fn tracks(&mut self, tracks: &Tracks);

    /// A unit is complete.
    fn unit(&mut self, unit: AccessUnit);
}

/// Units in, bytes of one container out.
///
/// One muxer serves all readers of a source, so nothing in its output may depend on the reader.
pub trait Mux {
    /// The stream consists of these tracks from here on. Tracks whose configuration is not known yet may be
    /// announced; a track that the container cannot carry is left out.
    fn tracks(&mut self, tracks: &Tracks);

    /// Appends what `unit` becomes. Units of tracks that are left out become nothing.
    fn unit(&mut self, unit: &AccessUnit, out: &mut Vec<Chunk>);

    /// The selected tracks that are not carried, as far as is known yet.
    fn left_out(&self) -> Vec<(TrackId, LeftOut)>;
}

/// Why a track is not in an output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeftOut {
    /// The container, or the reader, has no form for it.
    Codec,
    /// It is not the first of its kind, and the container, or the reader, knows only one.
    NotFirst,
    /// The stream has not told how to decode it.
    NoConfig,
}

impl fmt::Display for LeftOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Codec => "its codec has no place in this output",
            Self::NotFirst => "this output carries one track of its kind",
            Self::NoConfig => "the stream has not told how to decode it",
        })
    }
}

/// A piece of a muxed stream, kept once and written to many readers as it is.
#[derive(Clone, Debug)]
pub struct Chunk {
    /// The bytes, in order. Payloads are shared with the access unit, not copied.
    pub parts: Vec<Bytes>,
    /// When it is due.
    pub dts: Timestamp,
    /// `Some` when a reader may begin here: what must be sent to it first (file header, sequence headers, PAT and PMT,
    /// init segment), as in force at this place.
    pub head: Option<Rc<[Bytes]>>,
}

impl Chunk {
    /// How many bytes there are, the head not counted.
    pub fn len(&self) -> usize {
        self.parts.iter().map(Bytes::len).sum()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Which tracks an output carries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Select {
    /// All that the container can carry.
    #[default]
    All,
    /// Only what is heard.
    AudioOnly,
    /// Only what is seen.
    VideoOnly,
}

impl Select {
    /// Whether tracks of this kind are carried.
    pub const fn carries(self, kind: MediaKind) -> bool {
        match self {
            Self::All => true,
            Self::AudioOnly => matches!(kind, MediaKind::Audio),
            Self::VideoOnly => matches!(kind, MediaKind::Video),
        }
    }
}
