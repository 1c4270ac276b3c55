//! One viewer, top to bottom: the stage's pieces out, what it asks for in.

use super::{
    link::{Link, Strain},
    negotiate::{Outgoing, random_bytes},
    peer::{Peer, PeerEnd},
    playout::Playout,
    stage::{Piece, Share, Stage},
};
use crate::media::{MediaKind, Span};
use std::{
    ops::Range,
    time::{Duration, Instant},
};
use str0m::{
    Event, Rtc,
    media::KeyframeRequest,
    rtp::{RtpWrite, SeqNo, Ssrc},
    stats::MediaEgressStats,
};
use thalweg_runtime as rt;
use tracing::{debug, info};

/// A viewer and all that is known of it.
struct Viewer<'a> {
    peer: Peer<'a>,
    stage: &'a Stage,
    video: Option<Track>,
    audio: Option<Track>,
    /// The piece that is sent next, once there is one to begin with.
    next: Option<u64>,
    playout: Option<Playout>,
    /// When pictures were last begun anew because the viewer asked.
    renewed: Option<Instant>,
    link: Link,
    /// It gets no pictures until the next at which it may begin.
    pause: Option<Pause>,
    /// Its link does not carry the stream, or did not lately.
    episode: Option<Episode>,
}

/// Since when a viewer gets no pictures.
#[derive(Clone, Copy, Debug)]
struct Pause {
    since: Instant,
    /// It may go on from this piece on.
    from: u64,
}

/// A time in which a link does not carry the stream, calm moments included.
#[derive(Clone, Copy, Debug)]
struct Episode {
    skips: u64,
    /// When it was strained last.
    strained: Instant,
}

/// One stream to the viewer.
#[derive(Debug)]
struct Track {
    out: Outgoing,
    /// So many packets are kept to be sent again at most.
    resend: usize,
    /// Those of its packets and of what is sent again, until the first packet goes out.
    withheld: Option<(Ssrc, Option<Ssrc>)>,
    sequence: u64,
    /// Added to the viewer's time.
    offset: u32,
}

/// A viewer that asks for a random-access point more often than this is not answered: each costs a GOP.
const RENEW: Duration = Duration::from_secs(1);

/// With no more than this since the last random-access point, that is as good as a new one.
const SOON: Span = Span::from_ms(500);

/// Whoever got no pictures for so long gets them again, whether what waited on the way has arrived or not.
const PAUSE_MAX: Duration = Duration::from_secs(3);

/// After so long without strain an episode is over.
const CALM: Duration = Duration::from_secs(10);

/// The clock of Opus in RTP (RFC 7587 §4.1) to ours: 48 to 90.
const OPUS: (i64, i64) = (8, 15);

/// Pieces that are sent between two looks at what came in.
const BATCH: usize = 64;

/// Packets that the stack is given at a time. Its queue never gives back the room that a large picture took, and goes
/// through all of it again and again.
const AT_ONCE: usize = 16;

/// Serves a viewer until either side ends it.
///
/// # Suspends
///
/// For as long as it watches.
pub(super) fn watch(
    peer: Peer<'_>,
    video: Option<Outgoing>,
    audio: Option<Outgoing>,
    share: &Share,
) -> PeerEnd {
    let mut peer = peer;
    let resend = share.stage.resend_packets();
    let [video, audio] =
        [video, audio].map(|out| out.map(|out| Track::new(out, resend, &mut peer.rtc)));
    let mut viewer = Viewer {
        peer,
        stage: &share.stage,
        video,
        audio,
        next: None,
        playout: None,
        renewed: None,
        link: Link::default(),
        pause: None,
        episode: None,
    };
    let end = viewer.run();
    viewer.peer.say_goodbye();
    end
}

