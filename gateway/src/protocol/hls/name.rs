//! What the things of a stream are called: `/live/cam.m3u8`, and below `/live/cam/` what it names.
//!
//! ```text
//! /live/cam.m3u8                            the multivariant playlist
//! /live/cam/hls-main.m3u8                   a media playlist; also hls-audio1.m3u8 …
//! /live/cam/hls-EPOCH-main-7.m4s            segment 7 (.ts in MPEG-TS)
//! /live/cam/hls-EPOCH-main-7.2.m4s          its third part
//! /live/cam/hls-EPOCH-main-init1.mp4        an init segment
//! /live/cam/hls-EPOCH-key0.key              a key
//! ```
//!
//! The epoch is made anew whenever segmenting begins, also in the next process: no name is ever used for two things, so
//! caches may keep them for ever, and nobody guesses one who was not given a playlist.

use super::lane::Container;
use crate::key::StreamKey;
use aws_lc_rs::rand;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use std::{fmt, fmt::Write as _};

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// The multivariant playlist.
    Multivariant,
    /// The media playlist of a lane.
    Media(String),
    /// Something that was named in one.
    Item(Item),
}

/// Something that a media playlist names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Item {
    pub(super) epoch: String,
    pub(super) kind: ItemKind,
}

/// Which thing of a media playlist.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ItemKind {
    Segment { lane: String, msn: u64 },
    Part { lane: String, msn: u64, part: usize },
    Init { lane: String, version: u32 },
    Key(u64),
}

/// What is left as it is in a path: the unreserved characters of RFC 3986 §2.3.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Of the lane that every stream has.
pub(super) const MAIN: &str = "main";

/// An epoch that no other has.
pub(super) fn epoch(unix_s: u64) -> String {
    let mut random = [0; 8];
    rand::fill(&mut random).expect("the system has random numbers");
    format!("{unix_s:x}{:016x}", u64::from_be_bytes(random))
}

/// The name of a lane's playlist.
pub(super) fn media(lane: &str) -> String {
    format!("hls-{lane}.m3u8")
}

/// The path of a stream in a URL, escaped, without a slash in front.
pub(super) fn path(key: &StreamKey) -> String {
    let parts = key.path().split('/').map(escape);
    parts.collect::<Vec<_>>().join("/")
}

/// A part of a path, escaped.
pub(super) fn escape(part: &str) -> String {
    utf8_percent_encode(part, PLAIN).to_string()
}

/// What a path asks for, and of which stream; `None` when it is nothing of HLS.
pub(super) fn parse(path: &str) -> Option<(StreamKey, Wanted)> {
    let (folder, file) = path.rsplit_once('/').unwrap_or(("", path));
    if let Some(wanted) = file.strip_prefix("hls-").and_then(parse_file)
        && let Ok(key) = folder.parse()
    {
        return Some((key, wanted));
    }
    let key = path.strip_suffix(".m3u8")?.parse().ok()?;
    Some((key, Wanted::Multivariant))
}

fn parse_file(name: &str) -> Option<Wanted> {
    let (stem, extension) = name.rsplit_once('.')?;
    if extension == "m3u8" {
        return lane(stem).map(Wanted::Media);
    }
    let (epoch, rest) = stem.split_once('-')?;
    if epoch.is_empty() || !epoch.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    let kind = match extension {
        "key" => ItemKind::Key(number(rest.strip_prefix("key")?)?),
        "mp4" => {
            let (lane, version) = rest.rsplit_once("-init")?;
            ItemKind::Init { lane: self::lane(lane)?, version: number(version)?.try_into().ok()? }
        }
        "m4s" | "ts" => {
            let (lane, place) = rest.rsplit_once('-')?;
            let lane = self::lane(lane)?;
            match place.split_once('.') {
                None => ItemKind::Segment { lane, msn: number(place)? },
                Some((msn, part)) => {
                    ItemKind::Part { lane, msn: number(msn)?, part: number(part)?.try_into().ok()? }
                }
            }
        }
        _ => return None,
    };
    Some(Wanted::Item(Item { epoch: epoch.to_owned(), kind }))
}

/// As we call lanes.
fn lane(name: &str) -> Option<String> {
    let is_plain = name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    (is_plain && !name.is_empty()).then(|| name.to_owned())
}

/// In decimal digits, as we write them: each thing has one name only.
pub(super) fn number(text: &str) -> Option<u64> {
    let is_ours = text == "0" || !text.starts_with('0');
    (is_ours && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse().ok())?
}

impl Container {
    /// Of the names of its segments.
    pub(super) const fn extension(self) -> &'static str {
        match self {
            Self::Fmp4 => "m4s",
            Self::Ts => "ts",
        }
    }
}

/// The name of a segment.
pub(super) fn segment(epoch: &str, lane: &str, msn: u64, container: Container) -> String {
    let mut name = String::new();
    put(&mut name, format_args!("hls-{epoch}-{lane}-{msn}.{}", container.extension()));
    name
}

/// Appends; memory has no errors.
pub(super) fn put(out: &mut String, text: fmt::Arguments<'_>) {
    out.write_fmt(text).expect("a String takes everything");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written() {
        let key: StreamKey = "live/cam".parse().unwrap();
        let item = |kind| Wanted::Item(Item { epoch: "ab12".into(), kind });
        let lane = || "main".to_owned();
        for (path, wanted) in [
            ("live/cam.m3u8", Wanted::Multivariant),
            ("live/cam/hls-main.m3u8", Wanted::Media(lane())),
            ("live/cam/hls-ab12-main-7.m4s", item(ItemKind::Segment { lane: lane(), msn: 7 })),
            (
                "live/cam/hls-ab12-main-7.2.ts",
                item(ItemKind::Part { lane: lane(), msn: 7, part: 2 }),
            ),
            ("live/cam/hls-ab12-main-init3.mp4", item(ItemKind::Init { lane: lane(), version: 3 })),
            ("live/cam/hls-ab12-key4.key", item(ItemKind::Key(4))),
        ] {
            assert_eq!(parse(path), Some((key.clone(), wanted)), "{path}");
        }
    }

    #[test]
    fn what_is_no_name_of_ours_is_somebody_elses() {
        for path in [
            "live/cam.ts",
            "live/cam/hls-xyz-main-7.m4s",
            "live/cam/hls-ab12-main-07.m4s",
            "live/cam/hls-ab12-main--7.m4s",
            "live/cam/hls-ab12-main-7.m4v",
            "live/cam/hls-ab12-main-99999999999999999999999.m4s",
            "live/cam/hls-ab12-main-init99999999999.mp4",
            "live/cam/hls--main-7.m4s",
            "live/../cam.m3u8",
            ".m3u8",
        ] {
            assert_eq!(parse(path), None, "{path}");
        }
    }

    #[test]
    fn epochs_differ() {
        assert_ne!(epoch(1), epoch(1));
    }

    #[test]
    fn paths_are_escaped() {
        let key: StreamKey = "live/a b\"ü".parse().unwrap();
        assert_eq!(path(&key), "live/a%20b%22%C3%BC");
    }
}
