//! What all viewers of one source share: its units as RTP payloads, in a ring.
//!
//! A stage exists while somebody watches. Its coroutine reads the source's units, takes each apart once and says that there
//! is more; a viewer has a place in the ring, and a connection. Pictures that no browser may get are left out here: WebRTC
//! has no time of decoding, so a picture that is shown before one that came earlier would hold up those after it.

use super::{
    negotiate::RESEND_PACKETS,
    reorder::{Reorder, Verdict},
    sound::{Heard, Sound},
};
use crate::{
    audio::Frames,
    container::rtp::{Packetizer, Payload},
    hub::{PlayEnd, Source, SourceState, Start, UnitReader},
    key::StreamKey,
    media::{AccessUnit, CodecConfig, MediaKind, Span, Timestamp, Tracks},
};
use std::{
    cell::{Cell, RefCell},
    collections::{HashMap, VecDeque},
    io,
    rc::{Rc, Weak},
    time::Duration,
};
use thalweg_runtime::{self as rt, JoinHandle, WaitError, sync::Cond};
use tracing::{info, warn};

/// What to do with streams whose pictures refer to B pictures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReferenceB {
    /// Viewers are refused.
    Refuse,
    /// They get the pictures at which decoding may begin, and no others.
    Keyframes,
}

/// One unit, taken apart.
#[derive(Debug)]
pub(super) struct Piece {
    pub(super) kind: MediaKind,
    /// When it is to be shown or heard.
    pub(super) pts: Timestamp,
    /// A viewer may begin here.
    pub(super) may_begin: bool,
    pub(super) packets: Vec<Payload>,
}

/// The shared part of a source that is watched.
#[derive(Debug)]
pub(super) struct Stage {
    source: Rc<Source>,
    ring: RefCell<Pieces>,
    /// Pieces have come, or the end.
    pub(super) more: Cond,
    video: RefCell<Option<Rc<CodecConfig>>>,
    reorder: RefCell<Reorder>,
    policy: Rc<Cell<ReferenceB>>,
    has_ended: Cell<bool>,
    /// Whether what the source has at the moment is in the ring.
    is_filled: Cell<bool>,
}

/// A share in a stage; with the last of them its coroutine ends.
#[derive(Debug)]
pub(super) struct Share {
    pub(super) stage: Rc<Stage>,
    coroutine: JoinHandle<()>,
}

/// The stages, by stream.
#[derive(Debug)]
pub(super) struct Stages {
    shares: RefCell<HashMap<StreamKey, Weak<Share>>>,
    policy: Rc<Cell<ReferenceB>>,
}

#[derive(Debug, Default)]
struct Pieces {
    pieces: VecDeque<Rc<Piece>>,
    first: u64,
    mark: Option<u64>,
    bytes: usize,
}

/// What remarks on the order of the pictures are filed under.
const PICTURES: &str = "webrtc.pictures";

/// The most bytes of payload in one packet. With headers, extensions, SRTP's tag, UDP and IPv6 it stays below 1 280, which
/// every link carries (RFC 8200 §5).
const PAYLOAD_BYTES: usize = 1_184;

/// How long sound waits for a picture to go with, or more sound.
const SOUND_PATIENCE: Duration = Duration::from_millis(20);

/// The most that a ring holds, in bytes; as much as a GOP of 8 s at 16 Mbit/s.
const RING_BYTES: usize = 16 << 20;

/// The most that a ring holds, in time.
const RING_SPAN: Span = Span::from_ms(20_000);

impl Stages {
    pub(super) fn new(policy: ReferenceB) -> Self {
        Self { shares: RefCell::default(), policy: Rc::new(Cell::new(policy)) }
    }

    /// What becomes of streams whose pictures refer to B pictures, from now on.
    pub(super) fn set_policy(&self, policy: ReferenceB) {
        self.policy.set(policy);
    }

    /// The stage of this source, which the first who asks begins.
    ///
    /// # Suspends
    ///
    /// Until the GOP that is there has been taken apart.
    pub(super) fn open(&self, source: &Rc<Source>) -> io::Result<Rc<Share>> {
        let share = self.share(source)?;
        while !share.stage.is_filled.get() && !share.stage.has_ended() {
            share.stage.more.wait()?;
        }
        Ok(share)
    }

    fn share(&self, source: &Rc<Source>) -> io::Result<Rc<Share>> {
        let known = self.shares.borrow().get(source.key()).and_then(Weak::upgrade);
        let is_good =
            |share: &Rc<Share>| Rc::ptr_eq(&share.stage.source, source) && !share.stage.has_ended();
        if let Some(share) = known.filter(is_good) {
            return Ok(share);
        }
        let stage = Rc::new(Stage::new(source, Rc::clone(&self.policy)));
        let theirs = Rc::clone(&stage);
        let coroutine = rt::Builder::new()
            .name(format!("webrtc stage {}", source.key()))
            .spawn(move || theirs.run())?;
        let share = Rc::new(Share { stage, coroutine });
        let mut shares = self.shares.borrow_mut();
        shares.retain(|_, share| share.strong_count() > 0);
        shares.insert(source.key().clone(), Rc::downgrade(&share));
        Ok(share)
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.coroutine.cancel();
    }
}

