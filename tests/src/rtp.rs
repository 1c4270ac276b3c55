//! A viewer of WebRTC that shows nothing: it keeps the packets that it gets, and when on the sender's wall clock each of them
//! is to be shown or heard, by what the sender reports.

use crate::{api::Answer, gateway::Gateway};
use std::{
    io::{ErrorKind, Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket},
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};
use str0m::{
    Candidate, Event, Input, Output, Rtc, RtcConfig,
    change::SdpAnswer,
    crypto::{CryptoProvider, from_feature_flags},
    media::{Direction, MediaKind},
    net::{Protocol, Receive},
    rtp::{RtpPacket, rtcp::SenderInfo},
};

/// Packets of one track, in the order in which they came.
#[derive(Clone, Debug, Default)]
pub struct Track {
    /// Ticks of its clock in a second.
    rate: f64,
    packets: Vec<(u32, Arc<[u8]>)>,
    reports: Vec<SenderInfo>,
}

/// What came in some seconds.
#[derive(Clone, Debug, Default)]
pub struct Received {
    /// The pictures.
    pub video: Track,
    /// The sound.
    pub audio: Track,
}

/// The most that is waited for all of it.
const PATIENCE: Duration = Duration::from_secs(40);

/// The most that is waited for one datagram.
const TICK: Duration = Duration::from_millis(20);

/// Watches a stream for so long after the first sound came.
///
/// # Panics
///
/// When the gateway does not take the offer, or no sound comes.
#[must_use]
pub fn receive(gateway: &Gateway, stream: &str, span: Duration) -> Received {
    let mut heard = None;
    watch(gateway, stream, from_feature_flags(), |received| {
        if heard.is_none() && !received.audio.packets.is_empty() {
            heard = Some(Instant::now());
        }
        heard.is_none_or(|heard: Instant| heard.elapsed() < span)
    })
}

/// Watches a stream for as long as `goes_on` says, with this cryptography.
///
/// # Panics
///
/// When the gateway does not take the offer, or that takes too long.
pub fn watch(
    gateway: &Gateway,
    stream: &str,
    crypto: CryptoProvider,
    goes_on: impl FnMut(&Received) -> bool,
) -> Received {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("the loopback has ports");
    watch_at(&socket, gateway, stream, crypto, goes_on)
}

/// The same with a socket of the caller's, which is left as it is then: nothing says goodbye.
///
/// # Panics
///
/// When the gateway does not take the offer, or that takes too long.
pub fn watch_at(
    socket: &UdpSocket,
    gateway: &Gateway,
    stream: &str,
    crypto: CryptoProvider,
    mut goes_on: impl FnMut(&Received) -> bool,
) -> Received {
    let local = socket.local_addr().expect("it is bound");
    let mut rtc = join(gateway, stream, local, crypto);
    let mut received = Received::default();
    (received.video.rate, received.audio.rate) = (90_000.0, 48_000.0);
    let begun = Instant::now();
    let mut datagram = vec![0; 2_000];
    loop {
        let due = drain(&mut rtc, socket, &mut received);
        if !goes_on(&received) {
            return received;
        }
        assert!(begun.elapsed() < PATIENCE, "waited in vain, for sound or something else");
        let left = due.saturating_duration_since(Instant::now()).min(TICK);
        let left = left.max(Duration::from_millis(1));
        socket.set_read_timeout(Some(left)).expect("it is more than nothing");
        let input = match socket.recv_from(&mut datagram) {
            Ok((len, from)) => {
                let receive = Receive::new(Protocol::Udp, from, local, &datagram[..len]);
                receive.map(|receive| Input::Receive(Instant::now(), receive)).ok()
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                Some(Input::Timeout(Instant::now()))
            }
            Err(error) => panic!("{error}"),
        };
        if let Some(input) = input {
            rtc.handle_input(input).expect("it takes what comes");
        }
    }
}

