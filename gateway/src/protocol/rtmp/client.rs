//! The client's side of the conversation: publishing to, or playing from, another server.
//!
//! [`ClientSide`] does it without I/O; [`open`] on a stream. Forwarding and pulling build on it, and the tests do.

use super::{
    chunk::DEFAULT_CHUNK_SIZE,
    command::Command,
    connection::{CHUNK_SIZE, Connection, ConnectionError, Event},
    handshake::{self, HandshakeError, PART_LEN},
};
use crate::container::flv::{Tag, amf0::Value};
use bytes::Bytes;
use std::{
    fmt,
    io::{self, Read, Write},
};

/// What a client asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wish {
    /// Whether it publishes; else it plays.
    pub publishes: bool,
    /// The application, with parameters if any.
    pub app: String,
    /// The whole address up to the application.
    pub tc_url: String,
    /// The stream, with parameters if any.
    pub name: String,
    /// Announces Enhanced RTMP with all codecs and several tracks.
    pub is_enhanced: bool,
}

/// Why a server was of no use.
#[derive(Debug)]
#[non_exhaustive]
pub enum ClientError {
    /// The handshake failed.
    Handshake(HandshakeError),
    /// The server sent what is no RTMP.
    Connection(ConnectionError),
    /// The server said no, with this code.
    Refused(String),
    /// The server closed the connection.
    Closed,
    /// The connection broke, or a deadline passed.
    Io(io::Error),
}

/// What came of bytes from the server.
#[derive(Clone, Debug, PartialEq)]
pub enum Incoming {
    /// What was wished for begins.
    Started,
    /// Audio, video or data of what is played.
    Media(Tag),
    /// A status after that, such as `NetStream.Play.Stop`.
    Status(String),
}

/// One conversation.
#[derive(Debug)]
pub struct ClientSide {
    connection: Connection,
    wish: Wish,
    /// The message stream, once the server gave one.
    stream: Option<u32>,
    has_started: bool,
}

/// A conversation on a stream.
#[derive(Debug)]
pub struct Client<S> {
    stream: S,
    side: ClientSide,
    buffer: Vec<u8>,
    unread: std::ops::Range<usize>,
}

const CONNECT: f64 = 1.0;
const CREATE_STREAM: f64 = 4.0;

impl ClientSide {
    /// Right after the handshake: asks to be let in.
    pub fn new(wish: Wish) -> Self {
        let mut connection = Connection::new();
        if wish.publishes {
            connection.send_chunk_size(u32::try_from(CHUNK_SIZE).unwrap_or(u32::MAX));
        }
        let mut object = vec![
            ("app".to_owned(), Value::from(&*wish.app)),
            ("flashVer".to_owned(), "FMLE/3.0 (compatible; Thalweg)".into()),
            ("tcUrl".to_owned(), Value::from(&*wish.tc_url)),
        ];
        if wish.publishes {
            object.push(("type".to_owned(), "nonprivate".into()));
        }
        if wish.is_enhanced {
            object.push(("fourCcList".to_owned(), Value::StrictArray(vec!["*".into()])));
            // `CapsExMask`: multitrack, `ModEx`.
            object.push(("capsEx".to_owned(), 6.0.into()));
        }
        connection.send_command(0, &Command::new("connect", CONNECT, [Value::Object(object)]));
        Self { connection, wish, stream: None, has_started: false }
    }

    /// Takes bytes off `input` until something came of them or none are left.
    ///
    /// # Errors
    ///
    /// [`ClientError::Connection`] and [`ClientError::Refused`].
    pub fn receive(&mut self, input: &mut &[u8]) -> Result<Option<Incoming>, ClientError> {
        while let Some(event) = self.connection.receive(input).map_err(ClientError::Connection)? {
            let incoming = match event {
                Event::Media(tag) => Some(Incoming::Media(tag)),
                Event::Command(_, command) => self.handle_command(&command)?,
                Event::Stream(_) => None,
            };
            if incoming.is_some() {
                return Ok(incoming);
            }
        }
        Ok(None)
    }

    /// What is to be sent.
    pub fn take_output(&mut self) -> Bytes {
        self.connection.take_output()
    }

    /// Sends audio, video or data of what is published.
    pub fn send(&mut self, tag: &Tag) {
        self.connection.send_media(self.stream.unwrap_or(1), tag);
    }

    /// Publishes or plays no more.
    pub fn stop(&mut self) {
        let stream = self.stream.unwrap_or(1);
        if self.wish.publishes {
            self.call("FCUnpublish", 6.0, [self.wish.name.as_str().into()]);
        }
        self.call("deleteStream", 7.0, [f64::from(stream).into()]);
    }

