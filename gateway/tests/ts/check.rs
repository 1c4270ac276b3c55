//! What others say of a transport stream: ffprobe of its packets, mpeg2ts-reader of its counters, and a plain reading
//! of its clock and tables.

use crate::capture::{file, run};
use mpeg2ts_reader::demultiplex;
use oracle::Context;
use std::collections::BTreeMap;

/// A packet as ffprobe sees it, times in ticks of 90 kHz.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Probed {
    pub(crate) stream: usize,
    pub(crate) pts: i64,
    pub(crate) dts: i64,
    pub(crate) key: bool,
    pub(crate) size: usize,
}

/// All packets of a file. ffprobe must have nothing to say.
pub(crate) fn probe(name: &str, bytes: &[u8]) -> Vec<Probed> {
    let path = file(name, bytes);
    let entries = "packet=stream_index,pts,dts,size,flags";
    let args =
        ["-v", "warning", "-show_entries", entries, "-of", "csv=p=0", path.to_str().unwrap()];
    let (out, said) = run("ffprobe", &args, &[]);
    assert_eq!(said, "", "{name}");
    let out = String::from_utf8(out).unwrap();
    let line = |line: &str| {
        let fields: Vec<&str> = line.split(',').collect();
        Some(Probed {
            stream: fields.first()?.parse().ok()?,
            pts: fields.get(1)?.parse().ok()?,
            dts: fields.get(2)?.parse().ok()?,
            size: fields.get(3)?.parse().ok()?,
            key: fields.get(4)?.starts_with('K'),
        })
    };
    out.lines().filter(|text| !text.is_empty()).map(|text| line(text).expect(text)).collect()
}

/// ffmpeg decodes it all, and has nothing to say.
pub(crate) fn decodes_silently(name: &str, bytes: &[u8]) {
    let path = file(name, bytes);
    let args = ["-v", "warning", "-nostdin", "-i", path.to_str().unwrap(), "-f", "null", "-"];
    let (_, said) = run("ffmpeg", &args, &[]);
    assert_eq!(said, "", "{name}");
}

/// Clock references and tables are no further apart than they may be; lengths of PES packets are right, counters
/// continuous.
pub(crate) fn is_sound(bytes: &[u8], pcr_ms: i64) {
    assert_eq!(bytes.len() % 188, 0);
    let times = Times::read(bytes);
    assert!(times.pcrs.len() > 2 && times.tables.len() > 2);
    for pair in times.pcrs.windows(2) {
        let step = (pair[1] - pair[0]).rem_euclid((1 << 33) * 300);
        assert!(step > 0 && step <= pcr_ms * 27_000, "{} ticks of 27 MHz between PCRs", step);
    }
    for pair in times.tables.windows(2) {
        let step = (pair[1] - pair[0]).rem_euclid((1 << 33) * 300);
        assert!(step <= 100 * 27_000, "{} ms between tables", step / 27_000);
    }
    let seen = read(bytes);
    assert_eq!(seen.continuity_errors, 0);
    assert!(seen.pes_packets > 10);
}

/// The clock references of a stream with one programme, and what the clock was at each PAT.
struct Times {
    pcrs: Vec<i64>,
    tables: Vec<i64>,
}

impl Times {
    fn read(bytes: &[u8]) -> Self {
        let mut times = Self { pcrs: Vec::new(), tables: Vec::new() };
        for packet in bytes.chunks(188) {
            assert_eq!(packet[0], 0x47);
            let pid = u16::from_be_bytes([packet[1], packet[2]]) & 0x1fff;
            if packet[3] & 0x20 != 0 && packet[4] >= 7 && packet[5] & 0x10 != 0 {
                let high = u32::from_be_bytes(packet[6..10].try_into().unwrap());
                let base = i64::from(high) << 1 | i64::from(packet[10] >> 7);
                let extension = i64::from(packet[10] & 1) << 8 | i64::from(packet[11]);
                times.pcrs.push(base * 300 + extension);
            }
            if pid == 0 {
                times.tables.extend(times.pcrs.last());
            }
        }
        times
    }
}

/// What mpeg2ts-reader found.
#[derive(Default)]
pub(crate) struct Seen {
    pub(crate) continuity_errors: usize,
    pub(crate) pes_packets: usize,
    /// Stream types, by PID.
    pub(crate) types: BTreeMap<u16, u8>,
}

pub(crate) fn read(bytes: &[u8]) -> Seen {
    let mut context = Context::new();
    let mut reader = demultiplex::Demultiplex::new(&mut context);
    reader.push(&mut context, bytes);
    context.seen
}

/// The oracle's wiring. Its macro makes public types.
#[expect(unreachable_pub, reason = "the macro demands it")]
mod oracle {
    use super::Seen;
    use mpeg2ts_reader::{StreamType, demultiplex, packet_filter_switch, pes, psi};

    packet_filter_switch! {
        Filter<Context> {
            Pes: pes::PesPacketFilter<Context, Counter>,
            Pat: demultiplex::PatPacketFilter<Context>,
            Pmt: demultiplex::PmtPacketFilter<Context>,
            Null: demultiplex::NullPacketFilter<Context>,
        }
    }

    pub struct Context {
        changeset: demultiplex::FilterChangeset<Filter>,
        pub(super) seen: Seen,
    }

    impl Context {
        pub(super) fn new() -> Self {
            Self { changeset: demultiplex::FilterChangeset::default(), seen: Seen::default() }
        }
    }

    impl demultiplex::DemuxContext for Context {
        type F = Filter;

        fn filter_changeset(&mut self) -> &mut demultiplex::FilterChangeset<Filter> {
            &mut self.changeset
        }

        fn construct(&mut self, request: demultiplex::FilterRequest<'_, '_>) -> Filter {
            match request {
                demultiplex::FilterRequest::ByPid(psi::pat::PAT_PID) => {
                    Filter::Pat(demultiplex::PatPacketFilter::default())
                }
                demultiplex::FilterRequest::ByStream { stream_type, stream_info, .. } => {
                    let StreamType(kind) = stream_type;
                    self.seen.types.insert(stream_info.elementary_pid().into(), kind);
                    Filter::Pes(pes::PesPacketFilter::new(Counter))
                }
                demultiplex::FilterRequest::Pmt { pid, program_number } => {
                    Filter::Pmt(demultiplex::PmtPacketFilter::new(pid, program_number))
                }
                _ => Filter::Null(demultiplex::NullPacketFilter::default()),
            }
        }
    }

    pub struct Counter;

    impl pes::ElementaryStreamConsumer<Context> for Counter {
        fn start_stream(&mut self, _: &mut Context) {}

        fn begin_packet(&mut self, context: &mut Context, header: pes::PesHeader<'_>) {
            assert!(matches!(header.contents(), pes::PesContents::Parsed(Some(_))));
            context.seen.pes_packets += 1;
        }

        fn continue_packet(&mut self, _: &mut Context, _: &[u8]) {}

        fn end_packet(&mut self, _: &mut Context) {}

        fn continuity_error(&mut self, context: &mut Context) {
            context.seen.continuity_errors += 1;
        }
    }
}
