//! Our fragmented MP4 against ffmpeg: what it encoded comes out of our files with the same frames at the same times, and
//! its decoder has nothing to say about them.

#![expect(clippy::disallowed_methods, reason = "a plain test thread runs ffmpeg")]
#![expect(clippy::unwrap_used, reason = "what a helper does not get fails its test")]

mod source;

use source::{Source, is_video, packet_times, run};
use std::{
    fs,
    path::{Path, PathBuf},
};
use thalweg_gateway::{
    container::{
        Mux as _, Select,
        fmp4::{Fmp4, Fragment, Output, Packager},
    },
    media::{AccessUnit, Codec, MediaKind, Span, Timestamp, Tracks},
};

/// A folder of this test's own, gone when it ends well.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("fmp4-{name}"));
        drop(fs::remove_dir_all(&path));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn clip(&self, name: &str, arguments: &[&str]) -> PathBuf {
        let path = self.0.join(name);
        let mut all = vec!["-v", "error", "-y"];
        all.extend(arguments);
        all.push(path.to_str().unwrap());
        run("ffmpeg", &all);
        path
    }

    fn sources(&self, clip: &Path, codecs: &[Codec]) -> Vec<Source> {
        codecs
            .iter()
            .zip(0..)
            .map(|(&codec, index)| source::source(&self.0, clip, index, codec))
            .collect()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            drop(fs::remove_dir_all(&self.0));
        }
    }
}

const PICTURE: [&str; 4] = ["-f", "lavfi", "-i", "testsrc2=s=320x180:r=30:d=2"];
const SOUND: [&str; 4] = ["-f", "lavfi", "-i", "sine=r=44100:d=2"];

/// All units in the order in which they are due.
fn interleaved(sources: &[Source]) -> (Tracks, Vec<AccessUnit>) {
    let mut units: Vec<AccessUnit> =
        sources.iter().flat_map(|source| source.units.clone()).collect();
    units.sort_by_key(|unit| unit.dts);
    (sources.iter().map(|source| source.track.clone()).collect(), units)
}

/// What a reader gets that begins at the first place where one may.
fn progressive(sources: &[Source], select: Select) -> Vec<u8> {
    let (tracks, units) = interleaved(sources);
    let mut mux = Fmp4::new(select);
    mux.tracks(&tracks);
    let mut chunks = Vec::new();
    for unit in &units {
        mux.unit(unit, &mut chunks);
    }
    assert!(mux.left_out().is_empty());
    let first = chunks.iter().position(|chunk| chunk.head.is_some()).expect("a place to begin");
    let head = chunks[first].head.as_deref().unwrap_or_default();
    let parts = chunks[first..].iter().flat_map(|chunk| &chunk.parts);
    head.iter().chain(parts).flat_map(|bytes| bytes.iter().copied()).collect()
}

/// The same as segments of about half a second, as HLS makes them.
fn segmented(sources: &[Source]) -> Vec<u8> {
    let (tracks, units) = interleaved(sources);
    let mut packager = Packager::new(Select::All);
    packager.tracks(&tracks);
    let mut output = Vec::new();
    for unit in &units {
        packager.unit(unit, &mut output);
    }
    let mut file = Vec::new();
    let mut fragment = Fragment::default();
    let mut sequence = 0;
    let mut due = units[0].dts;
    let mut flush = |fragment: &mut Fragment, file: &mut Vec<u8>| {
        sequence += 1;
        fragment.take(sequence).iter().for_each(|part| file.extend_from_slice(part));
    };
    for output in output {
        match output {
            Output::Init(init) => file.extend_from_slice(&init.bytes()),
            Output::Sample(sample) => {
                if sample.dts >= due && sample.kind == MediaKind::Video {
                    due = sample.dts + Span::from_ms(500);
                    flush(&mut fragment, &mut file);
                }
                fragment.push(sample);
            }
        }
    }
    flush(&mut fragment, &mut file);
    file
}

/// That a progressive file has the units of `sources` from the first video unit on.
fn check_progressive(folder: &Folder, sources: &[Source], select: Select) {
    let video = sources.iter().find(|source| is_video(source));
    let from = video.map_or(Timestamp::from_ticks(i64::MIN), |video| video.units[0].dts);
    check(folder, &progressive(sources, select), sources, from);
}

/// That a segmented file has all of them.
fn check_segmented(folder: &Folder, sources: &[Source]) {
    check(folder, &segmented(sources), sources, Timestamp::from_ticks(i64::MIN));
}

