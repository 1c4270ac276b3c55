//! What a viewer is sent, and what it tells of it: its streams, sealed packet by packet into the way out.
//!
//! The stack finds the way to the peer and agrees on the keys; media does not pass through it. What one viewer costs is its
//! headers and SRTP: payloads are the stage's, also those that are sent again.

use super::{
    keys::Keys,
    outbox::Outbox,
    register::Register,
    routes::Mailbox,
    srtp::{Opener, Sealer},
    stage::Piece,
    stream::{Again, HEAD_MAX, Head, Stream},
};
use crate::{
    container::rtp::feedback::{self, Feedback, Report},
    media::MediaKind,
};
use std::{
    rc::Rc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

/// The streams of one viewer.
#[derive(Debug)]
pub(super) struct Sender {
    sealer: Sealer,
    opener: Opener,
    pub(super) video: Option<Stream>,
    pub(super) audio: Option<Stream>,
    /// Where packets are numbered across streams.
    register: Option<Register>,
    /// What all streams of this gateway to the viewer have in common (RFC 3550 §6.5.1).
    name: String,
    clock: Clock,
    /// It has told something: it knows by now which stream is which.
    is_heard: bool,
    /// From the reports on pictures, for where packets are not numbered.
    told: Option<(Option<Duration>, f32)>,
}

/// Where packets are put.
#[derive(Debug)]
pub(super) struct Out<'a> {
    pub(super) outbox: &'a mut Outbox,
    pub(super) mailbox: &'a Mailbox,
}

/// What came of a report of the viewer.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Told {
    /// It asks for a picture to begin with.
    pub(super) asks: bool,
    /// It has told of the pictures what became of them.
    pub(super) reports: bool,
}

/// The clock on the wall, as RTCP tells it.
#[derive(Clone, Copy, Debug)]
struct Clock {
    begun: Instant,
    /// Since 1900.
    then: Duration,
}

/// From 1900 to 1970 (RFC 3550 §4, RFC 868).
const NTP_TO_UNIX: Duration = Duration::from_secs(2_208_988_800);

/// How often viewers are told which times of sound and of pictures belong together.
const REPORTS: Duration = Duration::from_secs(1);

/// Browsers need two reports on each stream before they keep them together: the second comes soon.
const SECOND_REPORT: Duration = Duration::from_millis(200);

/// So many missing packets of one report are looked for; what is still missing then is asked for again.
const MISSING_MAX: usize = 500;

/// So many tables of arrivals in one report are looked at.
const ARRIVALS_MAX: u32 = 4;

/// Packet types of RTCP (RFC 3550 §6.4.1, §6.5).
const SENDER_REPORT: u8 = 200;
const SOURCE_DESCRIPTION: u8 = 202;
const CNAME: u8 = 1;

impl Sender {
    /// `None` when the keys are of a kind that is not known.
    pub(super) fn new(
        keys: &Keys,
        video: Option<Stream>,
        audio: Option<Stream>,
        name: String,
        now: Instant,
    ) -> Option<Self> {
        let (sealer, opener) = (Sealer::new(keys)?, Opener::new(keys)?);
        let mut streams = video.iter().chain(&audio);
        let is_numbered = streams.any(Stream::has_numbers);
        let register = is_numbered.then(|| Register::new(now));
        let clock = Clock::new(now);
        let (is_heard, told) = Default::default();
        Some(Self { sealer, opener, video, audio, register, name, clock, is_heard, told })
    }

    /// Sends a packet of a piece. `ticks` is its time, `wall` when that is.
    pub(super) fn send(
        &mut self,
        piece: &Rc<Piece>,
        index: usize,
        (ticks, wall): (i64, Instant),
        now: Instant,
        out: &mut Out<'_>,
    ) {
        let stream = if piece.is_picture() { &mut self.video } else { &mut self.audio };
        let (Some(stream), Some(payload)) = (stream, piece.packets.get(index)) else { return };
        let has_number = stream.has_numbers();
        let number = self.register.as_mut().filter(|_| has_number).map(|it| it.enter(now));
        let head = stream.enter(piece, index, (ticks, wall), number, !self.is_heard, now);
        put(&self.sealer, stream, head, None, payload, out);
    }

    /// Takes what the viewer tells, and sends again what it misses; `None` when it is not from the viewer.
    pub(super) fn take(&mut self, packet: &[u8], at: Instant, out: &mut Out<'_>) -> Option<Told> {
        let compound = self.opener.open(packet)?;
        let mut told = Told::default();
        // However much is in one packet.
        let (mut missing_left, mut arrivals_left) = (MISSING_MAX, ARRIVALS_MAX);
        feedback::read(&compound, |feedback| match feedback {
            Feedback::Report(report) => told.reports |= self.note(&report, at),
            Feedback::RandomAccess { ssrc } => {
                if let Some(stream) = self.video.as_mut().filter(|it| it.out.ssrc == ssrc) {
                    stream.requests += 1;
                    told.asks = true;
                }
            }
            Feedback::Missing { ssrc, packets } => {
                let rtt = self.rtt();
                let Some(stream) = of(ssrc, &mut self.video, &mut self.audio) else { return };
                stream.note_missing(rtt, at);
                for sequence in packets.sequences().take(missing_left) {
                    missing_left -= 1;
                    self.send_again(ssrc, sequence, at, out);
                }
            }
            Feedback::Arrivals(arrivals) => {
                if let Some(register) = self.register.as_mut().filter(|_| arrivals_left > 0) {
                    register.note(arrivals, at);
                    arrivals_left -= 1;
                    self.is_heard = true;
                }
            }
        });
        Some(told)
    }

