//! One SRT connection: what it wants, and that it gets it.

use super::{egress, ingest};
use crate::{
    hub::{Registry, Start},
    key::{KeyError, StreamKey},
    protocol::{Session, accept, play::PlayError},
};
use std::{fmt, io, rc::Rc, time::Duration};
use thalweg_runtime::WaitError;
use thalweg_srt_io::{
    AcceptError, Listener, Socket, SrtError,
    stream_id::{StreamId, StreamIdError, StreamMode},
};

/// How SRT peers are served.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What a peer wants that does not say so.
    pub default_mode: StreamMode,
    /// The stream of a peer that names none.
    pub default_stream: StreamKey,
    /// Where players begin.
    pub start: Start,
    /// How long a player may wait for a stream that nobody publishes.
    pub wait: Duration,
    /// How long a publisher may be silent.
    pub silence: Duration,
    /// How long a player may take nothing.
    pub stall: Duration,
    /// Whether a second publisher replaces the first.
    pub takes_over: bool,
    /// What is published on this port, whatever the stream id says.
    pub published: Option<StreamKey>,
}

/// Why an SRT session is over.
#[derive(Debug)]
#[non_exhaustive]
pub enum SrtEnd {
    /// The stream id is not one.
    StreamId(StreamIdError),
    /// It names no stream that can be.
    Key(KeyError),
    /// It was refused, for the reason that the text gives. SRT has no words for that once the handshake is over, so
    /// the connection was closed.
    Refused(String),
    /// The peer closed the connection.
    Disconnected,
    /// The peer was not heard of any more.
    Broken,
    /// The publisher sent nothing for too long.
    Silent(Duration),
    /// Another publisher took the stream over.
    TakenOver,
    /// The publisher sent more than this many bits a second.
    TooFast(u64),
    /// The stream ended, or the player could not keep up.
    Play(PlayError),
    /// libsrt failed.
    Srt(SrtError),
    /// The gateway ended the session.
    Wait(WaitError),
}

/// What a peer wants.
pub(super) struct Request {
    pub(super) key: StreamKey,
    pub(super) mode: StreamMode,
}

/// Accepts on `listener` until that is closed or the coroutine is cancelled.
///
/// # Suspends
///
/// Between connections.
///
/// # Errors
///
/// Why it stopped.
pub fn serve(
    listener: &Listener,
    clients: &crate::hub::Clients,
    registry: &Registry,
    settings: &Rc<Settings>,
) -> io::Result<()> {
    let accept = || listener.accept().map_err(AcceptError::into);
    let (registry, settings) = (registry.clone(), Rc::clone(settings));
    accept::serve("srt", clients, accept, move |socket, session| {
        run(&Rc::new(socket), session, &registry, &settings)
    })
}

fn run(
    socket: &Rc<Socket>,
    session: &Session,
    registry: &Registry,
    settings: &Settings,
) -> Result<(), SrtEnd> {
    if let Some(refusal) = session.refusal {
        return Err(SrtEnd::Refused(refusal.to_string()));
    }
    let request = identify(socket.stream_id_text(), settings)?;
    match request.mode {
        StreamMode::Request => egress::play(socket, session, registry, &request.key, settings),
        StreamMode::Publish | StreamMode::Bidirectional => {
            ingest::publish(socket, session, registry, &request.key, settings)
        }
    }
}

/// Reads what the peer wants out of its stream id.
///
/// The host is not looked at: there is one, whatever name the peer knows it by.
pub(super) fn identify(stream_id: &str, settings: &Settings) -> Result<Request, SrtEnd> {
    if let Some(key) = &settings.published {
        return Ok(Request { key: key.clone(), mode: StreamMode::Publish });
    }
    let stream_id = StreamId::parse(stream_id).map_err(SrtEnd::StreamId)?;
    let key = match stream_id.resource().filter(|resource| !resource.is_empty()) {
        Some(resource) => resource.parse().map_err(SrtEnd::Key)?,
        None => settings.default_stream.clone(),
    };
    Ok(Request { key, mode: stream_id.mode().unwrap_or(settings.default_mode) })
}

impl fmt::Display for SrtEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::StreamId(error) => write!(f, "refused: {error}"),
            Self::Key(error) => write!(f, "refused: {error}"),
            Self::Refused(why) => write!(f, "refused: {why}"),
            Self::Disconnected => f.write_str("the peer closed the connection"),
            Self::Broken => f.write_str("the peer was not heard of any more"),
            Self::Silent(limit) => write!(f, "the publisher sent nothing for {limit:?}"),
            Self::TakenOver => f.write_str("another publisher took the stream over"),
            Self::TooFast(limit) => write!(
                f,
                "the publisher sent more than the {limit} bit/s of limits.bitrate_per_publisher"
            ),
            Self::Play(error) => error.fmt(f),
            Self::Srt(error) => write!(f, "libsrt: {error}"),
            Self::Wait(error) => write!(f, "ended by the gateway: {error}"),
        }
    }
}

impl std::error::Error for SrtEnd {}