impl Viewer<'_> {
    fn run(&mut self) -> PeerEnd {
        loop {
            if let Err(end) = self.drain() {
                return end;
            }
            let wake = match self.send_pieces() {
                Ok(Due::Over) if self.stage.is_outdated() => return PeerEnd::Outdated,
                Ok(Due::Over) => return PeerEnd::Unpublished,
                Ok(Due::Now) => continue,
                Ok(Due::At(at)) => Some(at),
                Ok(Due::Later) => None,
                Err(end) => return end,
            };
            let more = self.peer.is_connected.then_some(&self.stage.more);
            if let Err(end) = self.peer.wait(more, wake) {
                return end;
            }
        }
    }

    /// Handles all that the stack has to tell, and sends what it wants to be sent.
    fn drain(&mut self) -> Result<(), PeerEnd> {
        while let Some(event) = self.peer.poll()? {
            match event {
                Event::KeyframeRequest(request) => self.renew(request),
                Event::PeerStats(stats) if stats.rtt.is_some() => {
                    self.judge(stats.timestamp, stats.rtt, stats.egress_loss_fraction);
                }
                Event::MediaEgressStats(stats) => self.note_egress(&stats),
                _ => {}
            }
        }
        Ok(())
    }

    /// The viewer cannot go on decoding. There is a picture to begin with, with all that came since; where the publisher can
    /// be asked for another, and that is much, another one is there sooner.
    fn renew(&mut self, request: KeyframeRequest) {
        let now = rt::now();
        let is_soon = self.renewed.is_some_and(|last| now.duration_since(last) < RENEW);
        debug!(kind = ?request.kind, is_soon, "asks for a random-access point");
        if is_soon || self.pause.is_some() {
            return;
        }
        if self.link.is_loaded() {
            // What was there before would come on top of what does not arrive in time as it is.
            return self.skip(now);
        }
        self.renewed = Some(now);
        let mark = self.stage.newest_mark().filter(|&mark| self.stage.since(mark) <= SOON);
        match mark {
            Some(mark) => self.jump(mark),
            None if self.stage.ask_for_random_access() => self.pause(now),
            None => {
                if let Some(mark) = self.stage.newest_mark() {
                    self.jump(mark);
                }
            }
        }
    }

    fn jump(&mut self, mark: u64) {
        self.next = Some(mark);
        if let (Some(playout), Some(piece)) = (&mut self.playout, self.stage.piece(mark)) {
            playout.jump(rt::now(), piece.pts);
        }
    }

    /// Sends pieces that are due.
    fn send_pieces(&mut self) -> Result<Due, PeerEnd> {
        if !self.peer.is_connected {
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
        match self.next {
            Some(next) if !self.stage.has_lost(next) => Some(next),
            Some(lost) => {
                let mark = self.newest_mark().filter(|&mark| mark > lost)?;
                self.count_skip();
                self.jump(mark);
                Some(mark)
            }
            None => {
                self.next = self.newest_mark();
                self.next
            }
        }
    }

    /// Where to begin; when there is nothing, that is asked for.
    fn newest_mark(&self) -> Option<u64> {
        let mark = self.stage.newest_mark();
        if mark.is_none() {
            self.stage.ask_for_random_access();
        }
        mark
    }

    fn send(&mut self, piece: &Piece, number: u64) -> Result<(), PeerEnd> {
        let Some(playout) = &mut self.playout else { return Ok(()) };
        let is_last = number + 1 >= self.stage.end();
        if playout.is_behind() && (is_last || self.video.is_none()) {
            playout.catch_up(piece.pts);
            // It filled the link for a moment.
            self.link.restart();
        }
        // Sound that goes by four times as fast is none: it begins when the pictures are there.
        if playout.is_behind() && piece.kind == MediaKind::Audio {
            return Ok(());
        }
        if piece.kind == MediaKind::Video && self.is_paused(piece, number) {
            return Ok(());
        }
        let Some(playout) = &mut self.playout else { return Ok(()) };
        let at = playout.place(piece.pts);
        let wall = playout.wall(at);
        let count = piece.packets.len();
        for from in (0..count).step_by(AT_ONCE) {
            let (track, ticks) = match piece.kind {
                MediaKind::Video => (&mut self.video, at.ticks()),
                MediaKind::Audio => (&mut self.audio, at.ticks() * OPUS.0 / OPUS.1),
            };
            let Some(track) = track else { return Ok(()) };
            track.write(&mut self.peer.rtc, piece, from..count.min(from + AT_ONCE), ticks, wall);
            self.peer.settle()?;
            self.drain()?;
        }
        Ok(())
    }

    fn note_egress(&mut self, stats: &MediaEgressStats) {
        let is_video = self.video.as_ref().is_some_and(|track| track.out.mid == stats.mid);
        self.peer.told.note_egress(stats, is_video);
        // Where feedback is not on every packet, there is some when a report came.
        if is_video && stats.loss.is_some() && !self.peer.told.is_by_packet() {
            self.judge(stats.timestamp, stats.rtt, stats.loss);
        }
    }

    /// Whether the link carries the stream, by what is told of it now.
    fn judge(&mut self, now: Instant, rtt: Option<Duration>, loss: Option<f32>) {
        self.link.note(now, rtt, loss, self.peer.client.sent.get());
        let queue_s = self.link.queue().map(|queue| queue.as_secs_f64());
        self.peer.told.note([("queue_s", queue_s)]);
        let is_settled = self.playout.is_some_and(|playout| !playout.is_behind());
        if !is_settled || self.video.is_none() || self.pause.is_some() {
            return;
        }
        if let Some(strain) = self.link.strain() {
            self.note_strain(now, strain);
            return self.skip(now);
        }
        if let Some(over) = self.episode.take_if(|it| now >= it.strained + CALM) {
            info!(skips = over.skips, "the viewer's link carries the stream again");
            self.peer.told.note([("link_bits_per_s", None)]);
        }
    }

    fn note_strain(&mut self, now: Instant, strain: Strain) {
        let Strain { queue, loss, carried, carried_bps } = strain;
        self.peer.told.note([("link_bits_per_s", Some(carried_bps))]);
        if self.episode.is_none() {
            info!(
                ?queue,
                loss = format_args!("{loss:.2}"),
                carried = format_args!("{carried:.2}"),
                "the viewer's link does not carry the stream: it skips pictures"
            );
        }
        let episode = self.episode.get_or_insert(Episode { skips: 0, strained: now });
        episode.strained = now;
    }

    /// What the link does not carry only delays what it could: pictures go on with the next that needs none before it.
    /// Sound goes on.
    fn skip(&mut self, now: Instant) {
        self.pause(now);
        self.count_skip();
    }

    fn pause(&mut self, now: Instant) {
        debug!(queue = ?self.link.queue(), "gets no pictures until the next to begin with");
        self.pause = Some(Pause { since: now, from: self.stage.end() });
        self.link.restart();
        // Nobody needs what was lost of pictures that cannot be shown any more.
        if let Some(track) = &self.video {
            track.prepare(&mut self.peer.rtc);
        }
    }

    /// Whether a picture is left out because the link does not carry it, or it cannot be decoded. The first that is not left
    /// out ends the pause.
    fn is_paused(&mut self, piece: &Piece, number: u64) -> bool {
        let Some(Pause { since, from }) = self.pause else { return false };
        let now = rt::now();
        let is_drained = self.link.is_drained(now);
        if !piece.may_begin || number < from {
            if is_drained {
                self.stage.ask_for_random_access();
            }
            return true;
        }
        if !is_drained {
            if now < since + PAUSE_MAX {
                return true;
            }
            // It is not this stream that fills it.
            self.link.accept();
        }
        self.link.restart();
        self.pause = None;
        false
    }

    fn count_skip(&mut self) {
        self.peer.client.skips.set(self.peer.client.skips.get() + 1);
        if let Some(episode) = &mut self.episode {
            episode.skips += 1;
        }
    }
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
    /// Withholds the stream from the stack, which would report on it before there is something to report: with a time of RTP
    /// that no packet will have, after which browsers take no report for true before the fifth.
    fn new(out: Outgoing, resend: usize, rtc: &mut Rtc) -> Self {
        let mut direct = rtc.direct_api();
        let stream = direct.stream_tx_by_mid(out.mid, None);
        let withheld = stream.map(|stream| (stream.ssrc(), stream.rtx()));
        if let Some((ssrc, _)) = withheld {
            direct.remove_stream_tx(ssrc);
        }
        // Neither begins at 0 (RFC 3550 §5.1); sequence numbers below 2^15, so that the first rollover is far.
        let [a, b, c, d, e, f] = random_bytes();
        let sequence = u64::from(u16::from_be_bytes([a & 0x3f, b]));
        Self { out, resend, withheld, sequence, offset: u32::from_be_bytes([c, d, e, f]) }
    }

    /// Has the stack keep as much as can still be asked for.
    fn prepare(&self, rtc: &mut Rtc) {
        const RESEND: Duration = Duration::from_secs(1);
        /// Half as much again as the stream; beyond that, sending again makes it worse.
        const RESEND_SHARE: f32 = 0.5;
        if let Some(stream) = rtc.direct_api().stream_tx_by_mid(self.out.mid, None) {
            stream.set_rtx_cache(self.resend, RESEND, Some(RESEND_SHARE));
        }
    }

    /// Gives the stack some of a piece's packets.
    fn write(
        &mut self,
        rtc: &mut Rtc,
        piece: &Piece,
        which: Range<usize>,
        ticks: i64,
        wall: Instant,
    ) {
        if let Some((ssrc, resent)) = self.withheld.take() {
            rtc.direct_api().declare_stream_tx(ssrc, resent, self.out.mid, None);
            self.prepare(rtc);
        }
        let mut direct = rtc.direct_api();
        let Some(stream) = direct.stream_tx_by_mid(self.out.mid, None) else { return };
        // RTP's times wrap.
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "modulo 2^32")]
        let time = self.offset.wrapping_add(ticks as u32);
        let is_video = piece.kind == MediaKind::Video;
        let last = piece.packets.len().saturating_sub(1);
        for (index, payload) in piece.packets.iter().enumerate().take(which.end).skip(which.start) {
            let sequence = SeqNo::from(self.sequence);
            self.sequence += 1;
            let packet = RtpWrite::new(self.out.pt, sequence, time, wall, payload.clone());
            stream.write_rtp(packet.marker(is_video && index == last).nackable(is_video));
        }
    }
}
