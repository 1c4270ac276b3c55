//! One stream to a viewer: its packets of RTP (RFC 3550 §5.1), and those that it may ask for again (RFC 4588).

#![cfg_attr(not(test), warn(clippy::indexing_slicing, clippy::cast_possible_truncation))]

use super::{
    negotiate::{Outgoing, random_bytes},
    stage::Piece,
};
use std::{
    collections::VecDeque,
    rc::Rc,
    time::{Duration, Instant},
};

/// One stream, its numbers and times.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) out: Outgoing,
    /// The next sequence number, and that of what is sent again; the lower 16 bits go into the packet.
    sequence: u64,
    resent: u64,
    /// Added to the viewer's time.
    offset: u32,
    /// When the packet that was sent last is to be shown on the wall, and its time in RTP.
    last: Option<(Instant, u32)>,
    /// Packets and bytes of payload, as reports tell them.
    pub(super) packets: u32,
    pub(super) payload_bytes: u32,
    /// The pieces whose packets can be asked for again, oldest first; so many packets.
    kept: VecDeque<Kept>,
    kept_packets: usize,
    keep: usize,
    /// The packets that were sent again last.
    again: VecDeque<(u16, Instant)>,
    /// So many bytes may be sent again.
    credit: usize,
    /// When the next report on it is due, after how many.
    pub(super) report_at: Option<Instant>,
    pub(super) reports: u32,
    /// What the viewer asked for: packets, and pictures to begin with.
    pub(super) nacks: u64,
    pub(super) requests: u64,
}

/// A piece that was sent, or is about to be.
#[derive(Clone, Debug)]
struct Kept {
    /// The sequence number of its first packet.
    first: u64,
    piece: Rc<Piece>,
    time: u32,
    at: Instant,
}

/// The header of a packet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Head {
    pub(super) ssrc: u32,
    pub(super) sequence: u64,
    pt: u8,
    marker: bool,
    time: u32,
    /// Its number across streams.
    number: Option<u16>,
    has_mid: bool,
}

/// A packet that is sent again.
pub(super) struct Again {
    pub(super) head: Head,
    /// The sequence number that it had, where it is sent in a stream of its own.
    pub(super) original: Option<u16>,
    pub(super) piece: Rc<Piece>,
    pub(super) index: usize,
}

/// What is older is not sent again: it would come too late.
const KEEP: Duration = Duration::from_secs(1);

/// A header has no more: the fixed part, then extensions of 2 and 16 bytes with two bytes in front of each, in words.
pub(super) const HEAD_MAX: usize = 12 + 4 + 24;

/// Of what is sent, so much may be sent again: beyond that, it makes things worse.
const SHARE: usize = 2;

/// So many that were sent again are remembered, so that they are not sent once more while they are on their way.
const AGAIN_MAX: usize = 256;

/// In the beginning so much may be sent again, in packets.
const CREDIT_PACKETS: usize = 50;

impl Stream {
    /// `keep`: so many packets can be asked for again, if any.
    pub(super) fn new(out: Outgoing, keep: usize) -> Self {
        // None begins at 0 (RFC 3550 §5.1); sequence numbers below 2^15, so that the first rollover is far.
        let [a, b, c, d, e, f, g, h] = random_bytes();
        let sequence = |a, b| u64::from(u16::from_be_bytes([a & 0x7f, b]));
        Self {
            out,
            sequence: sequence(a, b),
            resent: sequence(c, d),
            offset: u32::from_be_bytes([e, f, g, h]),
            last: None,
            packets: 0,
            payload_bytes: 0,
            kept: VecDeque::new(),
            kept_packets: 0,
            keep,
            again: VecDeque::new(),
            credit: CREDIT_PACKETS * 1_200,
            report_at: None,
            reports: 0,
            nacks: 0,
            requests: 0,
        }
    }

