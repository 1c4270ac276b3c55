//! A source's own packets, as readers of TS outputs get them.

use crate::capture::{AAC, X264, capture};
use crate::check::{decodes_silently, probe, read};
use crate::collect::concat;
use thalweg_gateway::container::ts::{
    Demuxer, Entry, PACKET_LEN, PacketInfo, Passthrough, Programme, TsSink,
};
use thalweg_gateway::container::{Chunk, Sink};
use thalweg_gateway::media::{AccessUnit, Tracks};

/// Passes a stream on, a chunk or two for each message of seven packets.
#[derive(Default)]
struct Relay {
    passthrough: Passthrough,
    chunks: Vec<Chunk>,
}

impl Sink for Relay {
    fn tracks(&mut self, _: &Tracks) {}

    fn unit(&mut self, _: AccessUnit) {}
}

impl TsSink for Relay {
    fn packet(&mut self, packet: &[u8; PACKET_LEN], info: &PacketInfo) {
        self.passthrough.packet(packet, info, &mut self.chunks);
    }
}

impl Relay {
    fn push(&mut self, demuxer: &mut Demuxer, bytes: &[u8]) {
        for message in bytes.chunks(1_316) {
            demuxer.push(message, self);
            self.passthrough.flush(&mut self.chunks);
        }
    }
}

fn relay(bytes: &[u8]) -> Vec<Chunk> {
    let mut relay = Relay::default();
    relay.push(&mut Demuxer::new(Programme::First), bytes);
    relay.chunks
}

/// What a reader gets from the chunk with this number on.
fn read_from(chunks: &[Chunk], start: usize, mut entry: Entry) -> Vec<u8> {
    let first = &chunks[start];
    let mut bytes = Vec::new();
    for part in first.head.as_ref().unwrap().iter() {
        bytes.extend_from_slice(&entry.admit(part, first.dts));
    }
    for chunk in &chunks[start..] {
        for part in &chunk.parts {
            bytes.extend_from_slice(&entry.admit(part, chunk.dts));
        }
    }
    bytes
}

/// Audio in PES packets of many frames lies across the starts of pictures.
fn source() -> Vec<u8> {
    let audio = "-map 0:v -map 1:a -map 1:a -c:a:0 aac -c:a:1 ac3 -pes_payload_size 4000";
    capture(4, &format!("{X264} {audio}"))
}

#[test]
fn everything_goes_out_as_it_came() {
    let source = source();
    let chunks = relay(&source);
    assert!(concat(&chunks) == source);
    assert!(chunks.iter().all(|chunk| chunk.len() <= 1_316 && chunk.parts.len() == 1));
    let starts = chunks.iter().filter(|chunk| chunk.head.is_some()).count();
    assert_eq!(starts, 4, "one for each key frame");
    assert!(chunks.windows(2).all(|pair| (pair[1].dts - pair[0].dts).abs().ms() < 1_000));
}

#[test]
fn whoever_joins_sees_a_stream_that_begins_there() {
    let source = source();
    let chunks = relay(&source);
    let whole = probe("passthrough-all.ts", &source);
    let starts: Vec<usize> = (0..chunks.len()).filter(|&n| chunks[n].head.is_some()).collect();
    for (n, &start) in starts.iter().enumerate() {
        let joined = read_from(&chunks, start, Entry::join());
        let seen = read(&joined);
        assert_eq!((seen.continuity_errors, seen.types.len()), (0, 3));
        let name = format!("passthrough-{n}.ts");
        decodes_silently(&name, &joined);
        let packets = probe(&name, &joined);
        let video: Vec<_> = packets.iter().filter(|packet| packet.stream == 0).cloned().collect();
        assert!(video[0].key, "the first frame can be decoded");
        assert_eq!(video.len(), 100 - 25 * n);
        let all: Vec<_> = whole.iter().filter(|packet| packet.stream == 0).cloned().collect();
        assert_eq!(video, all[25 * n..], "times as they were");
    }
}

#[test]
fn a_reader_that_skips_is_told_so_and_nothing_else_is_wrong() {
    let source = source();
    let chunks = relay(&source);
    let starts: Vec<usize> = (0..chunks.len()).filter(|&n| chunks[n].head.is_some()).collect();
    let before = read_from(&chunks[..starts[1] - 3], starts[0], Entry::join());
    let after = read_from(&chunks, starts[2], Entry::skip());
    // ffmpeg counts a gap that is announced as none, and decodes on.
    let both = [before, after].concat();
    let (_, said) = crate::capture::run(
        "ffmpeg",
        &[
            "-v",
            "verbose",
            "-nostdin",
            "-i",
            crate::capture::file("skip.ts", &both).to_str().unwrap(),
            "-f",
            "null",
            "-",
        ],
        &[],
    );
    assert!(!said.contains("Continuity check failed"), "{said}");
    assert!(said.contains("frame="), "{said}");
}

#[test]
fn readers_are_told_when_the_publisher_comes_back() {
    let (first, second) = (source(), source());
    let mut relay = Relay::default();
    relay.push(&mut Demuxer::new(Programme::First), &first);
    relay.passthrough.reconnect();
    let cut = second.len() / 3 / 188 * 188;
    relay.push(&mut Demuxer::new(Programme::First), &second[cut..]);
    let all = concat(&relay.chunks);
    let path = crate::capture::file("reconnect.ts", &all);
    let args = ["-v", "verbose", "-nostdin", "-i", path.to_str().unwrap(), "-f", "null", "-"];
    let (_, said) = crate::capture::run("ffmpeg", &args, &[]);
    assert!(!said.contains("Continuity check failed"), "{said}");
}

#[test]
fn a_stream_of_nothing_but_sound_can_be_joined_at_every_unit() {
    let chunks = relay(&capture(2, &format!("-vn {AAC} -pes_payload_size 0")));
    let starts = chunks.iter().filter(|chunk| chunk.head.is_some()).count();
    assert!(starts > 90, "{starts}");
}
