//! The other end of the SRT cases, in a process of its own: `plan.n` callers, straight on libsrt.
//!
//! All share one local port: with a port each, libsrt would start two threads for every one of them and
//! the machine would be busy with those.

use std::error::Error;
use std::io;
use std::thread;
use std::time::{Duration, Instant};

use super::raw::{Poll, Socket};
use super::{LATENCY_MS, MESSAGE_BYTES, spacing};
use crate::case::Case;
use crate::child::argument;
use crate::sys;

/// Runs `srt-load <case> <port> <n>` until it is ended.
pub(crate) fn run(args: &[String]) -> Result<(), Box<dyn Error>> {
    let case: Case = argument(args, 0)?;
    let sockets = connect(argument(args, 1)?, argument(args, 2)?)?;
    sys::end_after(LOAD_LIMIT);
    match spacing(case) {
        Some(spacing) => send_in_turn(&sockets, spacing)?,
        None if case == Case::Send => receive_all(&sockets)?,
        None => loop {
            thread::sleep(LOAD_LIMIT);
        },
    }
    Ok(())
}

fn connect(port: u16, count: usize) -> io::Result<Vec<Socket>> {
    let mut local_port = 0;
    let mut sockets = Vec::with_capacity(count);
    for _ in 0..count {
        let socket = Socket::new(LATENCY_MS)?;
        socket.bind(local_port)?;
        local_port = socket.port()?;
        socket.connect(port)?;
        sockets.push(socket);
    }
    Ok(sockets)
}

/// Sends a message on each socket every `spacing`, evenly spread.
fn send_in_turn(sockets: &[Socket], spacing: Duration) -> io::Result<()> {
    let message = [0x47; MESSAGE_BYTES];
    let step = spacing / u32::try_from(sockets.len()).map_err(io::Error::other)?;
    let mut due = Instant::now();
    for socket in sockets.iter().cycle() {
        thread::sleep(due.saturating_duration_since(Instant::now()));
        socket.send(&message)?;
        due += step;
    }
    Ok(())
}

fn receive_all(sockets: &[Socket]) -> io::Result<()> {
    for socket in sockets {
        socket.set_nonblocking()?;
    }
    let mut poll = Poll::new(sockets)?;
    let mut buf = [0; MESSAGE_BYTES];
    loop {
        for index in poll.readable(READ_TICK_MS)? {
            while sockets[index].recv(&mut buf)?.is_some() {}
        }
        // Everybody reads in steps of a few milliseconds: the players shall not outweigh the server.
        thread::sleep(READ_PAUSE);
    }
}

const READ_TICK_MS: i64 = 100;
const READ_PAUSE: Duration = Duration::from_millis(5);
const LOAD_LIMIT: Duration = Duration::from_secs(90);
