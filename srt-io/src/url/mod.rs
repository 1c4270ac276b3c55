//! `srt://` URLs, as `srt-live-transmit` and ffmpeg know them.
//!
//! The customary form is that of `docs/apps/srt-live-transmit.md` of libsrt 1.5.1: each socket option by its
//! name in lower case, times in milliseconds, and `mode`, `adapter`, `port`, `timeout` besides. ffmpeg
//! (`libavformat/libsrt.c`) has other names for some and counts most times in *microseconds*, under the same
//! names: `latency=120000` is two minutes here and 120 ms there. [`Units`] says which is meant. SRT cannot
//! carry a latency above 65 535 ms, so a greater one is an error that names the trap, and one above 10 s a
//! warning ([`SrtUrl::warnings`]). Names of both, and of SRS' configuration, are understood in either.
//!
//! A `#` starts no fragment: standard stream ids begin with one, and are seldom encoded. Parsing resolves no
//! name and opens nothing.

mod error;
mod parse;
#[cfg(test)]
mod tests;

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

pub use error::{UrlError, UrlWarning};

use crate::options::{Mode, OptionName, OptionValue, Options};
use crate::stream_id::{is_secret, masked};

/// Whose customs a URL follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Units {
    /// `srt-live-transmit`: times in milliseconds, `+` is a plus, the mode follows from host and adapter.
    #[default]
    Milliseconds,
    /// ffmpeg: times in microseconds but for `connect_timeout`, `+` is a space, a caller unless it says
    /// otherwise.
    Ffmpeg,
}

/// Who calls whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ConnectMode {
    /// Connect to a listener.
    Caller,
    /// Wait for callers.
    Listener,
    /// Both sides connect to each other.
    Rendezvous,
}

impl ConnectMode {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Caller => "caller",
            Self::Listener => "listener",
            Self::Rendezvous => "rendezvous",
        }
    }
}

/// A parsed `srt://` URL.
///
/// `Display` writes the whole URL, secrets included, in milliseconds; `Debug` masks them.
#[derive(Clone, PartialEq, Eq)]
pub struct SrtUrl {
    host: String,
    port: u16,
    mode: ConnectMode,
    adapter: Option<String>,
    local_port: Option<u16>,
    timeout: Option<Duration>,
    options: Options,
    warnings: Vec<UrlWarning>,
}

impl SrtUrl {
    /// Reads a URL in the manner of `srt-live-transmit`.
    ///
    /// # Errors
    ///
    /// See [`UrlError`]; no error shows a secret.
    pub fn parse(text: &str) -> Result<Self, UrlError> {
        parse::parse(text, Units::Milliseconds)
    }

    /// Reads a URL in the manner that `units` says.
    ///
    /// # Errors
    ///
    /// See [`UrlError`]; no error shows a secret.
    pub fn parse_as(text: &str, units: Units) -> Result<Self, UrlError> {
        parse::parse(text, units)
    }

    /// Name or address, IPv6 without brackets; empty for a listener on all addresses. For a caller and a
    /// rendezvous it is the peer's, for a listener our own.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// UDP port that belongs to [`SrtUrl::host`].
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Who calls whom.
    #[must_use]
    pub const fn mode(&self) -> ConnectMode {
        self.mode
    }

    /// Local address to bind, IPv6 without brackets. A listener's `adapter` stands in [`SrtUrl::host`].
    #[must_use]
    pub fn adapter(&self) -> Option<&str> {
        self.adapter.as_deref()
    }

    /// Local port to bind; for a rendezvous that names none, the peer's.
    #[must_use]
    pub fn local_port(&self) -> Option<u16> {
        let same = (self.mode == ConnectMode::Rendezvous).then_some(self.port);
        self.local_port.or(same)
    }

    /// Time that an operation may take (`timeout`); for the user's deadlines, no option of the socket.
    #[must_use]
    pub const fn timeout(&self) -> Option<Duration> {
        self.timeout
    }

    /// Options of the socket.
    #[must_use]
    pub const fn options(&self) -> &Options {
        &self.options
    }

    /// What is suspicious, but possible.
    #[must_use]
    pub fn warnings(&self) -> &[UrlWarning] {
        &self.warnings
    }

    /// All parameters as key and value.
    fn params(&self) -> Vec<(&'static str, String)> {
        let mut params = vec![("mode", self.mode.as_str().to_owned())];
        params.extend(self.adapter.clone().map(|adapter| ("adapter", adapter)));
        params.extend(self.local_port.map(|port| ("port", port.to_string())));
        params.extend(self.timeout.map(|time| ("timeout", time.as_millis().to_string())));
        let file = matches!(self.options.mode(), Some(Mode::File | Mode::Message));
        params.extend(file.then(|| ("transtype", "file".to_owned())));
        let messages = self.options.mode() == Some(Mode::Message)
            && self.options.value(OptionName::MessageApi).is_none();
        params.extend(messages.then(|| ("messageapi", "1".to_owned())));
        params.extend(self.options.values().map(|(name, value)| {
            let text = match value {
                OptionValue::Flag(flag) => u8::from(*flag).to_string(),
                OptionValue::Number(number) => number.to_string(),
                OptionValue::Text(text) => text.clone(),
                OptionValue::Secret(secret) => secret.reveal().to_owned(),
            };
            (name.key(), text)
        }));
        params
    }

    fn write(
        &self,
        f: &mut fmt::Formatter<'_>,
        show: impl Fn(&str, String) -> String,
    ) -> fmt::Result {
        let bracket = self.host.contains(':');
        let (open, close) = if bracket { ("[", "]") } else { ("", "") };
        write!(f, "srt://{open}{}{close}:{}", self.host, self.port)?;
        for (n, (key, value)) in self.params().into_iter().enumerate() {
            let mark = if n == 0 { '?' } else { '&' };
            write!(f, "{mark}{key}={}", show(key, value))?;
        }
        Ok(())
    }
}

impl FromStr for SrtUrl {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Self, UrlError> {
        Self::parse(text)
    }
}

/// What a value must not contain in the clear.
const ESCAPED: &AsciiSet =
    &CONTROLS.add(b' ').add(b'%').add(b'&').add(b'+').add(b'"').add(b'<').add(b'>');

/// The whole URL, secrets included; what it writes, [`SrtUrl::parse`] reads.
impl fmt::Display for SrtUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(f, |_, value| utf8_percent_encode(&value, ESCAPED).to_string())
    }
}

impl fmt::Debug for SrtUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(f, |key, value| match key {
            "streamid" => masked(&value),
            _ if is_secret(key) && key != "pbkeylen" => "***".to_owned(),
            _ => value,
        })
    }
}
