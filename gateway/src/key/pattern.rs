//! Which streams are meant: names in which `*` stands for any text.

use super::StreamKey;
use serde::{Deserialize, Deserializer, de};
use std::{fmt, str::FromStr};

/// A name, or a part of one with `*` for the rest: `live/cam`, `live/*`, `*/private-*`, `*`. What `*` stands for may be empty and have
/// slashes. Without a virtual host it fits all of them; `live/*@example.com` fits one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    text: String,
}

/// A text that is no pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PatternError;

impl Pattern {
    /// Whether the stream is one of those that are meant.
    #[must_use]
    pub fn fits(&self, key: &StreamKey) -> bool {
        match self.text.rsplit_once('@') {
            Some((path, vhost)) if fits(path, key.path()) && fits(vhost, key.vhost()) => true,
            // A name may have such a character too.
            _ => fits(&self.text, key.path()),
        }
    }
}

/// Takes time in proportion to both lengths at most: of several `*` only the last one passed is gone back to.
fn fits(pattern: &str, name: &str) -> bool {
    let (pattern, name) = (pattern.as_bytes(), name.as_bytes());
    let (mut at, mut read) = (0, 0);
    let mut star = None;
    while let Some(&byte) = name.get(read) {
        match pattern.get(at) {
            Some(b'*') => {
                at += 1;
                star = Some((at, read));
            }
            Some(&wanted) if wanted == byte => (at, read) = (at + 1, read + 1),
            _ => {
                let Some((after, from)) = star else { return false };
                (at, read) = (after, from + 1);
                star = Some((after, from + 1));
            }
        }
    }
    pattern.iter().skip(at).all(|&rest| rest == b'*')
}

impl FromStr for Pattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        let text = text.strip_prefix('/').unwrap_or(text);
        let is_barred = |c: char| c.is_control() || matches!(c, '?' | '#' | '\\');
        if text.is_empty() || text.len() > 2 * StreamKey::LEN_MAX || text.contains(is_barred) {
            return Err(PatternError);
        }
        Ok(Self { text: text.to_owned() })
    }
}

impl<'de> Deserialize<'de> for Pattern {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Display for PatternError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("this is no name of streams, such as `live/*`")
    }
}

impl std::error::Error for PatternError {}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_star_stands_for_any_text() {
        for (pattern, stream, expected) in [
            ("live/cam", "live/cam", true),
            ("live/cam", "live/cam2", false),
            ("/live/cam", "live/cam", true),
            ("live/*", "live/cam", true),
            ("live/*", "liver/cam", false),
            ("*", "eu/live/cam", true),
            ("*/cam", "eu/live/cam", true),
            ("eu/*/cam-*", "eu/live/cam-1", true),
            ("eu/*/cam-*", "eu/live/cam", false),
            ("live/a*b*c", "live/abbbc", true),
            ("live/a*b*c", "live/abbb", false),
            ("live/**", "live/x", true),
        ] {
            let key = stream.parse().unwrap();
            assert_eq!(pattern.parse::<Pattern>().unwrap().fits(&key), expected, "{pattern}");
        }
    }

    #[test]
    fn a_virtual_host_is_no_way_around_a_pattern() {
        let plain: StreamKey = "live/cam".parse().unwrap();
        let hosted = plain.clone().on_vhost("example.com").unwrap();
        let fits = |pattern: &str, key| pattern.parse::<Pattern>().unwrap().fits(key);
        assert!(fits("live/*", &hosted));
        assert!(fits("live/*@example.com", &hosted));
        assert!(!fits("live/*@example.com", &plain));
        assert!(fits("live/a@b", &"live/a@b".parse().unwrap()));
    }

    #[test]
    fn what_is_no_pattern_is_refused() {
        for text in ["", "/", "live/?", "a\nb", "a\\b"] {
            assert_eq!(text.parse::<Pattern>(), Err(PatternError), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn a_pattern_fits_what_it_was_made_of(parts in proptest::collection::vec("[a-c]{0,3}", 1..6)) {
            let name = format!("live/{}", parts.join("x"));
            prop_assume!(name.len() > 5);
            let key: StreamKey = name.parse().unwrap();
            let pattern: Pattern = format!("live/{}", parts.join("*")).parse().unwrap();
            prop_assert!(pattern.fits(&key));
        }
    }
}
