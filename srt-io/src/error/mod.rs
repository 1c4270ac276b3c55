//! Why an operation failed: one enum for each.
//!
//! Each tells apart what a caller acts on: its own cancellation and deadlines ([`WaitError`]), its own
//! close, the peer's close, a connection that broke, and a mistake in what was asked for. [`SrtError`] inside has
//! SRT's own code. All of them convert into [`std::io::Error`]; none becomes `Interrupted`, and
//! [`thalweg_runtime::is_cancelled`] and [`thalweg_runtime::timed_out`] work on the result.

mod code;

use std::error::Error;
use std::fmt;
use std::io;
use std::net::SocketAddr;

use thalweg_runtime::WaitError;

use crate::options::OptionError;
use crate::reject::RejectReason;

pub use code::SrtError;

/// Why there is no listener.
#[derive(Debug)]
#[non_exhaustive]
pub enum BindError {
    /// The text is no address, or the name could not be resolved.
    Resolve(io::Error),
    /// An option is wrong, or the library does not have it.
    Option(OptionError),
    /// Another socket has the port, or has it with other options.
    InUse {
        /// The address asked for.
        local: SocketAddr,
        /// What the library said.
        error: SrtError,
    },
    /// The library refused.
    Failed {
        /// The address asked for.
        local: SocketAddr,
        /// What it refused.
        step: Step,
        /// What it said.
        error: SrtError,
    },
    /// The library could not be started.
    Start(StartError),
    /// The caller was cancelled, ran out of time, or may not wait here.
    Wait(WaitError),
}

/// Why there is no connection.
#[derive(Debug)]
#[non_exhaustive]
pub enum ConnectError {
    /// The text is no address, or the name could not be resolved.
    Resolve(io::Error),
    /// An option is wrong, or the library does not have it.
    Option(OptionError),
    /// The peer rejected the connection, or this side did by its options, and said why.
    Rejected {
        /// Whom the call was for.
        peer: SocketAddr,
        /// Why.
        reason: RejectReason,
    },
    /// The peer did not answer within the connect timeout of the options: it is not there, or a firewall is.
    NoAnswer {
        /// Whom the call was for.
        peer: SocketAddr,
    },
    /// The library refused.
    Failed {
        /// Whom the call was for.
        peer: SocketAddr,
        /// What it refused.
        step: Step,
        /// What it said.
        error: SrtError,
    },
    /// The library could not be started.
    Start(StartError),
    /// The caller was cancelled, ran out of time, or may not wait here. The attempt was given up.
    Wait(WaitError),
}

/// Why no connection was accepted.
#[derive(Debug)]
#[non_exhaustive]
pub enum AcceptError {
    /// [`Listener::close`](crate::Listener::close) was called.
    Closed,
    /// The library refused.
    Failed(SrtError),
    /// The caller was cancelled, ran out of time, or may not wait here. No connection was lost.
    Wait(WaitError),
}

/// Why nothing was received.
#[derive(Debug)]
#[non_exhaustive]
pub enum RecvError {
    /// This side closed the socket.
    Closed,
    /// The peer closed the connection, and all that was due has been received.
    Disconnected,
    /// Nothing came from the peer for longer than the peer idle timeout, and all that was due has been
    /// received. A peer that fell silent a few seconds before it closed may pass for broken, too: libsrt
    /// does not tell the two apart.
    Broken,
    /// The buffer is smaller than a message may be. Nothing was taken.
    BufferTooSmall {
        /// How large it has to be, in bytes.
        needed: usize,
    },
    /// The library refused.
    Failed(SrtError),
    /// The caller was cancelled, ran out of time, or may not wait here. Nothing was taken.
    Wait(WaitError),
}

/// Why nothing was sent.
#[derive(Debug)]
#[non_exhaustive]
pub enum SendError {
    /// This side closed the socket.
    Closed,
    /// The peer closed the connection.
    Disconnected,
    /// Nothing came from the peer for longer than the peer idle timeout.
    Broken,
    /// The message is larger than the socket's options allow.
    TooLarge {
        /// Its size, in bytes.
        size: usize,
        /// What is allowed, in bytes.
        limit: usize,
    },
    /// The library refused.
    Failed(SrtError),
    /// The caller was cancelled, ran out of time, or may not wait here. Nothing was taken.
    Wait(WaitError),
}

/// Why [`Socket::finish`](crate::Socket::finish) did not see everything delivered. The socket is closed all the same.
#[derive(Debug)]
#[non_exhaustive]
pub enum FinishError {
    /// The deadline passed first.
    Unsent {
        /// Packets that the peer had not acknowledged.
        packets: usize,
    },
    /// This side had closed the socket.
    Closed,
    /// The peer closed the connection first.
    Disconnected,
    /// Nothing came from the peer for longer than the peer idle timeout.
    Broken,
    /// The caller was cancelled, ran out of time, or may not wait here.
    Wait(WaitError),
}

/// Why the library could not be started.
#[derive(Debug)]
#[non_exhaustive]
pub enum StartError {
    /// It said so.
    Library(SrtError),
    /// No thread could be started for its events.
    Thread(io::Error),
    /// [`cleanup`](crate::cleanup) has ended it.
    Ended,
}