    fn send_again(&mut self, ssrc: u32, sequence: u16, now: Instant, out: &mut Out<'_>) {
        let Some(stream) = of(ssrc, &mut self.video, &mut self.audio) else { return };
        let has_number = stream.has_numbers();
        let register = self.register.as_mut().filter(|_| has_number);
        let number = || register.map(|it| it.enter(now));
        if let Some(Again { head, original, piece, index }) =
            stream.again(sequence, now, number, !self.is_heard)
            && let Some(payload) = piece.packets.get(index)
        {
            put(&self.sealer, stream, head, original, payload, out);
        }
    }

    /// Notes a report; whether it is on the pictures.
    fn note(&mut self, report: &Report, at: Instant) -> bool {
        let is_ours = |stream: &Option<Stream>| {
            stream.as_ref().is_some_and(|stream| stream.out.ssrc == report.ssrc)
        };
        let is_video = is_ours(&self.video);
        if !is_video && !is_ours(&self.audio) {
            return false;
        }
        self.is_heard = true;
        if is_video || self.video.is_none() {
            let rtt = (report.last != 0).then(|| self.clock.since(report.last, report.since, at));
            self.told = Some((rtt.flatten(), report.loss));
        }
        is_video
    }

    /// Tells which times of each stream are now, where it is time to.
    pub(super) fn report(&mut self, now: Instant, out: &mut Out<'_>) {
        for stream in [&mut self.video, &mut self.audio].into_iter().flatten() {
            if stream.report_at.is_none_or(|at| now < at) {
                continue;
            }
            let Some(time) = stream.time(now) else { continue };
            stream.reports += 1;
            let after = if stream.reports == 1 { SECOND_REPORT } else { REPORTS };
            stream.report_at = Some(now + after);
            let compound = compound(stream, self.clock.ntp(now), time, &self.name);
            let packet = self.sealer.seal_report(&compound);
            out.outbox.put(out.mailbox, |packets| packets.extend_from_slice(&packet));
        }
    }

    /// A round trip: by each packet, or by reports.
    pub(super) fn rtt(&self) -> Option<Duration> {
        let by_packet = self.register.as_ref().and_then(Register::rtt);
        by_packet.or_else(|| self.told.and_then(|(rtt, _)| rtt))
    }

    /// A round trip and the share of losses, where packets are told of one by one.
    pub(super) fn by_packet(&self, now: Instant) -> (Option<Duration>, Option<f32>) {
        let register = self.register.as_ref();
        (register.and_then(Register::rtt), register.and_then(|register| register.loss(now)))
    }

    /// The same by the last report.
    pub(super) fn by_report(&self) -> (Option<Duration>, Option<f32>) {
        self.told.map_or((None, None), |(rtt, loss)| (rtt, Some(loss)))
    }

    /// The streams, and whether each is of pictures.
    pub(super) fn streams(&self) -> impl Iterator<Item = (&Stream, bool)> {
        let video = self.video.iter().map(|stream| (stream, true));
        video.chain(self.audio.iter().map(|stream| (stream, false)))
    }

    /// Nothing of the pictures that were sent is sent again.
    pub(super) fn forget_pictures(&mut self) {
        if let Some(stream) = &mut self.video {
            stream.forget();
        }
    }

    /// Whether there is a stream of this kind.
    pub(super) const fn has(&self, kind: MediaKind) -> bool {
        match kind {
            MediaKind::Video => self.video.is_some(),
            MediaKind::Audio => self.audio.is_some(),
        }
    }
}

/// The stream of this source, of two.
fn of<'a>(
    ssrc: u32,
    video: &'a mut Option<Stream>,
    audio: &'a mut Option<Stream>,
) -> Option<&'a mut Stream> {
    [video, audio].into_iter().flatten().find(|stream| stream.out.ssrc == ssrc)
}

/// Writes and seals a packet where it leaves.
fn put(
    sealer: &Sealer,
    stream: &Stream,
    head: Head,
    original: Option<u16>,
    payload: &[u8],
    out: &mut Out<'_>,
) {
    let mut bytes = [0; HEAD_MAX];
    let head_len = head.write(&stream.out, &mut bytes);
    // RFC 4588 §4: the sequence number that it had.
    let original = original.map(u16::to_be_bytes);
    let original = original.as_ref().map_or(&[][..], |original| original);
    out.outbox.put(out.mailbox, |packets| {
        let start = packets.len();
        packets.extend_from_slice(bytes.get(..head_len).unwrap_or_default());
        packets.extend_from_slice(original);
        packets.extend_from_slice(payload);
        packets.resize(packets.len() + sealer.tag_len(), 0);
        let packet = packets.get_mut(start..).unwrap_or_default();
        sealer.seal(packet, head_len, head.ssrc, head.sequence);
    });
}

