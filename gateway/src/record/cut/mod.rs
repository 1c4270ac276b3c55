//! From what the hub gives to what is written: where files begin, and in which pieces they grow.
//!
//! Each container has a cutter. It gathers about a second of media, which is then written at once, so that a file that is
//! never finished ends with a whole piece; and it decides where a file begins: at a random-access point, when there is none
//! yet, when the plan says so, or when what follows cannot stand in the same file. Nothing here does I/O but [`Take`], which
//! waits for the hub.

mod flv;
mod mp4;
mod ts;

use super::Format;
use crate::{
    container::{Select, ts::TsMux},
    hub::{Batch, PlayEnd, Source, Start, Subscriber, Tracked, TrackedReader},
    media::{AccessUnit, Span, Tracks},
};
use bytes::Bytes;
use std::{fmt, rc::Rc};

/// What is to be done to the files, in order.
#[derive(Debug)]
pub(super) enum Step {
    /// The present file, if there is one, is complete. Another begins.
    Begin {
        /// Its first bytes.
        head: Vec<Bytes>,
        /// How long ago its first unit came, in media time: what was gathered since.
        behind: Span,
    },
    /// These bytes belong to the end of the present file, whole or not at all.
    Append {
        /// The bytes.
        parts: Vec<Bytes>,
        /// How much media time the file has with them.
        lasts: Span,
    },
}

/// So much media is written at once; it is what a killed process loses.
const PIECE: Span = Span::from_ms(1_000);
/// A piece does not grow further than this, whatever time it spans.
const PIECE_BYTES: usize = 8 << 20;

/// Makes the files of one container out of units.
trait UnitCutter {
    /// The stream consists of these tracks from here on.
    fn tracks(&mut self, tracks: &Tracks, out: &mut Vec<Step>);

    /// The next unit.
    fn unit(&mut self, unit: &AccessUnit, out: &mut Vec<Step>);

    /// Units were missed; the next one is a random-access point.
    fn jump(&mut self, out: &mut Vec<Step>);

    /// There will be no more.
    fn finish(&mut self, out: &mut Vec<Step>);
}

/// One stream on its way into files of one format.
pub(super) struct Take(Input);

enum Input {
    Units { reader: TrackedReader, batch: Tracked, cutter: Box<dyn UnitCutter> },
    Packets { reader: Subscriber, batch: Batch, cutter: ts::TsCutter },
}

impl Take {
    /// Begins at `start`. With `segment` a file ends at the first random-access point after so much media.
    ///
    /// # Suspends
    ///
    /// As [`Source::subscribe`].
    ///
    /// # Errors
    ///
    /// As [`Source::subscribe`].
    pub(super) fn new(
        source: &Rc<Source>,
        format: Format,
        segment: Option<Span>,
        start: Start,
    ) -> Result<Self, PlayEnd> {
        let cutter: Box<dyn UnitCutter> = match format {
            Format::Mp4 => Box::new(mp4::Mp4Cutter::new(segment)),
            Format::Flv => Box::new(flv::FlvCutter::new(segment)),
            Format::Ts => {
                let reader = source.subscribe::<TsMux>(Select::All, start)?;
                let (batch, cutter) = (Batch::default(), ts::TsCutter::new(segment));
                return Ok(Self(Input::Packets { reader, batch, cutter }));
            }
        };
        let (reader, batch) = (source.read_tracked(start), Tracked::default());
        Ok(Self(Input::Units { reader, batch, cutter }))
    }

    /// Appends what is to be done next to `steps`.
    ///
    /// # Suspends
    ///
    /// Until there is something to do.
    ///
    /// # Errors
    ///
    /// Why nothing more will come: then [`Self::finish`] is due.
    pub(super) fn next(&mut self, steps: &mut Vec<Step>) -> Result<(), PlayEnd> {
        while steps.is_empty() {
            match &mut self.0 {
                Input::Units { reader, batch, cutter } => {
                    reader.recv(batch)?;
                    if batch.is_jump {
                        cutter.jump(steps);
                    }
                    if let Some(tracks) = &batch.tracks {
                        cutter.tracks(tracks, steps);
                    }
                    batch.units.iter().for_each(|unit| cutter.unit(unit, steps));
                }
                Input::Packets { reader, batch, cutter } => {
                    reader.recv(batch)?;
                    let mut is_jump = batch.is_jump;
                    for chunk in &batch.chunks {
                        cutter.chunk(chunk, std::mem::take(&mut is_jump), steps);
                    }
                }
            }
        }
        Ok(())
    }

    /// Appends what is left to do.
    pub(super) fn finish(&mut self, steps: &mut Vec<Step>) {
        match &mut self.0 {
            Input::Units { cutter, .. } => cutter.finish(steps),
            Input::Packets { cutter, .. } => cutter.finish(steps),
        }
    }

    /// How often the disk was too slow for the stream, and how many units or pieces of it were missed by that.
    pub(super) const fn misses(&self) -> (u64, u64) {
        match &self.0 {
            Input::Units { reader, .. } => (reader.skips(), reader.skipped()),
            Input::Packets { reader, .. } => (reader.skips(), reader.skipped()),
        }
    }
}

impl fmt::Debug for Take {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Input::Units { reader, .. } => f.debug_tuple("Take").field(reader).finish(),
            Input::Packets { reader, .. } => f.debug_tuple("Take").field(reader).finish(),
        }
    }
}
