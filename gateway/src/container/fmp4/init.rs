//! The init segment: `ftyp` and `moov` without samples (ISO/IEC 14496-12:2022 §8.2, §8.8.1).

#![cfg_attr(not(test), warn(clippy::indexing_slicing, clippy::cast_possible_truncation))]

use super::sample_entry::sample_entry;
use crate::media::{CodecConfig, Language, MediaKind, TrackId};
use bytes::Bytes;
use mp4_atom::{
    Codec, Dinf, Dref, DrefEntry, Encode as _, FourCC, Ftyp, Hdlr, Mdhd, Mdia, Minf, Moov, Mvex,
    Mvhd, Smhd, Stbl, Stco, Stsd, Tkhd, Trak, Trex, Url, Vmhd,
};
use std::rc::Rc;

/// What a player must have before the first fragment.
#[derive(Clone, Debug)]
pub struct Init {
    version: u32,
    bytes: Bytes,
    tracks: Vec<InitTrack>,
}

/// A track of an init segment.
#[derive(Clone, Debug)]
pub struct InitTrack {
    /// `track_ID` in the MP4. A track of the source keeps it from init to init.
    pub id: u32,
    /// Which track of the source it is.
    pub source: TrackId,
    /// Its language, if the publisher says so.
    pub language: Option<Language>,
    /// What decodes it.
    pub config: Rc<CodecConfig>,
}

impl InitTrack {
    /// Units of its decode times in a second: the sample rate, or 90 000 for video.
    pub fn timescale(&self) -> u32 {
        self.config.sample_rate().unwrap_or(super::clock::VIDEO_TIMESCALE)
    }

    /// Whether it is seen or heard.
    pub fn kind(&self) -> MediaKind {
        self.config.codec().kind()
    }
}

impl Init {
    /// For these tracks. Those that MP4 has no form for are left out; `None` when no other is there.
    pub(super) fn new(version: u32, tracks: Vec<InitTrack>) -> Option<Self> {
        let mut moov = Moov {
            mvhd: Mvhd { next_track_id: u32::MAX, ..Mvhd::default() },
            mvex: Some(Mvex::default()),
            ..Moov::default()
        };
        let mut kept: Vec<InitTrack> = Vec::new();
        for track in tracks {
            let Ok(entry) = sample_entry(&track.config) else { continue };
            let first = kept.iter().all(|other| other.kind() != track.kind());
            moov.trak.push(trak(&track, entry, first));
            moov.mvex.get_or_insert_default().trex.push(Trex {
                track_id: track.id,
                default_sample_description_index: 1,
                ..Trex::default()
            });
            kept.push(track);
        }
        if kept.is_empty() {
            return None;
        }
        let mut bytes = Vec::with_capacity(1_024);
        ftyp().encode(&mut bytes).ok()?;
        moov.encode(&mut bytes).ok()?;
        Some(Self { version, bytes: Bytes::from(bytes), tracks: kept })
    }

    /// An init segment of the same version with one of the tracks; `None` when it does not have that.
    pub fn only(&self, id: u32) -> Option<Self> {
        Self::new(self.version, vec![self.track(id)?.clone()])
    }

    /// Counts the init segments of a stream, from 1 on.
    pub const fn version(&self) -> u32 {
        self.version
    }

    /// The bytes of `ftyp` and `moov`.
    pub fn bytes(&self) -> Bytes {
        self.bytes.clone()
    }

    /// The tracks in it.
    pub fn tracks(&self) -> &[InitTrack] {
        &self.tracks
    }

    /// The track of this `track_ID`.
    pub fn track(&self, id: u32) -> Option<&InitTrack> {
        self.tracks.iter().find(|track| track.id == id)
    }

    /// Whether there is video.
    pub fn has_video(&self) -> bool {
        self.tracks.iter().any(|track| track.kind() == MediaKind::Video)
    }

    /// What RFC 6381 calls the tracks, each once, separated by commas: for playlists.
    pub fn codecs(&self) -> String {
        let mut names: Vec<String> = Vec::new();
        for name in self.tracks.iter().map(|track| track.config.codec_string()) {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        names.join(",")
    }

    /// Its MIME type with codecs, as Media Source Extensions want it.
    pub fn mime(&self) -> String {
        let kind = if self.has_video() { "video" } else { "audio" };
        format!("{kind}/mp4; codecs=\"{}\"", self.codecs())
    }
}

/// `iso6` has decode times in fragments and offsets from the `moof`; `cmfc` is CMAF.
fn ftyp() -> Ftyp {
    let brands = [b"iso6", b"cmfc", b"mp41"].map(FourCC::new);
    Ftyp { major_brand: FourCC::new(b"iso6"), minor_version: 0, compatible_brands: brands.to_vec() }
}

/// `first` of its kind: players choose it when nobody else does.
fn trak(track: &InitTrack, entry: Codec, first: bool) -> Trak {
    let video = track.kind() == MediaKind::Video;
    let (width, height) = presentation_size(&track.config);
    let tkhd = Tkhd {
        track_id: track.id,
        enabled: first,
        in_movie: true,
        alternate_group: if video { 0 } else { 1 },
        volume: u8::from(!video).into(),
        width: width.into(),
        height: height.into(),
        ..Tkhd::default()
    };
    let (handler, name) = if video { (b"vide", "video") } else { (b"soun", "sound") };
    let language = track.language.map_or_else(|| "und".to_owned(), |language| language.to_string());
    let mdia = Mdia {
        mdhd: Mdhd { timescale: track.timescale(), language, ..Mdhd::default() },
        hdlr: Hdlr { handler: FourCC::new(handler), name: name.to_owned() },
        minf: Minf {
            vmhd: video.then(Vmhd::default),
            smhd: (!video).then(Smhd::default),
            dinf: Dinf { dref: Dref { entries: vec![DrefEntry::Url(Url::default())] } },
            stbl: Stbl {
                stsd: Stsd { codecs: vec![entry] },
                stco: Some(Stco::default()),
                ..Stbl::default()
            },
            ..Minf::default()
        },
    };
    Trak { tkhd, mdia, ..Trak::default() }
}

/// Width and height as shown, with square pixels (§8.3.2.3); 0 for what is heard.
fn presentation_size(config: &CodecConfig) -> (u16, u16) {
    let (width, height) = config.dimensions().unwrap_or_default();
    let (across, down) = config.sample_aspect().unwrap_or((1, 1));
    let stretched = u64::from(width) * u64::from(across) / u64::from(down.max(1));
    (u16::try_from(stretched).unwrap_or(u16::MAX), u16::try_from(height).unwrap_or(u16::MAX))
}