    /// The header of a packet that is sent now. `wall`: when the viewer's time `ticks` is, so that sound and pictures can be
    /// put together.
    pub(super) fn enter(
        &mut self,
        piece: &Rc<Piece>,
        index: usize,
        (ticks, wall): (i64, Instant),
        number: Option<u16>,
        has_mid: bool,
        now: Instant,
    ) -> Head {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "times wrap")]
        let time = self.offset.wrapping_add(ticks as u32);
        let marker = piece.is_picture() && index + 1 == piece.packets.len();
        let (ssrc, sequence, pt) = (self.out.ssrc, self.sequence, self.out.pt);
        let has_mid = has_mid || !self.has_numbers();
        let head = Head { ssrc, sequence, pt, marker, time, number, has_mid };
        if index == 0 && self.keep > 0 {
            self.keep(piece, time, now);
        }
        self.sequence += 1;
        let len = piece.packets.get(index).map_or(0, |payload| payload.len());
        self.packets = self.packets.wrapping_add(1);
        #[expect(clippy::cast_possible_truncation, reason = "a packet is short")]
        let bytes = len as u32;
        self.payload_bytes = self.payload_bytes.wrapping_add(bytes);
        self.last = Some((wall, time));
        self.report_at.get_or_insert(now);
        self.credit = (self.credit + len / SHARE).min(self.credit_max());
        head
    }

    fn credit_max(&self) -> usize {
        self.keep.max(CREDIT_PACKETS) * 1_200 / SHARE
    }

    /// Keeps a piece whose packets are sent from now on.
    fn keep(&mut self, piece: &Rc<Piece>, time: u32, at: Instant) {
        self.kept_packets += piece.packets.len();
        self.kept.push_back(Kept { first: self.sequence, piece: Rc::clone(piece), time, at });
        let is_over = |kept: &Kept, packets| {
            packets > self.keep || at.saturating_duration_since(kept.at) > KEEP
        };
        // The newest stays, however large it is.
        while self.kept.len() > 1
            && let Some(oldest) = self.kept.front()
            && is_over(oldest, self.kept_packets)
        {
            self.kept_packets -= oldest.piece.packets.len();
            self.kept.pop_front();
        }
    }

    /// The viewer tells what it misses. What was sent again less than half a round trip ago is on its way.
    pub(super) fn note_missing(&mut self, rtt: Option<Duration>, now: Instant) {
        self.nacks += 1;
        let span = rtt.unwrap_or_default() / 2;
        self.again.retain(|&(_, at)| now.saturating_duration_since(at) < span);
    }

    /// A packet that the viewer misses, if it may have it again.
    pub(super) fn again(
        &mut self,
        sequence: u16,
        now: Instant,
        number: impl FnOnce() -> Option<u16>,
        has_mid: bool,
    ) -> Option<Again> {
        // The number of 48 bits that ends like this and was used last.
        let back = low(self.sequence).wrapping_sub(sequence);
        let whole = self.sequence.checked_sub(back.into()).filter(|_| back > 0)?;
        let behind = self.kept.partition_point(|kept| kept.first <= whole);
        let Kept { first, piece, time, .. } = self.kept.get(behind.checked_sub(1)?)?;
        let index = usize::try_from(whole - first).ok()?;
        let len = piece.packets.get(index)?.len();
        let is_on_its_way = self.again.iter().any(|&(known, _)| known == sequence);
        if is_on_its_way || self.credit < len {
            return None;
        }
        let marker = piece.is_picture() && index + 1 == piece.packets.len();
        let (piece, time) = (Rc::clone(piece), *time);
        self.credit -= len;
        if self.again.len() < AGAIN_MAX {
            self.again.push_back((sequence, now));
        }
        let (original, head) = match self.out.resend {
            Some((ssrc, pt)) => {
                let (resent, number) = (self.resent, number());
                self.resent += 1;
                let head = Head { ssrc, sequence: resent, pt, marker, time, number, has_mid };
                (Some(sequence), head)
            }
            // As it was, each byte: its number of 48 bits is never used for anything else.
            None => {
                let (ssrc, pt) = (self.out.ssrc, self.out.pt);
                let (number, has_mid) = (None, true);
                (None, Head { ssrc, sequence: whole, pt, marker, time, number, has_mid })
            }
        };
        Some(Again { head, original, piece, index })
    }

    /// Whether its packets are numbered across streams. Where one is sent again as it was, none is.
    pub(super) const fn has_numbers(&self) -> bool {
        self.out.number_id.is_some() && (self.keep == 0 || self.out.resend.is_some())
    }

    /// Nothing that was sent is sent again.
    pub(super) fn forget(&mut self) {
        self.kept.clear();
        self.kept_packets = 0;
    }

    /// The time in RTP of what is to be shown now.
    pub(super) fn time(&self, now: Instant) -> Option<u32> {
        let (wall, time) = self.last?;
        let ticks = |span: Duration| span.as_nanos() * u128::from(self.out.clock) / 1_000_000_000;
        #[expect(clippy::cast_possible_truncation, reason = "times wrap")]
        let (after, before) = (
            ticks(now.saturating_duration_since(wall)) as u32,
            ticks(wall.saturating_duration_since(now)) as u32,
        );
        Some(time.wrapping_add(after).wrapping_sub(before))
    }
}

