//! One viewer, top to bottom: the stage's pieces out, what it asks for in.

use super::{
    negotiate::{Outgoing, RESEND_PACKETS, random_bytes},
    peer::{Peer, PeerEnd},
    playout::Playout,
    stage::{Piece, Share, Stage},
};
use crate::media::MediaKind;
use std::time::{Duration, Instant};
use str0m::{
    Event, Rtc,
    media::KeyframeRequest,
    rtp::{RtpWrite, SeqNo},
    stats::MediaEgressStats,
};
use thalweg_runtime as rt;
use tracing::debug;

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
    /// Reports in a row by which much was lost.
    lossy: u32,
    /// It waits for the next random-access point, from this piece on.
    waits_from: Option<u64>,
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
    peer: Peer<'_>,
    video: Option<Outgoing>,
    audio: Option<Outgoing>,
    share: &Share,
) -> PeerEnd {
    let mut viewer = Viewer {
        peer,
        stage: &share.stage,
        video: video.map(Track::new),
        audio: audio.map(Track::new),
        next: None,
        playout: None,
        renewed: None,
        lossy: 0,
        waits_from: None,
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
                Event::Connected => {
                    for track in [&self.video, &self.audio].into_iter().flatten() {
                        track.prepare(&mut self.peer.rtc);
                    }
                }
                Event::KeyframeRequest(request) => self.renew(request),
                Event::MediaEgressStats(stats) => self.note_egress(&stats),
                _ => {}
            }
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
        if let Some(from) = self.waits_from {
            let mark = self.stage.newest_mark().filter(|&mark| mark >= from)?;
            self.waits_from = None;
            self.jump(mark);
        }
        match self.next {
            Some(next) if !self.stage.has_lost(next) => Some(next),
            Some(lost) => {
                let mark = self.stage.newest_mark().filter(|&mark| mark > lost)?;
                self.peer.client.skips.set(self.peer.client.skips.get() + 1);
                self.jump(mark);
                Some(mark)
            }
            None => {
                self.next = self.stage.newest_mark();
                self.next
            }
        }
    }

    fn send(&mut self, piece: &Piece, number: u64) -> Result<(), PeerEnd> {
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
            track.write(&mut self.peer.rtc, piece, ticks, wall);
            self.peer.settle()?;
            self.drain()?;
        }
        Ok(())
    }

    fn note_egress(&mut self, stats: &MediaEgressStats) {
        let is_video = self.video.as_ref().is_some_and(|track| track.out.mid == stats.mid);
        self.peer.told.note_egress(stats, is_video);
        if !is_video {
            return;
        }
        self.lossy = if stats.loss.is_some_and(|loss| loss >= LOSSY) { self.lossy + 1 } else { 0 };
        if self.lossy >= 2 && self.waits_from.is_none() {
            // What the link does not carry only delays what it could.
            debug!(loss = stats.loss, "waits for the next random-access point");
            self.lossy = 0;
            self.waits_from = Some(self.stage.end());
            self.peer.client.skips.set(self.peer.client.skips.get() + 1);
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
