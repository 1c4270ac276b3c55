//! A socket of the runtime as what ureq talks over.

use std::{
    error, fmt,
    io::{self, Read},
    os::fd::{AsRawFd, BorrowedFd},
};

use nix::sys::socket::{MsgFlags, recv};
use thalweg_runtime::{
    self as rt,
    net::{Interest, TcpStream},
};
use ureq::{
    Error,
    unversioned::transport::{
        Buffers, ConnectionDetails, Connector, LazyBuffers, NextTimeout, Transport,
    },
};

use super::url::host_and_port;

/// Connects to the host of a URL, whose addresses it races.
#[derive(Debug)]
pub(super) struct TcpConnector;

impl Connector for TcpConnector {
    type Out = TcpTransport;

    fn connect(
        &self,
        details: &ConnectionDetails<'_>,
        _chained: Option<()>,
    ) -> Result<Option<TcpTransport>, Error> {
        let host = host_and_port(details.uri).ok_or(Error::HostNotFound)?;
        let stream = within(details.timeout, || TcpStream::connect(host))?;
        stream.set_nodelay(true)?;
        let config = details.config;
        let buffers = LazyBuffers::new(config.input_buffer_size(), config.output_buffer_size());
        Ok(Some(TcpTransport { stream, buffers, state: State::New }))
    }
}

/// One connection.
#[derive(Debug)]
pub(super) struct TcpTransport {
    stream: TcpStream,
    buffers: LazyBuffers,
    state: State,
}

/// Whether the server can have closed the connection without having seen the call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// It was made for the present call.
    New,
    /// It was kept after an earlier call, and nothing has come since.
    Kept,
    /// It was kept, and the answer has begun.
    Answering,
}

/// A kept connection had been closed.
#[derive(Debug)]
struct Stale(io::Error);

/// Whether a call failed only because the connection had been kept.
pub(super) fn is_stale(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|inner| inner.is::<Stale>())
}

impl TcpTransport {
    fn broken(&self, error: io::Error) -> io::Error {
        let is_ours = rt::is_cancelled(&error) || rt::timed_out(&error).is_some();
        if self.state == State::Kept && !is_ours {
            io::Error::new(error.kind(), Stale(error))
        } else {
            error
        }
    }
}

impl Transport for TcpTransport {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        let output = self.buffers.output().get(..amount).unwrap_or_default();
        let written = within(timeout.for_write(), || self.stream.write_full(output));
        written.map_err(|incomplete| self.broken(incomplete.error).into())
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        let buffer = self.buffers.input_append_buf();
        let mut stream = &self.stream;
        match within(timeout.for_read(), || stream.read(buffer)) {
            Ok(0) if self.state == State::Kept => {
                let closed = io::Error::new(io::ErrorKind::UnexpectedEof, "the server closed");
                Err(self.broken(closed).into())
            }
            Ok(count) => {
                self.buffers.input_appended(count);
                if self.state == State::Kept {
                    self.state = State::Answering;
                }
                Ok(count > 0)
            }
            Err(error) => Err(self.broken(error).into()),
        }
    }

    /// Whether nothing has come since the last answer, not even the end. ureq asks when it puts a connection by and when it
    /// takes one, then with its lock held: this must not suspend.
    fn is_open(&mut self) -> bool {
        self.state = State::Kept;
        let mut byte = [0];
        let flags = MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT;
        let peek = |fd: BorrowedFd<'_>| Ok(recv(fd.as_raw_fd(), &mut byte, flags)?);
        match self.stream.net_fd().try_io(Interest::Readable, peek) {
            Ok(_) => false,
            Err(error) => error.kind() == io::ErrorKind::WouldBlock,
        }
    }
}

/// Runs `f` within what ureq leaves it, besides the deadline around the whole call.
fn within<T>(timeout: NextTimeout, f: impl FnOnce() -> T) -> T {
    match timeout.not_zero() {
        Some(limit) => rt::timeout(*limit, f),
        None => f(),
    }
}

impl fmt::Display for Stale {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "on a kept connection: {}", self.0)
    }
}

impl error::Error for Stale {}
