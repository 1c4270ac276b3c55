//! What the viewers of a stage hear: one track of the source, as Opus. What no Opus can be made of is said once, in the log and
//! in what is told of the source.

use super::stage::Stage;
use crate::{
    audio::{Target, Transcoder},
    media::{AccessUnit, Codec, CodecConfig, MediaKind, Track, TrackId, Tracks},
};
use std::{
    collections::VecDeque,
    rc::Rc,
    time::{Duration, Instant},
};
use thalweg_runtime as rt;
use tracing::{info, warn};

/// The sound of a stage, as its coroutine sees it.
#[derive(Debug, Default)]
pub(super) struct Sound {
    /// Among which it was chosen.
    tracks: Tracks,
    heard: Heard,
    transcoder: Option<Making>,
    /// The last of what was there before the stage, until all of that has been read. Nobody hears more of it, since sound
    /// begins with the first picture that is shown in time.
    backlog: VecDeque<AccessUnit>,
    /// A configuration for which there is no decoder, and why.
    refused: Option<(Rc<CodecConfig>, String)>,
}

/// What viewers hear.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Heard {
    /// This track.
    Track(TrackId),
    /// Nothing, but there may still come something.
    #[default]
    Nothing,
    /// Nothing, since the sound is of these codecs.
    Never(String),
}

/// Opus that is being made.
#[derive(Debug)]
struct Making {
    transcoder: Transcoder,
    since: Instant,
    /// Units were left out, and it was said.
    is_slow: bool,
}

/// What remarks on the sound are filed under.
const ABOUT: &str = "webrtc.sound";

/// When so many units in a row cannot be decoded, more will not: two seconds of AAC.
const FAILED: u32 = 100;

/// Units of what was there before that are not left out: a quarter of a second of AAC.
const BACKLOG: usize = 12;

/// A thread that ended is not started again before this time has passed.
const AGAIN: Duration = Duration::from_secs(5);

impl Heard {
    /// The first track of Opus, or the first of which Opus can be made.
    pub(super) fn of(tracks: &Tracks) -> Self {
        let sounds = || tracks.iter().filter(|track| track.codec.kind() == MediaKind::Audio);
        let passes = |track: &&Track| match track.config.as_deref() {
            Some(config) => passes(config),
            None => track.codec == Codec::Opus,
        };
        let can_be_made = |track: &&Track| Transcoder::knows(track.codec);
        if let Some(track) = sounds().find(passes).or_else(|| sounds().find(can_be_made)) {
            return Self::Track(track.id);
        }
        let mut codecs: Vec<_> = sounds().map(|track| track.codec.name()).collect();
        codecs.dedup();
        if codecs.is_empty() { Self::Nothing } else { Self::Never(codecs.join(" and ")) }
    }
}

/// Whether browsers play it as it is: one stream of Opus (RFC 7587 §7).
fn passes(config: &CodecConfig) -> bool {
    matches!(config, CodecConfig::Opus(config) if config.layout().is_none())
}

impl Sound {
    /// Takes a unit of any track of sound.
    pub(super) fn take(&mut self, stage: &Rc<Stage>, unit: &AccessUnit) {
        self.choose(stage);
        match &self.heard {
            Heard::Track(track) if *track == unit.track => {}
            Heard::Never(codecs) => {
                let why = format!(
                    "WebRTC's viewers hear nothing: the sound is {codecs}, of which no Opus can be made"
                );
                return stage.remark(ABOUT, &why);
            }
            Heard::Track(_) | Heard::Nothing => return,
        }
        if passes(&unit.config) {
            self.transcoder = None;
            return stage.push_sound(unit.pts, &unit.payload);
        }
        if let Some((config, why)) = &self.refused
            && Rc::ptr_eq(config, &unit.config)
        {
            return stage.remark(ABOUT, why);
        }
        self.backlog.push_back(unit.clone());
        if self.backlog.len() > BACKLOG {
            self.backlog.pop_front();
        }
        if stage.is_filled() {
            while let Some(unit) = self.backlog.pop_front() {
                self.make(stage, &unit);
            }
        }
    }

