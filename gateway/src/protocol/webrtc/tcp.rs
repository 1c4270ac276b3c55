//! ICE over TCP (RFC 6544): connections that peers make whose networks let no UDP through.
//!
//! One coroutine reads a connection, straight-line: the first frame must be a check by a peer that we wait for, and the
//! connection is that peer's from then on. Another writes what the peer's queue holds. What is in the frames (RFC 4571 §2)
//! is what would be in datagrams; nothing here looks into it. Of the candidates of RFC 6544 §4.1 there are passive ones
//! alone, since browsers have none but active ones.

use super::{
    addresses::Transport,
    crowd::{Crowd, Full, Most},
    port::Port,
    routes::Datagram,
    wire::Wire,
};
use crate::{
    hub::{Clients, Refusal},
    protocol::{Session, accept},
};
use std::{
    fmt,
    io::{self, BufReader, Read},
    net::{IpAddr, Shutdown},
    rc::Rc,
    time::Duration,
};
use thalweg_runtime::{
    self as rt,
    net::{TcpListener, TcpStream},
};

/// How connections are treated.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Until the first frame is there.
    pub first: Duration,
    /// How long the other end may take nothing of what there is for it.
    pub stall: Duration,
}

/// Connections of which it is not known yet whose they are.
#[derive(Debug, Default)]
pub(super) struct Newcomers(Rc<Crowd>);

/// Why a connection is over.
#[derive(Debug)]
enum TcpEnd {
    Refused(Refusal),
    /// There are too many that have said nothing.
    Crowded(Full),
    /// No first frame came in time.
    Silent(Duration),
    /// A frame of so many bytes is none of WebRTC's.
    Frame(usize),
    /// It began with something else than a good check by a peer that we wait for.
    Unknown,
    /// The other end closed it.
    Left,
    /// Its peer is gone, or has connections enough.
    Over,
    Io(io::Error),
}

/// Frames of a connection.
struct Frames<'a> {
    reader: BufReader<&'a TcpStream>,
}

/// A browser says who it is in its first packet, so few are here at a time.
const NEWCOMERS: Most = Most { in_all: 512, per_ip: 32 };

/// Longer frames are none of WebRTC's: what is in them fits a datagram.
const FRAME_BYTES: usize = 2_048;

/// What is read at once.
const READ_BYTES: usize = 8 << 10;

/// What the kernel holds of what it has not sent yet. With as much as it would take by itself, a viewer behind a slow link
/// would be seconds late.
const UNSENT_BYTES: u32 = 32 << 10;

/// Takes connections for the peers of `port`, until the coroutine is cancelled.
///
/// # Suspends
///
/// Between connections.
///
/// # Errors
///
/// What the socket reports, a cancellation included.
pub fn serve(
    listener: &TcpListener,
    clients: &Clients,
    port: &Rc<Port>,
    settings: Settings,
) -> io::Result<()> {
    let port = Rc::clone(port);
    accept::serve(
        "webrtc-tcp",
        clients,
        || listener.accept(),
        move |socket, session| Err::<(), _>(carry(&socket, session, &port, settings)),
    )
}

