//! FLV, legacy and Enhanced: what HTTP-FLV carries as it is and RTMP in messages.
//!
//! [`TagReader`] cuts a file into tags; [`FlvDemux`] makes access units of tags, and [`TagMux`] tags of access units, for
//! files ([`FlvMux`]) or in another framing. Bodies of tags are the same in both.

#![cfg_attr(not(test), warn(clippy::indexing_slicing, clippy::cast_possible_truncation))]

pub mod amf0;
mod codec;
mod demux;
mod grid;
mod metadata;
mod mux;
mod packet;
mod picture;
mod tag;

pub use demux::{Fault, FlvDemux};
pub use mux::{Carriage, FileFraming, FlvMux, Framing, TagMux, after_skip};
pub use packet::{Content, Packet, PacketError, Packets, code_of, codec_of};
pub use tag::{FlvError, Tag, TagKind, TagReader};
