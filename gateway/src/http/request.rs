//! The head of a request, read strictly: what is malformed or may be read in two ways is refused by name.

use std::fmt;
use std::io;

use http::header::{CONNECTION, CONTENT_LENGTH, EXPECT, HOST, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version};

use super::conn::Conn;
use super::target::{Target, is_host};

/// The head of a request.
#[derive(Debug)]
pub struct Request {
    method: Method,
    version: Version,
    target: Target,
    headers: HeaderMap,
    pub(super) framing: Framing,
    /// The client waits for `100 Continue` before it sends a body.
    pub(super) expects_continue: bool,
    /// The client would send further requests on this connection.
    pub(super) keep_alive: bool,
}

/// Where the body of a request ends (RFC 9112 §6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// There is none.
    None,
    /// After so many bytes.
    Length(u64),
    /// Where its chunks say.
    Chunked,
}

/// Why a request is refused. The connection ends with it: nobody knows where the next would begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BadRequest {
    /// The head is longer than 16 KiB.
    HeadTooLong,
    /// There are more than 64 headers.
    TooManyHeaders,
    /// A line does not end in CR LF.
    LineEnd,
    /// The head breaks the grammar; what is between spaces or before a colon is no token, or a line is folded.
    Syntax,
    /// HTTP of another major version.
    Version,
    /// The target cannot be understood, or could be understood in two ways.
    Target,
    /// `CONNECT`: this is no proxy.
    Connect,
    /// No `Host`, several, or one that is none.
    Host,
    /// `Content-Length` is there twice or is no number.
    ContentLength,
    /// Both `Content-Length` and `Transfer-Encoding` say where the body ends.
    TwoFramings,
    /// A `Transfer-Encoding` that does not end in `chunked`, is there twice, or came with HTTP/1.0.
    TransferEncoding,
    /// A transfer coding besides `chunked`.
    Coding,
    /// An `Expect` other than `100-continue`.
    Expectation,
    /// What proxies say about who asks contradicts itself, or does not tell.
    Forwarded,
}

/// How many bytes the head of a request may have.
pub(super) const HEAD_LEN_MAX: usize = 16 << 10;

/// How many headers a request may have.
pub(super) const HEADERS_MAX: usize = 64;

/// Why there is no request.
#[derive(Debug)]
pub(super) enum HeadError {
    /// The stream ended or failed, or a deadline passed.
    Io(io::Error),
    /// What came is refused.
    Bad(BadRequest),
}

impl Request {
    /// Reads the next head.
    ///
    /// # Suspends
    ///
    /// Until it is there.
    pub(super) fn read(conn: &mut Conn<'_>) -> Result<Self, HeadError> {
        let len = await_head(conn)?;
        let head = conn.unread().get(..len).unwrap_or_default();
        let request = Self::parse(head).map_err(HeadError::Bad)?;
        conn.consume(len);
        Ok(request)
    }

    /// Reads a whole head, the empty line included.
    fn parse(head: &[u8]) -> Result<Self, BadRequest> {
        let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
        let mut raw = httparse::Request::new(&mut headers);
        match raw.parse(head) {
            Ok(httparse::Status::Complete(_)) => {}
            Ok(httparse::Status::Partial) => return Err(BadRequest::Syntax),
            Err(httparse::Error::TooManyHeaders) => return Err(BadRequest::TooManyHeaders),
            Err(httparse::Error::Version) => return Err(version_error(head)),
            Err(_) => return Err(BadRequest::Syntax),
        }
        let version = match raw.version {
            Some(0) => Version::HTTP_10,
            Some(1) => Version::HTTP_11,
            _ => return Err(BadRequest::Version),
        };
        let method = Method::from_bytes(raw.method.unwrap_or_default().as_bytes());
        let method = method.map_err(|_| BadRequest::Syntax)?;
        let target = Target::parse(&method, raw.path.unwrap_or_default())?;
        let headers = collect(raw.headers)?;
        check_host(version, &headers)?;
        let framing = Framing::of(version, &headers)?;
        let expects_continue = expects_continue(version, &headers)?;
        let keep_alive = keeps_alive(version, &headers);
        Ok(Self { method, version, target, headers, framing, expects_continue, keep_alive })
    }

    /// The method.
    #[must_use]
    pub const fn method(&self) -> &Method {
        &self.method
    }

    /// HTTP/1.0 or HTTP/1.1.
    #[must_use]
    pub const fn version(&self) -> Version {
        self.version
    }