#[expect(clippy::large_stack_frames, reason = "a test's thread has a large stack")]
fn join(gateway: &Gateway, stream: &str, local: SocketAddr, crypto: CryptoProvider) -> Box<Rtc> {
    let config = RtcConfig::new().set_crypto_provider(Arc::new(crypto));
    let config = config.set_rtp_mode(true).set_stats_interval(None);
    let config = config.clear_codecs().enable_h264(true).enable_opus(true, false);
    let mut rtc = Box::new(config.build(Instant::now()));
    rtc.add_local_candidate(Candidate::host(local, "udp").expect("it is an address"));
    let mut change = rtc.sdp_api();
    for kind in [MediaKind::Video, MediaKind::Audio] {
        let _mid = change.add_media(kind, Direction::RecvOnly, None, None, None);
    }
    let (offer, pending) = change.apply().expect("there is something to offer");
    let answer = post(gateway, &format!("/whep/{stream}"), &offer.to_sdp_string());
    let answer = SdpAnswer::from_sdp_string(&answer).expect("the answer is one");
    rtc.sdp_api().accept_answer(pending, answer).expect("the answer fits");
    rtc
}

fn post(gateway: &Gateway, path: &str, offer: &str) -> String {
    let mut connection = TcpStream::connect(gateway.http).expect("the gateway listens");
    let len = offer.len();
    write!(
        connection,
        "POST {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-type: application/sdp\r\n\
         content-length: {len}\r\n\r\n{offer}"
    )
    .expect("the gateway reads");
    let mut bytes = Vec::new();
    connection.read_to_end(&mut bytes).expect("the gateway answers");
    let answer = Answer::of(&bytes);
    let text = String::from_utf8_lossy(&answer.body).into_owned();
    assert_eq!(answer.status, 201, "{text}");
    text
}

/// Sends and takes what there is; when there will be more to do.
fn drain(rtc: &mut Rtc, socket: &UdpSocket, received: &mut Received) -> Instant {
    loop {
        match rtc.poll_output().expect("it goes on") {
            Output::Timeout(at) => return at,
            Output::Transmit(transmit) => {
                // A socket that is full loses it, as networks do.
                let _lost = socket.send_to(&transmit.contents, transmit.destination);
            }
            Output::Event(Event::RtpPacket(packet)) => received.take(&packet),
            Output::Event(_) => {}
        }
    }
}

impl Received {
    fn take(&mut self, packet: &RtpPacket) {
        // Opus has a clock of 48 kHz, and no codec of pictures has.
        let is_audio = packet.time.frequency().get() == 48_000;
        let track = if is_audio { &mut self.audio } else { &mut self.video };
        track.packets.push((packet.header.timestamp, Arc::clone(&packet.payload)));
        let report = packet.last_sender_info.filter(|report| {
            track.reports.last().is_none_or(|last| last.ntp_time != report.ntp_time)
        });
        track.reports.extend(report);
    }
}

impl Track {
    /// From the first packet to the last, in seconds of its own clock.
    #[must_use]
    pub fn span_s(&self) -> f64 {
        let ends = self.packets.first().zip(self.packets.last());
        ends.map_or(0.0, |((first, _), (last, _))| f64::from(last.wrapping_sub(*first)) / self.rate)
    }

    /// Payloads, and when each is shown or heard, in seconds of the sender's clock.
    ///
    /// # Panics
    ///
    /// When the sender has reported nothing.
    #[must_use]
    pub fn packets(&self) -> Vec<(f64, &[u8])> {
        let report = self.reports.last().expect("the sender reports within seconds");
        let place = |time: u32| self.wall(report, time);
        self.packets.iter().map(|(time, payload)| (place(*time), &**payload)).collect()
    }

    /// By how many seconds the reports differ about one and the same packet.
    #[must_use]
    pub fn disagreement_s(&self) -> f64 {
        let Some(&(time, _)) = self.packets.first() else { return 0.0 };
        let walls = || self.reports.iter().map(|report| self.wall(report, time));
        walls().fold(f64::MIN, f64::max) - walls().fold(f64::MAX, f64::min)
    }

    fn wall(&self, report: &SenderInfo, time: u32) -> f64 {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_possible_wrap,
            reason = "modulo 2^32"
        )]
        let since = time.wrapping_sub(report.rtp_time.numer() as u32) as i32;
        let wall = report.ntp_time.duration_since(SystemTime::UNIX_EPOCH);
        wall.map_or(0.0, |wall| wall.as_secs_f64()) + f64::from(since) / self.rate
    }
}
