//! Values of options: what a row of the table holds, and the small types that the setters take.
//!
//! Everything here is free of libsrt: `libsrt/apply.rs` alone knows how a value travels.

use std::fmt;
use std::time::Duration;

use super::name::{OptionName, Unit};

/// The value of an option, in the unit that [`OptionName::spec`] names.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OptionValue {
    /// Yes or no.
    Flag(bool),
    /// A number in the option's unit.
    Number(i64),
    /// A text.
    Text(String),
    /// A text that prints as `***`.
    Secret(Secret),
}

impl OptionValue {
    /// The value as a flag.
    #[must_use]
    pub fn flag(&self) -> Option<bool> {
        if let Self::Flag(flag) = self { Some(*flag) } else { None }
    }

    /// The value as a number in the option's own unit.
    #[must_use]
    pub fn number(&self) -> Option<i64> {
        if let Self::Number(number) = self { Some(*number) } else { None }
    }

    /// The value as a text.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }

    /// The value as a time, if `name` counts one; `None` also for −1 (never, off).
    #[must_use]
    pub fn duration(&self, name: OptionName) -> Option<Duration> {
        let super::Kind::Number { unit, .. } = name.spec().kind else { return None };
        let number = u64::try_from(self.number()?).ok()?;
        match unit {
            Unit::Milliseconds => Some(Duration::from_millis(number)),
            Unit::Seconds => Some(Duration::from_secs(number)),
            _ => None,
        }
    }
}

impl fmt::Display for OptionValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(flag) => f.write_str(if *flag { "yes" } else { "no" }),
            Self::Number(number) => number.fmt(f),
            Self::Text(text) => write!(f, "{text:?}"),
            Self::Secret(secret) => secret.fmt(f),
        }
    }
}

/// A text that is not printed: `Debug` and `Display` write `***`.
///
/// It keeps secrets out of logs, not out of memory dumps: nothing is wiped.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Secret(String);

impl Secret {
    /// Wraps a text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// Whether the text is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Self {
        Self::new(text)
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// What a socket carries; libsrt's transmission types, the file type in its two manners.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mode {
    /// Media in real time: one message a packet, delivered at its time or dropped (`SRTT_LIVE`).
    Live,
    /// Whole messages, all of them, no timing (`SRTT_FILE` with the message API).
    Message,
    /// A stream of bytes, all of them, no timing (`SRTT_FILE`).
    File,
}

/// A rate of data. SRT's options count bytes per second, people count bits per second: say which.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Bandwidth(u64);

impl Bandwidth {
    /// A rate in bytes per second.
    #[must_use]
    pub const fn from_bytes_per_s(bytes: u64) -> Self {
        Self(bytes)
    }

    /// A rate in bits per second, rounded up to whole bytes.
    #[must_use]
    pub const fn from_bits_per_s(bits: u64) -> Self {
        Self(bits.div_ceil(8))
    }

    /// Bytes per second.
    #[must_use]
    pub const fn bytes_per_s(self) -> u64 {
        self.0
    }

    /// Bits per second.
    #[must_use]
    pub const fn bits_per_s(self) -> u64 {
        self.0.saturating_mul(8)
    }
}

/// How much may be sent (`SRTO_MAXBW`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MaxBandwidth {
    /// No limit, libsrt's default (in live mode 1 Gbit/s).
    Unlimited,
    /// The rate of the input and the overhead of `SRTO_OHEADBW`.
    RelativeToInput,
    /// This much, headers included.
    Limit(Bandwidth),
}

/// When a lost packet is sent again (`SRTO_RETRANSMITALGO`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RetransmitAlgorithm {
    /// On every report: soonest, and often more than once.
    Aggressive,
    /// At most once per round trip; needs the peer's periodic reports. libsrt's default in live mode.
    Efficient,
}

/// The length of the AES key (`SRTO_PBKEYLEN`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KeyLength {
    /// As the peer says, else AES-128.
    Default,
    /// 16 bytes.
    Aes128,
    /// 24 bytes.
    Aes192,
    /// 32 bytes.
    Aes256,
}

/// The mode of the cipher (`SRTO_CRYPTOMODE`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CryptoMode {
    /// A listener takes the caller's, a caller counts (CTR).
    Auto,
    /// AES-CTR, without authentication.
    AesCtr,
    /// AES-GCM, with authentication; needs timed delivery.
    AesGcm,
}

/// Who decides how fast to send (`SRTO_CONGESTION`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Congestion {
    /// Pacing only.
    Live,
    /// Window and rate, for files.
    File,
}

/// A version of SRT.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SrtVersion {
    /// The 1 of 1.5.2.
    pub major: u8,
    /// The 5 of 1.5.2.
    pub minor: u8,
    /// The 2 of 1.5.2.
    pub patch: u8,
}

impl SrtVersion {
    /// A version by its three numbers.
    #[must_use]
    pub const fn new(major: u8, minor: u8, patch: u8) -> Self {
        Self { major, minor, patch }
    }

    /// The form of the handshake, `0x00XXYYZZ`.
    #[must_use]
    pub const fn code(self) -> u32 {
        u32::from_be_bytes([0, self.major, self.minor, self.patch])
    }

    /// From the form of the handshake, `0x00XXYYZZ`.
    #[must_use]
    pub const fn from_code(code: u32) -> Self {
        let [_, major, minor, patch] = code.to_be_bytes();
        Self { major, minor, patch }
    }
}

impl fmt::Display for SrtVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}