    /// Path and query.
    #[must_use]
    pub const fn target(&self) -> &Target {
        &self.target
    }

    /// All headers.
    #[must_use]
    pub const fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// The value of a header, when it is there once and is text.
    #[must_use]
    pub fn header(&self, name: &HeaderName) -> Option<&str> {
        let mut values = self.headers.get_all(name).iter();
        let value = values.next()?.to_str().ok()?;
        values.next().is_none().then_some(value)
    }

    /// What the client calls this server: name or address, perhaps with a port. It can say what it likes.
    #[must_use]
    pub fn host(&self) -> Option<&str> {
        self.target
            .authority
            .as_deref()
            .or_else(|| self.header(&HOST))
            .filter(|host| !host.is_empty())
    }
}

/// Reads until a whole head is there, and tells how long it is.
fn await_head(conn: &mut Conn<'_>) -> Result<usize, HeadError> {
    let mut scanned = 0;
    let mut skipped = 0;
    loop {
        // Empty lines before a request are passed over (RFC 9112 §2.2).
        while conn.unread().starts_with(b"\r\n") {
            conn.consume(2);
            skipped += 2;
            scanned = 0;
        }
        if let Some(len) = find_end(conn.unread(), &mut scanned).map_err(HeadError::Bad)? {
            return Ok(len);
        }
        if conn.unread().len() + skipped >= HEAD_LEN_MAX {
            return Err(HeadError::Bad(BadRequest::HeadTooLong));
        }
        if conn.fill().map_err(HeadError::Io)? == 0 {
            return Err(HeadError::Io(io::ErrorKind::UnexpectedEof.into()));
        }
    }
}

/// Looks for the empty line from `scanned` on, so that a head which comes byte by byte is looked at once. Every LF must
/// have its CR: without, some servers see the end of a head where others see none.
fn find_end(bytes: &[u8], scanned: &mut usize) -> Result<Option<usize>, BadRequest> {
    let from = *scanned;
    let new = bytes.get(from..).unwrap_or_default();
    for at in new.iter().enumerate().filter(|(_, b)| **b == b'\n').map(|(at, _)| from + at) {
        let before = bytes.get(..at).unwrap_or_default();
        if !before.ends_with(b"\r") {
            return Err(BadRequest::LineEnd);
        }
        if at + 1 > HEAD_LEN_MAX {
            return Err(BadRequest::HeadTooLong);
        }
        if before.ends_with(b"\r\n\r") {
            return Ok(Some(at + 1));
        }
    }
    *scanned = bytes.len();
    Ok(None)
}

/// httparse reports each version but 1.0 and 1.1 alike, and what is no version too.
fn version_error(head: &[u8]) -> BadRequest {
    let line = head.split(|&b| b == b'\r').next().unwrap_or_default();
    let last = line.rsplit(|&b| b == b' ').next().unwrap_or_default();
    match last {
        [b'H', b'T', b'T', b'P', b'/', major, b'.', minor]
            if major.is_ascii_digit()
                && minor.is_ascii_digit()
                && !matches!((major, minor), (b'1', b'0' | b'1')) =>
        {
            BadRequest::Version
        }
        _ => BadRequest::Syntax,
    }
}

fn collect(raw: &[httparse::Header<'_>]) -> Result<HeaderMap, BadRequest> {
    let mut headers = HeaderMap::with_capacity(raw.len());
    for header in raw {
        let name = HeaderName::from_bytes(header.name.as_bytes());
        let value = HeaderValue::from_bytes(header.value);
        headers
            .append(name.map_err(|_| BadRequest::Syntax)?, value.map_err(|_| BadRequest::Syntax)?);
    }
    Ok(headers)
}

/// The only value of a header; an error when there are several.
fn single<'h>(
    headers: &'h HeaderMap,
    name: &HeaderName,
    several: BadRequest,
) -> Result<Option<&'h HeaderValue>, BadRequest> {
    let mut values = headers.get_all(name).iter();
    let first = values.next();
    if values.next().is_some() { Err(several) } else { Ok(first) }
}

/// RFC 9112 §3.2: one `Host`, in HTTP/1.1 exactly one.
fn check_host(version: Version, headers: &HeaderMap) -> Result<(), BadRequest> {
    match single(headers, &HOST, BadRequest::Host)? {
        Some(host) => {
            host.to_str().ok().filter(|host| is_host(host)).map(|_| ()).ok_or(BadRequest::Host)
        }
        None if version == Version::HTTP_10 => Ok(()),
        None => Err(BadRequest::Host),
    }
}