/// What was being done to a socket when it failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Step {
    /// Making it.
    Create,
    /// Binding it to a local address.
    Bind,
    /// Beginning to listen.
    Listen,
    /// Connecting.
    Connect,
    /// Watching it for events.
    Watch,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Create => "create a socket",
            Self::Bind => "bind",
            Self::Listen => "listen",
            Self::Connect => "connect",
            Self::Watch => "watch a socket",
        })
    }
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Resolve(error) => error.fmt(f),
            Self::Option(error) => error.fmt(f),
            Self::InUse { local, error } => write!(f, "{local} is in use: {error}"),
            Self::Failed { local, step, error } => write!(f, "cannot {step} on {local}: {error}"),
            Self::Start(error) => error.fmt(f),
            Self::Wait(error) => error.fmt(f),
        }
    }
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Resolve(error) => error.fmt(f),
            Self::Option(error) => error.fmt(f),
            Self::Rejected { peer, reason } => {
                write!(f, "the connection to {peer} was rejected: {reason}")
            }
            Self::NoAnswer { peer } => write!(f, "{peer} did not answer"),
            Self::Failed { peer, step, error } => write!(f, "cannot {step} to {peer}: {error}"),
            Self::Start(error) => error.fmt(f),
            Self::Wait(error) => error.fmt(f),
        }
    }
}

impl fmt::Display for AcceptError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("the listener was closed"),
            Self::Failed(error) => write!(f, "cannot accept: {error}"),
            Self::Wait(error) => error.fmt(f),
        }
    }
}

impl fmt::Display for RecvError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str(CLOSED),
            Self::Disconnected => f.write_str(DISCONNECTED),
            Self::Broken => f.write_str(BROKEN),
            Self::BufferTooSmall { needed } => {
                write!(f, "the buffer is too small: a message may have {needed} bytes")
            }
            Self::Failed(error) => write!(f, "cannot receive: {error}"),
            Self::Wait(error) => error.fmt(f),
        }
    }
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str(CLOSED),
            Self::Disconnected => f.write_str(DISCONNECTED),
            Self::Broken => f.write_str(BROKEN),
            Self::TooLarge { size, limit } => {
                write!(f, "the message is too large: {size} bytes where {limit} are allowed")
            }
            Self::Failed(error) => write!(f, "cannot send: {error}"),
            Self::Wait(error) => error.fmt(f),
        }
    }
}

impl fmt::Display for FinishError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unsent { packets } => {
                write!(f, "the deadline passed with {packets} packets not acknowledged")
            }
            Self::Closed => f.write_str(CLOSED),
            Self::Disconnected => f.write_str(DISCONNECTED),
            Self::Broken => f.write_str(BROKEN),
            Self::Wait(error) => error.fmt(f),
        }
    }
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Library(error) => write!(f, "cannot start libsrt: {error}"),
            Self::Thread(error) => write!(f, "cannot start the thread for SRT's events: {error}"),
            Self::Ended => f.write_str("libsrt was ended by cleanup()"),
        }
    }
}

const CLOSED: &str = "the socket was closed";
const DISCONNECTED: &str = "the peer closed the connection";
const BROKEN: &str = "the connection broke: the peer is silent";

macro_rules! errors {
    ($($name:ident { $($pattern:pat => $kind:expr),* $(,)? })*) => {$(
        impl Error for $name {}

        impl From<WaitError> for $name {
            fn from(error: WaitError) -> Self {
                Self::Wait(error)
            }
        }

        impl From<$name> for io::Error {
            fn from(error: $name) -> Self {
                use io::ErrorKind as Kind;
                use $name as E;
                let kind = match &error {
                    E::Wait(wait) => return (*wait).into(),
                    $($pattern => $kind),*
                };
                Self::new(kind, error)
            }
        }
    )*};
}

errors! {
    BindError {
        E::Resolve(error) => error.kind(),
        E::Option(_) => Kind::InvalidInput,
        E::InUse { .. } => Kind::AddrInUse,
        E::Failed { error, .. } => error.kind(),
        E::Start(_) => Kind::Other,
    }
    ConnectError {
        E::Resolve(error) => error.kind(),
        E::Option(_) => Kind::InvalidInput,
        E::Rejected { .. } => Kind::ConnectionRefused,
        E::NoAnswer { .. } => Kind::TimedOut,
        E::Failed { error, .. } => error.kind(),
        E::Start(_) => Kind::Other,
    }
    AcceptError {
        E::Closed => Kind::NotConnected,
        E::Failed(error) => error.kind(),
    }
    RecvError {
        E::Closed => Kind::NotConnected,
        E::Disconnected => Kind::ConnectionAborted,
        E::Broken => Kind::ConnectionReset,
        E::BufferTooSmall { .. } => Kind::InvalidInput,
        E::Failed(error) => error.kind(),
    }
    SendError {
        E::Closed => Kind::NotConnected,
        E::Disconnected => Kind::BrokenPipe,
        E::Broken => Kind::ConnectionReset,
        E::TooLarge { .. } => Kind::InvalidInput,
        E::Failed(error) => error.kind(),
    }
    FinishError {
        E::Unsent { .. } => Kind::TimedOut,
        E::Closed => Kind::NotConnected,
        E::Disconnected => Kind::ConnectionAborted,
        E::Broken => Kind::ConnectionReset,
    }
}

impl Error for StartError {}

impl From<StartError> for BindError {
    fn from(error: StartError) -> Self {
        Self::Start(error)
    }
}

impl From<StartError> for ConnectError {
    fn from(error: StartError) -> Self {
        Self::Start(error)
    }
}

impl From<OptionError> for BindError {
    fn from(error: OptionError) -> Self {
        Self::Option(error)
    }
}

impl From<OptionError> for ConnectError {
    fn from(error: OptionError) -> Self {
        Self::Option(error)
    }
}
