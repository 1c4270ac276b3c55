//! Seeds of the transport stream demuxer: clips of a few pictures, as they are and as scripts of the target `pes`.

use crate::Corpus;
use std::{collections::BTreeMap, fs, path::Path, process::Command};

/// Runs ffmpeg, which writes `name` in `folder`; its bytes.
pub(crate) fn ffmpeg(folder: &Path, name: &str, arguments: &str) -> Vec<u8> {
    let path = folder.join(name);
    let output = Command::new("ffmpeg")
        .args(["-hide_banner", "-v", "error", "-y"])
        .args(arguments.split_whitespace())
        .arg(&path)
        .output()
        .expect("ffmpeg is installed");
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "ffmpeg {arguments} {name}: {complaints}");
    fs::read(&path).expect("ffmpeg wrote it")
}

pub(crate) const PICTURES: &str = "-f lavfi -i testsrc2=size=64x48:rate=10";
pub(crate) const SOUND: &str = "-f lavfi -i sine=sample_rate=48000";
pub(crate) const X264: &str = "-c:v libx264 -preset ultrafast -g 3 -x264-params threads=1";

pub(crate) fn transport_streams(folder: &Path, corpus: &Corpus) {
    let tail = "-t 0.6 -flags bitexact -fflags bitexact -muxrate 0 -f mpegts";
    let x265 = "-c:v libx265 -preset ultrafast -x265-params log-level=none:keyint=3:pools=none";
    let clips = [
        (
            "h264_aac",
            format!(
                "{PICTURES} {SOUND} {X264} -c:a aac -b:a 16k -metadata:s:1 language=deu {tail}"
            ),
        ),
        ("h264_b_frames", format!("{PICTURES} -c:v libx264 -bf 2 -x264-params threads=1 {tail}")),
        ("h264_interlaced", format!("{PICTURES} {X264}:tff=1 -flags +ildct+ilme {tail}")),
        (
            "h264_open_pes_latm",
            format!(
                "{PICTURES} {SOUND} {X264} -c:a aac -b:a 16k -pes_payload_size 0 -mpegts_flags latm {tail}"
            ),
        ),
        ("hevc_ac3", format!("{PICTURES} {SOUND} {x265} -c:a ac3 -b:a 32k {tail}")),
        ("mp2", format!("{SOUND} -c:a mp2 -b:a 32k {tail}")),
        ("mp3", format!("{SOUND} -c:a libmp3lame -b:a 32k {tail}")),
        ("eac3", format!("{SOUND} -c:a eac3 -b:a 32k {tail}")),
        ("opus", format!("{SOUND} -c:a libopus -b:a 16k {tail}")),
        ("aac_44100_mono", format!("-f lavfi -i sine=sample_rate=44100 -c:a aac -b:a 16k {tail}")),
    ];
    // The first byte of a seed chooses a muxer.
    for (first, (name, arguments)) in (0..).zip(&clips) {
        let clip = ffmpeg(folder, &format!("{name}.ts"), arguments);
        let clip = &clip[..clip.len().min(SEED_MAX / 188 * 188)];
        corpus.put("ts", name, &[&[first], clip].concat());
        corpus.put("pes", name, &[&[first], &script(clip)[..]].concat());
    }
    corpus.put("pes", "tables", &[&[2], &tables()[..]].concat());
    let clip = &fs::read(folder.join("h264_aac.ts")).expect("it was just made")[..];
    let packets: Vec<&[u8]> = clip.chunks(188).collect();
    let timed: Vec<u8> =
        packets.iter().take(20).flat_map(|p| [&[0x10, 0x11, 0x12, 0x13], *p].concat()).collect();
    corpus.put("ts", "packets_of_192_bytes", &[&[1], &timed[..]].concat());
    let damaged: Vec<u8> = packets
        .iter()
        .take(30)
        .enumerate()
        .flat_map(|(n, packet)| match n {
            // One lost, one that lost its middle, garbage in front of one.
            7 => Vec::new(),
            12 => [&packet[..70], &packet[100..]].concat(),
            18 => [&[0x47, 0, 1, 2, 0x47][..], packet].concat(),
            _ => packet.to_vec(),
        })
        .collect();
    corpus.put("ts", "damaged", &[&[2], &damaged[..]].concat());
}

