//! The error codes of SRT's API: what libsrt itself says when a call fails.
//!
//! The numbers are those of `SRT_ERRNO` in `srt.h` of libsrt 1.5.1. Errors of this crate say what they mean
//! for the caller; the code is in them for who compares with other tools and their logs.

use std::error::Error;
use std::fmt;
use std::io;

/// A code of SRT's API with the system's error behind it, if there is one.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SrtError {
    pub(crate) code: i32,
    pub(crate) errno: i32,
}

impl SrtError {
    /// What went wrong is not known.
    pub(crate) const UNKNOWN: Self = Self { code: -1, errno: 0 };

    pub(crate) const fn new(code: i32, errno: i32) -> Self {
        Self { code, errno }
    }

    /// The number, such as 2001 for a broken connection.
    #[must_use]
    pub const fn code(self) -> i32 {
        self.code
    }

    /// The system's error behind it.
    #[must_use]
    pub fn os_error(self) -> Option<io::Error> {
        (self.errno != 0).then(|| io::Error::from_raw_os_error(self.errno))
    }

    /// What the code means, in words.
    #[must_use]
    pub fn message(self) -> String {
        self.to_string()
    }

    /// Whether the call would have had to wait.
    pub(crate) const fn would_block(self) -> bool {
        // SRT_EASYNCFAIL, SRT_EASYNCSND, SRT_EASYNCRCV; 6004 is a warning that the call succeeded with.
        matches!(self.code, 6000..=6002)
    }

    /// Whether the connection, or the socket, is no more.
    pub(crate) const fn is_gone(self) -> bool {
        // SRT_ECONNLOST, SRT_ENOCONN, SRT_EINVSOCK: collected after it broke, SRT_ESCLOSED.
        matches!(self.code, 2001 | 2002 | 5004 | 1005)
    }

    /// What went wrong, and its meaning; the rest of the table is in [`fmt::Display`].
    fn words(self) -> &'static str {
        match self.code {
            1000 => "the connection could not be set up",
            1001 => "the connection could not be set up in time",
            1002 => "the connection was rejected",
            1003 => "no socket could be created or configured",
            1004 => "aborted for security reasons: is the passphrase right?",
            1005 => "the socket was closed during the operation",
            2000 => "the connection failed",
            2001 => "the connection broke",
            2002 => "there is no connection",
            3000 => "out of a resource of the system",
            3001 => "no thread could be started",
            3002 => "out of memory for buffers",
            3003 => "an object of the system could not be had",
            4000..=4004 => "a file could not be read or written",
            5000 => "the operation is not supported",
            5001 => "the socket is bound already",
            5002 => "the socket is connected already",
            5003 => "a parameter is wrong",
            5004 => "there is no such socket",
            5005 => "the socket is not bound",
            5006 => "the socket does not listen",
            5007 => "a rendezvous socket cannot listen",
            5008 => "a rendezvous socket has to be bound",
            5009 => "the buffer or the message does not fit this mode of transmission",
            5010 => "the call does not fit this mode of transmission",
            5011 => "another socket listens on this port",
            5012 => "the message is larger than the send buffer",
            5013 => "there is no such event set",
            5014 => "the event set is empty",
            5015 => "another socket is bound to this port with other settings",
            6000..=6002 => "the call would have to wait",
            6003 => "the operation timed out",
            6004 => "the network is congested",
            7000 => "the peer reported an error",
            _ => "what went wrong is unknown",
        }
    }

    /// The kind of the same error of the system's own sockets.
    pub(crate) const fn kind(self) -> io::ErrorKind {
        use io::ErrorKind as Kind;
        match self.code {
            1001 | 6003 => Kind::TimedOut,
            1002 => Kind::ConnectionRefused,
            1004 => Kind::PermissionDenied,
            1005 | 2001 => Kind::ConnectionAborted,
            2002 | 5004 => Kind::NotConnected,
            3002 => Kind::OutOfMemory,
            5000 | 5009 | 5010 => Kind::Unsupported,
            5003 | 5012 => Kind::InvalidInput,
            5011 | 5015 => Kind::AddrInUse,
            6000..=6002 => Kind::WouldBlock,
            _ => Kind::Other,
        }
    }
}

impl fmt::Display for SrtError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (SRT error {}", self.words(), self.code)?;
        match self.os_error() {
            Some(error) => write!(f, ": {error})"),
            None => f.write_str(")"),
        }
    }
}

impl fmt::Debug for SrtError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SrtError({self})")
    }
}

impl Error for SrtError {}
