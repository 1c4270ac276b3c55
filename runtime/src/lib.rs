//! A single-threaded runtime of stackful coroutines, in the spirit of State Threads: code that reads
//! as if it blocked, and suspends only the coroutine it runs on.
//!
//! ```no_run
//! use std::io::{Read, Write};
//! use thalweg_runtime::{self as rt, net::TcpListener};
//!
//! fn main() -> std::io::Result<()> {
//!     rt::run(|| {
//!         let listener = TcpListener::bind("127.0.0.1:7000")?;
//!         loop {
//!             let (mut conn, _peer) = listener.accept()?; // suspends this coroutine only
//!             rt::spawn(move || {
//!                 let mut buf = [0; 4096];
//!                 while let Ok(n @ 1..) = conn.read(&mut buf) {
//!                     if conn.write_all(&buf[..n]).is_err() {
//!                         break;
//!                     }
//!                 }
//!             });
//!         }
//!     })
//! }
//! ```
//!
//! # What to know
//!
//! **Any function may suspend.** There is no `async` to tell; the section *Suspends* of a function's
//! documentation does. Between two of those, nothing else of the runtime runs, so what one thread
//! shares needs no locks: `Rc`, `Cell` and `RefCell` do. Keep no borrow of a `RefCell` over a call
//! that suspends, and see [`no_suspend`].
//!
//! **Nothing may block the thread**: no `std::net`, no file on a disk, no lookup of names, no
//! `std::thread::sleep`. It would stop every coroutine.
//!
//! **Cancellation is an error that sticks.** After [`JoinHandle::cancel`], every call of that
//! coroutine that suspends returns [`WaitError::Cancelled`] (inside an [`std::io::Error`]:
//! [`is_cancelled`]), so it ends by the `?` it has anyway. [`shield`] is for cleaning up.
//!
//! **Deadlines are absolute and nest**: all waits inside [`timeout`] or [`deadline`] share the time,
//! and the earliest deadline counts.
//!
//! **What was handed over wins.** A wait that got its message, connection or permit returns it, also
//! when a deadline passed or a cancellation came at the same moment; the next call reports that.
//!
//! **Stacks are guarded, and small**: 256 KiB of address space by default, the lowest 64 KiB of
//! which are the guard; memory is used only where a stack was touched. An overflow ends the process
//! and names the coroutine. Thread-local values are shared by all coroutines of the thread;
//! [`coroutine_local!`] makes one for each.
//!
//! **A panic ends its coroutine** and is what joining it returns; with `panic = "abort"` it ends the
//! process.

mod bell;
pub mod blocking;
mod cancel;
mod clock;
mod coroutine;
mod deadlines;
mod dump;
mod error;
mod fd;
pub mod fs;

mod join;
mod lease;
pub mod local;
pub mod net;
mod overflow;
mod poller;
mod remote;
mod run_queue;
mod runtime;
mod scheduler;
mod scope;
pub mod select;
pub mod signal;
mod spawn;
mod stack;
mod stats;
pub mod sync;
mod sys;
mod time;
mod timer;
pub mod trace;
mod unpark;
mod wait;

pub use cancel::{deadline, shield, timeout};
pub use clock::ClockKind;
pub use dump::{
    CoroutineInfo, CoroutineState, Dump, Trace, WaitsFor, dump, dump_with_backtraces,
    install_dump_on,
};
pub use error::{Cancelled, Refused, RunError, TimedOut, WaitError, is_cancelled, timed_out};
pub use join::{JoinError, JoinHandle, Panic};
pub use runtime::{Outcome, Runtime, RuntimeBuilder, run};
pub use scope::{Scope, ScopedJoinHandle, scope};
pub use spawn::{
    Builder, Current, NoSuspend, current, no_suspend, spawn, stack_high_water, trim_stack,
    yield_now,
};
pub use stack::GuardKind;
pub use stats::{Stats, TURN_BUCKETS, TurnTimes, stats};
pub use time::{now, sleep, sleep_until};
pub use unpark::{Unparker, park, park_until};