impl Framing {
    /// RFC 9112 §6.3, without its leniencies: neither a list of equal lengths nor a length beside chunks.
    fn of(version: Version, headers: &HeaderMap) -> Result<Self, BadRequest> {
        let length = single(headers, &CONTENT_LENGTH, BadRequest::ContentLength)?;
        let coding = single(headers, &TRANSFER_ENCODING, BadRequest::TransferEncoding)?;
        match (length, coding) {
            (None, None) => Ok(Self::None),
            (Some(_), Some(_)) => Err(BadRequest::TwoFramings),
            (Some(length), None) => Self::length(length),
            (None, Some(_)) if version == Version::HTTP_10 => Err(BadRequest::TransferEncoding),
            (None, Some(coding)) => Self::coding(coding),
        }
    }

    fn length(value: &HeaderValue) -> Result<Self, BadRequest> {
        // Digits only: `+1` and `1,1` are numbers to some.
        let digits = value.to_str().ok().filter(|text| text.bytes().all(|b| b.is_ascii_digit()));
        match digits.and_then(|digits| digits.parse().ok()).ok_or(BadRequest::ContentLength)? {
            0 => Ok(Self::None),
            len => Ok(Self::Length(len)),
        }
    }

    fn coding(value: &HeaderValue) -> Result<Self, BadRequest> {
        let text = value.to_str().map_err(|_| BadRequest::TransferEncoding)?;
        let mut codings = text.split(',').map(|coding| coding.trim_matches([' ', '\t']));
        match codings.next_back() {
            Some(last) if last.eq_ignore_ascii_case("chunked") => {}
            _ => return Err(BadRequest::TransferEncoding),
        }
        match codings.next_back() {
            None => Ok(Self::Chunked),
            Some(other) if other.eq_ignore_ascii_case("chunked") => {
                Err(BadRequest::TransferEncoding)
            }
            Some(_) => Err(BadRequest::Coding),
        }
    }
}

/// RFC 9110 §10.1.1.
fn expects_continue(version: Version, headers: &HeaderMap) -> Result<bool, BadRequest> {
    match single(headers, &EXPECT, BadRequest::Expectation)? {
        None => Ok(false),
        Some(value) if value.as_bytes().eq_ignore_ascii_case(b"100-continue") => {
            Ok(version == Version::HTTP_11)
        }
        Some(_) => Err(BadRequest::Expectation),
    }
}

/// RFC 9112 §9.3.
fn keeps_alive(version: Version, headers: &HeaderMap) -> bool {
    let has = |option: &str| {
        let values = headers.get_all(CONNECTION).iter().filter_map(|value| value.to_str().ok());
        values
            .flat_map(|value| value.split(','))
            .any(|found| found.trim().eq_ignore_ascii_case(option))
    };
    !has("close") && (version == Version::HTTP_11 || has("keep-alive"))
}

impl BadRequest {
    /// The status that tells the client.
    #[must_use]
    pub const fn status(self) -> StatusCode {
        match self {
            Self::HeadTooLong | Self::TooManyHeaders => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::Version => StatusCode::HTTP_VERSION_NOT_SUPPORTED,
            Self::Connect | Self::Coding => StatusCode::NOT_IMPLEMENTED,
            Self::Expectation => StatusCode::EXPECTATION_FAILED,
            _ => StatusCode::BAD_REQUEST,
        }
    }
}

impl fmt::Display for BadRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::HeadTooLong => "the head of the request is too long",
            Self::TooManyHeaders => "the request has too many headers",
            Self::LineEnd => "a line of the head does not end in CR LF",
            Self::Syntax => "this is not a request of HTTP/1.1",
            Self::Version => "this server speaks HTTP/1.1 and HTTP/1.0",
            Self::Target => "the target of the request is malformed or ambiguous",
            Self::Connect => "this server is no proxy",
            Self::Host => "the request needs one valid header Host",
            Self::ContentLength => "Content-Length is not one number",
            Self::TwoFramings => "the request has both Content-Length and Transfer-Encoding",
            Self::TransferEncoding => "Transfer-Encoding has to be chunked, once",
            Self::Coding => "no transfer coding but chunked is understood",
            Self::Forwarded => "Forwarded and X-Forwarded-For do not tell who asks",
            Self::Expectation => "no expectation but 100-continue is understood",
        })
    }
}

impl std::error::Error for BadRequest {}
