//! Drives a runtime from a foreign event loop, which here is a plain `poll(2)` over a descriptor
//! of its own and that of the runtime.
//!
//! `cargo run --release -p thalweg-runtime --example embed` ends by itself. A loop of that kind is
//! what a GUI toolkit or an existing server has; the runtime needs three things of it: to watch
//! its descriptor, to come back at its next deadline, and to call `turn`.
#![expect(clippy::print_stdout, reason = "shows that both loops go on")]

use std::cell::Cell;
use std::error::Error;
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::rc::Rc;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use thalweg_runtime::net::{TcpListener, TcpStream};
use thalweg_runtime::{self as rt, Runtime};

fn main() -> Result<(), Box<dyn Error>> {
    let runtime = Runtime::builder().build()?;
    let echoed = Rc::new(Cell::new(0));
    let count = Rc::clone(&echoed);
    let work = runtime.spawn(move || ping_pong(&count))?;

    // What the foreign loop cares about: here a tick every 100 ms.
    let ticker = TimerFd::new(ClockId::CLOCK_MONOTONIC, TimerFlags::TFD_CLOEXEC)?;
    let interval = TimeSpec::from_duration(Duration::from_millis(100));
    ticker.set(Expiration::Interval(interval), TimerSetTimeFlags::empty())?;

    while !work.is_finished() {
        let mut fds = [
            PollFd::new(ticker.as_fd(), PollFlags::POLLIN),
            PollFd::new(runtime.as_fd(), PollFlags::POLLIN),
        ];
        poll(&mut fds, time_until(runtime.next_deadline()))?;
        if fds[0].any() == Some(true) {
            ticker.wait()?;
            println!("the foreign loop ticks; {} messages so far", echoed.get());
        }
        runtime.turn(Some(Duration::ZERO))?;
    }
    work.join()??;
    println!("{} messages went there and back", echoed.get());
    Ok(())
}

/// How long `poll` may wait for the runtime's sake: rounded up, or it would come too early.
#[expect(clippy::disallowed_methods, reason = "the foreign loop has its own clock")]
fn time_until(deadline: Option<Instant>) -> PollTimeout {
    let Some(deadline) = deadline else { return PollTimeout::NONE };
    let wait = deadline.saturating_duration_since(Instant::now());
    let millis = wait.as_nanos().div_ceil(1_000_000);
    i32::try_from(millis).map_or(PollTimeout::MAX, |ms| ms.try_into().unwrap_or(PollTimeout::MAX))
}

/// A client and a server that talk for half a second, with pauses.
fn ping_pong(echoed: &Cell<u32>) -> std::io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let mut client = TcpStream::connect(listener.local_addr()?)?;
    rt::spawn(move || -> std::io::Result<()> {
        let (mut conn, _peer) = listener.accept()?;
        let mut buf = [0; 64];
        while let n @ 1.. = conn.read(&mut buf)? {
            conn.write_all(&buf[..n])?;
        }
        Ok(())
    });
    let end = rt::now() + Duration::from_millis(500);
    while rt::now() < end {
        client.write_all(b"ping")?;
        client.read_full(&mut [0; 4])?;
        echoed.set(echoed.get() + 1);
        rt::sleep(Duration::from_millis(5))?;
    }
    Ok(())
}
