//! One request and its answer, as a handler sees them.

use std::fmt;
use std::io::{self, IoSlice, Read, Write};
use std::ops::Range;

use http::header::{
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, CONNECTION, CONTENT_LENGTH, DATE,
    TRANSFER_ENCODING,
};
use http::{HeaderMap, HeaderValue, Method, StatusCode, Version};
use thalweg_runtime as rt;

use super::body::{Body, BodyState};
use super::conn::Conn;
use super::request::Request;
use super::response::Response;
use super::server::Peer;
use super::stream::Watch;

/// A request that waits for its answer.
pub struct Exchange<'c, 's> {
    pub(super) conn: &'c mut Conn<'s>,
    pub(super) request: Request,
    pub(super) parameters: Vec<(String, String)>,
    pub(super) allowed: String,
    pub(super) peer: &'c Peer,
    pub(super) body: BodyState,
    pub(super) date: HeaderValue,
    /// Pages of other origins may read the answer.
    pub(super) is_public: bool,
    /// The connection goes on after this, as far as the server is concerned.
    pub(super) may_keep_alive: bool,
    pub(super) state: State,
    pub(super) status: Option<StatusCode>,
}

/// How far the answer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Nothing was sent.
    Unanswered,
    /// The head was sent; the body is not whole, or ends with the connection.
    Open,
    /// All was sent, and the connection can be used again.
    Done,
    /// All was sent, and the connection ends.
    Last,
    /// The handler had the connection for itself.
    TakenOver,
}

/// How the client learns where the body of an answer ends.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Framing {
    Length(u64),
    Chunked,
    /// With the connection.
    Connection,
    /// It is no answer to the request but the beginning of something else.
    Upgrade,
}

