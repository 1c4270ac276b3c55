//! Any rate to 48 kHz.

use super::{SAMPLE_RATE, decode::Pcm};
use crate::media::Span;
use rubato::{Fft, FixedSync, Resampler as _, audioadapter_buffers::direct::InterleavedSlice};

/// Samples of two channels in turn, from one rate to 48 kHz.
pub(super) struct Resampler {
    /// `None` where nothing is to be done.
    fft: Option<Box<Fft<f32>>>,
    rate: u32,
    /// Samples that are fewer than a piece.
    pending: Vec<f32>,
}

/// Samples of one channel that are worked on at once: what the delay is, and how fine the filter.
const PIECE: usize = 512;

impl Resampler {
    /// From this rate; `None` when it is none.
    pub(super) fn new(rate: u32) -> Option<Self> {
        let fft = if rate == SAMPLE_RATE {
            None
        } else {
            let (from, to) = (usize::try_from(rate).ok()?, usize::try_from(SAMPLE_RATE).ok()?);
            Some(Box::new(Fft::new(from, to, PIECE, 2, FixedSync::Both).ok()?))
        };
        Some(Self { fft, rate, pending: Vec::new() })
    }

    pub(super) const fn rate(&self) -> u32 {
        self.rate
    }

    /// By how many samples at 48 kHz what comes out lags behind.
    pub(super) fn delay(&self) -> usize {
        self.fft.as_ref().map_or(0, |fft| fft.output_delay())
    }

    /// How long what is worked on only with more to come lasts.
    pub(super) fn waiting(&self) -> Span {
        Span::from_units(i64::try_from(self.pending.len() / 2).unwrap_or(0), self.rate)
    }

    /// Appends what `pcm` becomes, as far as there is enough of it.
    pub(super) fn push(&mut self, pcm: &Pcm, out: &mut Vec<f32>) {
        let Some(fft) = &mut self.fft else {
            out.extend_from_slice(&pcm.samples);
            return;
        };
        self.pending.extend_from_slice(&pcm.samples);
        let mut taken = 0;
        loop {
            let need = fft.input_frames_next();
            let Some(piece) = self.pending.get(taken..taken + 2 * need) else { break };
            let Ok(input) = InterleavedSlice::new(piece, 2, need) else { break };
            let Ok(done) = fft.process(&input, None) else { break };
            out.extend(done.take_data());
            taken += 2 * need;
        }
        self.pending.drain(..taken);
    }
}
