//! From bytes of MPEG-TS to a source: its units, and its packets as they came. What SRT and UDP have in common.

use crate::{
    container::{
        Chunk, Sink,
        ts::{Demuxer, Jump, PACKET_LEN, PacketInfo, Passthrough, Programme, Stats, TsMux, TsSink},
    },
    hub::{Figures, Original, Publisher},
    media::{AccessUnit, Tracks},
};
use std::{cell::Cell, rc::Rc};

/// Publishes a transport stream.
#[derive(Debug)]
pub struct TsIngest {
    demuxer: Demuxer,
    /// What the demuxer has counted, for whoever asks the source.
    counted: Rc<Cell<Stats>>,
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
        let counted = Rc::new(Cell::new(Stats::default()));
        let seen = Rc::clone(&counted);
        publisher.set_detail(move || figures(&seen.get()));
        let original = publisher.original::<TsMux>();
        let mut passthrough = Passthrough::default();
        if publisher.is_successor() {
            passthrough.reconnect();
        }
        let target = Target { publisher, original, passthrough, chunks: Vec::new() };
        Self { demuxer: Demuxer::new(Programme::First), counted, target }
    }

    /// Takes what arrived. It need not begin or end with a packet.
    pub fn push(&mut self, bytes: &[u8]) {
        self.target.publisher.add_received(bytes.len());
        self.demuxer.push(bytes, &mut self.target);
        self.counted.set(*self.demuxer.stats());
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

/// What the API shows of it.
fn figures(stats: &Stats) -> Figures {
    #[expect(clippy::cast_precision_loss, reason = "figures for people; 2^53 packets are far")]
    let figure = |(name, count)| (name, count as f64);
    [
        ("ts_packets", stats.packets),
        ("ts_resyncs", stats.resyncs),
        ("ts_continuity_errors", stats.continuity_errors),
        ("ts_duplicates", stats.duplicates),
        ("ts_transport_errors", stats.transport_errors),
        ("ts_scrambled", stats.scrambled),
        ("ts_psi_errors", stats.psi_errors),
        ("ts_pes_errors", stats.pes_errors),
        ("ts_parameter_errors", stats.parameter_errors),
        ("ts_units", stats.units),
        ("ts_dropped_units", stats.dropped_units),
        ("ts_unready_units", stats.unready_units),
        ("ts_early_ends", stats.early_ends),
        ("ts_early_contradictions", stats.early_contradictions),
        ("ts_unknown_pids", stats.unknown_pids),
        ("ts_unknown_packets", stats.unknown_packets),
    ]
    .map(figure)
    .into()
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
