//! What goes wrong on the way: streams joined in the middle, lost packets and bytes, garbage, wrong bits, ends.
//!
//! What is delivered from a stream that lost something must be what was sent, whole, at its time.

use crate::capture::{AAC, X264, X264_B, X265, capture};
use crate::check::is_sound;
use crate::collect::{Found, concat, demux, demux_programme, mux};
use std::collections::HashSet;
use thalweg_gateway::container::{Select, ts::Programme};
use thalweg_gateway::media::{AccessUnit, Codec};

/// A generator of numbers (xorshift64*), so that a run can be had again by its seed.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % limit
    }
}

fn key(unit: &AccessUnit) -> (u16, i64, i64, bool, &[u8]) {
    (unit.track.0, unit.dts.ticks(), unit.pts.ticks(), unit.random_access, &unit.payload)
}

/// Everything delivered was sent, and no more is missing than `allowed`.
fn is_part_of(found: &Found, all: &Found, allowed: usize, case: &str) {
    let sent: HashSet<_> = all.units().map(key).collect();
    for unit in found.units() {
        assert!(
            sent.contains(&key(unit)),
            "{case}: a unit of PID {:#x} that was never sent",
            unit.track.0
        );
    }
    let (count, total) = (found.units().count(), sent.len());
    assert!(count + allowed >= total, "{case}: {count} of {total} units are left");
}

#[test]
fn a_stream_joined_in_the_middle_begins_with_a_key_frame() {
    for codec in [X264, X264_B, X265] {
        let source = capture(4, &format!("{codec} {AAC}"));
        let all = demux(&source, 1_316);
        let video = all.of(0x100);
        for eighth in 1..6 {
            let joined = demux(&source[source.len() * eighth / 8 + eighth..], 1_316);
            let late = joined.of(0x100);
            assert!(late[0].0.random_access, "{codec}");
            let from = video.len() - late.len();
            assert!(
                late.iter().zip(&video[from..]).all(|(a, b)| a.0 == b.0),
                "{codec}: the rest of the stream"
            );
            assert!(joined.stats.unready_units > 0 || late.len() == video.len());
            assert!(joined.of(0x101).len() > 4);
        }
    }
}

#[test]
fn lost_packets_cost_their_own_units_only() {
    for (name, options) in [
        ("open", format!("{X264} {AAC}")),
        ("declared", format!("{X264} {AAC} -omit_video_pes_length 0")),
        ("b-frames", format!("{X264_B} {AAC} -pes_payload_size 0")),
        ("hevc", format!("{X265} -c:a libmp3lame -b:a 128k")),
        ("opus", format!("{X264} -c:a libopus -b:a 96k")),
        ("ac3", format!("{X264} -c:a ac3 -b:a 192k")),
    ] {
        let source = capture(4, &options);
        let all = demux(&source, 1_316);
        for seed in 1..=6_u64 {
            let mut random = Random(seed);
            let losses = 1 + random.below(30);
            let mut packets: Vec<&[u8]> = source.chunks(188).collect();
            for _ in 0..losses {
                // Behind the first tables and parameter sets.
                let at = 60 + random.below(packets.len() - 61);
                packets.remove(at);
            }
            let found = demux(&packets.concat(), 1_316);
            is_part_of(&found, &all, losses * 20, &format!("{name}, seed {seed}"));
        }
    }
}

#[test]
fn lost_bytes_and_garbage_cost_their_own_units_only() {
    let source = capture(4, &format!("{X264} {AAC}"));
    let all = demux(&source, 1_316);
    for seed in 1..=12_u64 {
        let mut random = Random(seed);
        let mut damaged = source.clone();
        for _ in 0..10 {
            let at = 12_000 + random.below(damaged.len() - 12_000);
            let len = random.below(400);
            if seed % 2 == 0 {
                let garbage: Vec<u8> = (0..len).map(|_| random.below(256) as u8).collect();
                damaged.splice(at..at, garbage);
            } else {
                damaged.drain(at..(at + len).min(damaged.len()));
            }
        }
        let found = demux(&damaged, damaged.len());
        assert!(found.stats.resyncs > 0, "seed {seed}");
        is_part_of(&found, &all, 10 * 25, &format!("seed {seed}"));
    }
}

#[test]
fn a_wrong_byte_anywhere_ends_nothing() {
    let small = "-vf scale=64:36 -b:v 40k";
    let cases = [
        ("h264", 1, format!("{X264_B} {small} {AAC} -b:a 32k")),
        ("hevc", 7, format!("{X265} {small} -c:a eac3 -b:a 32k")),
        ("latm", 3, "-vn -c:a aac -b:a 32k -mpegts_flags latm".to_owned()),
        ("opus", 3, "-vn -c:a libopus -b:a 32k".to_owned()),
    ];
    std::thread::scope(|scope| {
        for (name, step, options) in &cases {
            scope.spawn(move || flip_bytes(name, &capture(1, options), *step));
        }
    });
}

