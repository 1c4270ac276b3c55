//! Whether a hint may be taken for the end of an access unit.
//!
//! A PES packet of open length ends where the next one begins, a frame interval later. Muxers stuff its last packet,
//! and some declare its length; both would tell at once, if only all muxers meant it so. A hint is believed
//! when it has been right for a while, and never again once it was wrong: there are muxers that stuff in the middle of a
//! unit, and some that spread a unit over PES packets.
//!
//! The stuffing of a packet with a PCR or private data is no hint: its adaptation field is there for them, and muxers
//! that put a clock into a packet at a fixed time stuff it wherever that falls in the unit. So a picture that
//! is no longer than one packet, and shares it with the clock, waits for the next one when its PES packet doesn't declare its
//! length. That is a still picture at a few kbit/s; where it matters, the publisher can declare
//! lengths (`-omit_video_pes_length 0` of ffmpeg) or put the clock on a PID of its own.

/// What the hints of one kind on one PID have been worth.
#[derive(Debug, Default)]
pub(super) struct Trust {
    /// PES packets since the first.
    packets: u32,
    /// How often there was a hint, and it was right.
    right: u32,
}

impl Trust {
    /// A PES packet begins.
    pub(super) fn begin(&mut self) {
        self.packets = self.packets.saturating_add(1);
    }

    /// A unit did end where the hint said.
    pub(super) fn confirm(&mut self) {
        self.right = self.right.saturating_add(1);
    }

    /// Whether the next hint is believed, if none of its kind has been wrong in the source.
    pub(super) fn is_given(&self) -> bool {
        self.right > 0 && self.packets > TRAINING
    }
}

/// PES packets in which a hint, where there was one, must have been right.
const TRAINING: u32 = 64;