    fn handle_command(&mut self, command: &Command) -> Result<Option<Incoming>, ClientError> {
        let code = command.status_code().unwrap_or_default();
        match &*command.name {
            "_result" if command.transaction == CONNECT => self.ask_for_stream(),
            "_result" if command.transaction == CREATE_STREAM => {
                let number = command.argument(0).as_number().unwrap_or(1.0);
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "it saturates"
                )]
                let stream = number as u32;
                self.stream = Some(stream);
                self.ask_for_wish(stream);
            }
            "_error" if [CONNECT, CREATE_STREAM].contains(&command.transaction) => {
                return Err(ClientError::Refused(code.to_owned()));
            }
            "onStatus" if !self.has_started => match code {
                "NetStream.Publish.Start" | "NetStream.Play.Start" => {
                    self.has_started = true;
                    return Ok(Some(Incoming::Started));
                }
                "NetStream.Play.Reset" => {}
                _ => return Err(ClientError::Refused(code.to_owned())),
            },
            "onStatus" => return Ok(Some(Incoming::Status(code.to_owned()))),
            _ => {}
        }
        Ok(None)
    }

    fn ask_for_stream(&mut self) {
        if self.wish.publishes {
            let name = Value::from(&*self.wish.name);
            self.call("releaseStream", 2.0, [name.clone()]);
            self.call("FCPublish", 3.0, [name]);
        }
        self.call("createStream", CREATE_STREAM, []);
    }

    fn ask_for_wish(&mut self, stream: u32) {
        let name = Value::from(&*self.wish.name);
        let wish = if self.wish.publishes {
            Command::new("publish", 5.0, [Value::Null, name, "live".into()])
        } else {
            Command::new("play", 5.0, [Value::Null, name, (-2000.0).into()])
        };
        self.connection.send_command(stream, &wish);
    }

    fn call<const N: usize>(&mut self, name: &str, transaction: f64, arguments: [Value; N]) {
        let mut command = Command::new(name, transaction, [Value::Null]);
        command.values.extend(arguments);
        self.connection.send_command(0, &command);
    }
}

/// Shakes hands on a stream, and goes on until what is wished for begins.
///
/// # Suspends
///
/// Until the server has answered. A deadline is the caller's to set.
///
/// # Errors
///
/// [`ClientError`].
pub fn open<S: Read + Write>(mut stream: S, wish: Wish) -> Result<Client<S>, ClientError> {
    let greeting = handshake::greet_server().map_err(ClientError::Handshake)?;
    stream.write_all(&greeting)?;
    let mut version = [0];
    stream.read_exact(&mut version)?;
    handshake::check_version(version[0]).map_err(ClientError::Handshake)?;
    let mut answer = vec![0; 2 * PART_LEN];
    stream.read_exact(&mut answer)?;
    let (s1, s2) = answer.split_at(PART_LEN);
    let (Some(c1), Some(s1), Some(s2)) =
        (greeting.last_chunk(), s1.first_chunk(), s2.first_chunk())
    else {
        return Err(ClientError::Closed);
    };
    let c2 = handshake::answer_server(c1, s1, s2).map_err(ClientError::Handshake)?;
    stream.write_all(&c2[..])?;
    let buffer = vec![0; 128 * DEFAULT_CHUNK_SIZE];
    let mut client = Client { stream, side: ClientSide::new(wish), buffer, unread: 0..0 };
    while client.receive()? != Incoming::Started {}
    Ok(client)
}

impl<S: Read + Write> Client<S> {
    /// What the server says next.
    ///
    /// # Suspends
    ///
    /// Until the server says something.
    ///
    /// # Errors
    ///
    /// [`ClientError`]; [`ClientError::Closed`] at the end.
    pub fn receive(&mut self) -> Result<Incoming, ClientError> {
        loop {
            let mut input = self.buffer.get(self.unread.clone()).unwrap_or_default();
            let incoming = self.side.receive(&mut input);
            self.unread.start = self.unread.end - input.len();
            if let Some(incoming) = incoming? {
                return Ok(incoming);
            }
            self.flush()?;
            let count = self.stream.read(&mut self.buffer)?;
            if count == 0 {
                return Err(ClientError::Closed);
            }
            self.unread = 0..count;
        }
    }

    /// Sends audio, video or data of what is published.
    ///
    /// # Suspends
    ///
    /// Until it is written.
    ///
    /// # Errors
    ///
    /// [`ClientError::Io`].
    pub fn send(&mut self, tag: &Tag) -> Result<(), ClientError> {
        self.side.send(tag);
        self.flush()
    }

    /// Publishes or plays no more.
    ///
    /// # Suspends
    ///
    /// Until that is written.
    ///
    /// # Errors
    ///
    /// [`ClientError::Io`].
    pub fn stop(&mut self) -> Result<(), ClientError> {
        self.side.stop();
        self.flush()
    }

    /// The stream.
    pub const fn stream(&self) -> &S {
        &self.stream
    }

    fn flush(&mut self) -> Result<(), ClientError> {
        let output = self.side.take_output();
        if !output.is_empty() {
            self.stream.write_all(&output)?;
        }
        Ok(())
    }
}

impl From<io::Error> for ClientError {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::UnexpectedEof { Self::Closed } else { Self::Io(error) }
    }
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Handshake(error) => error.fmt(f),
            Self::Connection(error) => error.fmt(f),
            Self::Refused(code) => write!(f, "the server refuses: {code}"),
            Self::Closed => f.write_str("the server closed the connection"),
            Self::Io(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for ClientError {}
