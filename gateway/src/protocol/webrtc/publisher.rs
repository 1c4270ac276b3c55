//! One publisher, top to bottom: its frames in, a source out. It is asked for random-access points, which no encoder of WebRTC
//! sends unasked.

use super::{
    aac::MadeAac,
    frames::{Frame, Track},
    negotiate::Incoming,
    peer::{Peer, PeerEnd},
};
use crate::{
    container::Sink,
    hub::Publisher,
    media::{MediaKind, Tracks},
};
use std::time::{Duration, Instant};
use str0m::{
    Event,
    media::{KeyframeRequestKind, MediaData},
    stats::MediaIngressStats,
};
use thalweg_runtime as rt;
use tracing::debug;

/// What a publisher is held to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Terms {
    /// Without media for so long it is over.
    pub(super) silence: Duration,
    /// So often it is asked for a random-access point: how long a viewer of any kind may have to wait for one.
    pub(super) random_access: Duration,
}

/// A publisher is not asked more often than this, whatever is lost.
const KEYFRAMES_MIN: Duration = Duration::from_millis(500);

/// A publisher and all that is known of it.
struct Ingest<'a> {
    peer: Peer<'a>,
    publisher: Publisher,
    tracks: Vec<Track>,
    /// What is made of the sound, for everybody but browsers.
    aac: Option<MadeAac>,
    /// When the last random-access point came, or was asked for.
    asked: Instant,
    /// Pictures were lost: what follows cannot be decoded.
    waits_for_key: bool,
    /// When media came last.
    media: Instant,
    terms: Terms,
}

/// Takes what a publisher sends until either side ends it.
///
/// # Suspends
///
/// For as long as it publishes.
pub(super) fn publish(
    peer: Peer<'_>,
    incoming: &[Incoming],
    publisher: Publisher,
    terms: Terms,
) -> PeerEnd {
    let now = rt::now();
    let tracks: Vec<_> = incoming.iter().map(|incoming| Track::new(incoming, now)).collect();
    let sound = tracks.iter().find(|track| track.kind() == MediaKind::Audio);
    let aac = sound.and_then(|track| MadeAac::start(&track.as_track()));
    let mut ingest =
        Ingest { peer, publisher, tracks, aac, asked: now, waits_for_key: true, media: now, terms };
    ingest.tell_tracks();
    let end = ingest.run();
    ingest.peer.say_goodbye();
    end
}

impl Ingest<'_> {
    fn run(&mut self) -> PeerEnd {
        loop {
            if let Err(end) = self.drain() {
                return end;
            }
            self.take_aac();
            if !self.publisher.is_current() {
                return PeerEnd::TakenOver;
            }
            if let Some(limit) = self.publisher.exceeded_bps() {
                return PeerEnd::TooFast(limit);
            }
            let now = rt::now();
            let silence = self.terms.silence;
            if now >= self.media + silence {
                return PeerEnd::Silent(silence);
            }
            let is_due = self.peer.is_asked || now >= self.next_request();
            if self.peer.is_connected && is_due {
                if let Err(end) = self.ask_for_key(now) {
                    return end;
                }
                continue;
            }
            let wake = if self.peer.is_connected {
                self.next_request().min(self.media + silence)
            } else {
                self.media + silence
            };
            if let Err(end) = self.peer.wait(self.aac.as_ref().map(MadeAac::more), Some(wake)) {
                return end;
            }
        }
    }

    fn next_request(&self) -> Instant {
        self.asked + if self.waits_for_key { KEYFRAMES_MIN } else { self.terms.random_access }
    }

    fn drain(&mut self) -> Result<(), PeerEnd> {
        while let Some(event) = self.peer.poll()? {
            match event {
                Event::Connected => self.ask_for_key(rt::now())?,
                Event::MediaData(data) => self.take(&data),
                Event::PeerStats(stats) => self.peer.note(&stats),
                Event::MediaIngressStats(stats) => self.note_ingress(&stats),
                _ => {}
            }
        }
        Ok(())
    }

    fn take(&mut self, data: &MediaData) {
        self.media = rt::now();
        self.publisher.add_received(data.data.len());
        let Some(index) = self.tracks.iter().position(|track| track.mid() == data.mid) else {
            return;
        };
        self.align(index, data);
        let Some(track) = self.tracks.get_mut(index) else { return };
        let is_video = track.kind() == MediaKind::Video;
        if is_video && !data.contiguous {
            debug!("pictures were lost");
            self.waits_for_key = true;
        }
        let Frame { unit, is_new } = match track.frame(data) {
            Ok(Some(frame)) => frame,
            Ok(None) => return,
            Err(error) => return debug!(%error, "a frame cannot be understood"),
        };
        if is_video {
            if unit.random_access {
                self.waits_for_key = false;
                self.asked = self.media;
            } else if self.waits_for_key {
                return;
            }
        }
        if is_new {
            self.tell_tracks();
        }
        if let (Some(aac), MediaKind::Audio) = (&self.aac, unit.config.codec().kind()) {
            aac.push(&unit);
        }
        self.publisher.unit(unit);
    }

    fn take_aac(&mut self) {
        while let Some(unit) = self.aac.as_ref().and_then(MadeAac::next) {
            self.publisher.unit(unit);
        }
    }

    /// Sound and pictures have clocks of their own; once both have told how theirs is on the wall, they are brought
    /// together (RFC 3550 §6.4.1).
    fn align(&mut self, index: usize, data: &MediaData) {
        let Some(info) = data.last_sender_info else { return };
        if let Some(track) = self.tracks.get_mut(index) {
            track.note_sender(&info);
        }
        let (video, audio): (Vec<_>, Vec<_>) =
            self.tracks.iter_mut().partition(|track| track.kind() == MediaKind::Video);
        if let (Some(video), Some(audio)) = (video.into_iter().next(), audio.into_iter().next()) {
            audio.align_with(video);
        }
    }

    fn tell_tracks(&mut self) {
        // Where one track of sound is taken, it is the first.
        let aac = self.aac.iter().map(MadeAac::track);
        let tracks: Tracks = aac.chain(self.tracks.iter().map(Track::as_track)).collect();
        self.publisher.tracks(&tracks);
    }

    fn ask_for_key(&mut self, now: Instant) -> Result<(), PeerEnd> {
        self.asked = now;
        self.peer.is_asked = false;
        let video = self.tracks.iter().find(|track| track.kind() == MediaKind::Video);
        let Some(mid) = video.map(Track::mid) else { return Ok(()) };
        if let Some(mut writer) = self.peer.rtc.writer(mid)
            && writer.is_request_keyframe_possible(KeyframeRequestKind::Pli)
            && let Err(error) = writer.request_keyframe(None, KeyframeRequestKind::Pli)
        {
            // Nothing has come yet from which the stream is known.
            debug!(%error, "no random-access point can be asked for");
        }
        self.peer.settle()
    }

    fn note_ingress(&self, stats: &MediaIngressStats) {
        let video = self.tracks.iter().find(|track| track.kind() == MediaKind::Video);
        let is_video = video.is_some_and(|track| track.mid() == stats.mid);
        self.peer.told.note_ingress(stats, is_video);
    }
}
