//! HLS: how late a blocked request is answered, and what a thousand viewers cost beside nginx.
//!
//! A part is complete when its last picture has arrived at the gateway, so a blocked request is late by the time since the
//! encoder began to write that picture, which is the last one before the answer: pictures are 33 ms apart.
//!
//! The viewers are those of plain HLS, which a server of files can serve too: every half target duration each asks for the
//! media playlist, and for the newest segment when that is another. nginx serves what a gateway writes to a RAM disk. One
//! thread is all viewers in turn, over connections that stay.

use std::error::Error;
use std::fs;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{self, Command};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::clip::{Footage, Kind};
use super::publish::{Encoder, units};
use super::server::Process;
use crate::child::{argument, write_port, write_samples};
use crate::measure::{LATE_P50, LATE_P99, Sample};
use crate::process::Starvation;
use crate::srt::raw;
use crate::sys;

/// Runs `gateway-blocked <port> <port> <first ms> <last ms>`: publishes by RTMP, and reloads by blocked requests.
pub(super) fn run_blocked(args: &[String]) -> Result<(), Box<dyn Error>> {
    let (in_port, out_port) = (argument(args, 0)?, argument(args, 1)?);
    let [first, last] = [argument(args, 2)?, argument(args, 3)?].map(Duration::from_millis);
    sys::end_after(super::CHILD_LIMIT);
    let units = units("rtmp", Footage::Usual)?;
    let sent_us = Arc::new(AtomicI64::new(0));
    let sent = Arc::clone(&sent_us);
    let mut encoder = Encoder::connect("rtmp", in_port, 0, &mut 0)?;
    let begin = Instant::now();
    thread::spawn(move || {
        for unit in &units {
            thread::sleep((begin + unit.at).saturating_duration_since(Instant::now()));
            let is_picture = unit.kind == Kind::Video;
            let note = || sent.store(raw::now_us(), Ordering::Release);
            let written = encoder.send(unit, || is_picture.then(note).unwrap_or_default());
            if written.is_err() {
                return;
            }
        }
    });
    thread::sleep(JOIN_AFTER);
    let mut viewer = Viewer::connect(out_port, "/live/cam0.m3u8")?;
    viewer.open()?;
    let (mut late_us, mut next) = (Vec::new(), viewer.next_part()?);
    while begin.elapsed() < last {
        let (msn, part) = next;
        viewer.get(&format!("{}?_HLS_msn={msn}&_HLS_part={part}", viewer.playlist.clone()))?;
        let late = raw::now_us() - sent_us.load(Ordering::Acquire);
        next = part_after(&viewer.text());
        if begin.elapsed() >= first {
            late_us.push(late);
        }
    }
    late_us.sort_unstable();
    let most = late_us.len().checked_sub(1).ok_or("no part came")?;
    let samples = [(LATE_P50, 50), (LATE_P99, 99)].map(|(unit, per_cent)| {
        let value = late_us[most * per_cent / 100] as f64;
        Sample { unit, value }
    });
    write_samples(&samples);
    io::stdout().flush()?;
    sys::end_at_once()
}

/// How long the thread that is the viewers has waited for a core, in nanoseconds.
static STARVED_NS: AtomicU64 = AtomicU64::new(0);
/// All that all viewers have got.
static TOTAL: AtomicU64 = AtomicU64::new(0);

/// Runs `gateway-hls-sink <port> <viewers> <core>` until it is ended: plain viewers of `live/cam0`. Says a port, any, when
/// every viewer has had a segment, and for each line of input how many bytes have come and for how many nanoseconds the
/// viewers waited for a core.
pub(super) fn run_sink(args: &[String]) -> Result<(), Box<dyn Error>> {
    let (port, count) = (argument(args, 0)?, argument::<u32>(args, 1)?);
    super::pin(&argument::<String>(args, 2)?)?;
    sys::end_after(super::CHILD_LIMIT);
    sys::raise_fd_limit()?;
    thread::spawn(answer);
    let (mut viewers, mut starvation) = (Vec::new(), Starvation::begin()?);
    let (begin, step) = (Instant::now(), RELOAD / count);
    let mut round = 0;
    loop {
        let mut due = begin + RELOAD * round;
        for index in 0..count as usize {
            thread::sleep(due.saturating_duration_since(Instant::now()));
            // A server waits only so long for a first request.
            if index == viewers.len() {
                viewers.push(Viewer::connect(port, "/live/cam0.m3u8")?);
            }
            viewers[index].turn()?;
            due += step;
            if index % LOOK_EVERY == 0 {
                let nanos = starvation.since_last()?.as_nanos();
                STARVED_NS.fetch_add(u64::try_from(nanos).unwrap_or(u64::MAX), Ordering::Relaxed);
            }
        }
        round += 1;
        if round == 1 {
            write_port(0);
        }
    }
}

#[expect(clippy::print_stdout, reason = "the pipe to the harness")]
fn answer() {
    for _line in io::stdin().lines().map_while(Result::ok) {
        println!("{}\t{}", TOTAL.load(Ordering::Relaxed), STARVED_NS.load(Ordering::Relaxed));
    }
}

/// A viewer on one connection.
struct Viewer {
    stream: TcpStream,
    multivariant: &'static str,
    /// The path of the media playlist, once known.
    playlist: String,
    /// The segment that it had last.
    segment: String,
    body: Vec<u8>,
    buf: Vec<u8>,
}

impl Viewer {
    fn connect(port: u16, multivariant: &'static str) -> io::Result<Self> {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
        stream.set_nodelay(true)?;
        let (playlist, segment) = Default::default();
        Ok(Self {
            stream,
            multivariant,
            playlist,
            segment,
            body: Vec::new(),
            buf: vec![0; 64 << 10],
        })
    }

