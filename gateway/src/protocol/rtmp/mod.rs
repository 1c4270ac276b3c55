//! RTMP: publishers come in and players go out, legacy and Enhanced.
//!
//! Without I/O are [`handshake`], [`chunk`], [`command`], [`connection`] (what both ends do), [`server`] and [`client`]
//! (the conversation). [`converse`] holds the conversation with one peer on a stream, top to bottom: it publishes
//! (`ingest`) or plays (`egress`). Players of one source share their chunks, see [`RtmpMux`].
//!
//! Left out: encryption, shared objects, remote procedure calls, seeking. Pauses are acknowledged and ignored, since a
//! live stream goes on.

#![cfg_attr(not(test), warn(clippy::indexing_slicing, clippy::cast_possible_truncation))]

mod address;
pub mod chunk;
pub mod client;
pub mod command;
pub mod connection;
mod egress;
pub mod handshake;
mod ingest;
mod mux;
pub mod server;
mod session;

pub use address::Address;
pub use mux::RtmpMux;
pub use session::{RtmpEnd, Settings, converse, serve, serve_over};
