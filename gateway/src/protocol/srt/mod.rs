//! SRT: MPEG-TS in live mode, in and out on the same port, told apart by the stream id.

mod admission;
mod egress;
mod figures;
mod ingest;
mod session;

pub use admission::admission;
pub use session::{Naming, Settings, SrtEnd, serve};
