//! The frame of an FLV file: the file header, and tags with their sizes before and after.
//!
//! Section numbers refer to Adobe's "Video File Format Specification Version 10" of November 2008, annex E in
//! version 10.1. RTMP sends the same bodies in messages of the same type numbers.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use std::fmt;

/// What a tag holds. The numbers are those of RTMP's messages, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum TagKind {
    /// Sound.
    Audio = 8,
    /// Pictures.
    Video = 9,
    /// A name and values in AMF0, such as `onMetaData`.
    Script = 18,
}

/// One tag, or the media message of RTMP that is like it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tag {
    /// What it holds.
    pub kind: TagKind,
    /// When it is due at the decoder: milliseconds modulo 2³².
    pub timestamp_ms: u32,
    /// All after the tag's header.
    pub body: Bytes,
}

/// Why bytes are not an FLV file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FlvError {
    /// It does not begin with `FLV` and a version we know.
    Signature,
    /// The header is said to be shorter than it can be, or absurdly long.
    HeaderLength(u32),
}

/// Cuts the bytes of an FLV file or HTTP-FLV stream into tags.
///
/// What it keeps is bounded by one tag, 16 MiB, and what was pushed last. Tags of unknown kinds are skipped; the
/// sizes after the tags are not looked at.
#[derive(Debug, Default)]
pub struct TagReader {
    buffer: BytesMut,
    header_done: bool,
    /// What is still to be thrown away before the next tag.
    skip: usize,
}

impl TagKind {
    /// The kind of this number.
    pub const fn new(number: u8) -> Option<Self> {
        match number {
            8 => Some(Self::Audio),
            9 => Some(Self::Video),
            18 => Some(Self::Script),
            _ => None,
        }
    }
}

impl TagReader {
    /// Takes more of the file.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next tag; `None` when more bytes are needed.
    ///
    /// # Errors
    ///
    /// [`FlvError`], for ever: what follows cannot be understood.
    pub fn next_tag(&mut self) -> Result<Option<Tag>, FlvError> {
        if !self.header_done && !self.header()? {
            return Ok(None);
        }
        loop {
            let skipped = self.skip.min(self.buffer.len());
            self.buffer.advance(skipped);
            self.skip -= skipped;
            let Some(header) = self.buffer.first_chunk::<TAG_HEADER_LEN>() else { return Ok(None) };
            // E.4.1: two reserved bits, the mark of an encrypted tag, five bits of type.
            let [kind, l2, l1, l0, t2, t1, t0, t3, _, _, _] = *header;
            let len = u32::from_be_bytes([0, l2, l1, l0]) as usize;
            let timestamp_ms = u32::from_be_bytes([t3, t2, t1, t0]);
            if self.buffer.len() < TAG_HEADER_LEN + len {
                return Ok(None);
            }
            self.buffer.advance(TAG_HEADER_LEN);
            let body = self.buffer.split_to(len).freeze();
            self.skip = BACK_POINTER_LEN;
            if let Some(kind) = TagKind::new(kind & 0x3f) {
                return Ok(Some(Tag { kind, timestamp_ms, body }));
            }
        }
    }

    /// Takes the file's header; whether it is all there.
    fn header(&mut self) -> Result<bool, FlvError> {
        let known = self.buffer.len().min(SIGNATURE.len());
        if self.buffer.get(..known) != SIGNATURE.get(..known) {
            return Err(FlvError::Signature);
        }
        let Some(&[_, _, _, _, _, l3, l2, l1, l0]) = self.buffer.first_chunk() else {
            return Ok(false);
        };
        let len = u32::from_be_bytes([l3, l2, l1, l0]);
        if !(9..=MAX_HEADER_LEN).contains(&len) {
            return Err(FlvError::HeaderLength(len));
        }
        self.skip = len as usize + BACK_POINTER_LEN;
        self.header_done = true;
        Ok(true)
    }
}

impl fmt::Display for FlvError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Signature => f.write_str("it does not begin as an FLV file of version 1 does"),
            Self::HeaderLength(len) => write!(f, "an FLV header of {len} bytes cannot be"),
        }
    }
}

impl std::error::Error for FlvError {}

/// The header of a file with these kinds of tags (E.2), and the size of no tag before the first (E.3).
pub(super) fn file_header(audio: bool, video: bool) -> [u8; 13] {
    let flags = u8::from(audio) << 2 | u8::from(video);
    [b'F', b'L', b'V', 1, flags, 0, 0, 0, 9, 0, 0, 0, 0]
}

/// Appends the header of a tag with a body of `len` bytes, which are less than 2²⁴.
pub(super) fn encode_tag_header(kind: TagKind, timestamp_ms: u32, len: usize, out: &mut BytesMut) {
    let [t3, t2, t1, t0] = timestamp_ms.to_be_bytes();
    out.put_u8(kind as u8);
    out.put_uint(len as u64, 3);
    out.put_slice(&[t2, t1, t0, t3, 0, 0, 0]);
}

/// Longest body that a tag or message can have.
pub(super) const MAX_BODY_LEN: usize = 0xff_ffff;

pub(super) const TAG_HEADER_LEN: usize = 11;

/// The size of a tag, after it.
pub(super) const BACK_POINTER_LEN: usize = 4;

const SIGNATURE: [u8; 4] = *b"FLV\x01";

const MAX_HEADER_LEN: u32 = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    fn file() -> Vec<u8> {
        let mut out = BytesMut::from(&file_header(true, true)[..]);
        for (kind, timestamp_ms, body) in [
            (TagKind::Video, 0x0102_0304, &b"video"[..]),
            (TagKind::Audio, 7, b""),
            (TagKind::Script, 0, b"x"),
        ] {
            encode_tag_header(kind, timestamp_ms, body.len(), &mut out);
            out.put_slice(body);
            out.put_u32((TAG_HEADER_LEN + body.len()) as u32);
        }
        out.to_vec()
    }

    #[test]
    fn tags_are_the_same_however_the_bytes_arrive() {
        let file = file();
        for size in [1, 2, 7, file.len()] {
            let (mut reader, mut tags) = (TagReader::default(), Vec::new());
            for part in file.chunks(size) {
                reader.push(part);
                while let Some(tag) = reader.next_tag().unwrap() {
                    tags.push(tag);
                }
            }
            let [video, audio, script] = &tags[..] else { panic!("{tags:?}") };
            assert_eq!((video.timestamp_ms, &video.body[..]), (0x0102_0304, &b"video"[..]));
            assert_eq!((audio.kind, audio.timestamp_ms), (TagKind::Audio, 7));
            assert_eq!(script.kind, TagKind::Script);
        }
    }

    #[test]
    fn the_tag_header_has_the_low_bits_of_the_time_first() {
        let mut out = BytesMut::new();
        encode_tag_header(TagKind::Video, 0x0102_0304, 0x000a_0b0c, &mut out);
        assert_eq!(out[..], [9, 10, 11, 12, 2, 3, 4, 1, 0, 0, 0]);
    }

    #[test]
    fn what_is_not_flv_is_refused_at_its_first_wrong_byte() {
        for wrong in
            [&b"G"[..], b"FLW", b"FLV\x02", b"FLV\x01\x05\0\0\0\x08", b"FLV\x01\x05\xff\0\0\x09"]
        {
            let mut reader = TagReader::default();
            reader.push(wrong);
            assert!(reader.next_tag().is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn a_tag_of_an_unknown_kind_is_skipped() {
        let mut file = file();
        file[13] = 15;
        let mut reader = TagReader::default();
        reader.push(&file);
        assert_eq!(reader.next_tag().unwrap().unwrap().kind, TagKind::Audio);
    }
}
