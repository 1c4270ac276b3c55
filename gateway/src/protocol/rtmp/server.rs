//! The server's side of the conversation, without I/O: what clients ask, and what they are told.
//!
//! §7.2 of Adobe's "Real-Time Messaging Protocol (RTMP) specification" 1.0 of December 2012, and what clients expect
//! beyond it; "Enhancing `NetConnection` connect Command" of Enhanced RTMP (V2).

use super::{
    Address,
    command::{Command, status},
    connection::{CHUNK_SIZE, Connection, ConnectionError, Event, StreamEvent},
};
use crate::{
    container::flv::{Carriage, Tag, TagKind, amf0::Value, code_of, codec_of},
    media::Codec,
};
use bytes::{Bytes, BytesMut};
use std::fmt;

/// The message stream that every client gets: one connection publishes or plays one stream.
pub const STREAM: u32 = 1;

/// What a client wants.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Request {
    /// To be let in to an application. Answered by [`ServerSide::accept`] or [`ServerSide::reject`].
    Connect,
    /// To publish. Answered by [`ServerSide::publish_started`] or [`ServerSide::refuse`].
    Publish(Address),
    /// To play. Answered by [`ServerSide::play_started`] or [`ServerSide::refuse`].
    Play(Address),
    /// Audio, video or data of what it publishes.
    Media(Tag),
    /// To publish or play no more.
    Stop,
}

/// Why the conversation cannot go on.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ServerError {
    /// The bytes are wrong.
    Connection(ConnectionError),
    /// "connect" has no application, or came twice.
    Connect,
    /// The client asked for something before it was let in.
    NotConnected(String),
    /// The client publishes or plays already.
    Twice,
}

/// What a client says that it understands ("connect" of Enhanced RTMP).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Abilities {
    /// It said something.
    pub is_enhanced: bool,
    /// It reads all codecs.
    pub any_codec: bool,
    /// Codecs that it reads.
    pub codecs: Vec<Codec>,
    /// It reads several tracks of a kind.
    pub multitrack: bool,
}

/// One conversation.
#[derive(Debug)]
pub struct ServerSide {
    connection: Connection,
    phase: Phase,
    app: String,
    tc_url: String,
    page_url: String,
    abilities: Abilities,
    /// Pairs the answer to "connect" with it.
    connect_transaction: f64,
    object_encoding: f64,
}

/// How far the conversation has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// "connect" is waited for.
    New,
    /// It came; we have yet to answer.
    Asked,
    /// The client was let in; "publish" or "play" is waited for.
    Connected,
    /// The client publishes or plays, or waits to hear whether it may.
    Busy,
}

/// Why something is refused, in the client's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Somebody else publishes there.
    BadName,
    /// Nobody publishes there.
    StreamNotFound,
    /// It may not publish.
    PublishDenied,
    /// It may not play.
    PlayFailed,
    /// The server ends.
    Shutdown,
}

impl ServerSide {
    /// Right after the handshake.
    pub fn new() -> Self {
        Self {
            connection: Connection::new(),
            phase: Phase::New,
            app: String::new(),
            tc_url: String::new(),
            page_url: String::new(),
            abilities: Abilities::default(),
            connect_transaction: 1.0,
            object_encoding: 0.0,
        }
    }

    /// Takes bytes off `input` until the client wants something or none are left.
    ///
    /// # Errors
    ///
    /// [`ServerError`]; the conversation is then over.
    pub fn receive(&mut self, input: &mut &[u8]) -> Result<Option<Request>, ServerError> {
        while let Some(event) = self.connection.receive(input).map_err(ServerError::Connection)? {
            let request = match event {
                Event::Media(tag) => Some(Request::Media(tag)),
                Event::Command(_, command) => self.handle_command(&command)?,
                Event::Stream(_) => None,
            };
            if request.is_some() {
                return Ok(request);
            }
        }
        Ok(None)
    }

