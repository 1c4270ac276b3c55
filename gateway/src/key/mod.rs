//! Stream keys: the names under which streams are published and played, `app/name`.
//!
//! Every protocol writes the same name in a way of its own (an RTMP application and a stream name, an SRT stream id,
//! the path of a URL). They all end up here, so that what is a valid name is decided once.

mod pattern;

pub use pattern::{Pattern, PatternError};

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, de};

/// Names one live stream: a virtual host, an application and a name.
///
/// Cheap to clone, and may be read on any thread: what decides about an SRT handshake runs on one of libsrt's.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamKey {
    vhost: Option<Arc<str>>,
    /// `app/name`.
    path: Arc<str>,
    /// How long the application is: the byte behind it is the slash.
    app_len: u8,
}

/// Why a text is not a stream key.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeyError {
    /// There is no name.
    Empty,
    /// It is longer than [`StreamKey::LEN_MAX`] bytes.
    TooLong {
        /// How long it is.
        len: usize,
    },
    /// It holds a character that names may not hold.
    Character(char),
    /// A part between slashes is empty.
    EmptyPart,
    /// A part between slashes is `.` or `..`, which URLs and file systems take for something else.
    Dots,
}

impl StreamKey {
    /// The application of a key that names none.
    pub const APP_DEFAULT: &str = "live";

    /// The virtual host of a key that names none, as SRS calls it.
    pub const VHOST_DEFAULT: &str = "__defaultVhost__";

    /// How many bytes application, slash and name may have together; a virtual host as many again.
    pub const LEN_MAX: usize = 255;

    /// The key of `name` in the application `app`, which may have parts of its own: `eu/live`. An empty `app` stands
    /// for [`Self::APP_DEFAULT`].
    ///
    /// # Errors
    ///
    /// [`KeyError`] says what is wrong with the names.
    pub fn new(app: &str, name: &str) -> Result<Self, KeyError> {
        if name.is_empty() {
            return Err(KeyError::Empty);
        }
        let app = if app.is_empty() { Self::APP_DEFAULT } else { app };
        let len = app.len().saturating_add(name.len()).saturating_add(1);
        let app_len = u8::try_from(app.len()).map_err(|_| KeyError::TooLong { len })?;
        if len > Self::LEN_MAX {
            return Err(KeyError::TooLong { len });
        }
        // The last slash is the one between the two, so a name has none of its own.
        if name.contains('/') {
            return Err(KeyError::Character('/'));
        }
        let path = format!("{app}/{name}");
        check(&path)?;
        Ok(Self { vhost: None, path: path.into(), app_len })
    }

    /// The same key on a virtual host. An empty one, or [`Self::VHOST_DEFAULT`], is the default.
    ///
    /// # Errors
    ///
    /// [`KeyError`] says what is wrong with the host.
    pub fn on_vhost(self, vhost: &str) -> Result<Self, KeyError> {
        if vhost.is_empty() || vhost == Self::VHOST_DEFAULT {
            return Ok(Self { vhost: None, ..self });
        }
        if vhost.len() > Self::LEN_MAX {
            return Err(KeyError::TooLong { len: vhost.len() });
        }
        if vhost.contains('/') {
            return Err(KeyError::Character('/'));
        }
        check(vhost)?;
        Ok(Self { vhost: Some(vhost.into()), ..self })
    }

    /// The virtual host.
    #[must_use]
    pub fn vhost(&self) -> &str {
        self.vhost.as_deref().unwrap_or(Self::VHOST_DEFAULT)
    }

    /// The application.
    #[must_use]
    pub fn app(&self) -> &str {
        self.path.get(..usize::from(self.app_len)).unwrap_or_default()
    }

    /// The name within the application.
    #[must_use]
    pub fn name(&self) -> &str {
        self.path.get(usize::from(self.app_len) + 1..).unwrap_or_default()
    }

    /// A name without a slash, the same for as long as the stream has its own: what the API and web hooks call it.
    #[must_use]
    pub fn id(&self) -> String {
        short_name("vid-", fnv(self.to_string().as_bytes()))
    }

    /// Application and name, `live/cam`, without the virtual host: the path of the stream's URLs.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }
}

/// A short name made of a number, such as SRS gives everything.
#[must_use]
pub fn short_name(prefix: &str, mut number: u64) -> String {
    const DIGITS: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";
    let mut name = prefix.to_owned();
    for _ in 0..8 {
        // Less than 36.
        let digit = usize::try_from(number % 36).unwrap_or_default();
        name.push(DIGITS.get(digit).copied().map_or('0', char::from));
        number /= 36;
    }
    name
}

