//! One viewer, top to bottom: datagrams in, the stage's pieces out.

use super::{
    negotiate::{self, Outgoing, RESEND_PACKETS, Viewing, random_bytes},
    outbox::Outbox,
    playout::Playout,
    port::{Datagram, Mailbox},
    resource::{Control, Fresh},
    stage::{Piece, Share, Stage},
};
use crate::{
    hub::{Client, Figures},
    media::MediaKind,
};
use std::{
    cell::RefCell,
    fmt, io,
    net::SocketAddr,
    rc::Rc,
    time::{Duration, Instant},
};
use str0m::{
    Event, Input, Output, Rtc, RtcError,
    media::KeyframeRequest,
    net::{Protocol, Receive},
    rtp::{RtpWrite, SeqNo},
    stats::{MediaEgressStats, PeerStats},
};
use thalweg_runtime::{self as rt, WaitError, select, sync::channel::Receiver};
use tracing::debug;

/// Why a viewer's session is over.
#[derive(Debug)]
pub(super) enum ViewerEnd {
    /// Its offer was not taken.
    Offer(String),
    /// It closed the connection.
    Left,
    /// The connection did not come about in time.
    NotConnected(Duration),
    /// It was not heard of for so long.
    Silent(Duration),
    /// The stream is over.
    Unpublished,
    /// The WebRTC stack gave up.
    Rtc(RtcError),
    /// The socket failed.
    Io(io::Error),
    /// The gateway ended the session.
    Wait(WaitError),
}

/// What holds for every viewer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// From the answer until it is connected.
    pub(super) connect: Duration,
    /// How long it may be silent.
    pub(super) silence: Duration,
}

/// A viewer and all that is known of it.
struct Viewer<'a> {
    rtc: Box<Rtc>,
    mailbox: &'a Mailbox,
    control: &'a Receiver<Control>,
    candidates: Vec<SocketAddr>,
    stage: &'a Stage,
    client: &'a Client,
    outbox: Outbox,
    video: Option<Track>,
    audio: Option<Track>,
    /// The piece that is sent next, once there is one to begin with.
    next: Option<u64>,
    playout: Option<Playout>,
    is_connected: bool,
    heard: Instant,
    /// When the stack wants to be called.
    timer: Instant,
    /// When pictures were last begun anew because the viewer asked.
    renewed: Option<Instant>,
    /// Reports in a row by which much was lost.
    lossy: u32,
    /// It waits for the next random-access point, from this piece on.
    waits_from: Option<u64>,
    figures: Rc<RefCell<Figures>>,
}

/// One stream to the viewer.
#[derive(Debug)]
struct Track {
    out: Outgoing,
    sequence: u64,
    /// Added to the viewer's time.
    offset: u32,
}

/// A viewer that asks for a random-access point more often than this is not answered: each costs a GOP.
const RENEW: Duration = Duration::from_secs(1);

/// With so much lost in two reports, the link does not carry the stream.
const LOSSY: f32 = 0.25;

/// The clock of Opus in RTP (RFC 7587 §4.1) to ours: 48 to 90.
const OPUS: (i64, i64) = (8, 15);

/// Pieces that are sent between two looks at what came in.
const BATCH: usize = 64;

/// Serves a viewer until either side ends it.
///
/// # Suspends
///
/// For as long as it watches.
pub(super) fn watch(
    viewing: Viewing,
    mailbox: &Mailbox,
    control: &Receiver<Control>,
    candidates: Vec<SocketAddr>,
    share: &Share,
    client: &Client,
    limits: Limits,
) -> ViewerEnd {
    let figures = Rc::new(RefCell::new(Figures::new()));
    let shown = Rc::clone(&figures);
    client.set_detail(move || shown.borrow().clone());
    let now = rt::now();
    let mut viewer = Viewer {
        rtc: viewing.rtc,
        mailbox,
        control,
        candidates,
        stage: &share.stage,
        client,
        outbox: Outbox::default(),
        video: viewing.video.map(Track::new),
        audio: viewing.audio.map(Track::new),
        next: None,
        playout: None,
        is_connected: false,
        heard: now,
        timer: now,
        renewed: None,
        lossy: 0,
        waits_from: None,
        figures,
    };
    let end = viewer.run(limits);
    viewer.say_goodbye();
    end
}

