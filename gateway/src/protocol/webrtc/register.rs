//! What became of the packets that a viewer was sent, which are numbered across its streams
//! (draft-holmer-rmcat-transport-wide-cc-extensions-01 §2).

use crate::container::rtp::feedback::Arrivals;
use std::time::{Duration, Instant};

/// The packets that were sent last.
#[derive(Debug)]
pub(super) struct Register {
    begun: Instant,
    next: u16,
    slots: Vec<Slot>,
    rtt: Option<Duration>,
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    number: u16,
    fate: Fate,
    /// When it was sent, in microseconds since the beginning, as far as they fit.
    sent_us: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// There is none yet.
    NoPacket,
    Untold,
    Lost,
    Arrived,
}

/// So many are known; a power of two. It is more than a second of 10 Mbit/s.
const SLOTS: usize = 1_024;

/// Over so long the share of losses is taken.
const WINDOW: Duration = Duration::from_secs(1);

impl Register {
    pub(super) fn new(now: Instant) -> Self {
        let slot = Slot { number: 0, fate: Fate::NoPacket, sent_us: 0 };
        Self { begun: now, next: 0, slots: vec![slot; SLOTS], rtt: None }
    }

    /// The number of a packet that is sent now.
    pub(super) fn enter(&mut self, now: Instant) -> u16 {
        let (number, sent_us) = (self.next, self.us(now));
        self.next = number.wrapping_add(1);
        if let Some(slot) = self.slots.get_mut(place(number)) {
            *slot = Slot { number, fate: Fate::Untold, sent_us };
        }
        number
    }

    /// Notes what the viewer told at that time.
    pub(super) fn note(&mut self, arrivals: Arrivals<'_>, at: Instant) {
        let now_us = self.us(at);
        for (number, has_arrived) in arrivals.each().take(SLOTS) {
            let slot = self.slots.get_mut(place(number)).filter(|slot| slot.number == number);
            let Some(slot) = slot else { continue };
            match (slot.fate, has_arrived) {
                // What was late is told of again.
                (Fate::Untold | Fate::Lost, true) => {
                    slot.fate = Fate::Arrived;
                    self.rtt =
                        Some(Duration::from_micros(now_us.wrapping_sub(slot.sent_us).into()));
                }
                (Fate::Untold, false) => slot.fate = Fate::Lost,
                _ => {}
            }
        }
    }

    /// From sending the latest packet that is known to have arrived until that was told.
    pub(super) const fn rtt(&self) -> Option<Duration> {
        self.rtt
    }

    /// The share of packets that were lost, of those of the last second that the viewer has told of. Where it tells nothing,
    /// that may be lost itself.
    pub(super) fn loss(&self, now: Instant) -> Option<f32> {
        let now_us = self.us(now);
        let (mut lost, mut told) = (0_u16, 0_u16);
        for back in 1..=SLOTS {
            #[expect(clippy::cast_possible_truncation, reason = "SLOTS is no more")]
            let number = self.next.wrapping_sub(back as u16);
            let slot = self.slots.get(place(number)).filter(|slot| slot.number == number);
            let Some(slot) = slot.filter(|slot| slot.fate != Fate::NoPacket) else { break };
            if Duration::from_micros(now_us.wrapping_sub(slot.sent_us).into()) > WINDOW {
                break;
            }
            told += u16::from(slot.fate != Fate::Untold);
            lost += u16::from(slot.fate == Fate::Lost);
        }
        (told > 0).then(|| f32::from(lost) / f32::from(told))
    }

    #[expect(clippy::cast_possible_truncation, reason = "differences count, of less than an hour")]
    fn us(&self, at: Instant) -> u32 {
        at.saturating_duration_since(self.begun).as_micros() as u32
    }
}

fn place(number: u16) -> usize {
    usize::from(number) % SLOTS
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::container::rtp::feedback;
    use thalweg_runtime as rt;

    const MS: Duration = Duration::from_millis(1);

    /// Tells of packets from `first` on, one bit each.
    fn tell(register: &mut Register, at: Instant, first: u16, arrived: &[bool]) {
        let mut packet = vec![0x8f, 205, 0, 0];
        packet.extend([0; 8]);
        packet.extend(first.to_be_bytes());
        packet.extend(u16::try_from(arrived.len()).unwrap().to_be_bytes());
        packet.extend([0; 4]);
        for chunk in arrived.chunks(14) {
            let bits = chunk.iter().zip((0..14).rev()).map(|(&bit, at)| u16::from(bit) << at);
            packet.extend((0x8000 | bits.sum::<u16>()).to_be_bytes());
        }
        packet.resize(packet.len().next_multiple_of(4), 0);
        packet[3] = u8::try_from(packet.len() / 4 - 1).unwrap();
        feedback::read(&packet, |feedback| {
            if let feedback::Feedback::Arrivals(arrivals) = feedback {
                register.note(arrivals, at);
            }
        });
    }

    #[test]
    fn the_share_of_losses_is_of_what_was_told_of_and_sent_lately() {
        let begun = rt::now();
        let mut register = Register::new(begun);
        assert_eq!(register.loss(begun), None);
        (0..20).for_each(|n| assert_eq!(register.enter(begun + MS * n), u16::try_from(n).unwrap()));
        tell(&mut register, begun + MS * 30, 0, &[true, false, true, true]);
        assert_eq!(register.loss(begun + MS * 30), Some(0.25));
        assert_eq!(register.rtt(), Some(MS * 27));
        // It was late only.
        tell(&mut register, begun + MS * 40, 1, &[true]);
        assert_eq!(register.loss(begun + MS * 40), Some(0.0));
        assert_eq!(register.loss(begun + MS * 1_030), None);
    }

    #[test]
    fn numbers_wrap_and_what_is_not_known_any_more_is_left_alone() {
        let begun = rt::now();
        let mut register = Register::new(begun);
        (0..70_000).for_each(|_| {
            register.enter(begun);
        });
        let next = (70_000_u32 % 65_536) as u16;
        tell(&mut register, begun, next.wrapping_sub(2_000), &[false; 100]);
        assert_eq!(register.loss(begun), None);
        tell(&mut register, begun, next.wrapping_sub(4), &[true, false, true, true]);
        assert_eq!(register.loss(begun), Some(0.25));
        // Numbers that were never given.
        tell(&mut register, begun, next, &[false; 200]);
        assert_eq!(register.loss(begun), Some(0.25));
    }
}
