//! The client of the echo cases: a plain epoll loop in a process of its own, pinned to core 1.
//!
//! Each active connection has one 64-byte request under way at any time; idle ones were served once
//! and stay open. What is measured is the *server's* CPU time, read from `/proc/<pid>/schedstat` at
//! both ends of a window: client and server share the wire, so requests per second would measure
//! the client. The system calls are counted in a window of their own, since the tracepoint costs
//! the server time.

use std::error::Error;
use std::fs;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::os::fd::AsRawFd;
use std::thread;
use std::time::{Duration, Instant};

use crate::child::{argument, write_note, write_samples};
use crate::measure::{NS_CPU, SYSCALLS, Sample};
use crate::sys;

/// Runs `load <port> <server pid> <active> <idle> <reps> <rep ms>`.
pub(crate) fn run(args: &[String]) -> Result<(), Box<dyn Error>> {
    let port: u16 = argument(args, 0)?;
    let server: u32 = argument(args, 1)?;
    let active: usize = argument(args, 2)?;
    let idle: usize = argument(args, 3)?;
    let reps: usize = argument(args, 4)?;
    let rep = Duration::from_millis(argument(args, 5)?);
    sys::end_after(LOAD_LIMIT);
    sys::pin_to_core(CLIENT_CORE)?;
    sys::raise_fd_limit()?;
    let mut kept = Vec::with_capacity(idle);
    for _ in 0..idle {
        kept.push(connect(port)?);
    }
    let mut load = Load::start(port, active)?;
    load.run_for(rep)?;
    let mut samples = Vec::with_capacity(reps + 1);
    for _ in 0..reps {
        let before = cpu_ns(server)?;
        let requests = load.run_for(rep)?;
        let cpu = cpu_ns(server)?.saturating_sub(before);
        samples.push(Sample { unit: NS_CPU, value: cpu as f64 / requests as f64 });
    }
    match count_syscalls(&mut load, server, rep) {
        Ok(value) => samples.push(Sample { unit: SYSCALLS, value }),
        Err(error) => write_note(&format!("syscalls: perf not usable here: {error}")),
    }
    write_samples(&samples);
    Ok(())
}

fn count_syscalls(load: &mut Load, server: u32, rep: Duration) -> io::Result<f64> {
    let mut counter = sys::SyscallCounter::open(server)?;
    let before = counter.count()?;
    let requests = load.run_for(rep)?;
    let calls = counter.count()?.saturating_sub(before);
    Ok(calls as f64 / requests as f64)
}

/// The active connections.
#[derive(Debug)]
struct Load {
    epoll: sys::Epoll,
    connections: Vec<Connection>,
    events: Vec<libc::epoll_event>,
}

impl Load {
    fn start(port: u16, active: usize) -> io::Result<Self> {
        let epoll = sys::Epoll::new()?;
        let mut connections = Vec::with_capacity(active);
        for index in 0..active {
            let stream = connect(port)?;
            stream.set_nonblocking(true)?;
            epoll.add_readable(stream.as_raw_fd(), index as u64)?;
            connections.push(Connection { stream, received: 0 });
        }
        for connection in &connections {
            sys::write(connection.stream.as_raw_fd(), &REQUEST)?;
        }
        let events = vec![libc::epoll_event { events: 0, u64: 0 }; 1024];
        Ok(Self { epoll, connections, events })
    }

    /// Keeps every connection busy for `duration`; returns the requests that were answered.
    fn run_for(&mut self, duration: Duration) -> io::Result<u64> {
        let end = Instant::now() + duration;
        let mut requests = 0;
        while Instant::now() < end {
            let ready = self.epoll.wait(&mut self.events, SILENCE_LIMIT_MS)?;
            if ready.is_empty() {
                return Err(io::Error::other("the server has stopped answering"));
            }
            for event in ready {
                let index = usize::try_from(event.u64).map_err(io::Error::other)?;
                requests += u64::from(self.connections[index].advance()?);
            }
        }
        Ok(requests)
    }
}

#[derive(Debug)]
struct Connection {
    stream: TcpStream,
    /// Bytes of the answer under way.
    received: usize,
}

impl Connection {
    /// Reads what has come, and sends the next request when the answer is complete (then true).
    #[inline]
    fn advance(&mut self) -> io::Result<bool> {
        let fd = self.stream.as_raw_fd();
        let mut answer = [0; REQUEST.len()];
        match sys::read(fd, &mut answer[self.received..]) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(len) => self.received += len,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
            Err(error) => return Err(error),
        }
        if self.received < REQUEST.len() {
            return Ok(false);
        }
        self.received = 0;
        sys::write(fd, &REQUEST)?;
        Ok(true)
    }
}

/// Connects and has one request served, so that the server has accepted before the next one comes.
fn connect(port: u16) -> io::Result<TcpStream> {
    let mut attempts = 0;
    let mut stream = loop {
        match TcpStream::connect((Ipv4Addr::LOCALHOST, port)) {
            Ok(stream) => break stream,
            // The server prints its port shortly before it listens.
            Err(_error) if attempts < 100 => thread::sleep(Duration::from_millis(20)),
            Err(error) => return Err(error),
        }
        attempts += 1;
    };
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    stream.write_all(&REQUEST)?;
    stream.read_exact(&mut [0; REQUEST.len()])?;
    Ok(stream)
}

/// CPU time of the server's main thread (all servers have one thread that works), in ns.
fn cpu_ns(pid: u32) -> io::Result<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/schedstat"))?;
    let first = stat.split_whitespace().next().and_then(|field| field.parse().ok());
    first.ok_or_else(|| io::Error::other("/proc/<pid>/schedstat has no CPU time"))
}

const REQUEST: [u8; 64] = [0x5a; 64];
const CLIENT_CORE: usize = 1;
const SILENCE_LIMIT_MS: i32 = 5000;
const LOAD_LIMIT: Duration = Duration::from_secs(90);