/// That `file` has exactly the units of `sources` from a time on, all tracks shifted alike, and decodes without a word.
fn check(folder: &Folder, file: &[u8], sources: &[Source], from: Timestamp) {
    let path = folder.0.join("out.mp4");
    fs::write(&path, file).unwrap();
    let (_, units) = interleaved(sources);
    let origin = units[0].dts.ticks() - 90_000;
    for (source, index) in sources.iter().zip(0..) {
        let found = packet_times(&path, index);
        let codec = source.track.codec;
        // Audio runs on its count of samples, and Matroska has a grid of milliseconds.
        let tolerance = if is_video(source) { 1 } else { 100 };
        let units: Vec<_> = source.units.iter().filter(|unit| unit.dts >= from).collect();
        assert_eq!(found.len(), units.len(), "{codec}: units");
        for (at, (unit, (pts, dts))) in units.iter().zip(found).enumerate() {
            let expected = (unit.pts.ticks() - origin, unit.dts.ticks() - origin);
            let far = (pts - expected.0).abs().max((dts - expected.1).abs());
            assert!(
                far <= tolerance,
                "{codec}: unit {at} is due at {expected:?}, not {:?}",
                (pts, dts)
            );
        }
    }
    let path = path.to_str().unwrap();
    run("ffmpeg", &["-v", "warning", "-xerror", "-i", path, "-map", "0", "-f", "null", "-"]);
}

fn frames(file: &Path) -> Vec<u32> {
    let text = run(
        "ffprobe",
        &[
            "-v",
            "error",
            "-count_frames",
            "-show_entries",
            "stream=nb_read_frames",
            "-of",
            "csv=p=0",
            file.to_str().unwrap(),
        ],
    );
    let text = String::from_utf8(text).unwrap();
    let counts =
        text.lines().map(|line| line.trim_end_matches(',')).filter(|line| !line.is_empty());
    counts.map(|count| count.parse().unwrap()).collect()
}

#[test]
fn h264_with_b_frames_and_aac_come_out_as_they_went_in() {
    let folder = Folder::new("h264");
    let mut arguments = [PICTURE, SOUND].concat();
    arguments
        .extend(["-c:v", "libx264", "-g", "30", "-bf", "3", "-pix_fmt", "yuv420p", "-c:a", "aac"]);
    let clip = folder.clip("in.ts", &arguments);
    let sources = folder.sources(&clip, &[Codec::H264, Codec::Aac]);
    assert!(
        sources[0].units.iter().any(|unit| unit.pts > unit.dts + Span::from_ms(60)),
        "there are B-frames"
    );
    assert_eq!(sources[0].units.iter().filter(|unit| unit.random_access).count(), 2);
    check_progressive(&folder, &sources, Select::All);
    assert_eq!(frames(&folder.0.join("out.mp4"))[0], 60);
    check_segmented(&folder, &sources);
}

#[test]
fn selections_carry_one_kind_alone() {
    let folder = Folder::new("select");
    let mut arguments = [PICTURE, SOUND].concat();
    arguments.extend(["-c:v", "libx264", "-pix_fmt", "yuv420p", "-c:a", "aac", "-ac", "1"]);
    let clip = folder.clip("in.ts", &arguments);
    let (video, audio): (Vec<_>, Vec<_>) =
        folder.sources(&clip, &[Codec::H264, Codec::Aac]).into_iter().partition(is_video);
    check_progressive(&folder, &video, Select::VideoOnly);
    check_progressive(&folder, &audio, Select::AudioOnly);
}

#[test]
fn interlaced_h264_with_many_slices_comes_out_as_it_went_in() {
    let folder = Folder::new("slices");
    let mut arguments = PICTURE.to_vec();
    arguments.extend([
        "-c:v",
        "libx264",
        "-flags",
        "+ilme+ildct",
        "-x264-params",
        "interlaced=1:slices=4:open-gop=1",
    ]);
    arguments.extend(["-g", "15", "-pix_fmt", "yuv420p"]);
    let clip = folder.clip("in.ts", &arguments);
    let sources = folder.sources(&clip, &[Codec::H264]);
    assert!(
        sources[0].units.iter().filter(|unit| unit.random_access).count() >= 3,
        "open GOPs are places to begin"
    );
    check_progressive(&folder, &sources, Select::All);
}

#[test]
fn hevc_and_two_audio_tracks_come_out_as_they_went_in() {
    let folder = Folder::new("hevc");
    let mut arguments = [PICTURE, SOUND, SOUND].concat();
    arguments.extend([
        "-map",
        "0",
        "-map",
        "1",
        "-map",
        "2",
        "-c:v",
        "libx265",
        "-x265-params",
        "log-level=none",
    ]);
    arguments.extend(["-pix_fmt", "yuv420p", "-c:a:0", "aac", "-c:a:1", "ac3"]);
    let clip = folder.clip("in.ts", &arguments);
    let sources = folder.sources(&clip, &[Codec::Hevc, Codec::Aac, Codec::Ac3]);
    check_progressive(&folder, &sources, Select::All);
    assert_eq!(frames(&folder.0.join("out.mp4"))[0], 60);
    check_segmented(&folder, &sources);
}

