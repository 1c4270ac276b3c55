//! From bytes to packets and access units.
//!
//! A [`Demuxer`] follows one programme. Packets go to the sink first, one by one and all of them, so that a TS output can
//! pass them on; then the access units that are complete with them. Nothing is held back for longer than the rules of
//! the assembly demand, and nothing is an error: what is damaged is left out and counted.
//!
//! | file | what it does |
//! |---|---|
//! | `programme` | follows the PAT and the PMT of one programme |
//! | `stream` | one elementary stream: PES packets to the assembly of its codec |
//! | `video`, `byte_stream`, `parameters` | units of H.264 and HEVC |
//! | `early` | whether a hint may be taken for the end of a unit |
//! | `audio`, `framing` | frames of all audio codecs |
//! | `clock` | unwrapped times, and jumps of them |

#![cfg_attr(not(test), warn(clippy::indexing_slicing, clippy::cast_possible_truncation))]

mod audio;
mod byte_stream;
mod clock;
mod early;
mod framing;
mod parameters;
mod programme;
mod stream;
mod video;

pub use clock::Jump;
pub use programme::Programme;

use super::{
    continuity::{Continuity, Counters},
    packet::{PACKET_LEN, Packet, Pid},
    psi::Pmt,
    sync::{Found, Framer},
};
use crate::{
    container::Sink,
    media::{AccessUnit, MediaKind, Timestamp, TrackId, Tracks},
};
use clock::{Clock, jump_between};
use programme::Selection;
use stream::Stream;
use video::Hint;

/// What a [`Demuxer`] finds beyond access units.
pub trait TsSink: Sink {
    /// A packet, as it came. Before the units that are complete with it.
    fn packet(&mut self, packet: &[u8; PACKET_LEN], info: &PacketInfo);

    /// The timeline goes on elsewhere. Before the first unit that has a time there.
    fn jump(&mut self, jump: Jump) {
        let _ = jump;
    }
}

/// What a packet is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PacketInfo {
    /// Its PID.
    pub pid: Pid,
    /// What it belongs to.
    pub kind: PacketKind,
    /// A section or a PES packet begins in it.
    pub unit_start: bool,
    /// A reader may begin here: a PES packet begins whose picture is a random access point, or, in a programme
    /// without video, one of the first audio track.
    pub random_access: bool,
    /// The decoding time of the PES packet that begins here.
    pub dts: Option<Timestamp>,
}

/// What a packet belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PacketKind {
    /// The programme association table; `whole` when a section ends in it and is right.
    Pat {
        /// See there.
        whole: bool,
    },
    /// The map of the programme that is followed.
    Pmt {
        /// See there.
        whole: bool,
    },
    /// A track.
    Track(TrackId),
    /// Stuffing of the whole stream.
    Null,
    /// Anything else.
    Other,
}

/// What a demuxer has counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Packets.
    pub packets: u64,
    /// How often packets did not follow one another, for garbage or lost bytes.
    pub resyncs: u64,
    /// How often packets of a PID were missing.
    pub continuity_errors: u64,
    /// Packets sent twice.
    pub duplicates: u64,
    /// Packets that a demodulator marked as damaged.
    pub transport_errors: u64,
    /// Packets of tracks that are encrypted.
    pub scrambled: u64,
    /// Sections that were damaged.
    pub psi_errors: u64,
    /// PES packets whose header makes no sense.
    pub pes_errors: u64,
    /// Parameter sets that make no sense.
    pub parameter_errors: u64,
    /// Units delivered.
    pub units: u64,
    /// Units that were damaged, and dropped.
    pub dropped_units: u64,
    /// Units dropped because they came before their parameter sets, or before any time.
    pub unready_units: u64,
    /// Units that left before the next one began, because a hint said that they had ended.
    pub early_ends: u64,
    /// Hints that were wrong. After the first one of a kind, none of it is believed.
    pub early_contradictions: u64,
    /// PIDs that belong to no track; those of tables and stuffing not counted.
    pub unknown_pids: u64,
    /// Packets of such PIDs.
    pub unknown_packets: u64,
}

/// Takes a transport stream apart, as it arrives.
#[derive(Debug)]
pub struct Demuxer {
    framer: Framer,
    core: Core,
}

/// Everything behind the search for packets.
#[derive(Debug)]
struct Core {
    counters: Counters,
    selection: Selection,
    /// What each PID is: one of the roles below, or [`FIRST_STREAM`] and the index of its stream.
    roles: Vec<u8>,
    streams: Vec<Stream>,
    /// The tracks that the sink knows.
    told: Option<Tracks>,
    context: Context,
    /// Of the last packet, which may have lost its end when packets stop following one another.
    last: Option<Pid>,
}

/// What all assemblies share.
#[derive(Debug)]
struct Context {
    clock: Clock,
    stats: Stats,
    /// Complete units, for the sink.
    ready: Vec<AccessUnit>,
    /// Hints that were wrong once, on whatever PID: they are not believed in this source any more.
    distrusted: Vec<Hint>,
}

