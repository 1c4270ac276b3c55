//! What both ends of an RTMP connection do alike: chunk sizes, acknowledgements, pings, messages in messages.
//!
//! No I/O: bytes go in by [`Connection::receive`], what is to be sent comes out by [`Connection::take_output`].
//! Section numbers refer to Adobe's "Real-Time Messaging Protocol (RTMP) specification" 1.0 of December 2012.

use super::{
    chunk::{ChunkError, ChunkReader, DEFAULT_CHUNK_SIZE, Message, write_message},
    command::{Command, CommandError},
};
use crate::container::flv::{Tag, TagKind};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use std::fmt;

/// What came in that the connection doesn't deal with itself.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// A command or an answer, on this message stream.
    Command(u32, Command),
    /// Audio, video or data.
    Media(Tag),
    /// The server says something about a stream (§7.1.7).
    Stream(StreamEvent),
}

/// What a server says about a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamEvent {
    /// It begins.
    Begin,
    /// All of it was sent.
    Eof,
    /// For the moment there is no more.
    Dry,
}

/// Why a connection cannot go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConnectionError {
    /// What came is no chunk stream.
    Chunk(ChunkError),
    /// What came is no command.
    Command(CommandError),
    /// A control message that is too short.
    Control(u8),
    /// The peer asks faster than it reads our answers.
    Flood,
}

/// One end of a connection after the handshake.
#[derive(Debug)]
pub struct Connection {
    reader: ChunkReader,
    output: BytesMut,
    /// In what is sent.
    chunk_size: usize,
    /// After so many bytes the peer wants to hear from us (§5.4.4).
    window: u64,
    /// Received since the handshake.
    received: u64,
    /// Of these the peer knows.
    acknowledged: u64,
    /// The acknowledgement window that we asked for last.
    asked_window: u32,
    /// The rest of an aggregate message.
    aggregate: Option<Aggregate>,
}

/// Tags in a message (§7.1.6).
#[derive(Debug)]
struct Aggregate {
    rest: Bytes,
    /// From the first tag's timestamp to the message's.
    shift_ms: u32,
}

/// The chunk size that we send with, so that all but large pictures are one chunk.
pub const CHUNK_SIZE: usize = 65_536;

/// Kinds of messages (§5.4, §7.1).
pub mod kind {
    #![expect(missing_docs, reason = "the names are the specification's")]
    pub const SET_CHUNK_SIZE: u8 = 1;
    pub const ABORT: u8 = 2;
    pub const ACKNOWLEDGEMENT: u8 = 3;
    pub const USER_CONTROL: u8 = 4;
    pub const WINDOW_ACKNOWLEDGEMENT_SIZE: u8 = 5;
    pub const SET_PEER_BANDWIDTH: u8 = 6;
    pub const AUDIO: u8 = 8;
    pub const VIDEO: u8 = 9;
    pub const DATA_AMF3: u8 = 15;
    pub const COMMAND_AMF3: u8 = 17;
    pub const DATA_AMF0: u8 = 18;
    pub const COMMAND_AMF0: u8 = 20;
    pub const AGGREGATE: u8 = 22;
}

/// The chunk streams we send on.
pub(super) mod chunk_stream {
    /// Protocol control must be on 2 (§5.4).
    pub(crate) const CONTROL: u8 = 2;
    pub(crate) const COMMAND: u8 = 3;
    pub(crate) const AUDIO: u8 = 4;
    pub(crate) const STATUS: u8 = 5;
    pub(crate) const VIDEO: u8 = 6;
    pub(crate) const DATA: u8 = 7;
}

/// User control events (§7.1.7).
mod user_control {
    pub(super) const STREAM_BEGIN: u16 = 0;
    pub(super) const STREAM_EOF: u16 = 1;
    pub(super) const STREAM_DRY: u16 = 2;
    pub(super) const PING_REQUEST: u16 = 6;
    pub(super) const PING_RESPONSE: u16 = 7;
}

