//! AAC beside the Opus that browsers send: what FLV, RTMP's older players and most set-top boxes can play.

use crate::{
    audio::{Coded, Frames, Target, Transcoder},
    media::{AccessUnit, Codec, CodecConfig, Track, TrackId},
};
use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    rc::Rc,
};
use thalweg_runtime::{self as rt, sync::Cond};
use tracing::warn;

/// A track of AAC that is made of another.
#[derive(Debug)]
pub(super) struct MadeAac {
    transcoder: Transcoder,
    /// Units were left out, and it was said.
    is_slow: Cell<bool>,
    ready: Rc<Ready>,
}

/// Frames that nobody has taken yet.
#[derive(Debug, Default)]
struct Ready {
    frames: RefCell<VecDeque<Coded>>,
    more: Cond,
}

/// Its number, which no track of an offer has.
const TRACK: TrackId = TrackId(100);

impl MadeAac {
    /// Begins, if there is something to make it of.
    pub(super) fn start(from: &Track) -> Option<Self> {
        let config = from.config.as_ref().filter(|_| from.codec == Codec::Opus)?;
        let begun = Transcoder::start(config, Target::Aac).and_then(|(transcoder, frames)| {
            let ready = Rc::<Ready>::default();
            let theirs = Rc::clone(&ready);
            rt::Builder::new().name("webrtc sound").spawn(move || theirs.fill(&frames))?;
            Ok(Self { transcoder, is_slow: Cell::new(false), ready })
        });
        begun.inspect_err(|error| warn!(%error, "no AAC is made of the sound")).ok()
    }

    /// The track.
    pub(super) fn track(&self) -> Track {
        let config = Some(Rc::clone(self.config()));
        Track { id: TRACK, codec: Codec::Aac, language: None, config }
    }

    /// Frames have come.
    pub(super) fn more(&self) -> &Cond {
        &self.ready.more
    }

    /// Takes a unit of the other track.
    pub(super) fn push(&self, unit: &AccessUnit) {
        // It is always Opus.
        let _known = self.transcoder.push(unit);
        if self.transcoder.left_out() > 0 && !self.is_slow.replace(true) {
            warn!("sound is left out of a publisher of WebRTC: making AAC does not keep up");
        }
    }

    /// The next unit that is ready.
    pub(super) fn next(&self) -> Option<AccessUnit> {
        let Coded { pts, payload } = self.ready.frames.borrow_mut().pop_front()?;
        let config = Rc::clone(self.config());
        Some(AccessUnit { track: TRACK, dts: pts, pts, random_access: true, config, payload })
    }

    const fn config(&self) -> &Rc<CodecConfig> {
        self.transcoder.config()
    }
}

impl Ready {
    /// Takes what the transcoder makes, until that ends.
    fn fill(&self, frames: &Frames) {
        while let Ok(coded) = frames.recv() {
            self.frames.borrow_mut().push_back(coded);
            self.more.broadcast();
        }
    }
}
