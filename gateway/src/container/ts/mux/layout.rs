//! Which track is on which PID, and the tables that say so (ISO/IEC 13818-1:2019 §2.4.4).

#![cfg_attr(not(test), warn(clippy::indexing_slicing, clippy::cast_possible_truncation))]

use super::super::{
    packet::Pid,
    psi::{Pat, Pmt, PmtStream, packetize, push_descriptor, stream_type, tag},
};
use super::pace::{STEP_WITH_AUDIO, STEP_WITHOUT};
use crate::{
    container::{LeftOut, Select},
    media::{
        AccessUnit, Codec, CodecConfig, MediaKind, Span, Track, TrackId, Tracks, mp3::Version,
    },
};
use std::rc::Rc;

/// The tracks of the output, and the tables.
#[derive(Debug)]
pub(super) struct Layout {
    select: Select,
    outputs: Vec<Output>,
    /// The selected tracks that have no place.
    left_out: Vec<(TrackId, LeftOut)>,
    /// The next PID that no track has had.
    next_pid: u16,
    pmt: Pmt,
    /// The tables have changed since they went out.
    is_fresh: bool,
    pat_continuity: u8,
    pmt_continuity: u8,
}

/// One track of the output.
#[derive(Debug)]
pub(super) struct Output {
    track: Track,
    pub(super) pid: Pid,
    /// Of the next packet with a payload.
    pub(super) continuity: u8,
    /// What the decoder was told last.
    told: Option<Rc<CodecConfig>>,
}

impl Layout {
    pub(super) fn new(select: Select) -> Self {
        Self {
            select,
            outputs: Vec::new(),
            left_out: Vec::new(),
            next_pid: FIRST_PID,
            pmt: Pmt {
                programme: PROGRAMME,
                version: 0,
                pcr_pid: Pid::NULL,
                descriptors: Vec::new(),
                streams: Vec::new(),
            },
            is_fresh: true,
            pat_continuity: 0,
            pmt_continuity: 0,
        }
    }

    /// The source has these tracks now. What stays keeps its PID, what is new gets one that nothing else had.
    pub(super) fn update(&mut self, tracks: &Tracks) {
        let mut old = std::mem::take(&mut self.outputs);
        let select = self.select;
        self.left_out.clear();
        for track in tracks.iter().filter(|track| select.carries(track.codec.kind())) {
            if !is_carried(track) {
                self.left_out.push((track.id, LeftOut::Codec));
                continue;
            }
            let known = old.iter().position(|output| {
                output.track.id == track.id && output.track.codec == track.codec
            });
            let mut output = match known.map(|at| old.remove(at)) {
                Some(output) => output,
                None => Output {
                    track: track.clone(),
                    pid: self.take_pid(&old),
                    continuity: 0,
                    told: None,
                },
            };
            output.track = track.clone();
            self.outputs.push(output);
        }
        self.describe();
    }

    /// The selected tracks that have no place.
    pub(super) fn left_out(&self) -> &[(TrackId, LeftOut)] {
        &self.left_out
    }

    /// Where `unit` belongs, if the output has its track. Takes note of its configuration.
    pub(super) fn place(&mut self, unit: &AccessUnit) -> Option<usize> {
        let at = self.outputs.iter().position(|output| output.track.id == unit.track)?;
        let output = self.outputs.get_mut(at)?;
        if output.track.codec != unit.config.codec() {
            return None;
        }
        if output.track.config.as_ref().is_none_or(|known| !Rc::ptr_eq(known, &unit.config)) {
            output.track.config = Some(Rc::clone(&unit.config));
            if !is_carried(&output.track) {
                return None;
            }
            self.describe();
        }
        Some(at)
    }

    pub(super) fn output(&self, index: usize) -> Option<&Output> {
        self.outputs.get(index)
    }

    pub(super) fn output_mut(&mut self, index: usize) -> Option<&mut Output> {
        self.outputs.get_mut(index)
    }

    /// Appends PAT and PMT.
    pub(super) fn encode(&mut self, out: &mut Vec<u8>) {
        let pat = Pat {
            stream_id: 1,
            version: 0,
            section: (0, 0),
            programmes: vec![(PROGRAMME, PMT_PID)],
        };
        packetize(Pid::PAT, &pat.encode(), &mut self.pat_continuity, out);
        packetize(PMT_PID, &self.pmt.encode(), &mut self.pmt_continuity, out);
        self.is_fresh = false;
    }

    /// Whether the tables have changed since they went out.
    pub(super) fn is_fresh(&self) -> bool {
        self.is_fresh
    }

    pub(super) fn has_video(&self) -> bool {
        self.outputs.iter().any(|output| output.kind() == MediaKind::Video)
    }

    /// How far clock references may be apart.
    pub(super) fn max_step(&self) -> Span {
        let has_audio = self.outputs.iter().any(|output| output.kind() == MediaKind::Audio);
        if has_audio { STEP_WITH_AUDIO } else { STEP_WITHOUT }
    }

    /// Whether the clock is on this output's PID.
    pub(super) fn is_clock(&self, index: usize) -> bool {
        self.output(index).is_some_and(|output| output.pid == self.pmt.pcr_pid)
    }