impl Connection {
    /// Right after the handshake.
    pub fn new() -> Self {
        Self {
            reader: ChunkReader::new(),
            output: BytesMut::new(),
            chunk_size: DEFAULT_CHUNK_SIZE,
            window: DEFAULT_WINDOW,
            received: 0,
            acknowledged: 0,
            asked_window: 0,
            aggregate: None,
        }
    }

    /// Takes bytes off `input` until something came of them or none are left.
    ///
    /// # Errors
    ///
    /// [`ConnectionError`]; the connection is then of no use.
    pub fn receive(&mut self, input: &mut &[u8]) -> Result<Option<Event>, ConnectionError> {
        loop {
            if let Some(tag) = self.next_of_aggregate() {
                return Ok(Some(Event::Media(tag)));
            }
            let before = input.len();
            let message = self.reader.read(input).map_err(ConnectionError::Chunk)?;
            self.received += (before - input.len()) as u64;
            self.acknowledge();
            let Some(message) = message else { return Ok(None) };
            if let Some(event) = self.handle_message(message)? {
                return Ok(Some(event));
            }
            if self.output.len() > MAX_OUTPUT_LEN {
                return Err(ConnectionError::Flood);
            }
        }
    }

    /// What is to be sent, in order.
    pub fn take_output(&mut self) -> Bytes {
        self.output.split().freeze()
    }

    /// Whether something is to be sent.
    pub fn has_output(&self) -> bool {
        !self.output.is_empty()
    }

    /// Bytes received since the handshake.
    pub const fn received(&self) -> u64 {
        self.received
    }

    /// Sends a command or an answer.
    pub fn send_command(&mut self, stream: u32, command: &Command) {
        let id = if stream == 0 { chunk_stream::COMMAND } else { chunk_stream::STATUS };
        self.send(id, kind::COMMAND_AMF0, stream, 0, command.encode());
    }

    /// Sends audio, video or data.
    pub fn send_media(&mut self, stream: u32, tag: &Tag) {
        let id = match tag.kind {
            TagKind::Audio => chunk_stream::AUDIO,
            TagKind::Video => chunk_stream::VIDEO,
            TagKind::Script => chunk_stream::DATA,
        };
        self.send(id, tag.kind as u8, stream, tag.timestamp_ms, tag.body.clone());
    }

    /// Chunks are larger from here on.
    pub fn send_chunk_size(&mut self, size: u32) {
        self.send_control(kind::SET_CHUNK_SIZE, &size.to_be_bytes());
        self.chunk_size = size as usize;
    }

    /// Asks for an acknowledgement every so many bytes (§5.4.4).
    pub fn send_window(&mut self, window: u32) {
        self.asked_window = window;
        self.send_control(kind::WINDOW_ACKNOWLEDGEMENT_SIZE, &window.to_be_bytes());
    }

    /// Asks the peer to have no more than this outstanding; "dynamic", so that it may do as it likes (§5.4.5).
    pub fn send_peer_bandwidth(&mut self, window: u32) {
        let [w3, w2, w1, w0] = window.to_be_bytes();
        self.send_control(kind::SET_PEER_BANDWIDTH, &[w3, w2, w1, w0, 2]);
    }

    /// Says something about a stream.
    pub fn send_stream_event(&mut self, event: StreamEvent, stream: u32) {
        let event = match event {
            StreamEvent::Begin => user_control::STREAM_BEGIN,
            StreamEvent::Eof => user_control::STREAM_EOF,
            StreamEvent::Dry => user_control::STREAM_DRY,
        };
        self.send_user_control(event, stream);
    }

    /// Asks for an answer, so that a dead peer is found out.
    pub fn send_ping(&mut self, time_ms: u32) {
        self.send_user_control(user_control::PING_REQUEST, time_ms);
    }

    fn send_user_control(&mut self, event: u16, data: u32) {
        let mut body = [0; 6];
        let mut out = &mut body[..];
        out.put_u16(event);
        out.put_u32(data);
        self.send_control(kind::USER_CONTROL, &body);
    }