    /// What is to be sent.
    pub fn take_output(&mut self) -> Bytes {
        self.connection.take_output()
    }

    /// Whether something is to be sent.
    pub fn has_output(&self) -> bool {
        self.connection.has_output()
    }

    /// The application that the client connected to, as it wrote it.
    pub fn app(&self) -> &str {
        &self.app
    }

    /// The URL that the client connected to, as it says.
    pub fn tc_url(&self) -> &str {
        &self.tc_url
    }

    /// The page that the client is on, as it says.
    pub fn page_url(&self) -> &str {
        &self.page_url
    }

    /// What the client understands.
    pub const fn abilities(&self) -> &Abilities {
        &self.abilities
    }

    /// Lets the client in.
    pub fn accept(&mut self) {
        self.phase = Phase::Connected;
        self.connection.send_window(WINDOW);
        self.connection.send_peer_bandwidth(WINDOW);
        self.connection.send_chunk_size(u32::try_from(CHUNK_SIZE).unwrap_or(u32::MAX));
        let mut properties = vec![
            ("fmsVer".to_owned(), Value::from("FMS/3,5,7,7009")),
            ("capabilities".to_owned(), 31.0.into()),
        ];
        if self.abilities.is_enhanced {
            properties.extend(our_abilities());
        }
        let mut info = status("status", "NetConnection.Connect.Success", "Connection succeeded.");
        if let Value::Object(info) = &mut info {
            info.push(("objectEncoding".to_owned(), self.object_encoding.into()));
        }
        self.answer(self.connect_transaction, [Value::Object(properties), info]);
    }

    /// Doesn't let the client in.
    pub fn reject(&mut self, description: &str) {
        let info = status("error", "NetConnection.Connect.Rejected", description);
        let error = Command::new("_error", self.connect_transaction, [Value::Null, info]);
        self.connection.send_command(0, &error);
    }

    /// The client publishes from now on.
    pub fn publish_started(&mut self) {
        self.connection.send_stream_event(StreamEvent::Begin, STREAM);
        self.status("status", "NetStream.Publish.Start", "Publishing.");
    }

    /// The client plays from now on; chunks follow.
    pub fn play_started(&mut self) {
        self.connection.send_stream_event(StreamEvent::Begin, STREAM);
        self.status("status", "NetStream.Play.Reset", "Playing and resetting.");
        self.status("status", "NetStream.Play.Start", "Started playing.");
        // Players in browsers may look at the samples. `NetStream.Data.Start` is not sent: nobody waits for it any
        // more, and ffmpeg makes a stream of data of it.
        let mut body = BytesMut::new();
        for value in ["|RtmpSampleAccess".into(), true.into(), true.into()] {
            Value::encode(&value, &mut body);
        }
        let tag = Tag { kind: TagKind::Script, timestamp_ms: 0, body: body.freeze() };
        self.connection.send_media(STREAM, &tag);
    }

    /// The client doesn't get what it wants.
    pub fn refuse(&mut self, status: Status, description: &str) {
        let code = match status {
            Status::BadName => "NetStream.Publish.BadName",
            Status::StreamNotFound => "NetStream.Play.StreamNotFound",
            Status::PublishDenied => "NetStream.Publish.Denied",
            Status::PlayFailed => "NetStream.Play.Failed",
            Status::Shutdown => "NetConnection.Connect.AppShutdown",
        };
        self.status("error", code, description);
        self.phase = Phase::Connected;
    }

    /// What the client published is over.
    pub fn publish_stopped(&mut self) {
        self.status("status", "NetStream.Unpublish.Success", "Stopped publishing.");
        self.phase = Phase::Connected;
    }

    /// The client plays no more.
    pub fn play_stopped(&mut self) {
        self.connection.send_stream_event(StreamEvent::Eof, STREAM);
        self.status("status", "NetStream.Play.Stop", "Stopped playing.");
        self.phase = Phase::Connected;
    }

