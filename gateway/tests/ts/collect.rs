//! Sinks that keep what they get, and the way through demuxer and muxer.

use thalweg_gateway::container::ts::{
    Demuxer, Jump, PACKET_LEN, PacketInfo, Programme, Stats, TsMux, TsSink,
};
use thalweg_gateway::container::{Chunk, Mux, Select, Sink};
use thalweg_gateway::media::{AccessUnit, Tracks};

/// Everything that a demuxer found, in order.
#[derive(Default)]
pub(crate) struct Found {
    pub(crate) events: Vec<Event>,
    pub(crate) stats: Stats,
    /// Packets so far.
    packets: usize,
}

pub(crate) enum Event {
    Tracks(Tracks),
    /// The unit, and how many packets had been seen.
    Unit(AccessUnit, usize),
    Packet(PacketInfo),
    Jump(Jump),
}

impl Sink for Found {
    fn tracks(&mut self, tracks: &Tracks) {
        self.events.push(Event::Tracks(tracks.clone()));
    }

    fn unit(&mut self, unit: AccessUnit) {
        let tracks = self.tracks_now();
        let known = tracks.find(unit.track).expect("tracks come before their units");
        assert!(known.config.is_some(), "a configuration comes before its units");
        self.events.push(Event::Unit(unit, self.packets));
    }
}

impl TsSink for Found {
    fn packet(&mut self, _: &[u8; PACKET_LEN], info: &PacketInfo) {
        self.packets += 1;
        self.events.push(Event::Packet(*info));
    }

    fn jump(&mut self, jump: Jump) {
        self.events.push(Event::Jump(jump));
    }
}

impl Found {
    pub(crate) fn units(&self) -> impl Iterator<Item = &AccessUnit> {
        self.events.iter().filter_map(|event| match event {
            Event::Unit(unit, _) => Some(unit),
            _ => None,
        })
    }

    /// The units of the track with this PID, each with the number of packets that had been seen when it came.
    pub(crate) fn of(&self, pid: u16) -> Vec<(&AccessUnit, usize)> {
        let mut units = Vec::new();
        for event in &self.events {
            match event {
                Event::Unit(unit, seen) if unit.track.0 == pid => units.push((unit, *seen)),
                _ => {}
            }
        }
        units
    }

    pub(crate) fn tracks_now(&self) -> Tracks {
        let tracks = self.events.iter().rev().find_map(|event| match event {
            Event::Tracks(tracks) => Some(tracks.clone()),
            _ => None,
        });
        tracks.unwrap_or_default()
    }

    pub(crate) fn jumps(&self) -> Vec<Jump> {
        let jump = |event: &Event| match event {
            Event::Jump(jump) => Some(*jump),
            _ => None,
        };
        self.events.iter().filter_map(jump).collect()
    }
}

/// Demuxes `bytes`, pushed in pieces of `piece` bytes.
pub(crate) fn demux(bytes: &[u8], piece: usize) -> Found {
    demux_programme(bytes, piece, Programme::First)
}

pub(crate) fn demux_programme(bytes: &[u8], piece: usize, programme: Programme) -> Found {
    let mut demuxer = Demuxer::new(programme);
    let mut found = Found::default();
    for piece in bytes.chunks(piece) {
        demuxer.push(piece, &mut found);
    }
    demuxer.finish(&mut found);
    found.stats = *demuxer.stats();
    found
}

/// Muxes what was found.
pub(crate) fn mux(found: &Found, select: Select) -> Vec<Chunk> {
    let mut mux = TsMux::new(select);
    let mut chunks = Vec::new();
    for event in &found.events {
        match event {
            Event::Tracks(tracks) => mux.tracks(tracks),
            Event::Unit(unit, _) => mux.unit(unit, &mut chunks),
            Event::Packet(_) | Event::Jump(_) => {}
        }
    }
    chunks
}

pub(crate) fn concat(chunks: &[Chunk]) -> Vec<u8> {
    chunks.iter().flat_map(|chunk| chunk.parts.concat()).collect()
}
