//! A socket that takes connections.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use libsrt_sys as sys;
use thalweg_runtime::deadline;
use thalweg_runtime::net::{ToAddr, resolve};

use super::bridge::{self, WatchError};
use super::connect::wait_error;
use super::ffi::{Flags, Hook, RawSocket};
use super::gate::{Gate, Refusals};
use super::socket::Socket;
use super::source::{self, Failure, Left, Source};
use super::{apply, wildcard_family};
use crate::admission::Admission;
use crate::error::{AcceptError, BindError, SrtError, Step};
use crate::options::Options;

/// An SRT listener: many connections on one UDP port, told apart by their stream ids.
///
/// All calls take `&self`, and several coroutines may accept. A listener belongs to no runtime: it may be moved to
/// another thread and used there, as may the sockets that it gives. Dropping it closes it; connections that were
/// accepted go on.
pub struct Listener {
    source: Arc<Source>,
    gate: Arc<Gate>,
    local: SocketAddr,
    _hook: Hook,
}

/// Connections that wait to be accepted at most; more are refused with `BACKLOG`.
const BACKLOG: usize = 512;

impl Listener {
    /// Listens on `local`: an address, or a host and a port, of which the first address that can be bound
    /// is taken. Port 0 is a free one; see [`Listener::local_addr`]. `[::]` takes IPv4 too, unless the options say otherwise.
    ///
    /// The connections have the same options, where [`Listener::set_admission`] says nothing else.
    ///
    /// # Suspends
    ///
    /// While a name is resolved.
    ///
    /// # Errors
    ///
    /// All of [`BindError`]; of several addresses, that of the last.
    pub fn bind(local: impl ToAddr, options: &Options) -> Result<Self, BindError> {
        Self::bind_with(local, options, Admission::new())
    }

    /// Listens like [`Listener::bind`], with a table of who may connect in force from the first
    /// connection on.
    ///
    /// # Suspends
    ///
    /// As [`Listener::bind`].
    ///
    /// # Errors
    ///
    /// As [`Listener::bind`].
    pub fn bind_with(
        local: impl ToAddr,
        options: &Options,
        admission: Admission,
    ) -> Result<Self, BindError> {
        source::enter()?;
        let addresses = resolve(local).map_err(|error| match wait_error(&error) {
            Some(error) => BindError::Wait(error),
            None => BindError::Resolve(error),
        })?;
        let mut result = Err(no_address());
        for local in addresses {
            result = Self::listen(local, options, admission.clone());
            if result.is_ok() {
                break;
            }
        }
        result
    }

    fn listen(
        local: SocketAddr,
        options: &Options,
        admission: Admission,
    ) -> Result<Self, BindError> {
        let failed = |step| move |error: SrtError| BindError::Failed { local, step, error };
        bridge::start()?;
        let raw = RawSocket::new().map_err(failed(Step::Create))?;
        apply::apply(raw.id(), options)?;
        wildcard_family(&raw, local, true).map_err(failed(Step::Bind))?;
        let gate = Arc::new(Gate::new());
        gate.set(admission);
        let theirs: Arc<Gate> = Arc::clone(&gate);
        let hook = Hook::new(&raw, theirs).map_err(failed(Step::Listen))?;
        let source = Arc::new(Source::new(raw));
        // From here on dropping it takes the source from the bridge again.
        let mut listener = Self { source, gate, local, _hook: hook };
        let raw = &listener.source.raw;
        raw.bind(local).map_err(|error| in_use(local, Step::Bind, error))?;
        // Before it listens: a connection that waits already would not be reported.
        bridge::watch(&listener.source, Flags::LISTENER).map_err(|error| match error {
            WatchError::Start(error) => BindError::Start(error),
            WatchError::Srt(error) => failed(Step::Watch)(error),
        })?;
        raw.listen(BACKLOG).map_err(|error| in_use(local, Step::Listen, error))?;
        listener.local = raw.local_addr().map_err(failed(Step::Listen))?;
        Ok(listener)
    }

    /// Takes the next connection, with the peer's address.
    ///
    /// # Suspends
    ///
    /// Until there is one, the listener is closed, a deadline passes or the caller is cancelled.
    ///
    /// # Errors
    ///
    /// All of [`AcceptError`].
    pub fn accept(&self) -> Result<(Socket, SocketAddr), AcceptError> {
        let accepted =
            self.source.perform(&self.source.input, |raw| Ok((raw.accept()?, Left::More)));
        let (raw, peer) = accepted.map_err(|failure| match failure {
            Failure::Closed => AcceptError::Closed,
            Failure::Wait(error) => AcceptError::Wait(error),
            // Closed from another thread, between a look and the call.
            Failure::Srt(_) if self.source.is_closed() => AcceptError::Closed,
            Failure::Srt(error) => AcceptError::Failed(error),
        })?;
        let source = Arc::new(Source::new(raw));
        match bridge::watch(&source, Flags::SOCKET) {
            Ok(()) => {}
            Err(WatchError::Start(_)) => return Err(AcceptError::Closed),
            // It broke before it was accepted: its calls tell.
            Err(WatchError::Srt(error)) if error.is_gone() => {}
            Err(WatchError::Srt(error)) => return Err(AcceptError::Failed(error)),
        }
        Ok((Socket::new(source, None), peer))
    }

    /// Takes the next connection, if one comes until `at`.
    ///
    /// # Suspends
    ///
    /// As [`Listener::accept`].
    ///
    /// # Errors
    ///
    /// As [`Listener::accept`].
    pub fn accept_until(&self, at: Instant) -> Result<(Socket, SocketAddr), AcceptError> {
        deadline(at, || self.accept())
    }

    /// The address that is listened on, with the port that was chosen.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// Puts another table in force, for all attempts from now on. Connections that stand are not touched.
    pub fn set_admission(&self, admission: Admission) {
        self.gate.set(admission);
    }

    /// Who was refused so far: by the table, or by libsrt for a wrong passphrase or another option that
    /// does not fit. What libsrt refuses before the table is asked, such as more attempts than can
    /// wait, it tells only the peer.
    #[must_use]
    pub fn refusals(&self) -> Refusals {
        self.gate.refusals()
    }

    /// Stops listening: coroutines that wait in [`Listener::accept`] get an error, and connections that were not accepted are closed.
    pub fn close(&self) {
        bridge::forget(&self.source);
        self.source.close();
    }
}

fn in_use(local: SocketAddr, step: Step, error: SrtError) -> BindError {
    let taken = error.errno == libc::EADDRINUSE;
    if taken || matches!(error.code(), sys::SRT_EDUPLISTEN | sys::SRT_EBINDCONFLICT) {
        return BindError::InUse { local, error };
    }
    BindError::Failed { local, step, error }
}

fn no_address() -> BindError {
    BindError::Resolve(std::io::Error::new(std::io::ErrorKind::NotFound, "the name has no address"))
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.close();
    }
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Listener({})", self.local)
    }
}