/// FNV-1a, 64 bits.
#[must_use]
pub fn fnv(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// Looks at each part between slashes.
fn check(path: &str) -> Result<(), KeyError> {
    // What ends a path in a URL would name another stream there; a backslash is a slash to some clients.
    let is_barred = |c: char| c.is_control() || matches!(c, '?' | '#' | '\\');
    if let Some(barred) = path.chars().find(|&c| is_barred(c)) {
        return Err(KeyError::Character(barred));
    }
    path.split('/').try_for_each(|part| match part {
        "" => Err(KeyError::EmptyPart),
        "." | ".." => Err(KeyError::Dots),
        _ => Ok(()),
    })
}

/// Reads `app/name`, or `name` alone in the default application. A slash in front is passed over.
impl FromStr for StreamKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        let text = text.strip_prefix('/').unwrap_or(text);
        match text.rsplit_once('/') {
            Some(("", _)) => Err(KeyError::EmptyPart),
            Some((app, name)) => Self::new(app, name),
            None => Self::new("", text),
        }
    }
}

impl<'de> Deserialize<'de> for StreamKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

/// `live/cam`, or `live/cam@example.com` on a virtual host that is not the default.
impl fmt::Display for StreamKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.path)?;
        self.vhost.as_ref().map_or(Ok(()), |vhost| write!(f, "@{vhost}"))
    }
}

impl fmt::Debug for StreamKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StreamKey({self})")
    }
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("a stream needs a name, as in `live/cam`"),
            Self::TooLong { len } => {
                write!(f, "a stream's name has at most {} bytes, not {len}", StreamKey::LEN_MAX)
            }
            Self::Character(c) => write!(f, "a stream's name cannot hold the character {c:?}"),
            Self::EmptyPart => {
                f.write_str("a stream's name cannot begin or end with a slash or hold two in a row")
            }
            Self::Dots => f.write_str("a stream's name cannot have `.` or `..` between slashes"),
        }
    }
}

impl std::error::Error for KeyError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_an_application_and_a_name() {
        for (text, app, name) in [
            ("live/cam", "live", "cam"),
            ("/live/cam", "live", "cam"),
            ("cam", "live", "cam"),
            ("eu/north/cam 1", "eu/north", "cam 1"),
            ("live/käse", "live", "käse"),
            ("live/..cam", "live", "..cam"),
        ] {
            let key: StreamKey = text.parse().unwrap();
            assert_eq!((key.app(), key.name()), (app, name), "{text}");
            assert_eq!(key.to_string(), format!("{app}/{name}"));
            assert_eq!(key.vhost(), StreamKey::VHOST_DEFAULT);
        }
    }

    #[test]
    fn what_is_wrong_with_a_name_is_said() {
        for (text, error) in [
            ("", KeyError::Empty),
            ("/", KeyError::Empty),
            ("live/", KeyError::Empty),
            ("//cam", KeyError::EmptyPart),
            ("a//cam", KeyError::EmptyPart),
            ("..", KeyError::Dots),
            ("live/..", KeyError::Dots),
            ("../cam", KeyError::Dots),
            ("a/./cam", KeyError::Dots),
            ("live/c\nam", KeyError::Character('\n')),
            ("live/c\0am", KeyError::Character('\0')),
            ("live/c\u{85}am", KeyError::Character('\u{85}')),
            ("live/cam?x", KeyError::Character('?')),
            ("live\\cam", KeyError::Character('\\')),
        ] {
            assert_eq!(text.parse::<StreamKey>(), Err(error), "{text:?}");
        }
    }

    #[test]
    fn a_key_has_at_most_255_bytes() {
        let longest = format!("live/{}", "x".repeat(250));
        assert_eq!(longest.parse::<StreamKey>().unwrap().path().len(), 255);
        assert_eq!(format!("{longest}x").parse::<StreamKey>(), Err(KeyError::TooLong { len: 256 }));
        let app = "x".repeat(300);
        assert_eq!(StreamKey::new(&app, "y"), Err(KeyError::TooLong { len: 302 }));
    }

    #[test]
    fn a_virtual_host_makes_another_stream() {
        let plain: StreamKey = "live/cam".parse().unwrap();
        let hosted = plain.clone().on_vhost("example.com").unwrap();
        assert_ne!(plain, hosted);
        assert_eq!(hosted.to_string(), "live/cam@example.com");
        assert_eq!(hosted.path(), "live/cam");
        assert_eq!(hosted.on_vhost(StreamKey::VHOST_DEFAULT).unwrap(), plain);
        assert_eq!(plain.on_vhost("a/b"), Err(KeyError::Character('/')));
    }
}
