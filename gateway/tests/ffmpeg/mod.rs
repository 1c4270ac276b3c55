//! ffmpeg and ffprobe, run by tests.

#![allow(dead_code, reason = "each test uses what it needs")]
#![expect(clippy::disallowed_methods, reason = "tests run on threads of their own")]

use std::{
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

/// One packet of a file as ffprobe reads it, times in milliseconds.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Packet {
    pub(crate) codec: String,
    pub(crate) dts_ms: i64,
    pub(crate) pts_ms: i64,
    pub(crate) len: usize,
    pub(crate) is_key: bool,
}

/// A directory of this name for the files of a test.
pub(crate) fn scratch(name: &str) -> PathBuf {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::create_dir_all(&directory).unwrap();
    directory
}

/// Runs ffmpeg to its end; what it had to say.
pub(crate) fn ffmpeg(arguments: &[&str]) -> String {
    let output = command("ffmpeg", arguments).output().expect("ffmpeg is installed");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "ffmpeg {arguments:?}: {said}");
    said
}

/// Starts ffmpeg.
pub(crate) fn start_ffmpeg(arguments: &[&str]) -> Child {
    let mut command = command("ffmpeg", arguments);
    command.stdout(Stdio::null()).stderr(Stdio::piped());
    command.spawn().expect("ffmpeg is installed")
}

/// Waits for what was started; what it had to say.
pub(crate) fn finish(child: Child) -> (bool, String) {
    let output = child.wait_with_output().unwrap();
    (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
}

/// All packets of a file, in its order.
pub(crate) fn packets(path: &Path) -> Vec<Packet> {
    let entries = "stream=index,codec_name:packet=stream_index,pts_time,dts_time,size,flags";
    let arguments =
        ["-v", "error", "-of", "compact", "-show_entries", entries, path.to_str().unwrap()];
    let output = Command::new("ffprobe").args(arguments).output().expect("ffprobe is installed");
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "ffprobe: {}", String::from_utf8_lossy(&output.stderr));
    let lines: Vec<_> = text.lines().collect();
    let field = |line: &str, name: &str| {
        let mut pairs = line.split('|').filter_map(|pair| pair.split_once('='));
        pairs.find(|(key, _)| *key == name).map(|(_, value)| value.to_owned())
    };
    let codec = |index: &str| {
        let mut streams = lines.iter().filter(|line| line.starts_with("stream|"));
        let stream = streams.find(|line| field(line, "index").as_deref() == Some(index)).unwrap();
        field(stream, "codec_name").unwrap_or_default()
    };
    let ms = |line: &str, name: &str| {
        (field(line, name).unwrap().parse::<f64>().unwrap() * 1000.0).round() as i64
    };
    let of_packets = lines.iter().filter(|line| line.starts_with("packet|"));
    of_packets
        .map(|line| Packet {
            codec: codec(&field(line, "stream_index").unwrap()),
            dts_ms: ms(line, "dts_time"),
            pts_ms: ms(line, "pts_time"),
            len: field(line, "size").unwrap().parse().unwrap(),
            is_key: field(line, "flags").unwrap().starts_with('K'),
        })
        .collect()
}

fn command(program: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(["-nostdin", "-v", "warning", "-y"]).args(arguments).stdin(Stdio::null());
    command
}
