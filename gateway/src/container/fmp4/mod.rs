//! Fragmented MP4 (ISO/IEC 14496-12:2022; CMAF, ISO/IEC 23000-19:2020), for `<video>`, Media Source Extensions and HLS.
//!
//! ```text
//! units ─▶ Packager ─▶ Init, Samples ─┬─▶ Fmp4: a fragment for each sample   (progressive HTTP)
//!                                     └─▶ Fragment: several samples, tracks  (parts and segments of HLS)
//! ```
//!
//! The rules, all of them the [`Packager`]'s:
//!
//! * **Init.** One `moov` for all tracks that are carried: the first video track and every audio track. It waits until their
//!   configurations are known, but not for long; a track without one is left out, and comes in with the next init.
//! * **Another init** is due when a configuration changes or a track comes or goes. It is made at the next random-access
//!   unit of the video (at once without video), because Media Source Extensions decode nothing before. The progressive
//!   stream has it in the middle: Media Source Extensions follow there, whereas demuxers of files (ffmpeg, `<video>`) keep to
//!   the first. For their sake H.264 and HEVC have their parameter sets also within the samples from the first change on,
//!   which `avc1` and `hvc1` do not foresee and decoders understand. Audio that the present init does not describe is
//!   left out until the next.
//! * **Time.** Each track has its own scale: 90 kHz for video, the sample rate for audio. All tracks share an origin, a second
//!   before the first unit, so that no decode time is negative. The units' timeline goes on across publishers; a step back in
//!   it is squeezed, since decode times may not.
//! * **Audio** is counted in samples from an anchor, which moves only when the source differs by more than 40 ms: the
//!   milliseconds of RTMP would otherwise put a gap or an overlap into every fragment. Priming is kept as it came.
//! * **Video** has its own decode time in each fragment. The duration of a sample shows only with its successor, so a
//!   fragment that leaves at once says its predecessor's.

#![cfg_attr(not(test), warn(clippy::indexing_slicing, clippy::cast_possible_truncation))]

mod clock;
mod fragment;
mod init;
mod mux;
mod packager;
mod sample_entry;

pub use fragment::{Fragment, Sample};
pub use init::{Init, InitTrack};
pub use mux::Fmp4;
pub use packager::{Output, Packager};

#[cfg(test)]
mod tests;