impl Stage {
    fn new(source: &Rc<Source>, policy: Rc<Cell<ReferenceB>>) -> Self {
        Self {
            source: Rc::clone(source),
            ring: RefCell::default(),
            more: Cond::new(),
            video: RefCell::default(),
            reorder: RefCell::default(),
            policy,
            has_ended: Cell::new(false),
            is_filled: Cell::new(false),
        }
    }

    /// The configuration of the pictures, once there were some.
    pub(super) fn video(&self) -> Option<Rc<CodecConfig>> {
        self.video.borrow().clone()
    }

    /// Whether there is sound that browsers can hear, or there may still come some.
    pub(super) fn may_be_heard(&self) -> bool {
        !matches!(Heard::of(&self.tracks()), Heard::Never(_))
    }

    /// Whether what the source had when it began is in the ring.
    pub(super) const fn is_filled(&self) -> bool {
        self.is_filled.get()
    }

    /// The stream.
    pub(super) fn key(&self) -> &StreamKey {
        self.source.key()
    }

    /// What the source consists of.
    pub(super) fn tracks(&self) -> Tracks {
        self.source.tracks()
    }

    /// Tells everybody what is amiss with the stream, once.
    pub(super) fn remark(&self, about: &'static str, text: &str) {
        if self.source.remark(about, text) {
            warn!(stream = %self.key(), "{text}");
        }
    }

    /// Tells everybody something of the stream with which nothing is amiss, once.
    pub(super) fn mention(&self, about: &'static str, text: &str) {
        if self.source.remark(about, text) {
            info!(stream = %self.key(), "{text}");
        }
    }

    /// What was told under this name is so no more.
    pub(super) fn take_back(&self, about: &'static str) {
        self.source.take_back(about);
    }

    /// What is known of the order of the pictures.
    pub(super) fn verdict(&self) -> Verdict {
        self.reorder.borrow().verdict()
    }

    /// Whether the source is over, or this stage is.
    pub(super) fn has_ended(&self) -> bool {
        self.has_ended.get() || self.source.state() == SourceState::Ended
    }

    /// Whether it has ended before its source: there is another for who offers anew.
    pub(super) fn is_outdated(&self) -> bool {
        self.has_ended.get() && self.source.state() != SourceState::Ended
    }

    /// How many packets a viewer may have to be sent again: those of a second.
    pub(super) fn resend_packets(&self) -> usize {
        const LEAST: usize = 100;
        self.ring.borrow().packets_a_second().clamp(LEAST, RESEND_PACKETS)
    }

    /// Where a viewer begins that comes now.
    pub(super) fn newest_mark(&self) -> Option<u64> {
        self.ring.borrow().mark
    }

    /// How much has come since that piece, in time.
    pub(super) fn since(&self, number: u64) -> Span {
        let ring = self.ring.borrow();
        let pts = |number| ring.piece(number).map(|piece| piece.pts);
        let newest = ring.end().checked_sub(1).and_then(pts);
        newest.zip(pts(number)).map_or(Span::ZERO, |(newest, from)| newest - from)
    }

    /// Asks the publisher for a random-access point; `false` when it cannot be asked.
    pub(super) fn ask_for_random_access(&self) -> bool {
        self.source.ask_for_random_access()
    }

    /// The number that the next piece will have.
    pub(super) fn end(&self) -> u64 {
        self.ring.borrow().end()
    }

    /// The piece of this number; `None` when it has left the ring or is still to come.
    pub(super) fn piece(&self, number: u64) -> Option<Rc<Piece>> {
        self.ring.borrow().piece(number)
    }

    /// Whether the piece of this number has left the ring.
    pub(super) fn has_lost(&self, number: u64) -> bool {
        number < self.ring.borrow().first
    }

    fn run(self: &Rc<Self>) {
        let mut reader = self.source.read_units(Start::Gop);
        let end = self.read(&mut reader);
        self.has_ended.set(true);
        self.more.broadcast();
        if let PlayEnd::Wait(WaitError::TimedOut(error)) = end {
            warn!(stream = %self.source.key(), %error, "the stage of a stream ended");
        }
    }

    fn read(self: &Rc<Self>, reader: &mut UnitReader) -> PlayEnd {
        let mut packetizer = Packetizer::new(PAYLOAD_BYTES);
        let mut sound = Sound::default();
        let mut batch = Vec::new();
        loop {
            if reader.is_up_to_date() {
                self.is_filled.set(true);
                self.more.broadcast();
            }
            match reader.recv(&mut batch) {
                Ok(has_jumped) => {
                    if has_jumped {
                        self.ring.borrow_mut().mark = None;
                    }
                }
                Err(end) => return end,
            }
            for unit in batch.drain(..) {
                match unit.config.codec().kind() {
                    MediaKind::Video if self.is_another_codec(&unit) => {
                        let codec = unit.config.codec();
                        info!(stream = %self.key(), %codec, "WebRTC's viewers have to offer anew: the pictures are of another codec");
                        return PlayEnd::Unpublished;
                    }
                    MediaKind::Video => self.take_picture(&mut packetizer, &unit),
                    MediaKind::Audio => sound.take(self, &unit),
                }
            }
            self.more.broadcast();
        }
    }