impl<'s> Exchange<'_, 's> {
    /// The head of the request.
    #[must_use]
    pub const fn request(&self) -> &Request {
        &self.request
    }

    /// A parameter of the route.
    #[must_use]
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(known, _)| known == name).map(|(_, value)| &**value)
    }

    /// The methods that have a handler at this path, as the value of `Allow`; empty when there is none.
    #[must_use]
    pub fn allowed(&self) -> &str {
        &self.allowed
    }

    /// What was answered; `None` as long as nothing was.
    #[must_use]
    pub const fn status(&self) -> Option<StatusCode> {
        self.status
    }

    /// Who asks.
    #[must_use]
    pub const fn peer(&self) -> &Peer {
        self.peer
    }

    /// The body of the request, of which at most `len_max` bytes are admitted.
    pub fn body(&mut self, len_max: u64) -> Body<'_, 's> {
        Body::new(self.conn, &mut self.body, len_max)
    }

    /// Answers at once. Entity tags and ranges are seen to.
    ///
    /// # Suspends
    ///
    /// Until the answer is written.
    ///
    /// # Errors
    ///
    /// What writing reports.
    ///
    /// # Panics
    ///
    /// When there is an answer already.
    pub fn respond(&mut self, response: Response) -> io::Result<()> {
        let response = response.answering(&self.request);
        let framing = Framing::Length(response.body.len() as u64);
        let head = self.begin(response.status, response.headers, framing);
        let body: &[u8] = if self.has_no_body(response.status) { &[] } else { &response.body };
        self.conn.send(&[&head, body])?;
        self.state = if self.may_keep_alive { State::Done } else { State::Last };
        Ok(())
    }

    /// Answers with a body that is made as it is written. `head` has none.
    ///
    /// # Suspends
    ///
    /// Until the head is written.
    ///
    /// # Errors
    ///
    /// What writing reports.
    ///
    /// # Panics
    ///
    /// When there is an answer already.
    pub fn respond_chunked(&mut self, head: Response) -> io::Result<Chunked<'_, 's>> {
        let is_chunked = self.request.version() == Version::HTTP_11;
        let framing = if is_chunked { Framing::Chunked } else { Framing::Connection };
        let is_silent = self.has_no_body(head.status);
        let bytes = self.begin(head.status, head.headers, framing);
        self.conn.send(&[&bytes])?;
        let after = if self.may_keep_alive { State::Done } else { State::Last };
        Ok(Chunked { conn: self.conn, state: &mut self.state, after, is_chunked, is_silent })
    }

    /// Answers with a body of `len` bytes, of which the caller brings those that are wanted: [`Counted::wanted`]. `head`
    /// has none. Entity tags and ranges are seen to.
    ///
    /// # Suspends
    ///
    /// Until the head is written.
    ///
    /// # Errors
    ///
    /// What writing reports.
    ///
    /// # Panics
    ///
    /// When there is an answer already.
    pub fn respond_counted(&mut self, head: Response, len: u64) -> io::Result<Counted<'_, 's>> {
        let (head, mut wanted) = head.answering_with(&self.request, len);
        let bytes = self.begin(
            head.status,
            head.headers,
            Framing::Length(wanted.end.saturating_sub(wanted.start)),
        );
        self.conn.send(&[&bytes])?;
        if self.has_no_body(head.status) {
            wanted = 0..0;
        }
        let after = if self.may_keep_alive { State::Done } else { State::Last };
        if wanted.is_empty() {
            self.state = after;
        }
        Ok(Counted { conn: self.conn, state: &mut self.state, after, wanted })
    }

    /// Answers with `head`, after which the connection belongs to the handler. For streams without end: each write is a
    /// chunk, so that the client can tell the end of the stream from that of a connection that broke; to a client of
    /// HTTP/1.0 the end of the connection is the end. And with the status `101 Switching Protocols` for something else
    /// than HTTP: what is written goes out as it is then.
    ///
    /// `None` when only the head was wanted, and all is done.
    ///
    /// # Suspends
    ///
    /// Until the head is written.
    ///
    /// # Errors
    ///
    /// What writing reports.
    ///
    /// # Panics
    ///
    /// When there is an answer already.
    pub fn take_over(&mut self, head: Response) -> io::Result<Option<TakenOver<'_, 's>>> {
        let is_upgrade = head.status == StatusCode::SWITCHING_PROTOCOLS;
        let is_chunked = !is_upgrade && self.request.version() == Version::HTTP_11;
        let framing = match (is_upgrade, is_chunked) {
            (true, _) => Framing::Upgrade,
            (false, true) => Framing::Chunked,
            (false, false) => Framing::Connection,
        };
        let has_body = is_upgrade || !self.has_no_body(head.status);
        // Whoever takes the connection over keeps it to its end.
        self.may_keep_alive &= is_upgrade;
        let bytes = self.begin(head.status, head.headers, framing);
        self.conn.send(&[&bytes])?;
        if !has_body {
            self.state = State::Last;
            return Ok(None);
        }
        self.state = State::TakenOver;
        self.conn.release();
        // Reading the head went deep, and this may last for days. What cannot be given back stays.
        let _trimmed = rt::trim_stack();
        Ok(Some(TakenOver { conn: self.conn, is_chunked }))
    }

    fn has_no_body(&self, status: StatusCode) -> bool {
        self.request.method() == Method::HEAD || Response::is_bodiless(status)
    }

    /// Notes that the answer begins, and makes its head.
    fn begin(&mut self, status: StatusCode, mut headers: HeaderMap, framing: Framing) -> Vec<u8> {
        assert!(self.state == State::Unanswered, "a request has one answer");
        self.state = State::Open;
        self.status = Some(status);
        // Where the next request begins has to be known.
        self.may_keep_alive &= self.request.keep_alive && self.body.is_skippable();
        match framing {
            Framing::Length(_) if Response::is_bodiless(status) => {}
            Framing::Length(len) => {
                headers.insert(CONTENT_LENGTH, len.into());
            }
            Framing::Chunked => {
                headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
            }
            Framing::Connection => self.may_keep_alive = false,
            Framing::Upgrade => {}
        }
        if framing != Framing::Upgrade {
            let connection = match (self.may_keep_alive, self.request.version()) {
                (false, _) => Some("close"),
                (true, Version::HTTP_10) => Some("keep-alive"),
                (true, _) => None,
            };
            if let Some(connection) = connection {
                headers.insert(CONNECTION, HeaderValue::from_static(connection));
            }
        }
        if self.is_public {
            let any = HeaderValue::from_static("*");
            headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, any.clone());
            headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, any);
        }
        headers.insert(DATE, self.date.clone());
        encode(status, &headers)
    }
}

