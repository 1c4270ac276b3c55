//! One SRT connection: what it wants, and that it gets it.

use super::{egress, ingest};
use crate::{
    auth::{Action, Ask, Credentials, Gate, Refused},
    hub::{Registry, Start},
    key::{KeyError, StreamKey},
    protocol::{Session, accept, play::PlayError},
    secret::Secret,
};
use std::{
    borrow::Cow,
    fmt, io,
    net::{IpAddr, SocketAddr},
    rc::Rc,
    time::Duration,
};
use thalweg_runtime::WaitError;
use thalweg_srt_io::{
    AcceptError, Listener, Socket, SrtError,
    stream_id::{StreamId, StreamIdError, StreamMode},
};

/// How SRT peers are served.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Who may publish and play.
    pub gate: Gate,
    /// What peers want that do not say so.
    pub naming: Naming,
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
}

/// How it is known what a peer wants.
#[derive(Clone, Debug)]
pub struct Naming {
    /// What a peer wants that does not say so.
    pub default_mode: StreamMode,
    /// The stream of a peer that names none.
    pub default_stream: StreamKey,
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
    /// The gate did not let it in; the connection was closed likewise.
    Denied(Refused),
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
    credentials: Credentials,
    /// What the stream id holds besides, as a query.
    params: Secret,
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
    let request = identify(socket.stream_id_text(), &settings.naming)?;
    // SRT has no such URL; SRS makes one up like this.
    let host = socket.local_addr().map(|local| host_of(local.ip().to_canonical()));
    let tc_url = host.map(|host| format!("srt://{host}/{}", request.key.app()));
    let ask = request.ask(session.client.peer()).of_client(session.client.id.0);
    let ask = Ask { tc_url: Secret::new(tc_url.unwrap_or_default()), ..ask };
    // What arrives while somebody is asked stays in libsrt's buffer for it, SRTO_RCVBUF.
    match ask.action {
        Action::Play => {
            let grant = settings.gate.play(&ask).map_err(SrtEnd::Denied)?;
            egress::play(socket, session, registry, &grant, settings)
        }
        Action::Publish => {
            let grant = settings.gate.publish(&ask).map_err(SrtEnd::Denied)?;
            ingest::publish(socket, session, registry, &grant, settings)
        }
    }
}

impl Request {
    /// What a peer from there wants, for who decides about it.
    pub(super) fn ask(self, peer: SocketAddr) -> Ask {
        let action = match self.mode {
            StreamMode::Request => Action::Play,
            StreamMode::Publish | StreamMode::Bidirectional => Action::Publish,
        };
        let ask = Ask::new(action, &self.key, "srt", peer);
        Ask { credentials: self.credentials, params: self.params, ..ask }
    }
}

/// Reads what the peer wants out of its stream id.
///
/// The host is not looked at: there is one, whatever name the peer knows it by.
pub(super) fn identify(stream_id: &str, naming: &Naming) -> Result<Request, SrtEnd> {
    let stream_id = StreamId::parse(stream_id);
    if let Some(key) = &naming.published {
        let shown = stream_id.ok().map(|stream_id| shown(&stream_id));
        let (credentials, params) = shown.unwrap_or_default();
        let (key, mode) = (key.clone(), StreamMode::Publish);
        return Ok(Request { key, mode, credentials, params });
    }
    let stream_id = stream_id.map_err(SrtEnd::StreamId)?;
    let key = match stream_id.resource().filter(|resource| !resource.is_empty()) {
        Some(resource) => resource.parse().map_err(SrtEnd::Key)?,
        None => naming.default_stream.clone(),
    };
    let (credentials, params) = shown(&stream_id);
    let mode = stream_id.mode().unwrap_or(naming.default_mode);
    Ok(Request { key, mode, credentials, params })
}

/// An address as the host of a URL.
fn host_of(ip: IpAddr) -> String {
    match ip {
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => format!("[{ip}]"),
    }
}

/// The credentials in a stream id, and all that is not the stream's name and the mode, as a query.
fn shown(stream_id: &StreamId) -> (Credentials, Secret) {
    let host = stream_id.host().map(|host| ("vhost", host));
    let user = stream_id.user().map(|user| ("u", user));
    let session = stream_id.session().map(|session| ("s", session));
    let params = stream_id.params().iter().map(|(name, value)| (&**name, &**value));
    let pairs: Vec<(&str, &str)> =
        host.into_iter().chain(user).chain(session).chain(params).collect();
    let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(&pairs).finish();
    let pairs = pairs.into_iter().map(|(name, value)| (Cow::Borrowed(name), Cow::Borrowed(value)));
    (Credentials::of_pairs(pairs), Secret::new(query))
}

impl fmt::Display for SrtEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::StreamId(error) => write!(f, "refused: {error}"),
            Self::Key(error) => write!(f, "refused: {error}"),
            Self::Refused(why) => write!(f, "refused: {why}"),
            Self::Denied(Refused::Wait(error)) => write!(f, "ended by the gateway: {error}"),
            Self::Denied(refused) => write!(f, "refused after the handshake: {refused}"),
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
