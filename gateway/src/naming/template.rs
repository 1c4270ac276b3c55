//! Templates of paths, `{app}/{stream}/%Y-%m-%d/%H-%M-%S.{ext}`, and what they become.
//!
//! A path that comes out is relative, and none of its parts is empty, begins with a dot or is longer than file systems
//! take: the names of streams, which strangers choose, cannot make it lead anywhere else. `/` is the only separator, and only
//! the template and applications with parts (`eu/live`) bring it. Characters that names may not have stand as `%2F`.

use crate::key::StreamKey;
use jiff::{Zoned, civil, fmt::strtime, tz::TimeZone};
use serde::{Deserialize, Deserializer, de};
use std::{fmt, hash::Hasher, str::FromStr};

/// How paths are made, as the head of this file says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    text: String,
    pieces: Vec<Piece>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Literal(String),
    Field(Field),
    /// One conversion of strftime, with its percent sign.
    Time(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Field {
    Vhost,
    App,
    Stream,
    Ext,
}

/// What a path is made of.
#[derive(Clone, Copy, Debug)]
pub struct Values<'a> {
    /// The stream.
    pub key: &'a StreamKey,
    /// The time of the beginning, in the zone that is to be shown.
    pub time: &'a Zoned,
    /// The end of the file's name, without a dot.
    pub ext: &'a str,
}

/// Why a text is no template.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TemplateError {
    /// It is empty or too long.
    Length,
    /// It begins with a slash.
    Absolute,
    /// A part between slashes is empty or begins with a dot.
    Part(String),
    /// A character that paths should not have.
    Character(char),
    /// There is no such field.
    Field(String),
    /// A brace without its partner.
    Brace,
    /// It does not end in `.{ext}`.
    NoExtension,
    /// A conversion of the time that does not exist, or makes parts of its own.
    Time(String),
}

/// The longest template, and the longest part of a path: file systems take 255 bytes, and what keeps names apart comes on top.
const LEN_MAX: usize = 512;
const PART_MAX: usize = 200;

const FIELDS: [(&str, Field); 4] =
    [("vhost", Field::Vhost), ("app", Field::App), ("stream", Field::Stream), ("ext", Field::Ext)];

impl Template {
    /// The path for these values: parts between slashes, fit to be looked up below a folder.
    #[must_use]
    pub fn path(&self, values: &Values<'_>) -> String {
        let mut path = String::new();
        for piece in &self.pieces {
            match piece {
                Piece::Literal(text) => path.push_str(text),
                Piece::Field(Field::Vhost) => push_value(&mut path, values.key.vhost(), false),
                // Its parts are neither empty nor dots: a key is checked.
                Piece::Field(Field::App) => push_value(&mut path, values.key.app(), true),
                Piece::Field(Field::Stream) => push_value(&mut path, values.key.name(), false),
                Piece::Field(Field::Ext) => path.push_str(values.ext),
                Piece::Time(format) => {
                    let text = strtime::format(format, values.time).unwrap_or_default();
                    push_value(&mut path, &text, false);
                }
            }
        }
        let parts: Vec<String> = path.split('/').map(fit).collect();
        parts.join("/")
    }

    fn parse(text: &str) -> Result<Vec<Piece>, TemplateError> {
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some(at) = rest.find(['{', '}', '%']) {
            let (before, from) = rest.split_at(at);
            push_literal(&mut pieces, before);
            rest = match from.strip_prefix('{') {
                Some(inner) => {
                    let (name, rest) = inner.split_once('}').ok_or(TemplateError::Brace)?;
                    let found = FIELDS.iter().find(|(known, _)| *known == name);
                    let (_, field) = found.ok_or_else(|| TemplateError::Field(name.into()))?;
                    pieces.push(Piece::Field(*field));
                    rest
                }
                None if from.starts_with('}') => return Err(TemplateError::Brace),
                None => conversion(from, &mut pieces)?,
            };
        }
        push_literal(&mut pieces, rest);
        Ok(pieces)
    }

    fn check_parts(&self) -> Result<(), TemplateError> {
        if let Some(barred) = self.text.chars().find(|&c| c.is_control() || c == '\\') {
            return Err(TemplateError::Character(barred));
        }
        if self.text.starts_with('/') {
            return Err(TemplateError::Absolute);
        }
        let wrong = self.text.split('/').find(|part| part.is_empty() || part.starts_with('.'));
        if let Some(part) = wrong {
            return Err(TemplateError::Part(part.into()));
        }
        let ends = match self.pieces.as_slice() {
            [.., Piece::Literal(before), Piece::Field(Field::Ext)] => before.ends_with('.'),
            _ => false,
        };
        if ends { Ok(()) } else { Err(TemplateError::NoExtension) }
    }
}

