//! Waiting for each other: condition variables, locks and channels between coroutines.
mod cond;
pub use cond::Cond;
