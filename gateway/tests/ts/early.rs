//! A unit leaves as soon as it is complete: on the push of its last packet where that can be known, and never before.

use crate::capture::{AAC, X264, X264_B, capture};
use crate::collect::{Event, Found, demux};
use crate::craft::{Craft, Pes, nals, times};
use thalweg_gateway::container::ts::PacketKind;
use thalweg_gateway::media::AccessUnit;

/// PES packets in which a hint must have been right before it is believed.
const TRAINING: usize = 64;

/// What of a packet decides when its unit may leave.
struct Last {
    /// How many packets have been seen with the first of its PES packet.
    begun: usize,
    /// How many packets have been seen with it.
    seen: usize,
    /// Stuffed, and with neither a clock nor private data.
    stuffed: bool,
}

/// The last packet of each PES packet of the video PID, by a plain reading.
fn ends(bytes: &[u8]) -> Vec<Last> {
    let mut ends: Vec<Last> = Vec::new();
    for (n, packet) in bytes.chunks(188).enumerate() {
        if u16::from_be_bytes([packet[1], packet[2]]) & 0x1fff != 0x100 || packet[3] & 0x10 == 0 {
            continue;
        }
        let stuffed = match packet[3] & 0x20 != 0 {
            true => packet[4] == 0 || (packet[5] & 0x12 == 0 && packet[4] > 1) || packet[5] == 0,
            false => false,
        };
        let (seen, is_first) = (n + 1, packet[1] & 0x40 != 0);
        match ends.last_mut() {
            Some(end) if !is_first => *end = Last { begun: end.begun, seen, stuffed },
            _ => ends.push(Last { begun: seen, seen, stuffed }),
        }
    }
    ends
}

#[test]
fn units_of_ffmpeg_leave_with_their_last_packet_once_stuffing_is_trusted() {
    let source = capture(8, &format!("{X264} {AAC}"));
    let found = demux(&source, 188);
    let (units, ends) = (found.of(0x100), ends(&source));
    assert_eq!(units.len(), ends.len());
    let mut early = 0;
    // The last one has nothing behind it, and leaves at the latest with the end.
    for n in 0..units.len() - 1 {
        if n > TRAINING && ends[n].stuffed {
            assert_eq!(units[n].1, ends[n].seen, "unit {n} leaves with its last packet");
            early += 1;
        } else if n + 1 < TRAINING || !ends[n].stuffed {
            assert!(units[n].1 > ends[n].seen, "unit {n} leaves with the next one");
        }
    }
    assert!(early > 100, "{early} of {} left early", units.len());
    assert_eq!(found.stats.early_contradictions, 0);
}

#[test]
fn pictures_in_one_packet_with_the_clock_leave_with_the_next_one_unless_their_length_is_declared() {
    // Nothing moves, so that a picture fits the packet that also carries the clock.
    let still = "-c:v libx264 -preset ultrafast -bf 0 -g 1000 -qp 40 -an -pcr_period 1";
    for (length, is_declared) in [("1", false), ("0", true)] {
        let source =
            capture(6, &format!("-vf loop=-1:1 -t 6 {still} -omit_video_pes_length {length}"));
        let found = demux(&source, 188);
        let (units, ends) = (found.of(0x100), ends(&source));
        let lone = (TRAINING + 1..units.len() - 1)
            .filter(|&n| !ends[n].stuffed && ends[n].seen == ends[n].begun)
            .collect::<Vec<_>>();
        assert!(lone.len() > 20, "{} pictures in one packet with a clock", lone.len());
        for n in lone {
            let leaves_with_its_packet = units[n].1 == ends[n].seen;
            assert_eq!(leaves_with_its_packet, is_declared, "unit {n}");
        }
    }
}

#[test]
fn units_of_declared_length_leave_with_their_last_packet() {
    let source = capture(6, &format!("{X264} {AAC} -omit_video_pes_length 0"));
    let found = demux(&source, 188);
    let (units, ends) = (found.of(0x100), ends(&source));
    for n in TRAINING + 1..units.len() {
        assert_eq!(units[n].1, ends[n].seen, "unit {n}");
    }
}

#[test]
fn audio_frames_leave_with_their_last_byte() {
    let source = capture(2, &format!("-vn {AAC} -pes_payload_size 0"));
    let found = demux(&source, 188);
    let (units, ends) = (found.of(0x100), ends(&source));
    assert_eq!(units.len(), ends.len());
    for (n, (unit, end)) in units.iter().zip(&ends).enumerate() {
        assert_eq!(unit.1, end.seen, "frame {n}");
    }
}

/// A capture without B-frames to be laid out anew, and what it consists of.
fn units(options: &str) -> Found {
    demux(&capture(6, &format!("{options} -an")), 1_316)
}

/// Lays units out as `lay` says; what comes back, and how many packets there were after each.
fn relay(source: &Found, lay: impl Fn(&mut Craft, usize, &AccessUnit)) -> (Found, Vec<usize>) {
    let units: Vec<_> = source.units().collect();
    let mut craft = Craft::new(&source.tracks_now(), units[0]);
    let mut ends = Vec::new();
    for (n, unit) in units.iter().enumerate() {
        lay(&mut craft, n, unit);
        ends.push(craft.packets());
    }
    (demux(&craft.bytes, 188), ends)
}

