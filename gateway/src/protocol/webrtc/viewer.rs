//! One viewer, top to bottom: the stage's pieces out, what it asks for in.

use super::{
    link::{Link, Strain},
    negotiate::Outgoing,
    peer::{Peer, PeerEnd},
    playout::Playout,
    sender::Sender,
    stage::{Piece, Share, Stage},
    stream::Stream,
};
use crate::media::{MediaKind, Span};
use std::{
    mem,
    rc::Rc,
    time::{Duration, Instant},
};
use str0m::{Event, stats::PeerStats};
use thalweg_runtime as rt;
use tracing::{debug, info};

/// A viewer and all that is known of it.
struct Viewer<'a> {
    peer: Peer<'a>,
    stage: &'a Stage,
    media: Media,
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

/// What is sent: pictures and sound.
enum Media {
    /// When it is connected, and what its streams have in common.
    Agreed([Option<Outgoing>; 2], String),
    Sent(Box<Sender>),
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

/// Serves a viewer until either side ends it.
///
/// # Suspends
///
/// For as long as it watches.
pub(super) fn watch(
    peer: Peer<'_>,
    agreed: [Option<Outgoing>; 2],
    cname: String,
    share: &Share,
) -> PeerEnd {
    let mut viewer = Viewer {
        peer,
        stage: &share.stage,
        media: Media::Agreed(agreed, cname),
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
            let due = match self.send_pieces().and_then(|due| self.finish_turn().map(|()| due)) {
                Ok(due) => due,
                Err(end) => return end,
            };
            let wake = match due {
                Due::Over if self.stage.is_outdated() => return PeerEnd::Outdated,
                Due::Over => return PeerEnd::Unpublished,
                Due::Now => continue,
                Due::At(at) => Some(at),
                Due::Later => None,
            };
            let more = self.peer.is_connected.then_some(&self.stage.more);
            if let Err(end) = self.peer.wait(more, wake) {
                return end;
            }
        }
    }

    /// Handles all that there is to tell, and sends what the stack wants to be sent.
    fn drain(&mut self) -> Result<(), PeerEnd> {
        self.take_reports();
        while let Some(event) = self.peer.poll()? {
            match event {
                Event::Connected => self.begin()?,
                Event::PeerStats(stats) => self.note_stats(stats),
                _ => {}
            }
        }
        Ok(())
    }

    /// It is connected: from now on media may go out.
    fn begin(&mut self) -> Result<(), PeerEnd> {
        if let Media::Agreed([video, audio], cname) = &mut self.media {
            let keys = self.peer.take_over_media().ok_or(PeerEnd::NoKeys)?;
            let keep = self.stage.resend_packets();
            let video = video.map(|out| Stream::new(out, keep));
            // Sound that is missing is made up for: what is sent again comes too late.
            let audio = audio.map(|out| Stream::new(out, 0));
            let sender = Sender::new(&keys, video, audio, mem::take(cname), rt::now());
            self.media = Media::Sent(Box::new(sender.ok_or(PeerEnd::NoKeys)?));
        }
        Ok(())
    }

    /// What it tells of what it got.
    fn take_reports(&mut self) {
        for (at, datagram) in self.peer.take_reports() {
            let Media::Sent(sender) = &mut self.media else { return };
            let Some(told) = sender.take(&datagram.bytes, at, &mut self.peer.out()) else {
                continue;
            };
            self.peer.note_heard(&datagram, at);
            // Where feedback is not on every packet, there is some when a report came.
            if told.reports && !self.peer.told.is_by_packet() {
                let (rtt, loss) = sender.by_report();
                self.judge(at, rtt, loss);
            }
            if told.asks {
                self.renew();
            }
        }
    }

    fn note_stats(&mut self, mut stats: PeerStats) {
        if let Media::Sent(sender) = &self.media {
            (stats.rtt, stats.egress_loss_fraction) = sender.by_packet(stats.timestamp);
            self.peer.note(&stats);
            for (stream, is_video) in sender.streams() {
                let counts = [stream.packets.into(), stream.nacks, stream.requests];
                self.peer.told.note_egress(counts, is_video, sender.by_report());
            }
        }
        if stats.rtt.is_some() {
            self.judge(stats.timestamp, stats.rtt, stats.egress_loss_fraction);
        }
    }

    /// Sends what was put, and reports on it.
    fn finish_turn(&mut self) -> Result<(), PeerEnd> {
        if let Media::Sent(sender) = &mut self.media {
            sender.report(rt::now(), &mut self.peer.out());
        }
        self.peer.flush()
    }

    /// The viewer cannot go on decoding. There is a picture to begin with, with all that came since; where the publisher can
    /// be asked for another, and that is much, another one is there sooner.
    fn renew(&mut self) {
        let now = rt::now();
        let is_soon = self.renewed.is_some_and(|last| now.duration_since(last) < RENEW);
        debug!(is_soon, "asks for a random-access point");
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

    fn send(&mut self, piece: &Rc<Piece>, number: u64) -> Result<(), PeerEnd> {
        let Some(playout) = &mut self.playout else { return Ok(()) };
        let is_last = number + 1 >= self.stage.end();
        if playout.is_behind() && (is_last || !self.media.has(MediaKind::Video)) {
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
        let ticks = match piece.kind {
            MediaKind::Video => at.ticks(),
            MediaKind::Audio => at.ticks() * OPUS.0 / OPUS.1,
        };
        let mut now = rt::now();
        for index in 0..piece.packets.len() {
            let Media::Sent(sender) = &mut self.media else { return Ok(()) };
            sender.send(piece, index, (ticks, wall), now, &mut self.peer.out());
            if self.peer.make_room()? {
                now = rt::now();
            }
        }
        Ok(())
    }

    /// Whether the link carries the stream, by what is told of it now.
    fn judge(&mut self, now: Instant, rtt: Option<Duration>, loss: Option<f32>) {
        self.link.note(now, rtt, loss, self.peer.client.sent.get());
        let queue_s = self.link.queue().map(|queue| queue.as_secs_f64());
        self.peer.told.note([("queue_s", queue_s)]);
        let is_settled = self.playout.is_some_and(|playout| !playout.is_behind());
        if !is_settled || !self.media.has(MediaKind::Video) || self.pause.is_some() {
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
        if let Media::Sent(sender) = &mut self.media {
            sender.forget_pictures();
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

impl Media {
    /// Whether there is any of this kind.
    fn has(&self, kind: MediaKind) -> bool {
        match (self, kind) {
            (Self::Agreed([video, _], _), MediaKind::Video) => video.is_some(),
            (Self::Agreed([_, audio], _), MediaKind::Audio) => audio.is_some(),
            (Self::Sent(sender), kind) => sender.has(kind),
        }
    }
}