    fn take_picture(&self, packetizer: &mut Packetizer, unit: &AccessUnit) {
        if !self.takes_picture(unit) {
            return;
        }
        if self.verdict() != Verdict::InOrder {
            packetizer.expect_in_order();
        }
        let packets = packetizer.packetize(unit);
        if !packets.is_empty() {
            let (kind, may_begin) = (MediaKind::Video, unit.random_access);
            self.ring.borrow_mut().push(Piece { kind, pts: unit.pts, may_begin, packets });
        }
    }

    /// Takes what the transcoder makes, until that ends.
    pub(super) fn take_frames(&self, frames: &Frames) {
        while let Ok(coded) = frames.recv() {
            self.push_sound(coded.pts, &coded.payload);
            while let Some(coded) = frames.try_recv() {
                self.push_sound(coded.pts, &coded.payload);
            }
            // To wake a viewer costs more than a packet of sound: a picture that comes soon takes it along.
            let has_pictures = self.source.tracks().video().is_some();
            let patience = if has_pictures { SOUND_PATIENCE } else { Duration::ZERO };
            let wait = self.more.wait_until(rt::now() + patience);
            if wait.is_err() {
                self.more.broadcast();
            }
        }
    }

    /// Takes a packet of Opus.
    pub(super) fn push_sound(&self, pts: Timestamp, packet: &[u8]) {
        let may_begin = self.source.tracks().video().is_none();
        let (kind, packets) = (MediaKind::Audio, vec![Payload::from(packet)]);
        self.ring.borrow_mut().push(Piece { kind, pts, may_begin, packets });
    }

    fn is_first_track(&self, unit: &AccessUnit) -> bool {
        self.source.tracks().video().is_none_or(|track| track.id == unit.track)
    }

    /// Whether it is a picture that those who watch did not agree to: another publisher came.
    fn is_another_codec(&self, unit: &AccessUnit) -> bool {
        let known = self.video.borrow().as_ref().map(|known| known.codec());
        self.is_first_track(unit) && known.is_some_and(|known| known != unit.config.codec())
    }

    /// Whether viewers get this picture.
    fn takes_picture(&self, unit: &AccessUnit) -> bool {
        if !self.is_first_track(unit) {
            return false;
        }
        let is_known =
            self.video.borrow().as_ref().is_some_and(|known| Rc::ptr_eq(known, &unit.config));
        if !is_known {
            *self.video.borrow_mut() = Some(Rc::clone(&unit.config));
        }
        let is_shown = self.reorder.borrow_mut().shows(unit);
        let verdict = self.verdict();
        if let Some(text) = verdict.remark() {
            self.remark(PICTURES, text);
        }
        match (verdict, self.policy.get()) {
            (Verdict::ReferenceB, ReferenceB::Keyframes) => unit.random_access,
            _ => is_shown,
        }
    }
}

impl Pieces {
    fn end(&self) -> u64 {
        self.first + self.pieces.len() as u64
    }

    fn piece(&self, number: u64) -> Option<Rc<Piece>> {
        let at = usize::try_from(number.checked_sub(self.first)?).ok()?;
        self.pieces.get(at).cloned()
    }

    fn push(&mut self, piece: Piece) {
        if piece.may_begin {
            self.mark = Some(self.end());
        }
        self.bytes += piece.len_bytes();
        self.pieces.push_back(Rc::new(piece));
        while self.pieces.len() > 1 && self.is_over() {
            let Some(oldest) = self.pieces.pop_front() else { return };
            self.bytes = self.bytes.saturating_sub(oldest.len_bytes());
            self.first += 1;
            self.mark = self.mark.filter(|&mark| mark >= self.first);
        }
    }

    fn is_over(&self) -> bool {
        self.bytes > RING_BYTES || self.span() > RING_SPAN
    }

    fn span(&self) -> Span {
        match (self.pieces.front(), self.pieces.back()) {
            (Some(oldest), Some(newest)) => newest.pts - oldest.pts,
            _ => Span::ZERO,
        }
    }

    /// Packets of pictures, on the average.
    fn packets_a_second(&self) -> usize {
        let pictures = self.pieces.iter().filter(|piece| piece.kind == MediaKind::Video);
        let packets = pictures.map(|piece| piece.packets.len()).sum::<usize>();
        let span = self.span().max(Span::from_ms(1_000)).duration();
        packets * 1_000 / usize::try_from(span.as_millis()).unwrap_or(usize::MAX)
    }
}

impl Piece {
    pub(super) fn is_picture(&self) -> bool {
        self.kind == MediaKind::Video
    }

    fn len_bytes(&self) -> usize {
        self.packets.iter().map(|packet| packet.len()).sum::<usize>() + size_of::<Self>()
    }
}
