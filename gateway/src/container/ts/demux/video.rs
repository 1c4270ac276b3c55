//! Access units of H.264 and HEVC out of PES payloads (H.264 (08/2021) §7.4.1.2.3, H.265 (08/2021) §7.4.2.4.4).
//!
//! PES packets say when a unit is due, not where it ends: there may be two in a packet, and one in two. A unit ends
//! where the next one begins, or, a frame interval earlier, where a hint says so that has earned [`Trust`]. The fields
//! of a frame are one unit of ours.
//!
//! A unit of which packets are missing is dropped as a whole, since decoders in browsers give up on a broken NAL unit, while
//! all of them conceal a picture that is not there. What follows is passed on: waiting for the next random access
//! point would freeze the picture for longer than it would be damaged, and streams with gradual refresh have none.

#![cfg_attr(not(test), warn(clippy::indexing_slicing, clippy::cast_possible_truncation))]

use super::{
    Context,
    byte_stream::ByteStream,
    clock::Times,
    early::Trust,
    parameters::{Parameters, frame_span},
};
use crate::media::{
    AccessUnit, CodecConfig, Span, TrackId,
    h264::{Boundary, SliceHead},
    nal::{Kind, SetKind, Syntax},
};
use bytes::Bytes;
use std::rc::Rc;

/// Assembles the units of one video track.
#[derive(Debug)]
pub(super) struct Video {
    track: TrackId,
    syntax: Syntax,
    stream: ByteStream,
    /// What the open NAL unit is, once enough of it is there to tell.
    kind: Option<Kind>,
    unit: Unit,
    /// Where the next unit begins, unless the next slice turns out to be of this one's second field.
    split: Option<Split>,
    parameters: Parameters,
    /// Of the next unit that begins.
    coming: Option<Times>,
    pace: Pace,
    stuffing: HintState,
    length: HintState,
    /// Bytes of the last units, to begin the next buffer with.
    room: usize,
}

/// What may tell that a unit has ended before the next one begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hint {
    /// The packet is stuffed, and for no other reason than that there was nothing more to put in.
    Stuffing,
    /// The PES packet declared its length, and is whole.
    Length,
}

#[derive(Debug, Default)]
struct HintState {
    trust: Trust,
    /// It has been given, and what follows will tell whether it was right.
    is_open: bool,
}

/// The unit that is being assembled.
#[derive(Debug, Default)]
struct Unit {
    /// Its first NAL unit has been seen.
    has_begun: bool,
    has_slice: bool,
    times: Option<Times>,
    random_access: bool,
    /// A sequence parameter set came with it.
    has_sequence: bool,
    /// As in force at its first slice.
    config: Option<Rc<CodecConfig>>,
    pictures: Pictures,
}

/// The coded pictures of a unit.
#[derive(Debug, Default)]
enum Pictures {
    /// The first slice is not whole yet.
    #[default]
    Unknown,
    /// A frame, or both fields of one.
    Whole,
    /// One field; the other may follow.
    FirstField(SliceHead),
}

#[derive(Clone, Copy, Debug)]
struct Split {
    at: usize,
    random_access: bool,
    has_sequence: bool,
}

impl Video {
    pub(super) fn new(track: TrackId, syntax: Syntax) -> Self {
        Self {
            track,
            syntax,
            stream: ByteStream::default(),
            kind: None,
            unit: Unit::default(),
            split: None,
            parameters: Parameters::new(syntax),
            coming: None,
            pace: Pace::default(),
            stuffing: HintState::default(),
            length: HintState::default(),
            room: 0,
        }
    }

    /// A PES packet begins; `times` are those of the first unit that begins in it.
    pub(super) fn begin(&mut self, times: Option<Times>) {
        self.coming = times;
        self.stuffing.trust.begin();
        self.length.trust.begin();
    }

    /// More of the byte stream.
    pub(super) fn data(&mut self, mut piece: &[u8], context: &mut Context) {
        loop {
            let cut = self.stream.cut(piece);
            // More of a NAL unit that was taken for the last one. A new one is looked at first.
            let goes_on = self.kind.is_some() || self.stream.open_at().is_none();
            if goes_on && cut.before.iter().any(|byte| *byte != 0) {
                self.settle(false, context);
            }
            self.stream.extend(cut.before);
            let Some(after) = cut.after else { break };
            self.end_nal(context);
            self.stream.open();
            piece = after;
        }
        self.look(false, context);
        if self.stream.len() > MAX_UNIT {
            self.damage(context);
        }
    }