impl Viewer<'_> {
    fn run(&mut self, limits: Limits) -> ViewerEnd {
        let until = rt::now() + limits.connect;
        loop {
            if let Err(end) = self.drain() {
                return end;
            }
            if !self.is_connected && rt::now() >= until {
                return ViewerEnd::NotConnected(limits.connect);
            }
            if rt::now().saturating_duration_since(self.heard) >= limits.silence {
                return ViewerEnd::Silent(limits.silence);
            }
            let due = match self.send_pieces() {
                Ok(due) => due,
                Err(end) => return end,
            };
            if self.is_connected && due == Due::Over {
                return ViewerEnd::Unpublished;
            }
            if due == Due::Now {
                continue;
            }
            let mut wake = self.timer.min(self.heard + limits.silence);
            if !self.is_connected {
                wake = wake.min(until);
            }
            if let Due::At(at) = due {
                wake = wake.min(at);
            }
            if let Err(end) = self.wait(wake) {
                return end;
            }
        }
    }

    /// Waits for a datagram, for pieces, or for `wake`.
    fn wait(&mut self, wake: Instant) -> Result<(), ViewerEnd> {
        let datagrams = self.mailbox.datagrams();
        let more = self.is_connected.then(|| self.stage.more.being_signalled());
        let happened = select! {
            control = self.control.receiving() => control.map_or(Happened::Nothing, Happened::Control),
            datagram = datagrams.receiving() => datagram.map_or(Happened::Nothing, Happened::Datagram),
            () = more => Happened::Nothing,
            () = select::until(wake) => Happened::Nothing,
        };
        match happened.map_err(ViewerEnd::Wait)? {
            Happened::Control(control) => self.obey(control),
            Happened::Datagram(datagram) => {
                self.receive(&datagram)?;
                // Others may have come with it.
                for _ in 0..BATCH {
                    let Ok(datagram) = self.mailbox.datagrams().try_recv() else { break };
                    self.receive(&datagram)?;
                }
            }
            Happened::Nothing => {
                let now = rt::now();
                if now >= self.timer {
                    self.rtc.handle_input(Input::Timeout(now)).map_err(ViewerEnd::Rtc)?;
                }
            }
        }
        Ok(())
    }

    /// What came by HTTP.
    fn obey(&mut self, control: Control) {
        match control {
            Control::Candidates(candidates) => {
                candidates
                    .into_iter()
                    .for_each(|candidate| self.rtc.add_remote_candidate(candidate));
            }
            Control::Restart(theirs, answer) => {
                let credentials = negotiate::credentials();
                let mut direct = self.rtc.direct_api();
                direct.set_remote_ice_credentials(theirs);
                direct.set_local_ice_credentials(credentials.clone());
                self.mailbox.rename(&credentials.ufrag);
                let candidates = negotiate::candidates_as_text(&self.candidates);
                // Who asked may be gone.
                let _unheard = answer.send(Fresh { credentials, candidates });
            }
        }
    }

    fn receive(&mut self, datagram: &Datagram) -> Result<(), ViewerEnd> {
        self.client.add_received(datagram.bytes.len());
        let destination = self.candidate(datagram);
        // What is no packet of WebRTC is not worth more than the count of its bytes.
        let Ok(receive) =
            Receive::new(Protocol::Udp, datagram.source, destination, &datagram.bytes)
        else {
            return Ok(());
        };
        let now = rt::now();
        let input = Input::Receive(now, receive);
        if self.rtc.accepts(&input) {
            self.heard = now;
            self.outbox.heard(datagram.source, datagram.local);
            self.rtc.handle_input(input).map_err(ViewerEnd::Rtc)?;
        }
        Ok(())
    }

    /// Which of the addresses that the peer was told it has sent to. Behind NAT it is another than the one that it
    /// came to.
    fn candidate(&self, datagram: &Datagram) -> SocketAddr {
        let of = |ip| self.candidates.iter().find(|candidate| candidate.ip() == ip);
        let same = |candidate: &&SocketAddr| candidate.is_ipv4() == datagram.source.is_ipv4();
        let exact = datagram.local.and_then(of);
        let any = || self.candidates.iter().find(same).or_else(|| self.candidates.first());
        exact.or_else(any).copied().unwrap_or(datagram.source)
    }

    /// Handles all that the stack has to tell, and sends what it wants to be sent.
    fn drain(&mut self) -> Result<(), ViewerEnd> {
        loop {
            match self.rtc.poll_output().map_err(ViewerEnd::Rtc)? {
                Output::Transmit(transmit) => {
                    self.outbox.push(&transmit, self.mailbox.port().can_cut());
                    if self.outbox.is_full() {
                        self.flush()?;
                    }
                }
                Output::Event(event) => self.handle(event)?,
                Output::Timeout(at) => {
                    self.timer = at;
                    break;
                }
            }
        }
        self.flush()?;
        if self.rtc.is_alive() { Ok(()) } else { Err(ViewerEnd::Left) }
    }

    fn flush(&mut self) -> Result<(), ViewerEnd> {
        let sent = self.outbox.flush(self.mailbox.port());
        self.client.sent.set(self.outbox.total());
        sent.map_err(ViewerEnd::Io)
    }

    fn handle(&mut self, event: Event) -> Result<(), ViewerEnd> {
        match event {
            Event::Connected => {
                debug!("connected");
                self.is_connected = true;
                // What was behind it took far more of the stack than what comes.
                if let Err(error) = rt::trim_stack() {
                    debug!(%error, "the stack is not trimmed");
                }
                for track in [&self.video, &self.audio].into_iter().flatten() {
                    track.prepare(&mut self.rtc);
                }
            }
            Event::KeyframeRequest(request) => self.renew(request),
            Event::PeerStats(stats) => self.note_peer(&stats),
            Event::MediaEgressStats(stats) => self.note_egress(&stats),
            Event::Closed => return Err(ViewerEnd::Left),
            _ => {}
        }
        Ok(())
    }

    /// The viewer cannot go on decoding. No encoder can be asked for a picture to begin with, but there is one.
    fn renew(&mut self, request: KeyframeRequest) {
        let now = rt::now();
        let is_soon = self.renewed.is_some_and(|last| now.duration_since(last) < RENEW);
        debug!(kind = ?request.kind, is_soon, "asks for a random-access point");
        if is_soon || self.waits_from.is_some() {
            return;
        }
        if let Some(mark) = self.stage.newest_mark() {
            self.renewed = Some(now);
            self.jump(mark);
        }
    }

    fn jump(&mut self, mark: u64) {
        self.next = Some(mark);
        if let (Some(playout), Some(piece)) = (&mut self.playout, self.stage.piece(mark)) {
            playout.jump(rt::now(), piece.pts);
        }
    }

    /// Sends pieces that are due.
    fn send_pieces(&mut self) -> Result<Due, ViewerEnd> {
        if !self.is_connected {
            return Ok(Due::Later);
        }
        for _ in 0..BATCH {
            let Some(number) = self.place() else {
                return Ok(if self.stage.has_ended() { Due::Over } else { Due::Later });
            };
            let Some(piece) = self.stage.piece(number) else {
                return Ok(if self.stage.has_ended() { Due::Over } else { Due::Later });
            };
            let now = rt::now();
            let playout = *self.playout.get_or_insert_with(|| Playout::new(now, piece.pts));
            let due = playout.due(piece.pts);
            if playout.is_behind() && piece.kind == MediaKind::Video && due > now {
                return Ok(Due::At(due));
            }
            self.send(&piece, number)?;
            self.next = Some(number + 1);
        }
        Ok(Due::Now)
    }

    /// The piece to go on with.
    fn place(&mut self) -> Option<u64> {
        if let Some(from) = self.waits_from {
            let mark = self.stage.newest_mark().filter(|&mark| mark >= from)?;
            self.waits_from = None;
            self.jump(mark);
        }
        match self.next {
            Some(next) if !self.stage.has_lost(next) => Some(next),
            Some(lost) => {
                let mark = self.stage.newest_mark().filter(|&mark| mark > lost)?;
                self.client.skips.set(self.client.skips.get() + 1);
                self.jump(mark);
                Some(mark)
            }
            None => {
                self.next = self.stage.newest_mark();
                self.next
            }
        }
    }

    fn send(&mut self, piece: &Piece, number: u64) -> Result<(), ViewerEnd> {
        let Some(playout) = &mut self.playout else { return Ok(()) };
        let now = rt::now();
        let is_last = number + 1 >= self.stage.end();
        if playout.is_behind() && (is_last || self.video.is_none()) {
            playout.catch_up(now, piece.pts);
        }
        // Sound that goes by four times as fast is none: it begins when the pictures are there.
        if playout.is_behind() && piece.kind == MediaKind::Audio {
            return Ok(());
        }
        let at = playout.place(piece.pts);
        let wall = playout.wall(at);
        let (track, ticks) = match piece.kind {
            MediaKind::Video => (&mut self.video, at.ticks()),
            MediaKind::Audio => (&mut self.audio, at.ticks() * OPUS.0 / OPUS.1),
        };
        if let Some(track) = track {
            track.write(&mut self.rtc, piece, ticks, wall);
            // So that the stack takes up what was written, by its contract of one change between drains.
            self.rtc.handle_input(Input::Timeout(now)).map_err(ViewerEnd::Rtc)?;
            self.drain()?;
        }
        Ok(())
    }

    fn note_peer(&self, stats: &PeerStats) {
        let mut figures = self.figures.borrow_mut();
        let mut note = |name, value: Option<f64>| {
            figures.retain(|&(known, _)| known != name);
            figures.extend(value.map(|value| (name, value)));
        };
        note("rtt_s", stats.rtt.map(|rtt| rtt.as_secs_f64()));
        note("loss_ratio", stats.egress_loss_fraction.map(f64::from));
    }

    fn note_egress(&mut self, stats: &MediaEgressStats) {
        let is_video = self.video.as_ref().is_some_and(|track| track.out.mid == stats.mid);
        let names = if is_video {
            ["video_packets", "video_nacks", "video_plis"]
        } else {
            ["audio_packets", "audio_nacks", "audio_plis"]
        };
        #[expect(clippy::cast_precision_loss, reason = "figures for people; 2^53 packets are far")]
        let values = [stats.packets as f64, stats.nacks as f64, (stats.plis + stats.firs) as f64];
        {
            let mut figures = self.figures.borrow_mut();
            figures.retain(|(known, _)| !names.contains(known));
            figures.extend(names.into_iter().zip(values));
        }
        if !is_video {
            return;
        }
        self.lossy = if stats.loss.is_some_and(|loss| loss >= LOSSY) { self.lossy + 1 } else { 0 };
        if self.lossy >= 2 && self.waits_from.is_none() {
            // What the link does not carry only delays what it could.
            debug!(loss = stats.loss, "waits for the next random-access point");
            self.lossy = 0;
            self.waits_from = Some(self.stage.end());
            self.client.skips.set(self.client.skips.get() + 1);
        }
    }

    /// Tells the viewer that it is over, if it can be told at once.
    fn say_goodbye(&mut self) {
        const PATIENCE: Duration = Duration::from_millis(200);
        // Also when the session was cancelled.
        rt::shield(PATIENCE, || {
            if self.rtc.close().is_ok() {
                let _told = self.drain();
            }
        });
    }
}