/// Never seen.
const UNSEEN: u8 = 0;
/// Seen, and of no track. Whether the PMT lists it or not: it is passed on.
const UNKNOWN: u8 = 1;
/// The programme association table.
const PAT: u8 = 2;
/// The map of the programme that is followed.
const PMT: u8 = 3;
/// Stuffing.
const NULL: u8 = 4;
/// Streams from here on.
const FIRST_STREAM: u8 = 8;
/// More tracks than any programme has. What is beyond is passed on.
const MAX_STREAMS: usize = 64;

impl Demuxer {
    /// Follows `programme`.
    pub fn new(programme: Programme) -> Self {
        let mut roles = vec![UNSEEN; Pid::COUNT];
        for (pid, role) in [(Pid::PAT, PAT), (Pid::NULL, NULL)] {
            if let Some(entry) = roles.get_mut(pid.index()) {
                *entry = role;
            }
        }
        let context = Context {
            clock: Clock::new(),
            stats: Stats::default(),
            ready: Vec::new(),
            distrusted: Vec::new(),
        };
        let core = Core {
            counters: Counters::new(),
            selection: Selection::new(programme),
            roles,
            streams: Vec::new(),
            told: None,
            context,
            last: None,
        };
        Self { framer: Framer::default(), core }
    }

    /// Takes bytes, which need not be whole packets, and gives `sink` all that is complete with them.
    pub fn push(&mut self, bytes: &[u8], sink: &mut impl TsSink) {
        let Self { framer, core } = self;
        framer.push(bytes, |found| match found {
            Found::Packet(packet) => core.packet(packet, sink),
            Found::Lost => core.lose(),
        });
    }

    /// The source has ended: gives `sink` the last units, as far as they seem whole.
    pub fn finish(&mut self, sink: &mut impl TsSink) {
        for stream in &mut self.core.streams {
            stream.finish(&mut self.core.context);
        }
        self.core.deliver(sink);
    }

    /// What has been counted so far.
    pub const fn stats(&self) -> &Stats {
        &self.core.context.stats
    }
}

impl Core {
    fn packet(&mut self, bytes: &[u8; PACKET_LEN], sink: &mut impl TsSink) {
        let packet = Packet::new(bytes);
        let pid = packet.pid();
        let mut info = PacketInfo {
            pid,
            kind: PacketKind::Other,
            unit_start: packet.is_unit_start(),
            random_access: false,
            dts: None,
        };
        self.context.stats.packets += 1;
        if !self.is_usable(packet) {
            sink.packet(bytes, &info);
            return;
        }
        self.last = Some(pid);
        self.clock(packet, sink);
        let role = self.roles.get(pid.index()).copied().unwrap_or(UNSEEN);
        match role {
            PAT => {
                let whole = self.pat(packet);
                sink.packet(bytes, &PacketInfo { kind: PacketKind::Pat { whole }, ..info });
            }
            PMT => {
                let (whole, pmt) = self.selection.pmt(packet, &mut self.context.stats);
                sink.packet(bytes, &PacketInfo { kind: PacketKind::Pmt { whole }, ..info });
                if let Some(pmt) = pmt {
                    self.adopt(&pmt, sink);
                }
            }
            NULL => sink.packet(bytes, &PacketInfo { kind: PacketKind::Null, ..info }),
            UNSEEN | UNKNOWN => {
                self.count_unknown(pid, role);
                sink.packet(bytes, &info);
            }
            _ => {
                self.describe(packet, role, &mut info);
                sink.packet(bytes, &info);
                if let Some(stream) = self.streams.get_mut(usize::from(role - FIRST_STREAM)) {
                    stream.push(packet, &mut self.context);
                }
                self.deliver(sink);
            }
        }
    }

    /// Whether the packet is to be taken apart. Says what its counter tells.
    fn is_usable(&mut self, packet: Packet<'_>) -> bool {
        let stats = &mut self.context.stats;
        if packet.has_transport_error() {
            stats.transport_errors += 1;
            return false;
        }
        match self.counters.next(packet) {
            Continuity::Next => {}
            Continuity::Duplicate => {
                stats.duplicates += 1;
                return false;
            }
            Continuity::Gap => {
                stats.continuity_errors += 1;
                self.damage(packet.pid());
            }
            Continuity::Jump => self.damage(packet.pid()),
        }
        true
    }

    fn clock(&mut self, packet: Packet<'_>, sink: &mut impl TsSink) {
        if !packet.has_adaptation() || self.selection.pcr_pid() != Some(packet.pid()) {
            return;
        }
        let field = packet.adaptation().unwrap_or_default();
        let jump = field.pcr.and_then(|pcr| self.context.clock.pcr(pcr, field.discontinuity));
        if let Some(jump) = jump {
            sink.jump(jump);
        }
    }