/// Flips bits of each byte in turn, or of each `step`th; which ones a seed says.
fn flip_bytes(name: &str, source: &[u8], step: usize) {
    let total = demux(source, 1_316).units().count();
    let mut random = Random(2_026);
    let mut wrong = source.to_owned();
    for at in (0..source.len()).step_by(step) {
        wrong[at] ^= 1 + random.below(255) as u8;
        let found = demux(&wrong, 1_316);
        // What is delivered can be muxed, whatever it is. That takes longer, so not with each.
        if at % 16 == 0 {
            concat(&mux(&found, Select::All));
        }
        // At worst it is the only parameter set of the only second, or the only map; or the length of a frame of sound,
        // which then seems to go on to the end.
        let (is_early, left) = (at < 188 * 20, found.units().count());
        assert!(is_early || left + 48 >= total, "{name}, byte {at}: {left} of {total} units");
        wrong[at] = source[at];
    }
}

#[test]
fn an_end_anywhere_is_an_end() {
    let source = capture(1, &format!("{X264_B} {AAC}"));
    let all = demux(&source, 1_316);
    let mut random = Random(7);
    for _ in 0..100 {
        let end = random.below(source.len());
        let found = demux(&source[..end], 1_316);
        let mut units = found.units();
        let last = all.units().count();
        // The last unit of each track may have been cut off.
        let sent: HashSet<_> = all.units().map(key).collect();
        let wrong = units.by_ref().filter(|unit| !sent.contains(&key(unit))).count();
        assert!(wrong <= 1, "{wrong} units of {last} were never sent, with an end at {end}");
    }
}

#[test]
fn noise_is_no_stream() {
    let mut random = Random(99);
    for _ in 0..20 {
        let noise: Vec<u8> = (0..50_000)
            .map(|n| if n % 188 == 0 { 0x47 } else { random.below(256) as u8 })
            .collect();
        let found = demux(&noise, 1_316);
        assert_eq!(found.units().count(), 0);
        assert!(found.stats.packets > 200);
    }
}

#[test]
fn tracks_that_come_and_go_are_told_and_the_others_go_on() {
    let both = capture(2, &format!("{X264} {AAC}"));
    // As an encoder that is told to drop its sound: another version of the tables, times that go on.
    let silent = capture(2, &format!("{X264} -an -tables_version 1 -output_ts_offset 2"));
    let found = demux(&[both, silent].concat(), 1_316);
    assert_eq!(found.tracks_now().len(), 1);
    // The last unit before is not known to be whole.
    assert_eq!(found.of(0x100).len(), 99);
    assert_eq!(found.jumps(), []);
    let out = concat(&mux(&found, Select::All));
    let again = demux(&out, 1_316);
    assert_eq!(again.tracks_now().len(), 1, "the output's tables follow");
    assert_eq!(again.of(0x100).len(), 99);
    assert_eq!(again.stats.continuity_errors, 0);
}

#[test]
fn streams_of_no_codec_of_ours_are_passed_over_and_counted() {
    let source = capture(2, &format!("{X264} {AAC} -map 0:v -map 1:a -map 0:v -c:v:1 mpeg2video"));
    let found = demux(&source, 1_316);
    let codecs: Vec<_> = found.tracks_now().iter().map(|track| track.codec).collect();
    assert_eq!(codecs, [Codec::H264, Codec::Aac]);
    assert!(found.stats.unknown_packets > 50);
    // The MPEG-2 video, and the service description that ffmpeg adds.
    assert_eq!(found.stats.unknown_pids, 2);
    assert_eq!(found.of(0x100).len(), 50);
}

#[test]
fn a_programme_without_picture_or_sound_is_no_error() {
    let source = capture(1, "-an -c:v mpeg2video");
    let found = demux(&source, 1_316);
    assert_eq!((found.tracks_now().len(), found.units().count()), (0, 0));
    assert!(found.events.len() > 10, "its packets are there to be passed on");
}

#[test]
fn a_programme_is_found_by_its_number() {
    let options = format!(
        "-map 0:v -map 1:a -map 0:v -map 1:a {X264} {AAC} -program program_num=7:st=0:st=1 -program program_num=9:st=2:st=3"
    );
    let source = capture(2, &options);
    for (programme, video) in
        [(Programme::First, 0x100), (Programme::Number(7), 0x100), (Programme::Number(9), 0x102)]
    {
        let found = demux_programme(&source, 1_316, programme);
        assert_eq!(found.tracks_now()[0].id.0, video, "{programme:?}");
        assert_eq!(found.of(video).len(), 50);
        is_sound(&concat(&mux(&found, Select::All)), 40);
    }
    assert_eq!(demux_programme(&source, 1_316, Programme::Number(8)).units().count(), 0);
}

#[test]
fn a_jump_of_the_times_is_told_before_the_first_unit_behind_it() {
    let first = capture(2, &format!("{X264} {AAC} -output_ts_offset 5000"));
    let second = capture(2, &format!("{X264} {AAC} -mpegts_flags initial_discontinuity"));
    let found = demux(&[first, second].concat(), 1_316);
    let jumps = found.jumps();
    // Of the clock, and of each track.
    assert_eq!(jumps.iter().map(|jump| jump.track.map(|id| id.0)).collect::<HashSet<_>>().len(), 3);
    assert!(jumps.iter().all(|jump| jump.from.ms() > 5_000_000 && jump.to.ms() < 10_000));
    assert!(jumps[0].announced && jumps[0].track.is_none());
    // The last unit before is not known to be whole.
    assert_eq!(found.of(0x100).len(), 99);
}
