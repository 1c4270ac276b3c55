//! Making a connection: as a caller, or by rendezvous.

use std::net::SocketAddr;
use std::sync::Arc;

use libsrt_sys as sys;
use thalweg_runtime::net::{ToAddr, resolve};

use super::bridge::{self, WatchError};
use super::ffi::{self, Flags, RawSocket};
use super::ports::{self, PortLease};
use super::socket::Socket;
use super::source::{self, Source};
use super::{apply, wildcard_family};
use crate::error::{ConnectError, SrtError, Step};
use crate::options::Options;
use crate::reject::RejectReason;

impl Socket {
    /// Connects to a listener: an address, or a host and a port, whose addresses are tried one after
    /// the other until one answers.
    ///
    /// The local port is shared with other callers that have the same options of the UDP socket, so
    /// that a caller costs no threads of its own; [`Socket::connect_from`] takes one of its own.
    ///
    /// # Suspends
    ///
    /// Until the connection is made or fails, a deadline passes or the caller is cancelled.
    ///
    /// # Errors
    ///
    /// All of [`ConnectError`]; of several addresses, that of the last.
    pub fn connect(peer: impl ToAddr, options: &Options) -> Result<Self, ConnectError> {
        each(peer, |peer| {
            let attempt = Attempt::new(peer, options)?;
            let lease =
                ports::bind(&attempt.source.raw, peer).map_err(attempt.failed(Step::Bind))?;
            attempt.connect(Some(lease))
        })
    }

    /// Connects like [`Socket::connect`], from the given local address; port 0 is one of its own that is free.
    ///
    /// # Suspends
    ///
    /// As [`Socket::connect`].
    ///
    /// # Errors
    ///
    /// As [`Socket::connect`].
    pub fn connect_from(
        local: impl ToAddr,
        peer: impl ToAddr,
        options: &Options,
    ) -> Result<Self, ConnectError> {
        let local = local.to_addr().map_err(ConnectError::Resolve)?;
        each(peer, |peer| {
            let attempt = Attempt::new(peer, options)?;
            wildcard_family(&attempt.source.raw, local, false)
                .map_err(attempt.failed(Step::Bind))?;
            attempt.source.raw.bind(local).map_err(attempt.failed(Step::Bind))?;
            attempt.connect(None)
        })
    }

    /// Meets a peer that does the same at the same time, with the addresses swapped: neither
    /// listens, and firewalls that let answers in let both through.
    ///
    /// # Suspends
    ///
    /// As [`Socket::connect`].
    ///
    /// # Errors
    ///
    /// As [`Socket::connect`].
    pub fn rendezvous(
        local: impl ToAddr,
        peer: impl ToAddr,
        options: &Options,
    ) -> Result<Self, ConnectError> {
        let local = local.to_addr().map_err(ConnectError::Resolve)?;
        each(peer, |peer| {
            let attempt = Attempt::new(peer, options)?;
            wildcard_family(&attempt.source.raw, local, false)
                .map_err(attempt.failed(Step::Bind))?;
            let seen = attempt.source.output.events();
            let begun = attempt.source.raw.rendezvous(local, peer);
            begun.map_err(attempt.failed(Step::Connect))?;
            attempt.finish(seen, None)
        })
    }
}

/// Tries the addresses of `peer` in turn. A peer that says no has been found; who does not answer may have another address.
fn each(
    peer: impl ToAddr,
    mut connect: impl FnMut(SocketAddr) -> Result<Socket, ConnectError>,
) -> Result<Socket, ConnectError> {
    source::enter()?;
    let addresses = resolve(peer).map_err(|error| match wait_error(&error) {
        Some(error) => ConnectError::Wait(error),
        None => ConnectError::Resolve(error),
    })?;
    let (last, others) = addresses.split_last().ok_or_else(no_address)?;
    for &peer in others {
        match connect(peer) {
            Err(ConnectError::NoAnswer { .. } | ConnectError::Failed { .. }) => {}
            result => return result,
        }
    }
    connect(*last)
}

