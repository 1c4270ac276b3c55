//! MPEG-TS in and out against ffmpeg, ffprobe and mpeg2ts-reader: captures of real encoders, and what happens to them on
//! the way.

#![expect(
    clippy::disallowed_methods,
    reason = "plain test threads run ffmpeg; no coroutine runs here"
)]
#![expect(clippy::unwrap_used, reason = "helpers of tests, which fail by it")]

mod capture;
mod check;
mod collect;
mod craft;
mod damage;
mod early;
mod passthrough;
mod round_trip;
