//! Stream ids: what a caller says it wants, in the standard syntax and in the dialects of the field.
//!
//! The standard is `docs/features/access-control.md` of libsrt 1.5.1: `#!::k=v,…`, or `#!:{k=v,…}` with
//! nested blocks. The dialects are those of SRS, `MediaMTX`, SLS, `OvenMediaEngine` and datarhei Restreamer,
//! bare names, and texts that a client percent-encoded literally or cut at an `&`. [`StreamId::parse`]
//! tries the rows of one table; what each makes of a text is in its row and in the tests. A stream id is the
//! peer's word: nothing here is authenticated.
//!
//! Decided, where texts are ambiguous:
//!
//! - `a/b/c` without a prefix is SLS' or `OvenMediaEngine`'s host, application, stream if `a` looks like a host
//!   (a dot, a port, `localhost`, `default`, `__defaultVhost__`), else a resource of three parts.
//!   `a/b` is always a resource. [`StreamId::with_host_first`] takes the first part for the host anyway.
//! - `?k=v&…` after a resource becomes parameters (SRS reads it so), although the standard's own example has
//!   a resource with a query in it.
//! - A text is percent-decoded if it starts with an encoded `#!` or `srt:`, or if it consists of nothing but
//!   what percent-encoding lets stand; `a%2Fb` is `a/b`, but `a/b%2F` stays.
//! - A key that comes twice, and a mode that does not exist, are errors: guessing would let one system check
//!   what another does not play.

mod dialect;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::error::Error;
use std::fmt;

pub use dialect::Dialect;

/// Greatest length of a stream id in bytes (`CSrtConfig::MAX_SID_LENGTH`).
pub const MAX_LEN: usize = 512;

/// What the caller wants to do (key `m`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StreamMode {
    /// Receive the stream; the standard's default.
    Request,
    /// Send the stream.
    Publish,
    /// Both.
    Bidirectional,
}

impl StreamMode {
    /// The standard's word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::Publish => "publish",
            Self::Bidirectional => "bidirectional",
        }
    }
}

/// What the connection is for (key `t`).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum StreamType {
    /// A stream; the standard's default.
    Stream,
    /// A file, named by the resource.
    File,
    /// Sensible data.
    Auth,
    /// Any other word, which the standard permits.
    Other(String),
}

/// A parsed stream id.
///
/// `Display` and `Debug` mask what may be secret: the session, and parameters with names such as `token`.
#[derive(Clone, PartialEq, Eq)]
pub struct StreamId {
    original: String,
    dialect: Dialect,
    resource: Option<String>,
    host: Option<String>,
    user: Option<String>,
    session: Option<String>,
    stream_type: Option<StreamType>,
    mode: Option<StreamMode>,
    params: Vec<(String, String)>,
}

/// Why a text is no stream id.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StreamIdError {
    /// Longer than 512 bytes.
    TooLong {
        /// Its length in bytes.
        len: usize,
    },
    /// Not UTF-8.
    NotUtf8,
    /// It has a control character.
    ControlCharacter,
    /// It starts with `#!` and goes on with neither `::` nor a block.
    UnknownFormat,
    /// A standard key comes twice.
    DuplicateKey(String),
    /// The mode is none of the standard's.
    UnknownMode(String),
    /// A key or its value cannot be written: it has a character of the syntax in it, or would be read as
    /// another.
    Unwritable(String),
}

impl fmt::Display for StreamIdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong { len } => write!(f, "stream id of {len} bytes, {MAX_LEN} are allowed"),
            Self::NotUtf8 => f.write_str("stream id is not UTF-8"),
            Self::ControlCharacter => f.write_str("stream id has a control character"),
            Self::UnknownFormat => {
                f.write_str("stream id starts with #! but is in no known format")
            }
            Self::DuplicateKey(key) => write!(f, "stream id has key {key:?} twice"),
            Self::UnknownMode(mode) => {
                write!(
                    f,
                    "stream id asks for mode {mode:?}, known are request, publish and bidirectional"
                )
            }
            Self::Unwritable(key) => {
                write!(f, "{key:?} or its value cannot be written in a stream id")
            }
        }
    }
}