impl Head {
    /// Writes it; the result is its length. `out` is how the viewer knows extensions.
    pub(super) fn write(&self, out: &Outgoing, bytes: &mut [u8; HEAD_MAX]) -> usize {
        let mut writer = Writer { bytes, len: 0 };
        let marker = u8::from(self.marker) << 7;
        writer.put(&[0x80, marker | self.pt]);
        writer.put(&low(self.sequence).to_be_bytes());
        writer.put(&self.time.to_be_bytes());
        writer.put(&self.ssrc.to_be_bytes());
        let number = out.number_id.zip(self.number);
        let mid = out.mid_id.filter(|_| self.has_mid);
        if number.is_none() && mid.is_none() {
            return writer.len;
        }
        // RFC 8285 §4.2 and §4.3: one byte in front where that is enough, else two.
        let is_short = [number.map(|(id, _)| id), mid].into_iter().flatten().all(|id| id < 15);
        writer.put(if is_short { &[0xbe, 0xde, 0, 0] } else { &[0x10, 0, 0, 0] });
        if let Some((id, number)) = number {
            writer.put_extension(is_short, id, &number.to_be_bytes());
        }
        if let Some(id) = mid {
            writer.put_extension(is_short, id, out.mid.as_bytes());
        }
        while !writer.len.is_multiple_of(4) {
            writer.put(&[0]);
        }
        let (len, words) = (writer.len, (writer.len - 16) / 4);
        #[expect(clippy::cast_possible_truncation, reason = "HEAD_MAX is short")]
        if let Some(at) = writer.bytes.get_mut(15) {
            *at = words as u8;
        }
        if let Some(first) = writer.bytes.first_mut() {
            *first |= 0x10;
        }
        len
    }
}

struct Writer<'a> {
    bytes: &'a mut [u8; HEAD_MAX],
    len: usize,
}

