//! One peer's conversation on a stream, from the handshake to the end.

use super::{
    Address, egress,
    handshake::{self, HandshakeError, PART_LEN},
    ingest,
    server::{Abilities, Request, ServerError, ServerSide, Status},
};
use crate::{
    auth::{Action, Ask, Gate, Refused, Visit, VisitGrant},
    container::flv::Carriage,
    hub::{Client, Clients, PlayEnd, Refusal, Registry, Start},
    key::{KeyError, StreamKey},
    protocol::{
        accept,
        proxy::{self, Proxies, ProxyError},
    },
    secret::Secret,
};
use std::{
    fmt,
    io::{self, Read, Write},
    ops::Range,
    rc::Rc,
    time::Duration,
};
use thalweg_runtime::{
    self as rt, WaitError,
    net::{TcpListener, TcpStream},
};

/// How RTMP peers are served.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Who may publish and play.
    pub gate: Gate,
    /// Who stands between and tells whose a connection is; nobody without.
    pub proxies: Option<Proxies>,
    /// How long the handshake may take, and then until the peer publishes or plays.
    pub handshake: Duration,
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
    /// What players get that announce nothing of Enhanced RTMP. Those built on ffmpeg understand it without saying so.
    pub silent_player: Carriage,
}

/// Why an RTMP session is over.
#[derive(Debug)]
#[non_exhaustive]
pub enum RtmpEnd {
    /// The handshake failed.
    Handshake(HandshakeError),
    /// The peer sent what is no RTMP.
    Protocol(ServerError),
    /// It was refused, and told so.
    Refused(String),
    /// The peer closed the connection.
    Disconnected,
    /// It did not come by a proxy, as it has to.
    Proxy(ProxyError),
    /// The peer took too long for this.
    Silent(&'static str),
    /// Another publisher took the stream over.
    TakenOver,
    /// The stream that it played ended.
    Unpublished,
    /// The connection broke.
    Io(io::Error),
    /// The gateway ended the session.
    Wait(WaitError),
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
    listener: &TcpListener,
    clients: &Clients,
    registry: &Registry,
    settings: &Rc<Settings>,
) -> io::Result<()> {
    serve_over("rtmp", listener, Ok, clients, registry, settings)
}

/// As [`serve`], with `cover` to make of a connection what RTMP is spoken over: RTMPS is `protocol` then.
///
/// # Suspends
///
/// Between connections.
///
/// # Errors
///
/// Why it stopped.
pub fn serve_over<S>(
    protocol: &'static str,
    listener: &TcpListener,
    cover: impl Fn(TcpStream) -> io::Result<S> + Clone + 'static,
    clients: &Clients,
    registry: &Registry,
    settings: &Rc<Settings>,
) -> io::Result<()>
where
    for<'a> &'a S: Read + Write,
{
    let (registry, settings) = (registry.clone(), Rc::clone(settings));
    let accept = || listener.accept();
    accept::serve(protocol, clients, accept, move |mut socket, session| {
        let refusal = match &settings.proxies {
            Some(proxies) => proxy::identify(&mut socket, session, proxies)?,
            None => session.refusal,
        };
        let stream = rt::timeout(settings.handshake, || cover(socket))
            .map_err(|error| RtmpEnd::from(error).waiting_for("the TLS handshake"))?;
        converse(&stream, &session.client, refusal, &registry, &settings)
    })
}

/// Holds the conversation with one peer, until either side ends it; a `refusal` is said as soon as it can be. What is
/// sent last has arrived when this returns, unless the peer is too slow.
///
/// # Suspends
///
/// For as long as the conversation takes.
///
/// # Errors
///
/// There is no other end: [`RtmpEnd`] tells which it was.
pub fn converse<S>(
    stream: &S,
    client: &Client,
    refusal: Option<Refusal>,
    registry: &Registry,
    settings: &Settings,
) -> Result<(), RtmpEnd>
where
    for<'a> &'a S: Read + Write,
{
    rt::timeout(settings.handshake, || shake_hands(stream))
        .map_err(|end| end.waiting_for("the handshake"))?;
    let mut wire = Wire::new(stream, client);
    // Dropped when the conversation is over.
    let mut _visit = None;
    loop {
        let request = rt::timeout(settings.handshake, || wire.request())
            .map_err(|end| end.waiting_for("what it wants"))?;
        let stopped = match request {
            Request::Connect => match refusal {
                Some(refusal) => Err(wire.reject(&refusal.to_string())),
                None => connect(&mut wire, settings).map(|visit| _visit = Some(visit)),
            },
            Request::Publish(address) => match key(&address) {
                Ok(key) => publish(&mut wire, registry, &address, &key, settings),
                Err(error) => Err(wire.refuse(Status::BadName, &error.to_string())),
            },
            Request::Play(address) => match key(&address) {
                Ok(key) => play(&mut wire, registry, &address, &key, settings),
                Err(error) => Err(wire.refuse(Status::StreamNotFound, &error.to_string())),
            },
            // Media that nobody asked for, and the end of what did not begin.
            Request::Media(_) | Request::Stop => Ok(()),
        };
        if let Err(end) = stopped {
            if end.was_told() {
                wire.hang_up();
            }
            return Err(end);
        }
    }
}

/// Lets the peer in, if it may stay.
fn connect<S>(wire: &mut Wire<'_, S>, settings: &Settings) -> Result<VisitGrant, RtmpEnd>
where
    for<'a> &'a S: Read + Write,
{
    match settings.gate.connect(&wire.visit()) {
        Ok(visit) => {
            wire.side.accept();
            Ok(visit)
        }
        Err(Refused::Wait(error)) => Err(error.into()),
        Err(refused) => Err(wire.reject(&refused.to_string())),
    }
}

/// Publishes, if the peer may. It sends no media before it is told so; what it sends all the same waits in the socket.
fn publish<S>(
    wire: &mut Wire<'_, S>,
    registry: &Registry,
    address: &Address,
    key: &StreamKey,
    settings: &Settings,
) -> Result<(), RtmpEnd>
where
    for<'a> &'a S: Read + Write,
{
    wire.flush()?;
    match settings.gate.publish(&wire.ask(Action::Publish, key, address)) {
        Ok(grant) => ingest::run(wire, registry, &grant, settings),
        Err(Refused::Wait(error)) => Err(error.into()),
        Err(refused) => Err(wire.refuse(Status::PublishDenied, &refused.to_string())),
    }
}

/// Plays, if the peer may.
fn play<S>(
    wire: &mut Wire<'_, S>,
    registry: &Registry,
    address: &Address,
    key: &StreamKey,
    settings: &Settings,
) -> Result<(), RtmpEnd>
where
    for<'a> &'a S: Read + Write,
{
    wire.flush()?;
    match settings.gate.play(&wire.ask(Action::Play, key, address)) {
        Ok(grant) => egress::run(wire, registry, &grant, settings),
        Err(Refused::Wait(error)) => Err(error.into()),
        Err(refused @ Refused::NotFound(_)) => {
            Err(wire.refuse(Status::StreamNotFound, &refused.to_string()))
        }
        Err(refused) => Err(wire.refuse(Status::PlayFailed, &refused.to_string())),
    }
}

/// The stream that an address names. Its host is not looked at, since there is one, whatever name the peer knows it by;
/// the parameter `vhost` is.
fn key(address: &Address) -> Result<StreamKey, KeyError> {
    let key = StreamKey::new(&address.app, &address.name)?;
    key.on_vhost(address.parameter("vhost").unwrap_or_default())
}

/// The stream, and what is known of the conversation on it.
pub(super) struct Wire<'a, S> {
    pub(super) stream: &'a S,
    pub(super) side: ServerSide,
    pub(super) client: &'a Client,
    buffer: Vec<u8>,
    /// What of `buffer` is to be handled yet.
    unread: Range<usize>,
}

/// What a peer that has not asked for anything yet, or plays, may say at once.
const SMALL_READ: usize = 4 << 10;

/// What a publisher says at once: several frames, so that a system call is worth it.
const LARGE_READ: usize = 64 << 10;

impl<'a, S> Wire<'a, S>
where
    for<'s> &'s S: Read + Write,
{
    fn new(stream: &'a S, client: &'a Client) -> Self {
        let buffer = vec![0; SMALL_READ];
        Self { stream, side: ServerSide::new(), client, buffer, unread: 0..0 }
    }

    /// From now on much will come.
    pub(super) fn expect_much(&mut self) {
        self.buffer.resize(LARGE_READ, 0);
    }

    /// The next request among what has come already.
    pub(super) fn next_request(&mut self) -> Result<Option<Request>, RtmpEnd> {
        let mut input = self.buffer.get(self.unread.clone()).unwrap_or_default();
        let request = self.side.receive(&mut input);
        self.unread.start = self.unread.end - input.len();
        request.map_err(RtmpEnd::Protocol)
    }

    /// Waits for more bytes; how many came.
    pub(super) fn read(&mut self) -> Result<usize, RtmpEnd> {
        debug_assert!(self.unread.is_empty(), "what has come is handled first");
        let mut stream = self.stream;
        let count = stream.read(&mut self.buffer)?;
        if count == 0 {
            return Err(RtmpEnd::Disconnected);
        }
        self.client.add_received(count);
        self.unread = 0..count;
        Ok(count)
    }

    /// Sends the answers that are waiting.
    pub(super) fn flush(&mut self) -> Result<(), RtmpEnd> {
        if self.side.has_output() {
            let output = self.side.take_output();
            let mut stream = self.stream;
            stream.write_all(&output)?;
            self.client.add_sent(output.len());
        }
        Ok(())
    }

    /// The next request.
    fn request(&mut self) -> Result<Request, RtmpEnd> {
        loop {
            if let Some(request) = self.next_request()? {
                return Ok(request);
            }
            self.flush()?;
            self.read()?;
        }
    }

    /// Tells the peer that it is not let in.
    fn reject(&mut self, why: &str) -> RtmpEnd {
        self.side.reject(why);
        RtmpEnd::Refused(why.to_owned())
    }

    /// Tells the peer that it doesn't get what it wants.
    pub(super) fn refuse(&mut self, status: Status, why: &str) -> RtmpEnd {
        self.side.refuse(status, why);
        RtmpEnd::Refused(why.to_owned())
    }

    /// Sends what is waiting, and gives the peer a moment to read it and hang up: a socket that is closed while bytes
    /// come in is reset, and what it sent last is lost.
    fn hang_up(&mut self) {
        const LIMIT: Duration = Duration::from_secs(2);
        // The conversation is over, whatever comes of this. Also when it was cancelled.
        let _is_over = rt::shield(LIMIT, || -> Result<(), RtmpEnd> {
            self.flush()?;
            loop {
                self.unread = 0..0;
                self.read()?;
            }
        });
    }

    /// What the peer wants, for who decides about it.
    fn ask(&self, action: Action, key: &StreamKey, address: &Address) -> Ask {
        let ask = Ask::new(action, key, "rtmp", self.client.peer());
        let ask = ask.of_client(self.client.id.0).with_query(&address.query);
        let (tc_url, page_url) = (self.side.tc_url().into(), self.side.page_url().into());
        Ask { tc_url, page_url, ..ask }
    }

    fn visit(&self) -> Visit {
        let address = Address::of_app(self.side.tc_url(), self.side.app());
        let vhost = address.parameter("vhost").unwrap_or(StreamKey::VHOST_DEFAULT);
        Visit {
            vhost: vhost.to_owned(),
            client: self.client.id.0,
            peer: self.client.peer(),
            params: Secret::new(address.query.clone()),
            tc_url: self.side.tc_url().into(),
            page_url: self.side.page_url().into(),
            app: address.app,
        }
    }

    /// What the client announced.
    pub(super) const fn abilities(&self) -> &Abilities {
        self.side.abilities()
    }
}

fn shake_hands<S>(mut stream: &S) -> Result<(), RtmpEnd>
where
    for<'s> &'s S: Read + Write,
{
    // One byte first: a browser or a port scanner is recognised at once.
    let mut version = [0];
    stream.read_exact(&mut version)?;
    let [version] = version;
    handshake::check_version(version).map_err(RtmpEnd::Handshake)?;
    let mut part = [0; PART_LEN];
    stream.read_exact(&mut part)?;
    let answer = handshake::answer_client(&part).map_err(RtmpEnd::Handshake)?;
    stream.write_all(&answer)?;
    // What C2 says is of no interest: many clients get it wrong.
    stream.read_exact(&mut part)?;
    Ok(())
}

impl RtmpEnd {
    /// Tells what was waited for, if it is that a deadline passed.
    pub(super) fn waiting_for(self, what: &'static str) -> Self {
        match self {
            Self::Wait(WaitError::TimedOut(_)) => Self::Silent(what),
            other => other,
        }
    }