fn no_address() -> ConnectError {
    ConnectError::Resolve(std::io::Error::new(
        std::io::ErrorKind::NotFound,
        "the name has no address",
    ))
}

/// What the runtime says inside an [`std::io::Error`].
pub(super) fn wait_error(error: &std::io::Error) -> Option<thalweg_runtime::WaitError> {
    use thalweg_runtime::{Refused, WaitError, is_cancelled, timed_out};
    if is_cancelled(error) {
        return Some(WaitError::Cancelled);
    }
    let refused = error.get_ref().and_then(|inner| inner.downcast_ref::<Refused>()).copied();
    timed_out(error).map(WaitError::TimedOut).or_else(|| refused.map(WaitError::Refused))
}

/// A socket on its way to be connected. Dropping it gives the attempt up.
struct Attempt {
    source: Arc<Source>,
    peer: SocketAddr,
    done: bool,
}

impl Attempt {
    fn new(peer: SocketAddr, options: &Options) -> Result<Self, ConnectError> {
        let failed = |step| move |error| ConnectError::Failed { peer, step, error };
        bridge::start()?;
        let raw = RawSocket::new().map_err(failed(Step::Create))?;
        apply::apply(raw.id(), options)?;
        let source = Arc::new(Source::new(raw));
        match bridge::watch(&source, Flags::SOCKET) {
            Ok(()) => Ok(Self { source, peer, done: false }),
            Err(WatchError::Start(error)) => Err(error.into()),
            Err(WatchError::Srt(error)) => Err(failed(Step::Watch)(error)),
        }
    }

    fn failed(&self, step: Step) -> impl FnOnce(SrtError) -> ConnectError + use<> {
        let peer = self.peer;
        move |error| ConnectError::Failed { peer, step, error }
    }

    fn connect(self, lease: Option<PortLease>) -> Result<Socket, ConnectError> {
        let seen = self.source.output.events();
        self.source.raw.connect(self.peer).map_err(self.failed(Step::Connect))?;
        self.finish(seen, lease)
    }

    /// Waits until the connection is made or has failed. `seen` are the events from before it began.
    fn finish(mut self, mut seen: u32, lease: Option<PortLease>) -> Result<Socket, ConnectError> {
        let source = Arc::clone(&self.source);
        loop {
            match source.raw.state() {
                sys::SRTS_CONNECTED => {
                    self.done = true;
                    return Ok(Socket::new(source, lease));
                }
                sys::SRTS_CLOSING | sys::SRTS_CLOSED | sys::SRTS_NONEXIST => {
                    return Err(self.rejection());
                }
                // Made, and ended by the peer before this coroutine ran: its calls tell.
                _ if source.broken_at().is_some() && self.was_connected() => {
                    self.done = true;
                    return Ok(Socket::new(source, lease));
                }
                // On the way to being connected a socket passes for broken for a moment, without an event.
                _ if source.broken_at().is_some() => return Err(self.rejection()),
                _ => {}
            }
            source.output.wait(seen)?;
            seen = source.output.events();
        }
    }

    /// Whether the handshake of a connection that is broken now had succeeded. It tells the peer's version, and a
    /// refusal has a reason.
    fn was_connected(&self) -> bool {
        let raw = &self.source.raw;
        let version = ffi::option_int(raw.id(), sys::SRTO_PEERVERSION);
        RejectReason::from_code(raw.reject_reason()) == RejectReason::UNKNOWN
            && version.is_ok_and(|version| version > 0)
    }

    fn rejection(&self) -> ConnectError {
        let peer = self.peer;
        match RejectReason::from_code(self.source.raw.reject_reason()) {
            RejectReason::TIMEOUT => ConnectError::NoAnswer { peer },
            reason => ConnectError::Rejected { peer, reason },
        }
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        if !self.done {
            bridge::forget(&self.source);
            self.source.close();
        }
    }
}
