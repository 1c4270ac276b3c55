//! Fragments: `moof` and `mdat` (ISO/IEC 14496-12:2022 §8.8.4 to §8.8.12), written by hand because there is one for
//! each access unit.

#![cfg_attr(not(test), warn(clippy::indexing_slicing, clippy::cast_possible_truncation))]

use crate::media::{MediaKind, Timestamp};
use bytes::{BufMut as _, Bytes};

/// An access unit as a sample of an MP4 track.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sample {
    /// `track_ID`.
    pub track: u32,
    /// Whether it is seen or heard.
    pub kind: MediaKind,
    /// When it is due at the decoder, on the source's timeline.
    pub dts: Timestamp,
    /// When it is due, in the scale of its track.
    pub decode_time: u64,
    /// How long it lasts, in the scale of its track. Exact for audio; for video that of its predecessor.
    pub duration: u32,
    /// From decoding to showing it, in the scale of its track.
    pub composition_offset: i32,
    /// Decoding of its track may begin here.
    pub random_access: bool,
    /// Parameter sets to be decoded first, after their lengths; mostly empty.
    pub prefix: Bytes,
    /// The coded data.
    pub payload: Bytes,
}

/// Several samples, of one track or more, to be sent as one fragment.
#[derive(Clone, Debug, Default)]
pub struct Fragment {
    tracks: Vec<Vec<Sample>>,
}

/// Bytes of `moof` and `mfhd`, of what a `traf` has besides its samples, of a sample in a `trun`, and of the header
/// of `mdat`.
const MOOF_LEN: u32 = 8 + 16;
const TRAF_LEN: u32 = 8 + 16 + 20 + 20;
const SAMPLE_LEN: u32 = 16;
const MDAT_LEN: u32 = 8;

/// `sample_flags` (§8.8.3.1): depends on no other; depends on others and is no sync sample.
const SYNC: u32 = 0x0200_0000;
const NON_SYNC: u32 = 0x0101_0000;

impl Sample {
    /// Bytes of coded data.
    pub fn len(&self) -> usize {
        self.prefix.len() + self.payload.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The fragment of this sample alone.
    pub fn into_fragment(self, sequence: u32) -> Vec<Bytes> {
        encode(sequence, &[std::slice::from_ref(&self)])
    }
}

impl Fragment {
    /// Takes the next sample. The one before it in the same track gets its true duration.
    pub fn push(&mut self, sample: Sample) {
        let track = self
            .tracks
            .iter_mut()
            .find(|track| track.last().is_some_and(|last| last.track == sample.track));
        let Some(track) = track else {
            self.tracks.push(vec![sample]);
            return;
        };
        if let Some(last) = track.last_mut()
            && let Some(since) = sample.decode_time.checked_sub(last.decode_time)
            && let Ok(since) = u32::try_from(since)
        {
            last.duration = since;
        }
        track.push(sample);
    }

    /// Whether there is no sample yet.
    pub fn is_empty(&self) -> bool {
        self.tracks.is_empty()
    }

    /// Bytes of coded data so far.
    pub fn len(&self) -> usize {
        self.samples().map(Sample::len).sum()
    }

    /// How many samples there are.
    pub fn count(&self) -> usize {
        self.tracks.iter().map(Vec::len).sum()
    }

    /// The samples of each track in turn.
    pub fn samples(&self) -> impl Iterator<Item = &Sample> {
        self.tracks.iter().flatten()
    }

    /// Whether decoding may begin with it: its video begins with a random-access unit, or it has none.
    pub fn is_independent(&self) -> bool {
        let mut video = self.tracks.iter().filter_map(|track| track.first());
        video.all(|first| first.kind == MediaKind::Audio || first.random_access)
    }

    /// The bytes, as parts that share the samples' payloads; the value is empty afterwards. No parts without samples.
    ///
    /// `sequence` counts the fragments of a stream, from 1 on.
    pub fn take(&mut self, sequence: u32) -> Vec<Bytes> {
        let tracks = std::mem::take(&mut self.tracks);
        if tracks.is_empty() {
            return Vec::new();
        }
        let runs: Vec<&[Sample]> = tracks.iter().map(Vec::as_slice).collect();
        encode(sequence, &runs)
    }
}

/// One fragment with a `traf` for each run of samples of one track.
fn encode(sequence: u32, runs: &[&[Sample]]) -> Vec<Bytes> {
    let samples: usize = runs.iter().map(|run| run.len()).sum();
    let moof_len = MOOF_LEN + TRAF_LEN * bounded(runs.len()) + SAMPLE_LEN * bounded(samples);
    let data_len = bounded(runs.iter().flat_map(|run| run.iter()).map(Sample::len).sum());
    let mut out = Vec::with_capacity((moof_len + MDAT_LEN) as usize);
    put_box(&mut out, moof_len, *b"moof");
    put_full_box(&mut out, 16, *b"mfhd", 0, 0);
    out.put_u32(sequence);
    let mut offset = moof_len + MDAT_LEN;
    for run in runs {
        put_traf(&mut out, run, offset);
        offset += bounded(run.iter().map(Sample::len).sum());
    }
    put_box(&mut out, MDAT_LEN + data_len, *b"mdat");
    let mut parts = Vec::with_capacity(1 + samples);
    parts.push(Bytes::from(out));
    for sample in runs.iter().flat_map(|run| run.iter()) {
        if !sample.prefix.is_empty() {
            parts.push(sample.prefix.clone());
        }
        parts.push(sample.payload.clone());
    }
    parts
}

fn put_traf(out: &mut Vec<u8>, run: &[Sample], data_offset: u32) {
    /// `default-base-is-moof`.
    const FROM_MOOF: u32 = 0x02_0000;
    /// An offset of the data; of each sample its duration, size, flags and composition offset.
    const ALL: u32 = 0x0001 | 0x0100 | 0x0200 | 0x0400 | 0x0800;
    let Some(first) = run.first() else { return };
    let count = bounded(run.len());
    put_box(out, TRAF_LEN + SAMPLE_LEN * count, *b"traf");
    put_full_box(out, 16, *b"tfhd", 0, FROM_MOOF);
    out.put_u32(first.track);
    put_full_box(out, 20, *b"tfdt", 1, 0);
    out.put_u64(first.decode_time);
    // Version 1: composition offsets are signed.
    put_full_box(out, 20 + SAMPLE_LEN * count, *b"trun", 1, ALL);
    out.put_u32(count);
    out.put_u32(data_offset);
    for sample in run {
        out.put_u32(sample.duration);
        out.put_u32(bounded(sample.len()));
        out.put_u32(if sample.random_access { SYNC } else { NON_SYNC });
        out.put_i32(sample.composition_offset);
    }
}

fn put_box(out: &mut Vec<u8>, length: u32, kind: [u8; 4]) {
    out.put_u32(length);
    out.put_slice(&kind);
}

fn put_full_box(out: &mut Vec<u8>, length: u32, kind: [u8; 4], version: u8, flags: u32) {
    put_box(out, length, kind);
    out.put_u32((u32::from(version) << 24) | flags);
}

fn bounded(length: usize) -> u32 {
    u32::try_from(length).expect("access units and fragments are bounded far below 4 GiB")
}
