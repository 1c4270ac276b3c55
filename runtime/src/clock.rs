//! The runtime's time: nanoseconds since the runtime was built, read once a turn.
//!
//! A real clock follows `CLOCK_MONOTONIC`; a virtual one stands still until the scheduler moves
//! it to the next deadline.

use std::cell::Cell;
use std::time::{Duration, Instant};

/// Nanoseconds since the runtime was built. [`NEVER`] stands for no deadline.
pub(crate) type Nanos = u64;

/// Later than any deadline.
pub(crate) const NEVER: Nanos = Nanos::MAX;

/// Which clock a runtime lives by; see [`Builder::clock`](crate::RuntimeBuilder::clock).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClockKind {
    /// The system's monotonic clock.
    #[default]
    Real,
    /// Time that stands still while a coroutine can run, and jumps to the next deadline when all
    /// are parked. Real descriptors are refused under it.
    Virtual,
}

#[derive(Debug)]
pub(crate) struct Clock {
    base: Instant,
    /// The time of the present turn.
    now: Cell<Nanos>,
    pub(crate) kind: ClockKind,
}

impl Clock {
    #[expect(clippy::disallowed_methods, reason = "this is the clock that others read")]
    pub(crate) fn new(kind: ClockKind) -> Self {
        Self { base: Instant::now(), now: Cell::new(0), kind }
    }

    /// The cached time of the present turn.
    #[inline]
    pub(crate) fn now(&self) -> Nanos {
        self.now.get()
    }

    /// The present turn in ticks of 2^20 ns, which wrap.
    #[inline]
    pub(crate) fn tick(&self) -> u32 {
        (self.now.get() >> 20) as u32
    }

    /// Reads the clock (20–25 ns) and caches the result.
    #[inline]
    pub(crate) fn refresh(&self) -> Nanos {
        if self.kind == ClockKind::Real {
            self.now.set(self.real());
        }
        self.now.get()
    }

    /// Reads the real clock, whatever the kind.
    #[expect(clippy::disallowed_methods, reason = "this is the clock that others read")]
    #[inline]
    pub(crate) fn real(&self) -> Nanos {
        nanos(Instant::now().saturating_duration_since(self.base))
    }

    /// Moves a virtual clock forward to `to`.
    pub(crate) fn jump(&self, to: Nanos) {
        debug_assert_eq!(self.kind, ClockKind::Virtual);
        self.now.set(self.now.get().max(to));
    }

    pub(crate) fn instant(&self, at: Nanos) -> Instant {
        self.base + Duration::from_nanos(at)
    }

    /// Instants before the runtime was built are already past: 0.
    #[inline]
    pub(crate) fn nanos(&self, at: Instant) -> Nanos {
        nanos(at.saturating_duration_since(self.base))
    }
}

/// `duration` in nanoseconds; what does not fit in 64 bits (584 years) is [`NEVER`].
#[inline]
pub(crate) fn nanos(duration: Duration) -> Nanos {
    duration
        .as_secs()
        .saturating_mul(1_000_000_000)
        .saturating_add(u64::from(duration.subsec_nanos()))
}