    /// `hint` says that the unit ends here.
    pub(super) fn hint(&mut self, hint: Hint, context: &mut Context) {
        if !self.can_end() {
            return;
        }
        if context.distrusted.contains(&hint) {
            return;
        }
        let state = self.state(hint);
        state.is_open = true;
        if state.trust.is_given() {
            context.stats.early_ends += 1;
            self.end_unit(context);
        }
    }

    /// Packets are missing, or the unit is too long: it will not be whole.
    pub(super) fn damage(&mut self, context: &mut Context) {
        if self.stream.len() > 0 {
            context.stats.dropped_units += 1;
        }
        self.stream.restart();
        self.kind = None;
        self.unit = Unit::default();
        self.split = None;
        self.coming = None;
        self.stuffing.is_open = false;
        self.length.is_open = false;
    }

    /// Nothing follows.
    pub(super) fn finish(&mut self, context: &mut Context) {
        if self.can_end() || matches!(self.unit.pictures, Pictures::FirstField(_)) {
            self.end_unit(context);
        }
    }

    fn state(&mut self, hint: Hint) -> &mut HintState {
        match hint {
            Hint::Stuffing => &mut self.stuffing,
            Hint::Length => &mut self.length,
        }
    }

    /// What follows an open hint shows whether it was right.
    fn settle(&mut self, was_right: bool, context: &mut Context) {
        for (hint, state) in
            [(Hint::Stuffing, &mut self.stuffing), (Hint::Length, &mut self.length)]
        {
            if !std::mem::take(&mut state.is_open) {
                continue;
            }
            if was_right {
                state.trust.confirm();
            } else {
                context.stats.early_contradictions += 1;
                context.distrusted.push(hint);
            }
        }
    }

    /// Whether what is there is a whole frame, if nothing follows.
    fn can_end(&mut self) -> bool {
        if !self.unit.has_slice || self.kind.is_none() {
            return false;
        }
        self.read_head();
        matches!(self.unit.pictures, Pictures::Whole)
    }

    /// Reads the first slice's header, once it is whole.
    fn read_head(&mut self) {
        if !matches!(self.unit.pictures, Pictures::Unknown) {
            return;
        }
        let head = self.parameters.slice_head(self.stream.open_unit());
        // Broadcast encoders begin groups with I pictures that are neither IDR nor marked by a recovery point, and
        // precede them with the parameter sets.
        self.unit.random_access |=
            self.unit.has_sequence && head.as_ref().is_some_and(SliceHead::is_intra);
        self.unit.pictures = match head {
            Some(head) if head.is_field() => Pictures::FirstField(head),
            _ => Pictures::Whole,
        };
    }

    /// Looks what the open NAL unit is, as soon as that can be told; `is_whole`: nothing more of it comes.
    fn look(&mut self, is_whole: bool, context: &mut Context) {
        let nal = self.stream.open_unit();
        if self.kind.is_some() || nal.is_empty() {
            return;
        }
        let Some(kind) = self.syntax.classify(nal) else { return };
        let in_frame = matches!(self.unit.pictures, Pictures::FirstField(_));
        if in_frame && matches!(kind, Kind::Slice(_)) && !is_whole && nal.len() < SLICE_HEAD {
            return;
        }
        let begins = kind.begins_unit();
        self.settle(begins, context);
        if matches!(kind, Kind::Slice(_)) {
            self.parameters.apply(context);
        }
        if begins && self.unit.has_slice {
            self.divide(kind, context);
        }
        if !self.unit.has_begun {
            if !begins {
                // The rest of a unit whose front is missing.
                self.stream.clear();
                return;
            }
            self.unit.has_begun = true;
            self.unit.times = self.coming.take();
        }
        if let Kind::Slice(slice) = kind {
            if !self.unit.has_slice {
                self.unit.has_slice = true;
                self.unit.config = self.parameters.config();
            }
            self.unit.random_access |= slice.random_access;
        }
        self.kind = Some(kind);
    }

    /// The open NAL unit begins another unit, or the second field of this one.
    fn divide(&mut self, kind: Kind, context: &mut Context) {
        let Some(at) = self.stream.open_at() else { return };
        let Pictures::FirstField(first) = &self.unit.pictures else {
            return self.emit(at, context);
        };
        if !matches!(kind, Kind::Slice(_)) {
            self.split.get_or_insert(Split { at, random_access: false, has_sequence: false });
            return;
        }
        let head = self.parameters.slice_head(self.stream.open_unit());
        if head.is_some_and(|head| head.boundary(first) == Boundary::SecondField) {
            self.unit.pictures = Pictures::Whole;
            // It is an access unit by the standard's count, and what came are its times (H.264 §3.1).
            self.coming = None;
            self.split = None;
        } else {
            let at = self.split.map_or(at, |split| split.at);
            self.emit(at, context);
        }
    }

