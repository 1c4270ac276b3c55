//! Clips that ffmpeg makes for the tests, and what ffprobe sees in a stream.

use crate::gateway::{Running, run, start, test_file};
use serde_json::Value;
use std::{fs, path::Path, sync::Arc, time::Duration};

/// A clip to publish.
#[derive(Clone, Copy, Debug)]
pub struct Clip {
    /// Its name: that of its file and of its stream.
    pub name: &'static str,
    /// How its pictures are coded, as arguments of ffmpeg; none for sound alone.
    pub video: &'static [&'static str],
    /// How its sound is coded; none for pictures alone.
    pub audio: &'static [&'static str],
}

/// One packet of a stream.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Packet {
    /// When it is shown, in seconds.
    pub pts_s: f64,
    /// When it is decoded, in seconds.
    pub dts_s: f64,
    /// Whether decoding can begin here.
    pub is_key: bool,
}

/// One track of what ffprobe saw.
#[derive(Clone, Debug)]
pub struct Track {
    /// `video` or `audio`.
    pub kind: String,
    /// ffmpeg's name of the codec.
    pub codec: String,
    /// Width and height; zero for sound.
    pub size: (u64, u64),
    /// Its packets in the order in which they came.
    pub packets: Vec<Packet>,
}

/// All that ffprobe saw.
#[derive(Clone, Debug)]
pub struct Seen {
    /// The tracks.
    pub tracks: Vec<Track>,
    /// What it complained about.
    pub warnings: String,
}

/// How long a clip is, in seconds.
pub const CLIP_S: u32 = 4;

/// How long ffmpeg may take to make a clip.
const MAKING: Duration = Duration::from_secs(120);

impl Clip {
    /// Makes the clip with ffmpeg, as Matroska, which carries every codec.
    ///
    /// # Panics
    ///
    /// When ffmpeg is missing or fails.
    pub fn make(&self, path: &Path) {
        let path = path.to_str().expect("the path of a test file is text");
        let length = CLIP_S.to_string();
        let mut arguments = vec!["-v", "error", "-y"];
        if !self.video.is_empty() {
            arguments.extend(["-f", "lavfi", "-i", "testsrc2=size=320x240:rate=25"]);
        }
        if !self.audio.is_empty() {
            arguments.extend(["-f", "lavfi", "-i", "sine=frequency=440:sample_rate=48000"]);
        }
        arguments.extend(["-t", &length]);
        arguments.extend(self.video);
        arguments.extend(self.audio);
        arguments.push(path);
        let (_, _) = run("ffmpeg", &arguments, MAKING);
    }
}

/// Looks at a file or a stream to its end, packet by packet.
#[must_use]
pub fn probe(url: &str) -> Running {
    let arguments = [
        "-v",
        "warning",
        "-show_entries",
        "stream=index,codec_type,codec_name,width,height:packet=stream_index,pts_time,dts_time,flags",
        "-of",
        "json",
        url,
    ];
    start("ffprobe", &arguments)
}

/// What a [`probe`] saw.
///
/// # Panics
///
/// When it took longer than `limit` or failed.
#[must_use]
pub fn seen(probe: Running, limit: Duration) -> Seen {
    let (output, warnings) = probe.finish(limit);
    let root: Value = serde_json::from_str(&output).expect("ffprobe writes JSON");
    let list = |name: &str| root.get(name).and_then(Value::as_array).cloned().unwrap_or_default();
    let text = |value: &Value, name: &str| {
        value.get(name).and_then(Value::as_str).unwrap_or_default().to_owned()
    };
    let number = |value: &Value, name: &str| value.get(name).and_then(Value::as_u64).unwrap_or(0);
    let seconds = |value: &Value, name: &str| text(value, name).parse::<f64>().ok();
    let packets = list("packets");
    let track = |stream: &Value| {
        let index = number(stream, "index");
        let own = packets.iter().filter(|packet| number(packet, "stream_index") == index);
        let packet = |packet: &Value| {
            let pts_s = seconds(packet, "pts_time")?;
            let dts_s = seconds(packet, "dts_time").unwrap_or(pts_s);
            Some(Packet { pts_s, dts_s, is_key: text(packet, "flags").contains('K') })
        };
        Track {
            kind: text(stream, "codec_type"),
            codec: text(stream, "codec_name"),
            size: (number(stream, "width"), number(stream, "height")),
            packets: own.filter_map(packet).collect(),
        }
    };
    Seen { tracks: list("streams").iter().map(track).collect(), warnings }
}

