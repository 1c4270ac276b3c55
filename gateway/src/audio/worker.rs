//! What the thread does: units in, samples, frames out, and the time of each.

use super::{
    Coded, Message, SAMPLE_RATE, Target,
    decode::{Decoder, Format, Pcm},
    encode::Encoder,
    resample::Resampler,
};
use crate::media::{Span, Timestamp};
use bytes::Bytes;
use std::sync::mpsc::Receiver;
use thalweg_runtime::sync::channel::RemoteSender;
use tracing::warn;

/// Decoder, resampler and encoder in a row.
struct Chain {
    decoder: Option<Decoder>,
    resampler: Option<Resampler>,
    encoder: Encoder,
    pcm: Pcm,
    /// Samples at 48 kHz, left and right in turn, that are fewer than a frame.
    pending: Vec<f32>,
    /// When the first sample in `pending` is heard.
    at: Option<Timestamp>,
}

/// When the source's times differ by more than this from those that the samples add up to, the source is right
/// (ARCHITECTURE §4.1 has it so for every container).
const DRIFT_MAX: Span = Span::from_ms(40);

/// Works until the other end is dropped.
#[expect(clippy::disallowed_methods, reason = "this thread is there to wait")]
pub(super) fn run(
    units: &Receiver<Message>,
    format: Format,
    target: Target,
    frames: &RemoteSender<Coded>,
) {
    let encoder = match Encoder::new(target) {
        Ok(encoder) => encoder,
        Err(error) => return warn!(?target, %error, "there is no encoder"),
    };
    let mut chain = Chain {
        decoder: Decoder::new(&format),
        resampler: None,
        encoder,
        pcm: Pcm::default(),
        pending: Vec::new(),
        at: None,
    };
    let mut format = format;
    while let Ok(message) = units.recv() {
        match message {
            Message::From(next) => {
                chain.decoder = Decoder::new(&next);
                format = next;
            }
            Message::Unit { pts, payload } => {
                if !chain.decode(&payload) {
                    // A decoder that failed once takes nothing more.
                    chain.decoder = Decoder::new(&format);
                    continue;
                }
                if !chain.give(pts, frames) {
                    return;
                }
            }
        }
    }
}

impl Chain {
    fn decode(&mut self, unit: &Bytes) -> bool {
        let Some(decoder) = &mut self.decoder else { return false };
        decoder.decode(unit, &mut self.pcm)
    }

    /// Codes what was decoded, which is heard at `pts`; `false` when nobody wants it any more.
    fn give(&mut self, pts: Timestamp, frames: &RemoteSender<Coded>) -> bool {
        if self.pcm.samples.is_empty() {
            return true;
        }
        let rate = self.pcm.rate;
        if self.resampler.as_ref().is_none_or(|resampler| resampler.rate() != rate) {
            self.resampler = Resampler::new(rate);
        }
        let Some(resampler) = &mut self.resampler else { return true };
        let lag = samples(resampler.delay() + self.encoder.delay());
        let waiting = samples(self.pending.len() / 2);
        // The next sample to come is that of `pts`, less what lags.
        let expected = pts - lag - waiting;
        let at = match self.at {
            Some(at) if (at - expected).abs() <= DRIFT_MAX => at,
            _ => {
                // What is left of before belongs to no time that there is.
                self.pending.clear();
                pts - lag
            }
        };
        resampler.push(&self.pcm, &mut self.pending);
        let frame = 2 * self.encoder.frame_samples();
        let mut at = at;
        let mut taken = 0;
        while let Some(samples_in) = self.pending.get(taken..taken + frame) {
            if let Some(payload) = self.encoder.encode(samples_in) {
                // When the runtime does not keep up, sound is lost, not the thread's time.
                let _lost = frames.try_send(Coded { pts: at, payload });
            }
            at = at + samples(frame / 2);
            taken += frame;
        }
        self.pending.drain(..taken);
        self.at = Some(at);
        !frames.is_closed()
    }
}

/// How long so many samples of a channel last.
fn samples(count: usize) -> Span {
    Span::from_units(i64::try_from(count).unwrap_or(i64::MAX), SAMPLE_RATE)
}
