//! Tests of the project as a whole live in `tests/`; this library holds what they share.

pub mod api;
pub mod browser;
pub mod disk;
pub mod feedback;
pub mod gateway;
pub mod hook_server;
pub mod ice;
pub mod media;
pub mod network;
pub mod play;
pub mod playlist;
pub mod recordings;
pub mod rtmp;
pub mod rtp;
pub mod srt;
pub mod tcp_relay;
pub mod tidy;
pub mod ts;
