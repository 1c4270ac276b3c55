//! Players of every kind that keep what they get, so that a test can look at it.

use crate::{
    api::Answer,
    gateway::{Gateway, Running, start, test_file},
    media::{Seen, probe, seen},
    srt,
};
use std::{
    fs,
    io::{Read, Write},
    net::{Shutdown, TcpStream},
    path::PathBuf,
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

/// A way out of the gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Out {
    /// MPEG-TS by SRT.
    Srt,
    /// RTMP.
    Rtmp,
    /// FLV by HTTP.
    Flv,
    /// MPEG-TS by HTTP.
    Ts,
    /// Fragmented MP4 by HTTP.
    Mp4,
}

/// All of them.
pub const ALL: &[Out] = &[Out::Srt, Out::Rtmp, Out::Flv, Out::Ts, Out::Mp4];

/// Those of HTTP.
pub const HTTP: &[Out] = &[Out::Flv, Out::Ts, Out::Mp4];

/// How long a player may take to its end.
const PATIENCE: Duration = Duration::from_secs(60);

/// A player that records.
#[derive(Debug)]
pub struct Recorder {
    out: Out,
    stream: String,
    source: Source,
}

#[derive(Debug)]
enum Source {
    Srt(srt::Player),
    Http(Download),
    /// ffmpeg, which knows RTMP, and the file that it writes.
    Rtmp(Running, PathBuf),
}

/// What a player got, in a file.
#[derive(Clone, Debug)]
pub struct Recording {
    /// How it came, and of which stream: what a failed assertion should begin with.
    pub case: String,
    /// The bytes.
    pub bytes: Vec<u8>,
    path: PathBuf,
}

impl Out {
    /// The end of a file's name, which in HTTP is that of the path.
    #[must_use]
    pub const fn extension(self) -> &'static str {
        match self {
            Self::Srt | Self::Ts => "ts",
            Self::Rtmp | Self::Flv => "flv",
            Self::Mp4 => "mp4",
        }
    }

    /// Whether it brings packets as they came in.
    #[must_use]
    pub const fn is_passthrough(self) -> bool {
        matches!(self, Self::Srt | Self::Ts)
    }
}

/// Begins to record a stream, `live/cam`.
///
/// # Panics
///
/// When there is no connection, or no ffmpeg.
#[must_use]
pub fn record(gateway: &Gateway, out: Out, stream: &str) -> Recorder {
    record_with(gateway, out, stream, "")
}

/// As [`record`], with a query such as `?start=live`, which only HTTP knows.
///
/// # Panics
///
/// When there is no connection, or no ffmpeg.
#[must_use]
pub fn record_with(gateway: &Gateway, out: Out, stream: &str, query: &str) -> Recorder {
    let source = match out {
        Out::Srt => Source::Srt(srt::play(gateway, stream)),
        Out::Rtmp => {
            let path = test_file(out.extension());
            let (url, file) = (gateway.rtmp(stream), path.to_str().expect("it is text"));
            let arguments = ["-v", "error", "-i", &url, "-map", "0", "-c", "copy", "-copyts", file];
            Source::Rtmp(start("ffmpeg", &arguments), path)
        }
        Out::Flv | Out::Ts | Out::Mp4 => {
            let path = format!("{stream}.{}{query}", out.extension());
            Source::Http(Download::start(gateway, &path))
        }
    };
    Recorder { out, stream: format!("{stream}{query}"), source }
}

impl Recorder {
    /// Waits for the end of the stream; what came until then.
    ///
    /// # Panics
    ///
    /// When it was refused, or does not end.
    #[must_use]
    pub fn finish(self) -> Recording {
        let case = format!("{} by {:?}", self.stream, self.out);
        let bytes = match self.source {
            Source::Srt(player) => {
                player.finish().unwrap_or_else(|reason| panic!("{case}: refused: {reason}"))
            }
            Source::Http(download) => {
                let answer = download.finish();
                assert_eq!(answer.status, 200, "{case}: {}", answer.head);
                assert!(answer.is_whole, "{case}: the answer broke off: {}", answer.head);
                answer.body
            }
            Source::Rtmp(ffmpeg, path) => {
                let (_, _) = ffmpeg.finish(PATIENCE);
                let bytes = fs::read(&path).expect("ffmpeg wrote it");
                return Recording { case, bytes, path };
            }
        };
        let path = test_file(self.out.extension());
        fs::write(&path, &bytes).expect("the folder of test files can be written");
        Recording { case, bytes, path }
    }
}

impl Recording {
    /// What ffprobe sees in it.
    #[must_use]
    pub fn probe(&self) -> Seen {
        seen(probe(self.path()), PATIENCE)
    }

    /// Decodes all of it, and fails if ffmpeg has anything to say.
    ///
    /// # Panics
    ///
    /// When it has.
    pub fn assert_decodes_silently(&self) {
        let said = self.decode().finish(PATIENCE).1;
        assert_eq!(said, "", "{}: {}", self.case, self.path());
    }

    /// Decodes all of it; what ffmpeg says is for the caller to judge.
    #[must_use]
    pub fn decode(&self) -> Running {
        let arguments = ["-v", "warning", "-i", self.path(), "-map", "0", "-f", "null", "-"];
        start("ffmpeg", &arguments)
    }

    fn path(&self) -> &str {
        self.path.to_str().expect("the path of a test file is text")
    }
}

/// A request over HTTP whose answer is read on a thread of its own.
#[derive(Debug)]
pub struct Download {
    stream: TcpStream,
    got: Arc<Mutex<Vec<u8>>>,
    thread: thread::JoinHandle<()>,
}

impl Download {
    /// Asks for a path, `live/cam.ts`.
    ///
    /// # Panics
    ///
    /// When there is no connection.
    #[must_use]
    pub fn start(gateway: &Gateway, path: &str) -> Self {
        let stream = ask(gateway, path);
        stream.set_read_timeout(Some(PATIENCE)).expect("it is not zero");
        let mut from = stream.try_clone().expect("there are descriptors");
        let got = Arc::new(Mutex::new(Vec::new()));
        let taken = Arc::clone(&got);
        let thread = thread::spawn(move || {
            let mut buf = vec![0; 64 << 10];
            // A reset ends it like any other end: what came before is looked at.
            while let Ok(len @ 1..) = from.read(&mut buf) {
                taken.lock().expect("nobody panics with it").extend(&buf[..len]);
            }
        });
        Self { stream, got, thread }
    }

    /// How many bytes have come so far, the head counted.
    ///
    /// # Panics
    ///
    /// When reading did.
    #[must_use]
    pub fn received(&self) -> usize {
        self.got.lock().expect("nobody panics with it").len()
    }

    /// Waits for the end.
    ///
    /// # Panics
    ///
    /// When reading did.
    #[must_use]
    pub fn finish(self) -> Answer {
        self.thread.join().expect("reading does not panic");
        Answer::of(&self.got.lock().expect("nobody panics with it"))
    }

    /// Leaves before the end.
    ///
    /// # Panics
    ///
    /// When reading did.
    #[must_use]
    pub fn leave(self) -> Answer {
        // It may have ended by itself.
        let _closed = self.stream.shutdown(Shutdown::Both);
        self.finish()
    }
}

/// Asks for a path and reads nothing.
///
/// # Panics
///
/// When there is no connection.
#[must_use]
pub fn ask(gateway: &Gateway, path: &str) -> TcpStream {
    let mut stream = TcpStream::connect(gateway.http).expect("the gateway listens");
    write!(stream, "GET /{path} HTTP/1.1\r\nhost: {}\r\n\r\n", gateway.http)
        .expect("a small request fits any buffer");
    stream
}
