//! Viewers of WebRTC as browsers are, by the same library as the gateway's: WHEP, ICE, DTLS, and every packet decrypted.
//!
//! Each has a socket of its own, since browsers have. It answers as they do: receiver reports, feedback of transport-wide
//! congestion control, checks of ICE, NACKs for what is lost. What it gets is counted, not decoded. All of them run on one
//! thread, which looks every few milliseconds at what has come.

use std::error::Error;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use str0m::change::SdpAnswer;
use str0m::config::DtlsCert;
use str0m::crypto::CryptoProvider;
use str0m::media::{Direction, MediaKind};
use str0m::net::{Protocol, Receive};
use str0m::rtp::RtpPacket;
use str0m::{Candidate, Event, Input, Output, Rtc, RtcConfig};

use super::clip::{End, push_end};
use super::sink::{READ_PAUSE, Served};
use crate::sys::Epoll;

/// What viewers share, so that a hundred cost no hundred certificates.
pub(super) struct Identity {
    certificate: DtlsCert,
    crypto: Arc<CryptoProvider>,
}

impl Identity {
    pub(super) fn new() -> Result<Self, Box<dyn Error>> {
        let crypto = Arc::new(str0m::crypto::from_feature_flags());
        let certificate = crypto.dtls_provider.generate_certificate().ok_or("no certificate")?;
        Ok(Self { certificate, crypto })
    }
}

/// One of them.
pub(super) struct Viewer {
    rtc: Box<Rtc>,
    socket: UdpSocket,
    local: SocketAddr,
    /// When the library wants to be called.
    timer: Instant,
}

impl Viewer {
    #[expect(clippy::large_stack_frames, reason = "it runs on a thread, whose stack is large")]
    /// Offers itself as a viewer of `live/<name>`, and takes the answer.
    pub(super) fn join(port: u16, name: &str, identity: &Identity) -> Result<Self, Box<dyn Error>> {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        socket.set_nonblocking(true)?;
        let local = socket.local_addr()?;
        let now = Instant::now();
        let config = RtcConfig::new()
            .set_crypto_provider(Arc::clone(&identity.crypto))
            .set_dtls_cert(identity.certificate.clone())
            .set_stats_interval(None)
            .set_rtp_mode(true);
        let config = config.clear_codecs().enable_h264(true).enable_opus(true, false);
        let mut rtc = Box::new(config.build(now));
        rtc.add_local_candidate(Candidate::host(local, "udp")?);
        let mut change = rtc.sdp_api();
        for kind in [MediaKind::Video, MediaKind::Audio] {
            let _mid = change.add_media(kind, Direction::RecvOnly, None, None, None);
        }
        let (offer, pending) = change.apply().ok_or("there is nothing to offer")?;
        let answer = post(port, &format!("/whep/live/{name}"), &offer.to_sdp_string())?;
        rtc.sdp_api().accept_answer(pending, SdpAnswer::from_sdp_string(&answer)?)?;
        let mut viewer = Self { rtc, socket, local, timer: now };
        viewer.drain(&mut |_packet| {})?;
        Ok(viewer)
    }

    pub(super) const fn socket(&self) -> &UdpSocket {
        &self.socket
    }

    /// When [`Viewer::turn`] is to be called, whatever comes.
    pub(super) const fn timer(&self) -> Instant {
        self.timer
    }

    /// Takes what is there, and does what is due.
    pub(super) fn turn(
        &mut self,
        buf: &mut [u8],
        arrived: &mut dyn FnMut(&RtpPacket),
    ) -> Result<(), Box<dyn Error>> {
        loop {
            let (count, source) = match self.socket.recv_from(buf) {
                Ok(got) => got,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error.into()),
            };
            let receive = Receive::new(Protocol::Udp, source, self.local, &buf[..count])?;
            self.rtc.handle_input(Input::Receive(Instant::now(), receive))?;
            self.drain(arrived)?;
        }
        let now = Instant::now();
        if now >= self.timer {
            self.rtc.handle_input(Input::Timeout(now))?;
            self.drain(arrived)?;
        }
        Ok(())
    }

    fn drain(&mut self, arrived: &mut dyn FnMut(&RtpPacket)) -> Result<(), Box<dyn Error>> {
        loop {
            match self.rtc.poll_output()? {
                Output::Timeout(at) => {
                    self.timer = at;
                    return Ok(());
                }
                Output::Transmit(transmit) => {
                    self.socket.send_to(&transmit.contents, transmit.destination)?;
                }
                Output::Event(Event::RtpPacket(packet)) => arrived(&packet),
                Output::Event(Event::Closed) => return Err("the gateway closed a session".into()),
                Output::Event(_) => {}
            }
        }
    }
}

