//! What these tests share: a runtime for each, numbered messages, the tools, and an exchange with one.

#![expect(clippy::unwrap_used, reason = "what a helper does not get fails its test")]

pub(crate) mod exchange;
pub(crate) mod message;
pub(crate) mod tool;

use std::io;
use std::time::Duration;

use thalweg_runtime as rt;
use thalweg_srt_io::{Options, Socket};

/// What a test returns: anything that goes wrong ends it.
pub(crate) type Outcome<T = ()> = Result<T, Box<dyn std::error::Error>>;

/// Runs `test` on a runtime of its own. One that hangs fails.
pub(crate) fn run(test: impl FnOnce() -> Outcome + 'static) {
    const LIMIT: Duration = Duration::from_secs(60);
    let outcome = rt::run(move || -> io::Result<Result<(), String>> {
        Ok(rt::timeout(LIMIT, || test().map_err(|error| format!("{error}: {error:?}"))))
    });
    outcome.unwrap().unwrap();
}

/// Live mode with a latency that suits loopback on a busy machine.
pub(crate) fn live() -> Options {
    Options::live().latency(LATENCY)
}

/// Receives one message.
pub(crate) fn recv(socket: &Socket) -> Outcome<Vec<u8>> {
    let mut buf = [0; message::BYTES];
    let len = socket.recv(&mut buf)?;
    Ok(buf[..len].to_vec())
}

/// Of most tests, on both ends.
pub(crate) const LATENCY: Duration = Duration::from_millis(120);
