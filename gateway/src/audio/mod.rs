//! Sound from one codec to another, once for each source, on a thread of its own: AAC and MPEG audio to Opus for browsers,
//! Opus to AAC for everybody else.
//!
//! A [`Transcoder`] takes units and gives coded frames of 48 kHz stereo with the times that belong to them. Decoding and coding
//! take some per cent of the time that the sound lasts, and never wait; so that this delays nobody, they happen elsewhere.
//! When that thread does not keep up, units are left out and counted, and time goes on where they would have been. What
//! cannot be decoded is silent for as long as it would have lasted.
//!
//! There is no decoder for AC-3 and Enhanced AC-3.

mod clock;
mod decode;
mod encode;
mod remix;
mod resample;
mod worker;

use crate::media::{AccessUnit, Codec, CodecConfig, ParseError, Span, Timestamp, aac, opus};
use bytes::Bytes;
use std::{
    cell::{Cell, RefCell},
    fmt, io,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, Ordering},
        mpsc::{SyncSender, TrySendError, sync_channel},
    },
    thread,
};
use thalweg_runtime::sync::channel::{self, RecvError, RemoteReceiver};

/// Samples a second of everything that comes out.
pub const SAMPLE_RATE: u32 = 48_000;

/// Channels of everything that comes out.
pub const CHANNELS: u8 = 2;

/// What comes out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// Opus, in packets of 20 ms.
    Opus,
    /// AAC-LC.
    Aac,
}

/// One frame.
#[derive(Clone, Debug)]
pub struct Coded {
    /// When it is heard.
    pub pts: Timestamp,
    /// The packet of Opus, or the raw data block of AAC.
    pub payload: Bytes,
}

/// A way from one codec to another. Dropping it ends its thread.
#[derive(Debug)]
pub struct Transcoder {
    input: SyncSender<Message>,
    config: Rc<CodecConfig>,
    /// The configuration of what goes in, as the thread knows it.
    from: RefCell<Rc<CodecConfig>>,
    left_out: Arc<AtomicU64>,
    is_over: Cell<bool>,
    failed: Arc<AtomicU32>,
}

/// What comes out of a [`Transcoder`], until it is dropped.
#[derive(Debug)]
pub struct Frames(RemoteReceiver<Coded>);

/// There is no decoder for a codec.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unsupported(pub &'static str);

/// What the thread is told.
#[derive(Debug)]
enum Message {
    /// What follows is coded like this.
    From(decode::Format),
    Unit {
        pts: Timestamp,
        payload: Bytes,
    },
}

/// Units that may wait for the thread: more than a second of AAC. Transport streams bring a third of a second at once.
const WAITING: usize = 64;

/// Frames that may wait for the runtime.
const READY: usize = 64;

impl Transcoder {
    /// Whether there is a way from this codec to what comes out; of some kinds of it there may be none.
    pub const fn knows(codec: Codec) -> bool {
        matches!(codec, Codec::Aac | Codec::Mp3 | Codec::Opus)
    }

    /// Begins.
    ///
    /// # Errors
    ///
    /// `Unsupported` when there is no decoder; else when there can be no thread.
    pub fn start(from: &Rc<CodecConfig>, to: Target) -> io::Result<(Self, Frames)> {
        let format = decode::Format::of(from);
        let format = format.map_err(|error| io::Error::new(io::ErrorKind::Unsupported, error))?;
        Self::begin(from, format, to)
    }

    fn begin(
        from: &Rc<CodecConfig>,
        format: decode::Format,
        to: Target,
    ) -> io::Result<(Self, Frames)> {
        let config = Rc::new(to.config()?);
        let failed = Arc::<AtomicU32>::default();
        let left_out = Arc::<AtomicU64>::default();
        let theirs = (Arc::clone(&failed), Arc::clone(&left_out));
        let (input, units) = sync_channel(WAITING);
        let (frames, output) = channel::remote(READY);
        thread::Builder::new()
            .name("thalweg-audio".to_owned())
            .spawn(move || worker::run(&units, (format, to), theirs, &frames))?;
        let from = RefCell::new(Rc::clone(from));
        let is_over = Cell::new(false);
        Ok((Self { input, config, from, left_out, is_over, failed }, Frames(output)))
    }

    /// What a decoder must know of what comes out.
    pub const fn config(&self) -> &Rc<CodecConfig> {
        &self.config
    }

    /// Takes a unit. It is left out when too many are waiting.
    ///
    /// # Errors
    ///
    /// When it is of another codec than those before, for which there is no decoder.
    pub fn push(&self, unit: &AccessUnit) -> Result<(), Unsupported> {
        if !Rc::ptr_eq(&self.from.borrow(), &unit.config) {
            let format = decode::Format::of(&unit.config)?;
            if !self.send(Message::From(format)) {
                return Ok(());
            }
            *self.from.borrow_mut() = Rc::clone(&unit.config);
        }
        self.send(Message::Unit { pts: unit.pts, payload: unit.payload.clone() });
        Ok(())
    }

    /// How many units were left out.
    pub fn left_out(&self) -> u64 {
        self.left_out.load(Ordering::Relaxed)
    }

    /// How many units in a row, up to now, could not be decoded; there may be no decoder for this kind of a codec.
    pub fn failed(&self) -> u32 {
        self.failed.load(Ordering::Relaxed)
    }

    /// Whether its thread has ended, and there will be no more frames.
    pub const fn is_over(&self) -> bool {
        self.is_over.get()
    }

    /// Whether there was room for it.
    fn send(&self, message: Message) -> bool {
        let sent = self.input.try_send(message);
        if let Err(error) = &sent {
            self.left_out.fetch_add(1, Ordering::Relaxed);
            self.is_over.set(matches!(error, TrySendError::Disconnected(_)));
        }
        sent.is_ok()
    }
}

/// How long so many samples of a channel last, at 48 kHz.
fn lasting(samples: usize) -> Span {
    Span::from_units(i64::try_from(samples).unwrap_or(i64::MAX), SAMPLE_RATE)
}

impl Frames {
    /// The next frame.
    ///
    /// # Suspends
    ///
    /// Until there is one.
    ///
    /// # Errors
    ///
    /// When there will be none, or the wait was cancelled.
    pub fn recv(&self) -> Result<Coded, RecvError> {
        self.0.recv()
    }

    /// A frame that is there already.
    pub fn try_recv(&self) -> Option<Coded> {
        self.0.try_recv().ok()
    }
}

impl Target {
    /// What a decoder must know.
    fn config(self) -> io::Result<CodecConfig> {
        /// AAC-LC of 48 kHz in two channels, frames of 1 024 samples (ISO/IEC 14496-3:2019 §1.6.2.1).
        const ASC: [u8; 2] = [0x11, 0x90];
        let wrong = |error: ParseError| io::Error::other(error.to_string());
        match self {
            Self::Opus => {
                opus::Config::with_channels(CHANNELS).map(CodecConfig::Opus).map_err(wrong)
            }
            Self::Aac => aac::Config::from_asc(&ASC).map(CodecConfig::Aac).map_err(wrong),
        }
    }
}

impl fmt::Display for Unsupported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "there is no decoder for {}", self.0)
    }
}

impl std::error::Error for Unsupported {}

#[cfg(test)]
mod tests;
