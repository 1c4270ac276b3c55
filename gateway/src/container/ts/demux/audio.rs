//! Audio frames out of PES payloads, each with its own time.
//!
//! A PES packet may hold many frames, and a frame may lie in two packets; its time is that of the first frame that begins in it
//! (ISO/IEC 13818-1:2019 §2.4.3.7). Those behind are as much later as the samples between last. A frame leaves with
//! its last byte.

#![cfg_attr(not(test), warn(clippy::indexing_slicing, clippy::cast_possible_truncation))]

use super::{
    Context,
    clock::Times,
    framing::{Frame, Framing, Next, Syntax},
};
use crate::media::{AccessUnit, Timestamp, TrackId};

/// Assembles the frames of one audio track.
#[derive(Debug)]
pub(super) struct Audio {
    track: TrackId,
    framing: Framing,
    /// A frame that is not whole yet, from its first byte.
    held: Vec<u8>,
    /// From which byte of `held` on the times are those of the last PES packet.
    mark: Option<(usize, Option<Times>)>,
    /// A time, and the samples since.
    anchor: Option<(Timestamp, i64)>,
    /// The next frame begins where it should. If not, it takes two headers at the right distance.
    in_step: bool,
    /// Kept for its memory.
    frames: Vec<Frame>,
}

impl Audio {
    pub(super) fn new(track: TrackId, syntax: Syntax) -> Self {
        Self {
            track,
            framing: Framing::new(syntax),
            held: Vec::new(),
            mark: None,
            anchor: None,
            in_step: false,
            frames: Vec::new(),
        }
    }

    /// A PES packet begins; `times` are those of the first frame that begins in it.
    pub(super) fn begin(&mut self, times: Option<Times>) {
        self.in_step |= self.held.is_empty();
        self.mark = Some((self.held.len(), times));
    }

    /// More of its payload.
    pub(super) fn data(&mut self, bytes: &[u8], context: &mut Context) {
        self.held.extend_from_slice(bytes);
        self.advance(false, context);
    }

    /// The PES packet is whole.
    pub(super) fn end(&mut self, context: &mut Context) {
        self.advance(true, context);
    }

    /// Packets are missing.
    pub(super) fn damage(&mut self, context: &mut Context) {
        if !self.held.is_empty() {
            context.stats.dropped_units += 1;
        }
        self.held.clear();
        self.mark = None;
        // How many samples are missing, the next time tells.
        self.anchor = None;
    }

    fn advance(&mut self, at_end: bool, context: &mut Context) {
        let mut at = 0;
        while at < self.held.len() {
            if let Some((from, times)) = self.mark
                && from <= at
            {
                self.mark = None;
                if let Some(times) = times {
                    self.anchor = Some((times.pts, 0));
                }
            }
            let rest = self.held.get(at..).unwrap_or(&[]);
            let mut frames = std::mem::take(&mut self.frames);
            let next = self.framing.next(rest, at_end, &mut frames);
            let (len, is_frame) = match next {
                Next::Partial => {
                    self.frames = frames;
                    break;
                }
                Next::Nothing => (1, false),
                Next::Frame { len } => (len, true),
                Next::Useless { len } => (len.max(1), true),
            };
            let confirmed = match self.framing.may_begin(rest.get(len..).unwrap_or(&[])) {
                _ if self.in_step || !is_frame => is_frame,
                Some(is_next) => is_next,
                None if at_end => true,
                None => {
                    frames.clear();
                    self.frames = frames;
                    break;
                }
            };
            at += if confirmed { len } else { 1 };
            if confirmed {
                if frames.is_empty() {
                    context.stats.dropped_units += 1;
                }
                self.emit(&mut frames, context);
            } else if std::mem::take(&mut self.in_step) {
                context.stats.dropped_units += 1;
            }
            self.in_step |= confirmed;
            frames.clear();
            self.frames = frames;
        }
        self.held.drain(..at.min(self.held.len()));
        if let Some((from, _)) = &mut self.mark {
            *from = from.saturating_sub(at);
        }
        if self.held.len() > MAX_HELD {
            self.damage(context);
        }
    }

    fn emit(&mut self, frames: &mut Vec<Frame>, context: &mut Context) {
        for frame in frames.drain(..) {
            let Some((anchor, samples)) = &mut self.anchor else {
                context.stats.unready_units += 1;
                continue;
            };
            let time = *anchor + frame.span(*samples);
            *samples += i64::from(frame.samples);
            context.ready.push(AccessUnit {
                track: self.track,
                dts: time,
                pts: time,
                random_access: true,
                config: frame.config,
                payload: frame.payload,
            });
        }
    }
}

/// More than any frame: 8191 bytes of ADTS, 8194 of LATM; Enhanced AC-3 with eight substreams of 4096.
const MAX_HELD: usize = 64 << 10;
