//! MPEG-TS (ISO/IEC 13818-1:2019): packets to access units and back, and packets passed on as they came.
//!
//! * In: [`Demuxer`] takes bytes as they arrive and gives a [`TsSink`] the whole packets and, as soon as each is
//!   complete, the access units.
//! * Out, from units: [`TsMux`].
//! * Out, from packets: [`Passthrough`] groups what a demuxer saw into chunks, [`Entry`] lets a reader in.
//!
//! Transport streams are self-healing by design: nothing that arrives here is an error that ends anything. What is
//! wrong is left out and counted in [`Stats`]. Sections and tables are cited from the 2019 edition.

mod continuity;
mod demux;
mod lineup;
mod mux;
mod packet;
mod passthrough;
mod pes;
mod psi;
mod sync;

pub use demux::{Demuxer, Jump, PacketInfo, PacketKind, Programme, Stats, TsSink};
pub use lineup::lineup;
pub use mux::TsMux;
pub use packet::{PACKET_LEN, Pid};
pub use passthrough::{Entry, Passthrough, renumber};
