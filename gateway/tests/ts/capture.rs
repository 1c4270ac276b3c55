//! Captures: what ffmpeg's encoders and its muxer make of a test picture and a tone.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// H.264 as it is streamed live: no B-frames.
pub(crate) const X264: &str = "-c:v libx264 -preset ultrafast -tune zerolatency -g 25 -b:v 400k";

/// H.264 with B-frames and several slices.
pub(crate) const X264_B: &str =
    "-c:v libx264 -preset veryfast -bf 3 -g 25 -b:v 400k -x264-params slices=3";

/// HEVC with B-frames.
pub(crate) const X265: &str =
    "-c:v libx265 -preset ultrafast -b:v 400k -x265-params keyint=25:bframes=3:log-level=error";

pub(crate) const AAC: &str = "-c:a aac -b:a 128k -ar 48000 -ac 2";

/// `seconds` of picture and tone, coded and muxed with these options, split at spaces. No picture or no tone with an
/// option `-vn` or `-an`.
pub(crate) fn capture(seconds: u32, options: &str) -> Vec<u8> {
    let picture = format!("testsrc2=size=320x180:rate=25:duration={seconds}");
    let tone = format!("sine=frequency=440:sample_rate=48000:duration={seconds}");
    let mut args = vec!["-f", "lavfi", "-i", &picture, "-f", "lavfi", "-i", &tone];
    args.extend(options.split(' ').filter(|option| !option.is_empty()));
    args.extend(["-f", "mpegts", "pipe:1"]);
    ffmpeg(&args, &[])
}

/// Runs ffmpeg with `input` on its standard input, and returns what it wrote. It must have nothing to say.
pub(crate) fn ffmpeg(args: &[&str], input: &[u8]) -> Vec<u8> {
    let mut full = vec!["-v", "error", "-nostdin", "-threads", "1"];
    full.extend(args);
    let output = run("ffmpeg", &full, input);
    assert_eq!(output.1, "", "ffmpeg {}", full.join(" "));
    output.0
}

/// Runs a tool to its end; its output, and what it said.
pub(crate) fn run(tool: &str, args: &[&str], input: &[u8]) -> (Vec<u8>, String) {
    let mut child = Command::new(tool)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{tool} must be installed: {error}"));
    let mut stdin = child.stdin.take().unwrap();
    let output = std::thread::scope(|scope| {
        // A tool that has seen enough closes the pipe.
        scope.spawn(move || stdin.write_all(input).is_ok());
        child.wait_with_output().unwrap()
    });
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{tool} {}: {said}", args.join(" "));
    (output.stdout, said)
}

/// A file with these bytes, for tools that must seek.
pub(crate) fn file(name: &str, bytes: &[u8]) -> PathBuf {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::write(&path, bytes).unwrap();
    path
}