    fn end_nal(&mut self, context: &mut Context) {
        self.look(true, context);
        match self.kind.take() {
            None => self.stream.close(|_| false),
            Some(Kind::ParameterSet(set)) => {
                let is_sequence = set == SetKind::Sequence;
                match &mut self.split {
                    Some(split) => split.has_sequence |= is_sequence,
                    None => self.unit.has_sequence |= is_sequence,
                }
                let parameters = &mut self.parameters;
                self.stream.close(|nal| {
                    parameters.collect(nal);
                    false
                });
            }
            Some(Kind::Sei) => {
                let mut is_recovery = false;
                self.stream.close(|nal| {
                    is_recovery = self.syntax.is_recovery_point(nal);
                    true
                });
                match &mut self.split {
                    Some(split) => split.random_access |= is_recovery,
                    None => self.unit.random_access |= is_recovery,
                }
            }
            Some(kind) => {
                if matches!(kind, Kind::Slice(_)) {
                    self.read_head();
                }
                self.stream.close(|_| kind.is_payload());
            }
        }
    }

    fn end_unit(&mut self, context: &mut Context) {
        self.end_nal(context);
        self.emit(self.stream.len(), context);
    }

    /// The unit ends at `at`. What is behind begins the next.
    fn emit(&mut self, at: usize, context: &mut Context) {
        let mut payload = self.stream.take_before(at, self.room);
        let unit = std::mem::take(&mut self.unit);
        if let Some(split) = self.split.take() {
            self.unit.has_begun = true;
            self.unit.times = self.coming.take();
            self.unit.random_access = split.random_access;
            self.unit.has_sequence = split.has_sequence;
        }
        let Some(config) = unit.config else {
            context.stats.unready_units += 1;
            return;
        };
        let Some(times) = self.pace.next(unit.times, || frame_span(&config)) else {
            context.stats.unready_units += 1;
            return;
        };
        // Random access points are many times as long as the units between, which must not pay for it.
        if !unit.random_access {
            self.room = payload.len() + payload.len() / 4;
        }
        payload.shrink_to_fit();
        context.ready.push(AccessUnit {
            track: self.track,
            dts: times.dts,
            pts: times.pts,
            random_access: unit.random_access,
            config,
            payload: Bytes::from(payload),
        });
    }
}

/// Gives times to units that have none: those that are not the first of their PES packet.
#[derive(Debug, Default)]
struct Pace {
    last: Option<Times>,
    /// The decoding time of the last unit that had one of its own, and how many came since.
    anchor: Option<(Times, i64)>,
    step: Option<Span>,
}

impl Pace {
    /// The times of the next unit. `nominal` is what the stream says of the distance of frames.
    fn next(
        &mut self,
        coded: Option<Times>,
        nominal: impl FnOnce() -> Option<Span>,
    ) -> Option<Times> {
        let times = match coded {
            Some(times) => {
                if let Some((anchor, count)) = self.anchor {
                    let step = Span::from_ticks((times.dts - anchor.dts).ticks() / (count + 1));
                    if step > Span::ZERO && step < MAX_STEP {
                        self.step = Some(step);
                    }
                }
                self.anchor = Some((times, 0));
                times
            }
            None => {
                let last = self.last?;
                let step = self.step.or_else(nominal).unwrap_or(DEFAULT_STEP);
                if let Some((_, count)) = &mut self.anchor {
                    *count += 1;
                }
                Times { dts: last.dts + step, pts: last.pts + step }
            }
        };
        self.last = Some(times);
        Some(times)
    }
}

/// Of 25 frames a second, where nothing tells another.
const DEFAULT_STEP: Span = Span::from_ms(40);

/// Longer steps are gaps.
const MAX_STEP: Span = Span::from_ms(1_000);

/// All that is needed of a slice header is in so many bytes.
const SLICE_HEAD: usize = 48;

/// Longer than a unit of intra-only 8K video at 1 Gbit/s and 25 frames a second.
const MAX_UNIT: usize = 8 << 20;

#[cfg(test)]
mod tests;
