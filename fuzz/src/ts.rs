//! The transport stream demuxer, on bytes as they come.
//!
//! The first byte decides which muxer gets the units and how the rest is cut into pushes.

use crate::{
    outputs::Outputs,
    script::{Script, pieces},
};
use thalweg_gateway::container::ts::{Demuxer, Programme, Stats};

pub(crate) fn run(input: &[u8]) {
    let mut script = Script(input);
    let seed = script.byte();
    let bytes = script.0;
    let mut demuxer = Demuxer::new(Programme::First);
    let mut outputs = Outputs::new(seed);
    let mut before = *demuxer.stats();
    for piece in pieces(bytes, seed) {
        demuxer.push(piece, &mut outputs);
        let after = *demuxer.stats();
        assert_counts_rise(&before, &after);
        before = after;
    }
    demuxer.finish(&mut outputs);
    let stats = *demuxer.stats();
    assert_eq!(outputs.packets as u64, stats.packets, "every packet is passed on");
    assert_eq!(outputs.units.len() as u64, stats.units);
    assert!(outputs.packets * 188 <= bytes.len());
    outputs.finish(bytes.len());
}

/// No counter goes back; that of unknown PIDs may, when a new map names them.
pub(crate) fn assert_counts_rise(before: &Stats, after: &Stats) {
    let counts = |stats: &Stats| {
        [
            stats.packets,
            stats.resyncs,
            stats.continuity_errors,
            stats.duplicates,
            stats.transport_errors,
            stats.scrambled,
            stats.psi_errors,
            stats.pes_errors,
            stats.parameter_errors,
            stats.units,
            stats.dropped_units,
            stats.unready_units,
            stats.early_ends,
            stats.early_contradictions,
            stats.unknown_packets,
        ]
    };
    let (before, after) = (counts(before), counts(after));
    assert!(before.iter().zip(&after).all(|(b, a)| b <= a), "{before:?} then {after:?}");
}