    fn send_control(&mut self, kind: u8, body: &[u8]) {
        self.send(chunk_stream::CONTROL, kind, 0, 0, Bytes::copy_from_slice(body));
    }

    fn send(&mut self, id: u8, kind: u8, stream: u32, timestamp_ms: u32, body: Bytes) {
        let message = Message { kind, timestamp_ms, stream, body };
        write_message(id, &message, self.chunk_size, &mut self.output);
    }

    /// Reports what was received, twice in each window, so that the peer never stops at its end (§5.4.3).
    fn acknowledge(&mut self) {
        if self.received - self.acknowledged >= (self.window / 2).max(1) {
            self.acknowledged = self.received;
            // The sequence number wraps.
            let [_, _, _, _, low @ ..] = self.received.to_be_bytes();
            self.send_control(kind::ACKNOWLEDGEMENT, &low);
        }
    }

    fn handle_message(&mut self, message: Message) -> Result<Option<Event>, ConnectionError> {
        let Message { kind, timestamp_ms, stream, mut body } = message;
        match kind {
            kind::SET_CHUNK_SIZE => {
                let size = number(&body, kind)?;
                self.reader.set_chunk_size(size).map_err(ConnectionError::Chunk)?;
            }
            kind::ABORT => self.reader.abort(number(&body, kind)?),
            kind::WINDOW_ACKNOWLEDGEMENT_SIZE => {
                // A window that we would fill by a few messages would have us answer each of them.
                self.window = u64::from(number(&body, kind)?).max(MIN_WINDOW);
            }
            kind::SET_PEER_BANDWIDTH => {
                let window = number(&body, kind)?;
                if window != self.asked_window {
                    self.send_window(window);
                }
            }
            kind::USER_CONTROL => return self.handle_user_control(&body),
            kind::AUDIO | kind::VIDEO | kind::DATA_AMF0 | kind::DATA_AMF3 => {
                if kind == kind::DATA_AMF3 && body.has_remaining() {
                    // The format of what follows: 0, and AMF0.
                    body.advance(1);
                }
                let kind = TagKind::new(kind).unwrap_or(TagKind::Script);
                return Ok(Some(Event::Media(Tag { kind, timestamp_ms, body })));
            }
            kind::COMMAND_AMF0 | kind::COMMAND_AMF3 => {
                if kind == kind::COMMAND_AMF3 && body.first() == Some(&0) {
                    body.advance(1);
                }
                let command = Command::parse(&body).map_err(ConnectionError::Command)?;
                return Ok(Some(Event::Command(stream, command)));
            }
            kind::AGGREGATE => {
                let first = aggregate_time(&body).unwrap_or(timestamp_ms);
                let shift_ms = timestamp_ms.wrapping_sub(first);
                self.aggregate = Some(Aggregate { rest: body, shift_ms });
            }
            // Acknowledgements tell us nothing that TCP doesn't; shared objects are not ours.
            _ => {}
        }
        Ok(None)
    }

    fn handle_user_control(&mut self, body: &[u8]) -> Result<Option<Event>, ConnectionError> {
        let error = ConnectionError::Control(kind::USER_CONTROL);
        let (event, data) = body.split_first_chunk().ok_or(error)?;
        let event = match u16::from_be_bytes(*event) {
            user_control::STREAM_BEGIN => StreamEvent::Begin,
            user_control::STREAM_EOF => StreamEvent::Eof,
            user_control::STREAM_DRY => StreamEvent::Dry,
            user_control::PING_REQUEST => {
                let time = u32::from_be_bytes(*data.first_chunk().ok_or(error)?);
                self.send_user_control(user_control::PING_RESPONSE, time);
                return Ok(None);
            }
            // Buffer lengths and answers to pings; that they came is all that matters.
            _ => return Ok(None),
        };
        Ok(Some(Event::Stream(event)))
    }