    /// The stream that the client played is over.
    pub fn play_unpublished(&mut self) {
        self.status("status", "NetStream.Play.UnpublishNotify", "The publisher left.");
        self.play_stopped();
    }

    /// For the moment there is nothing more to play.
    pub fn play_dry(&mut self) {
        self.connection.send_stream_event(StreamEvent::Dry, STREAM);
    }

    fn handle_command(&mut self, command: &Command) -> Result<Option<Request>, ServerError> {
        let transaction = command.transaction;
        let name = &*command.name;
        if name == "connect" {
            return self.handle_connect(command).map(Some);
        }
        if self.phase == Phase::New || self.phase == Phase::Asked {
            return Err(ServerError::NotConnected(name.chars().take(32).collect()));
        }
        match name {
            "createStream" => self.answer(transaction, [Value::Null, f64::from(STREAM).into()]),
            "publish" => return self.begin(command).map(|address| Some(Request::Publish(address))),
            "play" => return self.begin(command).map(|address| Some(Request::Play(address))),
            "FCPublish" => {
                self.answer_if_wanted(transaction);
                self.tell("onFCPublish", "NetStream.Publish.Start", command.argument(0));
            }
            "FCUnpublish" => {
                self.answer_if_wanted(transaction);
                self.tell("onFCUnpublish", "NetStream.Unpublish.Success", command.argument(0));
                return Ok(self.stop());
            }
            "deleteStream" | "closeStream" => return Ok(self.stop()),
            "getStreamLength" => self.answer(transaction, [Value::Null, 0.0.into()]),
            "pause" => {
                let is_pause = command.argument(0) == &Value::Boolean(true);
                let code =
                    if is_pause { "NetStream.Pause.Notify" } else { "NetStream.Unpause.Notify" };
                self.status("status", code, "A live stream goes on.");
            }
            // What players and encoders call besides ("releaseStream", "_checkbw", "FCSubscribe", "receiveAudio",
            // "setPeerInfo" …) changes nothing here; most only want an answer before they go on.
            _ => self.answer_if_wanted(transaction),
        }
        Ok(None)
    }

    fn handle_connect(&mut self, command: &Command) -> Result<Request, ServerError> {
        let text = |name: &str| Some(command.object().property(name)?.as_str()?.to_owned());
        if self.phase != Phase::New {
            return Err(ServerError::Connect);
        }
        self.app = text("app").ok_or(ServerError::Connect)?;
        self.tc_url = text("tcUrl").unwrap_or_default();
        self.page_url = text("pageUrl").unwrap_or_default();
        self.abilities = Abilities::from_connect(command.object());
        self.connect_transaction = command.transaction;
        let encoding = command.object().property("objectEncoding").and_then(Value::as_number);
        self.object_encoding = encoding.unwrap_or(0.0);
        self.phase = Phase::Asked;
        Ok(Request::Connect)
    }

    /// "publish" or "play" of a name.
    fn begin(&mut self, command: &Command) -> Result<Address, ServerError> {
        if self.phase == Phase::Busy {
            return Err(ServerError::Twice);
        }
        self.phase = Phase::Busy;
        let name = command.argument(0).as_str().unwrap_or_default();
        Ok(Address::new(&self.tc_url, &self.app, name))
    }

    fn stop(&self) -> Option<Request> {
        (self.phase == Phase::Busy).then_some(Request::Stop)
    }

    fn answer<const N: usize>(&mut self, transaction: f64, values: [Value; N]) {
        self.connection.send_command(0, &Command::new("_result", transaction, values));
    }

    fn answer_if_wanted(&mut self, transaction: f64) {
        if transaction != 0.0 {
            self.answer(transaction, [Value::Null, Value::Undefined]);
        }
    }

    fn status(&mut self, level: &str, code: &str, description: &str) {
        self.connection.send_command(STREAM, &Command::on_status(level, code, description));
    }