impl Error for StreamIdError {}

impl StreamId {
    /// A stream id to call with; [`StreamId::encode`] writes it.
    #[must_use]
    pub fn new(mode: StreamMode, resource: impl Into<String>) -> Self {
        Self {
            resource: Some(resource.into()),
            mode: Some(mode),
            ..Self::empty(String::new(), Dialect::Standard)
        }
    }

    const fn empty(original: String, dialect: Dialect) -> Self {
        Self {
            original,
            dialect,
            resource: None,
            host: None,
            user: None,
            session: None,
            stream_type: None,
            mode: None,
            params: Vec::new(),
        }
    }

    /// Reads what libsrt hands over, in any dialect; an empty text is a stream id that asks for nothing.
    ///
    /// # Errors
    ///
    /// See [`StreamIdError`].
    pub fn parse_bytes(bytes: &[u8]) -> Result<Self, StreamIdError> {
        if bytes.len() > MAX_LEN {
            return Err(StreamIdError::TooLong { len: bytes.len() });
        }
        Self::parse(str::from_utf8(bytes).map_err(|_| StreamIdError::NotUtf8)?)
    }

    /// Reads a text in any dialect.
    ///
    /// # Errors
    ///
    /// See [`StreamIdError`].
    pub fn parse(text: &str) -> Result<Self, StreamIdError> {
        if text.len() > MAX_LEN {
            return Err(StreamIdError::TooLong { len: text.len() });
        }
        if text.contains(char::is_control) {
            return Err(StreamIdError::ControlCharacter);
        }
        dialect::parse(text)
    }

    /// Names the user.
    #[must_use]
    pub fn with_user(mut self, user: impl Into<String>) -> Self {
        self.user = Some(user.into());
        self
    }

    /// Names the host.
    #[must_use]
    pub fn with_host(mut self, host: impl Into<String>) -> Self {
        self.host = Some(host.into());
        self
    }

    /// Names the session.
    #[must_use]
    pub fn with_session(mut self, session: impl Into<String>) -> Self {
        self.session = Some(session.into());
        self
    }

    /// Adds a key of its own.
    #[must_use]
    pub fn with_param(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.params.push((key.into(), value.into()));
        self
    }

    /// Takes the first part of the resource for the host, if there is none yet and two parts are left.
    #[must_use]
    pub fn with_host_first(mut self) -> Self {
        if let (None, Some((host, rest))) =
            (&self.host, self.resource.as_deref().and_then(|resource| resource.split_once('/')))
            && rest.contains('/')
        {
            (self.host, self.resource) = (Some(host.to_owned()), Some(rest.to_owned()));
        }
        self
    }

    /// Writes the standard syntax.
    ///
    /// # Errors
    ///
    /// [`StreamIdError::Unwritable`] for a value with a comma or brace in it, which the syntax cannot
    /// express, and for a parameter named as one of the standard's keys: `r=a?m=publish` asks for no mode, and
    /// must not be written as if it did. [`StreamIdError::TooLong`].
    pub fn encode(&self) -> Result<String, StreamIdError> {
        let reserved = |c: char| matches!(c, ',' | '{' | '}') || c.is_control();
        let is_taken = |key: &str| key.is_empty() || key != key.trim() || is_standard(key);
        if let Some((key, _)) = self.params.iter().find(|(key, _)| is_taken(key)) {
            return Err(StreamIdError::Unwritable(key.clone()));
        }
        let mut text = "#!::".to_owned();
        for (n, (key, value)) in self.pairs().enumerate() {
            if value.contains(reserved) || key.contains(reserved) || key.contains('=') {
                return Err(StreamIdError::Unwritable(key.into_owned()));
            }
            if n > 0 {
                text.push(',');
            }
            text.extend([&key, "=", &value]);
        }
        if text.len() > MAX_LEN {
            return Err(StreamIdError::TooLong { len: text.len() });
        }
        Ok(text)
    }