    /// Each tag is as in an FLV file: header of 11 bytes, body, size of both.
    fn next_of_aggregate(&mut self) -> Option<Tag> {
        loop {
            let aggregate = self.aggregate.as_mut()?;
            let Some(&[kind, l2, l1, l0, t2, t1, t0, t3, _, _, _]) = aggregate.rest.first_chunk()
            else {
                self.aggregate = None;
                return None;
            };
            let len = u32::from_be_bytes([0, l2, l1, l0]) as usize;
            let rest = &mut aggregate.rest;
            if rest.len() < 11 + len {
                self.aggregate = None;
                return None;
            }
            rest.advance(11);
            let body = rest.split_to(len);
            rest.advance(rest.len().min(4));
            let time = u32::from_be_bytes([t3, t2, t1, t0]);
            let timestamp_ms = time.wrapping_add(aggregate.shift_ms);
            if let Some(kind) = TagKind::new(kind) {
                return Some(Tag { kind, timestamp_ms, body });
            }
        }
    }
}

impl Default for Connection {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Display for ConnectionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Chunk(error) => error.fmt(f),
            Self::Command(error) => error.fmt(f),
            Self::Control(kind) => write!(f, "a control message of type {kind} that is too short"),
            Self::Flood => f.write_str("the peer asks faster than it reads our answers"),
        }
    }
}

impl std::error::Error for ConnectionError {}

/// The four bytes that most control messages are.
fn number(body: &[u8], kind: u8) -> Result<u32, ConnectionError> {
    body.first_chunk().map(|bytes| u32::from_be_bytes(*bytes)).ok_or(ConnectionError::Control(kind))
}

/// The timestamp of the first tag in an aggregate message.
fn aggregate_time(body: &[u8]) -> Option<u32> {
    let &[_, _, _, _, t2, t1, t0, t3] = body.first_chunk()?;
    Some(u32::from_be_bytes([t3, t2, t1, t0]))
}

/// Until the peer says otherwise; what servers usually ask for.
const DEFAULT_WINDOW: u64 = 2_500_000;

/// The smallest window that is believed.
const MIN_WINDOW: u64 = 4096;

