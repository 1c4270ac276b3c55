//! What can be wrong or odd about an SRT URL.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use crate::options::OptionError;

/// Why a text is no SRT URL.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum UrlError {
    /// It does not start with `srt://`.
    Scheme,
    /// It has a user or password before the host: they belong in the stream id.
    UserInfo,
    /// The host is missing, or no name or address.
    Host,
    /// The port is missing, or no number up to 65 535.
    Port,
    /// It has a path: what is meant belongs in the stream id.
    Path,
    /// A value does not decode to UTF-8.
    Encoding {
        /// Which key.
        key: &'static str,
    },
    /// There is no such key.
    UnknownKey {
        /// The key as given.
        key: String,
        /// Keys that are spelt nearly so.
        suggestions: Vec<&'static str>,
    },
    /// A key comes twice, also under another name.
    DuplicateKey {
        /// Which key.
        key: &'static str,
    },
    /// The value is not of the key's kind.
    Value {
        /// Which key.
        key: &'static str,
        /// The value as given; `***` for secrets.
        value: String,
        /// What would have been allowed.
        allowed: &'static str,
    },
    /// A time that SRT cannot carry, and that makes sense in ffmpeg's microseconds.
    Microseconds {
        /// Which key.
        key: &'static str,
        /// The value as given, taken for milliseconds.
        value: i64,
    },
    /// The key is one that this crate keeps.
    Kept {
        /// Which key.
        key: &'static str,
        /// What replaces it.
        instead: &'static str,
    },
    /// The options are out of range or do not go together.
    Option(OptionError),
}

impl fmt::Display for UrlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Scheme => f.write_str("an SRT URL starts with srt://"),
            Self::UserInfo => {
                f.write_str("an SRT URL has no user or password before its host; use the stream id")
            }
            Self::Host => f.write_str("the host of the SRT URL is missing, or no name or address"),
            Self::Port => {
                f.write_str("the port of the SRT URL is missing, or no number from 1 to 65535")
            }
            Self::Path => f.write_str("an SRT URL has no path; use streamid="),
            Self::Encoding { key } => write!(f, "the value of {key} does not decode to UTF-8"),
            Self::UnknownKey { key, suggestions } if suggestions.is_empty() => {
                write!(f, "an SRT URL has no key {key:?}")
            }
            Self::UnknownKey { key, suggestions } => {
                write!(f, "an SRT URL has no key {key:?}; is it {}?", suggestions.join(" or "))
            }
            Self::DuplicateKey { key } => write!(f, "the SRT URL has key {key} twice"),
            Self::Value { key, value, allowed } => {
                write!(f, "{key} cannot be {value:?}: allowed is {allowed}")
            }
            Self::Microseconds { key, value } => write!(
                f,
                "{key}={value} would be {} s, and SRT carries 65.535 s at most: times are milliseconds here, \
                 but microseconds in URLs for ffmpeg (there it means {} ms)",
                value / 1000,
                value / 1000
            ),
            Self::Kept { key, instead } => write!(f, "{key} cannot be set: {instead}"),
            Self::Option(error) => error.fmt(f),
        }
    }
}

impl Error for UrlError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        if let Self::Option(error) = self { Some(error) } else { None }
    }
}

/// What is suspicious about an SRT URL, but possible.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum UrlWarning {
    /// More than 10 s: perhaps ffmpeg's microseconds were meant.
    LongTime {
        /// Which key.
        key: &'static str,
        /// The time as understood.
        time: Duration,
    },
    /// Less than 1 ms in ffmpeg's microseconds: perhaps milliseconds were meant.
    ShortTime {
        /// Which key.
        key: &'static str,
        /// The time as understood.
        time: Duration,
    },
    /// The key has no effect in this mode.
    NoEffect {
        /// Which key.
        key: &'static str,
        /// Why.
        why: &'static str,
    },
}

impl fmt::Display for UrlWarning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LongTime { key, time } => {
                write!(f, "{key} is {time:?}; were microseconds meant, as in URLs for ffmpeg?")
            }
            Self::ShortTime { key, time } => {
                write!(
                    f,
                    "{key} is {time:?}; were milliseconds meant, as everywhere but in ffmpeg?"
                )
            }
            Self::NoEffect { key, why } => write!(f, "{key} has no effect: {why}"),
        }
    }
}
