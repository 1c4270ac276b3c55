//! `srt-io` against peers that we did not write: ffmpeg, srt-live-transmit and srt-file-transmit; and
//! against itself over a bad network and for a long time.
//!
//! One program, so that its tests run beside each other: most of them wait for a peer. `make setup`
//! installs the tools; a test whose tool is missing fails.

mod due;
mod encryption;
mod events;
mod ffmpeg;
mod file_transmit;
mod live_transmit;
mod loss;
mod lost_peer;
mod support;
