//! The chunks that all players of a source share.
//!
//! A message looks the same for everybody when its header is always a full one, its message stream always 1 and the chunk size
//! always ours. So it is put into chunks once, and only references go out to each player.

use super::{
    chunk::{MAX_FIRST_HEADER_LEN, write_first_header, write_next_header},
    connection::{CHUNK_SIZE, chunk_stream},
    server::STREAM,
};
use crate::{
    container::{
        Chunk, LeftOut, Mux, Select,
        flv::{Carriage, Framing, TagKind, TagMux},
    },
    hub::Format,
    media::{AccessUnit, TrackId, Tracks},
};
use bytes::{BufMut, Bytes, BytesMut};

/// Makes RTMP messages for players that understand so much: 0 for what RTMP always carried, 1 for all codecs of Enhanced
/// RTMP, 2 for several tracks of a kind too.
#[derive(Debug)]
pub struct RtmpMux<const CARRIAGE: u8>(TagMux<ChunkFraming>);

/// H.264, AAC and MP3.
pub(super) const LEGACY: u8 = 0;
/// All codecs, one track of each kind.
pub(super) const ENHANCED: u8 = 1;
/// All codecs and tracks.
pub(super) const MULTITRACK: u8 = 2;

#[derive(Debug)]
struct ChunkFraming;

impl<const CARRIAGE: u8> RtmpMux<CARRIAGE> {}

impl<const CARRIAGE: u8> Mux for RtmpMux<CARRIAGE> {
    fn tracks(&mut self, tracks: &Tracks) {
        self.0.tracks(tracks);
    }

    fn unit(&mut self, unit: &AccessUnit, out: &mut Vec<Chunk>) {
        self.0.unit(unit, out);
    }

    fn left_out(&self) -> Vec<(TrackId, LeftOut)> {
        self.0.left_out()
    }
}

impl<const CARRIAGE: u8> Format for RtmpMux<CARRIAGE> {
    const NAME: &'static str = match CARRIAGE {
        LEGACY => "rtmp-legacy",
        ENHANCED => "rtmp",
        _ => "rtmp-multitrack",
    };

    fn new(select: Select) -> Self {
        let carriage = match CARRIAGE {
            LEGACY => Carriage::Legacy,
            ENHANCED => Carriage::Enhanced,
            _ => Carriage::Multitrack,
        };
        Self(TagMux::with_framing(ChunkFraming, select, carriage))
    }
}

impl Framing for ChunkFraming {
    fn opening(&self, _: bool, _: bool) -> Option<Bytes> {
        None
    }

    fn frame(
        &self,
        kind: TagKind,
        timestamp_ms: u32,
        front: &[u8],
        mut payload: Bytes,
        out: &mut Vec<Bytes>,
    ) {
        let id = match kind {
            TagKind::Audio => chunk_stream::AUDIO,
            TagKind::Video => chunk_stream::VIDEO,
            TagKind::Script => chunk_stream::DATA,
        };
        let len = front.len() + payload.len();
        let mut header = BytesMut::with_capacity(MAX_FIRST_HEADER_LEN + front.len());
        write_first_header(id, kind as u8, timestamp_ms, STREAM, len, &mut header);
        header.put_slice(front);
        out.push(header.freeze());
        let first = payload.split_to(payload.len().min(CHUNK_SIZE - front.len()));
        out.push(first);
        if payload.is_empty() {
            return;
        }
        let mut next = BytesMut::new();
        write_next_header(id, timestamp_ms, &mut next);
        let next = next.freeze();
        while !payload.is_empty() {
            out.push(next.clone());
            out.push(payload.split_to(payload.len().min(CHUNK_SIZE)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::rtmp::chunk::ChunkReader;

    fn read(parts: &[Bytes]) -> Vec<(u8, u32, u32, Bytes)> {
        let bytes = parts.concat();
        let (mut reader, mut input, mut read) = (ChunkReader::new(), &bytes[..], Vec::new());
        reader.set_chunk_size(CHUNK_SIZE as u32).unwrap();
        while let Some(message) = reader.read(&mut input).unwrap() {
            read.push((message.kind, message.timestamp_ms, message.stream, message.body));
        }
        read
    }

    #[test]
    fn messages_of_any_length_are_read_as_they_were() {
        for len in [0, 1, CHUNK_SIZE - 5, CHUNK_SIZE - 4, CHUNK_SIZE, 3 * CHUNK_SIZE + 1] {
            for timestamp_ms in [0, 0xff_fffe, 0xff_ffff, u32::MAX] {
                let payload: Bytes = vec![7; len].into();
                let mut parts = Vec::new();
                ChunkFraming.frame(
                    TagKind::Video,
                    timestamp_ms,
                    b"front",
                    payload.clone(),
                    &mut parts,
                );
                let body = [b"front", &payload[..]].concat().into();
                assert_eq!(read(&parts), [(9, timestamp_ms, 1, body)], "{len} bytes");
            }
        }
    }

    #[test]
    fn the_payload_is_not_copied() {
        let payload: Bytes = vec![7; 2 * CHUNK_SIZE].into();
        let mut parts = Vec::new();
        ChunkFraming.frame(TagKind::Audio, 0, &[0xaf, 1], payload.clone(), &mut parts);
        assert_eq!(parts[1].as_ptr(), payload.as_ptr());
        assert_eq!(parts[3].as_ptr(), payload[CHUNK_SIZE - 2..].as_ptr());
    }
}
