//! Options of a socket: typed setters with units, checked as a whole before a socket sees them.
//!
//! [`Options`] is a value free of libsrt. It keeps what was asked for; [`Options::check`] looks at ranges
//! and at options that do not go together, and every bind and connect does so first. The table of all
//! options with their rules and units is [`OptionName`]; presets are [`Options::live`],
//! [`Options::message`], [`Options::file`] and [`Options::long_haul`]. What libsrt would take silently and
//! not do (a receive buffer above the flow window, a filter text above 64 bytes) is an error here.

mod check;
mod error;
mod name;
mod preset;
mod setters;
mod size;
#[cfg(test)]
mod tests;
mod value;

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use crate::stream_id;

pub(crate) use check::check_value;
pub use error::OptionError;
pub use name::{Kind, OptionName, OptionSpec, Rule, Unit};
pub use size::BufferSizes;
pub use value::{
    Bandwidth, Congestion, CryptoMode, KeyLength, MaxBandwidth, Mode, OptionValue,
    RetransmitAlgorithm, Secret, SrtVersion,
};

/// Options of a socket.
///
/// Setters take the value by value and give it back, so they chain; they never fail. A value out of range
/// is reported by [`Options::check`], which every use of the options calls first.
///
/// ```
/// # use std::time::Duration;
/// # use thalweg_srt_io::Options;
/// let options = Options::live().latency(Duration::from_millis(120)).passphrase("correct horse");
/// assert!(options.check().is_ok());
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Options {
    /// What the socket carries; `None` for changes to a connected socket.
    mode: Option<Mode>,
    /// What was asked for, in the order in which it is applied.
    values: BTreeMap<OptionName, OptionValue>,
    /// The expected rate of the stream, from which buffers are sized.
    bitrate: Option<Bandwidth>,
    /// The expected round-trip time, for the same.
    round_trip: Duration,
}

impl Options {
    const fn new(mode: Option<Mode>) -> Self {
        Self { mode, values: BTreeMap::new(), bitrate: None, round_trip: size::DEFAULT_ROUND_TRIP }
    }

    /// Changes for a socket that is connected already: nothing but what is set on it.
    #[must_use]
    pub const fn changes() -> Self {
        Self::new(None)
    }

    /// Media in real time, with libsrt's defaults: 120 ms latency, too late packets dropped.
    #[must_use]
    pub const fn live() -> Self {
        Self::new(Some(Mode::Live))
    }

    /// Whole messages of any size that fits the send buffer, none lost, no timing.
    #[must_use]
    pub const fn message() -> Self {
        Self::new(Some(Mode::Message))
    }

    /// A stream of bytes, none lost, no timing.
    #[must_use]
    pub const fn file() -> Self {
        Self::new(Some(Mode::File))
    }

    /// What the socket carries; `None` for [`Options::changes`].
    #[must_use]
    pub const fn mode(&self) -> Option<Mode> {
        self.mode
    }

    /// What was asked for, if anything.
    #[must_use]
    pub fn value(&self, name: OptionName) -> Option<&OptionValue> {
        self.values.get(&name)
    }

    /// All that was asked for, in the order in which it is applied; the mode is apart.
    pub fn values(&self) -> impl Iterator<Item = (OptionName, &OptionValue)> {
        self.values.iter().map(|(&name, value)| (name, value))
    }

    /// Sets an option by name, for options that come as text; typed setters are the better way.
    #[must_use]
    pub fn set(mut self, name: OptionName, value: OptionValue) -> Self {
        self.values.insert(name, value);
        self
    }

    /// Forgets an option that was set.
    #[must_use]
    pub fn unset(mut self, name: OptionName) -> Self {
        self.values.remove(&name);
        self
    }
}

/// Secrets are masked, also those in the stream id.
impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut fields = f.debug_struct("Options");
        fields.field("mode", &self.mode);
        for (name, value) in self.values() {
            match value {
                OptionValue::Text(text) if name == OptionName::StreamId => {
                    fields.field(name.key(), &format_args!("{}", stream_id::masked(text)));
                }
                _ => {
                    fields.field(name.key(), &format_args!("{value}"));
                }
            }
        }
        fields.field("bitrate", &self.bitrate).field("round_trip", &self.round_trip).finish()
    }
}

impl Default for Options {
    fn default() -> Self {
        Self::live()
    }
}
