//! Recordings, as a test looks at them: a gateway that records, its library, and the files.

use crate::{
    gateway::{Gateway, run, test_file, until},
    media::{Clip, Seen, probe, seen},
};
use serde_json::Value;
use std::{
    path::{Path, PathBuf},
    time::Duration,
};

/// H.264 with B pictures and a random-access point a second.
pub const H264: &[&str] =
    &["-c:v", "libx264", "-preset", "ultrafast", "-bf", "2", "-g", "25", "-b:v", "300k"];
/// HEVC with a random-access point a second.
pub const HEVC: &[&str] =
    &["-c:v", "libx265", "-preset", "ultrafast", "-x265-params", "log-level=error:keyint=25"];
const AAC: &[&str] = &["-c:a", "aac", "-b:a", "96k"];

const TOKEN: &str = "a-token-of-the-tests";

/// How long ffmpeg and ffprobe may take.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A gateway that records all streams into a folder of its own.
#[derive(Debug)]
pub struct Recording {
    /// The gateway.
    pub gateway: Gateway,
    /// The folder.
    pub dir: PathBuf,
}

impl Recording {
    /// Starts one.
    #[must_use]
    pub fn start(settings: &[&str]) -> Self {
        let dir = test_file("recordings");
        Self::start_in(dir, settings)
    }

    /// Starts one that records here.
    #[must_use]
    pub fn start_in(dir: PathBuf, settings: &[&str]) -> Self {
        let token = format!("api.token={TOKEN}");
        let folder = format!("record.dir={}", dir.display());
        // Players come before their publisher, who takes a while on a machine that has much to do.
        let base = ["publish.grace_s=1", "play.wait_ms=20000", "record.streams=[\"live/*\"]"];
        let mut all = [&base[..], &[&*token, &*folder]].concat();
        all.extend(settings);
        Self { gateway: Gateway::start(&all), dir }
    }

    /// What the API answers to curl, as status and JSON.
    ///
    /// # Panics
    ///
    /// When curl fails.
    #[must_use]
    pub fn api(&self, method: &str, path: &str, body: &str) -> (String, Value) {
        let url = self.gateway.http(path);
        let bearer = format!("Authorization: Bearer {TOKEN}");
        let mut arguments = vec!["-s", "-w", "\n%{http_code}", "-X", method, "-H", &bearer];
        if !body.is_empty() {
            arguments.extend(["-d", body]);
        }
        arguments.push(&url);
        let (output, _) = run("curl", &arguments, PATIENCE);
        let (json, status) = output.rsplit_once('\n').expect("curl writes the status");
        (status.into(), serde_json::from_str(json).unwrap_or(Value::Null))
    }

    /// The files in the library, oldest first.
    #[must_use]
    pub fn library(&self) -> Vec<Value> {
        let (_, answer) = self.api("GET", "api/v1/recordings?count=1000", "");
        let list = answer.get("recordings").and_then(Value::as_array).cloned();
        list.unwrap_or_default().into_iter().rev().collect()
    }

    /// The files, once so many have ended.
    ///
    /// # Panics
    ///
    /// When that takes too long.
    #[must_use]
    pub fn ended(&self, count: usize) -> Vec<PathBuf> {
        until(&format!("{count} recordings"), || {
            let ended = |entry: &Value| text(entry, "state") != "recording";
            self.library().iter().filter(|entry| ended(entry)).count() >= count
        });
        self.library().iter().map(|entry| self.dir.join(text(entry, "file"))).collect()
    }

    /// How the only recording that runs is.
    #[must_use]
    pub fn status(&self) -> Value {
        let (_, answer) = self.api("GET", "api/v1/recorders", "");
        answer.pointer("/recorders/0").cloned().unwrap_or_default()
    }

    /// Waits until so many seconds are in the file that is being written.
    ///
    /// # Panics
    ///
    /// When that takes too long.
    pub fn wait_for(&self, seconds: f64) {
        until(&format!("{seconds} s of recording"), || {
            self.status().get("duration_s").and_then(Value::as_f64).is_some_and(|s| s >= seconds)
        });
    }
}

/// A text in an object; empty if there is none.
#[must_use]
pub fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value.get(name).and_then(Value::as_str).unwrap_or_default()
}

/// Makes a clip of 4 seconds; its path and what is in it.
///
/// # Panics
///
/// When ffmpeg fails.
#[must_use]
pub fn clip(name: &'static str, video: &'static [&'static str]) -> (String, Seen) {
    let path = test_file("mkv");
    Clip { name, video, audio: AAC }.make(&path);
    let path = path.to_str().expect("the path of a test file is text").to_owned();
    let original = seen(probe(&path), PATIENCE);
    (path, original)
}

/// Publishes a file in real time, so often.
///
/// # Panics
///
/// When ffmpeg fails.
pub fn publish(file: &str, times: u32, url: &str) {
    let times = (times - 1).to_string();
    let format = if url.starts_with("srt") { "mpegts" } else { "flv" };
    let url = if format == "flv" { url.to_owned() } else { format!("{url}&linger=5") };
    let arguments = [
        "-v",
        "error",
        "-re",
        "-stream_loop",
        &times,
        "-i",
        file,
        "-c",
        "copy",
        "-f",
        format,
        &url,
    ];
    let (_, _) = run("ffmpeg", &arguments, PATIENCE);
}

/// What is in a file.
///
/// # Panics
///
/// When ffprobe fails.
#[must_use]
pub fn look(path: &Path) -> Seen {
    seen(probe(path.to_str().expect("the path is text")), PATIENCE)
}

/// How long a file is, in seconds.
///
/// # Panics
///
/// When ffprobe fails.
#[must_use]
pub fn duration_s(path: &Path) -> f64 {
    let path = path.to_str().expect("the path is text");
    let arguments = ["-v", "error", "-show_entries", "format=duration", "-of", "csv=p=0", path];
    run("ffprobe", &arguments, PATIENCE).0.trim().parse().expect("ffprobe tells the duration")
}

/// Decodes all of it; an error of the decoder fails the test.
///
/// # Panics
///
/// When it does not.
pub fn decodes(path: &Path) {
    let path = path.to_str().expect("the path is text");
    let (_, errors) =
        run("ffmpeg", &["-v", "error", "-xerror", "-i", path, "-f", "null", "-"], PATIENCE);
    assert_eq!(errors, "", "{path}");
}
