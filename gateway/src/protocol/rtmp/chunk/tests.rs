//! Chunk streams as bytes: the example of the specification, what senders make of it, and what attackers do.

use super::*;

fn message(kind: u8, timestamp_ms: u32, len: usize) -> Message {
    let body: Vec<u8> = (0..len).map(|n| (n % 251) as u8).collect();
    Message { kind, timestamp_ms, stream: 1, body: body.into() }
}

fn read_all(reader: &mut ChunkReader, mut input: &[u8]) -> Result<Vec<Message>, ChunkError> {
    let mut messages = Vec::new();
    while let Some(message) = reader.read(&mut input)? {
        messages.push(message);
    }
    assert!(input.is_empty(), "all is taken until a message is complete");
    Ok(messages)
}

fn reader(chunk_size: u32) -> ChunkReader {
    let mut reader = ChunkReader::new();
    reader.set_chunk_size(chunk_size).unwrap();
    reader
}

#[test]
fn what_is_written_is_read_again_however_it_arrives() {
    let messages = [
        message(20, 0, 0),
        message(9, 0x00ff_fffe, 127),
        message(9, 0x00ff_ffff, 128),
        message(8, 0x0100_0000, 129),
        message(9, u32::MAX, 70_000),
    ];
    for chunk_size in [1, 2, 128, 4096, 65_536] {
        let mut bytes = BytesMut::new();
        for (id, message) in (3..).zip(&messages) {
            write_message(id, message, chunk_size, &mut bytes);
        }
        for part_len in [1, 3, 1000, bytes.len()] {
            let mut reader = reader(chunk_size as u32);
            let mut read = Vec::new();
            for part in bytes.chunks(part_len) {
                read.extend(read_all(&mut reader, part).unwrap());
            }
            assert_eq!(read, messages, "chunks of {chunk_size}, parts of {part_len}");
            assert_eq!(reader.partial_len, 0);
        }
    }
}

#[test]
fn the_example_of_the_specification_is_read() {
    // §5.3.2.1: four audio messages of 32 bytes, 20 ms apart; the third and fourth have one byte of header.
    let mut bytes = vec![3, 0, 3, 0xe8, 0, 0, 32, 8, 0x39, 0x30, 0, 0];
    bytes.extend([7; 32]);
    bytes.extend([0x83, 0, 0, 20]);
    bytes.extend([7; 32]);
    for _ in 0..2 {
        bytes.push(0xc3);
        bytes.extend([7; 32]);
    }
    let read = read_all(&mut reader(128), &bytes).unwrap();
    let times: Vec<_> = read.iter().map(|m| (m.timestamp_ms, m.stream, m.body.len())).collect();
    assert_eq!(times, [(1000, 12345, 32), (1020, 12345, 32), (1040, 12345, 32), (1060, 12345, 32)]);
}

#[test]
fn chunks_of_different_streams_may_alternate() {
    let (video, audio) = (message(9, 40, 200), message(8, 41, 10));
    let (mut one, mut other) = (BytesMut::new(), BytesMut::new());
    write_message(6, &video, 128, &mut one);
    write_message(4, &audio, 128, &mut other);
    let (first, second) = one.split_at(12 + 128);
    let bytes = [first, &other, second].concat();
    assert_eq!(read_all(&mut reader(128), &bytes), Ok(vec![audio, video]));
}

/// A message of 300 bytes with an extended timestamp in chunks of 128; `repeat` is what continuations have.
fn extended(timestamp: u32, repeat: &[u8]) -> Vec<u8> {
    let body = message(9, 0, 300).body;
    let mut bytes = vec![6, 0xff, 0xff, 0xff, 0, 1, 0x2c, 9, 1, 0, 0, 0];
    bytes.extend(timestamp.to_be_bytes());
    for (n, part) in body.chunks(128).enumerate() {
        if n > 0 {
            bytes.push(0xc6);
            bytes.extend(repeat);
        }
        bytes.extend(part);
    }
    bytes
}

#[test]
fn continuations_may_repeat_an_extended_timestamp_or_not() {
    let timestamp = 0x0123_4567_u32;
    let expected = Message { timestamp_ms: timestamp, ..message(9, 0, 300) };
    for repeat in [&timestamp.to_be_bytes()[..], &[]] {
        let bytes = extended(timestamp, repeat);
        let mut twice = bytes.clone();
        twice.extend(&bytes);
        let mut reader = reader(128);
        let read: Vec<_> =
            twice.chunks(1).flat_map(|byte| read_all(&mut reader, byte).unwrap()).collect();
        assert_eq!(read, [expected.clone(), expected.clone()], "repeat {repeat:?}");
    }
}

