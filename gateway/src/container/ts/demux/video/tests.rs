//! Frames whose fields are pictures of their own, which no encoder at hand writes.

use super::{
    super::{Context, Stats, clock::Clock, clock::Times},
    *,
};
use crate::media::Timestamp;

/// Writes bits, most significant first.
#[derive(Default)]
struct Writer(Vec<bool>);

impl Writer {
    fn bits(mut self, value: u32, width: u32) -> Self {
        self.0.extend((0..width).rev().map(|bit| value >> bit & 1 == 1));
        self
    }

    fn ue(self, value: u32) -> Self {
        let width = 32 - (value + 1).leading_zeros();
        self.bits(0, width - 1).bits(value + 1, width)
    }

    /// Behind a header byte, with the stop bit.
    fn nal(self, header: u8) -> Vec<u8> {
        let mut bits = self.bits(1, 1);
        while !bits.0.len().is_multiple_of(8) {
            bits = bits.bits(0, 1);
        }
        let byte = |bits: &[bool]| bits.iter().fold(0, |byte, &bit| byte << 1 | u8::from(bit));
        let mut nal = vec![0, 0, 0, 1, header];
        nal.extend(bits.0.chunks(8).map(byte));
        nal
    }
}

/// Main profile, 64 by 64, fields allowed, order by decoding.
fn sets() -> Vec<u8> {
    let sps = Writer::default().bits(77, 8).bits(0, 8).bits(30, 8).ue(0).ue(0).ue(2).ue(1);
    // One reference, no gaps; 4 by 2 macroblocks of a field; fields, not by macroblock, direct 8x8, no crop, no VUI.
    let sps = sps.bits(0, 1).ue(3).ue(1).bits(0, 1).bits(0, 1).bits(1, 1).bits(0, 1).bits(0, 1);
    let pps =
        Writer::default().ue(0).ue(0).bits(0, 2).ue(0).ue(0).ue(0).bits(0, 3).ue(0).ue(0).ue(0);
    [sps.nal(0x67), pps.bits(0, 3).nal(0x68)].concat()
}

/// A slice of a field, or of a frame, with something behind its header.
fn slice(frame: u32, bottom: Option<bool>, is_idr: bool) -> Vec<u8> {
    let head = Writer::default().ue(0).ue(if is_idr { 7 } else { 5 }).ue(0).bits(frame, 4);
    let head = match bottom {
        Some(bottom) => head.bits(1, 1).bits(u32::from(bottom), 1),
        None => head.bits(0, 1),
    };
    let head = if is_idr { head.ue(0) } else { head };
    let mut head = head.bits(0x5a5a, 16);
    for _ in 0..60 {
        head = head.bits(0xab, 8);
    }
    head.nal(if is_idr { 0x65 } else { 0x41 })
}

const DELIMITER: [u8; 6] = [0, 0, 0, 1, 9, 0xf0];

struct Bench {
    video: Video,
    context: Context,
}

impl Bench {
    fn new() -> Self {
        Self {
            video: Video::new(TrackId(1), Syntax::H264),
            context: Context {
                clock: Clock::new(),
                stats: Stats::default(),
                ready: Vec::new(),
                distrusted: Vec::new(),
            },
        }
    }

    /// A PES packet, stuffed at its end.
    fn pes(&mut self, ms: Option<i64>, parts: &[&[u8]]) {
        let times = ms.map(|ms| Times { dts: Timestamp::from_ms(ms), pts: Timestamp::from_ms(ms) });
        self.video.begin(times);
        for part in parts.concat().chunks(184) {
            self.video.data(part, &mut self.context);
        }
        self.video.hint(Hint::Stuffing, &mut self.context);
    }