/// Tables with every descriptor that is understood, a new version of the map, and short PES packets: a script for `pes`.
fn tables() -> Vec<u8> {
    let pat = [0, 0xb0, 0, 0, 1, 0xc1, 0, 0, 0, 1, 0xf0, 0, 0, 2, 0xe1, 5];
    let map = |version: u8, streams: &[&[u8]]| {
        let head = [2, 0xb0, 0, 0, 1, 0xc1 | version << 1, 0, 0, 0xe1, 0, 0xf0, 0];
        [&head, &streams.concat()[..]].concat()
    };
    let h264 = [0x1b, 0xe1, 0, 0xf0, 0];
    let aac = b"\x0f\xe1\x01\xf0\x06\x0a\x04deu\0";
    let opus = b"\x06\xe1\x02\xf0\x0a\x05\x04Opus\x7f\x02\x80\x02";
    let ac3 = b"\x06\xe1\x03\xf0\x03\x6a\x01\0";
    let eac3 = b"\x06\xe1\x04\xf0\x06\x05\x04EAC3";
    let times = |flags: u8, times: &[u8], payload: &[u8]| {
        [&[0, 0, 1, 0xe0, 0, 0, 0x84, flags, times.len() as u8], times, payload].concat()
    };
    let pts = [0x21, 0, 1, 0, 1];
    let both = [0x31, 0, 1, 0x23, 0x45, 0x11, 0, 1, 0, 1];
    let sound = [0, 0, 1, 0xc0, 0, 21, 0x80, 0x80, 5, 0x21, 0, 1, 0, 1];
    let frame = [0xff, 0xf1, 0x4c, 0x80, 1, 0x7f, 0xfc, 1, 2, 3, 4];
    let records: [(u8, Vec<u8>); 9] = [
        (0, pat.to_vec()),
        (1, map(0, &[&h264, aac, opus])),
        (2, times(0x80, &pts, &[0, 0, 0, 1, 9, 0xf0, 0, 0, 1, 0x65, 0x88, 0x80])),
        (2, times(0xc0, &both, &[0, 0, 1, 0x41, 0x9a, 1, 0, 0, 1, 9, 0xf0, 0, 0, 1, 0x41, 0x9a])),
        (3, [&sound[..], &frame].concat()),
        (3 | 0x08, frame.to_vec()),
        (4, times(0x80, &pts, &[0x7f, 0xe0, 4, 0xfc, 0xff, 0xfe, 0])),
        (1, map(1, &[&h264, ac3, eac3])),
        (5, times(0x80, &pts, &[0x0b, 0x77, 0, 0, 0, 0x40, 0x20])),
    ];
    let record = |(head, piece): &(u8, Vec<u8>)| {
        [&[*head], &u16::try_from(piece.len()).expect("it is short").to_be_bytes()[..], piece]
            .concat()
    };
    records.iter().flat_map(record).collect()
}

/// How long a clip may be; it need not be whole.
const SEED_MAX: usize = 8 << 10;

/// A transport stream as a script of the target `pes`, see there. The map's PID becomes 0x1000, which it is already.
fn script(clip: &[u8]) -> Vec<u8> {
    let mut pending: BTreeMap<u16, Vec<u8>> = BTreeMap::new();
    let mut out = Vec::new();
    for packet in clip.chunks_exact(188) {
        let pid = u16::from_be_bytes([packet[1] & 0x1f, packet[2]]);
        let Some(to) = to(pid) else { continue };
        let has_field = packet[3] & 0x20 != 0;
        let start = if has_field { 5 + usize::from(packet[4]) } else { 4 };
        if packet[1] & 0x40 != 0 {
            flush(to, pending.remove(&pid), &mut out);
            let clock = has_field && packet[4] >= 7 && packet[5] & 0x10 != 0;
            let record = pending.entry(pid).or_default();
            record.push(to | u8::from(clock) << 6);
            if clock {
                record.extend_from_slice(&packet[6..12]);
            }
        }
        if let Some(record) = pending.get_mut(&pid) {
            record.extend_from_slice(&packet[start.min(188)..]);
        }
    }
    for (pid, record) in pending {
        flush(to(pid).expect("only such are kept"), Some(record), &mut out);
    }
    out
}

/// What a record's head says of this PID.
fn to(pid: u16) -> Option<u8> {
    match pid {
        0 => Some(0),
        0x1000 => Some(1),
        0x100..=0x105 => u8::try_from(2 + pid - 0x100).ok(),
        _ => None,
    }
}

/// Appends a record: puts the length before its piece.
fn flush(to: u8, record: Option<Vec<u8>>, out: &mut Vec<u8>) {
    let Some(record) = record else { return };
    let (head, piece) = record.split_at(if record[0] & 0x40 != 0 { 7 } else { 1 });
    let piece = if to < 2 {
        // Without pointer, CRC and stuffing: the target makes them.
        let len = 3 + (usize::from(piece[2] & 0x0f) << 8 | usize::from(piece[3]));
        &piece[1..=len - 4]
    } else {
        piece
    };
    out.extend_from_slice(head);
    out.extend_from_slice(&u16::try_from(piece.len()).expect("a seed is short").to_be_bytes());
    out.extend_from_slice(piece);
}
