//! The loop of SRS: asks libsrt what can be read without waiting, then sleeps 1 ms if there was
//! something and 10 ms if not (`SrsSrtEventLoop::cycle` of SRS 5).

use std::io;
use std::thread;
use std::time::{Duration, Instant};

use super::meter::{Log, Logs, windows};
use super::raw::{self, Socket};
use super::{LATENCY_MS, MESSAGE_BYTES, SrtContender};
use crate::child::write_port;
use crate::measure::{Outcome, Plan};

/// The contender `poll`.
#[derive(Debug)]
pub(crate) struct Poll;

impl SrtContender for Poll {
    fn receive(&self, plan: Plan, spacing: Option<Duration>) -> Outcome {
        let listener = Socket::listen(LATENCY_MS, plan.n)?;
        write_port(listener.port()?);
        let sockets =
            (0..plan.n).map(|_index| listener.accept()).collect::<io::Result<Vec<_>>>()?;
        for socket in &sockets {
            socket.set_nonblocking()?;
        }
        let logs = Logs::new(plan.n);
        let by_index: Vec<&Log> = logs.iter().map(AsRef::as_ref).collect();
        let mut poll = raw::Poll::new(&sockets)?;
        windows(plan, spacing, &logs, |duration| {
            let end = Instant::now() + duration;
            while Instant::now() < end {
                let ready: Vec<usize> = poll.readable(0)?.collect();
                for &index in &ready {
                    drain(&sockets[index], by_index[index])?;
                }
                thread::sleep(if ready.is_empty() { IDLE_PAUSE } else { BUSY_PAUSE });
            }
            Ok(())
        })
    }
}

fn drain(socket: &Socket, log: &Log) -> io::Result<()> {
    let mut buf = [0; MESSAGE_BYTES];
    while let Some(due_us) = socket.recv(&mut buf)? {
        log.received(raw::now_us() - due_us);
    }
    Ok(())
}

const BUSY_PAUSE: Duration = Duration::from_millis(1);
const IDLE_PAUSE: Duration = Duration::from_millis(10);