    /// Times and numbers of NAL units of what has left since the last call.
    fn left(&mut self) -> Vec<(i64, usize, bool)> {
        let count = |unit: &AccessUnit| {
            let lengths = std::iter::successors(Some(0), |at: &usize| {
                let length = unit.payload.get(*at..*at + 4)?;
                Some(at + 4 + u32::from_be_bytes(length.try_into().unwrap()) as usize)
            });
            lengths.count() - 1
        };
        let units = self.context.ready.drain(..);
        units.map(|unit| (unit.dts.ms(), count(&unit), unit.random_access)).collect()
    }
}

#[test]
fn the_fields_of_a_frame_are_one_unit_in_two_pes_packets() {
    for delimiter in [&[][..], &DELIMITER] {
        let mut bench = Bench::new();
        bench.pes(Some(0), &[delimiter, &sets(), &slice(0, Some(false), true)]);
        bench.pes(Some(20), &[delimiter, &slice(0, Some(true), false)]);
        assert_eq!(bench.left(), []);
        bench.pes(Some(40), &[delimiter, &slice(1, Some(false), false)]);
        assert_eq!(bench.left(), [(0, 2, true)]);
        bench.pes(Some(60), &[delimiter, &slice(1, Some(true), false)]);
        assert_eq!(bench.left(), []);
        bench.pes(Some(80), &[delimiter, &slice(2, None, false)]);
        assert_eq!(bench.left(), [(40, 2, false)]);
        bench.video.finish(&mut bench.context);
        assert_eq!(bench.left(), [(80, 1, false)]);
        assert_eq!(bench.context.stats.early_contradictions, 0);
    }
}

#[test]
fn the_fields_of_a_frame_are_one_unit_in_one_pes_packet() {
    let mut bench = Bench::new();
    bench.pes(
        Some(0),
        &[&sets(), &slice(0, Some(false), true), &DELIMITER, &slice(0, Some(true), false)],
    );
    bench.pes(Some(40), &[&slice(1, Some(false), false), &slice(1, Some(true), false)]);
    assert_eq!(bench.left(), [(0, 2, true)]);
}

#[test]
fn a_field_whose_other_field_is_missing_is_a_unit() {
    let mut bench = Bench::new();
    bench.pes(Some(0), &[&DELIMITER, &sets(), &slice(0, Some(false), true)]);
    bench.pes(Some(40), &[&DELIMITER, &sets(), &slice(1, Some(false), false)]);
    assert_eq!(bench.left(), [(0, 1, true)]);
    bench.pes(Some(80), &[&DELIMITER, &slice(2, Some(false), false)]);
    assert_eq!(
        bench.left(),
        [(40, 1, false)],
        "what came between the slices belongs to the second"
    );
}

#[test]
fn fields_leave_early_when_both_are_there() {
    let mut bench = Bench::new();
    bench.pes(Some(0), &[&DELIMITER, &sets(), &slice(0, Some(false), true)]);
    for frame in 0..80 {
        let (number, ms) = (frame % 16, i64::from(frame) * 40);
        if frame > 0 {
            bench.pes(Some(ms), &[&DELIMITER, &slice(number, Some(false), false)]);
            let held = if frame > 32 { 0 } else { 1 };
            assert_eq!(bench.left().len(), held, "the frame before {frame}");
        }
        bench.pes(Some(ms + 20), &[&DELIMITER, &slice(number, Some(true), false)]);
        assert_eq!(
            bench.left().len(),
            usize::from(frame > 31),
            "frame {frame}, with its second field"
        );
    }
}

#[test]
fn a_unit_without_end_is_dropped_at_its_bound() {
    let mut bench = Bench::new();
    bench.pes(Some(0), &[&sets(), &slice(0, None, true)]);
    for _ in 0..2 * MAX_UNIT / 10_000 {
        bench.video.data(&vec![0xaa; 10_000], &mut bench.context);
        assert!(bench.video.stream.len() <= MAX_UNIT + 20_000);
    }
    assert_eq!(bench.context.stats.dropped_units, 1);
    bench.pes(Some(40), &[&slice(1, None, true)]);
    bench.pes(Some(80), &[&slice(2, None, false)]);
    assert_eq!(bench.left(), [(40, 1, true)]);
}