    /// All that is known, as keys and values in the standard's words.
    fn pairs(&self) -> impl Iterator<Item = (Cow<'_, str>, Cow<'_, str>)> {
        let stream_type = self.stream_type.as_ref().map(|stream_type| match stream_type {
            StreamType::Stream => "stream",
            StreamType::File => "file",
            StreamType::Auth => "auth",
            StreamType::Other(other) => other,
        });
        let standard = [
            ("h", self.host.as_deref()),
            ("r", self.resource.as_deref()),
            ("u", self.user.as_deref()),
            ("s", self.session.as_deref()),
            ("t", stream_type),
            ("m", self.mode.map(StreamMode::as_str)),
        ];
        let standard = standard.into_iter().filter_map(|(key, value)| Some((key, value?)));
        let params = self.params.iter().map(|(key, value)| (key.as_str(), value.as_str()));
        standard.chain(params).map(|(key, value)| (Cow::Borrowed(key), Cow::Borrowed(value)))
    }

    /// The text as it came; it may hold secrets.
    #[must_use]
    pub fn original(&self) -> &str {
        &self.original
    }

    /// Which dialect the text was read as.
    #[must_use]
    pub const fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// The stream that is meant (key `r`), without a leading slash.
    #[must_use]
    pub fn resource(&self) -> Option<&str> {
        self.resource.as_deref()
    }

    /// The host or virtual host (key `h`).
    #[must_use]
    pub fn host(&self) -> Option<&str> {
        self.host.as_deref()
    }

    /// The user (key `u`).
    #[must_use]
    pub fn user(&self) -> Option<&str> {
        self.user.as_deref()
    }

    /// The session (key `s`), which `MediaMTX` uses for a password.
    #[must_use]
    pub fn session(&self) -> Option<&str> {
        self.session.as_deref()
    }

    /// What the connection is for (key `t`).
    #[must_use]
    pub const fn stream_type(&self) -> Option<&StreamType> {
        self.stream_type.as_ref()
    }

    /// What the caller wants to do, if it says so (key `m`).
    #[must_use]
    pub const fn mode(&self) -> Option<StreamMode> {
        self.mode
    }

    /// All other keys, in the order in which they came.
    #[must_use]
    pub fn params(&self) -> &[(String, String)] {
        &self.params
    }

    /// The first value of another key.
    #[must_use]
    pub fn param(&self, key: &str) -> Option<&str> {
        self.params.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str())
    }
}

/// The standard syntax, secrets masked: fit for logs.
impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("#!::")?;
        for (n, (key, value)) in self.pairs().enumerate() {
            let comma = if n == 0 { "" } else { "," };
            let value = if is_secret(&key) { "***" } else { &value };
            write!(f, "{comma}{key}={value}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StreamId({:?}, {self})", self.dialect)
    }
}

/// A stream id for logs, whatever it is.
pub(crate) fn masked(text: &str) -> String {
    StreamId::parse(text)
        .map_or_else(|_| format!("*** ({} bytes)", text.len()), |id| id.to_string())
}

/// Whether a key means something in the standard.
fn is_standard(key: &str) -> bool {
    matches!(key, "h" | "r" | "u" | "s" | "t" | "m")
}

/// Whether the value of a key must not be logged.
pub(crate) fn is_secret(key: &str) -> bool {
    const PARTS: [&str; 9] =
        ["token", "secret", "pass", "pwd", "key", "sign", "auth", "session", "credential"];
    let key = key.to_ascii_lowercase();
    key == "s" || key == "sig" || PARTS.iter().any(|part| key.contains(part))
}