/// What a viewer was woken by.
enum Happened {
    Control(Control),
    Datagram(Datagram),
    /// Pieces, or the time.
    Nothing,
}

/// When the next piece goes out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Due {
    Now,
    At(Instant),
    /// When there is one.
    Later,
    /// There will be none.
    Over,
}

impl Track {
    fn new(out: Outgoing) -> Self {
        // Neither begins at 0 (RFC 3550 §5.1); sequence numbers below 2^15, so that the first rollover is far.
        let [a, b, c, d, e, f] = random_bytes();
        let sequence = u64::from(u16::from_be_bytes([a & 0x3f, b]));
        Self { out, sequence, offset: u32::from_be_bytes([c, d, e, f]) }
    }

    /// Has the stack keep as much as can still be asked for.
    fn prepare(&self, rtc: &mut Rtc) {
        const RESEND: Duration = Duration::from_secs(1);
        /// Half as much again as the stream; beyond that, sending again makes it worse.
        const RESEND_SHARE: f32 = 0.5;
        if let Some(stream) = rtc.direct_api().stream_tx_by_mid(self.out.mid, None) {
            stream.set_rtx_cache(RESEND_PACKETS, RESEND, Some(RESEND_SHARE));
        }
    }

    fn write(&mut self, rtc: &mut Rtc, piece: &Piece, ticks: i64, wall: Instant) {
        let mut direct = rtc.direct_api();
        let Some(stream) = direct.stream_tx_by_mid(self.out.mid, None) else { return };
        // RTP's times wrap.
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "modulo 2^32")]
        let time = self.offset.wrapping_add(ticks as u32);
        let is_video = piece.kind == MediaKind::Video;
        let last = piece.packets.len().saturating_sub(1);
        for (index, payload) in piece.packets.iter().enumerate() {
            let sequence = SeqNo::from(self.sequence);
            self.sequence += 1;
            let packet = RtpWrite::new(self.out.pt, sequence, time, wall, payload.clone());
            stream.write_rtp(packet.marker(is_video && index == last).nackable(is_video));
        }
    }
}

impl fmt::Display for ViewerEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Offer(why) => write!(f, "refused: {why}"),
            Self::Left => f.write_str("the viewer left"),
            Self::NotConnected(limit) => write!(f, "no connection came about in {limit:?}"),
            Self::Silent(limit) => write!(f, "the viewer was not heard of for {limit:?}"),
            Self::Unpublished => f.write_str("the publisher left"),
            Self::Rtc(error) => write!(f, "WebRTC: {error}"),
            Self::Io(error) => write!(f, "cannot send: {error}"),
            Self::Wait(error) => write!(f, "ended by the gateway: {error}"),
        }
    }
}

impl std::error::Error for ViewerEnd {}