    /// Learns where the media playlist is.
    fn open(&mut self) -> io::Result<()> {
        self.get(self.multivariant)?;
        let text = self.text();
        let name = text.lines().last().ok_or(io::ErrorKind::InvalidData)?;
        self.playlist = format!("/live/{name}");
        Ok(())
    }

    /// What a player does each time.
    fn turn(&mut self) -> io::Result<()> {
        if self.playlist.is_empty() {
            self.open()?;
        }
        self.get(&self.playlist.clone())?;
        let text = self.text();
        let newest = text.lines().rfind(|line| !line.starts_with('#')).unwrap_or_default();
        if newest != self.segment {
            newest.clone_into(&mut self.segment);
            let folder = self.playlist.rsplit_once('/').map_or("", |(folder, _)| folder);
            self.get(&format!("{folder}/{newest}"))?;
        }
        Ok(())
    }

    fn next_part(&mut self) -> io::Result<(u64, usize)> {
        self.get(&self.playlist.clone())?;
        Ok(part_after(&self.text()))
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Reads one answer with a length, and keeps its body.
    fn get(&mut self, path: &str) -> io::Result<()> {
        write!(self.stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n")?;
        self.body.clear();
        let mut left: Option<usize> = None;
        while left.is_none_or(|left| left > self.body.len()) {
            let count = self.stream.read(&mut self.buf)?;
            if count == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            TOTAL.fetch_add(count as u64, Ordering::Relaxed);
            self.body.extend(&self.buf[..count]);
            if left.is_none()
                && let Some(end) = self.body.windows(4).position(|four| four == b"\r\n\r\n")
            {
                let head = String::from_utf8_lossy(&self.body[..end]).to_lowercase();
                if !head.starts_with("http/1.1 200") {
                    return Err(io::Error::other(format!("{path}: {head}")));
                }
                let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
                let length = length.and_then(|length| length.trim().parse().ok());
                left = Some(length.ok_or(io::ErrorKind::InvalidData)?);
                self.body.drain(..end + 4);
            }
        }
        Ok(())
    }
}

/// The part that a playlist hints at.
fn part_after(text: &str) -> (u64, usize) {
    let hint = text.lines().rfind(|line| line.starts_with("#EXT-X-PRELOAD-HINT"));
    let place = hint.and_then(|hint| hint.rsplit_once('-')).and_then(|(_, place)| {
        let mut numbers = place.split('.');
        Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
    });
    place.unwrap_or_default()
}

/// A folder in memory, deleted when dropped.
pub(super) struct RamDisk(PathBuf);

impl RamDisk {
    pub(super) fn new() -> io::Result<Self> {
        let folder = Path::new("/dev/shm").join(format!("thalweg-bench-{}", process::id()));
        fs::create_dir_all(&folder)?;
        Ok(Self(folder))
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    /// Waits for so many segments of the stream.
    pub(super) fn wait_for_segments(&self, count: usize) -> Result<(), Box<dyn Error>> {
        let begun = Instant::now();
        while begun.elapsed() < super::CHILD_LIMIT {
            let playlist = fs::read_to_string(self.0.join("live/cam0/hls-main.m3u8"));
            if playlist.is_ok_and(|text| text.matches("#EXTINF").count() >= count) {
                return Ok(());
            }
            thread::sleep(Duration::from_millis(50));
        }
        Err("no segments were written".into())
    }
}

impl Drop for RamDisk {
    fn drop(&mut self) {
        // What is left is in memory, and told by its name.
        let _deleted = fs::remove_dir_all(&self.0);
    }
}

/// nginx with one process on one core, which serves a folder.
pub(super) fn start_nginx(disk: &RamDisk, core: usize) -> Result<(Process, u16), Box<dyn Error>> {
    // It takes no port 0; one that was free a moment ago is.
    let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
    let (folder, config) = (disk.path().display(), disk.path().join("nginx.conf"));
    fs::write(
        &config,
        format!(
            "daemon off; master_process off; pid {folder}/nginx.pid; error_log stderr;\n\
             events {{ worker_connections 4096; }}\n\
             http {{ access_log off; sendfile on; tcp_nopush on; keepalive_requests 1000000;\n\
             keepalive_timeout 300; open_file_cache max=1000 inactive=20s; open_file_cache_valid 1s;\n\
             types {{ video/mp4 m4s mp4; application/vnd.apple.mpegurl m3u8; }}\n\
             server {{ listen 127.0.0.1:{port}; root {folder}; }} }}\n"
        ),
    )?;
    let mut command = Command::new("sh");
    // The shell says that it begins, then it is nginx.
    command.args([
        "-c",
        "echo started; exec taskset --cpu-list \"$1\" nginx -p \"$2\" -c \"$3\"",
        "sh",
    ]);
    command.args([
        core.to_string(),
        disk.path().display().to_string(),
        config.display().to_string(),
    ]);
    let (process, ()) = Process::start(command, |line| line.starts_with("started").then_some(()))?;
    let begun = Instant::now();
    while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
        if begun.elapsed() > super::CHILD_LIMIT {
            return Err("nginx does not listen; is nginx-light installed?".into());
        }
        thread::sleep(Duration::from_millis(20));
    }
    Ok((process, port))
}

const JOIN_AFTER: Duration = Duration::from_millis(300);
/// Half a target duration.
const RELOAD: Duration = Duration::from_secs(1);
/// After so many turns of viewers it is looked whether they wait for a core.
const LOOK_EVERY: usize = 50;
