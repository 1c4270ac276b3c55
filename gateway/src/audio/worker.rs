//! What the thread does: units in, samples, frames out, and the time of each.

use super::{
    Coded, Message, Target,
    clock::{Clock, stretch},
    decode::{Decoder, Format, Pcm},
    encode::Encoder,
    lasting,
    resample::Resampler,
};
use crate::media::Timestamp;
use std::{
    collections::VecDeque,
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, Ordering},
        mpsc::Receiver,
    },
};
use thalweg_runtime::sync::channel::RemoteSender;
use tracing::warn;

/// Decoder, resampler and encoder in a row.
pub(super) struct Chain {
    format: Format,
    decoder: Option<Decoder>,
    resampler: Option<Resampler>,
    encoder: Encoder,
    pcm: Pcm,
    /// Samples at 48 kHz, left and right in turn, that are fewer than a frame.
    pending: Vec<f32>,
    /// When the first sample in `pending` is heard.
    clock: Option<Clock>,
    /// Units in a row that could not be decoded, for all to see.
    failed: Arc<AtomicU32>,
}

/// Works until the other end is dropped. Decoders and encoders are made here, since that takes more of a stack than a
/// coroutine has.
pub(super) fn run(
    units: &Receiver<Message>,
    (format, target): (Format, Target),
    (failed, left_out): (Arc<AtomicU32>, Arc<AtomicU64>),
    frames: &RemoteSender<Coded>,
) {
    let mut queue = Queue { waiting: VecDeque::new(), left_out };
    let mut next = Some((format, failed));
    while let Some((format, failed)) = next.take() {
        let mut chain = match Chain::new(format, target, failed) {
            Ok(chain) => chain,
            Err(error) => return warn!(?target, %error, "there is no encoder"),
        };
        while let Some(message) = queue.next(units) {
            // What comes is by strangers, and decoders are large: a fault of theirs costs a unit, not the sound.
            match catch_unwind(AssertUnwindSafe(|| chain.take(message, frames))) {
                Ok(true) => {}
                Ok(false) => return,
                Err(_) => {
                    chain.failed.fetch_add(1, Ordering::Relaxed);
                    next = Some((chain.format, chain.failed));
                    break;
                }
            }
        }
    }
}

/// What the thread has still to do.
struct Queue {
    waiting: VecDeque<Message>,
    /// Units that were given up, for all to see.
    left_out: Arc<AtomicU64>,
}

/// When more than a second of AAC waits, the machine is too slow: what is old then helps nobody, and the newest is gone on with.
const LATE: usize = 48;
const KEPT: usize = 8;

impl Queue {
    /// The next message; `None` when there will be none.
    #[expect(clippy::disallowed_methods, reason = "this thread is there to wait")]
    fn next(&mut self, units: &Receiver<Message>) -> Option<Message> {
        if self.waiting.is_empty() {
            self.waiting.push_back(units.recv().ok()?);
        }
        self.waiting.extend(units.try_iter());
        if self.waiting.len() > LATE {
            let mut spare = self.waiting.len() - KEPT;
            self.waiting.retain(|message| {
                let is_old = spare > 0 && matches!(message, Message::Unit { .. });
                spare = spare.saturating_sub(1);
                self.left_out.fetch_add(u64::from(is_old), Ordering::Relaxed);
                !is_old
            });
        }
        self.waiting.pop_front()
    }
}

impl Chain {
    pub(super) fn new(format: Format, target: Target, failed: Arc<AtomicU32>) -> io::Result<Self> {
        Ok(Self {
            decoder: Decoder::new(&format),
            format,
            resampler: None,
            encoder: Encoder::new(target)?,
            pcm: Pcm::default(),
            pending: Vec::new(),
            clock: None,
            failed,
        })
    }

    /// Does what it is told; `false` when nobody wants the frames any more.
    fn take(&mut self, message: Message, frames: &RemoteSender<Coded>) -> bool {
        match message {
            Message::From(format) => {
                self.decoder = Decoder::new(&format);
                self.format = format;
                true
            }
            Message::Unit { pts, payload } => {
                self.decode(&payload);
                self.give(pts, frames)
            }
        }
    }

    fn decode(&mut self, unit: &[u8]) {
        if let Some(decoder) = &mut self.decoder
            && decoder.decode(unit, &mut self.pcm)
        {
            self.failed.store(0, Ordering::Relaxed);
            return;
        }
        self.failed.fetch_add(1, Ordering::Relaxed);
        // A decoder of AAC that failed once takes nothing more.
        if matches!(self.decoder, Some(Decoder::Aac(_))) {
            self.decoder = Decoder::new(&self.format);
        }
    }

    /// Codes what was decoded, which is heard at `pts`; `false` when nobody wants it any more.
    fn give(&mut self, pts: Timestamp, frames: &RemoteSender<Coded>) -> bool {
        if self.pcm.samples.is_empty() {
            return true;
        }
        let start = self.pending.len();
        let Some(by) = self.place(pts) else { return true };
        let Some(resampler) = &mut self.resampler else { return true };
        let start = start.min(self.pending.len());
        resampler.push(&self.pcm, &mut self.pending);
        stretch(&mut self.pending, start, by);
        let Some(clock) = &mut self.clock else { return true };
        let frame = self.encoder.frame_samples();
        let mut taken = 0;
        while let Some(samples) = self.pending.get(taken..taken + 2 * frame) {
            if let Some(payload) = self.encoder.encode(samples) {
                // When the runtime does not keep up, sound is lost, not the thread's time.
                let _lost = frames.try_send(Coded { pts: clock.at(), payload });
            }
            clock.advance(frame);
            taken += 2 * frame;
        }
        self.pending.drain(..taken);
        !frames.is_closed()
    }

    /// Where what was decoded belongs: by how many samples it is to be longer or shorter.
    fn place(&mut self, pts: Timestamp) -> Option<i32> {
        let rate = self.pcm.rate;
        if self.resampler.as_ref().is_none_or(|resampler| resampler.rate() != rate) {
            self.resampler = Some(Resampler::new(rate)?);
        }
        let (resampler, delay) = (self.resampler.as_ref()?, self.encoder.delay());
        let lag = lasting(resampler.delay() + delay);
        let waiting = lasting(self.pending.len() / 2) + resampler.waiting();
        // The next sample to come is that of `pts`, less what lags.
        if let Some(clock) = &mut self.clock
            && let Some(by) = clock.pull(pts - lag - waiting)
        {
            return Some(by);
        }
        // What is left of before belongs to no time that there is.
        self.pending.clear();
        self.resampler = Some(Resampler::new(rate)?);
        self.clock = Some(Clock::new(pts - lag));
        Some(0)
    }
}