    fn tell(&mut self, name: &str, code: &str, stream: &Value) {
        let info = status("status", code, stream.as_str().unwrap_or_default());
        self.connection.send_command(STREAM, &Command::new(name, 0.0, [Value::Null, info]));
    }
}

impl Default for ServerSide {
    fn default() -> Self {
        Self::new()
    }
}

impl Abilities {
    /// What the object of "connect" says.
    pub fn from_connect(object: &Value) -> Self {
        const MULTITRACK: u32 = 0x02;
        let mut abilities = Self::default();
        let list = match object.property("fourCcList") {
            Some(Value::StrictArray(list)) => &list[..],
            _ => &[],
        };
        let listed = list.iter().filter_map(Value::as_str);
        let maps = ["videoFourCcInfoMap", "audioFourCcInfoMap"];
        let mapped =
            maps.iter().filter_map(|name| object.property(name)).flat_map(Value::properties);
        for code in listed.chain(mapped.map(|(code, _)| &**code)) {
            abilities.is_enhanced = true;
            abilities.any_codec |= code == "*";
            let code: Option<[u8; 4]> = code.as_bytes().try_into().ok();
            if let Some(codec) = code.and_then(codec_of)
                && !abilities.codecs.contains(&codec)
            {
                abilities.codecs.push(codec);
            }
        }
        if let Some(capabilities) = object.property("capsEx").and_then(Value::as_number) {
            abilities.is_enhanced = true;
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "it saturates"
            )]
            let bits = capabilities as u32;
            abilities.multitrack = bits & MULTITRACK != 0;
        }
        abilities
    }

    /// What is to be sent to a player. One that announces nothing gets `silent`.
    pub const fn carriage(&self, silent: Carriage) -> Carriage {
        match (self.is_enhanced, self.multitrack) {
            (_, true) => Carriage::Multitrack,
            (true, false) => Carriage::Enhanced,
            (false, false) => silent,
        }
    }
}

impl fmt::Display for ServerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connection(error) => error.fmt(f),
            Self::Connect => f.write_str("a \"connect\" without an application, or a second one"),
            Self::NotConnected(name) => write!(f, "{name:?} before \"connect\""),
            Self::Twice => f.write_str("a second \"publish\" or \"play\" on one connection"),
        }
    }
}

impl std::error::Error for ServerError {}

/// What we say that we understand: all that there is, to pass it on.
fn our_abilities() -> Vec<(String, Value)> {
    /// `FourCcInfoMask`: can forward.
    const CAN_FORWARD: f64 = 4.0;
    /// `CapsExMask`: multitrack, `ModEx`, offsets in nanoseconds.
    const CAPABILITIES: f64 = 14.0;
    let text = |codec| String::from_utf8_lossy(&code_of(codec)).into_owned();
    let map = |codecs: &[Codec]| {
        Value::Object(codecs.iter().map(|&codec| (text(codec), CAN_FORWARD.into())).collect())
    };
    let list = VIDEO.iter().chain(AUDIO).map(|&codec| Value::String(text(codec))).collect();
    vec![
        ("fourCcList".to_owned(), Value::StrictArray(list)),
        ("videoFourCcInfoMap".to_owned(), map(VIDEO)),
        ("audioFourCcInfoMap".to_owned(), map(AUDIO)),
        ("capsEx".to_owned(), CAPABILITIES.into()),
    ]
}

const VIDEO: &[Codec] = &[Codec::H264, Codec::Hevc, Codec::Av1, Codec::Vp9, Codec::Vp8];

const AUDIO: &[Codec] = &[Codec::Aac, Codec::Opus, Codec::Ac3, Codec::Eac3, Codec::Mp3];

/// After so many bytes we want to hear from the client, and it from us.
const WINDOW: u32 = 2_500_000;

#[cfg(test)]
mod tests;
