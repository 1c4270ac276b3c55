//! From bytes of MPEG-TS to a source: its units, and its packets as they came. What SRT and UDP have in common.

use crate::{
    container::{
        Chunk, Sink,
        ts::{Demuxer, Jump, PACKET_LEN, PacketInfo, Passthrough, Programme, TsMux, TsSink},
    },
    hub::{Original, Publisher},
    media::{AccessUnit, Tracks},
};

/// Publishes a transport stream.
#[derive(Debug)]
pub struct TsIngest {
    demuxer: Demuxer,
    target: Target,
}

#[derive(Debug)]
struct Target {
    publisher: Publisher,
    original: Original,
    passthrough: Passthrough,
    /// Room for what the passthrough gives.
    chunks: Vec<Chunk>,
}

impl TsIngest {
    /// Begins to publish.
    pub fn new(publisher: Publisher) -> Self {
        let original = publisher.original::<TsMux>();
        let mut passthrough = Passthrough::default();
        if publisher.is_successor() {
            passthrough.reconnect();
        }
        let target = Target { publisher, original, passthrough, chunks: Vec::new() };
        Self { demuxer: Demuxer::new(Programme::First), target }
    }

    /// Takes what arrived. It need not begin or end with a packet.
    pub fn push(&mut self, bytes: &[u8]) {
        self.target.publisher.add_received(bytes.len());
        self.demuxer.push(bytes, &mut self.target);
        self.target.flush();
    }

    /// Nothing more will arrive: gives out what is complete.
    pub fn finish(&mut self) {
        self.demuxer.finish(&mut self.target);
        self.target.flush();
    }

    /// Whether no other publisher has taken over.
    pub fn is_current(&self) -> bool {
        self.target.publisher.is_current()
    }

    /// As [`Publisher::exceeded_bps`].
    pub fn exceeded_bps(&self) -> Option<u64> {
        self.target.publisher.exceeded_bps()
    }
}

impl Target {
    /// What arrived together leaves together, and at once.
    fn flush(&mut self) {
        self.passthrough.flush(&mut self.chunks);
        for chunk in self.chunks.drain(..) {
            self.publisher.push(&self.original, chunk);
        }
    }
}

impl Sink for Target {
    fn tracks(&mut self, tracks: &Tracks) {
        self.publisher.tracks(tracks);
    }

    fn unit(&mut self, unit: AccessUnit) {
        self.publisher.unit(unit);
    }
}

impl TsSink for Target {
    fn packet(&mut self, packet: &[u8; PACKET_LEN], info: &PacketInfo) {
        self.passthrough.packet(packet, info, &mut self.chunks);
    }

    fn jump(&mut self, jump: Jump) {
        // One that the stream announces is marked in its packets already.
        if !jump.announced {
            self.passthrough.jump();
        }
    }
}
