//! Files of fragmented MP4: an init segment, then fragments, with no end to be written (ISO/IEC 14496-12:2022 §8.8).
//!
//! Every file's time begins at zero, with the first unit that it has. Another init segment (another codec, other parameter
//! sets, a track that came or went) begins another file at the next random-access point; one that turns out the same, as
//! when a publisher comes back, does not.

use super::{PIECE, PIECE_BYTES, Step, UnitCutter};
use crate::{
    container::{
        Select,
        fmp4::{Fragment, Init, Output, Packager, Sample},
    },
    media::{AccessUnit, MediaKind, Span, Timestamp, Tracks},
};
use std::rc::Rc;
use tracing::warn;

#[derive(Debug)]
pub(super) struct Mp4Cutter {
    packager: Packager,
    segment: Option<Span>,
    /// In force for what comes.
    init: Option<Rc<Init>>,
    file: Option<File>,
    /// The fragment in the making.
    samples: Vec<Sample>,
    bytes: usize,
    /// Empty between calls; kept for its room.
    output: Vec<Output>,
}

#[derive(Debug)]
struct File {
    init: Rc<Init>,
    /// When it begins; `None` until its first fragment is whole.
    start: Option<Timestamp>,
    /// Of each track, the decode time that is zero in this file.
    zeros: Vec<(u32, u64)>,
    /// `sequence_number` of the last fragment.
    sequence: u32,
    /// When what it has ends.
    end: Timestamp,
}

impl Mp4Cutter {
    pub(super) fn new(segment: Option<Span>) -> Self {
        Self {
            packager: Packager::new(Select::All),
            segment,
            init: None,
            file: None,
            samples: Vec::new(),
            bytes: 0,
            output: Vec::new(),
        }
    }

    fn sample(&mut self, sample: Sample, out: &mut Vec<Step>) {
        let Some(init) = self.init.clone() else { return };
        let may_begin =
            sample.random_access && (sample.kind == MediaKind::Video || !init.has_video());
        if may_begin && self.is_due(&init, sample.dts) {
            self.flush(out);
            let (zeros, end) = (Vec::new(), sample.dts);
            self.file = Some(File { init, start: None, zeros, sequence: 0, end });
        } else if self.file.is_none() {
            return;
        } else if self.is_whole(&sample, may_begin) {
            self.flush(out);
        }
        self.bytes += sample.len();
        self.samples.push(sample);
    }

    /// Whether a file begins at a place that allows it.
    fn is_due(&self, init: &Init, dts: Timestamp) -> bool {
        let Some(file) = &self.file else { return true };
        let start = file.start.or_else(|| self.samples.iter().map(|sample| sample.dts).min());
        let lasts = dts - start.unwrap_or(dts);
        file.init.bytes() != init.bytes() || self.segment.is_some_and(|segment| lasts >= segment)
    }

    /// Whether what is gathered is a fragment by itself, before this sample.
    fn is_whole(&self, sample: &Sample, may_begin: bool) -> bool {
        let Some(first) = self.samples.first() else { return false };
        let is_picture = may_begin && sample.kind == MediaKind::Video;
        is_picture || sample.dts - first.dts >= PIECE || self.bytes >= PIECE_BYTES
    }

    /// Gives out the fragment in the making.
    fn flush(&mut self, out: &mut Vec<Step>) {
        let samples = std::mem::take(&mut self.samples);
        self.bytes = 0;
        let times = samples.iter().map(|sample| sample.dts);
        let (Some(first), Some(last)) = (times.clone().min(), times.max()) else { return };
        let Some(file) = &mut self.file else { return };
        if file.start.is_none() {
            file.start = Some(first);
            out.push(Step::Begin { head: vec![file.init.bytes()], behind: last - first });
        }
        let mut fragment = Fragment::default();
        for sample in samples {
            if let Some(sample) = file.place(sample) {
                fragment.push(sample);
            }
        }
        file.sequence += 1;
        let parts = fragment.take(file.sequence);
        out.push(Step::Append { parts, lasts: file.end - file.start.unwrap_or(first) });
    }
}

impl File {
    /// The sample in the time of this file; `None` when its track is not in it.
    fn place(&mut self, mut sample: Sample) -> Option<Sample> {
        let scale = self.init.track(sample.track)?.timescale();
        let start = self.start?;
        let known = self.zeros.iter().find(|(track, _)| *track == sample.track);
        let zero = known.map(|(_, zero)| *zero).unwrap_or_else(|| {
            // Nothing in a fragment is before the file's start; later units may be by a little, and stand at zero.
            let into = to_scale(sample.dts - start, scale);
            let zero = sample.decode_time.saturating_sub(into);
            self.zeros.push((sample.track, zero));
            zero
        });
        sample.decode_time = sample.decode_time.saturating_sub(zero);
        let lasts = Span::from_units(i64::from(sample.duration), scale);
        self.end = self.end.max(sample.dts + lasts);
        Some(sample)
    }
}

/// A span that is not negative in units of which `scale` make a second.
fn to_scale(span: Span, scale: u32) -> u64 {
    let ticks = u128::try_from(span.ticks()).unwrap_or(0);
    let hz = 90_000;
    u64::try_from((ticks * u128::from(scale) + hz / 2) / hz).unwrap_or(u64::MAX)
}

impl UnitCutter for Mp4Cutter {
    fn tracks(&mut self, tracks: &Tracks, _out: &mut Vec<Step>) {
        self.packager.tracks(tracks);
    }

    fn unit(&mut self, unit: &AccessUnit, out: &mut Vec<Step>) {
        let mut output = std::mem::take(&mut self.output);
        self.packager.unit(unit, &mut output);
        for output in output.drain(..) {
            match output {
                Output::Init(init) => {
                    self.init = Some(init);
                    for (track, why) in self.packager.left_out() {
                        warn!(track = track.0, %why, "a track is left out of the recording");
                    }
                }
                Output::Sample(sample) => self.sample(sample, out),
            }
        }
        self.output = output;
    }

    fn jump(&mut self, out: &mut Vec<Step>) {
        self.flush(out);
    }

    fn finish(&mut self, out: &mut Vec<Step>) {
        self.flush(out);
    }
}