#[test]
fn av1_and_opus_come_out_as_they_went_in() {
    let folder = Folder::new("av1");
    let mut arguments = [PICTURE, SOUND].concat();
    arguments.extend([
        "-t",
        "1",
        "-c:v",
        "libaom-av1",
        "-cpu-used",
        "8",
        "-usage",
        "realtime",
        "-pix_fmt",
        "yuv420p",
    ]);
    arguments.extend(["-c:a", "libopus", "-avoid_negative_ts", "make_zero"]);
    let clip = folder.clip("in.mkv", &arguments);
    let sources = folder.sources(&clip, &[Codec::Av1, Codec::Opus]);
    check_progressive(&folder, &sources, Select::All);
}

#[test]
fn vp9_and_enhanced_ac3_come_out_as_they_went_in() {
    let folder = Folder::new("vp9");
    let mut arguments = [PICTURE, SOUND].concat();
    arguments.extend([
        "-t",
        "1",
        "-c:v",
        "libvpx-vp9",
        "-deadline",
        "realtime",
        "-pix_fmt",
        "yuv420p",
        "-c:a",
        "eac3",
    ]);
    let clip = folder.clip("in.mkv", &arguments);
    let sources = folder.sources(&clip, &[Codec::Vp9, Codec::Eac3]);
    check_progressive(&folder, &sources, Select::All);
}

#[test]
fn vp8_and_mp3_come_out_as_they_went_in() {
    let folder = Folder::new("vp8");
    let mut arguments = [PICTURE, SOUND].concat();
    arguments.extend([
        "-t",
        "1",
        "-c:v",
        "libvpx",
        "-deadline",
        "realtime",
        "-pix_fmt",
        "yuv420p",
        "-c:a",
        "libmp3lame",
    ]);
    let clip = folder.clip("in.mkv", &arguments);
    let sources = folder.sources(&clip, &[Codec::Vp8, Codec::Mp3]);
    check_progressive(&folder, &sources, Select::All);
}

#[test]
fn a_change_of_resolution_decodes_on() {
    let folder = Folder::new("change");
    let encode = ["-c:v", "libx264", "-pix_fmt", "yuv420p", "-bf", "0"];
    let small = folder.clip("small.ts", &[&PICTURE[..], &encode].concat());
    let input = ["-f", "lavfi", "-i", "testsrc2=s=640x360:r=30:d=2"];
    let large = folder.clip("large.ts", &[&input[..], &encode].concat());
    let [mut first, second] =
        [small, large].map(|clip| folder.sources(&clip, &[Codec::H264]).remove(0));
    for unit in second.units {
        let later = Span::from_ms(2_000);
        first.units.push(AccessUnit { dts: unit.dts + later, pts: unit.pts + later, ..unit });
    }
    let path = folder.0.join("out.mp4");
    fs::write(&path, progressive(&[first], Select::All)).unwrap();
    assert_eq!(
        frames(&path),
        [120],
        "ffmpeg keeps to the first init and finds the sets in the samples"
    );
}

#[test]
fn colours_and_what_hdr_says_are_told_by_the_file() {
    let folder = Folder::new("colour");
    let meaning =
        "-color_primaries bt2020 -color_trc smpte2084 -colorspace bt2020nc -color_range tv";
    let hdr = "log-level=none:repeat-headers=1:hdr10=1:max-cll=1000,400:\
               master-display=G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,50)";
    let x265 = format!("-c:v libx265 -preset ultrafast -pix_fmt yuv420p10le -x265-params {hdr}");
    for (codec, name, options) in [
        (Codec::H264, "in.ts", "-c:v libx264 -preset ultrafast -pix_fmt yuv420p"),
        (Codec::Hevc, "in.ts", &x265),
        (Codec::Av1, "in.mkv", "-c:v libaom-av1 -cpu-used 8 -usage realtime -pix_fmt yuv420p"),
    ] {
        let arguments = [options, meaning].map(str::split_whitespace).into_iter().flatten();
        let arguments: Vec<_> = PICTURE.into_iter().chain(["-t", "0.5"]).chain(arguments).collect();
        let clip = folder.clip(name, &arguments);
        let sources = folder.sources(&clip, &[codec]);
        check_progressive(&folder, &sources, Select::All);
        let path = folder.0.join("out.mp4");
        let file = fs::read(&path).unwrap();
        let nclx = b"colrnclx\0\x09\0\x10\0\x09\0";
        assert!(file.windows(nclx.len()).any(|bytes| bytes == nclx), "{codec} has no colr");
        let entries = "stream=color_space,color_primaries,color_transfer:frame=side_data_list";
        let path = path.to_str().unwrap();
        let told = ["-v", "error", "-show_entries", entries, "-show_frames", path];
        let told = String::from_utf8(run("ffprobe", &told)).unwrap();
        for word in ["bt2020nc", "bt2020", "smpte2084"] {
            assert!(told.contains(&format!("={word}\n")), "{codec}: {word} in {told}");
        }
        if codec == Codec::Hevc {
            for words in ["Mastering display metadata", "Content light level metadata"] {
                assert!(told.contains(words), "{words} in {told}");
            }
        }
    }
}