/// A transport stream of so many seconds of picture and tone, made by ffmpeg with these options besides, split at
/// spaces.
///
/// # Panics
///
/// When ffmpeg is missing or fails.
#[must_use]
pub fn transport_stream(seconds: u32, options: &str) -> Arc<[u8]> {
    let path = test_file("ts");
    let file = path.to_str().expect("the path of a test file is text");
    let picture = format!("testsrc2=size=320x240:rate=25:duration={seconds}");
    let tone = format!("sine=frequency=440:sample_rate=48000:duration={seconds}");
    let mut arguments = vec!["-v", "error", "-f", "lavfi", "-i", &picture];
    arguments.extend(["-f", "lavfi", "-i", &tone]);
    arguments.extend(options.split_whitespace());
    arguments.extend(["-f", "mpegts", file]);
    let (_, _) = run("ffmpeg", &arguments, MAKING);
    let bytes = fs::read(&path).expect("ffmpeg wrote it");
    fs::remove_file(&path).expect("it is ours");
    bytes.into()
}

/// Publishes a moving picture of this size and a tone, in H.264 and AAC with a random-access point each second, to an
/// address of SRT or RTMP until it is dropped.
///
/// # Panics
///
/// When ffmpeg is missing.
#[must_use]
pub fn publish_live(url: &str, size: &str) -> Running {
    publish_live_with(url, size, "")
}

/// As [`publish_live`], with options of ffmpeg besides, split at spaces: `-c:a libopus`.
///
/// # Panics
///
/// When ffmpeg is missing.
#[must_use]
pub fn publish_live_with(url: &str, size: &str, options: &str) -> Running {
    let picture = format!("testsrc2=size={size}:rate=25");
    let format = if url.starts_with("rtmp:") { "flv" } else { "mpegts" };
    let mut arguments = vec!["-v", "error", "-re", "-f", "lavfi", "-i", &picture];
    arguments.extend(["-re", "-f", "lavfi", "-i", "sine=frequency=440:sample_rate=48000"]);
    arguments.extend(["-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency"]);
    arguments.extend(["-pix_fmt", "yuv420p", "-g", "25", "-c:a", "aac"]);
    // Of two options that say the same, the later one holds.
    arguments.extend(options.split_whitespace());
    arguments.extend(["-f", format, url]);
    start("ffmpeg", &arguments)
}

/// What ffprobe sees in these bytes, as a file of this kind.
///
/// # Panics
///
/// When ffprobe is missing or fails.
#[must_use]
pub fn seen_in(bytes: &[u8], extension: &str) -> Seen {
    let path = test_file(extension);
    fs::write(&path, bytes).expect("the folder of test files can be written");
    let seen = seen(probe(path.to_str().expect("the path of a test file is text")), MAKING);
    fs::remove_file(&path).expect("it is ours");
    seen
}

impl Track {
    /// Whether every packet is decoded later than the one before.
    #[must_use]
    pub fn rises(&self) -> bool {
        self.packets.windows(2).all(|pair| pair[0].dts_s < pair[1].dts_s)
    }
}

impl Seen {
    /// How many packets of a kind there are.
    #[must_use]
    pub fn count(&self, kind: &str) -> usize {
        self.track(kind).map_or(0, |track| track.packets.len())
    }

    /// The first track of a kind.
    #[must_use]
    pub fn track(&self, kind: &str) -> Option<&Track> {
        self.tracks.iter().find(|track| track.kind == kind)
    }

    /// By how many seconds sound begins later than pictures, and by how many it ends later.
    #[must_use]
    pub fn audio_offsets_s(&self) -> Option<(f64, f64)> {
        let bound = |kind, pick: fn(f64, f64) -> f64| {
            let packets = &self.track(kind)?.packets;
            packets.iter().map(|packet| packet.pts_s).reduce(pick)
        };
        Some((
            bound("audio", f64::min)? - bound("video", f64::min)?,
            bound("audio", f64::max)? - bound("video", f64::max)?,
        ))
    }
}