    /// Takes a packet of the PAT; returns whether a section ended in it.
    fn pat(&mut self, packet: Packet<'_>) -> bool {
        let before = self.selection.pmt_pid();
        let whole = self.selection.pat(packet, &mut self.context.stats);
        let after = self.selection.pmt_pid();
        if before != after {
            if let Some(old) = before {
                self.assign(old, UNKNOWN);
            }
            if let Some(new) = after {
                self.assign(new, PMT);
            }
        }
        whole
    }

    /// Follows a new map: streams that it still has go on undisturbed.
    fn adopt(&mut self, pmt: &Pmt, sink: &mut impl TsSink) {
        let is_kept = |stream: &Stream| pmt.streams.iter().any(|entry| stream.is(entry));
        for stream in self.streams.iter_mut().filter(|stream| !is_kept(stream)) {
            stream.finish(&mut self.context);
        }
        self.deliver(sink);
        let mut old = std::mem::take(&mut self.streams);
        for stream in &old {
            self.assign(stream.pid(), UNKNOWN);
        }
        for entry in &pmt.streams {
            let role = self.roles.get(entry.pid.index()).copied().unwrap_or(NULL);
            // A PID has one meaning; that of tables is not up to a map.
            if matches!(role, PAT | PMT | NULL)
                || role >= FIRST_STREAM
                || self.streams.len() == MAX_STREAMS
            {
                continue;
            }
            let known = old.iter().position(|stream| stream.is(entry)).map(|at| old.remove(at));
            let Some(stream) = known.or_else(|| Stream::new(entry)) else { continue };
            let role = FIRST_STREAM + u8::try_from(self.streams.len()).unwrap_or(0);
            self.assign(entry.pid, role);
            self.streams.push(stream);
        }
        self.tell(sink);
    }

    /// Says what the tracks are, unless that has been said.
    fn tell(&mut self, sink: &mut impl TsSink) {
        let tracks: Tracks = self.streams.iter().map(Stream::track).collect();
        if self.told.as_ref() != Some(&tracks) {
            sink.tracks(&tracks);
            self.told = Some(tracks);
        }
    }

    fn assign(&mut self, pid: Pid, role: u8) {
        let Some(entry) = self.roles.get_mut(pid.index()) else { return };
        if matches!(*entry, PAT | NULL) {
            return;
        }
        let before = std::mem::replace(entry, role);
        let unknown = &mut self.context.stats.unknown_pids;
        if before == UNKNOWN && role != UNKNOWN {
            *unknown = unknown.saturating_sub(1);
        } else if role == UNKNOWN && before != UNKNOWN {
            *unknown += 1;
        }
    }

    fn count_unknown(&mut self, pid: Pid, role: u8) {
        self.context.stats.unknown_packets += 1;
        if role == UNSEEN {
            self.assign(pid, UNKNOWN);
        }
    }

    /// Fills in what is to be said of a packet of a track.
    fn describe(&self, packet: Packet<'_>, role: u8, info: &mut PacketInfo) {
        let index = usize::from(role - FIRST_STREAM);
        let Some(stream) = self.streams.get(index) else { return };
        info.kind = PacketKind::Track(stream.id());
        if !info.unit_start {
            return;
        }
        info.dts = stream.peek(packet, &self.context.clock);
        let is_video = |stream: &Stream| stream.kind() == MediaKind::Video;
        info.random_access = if is_video(stream) {
            stream.is_random_access(packet)
        } else {
            index == 0 && !self.streams.iter().any(is_video)
        };
    }

    /// Packets of this PID are missing.
    fn damage(&mut self, pid: Pid) {
        let role = self.roles.get(pid.index()).copied().unwrap_or(UNSEEN);
        match role {
            PAT | PMT => self.selection.damage(role == PAT),
            _ => {
                let index = usize::from(role).checked_sub(usize::from(FIRST_STREAM));
                if let Some(stream) = index.and_then(|index| self.streams.get_mut(index)) {
                    stream.damage(&mut self.context);
                }
            }
        }
    }

    /// Packets do not follow one another: the last one may not have been whole.
    fn lose(&mut self) {
        self.context.stats.resyncs += 1;
        if let Some(pid) = self.last.take() {
            self.damage(pid);
        }
    }

    /// Gives the sink what is complete, each track's configuration first.
    fn deliver(&mut self, sink: &mut impl TsSink) {
        if self.context.ready.is_empty() {
            return;
        }
        let mut ready = std::mem::take(&mut self.context.ready);
        for unit in ready.drain(..) {
            let Some(stream) = self.streams.iter_mut().find(|stream| stream.id() == unit.track)
            else {
                continue;
            };
            let is_known = stream.has_config();
            let before = stream.note(&unit);
            if !is_known {
                self.tell(sink);
            }
            if let Some(jump) = before.and_then(|from| jump_between(unit.track, from, unit.dts)) {
                sink.jump(jump);
            }
            self.context.stats.units += 1;
            sink.unit(unit);
        }
        self.context.ready = ready;
    }
}
