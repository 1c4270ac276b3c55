//! The body of a request as something to read from, sized or chunked, with a bound on its size and on its time.

use std::fmt;
use std::io::{self, Read};
use std::time::{Duration, Instant};

use http::StatusCode;
use thalweg_runtime as rt;

use super::conn::Conn;
use super::request::Framing;

/// A request's body. Reading ends where the body does, and fails with a [`BodyError`] inside the error.
pub struct Body<'a, 's> {
    conn: &'a mut Conn<'s>,
    state: &'a mut BodyState,
}

/// How far a body was read.
#[derive(Debug)]
pub(super) struct BodyState {
    next: Next,
    /// The client waits for our word before it sends.
    awaits_continue: bool,
    /// How many more bytes the reader admits.
    admitted: u64,
    timeout: Duration,
    /// When all of it has to be there; set with the first read.
    deadline: Option<Instant>,
}

/// What comes next on the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    /// So many bytes of a sized body; ends with them.
    Sized(u64),
    /// The line with the size of a chunk. A size of 0 ends the body, after its trailers.
    ChunkSize,
    /// So many more bytes of a chunk, and CR LF after them.
    Chunk(u64),
    /// What is behind the body.
    Nothing,
    /// No one knows: the framing was broken.
    Unknown,
}

/// Why a body cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BodyError {
    /// It is longer than its reader admits.
    TooLong,
    /// Its chunks break the grammar.
    Malformed,
    /// The connection ended in it.
    Truncated,
    /// It did not come in time.
    TimedOut,
}

/// How long the line of a chunk's size may be, its extensions included.
const SIZE_LINE_MAX: usize = 256;

/// How many bytes of trailers are passed over.
const TRAILERS_MAX: usize = 4096;

impl BodyState {
    pub(super) fn new(framing: Framing, awaits_continue: bool, timeout: Duration) -> Self {
        let next = match framing {
            Framing::None => Next::Nothing,
            Framing::Length(len) => Next::Sized(len),
            Framing::Chunked => Next::ChunkSize,
        };
        Self { next, awaits_continue, admitted: 0, timeout, deadline: None }
    }

    /// Whether what comes next on the connection is another request, or little enough that it can be read away.
    pub(super) fn is_skippable(&self) -> bool {
        match self.next {
            Next::Nothing => true,
            // A client that waits may send its body or not; nobody can tell which.
            _ if self.awaits_continue => false,
            Next::Sized(len) => len <= SKIPPED_MAX,
            Next::ChunkSize | Next::Chunk(_) => true,
            Next::Unknown => false,
        }
    }

    /// Reads away what the handler left. `false` when that is too much or fails.
    pub(super) fn skip(&mut self, conn: &mut Conn<'_>) -> bool {
        if !self.is_skippable() {
            return false;
        }
        let mut sink = [0; 512];
        let mut body = Body::new(conn, self, SKIPPED_MAX);
        loop {
            match body.read(&mut sink) {
                Ok(0) => return true,
                Ok(_) => {}
                Err(_) => return false,
            }
        }
    }
}

/// How much of a body that nobody wants is read, so that the connection can be kept.
const SKIPPED_MAX: u64 = 64 << 10;

impl<'a, 's> Body<'a, 's> {
    pub(super) fn new(conn: &'a mut Conn<'s>, state: &'a mut BodyState, admitted: u64) -> Self {
        state.admitted = admitted;
        Self { conn, state }
    }