/// Takes one conversion from the beginning of `from`; the result is what follows it.
fn conversion<'a>(from: &'a str, pieces: &mut Vec<Piece>) -> Result<&'a str, TemplateError> {
    let is_end = |c: char| c.is_ascii_alphabetic() || c == '%';
    let after = from.get(1..).unwrap_or_default();
    let Some(end) = after.find(is_end) else { return Err(TemplateError::Time(from.into())) };
    let (format, rest) = from.split_at_checked(end + 2).unwrap_or((from, ""));
    if format == "%%" {
        push_literal(pieces, "%");
        return Ok(rest);
    }
    // Every conversion makes the same kind of text at any time; a date with one digit shows padding.
    let sample = civil::date(2026, 1, 2).at(3, 4, 5, 6).to_zoned(TimeZone::UTC);
    let made = sample.ok().and_then(|time| strtime::format(format, &time).ok());
    let is_fit = |text: &String| !text.is_empty() && !text.contains(['/', '\\']);
    if made.filter(is_fit).is_none() {
        return Err(TemplateError::Time(format.into()));
    }
    pieces.push(Piece::Time(format.into()));
    Ok(rest)
}

fn push_literal(pieces: &mut Vec<Piece>, text: &str) {
    if text.is_empty() {
        return;
    }
    match pieces.last_mut() {
        Some(Piece::Literal(before)) => before.push_str(text),
        _ => pieces.push(Piece::Literal(text.into())),
    }
}

/// Appends a value, with what could be taken for something else escaped, such that different values stay different.
fn push_value(path: &mut String, value: &str, may_have_parts: bool) {
    for c in value.chars() {
        let is_barred = c.is_control() || matches!(c, '%' | '\\') || (c == '/' && !may_have_parts);
        if is_barred {
            let mut bytes = [0; 4];
            c.encode_utf8(&mut bytes).bytes().for_each(|b| path.push_str(&format!("%{b:02X}")));
        } else {
            path.push(c);
        }
    }
}

/// A part of a path as file systems take it: not empty, no dot in front, not too long.
fn fit(part: &str) -> String {
    let part = match part.strip_prefix('.') {
        Some(rest) => format!("%2E{rest}"),
        None if part.is_empty() => "_".to_owned(),
        None => part.to_owned(),
    };
    if part.len() <= PART_MAX {
        return part;
    }
    // What is cut off is told by a number of the whole, so that names that differ only there stay apart.
    let (stem, end) =
        part.rsplit_once('.').filter(|(_, end)| end.len() <= 8).unwrap_or((&part, ""));
    let mut hasher = Fnv::default();
    hasher.write(part.as_bytes());
    let kept = stem.floor_char_boundary(PART_MAX - 28);
    let dot = if end.is_empty() { "" } else { "." };
    format!("{}~{:016x}{dot}{end}", stem.get(..kept).unwrap_or_default(), hasher.finish())
}

/// FNV-1a, 64 bits: the same in every process.
struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Hasher for Fnv {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
}

impl FromStr for Template {
    type Err = TemplateError;

    fn from_str(text: &str) -> Result<Self, TemplateError> {
        if text.is_empty() || text.len() > LEN_MAX {
            return Err(TemplateError::Length);
        }
        let template = Self { text: text.into(), pieces: Self::parse(text)? };
        template.check_parts()?;
        Ok(template)
    }
}

impl<'de> Deserialize<'de> for Template {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Display for TemplateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Length => write!(f, "a template has 1 to {LEN_MAX} bytes"),
            Self::Absolute => {
                f.write_str("a template is relative to the folder of recordings: no slash in front")
            }
            Self::Part(part) => {
                write!(
                    f,
                    "the part `{part}` is empty or begins with a dot, which leads elsewhere or hides"
                )
            }
            Self::Character(c) => write!(f, "a template cannot hold the character {c:?}"),
            Self::Field(name) => {
                write!(
                    f,
                    "there is no field {{{name}}}; there are {{vhost}}, {{app}}, {{stream}} and {{ext}}"
                )
            }
            Self::Brace => f.write_str("a brace is without its partner"),
            Self::NoExtension => f.write_str("a template ends in `.{ext}`"),
            Self::Time(conversion) => write!(
                f,
                "`{conversion}` is no conversion of strftime, or its text has slashes; `%%` is a percent sign"
            ),
        }
    }
}