    /// The PID of the clock, and the counter of the next packet with a payload there.
    pub(super) fn clock_pid(&self) -> Option<(Pid, u8)> {
        let clock = self.outputs.iter().find(|output| output.pid == self.pmt.pcr_pid)?;
        Some((clock.pid, clock.continuity))
    }

    /// A PID that neither these outputs nor `old` ones have.
    fn take_pid(&mut self, old: &[Output]) -> Pid {
        loop {
            let pid = Pid::new(self.next_pid);
            self.next_pid = if self.next_pid == LAST_PID { FIRST_PID } else { self.next_pid + 1 };
            if !self.outputs.iter().chain(old).any(|output| output.pid == pid) {
                return pid;
            }
        }
    }

    /// Writes the map anew. Another map has another version (§2.4.4.9).
    fn describe(&mut self) {
        let clock = |kind| self.outputs.iter().find(|output: &&Output| output.kind() == kind);
        let clock = clock(MediaKind::Video).or_else(|| clock(MediaKind::Audio));
        let pmt = Pmt {
            pcr_pid: clock.map_or(Pid::NULL, |output| output.pid),
            streams: self.outputs.iter().map(Output::entry).collect(),
            ..self.pmt.clone()
        };
        if pmt != self.pmt {
            let was_sent = !self.is_fresh;
            self.pmt = pmt;
            if was_sent {
                self.pmt.version = (self.pmt.version + 1) & 0x1f;
            }
            self.is_fresh = true;
        }
    }
}

impl Output {
    pub(super) fn kind(&self) -> MediaKind {
        self.track.codec.kind()
    }

    /// §2.4.3.7, table 2-22.
    pub(super) fn stream_id(&self) -> u8 {
        match self.track.codec {
            codec if codec.kind() == MediaKind::Video => 0xe0,
            Codec::Aac | Codec::Mp3 => 0xc0,
            _ => 0xbd,
        }
    }

    /// Whether the decoder must be told the unit's configuration.
    pub(super) fn has_new_config(&self, unit: &AccessUnit) -> bool {
        self.told.as_ref().is_none_or(|told| !Rc::ptr_eq(told, &unit.config))
    }

    /// The unit goes out.
    pub(super) fn note(&mut self, unit: &AccessUnit) {
        if self.has_new_config(unit) {
            self.told = Some(Rc::clone(&unit.config));
        }
    }

    fn entry(&self) -> PmtStream {
        let mut descriptors = Vec::new();
        let out = &mut descriptors;
        let stream_type = match self.track.codec {
            Codec::H264 => stream_type::H264,
            Codec::Hevc => {
                push_descriptor(tag::REGISTRATION, b"HEVC", out);
                stream_type::HEVC
            }
            Codec::Aac => stream_type::AAC_ADTS,
            Codec::Mp3 => match self.track.config.as_deref() {
                Some(CodecConfig::Mp3(config)) if config.version() != Version::One => {
                    stream_type::MPEG2_AUDIO
                }
                _ => stream_type::MPEG1_AUDIO,
            },
            // ATSC's types, which need no descriptor, and what DVB looks for: every player knows one of the two.
            Codec::Ac3 => {
                push_descriptor(tag::REGISTRATION, b"AC-3", out);
                push_descriptor(tag::DVB_AC3, &[0], out);
                stream_type::AC3
            }
            Codec::Eac3 => {
                push_descriptor(tag::REGISTRATION, b"EAC3", out);
                push_descriptor(tag::DVB_EAC3, &[0], out);
                stream_type::EAC3
            }
            Codec::Opus => {
                push_descriptor(tag::REGISTRATION, b"Opus", out);
                if let Some(channels) = opus_channels(&self.track) {
                    push_descriptor(tag::DVB_EXTENSION, &[tag::OPUS_EXTENSION, channels], out);
                }
                stream_type::PRIVATE_PES
            }
            Codec::Av1 | Codec::Vp8 | Codec::Vp9 => stream_type::PRIVATE_PES,
        };
        if let Some(language) = self.track.language {
            let [a, b, c] = language.letters();
            push_descriptor(tag::LANGUAGE, &[a, b, c, 0], out);
        }
        PmtStream { stream_type, pid: self.pid, descriptors }
    }
}

/// Whether MPEG-TS has a place for the track, as far as its configuration is known.
pub(super) fn is_carried(track: &Track) -> bool {
    match (track.codec, track.config.as_deref()) {
        (Codec::Av1 | Codec::Vp8 | Codec::Vp9, _) => false,
        // Its descriptor names the layout.
        (Codec::Opus, _) => opus_channels(track).is_some(),
        (Codec::Aac, Some(CodecConfig::Aac(config))) => config.adts(&[]).is_some(),
        _ => true,
    }
}

fn opus_channels(track: &Track) -> Option<u8> {
    match track.config.as_deref()? {
        CodecConfig::Opus(config) => config.ts_channels(),
        _ => None,
    }
}

const PROGRAMME: u16 = 1;
const PMT_PID: Pid = Pid::new(0x1000);
const FIRST_PID: u16 = 0x100;
const LAST_PID: u16 = 0xfff;
