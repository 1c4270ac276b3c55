//! The protocols. None knows another; all meet in the hub.

pub mod accept;
pub mod hls;
pub mod http_access;
pub mod http_live;
pub mod play;
pub mod proxy;
pub mod rtmp;
pub mod srt;
pub mod ts_ingest;
pub mod udp;
pub mod webrtc;

pub use accept::Session;