    /// Reads all of it.
    ///
    /// # Suspends
    ///
    /// Until it is there.
    ///
    /// # Errors
    ///
    /// [`BodyError`] inside the error, and what the connection reports.
    pub fn read_all(mut self) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    fn read_some(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.state.next {
                Next::Nothing => return Ok(0),
                Next::Unknown => return Err(BodyError::Malformed.into()),
                Next::Sized(left) => {
                    let count = self.read_data(left, buf)?;
                    let left = left - count as u64;
                    self.state.next = if left == 0 { Next::Nothing } else { Next::Sized(left) };
                    return Ok(count);
                }
                Next::ChunkSize => {
                    let size = self.read_size()?;
                    self.state.next = if size == 0 {
                        self.skip_trailers()?;
                        Next::Nothing
                    } else {
                        Next::Chunk(size)
                    };
                }
                Next::Chunk(0) => {
                    self.read_line(0)?;
                    self.state.next = Next::ChunkSize;
                }
                Next::Chunk(left) => {
                    let count = self.read_data(left, buf)?;
                    self.state.next = Next::Chunk(left - count as u64);
                    return Ok(count);
                }
            }
        }
    }

    /// Reads from the `left` bytes that come next; `buf` is not empty.
    fn read_data(&mut self, left: u64, buf: &mut [u8]) -> io::Result<usize> {
        if self.state.admitted == 0 {
            return Err(BodyError::TooLong.into());
        }
        let wanted = left.min(self.state.admitted).min(buf.len() as u64);
        // No more than `buf` has.
        let wanted = usize::try_from(wanted).unwrap_or(buf.len());
        let count = self.conn.read(buf.get_mut(..wanted).unwrap_or_default())?;
        if count == 0 {
            return Err(BodyError::Truncated.into());
        }
        self.state.admitted -= count as u64;
        Ok(count)
    }

    /// RFC 9112 §7.1: hexadecimal digits, then perhaps extensions, which nobody uses.
    fn read_size(&mut self) -> io::Result<u64> {
        let line = self.read_line(SIZE_LINE_MAX)?;
        let digits = line.iter().take_while(|b| b.is_ascii_hexdigit()).count();
        let (digits, rest) = line.split_at_checked(digits).unwrap_or_default();
        let rest = rest.trim_ascii_start();
        let is_clean = rest.is_empty() || rest.starts_with(b";");
        if digits.is_empty() || digits.len() > 15 || !is_clean {
            return Err(BodyError::Malformed.into());
        }
        let digits = std::str::from_utf8(digits).unwrap_or_default();
        u64::from_str_radix(digits, 16).map_err(|_| BodyError::Malformed.into())
    }

    fn skip_trailers(&mut self) -> io::Result<()> {
        let mut left = TRAILERS_MAX;
        loop {
            let line = self.read_line(left)?;
            if line.is_empty() {
                return Ok(());
            }
            left = left.saturating_sub(line.len() + 2);
        }
    }

    /// Reads a line of at most `len_max` bytes, and gives it without its CR LF.
    fn read_line(&mut self, len_max: usize) -> io::Result<Vec<u8>> {
        loop {
            let unread = self.conn.unread();
            if let Some(at) = unread.iter().position(|&b| b == b'\n') {
                let line = unread.get(..at).and_then(|line| line.strip_suffix(b"\r"));
                let line = line.filter(|line| line.len() <= len_max && !line.contains(&b'\r'));
                let line = line.ok_or(BodyError::Malformed)?.to_vec();
                self.conn.consume(at + 1);
                return Ok(line);
            }
            if unread.len() > len_max + 1 {
                return Err(BodyError::Malformed.into());
            }
            if self.conn.fill()? == 0 {
                return Err(BodyError::Truncated.into());
            }
        }
    }
}

impl Read for Body<'_, '_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if buf.is_empty() || self.state.next == Next::Nothing {
            return Ok(0);
        }
        if matches!(self.state.next, Next::Sized(len) if len > self.state.admitted) {
            return Err(BodyError::TooLong.into());
        }
        if self.state.awaits_continue {
            self.state.awaits_continue = false;
            self.conn.send(&[b"HTTP/1.1 100 Continue\r\n\r\n"])?;
        }
        let timeout = self.state.timeout;
        let deadline = *self.state.deadline.get_or_insert_with(|| rt::now() + timeout);
        let result = rt::deadline(deadline, || self.read_some(buf));
        result.map_err(|error| {
            self.state.next = Next::Unknown;
            // A deadline of whoever is around us is theirs to handle.
            match rt::timed_out(&error) {
                Some(passed) if !passed.is_outer() => BodyError::TimedOut.into(),
                _ => error,
            }
        })
    }
}

impl BodyError {
    /// The error inside an [`io::Error`] that reading returned.
    pub(super) fn inside(error: &io::Error) -> Option<Self> {
        error.get_ref()?.downcast_ref().copied()
    }

    /// The status that tells the client.
    #[must_use]
    pub const fn status(self) -> StatusCode {
        match self {
            Self::TooLong => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Malformed | Self::Truncated => StatusCode::BAD_REQUEST,
            Self::TimedOut => StatusCode::REQUEST_TIMEOUT,
        }
    }
}

impl From<BodyError> for io::Error {
    fn from(error: BodyError) -> Self {
        let kind = match error {
            BodyError::TooLong | BodyError::Malformed => io::ErrorKind::InvalidData,
            BodyError::Truncated => io::ErrorKind::UnexpectedEof,
            BodyError::TimedOut => io::ErrorKind::TimedOut,
        };
        Self::new(kind, error)
    }
}

impl fmt::Display for BodyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooLong => "the body of the request is too long",
            Self::Malformed => "the chunks of the request's body are malformed",
            Self::Truncated => "the connection ended in the body of the request",
            Self::TimedOut => "the body of the request did not come in time",
        })
    }
}

impl std::error::Error for BodyError {}

impl fmt::Debug for Body<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Body").field("state", &self.state).finish_non_exhaustive()
    }
}