    /// Whether the peer was told something that it should be left time to read.
    const fn was_told(&self) -> bool {
        matches!(self, Self::Refused(_) | Self::TakenOver | Self::Unpublished)
    }
}

impl From<ProxyError> for RtmpEnd {
    fn from(error: ProxyError) -> Self {
        Self::Proxy(error)
    }
}

impl From<io::Error> for RtmpEnd {
    fn from(error: io::Error) -> Self {
        if rt::is_cancelled(&error) {
            Self::Wait(WaitError::Cancelled)
        } else if let Some(timed_out) = rt::timed_out(&error) {
            Self::Wait(WaitError::TimedOut(timed_out))
        } else if error.kind() == io::ErrorKind::UnexpectedEof {
            Self::Disconnected
        } else {
            Self::Io(error)
        }
    }
}

impl From<WaitError> for RtmpEnd {
    fn from(error: WaitError) -> Self {
        Self::Wait(error)
    }
}

impl From<PlayEnd> for RtmpEnd {
    fn from(end: PlayEnd) -> Self {
        match end {
            PlayEnd::Wait(error) => Self::Wait(error),
            PlayEnd::Unpublished => Self::Unpublished,
        }
    }
}

impl fmt::Display for RtmpEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Handshake(error) => error.fmt(f),
            Self::Protocol(error) => error.fmt(f),
            Self::Proxy(error) => error.fmt(f),
            Self::Refused(why) => write!(f, "refused: {why}"),
            Self::Disconnected => f.write_str("the peer closed the connection"),
            Self::Silent(what) => write!(f, "waited too long for {what}"),
            Self::TakenOver => f.write_str("another publisher took the stream over"),
            Self::Unpublished => f.write_str("the publisher left"),
            Self::Io(error) => error.fmt(f),
            Self::Wait(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for RtmpEnd {}

#[cfg(test)]
mod tests;
