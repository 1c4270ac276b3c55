//! A single-threaded stackful green-thread runtime in the spirit of State Threads.

mod cancel;
mod clock;
mod coroutine;
mod deadlines;
mod dump;
mod error;
mod fd;
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
pub use dump::{CoroutineInfo, CoroutineState, Dump, Trace, WaitsFor, dump, dump_with_backtraces};
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
