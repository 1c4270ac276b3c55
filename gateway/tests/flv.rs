//! FLV against others: files of ffmpeg through our demuxer and muxer, read again by ffprobe and by `scuffle-flv`.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod ffmpeg;

use bytes::Bytes;
use ffmpeg::{ffmpeg, packets, scratch};
use std::{fs, io::Cursor, path::Path};
use thalweg_gateway::{
    container::{
        Chunk, Mux, Select, Sink,
        flv::{FlvDemux, FlvMux, Tag, TagReader},
    },
    media::{AccessUnit, Tracks},
};

/// A demuxer's output straight into a muxer.
struct Through {
    mux: FlvMux,
    chunks: Vec<Chunk>,
    units: Vec<AccessUnit>,
}

impl Sink for Through {
    fn tracks(&mut self, tracks: &Tracks) {
        self.mux.tracks(tracks);
    }

    fn unit(&mut self, unit: AccessUnit) {
        self.mux.unit(&unit, &mut self.chunks);
        self.units.push(unit);
    }
}

#[expect(clippy::disallowed_methods, reason = "a test on a thread of its own")]
fn read(path: &Path) -> Vec<u8> {
    fs::read(path).unwrap()
}

fn tags(file: &[u8]) -> Vec<Tag> {
    let mut reader = TagReader::default();
    let mut tags = Vec::new();
    for part in file.chunks(1013) {
        reader.push(part);
        while let Some(tag) = reader.next_tag().unwrap() {
            tags.push(tag);
        }
    }
    tags
}

/// The file again, from its first random-access point on, and what was in it.
fn through(file: &[u8], select: Select) -> (Vec<u8>, Vec<AccessUnit>) {
    let mut through = Through { mux: FlvMux::new(select), chunks: Vec::new(), units: Vec::new() };
    let mut demux = FlvDemux::new();
    tags(file).into_iter().for_each(|tag| demux.tag(tag, &mut through));
    assert_eq!(demux.take_fault(), None);
    let first = through.chunks.iter().position(|chunk| chunk.head.is_some()).unwrap();
    let chunks = &through.chunks[first..];
    let head = chunks[0].head.iter().flat_map(|head| head.iter());
    let parts: Vec<&Bytes> = head.chain(chunks.iter().flat_map(|chunk| &chunk.parts)).collect();
    (parts.into_iter().flatten().copied().collect(), through.units)
}

fn remux(
    name: &str,
    encoder: &[&str],
    select: Select,
) -> (Vec<ffmpeg::Packet>, Vec<ffmpeg::Packet>) {
    let directory = scratch(name);
    let (original, again) = (directory.join("original.flv"), directory.join("again.flv"));
    let source = [
        "-f",
        "lavfi",
        "-i",
        "testsrc2=s=320x180:r=30",
        "-f",
        "lavfi",
        "-i",
        "sine=r=44100",
        "-t",
        "4",
    ];
    let mut arguments = source.to_vec();
    arguments.extend(encoder);
    arguments.push(original.to_str().unwrap());
    ffmpeg(&arguments);
    let (file, _) = through(&read(&original), select);
    #[expect(clippy::disallowed_methods, reason = "a test on a thread of its own")]
    fs::write(&again, file).unwrap();
    // Nothing to complain about.
    assert_eq!(ffmpeg(&["-i", again.to_str().unwrap(), "-f", "null", "-"]), "");
    (packets(&original), packets(&again))
}

/// The same packets in each track. Times of sound may differ by the rounding of the first one, to which the grid is
/// anchored.
fn assert_same(expected: &[ffmpeg::Packet], found: &[ffmpeg::Packet]) {
    for codec in ["h264", "aac", "mp3"] {
        let of_codec = |packets: &[ffmpeg::Packet]| {
            packets.iter().filter(|packet| packet.codec == codec).cloned().collect::<Vec<_>>()
        };
        let (expected, found) = (of_codec(expected), of_codec(found));
        assert_eq!(found.len(), expected.len(), "{codec}");
        let tolerance = i64::from(codec != "h264");
        for (found, expected) in found.iter().zip(&expected) {
            let same = (found.len, found.is_key) == (expected.len, expected.is_key);
            let off =
                (found.dts_ms - expected.dts_ms).abs().max((found.pts_ms - expected.pts_ms).abs());
            assert!(same && off <= tolerance, "{found:?} is not {expected:?}");
        }
    }
}

const H264: [&str; 8] = ["-c:v", "libx264", "-preset", "veryfast", "-g", "30", "-bf", "2"];

#[test]
fn h264_with_b_frames_and_aac_come_through_with_the_same_times() {
    let encoder = [&H264[..], &["-c:a", "aac"]].concat();
    let (original, again) = remux("flv-h264", &encoder, Select::All);
    assert!(original.len() > 280);
    // A reader begins with a picture: sound that came before it is not there.
    let missing = original.len() - again.len();
    assert!(missing <= 2 && original[..missing].iter().all(|packet| packet.codec == "aac"));
    assert_same(&original[missing..], &again);
}

#[test]
fn sound_alone_comes_through_with_the_same_times() {
    let encoder = ["-vn", "-c:a", "libmp3lame"];
    let (original, again) = remux("flv-mp3", &encoder, Select::All);
    assert_same(&original, &again);
    let encoder = [&H264[..], &["-c:a", "aac", "-ac", "1"]].concat();
    let (original, again) = remux("flv-audio", &encoder, Select::AudioOnly);
    let sound: Vec<_> = original.into_iter().filter(|packet| packet.codec == "aac").collect();
    assert_same(&sound, &again);
}

#[test]
fn pictures_alone_come_through_with_the_same_times() {
    let encoder = [&H264[..], &["-an"]].concat();
    let (original, again) = remux("flv-video", &encoder, Select::VideoOnly);
    assert_same(&original, &again);
}

#[test]
fn another_demuxer_reads_the_same_tags() {
    let directory = scratch("flv-oracle");
    let original = directory.join("original.flv");
    let mut arguments = vec!["-f", "lavfi", "-i", "testsrc2=s=320x180:r=30", "-t", "2"];
    arguments.extend(H264);
    arguments.push(original.to_str().unwrap());
    ffmpeg(&arguments);
    let (file, units) = through(&read(&original), Select::All);
    let ours = tags(&file);
    let mut cursor = Cursor::new(Bytes::from(file));
    let theirs = scuffle_flv::file::FlvFile::demux(&mut cursor).unwrap();
    assert_eq!(theirs.tags.len(), ours.len());
    let times: Vec<_> = theirs.tags.iter().map(|tag| tag.timestamp_ms).collect();
    assert_eq!(times, ours.iter().map(|tag| tag.timestamp_ms).collect::<Vec<_>>());
    assert_eq!(units.len(), 60);
}