#[test]
fn no_delimiters_are_needed() {
    let source = units(X264_B);
    for delimiter in [false, true] {
        let (found, ends) = relay(&source, |craft, _, unit| {
            let pes = Pes { times: times(unit), ..Pes::default() };
            craft.pes(&nals(unit, delimiter).concat(), pes);
        });
        assert!(found.units().eq(source.units()), "delimiters: {delimiter}");
        let on_time =
            found.of(0x100).iter().zip(&ends).filter(|(unit, end)| unit.1 == **end).count();
        assert!(on_time > 80, "{on_time} of {} on time", ends.len());
        assert_eq!(found.stats.early_contradictions, 0);
    }
}

#[test]
fn stuffing_amid_units_is_never_believed() {
    let source = units(X264);
    let (found, ends) = relay(&source, |craft, _, unit| {
        let pes = Pes { times: times(unit), stuffed: Some(2), ..Pes::default() };
        craft.pes(&nals(unit, true).concat(), pes);
    });
    assert!(found.units().eq(source.units()));
    assert_eq!((found.stats.early_ends, found.stats.early_contradictions), (0, 1));
    let last = ends.len() - 1;
    assert!(found.of(0x100).iter().zip(&ends).take(last).all(|(unit, end)| unit.1 > *end));
}

#[test]
fn stuffing_amid_a_unit_after_training_costs_one_unit_and_all_trust() {
    let source = units(X264);
    let odd = 100;
    let (found, ends) = relay(&source, |craft, n, unit| {
        let stuffed = (n == odd).then_some(1);
        craft
            .pes(&nals(unit, true).concat(), Pes { times: times(unit), stuffed, ..Pes::default() });
    });
    assert_eq!(found.stats.early_contradictions, 1);
    let units = found.of(0x100);
    assert_eq!(units.len(), source.units().count());
    for (n, ((unit, seen), original)) in units.iter().zip(source.units()).enumerate() {
        assert_eq!(*unit == original, n != odd, "unit {n}");
        assert_eq!(unit.dts, original.dts);
        if n > odd && n + 1 < units.len() {
            assert!(*seen > ends[n], "unit {n} waits for the next one");
        }
    }
}

#[test]
fn two_units_in_a_pes_packet_are_told_apart() {
    let source = units(X264);
    let all: Vec<_> = source.units().collect();
    for delimiter in [false, true] {
        let mut craft = Craft::new(&source.tracks_now(), all[0]);
        let mut begins = Vec::new();
        for pair in all.chunks(2) {
            let first = nals(pair[0], delimiter).concat();
            // Header and first unit; the packet with the first bytes of the second ends the first.
            begins.push(craft.packets() + (19 + first.len() + 6) / 184 + 1);
            let second = pair.get(1).map(|unit| nals(unit, delimiter).concat());
            let payload = [first, second.unwrap_or_default()].concat();
            craft.pes(&payload, Pes { times: times(pair[0]), ..Pes::default() });
        }
        let found = demux(&craft.bytes, 188);
        let units = found.of(0x100);
        assert_eq!(units.len(), all.len());
        for (n, ((unit, seen), original)) in units.iter().zip(&all).enumerate() {
            assert_eq!(unit.payload, original.payload, "unit {n}");
            assert_eq!((unit.pts, unit.dts), (original.pts, original.dts), "times of unit {n}");
            if n % 2 == 0 && n + 1 < units.len() {
                assert!(*seen <= begins[n / 2], "unit {n} leaves where the next one begins");
            }
        }
    }
}

#[test]
fn a_unit_in_two_pes_packets_is_one() {
    let source = units(X264_B);
    // Cut between slices, and in the middle of one.
    for (name, cut_slice) in [("between", false), ("within", true)] {
        for declared in [false, true] {
            let (found, _) = relay(&source, |craft, _, unit| {
                let nals = nals(unit, true);
                let (front, last) = nals.split_at(nals.len() - 1);
                let (mut front, last) = (front.concat(), &last[0][..]);
                let (within, rest) = last.split_at(if cut_slice { last.len() / 2 } else { 0 });
                front.extend(within);
                craft.pes(&front, Pes { times: times(unit), declared, ..Pes::default() });
                craft.pes(rest, Pes { declared, ..Pes::default() });
            });
            assert!(found.units().eq(source.units()), "cut {name} slices, declared: {declared}");
            assert_eq!(found.stats.early_ends, 0);
        }
    }
}

#[test]
fn a_unit_in_two_pes_packets_after_training_costs_one_unit_and_all_trust() {
    let source = units(X264_B);
    let odd = 100;
    let (found, _) = relay(&source, |craft, n, unit| {
        let nals = nals(unit, true);
        let (front, last) = nals.split_at(if n == odd { nals.len() - 1 } else { nals.len() });
        craft.pes(&front.concat(), Pes { times: times(unit), ..Pes::default() });
        if n == odd {
            craft.pes(&last.concat(), Pes::default());
        }
    });
    assert_eq!(found.stats.early_contradictions, 1);
    let same = found.units().zip(source.units()).filter(|(a, b)| a == b).count();
    assert_eq!((found.units().count(), same), (source.units().count(), source.units().count() - 1));
}

#[test]
fn packets_say_where_a_reader_may_begin() {
    let source = capture(4, &format!("{X264} {AAC}"));
    let found = demux(&source, 1_316);
    let mut marks = Vec::new();
    for event in &found.events {
        if let Event::Packet(info) = event
            && info.random_access
        {
            assert!(matches!(info.kind, PacketKind::Track(_)) && info.unit_start);
            marks.push(info.dts.unwrap());
        }
    }
    let keys: Vec<_> = found
        .units()
        .filter(|unit| unit.track.0 == 0x100 && unit.random_access)
        .map(|unit| unit.dts)
        .collect();
    assert_eq!(marks, keys);
    assert_eq!(keys.len(), 4);
}