/// A report on a stream, and whose it is (RFC 3550 §6.1).
fn compound(stream: &Stream, ntp: u64, time: u32, name: &str) -> Vec<u8> {
    let ssrc = stream.out.ssrc.to_be_bytes();
    let mut compound = vec![0x80, SENDER_REPORT, 0, 6];
    compound.extend(ssrc);
    compound.extend(ntp.to_be_bytes());
    for word in [time, stream.packets, stream.payload_bytes] {
        compound.extend(word.to_be_bytes());
    }
    let name = name.as_bytes().get(..name.len().min(usize::from(u8::MAX))).unwrap_or_default();
    let begin = compound.len();
    compound.extend([0x81, SOURCE_DESCRIPTION, 0, 0]);
    compound.extend(ssrc);
    compound.extend([CNAME, u8::try_from(name.len()).unwrap_or(u8::MAX)]);
    compound.extend(name);
    // RFC 3550 §6.5: a zero ends the list, and more fill the word.
    compound.push(0);
    compound.resize(compound.len().next_multiple_of(4), 0);
    let words = u8::try_from((compound.len() - begin) / 4 - 1).unwrap_or(u8::MAX);
    if let Some(at) = compound.get_mut(begin + 3) {
        *at = words;
    }
    compound
}

impl Clock {
    fn new(now: Instant) -> Self {
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { begun: now, then: unix + NTP_TO_UNIX }
    }

    /// RFC 3550 §4: seconds and their fraction, 32 bits each.
    fn ntp(&self, at: Instant) -> u64 {
        let now = self.then + at.saturating_duration_since(self.begun);
        let fraction = (u64::from(now.subsec_nanos()) << 32) / 1_000_000_000;
        now.as_secs() << 32 | fraction
    }

    /// The round trip by a report (RFC 3550 §6.4.1): from when ours was made, without the time that the viewer had it.
    fn since(&self, last: u32, held: u32, at: Instant) -> Option<Duration> {
        /// Longer than this is no round trip.
        const LONG: u32 = 60 << 16;
        #[expect(clippy::cast_possible_truncation, reason = "the middle of it")]
        let now = (self.ntp(at) >> 16) as u32;
        let rtt = now.wrapping_sub(last).wrapping_sub(held);
        (rtt < LONG).then(|| Duration::from_secs(rtt.into()) / (1 << 16))
    }
}

#[cfg(test)]
mod tests {
    use super::{super::negotiate::Outgoing, *};
    use thalweg_runtime as rt;

    fn stream() -> Stream {
        let (mid, pt, ssrc, resend) = ("0".into(), 96, 0x0102_0304, None);
        let (number_id, mid_id) = (None, None);
        Stream::new(Outgoing { mid, pt, ssrc, resend, clock: 90_000, number_id, mid_id }, 0)
    }

    #[test]
    fn a_report_tells_the_time_on_both_clocks_what_was_sent_and_whose_it_is() {
        let mut stream = stream();
        (stream.packets, stream.payload_bytes) = (5, 6_000);
        let report = compound(&stream, 0x1111_1111_2222_2222, 0x3333_3333, "abcd");
        let expected = [
            &[0x80, 200, 0, 6, 1, 2, 3, 4][..],
            &[0x11; 4],
            &[0x22; 4],
            &[0x33; 4],
            &[0, 0, 0, 5, 0, 0, 0x17, 0x70],
            // The name, a zero, and more up to the word.
            &[0x81, 202, 0, 3, 1, 2, 3, 4, 1, 4, b'a', b'b', b'c', b'd', 0, 0],
        ];
        assert_eq!(report, expected.concat());
        for len in 0..300 {
            let report = compound(&stream, 0, 0, &"n".repeat(len));
            assert_eq!(report.len() % 4, 0);
            assert_eq!(report.last(), Some(&0));
            assert_eq!(report.len(), 28 + 4 * (usize::from(report[31]) + 1));
        }
    }

    #[test]
    fn a_round_trip_is_from_our_report_to_theirs_without_the_time_they_had_it() {
        let now = rt::now();
        let clock = Clock::new(now);
        let last = (clock.ntp(now) >> 16) as u32;
        let ms = Duration::from_millis;
        let rtt = clock.since(last, 65_536 / 2, now + ms(600)).unwrap();
        assert!(rtt.abs_diff(ms(100)) < ms(1), "{rtt:?}");
        // One that would be less than nothing is none.
        assert_eq!(clock.since(last, 65_536, now + ms(600)), None);
        // RFC 3550 §4: the upper half are seconds since 1900; 2026 is past 3 976 000 000.
        assert!(clock.ntp(now) >> 32 > 3_976_000_000);
    }
}