impl std::error::Error for TemplateError {}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{ProptestConfig, any, prop_assert, proptest};

    fn path(template: &str, key: &str) -> String {
        let time = civil::date(2026, 11, 22).at(14, 30, 5, 0).to_zoned(TimeZone::UTC).unwrap();
        let template: Template = template.parse().unwrap();
        template.path(&Values { key: &key.parse().unwrap(), time: &time, ext: "mp4" })
    }

    const DEFAULT: &str = "{app}/{stream}/%Y-%m-%d/%H-%M-%S.{ext}";

    #[test]
    fn a_template_becomes_a_path() {
        assert_eq!(path(DEFAULT, "live/cam"), "live/cam/2026-11-22/14-30-05.mp4");
        assert_eq!(path(DEFAULT, "eu/live/cam"), "eu/live/cam/2026-11-22/14-30-05.mp4");
        assert_eq!(
            path("{vhost}-100%%-%s.{ext}", "live/x"),
            "__defaultVhost__-100%-1795357805.mp4"
        );
    }

    #[test]
    fn names_cannot_lead_elsewhere() {
        for (key, expected) in [
            ("live/..cam", "live/%2E.cam/x.mp4"),
            (".ssh/.netrc", "%2Essh/%2Enetrc/x.mp4"),
            ("live/%2E%2E", "live/%252E%252E/x.mp4"),
            ("live/~root", "live/~root/x.mp4"),
        ] {
            assert_eq!(path("{app}/{stream}/x.{ext}", key), expected);
        }
        let plain: StreamKey = "live/cam".parse().unwrap();
        let hosted = plain.on_vhost("..").err();
        assert!(hosted.is_some(), "a key is checked before it comes here");
    }

    #[test]
    fn names_that_are_too_long_stay_apart_and_keep_their_extension() {
        let long = |end: &str| format!("live/{}{end}", "ä".repeat(120));
        let (one, other) = (path("{stream}.{ext}", &long("1")), path("{stream}.{ext}", &long("2")));
        assert_ne!(one, other);
        for path in [one, other] {
            assert!(path.len() <= PART_MAX && path.ends_with(".mp4"), "{path}");
        }
    }

    #[test]
    fn what_is_wrong_with_a_template_is_said() {
        for (text, error) in [
            ("", TemplateError::Length),
            ("/var/{stream}.{ext}", TemplateError::Absolute),
            ("../{stream}.{ext}", TemplateError::Part("..".into())),
            ("{app}/.{stream}.{ext}", TemplateError::Part(".{stream}.{ext}".into())),
            ("{app}//{stream}.{ext}", TemplateError::Part(String::new())),
            ("{app}/{name}.{ext}", TemplateError::Field("name".into())),
            ("{app}/{stream.{ext}", TemplateError::Field("stream.{ext".into())),
            ("{app}/stream}.{ext}", TemplateError::Brace),
            ("{app}/{stream}.mp4", TemplateError::NoExtension),
            ("{app}/{stream}{ext}", TemplateError::NoExtension),
            ("{app}/%D.{ext}", TemplateError::Time("%D".into())),
            ("{app}/%E.{ext}", TemplateError::Time("%E".into())),
            ("{app}\\{stream}.{ext}", TemplateError::Character('\\')),
            ("{app}/\0.{ext}", TemplateError::Character('\0')),
        ] {
            assert_eq!(text.parse::<Template>(), Err(error), "{text:?}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]
        #[test]
        fn whatever_a_stream_is_called_its_path_stays_below_the_folder(
            app in any::<String>(), name in any::<String>(), vhost in any::<String>(),
        ) {
            let key = StreamKey::new(&app, &name).and_then(|key| key.on_vhost(&vhost));
            if let Ok(key) = key {
                let path = path("{vhost}/{app}/{stream}.{ext}", "live/x");
                prop_assert!(path.split('/').count() == 3);
                let time = Zoned::default();
                let template: Template = "{vhost}/{app}/{stream}.{ext}".parse().unwrap();
                let path = template.path(&Values { key: &key, time: &time, ext: "ts" });
                for part in path.split('/') {
                    prop_assert!(!part.is_empty() && !part.starts_with('.') && part.len() <= 255, "{path:?}");
                    prop_assert!(!part.contains(['\0', '\\']) && !part.chars().any(char::is_control));
                }
            }
        }
    }
}
