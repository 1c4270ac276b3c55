//! The chunk stream: messages cut into chunks, and put together again.
//!
//! Section numbers refer to Adobe's "Real-Time Messaging Protocol (RTMP) specification" 1.0 of December 2012.
//! Reading accepts what peers do beyond it; writing uses only full headers (type 0) and continuations (type 3), so
//! that the chunks of one message are the same for everybody who gets it.

use bytes::{BufMut, Bytes, BytesMut};
use std::{collections::HashMap, fmt};

/// One RTMP message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// What it is (§5.4, §7.1).
    pub kind: u8,
    /// Milliseconds modulo 2³².
    pub timestamp_ms: u32,
    /// The message stream; 0 is the connection itself.
    pub stream: u32,
    /// All that is not header.
    pub body: Bytes,
}

/// Why bytes are not a chunk stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ChunkError {
    /// The first chunk of a chunk stream says that its header is as the one before.
    NoHeader(u32),
    /// A chunk begins a message although the one before is not complete.
    Unfinished(u32),
    /// More chunk streams than [`MAX_CHUNK_STREAMS`].
    TooManyStreams,
    /// More than [`MAX_PARTIAL_LEN`] bytes of messages that are not complete.
    TooMuchPartial,
    /// A chunk size of 0, or of more than 31 bits.
    ChunkSize(u32),
}

/// Puts chunks together.
///
/// What it keeps is bounded: see [`MAX_CHUNK_STREAMS`] and [`MAX_PARTIAL_LEN`].
#[derive(Debug)]
pub struct ChunkReader {
    chunk_size: usize,
    streams: HashMap<u32, ChunkStream>,
    /// The bytes of a chunk's headers, until they are all there.
    header: Vec<u8>,
    /// The chunk whose payload comes next, if its headers are done.
    current: Option<Current>,
    /// Room taken by messages that are not complete.
    partial_len: usize,
}

#[derive(Debug, Default)]
struct ChunkStream {
    /// Absolute, of the last message.
    timestamp_ms: u32,
    /// What a type 3 chunk adds when it begins a message.
    delta_ms: u32,
    /// The extended timestamp of the last header, if it had one.
    extended: Option<u32>,
    len: usize,
    kind: u8,
    stream: u32,
    body: BytesMut,
    /// Whether `body` is a message that is not complete.
    in_message: bool,
}

#[derive(Clone, Copy, Debug)]
struct Current {
    id: u32,
    /// How many bytes of payload this chunk still has.
    left: usize,
}

/// What a chunk's first bytes say.
#[derive(Clone, Copy, Debug)]
struct BasicHeader {
    format: u8,
    id: u32,
    len: usize,
}

/// How many chunk streams one connection may use. Encoders use five.
pub const MAX_CHUNK_STREAMS: usize = 64;

/// How many bytes of messages that are not complete one connection may have: one message of the largest size and a
/// half.
pub const MAX_PARTIAL_LEN: usize = 24 << 20;

/// The chunk size before anybody says otherwise (§5.4.1).
pub const DEFAULT_CHUNK_SIZE: usize = 128;

impl ChunkReader {
    /// At the start of a connection.
    pub fn new() -> Self {
        Self {
            chunk_size: DEFAULT_CHUNK_SIZE,
            streams: HashMap::new(),
            header: Vec::with_capacity(MAX_HEADER_LEN),
            current: None,
            partial_len: 0,
        }
    }

    /// What "Set Chunk Size" says: the peer's chunks have up to this many bytes from here on (§5.4.1).
    ///
    /// # Errors
    ///
    /// [`ChunkError::ChunkSize`].
    pub fn set_chunk_size(&mut self, size: u32) -> Result<(), ChunkError> {
        if size == 0 || size > i32::MAX as u32 {
            return Err(ChunkError::ChunkSize(size));
        }
        self.chunk_size = size as usize;
        Ok(())
    }

    /// What "Abort Message" says: what came of a message on this chunk stream is worth nothing (§5.4.2).
    pub fn abort(&mut self, id: u32) {
        if let Some(stream) = self.streams.get_mut(&id) {
            self.partial_len -= stream.body.capacity();
            stream.body = BytesMut::new();
            stream.in_message = false;
        }
    }

    /// Takes bytes off `input` until a message is complete or none are left.
    ///
    /// # Errors
    ///
    /// [`ChunkError`], after which nothing that follows can be understood.
    pub fn read(&mut self, input: &mut &[u8]) -> Result<Option<Message>, ChunkError> {
        loop {
            let current = match self.current {
                Some(current) => current,
                None => match self.read_header(input)? {
                    Some(current) => current,
                    None => return Ok(None),
                },
            };
            let complete = self.read_payload(current, input)?;
            if complete.is_some() || self.current.is_some() {
                return Ok(complete);
            }
        }
    }