/// One connection from its first byte to its last. Its bytes are counted where they are from and for: at the peer.
fn carry(socket: &TcpStream, session: &Session, port: &Port, settings: Settings) -> TcpEnd {
    if let Some(refusal) = session.refusal {
        return TcpEnd::Refused(refusal);
    }
    let source = session.client.peer();
    let place = match port.newcomers().0.enter(source.ip(), NEWCOMERS) {
        Ok(place) => place,
        Err(full) => return TcpEnd::Crowded(full),
    };
    let local = match prepare(socket) {
        Ok(local) => local,
        Err(error) => return TcpEnd::Io(error),
    };
    let mut frames = Frames::new(socket);
    let first = match rt::timeout(settings.first, || frames.next()) {
        Ok(first) => first,
        Err(TcpEnd::Io(error)) if rt::timed_out(&error).is_some() => {
            return TcpEnd::Silent(settings.first);
        }
        Err(end) => return end,
    };
    let Some(inbox) = port.routes().borrow().find_first(&first, source) else {
        port.add_stray();
        return TcpEnd::Unknown;
    };
    drop(place);
    let wire = Wire::new();
    inbox.connect(source, &wire);
    let end = rt::scope(|scope| {
        let writer = scope.spawn(|| write(socket, &wire, settings.stall));
        let datagram = |bytes| {
            let (transport, at) = (Transport::Tcp, rt::now());
            Datagram { transport, source, local, at, bytes }
        };
        let end = read(frames, first, |bytes| inbox.deliver(datagram(bytes)).is_ok());
        let is_over = wire.is_closed();
        writer.cancel();
        match writer.join() {
            Ok(Err(error)) if !rt::is_cancelled(&error) => TcpEnd::Io(error),
            _ if is_over => TcpEnd::Over,
            _ => end,
        }
    });
    inbox.disconnect(&wire);
    end
}

/// Hands over frame after frame while there is somebody for them.
fn read(mut frames: Frames<'_>, first: Vec<u8>, deliver: impl Fn(Vec<u8>) -> bool) -> TcpEnd {
    let mut frame = first;
    while deliver(frame) {
        frame = match frames.next() {
            Ok(frame) => frame,
            Err(end) => return end,
        };
    }
    TcpEnd::Over
}

/// The address of this machine that it came to.
fn prepare(socket: &TcpStream) -> io::Result<Option<IpAddr>> {
    socket.set_nodelay(true)?;
    socket.set_unsent_limit(UNSENT_BYTES)?;
    Ok(socket.local_addr().ok().map(|local| local.ip().to_canonical()))
}

/// Writes what there is until the peer is gone or the link takes nothing, and wakes the reader then.
fn write(socket: &TcpStream, wire: &Wire, stall: Duration) -> io::Result<()> {
    let mut bytes = Vec::new();
    let result = loop {
        match wire.take(&mut bytes) {
            Ok(true) => {}
            Ok(false) => break Ok(()),
            Err(error) => break Err(error.into()),
        }
        if let Err(incomplete) = rt::timeout(stall, || socket.write_full(&bytes)) {
            break Err(incomplete.error);
        }
    };
    wire.close();
    // It may be closed already.
    let _shut = socket.shutdown(Shutdown::Both);
    result
}

impl<'a> Frames<'a> {
    fn new(socket: &'a TcpStream) -> Self {
        Self { reader: BufReader::with_capacity(READ_BYTES, socket) }
    }

    /// What the next frame carries.
    fn next(&mut self) -> Result<Vec<u8>, TcpEnd> {
        let mut len = [0; 2];
        self.read(&mut len)?;
        let len = usize::from(u16::from_be_bytes(len));
        if len == 0 || len > FRAME_BYTES {
            return Err(TcpEnd::Frame(len));
        }
        let mut bytes = vec![0; len];
        self.read(&mut bytes)?;
        Ok(bytes)
    }

    fn read(&mut self, bytes: &mut [u8]) -> Result<(), TcpEnd> {
        self.reader.read_exact(bytes).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset => TcpEnd::Left,
            _ => TcpEnd::Io(error),
        })
    }
}

impl fmt::Display for TcpEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(refusal) => refusal.fmt(f),
            Self::Crowded(full) => write!(f, "refused: {full}"),
            Self::Silent(limit) => write!(f, "it did not say for whom it is in {limit:?}"),
            Self::Frame(0) => f.write_str("an empty frame is none of WebRTC's"),
            Self::Frame(len) => write!(
                f,
                "{len} bytes are announced, more than a frame of WebRTC has ({FRAME_BYTES}): another protocol?"
            ),
            Self::Unknown => {
                f.write_str("it did not begin with a check of a peer that is expected")
            }
            Self::Left => f.write_str("the peer closed the connection"),
            Self::Over => f.write_str("the session that it was for is over, or has another"),
            Self::Io(error) => error.fmt(f),
        }
    }
}