    /// Has Opus made of a unit.
    fn make(&mut self, stage: &Rc<Stage>, unit: &AccessUnit) {
        if self.transcoder.is_none() {
            self.transcoder = self.begin(stage, unit);
        }
        let Some(making) = &mut self.transcoder else { return };
        if let Err(error) = making.transcoder.push(unit) {
            self.transcoder = None;
            return self.refuse(unit, &error.to_string());
        }
        if making.watch(stage, &unit.config) {
            self.transcoder = None;
        }
    }

    /// Chooses anew when the tracks have changed.
    fn choose(&mut self, stage: &Stage) {
        let tracks = stage.tracks();
        if tracks == self.tracks && self.heard != Heard::Nothing {
            return;
        }
        let heard = Heard::of(&tracks);
        if heard != self.heard {
            self.transcoder = None;
            self.backlog.clear();
            stage.take_back(ABOUT);
        }
        (self.tracks, self.heard, self.refused) = (tracks, heard, None);
    }

    fn begin(&mut self, stage: &Rc<Stage>, unit: &AccessUnit) -> Option<Making> {
        let begun =
            Transcoder::start(&unit.config, Target::Opus).and_then(|(transcoder, frames)| {
                let theirs = Rc::clone(stage);
                let name = format!("webrtc sound {}", stage.key());
                rt::Builder::new().name(name).spawn(move || theirs.take_frames(&frames))?;
                Ok(transcoder)
            });
        match begun {
            Ok(transcoder) => {
                let from = unit.config.codec();
                info!(stream = %stage.key(), %from, "makes Opus for WebRTC");
                Some(Making { transcoder, since: rt::now(), is_slow: false })
            }
            Err(error) => {
                self.refuse(unit, &error.to_string());
                None
            }
        }
    }

    /// No other unit like this one is tried.
    fn refuse(&mut self, unit: &AccessUnit, why: &str) {
        let why = format!("WebRTC's viewers hear nothing: {why}");
        self.refused = Some((Rc::clone(&unit.config), why));
    }
}

impl Making {
    /// Says what goes wrong; whether it is over.
    fn watch(&mut self, stage: &Stage, config: &CodecConfig) -> bool {
        match self.transcoder.failed() {
            0 => stage.take_back(ABOUT),
            FAILED.. => {
                let codec = config.codec();
                let why = format!("WebRTC's viewers hear nothing: the {codec} cannot be decoded");
                stage.remark(ABOUT, &why);
            }
            _ => {}
        }
        if self.transcoder.left_out() > 0 && !self.is_slow {
            self.is_slow = true;
            warn!(stream = %stage.key(), "sound is left out for WebRTC: making Opus does not keep up");
        }
        self.transcoder.is_over() && rt::now().duration_since(self.since) > AGAIN
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::opus;

    fn track(id: u16, codec: Codec, config: Option<opus::Config>) -> Track {
        let config = config.map(|config| Rc::new(CodecConfig::Opus(config)));
        Track { id: TrackId(id), codec, language: None, config }
    }

    #[test]
    fn opus_is_heard_before_what_it_has_to_be_made_of_and_the_rest_never() {
        let stereo = || opus::Config::with_channels(2).ok();
        let heard = |tracks: &[Track]| Heard::of(&tracks.iter().cloned().collect());
        let video = track(1, Codec::H264, None);
        let aac = track(2, Codec::Aac, None);
        let ac3 = track(3, Codec::Ac3, None);
        let plain = track(4, Codec::Opus, stereo());
        let surround = track(5, Codec::Opus, opus::Config::with_channels(6).ok());
        assert_eq!(heard(std::slice::from_ref(&video)), Heard::Nothing);
        assert_eq!(heard(&[video.clone(), ac3.clone()]), Heard::Never("AC3".to_owned()));
        assert_eq!(heard(&[ac3.clone(), aac.clone()]), Heard::Track(TrackId(2)));
        assert_eq!(heard(&[aac, surround.clone(), plain]), Heard::Track(TrackId(4)));
        assert_eq!(heard(&[ac3, surround]), Heard::Track(TrackId(5)));
        assert_eq!(heard(&[video, track(6, Codec::Opus, None)]), Heard::Track(TrackId(6)));
    }
}