    /// Takes what there is of the current chunk's payload; the message, when this completes it.
    fn read_payload(
        &mut self,
        mut current: Current,
        input: &mut &[u8],
    ) -> Result<Option<Message>, ChunkError> {
        // What was read as a possible timestamp, and is none, comes first.
        let held = self.header.len().min(current.left);
        let stream = self.streams.get_mut(&current.id).ok_or(ChunkError::NoHeader(current.id))?;
        let now = held + input.len().min(current.left - held);
        self.partial_len -= stream.body.capacity();
        stream.make_room(now);
        self.partial_len += stream.body.capacity();
        if self.partial_len > MAX_PARTIAL_LEN {
            return Err(ChunkError::TooMuchPartial);
        }
        stream.body.extend(self.header.drain(..held));
        let (taken, rest) = input.split_at_checked(now - held).unwrap_or((input, &[]));
        stream.body.extend_from_slice(taken);
        *input = rest;
        current.left -= now;
        self.current = (current.left > 0).then_some(current);
        if stream.body.len() < stream.len {
            return Ok(None);
        }
        self.partial_len -= stream.body.capacity();
        stream.in_message = false;
        Ok(Some(Message {
            kind: stream.kind,
            timestamp_ms: stream.timestamp_ms,
            stream: stream.stream,
            body: std::mem::take(&mut stream.body).freeze(),
        }))
    }

    /// Takes the headers of a chunk (§5.3.1); `None` when they are not all there.
    fn read_header(&mut self, input: &mut &[u8]) -> Result<Option<Current>, ChunkError> {
        loop {
            if let Some(current) = self.parse_header()? {
                self.current = Some(current);
                return Ok(Some(current));
            }
            let Some((&byte, rest)) = input.split_first() else { return Ok(None) };
            self.header.push(byte);
            *input = rest;
        }
    }

    /// The chunk whose headers have been read; `None` when more bytes are needed. Bytes that turn out to be payload
    /// stay in `header`.
    fn parse_header(&mut self) -> Result<Option<Current>, ChunkError> {
        let Some(basic) = BasicHeader::parse(&self.header) else { return Ok(None) };
        let BasicHeader { format, id, .. } = basic;
        let known = self.streams.get(&id);
        // Deviates: a first chunk of type 1 is what librtmp sends, with its stream being 0 (§5.3.1.2.1 wants type 0).
        if format >= 2 && known.is_none() {
            return Err(ChunkError::NoHeader(id));
        }
        let in_message = known.is_some_and(|stream| stream.in_message);
        if in_message && format != 3 {
            return Err(ChunkError::Unfinished(id));
        }
        if known.is_none() && self.streams.len() >= MAX_CHUNK_STREAMS {
            return Err(ChunkError::TooManyStreams);
        }
        let fields_len = match format {
            0 => 11,
            1 => 7,
            2 => 3,
            _ => 0,
        };
        let Some((fields, after)) =
            self.header.get(basic.len..).and_then(|b| b.split_at_checked(fields_len))
        else {
            return Ok(None);
        };
        let has_extended = match fields.first_chunk::<3>() {
            Some(field) => *field == [0xff; 3],
            None => known.is_some_and(|stream| stream.extended.is_some()),
        };
        let mut extended = None;
        let mut payload_from = basic.len + fields_len;
        if has_extended {
            let is_payload = in_message && known.is_some_and(|stream| !stream.may_repeat(after));
            match after.first_chunk() {
                _ if is_payload => {}
                None => return Ok(None),
                Some(value) => {
                    extended = Some(u32::from_be_bytes(*value));
                    payload_from += 4;
                }
            }
        }
        let stream = self.streams.entry(id).or_default();
        if !in_message {
            stream.begin(format, self.header.get(basic.len..).unwrap_or_default(), extended);
        }
        self.header.drain(..payload_from);
        let left = (stream.len - stream.body.len()).min(self.chunk_size);
        Ok(Some(Current { id, left }))
    }
}

impl Default for ChunkReader {
    fn default() -> Self {
        Self::new()
    }
}

impl ChunkStream {
    /// A message begins with this header (§5.3.1.2).
    fn begin(&mut self, format: u8, fields: &[u8], extended: Option<u32>) {
        if let Some(&[t2, t1, t0]) = fields.first_chunk()
            && format < 3
        {
            self.extended = extended;
            self.delta_ms = extended.unwrap_or_else(|| u32::from_be_bytes([0, t2, t1, t0]));
        } else if let Some(extended) = extended {
            self.extended = Some(extended);
            self.delta_ms = extended;
        }
        if let Some(&[_, _, _, l2, l1, l0, kind]) = fields.first_chunk()
            && format < 2
        {
            self.len = u32::from_be_bytes([0, l2, l1, l0]) as usize;
            self.kind = kind;
        }
        if format == 0 {
            if let Some(&[_, _, _, _, _, _, _, s0, s1, s2, s3]) = fields.first_chunk() {
                self.stream = u32::from_le_bytes([s0, s1, s2, s3]);
            }
            self.timestamp_ms = self.delta_ms;
        } else {
            // A message of type 3 after one of type 0 repeats that one's timestamp as its delta (§5.3.1.2.4).
            self.timestamp_ms = self.timestamp_ms.wrapping_add(self.delta_ms);
        }
        self.in_message = true;
    }

