//! Waiting for each other: condition variables, locks, counters, channels and byte streams between
//! coroutines of one thread.
//!
//! Everything here is `!Send` and does without atomic operations. It is first come first served:
//! a lock, a permit, a room or a message goes to the coroutine that has waited longest at the
//! moment it is there, before that coroutine runs, so that nobody else can take it in between.
//! What a coroutine was handed so it gets, also when it was cancelled or ran into a deadline
//! before it runs; its next wait reports that. What reaches a coroutine too late goes to the next
//! one. Neither a cancellation nor a panic poisons anything.

pub mod channel;
mod cond;
mod duplex;
mod event;
mod mutex;
mod rwlock;
mod semaphore;
mod wait_group;

pub use cond::{BeingSignalled, Cond};
pub use duplex::{DuplexStream, duplex};
pub use event::{BecomingSet, Event};
pub use mutex::{Mutex, MutexGuard};
pub use rwlock::{ReadGuard, RwLock, WriteGuard};
pub use semaphore::{OwnedPermit, Permit, Semaphore};
pub use wait_group::{Finishing, WaitGroup, Worker};