/// So many viewers of one stream, who join one after the other and stay until the process is ended.
pub(super) fn discard(port: u16, count: usize) -> Result<(), Box<dyn Error>> {
    let identity = Identity::new()?;
    let epoll = Epoll::new()?;
    let mut events = vec![libc::epoll_event { events: 0, u64: 0 }; count];
    let (mut served, mut viewers) = (Served::new(count)?, Vec::<Viewer>::new());
    let mut buf = vec![0; DATAGRAM_BYTES];
    loop {
        if viewers.len() < count {
            let viewer = Viewer::join(port, "cam0", &identity)?;
            epoll.add_readable(viewer.socket().as_raw_fd(), viewers.len() as u64)?;
            viewers.push(viewer);
        }
        let readable = epoll.wait(&mut events, 0)?;
        let indices = readable.iter().map(|event| usize::try_from(event.u64));
        let indices = indices.collect::<Result<Vec<_>, _>>()?;
        let now = Instant::now();
        let late = (0..viewers.len()).filter(|&index| viewers[index].timer() <= now);
        let late: Vec<_> = late.collect();
        for index in indices.into_iter().chain(late) {
            viewers[index].turn(&mut buf, &mut |packet| served.add(index, packet.payload.len()))?;
        }
        served.look()?;
        std::thread::sleep(READ_PAUSE);
    }
}

/// One viewer who tells the end of each picture as soon as its last packet is there and decrypted.
pub(super) fn watch(port: u16, mut arrived: impl FnMut(End)) -> Result<(), Box<dyn Error>> {
    let mut viewer = Viewer::join(port, "cam0", &Identity::new()?)?;
    let (mut buf, mut end) = (vec![0; DATAGRAM_BYTES], End::default());
    // Blocking, so that the kernel wakes it for each packet as soon as that has come.
    viewer.socket().set_nonblocking(false)?;
    loop {
        let left = viewer.timer().saturating_duration_since(Instant::now());
        viewer.socket().set_read_timeout(Some(left.max(TICK)))?;
        let _came_or_due = viewer.socket().peek_from(&mut buf[..1]);
        viewer.socket().set_nonblocking(true)?;
        viewer.turn(&mut buf, &mut |packet| {
            push_end(&mut end, without_fragment_header(&packet.payload));
            if packet.header.marker {
                arrived(end);
            }
        })?;
        viewer.socket().set_nonblocking(false)?;
    }
}

/// What a payload has of the picture (RFC 6184 §5.8).
fn without_fragment_header(payload: &[u8]) -> &[u8] {
    const FU_A: u8 = 28;
    match payload {
        [indicator, _header, fragment @ ..] if indicator & 0x1f == FU_A => fragment,
        _ => payload,
    }
}

/// Posts an offer (RFC 9725 §4.2); the answer.
fn post(port: u16, path: &str, offer: &str) -> Result<String, Box<dyn Error>> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    let len = offer.len();
    write!(
        stream,
        "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/sdp\r\n\
         Content-Length: {len}\r\nConnection: close\r\n\r\n{offer}"
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").ok_or("the answer ends in its head")?;
    if !head.starts_with("HTTP/1.1 201") {
        return Err(format!("{path}: {}", answer.trim_end()).into());
    }
    Ok(body.to_owned())
}

const DATAGRAM_BYTES: usize = 2_048;
/// A timeout of a socket is never zero.
const TICK: Duration = Duration::from_millis(1);

#[cfg(test)]
mod tests {
    use super::without_fragment_header;

    #[test]
    fn a_fragment_is_what_comes_after_both_headers() {
        assert_eq!(without_fragment_header(&[0x7c, 0x41, 1, 2]), [1, 2]);
        assert_eq!(without_fragment_header(&[0x41, 0x9a, 1]), [0x41, 0x9a, 1]);
    }
}
