//! Files of MPEG-TS: packets as they came in, or as they are muxed for everybody (ISO/IEC 13818-1:2019).
//!
//! Times stay as they are. So where the times of a stream that is passed on jump, as when its publisher begins anew,
//! another file begins: nobody could seek in one with two timelines. So it is with other codecs, since few players look
//! for another map; pictures of another size may stand in the same file, as they do in broadcasts. Where one file
//! follows another without a gap, a unit that began in the first ends there, and none is in both or in neither.

use super::{PIECE, PIECE_BYTES, Step};
use crate::{
    container::{
        Chunk,
        ts::{Entry, Pid, lineup},
    },
    media::{Codec, Span, Timestamp},
};
use bytes::Bytes;
use std::rc::Rc;

#[derive(Debug)]
pub(super) struct TsCutter {
    segment: Option<Span>,
    file: Option<File>,
    /// Of the file before: the ends of units that began in it, and how long it lasts.
    rest: Option<(Vec<Bytes>, Span)>,
    /// What is gathered, and since when.
    pending: Vec<Bytes>,
    bytes: usize,
    since: Timestamp,
}

#[derive(Debug)]
struct File {
    entry: Entry,
    /// As its first map has them.
    codecs: Vec<(Pid, Codec)>,
    /// Its first bytes, until they are given out with the first piece.
    head: Option<Vec<Bytes>>,
    start: Timestamp,
    /// The latest time in it.
    end: Timestamp,
}

/// A time farther ahead than this does not continue the stream, nor one farther back: sound and pictures are
/// that much apart at most.
const AHEAD_MAX: Span = Span::from_ms(10_000);
const BACK_MAX: Span = Span::from_ms(2_000);

impl TsCutter {
    pub(super) const fn new(segment: Option<Span>) -> Self {
        Self {
            segment,
            file: None,
            rest: None,
            pending: Vec::new(),
            bytes: 0,
            since: Timestamp::ZERO,
        }
    }

    /// The next packets. With `is_jump` others were missed before them.
    pub(super) fn chunk(&mut self, chunk: &Chunk, is_jump: bool, out: &mut Vec<Step>) {
        let follows = |file: &File| {
            let step = chunk.dts - file.end;
            -BACK_MAX <= step && step <= AHEAD_MAX
        };
        if !is_jump && self.file.as_ref().is_some_and(|file| !follows(file)) {
            self.flush(out);
            self.file = None;
        }
        match &chunk.head {
            Some(head) if self.is_due(chunk, head) => self.begin(chunk, head, out),
            _ if self.file.is_none() => return,
            Some(head) if is_jump => self.resume(head, chunk.dts, out),
            Some(_) => self.flush(out),
            None if chunk.dts - self.since >= PIECE || self.bytes >= PIECE_BYTES => self.flush(out),
            None => {}
        }
        let Some(file) = &mut self.file else { return };
        if self.pending.is_empty() {
            self.since = chunk.dts;
        }
        file.end = file.end.max(chunk.dts);
        for part in &chunk.parts {
            let (own, before) = file.entry.split(part, chunk.dts);
            if let Some((rest, _)) = self.rest.as_mut().filter(|_| !before.is_empty()) {
                rest.push(before);
            }
            self.bytes += own.len();
            self.pending.push(own);
        }
    }

    fn is_due(&self, chunk: &Chunk, head: &[Bytes]) -> bool {
        let Some(file) = &self.file else { return true };
        self.segment.is_some_and(|segment| chunk.dts - file.start >= segment)
            || codecs(chunk, head).is_some_and(|codecs| codecs != file.codecs)
    }

    fn begin(&mut self, chunk: &Chunk, head: &Rc<[Bytes]>, out: &mut Vec<Step>) {
        let dts = chunk.dts;
        self.flush(out);
        let before = self.file.take();
        self.rest = before.map(|file| (Vec::new(), file.end - file.start));
        let codecs = codecs(chunk, head).unwrap_or_default();
        let mut entry = Entry::join();
        let head = head.iter().map(|part| entry.admit(part, dts)).collect();
        self.file = Some(File { entry, codecs, head: Some(head), start: dts, end: dts });
    }

    /// Goes on in the same file after a gap.
    fn resume(&mut self, head: &Rc<[Bytes]>, dts: Timestamp, out: &mut Vec<Step>) {
        self.flush(out);
        let Some(file) = &mut self.file else { return };
        file.entry = Entry::skip();
        self.pending.extend(head.iter().map(|part| file.entry.admit(part, dts)));
    }

    pub(super) fn finish(&mut self, out: &mut Vec<Step>) {
        self.flush(out);
    }

    fn flush(&mut self, out: &mut Vec<Step>) {
        let parts = std::mem::take(&mut self.pending);
        self.bytes = 0;
        let Some(file) = self.file.as_mut().filter(|_| !parts.is_empty()) else { return };
        if let Some(head) = file.head.take() {
            if let Some((parts, lasts)) = self.rest.take().filter(|(rest, _)| !rest.is_empty()) {
                out.push(Step::Append { parts, lasts });
            }
            out.push(Step::Begin { head, behind: file.end - file.start });
        }
        out.push(Step::Append { parts, lasts: file.end - file.start });
    }
}

/// The codecs from a chunk on where a reader may begin.
fn codecs(chunk: &Chunk, head: &[Bytes]) -> Option<Vec<(Pid, Codec)>> {
    lineup(head.iter().chain(&chunk.parts))
}