    /// Whether a continuation's first bytes are, or may become, the extended timestamp (§5.3.1.3).
    ///
    /// Senders disagree: most repeat what the header had, some put the message's timestamp there, some leave it out. What
    /// is neither of the former is payload.
    fn may_repeat(&self, bytes: &[u8]) -> bool {
        let bytes = bytes.get(..4).unwrap_or(bytes);
        [self.extended.unwrap_or_default(), self.timestamp_ms]
            .iter()
            .any(|value| value.to_be_bytes().starts_with(bytes))
    }

    /// Makes room for `more` bytes. The declared length is believed only as far as bytes came, so that a header alone
    /// takes no more than [`EAGER_LEN`].
    fn make_room(&mut self, more: usize) {
        let have = self.body.len();
        if have + more > self.body.capacity() {
            let room = self.len.min(EAGER_LEN.max(2 * (have + more)));
            let mut body = BytesMut::with_capacity(room);
            body.extend_from_slice(&self.body);
            self.body = body;
        }
    }
}

impl BasicHeader {
    /// §5.3.1.1. `None` when bytes are missing.
    fn parse(bytes: &[u8]) -> Option<Self> {
        let (&first, rest) = bytes.split_first()?;
        let (id, len) = match first & 0x3f {
            0 => (64 + u32::from(*rest.first()?), 2),
            1 => {
                let &[low, high] = rest.first_chunk()?;
                (64 + u32::from(u16::from_le_bytes([low, high])), 3)
            }
            id => (u32::from(id), 1),
        };
        Some(Self { format: first >> 6, id, len })
    }
}

impl fmt::Display for ChunkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoHeader(id) => write!(f, "chunk stream {id} begins without a full header"),
            Self::Unfinished(id) => {
                write!(f, "a message begins on chunk stream {id} inside another one")
            }
            Self::TooManyStreams => write!(f, "more than {MAX_CHUNK_STREAMS} chunk streams"),
            Self::TooMuchPartial => {
                write!(f, "more than {MAX_PARTIAL_LEN} bytes of messages that are not complete")
            }
            Self::ChunkSize(size) => write!(f, "a chunk size of {size} cannot be"),
        }
    }
}

impl std::error::Error for ChunkError {}

/// Appends a message in chunks of up to `chunk_size` bytes, copying its body.
pub(super) fn write_message(id: u8, message: &Message, chunk_size: usize, out: &mut BytesMut) {
    let mut rest = &message.body[..];
    write_first_header(id, message.kind, message.timestamp_ms, message.stream, rest.len(), out);
    loop {
        let (chunk, after) = rest.split_at_checked(chunk_size).unwrap_or((rest, &[]));
        out.put_slice(chunk);
        rest = after;
        if rest.is_empty() {
            return;
        }
        write_next_header(id, message.timestamp_ms, out);
    }
}

/// Appends the headers of a message's first chunk: type 0 (§5.3.1.2.1). The chunk stream is one of 2 to 63.
pub(super) fn write_first_header(
    id: u8,
    kind: u8,
    timestamp_ms: u32,
    stream: u32,
    len: usize,
    out: &mut BytesMut,
) {
    out.put_u8(id & 0x3f);
    out.put_uint(u64::from(timestamp_ms.min(EXTENDED)), 3);
    out.put_uint(len as u64 & 0xff_ffff, 3);
    out.put_u8(kind);
    out.put_u32_le(stream);
    if timestamp_ms >= EXTENDED {
        out.put_u32(timestamp_ms);
    }
}

/// Appends the header of a message's further chunk: type 3 (§5.3.1.2.4), with the extended timestamp (§5.3.1.3).
pub(super) fn write_next_header(id: u8, timestamp_ms: u32, out: &mut BytesMut) {
    out.put_u8(0xc0 | id & 0x3f);
    if timestamp_ms >= EXTENDED {
        out.put_u32(timestamp_ms);
    }
}

/// The longest that [`write_first_header`] writes.
pub(super) const MAX_FIRST_HEADER_LEN: usize = 16;

/// From here on timestamps have a field of their own.
const EXTENDED: u32 = 0xff_ffff;

/// Basic header, message header, extended timestamp.
const MAX_HEADER_LEN: usize = 3 + 11 + 4;

/// How much of a message's declared length is believed before any of it came.
const EAGER_LEN: usize = 64 << 10;

#[cfg(test)]
mod tests;