impl Writer<'_> {
    fn put(&mut self, part: &[u8]) {
        if let Some(room) = self.bytes.get_mut(self.len..self.len + part.len()) {
            room.copy_from_slice(part);
            self.len += part.len();
        }
    }

    fn put_extension(&mut self, is_short: bool, id: u8, value: &[u8]) {
        #[expect(clippy::cast_possible_truncation, reason = "16 bytes at most")]
        let len = value.len() as u8;
        if is_short {
            self.put(&[id << 4 | len.saturating_sub(1) & 0xf]);
        } else {
            self.put(&[id, len]);
        }
        self.put(value);
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the lower 16 of 48 bits")]
const fn low(sequence: u64) -> u16 {
    sequence as u16
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        container::rtp::Payload,
        media::{MediaKind, Timestamp},
    };
    use thalweg_runtime as rt;

    const MS: Duration = Duration::from_millis(1);

    fn out() -> Outgoing {
        Outgoing {
            mid: "0".into(),
            pt: 96,
            ssrc: 7,
            resend: Some((8, 97)),
            clock: 90_000,
            number_id: Some(3),
            mid_id: Some(4),
        }
    }

    fn piece(packets: usize) -> Rc<Piece> {
        let packets = (0..packets).map(|n| Payload::from(vec![n as u8; 1_000])).collect();
        let (kind, pts) = (MediaKind::Video, Timestamp::from_ms(0));
        Rc::new(Piece { kind, pts, may_begin: true, packets })
    }

    /// Sends all packets of a piece; their sequence numbers.
    fn send(stream: &mut Stream, piece: &Rc<Piece>, at: Instant) -> Vec<u16> {
        let packets = 0..piece.packets.len();
        let mut send = |index| stream.enter(piece, index, (0, at), Some(0), false, at);
        packets.map(|index| low(send(index).sequence)).collect()
    }

    fn again(stream: &mut Stream, sequence: u16, at: Instant) -> Option<Again> {
        stream.note_missing(Some(MS * 20), at);
        stream.again(sequence, at, || Some(9), false)
    }

    #[test]
    fn a_header_has_the_number_and_at_first_the_section() {
        let head = |number, has_mid| Head {
            ssrc: 0x0102_0304,
            sequence: 0x5_fffe,
            pt: 96,
            marker: true,
            time: 0xa0b0_c0d0,
            number,
            has_mid,
        };
        let written = |head: Head, out: &Outgoing| {
            let mut bytes = [0; HEAD_MAX];
            let len = head.write(out, &mut bytes);
            bytes[..len].to_vec()
        };
        let fixed = [0xe0, 0xff, 0xfe, 0xa0, 0xb0, 0xc0, 0xd0, 1, 2, 3, 4];
        let with = |first: u8, rest: &[u8]| [&[first], &fixed[..], rest].concat();
        assert_eq!(written(head(None, false), &out()), with(0x80, &[]));
        let short = [0xbe, 0xde, 0, 1, 0x31, 1, 2, 0];
        assert_eq!(written(head(Some(0x0102), false), &out()), with(0x90, &short));
        let both = [0xbe, 0xde, 0, 2, 0x31, 1, 2, 0x40, b'0', 0, 0, 0];
        assert_eq!(written(head(Some(0x0102), true), &out()), with(0x90, &both));
        // RFC 8285 §4.3: an id of 15 has no short form.
        let long = [0x10, 0, 0, 2, 15, 2, 1, 2, 4, 1, b'0', 0];
        let out = Outgoing { number_id: Some(15), ..out() };
        assert_eq!(written(head(Some(0x0102), true), &out), with(0x90, &long));
        // The longest of both.
        let out = Outgoing { mid: "abcdefghijklmnop".into(), ..out };
        assert_eq!(written(head(Some(0), true), &out).len(), HEAD_MAX);
    }

    #[test]
    fn what_is_missing_is_sent_again_in_a_stream_of_its_own_once_in_a_round_trip() {
        let (mut stream, now) = (Stream::new(out(), 100), rt::now());
        let pieces = [piece(3), piece(5)];
        send(&mut stream, &pieces[0], now);
        let sent = send(&mut stream, &pieces[1], now);
        let Again { head, original, piece, index } = again(&mut stream, sent[4], now).unwrap();
        assert_eq!((head.ssrc, head.pt, head.marker, head.number), (8, 97, true, Some(9)));
        assert_eq!((original, index), (Some(sent[4]), 4));
        assert!(Rc::ptr_eq(&piece, &pieces[1]));
        assert!(again(&mut stream, sent[4], now + MS * 5).is_none(), "it is on its way");
        let next = again(&mut stream, sent[4], now + MS * 30).unwrap();
        assert_eq!(next.head.sequence, head.sequence + 1);
        assert!(!again(&mut stream, sent[3], now).unwrap().head.marker);
        // What was never sent, or will be next.
        assert!(again(&mut stream, sent[4].wrapping_add(1), now).is_none());
        assert!(again(&mut stream, sent[0].wrapping_sub(4), now).is_none());
    }

    #[test]
    fn without_a_stream_for_it_a_packet_is_sent_again_as_it_was() {
        let out = Outgoing { resend: None, ..out() };
        let (mut stream, now) = (Stream::new(out, 100), rt::now());
        assert!(!stream.has_numbers());
        let piece = piece(2);
        let bytes = |head: Head| {
            let mut bytes = [0; HEAD_MAX];
            let len = head.write(&out, &mut bytes);
            bytes[..len].to_vec()
        };
        let first = stream.enter(&piece, 0, (5, now), None, true, now);
        let second = stream.enter(&piece, 1, (5, now), None, false, now);
        for (sent, index) in [(first, 0), (second, 1)] {
            let again = again(&mut stream, low(sent.sequence), now).unwrap();
            assert_eq!((again.original, again.index), (None, index));
            assert_eq!(again.head.sequence, sent.sequence);
            assert_eq!(bytes(again.head), bytes(sent));
        }
    }

    #[test]
    fn so_much_is_kept_and_no_longer_than_a_second_but_a_large_picture_whole() {
        let (mut stream, now) = (Stream::new(out(), 10), rt::now());
        let large = send(&mut stream, &piece(40), now);
        assert!(again(&mut stream, large[0], now).is_some());
        let first = send(&mut stream, &piece(4), now);
        assert!(again(&mut stream, large[1], now).is_none());
        assert!(again(&mut stream, first[0], now).is_some());
        send(&mut stream, &piece(4), now + MS * 1_100);
        assert!(again(&mut stream, first[1], now + MS * 1_100).is_none());
        let last = send(&mut stream, &piece(4), now + MS * 1_200);
        stream.forget();
        assert!(again(&mut stream, last[0], now + MS * 1_200).is_none());
    }

    #[test]
    fn no_more_than_half_of_what_is_sent_is_sent_again() {
        let (mut stream, now) = (Stream::new(out(), 2_000), rt::now());
        let sent: Vec<_> = (0..100).flat_map(|_| send(&mut stream, &piece(10), now)).collect();
        let again = |stream: &mut Stream, at| {
            sent.iter().filter(|&&sequence| again(stream, sequence, at).is_some()).count()
        };
        let first = again(&mut stream, now);
        assert!((500..600).contains(&first), "{first} of 1 000");
        assert_eq!(again(&mut stream, now + MS * 500), 0);
    }

    #[test]
    fn reports_tell_the_time_of_now_before_and_after_the_last_packet() {
        let (mut stream, now) = (Stream::new(out(), 10), rt::now());
        assert_eq!(stream.time(now), None);
        let at = now + MS * 100;
        let time = stream.enter(&piece(1), 0, (9_000, at), None, false, now).time;
        assert_eq!(stream.time(at), Some(time));
        assert_eq!(stream.time(now), Some(time.wrapping_sub(9_000)));
        assert_eq!(stream.time(at + MS * 10), Some(time.wrapping_add(900)));
    }
}