#[test]
fn a_short_rest_without_the_timestamp_does_not_swallow_the_next_header() {
    // The payload's last byte is the timestamp's first, so that only the next chunk's header tells.
    let mut bytes = vec![6, 0xff, 0xff, 0xff, 0, 0, 3, 9, 1, 0, 0, 0, 1, 0, 0, 0];
    bytes.extend([5, 6, 0xc6, 1]);
    bytes.extend([4, 0, 0, 0, 0, 0, 1, 8, 1, 0, 0, 0, 9]);
    let read = read_all(&mut reader(2), &bytes).unwrap();
    let bodies: Vec<_> = read.iter().map(|m| m.body.to_vec()).collect();
    assert_eq!(bodies, [vec![5, 6, 1], vec![9]]);
}

#[test]
fn an_extended_delta_may_be_repeated_as_delta_or_as_time() {
    for repeat in [0x0100_0000_u32, 0x0100_0010] {
        let mut bytes = vec![6, 0, 0, 0x10, 0, 0, 1, 9, 1, 0, 0, 0, 0xaa];
        bytes.extend([0x46, 0xff, 0xff, 0xff, 0, 0, 2, 9, 1, 0, 0, 0, 0xbb, 0xc6]);
        bytes.extend(repeat.to_be_bytes());
        bytes.push(0xcc);
        let read = read_all(&mut reader(1), &bytes).unwrap();
        assert_eq!(read[1].timestamp_ms, 0x0100_0010);
        assert_eq!(read[1].body[..], [0xbb, 0xcc]);
    }
}

#[test]
fn chunk_stream_ids_have_one_two_or_three_bytes() {
    for (basic, id) in
        [(&[0_u8, 0][..], 64), (&[0, 255], 319), (&[1, 0, 0], 64), (&[1, 1, 2], 64 + 0x201)]
    {
        let bytes = [basic, &[0, 0, 0, 0, 0, 1, 8, 0, 0, 0, 0, 42]].concat();
        let mut reader = reader(128);
        assert_eq!(read_all(&mut reader, &bytes).unwrap().len(), 1);
        assert!(reader.streams.contains_key(&id));
    }
}

#[test]
fn an_aborted_message_never_comes() {
    let mut bytes = BytesMut::new();
    write_message(6, &message(9, 0, 200), 128, &mut bytes);
    let mut reader = reader(128);
    assert_eq!(read_all(&mut reader, &bytes[..140]), Ok(vec![]));
    reader.abort(6);
    reader.abort(7);
    assert_eq!(reader.partial_len, 0);
    let next = message(9, 40, 100);
    let mut bytes = BytesMut::new();
    write_message(6, &next, 128, &mut bytes);
    assert_eq!(read_all(&mut reader, &bytes), Ok(vec![next]));
}

#[test]
fn hostile_headers_end_in_errors() {
    let first = |bytes: &[u8]| read_all(&mut reader(128), bytes);
    assert_eq!(first(&[0xc5]), Err(ChunkError::NoHeader(5)));
    assert_eq!(first(&[0x85, 0, 0, 0]), Err(ChunkError::NoHeader(5)));
    let mut unfinished = vec![6, 0, 0, 0, 0, 1, 0, 9, 1, 0, 0, 0];
    unfinished.resize(140, 0);
    unfinished.push(6);
    assert_eq!(first(&unfinished), Err(ChunkError::Unfinished(6)));
    for size in [0, 0x8000_0000] {
        assert_eq!(reader(1).set_chunk_size(size), Err(ChunkError::ChunkSize(size)));
    }
}

#[test]
fn memory_follows_what_came_not_what_was_promised() {
    let mut reader = reader(1);
    let header = |id: u8| [id, 0, 0, 0, 0xff, 0xff, 0xff, 9, 1, 0, 0, 0, 7];
    for id in 2..63 {
        read_all(&mut reader, &header(id)).unwrap();
    }
    assert!(reader.partial_len <= 61 * EAGER_LEN, "{}", reader.partial_len);
    for n in 0..3 {
        read_all(&mut reader, &[&[0, n][..], &header(0)[1..]].concat()).unwrap();
    }
    let last = read_all(&mut reader, &[&[0, 9][..], &header(0)[1..]].concat());
    assert_eq!(last, Err(ChunkError::TooManyStreams));
}

#[test]
fn messages_that_never_end_are_bounded_together() {
    // Chunks of half the message: each stream is left open in its middle.
    let mut reader = reader(8 << 20);
    let mut taken = 0;
    let error = (3..63).find_map(|id: u8| {
        let mut bytes = vec![id, 0, 0, 0, 0xff, 0xff, 0xff, 9, 1, 0, 0, 0];
        bytes.resize(bytes.len() + (8 << 20), 0);
        taken += bytes.len();
        read_all(&mut reader, &bytes).err()
    });
    assert_eq!(error, Some(ChunkError::TooMuchPartial));
    assert!(taken <= MAX_PARTIAL_LEN + (9 << 20));
}
