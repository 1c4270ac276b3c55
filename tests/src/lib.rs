//! Tests of the project as a whole live in `tests/`; this library holds what they share.

pub mod tidy;