/// The head of an answer (RFC 9112 §4, §5).
fn encode(status: StatusCode, headers: &HeaderMap) -> Vec<u8> {
    let mut head = Vec::with_capacity(256);
    head.extend_from_slice(b"HTTP/1.1 ");
    head.extend_from_slice(status.as_str().as_bytes());
    head.push(b' ');
    head.extend_from_slice(status.canonical_reason().unwrap_or_default().as_bytes());
    for (name, value) in headers {
        head.extend_from_slice(b"\r\n");
        head.extend_from_slice(name.as_str().as_bytes());
        head.extend_from_slice(b": ");
        head.extend_from_slice(value.as_bytes());
    }
    head.extend_from_slice(b"\r\n\r\n");
    head
}

/// A body that is written in pieces. One that is not [finished](Self::finish) ends the connection in the middle, so
/// that the client takes it for what it is.
pub struct Chunked<'a, 's> {
    conn: &'a mut Conn<'s>,
    state: &'a mut State,
    after: State,
    is_chunked: bool,
    /// Only the head was wanted.
    is_silent: bool,
}

impl Chunked<'_, '_> {
    /// Ends the body.
    ///
    /// # Suspends
    ///
    /// Until the end is written.
    ///
    /// # Errors
    ///
    /// What writing reports.
    pub fn finish(self) -> io::Result<()> {
        if self.is_chunked && !self.is_silent {
            self.conn.send(&[b"0\r\n\r\n"])?;
        }
        *self.state = self.after;
        Ok(())
    }
}

/// Each write is a chunk, and leaves at once.
impl Write for Chunked<'_, '_> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        // An empty chunk would be the end.
        if buf.is_empty() || self.is_silent {
            return Ok(buf.len());
        }
        if self.is_chunked {
            self.conn.send(&[format!("{:x}\r\n", buf.len()).as_bytes(), buf, b"\r\n"])?;
        } else {
            self.conn.send(&[buf])?;
        }
        Ok(buf.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A body whose size was said before. One that is not written whole ends the connection.
pub struct Counted<'a, 's> {
    conn: &'a mut Conn<'s>,
    state: &'a mut State,
    after: State,
    wanted: Range<u64>,
}

impl Counted<'_, '_> {
    /// Which bytes are still wanted; none when only the head is.
    #[must_use]
    pub fn wanted(&self) -> Range<u64> {
        self.wanted.clone()
    }

    /// Writes the next of them. What is too much is left out.
    ///
    /// # Suspends
    ///
    /// Until they are written.
    ///
    /// # Errors
    ///
    /// What writing reports.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let left = usize::try_from(self.wanted.end - self.wanted.start).unwrap_or(usize::MAX);
        let bytes = bytes.get(..left).unwrap_or(bytes);
        self.conn.send(&[bytes])?;
        self.wanted.start += bytes.len() as u64;
        if self.wanted.is_empty() {
            *self.state = self.after;
        }
        Ok(())
    }
}

/// A connection that belongs to a handler.
///
/// Reading gives what the client sends after its request. Writing has no time limit of its own: the handler knows how
/// long a peer may take.
pub struct TakenOver<'a, 's> {
    conn: &'a mut Conn<'s>,
    is_chunked: bool,
}

/// As many pieces as a chunk is written in at once, besides its size and its end.
const PIECES: usize = 128;