/// Answers that have not been taken yet. A peer gets there only by asking without end in one read.
const MAX_OUTPUT_LEN: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    fn pair() -> (Connection, Connection) {
        (Connection::new(), Connection::new())
    }

    /// Everything `to` makes of what `from` has to send.
    fn deliver(from: &mut Connection, to: &mut Connection) -> Vec<Event> {
        let bytes = from.take_output();
        let (mut input, mut events) = (&bytes[..], Vec::new());
        while let Some(event) = to.receive(&mut input).unwrap() {
            events.push(event);
        }
        events
    }

    fn tag(kind: TagKind, timestamp_ms: u32, body: &'static [u8]) -> Tag {
        Tag { kind, timestamp_ms, body: Bytes::from_static(body) }
    }

    #[test]
    fn commands_and_media_arrive_also_across_a_change_of_the_chunk_size() {
        let (mut one, mut other) = pair();
        let command = Command::new("connect", 1.0, ["x".repeat(1000).as_str().into()]);
        one.send_command(0, &command);
        one.send_chunk_size(CHUNK_SIZE as u32);
        let video = Tag { body: vec![7; 100_000].into(), ..tag(TagKind::Video, 40, b"") };
        one.send_media(1, &video);
        let expected = [Event::Command(0, command), Event::Media(video)];
        assert_eq!(deliver(&mut one, &mut other), expected);
    }

    #[test]
    fn pings_are_answered_and_windows_confirmed() {
        let (mut one, mut other) = pair();
        one.send_ping(77);
        one.send_peer_bandwidth(5_000_000);
        one.send_peer_bandwidth(5_000_000);
        assert_eq!(deliver(&mut one, &mut other), []);
        let answer = other.take_output();
        let pong = [2, 0, 0, 0, 0, 0, 6, 4, 0, 0, 0, 0, 0, 7, 0, 0, 0, 77];
        let window = [2, 0, 0, 0, 0, 0, 4, 5, 0, 0, 0, 0, 0, 0x4c, 0x4b, 0x40];
        assert_eq!(answer[..], [&pong[..], &window[..]].concat(), "the window only once");
    }

    #[test]
    fn what_was_received_is_acknowledged_twice_in_a_window() {
        let (mut one, mut other) = pair();
        one.send_window(10_000);
        deliver(&mut one, &mut other);
        let mut acknowledgements = 0;
        for n in 0..40 {
            one.send_media(1, &Tag { body: vec![0; 990].into(), ..tag(TagKind::Audio, n, b"") });
            deliver(&mut one, &mut other);
            acknowledgements += usize::from(other.has_output());
            deliver(&mut other, &mut one);
        }
        assert!((7..=9).contains(&acknowledgements), "{acknowledgements}");
    }

    #[test]
    fn a_tiny_window_does_not_make_every_byte_an_acknowledgement() {
        let (mut one, mut other) = pair();
        one.send_window(0);
        for n in 0..100 {
            one.send_media(1, &tag(TagKind::Audio, n, b"x"));
        }
        deliver(&mut one, &mut other);
        assert!(other.take_output().len() < 40);
    }

    #[test]
    fn an_aggregate_becomes_its_tags_with_their_distances() {
        let mut body = vec![8, 0, 0, 1, 0, 0, 10, 0, 0, 0, 0, b'a', 0, 0, 0, 12];
        body.extend([15, 0, 0, 0, 0, 0, 20, 0, 0, 0, 0, 0, 0, 0, 11]);
        body.extend([9, 0, 0, 1, 0, 0, 30, 0, 0, 0, 0, b'v']);
        let mut one = Connection::new();
        one.send(4, kind::AGGREGATE, 1, 1000, body.clone().into());
        // One more, cut off: what is whole comes.
        one.send(4, kind::AGGREGATE, 1, 2000, body[..body.len() - 1].to_vec().into());
        let mut other = Connection::new();
        let expected = [
            Event::Media(tag(TagKind::Audio, 1000, b"a")),
            Event::Media(tag(TagKind::Video, 1020, b"v")),
            Event::Media(tag(TagKind::Audio, 2000, b"a")),
        ];
        assert_eq!(deliver(&mut one, &mut other), expected);
    }

    #[test]
    fn amf3_messages_lose_their_first_byte() {
        let (mut one, mut other) = pair();
        let command = Command::new("play", 0.0, []);
        let body = [&[0][..], &command.encode()].concat();
        one.send(3, kind::COMMAND_AMF3, 1, 0, body.into());
        one.send(3, kind::DATA_AMF3, 1, 0, Bytes::from_static(b"\0\x05"));
        let data = Event::Media(tag(TagKind::Script, 0, b"\x05"));
        assert_eq!(deliver(&mut one, &mut other), [Event::Command(1, command), data]);
    }

    #[test]
    fn short_control_messages_and_floods_end_the_connection() {
        for kind in [1, 2, 4, 5, 6] {
            let (mut one, mut other) = pair();
            one.send_control(kind, &[0]);
            let result = other.receive(&mut &one.take_output()[..]);
            assert_eq!(result, Err(ConnectionError::Control(kind)));
        }
        let (mut one, mut other) = pair();
        (0..100_000).for_each(|n| one.send_ping(n));
        assert_eq!(other.receive(&mut &one.take_output()[..]), Err(ConnectionError::Flood));
    }

    #[test]
    fn random_bytes_never_panic() {
        let mut seed = 0x2545_f491_4f6c_dd1d_u64;
        for _ in 0..2000 {
            let bytes: Vec<u8> = (0..300)
                .map(|_| {
                    seed ^= seed << 13;
                    seed ^= seed >> 7;
                    seed ^= seed << 17;
                    if seed & 3 == 0 { (seed >> 8) as u8 } else { (seed >> 8) as u8 & 7 }
                })
                .collect();
            let (mut connection, mut input) = (Connection::new(), &bytes[..]);
            while let Ok(Some(_)) = connection.receive(&mut input) {}
        }
    }
}
