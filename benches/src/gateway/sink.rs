//! The viewers, in a process of their own: any number of them read and discard.

use std::error::Error;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use super::{LATENCY_MS, rtmp, webrtc};
use crate::child::{argument, write_port};
use crate::process::Starvation;
use crate::srt::raw;
use crate::sys::{self, Epoll};

/// How long the thread that reads has waited for a core, in nanoseconds.
static STARVED_NS: AtomicU64 = AtomicU64::new(0);
/// All that all viewers have got.
static TOTAL: AtomicU64 = AtomicU64::new(0);

/// Runs `gateway-sink <output> <port> <viewers> <streams> <core>` until it is ended. Says a port, any, when every
/// viewer is being served, and for each line of input how many bytes have come and for how many nanoseconds the reader waited for a core.
pub(super) fn run(args: &[String]) -> Result<(), Box<dyn Error>> {
    let output: String = argument(args, 0)?;
    let (port, viewers) = (argument(args, 1)?, argument(args, 2)?);
    let streams: usize = argument(args, 3)?;
    super::pin(&argument::<String>(args, 4)?)?;
    sys::end_after(super::CHILD_LIMIT);
    sys::raise_fd_limit()?;
    thread::spawn(answer);
    if output == "webrtc" {
        return webrtc::discard(port, viewers);
    }
    let names = (0..viewers).map(|index| format!("cam{}", index % streams));
    if output == "srt" {
        let mut local_port = 0;
        let sockets = names
            .map(|name| request_srt(port, &name, &mut local_port))
            .collect::<io::Result<Vec<_>>>()?;
        discard_srt(&sockets)?;
    } else {
        let streams = names
            .map(|name| request(&output, port, &name, "HTTP/1.1"))
            .collect::<io::Result<Vec<_>>>()?;
        discard(streams)?;
    }
    Ok(())
}

/// Connects a viewer over TCP. One of `bare` asks for nothing; `version` is that of HTTP.
pub(super) fn request(output: &str, port: u16, name: &str, version: &str) -> io::Result<TcpStream> {
    if output == "rtmp" {
        return rtmp::play(port, name);
    }
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    if output != "bare" {
        write!(stream, "GET /live/{name}.{output} {version}\r\nHost: localhost\r\n\r\n")?;
    }
    Ok(stream)
}

/// Connects a player by SRT.
pub(super) fn request_srt(port: u16, name: &str, local_port: &mut u16) -> io::Result<raw::Socket> {
    let socket = raw::Socket::new(LATENCY_MS)?;
    socket.set_stream_id(&format!("#!::r=live/{name},m=request"))?;
    socket.bind(*local_port)?;
    *local_port = socket.port()?;
    socket.connect(port)?;
    Ok(socket)
}

fn discard(mut viewers: Vec<TcpStream>) -> io::Result<()> {
    let epoll = Epoll::new()?;
    for (token, viewer) in (0..).zip(&viewers) {
        viewer.set_nonblocking(true)?;
        epoll.add_readable(viewer.as_raw_fd(), token)?;
    }
    let mut served = Served::new(viewers.len())?;
    let mut events = vec![libc::epoll_event { events: 0, u64: 0 }; viewers.len()];
    let mut buf = vec![0; READ_BYTES];
    loop {
        for event in epoll.wait(&mut events, -1)? {
            let index = usize::try_from(event.u64).map_err(io::Error::other)?;
            match viewers[index].read(&mut buf) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(count) => served.add(index, count),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        served.look()?;
        // Everybody reads in steps of a few milliseconds: the viewers shall not outweigh the server.
        thread::sleep(READ_PAUSE);
    }
}

fn discard_srt(viewers: &[raw::Socket]) -> io::Result<()> {
    for viewer in viewers {
        viewer.set_nonblocking()?;
    }
    let mut poll = raw::Poll::new(viewers)?;
    let mut served = Served::new(viewers.len())?;
    let mut buf = [0; 1456];
    loop {
        for index in poll.readable(POLL_TICK_MS)? {
            while viewers[index].recv(&mut buf)?.is_some() {
                served.add(index, super::publish::MESSAGE_BYTES);
            }
        }
        served.look()?;
        thread::sleep(READ_PAUSE);
    }
}

/// Who has got something yet.
pub(super) struct Served {
    bytes: Vec<usize>,
    count: usize,
    starvation: Starvation,
}

impl Served {
    pub(super) fn new(viewers: usize) -> io::Result<Self> {
        Ok(Self { bytes: vec![0; viewers], count: 0, starvation: Starvation::begin()? })
    }

    /// Notes how long the calling thread has waited for a core.
    pub(super) fn look(&mut self) -> io::Result<()> {
        let nanos = self.starvation.since_last()?.as_nanos();
        STARVED_NS.fetch_add(u64::try_from(nanos).unwrap_or(u64::MAX), Ordering::Relaxed);
        Ok(())
    }

    pub(super) fn add(&mut self, index: usize, bytes: usize) {
        TOTAL.fetch_add(bytes as u64, Ordering::Relaxed);
        let before = self.bytes[index];
        self.bytes[index] = before.saturating_add(bytes);
        if before < SERVED_BYTES && self.bytes[index] >= SERVED_BYTES {
            self.count += 1;
            if self.count == self.bytes.len() {
                write_port(0);
            }
        }
    }
}

#[expect(clippy::print_stdout, reason = "the pipe to the harness")]
fn answer() {
    for _line in io::stdin().lines().map_while(Result::ok) {
        println!("{}\t{}", TOTAL.load(Ordering::Relaxed), STARVED_NS.load(Ordering::Relaxed));
    }
}

const READ_BYTES: usize = 1 << 20;
pub(super) const READ_PAUSE: Duration = Duration::from_millis(5);
const POLL_TICK_MS: i64 = 100;
/// More than heads and handshakes, less than a second of any stream.
const SERVED_BYTES: usize = 16_000;
