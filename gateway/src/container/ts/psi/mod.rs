//! Programme specific information: sections, and the two tables that lead to a programme's streams
//! (ISO/IEC 13818-1:2019 §2.4.4).
//!
//! Other tables (SDT, EIT, NIT, CAT, splice information) are nobody's business here: their packets are passed on.

#![cfg_attr(not(test), warn(clippy::indexing_slicing, clippy::cast_possible_truncation))]

mod descriptor;
mod section;
mod table;

pub(super) use descriptor::{Descriptors, language_of, stream_codec};
pub(super) use descriptor::{push_descriptor, tag};
pub(super) use section::{Sections, packetize};
pub(super) use table::{Pat, Pmt, PmtStream, stream_type};