/// As many as most writes have.
const FEW: usize = 6;

impl TakenOver<'_, '_> {
    /// What tells, while somebody writes, that the client has sent something or gone away. `None` where nothing does.
    #[must_use]
    pub fn watch(&self) -> Option<Box<dyn Watch>> {
        self.conn.stream().watch()
    }
}

impl Read for TakenOver<'_, '_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.conn.read(buf)
    }
}

impl Write for TakenOver<'_, '_> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.write_vectored(&[IoSlice::new(buf)])
    }

    fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        if !self.is_chunked {
            return self.conn.write_vectored(bufs);
        }
        if bufs.len() <= FEW {
            self.write_chunk::<{ FEW + 2 }>(bufs)
        } else {
            self.write_chunk::<{ PIECES + 2 }>(
                bufs.get(..bufs.len().min(PIECES)).unwrap_or_default(),
            )
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.conn.flush()
    }
}

impl TakenOver<'_, '_> {
    /// Writes `bufs`, at most `N - 2`, as a chunk.
    #[inline(never)] // Who writes few pieces does not touch the memory for many.
    fn write_chunk<const N: usize>(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        let len = bufs.iter().map(|buf| buf.len()).sum();
        // An empty chunk would be the end.
        if len == 0 {
            return Ok(0);
        }
        let mut size = [0; SIZE_LEN];
        let size = encode_size(len, &mut size);
        let mut slices = [IoSlice::new(&[]); N];
        let mut count = 0;
        let pieces = [IoSlice::new(size)].into_iter().chain(bufs.iter().copied());
        for (slice, piece) in slices.iter_mut().zip(pieces.chain([IoSlice::new(b"\r\n")])) {
            *slice = piece;
            count += 1;
        }
        let mut rest = slices.get_mut(..count).unwrap_or_default();
        // A chunk has to be whole, so this goes on until it is.
        IoSlice::advance_slices(&mut rest, 0);
        while !rest.is_empty() {
            match self.conn.write_vectored(rest)? {
                0 => return Err(io::ErrorKind::WriteZero.into()),
                written => IoSlice::advance_slices(&mut rest, written),
            }
        }
        Ok(len)
    }

    /// Tells the client that the stream is over, where that can be told.
    ///
    /// # Suspends
    ///
    /// Until it is written.
    ///
    /// # Errors
    ///
    /// What writing reports.
    pub fn finish(&mut self) -> io::Result<()> {
        if self.is_chunked { self.conn.send(&[b"0\r\n\r\n"]) } else { Ok(()) }
    }
}

/// As long as the size of a chunk can be, with the line's end.
const SIZE_LEN: usize = 18;

/// The size of a chunk as its first line (RFC 9112 §7.1), without a heap: this is written for every piece of a stream.
fn encode_size(len: usize, room: &mut [u8; SIZE_LEN]) -> &[u8] {
    let mut start = SIZE_LEN;
    let mut put = |byte| {
        start -= 1;
        if let Some(place) = room.get_mut(start) {
            *place = byte;
        }
    };
    put(b'\n');
    put(b'\r');
    let mut rest = len;
    loop {
        let digit = (rest % 16) as u8;
        put(if digit < 10 { b'0' + digit } else { b'a' + digit - 10 });
        rest /= 16;
        if rest == 0 {
            break;
        }
    }
    room.get(start..).unwrap_or_default()
}

impl fmt::Debug for Exchange<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { request, peer, state, .. } = self;
        f.debug_struct("Exchange")
            .field("request", request)
            .field("peer", peer)
            .field("state", state)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Chunked<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Chunked").field("state", &self.state).finish_non_exhaustive()
    }
}

impl fmt::Debug for Counted<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Counted").field("wanted", &self.wanted).finish_non_exhaustive()
    }
}

impl fmt::Debug for TakenOver<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TakenOver").field("is_chunked", &self.is_chunked).finish_non_exhaustive()
    }
}
